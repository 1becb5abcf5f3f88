import {
  DescFlag,
  type DmaRegion,
  EVENT_SUPPRESS,
  Feature,
  MmioRegister as R,
  PACKED_DESC,
  PackedDescFlag,
} from "@vireo/hal";
import type { MockDriver } from "./mock_driver.ts";
import { type MockSegment, type MockUsed, roomOf } from "./mock_segments.ts";

const BOTH = PackedDescFlag.AVAIL | PackedDescFlag.USED;

interface Pending {
  readonly id: number;
  readonly descriptors: number;
  readonly regions: readonly DmaRegion[];
  readonly writable: readonly DmaRegion[];
  /** Bytes that the device may write. */
  readonly room: number;
  readonly resolve: (used: MockUsed) => void;
}

/**
 * A packed ring of a {@linkcode MockDriver}; hostile tests may write its memory directly.
 *
 * @example
 * ```ts
 * import { EmulatedMachine } from "@vireo/emu/core";
 * import { EchoModel, MockDriver } from "@vireo/emu/testing";
 * import { assertEquals } from "@std/assert";
 *
 * await using machine = EmulatedMachine.create({
 *   devices: [{ model: new EchoModel(), ring: { packed: true } }],
 * });
 * const driver = new MockDriver(machine);
 * driver.init();
 * const ring = driver.packed[0]!;
 * const answer = ring.add([{ read: Uint8Array.of(7) }, { write: 1 }]);
 * ring.kick();
 * assertEquals((await driver.until(answer)).bytes[0]![0], 7);
 * ```
 */
export class MockPackedQueue implements Disposable {
  /** Index of the queue on its device. */
  readonly index: number;
  /** Size in descriptors. */
  readonly size: number;
  /** The ring's memory: descriptors, then the driver's and the device's event suppression structure. */
  readonly region: DmaRegion;
  /** The ring's memory as a view. */
  readonly view: DataView;
  /** Place of the next descriptor to make available. */
  next = 0;
  /** The driver's wrap counter. */
  wrap: 0 | 1 = 1;
  readonly #driver: MockDriver;
  readonly #inOrder: boolean;
  /** In the order in which they were made available. */
  readonly #pending = new Map<number, Pending>();
  #nextId = 0;
  #used = 0;
  #usedWrap: 0 | 1 = 1;
  #free: number;

  /** Sets a queue up. */
  constructor(driver: MockDriver, index: number, size: number) {
    const { slot, machine } = driver;
    this.#driver = driver;
    this.#inOrder = driver.features.has(Feature.IN_ORDER);
    this.index = index;
    this.size = this.#free = size;
    const bytes = PACKED_DESC.SIZE * size + 2 * EVENT_SUPPRESS.SIZE;
    this.region = machine.dma.alloc(bytes, { align: 16, coherent: true });
    const { buffer, byteOffset, byteLength } = this.region.bytes;
    this.view = new DataView(buffer, byteOffset, byteLength);
    slot.write32(R.QueueSel, index);
    slot.write32(R.QueueSize, size);
    this.enable();
  }

  /** Writes the addresses of the parts and QueueReady, also after a reset of the queue. */
  enable(): void {
    const { slot } = this.#driver;
    const { address } = this.region;
    const events = address + PACKED_DESC.SIZE * this.size;
    slot.write32(R.QueueSel, this.index);
    slot.write32(R.QueueSize, this.size);
    slot.write32(R.QueueDescLow, address);
    slot.write32(R.QueueDescHigh, 0);
    slot.write32(R.QueueDriverLow, events);
    slot.write32(R.QueueDriverHigh, 0);
    slot.write32(R.QueueDeviceLow, events + EVENT_SUPPRESS.SIZE);
    slot.write32(R.QueueDeviceHigh, 0);
    slot.write32(R.QueueReady, 1);
  }

