import { CheckFailure, CheckSkip, show } from "./failure.ts";
import { demanded, type KnownRequest, knownRequest } from "./requests.ts";
import type { Random } from "./random.ts";
import type { Arena } from "./raw/arena.ts";
import type { RawDevice } from "./raw/device.ts";
import type { Log } from "./raw/log.ts";
import { RawMmio } from "./raw/mmio.ts";
import { RawPci } from "./raw/pci.ts";
import { CAUSE, DESC, FEATURE, STATUS } from "./raw/registers.ts";
import { type RawDescriptor, RawPacked, type RawRing, RawSplit, type RawUsed } from "./raw/ring.ts";

/** Queues that are looked for. */
const MAX_QUEUES = 64;
/** Descriptors of a ring, unless the device has less or more of them is asked for. */
const RING_SIZE = 16;

/** How a machine lets time pass. */
export interface Pace {
  /** Milliseconds that a device has to do what it must. */
  readonly deadline: number;
  /** Milliseconds after which nothing more is awaited of a device that must stay quiet. */
  readonly quiet: number;
}

/** How far a device is brought up. */
export interface InitOptions {
  /** Features to accept besides VERSION_1 and ACCESS_PLATFORM; what is not offered is left out. */
  readonly features?: readonly number[];
  /** The queues; those of the known request by default. */
  readonly queues?: readonly number[];
  /** Descriptors of each ring. */
  readonly size?: number;
  /** Packed rings; accepts RING_PACKED. */
  readonly packed?: boolean;
  /** The last step: `features` is FEATURES_OK, `queues` leaves DRIVER_OK out. */
  readonly until?: "driver" | "features" | "queues" | "running";
}

/** A part of a request. */
export interface Segment {
  /** Offset in the arena. */
  readonly at: number;
  /** Bytes. */
  readonly length: number;
  /** Whether the device writes it. */
  readonly write: boolean;
}

/** Answer to a request. */
export interface Reply {
  /** Entry of the used ring. */
  readonly used: RawUsed;
  /** The id that was made available. */
  readonly id: number;
  /** Bytes of the device-writable segments now. */
  readonly bytes: Uint8Array;
}

/** The tools of a check: the device by its registers, memory, and words for what it expects. */
export class CheckContext {
  /** The device. */
  readonly device: RawDevice;
  /** The memory that is shared with it. */
  readonly arena: Arena;
  /** Random numbers of this check. */
  readonly random: Random;
  /** Accesses and requests so far. */
  readonly log: Log;
  /** The features that were accepted by the last {@linkcode CheckContext.init}. */
  accepted: ReadonlySet<number> = new Set();
  /** Whether the driver itself wrote DEVICE_NEEDS_RESET, which says nothing of the device then. */
  wroteNeedsReset = false;
  /** The rings of the last init, by queue. */
  readonly rings: Map<number, RawRing> = new Map();
  readonly #pace: Pace;
  #offered: ReadonlySet<number> | undefined;
  /** The known request of a device that runs. */
  #running: KnownRequest | undefined;

  /** Makes a context of a device that nobody else drives. */
  constructor(device: RawDevice, arena: Arena, log: Log, random: Random, pace: Pace) {
    this.device = device;
    this.arena = arena;
    this.log = log;
    this.random = random;
    this.#pace = pace;
  }

  /** Whether the legacy interface is used. */
  get legacy(): boolean {
    return this.device.legacy;
  }

  /** The device as one of virtio-mmio. */
  get mmio(): RawMmio {
    if (this.device instanceof RawMmio) return this.device;
    this.#needsRegisters();
    throw new TypeError("Cannot use a PCI function as a slot");
  }

  /** The device as a function of PCI. */
  get pci(): RawPci {
    if (this.device instanceof RawPci) return this.device;
    this.#needsRegisters();
    throw new TypeError("Cannot use a slot as a PCI function");
  }

