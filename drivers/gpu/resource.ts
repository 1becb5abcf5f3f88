import { type DmaRegion, GPU_CHANNELS, type GpuFormat } from "@vireo/hal";
import { type WaitOptions, within } from "../wait/mod.ts";
import { Canvas } from "./canvas.ts";
import type { Gpu } from "./driver.ts";

/** A part of a picture, in pixels. */
export interface GpuRectangle {
  /** From the left. */
  readonly x: number;
  /** From the top. */
  readonly y: number;
  /** Pixels in a row. */
  readonly width: number;
  /** Rows. */
  readonly height: number;
}

/**
 * A picture on the host, with memory of the guest behind it.
 *
 * @example
 * ```ts
 * import { Bus } from "@vireo/drivers/bus";
 * import { gpuDriver } from "@vireo/drivers/gpu";
 * import { EmulatedMachine } from "@vireo/emu/core";
 * import { GpuDevice } from "@vireo/emu/gpu";
 * import { assertEquals } from "@std/assert";
 *
 * const device = new GpuDevice();
 * await using machine = EmulatedMachine.create({ devices: [device] });
 * await using bus = new Bus();
 * await bus.registerDriver(gpuDriver);
 * await bus.addPlatform(machine);
 * const gpu = bus.get(gpuDriver)!;
 * await using picture = await gpu.create(8, 4);
 * await gpu.setScanout(0, picture);
 * picture.canvas().fill(0, 0, 8, 4, [255, 0, 0]);
 * // The host sees what is flushed: here the left half.
 * await picture.flush({ x: 0, y: 0, width: 4, height: 4 });
 * const { rgba } = device.screen()!;
 * assertEquals([rgba[0], rgba[16]], [255, 0]);
 * ```
 */
export class GpuResource implements AsyncDisposable {
  /** Its number. */
  readonly id: number;
  /** Pixels in a row. */
  readonly width: number;
  /** Rows. */
  readonly height: number;
  /** The order of a pixel's bytes. */
  readonly format: GpuFormat;
  /** Whether the host reads the guest's memory itself, so that nothing is transferred. */
  readonly blob: boolean;
  /** The guest's pixels; {@linkcode GpuResource.flush} shows them. */
  readonly pixels: Uint8Array;
  readonly #gpu: Gpu;
  readonly #pieces: DmaRegion[];

  /** Wraps a picture; {@linkcode Gpu.create} makes it. */
  constructor(
    gpu: Gpu,
    shape: Pick<GpuResource, "id" | "width" | "height" | "format" | "blob">,
    pieces: DmaRegion[],
  ) {
    this.#gpu = gpu;
    this.id = shape.id;
    this.width = shape.width;
    this.height = shape.height;
    this.format = shape.format;
    this.blob = shape.blob;
    this.#pieces = pieces;
    this.pixels = pieces.length === 1
      ? pieces[0]!.bytes
      : new Uint8Array(this.width * this.height * 4);
  }

  /** Draws on the pixels. */
  canvas(): Canvas {
    return new Canvas(this.pixels, this.width, this.height, GPU_CHANNELS[this.format]!);
  }

  /** Shows a part of the picture, or all of it, on the displays that have it. */
  async flush(part?: GpuRectangle, options: WaitOptions = {}): Promise<void> {
    const { width, height } = this;
    const rectangle = part ?? { x: 0, y: 0, width, height };
    if (this.#pieces.length > 1) {
      let at = 0;
      for (const piece of this.#pieces) {
        const { bytes } = piece;
        bytes.set(this.pixels.subarray(at, at += bytes.length));
        piece.copied?.(bytes.length);
      }
    }
    const call = within(options);
    if (!this.blob) await this.#gpu.transfer(this, rectangle, call);
    await this.#gpu.flush(this, rectangle, call);
  }

  /** Frees its memory, once the host has let it go; the device does it. */
  free(): void {
    for (const piece of this.#pieces.splice(0)) piece[Symbol.dispose]();
  }

  /** Takes the picture away, and frees its memory. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.#gpu.unref(this);
  }
}
