import {
  ANY_ID,
  CAIF_CONFIG,
  CAIF_DEFAULT,
  CAIF_REGION,
  DeviceId,
  type DmaRegion,
  Feature,
  FeatureSet,
  type MemoryWindow,
  VireoError,
} from "@vireo/hal";
import type { DeviceConfig } from "../config.ts";
import type { VirtioDevice } from "../device.ts";
import type { VirtioDriver } from "../driver.ts";
import { requireModern } from "../modern_only.ts";
import { QueueDriver } from "../queue_driver.ts";
import type { HostRing } from "../virtqueue/host_ring.ts";
import type { RequestQueue } from "../virtqueue/request_queue.ts";
import { MessageStream, type WaitOptions, within } from "../wait/mod.ts";

/** Frames that may wait for a receiver; beyond them the driver keeps the modem's buffers. */
const WAITING = 64;
/** Milliseconds that a frame waits for room. */
const SEND_DEADLINE = 15_000;
/** Features that a ring with its sides reversed does not have. */
const NOT_REVERSED = [
  Feature.INDIRECT_DESC,
  Feature.RING_PACKED,
  Feature.IN_ORDER,
  Feature.NOTIFICATION_DATA,
] as const;

/** Sizes of the frames of one direction, in bytes. */
export interface CaifDirection {
  /** Free bytes before the frame. */
  readonly headroom: number;
  /** Free bytes behind it. */
  readonly tailroom: number;
  /** Most bytes of a buffer: a frame with what is before and behind it. */
  readonly mtu: number;
  /** Most bytes of a frame. */
  readonly maxFrame: number;
}

/**
 * Reads what a direction says of itself. Linux knows the first only, and takes it for both: where the
 * second says nothing, that is right; where a device has no configuration, its defaults are.
 */
function readDirection(
  config: DeviceConfig,
  at: number,
  otherwise: Omit<CaifDirection, "maxFrame">,
): Omit<CaifDirection, "maxFrame"> {
  let headroom: number;
  try {
    headroom = config.read16(at);
  } catch (error) {
    if (error instanceof VireoError && error.code === "CONFIG_ACCESS") return otherwise;
    throw error;
  }
  return { headroom, tailroom: config.read16(at + 2), mtu: config.read32(at + 4) };
}

/**
 * Frames to and from a modem (Linux `drivers/net/caif/caif_virtio.c`). What is sent goes by a queue as usual;
 * what comes lies in the modem's buffers, in its shared memory, on a ring whose device side is ours.
 *
 * Linux takes the uplink's fields for both directions; here each has its own, as their names say, and the
 * uplink's stand for a downlink that says nothing.
 *
 * @example
 * ```ts
 * import type { Caif } from "@vireo/drivers/caif";
 *
 * // Sends a frame and returns the modem's answer.
 * async function ask(caif: Caif, frame: Uint8Array): Promise<Uint8Array> {
 *   await caif.send(frame, { deadline: 1000 });
 *   return await caif.receive({ deadline: 1000 });
 * }
 * ```
 */
export class Caif extends QueueDriver {
  /** Sizes of frames to the modem. */
  readonly uplink: CaifDirection;
  /** Sizes of frames from the modem. */
  readonly downlink: CaifDirection;
  readonly #region: number;
  readonly #window: MemoryWindow;
  #requests!: RequestQueue;
  #ring!: HostRing;
  #frames!: MessageStream<Uint8Array>;
  /** One for each frame that may have memory. */
  #room!: MessageStream<true>;
  #closed = false;

