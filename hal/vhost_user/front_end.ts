import { FeatureSet, hex } from "../bits.ts";
import { VireoError } from "../errors.ts";
import type { Interrupt } from "../interrupt.ts";
import { EventInterrupt } from "../unix/event.ts";
import type { Libc } from "../unix/libc.ts";
import type { Poller } from "../unix/poller.ts";
import { DeviceId } from "../virtio/ids.ts";
import { Status } from "../virtio/status.ts";
import { bitsBytes, joinBytes, readBits, readU32, readU64, u32s, u64s } from "./bits64.ts";
import type { VhostUserLease, VhostUserQueue } from "./node.ts";
import {
  CONFIG_RANGE,
  type MessageRule,
  VHOST_LOG_ALL,
  VHOST_USER_ACK,
  VHOST_USER_BACKEND_MESSAGES,
  VHOST_USER_MAX_CONFIG,
  VHOST_USER_MESSAGES,
  VHOST_USER_PROTOCOL_FEATURES,
  VhostUserFeature,
  VhostUserFlag,
  VhostUserRequest as Request,
} from "./protocol.ts";
import { type VhostUserMessage, VhostUserSocket } from "./socket.ts";

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
/** Queues of a device whose back end cannot say how many it has, by device id. */
const QUEUES: Readonly<Record<number, number>> = {
  [DeviceId.NET]: 2,
  [DeviceId.BLOCK]: 1,
  [DeviceId.CONSOLE]: 2,
  [DeviceId.RNG]: 1,
  [DeviceId.SCSI]: 3,
  [DeviceId.GPU]: 2,
  [DeviceId.INPUT]: 2,
  [DeviceId.VSOCK]: 3,
};
/** Most queues: a message names one in eight bits. */
const MAX_QUEUES = 256;
/** Where a packed ring starts: place 0 in the first round, for either side. */
const PACKED_START = 0x8000_8000;
/** Bits of the status that are the device's to set. */
const STATUS_OF_DEVICE = Status.NEEDS_RESET;
/** `POLLIN` of poll(2). */
const POLLIN = 1;

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
}

interface QueueEvents {
  readonly kick: number;
  readonly call: EventInterrupt;
}

