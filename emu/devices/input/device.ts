import {
  DeviceId,
  FeatureSet,
  INPUT_CONFIG,
  INPUT_EVENT,
  InputQueue,
  InputSelect,
  InputSyn,
  InputType,
} from "@vireo/hal";
import type {
  ConfigWidth,
  DeviceContext,
  DeviceModel,
  ModelUsage,
  QueueSpec,
} from "../../device.ts";
import { readSpace } from "../config_space.ts";

/** Events that may wait for the driver's buffers. */
const BACKLOG = 1024;
/** Bytes that an event counts for. */
const EVENT_COST = 64;

/** Range, noise filter, dead zone and resolution of an axis. */
export interface InputAbs {
  /** Smallest value. */
  readonly min: number;
  /** Largest value. */
  readonly max: number;
  /** Noise to filter; 0 by default. */
  readonly fuzz?: number;
  /** Dead zone; 0 by default. */
  readonly flat?: number;
  /** Units a millimetre; 0 by default. */
  readonly resolution?: number;
}

/** Options of {@linkcode InputDevice}. */
export interface InputDeviceOptions {
  /** Its name, at most 128 bytes. */
  readonly name: string;
  /** Its serial. */
  readonly serial?: string;
  /** Bus, vendor, product, version. */
  readonly ids?: readonly [number, number, number, number];
  /** Property bits. */
  readonly properties?: readonly number[];
  /** Codes by event type. */
  readonly codes: Readonly<Record<number, readonly number[]>>;
  /** Axes by ABS code; those of the codes of type ABS. */
  readonly axes?: Readonly<Record<number, InputAbs>>;
  /** Told of what the driver sends: LEDs and the like. */
  readonly onStatus?: (event: InputDeviceEvent) => void;
}

/** One event. */
export interface InputDeviceEvent {
  /** A value of `InputType`. */
  readonly type: number;
  /** Which key, axis or LED. */
  readonly code: number;
  /** Signed. */
  readonly value: number;
}

/**
 * The input device (virtio 1.4 §5.8): the host's side gives it events with {@linkcode InputDevice.send}.
 *
 * A whole packet waits until there are buffers for it (virtio 1.4 §5.8.6.2).
 *
 * @example
 * ```ts
 * import { Bus } from "@vireo/drivers/bus";
 * import { inputDriver } from "@vireo/drivers/input";
 * import { EmulatedMachine } from "@vireo/emu/core";
 * import { INPUT_PRESETS, InputDevice } from "@vireo/emu/input";
 * import { InputType } from "@vireo/hal";
 * import { assertEquals } from "@std/assert";
 *
 * const mouse = new InputDevice(INPUT_PRESETS.mouse);
 * await using machine = EmulatedMachine.create({ devices: [mouse] });
 * await using bus = new Bus();
 * await bus.registerDriver(inputDriver);
 * await bus.addPlatform(machine);
 * using events = bus.get(inputDriver)!.events();
 * // Five to the right, then the end of the report.
 * mouse.send(InputType.REL, 0, 5).sync();
 * const { value } = await events.next();
 * assertEquals([value.type, value.code, value.value], [InputType.REL, 0, 5]);
 * ```
 */
export class InputDevice implements DeviceModel {
  /** Name for reports. */
  readonly name = "input";
  /** Virtio device id 18. */
  readonly deviceId: number = DeviceId.INPUT;
  /** It has none of its own. */
  readonly features: FeatureSet = FeatureSet.NONE;
  /** Events to the driver, status from it. */
  readonly queues: readonly QueueSpec[] = [
    { name: "eventq", maxSize: 64 },
    { name: "statusq", maxSize: 64 },
  ];
  /** Size of `struct virtio_input_config` in bytes. */
  readonly configSize: number = INPUT_CONFIG.SIZE;
  /** Events that wait, and those that the driver sent. */
  readonly bounds: ModelUsage = { items: 2 * BACKLOG, bytes: 2 * BACKLOG * EVENT_COST };
  /** Events that the driver sent, oldest first, at most 1024. */
  readonly statuses: InputDeviceEvent[] = [];
  readonly #options: InputDeviceOptions;
  readonly #config = new DataView(new ArrayBuffer(INPUT_CONFIG.SIZE));
  #context: DeviceContext | undefined;
  /** Packets that wait for buffers. */
  #waiting: InputDeviceEvent[][] = [];
  #waitingEvents = 0;
  #packet: InputDeviceEvent[] = [];
  #lost = 0;

