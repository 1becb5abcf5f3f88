// Replays of recordings that are written by hand, record by record.
import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { type Interrupt, joinBytes, type Mmio, type PciNode, VireoError } from "@vireo/hal";
import { turn } from "../async_test_util.ts";
import { RecordKind as K, RecordReader, RecordWriter } from "./format.ts";
import type { Ring } from "../virtqueue/create_ring.ts";
import type { RingPlace } from "../virtqueue/observer.ts";
import { SgList } from "../virtqueue/virtqueue.ts";
import { RecordQueue } from "./_record_queue.ts";
import { Replay } from "./replay.ts";

type Line =
  | readonly [kind: number, ...numbers: readonly number[]]
  | readonly [
    kind: number,
    json: object,
  ];

const NODES = ["a", "b"].map((name) => ({ kind: "mmio", name, size: 512 }));
/** Both slots are opened: windows 0 and 1, interrupts 0 and 1. */
const OPENED: readonly Line[] = NODES.map(({ name }, i) => [
  K.META,
  { op: "open", node: name, polled: i === 1, window: i, source: i },
]);

/** A recording of these records, whole or cut before its end. */
function recording(lines: readonly Line[], cut = false): Uint8Array<ArrayBuffer> {
  const parts: Uint8Array[] = [];
  const writer = new RecordWriter(
    (bytes) => parts.push(bytes.slice()),
    { platform: "by hand", nodes: NODES, program: 7 },
  );
  for (const [kind, ...rest] of lines) {
    if (typeof rest[0] === "object") writer.json(kind, rest[0]);
    else {
      writer.begin(kind);
      for (const value of rest as number[]) writer.number(value);
    }
  }
  if (cut) writer.stop();
  else writer.close();
  return joinBytes(...parts);
}

interface Lease {
  readonly mmio: Mmio;
  readonly interrupt: Interrupt;
}

/** A replay whose two slots are open. */
function replayed(lines: readonly Line[], cut = false): { replay: Replay; a: Lease; b: Lease } {
  const replay = new Replay(recording([...OPENED, ...lines], cut));
  const [a, b] = replay.nodes().map((node) => (node as { open(): Lease }).open());
  return { replay, a: a!, b: b! };
}

Deno.test("replay: registers read as they did, each slot in its own order", () => {
  const { replay, a, b } = replayed([
    [K.READ8, 0, 1, 8],
    [K.WRITE32, 1, 0x70, 0xffff_fffe],
    [K.READ16, 0, 2, 16],
    [K.READ32, 1, 4, 32],
    [K.WRITE8, 0, 3, 9],
    [K.WRITE16, 0, 4, 10],
  ]);
  assertEquals([replay.name, replay.program, replay.steps], ["by hand", 7, 2]);
  b.mmio.write32(0x70, -2);
  assertEquals([b.mmio.read32(4), a.mmio.read8(1), a.mmio.read16(2)], [32, 8, 16]);
  a.mmio.write8(3, 9);
  a.mmio.write16(4, 10);
  assertEquals([replay.steps, replay.end(), replay.diverged], [8, undefined, undefined]);
});

Deno.test("replay: another register, value or width is the first difference, and the device is dead from then on", () => {
  const lines: readonly Line[] = [[K.WRITE32, 0, 0x70, 1], [K.READ32, 0, 0x70, 1]];
  const recorded = "write Status of a <- 0x1";
  for (
    const [step, now] of [
      [({ mmio }) => mmio.write32(0x70, 2), "write Status of a <- 0x2"],
      [({ mmio }) => mmio.write32(0x74, 1), "write 0x074 of a <- 0x1"],
      [({ mmio }) => mmio.write16(0x70, 1), "write Status of a <- 0x1"],
      [({ mmio }) => void mmio.read32(0x70), "read Status of a"],
    ] as const satisfies readonly (readonly [(lease: Lease) => void, string])[]
  ) {
    const { replay, a } = replayed(lines);
    step(a);
    assertEquals(replay.diverged, { step: 3, recorded, now, cut: false });
    assertEquals([a.mmio.read32(0x70), replay.steps], [0, 2]);
    assertEquals(replay.end(), replay.diverged);
  }
  const { replay, a } = replayed(lines);
  a.mmio.write32(0x70, 1);
  assertEquals(replay.end(), { step: 4, recorded: "read Status of a", now: "end", cut: false });
  const more = replayed([]);
  more.b.mmio.read8(5);
  assertEquals(more.replay.diverged, {
    step: 3,
    recorded: "end",
    now: "read 0x005 of b",
    cut: false,
  });
});

