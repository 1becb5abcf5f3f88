import {
  DESC,
  DescFlag,
  type DmaRegion,
  Feature,
  FeatureSet,
  InterruptCause,
  MmioRegister as R,
  splitRingLayout,
  Status,
} from "@vireo/hal";
import type { EmulatedMachine } from "../machine.ts";
import type { MmioDevice } from "../transport/mmio.ts";
import { MockPackedQueue } from "./packed_queue.ts";
import { type MockSegment, type MockUsed, roomOf } from "./mock_segments.ts";

interface Pending {
  readonly regions: readonly DmaRegion[];
  readonly writable: readonly DmaRegion[];
  /** Bytes that the device may write. */
  readonly room: number;
  readonly resolve: (used: MockUsed) => void;
  readonly slots: readonly number[];
}

/** How to set the device up. */
export interface MockOptions {
  /** Sizes of queues; the maximum by default. */
  readonly queueSize?: number;
  /** Stops before DRIVER_OK. */
  readonly stopBeforeDriverOk?: boolean;
}

/**
 * A driver for tests of device models: it sets a device up through its registers and pushes raw chains
 * into its rings, packed ones if it accepts RING_PACKED. It shares no code with the real drivers.
 *
 * By default {@linkcode MockDriver.init} accepts every feature except EVENT_IDX and INDIRECT_DESC, which the
 * driver does not use by itself.
 *
 * @example
 * ```ts
 * import { EmulatedMachine } from "@vireo/emu/core";
 * import { EchoModel, MockDriver } from "@vireo/emu/testing";
 * import { Status } from "@vireo/hal";
 * import { assertEquals } from "@std/assert";
 *
 * await using machine = EmulatedMachine.create({ devices: [new EchoModel()] });
 * const driver = new MockDriver(machine);
 * assertEquals(driver.init() & Status.DRIVER_OK, Status.DRIVER_OK);
 * const { bytes } = await driver.request(0, [{ read: Uint8Array.of(7) }, { write: 1 }]);
 * assertEquals([...bytes[0]!], [7]);
 * ```
 */
export class MockDriver {
  /** The device's registers. */
  slot: MmioDevice;
  /** The machine of the slot. */
  machine: EmulatedMachine;
  /** The split queues that were set up. */
  readonly queues: MockQueue[] = [];
  /** The packed queues that were set up; a driver has either split or packed ones. */
  readonly packed: MockPackedQueue[] = [];
  /** The accepted features. */
  features: FeatureSet = FeatureSet.NONE;
  /** Config change interrupts that were taken. */
  configChanges = 0;
  /** Queue interrupts that were taken. */
  queueInterrupts = 0;

  /** Makes a driver for a slot of a machine. */
  constructor(machine: EmulatedMachine, slot = 0) {
    this.machine = machine;
    this.slot = machine.slots[slot]!;
  }

  /** Continues on the same slot of another machine, which took over the state and the memory. */
  moveTo(machine: EmulatedMachine): void {
    this.slot = machine.slots[this.machine.slots.indexOf(this.slot)]!;
    this.machine = machine;
  }

  /** Returns the features that the device offers. */
  offered(): FeatureSet {
    const words = [0, 1, 2, 3].map((word) => {
      this.slot.write32(R.DeviceFeaturesSel, word);
      return this.slot.read32(R.DeviceFeatures);
    });
    return FeatureSet.fromWords(...words);
  }

  /**
   * Resets the device, negotiates and sets up all queues.
   *
   * @returns The status afterwards.
   */
  init(features?: FeatureSet, options: MockOptions = {}): number {
    const { slot } = this;
    const accepted = features ??
      this.offered().without(Feature.EVENT_IDX, Feature.INDIRECT_DESC);
    slot.write32(R.Status, 0);
    for (const queue of this.queues.splice(0)) queue[Symbol.dispose]();
    for (const queue of this.packed.splice(0)) queue[Symbol.dispose]();
    this.features = accepted;
    slot.write32(R.Status, Status.ACKNOWLEDGE);
    slot.write32(R.Status, Status.ACKNOWLEDGE | Status.DRIVER);
    const words = slot.version === 1 ? [0] : [0, 1, 2, 3];
    for (const word of words) {
      slot.write32(R.DriverFeaturesSel, word);
      slot.write32(R.DriverFeatures, accepted.word(word));
    }
    let status = Status.ACKNOWLEDGE | Status.DRIVER;
    if (slot.version === 2) {
      status |= Status.FEATURES_OK;
      slot.write32(R.Status, status);
      if ((slot.read32(R.Status) & Status.FEATURES_OK) === 0) return slot.read32(R.Status);
    } else slot.write32(R.GuestPageSize, 4096);
    for (let index = 0;; index++) {
      slot.write32(R.QueueSel, index);
      const max = slot.read32(R.QueueSizeMax);
      if (max === 0) break;
      const size = Math.min(max, options.queueSize ?? max);
      if (accepted.has(Feature.RING_PACKED)) {
        this.packed.push(new MockPackedQueue(this, index, size));
      } else this.queues.push(new MockQueue(this, index, size));
    }
    if (options.stopBeforeDriverOk) return slot.read32(R.Status);
    slot.write32(R.Status, status | Status.DRIVER_OK);
    return slot.read32(R.Status);
  }

