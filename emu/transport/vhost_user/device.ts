import {
  DeviceId,
  FeatureSet,
  hex,
  hi32,
  InterruptCause,
  lo32,
  NetFeature,
  Status,
  VHOST_USER_NET_CONTROL,
  VireoError,
  type VireoErrorDetails,
} from "@vireo/hal";
import {
  bitsBytes,
  CONFIG_RANGE,
  INFLIGHT,
  joinBytes,
  type Libc,
  MEM_REGION,
  MEM_SLOT,
  MEM_TABLE,
  type Poller,
  readBits,
  readU32,
  readU64,
  u32s,
  u64s,
  VHOST_LOG_ALL,
  VHOST_USER_MAX_REGIONS,
  VHOST_USER_NO_FD,
  VHOST_USER_PROTOCOL_FEATURES,
  VhostUserFeature,
  type VhostUserMessage,
  VhostUserRequest as Request,
  VRING_ADDR,
  VRING_STATE,
} from "@vireo/hal/vhost-user";
import type { ConfigWidth, DeviceModel } from "../../device.ts";
import { blameText, type Violation } from "../../device_state.ts";
import { HostedDevice } from "../../hosted_device.ts";
import type { TransportOffer } from "../../offer.ts";
import type { InflightLog } from "../../ring/inflight.ts";
import { checkRing } from "../../ring/make_queue.ts";
import type { QueueGeometry } from "../../ring/queue_config.ts";
import {
  type ForwardPosition,
  forwardPosition,
  type PackedPosition,
  type QueuePosition,
  type RingPosition,
} from "../../ring/position.ts";
import type { DeviceTrace } from "../../trace.ts";
import { InflightMemory, inflightSize } from "./inflight.ts";
import { type FrontEndRegion, MemoryMap } from "./memory_map.ts";

/** Protocol features that a back end offers; CONFIG besides, if the device has a configuration. */
const PROTOCOL = FeatureSet.of(
  VhostUserFeature.MQ,
  VhostUserFeature.REPLY_ACK,
  VhostUserFeature.BACKEND_REQ,
  VhostUserFeature.INFLIGHT_SHMFD,
  VhostUserFeature.RESET_DEVICE,
  VhostUserFeature.CONFIGURE_MEM_SLOTS,
  VhostUserFeature.STATUS,
);
/** Feature bits of the protocol that are not virtio's. */
const NOT_VIRTIO = FeatureSet.of(VHOST_USER_PROTOCOL_FEATURES, VHOST_LOG_ALL);
/** Milliseconds that a queue's last requests may take when it is stopped. */
const DRAIN_DEADLINE = 2000;
/** Network devices' front ends count queues in pairs, and serve the control queue. */
const NET = DeviceId.NET;
/** Offered, though the front end chooses the pairs by itself. */
const FRONT_ENDS_PAIRS = FeatureSet.of(NetFeature.MQ);
/** Name of an eventfd in `/proc`. */
const EVENTFD = "anon_inode:[eventfd]";

/** Options of {@linkcode VhostUserDevice}. */
export interface VhostUserDeviceOptions {
  /** The device model. */
  readonly model: DeviceModel;
  /** Ring features; those that no eventfd carries are not offered. */
  readonly offer?: TransportOffer | undefined;
  /** An upper bound for queue sizes. */
  readonly queueSize?: number | undefined;
  /** The most bytes of guest memory; 2^38 by default. */
  readonly capacity?: number | undefined;
  /** Receives the violations of drivers. */
  readonly violated?: (violation: Violation) => void;
  /** Receives queues whose requests cannot be noted. */
  readonly unnoted?: (queue: UnnotedQueue) => void;
  /** Receives what the device sees: messages, set-up, notifications, buffers, calls. */
  readonly trace?: DeviceTrace | undefined;
}

/** A queue with more entries than the front end keeps memory for to note its requests under way. */
export interface UnnotedQueue {
  /** Index of the queue. */
  readonly queue: number;
  /** Its entries. */
  readonly size: number;
  /** Entries that there is memory for; 0 if there is none for this queue. */
  readonly room: number;
}

/** How a device reaches the front end beyond answers. */
export interface FrontEndLink {
  /** Tells of a change of the configuration; returns why it cannot, or undefined. */
  configChanged(): string | undefined;
}