Deno.test("replay: memory is where it was, and there is none where there was none", () => {
  const alloc = [K.ALLOC, 64, 16, 0x4000_0001] as const;
  const { replay } = replayed([alloc, [K.ALLOC, 64, 4096, 0x5000_0001], [K.ALLOC, 32, 16, 0]]);
  const region = replay.dma.alloc(64);
  assertEquals([region.address, region.bytes.length], [0x4000_0000, 64]);
  assertEquals(region.share(8, 8, "to-device"), 0x4000_0008);
  assertEquals(replay.find(0x4000_0010, 4)?.length, 4);
  assertEquals(replay.dma.alloc(64, { align: 4096 }).address, 0x5000_0000);
  const error = assertThrows(() => replay.dma.alloc(32), VireoError);
  assertEquals([error.code, error.seen, replay.end()], ["OUT_OF_MEMORY", 32, undefined]);
  for (const [size, align] of [[63, 16], [64, 32]] as const) {
    const other = replayed([alloc]).replay;
    const error = assertThrows(() => other.dma.alloc(size, { align }), VireoError);
    assertEquals(
      [error.code, other.diverged?.now],
      ["REPLAY_DIVERGED", `allocate ${size} bytes aligned to ${align}`],
    );
  }
});

Deno.test("replay: the machine's diagnosis is that of then, until it changes", () => {
  const said = (message: string | null, code?: string): Line => [
    K.DIAGNOSIS,
    { node: "a", code, message },
  ];
  const { replay, a } = replayed([
    [K.READ8, 0, 0, 1],
    said("It broke", "QUEUE_BROKEN"),
    [K.READ8, 0, 0, 2],
    said(null),
    [K.READ8, 0, 0, 3],
  ]);
  const seen = [1, 2, 3].map(() => {
    a.mmio.read8(0);
    const error = replay.diagnose("a");
    return [error?.code, error?.message];
  });
  const broken = ["QUEUE_BROKEN", "It broke"];
  // What came before the driver's next step is there when the step before it ends.
  assertEquals(seen, [broken, [undefined, undefined], [undefined, undefined]]);
  assertEquals(replay.diagnose("b"), undefined);
});

Deno.test("replay: interrupts come to those that wait, or are due to those that will", async () => {
  const { signal } = new AbortController();
  const never = (): boolean => false;
  const { replay, a, b } = replayed([
    [K.INTERRUPT, 0, 0],
    [K.READ8, 0, 0, 1],
    [K.READ8, 0, 0, 2],
    [K.INTERRUPT, 0, 0],
    [K.INTERRUPT, 0, 0],
    [K.READ8, 0, 0, 3],
    [K.INTERRUPT, 1, 1],
    [K.READ8, 1, 1, 4],
    [K.INTERRUPT, 1, 2],
    [K.READ8, 1, 2, 5],
  ]);
  const order: string[] = [];
  const wait = a.interrupt.wait({
    signal,
    ready: never,
    serve: () => order.push(`served ${a.mmio.read8(0)}`) > 0,
  }).then(() => order.push("ended"));
  assertEquals([a.interrupt.polled, b.interrupt.polled, order], [false, true, []]);
  await wait;
  assertEquals([order, a.mmio.read8(0)], [["served 1", "ended"], 2]);
  // Two that a loop is about to get do not hold the next step up.
  assertEquals(a.mmio.read8(0), 3);
  for (let i = 0; i < 2; i++) await a.interrupt.wait({ signal, ready: never });
  // A poll found the next ones: in memory, and in registers.
  const asked: string[] = [];
  const poll = {
    signal,
    ready: () => asked.push(`register ${b.mmio.read8(2)}`) > 0,
    readyInMemory: () => asked.push(`memory ${b.mmio.read8(1)}`) > 0,
  };
  await b.interrupt.wait(poll);
  await b.interrupt.wait(poll);
  assertEquals([asked, replay.end()], [["memory 4", "register 5"], undefined]);
});

Deno.test("replay: a wait that is given up gets no interrupt, and one that throws fails", async () => {
  const never = (): boolean => false;
  const stop = new AbortController();
  const { a } = replayed([[K.READ8, 0, 0, 1], [K.INTERRUPT, 0, 0], [K.INTERRUPT, 0, 0]]);
  const given = a.interrupt.wait({ signal: stop.signal, ready: never });
  stop.abort(new Error("enough"));
  await assertRejects(() => given, Error, "enough");
  await assertRejects(
    () => a.interrupt.wait({ signal: stop.signal, ready: never }),
    Error,
    "enough",
  );
  const { signal } = new AbortController();
  const failed = a.interrupt.wait({
    signal,
    ready: never,
    serve: () => {
      throw new Error("not served");
    },
  });
  a.mmio.read8(0);
  await assertRejects(() => failed, Error, "not served");
  await a.interrupt.wait({ signal, ready: never });
});