  /**
   * Sends one chain and waits until the device used it.
   *
   * @throws {Error} If the device does not use it within 2 s, or needs a reset.
   */
  async request(queue: number, segments: readonly MockSegment[]): Promise<MockUsed> {
    const ring = (this.packed[queue] ?? this.queues[queue])!;
    const done = ring.add(segments);
    ring.kick();
    return await this.until(done);
  }

  /**
   * Takes interrupts until a promise settles.
   *
   * @param deadline Milliseconds until it fails.
   * @throws {Error} If it does not settle in time, or the device needs a reset.
   */
  async until<T>(promise: Promise<T>, deadline = 2000): Promise<T> {
    const stop = new AbortController();
    const timer = setTimeout(
      () => stop.abort(new Error(`Timed out after ${deadline} ms waiting for the device`)),
      deadline,
    );
    const lease = this.machine.slotNodes()[this.machine.slots.indexOf(this.slot)]!.open();
    const pump = (async (): Promise<never> => {
      for (;;) {
        await lease.interrupt.wait({ signal: stop.signal, ready: () => false });
        this.interrupt();
        if (this.needsReset) throw new Error("Cannot wait on a device that needs a reset");
      }
    })();
    try {
      // Collect once before the first interrupt: a test may have suppressed them.
      this.interrupt();
      return await Promise.race([promise, pump]);
    } finally {
      stop.abort(new Error("done"));
      clearTimeout(timer);
      await pump.catch(() => {});
    }
  }

  /** Takes an interrupt if there is one, and collects the used chains of all queues. */
  interrupt(): number {
    const cause = this.slot.read32(R.InterruptStatus);
    if (cause !== 0) this.slot.write32(R.InterruptACK, cause);
    if ((cause & InterruptCause.CONFIG) !== 0) this.configChanges++;
    if ((cause & InterruptCause.QUEUE) !== 0) this.queueInterrupts++;
    for (const queue of this.queues) queue.collect();
    for (const queue of this.packed) queue.collect();
    return cause;
  }

  /** Writes QueueNotify, with the driver's position in the ring if NOTIFICATION_DATA was accepted. */
  notify(queue: number, position: number): void {
    const data = this.features.has(Feature.NOTIFICATION_DATA) ? position << 16 : 0;
    this.slot.write32(R.QueueNotify, (queue | data) >>> 0);
  }

  /** Whether the device reported NEEDS_RESET. */
  get needsReset(): boolean {
    return (this.slot.read32(R.Status) & Status.NEEDS_RESET) !== 0;
  }

  /** Reads configuration bytes. */
  config(offset: number, length: number): Uint8Array {
    return Uint8Array.from({ length }, (_, i) => this.slot.read8(R.Config + offset + i));
  }
}

/**
 * A split ring of a {@linkcode MockDriver}; hostile tests may write its memory directly.
 *
 * @example
 * ```ts
 * import { EmulatedMachine } from "@vireo/emu/core";
 * import { EchoModel, MockDriver } from "@vireo/emu/testing";
 * import { assertEquals } from "@std/assert";
 *
 * await using machine = EmulatedMachine.create({ devices: [new EchoModel()] });
 * const driver = new MockDriver(machine);
 * driver.init();
 * const ring = driver.queues[0]!;
 * // Two requests, one kick.
 * const answers = [1, 2].map((n) => ring.add([{ read: Uint8Array.of(n) }, { write: 1 }]));
 * ring.kick();
 * const used = await driver.until(Promise.all(answers));
 * assertEquals(used.map(({ bytes }) => bytes[0]![0]), [1, 2]);
 * ```
 */
export class MockQueue implements Disposable {
  /** Index of the queue on its device. */
  readonly index: number;
  /** Size in descriptors. */
  readonly size: number;
  /** The ring's memory. */
  readonly region: DmaRegion;
  /** The ring's memory as a view. */
  readonly view: DataView;
  /** Offsets of the parts. */
  readonly layout: ReturnType<typeof splitRingLayout>;
  readonly #driver: MockDriver;
  readonly #pending = new Map<number, Pending>();
  #free: number[];
  #avail = 0;
  #used = 0;

  /** Sets a queue up. */
  constructor(driver: MockDriver, index: number, size: number) {
    const { slot, machine } = driver;
    this.#driver = driver;
    this.index = index;
    this.size = size;
    this.layout = splitRingLayout(size);
    this.region = machine.dma.alloc(this.layout.totalSize, { align: 4096, coherent: true });
    const { buffer, byteOffset, byteLength } = this.region.bytes;
    this.view = new DataView(buffer, byteOffset, byteLength);
    this.#free = Array.from({ length: size }, (_, i) => size - 1 - i);
    const { address } = this.region;
    slot.write32(R.QueueSel, index);
    slot.write32(R.QueueSize, size);
    if (slot.version === 1) {
      slot.write32(R.QueueAlign, 4096);
      slot.write32(R.QueuePFN, address / 4096);
      return;
    }
    slot.write32(R.QueueDescLow, address);
    slot.write32(R.QueueDescHigh, 0);
    slot.write32(R.QueueDriverLow, address + this.layout.availOffset);
    slot.write32(R.QueueDriverHigh, 0);
    slot.write32(R.QueueDeviceLow, address + this.layout.usedOffset);
    slot.write32(R.QueueDeviceHigh, 0);
    slot.write32(R.QueueReady, 1);
  }

