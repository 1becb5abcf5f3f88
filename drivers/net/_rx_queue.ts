import {
  alignUp,
  type Dma,
  type DmaRegion,
  ETH_HDR_SIZE,
  NET_HDR_HASH,
  NET_MAX_GSO_FRAME,
  NetGso,
  NetHashReport,
  NetHdrFlag,
  VLAN_TAG_SIZE,
} from "@vireo/hal";
import { SgList, type Virtqueue } from "../virtqueue/virtqueue.ts";
import type { NetStats, RxFrame } from "./frame.ts";

/** How receive buffers are made (virtio 1.4 §5.1.6.3). */
export type RxMode = "mergeable" | "small" | "big";

/** Size of a mergeable buffer in bytes; one ordinary frame fits. */
const MERGEABLE_SIZE = 1536;
/** Big buffers are 64 KiB each: a few are enough, and memory is not without end. */
const MAX_BIG_BUFFERS = 32;
const ETHERTYPE_IPV4 = 0x0800;
const ETHERTYPE_IPV6 = 0x86dd;
const ETHERTYPE_VLAN = 0x8100;

/** How an {@linkcode RxQueue} is laid out. */
export interface RxLayout {
  readonly mode: RxMode;
  readonly headerSize: number;
  readonly mtu: number;
  /** Whether the header needs a descriptor of its own (legacy without ANY_LAYOUT). */
  readonly splitHeader: boolean;
  /** Bit n is set if the header may say gso_type n. */
  readonly gsoTypes: number;
  /** Whether the ECN bit may be set. */
  readonly ecn: boolean;
  /** Whether NEEDS_CSUM may be set. */
  readonly csum: boolean;
}

/** One receive queue: owns its buffers, checks what the device says of them, hands frames on. */
export class RxQueue {
  readonly queue: Virtqueue;
  /** Which pair it belongs to. */
  readonly index: number;
  readonly #layout: RxLayout;
  readonly #region: DmaRegion;
  readonly #stride: number;
  readonly #stats: NetStats;
  readonly #frame: RxFrame;
  readonly #deliver: () => void;
  readonly #chain = new SgList(2);
  /** Where a frame of several buffers is put together. */
  readonly #whole: Uint8Array;

  constructor(
    queue: Virtqueue,
    dma: Dma,
    layout: RxLayout,
    index: number,
    sink: { readonly frame: RxFrame; readonly stats: NetStats; readonly deliver: () => void },
  ) {
    this.queue = queue;
    this.index = index;
    this.#layout = layout;
    this.#frame = sink.frame;
    this.#stats = sink.stats;
    this.#deliver = sink.deliver;
    const { mode, headerSize, mtu } = layout;
    const packet = mode === "mergeable"
      ? MERGEABLE_SIZE - headerSize
      : mode === "big"
      ? NET_MAX_GSO_FRAME
      : Math.max(mtu, 1500) + ETH_HDR_SIZE + VLAN_TAG_SIZE;
    this.#stride = alignUp(headerSize + packet, 64);
    const elements = layout.splitHeader && mode !== "mergeable" ? 2 : 1;
    const room = Math.max(1, Math.floor(queue.size / queue.slotsFor(elements)));
    const count = mode === "big" ? Math.min(room, MAX_BIG_BUFFERS) : room;
    this.#region = dma.alloc(count * this.#stride, { align: 64 });
    this.#whole = new Uint8Array(mode === "mergeable" ? NET_MAX_GSO_FRAME : 0);
    for (let slot = 0; slot < count; slot++) this.#post(slot);
  }

  /** Tells the device of the buffers. */
  kick(): void {
    this.queue.kick();
  }

  /**
   * Handles frames that came in, and gives their buffers back to the device.
   *
   * @param budget Most buffers to look at.
   * @returns How many there were.
   */
  poll(budget: number): number {
    let count = 0;
    while (count < budget) {
      const slot = this.queue.pop();
      if (slot < 0) break;
      count += this.#layout.mode === "mergeable" ? this.#takeMergeable(slot) : this.#takeOne(slot);
    }
    if (count > 0) this.queue.kick();
    return count;
  }

  /** Takes the buffers back and frees the memory; only after the device was reset. */
  dispose(): void {
    const { queue } = this;
    for (let slot = queue.detachUnused(); slot >= 0; slot = queue.detachUnused()) {
      this.#region.unshare(slot * this.#stride, this.#stride, "from-device");
    }
    this.#region[Symbol.dispose]();
  }

  #takeOne(slot: number): number {
    const start = slot * this.#stride;
    const used = this.queue.usedLength;
    this.#region.unshare(start, this.#stride, "from-device");
    if (used < this.#layout.headerSize + ETH_HDR_SIZE) this.#stats.rxShort++;
    else this.#hand(start, this.#region.bytes, start + this.#layout.headerSize, used);
    this.#post(slot);
    return 1;
  }