  #needsRegisters(): void {
    if (this.device.bus === "vhost-user") {
      throw new CheckSkip("a vhost-user device has no registers");
    }
  }

  /** A request that works on this type of device. */
  get known(): KnownRequest {
    const known = knownRequest(this);
    if (known === undefined) {
      throw new CheckSkip(`no request is known for devices of type ${this.device.id}`);
    }
    return known;
  }

  /** Bits that the device offers. */
  offered(): ReadonlySet<number> {
    if (this.#offered !== undefined) return this.#offered;
    const bits = new Set<number>();
    for (let word = 0; word < (this.legacy ? 1 : 4); word++) {
      const value = this.device.features(word);
      for (let bit = 0; bit < 32; bit++) if ((value >>> bit & 1) !== 0) bits.add(32 * word + bit);
    }
    return this.#offered = bits;
  }

  /** Skips the check. */
  skip(why: string): never {
    throw new CheckSkip(why);
  }

  /** Fails the check unless two values are the same. */
  equal(what: string, seen: unknown, expected: unknown): void {
    if (show(seen) !== show(expected)) throw new CheckFailure(what, show(seen), show(expected));
  }

  /** Fails the check unless something holds. */
  expect(what: string, holds: boolean, seen: unknown, expected: string): void {
    if (!holds) throw new CheckFailure(what, show(seen), expected);
  }

  /** Resets the device, and waits until it has. */
  async reset(): Promise<void> {
    this.device.writeStatus(0);
    const done = await this.until(() => this.device.status() === 0);
    this.expect("Status after a reset", done, this.device.status(), "0x0");
    this.rings.clear();
    this.#running = undefined;
  }

  /** Writes feature words from a set of bits. */
  accept(bits: ReadonlySet<number>): void {
    for (let word = 0; word < (this.legacy ? 1 : 2); word++) {
      let value = 0;
      for (const bit of bits) if (bit >>> 5 === word) value |= 1 << (bit & 31);
      this.device.accept(word, value >>> 0);
    }
    this.accepted = bits;
  }

  /** The bits that a plain driver of this device accepts, and those of `more` that are offered. */
  plain(more: readonly number[] = []): Set<number> {
    const bits = [FEATURE.VERSION_1, FEATURE.ACCESS_PLATFORM, ...demanded(this), ...more];
    return new Set(bits.filter((bit) => this.offered().has(bit)));
  }

  /** Brings the device up as a driver does, step by step (virtio 1.4 §3.1.1). */
  async init(options: InitOptions = {}): Promise<void> {
    const { device } = this;
    const { features = [], packed = false, until = "running" } = options;
    await this.reset();
    device.writeStatus(STATUS.ACKNOWLEDGE);
    device.writeStatus(STATUS.ACKNOWLEDGE | STATUS.DRIVER);
    if (until === "driver") return;
    const known = knownRequest(this);
    const more = [...known?.features ?? [], ...features, ...packed ? [FEATURE.RING_PACKED] : []];
    this.accept(this.plain(more));
    let status = STATUS.ACKNOWLEDGE | STATUS.DRIVER;
    if (!this.legacy) {
      status |= STATUS.FEATURES_OK;
      device.writeStatus(status);
      const kept = (device.status() & STATUS.FEATURES_OK) !== 0;
      this.expect("FEATURES_OK after it was written", kept, device.status(), "bit 3 set");
    }
    if (until === "features") return;
    for (const queue of options.queues ?? known?.queues ?? [0]) {
      this.setUp(queue, options.size, packed);
    }
    if (until === "queues") return;
    device.writeStatus(status | STATUS.DRIVER_OK);
    known?.prepare?.(this);
    this.#running = known;
  }

  /** Sets a queue up, and starts it. */
  setUp(
    queue: number,
    size: number = RING_SIZE,
    packed: boolean = this.accepted.has(FEATURE.RING_PACKED),
  ): RawRing {
    const { device, arena } = this;
    device.select(queue);
    const max = device.sizeMax();
    if (max === 0) throw new CheckSkip(`the device has no queue ${queue}`);
    // The legacy interface of PCI has no size to choose.
    const fixed = this.legacy && device.bus === "pci";
    const descriptors = fixed ? max : Math.min(max, size);
    if (!fixed) device.writeSize(descriptors);
    const ring = packed
      ? new RawPacked(arena, queue, descriptors)
      : new RawSplit(arena, queue, descriptors);
    device.place(ring.parts, arena.base);
    device.enable(ring.parts.desc, arena.base);
    this.rings.set(queue, ring);
    return ring;
  }

  /** A ring that was set up. */
  ring(queue: number): RawRing {
    const ring = this.rings.get(queue);
    if (ring === undefined) throw new TypeError(`Cannot use queue ${queue}: it was not set up`);
    return ring;
  }

  /** A split ring that was set up. */
  split(queue: number): RawSplit {
    const ring = this.ring(queue);
    if (ring instanceof RawSplit) return ring;
    throw new TypeError("Cannot use a packed ring as a split one");
  }

  /** A packed ring that was set up. */
  packed(queue: number): RawPacked {
    const ring = this.ring(queue);
    if (ring instanceof RawPacked) return ring;
    throw new TypeError("Cannot use a split ring as a packed one");
  }

  /** Takes memory for bytes that the device reads. */
  readable(bytes: Uint8Array): Segment {
    const at = this.arena.take(bytes.length);
    this.arena.put(at, bytes);
    return { at, length: bytes.length, write: false };
  }

  /** Takes memory that the device writes. */
  writable(length: number): Segment {
    const at = this.arena.take(length);
    this.arena.lend(at, length);
    return { at, length, write: true };
  }

  /** Descriptors of segments, chained. */
  chain(segments: readonly Segment[]): RawDescriptor[] {
    return segments.map(({ at, length, write }, i) => ({
      address: this.arena.address(at),
      length,
      flags: (write ? DESC.WRITE : 0) | (i + 1 < segments.length ? DESC.NEXT : 0),
    }));
  }

  /** An indirect table of segments, as one descriptor. */
  indirect(segments: readonly Segment[], packed: boolean): RawDescriptor {
    const table = this.arena.take(16 * segments.length);
    this.chain(segments).forEach(({ address, length, flags }, i) => {
      const at = table + 16 * i;
      this.arena.putAddress(at, address);
      this.arena.put32(at + 8, length);
      // Of a packed table's flags only WRITE has a meaning, and there is no next.
      this.arena.put16(at + 12, packed ? 0 : flags);
      this.arena.put16(at + 14, packed ? flags & DESC.WRITE : i + 1 < segments.length ? i + 1 : 0);
    });
    const address = this.arena.address(table);
    return { address, length: 16 * segments.length, flags: DESC.INDIRECT };
  }

  /** Makes a buffer available and notifies. @returns Its id. */
  offer(queue: number, chain: readonly RawDescriptor[]): number {
    const id = this.ring(queue).add(chain);
    this.device.notify(queue);
    return id;
  }

  /** Waits until a queue has used something; undefined if it does not in time. */
  async take(queue: number): Promise<RawUsed | undefined> {
    const ring = this.ring(queue);
    const found: RawUsed[] = [];
    await this.until(() => {
      if (queue !== 0) this.#running?.feed?.(this);
      return found.push(...ring.used()) > 0;
    });
    return found[0];
  }

  /** Makes a request of segments and waits for what comes of it. */
  async request(queue: number, segments: readonly Segment[]): Promise<Reply> {
    return await this.reply(queue, this.offer(queue, this.chain(segments)), segments);
  }

  /** Waits for what comes of a request whose buffer `id` the device was notified of. */
  async reply(queue: number, id: number, segments: readonly Segment[]): Promise<Reply> {
    const used = await this.take(queue);
    if (used === undefined) throw new CheckFailure("the request", "no answer", "a used buffer");
    return { id, used, bytes: this.written(segments) };
  }

  /** Makes a request of bytes to read and room to write, a segment each. */
  ask(
    queue: number,
    readable: readonly Uint8Array[],
    writable: readonly number[] = [],
  ): Promise<Reply> {
    return this.request(queue, [
      ...readable.map((bytes) => this.readable(bytes)),
      ...writable.map((length) => this.writable(length)),
    ]);
  }

  /** Makes a request that the device need not answer, and gives it time. */
  async tell(
    queue: number,
    readable: readonly Uint8Array[],
    writable: readonly number[] = [],
  ): Promise<void> {
    this.offer(
      queue,
      this.chain([
        ...readable.map((bytes) => this.readable(bytes)),
        ...writable.map((length) => this.writable(length)),
      ]),
    );
    await this.quiet();
  }

  /** Returns the bytes of the device-writable segments. */
  written(segments: readonly Segment[]): Uint8Array {
    const parts = segments.filter(({ write }) => write)
      .map(({ at, length }) => this.arena.get(at, length));
    const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
    let at = 0;
    for (const part of parts) {
      bytes.set(part, at);
      at += part.length;
    }
    return bytes;
  }

  /** The segments of the known request, in fresh memory. */
  segments(known: KnownRequest = this.known): Segment[] {
    return [
      ...known.readable.map((bytes) => this.readable(bytes)),
      ...known.writable.map((length) => this.writable(length)),
    ];
  }

  /** Makes the known request on a running device, and looks at its answer. */
  async cleanRequest(): Promise<Reply> {
    const known = this.known;
    const reply = await this.request(known.queue, this.segments(known));
    this.equal("id of the used buffer", reply.used.id, reply.id);
    known.check(this, reply);
    return reply;
  }

  /** The same, and looks at the length that the device tells; a legacy one may tell any. */
  async exactRequest(): Promise<Reply> {
    const reply = await this.cleanRequest();
    if (this.legacy) return reply;
    const { length } = reply.used;
    const { written } = this.known;
    const room = reply.bytes.length;
    if (written !== undefined) this.equal("length of the used buffer", length, written);
    this.expect("length of the used buffer", length <= room, length, `at most ${room}`);
    return reply;
  }

  /** Resets the device after rules were broken, and demands that it works as before. */
  async survives(): Promise<void> {
    const { device } = this;
    const status = device.status();
    const stopped = (status & STATUS.NEEDS_RESET) !== 0 && !this.wroteNeedsReset;
    if (stopped && (status & STATUS.DRIVER_OK) !== 0) {
      const told = await this.until(() => (device.causes() & CAUSE.CONFIG) !== 0);
      this.expect(
        "interrupt after DEVICE_NEEDS_RESET (dev.basic.status.3)",
        told,
        "none",
        "a configuration change",
      );
    }
    this.intact();
    if (knownRequest(this) === undefined) return await this.init({ until: "features" });
    await this.init();
    try {
      await this.cleanRequest();
    } catch (error) {
      if (!(error instanceof CheckFailure)) throw error;
      const what = `a clean request after a reset: ${error.what}`;
      throw new CheckFailure(what, error.seen, error.expected);
    }
  }

  /** Demands that the device wrote nothing but what it was given to write. */
  intact(): void {
    const at = this.arena.damage();
    if (at === undefined) return;
    throw new CheckFailure(
      "memory that the device was not given to write",
      `byte ${at} of the driver's memory changed`,
      "no change",
    );
  }

  /** Milliseconds to wait for what must not come. */
  get rest(): number {
    return Math.max(2, this.#pace.quiet);
  }

  /** Waits for something. @returns Whether it came in time. */
  async until(done: () => boolean, deadline: number = this.#pace.deadline): Promise<boolean> {
    const start = performance.now();
    for (let turn = 0;; turn++) {
      if (done()) return true;
      if (performance.now() - start > deadline) return done();
      if (turn < 20) await turnOfLoop();
      else await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }

  /** Gives the device time to do what it must not. */
  async quiet(): Promise<void> {
    if (this.#pace.quiet > 0) {
      await new Promise((resolve) => setTimeout(resolve, this.#pace.quiet));
      return;
    }
    for (let turn = 0; turn < 4; turn++) await turnOfLoop();
  }

  /** How many queues the device has. */
  queueCount(): number {
    let count = 0;
    for (; count < MAX_QUEUES; count++) {
      this.device.select(count);
      if (this.device.sizeMax() === 0) break;
    }
    return count;
  }
}

/** Lets others run: a turn of the event loop, without a timer's milliseconds. */
function turnOfLoop(): Promise<void> {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      port2.close();
      resolve();
    };
    port2.postMessage(0);
  });
}