Deno.test("replay: after a cut nothing comes, and what waits is told once", async () => {
  const { replay, a } = replayed([[K.READ8, 0, 0, 1]], true);
  const told: VireoError[] = [];
  replay.onDiverged = (error) => void told.push(error);
  const stop = new AbortController();
  const wait = a.interrupt.wait({ signal: stop.signal, ready: () => false });
  assertEquals(a.mmio.read8(0), 1);
  assertEquals(replay.diverged, undefined);
  await new Promise((resolve) => setTimeout(resolve, 1));
  const cut = { step: 4, recorded: "the recording is cut here", now: "wait", cut: true };
  assertEquals(replay.diverged, cut);
  assertEquals(told.map(({ code, message }) => [code, message]), [
    ["REPLAY_DIVERGED", "The recording is cut after step 3"],
  ]);
  stop.abort(new Error("enough"));
  await assertRejects(() => wait, Error, "enough");
  // A step is where the driver meets the cut before anything waits; a replay that has ended is not told.
  const more = replayed([], true);
  more.a.mmio.read8(0);
  assertEquals(more.replay.diverged, { ...cut, step: 3, now: "read MagicValue of a" });
  const ended = replayed([], true).replay;
  ended.onDiverged = (error) => void told.push(error);
  assertEquals(ended.end(), undefined);
  await new Promise((resolve) => setTimeout(resolve, 1));
  assertEquals(told.length, 1);
  const damaged = new Replay(joinBytes(recording(OPENED, true), Uint8Array.of(99)));
  await new Promise((resolve) => setTimeout(resolve, 1));
  for (const node of damaged.nodes()) (node as { open(): Lease }).open();
  await new Promise((resolve) => setTimeout(resolve, 1));
  assertEquals(damaged.diverged, {
    ...{ step: 3, recorded: "the recording is damaged here", now: "wait", cut: true },
    damaged: true,
  });
});

Deno.test("replay: shared memory was not recorded", () => {
  const { replay } = replayed([]);
  const error = assertThrows(() => replay.openMemory(0x1000), VireoError);
  assertEquals([error.code, error.seen], ["BAD_ACCESS", 0x1000]);
  assertThrows(() => replay.rescan(), VireoError);
});

Deno.test("record queue: records by node in any order, and the first one that is left", () => {
  const many = 3000;
  const lines: Line[] = Array.from({ length: many }, (_, i) => [K.READ8, i % 2, i % 128, 0]);
  const queue = new RecordQueue(new RecordReader(recording([...OPENED, ...lines])));
  const all = [queue.find("a")!, queue.find("b")!];
  for (const record of all) record.done = true;
  // The last one of a node is found, and the first one stays the front.
  let left = 0;
  const last = queue.find("b", () => ++left === many / 2)!;
  assertEquals([last.node, last.b], ["b", (many - 1) % 128]);
  assertEquals(queue.find("b", () => false), undefined);
  for (let i = 0; i < many; i++) {
    const front = queue.front()!;
    assertEquals([i, front.node, front.b], [i, i % 2 === 0 ? "a" : "b", i % 128]);
    assertEquals(queue.front() === front && queue.find(front.node) === front, true);
    front.done = true;
  }
  assertEquals([queue.front(), queue.find("a"), queue.cut], [undefined, undefined, false]);
});

Deno.test("replay: what the device did after a look comes with it, as far as the recording goes", async () => {
  const { signal } = new AbortController();
  const made: Line = [K.META, { op: "ring", slot: "a", queue: 0, name: "q", size: 8, ring: 0 }];
  /** Looks for a used buffer of the only ring. */
  const look = (replay: Replay): boolean => {
    const ring = { index: 0, name: "q", size: 8, hasUsed: () => true } as Ring;
    return replay.ring(ring, { slot: "a" } as RingPlace).hasUsed();
  };
  const whole = replayed([made, [K.LOOK, 0, 1], [K.INTERRUPT, 0, 0]]);
  let interrupts = 0;
  void whole.a.interrupt.wait({ signal, ready: () => false }).then(() => interrupts++);
  assertEquals(look(whole.replay), true);
  await turn();
  assertEquals([interrupts, whole.replay.end(), whole.replay.steps], [1, undefined, 4]);
  const { replay } = replayed([made, [K.LOOK, 0, 1]], true);
  assertEquals([look(replay), replay.diverged], [true, undefined]);
  await turn();
  assertEquals([replay.diverged?.now, replay.steps], ["wait", 4]);
});

