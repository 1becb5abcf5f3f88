import type { QueueAddresses } from "../virtqueue/virtqueue.ts";
import type { TestDma } from "./dma.ts";

/** A descriptor as it lies in memory (virtio 1.4 §2.7.5). */
export interface RingDescriptor {
  /** Address of the buffer. */
  readonly address: number;
  /** Length of the buffer in bytes. */
  readonly length: number;
  /** NEXT is 1, WRITE is 2, INDIRECT is 4. */
  readonly flags: number;
  /** Index of the next descriptor, if flags has NEXT. */
  readonly next: number;
}

/** A chain that a driver made available. */
export interface RingChain {
  /** Index of the first descriptor in the ring's table: what the device must return. */
  readonly head: number;
  /** The descriptor at that index; of an indirect chain, the one that refers to the table. */
  readonly first: RingDescriptor;
  /** The descriptors of the buffers, in order, whether in the ring's table or an indirect one. */
  readonly descriptors: readonly RingDescriptor[];
  /** Total of the lengths that the device may write, in bytes. */
  readonly writableLength: number;
}

/** Features of the ring; none by default. */
export interface RingDeviceOptions {
  /** Whether INDIRECT_DESC was negotiated. */
  readonly indirect?: boolean;
  /** Whether EVENT_IDX was negotiated. */
  readonly eventIdx?: boolean;
}

/**
 * The device side of a split virtqueue, one step at a time and under a test's control: it completes in
 * any order, with any length, and lies as told (virtio 1.4 §2.7).
 *
 * Its layout numbers are typed from the specification, so that it agrees with a driver only if both
 * agree with the text. It is strict about what the driver wrote: a chain that breaks a rule throws.
 *
 * @example
 * ```ts
 * import { SgList, SplitVirtqueue } from "@vireo/drivers";
 * import { RingDevice, TestDma } from "@vireo/drivers/testing";
 * import { assertEquals } from "@std/assert";
 *
 * const dma = new TestDma();
 * using queue = new SplitVirtqueue({
 *   index: 0, name: "vq", size: 4, dma, indirect: false, eventIdx: false, notificationData: false,
 *   notify() {},
 * });
 * const device = new RingDevice(dma, queue.addresses);
 * queue.add(new SgList(1).addWritable(0x5000, 64), 7);
 * queue.kick();
 * device.complete(device.next()!, 16);
 * assertEquals([queue.pop(), queue.usedLength], [7, 16]);
 * ```
 */
export class RingDevice {
  /** Position of the next available entry to read. */
  lastAvail = 0;
  /** Position of the next used entry to write; what is in memory follows it at a publication. */
  nextUsed = 0;
  readonly #dma: TestDma;
  readonly #ring: QueueAddresses;
  readonly #indirect: boolean;
  readonly #eventIdx: boolean;
  readonly #view: DataView;
  #signalled = 0;

  /** Attaches to a ring. */
  constructor(dma: TestDma, ring: QueueAddresses, options: RingDeviceOptions = {}) {
    this.#dma = dma;
    this.#ring = ring;
    this.#indirect = options.indirect ?? false;
    this.#eventIdx = options.eventIdx ?? false;
    const { buffer, byteOffset, byteLength } = dma.memory;
    this.#view = new DataView(buffer, byteOffset, byteLength);
  }

  /** The driver's `avail.flags`: 1 asks for no interrupts. */
  get availFlags(): number {
    return this.#u16(this.#ring.driver);
  }

  /** The driver's `avail.idx`. */
  get availIndex(): number {
    return this.#u16(this.#ring.driver + 2);
  }

  /** The driver's `used_event`, behind the available ring. */
  get usedEvent(): number {
    return this.#u16(this.#ring.driver + 4 + 2 * this.#ring.size);
  }

  /** The device's `used.flags`: 1 asks for no notifications. */
  get usedFlags(): number {
    return this.#u16(this.#ring.device);
  }
  set usedFlags(flags: number) {
    this.#setU16(this.#ring.device, flags);
  }

  /** The device's `used.idx`; setting it alone is a lie. */
  get usedIndex(): number {
    return this.#u16(this.#ring.device + 2);
  }
  set usedIndex(index: number) {
    this.#setU16(this.#ring.device + 2, index);
  }

  /** The device's `avail_event`, behind the used ring. */
  get availEvent(): number {
    return this.#u16(this.#ring.device + 4 + 8 * this.#ring.size);
  }
  set availEvent(index: number) {
    this.#setU16(this.#ring.device + 4 + 8 * this.#ring.size, index);
  }

  /** Returns an entry of the available ring. @param position A free-running index. */
  availEntry(position: number): number {
    return this.#u16(this.#ring.driver + 4 + 2 * (position % this.#ring.size));
  }