/** The front end of one vhost-user connection. */
export class VhostUserFrontEnd implements VhostUserLease {
  /** Queues that the back end has. */
  readonly queues: number;
  /** Interrupts when the configuration changed, or the back end is gone. */
  readonly configInterrupt: Interrupt;
  /** How often the back end said that the configuration changed. */
  configChanges = 0;
  readonly #libc: Libc;
  readonly #poller: Poller;
  readonly #options: FrontEndOptions;
  readonly #socket: VhostUserSocket;
  readonly #changed: EventInterrupt;
  readonly #cleanup = new DisposableStack();
  readonly #events = new Map<number, QueueEvents>();
  readonly #setUp = new Set<number>();
  readonly #backEnd: string;
  /** The socket on which the back end asks, if it does. */
  #requests: VhostUserSocket | undefined;
  /** The request whose answer is due, and whether it is only a word that it was carried out. */
  #due: { readonly request: number; readonly acknowledged: boolean } | undefined;
  #hasProtocol = false;
  #protocol = FeatureSet.NONE;
  #memoryKnown = false;
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
    this.#socket = cleanup.use(
      new VhostUserSocket(
        libc,
        options.fd,
        this.#backEnd,
        (request, flags) => this.#answerRule(request, flags),
      ),
    );
    this.#changed = cleanup.use(new EventInterrupt(libc, poller));
    this.configInterrupt = this.#changed;
    cleanup.use(poller.watch(this.#socket.fd, () => this.#unasked()));
    cleanup.defer(() => this.#closeQueues());
    cleanup.defer(() => this.#requests?.[Symbol.dispose]());
    this.queues = this.#greet(cleanup);
    this.#cleanup.use(cleanup.move());
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
    return readBits(this.#ask(Request.GET_FEATURES).payload).minus(NOT_VIRTIO);
  }

  /** Writes the feature bits that the driver accepts. */
  writeFeatures(features: FeatureSet): void {
    const own = this.#hasProtocol ? features.with(VHOST_USER_PROTOCOL_FEATURES) : features;
    this.#tell(Request.SET_FEATURES, bitsBytes(own));
  }

  /** Reads the device status field, as the back end has it if it keeps one. */
  readStatus(): number {
    this.#check();
    if (!this.#has(VhostUserFeature.STATUS)) return this.#status;
    // What the back end adds or takes back; the bits that it does not keep are the driver's.
    const seen = readU32(this.#ask(Request.GET_STATUS).payload, 0) & 0xff;
    const refused = (this.#status & Status.FEATURES_OK) !== 0 && (seen & Status.FEATURES_OK) === 0;
    return refused ? this.#status & ~Status.FEATURES_OK : this.#status | (seen & STATUS_OF_DEVICE);
  }

  /** Writes the device status field. */
  writeStatus(status: number): void {
    this.#status = status;
    if (this.#has(VhostUserFeature.STATUS)) this.#tell(Request.SET_STATUS, u64s(status));
    else this.#check();
  }

  /** Stops all queues and puts the device back as it was at first. */
  reset(): void {
    this.#status = 0;
    for (const index of [...this.#setUp]) this.stopQueue(index);
    this.#closeQueues();
    if (this.#has(VhostUserFeature.STATUS)) this.#tell(Request.SET_STATUS, u64s(0));
    if (this.#has(VhostUserFeature.RESET_DEVICE)) this.#tell(Request.RESET_DEVICE);
    else this.#check();
  }

  /** Whether the back end has the configuration. */
  get hasConfig(): boolean {
    return this.#has(VhostUserFeature.CONFIG);
  }

  /** Tells of a queue. */
  setUpQueue(index: number, queue: VhostUserQueue): void {
    this.#shareMemory();
    this.#tell(Request.SET_VRING_NUM, u32s(index, queue.size));
    this.#tell(Request.SET_VRING_BASE, u32s(index, queue.packed ? PACKED_START : 0));
    const { guest, user } = this.#options.memory;
    const [desc, used, avail] = [queue.desc, queue.device, queue.driver].map((address) =>
      address - guest + user
    );
    this.#tell(
      Request.SET_VRING_ADDR,
      joinBytes(u32s(index, 0), u64s(desc!, used!, avail!, 0)),
    );
    const { kick, call } = this.#eventsOf(index);
    this.#setUp.add(index);
    this.#tell(Request.SET_VRING_CALL, u64s(index), [call.fd]);
    this.#tell(Request.SET_VRING_KICK, u64s(index), [kick]);
  }

  /** Lets the back end look at a queue. */
  enableQueue(index: number): void {
    // Without protocol features a queue runs from its kick descriptor on.
    if (this.#hasProtocol) this.#tell(Request.SET_VRING_ENABLE, u32s(index, 1));
  }

  /** Stops a queue; does nothing if it was not set up. */
  stopQueue(index: number): void {
    if (!this.#setUp.delete(index)) return;
    // A back end stops at this message, and answers once it is done with what it took.
    this.#ask(Request.GET_VRING_BASE, u32s(index, 0));
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
    if (events !== undefined) this.#libc.signalEvent(events.kick);
  }

  /** Reads configuration bytes. */
  readConfig(offset: number, length: number): Uint8Array {
    // From the start on: back ends of libvhost-user ignore the offset.
    const size = offset + length;
    if (!this.#has(VhostUserFeature.CONFIG) || size > VHOST_USER_MAX_CONFIG) {
      throw this.#noConfig(offset, length);
    }
    const range = joinBytes(u32s(0, size, 0), new Uint8Array(size));
    const { payload } = this.#ask(Request.GET_CONFIG, range);
    const from = CONFIG_RANGE.SIZE;
    if (payload.length !== from + size) throw this.#noConfig(offset, length);
    return payload.subarray(from + offset, from + size);
  }

  /** Writes configuration bytes. */
  writeConfig(offset: number, bytes: Uint8Array): void {
    if (!this.#has(VhostUserFeature.CONFIG)) throw this.#noConfig(offset, bytes.length);
    this.#tell(Request.SET_CONFIG, joinBytes(u32s(offset, bytes.length, 0), bytes));
  }

  /** Closes the connection and all descriptors. */
  [Symbol.dispose](): void {
    this.#fail(this.#gone("was closed"));
    this.#cleanup[Symbol.dispose]();
  }

  #has(feature: VhostUserFeature): boolean {
    return this.#protocol.has(feature);
  }

  /** Returns how many queues there are. */
  #greet(cleanup: DisposableStack): number {
    const offered = readBits(this.#ask(Request.GET_FEATURES).payload);
    this.#hasProtocol = offered.has(VHOST_USER_PROTOCOL_FEATURES);
    let protocol = FeatureSet.NONE;
    if (this.#hasProtocol) {
      protocol = readBits(this.#ask(Request.GET_PROTOCOL_FEATURES).payload).and(PROTOCOL);
      this.#tell(Request.SET_PROTOCOL_FEATURES, bitsBytes(protocol));
    }
    this.#protocol = protocol;
    this.#tell(Request.SET_OWNER);
    if (this.#has(VhostUserFeature.BACKEND_REQ)) this.#listen(cleanup);
    const known = QUEUES[this.#options.deviceId] ?? 1;
    if (!this.#has(VhostUserFeature.MQ)) return known;
    const count = readU64(this.#ask(Request.GET_QUEUE_NUM).payload, 0, "number of queues");
    // Back ends of network devices count pairs; those of others count all or leave some out.
    return Math.min(MAX_QUEUES, Math.max(known, count));
  }

  /** Gives the back end a socket of its own for what it has to say. */
  #listen(cleanup: DisposableStack): void {
    const [own, theirs] = this.#libc.socketPair();
    const requests = new VhostUserSocket(
      this.#libc,
      own,
      this.#backEnd,
      (request) => VHOST_USER_BACKEND_MESSAGES.get(request),
    );
    this.#requests = requests;
    try {
      this.#tell(Request.SET_BACKEND_REQ_FD, new Uint8Array(0), [theirs]);
    } finally {
      this.#libc.close(theirs);
    }
    let watch: Disposable | undefined = undefined;
    watch = this.#poller.watch(own, () => {
      if (!this.#serveRequests()) watch?.[Symbol.dispose]();
    });
    cleanup.use(watch);
  }

  /** Takes what the back end asks; false once nothing can come any more. */
  #serveRequests(): boolean {
    const requests = this.#requests;
    if (requests === undefined) return false;
    try {
      for (let message = requests.take(); message !== undefined; message = requests.take()) {
        this.#closeAll(message.fds);
        this.configChanges++;
        this.#changed.raise();
        if ((message.flags & VhostUserFlag.NEED_REPLY) === 0) continue;
        requests.send(message.request, VhostUserFlag.REPLY, u64s(0));
      }
      return true;
    } catch (error) {
      // The end of this socket says nothing: the other one's does.
      const ended = error instanceof VireoError && error.code === "DEVICE_REMOVED";
      if (!ended) this.#fail(error as VireoError);
      return false;
    }
  }

  #answerRule(request: number, flags: number): MessageRule | undefined {
    const due = this.#due;
    if ((flags & VhostUserFlag.REPLY) === 0 || due?.request !== request) return undefined;
    const rule = VHOST_USER_MESSAGES.get(request)!;
    const answer = due.acknowledged ? VHOST_USER_ACK : rule.reply!;
    return { name: `the answer to ${rule.name}`, ...answer };
  }

  /** The socket has something though nothing was asked: the back end is gone, or lies. */
  #unasked(): void {
    try {
      const message = this.#socket.take();
      if (message !== undefined) this.#closeAll(message.fds);
    } catch (error) {
      this.#fail(error as VireoError);
    }
  }

  /** Sends a request that has an answer, and waits for it. */
  #ask(request: Request, payload?: Uint8Array, fds?: readonly number[]): VhostUserMessage {
    return this.#exchange(request, false, payload, fds);
  }

  /** Sends a request without an answer; where it can be had, waits for the word that it was carried out. */
  #tell(request: Request, payload?: Uint8Array, fds?: readonly number[]): void {
    if (!this.#has(VhostUserFeature.REPLY_ACK)) return this.#send(request, 0, payload, fds);
    const answer = this.#exchange(request, true, payload, fds);
    const result = readU64(answer.payload, 0, "result");
    if (result === 0) return;
    throw new VireoError("COMMAND_REFUSED", `The ${this.#backEnd} refused`, {
      seen: `${hex(result)} for ${VHOST_USER_MESSAGES.get(request)!.name}`,
      expected: 0,
    });
  }

  #exchange(
    request: Request,
    acknowledged: boolean,
    payload?: Uint8Array,
    fds?: readonly number[],
  ): VhostUserMessage {
    this.#due = { request, acknowledged };
    try {
      this.#send(request, acknowledged ? VhostUserFlag.NEED_REPLY : 0, payload, fds);
      const answer = this.#await(request);
      this.#closeAll(answer.fds);
      return answer;
    } catch (error) {
      if (error instanceof VireoError) this.#fail(error);
      throw error;
    } finally {
      this.#due = undefined;
    }
  }

  #send(
    request: Request,
    flags: number,
    payload?: Uint8Array,
    fds?: readonly number[],
  ): void {
    this.#check();
    try {
      this.#socket.send(request, flags, payload, fds);
    } catch (error) {
      if (error instanceof VireoError) this.#fail(error);
      throw error;
    }
  }

  /** Waits in this thread: drivers want their answers before they go on. */
  #await(request: Request): VhostUserMessage {
    const end = performance.now() + this.#options.deadline;
    for (;;) {
      const answer = this.#socket.take();
      if (answer !== undefined) return answer;
      // The back end may wait for an answer of ours before it answers.
      const more = this.#requests !== undefined && this.#serveRequests();
      const fds = more ? [this.#socket.fd, this.#requests!.fd] : [this.#socket.fd];
      const left = end - performance.now();
      if (left > 0 && this.#libc.poll(Int32Array.from(fds.flatMap((fd) => [fd, POLLIN])), left)) {
        continue;
      }
      if (left > 0) continue;
      const { name } = VHOST_USER_MESSAGES.get(request)!;
      throw new VireoError(
        "TIMEOUT",
        `Timed out after ${this.#options.deadline} ms waiting for the ${this.#backEnd} to answer ${name}`,
      );
    }
  }

  /** @throws {VireoError} `DEVICE_REMOVED` If the back end is gone. */
  #check(): void {
    if (this.#failure === undefined) return;
    throw new VireoError("DEVICE_REMOVED", this.#failure.message, { cause: this.#failure });
  }

  #fail(error: VireoError): void {
    if (this.#failure !== undefined) return;
    this.#failure = error;
    // Its end would be seen again and again; and whoever waits must look at the status.
    this.#socket[Symbol.dispose]();
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

  #shareMemory(): void {
    if (this.#memoryKnown) return;
    const { fd, guest, size, user } = this.#options.memory;
    const region = u64s(guest, size, user, 0);
    if (this.#has(VhostUserFeature.CONFIGURE_MEM_SLOTS)) {
      const slots = readU64(this.#ask(Request.GET_MAX_MEM_SLOTS).payload, 0, "number of slots");
      if (slots < 1) {
        throw new VireoError("BAD_MESSAGE", `The ${this.#backEnd} has no room for memory`, {
          seen: `${slots} slots`,
          expected: "at least 1",
        });
      }
      this.#tell(Request.ADD_MEM_REG, joinBytes(u64s(0), region), [fd]);
    } else this.#tell(Request.SET_MEM_TABLE, joinBytes(u32s(1, 0), region), [fd]);
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

  #closeAll(fds: readonly number[]): void {
    for (const fd of fds) this.#libc.close(fd);
  }
}
