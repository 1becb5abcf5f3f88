import {
  DeviceId,
  ETH_HDR_SIZE,
  type FeatureNames,
  FeatureSet,
  NET_CONFIG,
  NET_FEATURE_REQUIRES,
  NET_GUEST_OFFLOADS,
  NET_HASH_KEY_SIZE,
  NET_HASH_TYPES,
  NET_HDR,
  NET_HDR_HASH,
  NET_HDR_LEGACY_SIZE,
  NET_MAX_QUEUE_PAIRS,
  NET_MIN_MTU,
  NET_SPEED_UNKNOWN,
  NetDuplex,
  NetFeature,
  NetGso,
  NetStatus,
  VLAN_TAG_SIZE,
} from "@vireo/hal";
import {
  Accept,
  type FrameSink,
  type NetBackend,
  NO_OFFLOAD,
  type Offload,
} from "../../backends/net_backend.ts";
import type { Chain, ConfigWidth, DeviceContext, DeviceModel, QueueSpec } from "../../device.ts";
import { readSpace } from "../config_space.ts";
import { checkRange, offer, parseAddress, queueSpecs } from "./_features.ts";
import { RxRing } from "./_rx_ring.ts";
import { Transmitter } from "./_transmitter.ts";
import { Coalescing, hostTimer } from "./coalescing.ts";
import { type ControlTarget, runControl } from "./control.ts";
import { macNumber, RxFilter } from "./filter.ts";
import type { NetDeviceOptions, NetDeviceState, NetDeviceStats } from "./options.ts";
import { Rss, RSS_MAX_TABLE } from "./rss.ts";
import { Steering } from "./steering.ts";

/** Receive offloads, and the work that each lets the wire leave. */
const ACCEPTED: readonly (readonly [feature: number, accept: number])[] = [
  [NetFeature.GUEST_CSUM, Accept.CSUM],
  [NetFeature.GUEST_TSO4, Accept.TSO4],
  [NetFeature.GUEST_TSO6, Accept.TSO6],
  [NetFeature.GUEST_ECN, Accept.ECN],
  [NetFeature.GUEST_UFO, Accept.UFO],
  [NetFeature.GUEST_USO4, Accept.USO4],
  [NetFeature.GUEST_USO6, Accept.USO6],
];

/**
 * The emulated network device (virtio 1.4 §5.1).
 *
 * @example
 * ```ts
 * import { Bus } from "@vireo/drivers/bus";
 * import { netDriver } from "@vireo/drivers/net";
 * import { Hub } from "@vireo/emu/backends";
 * import { EmulatedMachine } from "@vireo/emu/core";
 * import { NetDevice } from "@vireo/emu/net";
 * import { assertEquals } from "@std/assert";
 *
 * using hub = new Hub();
 * const device = new NetDevice({ backend: hub.port() });
 * await using machine = EmulatedMachine.create({ devices: [device] });
 * await using bus = new Bus();
 * await bus.registerDriver(netDriver);
 * await bus.addPlatform(machine);
 * const net = bus.get(netDriver)!;
 * assertEquals([net.linkUp, device.linkUp], [true, true]);
 * // The cable is pulled.
 * device.setLink(false);
 * await new Promise((resolve) => setTimeout(resolve));
 * assertEquals(net.linkUp, false);
 * ```
 */