  /** Reads the configuration and sets the queues up; the link is up then. */
  constructor(device: VirtioDevice) {
    super(device, "CAIF device");
    const { uplink_headroom: uplinkHeadroom, downlink_headroom: downlinkHeadroom } = CAIF_CONFIG;
    const uplink = readDirection(device.config, uplinkHeadroom.offset, CAIF_DEFAULT);
    const downlink = readDirection(device.config, downlinkHeadroom.offset, uplink);
    this.uplink = this.#checked(uplink);
    this.downlink = downlink.mtu === 0 ? this.uplink : this.#checked(downlink);
    requireModern(device, "CAIF devices");
    const region = device.sharedMemory(CAIF_REGION);
    const window = device.openSharedMemory(CAIF_REGION);
    if (region === undefined || window === undefined) {
      throw this.error("UNSUPPORTED", "CAIF device shares no memory, so its buffers are nowhere");
    }
    this.#region = region.address;
    this.#window = window;
    try {
      this.setUp();
    } catch (error) {
      window[Symbol.dispose]();
      throw error;
    }
  }

  /** Whether the link is up: open, and nothing failed (Linux: the carrier). */
  get up(): boolean {
    return !this.#closed && this.failure === undefined;
  }

  /** Frames that came and were not received yet. */
  get waiting(): number {
    return this.#frames.waiting;
  }

  /**
   * Sends a frame; resolves when the modem has taken it. As many as the ring has places are with it, the
   * others wait in their order, and are copied when it is their turn: until then they must stay unchanged.
   *
   * @param options 15 s by default, the wait for room included.
   * @throws {RangeError} If it is longer than the uplink takes, or empty; {VireoError} `TIMEOUT`,
   * `PORT_CLOSED` If the link is closed, or why the device failed; the signal's reason.
   */
  async send(frame: Uint8Array, options: WaitOptions = {}): Promise<void> {
    const { headroom, tailroom, maxFrame } = this.uplink;
    const size = frame.length;
    if (size === 0 || size > maxFrame) {
      throw new RangeError(`Cannot send a frame of ${size} bytes: expected 1 to ${maxFrame}`);
    }
    this.#checkUp();
    const call = within(options, SEND_DEADLINE);
    const requests = await this.#takeRoom(call);
    const length = headroom + size + tailroom;
    let region: DmaRegion;
    try {
      this.#checkUp();
      region = this.device.dma.alloc(length);
    } catch (error) {
      this.#giveRoom(requests);
      throw error;
    }
    region.bytes.set(frame, headroom);
    region.copied?.(frame.length);
    await this.lend(requests, [{ region, direction: "to-device" }], {
      ...call,
      onReturned: () => {
        region[Symbol.dispose]();
        this.#giveRoom(requests);
      },
    });
  }

  /** Waits for room for a frame; returns the queue that has it. */
  async #takeRoom(call: WaitOptions): Promise<RequestQueue> {
    for (;;) {
      const requests = this.#requests;
      await this.#room.take(call);
      // The device was reset right after it gave the room, which went with the previous queue.
      if (requests === this.#requests) return requests;
    }
  }

  /** Gives room back, unless the device was reset since: the new queue has all of its own. */
  #giveRoom(requests: RequestQueue): void {
    if (requests === this.#requests) this.#room.push(true);
  }

  /**
   * The next frame of the modem. Of a link that is closed nothing new comes until it is open.
   *
   * @throws {VireoError} `TIMEOUT`, or why the device failed; the signal's reason.
   */
  receive(options: WaitOptions = {}): Promise<Uint8Array> {
    return this.#frames.take(options);
  }

  /**
   * The frames of the modem, until the device fails or the signal aborts; each waits as
   * {@linkcode Caif.receive} does.
   */
  async *frames(options: WaitOptions = {}): AsyncIterableIterator<Uint8Array> {
    for (;;) yield await this.#frames.take(options);
  }

  /**
   * Takes the link up again (Linux's `ndo_open`): frames that the modem offered meanwhile come first.
   *
   * @throws Why the device failed; `Bus.recover` brings such a link up.
   */
  open(): void {
    if (this.failure !== undefined) throw this.failure;
    this.#closed = false;
    this.#drain();
  }

