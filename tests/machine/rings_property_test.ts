// One random program on every ring: split and packed, with each combination of options. What a driver
// sees of them must be the same, step by step; and on each, a side that sleeps is woken.
import { assert, assertEquals } from "@std/assert";
import {
  type Chain,
  EmuDma,
  GuestMemory,
  makeQueue,
  PackedQueue,
  type RunningQueue,
} from "@vireo/emu";
import fc from "fast-check";
import { PackedVirtqueue } from "../../drivers/virtqueue/packed.ts";
import { SplitVirtqueue } from "../../drivers/virtqueue/split.ts";
import { SgList } from "../../drivers/virtqueue/virtqueue.ts";

interface RingConfig {
  readonly packed: boolean;
  readonly indirect: boolean;
  readonly eventIdx: boolean;
  readonly inOrder: boolean;
  readonly notificationData: boolean;
  /** IN_ORDER: one used entry for several chains. */
  readonly batchUsed: boolean;
}

const BOTH = [false, true];
/** Every combination that there is. */
const CONFIGS: readonly RingConfig[] = BOTH.flatMap((packed) =>
  BOTH.flatMap((indirect) =>
    BOTH.flatMap((eventIdx) =>
      BOTH.flatMap((notificationData) =>
        [[false, false], [true, false], [true, true]].map((order) => {
          const [inOrder, batchUsed] = order as [boolean, boolean];
          return { packed, indirect, eventIdx, notificationData, inOrder, batchUsed };
        })
      )
    )
  )
);

/** One step: what to do, and two numbers to do it with. */
type Step = readonly [what: number, a: number, b: number];

interface Program {
  /** Elements in flight are at most 2^shift: the size of split rings. */
  readonly shift: number;
  /** Packed rings are so much larger; any size will do. */
  readonly more: number;
  /** Whether the device completes in an order of its own; else in the order of the ring. */
  readonly shuffled: boolean;
  readonly steps: readonly Step[];
}

const PROGRAM = fc.record({
  shift: fc.nat(5),
  more: fc.nat(7),
  shuffled: fc.boolean(),
  steps: fc.array(fc.tuple(fc.nat(13), fc.nat(0xffff), fc.nat(0xffff)), {
    minLength: 1,
    maxLength: 300,
    size: "max",
  }),
});

const BUFFERS = 64 * 1024;

/** One ring, both of its sides, and what was seen of it. */
class Rig {
  readonly trace: string[] = [];
  readonly #config: RingConfig;
  readonly #program: Program;
  readonly #limit: number;
  // As little as serves: there are 20,000 rigs, and a MiB for each took a quarter of the test.
  readonly #memory = new GuestMemory(1 << 18);
  readonly #dma = new EmuDma(this.#memory);
  readonly #region = this.#dma.alloc(BUFFERS);
  readonly #freeAtStart = this.#dma.freeBytes;
  #driver!: SplitVirtqueue | PackedVirtqueue;
  #device!: RunningQueue;
  /** By token: elements, readable bytes, and address and length of the first writable one. */
  readonly #sent = new Map<number, { elements: number; at: number; writable: number }>();
  #elements = 0;
  #nextToken = 0;
  #held: Chain[] = [];
  #notified = 0;
  #interrupted = 0;
  #deviceSleeps = false;
  #driverSleeps = false;
  /** Whether callbacks are on for the next buffer. */
  #awaits = true;
  #added = 0;

  constructor(config: RingConfig, program: Program) {
    this.#config = config;
    this.#program = program;
    this.#limit = 1 << program.shift;
    this.#start();
  }