export class NetDevice implements DeviceModel, FrameSink {
  /** Name for reports. */
  readonly name: string = "net";
  /** Virtio device id. */
  readonly deviceId: number = DeviceId.NET;
  /** Features that it offers. */
  readonly features: FeatureSet;
  /** Names of those bits. */
  readonly featureNames: FeatureNames = NetFeature;
  /** Receive and transmit queues in pairs, then the control queue. */
  readonly queues: readonly QueueSpec[];
  /** Size of the configuration space in bytes. */
  readonly configSize: number = NET_CONFIG.SIZE;
  /** Counters of its work. */
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
  readonly #rss = new Rss();
  readonly #coalescing: Coalescing;
  readonly #transmitter: Transmitter;
  readonly #target: ControlTarget;
  readonly #rings: RxRing[] = [];
  #context: DeviceContext | undefined;
  #active = false;
  #pairs = 1;
  /** Behind vhost-user, by pair: whether the front end lets its receive queue be used. */
  readonly #enabled: boolean[] = [];
  /** Receive queues, from the first on, that frames may come on. */
  #receivers = 1;
  #offloads: FeatureSet = FeatureSet.NONE;
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
      throw new TypeError("Cannot make the device: its mac must be a unicast address of 6 bytes");
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
    this.features = offer(options, this.maxPairs);
    this.#writeHashLimits();
    this.queues = queueSpecs(this.maxPairs, options.queueSize ?? 256, this.features);
    this.#coalescing = new Coalescing(
      (queue) => this.#context?.queue(queue)?.signal(),
      options.timer ?? hostTimer,
    );
    const used = (queue: number, packets: number) => this.#coalescing.used(queue, packets);
    for (let i = 0; i < this.maxPairs; i++) {
      this.#rings.push(new RxRing(options.backlog ?? 256, used));
    }
    this.#backend = options.backend;
    this.#transmitter = new Transmitter(options.backend, this.stats);
    this.#target = {
      filter: this.filter,
      maxPairs: this.maxPairs,
      setMac: (mac) => this.#setMac(mac),
      setPairs: (pairs) => this.#setPairs(pairs),
      setRss: (chain) => this.#setRss(chain),
      setHash: (chain) => this.#setHash(chain),
      setOffloads: (features) => this.#setOffloads(features),
      setCoalescing: (kind, parameters) => this.#coalescing.setAll(kind, parameters),
      setQueueCoalescing: (queue, parameters) => {
        if (!this.#isEnabled(queue)) return false;
        this.#coalescing.set(queue, parameters);
        return true;
      },
      queueCoalescing: (queue) => this.#isEnabled(queue) ? this.#coalescing.get(queue) : undefined,
      ackAnnounce: () => this.#ackAnnounce(),
    };
    this.#backend.connect(this);
  }

  /** Offloads that the driver takes unfinished: bits of `Accept`. */
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
    return (this.#status() & NetStatus.LINK_UP) !== 0;
  }

  /** Takes the link up or down, and tells the driver if it negotiated STATUS. */
  setLink(up: boolean): void {
    if (up === this.linkUp) return;
    this.#setStatus(up ? this.#status() | NetStatus.LINK_UP : this.#status() & ~NetStatus.LINK_UP);
    this.#context?.configChanged();
  }

  /** Asks the driver to announce itself to its peers, if it negotiated GUEST_ANNOUNCE. */
  announce(): boolean {
    if (!this.#active || !this.#has(NetFeature.GUEST_ANNOUNCE)) return false;
    this.#setStatus(this.#status() | NetStatus.ANNOUNCE);
    this.#context?.configChanged();
    return true;
  }

  /** Reads configuration bytes. */
  readConfig(offset: number, width: ConfigWidth): number {
    return readSpace(this.#view, offset, width);
  }

  /** Only a legacy driver may write, and only the address (virtio 1.4 §5.1.4.3). */
  writeConfig(offset: number, width: ConfigWidth, value: number): void {
    if (this.#context?.legacy !== true || offset + width > 6) return;
    for (let i = 0; i < width; i++) this.#config[offset + i] = value >>> (8 * i) & 0xff;
    this.filter.mac = macNumber(this.#config, 0);
  }

  /** Whether nothing was accepted without what it needs. */
  acceptFeatures(features: FeatureSet): boolean {
    for (const [bit, needs] of NET_FEATURE_REQUIRES) {
      if (features.has(bit) && !needs.some((need) => features.has(need))) return false;
    }
    return true;
  }

  /** Gives it a way to report config changes. */
  attach(context: DeviceContext): void {
    this.#context = context;
  }

  /** The driver is ready. */
  activate(context: DeviceContext): void {
    this.#context = context;
    const has = (bit: number): boolean => context.features.has(bit);
    const mergeable = has(NetFeature.MRG_RXBUF);
    this.#headerSize = context.legacy && !mergeable
      ? NET_HDR_LEGACY_SIZE
      : has(NetFeature.HASH_REPORT)
      ? NET_HDR_HASH.SIZE
      : NET_HDR.SIZE;
    const several = has(NetFeature.MQ) || has(NetFeature.RSS);
    this.#controlIndex = has(NetFeature.CTRL_VQ) ? (several ? 2 * this.maxPairs : 2) : -1;
    this.#transmitter.start(context.features, this.#headerSize);
    this.filter.enabled = has(NetFeature.CTRL_RX);
    this.filter.vlanEnabled = has(NetFeature.CTRL_VLAN);
    this.filter.mac = macNumber(this.#config, 0);
    this.#maxFrame = has(NetFeature.MTU) ? this.#mtu + ETH_HDR_SIZE : Infinity;
    this.#setOffloads(FeatureSet.of(...NET_GUEST_OFFLOADS.filter(has)));
    for (let i = 0; i < this.maxPairs; i++) {
      this.#rings[i]!.start(context, 2 * i, this.#headerSize, mergeable);
    }
    this.#active = true;
  }

  /** The driver made buffers available. */
  notify(queue: number): void {
    if (!this.#active) return;
    if (queue === this.#controlIndex) this.#control(queue);
    else if ((queue & 1) === 1) this.#transmit(queue);
    else this.#rings[queue >>> 1]?.drainBacklog(this.stats);
  }

  /** The front end, which serves the control queue, uses the pairs from the first to the last of these. */
  setQueueEnabled(queue: number, enabled: boolean): void {
    if ((queue & 1) === 1 || queue >= 2 * this.maxPairs) return;
    this.#enabled[queue >>> 1] = enabled;
    let pairs = 1;
    while (this.#enabled[pairs]) pairs++;
    if (pairs !== this.#pairs) this.#setPairs(pairs);
  }

  /** A queue was reset: what was popped from it is void. */
  resetQueue(queue: number): void {
    if (queue === this.#controlIndex) return;
    this.#coalescing.resetQueue(queue);
    if ((queue & 1) === 0) this.#rings[queue >>> 1]?.forget();
  }

  /** Puts all back as it was made, but for the link. */
  reset(): void {
    this.#active = false;
    this.#pairs = 1;
    this.#enabled.length = 0;
    this.#receivers = 1;
    this.#rss.reset();
    this.#coalescing.reset();
    this.#accepts = 0;
    this.#offloads = FeatureSet.NONE;
    this.filter.reset();
    this.#steering.reset();
    for (const ring of this.#rings) ring.stop();
    this.#setStatus(this.#status() & ~NetStatus.ANNOUNCE);
    this.#config.set(this.#defaultMac, NET_CONFIG.mac.offset);
  }

  /** Takes a frame from the wire: filters, steers, and puts it into the driver's buffers. */
  receive(bytes: Uint8Array, offset: number, length: number, offload: Offload): void {
    const stats = this.stats;
    if (!this.#active || (this.#status() & NetStatus.LINK_UP) === 0) {
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
    const { hash } = this.#rss;
    hash.calculate(bytes, offset, length);
    const index = this.#steer(bytes, offset, length);
    if (index < 0) stats.rxOverruns++;
    else {
      // Without GUEST_CSUM the header's flags are 0 (virtio 1.4 §5.1.6.4.1).
      const known = this.#accepts === 0 ? NO_OFFLOAD : offload;
      this.#rings[index]!.deliver(bytes, offset, length, known, hash, stats);
    }
  }

  /** Interrupts for the frames of a batch. */
  flush(): void {
    for (let i = 0; i < this.#receivers; i++) this.#rings[i]!.signal();
  }

  #setMac(mac: Uint8Array): void {
    this.#config.set(mac, NET_CONFIG.mac.offset);
    this.filter.mac = macNumber(mac, 0);
  }

  #setPairs(pairs: number): void {
    this.#rss.reset();
    this.#usePairs(pairs, pairs);
  }

  #usePairs(pairs: number, receivers: number): void {
    this.#pairs = pairs;
    this.#receivers = receivers;
    // dev.net.mq.2: nothing comes on the queues above, not even what waited for their buffers.
    for (const ring of this.#rings.slice(receivers)) this.stats.rxOverruns += ring.dropBacklog();
    this.#steering.reset();
  }

  #setRss(chain: Chain): boolean {
    const pairs = this.#rss.configure(chain, this.maxPairs);
    if (pairs === undefined) return false;
    this.#usePairs(pairs, this.#rss.receivers(pairs));
    return true;
  }

  #setHash(chain: Chain): boolean {
    if (!this.#rss.configureHash(chain)) return false;
    this.#usePairs(this.#pairs, this.#pairs);
    return true;
  }

  /** Whether a queue is a receive or transmit queue that the driver set up. */
  #isEnabled(queue: number): boolean {
    return queue !== this.#controlIndex && queue < 2 * this.maxPairs &&
      this.#context?.queue(queue) !== undefined;
  }

  /** Tells the driver the limits of hashing, where it is offered (virtio 1.4 §5.1.4). */
  #writeHashLimits(): void {
    const rss = this.features.has(NetFeature.RSS);
    if (!rss && !this.features.has(NetFeature.HASH_REPORT)) return;
    this.#config[NET_CONFIG.rss_max_key_size.offset] = NET_HASH_KEY_SIZE;
    this.#view.setUint32(NET_CONFIG.supported_hash_types.offset, NET_HASH_TYPES, true);
    if (!rss) return;
    this.#view.setUint16(NET_CONFIG.rss_max_indirection_table_length.offset, RSS_MAX_TABLE, true);
  }

  #setOffloads(features: FeatureSet): void {
    this.#offloads = features;
    this.#accepts = 0;
    if (!features.has(NetFeature.GUEST_CSUM)) return;
    for (const [bit, accept] of ACCEPTED) if (features.has(bit)) this.#accepts |= accept;
  }

  #ackAnnounce(): void {
    this.#setStatus(this.#status() & ~NetStatus.ANNOUNCE);
  }

  /** The state for a snapshot. */
  snapshot(): NetDeviceState {
    return {
      mac: [...this.mac],
      status: this.#status(),
      pairs: this.#pairs,
      offloads: [...this.#offloads],
      filter: this.filter.snapshot(),
      hash: this.#rss.snapshot(),
      coalescing: this.#coalescing.snapshot(),
    };
  }

  /** Takes the state back. */
  restore(state: unknown): void {
    const { mac, status, pairs, offloads, filter, hash, coalescing } = state as NetDeviceState;
    this.#setMac(Uint8Array.from(mac));
    this.#setStatus(status);
    this.#rss.restore(hash);
    this.#coalescing.restore(coalescing);
    this.#usePairs(pairs, this.#rss.receivers(pairs));
    this.#setOffloads(FeatureSet.of(...offloads));
    this.filter.restore(filter);
  }

  /** Unplugs it from its backend. */
  [Symbol.dispose](): void {
    this.reset();
    this.#backend.connect(undefined);
  }

  #status(): number {
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

  /**
   * The queue for a frame, or -1 if it is dropped: one that is in reset has another one in its place (virtio 1.4
   * §5.1.6.5.5.1), but for RSS (dev.net.rss.2).
   */
  #steer(bytes: Uint8Array, offset: number, length: number): number {
    if (this.#rss.steers) return this.#rss.choose();
    if (this.#pairs === 1) return 0;
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
    const steering = this.#pairs === 1 ? undefined : this.#steering;
    let used = 0;
    // Bounded: a driver on another thread could otherwise keep this loop going for ever.
    const { work } = this.#context!;
    for (let budget = queue.size; budget > 0; budget--) {
      const chain = work.take(queue);
      if (chain === undefined) break;
      if (chain.readableLength < this.#headerSize || chain.writableLength > 0) {
        this.#context?.fault(
          `transmitq${pair + 1}: ${chain.readableLength} readable and ${chain.writableLength} ` +
            `writable bytes, not a frame behind a header of ${this.#headerSize}`,
        );
        return;
      }
      work.spend(this.#transmitter.send(chain, this.linkUp, steering, pair));
      queue.push(chain, 0);
      used++;
    }
    if (used === 0) return;
    this.#coalescing.used(index, used);
    this.#backend.flush();
    if (queue.hasAvailable()) work.again(index);
  }

  #control(index: number): void {
    const context = this.#context!;
    const queue = context.queue(index);
    if (queue === undefined) return;
    const { work } = context;
    for (let chain = work.take(queue); chain !== undefined; chain = work.take(queue)) {
      if (chain.readableLength < 2 || chain.writableLength < 1) {
        context.fault(`controlq: a command without class, command or ack`);
        return;
      }
      const ack = runControl(chain, context, this.#target);
      if (ack !== 0) this.stats.controlErrors++;
      queue.push(chain);
    }
    queue.signal();
  }
}
