import {
  DeviceId,
  ETH_HDR_SIZE,
  FeatureSet,
  NET_CONFIG,
  NET_FEATURE_REQUIRES,
  NET_GUEST_OFFLOADS,
  NET_HDR,
  NET_HDR_LEGACY_SIZE,
  NET_MAX_GSO_FRAME,
  NET_MAX_QUEUE_PAIRS,
  NET_MIN_MTU,
  NET_SPEED_UNKNOWN,
  NetDuplex,
  NetFeature,
  NetGso,
  NetHdrFlag,
  NetStatus,
  VLAN_TAG_SIZE,
} from "@vireo/hal";
import type { FeatureNames } from "@vireo/hal";
import type { Chain, ConfigWidth, DeviceContext, DeviceModel, QueueSpec } from "../../device.ts";
import {
  Accept,
  type FrameSink,
  type NetBackend,
  NO_OFFLOAD,
  Offload,
} from "../../backends/net_backend.ts";
import { acceptBits, type FrameEmit, Offloader } from "../../backends/net_backend_offload.ts";
import { type ControlTarget, runControl } from "./control.ts";
import { macNumber, RxFilter, type RxFilterState } from "./filter.ts";
import { RxRing } from "./_rx_ring.ts";
import { Steering } from "./steering.ts";

/** Features that depend on nothing but the options. */
const ALL_FEATURES = [
  NetFeature.CSUM,
  NetFeature.GUEST_CSUM,
  NetFeature.CTRL_GUEST_OFFLOADS,
  NetFeature.MTU,
  NetFeature.MAC,
  NetFeature.GUEST_TSO4,
  NetFeature.GUEST_TSO6,
  NetFeature.GUEST_ECN,
  NetFeature.GUEST_UFO,
  NetFeature.HOST_TSO4,
  NetFeature.HOST_TSO6,
  NetFeature.HOST_ECN,
  NetFeature.HOST_UFO,
  NetFeature.MRG_RXBUF,
  NetFeature.STATUS,
  NetFeature.CTRL_VQ,
  NetFeature.CTRL_RX,
  NetFeature.CTRL_VLAN,
  NetFeature.CTRL_RX_EXTRA,
  NetFeature.GUEST_ANNOUNCE,
  NetFeature.CTRL_MAC_ADDR,
  NetFeature.SPEED_DUPLEX,
] as const;

/** How a {@linkcode NetDevice} is made. */
export interface NetDeviceOptions {
  /** What it is plugged into; it stays the caller's. */
  readonly backend: NetBackend;
  /** Its address, 6 bytes or text; `52:54:00:12:34:56` by default. */
  readonly mac?: Uint8Array | string;
  /** Largest packet without Ethernet header in bytes, 68 to 65535; 1500 by default. */
  readonly mtu?: number;
  /** Receive and transmit queues, 1 to 0x8000; 1 by default; MQ is offered from 2 up. */
  readonly queuePairs?: number;
  /** Largest size of a data queue in descriptors; 256 by default. */
  readonly queueSize?: number;
  /** Feature bits that it does not offer. */
  readonly without?: readonly number[];
  /** Link speed in Mbit/s, unknown by default. */
  readonly speed?: number;
  /** A value of `NetDuplex`, unknown by default. */
  readonly duplex?: number;
  /** Whether the link is up at first; true by default. */
  readonly linkUp?: boolean;
  /** Frames that wait for receive buffers before more are dropped; 256 by default. */
  readonly backlog?: number;
}

/** What a {@linkcode NetDevice} did; all counters only grow. */
export interface NetDeviceStats {
  /** Frames handed to the driver. */
  rxFrames: number;
  /** Bytes of those. */
  rxBytes: number;
  /** Frames that the filters kept away. */
  rxFiltered: number;
  /** Frames for which there were no buffers, in the queue or the backlog. */
  rxOverruns: number;
  /** Frames that were too short, or too long for the mtu or the driver's buffers. */
  rxSize: number;
  /** Frames that came while the link was down or no driver was there. */
  rxDown: number;
  /** Frames taken from the driver. */
  txFrames: number;
  /** Bytes of those. */
  txBytes: number;
  /** Frames whose length or header made no sense. */
  txMalformed: number;
  /** Frames that were given while the link was down. */
  txDown: number;
  /** Control commands that were refused. */
  controlErrors: number;
}

