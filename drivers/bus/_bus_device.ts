import {
  asError,
  type Dma,
  Feature,
  FeatureSet,
  InterruptCause,
  type MemoryWindow,
  Status,
  VireoError,
} from "@vireo/hal";
import { RecoveryWaiters } from "./_recovery_waiters.ts";
import { DeviceConfig } from "../config.ts";
import type { QueueRequest, RecoveryWait, VirtioDevice } from "../device.ts";
import type { DriverInstance, VirtioDriver } from "../driver.ts";
import type {
  InterruptRoute,
  InterruptSource,
  SharedMemoryRegion,
  Transport,
} from "../transport/transport.ts";
import type { Tracer } from "../trace/tracer.ts";
import { createRing, type Ring, type RingRequest } from "../virtqueue/create_ring.ts";
import type { RingObserver } from "../virtqueue/observer.ts";
import type { Virtqueue } from "../virtqueue/virtqueue.ts";
import type { WaitOptions } from "../wait/options.ts";
import { pollUntil } from "../wait/poll.ts";
import { ConfigGate } from "./_config_gate.ts";
import { Dispatcher, type DispatchTarget } from "./_dispatcher.ts";

/** Parts of the bus that a device calls. */
export interface DeviceHost {
  /** Upper bound of ring sizes. */
  readonly queueSize: number;
  /** Tracer that gets the devices' events, if there is one. */
  readonly tracer?: Tracer | undefined;
  /** Sees the rings, if there is something that does. */
  readonly rings?: RingObserver | undefined;
  /** Reports a failure that no call can throw. */
  report(device: BusDevice, error: Error): void;
  /** Reports that the device set NEEDS_RESET, once after each reset. */
  needsReset(device: BusDevice): void;
  /** Reports that a config change was delivered. */
  configChanged(device: BusDevice): void;
}

/** A queue whose device has buffers that it should return, at one moment. */
export interface OutstandingBuffers {
  /** The device. */
  readonly device: VirtioDevice;
  /** Name of the queue. */
  readonly queue: string;
  /** How many buffers. */
  readonly inFlight: number;
  /** Whether the driver kicked the queue after it added the last one. */
  readonly kicked: boolean;
  /** A number that is another one after the driver took a buffer back. */
  readonly popped: number;
}

/** Opens a device's shared memory by its address. */
type OpenMemory = (address: number, length: number) => MemoryWindow;

/** Parts of its machine that a device uses. */
export interface DeviceMachine {
  /** Opens the device's shared memory, as a `Platform` does. */
  readonly openMemory?: OpenMemory | undefined;
  /** Says why the device failed or does not answer, as {@linkcode Platform.diagnose}. */
  readonly diagnose?: (() => VireoError | undefined) | undefined;
  /** Told that the device is on the bus no more. */
  readonly removed?: (() => void) | undefined;
}

/** Opens no memory: for a device that was added without its machine. */
function noMemory(address: number): never {
  throw new VireoError(
    "BAD_ACCESS",
    "Cannot open shared memory: addDevice() must get the machine's openMemory",
    {
      seen: address,
      base: 16,
    },
  );
}

/** On a machine that polls, at least one in this many serves reads the interrupt cause. */
const SPARED = 32;

/** A queue, and what the dispatch loop needs to know about it. */
interface Slot {
  readonly ring: Ring;
  readonly request: QueueRequest;
  /** Whether the driver knows that the queue is broken. */
  told: boolean;
  /** Whether the bus has reported why the queue is broken. */
  reported: boolean;
  /** The notification data of a kick before DRIVER_OK, if there was one. */
  held: number | undefined;
}