Deno.test("replay: looks and interrupts at the end are no steps, and what follows them is one that was left out", () => {
  const left = replayed([[K.LOOK, 0, 0], [K.INTERRUPT, 0, 0], [K.READ8, 0, 0, 1]]).replay.end();
  assertEquals([left?.step, left?.recorded, left?.now], [3, "read MagicValue of a", "end"]);
  assertEquals(replayed([[K.LOOK, 0, 0], [K.INTERRUPT, 0, 0]]).replay.end(), undefined);
});

/** FNV-1a of the bytes 1 and 2. */
const SUM = [1, 2].reduce((hash, byte) => Math.imul(hash ^ byte, 0x01000193), 0x811c9dc5) >>> 0;

/** A replay of a ring in a region at 0x10000, whose first two bytes are 1 and 2, and the calls of what is in it. */
function ringed(
  lines: readonly Line[],
  answers: Partial<Ring> = {},
): { replay: Replay; ring: Ring; calls: string[]; a: Lease } {
  const { replay, a } = replayed([
    [K.ALLOC, 64, 16, 0x10001],
    [K.META, { op: "ring", slot: "a", queue: 0, name: "q", size: 8, ring: 0 }],
    ...lines,
  ]);
  replay.dma.alloc(64).bytes.set([1, 2]);
  const calls: string[] = [];
  const call = (name: string): void => void calls.push(name);
  const inner = {
    ...{ index: 0, name: "q", size: 8, add: () => true, pop: () => 4 },
    ...{ kick: () => call("kick"), kickAgain: () => call("kick again") },
    disableCallbacks: () => call("off"),
    enableCallbacks: () => (call("on"), false),
    enableCallbacksDelayed: () => (call("delayed"), false),
    ...answers,
  } as unknown as Ring;
  return { replay, ring: replay.ring(inner, { slot: "a" } as RingPlace), calls, a };
}

/** A buffer that reads two bytes and has one written. */
function buffer(length = 2, readable = 1): SgList {
  const chain = new SgList(4);
  chain.addReadable(0x10000, length);
  if (readable === 2) chain.addReadable(0x10010, 1);
  else chain.addWritable(0x10010, 1);
  return chain;
}

/** An interrupt that is there once the step before it has ended, and one that is not played. */
const after: readonly Line[] = [[K.INTERRUPT, 0, 0], [K.READ8, 0, 0, 9]];

Deno.test("replay: steps of a ring are taken as they were, and what follows each comes with it", async () => {
  const steps: readonly (readonly [
    line: Line,
    act: (ring: Ring) => unknown,
    gives: unknown,
    calls: string[],
  ])[] = [
    [[K.ADD, 0, 3, 1, 2, 0x10000, 2, 0x10010, 1, SUM], (ring) => ring.add(buffer(), 3), true, []],
    [[K.KICK, 0, 0], (ring) => ring.kick(), undefined, ["kick"]],
    [[K.KICK, 0, 1], (ring) => ring.kickAgain(), undefined, ["kick again"]],
    [[K.POP, 0, 5], (ring) => ring.pop(), 4, []],
    [[K.CALLBACKS, 0, 0, 1], (ring) => ring.disableCallbacks(), undefined, ["off"]],
    [[K.CALLBACKS, 0, 1, 0], (ring) => ring.enableCallbacks(), false, ["on"]],
    [[K.CALLBACKS, 0, 2, 0], (ring) => ring.enableCallbacksDelayed(), false, ["delayed"]],
  ];
  for (const [line, act, gives, called] of steps) {
    const { replay, ring, calls, a } = ringed([line, ...after]);
    const { signal } = new AbortController();
    let interrupts = 0;
    void a.interrupt.wait({ signal, ready: () => false }).then(() => interrupts++);
    assertEquals([act(ring), calls, replay.steps, replay.diverged], [gives, called, 5, undefined]);
    await turn();
    assertEquals([line, interrupts], [line, 1]);
    assertEquals(a.mmio.read8(0), 9);
    assertEquals(replay.end(), undefined);
  }
  // A buffer for which the ring has no room is no step.
  const full = ringed([], { add: () => false });
  assertEquals([full.ring.add(buffer(), 3), full.replay.end()], [false, undefined]);
});

