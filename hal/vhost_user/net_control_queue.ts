import type { Libc } from "../unix/libc.ts";
import { NetAck, NetCtrl, NetCtrlMq } from "../virtio/net.ts";
import { PACKED_DESC, PackedDescFlag } from "../virtio/packed_ring.ts";
import { DESC, DescFlag, USED_ELEM } from "../virtio/split_ring.ts";
import type { FrontEndMemory } from "./front_end.ts";
import type { VhostUserQueue } from "./node.ts";

/** Bytes of flags and index before the entries of a split ring's available and used part. */
const RING_HEADER = 4;
/** Bytes of a command's class, number and count of queue pairs. */
const COMMAND_SIZE = 4;

/** Offsets of the fields that the two rings have in different places. */
interface DescriptorPlaces {
  readonly flags: number;
  readonly link: number;
}
const SPLIT: DescriptorPlaces = { flags: DESC.flags.offset, link: DESC.next.offset };
const PACKED: DescriptorPlaces = { flags: PACKED_DESC.flags.offset, link: PACKED_DESC.id.offset };

/** A descriptor of either ring. */
interface Descriptor {
  readonly address: number;
  readonly length: number;
  readonly flags: number;
  /** Of a split ring: the next one. Of a packed one: the buffer's id. */
  readonly link: number;
}

/**
 * The device's half of the control queue of a network device whose back end has queue pairs but, as all back ends,
 * no control queue: the number of pairs is all that it sets (virtio 1.4 §5.1.6.5.5). It works in the driver's
 * own thread, when it is notified, so neither side sees the other half done.
 */
export class NetControlQueue {
  readonly #libc: Libc;
  readonly #memory: FrontEndMemory;
  readonly #queue: VhostUserQueue;
  readonly #setPairs: (pairs: number) => boolean;
  readonly #places: DescriptorPlaces;
  /** Entries of the ring that were seen: of a split ring modulo 2^16, of a packed one the place in it. */
  #place = 0;
  #wrap = true;

  /**
   * @param setPairs Uses so many pairs from now on; false if there are not so many.
   */
  constructor(
    libc: Libc,
    memory: FrontEndMemory,
    queue: VhostUserQueue,
    setPairs: (pairs: number) => boolean,
  ) {
    this.#libc = libc;
    this.#memory = memory;
    this.#queue = queue;
    this.#setPairs = setPairs;
    this.#places = queue.packed ? PACKED : SPLIT;
  }

  /** Carries out the commands that are available. @returns Whether there were any. */
  run(): boolean {
    const take = this.#queue.packed ? () => this.#takePacked() : () => this.#takeSplit();
    if (!take()) return false;
    while (take());
    return true;
  }