/** The bus's side of a device: what drivers see, and what the lifecycle needs. */
export class BusDevice implements VirtioDevice, DispatchTarget {
  readonly name: string;
  readonly index: number;
  readonly deviceId: number;
  readonly vendorId: number;
  readonly transport: Transport;
  readonly dma: Dma;
  readonly config: DeviceConfig;
  readonly gate: ConfigGate;
  readonly waiters: RecoveryWaiters;
  offered: FeatureSet = FeatureSet.NONE;
  features: FeatureSet = FeatureSet.NONE;
  driver: VirtioDriver | undefined;
  instance: DriverInstance | undefined;
  error: Error | undefined;
  /** The error of NEEDS_RESET, until the device is reset. */
  fault: VireoError | undefined;
  /** Whether a recovery is in progress. */
  recovering = false;
  /** The code with which a reset breaks the queues. */
  resetReason: "DEVICE_STATE" | "DEVICE_REMOVED" = "DEVICE_STATE";
  /** Whether FAILED was set when the device was frozen. */
  frozenFailed = false;
  readonly #host: DeviceHost;
  readonly #openMemory: OpenMemory;
  readonly #diagnose: DeviceMachine["diagnose"];
  /** Told that the device is on the bus no more. */
  readonly removed: DeviceMachine["removed"];
  readonly #dispatcher = new Dispatcher();
  #slots: Slot[] = [];
  /** Queues that are set up when the driver opens them, by index. */
  readonly #later = new Map<number, QueueRequest>();
  /** The public view of the slots. */
  #queues: readonly Ring[] = [];
  /** Rings from before a reset, out of which the driver may still take buffers. */
  #retired: Ring[] = [];
  #running = false;
  #suspended = false;
  /** Whether a change of the configuration waits for the end of a suspend. */
  #changeDue = false;
  /** Whether a poll saw an interrupt cause that is still to be taken. */
  #causeDue = false;
  /** Serves since the cause was last taken. */
  #spared = 0;
  #tail: Promise<unknown> = Promise.resolve();

