import {
  DeviceId,
  type FeatureNames,
  FeatureSet,
  SCSI_CDB_SIZE,
  SCSI_CONFIG,
  SCSI_EVENT,
  SCSI_REQUEST,
  SCSI_RESPONSE,
  SCSI_SENSE_SIZE,
  SCSI_TMF,
  ScsiCommand,
  ScsiEvent,
  ScsiFeature,
  scsiLun,
  ScsiQueue,
  ScsiResetReason,
  ScsiResponse,
  ScsiTaskManagement,
} from "@vireo/hal";
import type {
  Chain,
  ConfigWidth,
  DeviceContext,
  DeviceModel,
  DeviceQueue,
  ModelUsage,
  QueueSpec,
} from "../../device.ts";
import { readSpace } from "../config_space.ts";
import { missing, ScsiDisk, type ScsiOutcome, type ScsiUnitOptions } from "./unit.ts";

/** Options of {@linkcode ScsiDevice}. */
export interface ScsiDeviceOptions {
  /** Its units. */
  readonly units: readonly ScsiUnitOptions[];
  /** Request queues, 1 to 64; 1 by default. */
  readonly queues?: number;
  /** Keeps requests until {@linkcode ScsiDevice.release}, for tests of task management. */
  readonly hold?: boolean;
}

/** Events that may wait for buffers. */
const BACKLOG = 64;
/** Sizes of the control and event queues, and of each request queue. */
const QUEUE_SIZE = 64;
const REQUEST_QUEUE_SIZE = 256;
/** Bytes of a control request for an asynchronous notification, and of its answer (virtio 1.4 §5.6.6.2). */
const AN_REQUEST = 16;
const AN_ANSWER = 5;

interface Held {
  readonly queue: number;
  readonly chain: Chain;
  readonly id: bigint;
  /** Undefined if the request's `lun` field names no unit at all. */
  readonly unit: Unit | undefined;
}

interface Unit {
  readonly target: number;
  readonly lun: number;
}

interface Saved {
  readonly sizes: readonly [sense: number, cdb: number];
  readonly events: readonly (readonly number[])[];
  readonly missed: boolean;
  readonly attentions: Readonly<Record<string, readonly number[] | null>>;
}

/**
 * A SCSI host (virtio 1.4 §5.6) whose units serve disk images.
 *
 * @example
 * ```ts
 * import { Bus } from "@vireo/drivers/bus";
 * import { scsiDriver } from "@vireo/drivers/scsi";
 * import { MemoryDisk } from "@vireo/emu/backends";
 * import { EmulatedMachine } from "@vireo/emu/core";
 * import { ScsiDevice } from "@vireo/emu/scsi";
 * import { assertEquals } from "@std/assert";
 *
 * const device = new ScsiDevice({ units: [] });
 * await using machine = EmulatedMachine.create({ devices: [device] });
 * await using bus = new Bus();
 * await bus.registerDriver(scsiDriver);
 * await bus.addPlatform(machine);
 * const scsi = bus.get(scsiDriver)!;
 * assertEquals((await scsi.units()).length, 0);
 * // A disk is plugged.
 * device.plug({ target: 3, disk: new MemoryDisk(1 << 20) });
 * const [disk] = await scsi.units();
 * assertEquals([disk!.target, (await disk!.capacity()).blocks], [3, 2048]);
 * ```
 */
export class ScsiDevice implements DeviceModel {
  /** Name for reports. */
  readonly name = "scsi";
  /** Virtio device id 8. */
  readonly deviceId: number = DeviceId.SCSI;
  /** Hotplug and changed parameters. */
  readonly features: FeatureSet = FeatureSet.of(ScsiFeature.HOTPLUG, ScsiFeature.CHANGE);
  /** Names of the bits. */
  readonly featureNames: FeatureNames = ScsiFeature;
  /** Control, events, and the request queues. */
  readonly queues: readonly QueueSpec[];
  /** Size of `struct virtio_scsi_config` in bytes. */
  readonly configSize: number = SCSI_CONFIG.SIZE;
  /** Requests that are held back, and events. */
  readonly bounds: ModelUsage;
  readonly #units = new Map<string, ScsiDisk>();
  readonly #config = new DataView(new ArrayBuffer(SCSI_CONFIG.SIZE));
  readonly #hold: boolean;
  readonly #count: number;
  #context: DeviceContext | undefined;
  #events: Uint8Array[] = [];
  #missed = false;
  #held: Held[] = [];