Deno.test("replay: another step of a ring is the first difference, and does nothing", () => {
  const add: Line = [K.ADD, 0, 3, 1, 2, 0x10000, 2, 0x10010, 1, SUM];
  const words = "a 'q' add 3 [r 0x10000+2, w 0x10010+1]";
  const steps:
    readonly (readonly [line: Line, act: (ring: Ring) => unknown, gives: unknown, now: string])[] =
      [
        [add, (ring) => ring.add(buffer(), 4), true, "a 'q' add 4 [r 0x10000+2, w 0x10010+1]"],
        [add, (ring) => ring.add(buffer(1), 3), true, "a 'q' add 3 [r 0x10000+1, w 0x10010+1]"],
        [add, (ring) => ring.add(buffer(2, 2), 3), true, "a 'q' add 3 [r 0x10000+2, r 0x10010+1]"],
        [
          add,
          (ring) => {
            const chain = new SgList(4);
            chain.addReadable(0x10000, 2);
            return ring.add(chain, 3);
          },
          true,
          "a 'q' add 3 [r 0x10000+2]",
        ],
        [
          [K.ADD, 0, 3, 1, 2, 0x10000, 2, 0x10010, 1, SUM ^ 1 >>> 0],
          (ring) => ring.add(buffer(), 3),
          true,
          `${words} with other bytes`,
        ],
        [[K.KICK, 0, 1], (ring) => ring.kick(), undefined, "a 'q' kick"],
        [[K.KICK, 1, 0], (ring) => ring.kick(), undefined, "a 'q' kick"],
        [[K.KICK, 0, 0], (ring) => ring.kickAgain(), undefined, "a 'q' kick again"],
        [[K.KICK, 0, 0], (ring) => ring.pop(), -1, "a 'q' take a buffer"],
        [
          [K.CALLBACKS, 0, 1, 0],
          (ring) => ring.disableCallbacks(),
          undefined,
          "a 'q' callbacks off",
        ],
        [[K.CALLBACKS, 0, 0, 0], (ring) => ring.enableCallbacks(), true, "a 'q' callbacks on"],
        [[K.KICK, 0, 0], (ring) => ring.enableCallbacksDelayed(), true, "a 'q' callbacks delayed"],
      ];
  for (const [line, act, gives, now] of steps) {
    // Another ring of the same slot, for steps of another ring.
    const { replay, ring, calls } = ringed([
      [K.META, { op: "ring", slot: "a", queue: 1, name: "r", size: 8, ring: 1 }],
      line,
    ]);
    const other = { index: 1, name: "r", size: 8 } as Ring;
    replay.ring(other, { slot: "a" } as RingPlace);
    assertEquals([act(ring), calls, replay.diverged?.now], [gives, [], now]);
    assertEquals(replay.diverged?.step, 6);
    // Rings that are made behind it are as they are.
    assertEquals(replay.ring(other, { slot: "a" } as RingPlace) === other, true);
  }
});

Deno.test("replay: what happened at the host's end is due in order, with the step before it", () => {
  const replay = new Replay(joinBytes(
    recording([], true),
    ...[[0, 2, 1, 2], [2, 0]].map(([kind, ...bytes]) => Uint8Array.of(K.HOST, kind!, ...bytes)),
    Uint8Array.of(K.END),
  ));
  assertEquals(replay.hostSteps, [
    { kind: 0, bytes: Uint8Array.of(1, 2) },
    { kind: 2, bytes: new Uint8Array(0) },
  ]);
  assertEquals(replay.end(), undefined);
  let told = 0;
  const { replay: later, a } = replayed([[K.READ8, 0, 0, 1], [K.HOST, 2, 0]]);
  later.onHost = () => told++;
  assertEquals([later.hostSteps.length, a.mmio.read8(0), told, later.hostSteps.length], [
    0,
    1,
    1,
    1,
  ]);
});

