import { FeatureSet } from "../bits.ts";
import { VireoError } from "../errors.ts";
import type { Interrupt } from "../interrupt.ts";
import { EventInterrupt } from "../unix/event.ts";
import type { Libc } from "../unix/libc.ts";
import type { Poller } from "../unix/poller.ts";
import { DeviceId } from "../virtio/ids.ts";
import { NET_CONFIG, NetFeature } from "../virtio/net.ts";
import { Status } from "../virtio/status.ts";
import { BackEndLink } from "./back_end_link.ts";
import { bitsBytes, joinBytes, readBits, readU32, readU64, u32s, u64s } from "./bits64.ts";
import { NetControlQueue } from "./net_control_queue.ts";
import type { VhostUserLease, VhostUserQueue } from "./node.ts";
import {
  CONFIG_RANGE,
  INFLIGHT,
  VHOST_LOG_ALL,
  VHOST_USER_MAX_CONFIG,
  VHOST_USER_PROTOCOL_FEATURES,
  VhostUserFeature,
  VhostUserRequest as Request,
} from "./protocol.ts";
import { isRepeatable } from "./repeatable.ts";

/** Protocol features that a front end uses if the back end offers them. */
const PROTOCOL = FeatureSet.of(
  VhostUserFeature.MQ,
  VhostUserFeature.REPLY_ACK,
  VhostUserFeature.BACKEND_REQ,
  VhostUserFeature.CONFIG,
  VhostUserFeature.RESET_DEVICE,
  VhostUserFeature.CONFIGURE_MEM_SLOTS,
  VhostUserFeature.STATUS,
);
/** Feature bits of the protocol that are not virtio's. */
const NOT_VIRTIO = FeatureSet.of(VHOST_USER_PROTOCOL_FEATURES, VHOST_LOG_ALL);
/** Most entries of a queue whose requests a back end can note. */
const INFLIGHT_QUEUE_SIZE = 1024;
/** Milliseconds between two looks for a back end that went away. */
const RECONNECT_PAUSE = 20;
/** Where a packed ring starts: place 0 in the first round, for either side. */
const PACKED_START = 0x8000_8000;
/** Place of the used index in the device area of a split ring, in bytes. */
const USED_INDEX = 2;
/** Bits of the status that are the device's to set. */
const STATUS_OF_DEVICE = Status.NEEDS_RESET;
/** The machine's memory, as a front end describes it. */
export interface FrontEndMemory {
  /** Its file. */
  readonly fd: number;
  /** Address of its first byte as devices see it. */
  readonly guest: number;
  /** The same in this process. */
  readonly user: number;
  /** Bytes. */
  readonly size: number;
}

/** Options of {@linkcode VhostUserFrontEnd}. */
export interface FrontEndOptions {
  /** The connection, which it takes over. */
  readonly fd: number;
  /** The socket's path, for errors. */
  readonly path: string;
  /** Virtio device id. */
  readonly deviceId: number;
  /** The machine's memory. */
  readonly memory: FrontEndMemory;
  /** Milliseconds that an answer may take. */
  readonly deadline: number;
  /**
   * Milliseconds in which a back end that went away may come back at the same path, and go on with the requests
   * that were under way; 0 by default. Of back ends that note no requests (INFLIGHT_SHMFD) only disks (without zones) and entropy
   * on split rings can, because their requests may be done twice; others are gone for good.
   */
  readonly reconnect?: number | undefined;
  /**
   * Queue pairs of a network device, if the back end has so many; 1 by default. With more this side serves the
   * control queue, by which the driver chooses how many are used.
   */
  readonly pairs?: number | undefined;
}

interface QueueEvents {
  readonly kick: number;
  readonly call: EventInterrupt;
}

/** A queue that the front end has described to the back end. */
interface Ring {
  readonly queue: VhostUserQueue;
  enabled: boolean;
}

/** Memory in which a back end notes the requests under way; the next one goes on by it. */
interface Inflight {
  readonly fd: number;
  /** The message that describes it. */
  readonly payload: Uint8Array;
}

