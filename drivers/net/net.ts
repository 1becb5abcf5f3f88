import {
  ETH_HDR_SIZE,
  Feature,
  featureName,
  FeatureSet,
  NET_CONFIG,
  NET_GUEST_OFFLOADS,
  NET_HASH_KEY_SIZE,
  NET_HASH_TYPES,
  NET_MAX_QUEUE_PAIRS,
  NET_RSS_MIN_TABLE,
  NetCtrlVlan,
  NetDuplex,
  NetFeature,
  NetStatus,
  VireoError,
  VLAN_TAG_SIZE,
} from "@vireo/hal";
import type { QueueRequest, VirtioDevice } from "../device.ts";
import type { DriverInstance } from "../driver.ts";
import { type Deadline, type WaitOptions, within } from "../wait/options.ts";
import { queueLook } from "../virtqueue/last_look.ts";
import { RequestQueue } from "../virtqueue/request_queue.ts";
import { unattended } from "../virtqueue/unattended.ts";
import { Control } from "./_control.ts";
import { chooseLayouts, DEFAULT_MTU, MAX_GSO_PACKET } from "./_header.ts";
import { Inbox } from "./_inbox.ts";
import {
  CoalescingMemory,
  type CoalescingOptions,
  type CoalescingParameters,
  type QueueKind,
} from "./coalescing.ts";
import {
  checkPairs,
  type HashConfig,
  hashConfig,
  type HashLimits,
  type HashOptions,
  type RssConfig,
  rssConfig,
  type RssOptions,
} from "./receive_hash.ts";
import { RxQueue } from "./_rx_queue.ts";
import { Sender } from "./_sender.ts";
import { type Frame, type NetStats, RxFrame, type SendOptions } from "./frame.ts";
import { type NetOptions, RxMode } from "./options.ts";
import { formatMac } from "./mac.ts";
import { TxQueue } from "./tx_queue.ts";

/** Queue pairs that are set up unless asked otherwise. */
const DEFAULT_PAIRS = 8;
/** Milliseconds that a command may take, and a frame may wait for room, unless told otherwise. */
const COMMAND_DEADLINE = 1000;
const SEND_DEADLINE = 5000;
const NO_OPTIONS: SendOptions = {};
/** Of every frame that the device has at once. */
const SENT: Promise<void> = Promise.resolve();
/** Buffers that one interrupt may take before others get a turn, however small the ring is. */
const BUDGET = 1024;

/**
 * A network device (virtio 1.4 §5.1).
 *
 * Events: `link` when the link goes up or down (read {@linkcode Net.linkUp}), and `announce` when the
 * device wants its peers told where it is, for example by an ARP announcement.
 *
 * @example
 * ```ts
 * import { openVireo } from "@vireo/firmware";
 * import { assertEquals } from "@std/assert";
 *
 * await using vireo = await openVireo();
 * const { net } = vireo;
 * // Asks who has 10.0.2.2: the peer on the emulated wire answers.
 * const request = new Uint8Array(60);
 * request.fill(0xff, 0, 6).set(net.mac, 6);
 * request.set([8, 6, 0, 1, 8, 0, 6, 4, 0, 1], 12);
 * request.set(net.mac, 22);
 * request.set([10, 0, 2, 15], 28);
 * request.set([10, 0, 2, 2], 38);
 * await net.send(request, { deadline: 1000 });
 * const { bytes } = await net.receive({ deadline: 1000 });
 * assertEquals([...bytes.subarray(28, 32)], [10, 0, 2, 2]);
 * ```
 */
export class Net extends EventTarget implements DriverInstance {
  /** The device on the bus. */
  readonly device: VirtioDevice;
  /** Counters since the driver took the device. */
  readonly stats: NetStats = {
    rxFrames: 0,
    rxBytes: 0,
    rxShort: 0,
    rxNumBuffers: 0,
    rxTooLong: 0,
    rxBadChecksum: 0,
    rxBadGso: 0,
    rxQueueFull: 0,
    txFrames: 0,
    txBytes: 0,
  };
  /**
   * Takes every frame at once, without a copy, instead of {@linkcode Net.receive}; the bytes are
   * valid during the call only, and the object is used again. What it throws is reported as an
   * uncaught error and disturbs nothing.
   */
  onFrame: ((frame: RxFrame) => void) | undefined;

