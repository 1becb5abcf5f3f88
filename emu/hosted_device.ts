import {
  asError,
  deviceSection,
  Feature,
  FeatureSet,
  InterruptCause,
  MMIO_LEGACY_PAGE_SIZE,
  Status,
} from "@vireo/hal";
import type { ConfigWidth, DeviceContext, DeviceModel, DeviceQueue, ModelUsage } from "./device.ts";
import type { DeviceState, QueueState, Violation, ViolationPlace } from "./device_state.ts";
import type { GuestMemory } from "./memory.ts";
import { offeredFeatures, type TransportOffer } from "./offer.ts";
import type { InflightLog } from "./ring/inflight.ts";
import { checkRing, makeQueue } from "./ring/make_queue.ts";
import type { RingPosition } from "./ring/position.ts";
import {
  QueueConfig,
  type QueueGeometry,
  type RunningQueue,
  type RunningQueueOptions,
} from "./ring/queue_config.ts";
import { ReversedQueue } from "./ring/reversed.ts";
import { TracedQueue, TracedReversedQueue } from "./ring/traced.ts";
import { statusStep } from "./status.ts";
import type { DeviceTrace } from "./trace.ts";
import { type TurnBudget, WorkMeter } from "./work.ts";

/** Bits of the interrupt status that exist. */
const CAUSES = InterruptCause.QUEUE | InterruptCause.CONFIG;
/** The offer of a device with a reversed queue, which has none of these. */
const REVERSED: TransportOffer = {
  indirect: false,
  packed: false,
  inOrder: false,
  notificationData: false,
};
/** Features of rings that are implemented, offered or not. */
const RING_FEATURES = FeatureSet.of(
  Feature.INDIRECT_DESC,
  Feature.EVENT_IDX,
  Feature.RING_PACKED,
  Feature.IN_ORDER,
  Feature.NOTIFY_ON_EMPTY,
  Feature.ANY_LAYOUT,
);
/** The place of a feature that the driver accepts though the device does not offer it. */
const FOREIGN_BITS: ViolationPlace = { clause: "2.2.1", rule: "drv.basic.features.1" };
/** The place of an access to the configuration of a device that sleeps. */
const SLEEPS: ViolationPlace = { clause: "3.4.1", rule: "drv.basic.suspend.5" };
/** The most violations in the log; older ones are dropped. */
const LOG_LENGTH = 256;

/** Options of {@linkcode HostedDevice}. */
export interface HostedDeviceOptions {
  /** The device model. */
  readonly model: DeviceModel;
  /** Memory that rings and buffers lie in. */
  readonly memory: GuestMemory;
  /** Whether the device has only the legacy interface. */
  readonly legacy: boolean;
  /** An upper bound for queue sizes. */
  readonly queueSize?: number | undefined;
  /** Ring and transport features. */
  readonly offer?: TransportOffer | undefined;
  /** Where its shared memory regions are. */
  readonly regions?: readonly { readonly id: number; readonly address: number }[];
  /** Called when the interrupt line rises. */
  readonly lineRaised?: () => void;
  /** Called at each interrupt, for transports that send messages, with the cause and a queue's index. */
  readonly raised?: (cause: InterruptCause, queue?: number) => void;
  /** Receives each violation as it is logged. */
  readonly violated?: (violation: Violation) => void;
  /** Receives the buffers that the model takes and returns, and the interrupts for them. */
  readonly trace?: DeviceTrace | undefined;
  /** Whether a driver of the legacy interface also sets the address of each part of a queue. */
  readonly separateParts?: boolean | undefined;
  /** Runs a model's notify in a microtask instead of inside the register write. */
  readonly deferNotify?: boolean | undefined;
  /** Budget of one turn of the model. */
  readonly budget?: Partial<TurnBudget> | undefined;
  /** Whether it may access memory at first; true by default. */
  readonly busMaster?: boolean | undefined;
  /** Clause of the transport about the widths of configuration accesses. */
  readonly configPlace?: ViolationPlace | undefined;
}