  /**
   * Takes the link down (Linux's `ndo_stop`): sends that wait for room fail with `PORT_CLOSED`, those that
   * the modem has go on, and its buffers stay on the ring.
   */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    const room = this.#room;
    this.#room = this.#makeRoom(room.waiting);
    room.fail(this.error("PORT_CLOSED", "CAIF link is closed"));
  }

  /** Takes what the modem offered from the start. */
  override scan(): void {
    this.#drain();
  }

  /** Ends what waits, resets the device and frees its memory. */
  override async remove(): Promise<void> {
    await super.remove();
    this.#window[Symbol.dispose]();
  }

  /** Opens the queue to the modem and the ring from it. */
  protected override setUp(): void {
    [this.#requests, this.#ring] = this.openQueues(
      { name: "output" },
      { name: "input", reversed: true, received: () => this.#drain() },
    );
    this.#room = this.#makeRoom(this.device.queues[0]!.size);
    this.#frames = new MessageStream({
      device: this.device.name,
      what: "frame",
      limit: Infinity,
      onTake: () => this.#drain(),
    });
  }

  /** Ends what waits for room or for a frame. */
  protected override ended(error: Error): void {
    this.#room.fail(error);
    this.#frames.fail(error);
  }

  #makeRoom(frames: number): MessageStream<true> {
    const room = new MessageStream<true>({
      device: this.device.name,
      what: "room for a frame",
      limit: Infinity,
    });
    for (let i = 0; i < frames; i++) room.push(true);
    return room;
  }

  /** Whether frames are wanted now. */
  #hungry(): boolean {
    return this.up && this.#frames.waiting < WAITING;
  }

  /** Takes frames as long as there is room for them; else the modem's buffers stay on the ring. */
  #drain(): void {
    const ring = this.#ring;
    do {
      while (this.#hungry()) {
        const head = ring.pop();
        if (head < 0) break;
        if (!this.#take(ring)) break;
        ring.giveBack(head);
      }
      ring.kick();
    } while (this.#hungry() && !ring.enableCallbacks());
    if (!this.#hungry()) ring.disableCallbacks();
    // Outside of an interrupt nobody else looks.
    if (ring.broken !== undefined && this.failure === undefined) this.device.break(ring.broken);
  }

  /** Takes the frame of each element; false if the modem lies. */
  #take(ring: HostRing): boolean {
    const { headroom, tailroom, mtu } = this.downlink;
    const least = headroom + tailroom + 1;
    for (const { address, length } of ring.elements) {
      const at = address - this.#region;
      if (at < 0 || at + length > this.#window.bytes.length) {
        return this.#lie(ring, address, "an address in the shared memory", 16);
      }
      if (length < least || length > mtu) {
        return this.#lie(ring, length, `a buffer of ${least} to ${mtu} bytes`);
      }
      this.#frames.push(this.#window.bytes.slice(at + headroom, at + length - tailroom));
    }
    return true;
  }

  #lie(ring: HostRing, seen: number, expected: string, base?: 16): false {
    const what = "The modem's buffer cannot be a frame";
    ring.break(this.error("CHAIN_SHAPE", what, { queue: ring.index, seen, expected, base }));
    return false;
  }

  #checked(direction: Omit<CaifDirection, "maxFrame">): CaifDirection {
    const { headroom, tailroom, mtu } = direction;
    const maxFrame = mtu - headroom - tailroom;
    if (maxFrame >= 1) return { headroom, tailroom, mtu, maxFrame };
    throw this.error("CONFIG_INVALID", "CAIF device has no room for frames", {
      seen: mtu,
      expected: `an MTU over ${headroom + tailroom}`,
    });
  }

  #checkUp(): void {
    if (this.failure !== undefined) throw this.failure;
    if (this.#closed) throw this.error("PORT_CLOSED", "CAIF link is closed");
  }
}

/** Drives CAIF devices; what `probe` gives is a {@linkcode Caif}. */
export const caifDriver: VirtioDriver<Caif> = {
  name: "caif_virtio",
  ids: [{ device: DeviceId.CAIF, vendor: ANY_ID }],
  features: FeatureSet.NONE,
  validate: (_, features) => features.minus(FeatureSet.of(...NOT_REVERSED)),
  probe: (device) => new Caif(device),
};