  #start(): void {
    const { packed, indirect, eventIdx, inOrder, notificationData, batchUsed } = this.#config;
    const options = {
      index: 0,
      name: "property",
      size: packed ? this.#limit + this.#program.more : this.#limit,
      dma: this.#dma,
      indirect,
      eventIdx,
      inOrder,
      notificationData,
      notify: (_: number, data: number) => this.#notify(data),
    };
    this.#driver = packed ? new PackedVirtqueue(options) : new SplitVirtqueue(options);
    const { size, desc, driver, device } = this.#driver.addresses;
    this.#device = makeQueue(packed, {
      index: 0,
      geometry: { size, desc, avail: driver, used: device },
      memory: this.#memory,
      indirect,
      eventIdx,
      inOrder,
      batchUsed,
      interrupt: () => this.#interrupted++,
      fault: (reason) => {
        throw new Error(reason);
      },
    });
    this.#held = [];
    this.#sent.clear();
    this.#elements = this.#added = 0;
    this.#deviceSleeps = this.#driverSleeps = false;
    this.#awaits = true;
  }

  #notify(data: number): void {
    this.#notified++;
    if (!this.#config.notificationData) return assertEquals(data, -1);
    // The device knows what it may be: what it finds wrong would be a lie of the driver.
    assertEquals(this.#device.notificationProblem(data), undefined);
    assert(data >= 0 && data <= 0xffff);
  }

  /** @returns What was seen, a line each: one text is compared much faster than thousands of lines. */
  run(): string {
    for (const step of this.#program.steps) {
      this.#step(step);
      this.#note("now", this.#driver.inFlight, this.#driver.hasUsed(), this.#driver.broken);
    }
    this.#end();
    return this.trace.join("\n");
  }

  #note(...what: readonly unknown[]): void {
    this.trace.push(what.join(" "));
  }

  #step([what, a, b]: Step): void {
    if (what <= 3) this.#add(1 + a % (what === 0 ? 40 : 4), b);
    else if (what <= 5) this.#kick();
    else if (what <= 7) this.#take(1 + a % 6);
    else if (what === 8) this.#complete(a, b);
    else if (what === 9) this.#signal();
    else if (what === 10) this.#pop(1 + a % 8);
    else if (what === 11) this.#callbacks(a % 3);
    else if (what === 12) this.#polls(a % 2 === 0);
    else if (a % 8 === 0) this.#reset();
  }

  #add(elements: number, seed: number): void {
    if (this.#elements + elements > this.#limit) return;
    const token = this.#nextToken++;
    const readable = seed % (elements + 1);
    const chain = new SgList(elements);
    const at = token * 512 % BUFFERS;
    let writable = 0;
    for (let i = 0; i < elements; i++) {
      const length = 1 + (seed >> (i % 8)) % 12;
      const address = this.#region.address + at + i * 12;
      if (i < readable) {
        this.#region.bytes.fill(token, at + i * 12, at + i * 12 + length);
        chain.addReadable(address, length);
      } else {
        chain.addWritable(address, length);
        writable += length;
      }
    }
    assert(this.#driver.add(chain, token), "what fits into the ring is taken");
    this.#sent.set(token, { elements, at, writable });
    this.#elements += elements;
    this.#added++;
  }

  #kick(): void {
    const before = this.#notified;
    this.#driver.kick();
    // No lost notification: a device that asked for one, and saw nothing, is woken.
    if (this.#deviceSleeps && this.#added > 0) assertEquals(this.#notified, before + 1);
    if (this.#added > 0) this.#deviceSleeps = false;
    this.#added = 0;
  }

  #take(count: number): void {
    if (this.#deviceSleeps) return;
    for (let i = 0; i < count; i++) {
      // A chain that was added and not published must not be seen.
      const chain = this.#device.pop();
      if (chain === undefined) return this.#note("take none");
      const bytes = new Uint8Array(chain.readableLength);
      chain.read(bytes);
      this.#note("take", bytes.length, bytes[0], bytes.at(-1), chain.writableLength);
      this.#held.push(chain);
    }
  }

  #complete(pick: number, seed: number): void {
    const at = this.#program.shuffled ? pick % Math.max(this.#held.length, 1) : 0;
    const [chain] = this.#held.splice(at, 1);
    if (chain === undefined) return;
    // Wholly used ones are what a batch of IN_ORDER may be made of.
    const length = seed % 3 === 0 ? seed % (chain.writableLength + 1) : chain.writableLength;
    chain.write(new Uint8Array(length).fill(seed));
    this.#note("complete", length, chain.writableLength);
    this.#device.push(chain);
  }

  #signal(): void {
    const before = this.#interrupted;
    this.#device.signal();
    // No lost interrupt: a driver that asked for one, and saw nothing, is woken when there is something.
    if (!this.#driverSleeps || !this.#driver.hasUsed()) return;
    assertEquals(this.#interrupted, before + 1);
    this.#driverSleeps = false;
  }

  #pop(count: number): void {
    this.#driverSleeps = false;
    for (let i = 0; i < count; i++) {
      const token = this.#driver.pop();
      if (token === -1) {
        // Callbacks that are on stay on: a side that found nothing more may sleep again.
        this.#driverSleeps = this.#awaits;
        return this.#note("pop none");
      }
      const { elements, at, writable } = this.#sent.get(token)!;
      this.#sent.delete(token);
      this.#elements -= elements;
      assert(this.#driver.usedLength <= writable);
      let sum = 0;
      for (let i = at; i < at + 512; i++) sum += this.#region.bytes[i]!;
      this.#note("pop", token, this.#driver.usedLength, sum);
    }
  }

  #callbacks(mode: number): void {
    this.#driverSleeps = false;
    this.#awaits = mode === 1;
    if (mode === 0) return this.#driver.disableCallbacks();
    if (mode === 1) {
      const idle = this.#driver.enableCallbacks();
      this.#note("enable", idle);
      this.#driverSleeps = idle;
      return;
    }
    // How many it waits for depends on the ring; that nothing waits forever does not (see #end).
    this.#driver.enableCallbacksDelayed();
  }

  /** The device goes to sleep when nothing is there, or polls. */
  #polls(sleeps: boolean): void {
    this.#device.setNotify(sleeps);
    this.#deviceSleeps = false;
    if (!sleeps || this.#device.hasAvailable()) return;
    this.#deviceSleeps = true;
  }

  #reset(): void {
    this.#device.stop();
    const left: number[] = [];
    for (let t = this.#driver.detachUnused(); t !== -1; t = this.#driver.detachUnused()) {
      left.push(t);
    }
    this.#note("reset", ...left.sort((a, b) => a - b));
    assertEquals([this.#driver.inFlight, this.#driver.freeSlots], [0, this.#driver.size]);
    this.#driver[Symbol.dispose]();
    assertEquals(this.#dma.freeBytes, this.#freeAtStart);
    this.#start();
  }

  /** Everything comes back, the driver asleep until three quarters did. */
  #end(): void {
    this.#deviceSleeps = false;
    this.#kick();
    this.#take(this.#limit + 1);
    this.#signal();
    this.#driverSleeps = false;
    this.#driver.enableCallbacksDelayed();
    const before = this.#interrupted;
    const waiting = this.#driver.hasUsed();
    const some = this.#held.length > 0;
    while (this.#held.length > 0) {
      this.#complete(3, 1);
      this.#signal();
    }
    if (some && !waiting) assert(this.#interrupted > before, "the driver would sleep forever");
    this.#pop(this.#limit + 1);
    assertEquals([this.#sent.size, this.#driver.inFlight], [0, 0]);
    assertEquals(this.#driver.freeSlots, this.#driver.size);
    this.#driver[Symbol.dispose]();
    assertEquals(this.#dma.freeBytes, this.#freeAtStart);
  }
}

Deno.test("a random program gives the same on split and packed rings with every combination of options", () => {
  assertEquals(CONFIGS.length, 48);
  const seen = { rings: new Set<boolean>(), steps: 0 };
  fc.assert(
    fc.property(PROGRAM, (program) => {
      // In an order of its own, a device with IN_ORDER gives back later than one without.
      const configs = program.shuffled ? CONFIGS.filter(({ inOrder }) => !inOrder) : CONFIGS;
      const [first, ...rest] = configs;
      const expected = new Rig(first!, program).run();
      seen.steps += expected.split("\n").length;
      for (const config of rest) {
        seen.rings.add(config.packed);
        assertEquals(new Rig(config, program).run(), expected, JSON.stringify(config));
      }
    }),
    { seed: 42, numRuns: 150 },
  );
  assertEquals(seen.rings.size, 2);
  assert(seen.steps > 10_000, `only ${seen.steps} steps`);
});

Deno.test("under IN_ORDER the order of completion cannot be seen: the same on every ring", () => {
  const ordered = CONFIGS.filter(({ inOrder }) => inOrder);
  fc.assert(
    fc.property(PROGRAM, (program) => {
      const shuffled = { ...program, shuffled: true };
      const [first, ...rest] = ordered.map((config) => new Rig(config, shuffled).run());
      for (const trace of rest) assertEquals(trace, first);
      const lines = first!.split("\n");
      const order = lines.filter((line) => /^pop \d/.test(line)).map((line) =>
        Number(line.split(" ")[1])
      );
      const resets = lines.some((line) => line.startsWith("reset"));
      if (!resets) assertEquals(order, [...order].sort((a, b) => a - b));
    }),
    { seed: 43, numRuns: 100 },
  );
});

Deno.test("the program's device side is the emulator's own of each ring", () => {
  const memory = new GuestMemory(1 << 16);
  const base = memory.base;
  const geometry = { size: 4, desc: base, avail: base + 64, used: base + 128 };
  const options = { index: 0, geometry, memory, indirect: false, eventIdx: false };
  const calls = { interrupt: () => {}, fault: () => {} };
  assert(makeQueue(true, { ...options, ...calls }) instanceof PackedQueue);
  assert(!(makeQueue(false, { ...options, ...calls }) instanceof PackedQueue));
});