  readonly #options: NetOptions;
  readonly #frame = new RxFrame();
  readonly #inbox: Inbox;
  #rx: RxQueue[] = [];
  #senders: Sender[] = [];
  #control: Control | undefined;
  #mac = new Uint8Array(6);
  #macChanged = false;
  #linkUp = true;
  #mtu = DEFAULT_MTU;
  #maxPairs = 1;
  #pairs = 1;
  #wantedPairs = 0;
  #hashLimits: HashLimits = { keySize: 0, tableLength: 0, types: 0 };
  #rss: RssConfig | undefined;
  #hash: HashConfig | undefined;
  readonly #coalescing = new CoalescingMemory();
  readonly #random: (into: Uint8Array) => void;
  readonly #modes = new Map<RxMode, boolean>();
  #macTable: readonly [readonly Uint8Array[], readonly Uint8Array[]] | undefined;
  readonly #vlans = new Set<number>();
  #offloads: readonly number[] | undefined;
  readonly #later = new Map<number, ReturnType<typeof setTimeout>>();
  #down: Error | undefined;

  /** Only for the driver's probe; {@linkcode Net.start} does the rest. */
  constructor(device: VirtioDevice, options: NetOptions = {}) {
    super();
    this.device = device;
    this.#options = options;
    this.#random = options.random ??
      ((into) => crypto.getRandomValues(into as Uint8Array<ArrayBuffer>));
    const last = queueLook(
      () => this.#rx.map(({ queue }) => queue),
      ({ index }) => this.#received(index >> 1),
      false,
    );
    this.#inbox = new Inbox(options.inbox ?? 256, options.drop ?? "newest", this.stats, last);
  }

  /** Only for the driver's probe: sets up the queues, makes the device live, tells it its address. */
  async start(): Promise<void> {
    const { device } = this;
    if (device.has(NetFeature.MAC)) {
      this.#mac.set(device.config.readBytes(NET_CONFIG.mac.offset, 6));
    } else {
      this.#random(this.#mac);
      this.#mac[0] = (this.#mac[0]! & 0xfe) | 0x02;
      this.#macChanged = true;
    }
    this.#setUp();
    device.ready();
    await this.#sendState();
  }

  /** The Ethernet address; a copy. */
  get mac(): Uint8Array {
    return this.#mac.slice();
  }