/** The state of a {@linkcode NetDevice} as plain data. */
export interface NetDeviceState {
  readonly mac: readonly number[];
  readonly status: number;
  readonly pairs: number;
  readonly offloads: number;
  readonly filter: RxFilterState;
}

/** The emulated network device (virtio 1.4 §5.1). */
export class NetDevice implements DeviceModel, FrameSink, ControlTarget {
  readonly name: string = "net";
  readonly deviceId: number = DeviceId.NET;
  readonly features: FeatureSet;
  readonly featureNames: FeatureNames = NetFeature;
  readonly queues: readonly QueueSpec[];
  readonly configSize: number = NET_CONFIG.SIZE;
  /** What it did. */
  readonly stats: NetDeviceStats = {
    rxFrames: 0,
    rxBytes: 0,
    rxFiltered: 0,
    rxOverruns: 0,
    rxSize: 0,
    rxDown: 0,
    txFrames: 0,
    txBytes: 0,
    txMalformed: 0,
    txDown: 0,
    controlErrors: 0,
  };
  /** Which frames pass to the driver. */
  readonly filter: RxFilter = new RxFilter();
  /** The most queue pairs that the driver may use. */
  readonly maxPairs: number;

  readonly #backend: NetBackend;
  readonly #config = new Uint8Array(NET_CONFIG.SIZE);
  readonly #view = new DataView(this.#config.buffer);
  readonly #defaultMac: Uint8Array;
  readonly #mtu: number;
  readonly #steering = new Steering();
  readonly #offloader = new Offloader();
  readonly #offload = new Offload();
  readonly #frame: Uint8Array = new Uint8Array(NET_HDR.SIZE + NET_MAX_GSO_FRAME);
  readonly #rings: RxRing[] = [];
  readonly #emit: FrameEmit;
  #context: DeviceContext | undefined;
  #active = false;
  #pairs = 1;
  #offloads = 0;
  #accepts = 0;
  #headerSize: number = NET_HDR.SIZE;
  #controlIndex = -1;
  #maxFrame = Infinity;

  /**
   * Makes a device and plugs it into its backend.
   *
   * @throws {TypeError} If the address is not one of 6 bytes.
   * @throws {RangeError} If the mtu or the number of queues is out of range.
   */
  constructor(options: NetDeviceOptions) {
    const given = options.mac ?? "52:54:00:12:34:56";
    const mac = typeof given === "string" ? parseAddress(given) : given;
    if (mac.length !== 6 || (mac[0]! & 1) === 1) {
      throw new TypeError("Cannot make a device whose mac is not a unicast address of 6 bytes");
    }
    this.#mtu = checkRange("mtu", options.mtu ?? 1500, NET_MIN_MTU, 65535);
    this.maxPairs = checkRange("queuePairs", options.queuePairs ?? 1, 1, NET_MAX_QUEUE_PAIRS);
    this.#defaultMac = mac.slice();
    this.#config.set(mac, NET_CONFIG.mac.offset);
    this.#view.setUint16(NET_CONFIG.max_virtqueue_pairs.offset, this.maxPairs, true);
    this.#view.setUint16(NET_CONFIG.mtu.offset, this.#mtu, true);
    this.#view.setUint32(NET_CONFIG.speed.offset, options.speed ?? NET_SPEED_UNKNOWN, true);
    this.#config[NET_CONFIG.duplex.offset] = options.duplex ?? NetDuplex.UNKNOWN;
    if (options.linkUp ?? true) this.#setStatus(NetStatus.LINK_UP);
    this.features = offer(options.without ?? [], this.maxPairs);
    this.queues = queueSpecs(this.maxPairs, options.queueSize ?? 256, this.features);
    for (let i = 0; i < this.maxPairs; i++) this.#rings.push(new RxRing(options.backlog ?? 256));
    this.#backend = options.backend;
    this.#emit = (bytes, offset, length, off) => this.#backend.send(bytes, offset, length, off);
    this.#backend.connect(this);
  }

  /** What the driver takes unfinished: bits of `Accept`. */
  get accepts(): number {
    return this.#accepts;
  }

  /** How many queue pairs the driver uses. */
  get pairs(): number {
    return this.#pairs;
  }

  /** Its address now. */
  get mac(): Uint8Array {
    return this.#config.slice(0, 6);
  }