  /** A descriptor of the ring's table. */
  descriptor(index: number): RingDescriptor {
    return this.#read(this.#ring.desc, index);
  }

  /**
   * Takes the next available chain, following an indirect table.
   *
   * @returns Undefined if there is none.
   * @throws {Error} If the driver broke a rule of virtio 1.4 §2.7.4 or §2.7.5.
   */
  next(): RingChain | undefined {
    const ahead = (this.availIndex - this.lastAvail) & 0xffff;
    if (ahead === 0) return undefined;
    if (ahead > this.#ring.size) throw new Error(`avail.idx is ${ahead} ahead`);
    const head = this.availEntry(this.lastAvail);
    const chain = this.#chain(head);
    this.lastAvail = (this.lastAvail + 1) & 0xffff;
    return chain;
  }

  /** Takes all available chains. */
  takeAll(): RingChain[] {
    const chains: RingChain[] = [];
    for (let chain = this.next(); chain !== undefined; chain = this.next()) chains.push(chain);
    return chains;
  }

  /** Asks for a notification of the next chain, as a device that is about to sleep does. */
  wantNotification(): void {
    if (this.#eventIdx) this.availEvent = this.lastAvail;
    else this.usedFlags = 0;
  }

  /** Asks for no notifications, as a device that polls does. */
  refuseNotification(): void {
    if (this.#eventIdx) this.availEvent = (this.lastAvail - 1) & 0xffff;
    else this.usedFlags = 1;
  }

  /** Writes a used entry without publishing it. @param id Any 32-bit value. @param length Likewise. */
  put(id: number, length: number): void {
    const at = this.#ring.device + 4 + 8 * (this.nextUsed % this.#ring.size) - this.#dma.base;
    this.#view.setUint32(at, id, true);
    this.#view.setUint32(at + 4, length, true);
    this.nextUsed = (this.nextUsed + 1) & 0xffff;
  }

  /** Moves the used index over all entries that were put. */
  publish(): void {
    this.usedIndex = this.nextUsed;
  }

  /** Returns a chain, or claims to: puts an entry and publishes it. */
  complete(chain: RingChain | number, length: number): void {
    this.put(typeof chain === "number" ? chain : chain.head, length);
    this.publish();
  }

  /** Whether an interrupt is due for what was published since the last call (virtio 1.4 §2.7.7). */
  interruptDue(): boolean {
    const old = this.#signalled;
    const now = this.#signalled = this.usedIndex;
    if (now === old) return false;
    if (!this.#eventIdx) return this.availFlags === 0;
    return ((now - this.usedEvent - 1) & 0xffff) < ((now - old) & 0xffff);
  }

  #chain(head: number): RingChain {
    if (head >= this.#ring.size) throw new Error(`Head ${head} is not in the table`);
    const first = this.descriptor(head);
    let table = this.#ring.desc;
    let count = this.#ring.size;
    let index = head;
    if ((first.flags & 4) !== 0) {
      if (!this.#indirect) throw new Error("INDIRECT was not negotiated");
      if ((first.flags & 1) !== 0) throw new Error("INDIRECT together with NEXT");
      if (first.length === 0 || first.length % 16 !== 0) throw new Error("Bad table length");
      table = first.address;
      count = first.length / 16;
      index = 0;
    }
    const descriptors: RingDescriptor[] = [];
    let writableLength = 0;
    let writable = false;
    for (;;) {
      if (index >= count) throw new Error(`Descriptor ${index} of ${count}`);
      if (descriptors.length === this.#ring.size) throw new Error("Chain longer than the ring");
      const desc = this.#read(table, index);
      if ((desc.flags & ~3) !== 0) throw new Error(`Flags ${desc.flags}`);
      if ((desc.flags & 2) !== 0) {
        writable = true;
        writableLength += desc.length;
      } else if (writable) throw new Error("Readable after writable");
      descriptors.push(desc);
      if ((desc.flags & 1) === 0) return { head, first, descriptors, writableLength };
      index = desc.next;
    }
  }

  #read(table: number, index: number): RingDescriptor {
    const at = table + 16 * index - this.#dma.base;
    const view = this.#view;
    return {
      address: view.getUint32(at, true) + view.getUint32(at + 4, true) * 2 ** 32,
      length: view.getUint32(at + 8, true),
      flags: view.getUint16(at + 12, true),
      next: view.getUint16(at + 14, true),
    };
  }

  #u16(address: number): number {
    return this.#view.getUint16(address - this.#dma.base, true);
  }

  #setU16(address: number, value: number): void {
    this.#view.setUint16(address - this.#dma.base, value, true);
  }
}