  /**
   * Makes the device.
   *
   * @throws {RangeError} If a code does not fit into a bitmap, or a name is over 128 bytes.
   */
  constructor(options: InputDeviceOptions) {
    this.#options = options;
    for (const [type, codes] of Object.entries(options.codes)) {
      for (const code of codes) {
        if (!Number.isInteger(code) || code < 0 || code >= INPUT_CONFIG.u.size * 8) {
          const most = INPUT_CONFIG.u.size * 8 - 1;
          throw new RangeError(
            `Cannot offer code ${code} of type ${type}: expected 0 to ${most}`,
          );
        }
      }
    }
    for (const text of [options.name, options.serial ?? ""]) {
      if (new TextEncoder().encode(text).length > INPUT_CONFIG.u.size) {
        throw new RangeError(
          `Cannot name an input device or its serial "${text}": expected at most 128 bytes`,
        );
      }
    }
  }

  /** Events that were dropped because the driver gave no buffers for too long. */
  get lost(): number {
    return this.#lost;
  }

  /** Gives the driver an event; the packet ends with {@linkcode InputDevice.sync}. */
  send(type: number, code: number, value: number): this {
    this.#packet.push({ type, code, value });
    return this;
  }

  /** Ends the packet with SYN REPORT and delivers it. */
  sync(): void {
    this.#packet.push({ type: InputType.SYN, code: InputSyn.REPORT, value: 0 });
    const packet = this.#packet;
    this.#packet = [];
    if (this.#context === undefined || this.#waitingEvents + packet.length > BACKLOG) {
      this.#lost += packet.length;
      return;
    }
    this.#waiting.push(packet);
    this.#waitingEvents += packet.length;
    this.#deliver();
  }

  /** Presses and releases a key, each in its packet. */
  tap(code: number): void {
    this.send(InputType.KEY, code, 1).sync();
    this.send(InputType.KEY, code, 0).sync();
  }