/** The answer to a request. */
export interface DeviceAnswer {
  readonly payload: Uint8Array;
  /** A descriptor that goes with it, the receiver's to close. */
  readonly fd?: number;
}

/** A queue as a front end sets it up. */
interface Ring {
  base: number;
  /** Addresses in the front end's process. */
  desc: number;
  used: number;
  avail: number;
  /** Descriptors; -1 if there is none. */
  kick: number;
  call: number;
  error: number;
  enabled: boolean;
  watch: Disposable | undefined;
}

/**
 * A device model behind vhost-user: it carries out requests of a front end, and answers. The socket is
 * another's; descriptors of a request are this device's, and closed whatever becomes of it.
 */
export class VhostUserDevice implements Disposable {
  /** The model with its queues. */
  readonly hosted: HostedDevice;
  readonly #libc: Libc;
  readonly #poller: Poller;
  readonly #map: MemoryMap;
  readonly #unnoted: ((queue: UnnotedQueue) => void) | undefined;
  readonly #rings: readonly Ring[];
  readonly #trace: DeviceTrace | undefined;
  #protocol = FeatureSet.NONE;
  /** Whether queues start disabled: the front end has accepted protocol features. */
  #hasProtocol = false;
  #link: FrontEndLink | undefined;
  /** Memory for requests under way, if the front end keeps such. */
  #inflight: InflightMemory | undefined;
  /** Features that the front end accepted, word for word, and whether the model can be driven so. */
  #accepted: FeatureSet | undefined;
  #drivable = true;

  /** Attaches a model, which stays the caller's. */
  constructor(libc: Libc, poller: Poller, options: VhostUserDeviceOptions) {
    this.#libc = libc;
    this.#poller = poller;
    this.#map = new MemoryMap(libc, options.capacity);
    this.#unnoted = options.unnoted;
    const { violated, trace } = options;
    this.#trace = trace;
    this.hosted = new HostedDevice({
      model: options.model,
      memory: this.#map.memory,
      legacy: false,
      separateParts: true,
      queueSize: options.queueSize,
      // A kick has no data, a queue no reset, and addresses are the guest's.
      offer: {
        ...options.offer,
        ringReset: false,
        notificationData: false,
        accessPlatform: false,
        suspend: false,
      },
      raised: (cause, queue) => this.#raised(cause, queue),
      violated: (violation) => {
        trace?.emit({ kind: "violation", message: blameText(violation) });
        violated?.(violation);
      },
      trace: trace && this.#tracedCalls(trace),
    });
    this.#rings = this.hosted.configs.map(emptyRing);
  }

  /** The protocol features that were agreed on. */
  get protocol(): FeatureSet {
    return this.#protocol;
  }

  /** Regions of guest memory that are mapped. */
  get regions(): number {
    return this.#map.count;
  }

  /** Takes a new front end. */
  connected(link: FrontEndLink): void {
    this.#link = link;
  }

