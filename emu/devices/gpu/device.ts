import {
  DeviceId,
  type FeatureNames,
  FeatureSet,
  GPU_CHANNELS,
  GPU_CONFIG,
  GPU_CURSOR_SIZE,
  GPU_DISPLAY_SIZE,
  GPU_EDID_SIZE,
  GPU_EVENT_DISPLAY,
  GPU_FLAG_FENCE,
  GPU_HDR,
  GPU_MAX_SCANOUTS,
  GpuCommand as C,
  GpuFeature,
  GpuQueue,
  GpuResponse as R,
} from "@vireo/hal";
import type { Chain, ConfigWidth, DeviceContext, DeviceModel, QueueSpec } from "../../device.ts";
import { edidOf } from "./edid.ts";
import { encodePng, type Picture } from "./png.ts";

/** Most pieces of a picture's memory. */
const MAX_ENTRIES = 16_384;
/** Longest side of a picture. */
const MAX_SIDE = 16_384;

/** What a {@linkcode GpuDevice} is made of. */
export interface GpuDeviceOptions {
  /** Sizes of its displays; one of 640 by 480 by default. */
  readonly displays?: readonly { readonly width: number; readonly height: number }[];
  /** Most bytes of all pictures together; 64 MiB by default. */
  readonly memory?: number;
}

interface Rectangle {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

interface Resource {
  readonly width: number;
  readonly height: number;
  readonly format: number;
  readonly pixels: Uint8Array;
  backing: readonly { readonly address: number; readonly length: number }[];
}

interface Display {
  width: number;
  height: number;
  /** What it shows: a part of a picture. */
  shows: { readonly id: number; readonly part: Rectangle } | undefined;
  /** What was flushed to it. */
  picture: Picture | undefined;
  cursor: { id: number; x: number; y: number; image: Uint8Array | undefined };
}

/** An emulated GPU (virtio 1.4 §5.7): pictures in two dimensions on displays that can be saved. */
export class GpuDevice implements DeviceModel {
  /** Name for reports. */
  readonly name = "gpu";
  /** Virtio device id 16. */
  readonly deviceId: number = DeviceId.GPU;
  /** EDID. */
  readonly features: FeatureSet = FeatureSet.of(GpuFeature.EDID);
  /** Names of the bits. */
  readonly featureNames: FeatureNames = GpuFeature;
  /** Commands, and those of pointers. */
  readonly queues: readonly QueueSpec[] = [
    { name: "controlq", maxSize: 64 },
    { name: "cursorq", maxSize: 16 },
  ];
  /** Size of `struct virtio_gpu_config` in bytes. */
  readonly configSize: number = GPU_CONFIG.SIZE;
  /** Pictures that were flushed, all in all. */
  flushes = 0;
  readonly #displays: Display[];
  readonly #resources = new Map<number, Resource>();
  readonly #limit: number;
  #used = 0;
  #events = 0;
  #context: DeviceContext | undefined;
  #attached: DeviceContext | undefined;

  /**
   * Makes the device.
   *
   * @throws {RangeError} If it has no display, or more than 16.
   */
  constructor(options: GpuDeviceOptions = {}) {
    const displays = options.displays ?? [{ width: 640, height: 480 }];
    if (displays.length < 1 || displays.length > GPU_MAX_SCANOUTS) {
      throw new RangeError(`Cannot make a GPU with ${displays.length} displays, only 1 to 16`);
    }
    this.#limit = options.memory ?? 64 << 20;
    this.#displays = displays.map((size) => ({ ...size, ...blank() }));
  }

  /** Bytes that all pictures take. */
  get used(): number {
    return this.#used;
  }

  /** What a display shows, with its pointer; undefined if nothing was flushed to it. */
  screen(display = 0): Picture | undefined {
    const shown = this.#displays[display];
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
    const shown = this.#displays[display];
    if (shown === undefined) throw new RangeError(`Cannot find display ${display}`);
    shown.width = width;
    shown.height = height;
    this.#events |= GPU_EVENT_DISPLAY;
    this.#attached?.configChanged();
  }

