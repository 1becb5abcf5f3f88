import {
  type Chain,
  type ForwardPosition,
  forwardPosition,
  type GuestMemory,
  type HostedDevice,
  type QueueGeometry,
} from "@vireo/emu";
import { Feature } from "@vireo/hal";
import { DESC } from "../raw/registers.ts";
import type { Findings } from "./findings.ts";
import { ruleOf } from "./rules.ts";

const DESCRIPTOR = 16;
/** A packed table's flags that are not WRITE. */
const OTHER_FLAGS = 0xffff & ~DESC.WRITE;

/** A range of memory, as the device sees it. */
interface Range {
  readonly address: number;
  readonly length: number;
}

/** A chain that the device has: what its descriptors said. */
interface Held {
  /** The descriptors and tables, and what they held. */
  readonly parts: readonly (Range & { readonly bytes: Uint8Array })[];
  /** The buffers. */
  readonly buffers: readonly Range[];
  /** Where a packed list starts. */
  readonly start: number;
}

/** State of a running queue. */
interface Known {
  readonly held: Map<Chain, Held>;
  /** The available index, or the packed position, at the last notification. */
  told: number;
  /** The available index as it was last seen. */
  index: number | undefined;
}

/** Looks at the rings of one device in its memory, from the outside. */
export class RingWitness {
  readonly #hosted: () => HostedDevice;
  readonly #memory: () => GuestMemory;
  readonly #findings: Findings;
  readonly #queues = new Map<number, Known>();

  /** Watches a device. */
  constructor(hosted: () => HostedDevice, memory: () => GuestMemory, findings: Findings) {
    this.#hosted = hosted;
    this.#memory = memory;
    this.#findings = findings;
  }

  /** The device was reset: it has nothing any more. */
  reset(): void {
    this.#queues.clear();
  }

  /** A queue was stopped, or reset. */
  stopped(index: number): void {
    this.#queues.delete(index);
  }

