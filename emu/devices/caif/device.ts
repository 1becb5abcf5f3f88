import {
  CAIF_CONFIG,
  CAIF_DEFAULT,
  CAIF_REGION,
  CaifQueue,
  DeviceId,
  type FeatureNames,
  FeatureSet,
} from "@vireo/hal";
import type {
  Chain,
  ConfigWidth,
  DeviceContext,
  DeviceModel,
  QueueSpec,
  SharedMemorySpec,
} from "../../device.ts";
import { ReversedQueue } from "../../ring/reversed.ts";

/** Options of {@linkcode CaifDevice}. */
export interface CaifDeviceOptions {
  /** Free bytes before each frame, in both directions; 32 by default, as in Linux. */
  readonly headroom?: number;
  /** Free bytes behind it; 32 by default. */
  readonly tailroom?: number;
  /** Most bytes of a buffer, a frame with both; 4096 by default. */
  readonly mtu?: number;
  /** Buffers for frames to the driver; 16 by default. */
  readonly buffers?: number;
  /** Told of each frame of the driver's; false keeps it in the ring until `resume` or the next look. */
  readonly onFrame: (frame: Uint8Array, modem: CaifDevice) => boolean | void;
  /** Told when there is room for frames to the driver, which there was not before. */
  readonly onRoom?: (modem: CaifDevice) => void;
}

/**
 * The modem's end of a CAIF link (Linux `caif_virtio.c`): frames by a queue, and by one with its sides reversed.
 *
 * @example
 * ```ts
 * import { Bus } from "@vireo/drivers/bus";
 * import { caifDriver } from "@vireo/drivers/caif";
 * import { CaifDevice } from "@vireo/emu/caif";
 * import { EmulatedMachine } from "@vireo/emu/core";
 * import { assertEquals } from "@std/assert";
 *
 * const modem = new CaifDevice({ onFrame: () => {} });
 * await using machine = EmulatedMachine.create({ devices: [modem] });
 * await using bus = new Bus();
 * await bus.registerDriver(caifDriver);
 * await bus.addPlatform(machine);
 * // The modem has a frame for the driver.
 * assertEquals(modem.send(Uint8Array.of(1, 2)), true);
 * assertEquals([...await bus.get(caifDriver)!.receive({ deadline: 1000 })], [1, 2]);
 * ```
 */
export class CaifDevice implements DeviceModel {
  /** Name for reports. */
  readonly name = "caif";
  /** Virtio device id 12. */
  readonly deviceId: number = DeviceId.CAIF;
  /** It has no features. */
  readonly features: FeatureSet = FeatureSet.NONE;
  /** It has no features. */
  readonly featureNames: FeatureNames = {};
  /** From the driver, and to it. */
  readonly queues: readonly QueueSpec[] = [
    { name: "output", maxSize: 64 },
    { name: "input", maxSize: 64, reversed: true },
  ];
  /** Bytes of configuration. */
  readonly configSize: number = CAIF_CONFIG.SIZE;
  /** The buffers of frames to the driver. */
  readonly sharedMemory: readonly SharedMemorySpec[];
  readonly #options: CaifDeviceOptions;
  readonly #config = new Uint8Array(CAIF_CONFIG.SIZE);
  readonly #headroom: number;
  readonly #tailroom: number;
  readonly #mtu: number;
  /** Most bytes of a frame. */
  readonly maxFrame: number;
  readonly #bufferSize: number;
  readonly #memory: Uint8Array;
  /** Buffers that are the device's, and by ring slot which one it is in. */
  #free: number[] = [];
  readonly #inSlot = new Map<number, number>();
  #context: DeviceContext | undefined;
  /** A frame that nobody took yet. */
  #held: { readonly chain: Chain; readonly frame: Uint8Array } | undefined;

  #serving = false;