  /**
   * Makes the host.
   *
   * @throws {RangeError} If the number of queues is not from 1 to 64, or a unit's place is taken.
   */
  constructor(options: ScsiDeviceOptions) {
    this.#count = options.queues ?? 1;
    if (!Number.isInteger(this.#count) || this.#count < 1 || this.#count > 64) {
      throw new RangeError(`Cannot make a SCSI host with ${this.#count} queues: expected 1 to 64`);
    }
    this.#hold = options.hold ?? false;
    this.queues = [
      { name: "controlq", maxSize: QUEUE_SIZE },
      { name: "eventq", maxSize: QUEUE_SIZE },
      ...Array.from({ length: this.#count }, (_, i) => ({
        name: `requestq${i}`,
        maxSize: REQUEST_QUEUE_SIZE,
      })),
    ];
    this.bounds = {
      items: BACKLOG + this.#count * REQUEST_QUEUE_SIZE,
      bytes: BACKLOG * SCSI_EVENT.SIZE,
    };
    for (const unit of options.units) this.#add(unit);
    this.#setUp();
  }

  /** Requests that are held back. */
  get held(): number {
    return this.#held.length;
  }

  /** Carries out the requests that were held back. */
  release(): void {
    for (const held of this.#held.splice(0)) this.#finish(held);
  }

  /** Adds a unit, and tells the driver. @throws {RangeError} If its place is taken. */
  plug(unit: ScsiUnitOptions): void {
    this.#add(unit);
    this.#tell(ScsiEvent.TRANSPORT_RESET, unit.target, unit.lun ?? 0, ScsiResetReason.RESCAN);
  }

  /** Takes a unit away, and tells the driver: requests of it that are held fail (dev.scsi.requestq.3). */
  unplug(target: number, lun = 0): void {
    this.#units.delete(`${target}:${lun}`);
    this.#abort(
      this.#held.filter(({ unit }) => unit?.target === target && unit.lun === lun),
      ScsiResponse.FAILURE,
    );
    this.#tell(ScsiEvent.TRANSPORT_RESET, target, lun, ScsiResetReason.REMOVED);
  }

  /**
   * Changes the size of a unit's disk, and tells the driver: a disk's by an event and by its next command, a CD's
   * by that alone, as there is no event for one (dev.scsi.eventq.3).
   *
   * @throws {RangeError} If it is not there.
   */
  resize(target: number, lun: number, bytes: number): void {
    const unit = this.#units.get(`${target}:${lun}`);
    if (unit === undefined) {
      throw new RangeError(`Cannot resize unit ${target}:${lun}: the host must have it`);
    }
    unit.options.disk.resize(bytes);
    unit.attend(0x2a, 0x09);
    if (unit.options.kind === "cdrom") return;
    this.#tell(ScsiEvent.PARAM_CHANGE, target, lun, 0x2a | 0x09 << 8);
  }

