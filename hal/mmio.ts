/**
 * A window of device registers; each call is exactly one bus access of that width, in program
 * order. Offsets are bytes from the start of the window.
 */
export interface Mmio {
  /** Name for messages and traces, for example `virtio-mmio@a003e00`. */
  readonly name: string;
  /** Size of the window in bytes. */
  readonly size: number;
  /** Reads one byte. */
  read8(offset: number): number;
  /** Reads a little-endian 16-bit word; the offset must be a multiple of 2. */
  read16(offset: number): number;
  /** Reads a little-endian 32-bit word (unsigned); the offset must be a multiple of 4. */
  read32(offset: number): number;
  /** Writes one byte. */
  write8(offset: number, value: number): void;
  /** Writes a little-endian 16-bit word; the offset must be a multiple of 2. */
  write16(offset: number, value: number): void;
  /** Writes a little-endian 32-bit word; the offset must be a multiple of 4. */
  write32(offset: number, value: number): void;
}