Deno.test("replay: a function's windows, line and messages are those of then, by name", () => {
  const header = {
    ...{ kind: "pci", name: "fn", vendor: 0x1af4, device: 0x1041 },
    address: { segment: 0, bus: 0, device: 1, function: 0 },
  };
  const parts: Uint8Array[] = [];
  const writer = new RecordWriter((bytes) => parts.push(bytes.slice()), {
    ...{ platform: "by hand", nodes: [header], program: 7 },
  });
  const config = { name: "fn", size: 256 };
  writer.json(K.META, {
    ...{ op: "open", node: "fn", window: 0, config, bars: [{ size: 8 }], source: 3, polled: true },
  });
  const message = { address: 0xfee00000, data: 0x21, polled: false, source: 4 };
  writer.json(K.META, { op: "messages", node: "fn", count: 2, given: [message] });
  writer.json(K.META, { op: "messages", node: "fn", count: 1, given: null });
  writer.json(K.META, { op: "bar", node: "fn", index: 4, name: "fn bar4", size: 4096, window: 1 });
  for (const [kind, ...numbers] of [[K.READ16, 0, 0x70, 6], [K.READ8, 1, 0x70, 7]] as const) {
    writer.begin(kind);
    for (const value of numbers) writer.number(value);
  }
  writer.close();
  const replay = new Replay(joinBytes(...parts));
  const [node] = replay.nodes();
  const lease = (node as PciNode).open();
  assertEquals([node!.name, lease.config.name, lease.config.size, lease.bars.length], [
    ...["fn", "fn", 256, 1],
  ]);
  assertEquals(lease.line?.polled, true);
  assertEquals(
    lease.messages(2)?.map(({ address, data, interrupt }) => [address, data, interrupt.polled]),
    [[0xfee00000, 0x21, false]],
  );
  assertEquals(lease.messages(1), undefined);
  const bar = lease.openBar(4);
  assertEquals([bar.name, bar.size, lease.config.read16(0x70)], ["fn bar4", 4096, 6]);
  lease[Symbol.dispose]();
  // No register has a name there.
  bar.read32(0x70);
  assertEquals(replay.diverged, {
    ...{ step: 6, recorded: "read 0x70 of fn bar4", now: "read 0x70 of fn bar4", cut: false },
  });
});

Deno.test("replay: a look is a step where the recording has it next, after what the device did before it", () => {
  /** A DIAGNOSIS of the slot, which its look comes after. */
  const said: Line = [K.DIAGNOSIS, { node: "a", code: "TIMEOUT", message: "It hangs" }];
  const look = (lines: readonly Line[], used = true): [Replay, boolean, number] => {
    const { replay, ring } = ringed([[K.READ8, 1, 0, 0], ...lines], { hasUsed: () => used });
    return [replay, ring.hasUsed(), replay.steps];
  };
  const [replay, seen, steps] = look([said, said, [K.LOOK, 0, 1]]);
  assertEquals([seen, steps, replay.diagnose("a")?.code], [true, 5, "TIMEOUT"]);
  // Where something else is next it only looks.
  for (const next of [[K.LOOK, 1, 1], [K.POP, 0, 0], [K.READ8, 0, 0, 0]] as const) {
    const other: Line = [K.META, { op: "ring", slot: "a", queue: 1, name: "r", size: 8, ring: 1 }];
    const { replay, ring } = ringed([other, next], { hasUsed: () => true });
    replay.ring({ index: 1, name: "r", size: 8 } as Ring, { slot: "a" } as RingPlace);
    assertEquals([ring.hasUsed(), replay.steps, replay.diverged], [true, 5, undefined]);
  }
  const { replay: dead, ring, a } = ringed([], { hasUsed: () => true });
  a.mmio.read8(0);
  assertEquals([dead.diverged?.step, ring.hasUsed()], [5, false]);
});

Deno.test("replay: another slot's step is found over what the device of this one did", () => {
  // What comes after a read of b is due, and yet a's own records come before a's step.
  const { replay, a } = replayed([
    [K.READ8, 1, 0, 0],
    [K.DIAGNOSIS, { node: "a", code: "TIMEOUT", message: "It hangs" }],
    [K.META, { op: "ring", slot: "a", queue: 0, name: "q", size: 8, ring: 0 }],
    [K.LOOK, 0, 0],
    [K.LOOK, 0, 0],
    [K.READ8, 0, 0, 7],
  ]);
  replay.ring({ index: 0, name: "q", size: 8 } as Ring, { slot: "a" } as RingPlace);
  assertEquals([replay.diagnose("a")?.message, a.mmio.read8(0), replay.steps], ["It hangs", 7, 4]);
});

Deno.test("replay: to dispose of it ends it, and windows that were never opened have numbers", async () => {
  const { replay } = replayed([[K.READ8, 5, 0x70, 1]]);
  await replay[Symbol.asyncDispose]();
  assertEquals(replay.diverged, {
    ...{ step: 3, recorded: "read 0x70 of window 5", now: "end", cut: false },
  });
});