  /** Reads the configuration. */
  readConfig(offset: number, width: ConfigWidth): number {
    return readSpace(this.#config, offset, width);
  }

  /** Takes `sense_size` and `cdb_size`; the rest is read-only. */
  writeConfig(offset: number, width: ConfigWidth, value: number): void {
    const { sense_size: senseSize, cdb_size: cdbSize } = SCSI_CONFIG;
    if (width !== 4 || (offset !== senseSize.offset && offset !== cdbSize.offset)) return;
    // No larger than a response or a block may be: the driver's number sizes nothing.
    this.#config.setUint32(offset, Math.min(value, 255), true);
  }

  /** Starts to serve the queues. */
  activate(context: DeviceContext): void {
    this.#context = context;
  }

  /** Serves what a queue holds. */
  notify(index: number): void {
    if (index === ScsiQueue.EVENT) return this.#deliver();
    const queue = this.#context?.queue(index);
    if (queue === undefined) return;
    const { work } = this.#context!;
    for (let chain = work.take(queue); chain !== undefined; chain = work.take(queue)) {
      const done = index === ScsiQueue.CONTROL ? this.#manage(chain) : this.#take(chain, index);
      if (done === undefined) return;
      if (done) queue.push(chain);
    }
    queue.signal();
  }

  /** Forgets the requests of one queue. */
  resetQueue(index: number): void {
    this.#held = this.#held.filter(({ queue }) => queue !== index);
  }

  /** Forgets the driver. */
  reset(): void {
    this.#context = undefined;
    this.#events = [];
    this.#missed = false;
    this.#held = [];
    this.#setUp();
  }

  /** Requests that are held back, and events that wait. */
  usage(): ModelUsage {
    const events = this.#events.length;
    return { items: this.#held.length + events, bytes: events * SCSI_EVENT.SIZE };
  }

  /** Sizes that the driver chose, events, and what units have to tell; the disks have snapshots of their own. */
  snapshot(): unknown {
    const { sense_size: sense, cdb_size: cdb } = SCSI_CONFIG;
    return {
      sizes: [sense, cdb].map(({ offset }) => this.#config.getUint32(offset, true)),
      events: this.#events.map((event) => [...event]),
      missed: this.#missed,
      attentions: Object.fromEntries(
        [...this.#units].map(([key, unit]) => [key, unit.attention]),
      ),
    };
  }

  /** Takes the state back; units that it does not know have nothing to tell. */
  restore(state: unknown): void {
    const { sizes, events, missed, attentions } = state as Saved;
    this.#config.setUint32(SCSI_CONFIG.sense_size.offset, sizes[0], true);
    this.#config.setUint32(SCSI_CONFIG.cdb_size.offset, sizes[1], true);
    this.#events = events.map((event) => Uint8Array.from(event));
    this.#missed = missed;
    for (const [key, unit] of this.#units) unit.attention = attentions[key] ?? null;
  }

  /** Frees nothing; the disks are their owner's. */
  [Symbol.dispose](): void {
    this.reset();
  }

  #setUp(): void {
    const C = SCSI_CONFIG;
    const set = ({ offset }: { offset: number }, value: number): void =>
      this.#config.setUint32(offset, value, true);
    set(C.num_queues, this.#count);
    set(C.seg_max, 254);
    set(C.max_sectors, 0xffff);
    set(C.cmd_per_lun, 128);
    set(C.event_info_size, SCSI_EVENT.SIZE);
    set(C.sense_size, SCSI_SENSE_SIZE);
    set(C.cdb_size, SCSI_CDB_SIZE);
    this.#config.setUint16(C.max_target.offset, 255, true);
    set(C.max_lun, 16383);
  }

  #add(unit: ScsiUnitOptions): void {
    const key = `${unit.target}:${unit.lun ?? 0}`;
    if (this.#units.has(key)) {
      throw new RangeError(`Cannot add unit ${key}: the host has one there`);
    }
    this.#units.set(key, new ScsiDisk(unit));
  }

  /** Takes a request; true if it is done, false if it is held, undefined after a fault. */
  #take(chain: Chain, queue: number): boolean | undefined {
    const cdbSize = this.#config.getUint32(SCSI_CONFIG.cdb_size.offset, true);
    const senseSize = this.#config.getUint32(SCSI_CONFIG.sense_size.offset, true);
    const asked = SCSI_REQUEST.SIZE + cdbSize;
    if (chain.readableLength < asked || chain.writableLength < SCSI_RESPONSE.SIZE + senseSize) {
      this.#context?.fault(
        `SCSI request of ${chain.readableLength} and ${chain.writableLength} bytes, ` +
          `expected at least ${asked} and ${SCSI_RESPONSE.SIZE + senseSize}`,
      );
      return undefined;
    }
    const head = new Uint8Array(SCSI_REQUEST.SIZE);
    chain.read(head);
    const view = new DataView(head.buffer);
    const id = view.getBigUint64(SCSI_REQUEST.id.offset, true);
    const held: Held = { queue, chain, id, unit: unitOf(head) };
    if (this.#hold) {
      this.#held.push(held);
      return false;
    }
    this.#serve(held);
    return true;
  }

  /** Carries out what was held, and returns it. */
  #finish(held: Held, response?: number): void {
    const queue: DeviceQueue | undefined = this.#context?.queue(held.queue);
    if (queue === undefined) return;
    if (response === undefined) this.#serve(held);
    else this.#respond(held.chain, response, undefined);
    queue.push(held.chain);
    queue.signal();
  }

  #abort(all: readonly Held[], response: number): void {
    this.#held = this.#held.filter((held) => !all.includes(held));
    for (const held of all) this.#finish(held, response);
  }