  /** Writes a descriptor. */
  setDesc(index: number, address: number, length: number, flags: number, next = 0): void {
    const at = index * DESC.SIZE;
    this.view.setUint32(at, address >>> 0, true);
    this.view.setUint32(at + 4, Math.floor(address / 2 ** 32), true);
    this.view.setUint32(at + 8, length, true);
    this.view.setUint16(at + 12, flags, true);
    this.view.setUint16(at + 14, next, true);
  }

  /** Makes a head available, whatever its descriptors say. */
  makeAvailable(head: number): void {
    const { availOffset } = this.layout;
    this.view.setUint16(availOffset + 4 + 2 * (this.#avail % this.size), head, true);
    this.#avail = (this.#avail + 1) & 0xffff;
    this.view.setUint16(availOffset + 2, this.#avail, true);
  }

  /** Writes avail.flags. */
  setAvailFlags(flags: number): void {
    this.view.setUint16(this.layout.availOffset, flags, true);
  }

  /** Writes used_event. */
  setUsedEvent(index: number): void {
    this.view.setUint16(this.layout.availOffset + 4 + 2 * this.size, index, true);
  }

  /** avail_event as the device wrote it. */
  get availEvent(): number {
    return this.view.getUint16(this.layout.usedOffset + 4 + 8 * this.size, true);
  }

  /** used.flags as the device wrote it. */
  get usedFlags(): number {
    return this.view.getUint16(this.layout.usedOffset, true);
  }

  /** used.idx as the device wrote it. */
  get usedIndex(): number {
    return this.view.getUint16(this.layout.usedOffset + 2, true);
  }

  /** Adds a chain of one descriptor a segment; the promise resolves when the device used it. */
  add(segments: readonly MockSegment[]): Promise<MockUsed> {
    const { dma } = this.#driver.machine;
    if (segments.length > this.#free.length) {
      throw new RangeError("Cannot add to the ring: it is full");
    }
    const slots = segments.map(() => this.#free.pop()!);
    const regions = segments.map((segment) => {
      const region = dma.alloc(
        Math.max("read" in segment ? segment.read.length : segment.write, 1),
      );
      if ("read" in segment) region.bytes.set(segment.read);
      return region;
    });
    segments.forEach((segment, i) => {
      const last = i + 1 === segments.length;
      const flags = ("write" in segment ? DescFlag.WRITE : 0) | (last ? 0 : DescFlag.NEXT);
      const length = "read" in segment ? segment.read.length : segment.write;
      this.setDesc(slots[i]!, regions[i]!.address, length, flags, last ? 0 : slots[i + 1]!);
    });
    const writable = regions.filter((_, i) => "write" in segments[i]!);
    const { promise, resolve } = Promise.withResolvers<MockUsed>();
    this.#pending.set(slots[0]!, { regions, writable, room: roomOf(segments), resolve, slots });
    this.makeAvailable(slots[0]!);
    return promise;
  }

  /** Frees the ring and all pending chains; call this only after a reset. */
  [Symbol.dispose](): void {
    for (const pending of this.#pending.values()) {
      for (const region of pending.regions) region[Symbol.dispose]();
    }
    this.#pending.clear();
    this.region[Symbol.dispose]();
  }

  /** Writes QueueNotify, with the available index if NOTIFICATION_DATA was negotiated. */
  kick(): void {
    this.#driver.notify(this.index, this.#avail);
  }

  /** Resolves what the device used since the last call. */
  collect(): void {
    const inOrder = this.#driver.features.has(Feature.IN_ORDER);
    while (this.#used !== this.usedIndex) {
      const at = this.layout.usedOffset + 4 + 8 * (this.#used % this.size);
      const id = this.view.getUint32(at, true);
      const written = this.view.getUint32(at + 4, true);
      // With IN_ORDER one entry also stands for the chains before it, written to their end (§2.7.9).
      const ids = inOrder && this.#pending.has(id) ? [...this.#pending.keys()] : [id];
      for (const other of ids) {
        this.#used = (this.#used + 1) & 0xffff;
        this.#complete(other, other === id ? written : undefined);
        if (other === id) break;
      }
    }
  }

  #complete(id: number, written: number | undefined): void {
    const pending = this.#pending.get(id);
    if (pending === undefined) return;
    this.#pending.delete(id);
    this.#free.push(...pending.slots);
    const bytes = pending.writable.map((region) => region.bytes.slice());
    pending.resolve({ id, written: written ?? pending.room, bytes });
    for (const region of pending.regions) region[Symbol.dispose]();
  }
}