  constructor(index: number, transport: Transport, host: DeviceHost, machine: DeviceMachine = {}) {
    this.#openMemory = machine.openMemory ?? noMemory;
    this.#diagnose = machine.diagnose;
    this.removed = machine.removed;
    this.name = `virtio${index}`;
    this.index = index;
    this.transport = transport = host.tracer?.transport(transport, this.name) ?? transport;
    this.deviceId = transport.deviceId;
    this.vendorId = transport.vendorId;
    this.dma = transport.dma;
    this.config = new DeviceConfig(transport, () => this.#checkAwake());
    this.#host = host;
    this.waiters = new RecoveryWaiters(this.name);
    this.gate = new ConfigGate(() => {
      host.configChanged(this);
      this.#guard(() => this.instance?.configChanged?.());
    });
  }

  get queues(): readonly Virtqueue[] {
    return this.#queues;
  }

  get recoveries(): number {
    return this.waiters.count;
  }

  recovered(options: RecoveryWait = {}): Promise<number> {
    return this.waiters.wait(options);
  }

  has(bit: number): boolean {
    const { driver } = this;
    const generic = bit >= Feature.NOTIFY_ON_EMPTY && bit <= Feature.SUSPEND;
    if (
      driver !== undefined && !generic && !driver.features.has(bit) &&
      !driver.legacyFeatures?.has(bit)
    ) {
      throw new TypeError(`Cannot ask for feature bit ${bit}: ${driver.name} must list it`);
    }
    return this.features.has(bit);
  }

  findQueues(requests: readonly QueueRequest[]): readonly Virtqueue[] {
    if (this.#slots.length > 0) {
      throw new TypeError("Cannot find queues again: call deleteQueues() or restore first");
    }
    let last = -1;
    const indices = requests.map(({ index }) => last = index ?? last + 1);
    const route = this.#route(requests, indices);
    this.#later.clear();
    const wanted = new Map<number, QueueRequest>();
    requests.forEach((request, i) => {
      const later = request.later === true && this.features.has(Feature.RING_RESET);
      (later ? this.#later : wanted).set(indices[i]!, request);
    });
    this.#start(wanted);
    this.#dispatcher.start(route.sources, this);
    return this.#queues;
  }

  openQueues(indices: readonly number[]): readonly Virtqueue[] {
    const wanted = new Map<number, QueueRequest>();
    for (const index of indices) {
      if (this.#slots.some(({ ring }) => ring.index === index)) continue;
      const request = this.#later.get(index);
      if (request === undefined) {
        throw new TypeError(
          `Cannot open queue ${index} of ${this.name}: findQueues() must request it`,
        );
      }
      wanted.set(index, request);
    }
    this.#start(wanted);
    return indices.map((index) => this.#slots.find(({ ring }) => ring.index === index)!.ring);
  }

  /** Sets queues up and enables them, beside those that run: all of them or none. */
  #start(wanted: ReadonlyMap<number, QueueRequest>): void {
    const slots: Slot[] = [];
    try {
      for (const [index, request] of wanted) slots.push(this.#setUp(index, request));
      this.transport.startQueues();
    } catch (error) {
      for (const { ring } of slots) {
        this.transport.disableQueue(ring.index);
        ring[Symbol.dispose]();
      }
      throw error;
    }
    this.#slots = [...this.#slots, ...slots];
    this.#queues = this.#slots.map(({ ring }) => ring);
  }

  #route(requests: readonly QueueRequest[], indices: readonly number[]): InterruptRoute {
    return this.transport.routeInterrupts(requests.map(({ callback, slowPath }, i) => {
      return { index: indices[i]!, wanted: callback !== undefined, slowPath };
    }));
  }

  #setUp(index: number, request: QueueRequest): Slot {
    const max = this.transport.queueMaxSize(index);
    if (max === 0) {
      throw new VireoError("QUEUE_UNAVAILABLE", `Cannot find queue '${request.name}'`, {
        device: this.name,
        register: "QueueSizeMax",
        queue: index,
        seen: 0,
        expected: "at least 1",
        base: 10,
      });
    }
    const bound = this.transport.fixedQueueSize
      ? max
      : Math.min(max, this.#host.queueSize, request.maxSize ?? Infinity);
    const ring = this.#makeRing({
      index,
      name: request.name,
      maxSize: bound,
      dma: this.dma,
      features: this.features,
      legacyAlign: this.transport.legacyQueueAlign,
      indirect: request.indirect !== false,
      reversed: request.reversed === true,
      device: this.name,
      status: () => this.transport.readStatus(),
      diagnose: () => this.diagnose(),
      notify: (_, data) => this.#notify(slot, data),
    });
    ring.held = this.#suspended;
    const slot: Slot = { ring, request, told: false, reported: false, held: undefined };
    try {
      if (request.callback === undefined) ring.disableCallbacks();
      this.transport.enableQueue(index, ring.addresses);
    } catch (error) {
      ring[Symbol.dispose]();
      throw error;
    }
    return slot;
  }

  #makeRing(options: RingRequest): Ring {
    const { tracer } = this.#host;
    if (tracer === undefined) return this.#watched(options);
    const place = { slot: this.transport.name, dma: this.dma };
    return tracer.ring(place, options, (traced) => this.#watched(traced));
  }

  /** A ring whose device side the driver has is not watched: it is no {@linkcode Virtqueue} to the driver. */
  #watched(options: RingRequest): Ring {
    const ring = createRing(options);
    if (options.reversed === true) return ring;
    const place = { slot: this.transport.name, packed: this.features.has(Feature.RING_PACKED) };
    return this.#host.rings?.ring(ring, place) ?? ring;
  }

  #notify(slot: Slot, data: number): void {
    // No available-buffer notification before DRIVER_OK (virtio 1.4 §3.1.1).
    if (this.#running) this.transport.notify(slot.ring.index, data);
    else slot.held = data;
  }

  /** Whether DRIVER_OK was set since the last reset. */
  get running(): boolean {
    return this.#running;
  }

  ready(): void {
    // Our own knowledge: a device whose status cannot be believed must not look like a driver's mistake.
    if (this.#running) {
      throw new TypeError(`Cannot set DRIVER_OK of ${this.name}: it is already set`);
    }
    const status = this.transport.readStatus();
    // A device without queues still reports changes of its configuration.
    const route = this.transport.route ?? this.#route([], []);
    this.transport.writeStatus(status | Status.DRIVER_OK);
    this.#running = true;
    this.#dispatcher.start(route.sources, this);
    for (const slot of this.#slots) {
      if (slot.held !== undefined) this.transport.notify(slot.ring.index, slot.held);
      slot.held = undefined;
    }
  }

