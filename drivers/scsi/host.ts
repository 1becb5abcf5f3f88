import {
  ANY_ID,
  DeviceId,
  FeatureSet,
  nameIn,
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
  ScsiResetReason,
  ScsiResponse,
  ScsiStatus,
  ScsiTaskManagement,
  setU64,
  VireoError,
  type VireoErrorCode,
} from "@vireo/hal";
import type { VirtioDevice } from "../device.ts";
import type { VirtioDriver } from "../driver.ts";
import { QueueDriver } from "../queue_driver.ts";
import type { ReceiveRing } from "../virtqueue/receive_ring.ts";
import type { RequestQueue } from "../virtqueue/request_queue.ts";
import { queueLook } from "../virtqueue/last_look.ts";
import type { Virtqueue } from "../virtqueue/virtqueue.ts";
import { Condition, type WaitOptions, within } from "../wait/mod.ts";
import { decodeSense, type ScsiSense, senseText } from "./sense.ts";
import { ScsiUnit, UNIT_ATTENTION } from "./unit.ts";

/** Event buffers, as Linux has them. */
const EVENTS = 8;
/** Events that a listener may be behind. */
const BACKLOG = 256;
/** Milliseconds that a command may take. */
const DEADLINE = 30_000;
/** Most request queues that are used. */
const MAX_QUEUES = 8;
/** Most sectors of one command, also if the device takes more. */
const MAX_SECTORS = 0xffff;
/** Bytes of an answer to REPORT LUNS: 256 units. */
const REPORT_SIZE = 8 + 8 * 256;
/** Targets that a scan asks unless the host has fewer. */
const MAX_TARGETS = 256;

/** A command, and what goes with it. */
export interface ScsiTask {
  /** Which unit. */
  readonly unit: Pick<ScsiUnit, "target" | "lun">;
  /** The command descriptor block, at most 32 bytes. */
  readonly cdb: Uint8Array;
  /** Data for the unit. */
  readonly write?: Uint8Array | undefined;
  /** Room for what it writes, in bytes. */
  readonly read?: number | undefined;
  /** Names it for task management; the host's own count by default. */
  readonly id?: number | undefined;
}

/** Answer of a unit. */
export interface ScsiResult {
  /** A value of `ScsiStatus`. */
  readonly status: number;
  /** Why it failed. */
  readonly sense: ScsiSense | undefined;
  /** Bytes of the data that were not transferred. */
  readonly residual: number;
  /** Data that the unit wrote. */
  readonly data: Uint8Array;
}

/** Something that happened at a host. */
export type ScsiHostEvent =
  /** A unit came, or went, or was reset. */
  | { readonly kind: "rescan" | "removed" | "reset"; readonly target: number; readonly lun: number }
  /** A unit's parameters changed; the sense codes say which (2a/09 is the capacity). */
  | {
    readonly kind: "changed";
    readonly target: number;
    readonly lun: number;
    readonly asc: number;
    readonly ascq: number;
  }
  /** Events were lost: all may have changed. */
  | { readonly kind: "missed" };

/** The commands that one unit has. */
interface UnitGate {
  commands: number;
  readonly room: Condition;
}

/**
 * A SCSI host (virtio 1.4 §5.6).
 *
 * @example
 * ```ts
 * import type { ScsiHost } from "@vireo/drivers/scsi";
 *
 * // The capacity of all units together, in bytes.
 * async function total(host: ScsiHost): Promise<number> {
 *   let bytes = 0;
 *   for (const unit of await host.units()) {
 *     const { blocks, blockSize } = await unit.capacity();
 *     bytes += blocks * blockSize;
 *   }
 *   return bytes;
 * }
 * ```
 */
