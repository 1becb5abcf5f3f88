import {
  ANY_ID,
  DeviceId,
  FeatureSet,
  INPUT_ABS_INFO,
  INPUT_CONFIG,
  INPUT_DEVICE_IDS,
  INPUT_EVENT,
  InputSelect,
  InputSyn,
  InputType,
} from "@vireo/hal";
import type { VirtioDevice } from "../device.ts";
import type { VirtioDriver } from "../driver.ts";
import { requireModern } from "../modern_only.ts";
import { QueueDriver } from "../queue_driver.ts";
import type { ReceiveRing } from "../virtqueue/receive_ring.ts";
import type { RequestQueue } from "../virtqueue/request_queue.ts";
import { type WaitOptions, within } from "../wait/mod.ts";

/** Event buffers, as Linux has them. */
const BUFFERS = 64;
/** Milliseconds that a status event may take unless told otherwise. */
const STATUS_DEADLINE = 1000;

/** Events that a listener may be behind. */
const BACKLOG = 4096;
const DROPPED: InputEvent = { type: InputType.SYN, code: InputSyn.DROPPED, value: 0 };

/** One event, as evdev has it. */
export interface InputEvent {
  /** A value of `InputType`. */
  readonly type: number;
  /** Which key, axis or LED. */
  readonly code: number;
  /** 1 pressed, 0 released, 2 repeated; a movement, a position; signed. */
  readonly value: number;
}

/** Maker and model of a device, as in evdev's `EVIOCGID`. */
export interface InputIds {
  /** Bus type, for example 6 (virtual). */
  readonly bus: number;
  /** Vendor. */
  readonly vendor: number;
  /** Product. */
  readonly product: number;
  /** Version. */
  readonly version: number;
}

/** The range of an axis. */
export interface InputAxis {
  /** Smallest value. */
  readonly min: number;
  /** Largest value. */
  readonly max: number;
  /** Noise to filter. */
  readonly fuzz: number;
  /** Dead zone. */
  readonly flat: number;
  /** Units a millimetre, 0 if unknown. */
  readonly resolution: number;
}

/**
 * An input device: keyboard, mouse, tablet, touch screen (virtio 1.4 §5.8).
 *
 * @example
 * ```ts
 * import type { Input } from "@vireo/drivers/input";
 * import { InputType } from "@vireo/hal";
 *
 * // Waits for the next key and returns its code.
 * async function nextKey(input: Input): Promise<number> {
 *   for await (const { type, code, value } of input.events()) {
 *     if (type === InputType.KEY && value === 1) return code;
 *   }
 *   throw new Error("The device is gone");
 * }
 * ```
 */
