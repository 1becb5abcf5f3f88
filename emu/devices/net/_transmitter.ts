import {
  ETH_HDR_SIZE,
  FeatureSet,
  NET_HDR,
  NET_HDR_HASH,
  NET_MAX_GSO_FRAME,
  NetFeature,
  NetGso,
  NetHdrFlag,
} from "@vireo/hal";
import { type NetBackend, Offload } from "../../backends/net_backend.ts";
import { acceptBits, type FrameEmit, Offloader } from "../../backends/net_backend_offload.ts";
import type { Chain } from "../../device.ts";
import type { NetDeviceStats } from "./options.ts";
import type { Steering } from "./steering.ts";

/** Takes frames out of chains, does what their headers ask for, and sends them on. */
export class Transmitter {
  readonly #backend: NetBackend;
  readonly #stats: NetDeviceStats;
  readonly #offloader = new Offloader();
  readonly #offload = new Offload();
  readonly #frame: Uint8Array = new Uint8Array(NET_HDR_HASH.SIZE + NET_MAX_GSO_FRAME);
  readonly #emit: FrameEmit;
  #features: FeatureSet = FeatureSet.NONE;
  #headerSize: number = NET_HDR.SIZE;

  constructor(backend: NetBackend, stats: NetDeviceStats) {
    this.#backend = backend;
    this.#stats = stats;
    this.#emit = (bytes, offset, length, off) => this.#backend.send(bytes, offset, length, off);
  }

  /** The driver is there, with these features. */
  start(features: FeatureSet, headerSize: number): void {
    this.#features = features;
    this.#headerSize = headerSize;
  }

  /**
   * Sends what came in a chain on a queue pair, or drops and counts it; tells the steering, if there is one.
   *
   * @returns The frames that it is cut into, here or by the backend.
   */
  send(
    chain: Chain,
    linkUp: boolean,
    steering: Steering | undefined,
    pair: number,
  ): number {
    const frame = this.#frame;
    const header = this.#headerSize;
    const stats = this.#stats;
    const length = chain.readableLength - header;
    if (length < ETH_HDR_SIZE || length > NET_MAX_GSO_FRAME) {
      stats.txMalformed++;
      return 0;
    }
    if (!linkUp) {
      stats.txDown++;
      return 0;
    }
    chain.read(frame, 0, header + length);
    const offload = this.#offload;
    if (!this.#parseHeader(frame, length, offload)) {
      stats.txMalformed++;
      return 0;
    }
    steering?.sent(frame, header, length, pair);
    if (!offload.needsCsum) {
      this.#backend.send(frame, header, length, offload);
    } else if (
      !this.#offloader.conform(frame, header, length, offload, this.#backend.accepts, this.#emit)
    ) {
      stats.txMalformed++;
      return 0;
    }
    stats.txFrames++;
    stats.txBytes += length;
    return offload.gsoSize === 0 ? 1 : Math.ceil(length / offload.gsoSize);
  }

  /** Reads a header that the driver wrote; false if it claims what was not negotiated. */
  #parseHeader(frame: Uint8Array, length: number, offload: Offload): boolean {
    offload.clear();
    const flags = frame[0]!;
    const gso = frame[1]!;
    if ((flags & NetHdrFlag.NEEDS_CSUM) === 0) return gso === NetGso.NONE;
    if (!this.#features.has(NetFeature.CSUM)) return false;
    offload.needsCsum = true;
    offload.csumStart = frame[6]! | (frame[7]! << 8);
    offload.csumOffset = frame[8]! | (frame[9]! << 8);
    if (offload.csumStart + offload.csumOffset + 2 > length) return false;
    if (gso === NetGso.NONE) return true;
    offload.gsoType = gso;
    offload.hdrLen = frame[2]! | (frame[3]! << 8);
    offload.gsoSize = frame[4]! | (frame[5]! << 8);
    const known = acceptBits(gso, frame, this.#headerSize) > 0;
    return offload.gsoSize !== 0 && known && this.#hostTakes(gso);
  }

  #hostTakes(gso: number): boolean {
    if ((gso & NetGso.ECN) !== 0 && !this.#features.has(NetFeature.HOST_ECN)) return false;
    switch (gso & ~NetGso.ECN) {
      case NetGso.TCPV4:
        return this.#features.has(NetFeature.HOST_TSO4);
      case NetGso.TCPV6:
        return this.#features.has(NetFeature.HOST_TSO6);
      case NetGso.UDP_L4:
        return this.#features.has(NetFeature.HOST_USO);
      default:
        return this.#features.has(NetFeature.HOST_UFO);
    }
  }
}