  get suspended(): boolean {
    return this.#suspended;
  }

  /** Suspends the device where it stands (virtio 1.4 §3.4.1). */
  async suspend(options?: WaitOptions): Promise<void> {
    if (!this.features.has(Feature.SUSPEND)) {
      throw new VireoError("UNSUPPORTED", "Cannot suspend the device: it must offer SUSPEND", {
        device: this.name,
      });
    }
    if (!this.#running) {
      throw new VireoError("DEVICE_STATE", "Cannot suspend the device: it must run", {
        device: this.name,
      });
    }
    // Before the bit is set: nothing is exposed, notified or read of the configuration after it.
    this.#suspended = true;
    for (const { ring } of this.#slots) ring.held = true;
    const status = this.transport.readStatus();
    if ((status & Status.SUSPEND) === 0) this.transport.writeStatus(status | Status.SUSPEND);
    await this.#settle(Status.SUSPEND, "suspend", options);
  }

  /** Lets a suspended device go on. */
  async resume(options?: WaitOptions): Promise<void> {
    if (!this.#suspended) return;
    // No bit is cleared: the device takes SUSPEND back itself.
    this.transport.writeStatus(this.transport.readStatus() | Status.DRIVER_OK);
    await this.#settle(Status.DRIVER_OK, "go on", options);
    this.#awake();
  }

  /** Waits until the device has one of SUSPEND and DRIVER_OK, and not the other. */
  async #settle(bit: number, what: string, options?: WaitOptions): Promise<void> {
    let seen = 0;
    const both = Status.SUSPEND | Status.DRIVER_OK;
    await pollUntil(
      () => ((seen = this.transport.readStatus()) & both) === bit || failed(seen),
      {
        what: `the device to ${what}`,
        details: () => ({ device: this.name, register: "Status", seen }),
      },
      options,
    );
    if (!failed(seen)) return;
    this.#awake();
    this.#configInterrupt();
    throw this.fault ?? new VireoError("DEVICE_NEEDS_RESET", `The device cannot ${what}`, {
      device: this.name,
      register: "Status",
      seen,
    });
  }

  #awake(): void {
    this.#suspended = false;
    for (const { ring } of this.#slots) {
      ring.held = false;
      ring.kick();
    }
    const due = this.#changeDue;
    this.#changeDue = false;
    if (due) this.#configInterrupt();
  }

  #checkAwake(): void {
    if (!this.#suspended) return;
    throw new VireoError(
      "DEVICE_STATE",
      "Cannot access the configuration: the device is suspended",
      {
        device: this.name,
      },
    );
  }

  disableConfigChanges(): void {
    this.gate.setDriver(false);
  }

  enableConfigChanges(): void {
    this.gate.setDriver(true);
  }

  async reset(options?: WaitOptions): Promise<void> {
    this.#running = false;
    this.#suspended = this.#changeDue = false;
    // Break the queues first: no kick may be in progress during the reset.
    this.break(
      new VireoError(this.resetReason, "The device was reset before it answered", {
        device: this.name,
      }),
    );
    try {
      await this.transport.reset(options);
    } catch (error) {
      // A device that is gone cannot touch memory, so removal counts it as reset.
      const gone = error instanceof VireoError && error.code === "DEVICE_REMOVED";
      if (!gone || this.resetReason !== "DEVICE_REMOVED") throw error;
    }
    this.fault = undefined;
  }

  deleteQueues(): void {
    this.#dispatcher.stop();
    const slots = this.#slots;
    this.#slots = [];
    this.#queues = [];
    this.#later.clear();
    let failure: unknown;
    for (const { ring } of slots) {
      try {
        this.transport.disableQueue(ring.index);
        ring[Symbol.dispose]();
      } catch (error) {
        // The device keeps the queue, so nothing else may use its memory.
        failure ??= error;
      }
    }
    if (failure !== undefined) throw failure;
  }

