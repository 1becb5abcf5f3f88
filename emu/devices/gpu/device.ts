import {
  DeviceId,
  type FeatureNames,
  FeatureSet,
  GPU_BLOB_GUEST,
  GPU_CHANNELS,
  GPU_CONFIG,
  GPU_CURSOR_SIZE,
  GPU_DISPLAY_SIZE,
  GPU_EDID_SIZE,
  GPU_EVENT_DISPLAY,
  GPU_FLAG_FENCE,
  GPU_HDR,
  GPU_MAX_SCANOUTS,
  GPU_UUID_SIZE,
  GpuCommand as C,
  GpuFeature,
  GpuQueue,
  GpuResponse as R,
  isPowerOfTwo,
} from "@vireo/hal";
import type {
  Chain,
  ConfigWidth,
  DeviceContext,
  DeviceModel,
  ModelUsage,
  QueueSpec,
  RandomSource,
} from "../../device.ts";
import { Backing } from "./_backing.ts";
import { edidOf } from "./edid.ts";
import { inside, overlay, type Rectangle, show, toRgba } from "./_picture.ts";
import { GpuState, type Resource, type SavedState } from "./_state.ts";
import { encodePng, type Picture } from "./png.ts";

/** Most pieces of a picture's memory. */
const MAX_ENTRIES = 16_384;
/** Longest side of a picture. */
const MAX_SIDE = 16_384;
/** Options of {@linkcode GpuDevice}. */
export interface GpuDeviceOptions {
  /** Sizes of its displays; one of 640 by 480 by default. */
  readonly displays?: readonly { readonly width: number; readonly height: number }[];
  /**
   * Most bytes of everything that the driver makes together: pictures, the lists of their memory, and what displays
   * show; 64 MiB by default.
   */
  readonly memory?: number;
  /** Whether it reads the guest's memory itself (RESOURCE_BLOB); not by default, as QEMU without udmabuf. */
  readonly blob?: boolean;
  /**
   * Offers BLOB_ALIGNMENT, with RESOURCE_BLOB: sizes of blobs must be multiples of so many bytes, a power of two from
   * 1 to 2^31. Not by default.
   */
  readonly blobAlignment?: number;
  /** Fills the UUIDs of pictures; the system's random bytes by default. */
  readonly random?: RandomSource;
}

/**
 * An emulated GPU (virtio 1.4 §5.7): pictures in two dimensions on displays that can be saved.
 *
 * @example
 * ```ts
 * import { Bus } from "@vireo/drivers/bus";
 * import { gpuDriver } from "@vireo/drivers/gpu";
 * import { EmulatedMachine } from "@vireo/emu/core";
 * import { GpuDevice } from "@vireo/emu/gpu";
 * import { assertEquals } from "@std/assert";
 *
 * const device = new GpuDevice({ displays: [{ width: 64, height: 48 }] });
 * await using machine = EmulatedMachine.create({ devices: [device] });
 * await using bus = new Bus();
 * await bus.registerDriver(gpuDriver);
 * await bus.addPlatform(machine);
 * // The host's window changes its size.
 * device.resize(0, 80, 60);
 * const [display] = await bus.get(gpuDriver)!.displays();
 * assertEquals([display!.width, display!.height], [80, 60]);
 * ```
 */
export class GpuDevice implements DeviceModel {
  /** Name for reports. */
  readonly name = "gpu";
  /** Virtio device id 16. */
  readonly deviceId: number = DeviceId.GPU;
  /** EDID and RESOURCE_UUID; RESOURCE_BLOB and BLOB_ALIGNMENT if they were asked for. */
  readonly features: FeatureSet;
  /** Names of the bits. */
  readonly featureNames: FeatureNames = GpuFeature;
  /** Commands, and those of pointers. */
  readonly queues: readonly QueueSpec[] = [
    { name: "controlq", maxSize: 64 },
    { name: "cursorq", maxSize: 16 },
  ];
  /** Size of `struct virtio_gpu_config` in bytes. */
  readonly configSize: number = GPU_CONFIG.SIZE;
  /** Pictures, and the bytes of everything that the driver makes. */
  readonly bounds: ModelUsage;
  /** Pictures that were flushed, all in all. */
  flushes = 0;
  readonly #state: GpuState;
  readonly #alignment: number;
  readonly #random: RandomSource;
  #events = 0;
  #context: DeviceContext | undefined;
  #attached: DeviceContext | undefined;