  /** The front end is gone: everything is as at first. */
  disconnected(): void {
    this.#link = undefined;
    if (this.hosted.status !== 0) this.#tellReset();
    this.#reset();
    for (const ring of this.#rings) ring.base = 0;
    this.#map.clear();
    this.#forgetInflight();
    this.#protocol = FeatureSet.NONE;
    this.#hasProtocol = false;
  }

  /**
   * Carries out a request.
   *
   * @returns The answer; undefined if the request has none.
   * @throws {VireoError} `BAD_MESSAGE` If it cannot be carried out; the device goes on as it was.
   */
  async handle(message: VhostUserMessage): Promise<DeviceAnswer | undefined> {
    const fds = [...message.fds];
    try {
      if (message.request === Request.GET_INFLIGHT_FD) return this.#makeInflight(message.payload);
      const payload = await this.#carryOut(message, fds);
      return payload && { payload };
    } finally {
      for (const fd of fds) this.#libc.close(fd);
    }
  }

  /** Closes descriptors and gives the memory back; the model is the caller's to dispose. */
  [Symbol.dispose](): void {
    this.disconnected();
    this.#map[Symbol.dispose]();
  }

  /** @param fds Those that stay there are closed afterwards. */
  async #carryOut(
    { request, payload }: VhostUserMessage,
    fds: number[],
  ): Promise<Uint8Array | undefined> {
    switch (request as Request) {
      case Request.GET_FEATURES:
        this.#tellFeatures("device", this.#toFrontEnd);
        return bitsBytes(this.#toFrontEnd.with(VHOST_USER_PROTOCOL_FEATURES));
      case Request.SET_FEATURES:
        return this.#setFeatures(readBits(payload));
      case Request.GET_PROTOCOL_FEATURES:
        return bitsBytes(this.#offeredProtocol);
      case Request.SET_PROTOCOL_FEATURES:
        this.#protocol = readBits(payload).and(this.#offeredProtocol);
        return undefined;
      case Request.GET_QUEUE_NUM: {
        const queues = this.#rings.length;
        const pairs = Math.floor(queues / 2);
        return u64s(this.hosted.model.deviceId === NET ? pairs : queues);
      }
      case Request.SET_OWNER:
      case Request.SEND_RARP:
      case Request.NET_SET_MTU:
        return undefined;
      case Request.RESET_OWNER:
      case Request.RESET_DEVICE:
        this.#tellReset();
        return this.#reset();
      case Request.SET_MEM_TABLE:
        return this.#setMemory(payload, fds);
      case Request.GET_MAX_MEM_SLOTS:
        return u64s(VHOST_USER_MAX_REGIONS * SLOTS_FACTOR);
      case Request.ADD_MEM_REG:
        return this.#addMemory(payload, fds[0]!);
      case Request.REM_MEM_REG:
        this.#map.remove(readRegion(payload, MEM_SLOT.SIZE, -1));
        return undefined;
      case Request.SET_VRING_NUM:
        return this.#setSize(payload);
      case Request.SET_VRING_BASE:
        this.#stoppedRing(payload).base = readU32(payload, VRING_STATE.num.offset);
        return undefined;
      case Request.SET_VRING_ADDR:
        return this.#setAddresses(payload);
      case Request.SET_VRING_KICK:
      case Request.SET_VRING_CALL:
      case Request.SET_VRING_ERR:
        return this.#setDescriptor(request, payload, fds);
      case Request.SET_VRING_ENABLE:
        return this.#enable(payload);
      case Request.GET_VRING_BASE:
        return await this.#stop(payload);
      case Request.GET_CONFIG:
        return this.#readConfig(payload);
      case Request.SET_CONFIG:
        return this.#writeConfig(payload);
      case Request.SET_STATUS:
        return this.#setStatus(readU32(payload, 0) & 0xff);
      case Request.GET_STATUS:
        return u64s(this.hosted.status);
      case Request.SET_INFLIGHT_FD:
        return this.#setInflight(payload, fds[0]!);
      case Request.SET_LOG_BASE:
      case Request.SET_LOG_FD:
        throw refuse("Cannot log what is written, as for a migration", { expected: "no log" });
      default:
        throw notAgreed(request);
    }
  }

  get #offered(): FeatureSet {
    return this.hosted.offeredBy(false).minus(this.#frontEnds);
  }

  /** Features that the front end is told: that there are several pairs decides whether its driver gets them. */
  get #toFrontEnd(): FeatureSet {
    if (this.hosted.model.deviceId !== NET) return this.#offered;
    return this.#offered.or(this.hosted.offeredBy(false).and(FRONT_ENDS_PAIRS));
  }

  /** Feature bits that are between the driver and the front end. */
  get #frontEnds(): FeatureSet {
    return this.hosted.model.deviceId === NET ? VHOST_USER_NET_CONTROL : FeatureSet.NONE;
  }