  /** Whether there is a target: whether it has any unit. */
  #isTarget(target: number): boolean {
    return this.#units.values().some(({ options }) => options.target === target);
  }

  #serve({ chain, unit: place }: Held): void {
    // A CDB has 16 bytes that mean anything here; the driver may have chosen a shorter field.
    const cdb = new Uint8Array(
      Math.max(16, this.#config.getUint32(SCSI_CONFIG.cdb_size.offset, true)),
    );
    chain.read(cdb, 0, this.#config.getUint32(SCSI_CONFIG.cdb_size.offset, true));
    if (place === undefined || !this.#isTarget(place.target)) {
      return this.#respond(chain, ScsiResponse.BAD_TARGET, undefined);
    }
    if (cdb[0] === ScsiCommand.REPORT_LUNS) {
      return this.#respond(chain, ScsiResponse.OK, this.#reportLuns(place.target));
    }
    const unit = this.#units.get(`${place.target}:${place.lun}`);
    // dev.scsi.requestq.2: responses of this queue end at FAILURE, so the target itself answers.
    if (unit === undefined) return this.#respond(chain, ScsiResponse.OK, missing(cdb));
    // The command says what it takes, not the buffers that came with it.
    const write = new Uint8Array(Math.min(chain.readableLeft, unit.takes(cdb)));
    chain.read(write);
    let outcome: ScsiOutcome;
    try {
      outcome = unit.run(cdb, write, this.#room(chain));
    } catch (error) {
      this.#context!.hostFailed(error);
      return this.#respond(chain, ScsiResponse.FAILURE, undefined);
    }
    this.#context?.work.spend(1, outcome.worked ?? 0);
    this.#respond(chain, ScsiResponse.OK, outcome);
  }

  /** Bytes that a request has room for beside its response. */
  #room(chain: Chain): number {
    const senseSize = this.#config.getUint32(SCSI_CONFIG.sense_size.offset, true);
    return chain.writableLength - SCSI_RESPONSE.SIZE - senseSize;
  }

  #respond(chain: Chain, response: number, outcome: ScsiOutcome | undefined): void {
    const unread = chain.readableLeft;
    const senseSize = this.#config.getUint32(SCSI_CONFIG.sense_size.offset, true);
    const sense = outcome?.sense.subarray(0, senseSize) ?? new Uint8Array(0);
    const room = this.#room(chain);
    const data = outcome?.data ?? new Uint8Array(0);
    const given = Math.min(room, data.length);
    chain.writeU32(sense.length);
    chain.writeU32(room > 0 ? room - given : unread);
    chain.writeU16(0);
    chain.writeU8(outcome?.status ?? 0);
    // A unit had more to say than there was room for.
    const total = outcome?.total ?? data.length;
    const overrun = response === ScsiResponse.OK && total > room && room > 0;
    chain.writeU8(overrun ? ScsiResponse.OVERRUN : response);
    chain.write(sense);
    chain.writeZeroes(senseSize - sense.length);
    chain.write(data, 0, given);
  }

  #reportLuns(target: number): ScsiOutcome {
    const luns = [...this.#units.values()].map(({ options }) => options)
      .filter((unit) => unit.target === target).map(({ lun = 0 }) => lun);
    const data = new Uint8Array(8 + 8 * luns.length);
    new DataView(data.buffer).setUint32(0, 8 * luns.length);
    luns.sort((a, b) => a - b).forEach((lun, i) => {
      // Peripheral addressing for small numbers, flat for the rest (SAM-5 §4.7).
      data[8 + 8 * i] = lun < 256 ? 0 : lun >> 8 & 0x3f | 0x40;
      data[9 + 8 * i] = lun & 0xff;
    });
    return { status: 0, sense: new Uint8Array(0), data };
  }

  #manage(chain: Chain): boolean | undefined {
    const request = new Uint8Array(SCSI_TMF.SIZE);
    const length = chain.read(request);
    const view = new DataView(request.buffer);
    const function_ = view.getUint32(SCSI_TMF.type.offset, true) === 0;
    // Missing bytes are not made up: a request that is cut off names no unit and no task.
    const [asked, answer] = function_ ? [SCSI_TMF.SIZE, 1] : [AN_REQUEST, AN_ANSWER];
    if (length < asked || chain.writableLength < answer) {
      this.#context?.fault(
        `SCSI control request of ${chain.readableLength} and ${chain.writableLength} bytes, ` +
          `expected at least ${asked} and ${answer}`,
      );
      return undefined;
    }
    if (!function_) {
      // Asynchronous notifications: none are there. event_actual, then the response.
      chain.writeU32(0);
      chain.writeU8(ScsiResponse.OK);
      return true;
    }
    const unit = unitOf(request.subarray(SCSI_TMF.lun.offset));
    const id = view.getBigUint64(SCSI_TMF.id.offset, true);
    chain.writeU8(this.#function(view.getUint32(SCSI_TMF.subtype.offset, true), unit, id));
    return true;
  }

  /** A task management function: its response. */
  #function(kind: number, place: Unit | undefined, id: bigint): number {
    const T = ScsiTaskManagement;
    const nexus = kind === T.I_T_NEXUS_RESET;
    if (place === undefined || !this.#isTarget(place.target)) return ScsiResponse.BAD_TARGET;
    const { target, lun } = place;
    const units = [...this.#units.values()].filter(({ options }) =>
      options.target === target && (nexus || (options.lun ?? 0) === lun)
    );
    if (units.length === 0) return ScsiResponse.INCORRECT_LUN;
    const tasks = this.#held.filter(({ unit }) =>
      unit?.target === target && (nexus || unit.lun === lun)
    );
    const abort = (all: readonly Held[], response: number): void => this.#abort(all, response);
    switch (kind) {
      case T.ABORT_TASK:
        abort(tasks.filter((held) => held.id === id), ScsiResponse.ABORTED);
        return ScsiResponse.OK;
      case T.ABORT_TASK_SET:
      case T.CLEAR_TASK_SET:
        abort(tasks, ScsiResponse.ABORTED);
        return ScsiResponse.OK;
      case T.I_T_NEXUS_RESET:
      case T.LOGICAL_UNIT_RESET:
        abort(tasks, ScsiResponse.RESET);
        for (const unit of units) unit.attend(0x29);
        return ScsiResponse.OK;
      case T.QUERY_TASK:
        return tasks.some((held) => held.id === id)
          ? ScsiResponse.FUNCTION_SUCCEEDED
          : ScsiResponse.OK;
      case T.QUERY_TASK_SET:
        return tasks.length > 0 ? ScsiResponse.FUNCTION_SUCCEEDED : ScsiResponse.OK;
      default:
        return ScsiResponse.FUNCTION_REJECTED;
    }
  }

  #tell(event: number, target: number, lun: number, reason: number): void {
    const feature = event === ScsiEvent.PARAM_CHANGE ? ScsiFeature.CHANGE : ScsiFeature.HOTPLUG;
    if (!this.#context?.features.has(feature)) return;
    if (this.#events.length >= BACKLOG) {
      this.#missed = true;
      return;
    }
    const bytes = new Uint8Array(SCSI_EVENT.SIZE);
    const view = new DataView(bytes.buffer);
    view.setUint32(SCSI_EVENT.event.offset, event, true);
    bytes.set(scsiLun(target, lun), SCSI_EVENT.lun.offset);
    view.setUint32(SCSI_EVENT.reason.offset, reason, true);
    this.#events.push(bytes);
    this.#deliver();
  }

  #deliver(): void {
    const queue = this.#context?.queue(ScsiQueue.EVENT);
    if (queue === undefined) return;
    let pushed = false;
    while (this.#events.length > 0 || this.#missed) {
      const chain = queue.pop();
      if (chain === undefined) break;
      if (chain.writableLength < SCSI_EVENT.SIZE) {
        const reason = `SCSI event buffer of ${chain.writableLength} bytes, expected 16`;
        this.#context?.fault(reason, "drv.scsi.eventq.2");
        return;
      }
      const bytes = this.#events.shift() ?? new Uint8Array(SCSI_EVENT.SIZE);
      // dev.scsi.eventq.1: what was lost is told with the next one.
      if (this.#missed) bytes[SCSI_EVENT.event.offset + 3]! |= 0x80;
      this.#missed = false;
      chain.write(bytes);
      queue.push(chain);
      pushed = true;
    }
    if (pushed) queue.signal();
  }
}

/** The unit that a `lun` field names: 1, the target, and a number of one level (virtio 1.4 §5.6.6.1). */
function unitOf(lun: Uint8Array): Unit | undefined {
  const flat = lun[2]! >> 6 === 1;
  if (lun[0] !== 1 || (!flat && lun[2] !== 0)) return undefined;
  return { target: lun[1]!, lun: (lun[2]! & 0x3f) << 8 | lun[3]! };
}