  #takeSplit(): boolean {
    const { size, driver, device } = this.#queue;
    if (this.#read16(driver + 2) === this.#place) return false;
    const entry = this.#place % size;
    const head = this.#read16(driver + RING_HEADER + 2 * entry);
    const chain: Descriptor[] = [];
    for (let index = head; chain.length < size;) {
      const one = this.#descriptor(this.#queue.desc + DESC.SIZE * (index % size));
      chain.push(one);
      if ((one.flags & DescFlag.NEXT) === 0) break;
      index = one.link;
    }
    const used = new DataView(new ArrayBuffer(USED_ELEM.SIZE));
    used.setUint32(USED_ELEM.id.offset, head, true);
    used.setUint32(USED_ELEM.len.offset, this.#carryOut(chain), true);
    this.#write(device + RING_HEADER + USED_ELEM.SIZE * entry, used);
    this.#place = this.#place + 1 & 0xffff;
    this.#write16(device + 2, this.#place);
    // With EVENT_IDX the driver notifies of an entry only if this one was asked for.
    this.#write16(device + RING_HEADER + USED_ELEM.SIZE * size, this.#place);
    return true;
  }

  #takePacked(): boolean {
    const { size, desc } = this.#queue;
    const first = desc + PACKED_DESC.SIZE * this.#place;
    const { AVAIL, USED } = PackedDescFlag;
    const [available, returned] = this.#wrap ? [AVAIL, USED] : [USED, AVAIL];
    if ((this.#read16(first + PACKED.flags) & (AVAIL | USED)) !== available) return false;
    const chain: Descriptor[] = [];
    while (chain.length < size) {
      const at = desc + PACKED_DESC.SIZE * ((this.#place + chain.length) % size);
      const one = this.#descriptor(at);
      chain.push(one);
      if ((one.flags & DescFlag.NEXT) === 0) break;
    }
    const written = this.#carryOut(chain);
    const used = new DataView(new ArrayBuffer(PACKED_DESC.SIZE));
    used.setUint32(PACKED_DESC.len.offset, written, true);
    used.setUint16(PACKED.link, chain.at(-1)!.link, true);
    used.setUint16(PACKED.flags, (available | returned) & (this.#wrap ? 0xffff : 0), true);
    this.#write(first, used);
    this.#place += chain.length;
    if (this.#place >= size) {
      this.#place -= size;
      this.#wrap = !this.#wrap;
    }
    return true;
  }

  /** Carries out a command. @returns Bytes that were written: its ack, if there is room for one. */
  #carryOut(chain: readonly Descriptor[]): number {
    const [only] = chain;
    const all = chain.length === 1 && (only!.flags & DescFlag.INDIRECT) !== 0
      ? this.#table(only!)
      : chain;
    const command = new Uint8Array(COMMAND_SIZE);
    let length = 0;
    for (const { address, length: size, flags } of all) {
      if ((flags & DescFlag.WRITE) !== 0) continue;
      const bytes = this.#read(address, Math.min(size, COMMAND_SIZE - length));
      command.set(bytes, length);
      length += size;
      if (length > COMMAND_SIZE) break;
    }
    const ack = all.find(({ flags, length }) => (flags & DescFlag.WRITE) !== 0 && length > 0);
    if (ack === undefined) return 0;
    const [kind, what, low, high] = command;
    const done = length === COMMAND_SIZE && kind === NetCtrl.MQ &&
      what === NetCtrlMq.VQ_PAIRS_SET &&
      this.#setPairs(low! | high! << 8);
    this.#write(ack.address, Uint8Array.of(done ? NetAck.OK : NetAck.ERR));
    return 1;
  }

  /** The descriptors of an indirect table; those of a packed ring's are in order. */
  #table({ address, length }: Descriptor): Descriptor[] {
    const { packed } = this.#queue;
    const count = Math.min(Math.floor(length / DESC.SIZE), this.#queue.size);
    const table: Descriptor[] = [];
    for (let index = 0; index < count && table.length < count;) {
      const one = this.#descriptor(address + DESC.SIZE * index);
      table.push(one);
      if (!packed && (one.flags & DescFlag.NEXT) === 0) break;
      index = packed ? index + 1 : one.link;
    }
    return table;
  }

  /** Reads a descriptor; both rings have its address and its length in the same place. */
  #descriptor(at: number): Descriptor {
    const { flags, link } = this.#places;
    const view = new DataView(this.#read(at, DESC.SIZE).buffer);
    return {
      address: Number(view.getBigUint64(DESC.addr.offset, true)),
      length: view.getUint32(DESC.len.offset, true),
      flags: view.getUint16(flags, true),
      link: view.getUint16(link, true),
    };
  }

  #read16(address: number): number {
    const [low, high] = this.#read(address, 2);
    return low! | high! << 8;
  }

  #write16(address: number, value: number): void {
    this.#write(address, Uint8Array.of(value & 0xff, value >> 8));
  }

  #read(address: number, length: number): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(length);
    if (length > 0) this.#libc.readAt(this.#memory.fd, bytes, address - this.#memory.guest);
    return bytes;
  }

  #write(address: number, data: Uint8Array<ArrayBuffer> | DataView<ArrayBuffer>): void {
    const bytes = data instanceof DataView ? new Uint8Array(data.buffer) : data;
    this.#libc.writeAt(this.#memory.fd, bytes, address - this.#memory.guest);
  }
}
