import {
  ANY_ID,
  DeviceId,
  type DmaRegion,
  FeatureSet,
  GPU_BLOB_GUEST,
  GPU_CONFIG,
  GPU_CURSOR_SIZE,
  GPU_DISPLAY_SIZE,
  GPU_EDID_SIZE,
  GPU_EVENT_DISPLAY,
  GPU_FLAG_FENCE,
  GPU_HDR,
  GPU_MAX_SCANOUTS,
  GpuCommand,
  GpuFeature,
  GpuFormat,
  GpuResponse,
  VireoError,
  type VireoErrorCode,
} from "@vireo/hal";
import type { VirtioDevice } from "../device.ts";
import type { DriverInstance, VirtioDriver } from "../driver.ts";
import { MessageStream } from "../wait/message_stream.ts";
import type { WaitOptions } from "../wait/options.ts";
import { exchange } from "../virtqueue/exchange.ts";
import { RequestQueue } from "../virtqueue/request_queue.ts";
import { decodeEdid, type Edid } from "./edid.ts";
import { type GpuRectangle, GpuResource } from "./resource.ts";

/** Milliseconds that a command may take. */
const DEADLINE = 5000;
/** Bytes of one piece of a picture's memory: it need not be in one piece. */
const PIECE = 1 << 20;

/** A display that the host has. */
export interface GpuDisplay extends GpuRectangle {
  /** Its number, for scanouts. */
  readonly id: number;
  /** Whether someone looks at it. */
  readonly enabled: boolean;
}

/** A GPU's displays and pictures, in two dimensions (virtio 1.4 §5.7). */
export class Gpu implements DriverInstance {
  readonly #device: VirtioDevice;
  readonly #streams = new Set<MessageStream<readonly GpuDisplay[]>>();
  #control!: RequestQueue;
  #cursor!: RequestQueue;
  #lastResource = 0;
  #lastFence = 0;
  #failure: Error | undefined;

  /** Sets the queues up. */
  constructor(device: VirtioDevice) {
    this.#device = device;
    this.#setUp();
  }

