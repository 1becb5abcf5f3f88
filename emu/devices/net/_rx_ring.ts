import { NET_HDR, NET_HDR_HASH, NetHdrFlag } from "@vireo/hal";
import type { Chain, DeviceContext, DeviceQueue } from "../../device.ts";
import { Offload } from "../../backends/net_backend.ts";
import type { NetDeviceStats } from "./options.ts";

/** A frame's hash as the header reports it. */
interface FrameHash {
  /** The hash. */
  readonly value: number;
  /** A value of `NetHashReport`. */
  readonly report: number;
}

interface Waiting {
  readonly bytes: Uint8Array;
  readonly offload: Offload;
  readonly hash: FrameHash;
}

/** One receive queue: puts frames into the driver's buffers, or keeps a few until there are some. */
export class RxRing {
  #context: DeviceContext | undefined;
  #index = 0;
  #headerSize: number = NET_HDR.SIZE;
  #mergeable = false;
  #dirty = false;
  readonly #backlogMax: number;
  #backlog: Waiting[] = [];
  readonly #header = new Uint8Array(NET_HDR_HASH.SIZE);
  /** Popped chains that did not hold a whole frame; the next frame gets them first. */
  #chains: (Chain | undefined)[] = [];
  readonly #used: Chain[] = [];
  readonly #written: number[] = [];

  constructor(backlogMax: number) {
    this.#backlogMax = backlogMax;
  }

  /** Whether the driver set the queue up. */
  get isUp(): boolean {
    return this.#context?.queue(this.#index) !== undefined;
  }

  start(context: DeviceContext, index: number, headerSize: number, mergeable: boolean): void {
    this.stop();
    this.#context = context;
    this.#index = index;
    this.#headerSize = headerSize;
    this.#mergeable = mergeable;
  }

  stop(): void {
    this.forget();
    this.#context = undefined;
    this.#backlog = [];
  }

  /** Chains that were popped are void: the queue was reset. */
  forget(): void {
    this.#chains = [];
    this.#dirty = false;
  }

  /** Drops the frames that wait for buffers; gives their number. */
  dropBacklog(): number {
    return this.#backlog.splice(0).length;
  }

  /** Interrupts for what was delivered since. */
  signal(): void {
    if (!this.#dirty) return;
    this.#dirty = false;
    this.#context?.queue(this.#index)?.signal();
  }

  deliver(
    bytes: Uint8Array,
    offset: number,
    length: number,
    offload: Offload,
    hash: FrameHash,
    stats: NetDeviceStats,
  ): void {
    const queue = this.#context?.queue(this.#index);
    if (queue === undefined) {
      stats.rxOverruns++;
      return;
    }
    const waits = this.#backlog.length > 0;
    if (!waits && this.#put(queue, bytes, offset, length, offload, hash, stats)) return;
    if (this.#backlog.length >= this.#backlogMax) {
      stats.rxOverruns++;
      return;
    }
    const copy = Object.assign(new Offload(), offload);
    const { value, report } = hash;
    this.#backlog.push({
      bytes: bytes.slice(offset, offset + length),
      offload: copy,
      hash: { value, report },
    });
  }