export class Input extends QueueDriver {
  /** The device's name. */
  readonly name: string;
  /** The device's serial, empty if it has none. */
  readonly serial: string;
  /** Its maker and model; undefined if it does not report them. */
  readonly ids: InputIds | undefined;
  /** Property bits (evdev's INPUT_PROP). */
  readonly properties: ReadonlySet<number>;
  /** The codes of each event type that it has. */
  readonly codes: ReadonlyMap<number, ReadonlySet<number>>;
  /** The ranges of its axes, by ABS code. */
  readonly axes: ReadonlyMap<number, InputAxis>;
  readonly #events = this.broadcast<InputEvent>({
    what: "input event",
    limit: BACKLOG,
    missed: [DROPPED],
  });
  #ring!: ReceiveRing;
  #status!: RequestQueue;

  /** Reads what the device is and sets its queues up. */
  constructor(device: VirtioDevice) {
    super(device, "Input device");
    this.name = text(this.#select(InputSelect.NAME, 0));
    this.serial = text(this.#select(InputSelect.SERIAL, 0));
    this.ids = this.#readIds();
    this.properties = bits(this.#select(InputSelect.PROPERTIES, 0));
    const codes = new Map<number, ReadonlySet<number>>();
    for (const type of Object.values(InputType)) {
      const set = bits(this.#select(InputSelect.EVENTS, type));
      if (set.size > 0) codes.set(type, set);
    }
    this.codes = codes;
    const axes = [...codes.get(InputType.ABS) ?? []].map((code) =>
      [code, this.#readAxis(code)] as const
    );
    this.axes = new Map(axes.flatMap(([code, axis]) => axis === undefined ? [] : [[code, axis]]));
    this.setUp();
  }

  /**
   * All events from now on, SYN included; as many listeners as one likes, each gets all. One that is
   * more than 4096 events behind finds SYN DROPPED instead of those it missed, as evdev has it.
   *
   * @param options Ends the iteration with the signal's reason; the deadline holds for each event.
   * @throws {VireoError} `TIMEOUT` While iterating, or why the device failed.
   */
  events(options: WaitOptions = {}): AsyncIterableIterator<InputEvent> & Disposable {
    return this.#events.listen(options);
  }

  /**
   * Sends an event to the device: an LED, a sound, the repeat rate (virtio 1.4 §5.8.6.2).
   *
   * @param type `InputType.LED`, `SND` or `REP`.
   * @throws {RangeError} If the device has no such code; {VireoError} If it does not take it in time.
   */
  async send(type: number, code: number, value: number, options: WaitOptions = {}): Promise<void> {
    if (!this.codes.get(type)?.has(code)) {
      throw new RangeError(`Cannot send event ${type}, ${code}: ${this.name} must have it`);
    }
    const event = new Uint8Array(INPUT_EVENT.SIZE);
    const view = new DataView(event.buffer);
    view.setUint16(INPUT_EVENT.type.offset, type, true);
    view.setUint16(INPUT_EVENT.code.offset, code, true);
    view.setInt32(INPUT_EVENT.value.offset, value, true);
    await this.ask(this.#status, [event], 0, within(options, STATUS_DEADLINE));
  }

  /** Opens the event and status queues. */
  protected override setUp(): void {
    [this.#ring, this.#status] = this.openQueues(
      { name: "events", bytes: INPUT_EVENT.SIZE, count: BUFFERS, received: () => this.#drain() },
      { name: "status" },
    );
  }

  #drain(): void {
    this.#ring.drain((bytes) => {
      if (bytes.length < INPUT_EVENT.SIZE) return;
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      this.#events.push({
        type: view.getUint16(INPUT_EVENT.type.offset, true),
        code: view.getUint16(INPUT_EVENT.code.offset, true),
        value: view.getInt32(INPUT_EVENT.value.offset, true),
      });
    });
  }

  /** Reads the device's answer to a selection; empty if it has none. */
  #select(select: number, subsel: number): Uint8Array {
    const { config } = this.device;
    config.write8(INPUT_CONFIG.select.offset, select);
    config.write8(INPUT_CONFIG.subsel.offset, subsel);
    return config.stable(() => {
      // The size is the device's word.
      const size = Math.min(config.read8(INPUT_CONFIG.size.offset), INPUT_CONFIG.u.size);
      const bytes = new Uint8Array(size);
      for (let i = 0; i < size; i++) bytes[i] = config.read8(INPUT_CONFIG.u.offset + i);
      return bytes;
    });
  }

  #readIds(): InputIds | undefined {
    const bytes = this.#select(InputSelect.DEVICE_IDS, 0);
    if (bytes.length < INPUT_DEVICE_IDS.SIZE) return undefined;
    const word = ({ offset }: { offset: number }): number =>
      bytes[offset]! | bytes[offset + 1]! << 8;
    const { bustype: bus, vendor, product, version } = INPUT_DEVICE_IDS;
    return {
      bus: word(bus),
      vendor: word(vendor),
      product: word(product),
      version: word(version),
    };
  }

  #readAxis(code: number): InputAxis | undefined {
    const bytes = this.#select(InputSelect.ABS_INFO, code);
    if (bytes.length < INPUT_ABS_INFO.SIZE) return undefined;
    const view = new DataView(bytes.buffer);
    const word = ({ offset }: { offset: number }): number => view.getInt32(offset, true);
    const { min, max, fuzz, flat, res: resolution } = INPUT_ABS_INFO;
    return {
      min: word(min),
      max: word(max),
      fuzz: word(fuzz),
      flat: word(flat),
      resolution: word(resolution),
    };
  }
}

function text(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end));
}

function bits(bytes: Uint8Array): ReadonlySet<number> {
  const set = new Set<number>();
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    if ((bytes[bit >> 3]! & 1 << (bit & 7)) !== 0) set.add(bit);
  }
  return set;
}

/** Drives input devices; what `probe` gives is an {@linkcode Input}. */
export const inputDriver: VirtioDriver<Input> = {
  name: "virtio_input",
  ids: [{ device: DeviceId.INPUT, vendor: ANY_ID }],
  features: FeatureSet.NONE,
  validate(device, features) {
    // Linux asks for it too: the selection is written before the queues are there.
    requireModern(device, "Input devices");
    return features;
  },
  probe: (device) => new Input(device),
};