export class ScsiHost extends QueueDriver {
  /** Largest target number. */
  readonly maxTarget: number;
  /** Largest logical unit number. */
  readonly maxLun: number;
  readonly #happenings = this.broadcast<ScsiHostEvent>({
    what: "SCSI event",
    limit: BACKLOG,
    missed: [{ kind: "missed" }],
  });
  #control!: RequestQueue;
  #events!: ReceiveRing;
  #requests: readonly RequestQueue[] = [];
  #next = 0;
  #lastId = 0;
  #maxBytes = 0;
  /** Commands that a unit may have at once. */
  #perUnit = 1;
  readonly #units = new Map<string, UnitGate>();

  /** Sets up a host whose features are negotiated. */
  constructor(device: VirtioDevice) {
    super(device, "SCSI host");
    this.maxTarget = device.config.read16(SCSI_CONFIG.max_target.offset);
    this.maxLun = device.config.read32(SCSI_CONFIG.max_lun.offset);
    this.setUp();
  }

  /** Name of the device, for errors. */
  get name(): string {
    return this.device.name;
  }

  /** Most bytes of data of one command, by the host's `max_sectors`. */
  get maxBytes(): number {
    return this.#maxBytes;
  }

  /** Names a unit. */
  unit(target: number, lun = 0): ScsiUnit {
    return new ScsiUnit(this, target, lun);
  }

  /**
   * Asks every target which units it has.
   *
   * @returns The units there are, by target and number.
   */
  async units(options: WaitOptions = {}): Promise<readonly ScsiUnit[]> {
    const count = Math.min(this.maxTarget + 1, MAX_TARGETS);
    const found = await Promise.all(
      Array.from({ length: count }, (_, target) => this.#unitsOf(target, options)),
    );
    return found.flat();
  }

  /**
   * Sends a command; a unit that refuses it says so in the result. A unit gets no more commands at once
   * than the host's `cmd_per_lun` says (virtio 1.4 §5.6.4.1); the others wait for their turn.
   *
   * @throws {VireoError} If it did not reach the unit: `NO_DEVICE`, `TIMEOUT`, `IO_ERROR` or why the
   * device failed; `OUT_OF_RANGE` If the data is over {@linkcode ScsiHost.maxBytes}. {RangeError} If the
   * block is over 32 bytes.
   */
  async command(task: ScsiTask, options: WaitOptions = {}): Promise<ScsiResult> {
    const { unit, cdb, write, read = 0, id = ++this.#lastId } = task;
    if (cdb.length > SCSI_CDB_SIZE) {
      throw new RangeError(
        `Cannot send a command block of ${cdb.length} bytes: expected at most 32`,
      );
    }
    const size = Math.max(write?.length ?? 0, read);
    if (size > this.#maxBytes) {
      throw this.error("OUT_OF_RANGE", "Cannot transfer so much by one command", {
        seen: `${size} bytes`,
        expected: `at most ${this.#maxBytes} bytes`,
      });
    }
    const call = within(options, DEADLINE);
    const leave = await this.#enter(unit, call);
    const head = new Uint8Array(SCSI_REQUEST.SIZE + SCSI_CDB_SIZE);
    head.set(scsiLun(unit.target, unit.lun));
    setU64(new DataView(head.buffer), SCSI_REQUEST.id.offset, id);
    head.set(cdb, SCSI_REQUEST.SIZE);
    const room = SCSI_RESPONSE.SIZE + SCSI_SENSE_SIZE;
    const queue = this.#requests[this.#next++ % this.#requests.length]!;
    const parts = write === undefined ? [head] : [head, write];
    const { bytes } = await this.ask(queue, parts, [room, read], {
      ...call,
      least: SCSI_RESPONSE.SIZE,
      onReturned: leave,
    });
    const view = new DataView(bytes.buffer);
    this.#checkResponse(view.getUint8(SCSI_RESPONSE.response.offset), unit);
    // The length is the device's word: what it may not be is cut off.
    const senseLength = view.getUint32(SCSI_RESPONSE.sense_len.offset, true);
    const sense = bytes.subarray(SCSI_RESPONSE.SIZE, room).subarray(0, senseLength);
    const total = write?.length ?? read;
    const residual = Math.min(view.getUint32(SCSI_RESPONSE.residual.offset, true), total);
    const status = view.getUint8(SCSI_RESPONSE.status.offset);
    const end = room + Math.max(0, read - (write === undefined ? residual : 0));
    if (read > 0 && status === ScsiStatus.GOOD && bytes.length < end) {
      throw this.tooShort(bytes.length, end);
    }
    return { status, sense: decodeSense(sense), residual, data: bytes.subarray(room, end) };
  }

  /**
   * Sends a command that must succeed; one that meets a unit attention is sent again.
   *
   * @returns What the unit wrote.
   * @throws {VireoError} `READ_ONLY`, `OUT_OF_RANGE`, `UNSUPPORTED` or `IO_ERROR` by its sense data;
   * else as {@linkcode ScsiHost.command}.
   */
  async data(task: ScsiTask, options: WaitOptions = {}): Promise<Uint8Array> {
    const call = within(options, DEADLINE);
    for (let attempt = 0;; attempt++) {
      const { status, sense, data } = await this.command(task, call);
      if (status === ScsiStatus.GOOD) return data;
      if (sense?.key === UNIT_ATTENTION && attempt < 3) continue;
      const { target, lun } = task.unit;
      throw this.error(errorCode(sense), `Unit ${target}:${lun} refuses a command`, {
        seen: sense === undefined ? `status ${status}` : senseText(sense),
        expected: "GOOD",
      });
    }
  }

  /**
   * A task management function.
   *
   * @param kind A value of `ScsiTaskManagement`.
   * @param id The task, for ABORT_TASK and QUERY_TASK.
   * @returns Whether the function succeeded; false if it merely completed (or there was no such task).
   * @throws {VireoError} `UNSUPPORTED` If it is rejected; `NO_DEVICE` If there is no such unit.
   */
  async manage(
    kind: ScsiTaskManagement,
    unit: Pick<ScsiUnit, "target" | "lun">,
    id = 0,
    options: WaitOptions = {},
  ): Promise<boolean> {
    const request = new Uint8Array(SCSI_TMF.SIZE);
    request[SCSI_TMF.subtype.offset] = kind;
    request.set(scsiLun(unit.target, unit.lun), SCSI_TMF.lun.offset);
    setU64(new DataView(request.buffer), SCSI_TMF.id.offset, id);
    const { bytes } = await this.ask(this.#control, [request], 1, {
      ...within(options, DEADLINE),
      least: 1,
    });
    if (bytes[0] === ScsiResponse.FUNCTION_SUCCEEDED) return true;
    this.#checkResponse(bytes[0]!, unit);
    return false;
  }

  /** Resets a unit. */
  async resetUnit(
    unit: Pick<ScsiUnit, "target" | "lun">,
    options: WaitOptions = {},
  ): Promise<void> {
    await this.manage(ScsiTaskManagement.LOGICAL_UNIT_RESET, unit, 0, options);
  }

  /** Events from now on: hotplug and changed parameters, where they were negotiated. */
  events(options: WaitOptions = {}): AsyncIterableIterator<ScsiHostEvent> & Disposable {
    return this.#happenings.listen(options);
  }

  /** Sets the sizes that this driver works with, and opens the queues. */
  protected override setUp(): void {
    const { config } = this.device;
    // Sense data and blocks have the sizes that this driver works with, whatever the device had.
    for (
      const [{ offset }, size] of [
        [SCSI_CONFIG.sense_size, SCSI_SENSE_SIZE],
        [SCSI_CONFIG.cdb_size, SCSI_CDB_SIZE],
      ] as const
    ) {
      // Behind vhost-user some cannot be written to: vhost-device-scsi ends.
      if (config.read32(offset) !== size) config.write32(offset, size);
    }
    const count = config.read32(SCSI_CONFIG.num_queues.offset);
    // As Linux, which takes 0 for what a device should have said (virtio_scsi.c, virtscsi_probe).
    this.#maxBytes = 512 * Math.min(
      config.read32(SCSI_CONFIG.max_sectors.offset) || MAX_SECTORS,
      MAX_SECTORS,
    );
    const perUnit = config.read32(SCSI_CONFIG.cmd_per_lun.offset) || 1;
    const bytes = Math.max(SCSI_EVENT.SIZE, config.read32(SCSI_CONFIG.event_info_size.offset));
    [this.#control, this.#events, ...this.#requests] = this.openQueues(
      { name: "control" },
      {
        name: "event",
        bytes: Math.min(bytes, 4096),
        count: EVENTS,
        received: () => this.#drainEvents(),
      },
      ...Array.from(
        { length: Math.min(Math.max(1, count), MAX_QUEUES) },
        (_, i) => ({ name: `request.${i}` }),
      ),
    );
    this.#perUnit = Math.min(perUnit, this.device.queues[2]!.size);
  }

  async #unitsOf(target: number, options: WaitOptions): Promise<ScsiUnit[]> {
    const size = Math.min(REPORT_SIZE, this.#maxBytes);
    const cdb = new Uint8Array(12);
    cdb[0] = ScsiCommand.REPORT_LUNS;
    new DataView(cdb.buffer).setUint32(6, size);
    let data: Uint8Array;
    try {
      data = await this.data({ unit: { target, lun: 0 }, cdb, read: size }, options);
    } catch (error) {
      if (error instanceof VireoError && error.code === "NO_DEVICE") return [];
      throw error;
    }
    const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
    const units: ScsiUnit[] = [];
    // The list says how many bytes follow its first 8.
    for (let at = 8; at + 8 <= data.length && at <= view.getUint32(0); at += 8) {
      // Peripheral and flat addressing (SAM-5 §4.7); others are not for disks.
      const method = data[at]! >> 6;
      if (method > 1) continue;
      units.push(this.unit(target, (data[at]! & 0x3f) << 8 | data[at + 1]!));
    }
    return units.sort((a, b) => a.lun - b.lun);
  }

  /** Ends the commands that wait for their turn. */
  protected override ended(error: Error): void {
    for (const { room } of this.#units.values()) room.fail(error);
  }

  /**
   * Waits until a unit may have another command.
   *
   * @returns Ends it, once the device is done with the command.
   */
  async #enter(
    { target, lun }: Pick<ScsiUnit, "target" | "lun">,
    call: WaitOptions,
  ): Promise<() => void> {
    const key = `${target}:${lun}`;
    let gate = this.#units.get(key);
    if (gate === undefined) this.#units.set(key, gate = { commands: 0, room: this.#makeRoom() });
    const { room } = gate;
    await room.until(`unit ${key} to end an earlier command`, () => {
      if (this.failure !== undefined) throw this.failure;
      if (gate.commands >= this.#perUnit) return undefined;
      gate.commands++;
      return true;
    }, call);
    return () => {
      gate.commands--;
      room.notify();
    };
  }

  #makeRoom(): Condition {
    const queues = (): Virtqueue[] => this.device.queues.slice(2);
    const drain = ({ index }: Virtqueue): void => this.#requests[index - 2]?.drain();
    return new Condition(queueLook(queues, drain, true));
  }

  #drainEvents(): void {
    this.#events.drain((bytes) => {
      if (bytes.length < SCSI_EVENT.SIZE) return;
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      const event = view.getUint32(SCSI_EVENT.event.offset, true);
      if (event >= ScsiEvent.MISSED) this.#happenings.push({ kind: "missed" });
      const decoded = decodeEvent(event & 0x7fffffff, bytes, view);
      if (decoded !== undefined) this.#happenings.push(decoded);
    });
  }

  #checkResponse(response: number, { target, lun }: Pick<ScsiUnit, "target" | "lun">): void {
    const R = ScsiResponse;
    if (response === R.OK || response === R.FUNCTION_SUCCEEDED) return;
    const code = response === R.BAD_TARGET || response === R.INCORRECT_LUN
      ? "NO_DEVICE"
      : response === R.FUNCTION_REJECTED
      ? "UNSUPPORTED"
      : "IO_ERROR";
    throw this.error(code, `Unit ${target}:${lun} was not reached`, {
      seen: nameIn(R, response) ?? response,
      expected: "OK",
    });
  }
}

