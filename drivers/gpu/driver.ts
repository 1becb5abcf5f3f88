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
  GPU_UUID_SIZE,
  GpuCommand,
  GpuFeature,
  GpuFormat,
  GpuResponse,
  isPowerOfTwo,
  nameIn,
  VireoError,
} from "@vireo/hal";
import type { VirtioDevice } from "../device.ts";
import type { VirtioDriver } from "../driver.ts";
import { requireModern } from "../modern_only.ts";
import { QueueDriver } from "../queue_driver.ts";
import { type WaitOptions, within } from "../wait/mod.ts";
import type { RequestQueue } from "../virtqueue/request_queue.ts";
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

/**
 * A GPU's displays and pictures, in two dimensions (virtio 1.4 §5.7).
 *
 * @example
 * ```ts
 * import type { Gpu } from "@vireo/drivers/gpu";
 *
 * // Shows a test card on the first display.
 * async function show(gpu: Gpu): Promise<void> {
 *   const [display] = await gpu.displays();
 *   await using picture = await gpu.create(display!.width, display!.height);
 *   picture.canvas().testCard("hello");
 *   await gpu.setScanout(0, picture);
 *   await picture.flush();
 * }
 * ```
 */
export class Gpu extends QueueDriver {
  /** The pictures that the host may have, and whether they were taken away by their owners. */
  readonly #pictures = new Map<GpuResource, boolean>();
  readonly #changes = this.broadcast<readonly GpuDisplay[]>({
    what: "change of displays",
    limit: 64,
  });
  #control!: RequestQueue;
  #cursor!: RequestQueue;
  #alignment = 1;
  #lastResource = 0;
  #lastFence = 0;

  /** Sets the queues up. */
  constructor(device: VirtioDevice) {
    super(device, "GPU");
    this.setUp();
  }

  /** Displays that the device may have. */
  get maxDisplays(): number {
    return Math.min(this.device.config.read32(GPU_CONFIG.num_scanouts.offset), GPU_MAX_SCANOUTS);
  }

  /** Bytes that the memory of a blob is a multiple of; 1 without the feature BLOB_ALIGNMENT (virtio 1.4 §5.7.4). */
  get blobAlignment(): number {
    return this.#alignment;
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
    if (!this.device.has(GpuFeature.EDID)) throw this.error("UNSUPPORTED", "GPU has no EDID");
    const view = await this.#ask(GpuCommand.GET_EDID, [display, 0], [], GPU_EDID_SIZE, options);
    // The size is the device's word.
    const size = Math.min(view.getUint32(0, true), GPU_EDID_SIZE - 8);
    return decodeEdid(new Uint8Array(view.buffer, view.byteOffset + 8, size));
  }

  /** The displays, whenever the host changed them. */
  changes(options: WaitOptions = {}): AsyncIterableIterator<readonly GpuDisplay[]> & Disposable {
    return this.#changes.listen(options);
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
    const blob = options.blob ?? this.device.has(GpuFeature.RESOURCE_BLOB);
    if (blob && !this.device.has(GpuFeature.RESOURCE_BLOB)) {
      throw this.error("UNSUPPORTED", "GPU does not read the guest's memory (RESOURCE_BLOB)");
    }
    if (!Number.isInteger(width * height) || width < 1 || height < 1) {
      throw new RangeError(
        `Cannot make a picture of ${width} by ${height} pixels: expected positive integers`,
      );
    }
    const call = within(options, DEADLINE);
    const id = ++this.#lastResource;
    const pixels = width * height * 4;
    // drv.gpu.controlq.1: what follows the pixels is the device's as well, and means nothing.
    const size = blob ? Math.ceil(pixels / this.#alignment) * this.#alignment : pixels;
    const pieces = this.#allocate(size);
    const resource = new GpuResource(this, { id, width, height, format, blob }, pieces);
    this.#pictures.set(resource, false);
    const entries = new Uint8Array(16 * pieces.length);
    const view = new DataView(entries.buffer);
    pieces.forEach(({ address, bytes }, i) => {
      view.setBigUint64(16 * i, BigInt(address), true);
      view.setUint32(16 * i + 8, bytes.length, true);
    });
    try {
      if (blob) {
        const words = [id, GPU_BLOB_GUEST, 0, pieces.length, 0, 0, size, 0];
        await this.#ask(GpuCommand.RESOURCE_CREATE_BLOB, words, [entries], 0, call);
      } else {
        await this.#ask(GpuCommand.RESOURCE_CREATE_2D, [id, format, width, height], [], 0, call);
        const words = [id, pieces.length];
        await this.#ask(GpuCommand.RESOURCE_ATTACH_BACKING, words, [entries], 0, call);
      }
      return resource;
    } catch (error) {
      // The caller's time may be over, so it does not wait until the host has let go.
      this.#discard(resource).catch(() => {});
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
    if (resource !== undefined) this.#checkKnown(resource);
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
    this.#checkKnown(resource);
    const offset = (part.y * resource.width + part.x) * 4;
    const words = [...rectangleWords(part), offset, 0, resource.id, 0];
    await this.#ask(GpuCommand.TRANSFER_TO_HOST_2D, words, [], 0, options);
  }

  /** Shows what was copied. */
  async flush(resource: GpuResource, part: GpuRectangle, options: WaitOptions = {}): Promise<void> {
    this.#checkKnown(resource);
    const words = [...rectangleWords(part), resource.id, 0];
    await this.#ask(GpuCommand.RESOURCE_FLUSH, words, [], 0, options);
  }

  /**
   * Asks for the name by which other devices may know a picture (RESOURCE_UUID); the same each time.
   *
   * @returns A UUID, in lower case with hyphens.
   * @throws {VireoError} `UNSUPPORTED` If the device gives none; as {@linkcode Gpu.create}.
   */
  async uuid(resource: GpuResource, options: WaitOptions = {}): Promise<string> {
    this.#checkKnown(resource);
    if (!this.device.has(GpuFeature.RESOURCE_UUID)) {
      throw this.error("UNSUPPORTED", "GPU gives pictures no names (RESOURCE_UUID)");
    }
    const { RESOURCE_ASSIGN_UUID } = GpuCommand;
    const view = await this.#ask(
      RESOURCE_ASSIGN_UUID,
      [resource.id, 0],
      [],
      GPU_UUID_SIZE,
      options,
    );
    const hex = new Uint8Array(view.buffer, view.byteOffset, GPU_UUID_SIZE).toHex();
    return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
  }

  /**
   * Takes a picture away. Its memory is freed as soon as the host has let it go: now, or at the next reset
   * if the host does not answer.
   */
  async unref(resource: GpuResource, options: WaitOptions = {}): Promise<void> {
    if (!this.#pictures.has(resource)) return resource.free();
    this.#pictures.set(resource, true);
    if (this.failure !== undefined) return;
    const call = within(options, DEADLINE);
    for (const type of takingAway(resource)) await this.#ask(type, [resource.id, 0], [], 0, call);
    this.#letGo(resource);
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
      throw new RangeError(
        `Cannot show a pointer of ${image.width} by ${image.height} pixels: expected 64 by 64`,
      );
    }
    if (image?.blob) {
      throw new RangeError("Cannot show a pointer from a blob: its image must be in the device");
    }
    if (image !== undefined) this.#checkKnown(image);
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
    const { config } = this.device;
    const events = config.read32(GPU_CONFIG.events_read.offset);
    if ((events & GPU_EVENT_DISPLAY) === 0) return;
    config.write32(GPU_CONFIG.events_clear.offset, GPU_EVENT_DISPLAY);
    this.displays().then((displays) => this.#changes.push(displays), () => {});
  }

  /** Resets the device, and frees the pictures that were taken away. */
  override async remove(): Promise<void> {
    await super.remove();
    this.#forget();
  }

  /** Opens the control and cursor queues; the host has no pictures then. */
  protected override setUp(): void {
    this.#forget();
    this.#alignment = this.#readAlignment();
    [this.#control, this.#cursor] = this.openQueues({ name: "control" }, { name: "cursor" });
  }

  /** @throws {VireoError} `CONFIG_INVALID` If it is no power of two. */
  #readAlignment(): number {
    if (!this.device.has(GpuFeature.BLOB_ALIGNMENT)) return 1;
    const alignment = this.device.config.read32(GPU_CONFIG.blob_alignment.offset);
    if (isPowerOfTwo(alignment)) return alignment;
    throw this.error("CONFIG_INVALID", "Cannot use the GPU's alignment of blobs", {
      register: "blob_alignment",
      seen: alignment,
      base: 10,
      expected: "a power of two from 1 to 2^31",
    });
  }

  /** After a reset the host has no pictures; one that has an owner keeps its memory for it. */
  #forget(): void {
    for (const [resource, takenAway] of this.#pictures) if (takenAway) resource.free();
    this.#pictures.clear();
  }

  /** Takes away what the host has of a picture that could not be made. */
  async #discard(resource: GpuResource): Promise<void> {
    this.#pictures.set(resource, true);
    for (const type of takingAway(resource)) {
      try {
        await this.#ask(type, [resource.id, 0], [], 0, {});
      } catch (error) {
        if (!(error instanceof VireoError) || error.code !== "COMMAND_REFUSED") throw error;
        // Without memory there is nothing to detach. Whoever keeps the picture may read its memory.
        const has = type === GpuCommand.RESOURCE_UNREF && error.seen !== "ERR_INVALID_RESOURCE_ID";
        if (has) throw error;
      }
    }
    this.#letGo(resource);
  }

  /** @throws {VireoError} `DEVICE_STATE` If the host has no such picture any more. */
  #checkKnown(resource: GpuResource): void {
    if (this.failure !== undefined) throw this.failure;
    if (this.#pictures.get(resource) === false) return;
    throw this.error("DEVICE_STATE", `GPU has no picture ${resource.id}`, {
      expected: "one that was made since the last reset, and not taken away",
    });
  }

  #letGo(resource: GpuResource): void {
    this.#pictures.delete(resource);
    resource.free();
  }

  #allocate(size: number): DmaRegion[] {
    const pieces: DmaRegion[] = [];
    try {
      for (let left = size; left > 0; left -= PIECE) {
        pieces.push(this.device.dma.alloc(Math.min(left, PIECE), { align: 4096, coherent: true }));
      }
      return pieces;
    } catch (error) {
      for (const piece of pieces) piece[Symbol.dispose]();
      throw error;
    }
  }

  async #ask(
    type: GpuCommand,
    words: readonly number[],
    more: readonly Uint8Array[],
    size: number,
    options: WaitOptions,
  ): Promise<DataView> {
    const fence = ++this.#lastFence;
    const parts = [encode(type, words, fence), ...more];
    const wait = { ...within(options, DEADLINE), least: GPU_HDR.SIZE };
    const { bytes } = await this.ask(this.#control, parts, GPU_HDR.SIZE + size, wait);
    const view = new DataView(bytes.buffer);
    this.#check(type, view.getUint32(0, true));
    const answered = view.getUint32(GPU_HDR.fence_id.offset, true);
    if (answered !== fence) {
      throw this.error("BAD_STATUS", "GPU answered another request", {
        seen: answered,
        expected: fence,
      });
    }
    if (bytes.length < GPU_HDR.SIZE + size) {
      throw this.tooShort(bytes.length, GPU_HDR.SIZE + size);
    }
    return new DataView(bytes.buffer, GPU_HDR.SIZE, size);
  }

  async #point(type: GpuCommand, words: readonly number[], options: WaitOptions): Promise<void> {
    const call = within(options, DEADLINE);
    const { bytes } = await this.ask(this.#cursor, [encode(type, words, 0)], GPU_HDR.SIZE, call);
    // Devices may leave a pointer without an answer.
    if (bytes.length >= 4) this.#check(type, new DataView(bytes.buffer).getUint32(0, true));
  }

  #check(type: GpuCommand, response: number): void {
    const R = GpuResponse;
    const expected = type === GpuCommand.GET_DISPLAY_INFO
      ? R.OK_DISPLAY_INFO
      : type === GpuCommand.GET_EDID
      ? R.OK_EDID
      : type === GpuCommand.RESOURCE_ASSIGN_UUID
      ? R.OK_RESOURCE_UUID
      : R.OK_NODATA;
    if (response === expected) return;
    throw this.error(
      response === R.ERR_OUT_OF_MEMORY ? "OUT_OF_MEMORY" : "COMMAND_REFUSED",
      `GPU refuses command 0x${type.toString(16)}`,
      {
        seen: nameIn(R, response) ?? response,
        expected: nameIn(R, expected),
      },
    );
  }
}

