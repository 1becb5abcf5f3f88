import {
  ANY_ID,
  CAIF_CONFIG,
  CAIF_REGION,
  DeviceId,
  Feature,
  FeatureSet,
  type MemoryWindow,
  VireoError,
} from "@vireo/hal";
import type { VirtioDevice } from "../device.ts";
import type { DriverInstance, VirtioDriver } from "../driver.ts";
import { MessageStream } from "../message_stream.ts";
import type { WaitOptions } from "../transport/transport.ts";
import type { HostRing } from "../virtqueue/host_ring.ts";
import { RequestQueue } from "../virtqueue/request_queue.ts";
import { SgList } from "../virtqueue/virtqueue.ts";

/** Frames that may wait for who receives them; then the modem's buffers stay with it. */
const WAITING = 64;
/** Milliseconds that a frame waits for room. */
const SEND_DEADLINE = 15_000;
/** What a ring with its sides reversed does not have. */
const NOT_REVERSED = [
  Feature.INDIRECT_DESC,
  Feature.RING_PACKED,
  Feature.IN_ORDER,
  Feature.NOTIFICATION_DATA,
] as const;

/** What one direction asks of its frames, in bytes. */
export interface CaifDirection {
  /** Free bytes before the frame. */
  readonly headroom: number;
  /** Free bytes behind it. */
  readonly tailroom: number;
  /** Most bytes of a frame. */
  readonly mtu: number;
}

/**
 * Frames to and from a modem (Linux `drivers/net/caif/caif_virtio.c`). What is sent goes by a queue as usual;
 * what comes lies in the modem's buffers, in its shared memory, on a ring whose device side is ours.
 *
 * Linux takes the uplink's fields for both directions; here each has its own, as their names say.
 */
export class Caif implements DriverInstance {
  /** What frames to the modem are like. */
  readonly uplink: CaifDirection;
  /** What frames from the modem are like. */
  readonly downlink: CaifDirection;
  readonly #device: VirtioDevice;
  readonly #region: number;
  readonly #window: MemoryWindow;
  #requests!: RequestQueue;
  #ring!: HostRing;
  #frames!: MessageStream<Uint8Array>;
  #failure: Error | undefined;

  /** Reads the configuration and sets the queues up. */
  constructor(device: VirtioDevice) {
    this.#device = device;
    const { config } = device;
    const read = (at: { readonly headroom: number; readonly mtu: number }): CaifDirection => ({
      headroom: config.read16(at.headroom),
      tailroom: config.read16(at.headroom + 2),
      mtu: config.read32(at.mtu),
    });
    const { uplinkHeadroom, uplinkMtu, downlinkHeadroom, downlinkMtu } = CAIF_CONFIG;
    this.uplink = read({ headroom: uplinkHeadroom.offset, mtu: uplinkMtu.offset });
    this.downlink = read({ headroom: downlinkHeadroom.offset, mtu: downlinkMtu.offset });
    for (const { mtu } of [this.uplink, this.downlink]) {
      if (mtu === 0) throw this.#error("CONFIG_INVALID", "CAIF device has no room for frames");
    }
    const region = device.sharedMemory(CAIF_REGION);
    const window = device.openSharedMemory(CAIF_REGION);
    if (region === undefined || window === undefined) {
      throw this.#error("UNSUPPORTED", "CAIF device shares no memory, so its buffers are nowhere");
    }
    this.#region = region.address;
    this.#window = window;
    this.#setUp();
  }

  /** Frames that came and were not received yet. */
  get waiting(): number {
    return this.#frames.waiting;
  }