  /** A queue was started. */
  started(index: number): void {
    const geometry = this.#geometry(index);
    if (geometry === undefined) return;
    const told = this.#available(index) ?? 0;
    this.#queues.set(index, { held: new Map(), told, index: undefined });
    this.#findings.did(this.#packed ? "packed" : "split");
    if (this.#packed || this.#reversed(index)) return;
    const flags = this.#get16(geometry.used);
    if (flags !== 0) {
      const seen = `flags 0x${flags.toString(16)} in the used ring of queue ${index}`;
      this.#findings.broke(ruleOf("ring.used-flags"), seen);
    }
  }

  /** DRIVER_OK: what is available by now needs no notification. */
  running(): void {
    for (const [index, known] of this.#queues) known.told = this.#available(index) ?? 0;
  }

  /** The driver notifies of a queue; the device has not heard of it yet. */
  notified(index: number): void {
    this.audit(index);
    const known = this.#queues.get(index);
    const geometry = this.#geometry(index);
    if (known === undefined || geometry === undefined) return;
    known.told = this.#available(index) ?? known.told;
    if (this.#packed || this.#reversed(index) || this.#eventIdx) return;
    if ((this.#get16(geometry.used) & 1) !== 0) {
      const seen = `a notification of queue ${index} while the used ring's flags are 1`;
      this.#findings.broke(ruleOf("notify.needless"), seen);
    }
  }

  /** Looks at what a driver writes to a split ring besides descriptors. */
  audit(index: number): void {
    const known = this.#queues.get(index);
    const geometry = this.#geometry(index);
    if (known === undefined || geometry === undefined || this.#packed || this.#reversed(index)) {
      return;
    }
    const flags = this.#get16(geometry.avail);
    if (this.#eventIdx ? flags !== 0 : flags > 1) {
      const seen = `flags 0x${flags.toString(16)} in the available ring of queue ${index}` +
        (this.#eventIdx ? " with EVENT_IDX" : "");
      this.#findings.broke(ruleOf("ring.avail-flags"), seen);
    }
    const now = this.#get16(geometry.avail + 2);
    const moved = (now - (known.index ?? now)) & 0xffff;
    if (moved > geometry.size) {
      const seen = `index ${now} after ${known.index} in queue ${index} of ${geometry.size}`;
      this.#findings.broke(ruleOf("ring.avail-index"), seen);
    }
    known.index = now;
  }

  #position(index: number): ForwardPosition | undefined {
    return forwardPosition(this.#hosted().position(index));
  }

  /** Where a queue stands before a chain is taken from it. */
  beforePop(index: number): ForwardPosition | undefined {
    return this.#position(index);
  }

  /** The device took a chain. */
  taken(index: number, chain: Chain, before: ForwardPosition | undefined): void {
    const known = this.#queues.get(index);
    const geometry = this.#geometry(index);
    if (known === undefined || geometry === undefined) return;
    this.audit(index);
    this.#findings.did("used");
    const held = before !== undefined && "ring" in before
      ? this.#packedChain(index, geometry, before.next)
      : this.#splitChain(geometry, chain.head);
    known.held.set(chain, held);
    const { model } = this.#hosted();
    if (model.deviceId === BLK) this.#blkRequest(held.buffers, chain);
    if (model.deviceId === NET && index % 2 === 1) this.#netHeader(held.buffers);
  }

  /** The device is about to return a chain. */
  returned(index: number, chain: Chain): void {
    const known = this.#queues.get(index);
    const held = known?.held.get(chain);
    if (known === undefined || held === undefined) return;
    known.held.delete(chain);
    const position = this.#position(index);
    // Of packed rings only those that no used descriptor can have been written over.
    const whole = position === undefined || !("ring" in position) || position.used === held.start;
    for (const { address, length, bytes } of held.parts) {
      if (!whole && this.#inRing(index, address)) continue;
      const now = this.#bytes(address, length);
      const at = now?.findIndex((byte, i) => byte !== bytes[i]) ?? -1;
      if (at < 0) continue;
      const rule = ruleOf(this.#packed ? "ring.exposed-packed" : "ring.exposed-split");
      const where = (address + at).toString(16);
      const what = `byte 0x${where} of a descriptor of queue ${index} changed`;
      this.#findings.broke(rule, `${what} while the device had it`);
    }
  }

  /** Memory is freed: the device must not have it. */
  freed(range: Range): void {
    this.#findings.did("memory");
    if (!this.#hosted().active) return;
    const overlaps = ({ address, length }: Range): boolean =>
      address < range.address + range.length && range.address < address + length;
    for (const [index, { held }] of this.#queues) {
      if (!this.#hosted().running(index)) continue;
      for (const { buffers, parts } of held.values()) {
        if (![...buffers, ...parts].some(overlaps)) continue;
        const where = `0x${range.address.toString(16)}`;
        const seen = `memory at ${where} was freed while a buffer of queue ${index} was in it`;
        return this.#findings.broke(ruleOf("memory.freed"), seen);
      }
    }
  }

  /** At the end, or when nothing moves any more: buffers without a notification. */
  rest(): void {
    const hosted = this.#hosted();
    if (!hosted.active || (hosted.status & 0x40) !== 0) return;
    for (const [index, known] of this.#queues) {
      if (!hosted.running(index) || this.#reversed(index)) continue;
      this.audit(index);
      const now = this.#available(index);
      if (now === undefined || now === known.told || !this.#wanted(index, known.told, now)) {
        continue;
      }
      const rule = ruleOf(this.#packed ? "notify.missing-packed" : "notify.missing");
      const seen =
        `buffers of queue ${index} up to ${now}, the last notification was at ${known.told}`;
      this.#findings.broke(rule, seen);
    }
  }

  get #packed(): boolean {
    return this.#hosted().packed;
  }

  get #eventIdx(): boolean {
    return this.#hosted().features.has(Feature.EVENT_IDX);
  }

  #reversed(index: number): boolean {
    return this.#hosted().model.queues[index]?.reversed === true;
  }

  /** How far the driver is: the available index, or the next packed descriptor with its wrap counter above. */
  #available(index: number): number | undefined {
    const geometry = this.#geometry(index);
    if (geometry === undefined) return undefined;
    if (!this.#packed) return this.#get16(geometry.avail + 2);
    const position = this.#position(index);
    if (position === undefined || !("ring" in position)) return undefined;
    let at = position.next & 0x7fff;
    let wrap = position.next >>> 15;
    for (let i = 0; i < geometry.size; i++) {
      const flags = this.#get16(geometry.desc + DESCRIPTOR * at + 14);
      const available = wrap === 1
        ? (flags & (DESC.AVAIL | DESC.USED)) === DESC.AVAIL
        : (flags & (DESC.AVAIL | DESC.USED)) === DESC.USED;
      if (!available) break;
      if (++at === geometry.size) [at, wrap] = [0, wrap ^ 1];
    }
    return at | wrap << 15;
  }

  /** Whether the device wants a notification for the buffers after `told`. */
  #wanted(index: number, told: number, now: number): boolean {
    const geometry = this.#geometry(index)!;
    if (!this.#packed) {
      if (!this.#eventIdx) return (this.#get16(geometry.used) & 1) === 0;
      const event = this.#get16(geometry.used + 4 + 8 * geometry.size);
      return ((now - event - 1) & 0xffff) < ((now - told) & 0xffff);
    }
    const flags = this.#get16(geometry.used + 2) & 3;
    if (flags !== 2) return flags === 0;
    const event = this.#get16(geometry.used);
    for (let at = told; at !== now;) {
      if (at === event) return true;
      at = (at & 0x7fff) + 1 === geometry.size ? (at & 0x8000) ^ 0x8000 : at + 1;
    }
    return false;
  }

  #splitChain({ desc, size }: QueueGeometry, head: number): Held {
    const parts: (Range & { bytes: Uint8Array })[] = [];
    const buffers: Range[] = [];
    const inOrder = this.#hosted().features.has(Feature.IN_ORDER);
    if (inOrder) this.#findings.did("split-in-order");
    let table = desc;
    let index = head;
    for (let i = 0; i < 2 * size; i++) {
      const address = table + DESCRIPTOR * index;
      parts.push(this.#part(address, DESCRIPTOR));
      const flags = this.#get16(address + 12);
      const buffer = { address: this.#get64(address), length: this.#get32(address + 8) };
      if ((flags & DESC.INDIRECT) !== 0) {
        this.#findings.did("split-table");
        parts.push(this.#part(buffer.address, buffer.length));
        table = buffer.address;
        index = 0;
        continue;
      }
      buffers.push(buffer);
      if ((flags & DESC.NEXT) === 0) break;
      const next = this.#get16(address + 14);
      const follows = table === desc ? (index + 1) % size : index + 1;
      if (inOrder && next !== follows) {
        const seen = `descriptor ${next} follows descriptor ${index}`;
        this.#findings.broke(ruleOf("ring.in-order"), seen);
      }
      index = next;
    }
    return { parts, buffers, start: head };
  }

  #packedChain(index: number, { desc, size }: QueueGeometry, before: number): Held {
    const parts: (Range & { bytes: Uint8Array })[] = [];
    const buffers: Range[] = [];
    const after = this.#position(index);
    const end = after !== undefined && "ring" in after ? after.next & 0x7fff : before & 0x7fff;
    let at = before & 0x7fff;
    do {
      const address = desc + DESCRIPTOR * at;
      parts.push(this.#part(address, DESCRIPTOR));
      const flags = this.#get16(address + 14);
      const buffer = { address: this.#get64(address), length: this.#get32(address + 8) };
      if ((flags & DESC.INDIRECT) !== 0) {
        this.#findings.did("packed-table");
        parts.push(this.#part(buffer.address, buffer.length));
        this.#packedTable(buffer, buffers);
      } else buffers.push(buffer);
      if (++at === size) at = 0;
    } while (at !== end);
    return { parts, buffers, start: before };
  }

  #packedTable({ address, length }: Range, buffers: Range[]): void {
    for (let at = address; at < address + length; at += DESCRIPTOR) {
      const flags = this.#get16(at + 14);
      buffers.push({ address: this.#get64(at), length: this.#get32(at + 8) });
      if ((flags & OTHER_FLAGS) === 0) continue;
      const seen = `flags 0x${flags.toString(16)} in a table`;
      this.#findings.broke(ruleOf("ring.packed-table-flags"), seen);
    }
  }

  /** Looks at the header of a block request. */
  #blkRequest(buffers: readonly Range[], chain: Chain): void {
    const header = this.#gather(buffers, 16);
    if (header === undefined) return;
    this.#findings.did("blk");
    const view = new DataView(header.buffer);
    const type = view.getUint32(0, true);
    const sector = Number(view.getBigUint64(8, true));
    const data = type === BLK_OUT ? chain.readableLength - 16 : chain.writableLength - 1;
    const broke = (id: string, seen: string): void => this.#findings.broke(ruleOf(id), seen);
    if (type === BLK_IN || type === BLK_OUT) {
      if (data % 512 !== 0) broke("blk.whole-sectors", `a request of ${data} bytes`);
      const { model } = this.#hosted();
      const capacity = model.readConfig(0, 4) + model.readConfig(4, 4) * 2 ** 32;
      const end = sector + data / 512;
      if (end > capacity) broke("blk.capacity", `a request up to sector ${end} of ${capacity}`);
    }
    if (type === BLK_FLUSH && sector !== 0) {
      broke("blk.flush-sector", `a FLUSH of sector ${sector}`);
    }
    if (type === BLK_GET_ID && data !== 20) broke("blk.id-length", `a GET_ID of ${data} bytes`);
  }

  /** Looks at the header of a sent frame. */
  #netHeader(buffers: readonly Range[]): void {
    const { features, legacy } = this.#hosted();
    const size = legacy && !features.has(MRG_RXBUF) ? 10 : 12;
    const header = this.#gather(buffers, size);
    if (header === undefined) return;
    this.#findings.did("net");
    if (!features.has(CSUM) && header[0] !== 0) {
      this.#findings.broke(ruleOf("net.flags"), `flags 0x${header[0]!.toString(16)} without CSUM`);
    }
    const count = size === 12 ? header[10]! | header[11]! << 8 : 0;
    if (count !== 0) {
      this.#findings.broke(ruleOf("net.buffers"), `num_buffers ${count} in a header that is sent`);
    }
  }

  /** The first bytes of buffers; undefined if there are less. */
  #gather(buffers: readonly Range[], length: number): Uint8Array<ArrayBuffer> | undefined {
    const all = new Uint8Array(length);
    let at = 0;
    for (const { address, length: size } of buffers) {
      const bytes = this.#bytes(address, Math.min(size, length - at));
      if (bytes === undefined) return undefined;
      all.set(bytes, at);
      at += bytes.length;
      if (at === length) return all;
    }
    return undefined;
  }

  #inRing(index: number, address: number): boolean {
    const { desc, size } = this.#geometry(index)!;
    return address >= desc && address < desc + DESCRIPTOR * size;
  }

  #geometry(index: number): QueueGeometry | undefined {
    const hosted = this.#hosted();
    const config = hosted.configs[index];
    if (config === undefined || !hosted.running(index)) return undefined;
    if (config.pfn === 0) return config.geometry();
    return config.legacyGeometry(hosted.pageSize);
  }

  #part(address: number, length: number): Range & { bytes: Uint8Array } {
    return { address, length, bytes: this.#bytes(address, length)?.slice() ?? new Uint8Array() };
  }

  #bytes(address: number, length: number): Uint8Array | undefined {
    const memory = this.#memory();
    return memory.contains(address, length) ? memory.view(address, length) : undefined;
  }

  #get16(address: number): number {
    const bytes = this.#bytes(address, 2);
    return bytes === undefined ? 0 : bytes[0]! | bytes[1]! << 8;
  }

  #get32(address: number): number {
    return (this.#get16(address) | this.#get16(address + 2) << 16) >>> 0;
  }

  #get64(address: number): number {
    return this.#get32(address) + this.#get32(address + 4) * 2 ** 32;
  }
}

const BLK = 2;
const NET = 1;
const BLK_IN = 0;
const BLK_OUT = 1;
const BLK_FLUSH = 4;
const BLK_GET_ID = 8;
const CSUM = 0;
const MRG_RXBUF = 15;