  /**
   * Makes the device.
   *
   * @throws {RangeError} If it has no display, or more than 16, or blobs have no such alignment.
   */
  constructor(options: GpuDeviceOptions = {}) {
    const displays = options.displays ?? [{ width: 640, height: 480 }];
    if (displays.length < 1 || displays.length > GPU_MAX_SCANOUTS) {
      throw new RangeError(`Cannot make a GPU with ${displays.length} displays: expected 1 to 16`);
    }
    const { blobAlignment: alignment } = options;
    const possible = alignment === undefined ||
      options.blob === true && Number.isInteger(alignment) && alignment <= 2 ** 31 &&
        isPowerOfTwo(alignment);
    if (!possible) {
      throw new RangeError(
        `Cannot align blobs to ${alignment} bytes: expected 'blob' and a power of two from 1 to 2^31`,
      );
    }
    this.#alignment = alignment ?? 0;
    // dev.basic.features.1: BLOB_ALIGNMENT needs RESOURCE_BLOB (virtio 1.4 §5.7.3).
    this.features = FeatureSet.of(
      GpuFeature.EDID,
      GpuFeature.RESOURCE_UUID,
      ...options.blob ? [GpuFeature.RESOURCE_BLOB] : [],
      ...alignment === undefined ? [] : [GpuFeature.BLOB_ALIGNMENT],
    );
    this.#random = options.random ??
      ((into) => void crypto.getRandomValues(into as Uint8Array<ArrayBuffer>));
    this.#state = new GpuState(displays, options.memory ?? 64 << 20);
    this.bounds = this.#state.bounds;
  }

  /** Bytes of the host's memory that the pixels of all pictures take. */
  get used(): number {
    return this.#state.resources.values().reduce((sum, { pixels }) => sum + pixels.length, 0);
  }

  /** The pixels of a display, with its pointer; undefined if nothing was flushed to it. */
  screen(display = 0): Picture | undefined {
    const shown = this.#state.displays[display];
    if (shown?.picture === undefined) return undefined;
    const { width, height, rgba } = shown.picture;
    const copy = { width, height, rgba: rgba.slice() };
    const { image, x, y } = shown.cursor;
    if (image !== undefined) overlay(copy, image, x, y);
    return copy;
  }

  /** The same as PNG. */
  png(display = 0): Uint8Array | undefined {
    const picture = this.screen(display);
    return picture && encodePng(picture);
  }

  /** Changes the size of a display, and tells the driver; 0 by 0 turns it off. */
  resize(display: number, width: number, height: number): void {
    const shown = this.#state.displays[display];
    if (shown === undefined) {
      throw new RangeError(
        `Cannot resize display ${display}: expected 0 to ${this.#state.displays.length - 1}`,
      );
    }
    shown.width = width;
    shown.height = height;
    this.#events |= GPU_EVENT_DISPLAY;
    this.#attached?.configChanged();
  }