  /** The Ethernet address as `52:54:00:12:34:56`. */
  get macText(): string {
    return formatMac(this.#mac);
  }

  /** Whether the link is up; always true if the device does not say. */
  get linkUp(): boolean {
    return this.#linkUp;
  }

  /** Largest packet in bytes, without the Ethernet header. */
  get mtu(): number {
    return this.#mtu;
  }

  /** Link speed in Mbit/s; undefined if it is unknown. */
  get speed(): number | undefined {
    if (!this.device.has(NetFeature.SPEED_DUPLEX)) return undefined;
    const speed = this.device.config.read32(NET_CONFIG.speed.offset);
    return speed <= 0x7fffffff ? speed : undefined;
  }

  /** Whether the link carries both directions at once; undefined if it is unknown. */
  get duplex(): "half" | "full" | undefined {
    if (!this.device.has(NetFeature.SPEED_DUPLEX)) return undefined;
    const duplex = this.device.config.read8(NET_CONFIG.duplex.offset);
    return duplex === NetDuplex.HALF ? "half" : duplex === NetDuplex.FULL ? "full" : undefined;
  }

  /**
   * Whether the device stands in for a primary one with the same address, for example one that is passed through:
   * where that is there too, send on it.
   */
  get standby(): boolean {
    return this.device.has(NetFeature.STANDBY);
  }

  /** Queue pairs in use. */
  get queuePairs(): number {
    return this.#pairs;
  }

  /** Queue pairs that the device has; no more than were set up can be used. */
  get maxQueuePairs(): number {
    return this.#maxPairs;
  }

  /** The range of {@linkcode Net.setRss} and {@linkcode Net.setHash}. */
  get hashLimits(): HashLimits {
    return this.#hashLimits;
  }

  /**
   * The batch interface of a transmit queue; get it again after the device was recovered.
   *
   * @throws {RangeError} If the queue is not in use.
   */
  tx(queue = 0): TxQueue {
    return this.#sender(queue).tx;
  }

  /**
   * Gives a frame to the device if there is room now. The device is told at the end of this turn of
   * the event loop.
   *
   * @param frame From the destination address, without the checksum; it is copied.
   * @returns False if there is no room now: see {@linkcode Net.writable}.
   * @throws {RangeError} If the frame is shorter than 14 bytes or longer than the mtu allows, or the
   * queue, checksum or segmentation is out of range.
   * @throws {TypeError} If a checksum or segmentation was not negotiated.
   * @throws {VireoError} Why the device is down.
   */
  trySend(frame: Uint8Array, options: SendOptions = {}): boolean {
    return this.#checkSend(frame, options).trySend(frame, options);
  }

  /**
   * Gives a frame to the device, waiting for room; senders on one queue go in order.
   *
   * It resolves when the device has the frame, not when that went out. The bytes must stay unchanged
   * until then.
   *
   * @throws As {@linkcode Net.trySend}; `TIMEOUT` after the deadline, without one 5000 ms.
   */
  send(frame: Uint8Array, options: SendOptions = NO_OPTIONS): Promise<void> {
    try {
      options.signal?.throwIfAborted();
      const sender = this.#checkSend(frame, options);
      if (sender.idle && sender.trySend(frame, options)) return SENT;
      return this.#waitForRoom(sender, frame, options);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /**
   * Waits until {@linkcode Net.trySend} has room for a frame.
   *
   * @throws As {@linkcode Net.send}.
   */
  async writable(options: SendOptions = {}): Promise<void> {
    if (this.#down !== undefined) throw this.#down;
    await this.#waitForRoom(this.#sender(options.queue), undefined, options);
  }

  /**
   * Takes the next frame; without a deadline it waits for ever.
   *
   * @throws {VireoError} `TIMEOUT` after the deadline, or why the device is down. The signal's reason
   * if it is aborted.
   */
  receive(options: WaitOptions = NO_OPTIONS): Promise<Frame> {
    if (options.signal?.aborted) return Promise.reject(options.signal.reason);
    if (this.#down !== undefined) return Promise.reject(this.#down);
    // No `async`: a step of a promise takes 20 to 50 us in a guest under TCG.
    return this.#inbox.take(options);
  }

  /** The frames one after the other; ends by throwing why the device is down. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Frame> {
    while (true) yield await this.receive();
  }

  /** The frames as a stream; cancel it to let others receive. */
  get readable(): ReadableStream<Frame> {
    const stop = new AbortController();
    return new ReadableStream<Frame>({
      pull: async (controller) => {
        try {
          controller.enqueue(await this.receive({ signal: stop.signal }));
        } catch (error) {
          if (!stop.signal.aborted) controller.error(error);
        }
      },
      cancel: () => stop.abort(),
    }, { highWaterMark: 0 });
  }

  /**
   * Handles frames that came in now, instead of at the next interrupt.
   *
   * @param queue The receive queue.
   * @param budget Most buffers to look at.
   * @returns How many there were.
   */
  poll(queue = 0, budget = 0x7fffffff): number {
    return this.#rx[queue]?.poll(budget) ?? 0;
  }

  /**
   * Changes the address.
   *
   * @param mac 6 bytes, unicast.
   * @throws {TypeError} If it is not one.
   * @throws {VireoError} `COMMAND_REFUSED`, `TIMEOUT`.
   */
  async setMac(mac: Uint8Array, options?: WaitOptions): Promise<void> {
    checkMac(mac);
    if ((mac[0]! & 1) === 1) {
      throw new TypeError(
        "Cannot use a multicast address as one's own: expected a unicast address",
      );
    }
    const copy = mac.slice();
    if (this.#setsMac) {
      await this.#commands(NetFeature.CTRL_MAC_ADDR).setMac(copy, forCommand(options));
    } else if (!this.device.has(Feature.VERSION_1) && this.device.has(NetFeature.MAC)) {
      copy.forEach((byte, i) => this.device.config.write8(NET_CONFIG.mac.offset + i, byte));
    }
    this.#mac.set(copy);
    this.#macChanged = true;
  }

  /**
   * Changes what the device lets through.
   *
   * @throws {VireoError} `UNSUPPORTED` If CTRL_RX, or CTRL_RX_EXTRA for all but the first two modes,
   * was not negotiated; `COMMAND_REFUSED`, `TIMEOUT`.
   */
  async setRxMode(mode: RxMode, on: boolean, options?: WaitOptions): Promise<void> {
    const bit = mode <= RxMode.ALL_MULTICAST ? NetFeature.CTRL_RX : NetFeature.CTRL_RX_EXTRA;
    await this.#commands(bit).setRxMode(mode, on, forCommand(options));
    this.#modes.set(mode, on);
  }

  /** Has every frame let through: {@linkcode Net.setRxMode} with the first mode. */
  setPromiscuous(on: boolean, options?: WaitOptions): Promise<void> {
    return this.setRxMode(RxMode.PROMISCUOUS, on, options);
  }

  /**
   * Replaces the table of addresses that are let through besides the device's own.
   *
   * @throws {TypeError} If an address is not one of 6 bytes.
   * @throws {VireoError} As {@linkcode Net.setRxMode}.
   */
  async setMacTable(
    unicast: readonly Uint8Array[],
    multicast: readonly Uint8Array[],
    options?: WaitOptions,
  ): Promise<void> {
    for (const mac of [...unicast, ...multicast]) checkMac(mac);
    const copy = [unicast.map((mac) => mac.slice()), multicast.map((mac) => mac.slice())] as const;
    const control = this.#commands(NetFeature.CTRL_RX);
    await control.setMacTable(copy[0], copy[1], forCommand(options));
    this.#macTable = copy;
  }

  /**
   * Lets tagged frames of a VLAN through.
   *
   * @param id 0 to 4095.
   * @throws {RangeError} If the id is out of range.
   * @throws {VireoError} `UNSUPPORTED` without CTRL_VLAN; `COMMAND_REFUSED`, `TIMEOUT`.
   */
  async addVlan(id: number, options?: WaitOptions): Promise<void> {
    await this.#setVlan(NetCtrlVlan.ADD, id, options);
    this.#vlans.add(id);
  }

  /** Takes back {@linkcode Net.addVlan}. */
  async removeVlan(id: number, options?: WaitOptions): Promise<void> {
    await this.#setVlan(NetCtrlVlan.DEL, id, options);
    this.#vlans.delete(id);
  }

  /**
   * Changes how many queue pairs are used; the device steers received frames automatically from then on, also
   * after {@linkcode Net.setRss}. What {@linkcode Net.setHash} chose stays.
   *
   * @throws {RangeError} If so many were not set up.
   * @throws {VireoError} `UNSUPPORTED` without MQ; `COMMAND_REFUSED`, `TIMEOUT`.
   */
  async setPairs(pairs: number, options?: WaitOptions): Promise<void> {
    this.#checkUp();
    checkPairs(pairs, this.#senders.length);
    const control = this.#commands(NetFeature.MQ);
    const limits = forCommand(options);
    await this.#changePairs(pairs, () => control.setPairs(pairs, limits));
    this.#rss = undefined;
    // The command ends what HASH_CONFIG set, as the last one of its class decides.
    if (this.#hash !== undefined) await control.setHash(this.#hash, limits);
  }

  /**
   * Has the device spread received frames over the queues by their hash (receive-side scaling). A recovery sets
   * it again; {@linkcode Net.setPairs} and {@linkcode Net.setHash} end it.
   *
   * @throws {RangeError} If something is beyond {@linkcode Net.hashLimits} or the queue pairs that were set up.
   * @throws {VireoError} `UNSUPPORTED` without RSS; `COMMAND_REFUSED`, `TIMEOUT`.
   */
  async setRss(options: RssOptions = {}): Promise<void> {
    const control = this.#commands(NetFeature.RSS);
    const config = rssConfig(options, this.#hashLimits, this.#senders.length, this.#random);
    await this.#changePairs(config.pairs, () => control.setRss(config, forCommand(options)));
    this.#rss = config;
    this.#hash = undefined;
  }

  /**
   * Has the device report a hash with each received frame ({@linkcode Frame.hash}), while it steers frames
   * automatically. A recovery sets it again. With {@linkcode Net.setRss} it reports the hash of that.
   *
   * @throws {RangeError} If something is beyond {@linkcode Net.hashLimits}.
   * @throws {VireoError} `UNSUPPORTED` without HASH_REPORT; `COMMAND_REFUSED`, `TIMEOUT`.
   */
  async setHash(options: HashOptions = {}): Promise<void> {
    const control = this.#commands(NetFeature.HASH_REPORT);
    const config = hashConfig(options, this.#hashLimits, this.#random);
    await control.setHash(config, forCommand(options));
    this.#hash = config;
    this.#rss = undefined;
  }

  /**
   * Has the device interrupt less often: after a number of packets, or a time after the first of them. A recovery
   * sets it again. What is set for all queues of a kind replaces what single ones had.
   *
   * @throws {RangeError} If a parameter is over 32 bits, or the queue was not set up.
   * @throws {VireoError} `UNSUPPORTED` without NOTF_COAL, or VQ_NOTF_COAL for one queue; `COMMAND_REFUSED`, `TIMEOUT`.
   */
  async setCoalescing(kind: QueueKind, options: CoalescingOptions): Promise<void> {
    const { queue } = options;
    const index = queue === undefined ? undefined : this.#queueIndex(kind, queue);
    const control = (feature: number): Control => this.#commands(feature);
    await this.#coalescing.set(control, kind, index, options, forCommand(options));
  }

  /**
   * Asks the device what it does for one queue, by its pair.
   *
   * @throws As {@linkcode Net.setCoalescing} for one queue.
   */
  async coalescing(
    kind: QueueKind,
    queue: number,
    options?: WaitOptions,
  ): Promise<CoalescingParameters> {
    const index = this.#queueIndex(kind, queue);
    return await this.#commands(NetFeature.VQ_NOTF_COAL).queueCoalescing(
      index,
      forCommand(options),
    );
  }

  /** The index of a virtqueue (drv.net.coalescing.1). */
  #queueIndex(kind: QueueKind, queue: number): number {
    this.#checkUp();
    if (Number.isInteger(queue) && queue >= 0 && queue < this.#senders.length) {
      return 2 * queue + (kind === "tx" ? 1 : 0);
    }
    throw new RangeError(
      `Cannot hold interrupts of queue ${queue} back: expected 0 to ${this.#senders.length - 1}`,
    );
  }

  /** Changes how many queue pairs are used by a command. */
  async #changePairs(pairs: number, command: () => Promise<void>): Promise<void> {
    const before = this.#pairs;
    // Nothing may be sent on a queue that the device is about to leave (drv.net.mq.4), not by those who
    // wait for room there either.
    this.#usePairs(Math.min(before, pairs));
    try {
      await command();
    } catch (error) {
      // It may have left them all the same: only a refusal says that it has not.
      const refused = error instanceof VireoError && error.code === "COMMAND_REFUSED";
      if (refused) this.#usePairs(before);
      throw error;
    }
    this.#usePairs(pairs);
    this.#wantedPairs = pairs;
  }

  /** Uses so many transmit queues, and ends what waits at the others. */
  #usePairs(pairs: number): void {
    this.#pairs = pairs;
    for (const [i, sender] of this.#senders.entries()) {
      const reason = i < pairs
        ? undefined
        : this.#error("DEVICE_STATE", `Transmit queue ${i} is not in use`);
      sender.tx.close(reason);
      if (reason !== undefined) sender.rejectAll(reason);
    }
  }

  /**
   * Chooses which receive offloads the device may use.
   *
   * @param features Of `NET_GUEST_OFFLOADS`, negotiated ones.
   * @throws {TypeError} If one was not negotiated or is not a receive offload.
   * @throws {VireoError} `UNSUPPORTED` without CTRL_GUEST_OFFLOADS; `COMMAND_REFUSED`, `TIMEOUT`.
   */
  async setGuestOffloads(features: readonly number[], options?: WaitOptions): Promise<void> {
    for (const bit of features) {
      if (!NET_GUEST_OFFLOADS.includes(bit) || !this.device.has(bit)) {
        const name = featureName(bit, NetFeature);
        throw new TypeError(
          `Cannot choose ${name}: expected a receive offload that was negotiated`,
        );
      }
    }
    const control = this.#commands(NetFeature.CTRL_GUEST_OFFLOADS);
    await control.setOffloads(FeatureSet.of(...features), forCommand(options));
    this.#offloads = [...features];
  }

  /** Looks at the link, and at a wish to be announced. */
  configChanged(): void {
    if (!this.device.has(NetFeature.STATUS)) return;
    const status = this.device.config.read16(NET_CONFIG.status.offset);
    const up = (status & NetStatus.LINK_UP) !== 0;
    if (up !== this.#linkUp) {
      this.#linkUp = up;
      this.dispatchEvent(new Event("link"));
    }
    if ((status & NetStatus.ANNOUNCE) !== 0 && this.device.has(NetFeature.GUEST_ANNOUNCE)) {
      this.dispatchEvent(new Event("announce"));
      // A refusal leaves the bit set; the next config change asks again.
      this.#control?.ackAnnounce(forCommand()).catch(() => {});
    }
  }

  /** The device or a queue failed: rejects what is pending. */
  failed(error: Error): void {
    this.#down = error;
    for (const senders of this.#senders) senders.rejectAll(error);
    this.#inbox.rejectAll(error);
    this.#control?.failAll(error);
  }

  /** The device is about to be reset: rejects what is pending, remembers what was set. */
  freeze(): void {
    this.#cancelLater();
    this.failed(this.#error("DEVICE_STATE", "Network device is being reset"));
  }

  /** Sets the device up again as it was: queues, address, filters, VLANs, pairs and offloads. */
  async restore(): Promise<void> {
    this.#free();
    this.#setUp();
    this.#down = undefined;
    this.device.ready();
    await this.#sendState();
    this.configChanged();
  }

  /** Rejects what is pending, resets the device and frees its memory. */
  async remove(): Promise<void> {
    this.#cancelLater();
    this.failed(this.#error("DEVICE_REMOVED", "Network device was removed"));
    await this.device.reset();
    this.#free();
    this.device.deleteQueues();
  }

  #setUp(): void {
    const { device } = this;
    const has = (bit: number): boolean => device.has(bit);
    this.#mtu = has(NetFeature.MTU) ? device.config.read16(NET_CONFIG.mtu.offset) : DEFAULT_MTU;
    const status = has(NetFeature.STATUS) ? device.config.read16(NET_CONFIG.status.offset) : 1;
    this.#linkUp = (status & NetStatus.LINK_UP) !== 0;
    const several = has(NetFeature.MQ) || has(NetFeature.RSS);
    const offered = several ? device.config.read16(NET_CONFIG.max_virtqueue_pairs.offset) : 1;
    const sane = offered >= 1 && offered <= NET_MAX_QUEUE_PAIRS;
    this.#maxPairs = sane ? offered : 1;
    this.#pairs = 1;
    const count = Math.min(this.#maxPairs, this.#options.pairs ?? DEFAULT_PAIRS);
    if (this.#wantedPairs === 0) this.#wantedPairs = count;
    this.#hashLimits = readHashLimits(device);

    const requests: QueueRequest[] = [];
    for (let i = 0; i < count; i++) {
      requests.push({
        name: `input.${i}`,
        index: 2 * i,
        indirect: false,
        receives: true,
        callback: () => this.#received(i),
      }, { name: `output.${i}`, index: 2 * i + 1, callback: () => this.#senders[i]?.used() });
    }
    if (has(NetFeature.CTRL_VQ)) {
      // Where it is depends on what the device has, not on what is used (virtio 1.4 §5.1.2).
      const index = several ? 2 * offered : 2;
      requests.push({ name: "control", index, callback: () => this.#control?.drain() });
    }
    const queues = device.findQueues(requests);

    const { rx, tx, splitHeader } = chooseLayouts(device.features, this.#mtu);
    const deliver = (): void => this.#deliver();
    const sink = { frame: this.#frame, stats: this.stats, deliver };
    for (let i = 0; i < count; i++) {
      this.#rx.push(new RxQueue(queues[2 * i]!, device.dma, rx, i, sink));
      const queue = new TxQueue(queues[2 * i + 1]!, device.dma, tx, this.stats);
      this.#senders.push(new Sender(queue, device.features));
    }
    this.#usePairs(1);
    const control = queues[2 * count];
    if (control !== undefined) {
      const requests = new RequestQueue(control);
      this.#control = new Control(control, requests, device.dma, device.name, splitHeader);
    }
  }

  /** Whether the device takes our address: without CTRL_RX no command of its class may go (drv.net.mac-filter.1). */
  get #setsMac(): boolean {
    return this.device.has(NetFeature.CTRL_MAC_ADDR) && this.device.has(NetFeature.CTRL_RX);
  }

  /** Tells a live device what it does not know: all of it after a reset. */
  async #sendState(): Promise<void> {
    for (const rx of this.#rx) rx.kick();
    const control = this.#control;
    if (control === undefined) return;
    const options = { deadline: COMMAND_DEADLINE };
    if (this.#macChanged && this.#setsMac) {
      await control.setMac(this.#mac, options);
    }
    for (const [mode, on] of this.#modes) if (on) await control.setRxMode(mode, on, options);
    if (this.#macTable) await control.setMacTable(this.#macTable[0], this.#macTable[1], options);
    for (const id of this.#vlans) await control.setVlan(NetCtrlVlan.ADD, id, options);
    if (this.#offloads !== undefined) await this.setGuestOffloads(this.#offloads, options);
    try {
      await this.#sendSteering(options);
    } catch (error) {
      // The numbers were in range before the reset, so it is the device that changed.
      if (!(error instanceof RangeError)) throw error;
      const what = "Cannot steer frames as before: the device must keep its limits over a reset";
      throw this.#error("CONFIG_INVALID", `${what}. ${error.message}`);
    }
    await this.#coalescing.send(control, options);
  }

  /** Chooses queues and hashes as they were before a reset. */
  async #sendSteering(options: WaitOptions): Promise<void> {
    const pairs = Math.min(this.#wantedPairs, this.#senders.length);
    const [rss, hash] = [this.#rss, this.#hash];
    if (rss !== undefined) await this.setRss({ ...rss, ...options });
    else if (pairs > 1 && this.device.has(NetFeature.MQ)) await this.setPairs(pairs, options);
    else if (pairs > 1) await this.setRss({ pairs, ...options });
    if (hash !== undefined) await this.setHash({ ...hash, ...options });
  }

  #free(): void {
    this.#cancelLater();
    this.#control?.detachAll();
    this.#control = undefined;
    for (const rx of this.#rx) rx.dispose();
    for (const { tx } of this.#senders) tx.dispose();
    this.#rx = [];
    this.#senders = [];
  }

  #received(index: number): void {
    const rx = this.#rx[index];
    // While a turn is due, interrupts (which need no turn) would keep the event loop after all.
    if (rx === undefined || this.#later.has(index)) return;
    const { queue } = rx;
    queue.disableCallbacks();
    for (let left = BUDGET; queue.broken === undefined;) {
      left -= rx.poll(left);
      if (left <= 0) return this.#continueLater(index);
      if (queue.enableCallbacks()) return;
    }
  }

  /** A device that never runs dry must not keep the event loop. */
  #continueLater(index: number): void {
    const timer = setTimeout(() => {
      this.#later.delete(index);
      const { device } = this;
      unattended(device.name, () => this.#received(index), (error) => device.break(error));
    }, 0);
    this.#later.set(index, timer);
  }

  #cancelLater(): void {
    for (const timer of this.#later.values()) clearTimeout(timer);
    this.#later.clear();
  }

  #deliver(): void {
    if (this.onFrame === undefined) {
      const { queue, length } = this.#frame;
      if (this.#inbox.put(this.#frame)) this.#rx[queue]?.copied(length);
      return;
    }
    try {
      this.onFrame(this.#frame);
    } catch (error) {
      reportError(error);
    }
  }

  #sender(queue = 0): Sender {
    const sender = queue < this.#pairs ? this.#senders[queue] : undefined;
    if (sender !== undefined) return sender;
    throw new RangeError(`Cannot send on queue ${queue}: expected 0 to ${this.#pairs - 1}`);
  }

  #checkSend(frame: Uint8Array, options: SendOptions): Sender {
    if (this.#down !== undefined) throw this.#down;
    const sender = this.#sender(options.queue);
    const { length } = frame;
    const tagged = frame[12] === 0x81 && frame[13] === 0;
    const most = (options.gso === undefined ? this.#mtu : MAX_GSO_PACKET) + ETH_HDR_SIZE +
      (tagged ? VLAN_TAG_SIZE : 0);
    if (length >= ETH_HDR_SIZE && length <= most) return sender;
    throw new RangeError(
      `Cannot send a frame of ${length} bytes: expected ${ETH_HDR_SIZE} to ${most}`,
    );
  }

  #waitForRoom(sender: Sender, frame: Uint8Array | undefined, options: SendOptions): Promise<void> {
    return sender.wait(frame, options, within(options, SEND_DEADLINE));
  }

  async #setVlan(command: NetCtrlVlan, id: number, options?: WaitOptions): Promise<void> {
    if (!Number.isInteger(id) || id < 0 || id > 4095) {
      throw new RangeError(`Cannot use VLAN id ${id}: expected 0 to 4095`);
    }
    await this.#commands(NetFeature.CTRL_VLAN).setVlan(command, id, forCommand(options));
  }

  /** A device that is down has no queues, so nothing is said of their number. */
  #checkUp(): void {
    if (this.#down !== undefined) throw this.#down;
  }

  #commands(bit: number): Control {
    this.#checkUp();
    if (this.#control !== undefined && this.device.has(bit)) return this.#control;
    const name = featureName(bit, NetFeature);
    throw this.#error("UNSUPPORTED", `Network device has no ${name}`);
  }

  #error(code: VireoError["code"], what: string): VireoError {
    return new VireoError(code, what, { device: this.device.name });
  }
}

function readHashLimits(device: VirtioDevice): HashLimits {
  const rss = device.has(NetFeature.RSS);
  if (!rss && !device.has(NetFeature.HASH_REPORT)) return { keySize: 0, tableLength: 0, types: 0 };
  const { config } = device;
  const limits = {
    keySize: config.read8(NET_CONFIG.rss_max_key_size.offset),
    tableLength: rss ? config.read16(NET_CONFIG.rss_max_indirection_table_length.offset) : 0,
    types: config.read32(NET_CONFIG.supported_hash_types.offset) & NET_HASH_TYPES,
  };
  // They were good when the features were chosen; a device that says less now is not believed.
  if (limits.keySize >= NET_HASH_KEY_SIZE && (!rss || limits.tableLength >= NET_RSS_MIN_TABLE)) {
    return limits;
  }
  throw new VireoError("OUT_OF_RANGE", "Cannot use the limits of the device's hashing", {
    device: device.name,
    seen: `keys of ${limits.keySize} bytes and tables of ${limits.tableLength}`,
    expected: `at least ${NET_HASH_KEY_SIZE} and ${rss ? NET_RSS_MIN_TABLE : 0}`,
  });
}

/** The time of one command. */
function forCommand(options: WaitOptions = {}): Deadline {
  return within(options, COMMAND_DEADLINE);
}

function checkMac(mac: Uint8Array): void {
  if (mac.length !== 6) {
    throw new TypeError(`Cannot use an Ethernet address of ${mac.length} bytes: expected 6`);
  }
}