  /**
   * Sends a frame; resolves when the modem has taken it.
   *
   * @throws {RangeError} If it is longer than the uplink's MTU, or empty; {VireoError} `TIMEOUT`, or why
   * the device failed; the signal's reason.
   */
  async send(frame: Uint8Array, options: WaitOptions = {}): Promise<void> {
    const { headroom, tailroom, mtu } = this.uplink;
    if (frame.length === 0 || frame.length > mtu) {
      throw new RangeError(`Cannot send a frame of ${frame.length} bytes: it has 1 to ${mtu}`);
    }
    if (this.#failure !== undefined) throw this.#failure;
    const length = headroom + frame.length + tailroom;
    const region = this.#device.dma.alloc(length);
    region.bytes.set(frame, headroom);
    const onReturned = (): void => {
      region.unshare(0, length, "to-device");
      region[Symbol.dispose]();
    };
    const chain = new SgList(1).addReadable(region.share(0, length, "to-device"), length);
    await this.#requests.submit(chain, { deadline: SEND_DEADLINE, ...options, onReturned });
  }

  /**
   * The next frame of the modem.
   *
   * @throws {VireoError} `TIMEOUT`, or why the device failed; the signal's reason.
   */
  receive(options: WaitOptions = {}): Promise<Uint8Array> {
    return this.#frames.take(options);
  }

  /** Takes what the modem offered from the start. */
  scan(): void {
    this.#drain();
  }

  /** Ends what waits. */
  failed(error: Error): void {
    this.#failure ??= error;
    this.#requests.failAll(error);
    this.#frames.fail(error);
  }

  /** Ends what waits for a suspend. */
  freeze(): void {
    this.failed(this.#error("DEVICE_STATE", "CAIF device was suspended"));
  }

  /** Starts anew after a reset. */
  restore(): void {
    this.#setUp();
    this.#failure = undefined;
    this.#device.ready();
    this.#drain();
  }

  /** Ends what waits, resets the device and frees its memory. */
  async remove(): Promise<void> {
    this.failed(this.#error("DEVICE_REMOVED", "CAIF device was removed"));
    await this.#device.reset();
    this.#requests.detachAll();
    this.#device.deleteQueues();
    this.#window[Symbol.dispose]();
  }

  #setUp(): void {
    const [output, input] = this.#device.findQueues([
      { name: "output", callback: () => this.#requests.drain() },
      { name: "input", callback: () => this.#drain(), reversed: true },
    ]);
    this.#requests?.detachAll();
    this.#requests = new RequestQueue(output!);
    this.#ring = input as HostRing;
    this.#frames = new MessageStream({
      device: this.#device.name,
      what: "frame",
      limit: Infinity,
      onTake: () => this.#drain(),
    });
  }

  /** Takes frames as long as there is room for them; else the modem's buffers stay with it. */
  #drain(): void {
    const ring = this.#ring;
    do {
      while (this.#failure === undefined && this.#frames.waiting < WAITING) {
        const head = ring.pop();
        if (head < 0) break;
        if (!this.#take(ring)) break;
        ring.giveBack(head);
      }
      ring.kick();
    } while (
      this.#failure === undefined && this.#frames.waiting < WAITING && !ring.enableCallbacks()
    );
    // Outside of an interrupt nobody else looks.
    if (ring.broken !== undefined && this.#failure === undefined) this.#device.break(ring.broken);
  }

  /** Takes the frame of each element; false if the modem lies. */
  #take(ring: HostRing): boolean {
    const { headroom, tailroom, mtu } = this.downlink;
    for (const { address, length } of ring.elements) {
      const at = address - this.#region;
      const frame = length - headroom - tailroom;
      if (at < 0 || at + length > this.#window.bytes.length) {
        return this.#lie(ring, address, "an address in the shared memory");
      }
      if (frame < 1 || frame > mtu) {
        const [least, most] = [1 + headroom + tailroom, mtu + headroom + tailroom];
        return this.#lie(ring, length, `a buffer of ${least} to ${most} bytes`);
      }
      this.#frames.push(this.#window.bytes.slice(at + headroom, at + headroom + frame));
    }
    return true;
  }

  #lie(ring: HostRing, seen: number, expected: string): false {
    ring.break(
      new VireoError("CHAIN_SHAPE", "The modem's buffer cannot be a frame", {
        device: this.#device.name,
        queue: ring.index,
        seen,
        expected,
      }),
    );
    return false;
  }

  #error(
    code: "CONFIG_INVALID" | "UNSUPPORTED" | "DEVICE_STATE" | "DEVICE_REMOVED",
    what: string,
  ): VireoError {
    return new VireoError(code, what, { device: this.#device.name });
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