  /** Displays that the device may have. */
  get maxDisplays(): number {
    return Math.min(this.#device.config.read32(GPU_CONFIG.numScanouts.offset), GPU_MAX_SCANOUTS);
  }

  /** Asks for the displays. @throws {VireoError} As {@linkcode Gpu.create}. */
  async displays(options: WaitOptions = {}): Promise<readonly GpuDisplay[]> {
    const size = GPU_MAX_SCANOUTS * GPU_DISPLAY_SIZE;
    const view = await this.#ask(GpuCommand.GET_DISPLAY_INFO, [], [], size, options);
    return Array.from({ length: this.maxDisplays }, (_, id) => {
      const word = (n: number): number => view.getUint32(id * GPU_DISPLAY_SIZE + 4 * n, true);
      return {
        id,
        x: word(0),
        y: word(1),
        width: word(2),
        height: word(3),
        enabled: word(4) !== 0,
      };
    });
  }

  /**
   * Asks a display what it is.
   *
   * @returns Nothing if it says nothing that can be read.
   * @throws {VireoError} `UNSUPPORTED` Without the feature EDID.
   */
  async edid(display = 0, options: WaitOptions = {}): Promise<Edid | undefined> {
    if (!this.#device.has(GpuFeature.EDID)) throw this.#error("UNSUPPORTED", "GPU has no EDID");
    const view = await this.#ask(GpuCommand.GET_EDID, [display, 0], [], GPU_EDID_SIZE, options);
    // The size is the device's word.
    const size = Math.min(view.getUint32(0, true), GPU_EDID_SIZE - 8);
    return decodeEdid(new Uint8Array(view.buffer, view.byteOffset + 8, size));
  }

  /** The displays, whenever the host changed them. */
  changes(options: WaitOptions = {}): AsyncIterableIterator<readonly GpuDisplay[]> & Disposable {
    const stream = new MessageStream<readonly GpuDisplay[]>({
      ...options,
      device: this.#device.name,
      what: "change of displays",
      limit: 64,
      onEnd: () => this.#streams.delete(stream),
    });
    if (this.#failure !== undefined) stream.fail(this.#failure);
    this.#streams.add(stream);
    return stream;
  }

  /**
   * Makes a picture and gives it memory; one that the host reads itself (a blob) where it can, as Linux
   * does. Pointers need one that it does not.
   *
   * @param options `blob` asks for one kind or the other.
   * @throws {VireoError} `OUT_OF_MEMORY` If the host or the guest has none for it; `COMMAND_REFUSED` For
   * other reasons of the device; `TIMEOUT`, or why the device failed.
   * @throws {RangeError} If the size is none.
   */
  async create(
    width: number,
    height: number,
    options: WaitOptions & { readonly format?: GpuFormat; readonly blob?: boolean } = {},
  ): Promise<GpuResource> {
    const { format = GpuFormat.B8G8R8X8 } = options;
    const blob = options.blob ?? this.#device.has(GpuFeature.RESOURCE_BLOB);
    if (blob && !this.#device.has(GpuFeature.RESOURCE_BLOB)) {
      throw this.#error("UNSUPPORTED", "GPU does not read the guest's memory (RESOURCE_BLOB)");
    }
    if (!Number.isInteger(width * height) || width < 1 || height < 1) {
      throw new RangeError(`Cannot make a picture of ${width} by ${height} pixels`);
    }
    const id = ++this.#lastResource;
    const pieces: DmaRegion[] = [];
    try {
      for (let left = width * height * 4; left > 0; left -= PIECE) {
        pieces.push(this.#device.dma.alloc(Math.min(left, PIECE), { align: 4096, coherent: true }));
      }
      if (!blob) {
        await this.#ask(GpuCommand.RESOURCE_CREATE_2D, [id, format, width, height], [], 0, options);
      }
    } catch (error) {
      for (const piece of pieces) piece[Symbol.dispose]();
      throw error;
    }
    const resource = new GpuResource(this, { id, width, height, format, blob }, pieces);
    const entries = new Uint8Array(16 * pieces.length);
    const view = new DataView(entries.buffer);
    pieces.forEach(({ address, bytes }, i) => {
      view.setBigUint64(16 * i, BigInt(address), true);
      view.setUint32(16 * i + 8, bytes.length, true);
    });
    try {
      if (blob) {
        const words = [id, GPU_BLOB_GUEST, 0, pieces.length, 0, 0, width * height * 4, 0];
        await this.#ask(GpuCommand.RESOURCE_CREATE_BLOB, words, [entries], 0, options);
      } else {
        const words = [id, pieces.length];
        await this.#ask(GpuCommand.RESOURCE_ATTACH_BACKING, words, [entries], 0, options);
      }
      return resource;
    } catch (error) {
      // What could not be made cannot be taken away either; the first error tells more.
      await resource[Symbol.asyncDispose]().catch(() => {});
      throw error;
    }
  }

  /** Puts a picture, or a part of it, on a display; undefined turns the display off. */
  async setScanout(
    display: number,
    resource: GpuResource | undefined,
    part?: GpuRectangle,
    options: WaitOptions = {},
  ): Promise<void> {
    const { width = 0, height = 0, id = 0 } = resource ?? {};
    const rectangle = part ?? { x: 0, y: 0, width, height };
    const words = [...rectangleWords(rectangle), display, id];
    if (!resource?.blob) {
      await this.#ask(GpuCommand.SET_SCANOUT, words, [], 0, options);
      return;
    }
    // Strides and offsets of four planes; ours have one.
    words.push(width, height, resource.format, 0, width * 4, 0, 0, 0, 0, 0, 0, 0);
    await this.#ask(GpuCommand.SET_SCANOUT_BLOB, words, [], 0, options);
  }

  /** Copies a part of the guest's pixels to the host. */
  async transfer(
    resource: GpuResource,
    part: GpuRectangle,
    options: WaitOptions = {},
  ): Promise<void> {
    const offset = (part.y * resource.width + part.x) * 4;
    const words = [...rectangleWords(part), offset, 0, resource.id, 0];
    await this.#ask(GpuCommand.TRANSFER_TO_HOST_2D, words, [], 0, options);
  }

  /** Shows what was copied. */
  async flush(resource: GpuResource, part: GpuRectangle, options: WaitOptions = {}): Promise<void> {
    const words = [...rectangleWords(part), resource.id, 0];
    await this.#ask(GpuCommand.RESOURCE_FLUSH, words, [], 0, options);
  }

  /** Takes a picture away; its memory is the guest's again. */
  async unref(resource: GpuResource, options: WaitOptions = {}): Promise<void> {
    if (this.#failure !== undefined) return;
    if (!resource.blob) {
      await this.#ask(GpuCommand.RESOURCE_DETACH_BACKING, [resource.id, 0], [], 0, options);
    }
    await this.#ask(GpuCommand.RESOURCE_UNREF, [resource.id, 0], [], 0, options);
  }

  /**
   * Gives a display's pointer an image and a place.
   *
   * @param image A picture of 64 by 64 pixels that was flushed, and no blob; undefined hides the pointer.
   * @throws {RangeError} If it has another size, or is a blob.
   */
  async setCursor(
    display: number,
    place: { readonly x: number; readonly y: number },
    image: GpuResource | undefined,
    hot: { readonly x: number; readonly y: number } = { x: 0, y: 0 },
    options: WaitOptions = {},
  ): Promise<void> {
    if (
      image !== undefined && (image.width !== GPU_CURSOR_SIZE || image.height !== GPU_CURSOR_SIZE)
    ) {
      throw new RangeError("Cannot use a pointer's image that is not 64 by 64 pixels");
    }
    if (image?.blob) throw new RangeError("Cannot use a pointer's image that is a blob");
    const words = [display, place.x, place.y, 0, image?.id ?? 0, hot.x, hot.y, 0];
    await this.#point(GpuCommand.UPDATE_CURSOR, words, options);
  }

  /** Moves a display's pointer. */
  async moveCursor(
    display: number,
    place: { readonly x: number; readonly y: number },
    options: WaitOptions = {},
  ): Promise<void> {
    await this.#point(GpuCommand.MOVE_CURSOR, [display, place.x, place.y, 0, 0, 0, 0, 0], options);
  }

  /** The host changed its displays. */
  configChanged(): void {
    const { config } = this.#device;
    const events = config.read32(GPU_CONFIG.eventsRead.offset);
    if ((events & GPU_EVENT_DISPLAY) === 0) return;
    config.write32(GPU_CONFIG.eventsClear.offset, GPU_EVENT_DISPLAY);
    this.displays().then((displays) => {
      for (const stream of this.#streams) stream.push(displays);
    }, () => {});
  }

  /** Rejects what is pending. */
  failed(error: Error): void {
    this.#failure ??= error;
    for (const queue of [this.#control, this.#cursor]) queue.failAll(error);
    for (const stream of this.#streams) stream.fail(error);
    this.#streams.clear();
  }

  /** Rejects what is pending for a suspend. */
  freeze(): void {
    this.failed(this.#error("DEVICE_STATE", "GPU was suspended"));
  }

  /** Sets up again after a reset; the host has forgotten all pictures. */
  restore(): void {
    const old = [this.#control, this.#cursor];
    this.#setUp();
    for (const queue of old) queue.detachAll();
    this.#failure = undefined;
  }

  /** Rejects what is pending, resets the device and frees its memory. */
  async remove(): Promise<void> {
    this.failed(this.#error("DEVICE_REMOVED", "GPU was removed"));
    await this.#device.reset();
    for (const queue of [this.#control, this.#cursor]) queue.detachAll();
    this.#device.deleteQueues();
  }

  #setUp(): void {
    const [control, cursor] = this.#device.findQueues([
      { name: "control", callback: () => this.#control.drain() },
      { name: "cursor", callback: () => this.#cursor.drain() },
    ]);
    this.#control = new RequestQueue(control!);
    this.#cursor = new RequestQueue(cursor!);
  }

  async #ask(
    type: GpuCommand,
    words: readonly number[],
    more: readonly Uint8Array[],
    size: number,
    { signal, deadline = DEADLINE }: WaitOptions,
  ): Promise<DataView> {
    if (this.#failure !== undefined) throw this.#failure;
    const fence = ++this.#lastFence;
    const request = encode(type, words, fence);
    const options = { signal, deadline, preset: 0xff };
    const room = GPU_HDR.SIZE + size;
    const parts = [request, ...more];
    const { bytes } = await exchange(this.#device.dma, this.#control, parts, room, options);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#check(type, view.getUint32(0, true));
    const answered = view.getUint32(GPU_HDR.fenceId.offset, true);
    if (answered !== fence) {
      throw new VireoError("BAD_STATUS", "GPU answers another request", {
        device: this.#device.name,
        seen: answered,
        expected: fence,
      });
    }
    return new DataView(bytes.buffer, bytes.byteOffset + GPU_HDR.SIZE, size);
  }

  async #point(type: GpuCommand, words: readonly number[], options: WaitOptions): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    const { signal, deadline = DEADLINE } = options;
    const { bytes, length } = await exchange(
      this.#device.dma,
      this.#cursor,
      [encode(type, words, 0)],
      GPU_HDR.SIZE,
      { signal, deadline },
    );
    // Devices may leave a pointer without an answer.
    if (length < 4) return;
    this.#check(type, new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true));
  }

  #check(type: GpuCommand, response: number): void {
    const R = GpuResponse;
    const expected = type === GpuCommand.GET_DISPLAY_INFO
      ? R.OK_DISPLAY_INFO
      : type === GpuCommand.GET_EDID
      ? R.OK_EDID
      : R.OK_NODATA;
    if (response === expected) return;
    const name = Object.entries(R).find(([, value]) => value === response)?.[0];
    throw this.#error(
      response === R.ERR_OUT_OF_MEMORY ? "OUT_OF_MEMORY" : "COMMAND_REFUSED",
      `GPU refuses command 0x${type.toString(16)}: ${name ?? `0x${response.toString(16)}`}`,
    );
  }

  #error(code: VireoErrorCode, what: string): VireoError {
    return new VireoError(code, what, { device: this.#device.name });
  }
}

function encode(type: number, words: readonly number[], fence: number): Uint8Array {
  const bytes = new Uint8Array(GPU_HDR.SIZE + words.length * 4);
  const view = new DataView(bytes.buffer);
  view.setUint32(GPU_HDR.type.offset, type, true);
  if (fence !== 0) {
    view.setUint32(GPU_HDR.flags.offset, GPU_FLAG_FENCE, true);
    view.setUint32(GPU_HDR.fenceId.offset, fence, true);
  }
  words.forEach((word, i) => view.setUint32(GPU_HDR.SIZE + i * 4, word, true));
  return bytes;
}

const rectangleWords = ({ x, y, width, height }: GpuRectangle): number[] => [x, y, width, height];

/** Drives GPUs; what `probe` gives is a {@linkcode Gpu}. */
export const gpuDriver: VirtioDriver<Gpu> = {
  name: "virtio_gpu",
  ids: [{ device: DeviceId.GPU, vendor: ANY_ID }],
  features: FeatureSet.of(GpuFeature.EDID, GpuFeature.RESOURCE_BLOB),
  featureNames: GpuFeature,
  validate(device, features) {
    if (device.transport.legacy) {
      throw new VireoError("VERSION_1_REQUIRED", "GPUs have no legacy interface", {
        device: device.name,
      });
    }
    return features;
  },
  probe: (device) => new Gpu(device),
};