  /** After a reset, without interrupts: detaches the queues from the device; the driver may still use their memory. */
  retireQueues(): void {
    for (const { ring } of this.#slots) this.#retired.push(ring);
    this.#slots = [];
    this.#queues = [];
    this.#later.clear();
  }

  /** Frees the retired queues. */
  freeRetired(): void {
    for (const ring of this.#retired.splice(0)) ring[Symbol.dispose]();
  }

  async resetQueue(queue: Virtqueue, options?: WaitOptions): Promise<readonly number[]> {
    const slot = this.#slots.find(({ ring }) => ring === queue);
    if (slot === undefined) {
      throw new TypeError("Cannot reset a queue: it must be one of this device");
    }
    const { ring } = slot;
    if (!this.features.has(Feature.RING_RESET)) {
      throw new VireoError(
        "QUEUE_RESET_UNSUPPORTED",
        "Cannot reset one queue: RING_RESET must be negotiated",
        {
          device: this.name,
          queue: ring.index,
        },
      );
    }
    ring.break(
      new VireoError("DEVICE_STATE", "Queue was reset", { device: this.name, queue: ring.index }),
    );
    slot.told = true;
    await this.transport.resetQueue(ring.index, options);
    const tokens: number[] = [];
    for (let token = ring.detachUnused(); token >= 0; token = ring.detachUnused()) {
      tokens.push(token);
    }
    ring[Symbol.dispose]();
    // Set the queue up from the start: its properties may have changed (virtio 1.4 §2.6.1.2).
    const at = this.#slots.indexOf(slot);
    this.#slots.splice(at, 1);
    try {
      this.#slots.splice(at, 0, this.#setUp(ring.index, slot.request));
      this.transport.startQueues();
    } finally {
      this.#queues = this.#slots.map(({ ring }) => ring);
    }
    return tokens;
  }

  break(reason: VireoError): void {
    let news = this.#slots.length === 0;
    for (const slot of this.#slots) {
      news ||= !slot.told;
      slot.told = this.instance !== undefined;
      // The caller that breaks the device reports it.
      slot.reported = true;
      slot.ring.break(reason);
    }
    if (news) this.tell(reason);
  }

  /** The queues whose device has buffers that it should return. */
  outstanding(): OutstandingBuffers[] {
    const found: OutstandingBuffers[] = [];
    for (const { ring, request } of this.#slots) {
      if (request.receives === true || request.reversed === true) continue;
      if (ring.inFlight === 0 || ring.broken !== undefined || ring.hasUsed()) continue;
      const { name, inFlight, unkicked, popped } = ring;
      found.push({ device: this, queue: name, inFlight, kicked: unkicked === 0, popped });
    }
    return found;
  }

  /** The sum of all queues' numbers of buffers that were taken back; it may wrap. */
  progress(): number {
    return this.#slots.reduce((sum, { ring }) => sum + ring.popped, 0);
  }

  /** Returns why the device failed or does not answer, if the machine knows. */
  diagnose(): VireoError | undefined {
    return this.#diagnose?.();
  }

  /** Reports to the driver that the device failed. */
  tell(reason: Error): void {
    this.#guard(() => this.instance?.failed?.(reason));
  }

  /** Tells the driver of the queues that broke; a `probe` that still runs has nobody to tell, so it is told after. */
  tellBroken(): void {
    const { instance } = this;
    if (instance === undefined) return;
    for (const slot of this.#slots) {
      const { broken } = slot.ring;
      if (broken === undefined || slot.told) continue;
      slot.told = true;
      if (instance.failed !== undefined) this.tell(broken);
      else if (!slot.reported) this.#host.report(this, broken);
    }
  }

  sharedMemory(id: number): SharedMemoryRegion | undefined {
    return this.transport.sharedMemory(id);
  }

  openSharedMemory(id: number): MemoryWindow | undefined {
    const region = this.transport.sharedMemory(id);
    if (region === undefined) return undefined;
    const window = this.#openMemory(region.address, region.length);
    return window && (this.#host.tracer?.window(this.dma, region.address, window) ?? window);
  }

  /** Runs one step of the device's life after all others before it. */
  serial<T>(step: () => Promise<T>): Promise<T> {
    const result = this.#tail.then(step);
    this.#tail = result.catch(() => {});
    return result;
  }

  /** Stops the delivery of interrupts and waits for the end of its loops. */
  async stopInterrupts(): Promise<void> {
    this.#dispatcher.stop();
    await this.#dispatcher.ended();
  }

  due(): boolean {
    if (this.transport.peekInterruptCause() !== 0) this.#causeDue = true;
    return this.#causeDue || this.dueInMemory();
  }

  /** Takes the cause. After answers in memory, a poller skips most of these accesses of 5 us under TCG. */
  #takeCause(polled: boolean): number {
    if (polled && !this.#causeDue && ++this.#spared < SPARED) return 0;
    this.#causeDue = false;
    this.#spared = 0;
    return this.transport.takeInterruptCause();
  }

  /** Also on machines that poll, a queue that suppressed interrupts is never due. */
  dueInMemory(): boolean {
    for (const { ring, request } of this.#slots) {
      if (request.callback !== undefined && ring.callbacks && ring.hasUsed()) return true;
    }
    return false;
  }

  expects(): boolean {
    for (const { ring, request } of this.#slots) {
      if (request.callback !== undefined && ring.callbacks && ring.inFlight > 0) return true;
    }
    return false;
  }

  serve(source: InterruptSource): boolean {
    const { polled } = source.interrupt;
    const { queues } = source;
    // A message implies its cause.
    const cause = source.cause !== 0 ? source.cause : this.#takeCause(polled);
    if ((cause & InterruptCause.CONFIG) !== 0) this.#configInterrupt();
    if ((cause & InterruptCause.QUEUE) === 0 && !polled) return false;
    let progress = false;
    const slots = this.#slots;
    for (let i = 0; i < slots.length; i++) {
      const slot = slots[i]!;
      const { callback } = slot.request;
      if (callback === undefined) continue;
      const { ring } = slot;
      if (queues !== undefined && !queues.includes(ring.index)) continue;
      if (ring.hasUsed()) {
        const before = ring.inFlight;
        try {
          callback(ring);
        } catch (cause) {
          const error = new VireoError("QUEUE_BROKEN", "Queue callback threw", {
            device: this.name,
            queue: ring.index,
            cause,
          });
          ring.break(error);
          slot.reported = true;
          // A mistake in the driver's code, which its author must see whatever the driver does with it.
          this.#host.report(this, error);
        }
        progress ||= ring.inFlight !== before || !ring.hasUsed();
      }
      if (ring.broken !== undefined && !slot.told) this.tellBroken();
    }
    return progress;
  }

  #configInterrupt(): void {
    if (this.#suspended) {
      this.#changeDue = true;
      return;
    }
    const status = this.transport.readStatus();
    if ((status & Status.NEEDS_RESET) === 0) return this.gate.changed();
    this.gate.hold();
    if (this.fault !== undefined) return;
    const cause = this.diagnose();
    this.fault = new VireoError("DEVICE_NEEDS_RESET", "The device failed and must be reset", {
      device: this.name,
      register: "Status",
      seen: status,
      ...cause === undefined ? {} : { cause },
    });
    this.break(this.fault);
    this.#host.needsReset(this);
  }

  lost(cause: unknown): void {
    const error = cause instanceof VireoError && cause.code === "DEVICE_REMOVED"
      ? cause
      : new VireoError("HOST_ERROR", "Cannot deliver interrupts of the device", {
        device: this.name,
        cause,
      });
    this.#host.report(this, error);
    this.break(error);
  }

  #guard(call: () => void): void {
    try {
      call();
    } catch (error) {
      this.#host.report(this, asError(error));
    }
  }
}

function failed(status: number): boolean {
  return (status & Status.NEEDS_RESET) !== 0;
}