  /** The driver gave buffers: hands over what waits. */
  drainBacklog(stats: NetDeviceStats): void {
    if (this.#backlog.length === 0) return;
    const queue = this.#context?.queue(this.#index);
    if (queue === undefined) return;
    let done = 0;
    for (; done < this.#backlog.length; done++) {
      const { bytes, offload, hash } = this.#backlog[done]!;
      if (!this.#put(queue, bytes, 0, bytes.length, offload, hash, stats)) break;
    }
    this.#backlog.splice(0, done);
    this.signal();
  }

  /** False if there are not enough buffers now. */
  #put(
    queue: DeviceQueue,
    bytes: Uint8Array,
    offset: number,
    length: number,
    offload: Offload,
    hash: FrameHash,
    stats: NetDeviceStats,
  ): boolean {
    const header = this.#headerSize;
    const chain = this.#take(queue, 0);
    if (chain === undefined) return false;
    if (header + length > chain.writableLength) {
      if (!this.#mergeable) {
        // The buffer stays for the next frame; this one will never fit.
        stats.rxSize++;
        return true;
      }
      return this.#spread(queue, bytes, offset, length, offload, hash, stats);
    }
    this.#writeHeader(chain, offload, hash, 1);
    chain.write(bytes, offset, length);
    // An array that becomes empty loses its memory.
    if (this.#chains.length === 1) this.#chains[0] = undefined;
    else this.#chains.shift();
    queue.push(chain, header + length);
    this.#dirty = true;
    stats.rxFrames++;
    stats.rxBytes += length;
    return true;
  }

  /** Spreads a frame over several buffers, which the driver sees at once (§5.1.6.3.2). */
  #spread(
    queue: DeviceQueue,
    bytes: Uint8Array,
    offset: number,
    length: number,
    offload: Offload,
    hash: FrameHash,
    stats: NetDeviceStats,
  ): boolean {
    let room = 0;
    let count = 0;
    for (const total = this.#headerSize + length; room < total; count++) {
      // A frame that does not fit into the whole queue would wait for ever.
      if (count === queue.size) {
        stats.rxSize++;
        return true;
      }
      const chain = this.#take(queue, count);
      if (chain === undefined) return false;
      room += chain.writableLength;
    }
    let at = 0;
    for (let i = 0; i < count; i++) {
      const chain = this.#chains[i]!;
      if (i === 0) this.#writeHeader(chain, offload, hash, count);
      at += chain.write(bytes, offset + at, Math.min(chain.writableLeft, length - at));
      this.#used[i] = chain;
      this.#written[i] = chain.written;
    }
    this.#used.length = this.#written.length = count;
    this.#chains.splice(0, count);
    queue.pushAll(this.#used, this.#written);
    this.#dirty = true;
    stats.rxFrames++;
    stats.rxBytes += length;
    return true;
  }

  /** The popped chain `i`, popping one if need be. */
  #take(queue: DeviceQueue, i: number): Chain | undefined {
    const held = this.#chains[i];
    if (held !== undefined) return held;
    const chain = queue.pop();
    if (chain === undefined) return undefined;
    if (chain.writableLength < this.#headerSize || chain.readableLength > 0) {
      this.#context?.fault(
        `receiveq${(this.#index >>> 1) + 1}: a buffer of ${chain.writableLength} writable bytes, ` +
          `less than the header's ${this.#headerSize}, or with readable ones`,
        "drv.net.rx-buffers.3",
      );
      return undefined;
    }
    this.#chains[i] = chain;
    return chain;
  }

  #writeHeader(chain: Chain, offload: Offload, hash: FrameHash, buffers: number): void {
    const header = this.#header;
    if (offload.needsCsum || offload.dataValid) {
      header[0] = offload.needsCsum ? NetHdrFlag.NEEDS_CSUM : NetHdrFlag.DATA_VALID;
      header[1] = offload.gsoType;
      header[2] = offload.hdrLen & 0xff;
      header[3] = offload.hdrLen >>> 8;
      header[4] = offload.gsoSize & 0xff;
      header[5] = offload.gsoSize >>> 8;
      header[6] = offload.csumStart & 0xff;
      header[7] = offload.csumStart >>> 8;
      header[8] = offload.csumOffset & 0xff;
      header[9] = offload.csumOffset >>> 8;
    } else if (header[0] !== 0) {
      header.fill(0, 0, 10);
    }
    header[10] = buffers & 0xff;
    header[11] = buffers >>> 8;
    if (this.#headerSize === NET_HDR_HASH.SIZE) {
      const { value, report } = hash;
      for (let i = 0; i < 4; i++) header[NET_HDR_HASH.hash_value.offset + i] = value >>> (8 * i);
      header[NET_HDR_HASH.hash_report.offset] = report;
    }
    chain.write(header, 0, this.#headerSize);
  }
}