/**
 * A device model with its status, features, queues and interrupt: everything that transports share.
 *
 * Every guest fault ends in {@linkcode HostedDevice.fault}.
 *
 * @example
 * ```ts
 * import { EmulatedMachine } from "@vireo/emu/core";
 * import { EchoModel, MockDriver } from "@vireo/emu/testing";
 * import { Status } from "@vireo/hal";
 * import { assertEquals } from "@std/assert";
 *
 * await using machine = EmulatedMachine.create({ devices: [new EchoModel()] });
 * const { device } = machine.slots[0]!;
 * new MockDriver(machine).init();
 * assertEquals([device!.active, device!.running(0)], [true, true]);
 * // All mistakes of a driver end here.
 * device!.fault("sends what the device does not know");
 * assertEquals(device!.readStatus() & Status.NEEDS_RESET, Status.NEEDS_RESET);
 * assertEquals(device!.lastViolation?.reason, "sends what the device does not know");
 * ```
 */
export class HostedDevice implements DeviceContext {
  /** The device model. */
  readonly model: DeviceModel;
  /** Whether the driver uses the legacy interface, or the device has no other. */
  legacy: boolean;
  /** The queues as the driver sets them up. */
  readonly configs: readonly QueueConfig[];
  /** Feature words the driver wrote, lowest first. */
  readonly driverWords: Uint32Array = new Uint32Array(4);
  /** Device status field. */
  status = 0;
  /** Bits of `InterruptCause` that the driver has not acknowledged. */
  interruptStatus = 0;
  /** Version 1: GuestPageSize in bytes. */
  pageSize: number = MMIO_LEGACY_PAGE_SIZE;
  /** Mistakes of the driver, newest last, at most 256. */
  readonly log: Violation[] = [];
  /** Counts the model's work, and divides it into turns. */
  readonly work: WorkMeter;
  /** The negotiated features; empty before the negotiation. */
  features: FeatureSet = FeatureSet.NONE;
  readonly #options: HostedDeviceOptions;
  /** The features that the modern and the legacy interface offer. */
  readonly #offers: readonly FeatureSet[];
  readonly #queues: (RunningQueue | undefined)[];
  #active = false;
  #faulted = false;
  #busMaster: boolean;
  /** Configuration bytes of a device that is suspended; undefined while it is not. */
  #suspended: Uint8Array | undefined;
  /** Whether the driver asked for a suspend that waits for the model's requests. */
  #suspendDue = false;
  /** Whether the configuration changed during a suspend. */
  #changeDue = false;
  #notifyScheduled = new Set<number>();
  #generation = 0;
  readonly #kept = { items: 0, bytes: 0 };
  /** Whether the model reported a change since the generation was last looked at. */
  #configChanged = false;
  /** Configuration bytes as they were then; undefined before the first look. */
  #configSeen: Uint8Array | undefined;
  #last: Violation | undefined;
  #hostFailure: Error | undefined;
  /** Clause about requests to the model. */
  readonly #modelPlace: ViolationPlace;
  readonly #configPlace: ViolationPlace | undefined;

  /** Attaches a model. */
  constructor(options: HostedDeviceOptions) {
    this.#options = options;
    this.model = options.model;
    this.legacy = options.legacy;
    // A ring with its sides reversed has neither tables nor another format, and features are the device's.
    const reversed = options.model.queues.some((queue) => queue.reversed);
    const offer = reversed ? { ...options.offer, ...REVERSED } : options.offer;
    this.#busMaster = options.busMaster ?? true;
    this.work = new WorkMeter((index) => {
      if (this.#active && this.#moves() && !this.#faulted) this.#notifyModel(index);
    }, options.budget);
    const section = deviceSection(options.model.deviceId);
    this.#modelPlace = section === undefined ? {} : { clause: section };
    this.#configPlace = options.configPlace;
    this.#offers = [false, true].map((legacy) =>
      offeredFeatures(options.model.features, legacy, offer, options.model.modernFeatures)
    );
    const cap = options.queueSize ?? 32768;
    this.configs = options.model.queues.map(({ maxSize }) =>
      new QueueConfig(Math.min(maxSize, cap))
    );
    this.#queues = this.configs.map(() => undefined);
    this.model.attach?.(this);
  }

  /** All bits that the interface in use offers. */
  get offered(): FeatureSet {
    return this.offeredBy(this.legacy);
  }

  /** All bits that an interface offers. */
  offeredBy(legacy: boolean): FeatureSet {
    return this.#offers[legacy ? 1 : 0]!;
  }