function decodeEvent(event: number, bytes: Uint8Array, view: DataView): ScsiHostEvent | undefined {
  const at = SCSI_EVENT.lun.offset;
  const target = bytes[at + 1]!;
  const lun = (bytes[at + 2]! & 0x3f) << 8 | bytes[at + 3]!;
  const reason = view.getUint32(SCSI_EVENT.reason.offset, true);
  if (event === ScsiEvent.PARAM_CHANGE) {
    return { kind: "changed", target, lun, asc: reason & 0xff, ascq: reason >>> 8 & 0xff };
  }
  if (event !== ScsiEvent.TRANSPORT_RESET) return undefined;
  const kind = reason === ScsiResetReason.RESCAN
    ? "rescan"
    : reason === ScsiResetReason.REMOVED
    ? "removed"
    : "reset";
  return { kind, target, lun };
}

function errorCode(sense: ScsiSense | undefined): VireoErrorCode {
  if (sense?.name === "DATA PROTECT") return "READ_ONLY";
  if (sense?.name !== "ILLEGAL REQUEST") return "IO_ERROR";
  return sense.asc === 0x21 ? "OUT_OF_RANGE" : sense.asc === 0x25 ? "NO_DEVICE" : "UNSUPPORTED";
}

/** Drives SCSI hosts; what `probe` gives is a {@linkcode ScsiHost}. */
export const scsiDriver: VirtioDriver<ScsiHost> = {
  name: "virtio_scsi",
  ids: [{ device: DeviceId.SCSI, vendor: ANY_ID }],
  features: FeatureSet.of(ScsiFeature.HOTPLUG, ScsiFeature.CHANGE),
  featureNames: ScsiFeature,
  probe: (device) => new ScsiHost(device),
};