  /** Whether the link is up. */
  get linkUp(): boolean {
    return (this.#status & NetStatus.LINK_UP) !== 0;
  }

  /** Takes the link up or down, and tells the driver if it negotiated STATUS. */
  setLink(up: boolean): void {
    if (up === this.linkUp) return;
    this.#setStatus(up ? this.#status | NetStatus.LINK_UP : this.#status & ~NetStatus.LINK_UP);
    this.#context?.configChanged();
  }

  /** Asks the driver to announce itself to its peers, if it negotiated GUEST_ANNOUNCE. */
  announce(): boolean {
    if (!this.#active || !this.#has(NetFeature.GUEST_ANNOUNCE)) return false;
    this.#setStatus(this.#status | NetStatus.ANNOUNCE);
    this.#context?.configChanged();
    return true;
  }

  readConfig(offset: number, width: ConfigWidth): number {
    if (width === 1) return this.#view.getUint8(offset);
    return width === 2 ? this.#view.getUint16(offset, true) : this.#view.getUint32(offset, true);
  }

  /** Only a legacy driver may write, and only the address (virtio 1.4 §5.1.4.3). */
  writeConfig(offset: number, width: ConfigWidth, value: number): void {
    if (this.#context?.legacy !== true || offset + width > 6) return;
    for (let i = 0; i < width; i++) this.#config[offset + i] = value >>> (8 * i) & 0xff;
    this.filter.mac = macNumber(this.#config, 0);
  }

  acceptFeatures(features: FeatureSet): boolean {
    for (const [bit, needs] of NET_FEATURE_REQUIRES) {
      if (features.has(bit) && !needs.some((need) => features.has(need))) return false;
    }
    return true;
  }

  attach(context: DeviceContext): void {
    this.#context = context;
  }

  activate(context: DeviceContext): void {
    this.#context = context;
    const has = (bit: number): boolean => context.features.has(bit);
    const mergeable = has(NetFeature.MRG_RXBUF);
    this.#headerSize = context.legacy && !mergeable ? NET_HDR_LEGACY_SIZE : NET_HDR.SIZE;
    this.#controlIndex = has(NetFeature.CTRL_VQ)
      ? (has(NetFeature.MQ) ? 2 * this.maxPairs : 2)
      : -1;
    this.filter.enabled = has(NetFeature.CTRL_RX);
    this.filter.vlanEnabled = has(NetFeature.CTRL_VLAN);
    this.filter.mac = macNumber(this.#config, 0);
    this.#maxFrame = has(NetFeature.MTU) ? this.#mtu + ETH_HDR_SIZE : Infinity;
    let offloads = 0;
    for (const bit of NET_GUEST_OFFLOADS) if (has(bit)) offloads |= 1 << bit;
    this.setOffloads(offloads);
    for (let i = 0; i < this.maxPairs; i++) {
      this.#rings[i]!.start(context, 2 * i, this.#headerSize, mergeable);
    }
    this.#active = true;
  }

  notify(queue: number): void {
    if (!this.#active) return;
    if (queue === this.#controlIndex) this.#control(queue);
    else if ((queue & 1) === 1) this.#transmit(queue);
    else this.#rings[queue >>> 1]?.drainBacklog(this.stats);
  }

  resetQueue(queue: number): void {
    if ((queue & 1) === 0 && queue !== this.#controlIndex) this.#rings[queue >>> 1]?.forget();
  }

  reset(): void {
    this.#active = false;
    this.#pairs = 1;
    this.#accepts = 0;
    this.#offloads = 0;
    this.filter.reset();
    this.#steering.reset();
    for (const ring of this.#rings) ring.stop();
    this.#setStatus(this.#status & ~NetStatus.ANNOUNCE);
    this.#config.set(this.#defaultMac, NET_CONFIG.mac.offset);
  }

  /** Takes a frame from the wire: filters, steers, and puts it into the driver's buffers. */
  receive(bytes: Uint8Array, offset: number, length: number, offload: Offload): void {
    const stats = this.stats;
    if (!this.#active || (this.#status & NetStatus.LINK_UP) === 0) {
      stats.rxDown++;
      return;
    }
    if (length < ETH_HDR_SIZE || !this.#fitsMtu(bytes, offset, length, offload)) {
      stats.rxSize++;
      return;
    }
    if (!this.filter.passes(bytes, offset, length)) {
      stats.rxFiltered++;
      return;
    }
    let index = 0;
    if (this.#pairs > 1) index = this.#steer(bytes, offset, length);
    if (index < 0) stats.rxOverruns++;
    else {
      // Without GUEST_CSUM the header's flags are 0 (virtio 1.4 §5.1.6.4.1).
      const known = this.#accepts === 0 ? NO_OFFLOAD : offload;
      this.#rings[index]!.deliver(bytes, offset, length, known, stats);
    }
  }

  /** Interrupts for the frames of a batch. */
  flush(): void {
    for (let i = 0; i < this.#pairs; i++) this.#rings[i]!.signal();
  }

  setMac(mac: Uint8Array): void {
    this.#config.set(mac, NET_CONFIG.mac.offset);
    this.filter.mac = macNumber(mac, 0);
  }

  setPairs(pairs: number): void {
    this.#pairs = pairs;
    this.#steering.reset();
  }

  setOffloads(bits: number): void {
    this.#offloads = bits;
    const on = (bit: number): boolean => (bits >>> bit & 1) === 1;
    this.#accepts = !on(NetFeature.GUEST_CSUM) ? 0 : Accept.CSUM |
      (on(NetFeature.GUEST_TSO4) ? Accept.TSO4 : 0) |
      (on(NetFeature.GUEST_TSO6) ? Accept.TSO6 : 0) |
      (on(NetFeature.GUEST_ECN) ? Accept.ECN : 0) | (on(NetFeature.GUEST_UFO) ? Accept.UFO : 0);
  }

  ackAnnounce(): void {
    this.#setStatus(this.#status & ~NetStatus.ANNOUNCE);
  }

  snapshot(): NetDeviceState {
    return {
      mac: [...this.mac],
      status: this.#status,
      pairs: this.#pairs,
      offloads: this.#offloads,
      filter: this.filter.snapshot(),
    };
  }

  restore(state: unknown): void {
    const { mac, status, pairs, offloads, filter } = state as NetDeviceState;
    this.setMac(Uint8Array.from(mac));
    this.#setStatus(status);
    this.setPairs(pairs);
    this.setOffloads(offloads);
    this.filter.restore(filter);
  }

  [Symbol.dispose](): void {
    this.reset();
    this.#backend.connect(undefined);
  }

  get #status(): number {
    return this.#view.getUint16(NET_CONFIG.status.offset, true);
  }

  #setStatus(status: number): void {
    this.#view.setUint16(NET_CONFIG.status.offset, status, true);
  }

  #has(bit: number): boolean {
    return this.#context?.features.has(bit) ?? false;
  }

  #fitsMtu(bytes: Uint8Array, offset: number, length: number, offload: Offload): boolean {
    if ((offload.gsoType & ~NetGso.ECN) !== NetGso.NONE || length <= this.#maxFrame) return true;
    const tagged = bytes[offset + 12] === 0x81 && bytes[offset + 13] === 0;
    return tagged && length <= this.#maxFrame + VLAN_TAG_SIZE;
  }

  /** The queue for a frame; another one if that is in reset (virtio 1.4 §5.1.6.5.5.1). */
  #steer(bytes: Uint8Array, offset: number, length: number): number {
    const first = this.#steering.choose(bytes, offset, length, this.#pairs);
    for (let i = 0; i < this.#pairs; i++) {
      const index = (first + i) % this.#pairs;
      if (this.#rings[index]!.isUp) return index;
    }
    return -1;
  }

  #transmit(index: number): void {
    const queue = this.#context?.queue(index);
    if (queue === undefined) return;
    const pair = index >>> 1;
    let used = false;
    // Bounded: a driver on another thread could otherwise keep this loop going for ever.
    for (let budget = queue.size;; budget--) {
      if (budget === 0) break;
      const chain = queue.pop();
      if (chain === undefined) break;
      if (chain.readableLength < this.#headerSize || chain.writableLength > 0) {
        this.#context?.fault(
          `transmitq${pair + 1}: ${chain.readableLength} readable and ${chain.writableLength} ` +
            `writable bytes, not a frame behind a header of ${this.#headerSize}`,
        );
        return;
      }
      this.#sendChain(chain, pair);
      queue.push(chain, 0);
      used = true;
    }
    if (!used) return;
    queue.signal();
    this.#backend.flush();
    if (queue.hasAvailable()) queueMicrotask(() => this.#active && this.#transmit(index));
  }

  #sendChain(chain: Chain, pair: number): void {
    const frame = this.#frame;
    const header = this.#headerSize;
    const length = chain.readableLength - header;
    if (length < ETH_HDR_SIZE || length > NET_MAX_GSO_FRAME) {
      this.stats.txMalformed++;
      return;
    }
    if ((this.#status & NetStatus.LINK_UP) === 0) {
      this.stats.txDown++;
      return;
    }
    chain.read(frame, 0, header + length);
    const offload = this.#offload;
    if (!this.#parseHeader(frame, length, offload)) {
      this.stats.txMalformed++;
      return;
    }
    if (this.#pairs > 1) this.#steering.sent(frame, header, length, pair);
    if (!offload.needsCsum) {
      this.#backend.send(frame, header, length, offload);
    } else if (
      !this.#offloader.conform(frame, header, length, offload, this.#backend.accepts, this.#emit)
    ) {
      this.stats.txMalformed++;
      return;
    }
    this.stats.txFrames++;
    this.stats.txBytes += length;
  }

  /** Reads a header that the driver wrote; false if it claims what was not negotiated. */
  #parseHeader(frame: Uint8Array, length: number, offload: Offload): boolean {
    offload.clear();
    const flags = frame[0]!;
    const gso = frame[1]!;
    if ((flags & NetHdrFlag.NEEDS_CSUM) === 0) return gso === NetGso.NONE;
    if (!this.#has(NetFeature.CSUM)) return false;
    offload.needsCsum = true;
    offload.csumStart = frame[6]! | (frame[7]! << 8);
    offload.csumOffset = frame[8]! | (frame[9]! << 8);
    if (offload.csumStart + offload.csumOffset + 2 > length) return false;
    if (gso === NetGso.NONE) return true;
    offload.gsoType = gso;
    offload.hdrLen = frame[2]! | (frame[3]! << 8);
    offload.gsoSize = frame[4]! | (frame[5]! << 8);
    return offload.gsoSize !== 0 && acceptBits(gso) > 0 && this.#hostTakes(gso);
  }

  #hostTakes(gso: number): boolean {
    if ((gso & NetGso.ECN) !== 0 && !this.#has(NetFeature.HOST_ECN)) return false;
    switch (gso & ~NetGso.ECN) {
      case NetGso.TCPV4:
        return this.#has(NetFeature.HOST_TSO4);
      case NetGso.TCPV6:
        return this.#has(NetFeature.HOST_TSO6);
      default:
        return this.#has(NetFeature.HOST_UFO);
    }
  }

  #control(index: number): void {
    const context = this.#context!;
    const queue = context.queue(index);
    if (queue === undefined) return;
    for (let budget = queue.size; budget > 0; budget--) {
      const chain = queue.pop();
      if (chain === undefined) break;
      if (chain.readableLength < 2 || chain.writableLength < 1) {
        context.fault(`controlq: a command without class, command or ack`);
        return;
      }
      const ack = runControl(chain, context, this);
      if (ack !== 0) this.stats.controlErrors++;
      chain.writeU8(ack);
      queue.push(chain);
    }
    queue.signal();
  }
}

function offer(without: readonly number[], pairs: number): FeatureSet {
  let set = FeatureSet.of(...ALL_FEATURES);
  if (pairs > 1) set = set.with(NetFeature.MQ);
  set = set.without(...without);
  // A device must not offer what needs a feature that it does not offer (virtio 1.4 §5.1.3.1).
  for (let before = FeatureSet.NONE; !before.equals(set);) {
    before = set;
    for (const [bit, needs] of NET_FEATURE_REQUIRES) {
      if (!needs.some((need) => set.has(need))) set = set.without(bit);
    }
  }
  return set;
}

function queueSpecs(pairs: number, maxSize: number, features: FeatureSet): QueueSpec[] {
  const specs: QueueSpec[] = [];
  for (let i = 1; i <= pairs; i++) {
    specs.push({ name: `receiveq${i}`, maxSize }, { name: `transmitq${i}`, maxSize });
  }
  if (features.has(NetFeature.CTRL_VQ)) specs.push({ name: "controlq", maxSize: 64 });
  return specs;
}

function parseAddress(text: string): Uint8Array {
  if (!/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/i.test(text)) {
    throw new TypeError(`Cannot parse an Ethernet address: received "${text}"`);
  }
  return Uint8Array.from(text.split(":"), (part) => parseInt(part, 16));
}

function checkRange(name: string, value: number, min: number, max: number): number {
  if (Number.isInteger(value) && value >= min && value <= max) return value;
  throw new RangeError(`Cannot make a device as '${name}' must be ${min} to ${max}: got ${value}`);
}