  /** Reads the configuration. */
  readConfig(offset: number, width: ConfigWidth): number {
    const words = [this.#events, 0, this.#displays.length, 0];
    const value = words[offset >> 2]! >>> 8 * (offset & 3);
    return width === 4 ? value >>> 0 : value & 2 ** (8 * width) - 1;
  }

  /** Takes `events_clear`. */
  writeConfig(offset: number, _: ConfigWidth, value: number): void {
    if (offset === GPU_CONFIG.eventsClear.offset) this.#events &= ~value;
  }

  /** Keeps the way to report changes. */
  attach(context: DeviceContext): void {
    this.#attached = context;
  }

  /** Starts to serve the queues. */
  activate(context: DeviceContext): void {
    this.#attached = this.#context = context;
  }

  /** Serves what a queue holds. */
  notify(index: number): void {
    const queue = this.#context?.queue(index);
    if (queue === undefined) return;
    for (let chain = queue.pop(); chain !== undefined; chain = queue.pop()) {
      if (chain.readableLength < GPU_HDR.SIZE) {
        this.#context?.fault(`GPU request of ${chain.readableLength} bytes, expected 24 at least`);
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
    this.#resources.clear();
    this.#used = 0;
    for (const display of this.#displays) Object.assign(display, blank());
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
          const { width = 0, height = 0 } = this.#displays[i] ?? {};
          for (const value of [0, 0, width, height, width * height > 0 ? 1 : 0, 0]) {
            chain.writeU32(value);
          }
        }
        return void GPU_DISPLAY_SIZE;
      }
      case C.GET_EDID: {
        const display = this.#displays[word()];
        if (display === undefined) return answer(R.ERR_INVALID_SCANOUT_ID);
        answer(R.OK_EDID);
        const edid = edidOf(display.width, display.height);
        chain.writeU32(edid.length);
        chain.writeU32(0);
        chain.write(edid);
        return void chain.writeZeroes(GPU_EDID_SIZE - 8 - edid.length);
      }
      case C.RESOURCE_CREATE_2D:
        return answer(this.#create(word(), word(), word(), word()));
      case C.RESOURCE_UNREF:
        return answer(this.#unref(word()));
      case C.RESOURCE_ATTACH_BACKING:
        return answer(this.#attach(word(), word(), chain));
      case C.RESOURCE_DETACH_BACKING: {
        const resource = this.#resources.get(word());
        if (resource !== undefined) resource.backing = [];
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

  #create(id: number, format: number, width: number, height: number): number {
    if (id === 0 || this.#resources.has(id)) return R.ERR_INVALID_RESOURCE_ID;
    const shaped = width > 0 && height > 0 && width <= MAX_SIDE && height <= MAX_SIDE;
    if (!shaped || GPU_CHANNELS[format] === undefined) return R.ERR_INVALID_PARAMETER;
    const size = width * height * 4;
    if (this.#used + size > this.#limit) return R.ERR_OUT_OF_MEMORY;
    this.#used += size;
    const pixels = new Uint8Array(size);
    this.#resources.set(id, { width, height, format, pixels, backing: [] });
    return R.OK_NODATA;
  }

  #unref(id: number): number {
    const resource = this.#resources.get(id);
    if (resource === undefined) return R.ERR_INVALID_RESOURCE_ID;
    this.#used -= resource.pixels.length;
    this.#resources.delete(id);
    for (const display of this.#displays) {
      if (display.shows?.id === id) {
        Object.assign(display, { shows: undefined, picture: undefined });
      }
    }
    return R.OK_NODATA;
  }

  #attach(id: number, count: number, chain: Chain): number {
    const resource = this.#resources.get(id);
    if (resource === undefined) return R.ERR_INVALID_RESOURCE_ID;
    if (count > MAX_ENTRIES || chain.readableLeft < count * 16 || resource.backing.length > 0) {
      return R.ERR_UNSPEC;
    }
    const backing: { address: number; length: number }[] = [];
    for (let i = 0; i < count; i++) {
      const address = chain.readU64();
      const length = chain.readU32();
      chain.skip(4);
      if (this.#context?.memory(address, length) === undefined) return R.ERR_INVALID_PARAMETER;
      backing.push({ address, length });
    }
    resource.backing = backing;
    return R.OK_NODATA;
  }

  #setScanout(part: Rectangle, index: number, id: number): number {
    const display = this.#displays[index];
    if (display === undefined) return R.ERR_INVALID_SCANOUT_ID;
    if (id === 0) {
      Object.assign(display, { shows: undefined, picture: undefined });
      return R.OK_NODATA;
    }
    const resource = this.#resources.get(id);
    if (resource === undefined) return R.ERR_INVALID_RESOURCE_ID;
    if (!inside(part, resource)) return R.ERR_INVALID_PARAMETER;
    display.shows = { id, part };
    display.picture = {
      width: part.width,
      height: part.height,
      rgba: new Uint8Array(part.width * part.height * 4),
    };
    return R.OK_NODATA;
  }

  #transfer(part: Rectangle, offset: number, id: number): number {
    const resource = this.#resources.get(id);
    if (resource === undefined) return R.ERR_INVALID_RESOURCE_ID;
    if (!inside(part, resource) || resource.backing.length === 0) return R.ERR_INVALID_PARAMETER;
    const stride = resource.width * 4;
    for (let row = 0; row < part.height; row++) {
      const to = (part.y + row) * stride + part.x * 4;
      const target = resource.pixels.subarray(to, to + part.width * 4);
      if (!this.#copyBacking(resource, offset + row * stride, target)) {
        return R.ERR_INVALID_PARAMETER;
      }
    }
    return R.OK_NODATA;
  }

  /** Copies from the pieces of a picture's memory; false if they end too early. */
  #copyBacking({ backing }: Resource, offset: number, into: Uint8Array): boolean {
    let start = 0;
    let done = 0;
    for (const { address, length } of backing) {
      const from = Math.max(0, offset + done - start);
      if (from < length && done < into.length) {
        const count = Math.min(length - from, into.length - done);
        const bytes = this.#context?.memory(address + from, count);
        if (bytes === undefined) return false;
        into.set(bytes, done);
        done += count;
      }
      start += length;
    }
    return done === into.length;
  }

  #flush(part: Rectangle, id: number): number {
    const resource = this.#resources.get(id);
    if (resource === undefined) return R.ERR_INVALID_RESOURCE_ID;
    if (!inside(part, resource)) return R.ERR_INVALID_PARAMETER;
    this.flushes++;
    for (const { shows, picture } of this.#displays) {
      if (shows?.id === id && picture !== undefined) show(resource, shows.part, part, picture);
    }
    return R.OK_NODATA;
  }

  #point(type: number, index: number, x: number, y: number, id: number): number {
    const display = this.#displays[index];
    if (display === undefined) return R.ERR_INVALID_SCANOUT_ID;
    display.cursor.x = x;
    display.cursor.y = y;
    if (type === C.MOVE_CURSOR) return R.OK_NODATA;
    const resource = this.#resources.get(id);
    const fits = resource?.width === GPU_CURSOR_SIZE && resource.height === GPU_CURSOR_SIZE;
    if (id !== 0 && !fits) return R.ERR_INVALID_RESOURCE_ID;
    display.cursor.id = id;
    display.cursor.image = resource && toRgba(resource);
    return R.OK_NODATA;
  }
}

const blank = (): Pick<Display, "shows" | "picture" | "cursor"> => ({
  shows: undefined,
  picture: undefined,
  cursor: { id: 0, x: 0, y: 0, image: undefined },
});

function inside({ x, y, width, height }: Rectangle, of: Resource): boolean {
  return width > 0 && height > 0 && x + width <= of.width && y + height <= of.height;
}

/** Copies what was flushed of a picture to the part of it that a display shows. */
function show(resource: Resource, shown: Rectangle, part: Rectangle, picture: Picture): void {
  const [r, g, b, a] = GPU_CHANNELS[resource.format]!;
  const left = Math.max(shown.x, part.x);
  const top = Math.max(shown.y, part.y);
  const right = Math.min(shown.x + shown.width, part.x + part.width);
  const bottom = Math.min(shown.y + shown.height, part.y + part.height);
  for (let y = top; y < bottom; y++) {
    for (let x = left; x < right; x++) {
      const from = (y * resource.width + x) * 4;
      const to = ((y - shown.y) * picture.width + x - shown.x) * 4;
      picture.rgba[to] = resource.pixels[from + r]!;
      picture.rgba[to + 1] = resource.pixels[from + g]!;
      picture.rgba[to + 2] = resource.pixels[from + b]!;
      picture.rgba[to + 3] = a < 0 ? 255 : resource.pixels[from + a]!;
    }
  }
}

function toRgba(resource: Resource): Uint8Array {
  const { width, height } = resource;
  const picture = { width, height, rgba: new Uint8Array(width * height * 4) };
  const all = { x: 0, y: 0, width, height };
  show(resource, all, all, picture);
  return picture.rgba;
}

/** Lays a pointer's image over a picture. */
function overlay(picture: Picture, image: Uint8Array, left: number, top: number): void {
  for (let y = 0; y < GPU_CURSOR_SIZE && top + y < picture.height; y++) {
    for (let x = 0; x < GPU_CURSOR_SIZE && left + x < picture.width; x++) {
      const from = (y * GPU_CURSOR_SIZE + x) * 4;
      const to = ((top + y) * picture.width + left + x) * 4;
      const alpha = image[from + 3]! / 255;
      for (let c = 0; c < 3; c++) {
        picture.rgba[to + c] = Math.round(
          image[from + c]! * alpha + picture.rgba[to + c]! * (1 - alpha),
        );
      }
    }
  }
}