function encode(type: number, words: readonly number[], fence: number): Uint8Array {
  const bytes = new Uint8Array(GPU_HDR.SIZE + words.length * 4);
  const view = new DataView(bytes.buffer);
  view.setUint32(GPU_HDR.type.offset, type, true);
  if (fence !== 0) {
    view.setUint32(GPU_HDR.flags.offset, GPU_FLAG_FENCE, true);
    view.setUint32(GPU_HDR.fence_id.offset, fence, true);
  }
  words.forEach((word, i) => view.setUint32(GPU_HDR.SIZE + i * 4, word, true));
  return bytes;
}

/** The commands that take a picture away from the host. */
function takingAway({ blob }: GpuResource): readonly GpuCommand[] {
  const { RESOURCE_DETACH_BACKING, RESOURCE_UNREF } = GpuCommand;
  return blob ? [RESOURCE_UNREF] : [RESOURCE_DETACH_BACKING, RESOURCE_UNREF];
}

const rectangleWords = ({ x, y, width, height }: GpuRectangle): number[] => [x, y, width, height];

/** Drives GPUs; what `probe` gives is a {@linkcode Gpu}. */
export const gpuDriver: VirtioDriver<Gpu> = {
  name: "virtio_gpu",
  ids: [{ device: DeviceId.GPU, vendor: ANY_ID }],
  features: FeatureSet.of(
    GpuFeature.EDID,
    GpuFeature.RESOURCE_UUID,
    GpuFeature.RESOURCE_BLOB,
    GpuFeature.BLOB_ALIGNMENT,
  ),
  featureNames: GpuFeature,
  validate(device, features) {
    requireModern(device, "GPUs");
    // BLOB_ALIGNMENT needs RESOURCE_BLOB (virtio 1.4 §5.7.3).
    return features.has(GpuFeature.RESOURCE_BLOB)
      ? features
      : features.without(GpuFeature.BLOB_ALIGNMENT);
  },
  probe: (device) => new Gpu(device),
};