  get #offeredProtocol(): FeatureSet {
    return this.hosted.model.configSize > 0 ? PROTOCOL.with(VhostUserFeature.CONFIG) : PROTOCOL;
  }

  #setFeatures(accepted: FeatureSet): undefined {
    if (accepted.has(VHOST_LOG_ALL)) {
      throw refuse("Cannot log what is written, as for a migration", { expected: "no LOG_ALL" });
    }
    this.#hasProtocol = accepted.has(VHOST_USER_PROTOCOL_FEATURES);
    const features = accepted.minus(NOT_VIRTIO).minus(this.#frontEnds);
    this.#tellFeatures("driver", accepted.minus(NOT_VIRTIO));
    const { hosted } = this;
    // A front end that stopped and goes on, as when a machine is paused, says the same again.
    if (hosted.active && this.#accepted?.equals(features)) return undefined;
    if (this.#rings.some((_, i) => hosted.running(i))) {
      throw refuse("Cannot change the features of a device whose queues run", {
        seen: [...features].join(" "),
        expected: [...hosted.features].join(" "),
      });
    }
    if (hosted.active) hosted.reset();
    const kept = hosted.status & (Status.ACKNOWLEDGE | Status.DRIVER);
    this.#accepted = features;
    this.#drivable = hosted.negotiate(features);
    if (this.#keepsStatus) hosted.status = kept;
    return undefined;
  }

  get #keepsStatus(): boolean {
    return this.#protocol.has(VhostUserFeature.STATUS);
  }

  #setStatus(status: number): undefined {
    this.#trace?.emit({ kind: "status", status });
    if (status === 0) return this.#reset();
    const { hosted } = this;
    const needsReset = hosted.status & Status.NEEDS_RESET;
    const starts = (status & Status.DRIVER_OK) !== 0 && !hosted.active;
    hosted.status = (this.#drivable ? status : status & ~Status.FEATURES_OK) | needsReset;
    if (starts) this.#activate();
    return undefined;
  }

  #reset(): undefined {
    this.#accepted = undefined;
    this.#drivable = true;
    for (let i = 0; i < this.#rings.length; i++) this.#forget(i);
    this.hosted.reset();
    this.#map.release();
    return undefined;
  }

  #activate(): void {
    const { hosted } = this;
    if (!hosted.active) hosted.activate();
  }

  #setMemory(payload: Uint8Array, fds: readonly number[]): undefined {
    const count = readU32(payload, MEM_TABLE.regions.offset);
    const expected = MEM_TABLE.SIZE + count * MEM_REGION.SIZE;
    if (count > VHOST_USER_MAX_REGIONS || payload.length < expected || fds.length !== count) {
      throw refuse("Cannot take a table of memory", {
        seen: `${count} regions in ${payload.length} bytes with ${fds.length} descriptors`,
        expected: `at most ${VHOST_USER_MAX_REGIONS} regions with a descriptor each`,
      });
    }
    const regions = fds.map((fd, i) =>
      readRegion(payload, MEM_TABLE.SIZE + i * MEM_REGION.SIZE, fd)
    );
    this.#map.setTable(regions);
    this.#releaseStale();
    return undefined;
  }

  #addMemory(payload: Uint8Array, fd: number): undefined {
    const most = VHOST_USER_MAX_REGIONS * SLOTS_FACTOR;
    if (this.#map.count >= most) {
      throw refuse("Cannot add a region", { seen: this.#map.count + 1, expected: most });
    }
    this.#map.add(readRegion(payload, MEM_SLOT.SIZE, fd));
    return undefined;
  }

  #setSize(payload: Uint8Array): undefined {
    this.#stoppedRing(payload);
    const index = readU32(payload, VRING_STATE.index.offset);
    const size = readU32(payload, VRING_STATE.num.offset);
    // The guest knows the front end's largest size, not the model's.
    const most = Math.max(this.hosted.configs[index]!.maxSize, MAX_SIZE);
    const power = this.hosted.packed || (size & (size - 1)) === 0;
    if (size < 1 || size > most || !power) {
      throw refuse("Cannot give a queue this size", {
        queue: index,
        seen: size,
        expected: `a power of two up to ${most}`,
      });
    }
    this.hosted.configs[index]!.size = size;
    return undefined;
  }

  #setAddresses(payload: Uint8Array): undefined {
    const ring = this.#ring(readU32(payload, VRING_ADDR.index.offset));
    const flags = readU32(payload, VRING_ADDR.flags.offset);
    if (flags !== 0) throw refuse("Cannot log a queue's writes", { seen: flags, expected: 0 });
    ring.desc = readU64(payload, VRING_ADDR.desc.offset, "address of a descriptor table");
    ring.used = readU64(payload, VRING_ADDR.used.offset, "address of a used ring");
    ring.avail = readU64(payload, VRING_ADDR.avail.offset, "address of an available ring");
    return undefined;
  }

  #setDescriptor(request: number, payload: Uint8Array, fds: number[]): undefined {
    const value = readU64(payload, 0, "index of a queue");
    const index = value % VHOST_USER_NO_FD;
    const ring = this.#ring(index);
    const none = Math.floor(value / VHOST_USER_NO_FD) % 2 === 1;
    if (none !== (fds.length === 0)) {
      throw refuse("Cannot take a queue's descriptor", {
        queue: index,
        seen: `${fds.length} descriptors`,
        expected: none ? 0 : 1,
      });
    }
    const fd = fds[0] ?? -1;
    if (fd >= 0) {
      if (Deno.readLinkSync(`/proc/self/fd/${fd}`) !== EVENTFD) {
        throw refuse("Cannot take a queue's descriptor", { queue: index, expected: "an eventfd" });
      }
      // A write of ours must never wait for the front end, nor a read.
      this.#libc.setNonBlocking(fd);
      fds.length = 0;
    }
    if (request === Request.SET_VRING_CALL) {
      this.#close(ring.call);
      ring.call = fd;
      // Buffers may have been used before the driver could be told.
      if (fd >= 0 && this.hosted.running(index)) this.#libc.signalEvent(fd);
    } else if (request === Request.SET_VRING_ERR) {
      this.#close(ring.error);
      ring.error = fd;
    } else this.#setKick(index, ring, fd);
    return undefined;
  }

  #setKick(index: number, ring: Ring, fd: number): void {
    ring.watch?.[Symbol.dispose]();
    this.#close(ring.kick);
    ring.kick = fd;
    ring.watch = fd < 0 ? undefined : this.#poller.watch(fd, () => {
      this.#libc.clearEvent(fd);
      this.#tellNotified(index);
      this.#kicked(index);
    });
    if (!this.hosted.running(index)) this.#start(index, ring);
    // Without protocol features a queue is enabled from the start.
    if (!this.#hasProtocol) this.#setEnabled(index, ring, true);
    if (ring.enabled) this.#ready(index);
  }

  #start(index: number, ring: Ring): void {
    const { hosted } = this;
    const config = hosted.configs[index]!;
    for (const part of ["desc", "avail", "used"] as const) {
      const guest = this.#map.toGuest(ring[part]);
      if (guest === undefined) {
        throw refuse(`Cannot start a queue: its ${part} part must be in a region`, {
          queue: index,
          seen: hex(ring[part]),
        });
      }
      config[part][0] = lo32(guest);
      config[part][1] = hi32(guest);
    }
    let started: boolean;
    const geometry = config.geometry();
    try {
      const position = this.#resumed(ring, geometry.used);
      const [from, log] = this.#recovered(index, geometry, position);
      started = hosted.startQueue(index, from, log);
    } catch (cause) {
      if (!(cause instanceof RangeError)) throw cause;
      throw refuse("Cannot go on with a queue", { queue: index, seen: ring.base, cause });
    }
    if (started) return this.#tellQueue(index, geometry);
    throw refuse("Cannot start a queue", {
      queue: index,
      expected: hosted.log.at(-1)?.reason ?? "parts in guest memory",
    });
  }

  /** Where a queue goes on by the notes of an earlier back end, and where this one writes its own. */
  #recovered(
    index: number,
    geometry: QueueGeometry,
    position: RingPosition,
  ): [RingPosition, InflightLog | undefined] {
    const { memory } = this.#map;
    const { packed } = this.hosted;
    const bad = checkRing(packed, geometry, memory) !== undefined;
    if (this.#inflight === undefined || bad) return [position, undefined];
    const { size } = geometry;
    const room = this.#inflight.room(index);
    if (size > room) {
      this.#unnoted?.({ queue: index, size, room });
      return [position, undefined];
    }
    if (packed) {
      const log = this.#inflight.packed(index, geometry, memory);
      return [log.recover(position as PackedPosition), log];
    }
    const log = this.#inflight.split(index, geometry, memory);
    return [log.recover(position as QueuePosition), log];
  }

  /** Makes memory in which requests under way are noted; the front end keeps it. */
  #makeInflight(payload: Uint8Array): DeviceAnswer {
    const { queues, queueSize } = this.#inflightRange(Request.GET_INFLIGHT_FD, payload);
    const size = inflightSize(queues, queueSize);
    const fd = this.#libc.memoryFile("vireo-inflight", size);
    this.#libc.fixSize(fd);
    // As long as the question: some front ends have padding at its end.
    const answer = payload.slice();
    answer.set(u64s(size, 0));
    return { payload: answer, fd };
  }

  #setInflight(payload: Uint8Array, fd: number): undefined {
    const { size, offset, queues, queueSize } = this.#inflightRange(
      Request.SET_INFLIGHT_FD,
      payload,
    );
    if (this.#rings.some((_, i) => this.hosted.running(i))) {
      throw refuse("Cannot change the memory of inflight requests: no queue must run", {});
    }
    const least = inflightSize(queues, queueSize);
    const aligned = offset % INFLIGHT_ALIGN === 0 && offset <= MAX_INFLIGHT_OFFSET;
    const fits = size >= least && offset + size <= this.#libc.fileSize(fd);
    if (!aligned || !fits || !this.#libc.keepsSize(fd)) {
      throw refuse("Cannot take the memory of inflight requests", {
        seen: `${size} bytes at ${offset}`,
        expected: `${least} bytes in a sealed file`,
      });
    }
    this.#forgetInflight();
    this.#inflight = new InflightMemory(this.#libc, fd, offset, queues, queueSize);
    return undefined;
  }

  #inflightRange(request: number, payload: Uint8Array) {
    if (!this.#protocol.has(VhostUserFeature.INFLIGHT_SHMFD)) throw notAgreed(request);
    const count = readU32(payload, INFLIGHT.queues.offset);
    const [queues, queueSize] = [count & 0xffff, count >>> 16];
    const most = this.#rings.length;
    if (queues < 1 || queues > most || queueSize < 1 || queueSize > MAX_SIZE) {
      throw refuse("Cannot note inflight requests", {
        seen: `${queues} queues of ${queueSize}`,
        expected: `1 to ${most} queues of 1 to ${MAX_SIZE}`,
      });
    }
    const size = readU64(payload, INFLIGHT.size.offset, "size of inflight memory");
    const offset = readU64(payload, INFLIGHT.offset.offset, "place of inflight memory");
    return { size, offset, queues, queueSize };
  }

  #forgetInflight(): void {
    this.#inflight?.[Symbol.dispose]();
    this.#inflight = undefined;
  }

  /** Where a queue goes on; what was not used by then is taken again, or was lost with a back end. */
  #resumed(ring: Ring, used: number): RingPosition {
    if (this.hosted.packed) {
      const next = ring.base & 0xffff;
      // DPDK's driver says nothing in the upper half: then nothing is in flight.
      const used = ring.base >>> 16 || next;
      return { ring: "packed", next, used, fresh: 0, first: 0, held: [], completed: [] };
    }
    if (ring.base > 0xffff) throw refuse("Cannot start a split queue", { seen: ring.base });
    const { memory } = this.#map;
    const at = memory.offset(used, 4);
    const usedIndex = at < 0 ? ring.base : memory.words16[at / 2 + 1]!;
    return { lastAvail: ring.base, usedIndex, signalled: usedIndex, held: [] };
  }

  #setEnabled(index: number, ring: Ring, enabled: boolean): void {
    ring.enabled = enabled;
    this.hosted.model.setQueueEnabled?.(index, enabled);
  }

  #enable(payload: Uint8Array): undefined {
    const index = readU32(payload, VRING_STATE.index.offset);
    const on = readU32(payload, VRING_STATE.num.offset);
    const ring = this.#ring(index);
    if (on > 1) {
      throw refuse("Cannot enable a queue", { queue: index, seen: on, expected: "0 or 1" });
    }
    this.#setEnabled(index, ring, on === 1);
    if (ring.enabled && this.hosted.running(index)) this.#ready(index);
    return undefined;
  }

  /**
   * A queue runs and is enabled: the device starts with the first one. A front end that keeps the status
   * need not say DRIVER_OK: QEMU 7.2 does not for its entropy, SCSI and socket devices.
   */
  #ready(index: number): void {
    if (this.hosted.active) this.#kicked(index);
    else this.#activate();
  }

  #kicked(index: number): void {
    const { hosted } = this;
    if (!this.#rings[index]!.enabled || !hosted.running(index)) return;
    // A kick before DRIVER_OK: the device looks by itself when it starts.
    if (hosted.active) hosted.notify(index);
  }

  /** Stops a queue once the model is done with what it took; says where it stands. */
  async #stop(payload: Uint8Array): Promise<Uint8Array> {
    const index = readU32(payload, VRING_STATE.index.offset);
    const ring = this.#ring(index);
    const end = performance.now() + DRAIN_DEADLINE;
    const { keepsBuffers } = this.hosted.model.queues[index]!;
    // A device that needs a reset is done with nothing more.
    const stopped = (): boolean => (this.hosted.status & Status.NEEDS_RESET) !== 0;
    const held = (): number => keepsBuffers ? 0 : this.#position(index)?.held.length ?? 0;
    while (held() > 0 && !stopped() && performance.now() < end) {
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    this.#halt(index);
    this.#releaseStale();
    return u32s(index, ring.base);
  }

  /** Where a queue stands; undefined if it does not run, or the driver has the device's side of it. */
  #position(index: number): ForwardPosition | undefined {
    return forwardPosition(this.hosted.position(index));
  }

  /** Stops a queue and closes its descriptors; its base is where it stands. */
  #halt(index: number): void {
    const ring = this.#rings[index]!;
    const position = this.#position(index);
    // Chains that the model holds are void: the next back end, or this one, takes them again.
    if (position !== undefined) {
      const packed = "ring" in position;
      ring.base = packed ? (position.used | position.used << 16) >>> 0 : position.usedIndex;
    }
    if (this.hosted.running(index)) this.#tellQueue(index, undefined);
    ring.watch?.[Symbol.dispose]();
    ring.watch = undefined;
    for (const fd of [ring.kick, ring.call, ring.error]) this.#close(fd);
    ring.kick = ring.call = ring.error = -1;
    this.hosted.stopQueue(index);
  }

  /**
   * Stops a queue and forgets its settings, but not where it stands: QEMU resets the
   * status before it asks for that, also when its machine is only paused.
   */
  #forget(index: number): void {
    this.#halt(index);
    const { base } = this.#rings[index]!;
    Object.assign(this.#rings[index]!, emptyRing(), { base });
  }

  #readConfig(payload: Uint8Array): Uint8Array {
    const { offset, size } = configRange(payload);
    const bytes = new Uint8Array(size);
    const { configSize } = this.hosted.model;
    // Front ends ask for the whole structure of their day, of which a device may have less.
    for (let i = 0; i < size; i++) {
      if (offset + i < configSize) bytes[i] = this.hosted.readConfig(offset + i, 1);
    }
    return joinBytes(payload.subarray(0, CONFIG_RANGE.SIZE), bytes);
  }

  #writeConfig(payload: Uint8Array): undefined {
    const { offset, size } = configRange(payload);
    if (offset + size > this.hosted.model.configSize) {
      throw refuse("Cannot write past the end of the configuration", {
        seen: `bytes ${offset} to ${offset + size}`,
        expected: `at most ${this.hosted.model.configSize}`,
      });
    }
    const view = new DataView(payload.buffer, payload.byteOffset + CONFIG_RANGE.SIZE, size);
    for (let at = 0; at < size;) {
      const fits = (width: number): boolean => (offset + at) % width === 0 && at + width <= size;
      const width: ConfigWidth = fits(4) ? 4 : fits(2) ? 2 : 1;
      const value = width === 4
        ? view.getUint32(at, true)
        : width === 2
        ? view.getUint16(at, true)
        : view.getUint8(at);
      const place = offset + at;
      this.#trace?.emit({ kind: "config", op: "write", offset: place, width, value });
      this.hosted.writeConfig(place, width, value);
      at += width;
    }
    return undefined;
  }

  #raised(cause: InterruptCause, queue: number | undefined): void {
    if (queue !== undefined) {
      const { call } = this.#rings[queue]!;
      if (call >= 0) this.#libc.signalEvent(call);
      return;
    }
    if (cause !== InterruptCause.CONFIG) return;
    if ((this.hosted.status & Status.NEEDS_RESET) !== 0) {
      this.#trace?.emit({ kind: "fault", message: "The device needs a reset" });
      for (const { error } of this.#rings) if (error >= 0) this.#libc.signalEvent(error);
    }
    const unsent = this.#link === undefined ? NO_FRONT_END : this.#link.configChanged();
    this.#trace?.emit({ kind: "change", unsent });
  }

  #tellFeatures(by: "device" | "driver", features: FeatureSet): void {
    const { featureNames: names } = this.hosted.model;
    this.#trace?.emit({ kind: "features", by, features, names });
  }

  #tellReset(): void {
    this.#trace?.emit({ kind: "status", status: 0 });
  }

  #tellQueue(queue: number, geometry: QueueGeometry | undefined): void {
    const ring = geometry && {
      size: geometry.size,
      desc: geometry.desc,
      driver: geometry.avail,
      device: geometry.used,
    };
    this.#trace?.emit({ kind: "queue", queue, ring });
  }

  #tellNotified(queue: number): void {
    const { hosted } = this;
    const ignored = !this.#rings[queue]!.enabled
      ? "the front end has not enabled the queue"
      : !hosted.running(queue)
      ? "the queue does not run"
      : hosted.active
      ? undefined
      : "the device is not started";
    const { name } = hosted.model.queues[queue]!;
    this.#trace?.emit({ kind: "notified", queue, name, ignored });
  }

  /** A trace for the queues: that there is no eventfd for calls, they do not know. */
  #tracedCalls(trace: DeviceTrace): DeviceTrace {
    return {
      get time(): number {
        return trace.time;
      },
      asked: (buffer) => trace.asked(buffer),
      answered: (buffer, request, length) => trace.answered(buffer, request, length),
      emit: (detail, time) => {
        const lost = detail.kind === "call" && this.#rings[detail.queue]!.call < 0;
        trace.emit(lost ? { ...detail, unsent: NO_CALL } : detail, time);
      },
    };
  }

  #releaseStale(): void {
    if (this.#rings.every((_, i) => !this.hosted.running(i))) this.#map.release();
  }

  #ring(index: number): Ring {
    const ring = this.#rings[index];
    if (ring !== undefined) return ring;
    throw refuse("Cannot find a queue", {
      queue: index,
      expected: `one of ${this.#rings.length} queues`,
    });
  }

  #stoppedRing(payload: Uint8Array): Ring {
    const index = readU32(payload, VRING_STATE.index.offset);
    const ring = this.#ring(index);
    if (!this.hosted.running(index)) return ring;
    throw refuse("Cannot change a queue: it must be stopped", { queue: index });
  }

  #close(fd: number): void {
    if (fd >= 0) this.#libc.close(fd);
  }
}