/** The front end of one vhost-user connection. */
export class VhostUserFrontEnd implements VhostUserLease {
  /** Queues of the device: those of the back end, and the control queue if this side serves it. */
  readonly queues: number;
  /** Pairs of a network device whose control queue this side serves; 0 if it serves none. */
  readonly pairs: number;
  /** Interrupts when the configuration changed, or the back end is gone. */
  readonly configInterrupt: Interrupt;
  /** How often the back end said that the configuration changed. */
  configChanges = 0;
  /** How often a back end that went away was replaced. */
  reconnections = 0;
  readonly #libc: Libc;
  readonly #poller: Poller;
  readonly #options: FrontEndOptions;
  readonly #changed: EventInterrupt;
  readonly #events = new Map<number, QueueEvents>();
  readonly #rings = new Map<number, Ring>();
  /** Queues of the back end. */
  readonly #ringCount: number;
  /** Pairs that the driver asked for. */
  #pairsInUse = 1;
  #control: NetControlQueue | undefined;
  readonly #backEnd: string;
  readonly #protocol: FeatureSet;
  readonly #hasProtocol: boolean;
  /** Undefined while the back end is away. */
  #link: BackEndLink | undefined;
  /** When the back end is not waited for any more, in milliseconds of the process. */
  #awayUntil = 0;
  #looking: ReturnType<typeof setTimeout> | undefined;
  #inflight: Inflight | undefined;
  #memoryKnown = false;
  #inflightKnown = false;
  #features: FeatureSet | undefined;
  #status = 0;
  #failure: VireoError | undefined;

  /**
   * Greets the back end and agrees on protocol features.
   *
   * @throws {VireoError} `DEVICE_REMOVED`, `TIMEOUT` or `BAD_MESSAGE` If it does not answer as it must; the
   * connection is closed then.
   */
  constructor(libc: Libc, poller: Poller, options: FrontEndOptions) {
    this.#libc = libc;
    this.#poller = poller;
    this.#options = options;
    this.#backEnd = `back end of ${options.path}`;
    using cleanup = new DisposableStack();
    this.#changed = cleanup.use(new EventInterrupt(libc, poller));
    this.configInterrupt = this.#changed;
    const link = this.#link = this.#greet(options.fd);
    this.#ringCount = link.queues;
    this.#protocol = link.protocol;
    const pairs = Math.min(options.pairs ?? 1, link.queues >> 1);
    const several = options.deviceId === DeviceId.NET && pairs > 1 &&
      link.protocol.has(VhostUserFeature.MQ) && link.offered.has(NetFeature.MQ);
    this.pairs = several ? pairs : 0;
    this.queues = several ? 2 * pairs + 1 : link.queues;
    this.#hasProtocol = link.hasProtocol;
    cleanup.move();
  }

  /** Whether the back end is there. */
  get present(): boolean {
    return this.#failure === undefined;
  }

  /** The protocol features that were agreed on. */
  get protocol(): FeatureSet {
    return this.#protocol;
  }

  /** Reads the feature bits of virtio that the back end offers. */
  readFeatures(): FeatureSet {
    const features = this.#use((link) => offered(link));
    return this.pairs > 0 ? features.with(NetFeature.CTRL_VQ) : features;
  }

  /** Writes the feature bits that the driver accepts. */
  writeFeatures(features: FeatureSet): void {
    // The control queue is between the driver and this side.
    const told = this.pairs > 0 ? features.without(NetFeature.CTRL_VQ) : features;
    this.#use((link) => this.#tellFeatures(link, told));
    this.#features = told;
  }