  /** Forgets all pending chains and starts again, after a reset of the queue alone. */
  restart(): void {
    for (const { regions } of this.#pending.values()) for (const r of regions) r[Symbol.dispose]();
    this.#pending.clear();
    this.region.bytes.fill(0);
    this.next = this.#used = 0;
    this.wrap = this.#usedWrap = 1;
    this.#free = this.size;
    this.enable();
  }

  /** Writes a descriptor of the ring, whatever it says. */
  setDesc(place: number, address: number, length: number, id: number, flags: number): void {
    this.#put(this.view, place, address, length, id, flags);
  }

  /** Flags that make a descriptor available in this round of the ring. */
  get availableFlags(): number {
    return this.wrap === 1 ? PackedDescFlag.AVAIL : PackedDescFlag.USED;
  }

  /** Moves to the next place of the ring, for tests that write a descriptor directly. */
  advance(): void {
    if (++this.next < this.size) return;
    this.next = 0;
    this.wrap = this.wrap === 1 ? 0 : 1;
  }

  /** Writes the driver event suppression structure: a `RingEvent` with its place and wrap counter. */
  setEvent(mode: number, place = 0, wrap = 0): void {
    const at = PACKED_DESC.SIZE * this.size;
    this.view.setUint16(at + EVENT_SUPPRESS.desc.offset, place | wrap << 15, true);
    this.view.setUint16(at + EVENT_SUPPRESS.flags.offset, mode, true);
  }

  /** The device event suppression structure as the device wrote it: mode, place and counter. */
  get deviceEvent(): { readonly mode: number; readonly place: number; readonly wrap: number } {
    const at = PACKED_DESC.SIZE * this.size + EVENT_SUPPRESS.SIZE;
    const place = this.view.getUint16(at + EVENT_SUPPRESS.desc.offset, true);
    const mode = this.view.getUint16(at + EVENT_SUPPRESS.flags.offset, true);
    return { mode, place: place & 0x7fff, wrap: place >>> 15 };
  }

  /**
   * Adds a list of one descriptor a segment, or one indirect table of them; the promise resolves when
   * the device used it.
   */
  add(segments: readonly MockSegment[], options: MockAddOptions = {}): Promise<MockUsed> {
    const { dma } = this.#driver.machine;
    const descriptors = options.indirect ? 1 : segments.length;
    if (descriptors > this.#free) throw new RangeError("Cannot add to the ring: it is full");
    this.#free -= descriptors;
    const id = this.#newId();
    const regions = segments.map((segment) => {
      const region = dma.alloc(
        Math.max("read" in segment ? segment.read.length : segment.write, 1),
      );
      if ("read" in segment) region.bytes.set(segment.read);
      return region;
    });
    const writable = regions.filter((_, i) => "write" in segments[i]!);
    const lengthOf = (s: MockSegment): number => "read" in s ? s.read.length : s.write;
    const flagsOf = (s: MockSegment): number => "write" in s ? DescFlag.WRITE : 0;
    if (options.indirect) {
      const table = dma.alloc(PACKED_DESC.SIZE * segments.length);
      const { buffer, byteOffset, byteLength } = table.bytes;
      const view = new DataView(buffer, byteOffset, byteLength);
      segments.forEach((s, i) =>
        this.#put(view, i, regions[i]!.address, lengthOf(s), 0, flagsOf(s))
      );
      const flags = DescFlag.INDIRECT | this.availableFlags;
      this.setDesc(this.next, table.address, byteLength, id, flags);
      this.advance();
      regions.push(table);
    } else {
      segments.forEach((s, i) => {
        const more = i + 1 < segments.length ? DescFlag.NEXT : 0;
        const flags = flagsOf(s) | more | this.availableFlags;
        this.setDesc(this.next, regions[i]!.address, lengthOf(s), id, flags);
        this.advance();
      });
    }
    const { promise, resolve } = Promise.withResolvers<MockUsed>();
    this.#pending.set(id, { id, descriptors, regions, writable, room: roomOf(segments), resolve });
    return promise;
  }

  /** Frees the ring and all pending chains; call this only after a reset. */
  [Symbol.dispose](): void {
    for (const { regions } of this.#pending.values()) for (const r of regions) r[Symbol.dispose]();
    this.#pending.clear();
    this.region[Symbol.dispose]();
  }

  /** Writes QueueNotify, with the position if NOTIFICATION_DATA was negotiated. */
  kick(): void {
    this.#driver.notify(this.index, this.next | this.wrap << 15);
  }

  /** Resolves what the device used since the last call. */
  collect(): void {
    while (this.#pending.size > 0) {
      const at = PACKED_DESC.SIZE * this.#used;
      const flags = this.view.getUint16(at + PACKED_DESC.flags.offset, true);
      if ((flags & BOTH) !== (this.#usedWrap === 1 ? BOTH : 0)) return;
      const id = this.view.getUint16(at + PACKED_DESC.id.offset, true);
      // Without WRITE the length means nothing (virtio 1.4 §2.8.4).
      const length = this.view.getUint32(at + PACKED_DESC.len.offset, true);
      const last = this.#pending.get(id);
      if (last === undefined) throw new Error(`The device used id ${id}, which is not pending`);
      for (const pending of this.#inOrder ? [...this.#pending.values()] : [last]) {
        // Skipped chains were written to their end (virtio 1.4 §2.8.8).
        const written = pending !== last
          ? pending.room
          : (flags & DescFlag.WRITE) === 0
          ? 0
          : length;
        this.#complete(pending, written);
        if (pending === last) break;
      }
    }
  }

  #complete(pending: Pending, written: number): void {
    this.#pending.delete(pending.id);
    this.#free += pending.descriptors;
    this.#used += pending.descriptors;
    if (this.#used >= this.size) {
      this.#used -= this.size;
      this.#usedWrap = this.#usedWrap === 1 ? 0 : 1;
    }
    const bytes = pending.writable.map((region) => region.bytes.slice());
    pending.resolve({ id: pending.id, written, bytes });
    for (const region of pending.regions) region[Symbol.dispose]();
  }

  #newId(): number {
    do this.#nextId = (this.#nextId + 1) % this.size; while (this.#pending.has(this.#nextId));
    return this.#nextId;
  }

  #put(
    view: DataView,
    place: number,
    address: number,
    length: number,
    id: number,
    flags: number,
  ): void {
    const at = place * PACKED_DESC.SIZE;
    view.setUint32(at, address >>> 0, true);
    view.setUint32(at + 4, Math.floor(address / 2 ** 32), true);
    view.setUint32(at + PACKED_DESC.len.offset, length, true);
    view.setUint16(at + PACKED_DESC.id.offset, id, true);
    view.setUint16(at + PACKED_DESC.flags.offset, flags, true);
  }
}

/** How to make a list available. */
export interface MockAddOptions {
  /** By an indirect table; needs INDIRECT_DESC. */
  readonly indirect?: boolean;
}
