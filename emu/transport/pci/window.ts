import type { Mmio, RegisterSink } from "@vireo/hal";
import type { ConfigWidth } from "../../device.ts";

/** What is behind a window: accesses are aligned and inside. */
export interface WindowHandler {
  read(offset: number, width: ConfigWidth): number;
  write(offset: number, width: ConfigWidth, value: number): void;
}

/** What a bus answers where nothing is. */
export function allOnes(width: ConfigWidth): number {
  return 2 ** (8 * width) - 1;
}

/**
 * A range of a function's address space as a driver has it: a misaligned access, or one outside, is the
 * driver's own error.
 */
export class RegisterWindow implements Mmio {
  /** Name for messages and traces. */
  readonly name: string;
  /** Size in bytes. */
  readonly size: number;
  readonly #handler: WindowHandler;
  readonly #trace: RegisterSink | undefined;

  /** Opens a window. */
  constructor(name: string, size: number, handler: WindowHandler, trace?: RegisterSink) {
    this.name = name;
    this.size = size;
    this.#handler = handler;
    this.#trace = trace;
  }

  /** Reads one byte. */
  read8(offset: number): number {
    return this.#read(offset, 1);
  }

  /** Reads a 16-bit word. */
  read16(offset: number): number {
    return this.#read(offset, 2);
  }

  /** Reads a 32-bit word. */
  read32(offset: number): number {
    return this.#read(offset, 4);
  }

  /** Writes one byte. */
  write8(offset: number, value: number): void {
    this.#write(offset, 1, value & 0xff);
  }

  /** Writes a 16-bit word. */
  write16(offset: number, value: number): void {
    this.#write(offset, 2, value & 0xffff);
  }

  /** Writes a 32-bit word. */
  write32(offset: number, value: number): void {
    this.#write(offset, 4, value >>> 0);
  }

  #read(offset: number, width: ConfigWidth): number {
    this.#check(offset, width);
    const value = this.#handler.read(offset, width) >>> 0;
    this.#trace?.({ op: "r", window: this.name, offset, width, value });
    return value;
  }

  #write(offset: number, width: ConfigWidth, value: number): void {
    this.#check(offset, width);
    this.#handler.write(offset, width, value);
    this.#trace?.({ op: "w", window: this.name, offset, width, value });
  }

  #check(offset: number, width: ConfigWidth): void {
    if (Number.isInteger(offset) && offset >= 0 && offset % width === 0) {
      if (offset + width <= this.size) return;
    }
    throw new RangeError(
      `Cannot access ${width} bytes at 0x${
        offset.toString(16)
      } of ${this.name}, which has ${this.size}`,
    );
  }
}