  #takeMergeable(slot: number): number {
    const { headerSize } = this.#layout;
    const bytes = this.#region.bytes;
    const start = slot * this.#stride;
    const used = this.queue.usedLength;
    this.#region.unshare(start, this.#stride, "from-device");
    const buffers = bytes[start + 10]! | (bytes[start + 11]! << 8);
    if (used < headerSize + ETH_HDR_SIZE) {
      // Everything in so short a buffer is doubtful, num_buffers as well.
      this.#stats.rxShort++;
    } else if (buffers === 1) {
      this.#hand(start, bytes, start + headerSize, used);
    } else if (buffers === 0) {
      this.#stats.rxNumBuffers++;
    } else {
      return this.#takeSeveral(slot, used, buffers);
    }
    this.#post(slot);
    return 1;
  }

  #takeSeveral(first: number, used: number, buffers: number): number {
    const { headerSize } = this.#layout;
    const whole = this.#whole;
    const bytes = this.#region.bytes;
    const start = first * this.#stride;
    let at = used - headerSize;
    whole.set(bytes.subarray(start + headerSize, start + used));
    this.#region.copied?.(used - headerSize);
    let taken = 1;
    let tooLong = false;
    while (taken < buffers) {
      const slot = this.queue.pop();
      if (slot < 0) break;
      taken++;
      const length = this.queue.usedLength;
      const from = slot * this.#stride;
      this.#region.unshare(from, this.#stride, "from-device");
      if (at + length > whole.length) tooLong = true;
      else {
        whole.set(bytes.subarray(from, from + length), at);
        this.#region.copied?.(length);
      }
      if (!tooLong) at += length;
      this.#post(slot);
    }
    if (taken < buffers) this.#stats.rxNumBuffers++;
    else if (tooLong) this.#stats.rxTooLong++;
    else this.#hand(start, whole, 0, headerSize + at);
    this.#post(first);
    return taken;
  }

  /** A frame was copied for its receiver to keep. */
  copied(bytes: number): void {
    this.#region.copied?.(bytes);
  }

  /** Checks the header and hands the frame on. */
  #hand(header: number, bytes: Uint8Array, offset: number, used: number): void {
    const memory = this.#region.bytes;
    const frame = this.#frame;
    frame.bytes = bytes;
    frame.offset = offset;
    frame.length = used - this.#layout.headerSize;
    frame.queue = this.index;
    frame.flags = memory[header]! & (NetHdrFlag.NEEDS_CSUM | NetHdrFlag.DATA_VALID);
    // With RSC_INFO the place of the checksum is something else (drv.net.rx.3): nothing is known of it then.
    if ((memory[header]! & NetHdrFlag.RSC_INFO) !== 0) frame.flags &= ~NetHdrFlag.NEEDS_CSUM;
    frame.csumStart = 0;
    frame.csumOffset = 0;
    frame.gsoType = memory[header + 1]!;
    frame.gsoSize = 0;
    if (this.#layout.headerSize === NET_HDR_HASH.SIZE) this.#readHash(header);
    if (frame.flags !== 0 || frame.gsoType !== NetGso.NONE) {
      if (!this.#checkCsum(header) || !this.#checkGso(header)) return;
    }
    this.#stats.rxFrames++;
    this.#stats.rxBytes += frame.length;
    this.#deliver();
  }

  /** A report that is unknown is none. */
  #readHash(header: number): void {
    const memory = this.#region.bytes;
    const frame = this.#frame;
    const report = header + NET_HDR_HASH.hash_report.offset;
    const known = memory[report + 1] === 0 && memory[report]! <= NetHashReport.UDPV6_EX;
    frame.hashReport = (known ? memory[report]! : NetHashReport.NONE) as NetHashReport;
    let hash = 0;
    if (frame.hashReport !== NetHashReport.NONE) {
      const value = header + NET_HDR_HASH.hash_value.offset;
      for (let i = 3; i >= 0; i--) hash = hash << 8 | memory[value + i]!;
    }
    frame.hash = hash >>> 0;
  }

  #checkCsum(header: number): boolean {
    const frame = this.#frame;
    if ((frame.flags & NetHdrFlag.NEEDS_CSUM) === 0) return true;
    const memory = this.#region.bytes;
    frame.csumStart = memory[header + 6]! | (memory[header + 7]! << 8);
    frame.csumOffset = memory[header + 8]! | (memory[header + 9]! << 8);
    const end = frame.csumStart + frame.csumOffset + 2;
    if (this.#layout.csum && frame.csumStart >= ETH_HDR_SIZE && end <= frame.length) return true;
    this.#stats.rxBadChecksum++;
    return false;
  }

  #checkGso(header: number): boolean {
    const frame = this.#frame;
    if (frame.gsoType === NetGso.NONE) return true;
    const memory = this.#region.bytes;
    frame.gsoSize = memory[header + 4]! | (memory[header + 5]! << 8);
    const kind = frame.gsoType & ~NetGso.ECN;
    const ecn = (frame.gsoType & NetGso.ECN) !== 0;
    const known = kind < 31 && (this.#layout.gsoTypes >>> kind & 1) === 1;
    if (known && frame.gsoSize > 0 && (!ecn || this.#layout.ecn) && this.#protocolFits(kind)) {
      return true;
    }
    this.#stats.rxBadGso++;
    return false;
  }

  #protocolFits(kind: number): boolean {
    const { bytes, offset, length } = this.#frame;
    let type = (bytes[offset + 12]! << 8) | bytes[offset + 13]!;
    if (type === ETHERTYPE_VLAN && length >= ETH_HDR_SIZE + VLAN_TAG_SIZE) {
      type = (bytes[offset + 16]! << 8) | bytes[offset + 17]!;
    }
    if (kind === NetGso.TCPV4) return type === ETHERTYPE_IPV4;
    if (kind === NetGso.TCPV6) return type === ETHERTYPE_IPV6;
    return type === ETHERTYPE_IPV4 || type === ETHERTYPE_IPV6;
  }

  #post(slot: number): void {
    const { headerSize, splitHeader, mode } = this.#layout;
    if (this.queue.broken !== undefined) return;
    const address = this.#region.share(slot * this.#stride, this.#stride, "from-device");
    this.#chain.clear();
    if (splitHeader && mode !== "mergeable") {
      this.#chain.addWritable(address, headerSize);
      this.#chain.addWritable(address + headerSize, this.#stride - headerSize);
    } else {
      this.#chain.addWritable(address, this.#stride);
    }
    this.queue.add(this.#chain, slot);
  }
}
