import type { Mmio } from "./mmio.ts";

/** One register access, as seen by a {@linkcode TraceSink}. */
export interface RegisterTrace {
  /** `r` for a read and `w` for a write. */
  readonly op: "r" | "w";
  /** Name of the register window. */
  readonly window: string;
  /** Byte offset in the window. */
  readonly offset: number;
  /** Width of the access in bytes: 1, 2 or 4. */
  readonly width: 1 | 2 | 4;
  /** Value read or written. */
  readonly value: number;
}

/** Receives every register access, in program order. */
export type TraceSink = (access: RegisterTrace) => void;

/**
 * Wraps a register window so that each access is reported.
 *
 * @param mmio The window to watch.
 * @param sink Told of each access after it happened.
 * @returns A window with the same registers.
 */
export function traceMmio(mmio: Mmio, sink: TraceSink): Mmio {
  const read = (width: 1 | 2 | 4, offset: number, value: number): number => {
    sink({ op: "r", window: mmio.name, offset, width, value });
    return value;
  };
  const wrote = (width: 1 | 2 | 4, offset: number, value: number): void =>
    sink({ op: "w", window: mmio.name, offset, width, value });
  return {
    name: mmio.name,
    size: mmio.size,
    read8: (offset) => read(1, offset, mmio.read8(offset)),
    read16: (offset) => read(2, offset, mmio.read16(offset)),
    read32: (offset) => read(4, offset, mmio.read32(offset)),
    write8(offset, value) {
      mmio.write8(offset, value);
      wrote(1, offset, value);
    },
    write16(offset, value) {
      mmio.write16(offset, value);
      wrote(2, offset, value);
    },
    write32(offset, value) {
      mmio.write32(offset, value);
      wrote(4, offset, value);
    },
  };
}