  /** Reads the configuration: what is selected. */
  readConfig(offset: number, width: ConfigWidth): number {
    return readSpace(this.#config, offset, width);
  }

  /** Selects; anything but `select` and `subsel` is read-only. */
  writeConfig(offset: number, width: ConfigWidth, value: number): void {
    for (let i = 0; i < width && offset + i < INPUT_CONFIG.size.offset; i++) {
      this.#config.setUint8(offset + i, value >>> 8 * i & 0xff);
    }
    const select = this.#config.getUint8(INPUT_CONFIG.select.offset);
    const bytes = this.#answer(select, this.#config.getUint8(INPUT_CONFIG.subsel.offset));
    const { offset: at, size } = INPUT_CONFIG.u;
    for (let i = 0; i < size; i++) this.#config.setUint8(at + i, bytes[i] ?? 0);
    this.#config.setUint8(INPUT_CONFIG.size.offset, bytes.length);
  }

  /** Starts to deliver. */
  activate(context: DeviceContext): void {
    this.#context = context;
  }

  /** Delivers what waits, or takes what the driver sends. */
  notify(index: number): void {
    if (index === InputQueue.EVENT) this.#deliver();
    else this.#takeStatus();
  }

  /** Forgets what waits for the driver. */
  reset(): void {
    this.#context = undefined;
    this.#waiting = [];
    this.#waitingEvents = 0;
    new Uint8Array(this.#config.buffer).fill(0);
  }

  /** Events that wait, and those that the driver sent. */
  usage(): ModelUsage {
    const items = this.#waitingEvents + this.statuses.length;
    return { items, bytes: items * EVENT_COST };
  }

  /** Takes the selection and the events, for a snapshot. */
  snapshot(): unknown {
    return {
      config: [...new Uint8Array(this.#config.buffer)],
      waiting: this.#waiting,
      statuses: this.statuses,
      lost: this.#lost,
    };
  }

  /** Takes the state back. */
  restore(state: unknown): void {
    const { config, waiting, statuses, lost } = state as {
      config: number[];
      waiting: InputDeviceEvent[][];
      statuses: InputDeviceEvent[];
      lost: number;
    };
    new Uint8Array(this.#config.buffer).set(config);
    this.#waiting = waiting.map((packet) => [...packet]);
    this.#waitingEvents = waiting.reduce((sum, { length }) => sum + length, 0);
    this.statuses.splice(0, Infinity, ...statuses);
    this.#lost = lost;
  }

  /** Frees nothing. */
  [Symbol.dispose](): void {
    this.reset();
  }

  #answer(select: number, subsel: number): Uint8Array {
    const { name, serial = "", ids, properties = [], codes, axes = {} } = this.#options;
    switch (select) {
      case InputSelect.NAME:
        return new TextEncoder().encode(name);
      case InputSelect.SERIAL:
        return new TextEncoder().encode(serial);
      case InputSelect.DEVICE_IDS:
        return new Uint8Array(new Uint16Array(ids ?? []).buffer);
      case InputSelect.PROPERTIES:
        return bitmap(properties);
      case InputSelect.EVENTS:
        return bitmap(codes[subsel] ?? []);
      case InputSelect.ABS_INFO: {
        const axis = axes[subsel];
        if (axis === undefined) return new Uint8Array(0);
        const { min, max, fuzz = 0, flat = 0, resolution = 0 } = axis;
        return new Uint8Array(new Int32Array([min, max, fuzz, flat, resolution]).buffer);
      }
      default:
        return new Uint8Array(0);
    }
  }

  #deliver(): void {
    const queue = this.#context?.queue(InputQueue.EVENT);
    if (queue === undefined) return;
    let pushed = false;
    for (let packet = this.#waiting[0]; packet !== undefined; packet = this.#waiting[0]) {
      while (packet.length > 0) {
        const chain = queue.pop();
        if (chain === undefined) {
          if (pushed) queue.signal();
          return;
        }
        if (chain.writableLength < INPUT_EVENT.SIZE) {
          const reason = `event buffer of ${chain.writableLength} bytes, expected 8`;
          this.#context?.fault(reason, "drv.input.operation.2");
          return;
        }
        const { type, code, value } = packet.shift()!;
        this.#waitingEvents--;
        chain.writeU16(type);
        chain.writeU16(code);
        chain.writeU32(value >>> 0);
        queue.push(chain);
        pushed = true;
      }
      this.#waiting.shift();
    }
    if (pushed) queue.signal();
  }

  #takeStatus(): void {
    const queue = this.#context?.queue(InputQueue.STATUS);
    if (queue === undefined) return;
    const { work } = this.#context!;
    for (let chain = work.take(queue); chain !== undefined; chain = work.take(queue)) {
      if (chain.readableLength < INPUT_EVENT.SIZE) {
        const reason = `status event of ${chain.readableLength} bytes, expected 8`;
        this.#context?.fault(reason, "drv.input.operation.3");
        return;
      }
      const event = { type: chain.readU16(), code: chain.readU16(), value: chain.readU32() | 0 };
      if (this.statuses.length === BACKLOG) this.statuses.shift();
      this.statuses.push(event);
      this.#options.onStatus?.(event);
      queue.push(chain);
    }
    queue.signal();
  }
}

function bitmap(bits: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(bits.length === 0 ? 0 : (Math.max(...bits) >> 3) + 1);
  for (const bit of bits) bytes[bit >> 3]! |= 1 << (bit & 7);
  return bytes;
}
