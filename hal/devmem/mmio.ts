import { hex, type Mmio, MmioRegister, VireoError } from "@vireo/hal";
import type { ShimSymbols } from "./_shim.ts";

/** The range of offsets where a write notifies the device. */
interface NotifyOffsets {
  /** The first byte. */
  readonly start: number;
  /** The first byte after it. */
  readonly end: number;
}

/** The register of virtio-mmio that notifies the device. */
const NOTIFY: NotifyOffsets = {
  start: MmioRegister.QueueNotify,
  end: MmioRegister.QueueNotify + 4,
};

/**
 * Registers behind the shim; each access is one fast FFI call.
 *
 * FFI's fast path does not check its numbers (`1.5` becomes 1, `2**32` becomes 0), and an access past the
 * mapping kills the process, so this class checks offset and value.
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
   * @param window Name for messages, and size in bytes.
   * @param base Where the window is mapped.
   * @param symbols The shim's functions.
   * @param kicked Called after each write that notifies the device, which may answer at once.
   * @param notify The offsets of those writes; virtio-mmio's QueueNotify by default.
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

  /** Makes every further access an error; called before the mapping is removed. */
  close(): void {
    this.#base = null;
  }

  #check(offset: number, width: number): void {
    // `| 0` changes a fraction, NaN and every number from 2^31 on.
    if ((offset | 0) === offset && offset >= 0 && offset + width <= this.size) {
      if ((offset & (width - 1)) === 0 && this.#base !== null) return;
    }
    if (this.#base === null) {
      throw new VireoError("BAD_ACCESS", "Cannot access a register: the window is closed", {
        device: this.name,
      });
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
  throw new RangeError(`Cannot write ${value} to a register: expected 0 to ${hex(max)}`);
}