  /**
   * Makes the modem.
   *
   * @throws {RangeError} If the MTU has no room for a frame.
   */
  constructor(options: CaifDeviceOptions) {
    this.#options = options;
    const { headroom, tailroom, mtu } = { ...CAIF_DEFAULT, ...options };
    [this.#headroom, this.#tailroom, this.#mtu] = [headroom, tailroom, mtu];
    this.maxFrame = mtu - headroom - tailroom;
    if (!(this.maxFrame >= 1)) {
      throw new RangeError(
        `Cannot have frames in an MTU of ${mtu} bytes: head and tail take ${headroom + tailroom}`,
      );
    }
    const view = new DataView(this.#config.buffer);
    const { uplink_headroom: uplinkHeadroom, downlink_headroom: downlinkHeadroom } = CAIF_CONFIG;
    for (const { offset } of [uplinkHeadroom, downlinkHeadroom]) {
      view.setUint16(offset, headroom, true);
      view.setUint16(offset + 2, tailroom, true);
      view.setUint32(offset + 4, mtu, true);
    }
    this.#bufferSize = (mtu + 15) & ~15;
    this.#memory = new Uint8Array(this.#bufferSize * (options.buffers ?? 16));
    this.sharedMemory = [{ id: CAIF_REGION, bytes: this.#memory }];
    this.#reclaim();
  }

  /** Frames to the driver that there is room for now. */
  get room(): number {
    return Math.min(this.#ring()?.freeSlots ?? 0, this.#free.length);
  }

  /**
   * Sends the driver a frame.
   *
   * @returns False if no buffer is free now.
   * @throws {RangeError} If it is longer than `maxFrame`, or empty.
   */
  send(frame: Uint8Array): boolean {
    const { length } = frame;
    if (length === 0 || length > this.maxFrame) {
      throw new RangeError(
        `Cannot send a frame of ${length} bytes: expected 1 to ${this.maxFrame}`,
      );
    }
    const at = this.#headroom;
    return this.offer(at + length + this.#tailroom, (bytes) => bytes.set(frame, at));
  }

  /** Offers the driver a buffer of any length, filled by `fill`; false if none is free. */
  offer(length: number, fill: (bytes: Uint8Array) => void): boolean {
    const ring = this.#ring();
    const buffer = ring === undefined ? undefined : this.#free.pop();
    if (ring === undefined || buffer === undefined) return false;
    const at = buffer * this.#bufferSize;
    fill(this.#memory.subarray(at, at + this.#bufferSize));
    const slot = ring.offer(this.#base() + at, length);
    if (slot === undefined) {
      this.#free.push(buffer);
      return false;
    }
    this.#inSlot.set(slot, buffer);
    ring.signal();
    return true;
  }

  /** Tells of the frame again that `onFrame` did not take, and of those behind it. */
  resume(): void {
    this.#serve();
  }

  /** Reads the configuration. */
  readConfig(offset: number, width: ConfigWidth): number {
    let value = 0;
    for (let i = 0; i < width; i++) value += this.#config[offset + i]! * 2 ** (8 * i);
    return value;
  }

  /** The driver has the device running. */
  activate(context: DeviceContext): void {
    this.#context = context;
    if (this.room > 0) this.#options.onRoom?.(this);
  }

  /** Takes buffers back, and frames. */
  notify(_index: number): void {
    this.#takeBack();
    this.#serve();
  }

  /** The driver gave one queue up: what was in it is the device's, or nobody's, again. */
  resetQueue(index: number): void {
    if (index === CaifQueue.RECEIVE) this.#reclaim();
    else this.#held = undefined;
  }

  /** Forgets the driver: all buffers are the device's again. */
  reset(): void {
    this.#context = undefined;
    this.#held = undefined;
    this.#reclaim();
  }

  /** The buffers that the driver has, with their bytes; a frame that is held is in its ring. */
  snapshot(): unknown {
    return [...this.#inSlot].map(([slot, buffer]) => {
      const at = buffer * this.#bufferSize;
      return { slot, buffer, bytes: this.#memory.slice(at, at + this.#bufferSize) };
    });
  }

  /**
   * Takes the buffers back.
   *
   * @throws {RangeError} If the other modem had more buffers, or some of another size.
   */
  restore(state: unknown): void {
    const offered = state as { slot: number; buffer: number; bytes: Uint8Array }[];
    this.#reclaim();
    const count = this.#free.length;
    for (const { slot, buffer, bytes } of offered) {
      if (buffer >= count || bytes.length !== this.#bufferSize) {
        throw new RangeError(
          `Cannot restore buffer ${buffer} of ${bytes.length} bytes: the modem must have it, ` +
            `and has ${count} of ${this.#bufferSize}`,
        );
      }
      this.#memory.set(bytes, buffer * this.#bufferSize);
      this.#inSlot.set(slot, buffer);
    }
    const taken = new Set(this.#inSlot.values());
    this.#free = this.#free.filter((buffer) => !taken.has(buffer));
    // The queues run when the whole device is restored.
    const context = this.#context;
    queueMicrotask(() => {
      if (this.#context === context && this.room > 0) this.#options.onRoom?.(this);
    });
  }

  /** Frees nothing. */
  [Symbol.dispose](): void {
    this.reset();
  }

  #ring(): ReversedQueue | undefined {
    const queue = this.#context?.queue(CaifQueue.RECEIVE);
    return queue instanceof ReversedQueue ? queue : undefined;
  }

  /** Where the machine mapped the buffers. */
  #base(): number {
    return this.#context!.sharedAddress(CAIF_REGION)!;
  }

  #reclaim(): void {
    this.#inSlot.clear();
    const count = this.#memory.length / this.#bufferSize;
    this.#free = Array.from({ length: count }, (_, i) => count - 1 - i);
  }

  #takeBack(): void {
    const ring = this.#ring();
    const full = this.room === 0;
    for (let slot = ring?.take(); slot !== undefined; slot = ring?.take()) {
      this.#free.push(this.#inSlot.get(slot)!);
      this.#inSlot.delete(slot);
    }
    if (full && this.room > 0) this.#options.onRoom?.(this);
  }

  /** Takes frames as long as the listener takes them. */
  #serve(): void {
    // The listener may have room again at once, and say so.
    if (this.#serving) return;
    this.#serving = true;
    try {
      this.#takeFrames();
    } finally {
      this.#serving = false;
    }
  }

  #takeFrames(): void {
    const queue = this.#context?.queue(CaifQueue.TRANSMIT);
    if (queue === undefined) return;
    for (;;) {
      const held = this.#held;
      const chain = held?.chain ?? this.#context!.work.take(queue);
      if (chain === undefined) break;
      const frame = held?.frame ?? this.#read(chain);
      if (frame === undefined) return;
      this.#held = { chain, frame };
      if (this.#options.onFrame(frame, this) === false) break;
      this.#held = undefined;
      queue.push(chain, 0);
    }
    queue.signal();
  }

  /** The frame of a chain; undefined, and a fault, if it is none. */
  #read(chain: Chain): Uint8Array | undefined {
    const length = chain.readableLength - this.#headroom - this.#tailroom;
    if (length < 1 || length > this.maxFrame) {
      const least = this.#headroom + this.#tailroom + 1;
      this.#context!.fault(
        `a buffer of ${chain.readableLength} bytes, not of ${least} to ${this.#mtu}`,
      );
      return undefined;
    }
    chain.skip(this.#headroom);
    const frame = new Uint8Array(length);
    chain.read(frame);
    return frame;
  }
}

/**
 * Two modems that pass on each other's frames: a cable between two machines. A frame waits in the one's
 * ring until the other has room for it.
 *
 * @example
 * ```ts
 * import { Bus } from "@vireo/drivers/bus";
 * import { caifDriver } from "@vireo/drivers/caif";
 * import { caifCable } from "@vireo/emu/caif";
 * import { EmulatedMachine } from "@vireo/emu/core";
 * import { assertEquals } from "@std/assert";
 *
 * await using machine = EmulatedMachine.create({ devices: [...caifCable()] });
 * await using bus = new Bus();
 * await bus.registerDriver(caifDriver);
 * await bus.addPlatform(machine);
 * const [left, right] = bus.all(caifDriver);
 * await left!.send(Uint8Array.of(7));
 * assertEquals([...await right!.receive({ deadline: 1000 })], [7]);
 * ```
 */
export function caifCable(
  options: Omit<CaifDeviceOptions, "onFrame" | "onRoom"> = {},
): readonly [CaifDevice, CaifDevice] {
  const end = (other: () => CaifDevice): CaifDevice =>
    new CaifDevice({
      ...options,
      onFrame: (frame) => other().send(frame),
      onRoom: () => other().resume(),
    });
  const left: CaifDevice = end(() => right);
  const right: CaifDevice = end(() => left);
  return [left, right];
}