/** The most descriptors of a queue, whatever its model says: memory is bounded by it. */
const MAX_SIZE = 1024;
/** Why nobody hears of something. */
const NO_FRONT_END = "there is no front end";
const NO_CALL = "the front end gave no descriptor for calls";
/** Unit of the place of inflight memory in its file, and the largest place, in bytes. */
const INFLIGHT_ALIGN = 64;
const MAX_INFLIGHT_OFFSET = 2 ** 30;
/** Regions that can be added one by one, in tables. */
const SLOTS_FACTOR = 4;

function emptyRing(): Ring {
  return {
    base: 0,
    desc: 0,
    used: 0,
    avail: 0,
    kick: -1,
    call: -1,
    error: -1,
    enabled: false,
    watch: undefined,
  };
}

function readRegion(payload: Uint8Array, at: number, fd: number): FrontEndRegion {
  return {
    guest: readU64(payload, at + MEM_REGION.guest.offset, "guest address of a region"),
    size: readU64(payload, at + MEM_REGION.size.offset, "size of a region"),
    user: readU64(payload, at + MEM_REGION.user.offset, "address of a region"),
    offset: readU64(payload, at + MEM_REGION.offset.offset, "place of a region in its file"),
    fd,
  };
}

function configRange(payload: Uint8Array): { readonly offset: number; readonly size: number } {
  const offset = readU32(payload, CONFIG_RANGE.offset.offset);
  const size = readU32(payload, CONFIG_RANGE.size.offset);
  const room = payload.length - CONFIG_RANGE.SIZE;
  if (size === room) return { offset, size };
  throw refuse("Cannot take a range of the configuration", {
    seen: `${size} bytes in a message with ${room}`,
    expected: "as many as it says",
  });
}

function notAgreed(request: number): VireoError {
  return refuse("Cannot carry out the request: it must have been agreed on", { seen: request });
}

function refuse(what: string, details: VireoErrorDetails): VireoError {
  return new VireoError("BAD_MESSAGE", what, details);
}
