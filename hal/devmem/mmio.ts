import { hex, type Mmio, MmioRegister, VireoError } from "@vireo/hal";
import type { ShimSymbols } from "./_shim.ts";

/** Where writes mean that a device has work: a range of offsets. */
export interface NotifyOffsets {
  /** The first byte. */
  readonly start: number;
  /** The first byte after it. */
  readonly end: number;
}

/** The register of virtio-mmio whose writes mean that a device has work. */
const NOTIFY: NotifyOffsets = {
  start: MmioRegister.QueueNotify,
  end: MmioRegister.QueueNotify + 4,
};

/**
 * Registers reached by the shim; one fast FFI call per access.
 *
 * The fast path of FFI does not check its numbers (`1.5` becomes 1, `2**32` becomes 0), and an access
 * past the mapping ends the process, so offset and value are checked here.
 */
export class DevmemMmio implements Mmio {
  readonly name: string;
  readonly size: number;
  readonly #symbols: ShimSymbols;
  readonly #kicked: () => void;
  readonly #notifyStart: number;
  readonly #notifyEnd: number;
  #base: Deno.PointerObject | null;

  /**
   * @param name Name for messages.
   * @param size Size of the window in bytes.
   * @param base Where the window is mapped.
   * @param symbols The shim's functions.
   * @param kicked Told after each write that notifies, which the device may answer at once.
   * @param notify Which these are; virtio-mmio's QueueNotify by default.
   */
  constructor(
    window: { readonly name: string; readonly size: number },
    base: Deno.PointerObject,
    symbols: ShimSymbols,
    kicked: () => void,
    notify: NotifyOffsets = NOTIFY,
  ) {
    this.name = window.name;
    this.size = window.size;
    this.#base = base;
    this.#symbols = symbols;
    this.#kicked = kicked;
    this.#notifyStart = notify.start;
    this.#notifyEnd = notify.end;
  }

  read8(offset: number): number {
    this.#check(offset, 1);
    return this.#symbols.vireo_read8(this.#base, offset);
  }

  read16(offset: number): number {
    this.#check(offset, 2);
    return this.#symbols.vireo_read16(this.#base, offset);
  }

  read32(offset: number): number {
    this.#check(offset, 4);
    return this.#symbols.vireo_read32(this.#base, offset);
  }

  write8(offset: number, value: number): void {
    this.#check(offset, 1);
    checkValue(value, 0xff);
    this.#symbols.vireo_write8(this.#base, offset, value);
  }

  write16(offset: number, value: number): void {
    this.#check(offset, 2);
    checkValue(value, 0xffff);
    this.#symbols.vireo_write16(this.#base, offset, value);
    if (offset >= this.#notifyStart && offset < this.#notifyEnd) this.#kicked();
  }

  write32(offset: number, value: number): void {
    this.#check(offset, 4);
    checkValue(value, 0xffff_ffff);
    this.#symbols.vireo_write32(this.#base, offset, value);
    if (offset >= this.#notifyStart && offset < this.#notifyEnd) this.#kicked();
  }

  /** Makes every further access an error, before the mapping goes. */
  close(): void {
    this.#base = null;
  }

  #check(offset: number, width: number): void {
    // A fraction, NaN or a number from 2^31 on does not survive the `| 0`.
    if ((offset | 0) === offset && offset >= 0 && offset + width <= this.size) {
      if ((offset & (width - 1)) === 0 && this.#base !== null) return;
    }
    if (this.#base === null) {
      throw new VireoError("BAD_ACCESS", "The register window is closed", { device: this.name });
    }
    throw new VireoError("BAD_ACCESS", `Cannot access ${width} bytes at this register offset`, {
      device: this.name,
      seen: Number.isInteger(offset) ? hex(offset) : String(offset),
      expected: `a multiple of ${width} below ${hex(this.size)}`,
    });
  }
}

function checkValue(value: number, max: number): void {
  if (value >>> 0 === value && value <= max) return;
  throw new RangeError(`Cannot write a register value outside 0 to ${hex(max)}: received ${value}`);
}