  /** Whether the device asserts its interrupt line. */
  get line(): boolean {
    return this.interruptStatus !== 0;
  }

  /** The most that the model kept for its driver after any turn. */
  get mostKept(): ModelUsage {
    this.#look();
    return { ...this.#kept };
  }

  /** Whether the driver has started the device. */
  get active(): boolean {
    return this.#active;
  }

  /** A running queue; undefined if the driver did not set it up, or the device needs a reset. */
  queue(index: number): DeviceQueue | undefined {
    return this.#faulted || !this.#moves() ? undefined : this.#queues[index];
  }

  /**
   * Allows or forbids the device to access memory (PCI's Bus Master Enable). While that is forbidden, its
   * queues stand still; the model forgets the chains that it held, and takes them again afterwards.
   */
  setBusMaster(on: boolean): void {
    if (on === this.#busMaster) return;
    const moved = this.#moves();
    this.#busMaster = on;
    if (this.#moves() !== moved) this.#move(on);
  }

  /** Whether queues may move: the device may access memory, and is not suspended. */
  // No private getter where every request comes by: V8 calls its runtime for each read of one.
  #moves(): boolean {
    return this.#busMaster && this.#suspended === undefined;
  }

  /** Stops all queues where they are, or lets them go on. */
  #move(on: boolean): void {
    if (this.#faulted) return;
    if (on) {
      for (const queue of this.#queues) queue?.signal();
      this.#serveAvailable();
      return;
    }
    this.#queues.forEach((queue, index) => {
      if (queue === undefined) return;
      const reversed = this.model.queues[index]!.reversed === true;
      const position = reversed ? undefined : queue.position();
      queue.stop();
      // The model forgets the chains that it holds, as at a queue reset.
      if (this.#active) this.#guard(() => this.model.resetQueue?.(index));
      this.#queues[index] = this.#makeQueue(index, this.#geometry(this.configs[index]!), position);
    });
  }

  /** A driver's read of the device status field, at which a suspend that was asked for may be done. */
  readStatus(): number {
    if (this.#suspendDue && !this.#hasRequests()) this.#suspend();
    return this.status;
  }

  /** Whether the model has requests that it must answer; buffers that it may keep are none. */
  #hasRequests(): boolean {
    return this.#queues.some((queue, index) => {
      if (queue === undefined || this.model.queues[index]!.keepsBuffers) return false;
      // The chains of a reversed queue are the driver's to return.
      const position = queue.position();
      return "held" in position && position.held.length > 0;
    });
  }