  /** Reads the device status field, as the back end has it if it keeps one. */
  readStatus(): number {
    this.#check();
    if (!this.#has(VhostUserFeature.STATUS)) return this.#status;
    // The back end adds and takes back bits; those that it does not keep are the driver's.
    const seen = this.#use((link) => readU32(link.ask(Request.GET_STATUS).payload, 0)) & 0xff;
    const refused = (this.#status & Status.FEATURES_OK) !== 0 && (seen & Status.FEATURES_OK) === 0;
    return refused ? this.#status & ~Status.FEATURES_OK : this.#status | (seen & STATUS_OF_DEVICE);
  }

  /** Writes the device status field. */
  writeStatus(status: number): void {
    this.#check();
    if (this.#has(VhostUserFeature.STATUS)) {
      this.#use((link) => link.tell(Request.SET_STATUS, u64s(status)));
    }
    this.#status = status;
  }

  /** Stops all queues and puts the device back as it was at first. */
  reset(): void {
    this.#status = 0;
    for (const index of [...this.#rings.keys()]) this.stopQueue(index);
    this.#closeQueues();
    this.#control = undefined;
    this.#pairsInUse = 1;
    this.#features = undefined;
    this.#check();
    // One that is away has forgotten all.
    if (this.#link === undefined) return;
    this.#use((link) => {
      if (this.#has(VhostUserFeature.STATUS)) link.tell(Request.SET_STATUS, u64s(0));
      if (this.#has(VhostUserFeature.RESET_DEVICE)) link.tell(Request.RESET_DEVICE);
    });
  }

  /** Whether the back end has the configuration. */
  get hasConfig(): boolean {
    return this.#has(VhostUserFeature.CONFIG);
  }

  /** Tells of a queue. */
  setUpQueue(index: number, queue: VhostUserQueue): void {
    if (this.#isControl(index)) {
      const setPairs = (count: number): boolean => this.#setPairs(count);
      this.#eventsOf(index);
      this.#control = new NetControlQueue(this.#libc, this.#options.memory, queue, setPairs);
      return;
    }
    this.#use((link) => {
      this.#keepInflight(link);
      this.#shareMemory(link);
      this.#tellQueue(link, index, queue, queue.packed ? PACKED_START : 0);
    });
    this.#rings.set(index, { queue, enabled: false });
  }

  /** Lets the back end look at a queue. */
  enableQueue(index: number): void {
    // The back end may use other pairs than the first from the driver's command on.
    if (this.pairs > 0 && index >> 1 >= this.#pairsInUse) return;
    this.#use((link) => this.#tellEnabled(link, index, true));
    const ring = this.#rings.get(index);
    if (ring !== undefined) ring.enabled = true;
  }

  /** Stops a queue; does nothing if it was not set up. */
  stopQueue(index: number): void {
    if (this.#isControl(index)) this.#control = undefined;
    if (!this.#rings.delete(index)) return;
    this.#check();
    try {
      // A back end stops at this message, and answers once it is done with what it took. One that is away did.
      this.#link?.ask(Request.GET_VRING_BASE, u32s(index, 0));
    } catch (error) {
      if (error instanceof VireoError) this.#lost(error);
      if (this.#failure !== undefined) throw error;
    } finally {
      // The noted requests are over; the next queues begin with empty notes.
      if (this.#rings.size === 0) this.#dropInflight();
    }
  }

  /** The interrupt of a queue. */
  queueInterrupt(index: number): Interrupt {
    return this.#eventsOf(index).call;
  }

  /** Whether the back end interrupted for a queue since this was last asked. */
  takeInterrupt(index: number): boolean {
    return this.#events.get(index)?.call.take() ?? false;
  }

  /** Tells the back end of available buffers. */
  kick(index: number): void {
    const events = this.#events.get(index);
    if (events === undefined) return;
    if (!this.#isControl(index)) return this.#libc.signalEvent(events.kick);
    if (this.#control?.run()) events.call.raise();
  }

  /** Reads configuration bytes. */
  readConfig(offset: number, length: number): Uint8Array {
    const pairs = NET_CONFIG.max_virtqueue_pairs.offset;
    if (this.pairs > 0 && offset === pairs && length === 2) {
      return Uint8Array.of(this.pairs & 0xff, this.pairs >> 8);
    }
    // From the start on: back ends of libvhost-user ignore the offset.
    const size = offset + length;
    if (!this.#has(VhostUserFeature.CONFIG) || size > VHOST_USER_MAX_CONFIG) {
      throw this.#noConfig(offset, length);
    }
    const range = joinBytes(u32s(0, size, 0), new Uint8Array(size));
    const { payload } = this.#use((link) => link.ask(Request.GET_CONFIG, range));
    const from = CONFIG_RANGE.SIZE;
    if (payload.length !== from + size) throw this.#noConfig(offset, length);
    return payload.subarray(from + offset, from + size);
  }

  /** Writes configuration bytes. */
  writeConfig(offset: number, bytes: Uint8Array): void {
    if (!this.#has(VhostUserFeature.CONFIG)) throw this.#noConfig(offset, bytes.length);
    const range = joinBytes(u32s(offset, bytes.length, 0), bytes);
    this.#use((link) => link.tell(Request.SET_CONFIG, range));
  }

  /** Closes the connection and all descriptors. */
  [Symbol.dispose](): void {
    this.#fail(this.#gone("was closed"));
    this.#closeQueues();
    this.#dropInflight();
    this.#changed[Symbol.dispose]();
  }

  #has(feature: VhostUserFeature): boolean {
    return this.#protocol.has(feature);
  }

  #isControl(index: number): boolean {
    return this.pairs > 0 && index === 2 * this.pairs;
  }

  /** Enables the queues of so many pairs, and disables the others; false if there are not so many. */
  #setPairs(count: number): boolean {
    if (count < 1 || count > this.pairs) return false;
    this.#pairsInUse = count;
    for (const [index, ring] of this.#rings) {
      const enabled = index >> 1 < count;
      if (ring.enabled === enabled) continue;
      this.#use((link) => this.#tellEnabled(link, index, enabled));
      ring.enabled = enabled;
    }
    return true;
  }

  #greet(fd: number): BackEndLink {
    const { deviceId, deadline, reconnect = 0 } = this.#options;
    return new BackEndLink(this.#libc, this.#poller, {
      fd,
      backEnd: this.#backEnd,
      deviceId,
      deadline,
      protocol: reconnect > 0 ? PROTOCOL.with(VhostUserFeature.INFLIGHT_SHMFD) : PROTOCOL,
      changed: () => this.#configChanged(),
      failed: (error) => this.#lost(error),
    });
  }

  #configChanged(): void {
    this.configChanges++;
    this.#changed.raise();
  }

  /** Does something with the back end, again with the next one if it goes away meanwhile. */
  #use<T>(work: (link: BackEndLink) => T): T {
    for (;;) {
      this.#check();
      const link = this.#link ?? this.#awaitBackEnd();
      try {
        return work(link);
      } catch (error) {
        // A refusal leaves all as it was.
        if (!(error instanceof VireoError) || error.code === "COMMAND_REFUSED") throw error;
        this.#lost(error);
        if (this.#failure !== undefined) throw error;
      }
    }
  }

  /** The connection ended: for good, unless another back end can go on with what is under way. */
  #lost(error: VireoError): void {
    // It is away already, or gone for good.
    if (this.#link === undefined) return;
    if (error.code !== "DEVICE_REMOVED" || !this.#canGoOn()) return this.#fail(error);
    this.#link[Symbol.dispose]();
    this.#link = undefined;
    this.#awayUntil = performance.now() + this.#options.reconnect!;
    this.#looking = setTimeout(() => this.#look(), RECONNECT_PAUSE);
  }

  /** Whether another back end can find out what is under way, or do all of it again. */
  #canGoOn(): boolean {
    const { reconnect = 0, deviceId } = this.#options;
    if (reconnect === 0 || this.#rings.size === 0) return false;
    if (this.#inflight !== undefined) return true;
    const known = [...this.#rings.values()].every(({ queue }) => queue.again !== undefined);
    return known && isRepeatable(deviceId, this.#features ?? FeatureSet.NONE);
  }

  #look(): void {
    this.#tryReconnect();
    if (this.#failure !== undefined || this.#link !== undefined) return;
    this.#looking = setTimeout(() => this.#look(), RECONNECT_PAUSE);
  }

  /** Waits in this thread for the next back end. */
  #awaitBackEnd(): BackEndLink {
    const sleep = new Int32Array(new SharedArrayBuffer(4));
    for (;;) {
      this.#tryReconnect();
      this.#check();
      if (this.#link !== undefined) return this.#link;
      Atomics.wait(sleep, 0, 0, RECONNECT_PAUSE);
    }
  }

  /** Connects to the next back end, if it is there, and tells it all. */
  #tryReconnect(): void {
    let link: BackEndLink | undefined;
    try {
      link = this.#greet(this.#libc.connect(this.#options.path));
      this.#resume(link);
    } catch (error) {
      link?.[Symbol.dispose]();
      if (!(error instanceof VireoError)) throw error;
      const { code } = error;
      // Nobody listens yet, or it went away again.
      const absent = code === "HOST_ERROR" || code === "DEVICE_REMOVED";
      if (!absent) return this.#fail(error);
      if (performance.now() < this.#awayUntil) return;
      return this.#fail(this.#gone(`ended, and none came in ${this.#options.reconnect} ms`));
    }
    clearTimeout(this.#looking);
    this.#link = link;
    this.reconnections++;
    this.#configChanged();
    for (const index of this.#rings.keys()) {
      // The one before may have taken the kick, and used buffers without a call.
      this.kick(index);
      this.#events.get(index)?.call.raise();
    }
  }

  /** Tells a back end what the one before was told. */
  #resume(link: BackEndLink): void {
    this.#memoryKnown = this.#inflightKnown = false;
    const features = this.#features ?? FeatureSet.NONE;
    const missing = features.minus(offered(link));
    if (
      !missing.equals(FeatureSet.NONE) || !link.protocol.equals(this.#protocol) ||
      link.queues < this.#ringCount
    ) {
      throw new VireoError("BAD_MESSAGE", `The ${this.#backEnd} came back as another device`, {
        seen: `${link.queues} queues, without the features ${[...missing].join(" ") || "none"}`,
        expected: `${this.#ringCount} queues, and the same features`,
      });
    }
    if (this.#features !== undefined) this.#tellFeatures(link, features);
    const keepsStatus = this.#has(VhostUserFeature.STATUS);
    if (keepsStatus) link.tell(Request.SET_STATUS, u64s(this.#status & ~Status.DRIVER_OK));
    if (this.#rings.size > 0) {
      this.#keepInflight(link);
      this.#shareMemory(link);
    }
    for (const [index, { queue, enabled }] of this.#rings) {
      this.#tellQueue(link, index, queue, this.#baseOf(index, queue));
      if (enabled) this.#tellEnabled(link, index, true);
    }
    if (keepsStatus) link.tell(Request.SET_STATUS, u64s(this.#status));
  }

  /** Where a queue goes on: what is used is done; of the rest the notes tell, or all of it is done again. */
  #baseOf(index: number, { packed, device, again }: VhostUserQueue): number {
    if (this.#inflight === undefined) {
      const base = again?.();
      if (base !== undefined) return base;
      throw new VireoError("QUEUE_BROKEN", `The ${this.#backEnd} left a ring that cannot be`, {
        queue: index,
        expected: "used entries of buffers in flight",
      });
    }
    if (packed) return PACKED_START;
    const { fd, guest } = this.#options.memory;
    const bytes = new Uint8Array(2);
    this.#libc.readAt(fd, bytes, device - guest + USED_INDEX);
    return bytes[0]! | bytes[1]! << 8;
  }

  #tellFeatures(link: BackEndLink, features: FeatureSet): void {
    const own = this.#hasProtocol ? features.with(VHOST_USER_PROTOCOL_FEATURES) : features;
    link.tell(Request.SET_FEATURES, bitsBytes(own));
  }

  #tellQueue(link: BackEndLink, index: number, queue: VhostUserQueue, base: number): void {
    link.tell(Request.SET_VRING_NUM, u32s(index, queue.size));
    link.tell(Request.SET_VRING_BASE, u32s(index, base));
    const { guest, user } = this.#options.memory;
    const [desc, used, avail] = [queue.desc, queue.device, queue.driver].map((address) =>
      address - guest + user
    );
    link.tell(
      Request.SET_VRING_ADDR,
      joinBytes(u32s(index, 0), u64s(desc!, used!, avail!, 0)),
    );
    const { kick, call } = this.#eventsOf(index);
    link.tell(Request.SET_VRING_CALL, u64s(index), [call.fd]);
    link.tell(Request.SET_VRING_KICK, u64s(index), [kick]);
  }

  #tellEnabled(link: BackEndLink, index: number, enabled: boolean): void {
    // Without protocol features a queue runs from its kick descriptor on.
    if (this.#hasProtocol) link.tell(Request.SET_VRING_ENABLE, u32s(index, enabled ? 1 : 0));
  }

  /** Has the back end note the requests under way, in the memory of the one before if there was one. */
  #keepInflight(link: BackEndLink): void {
    if (!link.protocol.has(VhostUserFeature.INFLIGHT_SHMFD)) return;
    if (this.#inflight === undefined) {
      const shape = u32s(this.#ringCount | INFLIGHT_QUEUE_SIZE << 16);
      const range = joinBytes(u64s(0, 0), shape);
      const { payload, fds: [fd] } = link.ask(Request.GET_INFLIGHT_FD, range);
      if (fd === undefined) {
        throw new VireoError("BAD_MESSAGE", `The ${this.#backEnd} gives no memory for its notes`, {
          seen: `${readU64(payload, INFLIGHT.size.offset, "size of inflight memory")} bytes`,
          expected: `memory for ${this.#ringCount} queues of ${INFLIGHT_QUEUE_SIZE} requests`,
        });
      }
      this.#inflight = { fd, payload };
    }
    if (this.#inflightKnown) return;
    const { fd, payload } = this.#inflight;
    link.tell(Request.SET_INFLIGHT_FD, payload, [fd]);
    this.#inflightKnown = true;
  }

  #dropInflight(): void {
    if (this.#inflight === undefined) return;
    this.#libc.close(this.#inflight.fd);
    this.#inflight = undefined;
    this.#inflightKnown = false;
  }

  /** @throws {VireoError} `DEVICE_REMOVED` If the back end is gone. */
  #check(): void {
    if (this.#failure === undefined) return;
    throw new VireoError("DEVICE_REMOVED", this.#failure.message, { cause: this.#failure });
  }

  #fail(error: VireoError): void {
    if (this.#failure !== undefined) return;
    this.#failure = error;
    clearTimeout(this.#looking);
    this.#link?.[Symbol.dispose]();
    this.#link = undefined;
    // The waiters must look at the status.
    this.#changed.raise();
  }

  #gone(why: string): VireoError {
    return new VireoError("DEVICE_REMOVED", `The connection to the ${this.#backEnd} ${why}`);
  }

  #noConfig(offset: number, length: number): VireoError {
    return new VireoError("CONFIG_ACCESS", `Cannot access the configuration`, {
      device: this.#options.path,
      register: `Config+${offset}`,
      seen: `${length} bytes`,
      expected: "bytes that the back end has",
    });
  }

  #shareMemory(link: BackEndLink): void {
    if (this.#memoryKnown) return;
    const { fd, guest, size, user } = this.#options.memory;
    const region = u64s(guest, size, user, 0);
    if (this.#has(VhostUserFeature.CONFIGURE_MEM_SLOTS)) {
      const slots = readU64(link.ask(Request.GET_MAX_MEM_SLOTS).payload, 0, "number of slots");
      if (slots < 1) {
        throw new VireoError("BAD_MESSAGE", `The ${this.#backEnd} has no room for memory`, {
          seen: `${slots} slots`,
          expected: "at least 1",
        });
      }
      link.tell(Request.ADD_MEM_REG, joinBytes(u64s(0), region), [fd]);
    } else link.tell(Request.SET_MEM_TABLE, joinBytes(u32s(1, 0), region), [fd]);
    this.#memoryKnown = true;
  }

  #eventsOf(index: number): QueueEvents {
    let events = this.#events.get(index);
    if (events === undefined) {
      events = {
        kick: this.#libc.eventFd(),
        call: new EventInterrupt(this.#libc, this.#poller),
      };
      this.#events.set(index, events);
    }
    return events;
  }

  #closeQueues(): void {
    for (const { kick, call } of this.#events.values()) {
      this.#libc.close(kick);
      call[Symbol.dispose]();
    }
    this.#events.clear();
  }
}

/** The feature bits of virtio that a back end offers. */
function offered(link: BackEndLink): FeatureSet {
  return readBits(link.ask(Request.GET_FEATURES).payload).minus(NOT_VIRTIO);
}