  /** Reads the configuration. */
  readConfig(offset: number, width: ConfigWidth): number {
    const words = [this.#events, 0, this.#state.displays.length, 0, this.#alignment];
    const value = words[offset >> 2]! >>> 8 * (offset & 3);
    return width === 4 ? value >>> 0 : value & 2 ** (8 * width) - 1;
  }

  /** Takes `events_clear`. */
  writeConfig(offset: number, _: ConfigWidth, value: number): void {
    if (offset === GPU_CONFIG.events_clear.offset) this.#events &= ~value;
  }

  /** BLOB_ALIGNMENT needs RESOURCE_BLOB. */
  acceptFeatures(features: FeatureSet): boolean {
    return features.has(GpuFeature.RESOURCE_BLOB) || !features.has(GpuFeature.BLOB_ALIGNMENT);
  }

  /** Keeps the way to report changes. */
  attach(context: DeviceContext): void {
    this.#attached = context;
  }

  /** Starts to serve the queues. */
  activate(context: DeviceContext): void {
    this.#context = context;
  }

  /** Serves what a queue holds. */
  notify(index: number): void {
    const queue = this.#context?.queue(index);
    if (queue === undefined) return;
    const { work } = this.#context!;
    for (let chain = work.take(queue); chain !== undefined; chain = work.take(queue)) {
      if (chain.readableLength < GPU_HDR.SIZE) {
        this.#context?.fault(`GPU request of ${chain.readableLength} bytes, expected at least 24`);
        return;
      }
      const header = new Uint8Array(GPU_HDR.SIZE);
      chain.read(header);
      const type = new DataView(header.buffer).getUint32(0, true);
      const pointer = type === C.UPDATE_CURSOR || type === C.MOVE_CURSOR;
      // Each queue has its own commands.
      if (pointer !== (index === GpuQueue.CURSOR)) this.#answer(chain, header, R.ERR_UNSPEC);
      else this.#serve(type, chain, header);
      queue.push(chain);
    }
    queue.signal();
  }

  /** Forgets all pictures. */
  reset(): void {
    this.#context = undefined;
    this.#state.reset();
  }

  /** Pictures, and the bytes of everything that the driver made. */
  usage(): ModelUsage {
    return this.#state.usage();
  }

  /** Pictures and displays. */
  snapshot(): unknown {
    return { events: this.#events, ...this.#state.snapshot() };
  }

  /** Takes the state back. @throws {RangeError} If it has other displays, or more than there is memory for. */
  restore(state: unknown): void {
    const { events, ...saved } = state as { readonly events: number } & SavedState;
    this.#state.restore(saved);
    this.#events = events;
  }

  /** Forgets all pictures. */
  [Symbol.dispose](): void {
    this.reset();
  }

  #serve(type: number, chain: Chain, header: Uint8Array): void {
    const answer = (response: number): void => this.#answer(chain, header, response);
    const word = (): number => chain.readU32();
    const rectangle = (): Rectangle => ({ x: word(), y: word(), width: word(), height: word() });
    switch (type) {
      case C.GET_DISPLAY_INFO: {
        answer(R.OK_DISPLAY_INFO);
        for (let i = 0; i < GPU_MAX_SCANOUTS; i++) {
          const { width = 0, height = 0 } = this.#state.displays[i] ?? {};
          for (const value of [0, 0, width, height, width * height > 0 ? 1 : 0, 0]) {
            chain.writeU32(value);
          }
        }
        return void GPU_DISPLAY_SIZE;
      }
      case C.GET_EDID: {
        const display = this.#state.displays[word()];
        if (display === undefined) return answer(R.ERR_INVALID_SCANOUT_ID);
        answer(R.OK_EDID);
        const edid = edidOf(display.width, display.height);
        chain.writeU32(edid.length);
        chain.writeU32(0);
        chain.write(edid);
        return void chain.writeZeroes(GPU_EDID_SIZE - 8 - edid.length);
      }
      case C.RESOURCE_ASSIGN_UUID: {
        if (!this.#context!.features.has(GpuFeature.RESOURCE_UUID)) return answer(R.ERR_UNSPEC);
        const resource = this.#state.resources.get(word());
        if (resource === undefined) return answer(R.ERR_INVALID_RESOURCE_ID);
        answer(R.OK_RESOURCE_UUID);
        return void chain.write(Uint8Array.from(resource.uuid ??= this.#newUuid()));
      }
      case C.RESOURCE_CREATE_2D:
        return answer(this.#create(word(), word(), word(), word()));
      case C.RESOURCE_CREATE_BLOB:
        return answer(this.#createBlob(chain));
      case C.SET_SCANOUT_BLOB:
        return answer(this.#setScanoutBlob(rectangle(), chain));
      case C.RESOURCE_UNREF:
        return answer(this.#unref(word()));
      case C.RESOURCE_ATTACH_BACKING:
        return answer(this.#attach(word(), word(), chain));
      case C.RESOURCE_DETACH_BACKING: {
        const resource = this.#state.resources.get(word());
        if (resource !== undefined) this.#state.setBacking(resource, undefined);
        return answer(resource === undefined ? R.ERR_INVALID_RESOURCE_ID : R.OK_NODATA);
      }
      case C.SET_SCANOUT:
        return answer(this.#setScanout(rectangle(), word(), word()));
      case C.TRANSFER_TO_HOST_2D: {
        const part = rectangle();
        const offset = chain.readU64();
        return answer(this.#transfer(part, offset, word()));
      }
      case C.RESOURCE_FLUSH:
        return answer(this.#flush(rectangle(), word()));
      case C.UPDATE_CURSOR:
      case C.MOVE_CURSOR:
        return answer(this.#point(type, word(), word(), word(), (word(), word())));
      default:
        return answer(R.ERR_UNSPEC);
    }
  }

  #answer(chain: Chain, request: Uint8Array, type: number): void {
    const header = new Uint8Array(GPU_HDR.SIZE);
    const view = new DataView(header.buffer);
    const asked = new DataView(request.buffer);
    view.setUint32(0, type, true);
    if ((asked.getUint32(GPU_HDR.flags.offset, true) & GPU_FLAG_FENCE) !== 0) {
      header.set(request.subarray(4, 20), 4);
      view.setUint32(GPU_HDR.flags.offset, GPU_FLAG_FENCE, true);
    }
    chain.write(header);
  }

  /** A random UUID (RFC 9562 §5.4). */
  #newUuid(): number[] {
    const bytes = new Uint8Array(GPU_UUID_SIZE);
    this.#random(bytes);
    bytes[6] = bytes[6]! & 0x0f | 0x40;
    bytes[8] = bytes[8]! & 0x3f | 0x80;
    return [...bytes];
  }

  #create(id: number, format: number, width: number, height: number): number {
    if (id === 0 || this.#state.resources.has(id)) return R.ERR_INVALID_RESOURCE_ID;
    const shaped = width > 0 && height > 0 && width <= MAX_SIDE && height <= MAX_SIDE;
    if (!shaped || GPU_CHANNELS[format] === undefined) return R.ERR_INVALID_PARAMETER;
    const size = width * height * 4;
    if (!this.#state.reserve(size)) return R.ERR_OUT_OF_MEMORY;
    this.#context!.work.spend(0, size);
    const pixels = new Uint8Array(size);
    this.#state.resources.set(id, { width, height, format, pixels, backing: undefined });
    return R.OK_NODATA;
  }

  #unref(id: number): number {
    const known = this.#state.remove(id, this.#context!.work);
    return known ? R.OK_NODATA : R.ERR_INVALID_RESOURCE_ID;
  }

  #attach(id: number, count: number, chain: Chain): number {
    const resource = this.#state.resources.get(id);
    if (resource === undefined) return R.ERR_INVALID_RESOURCE_ID;
    if (resource.backing !== undefined) return R.ERR_UNSPEC;
    const backing = this.#readEntries(count, chain);
    if (typeof backing === "number") return backing;
    const some = backing.count > 0 ? backing : undefined;
    return this.#state.setBacking(resource, some) ? R.OK_NODATA : R.ERR_OUT_OF_MEMORY;
  }

  /** The pieces of a picture's memory, or why there are none. */
  #readEntries(count: number, chain: Chain): Backing | number {
    if (count > MAX_ENTRIES || chain.readableLeft < count * 16) return R.ERR_UNSPEC;
    this.#context!.work.spend(count);
    const entries: [address: number, length: number][] = [];
    for (let i = 0; i < count; i++) {
      const address = chain.readU64();
      const length = chain.readU32();
      chain.skip(4);
      if (this.#context?.memory(address, length) === undefined) return R.ERR_INVALID_PARAMETER;
      entries.push([address, length]);
    }
    return new Backing(entries);
  }

  #createBlob(chain: Chain): number {
    if (!this.#context!.features.has(GpuFeature.RESOURCE_BLOB)) return R.ERR_UNSPEC;
    const [id, memory, , count] = [
      chain.readU32(),
      chain.readU32(),
      chain.readU32(),
      chain.readU32(),
    ];
    chain.skip(8);
    const size = chain.readU64();
    if (id === 0 || this.#state.resources.has(id)) return R.ERR_INVALID_RESOURCE_ID;
    if (memory !== GPU_BLOB_GUEST) return R.ERR_INVALID_PARAMETER;
    const backing = this.#readEntries(count, chain);
    if (typeof backing === "number") return backing;
    const aligned = this.#context!.features.has(GpuFeature.BLOB_ALIGNMENT) ? this.#alignment : 1;
    if (backing.length < size || size % aligned !== 0) return R.ERR_INVALID_PARAMETER;
    if (!this.#state.reserve(0, backing.count)) return R.ERR_OUT_OF_MEMORY;
    const blob = { size, stride: 0, offset: 0 };
    const pixels = new Uint8Array(0);
    this.#state.resources.set(id, { width: 0, height: 0, format: 0, pixels, backing, blob });
    return R.OK_NODATA;
  }

  /** SET_SCANOUT_BLOB gives the layout of a blob's bytes when it puts the blob on a display. */
  #setScanoutBlob(part: Rectangle, chain: Chain): number {
    const words = Array.from({ length: 14 }, () => chain.readU32());
    const [display = 0, id = 0, width = 0, height = 0, format = 0, , stride = 0] = words;
    const offset = words[10]!;
    if (id === 0) return this.#setScanout(part, display, id);
    const resource = this.#state.resources.get(id);
    if (resource?.blob === undefined) return R.ERR_INVALID_RESOURCE_ID;
    // A picture without pixels has no part that can be shown.
    const shaped = width <= MAX_SIDE && height <= MAX_SIDE;
    const fits = stride >= width * 4 &&
      offset + stride * (height - 1) + width * 4 <= resource.blob.size;
    if (!shaped || !fits || GPU_CHANNELS[format] === undefined) return R.ERR_INVALID_PARAMETER;
    // All is checked before anything changes: the blob may be on another display.
    if (this.#state.displays[display] === undefined) return R.ERR_INVALID_SCANOUT_ID;
    const size = width * height * 4;
    const pixels = size === resource.pixels.length ? resource.pixels : new Uint8Array(size);
    if (!inside(part, { width, height, format, pixels })) return R.ERR_INVALID_PARAMETER;
    if (!this.#state.take(size - resource.pixels.length)) return R.ERR_OUT_OF_MEMORY;
    this.#context!.work.spend(0, size);
    Object.assign(resource, { width, height, format, pixels });
    Object.assign(resource.blob, { stride, offset });
    return this.#setScanout(part, display, id);
  }

  #setScanout(part: Rectangle, index: number, id: number): number {
    const display = this.#state.displays[index];
    if (display === undefined) return R.ERR_INVALID_SCANOUT_ID;
    if (id === 0) {
      this.#state.setPicture(display, undefined, this.#context!.work);
      return R.OK_NODATA;
    }
    const resource = this.#state.resources.get(id);
    if (resource === undefined) return R.ERR_INVALID_RESOURCE_ID;
    if (!inside(part, resource)) return R.ERR_INVALID_PARAMETER;
    const fits = this.#state.setPicture(display, { id, part }, this.#context!.work);
    return fits ? R.OK_NODATA : R.ERR_OUT_OF_MEMORY;
  }

  #transfer(part: Rectangle, offset: number, id: number): number {
    const resource = this.#state.resources.get(id);
    if (resource === undefined) return R.ERR_INVALID_RESOURCE_ID;
    if (!inside(part, resource) || resource.backing === undefined) return R.ERR_INVALID_PARAMETER;
    return this.#copyRows(resource, part, offset, resource.width * 4);
  }

  /** Copies rows of the guest's memory, from an offset on and so many bytes apart. */
  #copyRows(resource: Resource, part: Rectangle, offset: number, from: number): number {
    const stride = resource.width * 4;
    const { work } = this.#context!;
    let entries = 0;
    work.spend(part.height, part.height * part.width * 4);
    const memory = (address: number, length: number) => {
      entries++;
      return this.#context!.memory(address, length);
    };
    for (let row = 0; row < part.height; row++) {
      const to = (part.y + row) * stride + part.x * 4;
      const target = resource.pixels.subarray(to, to + part.width * 4);
      if (resource.backing?.copy(offset + row * from, target, memory) !== true) {
        return R.ERR_INVALID_PARAMETER;
      }
    }
    work.spend(entries);
    return R.OK_NODATA;
  }

  #flush(part: Rectangle, id: number): number {
    const resource = this.#state.resources.get(id);
    if (resource === undefined) return R.ERR_INVALID_RESOURCE_ID;
    if (!inside(part, resource)) return R.ERR_INVALID_PARAMETER;
    if (resource.blob !== undefined) {
      const { stride, offset } = resource.blob;
      const start = offset + part.y * stride + part.x * 4;
      const copied = this.#copyRows(resource, part, start, stride);
      if (copied !== R.OK_NODATA) return copied;
    }
    this.flushes++;
    for (const { shows, picture } of this.#state.displays) {
      if (shows?.id !== id || picture === undefined) continue;
      this.#context!.work.spend(0, picture.rgba.length);
      show(resource, shows.part, part, picture);
    }
    return R.OK_NODATA;
  }

  #point(type: number, index: number, x: number, y: number, id: number): number {
    const display = this.#state.displays[index];
    if (display === undefined) return R.ERR_INVALID_SCANOUT_ID;
    display.cursor.x = x;
    display.cursor.y = y;
    if (type === C.MOVE_CURSOR) return R.OK_NODATA;
    const resource = this.#state.resources.get(id);
    const fits = resource?.width === GPU_CURSOR_SIZE &&
      resource.height === GPU_CURSOR_SIZE && resource.blob === undefined;
    if (id !== 0 && !fits) return R.ERR_INVALID_RESOURCE_ID;
    display.cursor.id = id;
    display.cursor.image = resource && toRgba(resource);
    return R.OK_NODATA;
  }
}