  /** dev.basic.suspend.8: everything is answered by now. */
  #suspend(): void {
    this.#suspendDue = false;
    if (this.#faulted) return;
    void this.generation;
    const bytes = new Uint8Array(this.model.configSize);
    this.#guard(() => {
      for (let i = 0; i < bytes.length; i++) bytes[i] = this.model.readConfig(i, 1);
    });
    const moved = this.#moves();
    this.#suspended = bytes;
    if (moved) this.#move(false);
    this.status = (this.status & ~Status.DRIVER_OK) | Status.SUSPEND;
  }

  #resume(): void {
    this.#suspended = undefined;
    this.status = (this.status & ~Status.SUSPEND) | Status.DRIVER_OK;
    if (this.#moves()) this.#move(true);
    // dev.basic.suspend.5 and .7
    if (this.#changeDue || this.#faulted) this.raise(InterruptCause.CONFIG);
    this.#changeDue = false;
  }

  /** A driver's write of the status field of a suspended device. */
  #writeSuspended(value: number): void {
    if ((value & Status.DRIVER_OK) !== 0) return this.#resume();
    this.status |= value & Status.FAILED;
  }

  /** Guest memory at an address from the driver; undefined if part of the range is not memory. */
  memory(address: number, length: number): Uint8Array | undefined {
    const { memory } = this.#options;
    if (!this.#moves() || !memory.contains(address, length)) return undefined;
    return memory.view(address, length);
  }

  /** The address of a shared memory region. */
  sharedAddress(id: number): number | undefined {
    return this.#options.regions?.find((region) => region.id === id)?.address;
  }

  /**
   * Configuration generation. A read increments it if the configuration has changed since the last read,
   * so that a counter of 8 bits cannot wrap around between two reads (dev.pci.common-cfg.5).
   */
  get generation(): number {
    if (this.#suspended !== undefined) return this.#generation;
    const bytes = new Uint8Array(this.model.configSize);
    this.#guard(() => {
      for (let i = 0; i < bytes.length; i++) bytes[i] = this.model.readConfig(i, 1);
    });
    const seen = this.#configSeen ?? bytes;
    if (this.#configChanged || bytes.some((byte, i) => byte !== seen[i])) {
      this.#generation = (this.#generation + 1) >>> 0;
    }
    this.#configChanged = false;
    this.#configSeen = bytes;
    return this.#generation;
  }

  /** Increments the generation, and interrupts the driver of a running device. */
  configChanged(): void {
    this.#configChanged = true;
    // dev.basic.suspend.4: the driver hears of it when the device goes on.
    if (this.#suspended !== undefined) this.#changeDue = true;
    else if (this.#active) this.raise(InterruptCause.CONFIG);
  }

  /**
   * Handles every guest fault: sets NEEDS_RESET, raises a config interrupt if the driver runs, and stops
   * all queues until reset.
   *
   * @param reason What the driver did wrong.
   * @param rule The statement that forbids it, by its id.
   */
  fault(reason: string, rule?: string): void {
    this.#fault(
      "ring",
      reason,
      rule === undefined ? this.#modelPlace : { ...this.#modelPlace, rule },
    );
  }

  /** Handles a fault. @param register Where: `ring`, or `model` if the model itself failed. */
  #fault(register: string, reason: string, place: ViolationPlace): void {
    if (this.#faulted) return;
    this.violate(register, undefined, reason, place);
    this.#faulted = true;
    for (const queue of this.#queues) queue?.stop();
    this.status |= Status.NEEDS_RESET;
    this.#configChanged = true;
    // dev.basic.status.3: the interrupt waits until the driver runs.
    if ((this.status & Status.DRIVER_OK) !== 0) this.raise(InterruptCause.CONFIG);
  }

  /** Sets bits of the interrupt status. @param queue The queue of a queue interrupt. */
  raise(cause: InterruptCause, queue?: number): void {
    const before = this.interruptStatus;
    this.interruptStatus |= cause;
    if (before === 0) this.#options.lineRaised?.();
    this.#options.raised?.(cause, queue);
  }

  /** A driver's write of InterruptACK: clears bits of the interrupt status. */
  acknowledge(bits: number): void {
    if ((bits & ~CAUSES) !== 0) {
      const place = { clause: "4.2.2.2", rule: "drv.mmio.layout.15" };
      this.violate("InterruptACK", bits, "sets undefined bits", place);
    }
    this.interruptStatus &= ~bits;
  }

  /** Notes a violation. */
  violate(
    register: string,
    value: number | undefined,
    reason: string,
    place: ViolationPlace = {},
  ): void {
    if (this.log.length >= LOG_LENGTH) this.log.shift();
    const violation = { register, value, reason, ...place };
    this.log.push(violation);
    this.#last = violation;
    this.#options.violated?.(violation);
  }

  /** Keeps what the host did wrong, until a reset. */
  hostFailed(error: unknown): void {
    this.#hostFailure = asError(error);
  }

  /** The last error of the host since the driver reset the device. */
  get hostFailure(): Error | undefined {
    return this.#hostFailure;
  }

  /** The last violation since the driver reset the device. */
  get lastViolation(): Violation | undefined {
    return this.#last;
  }

  /** A driver's write of the device status field. */
  writeStatus(value: number): void {
    if (this.#suspended !== undefined && value !== 0) return this.#writeSuspended(value);
    const knows = this.features.has(Feature.SUSPEND);
    const asks = knows && (value & Status.SUSPEND) !== 0;
    const ran = (this.status & Status.DRIVER_OK) !== 0;
    const bits = value & 0xff & (knows ? ~Status.SUSPEND : 0xff);
    const { actions, status, violation, rule } = statusStep(this.status, bits, this.legacy);
    if (violation !== undefined) {
      const place = { clause: "3.1.1", ...rule === undefined ? {} : { rule } };
      this.violate("Status", value, violation, place);
    }
    if (actions[0] === "reset") return this.reset();
    this.status = status;
    for (const action of actions) {
      if (action === "features" && !this.#acceptFeatures()) {
        // A refused FEATURES_OK also refuses DRIVER_OK of the same write.
        this.status &= ~(Status.FEATURES_OK | Status.DRIVER_OK);
        return;
      }
      if (action === "activate") this.#activate();
    }
    if (asks && ran) this.#suspendDue = true;
    else if (asks) {
      // dev.basic.suspend.1
      const place = { clause: "3.4.1", rule: "drv.basic.suspend.1" };
      this.violate("Status", value, "sets SUSPEND before DRIVER_OK", place);
    }
  }

  /**
   * Settles the features without the steps of a status register, for transports that have none. What the
   * driver accepts of ring features is honoured even if it was not offered, and noted; what else was not
   * offered is dropped, and noted.
   *
   * @returns Whether the model can be driven so.
   */
  negotiate(accepted: FeatureSet): boolean {
    this.legacy = !accepted.has(Feature.VERSION_1);
    const { offered } = this;
    const foreign = accepted.minus(offered);
    if (!foreign.isEmpty) {
      const reason = `bits that are not offered: ${[...foreign]}`;
      this.violate("DriverFeatures", undefined, reason, FOREIGN_BITS);
    }
    this.features = accepted.and(offered.or(RING_FEATURES));
    for (let i = 0; i < 4; i++) this.driverWords[i] = this.features.word(i);
    this.status = Status.ACKNOWLEDGE | Status.DRIVER | (this.legacy ? 0 : Status.FEATURES_OK);
    if (this.model.acceptFeatures?.(this.features) !== false) return true;
    this.violate("DriverFeatures", undefined, "the model does not accept these features");
    return false;
  }

  /** Starts the model, after {@linkcode HostedDevice.negotiate}; does nothing if it runs. */
  activate(): void {
    this.status |= Status.DRIVER_OK;
    this.#activate();
  }

  /** Where a queue stands; undefined if it does not run. */
  position(index: number): RingPosition | undefined {
    return this.#queues[index]?.position();
  }

  /** A driver's read of configuration bytes. Bytes that do not exist read 0, and the log notes the read. */
  readConfig(offset: number, width: ConfigWidth): number {
    let value = 0;
    if (this.#asleep()) this.violate(`Config+${offset}`, undefined, "read after SUSPEND", SLEEPS);
    if (offset % width !== 0 || offset + width > this.model.configSize) {
      const reason = `no such read of ${width} bytes`;
      this.violate(`Config+${offset}`, undefined, reason, this.#configPlace);
      return 0;
    }
    const kept = this.#suspended;
    if (kept !== undefined) {
      for (let i = width - 1; i >= 0; i--) value = (value << 8 | kept[offset + i]!) >>> 0;
      return value;
    }
    this.#guard(() => value = this.model.readConfig(offset, width) >>> 0);
    return value;
  }

  /** A driver's write of configuration bytes. The device ignores and logs one that it cannot perform. */
  writeConfig(offset: number, width: ConfigWidth, value: number): void {
    if (this.#asleep()) {
      this.violate(`Config+${offset}`, value, "written after SUSPEND", SLEEPS);
      // dev.basic.suspend.2
      if (this.#suspended !== undefined) return;
    }
    if (offset % width !== 0 || offset + width > this.model.configSize) {
      const reason = `no such write of ${width} bytes`;
      return this.violate(`Config+${offset}`, value, reason, this.#configPlace);
    }
    if (this.model.writeConfig === undefined) {
      return this.violate(`Config+${offset}`, value, "read-only");
    }
    this.#guard(() => this.model.writeConfig?.(offset, width, value));
  }

  /** A driver's write of a feature word. */
  writeFeatures(word: number, value: number): void {
    if (word > 3) return this.violate("DriverFeaturesSel", word, "selects no feature word");
    if ((this.status & (Status.FEATURES_OK | Status.DRIVER_OK)) !== 0) {
      const place = { clause: "3.1.1", rule: "drv.basic.init.3" };
      return this.violate("DriverFeatures", value, "the features are already settled", place);
    }
    this.driverWords[word] = value;
  }

  /** Whether the driver asked for a suspend, and not for its end. */
  #asleep(): boolean {
    return this.#suspendDue || this.#suspended !== undefined;
  }

  /** Whether the driver may set queues up: a modern driver must first have set FEATURES_OK. */
  get queuesSettable(): boolean {
    return this.legacy || (this.status & Status.FEATURES_OK) !== 0;
  }

  /** Whether QueueNotify carries the driver's position above the index. */
  get notificationData(): boolean {
    return this.features.has(Feature.NOTIFICATION_DATA);
  }

  /** Whether queues are packed rings. */
  get packed(): boolean {
    return this.features.has(Feature.RING_PACKED);
  }

  /** Says why a queue cannot have a size, or undefined if it can. */
  sizeProblem(index: number, size: number): string | undefined {
    const max = this.configs[index]?.maxSize ?? 0;
    if (size < 1 || size > max) return `not 1 to ${max}`;
    // virtio 1.4 §2.7, §2.8.10.1: packed rings may have any size.
    return this.packed || (size & (size - 1)) === 0 ? undefined : "not a power of two";
  }

  /** Whether a queue runs. */
  running(index: number): boolean {
    return this.#queues[index] !== undefined;
  }

  /**
   * Starts a queue; false if its geometry is bad.
   *
   * @param position Where it goes on; the start by default.
   * @param inflight Where it notes what the model holds.
   * @throws {RangeError} If it cannot stand there.
   */
  startQueue(index: number, position?: RingPosition, inflight?: InflightLog): boolean {
    const config = this.configs[index]!;
    const geometry = this.#geometry(config);
    const wrong = checkRing(this.packed, geometry, this.#options.memory);
    if (wrong !== undefined) {
      this.violate(this.legacy ? "QueuePFN" : "QueueReady", index, wrong, {
        clause: this.packed ? "2.8.10.1" : "2.7",
        rule: this.packed ? "drv.packed-ring.layout.1" : "drv.split-ring.layout.1",
      });
      return false;
    }
    if (this.#oneBlock()) this.features = this.#driverFeatures();
    this.#queues[index] = this.#makeQueue(index, geometry, position, inflight);
    return true;
  }

  /** Stops a queue, as QueueReady 0, QueuePFN 0 and a queue reset do. */
  stopQueue(index: number): void {
    const queue = this.#queues[index];
    if (queue === undefined) return;
    queue.stop();
    this.#queues[index] = undefined;
    this.#notifyScheduled.delete(index);
    if (this.#active) this.#guard(() => this.model.resetQueue?.(index));
  }

  /**
   * A driver's write of a notify register: the index of a queue, and with NOTIFICATION_DATA the
   * driver's position above it (virtio 1.4 §2.9).
   */
  notifyValue(value: number): void {
    if (!this.notificationData) return this.notify(value);
    const index = value & 0xffff;
    // The device sees the ring itself, so it checks the position only to log a wrong one.
    const problem = this.#faulted
      ? undefined
      : this.#queues[index]?.notificationProblem(value >>> 16);
    if (problem !== undefined) {
      const place = this.packed
        ? { clause: "2.9", rule: "drv.packed-ring.desc-table.3" }
        : { clause: "2.9" };
      this.violate("QueueNotify", value, problem, place);
    }
    this.notify(index);
  }

  /** A driver's available buffer notification, by the queue's index. */
  notify(index: number): void {
    if (this.#faulted) return;
    if (this.#queues[index] === undefined) {
      const place = { clause: "2.9" };
      return this.violate("QueueNotify", index, "names a queue that does not run", place);
    }
    // dev.basic.legacy-init.2: a legacy driver may use the device before DRIVER_OK.
    if (!this.#active && this.legacy && (this.status & Status.FAILED) === 0) this.#activate();
    if (!this.#active) {
      const place = { clause: "3.1.1", rule: "drv.basic.init.6" };
      return this.violate("QueueNotify", index, "before DRIVER_OK", place);
    }
    if (this.#asleep()) {
      const place = { clause: "3.4.1", rule: "drv.basic.suspend.4" };
      this.violate("QueueNotify", index, "notified after SUSPEND", place);
      if (this.#suspended !== undefined) return;
    }
    if (!this.#busMaster) return this.violate("QueueNotify", index, "while bus mastering is off");
    if (!this.#options.deferNotify) return this.#notifyModel(index);
    if (this.#notifyScheduled.has(index)) return;
    this.#notifyScheduled.add(index);
    queueMicrotask(() => {
      const due = this.#notifyScheduled.delete(index) && this.#active && this.#moves();
      if (due) this.#notifyModel(index);
    });
  }

  /** Restores the state after construction. */
  reset(): void {
    for (const queue of this.#queues) queue?.stop();
    this.#queues.fill(undefined);
    for (const config of this.configs) config.reset();
    this.driverWords.fill(0);
    this.features = FeatureSet.NONE;
    this.interruptStatus = 0;
    this.status = 0;
    this.pageSize = MMIO_LEGACY_PAGE_SIZE;
    this.#active = false;
    this.#faulted = false;
    this.#suspended = undefined;
    this.#suspendDue = this.#changeDue = false;
    this.#last = undefined;
    this.#hostFailure = undefined;
    this.#notifyScheduled.clear();
    this.work.clear();
    this.#guard(() => this.model.reset());
  }

  /**
   * The state as plain data; guest memory and backends are not in it.
   *
   * @throws {RangeError} If the model runs and cannot say what its state is.
   */
  snapshot(): DeviceState {
    if (this.#active && this.model.snapshot === undefined) {
      throw new RangeError(`Cannot take a snapshot of ${this.model.name}: its model has none`);
    }
    return {
      status: this.status,
      active: this.#active,
      driverFeatures: [...this.driverWords],
      interruptStatus: this.interruptStatus,
      changeDue: this.#changeDue,
      generation: this.generation,
      pageSize: this.pageSize,
      queues: this.configs.map((config, i) => ({
        ...config.snapshot(),
        position: this.#queues[i]?.position() ?? null,
      })),
      model: this.model.snapshot?.() ?? null,
    };
  }

  /**
   * Restores a state; guest memory must have the same contents again. The model takes again the requests
   * that it held.
   *
   * @throws {RangeError} If the state belongs to a device with other queues or other memory.
   */
  restore(state: DeviceState): void {
    if (state.queues.length !== this.configs.length) {
      throw new RangeError(
        `Cannot restore ${state.queues.length} queues: the device has ${this.configs.length}`,
      );
    }
    this.reset();
    this.driverWords.set(state.driverFeatures);
    this.pageSize = state.pageSize;
    this.status = state.status;
    if (this.queuesSettable) this.features = this.#driverFeatures();
    let queues: (RunningQueue | undefined)[];
    try {
      queues = state.queues.map((queue, i) => this.#restoreQueue(queue, i));
    } catch (error) {
      this.reset();
      throw error;
    }
    // The model starts as for a driver, then restores its own state, and only then gets queues to serve.
    const faulted = (state.status & Status.NEEDS_RESET) !== 0;
    if (state.active && !faulted) this.#activate();
    this.model.restore?.(state.model);
    this.#generation = state.generation;
    this.#configChanged = false;
    this.#configSeen = undefined;
    this.interruptStatus = 0;
    queues.forEach((queue, i) => this.#queues[i] = queue);
    for (const cause of Object.values(InterruptCause)) {
      if ((state.interruptStatus & cause) !== 0) this.raise(cause);
    }
    this.#faulted = faulted;
    for (const queue of queues) {
      if (faulted) queue?.stop();
      else if (this.#busMaster) queue?.signal();
    }
    if ((state.status & Status.SUSPEND) !== 0 && !faulted) {
      this.#suspend();
      this.#changeDue = state.changeDue ?? false;
    }
    this.#serveAvailable();
  }

  #restoreQueue(state: QueueState, index: number): RunningQueue | undefined {
    const config = this.configs[index]!;
    config.restore(state);
    if (state.position === null) return undefined;
    const geometry = this.#geometry(config);
    const wrong = checkRing(this.packed, geometry, this.#options.memory);
    if (wrong !== undefined) throw new RangeError(`Cannot restore queue ${index}: ${wrong}`);
    return this.#makeQueue(index, geometry, state.position);
  }

  #driverFeatures(): FeatureSet {
    return FeatureSet.fromWords(...this.driverWords).and(this.offered);
  }

  #acceptFeatures(): boolean {
    const asked = FeatureSet.fromWords(...this.driverWords);
    const foreign = asked.minus(this.offered);
    const refuse = (reason: string, rule = "drv.basic.features.1"): boolean => {
      this.violate("Status", Status.FEATURES_OK, reason, { clause: "2.2.1", rule });
      return false;
    };
    if (!foreign.isEmpty) return refuse(`accepts bits that are not offered: ${[...foreign]}`);
    // All ring features from bit 32 up need VERSION_1; the model checks its own dependencies.
    if (!asked.has(Feature.VERSION_1)) {
      return refuse("does not accept VERSION_1", "drv.basic.reserved-features.1");
    }
    if (this.offered.minus(asked).has(Feature.ACCESS_PLATFORM)) {
      return refuse("does not accept ACCESS_PLATFORM", "drv.basic.reserved-features.2");
    }
    if (this.model.acceptFeatures?.(asked) === false) {
      return refuse("the model does not accept these features");
    }
    this.features = asked;
    return true;
  }

  #activate(): void {
    if (this.#active || this.#faulted) return;
    if (this.#oneBlock()) {
      this.features = this.#driverFeatures();
      const foreign = FeatureSet.fromWords(...this.driverWords).minus(this.offered);
      if (!foreign.isEmpty) {
        const reason = `bits that are not offered: ${[...foreign]}`;
        this.violate("DriverFeatures", undefined, reason, FOREIGN_BITS);
      }
    }
    this.#active = true;
    this.#guard(() => this.model.activate(this));
    this.#serveAvailable();
  }

  /** Serves buffers whose notifications came before the device could look at them. */
  #serveAvailable(): void {
    this.#queues.forEach((queue, i) => {
      if (this.#active && this.#moves() && queue?.hasAvailable()) this.#notifyModel(i);
    });
  }

  #notifyModel(index: number): void {
    this.work.begin();
    try {
      this.model.notify(index);
    } catch (error) {
      this.#fault("model", `model failed: ${error}`, {});
    }
    if (this.model.usage !== undefined) this.#look();
  }

  #look(): void {
    const { items = 0, bytes = 0 } = this.model.usage?.() ?? {};
    this.#kept.items = Math.max(this.#kept.items, items);
    this.#kept.bytes = Math.max(this.#kept.bytes, bytes);
  }

  /** Runs a model's method; an error becomes a fault of the device and never reaches the driver. */
  #guard(run: () => void): void {
    try {
      run();
    } catch (error) {
      this.#fault("model", `model failed: ${error}`, {});
    }
  }

  /** Whether the driver has the legacy registers: queues of one block, and features at any time. */
  #oneBlock(): boolean {
    return this.legacy && this.#options.separateParts !== true;
  }

  #geometry(config: QueueConfig): QueueGeometry {
    return this.#oneBlock() ? config.legacyGeometry(this.pageSize) : config.geometry();
  }

  #makeQueue(
    index: number,
    geometry: QueueGeometry,
    position?: RingPosition,
    inflight?: InflightLog,
  ): RunningQueue {
    const { features } = this;
    const options: RunningQueueOptions = {
      index,
      geometry,
      memory: this.#options.memory,
      indirect: features.has(Feature.INDIRECT_DESC),
      eventIdx: features.has(Feature.EVENT_IDX),
      inOrder: features.has(Feature.IN_ORDER),
      batchUsed: this.#options.offer?.batchUsed,
      work: this.work,
      inflight,
      notifyOnEmpty: this.legacy && features.has(Feature.NOTIFY_ON_EMPTY),
      interrupt: () => this.raise(InterruptCause.QUEUE, index),
      fault: (reason, place) => this.#fault("ring", reason, place),
    };
    const { trace } = this.#options;
    const { packed, model } = this;
    const { name, reversed } = model.queues[index]!;
    const traced = trace && { name, packed, features, trace };
    if (reversed) {
      const queue = traced === undefined
        ? new ReversedQueue(options)
        : new TracedReversedQueue(options, traced);
      if (position !== undefined) queue.resume(position);
      return queue;
    }
    const make = (given: RunningQueueOptions): RunningQueue => makeQueue(packed, given, position);
    return traced === undefined ? make(options) : new TracedQueue(options, traced, make);
  }
}
