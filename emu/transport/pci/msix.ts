import { MSIX_CAP, MSIX_ENABLE, MSIX_ENTRY, MSIX_MASK_ALL } from "@vireo/hal";
import type { ConfigWidth } from "../../device.ts";
import { readBytes, writeBytes } from "./bytes.ts";

/** Offset of the pending bits in the table's BAR. */
export const PBA_OFFSET = 0x800;
/** The BAR of table and pending bits, and its size in bytes. */
export const MSIX_BAR = { index: 1, size: 0x1000 } as const;
/** The most vectors that fit before the pending bits. */
export const MAX_VECTORS: number = PBA_OFFSET / MSIX_ENTRY.SIZE;
/** An entry's control: the vector is masked. */
const MASKED = 1;

/** The MSI-X table of a function, with its pending bits (PCI 3.0 §6.8). */
export class MsixTable {
  /** Number of vectors. */
  readonly size: number;
  /** The contents of the BAR: table and pending bits. */
  readonly bytes: Uint8Array = new Uint8Array(MSIX_BAR.size);
  /** Message control of the capability: enable and mask all. */
  control = 0;
  readonly #send: (address: number, data: number) => void;
  #busMaster = false;

  /**
   * Makes a table with all vectors masked.
   *
   * @param size Number of vectors.
   * @param send Writes a message.
   */
  constructor(size: number, send: (address: number, data: number) => void) {
    this.size = size;
    this.#send = send;
    this.reset();
  }

  /** Masks all vectors and forgets what was written and what is pending. */
  reset(): void {
    this.bytes.fill(0);
    for (let i = 0; i < this.size; i++) {
      this.bytes[i * MSIX_ENTRY.SIZE + MSIX_ENTRY.control.offset] = MASKED;
    }
  }

  /** Whether the function sends messages instead of raising the line. */
  get enabled(): boolean {
    return (this.control & MSIX_ENABLE) !== 0;
  }

  /** The capability's bytes, without the next pointer. */
  capability(): number[] {
    const cap = new Uint8Array(MSIX_CAP.SIZE);
    writeBytes(cap, MSIX_CAP.control.offset, 2, this.size - 1);
    writeBytes(cap, MSIX_CAP.table.offset, 4, MSIX_BAR.index);
    writeBytes(cap, MSIX_CAP.pba.offset, 4, PBA_OFFSET | MSIX_BAR.index);
    return [...cap];
  }

  /** Takes a write of message control; sends pending messages that it unmasks. */
  writeControl(value: number): void {
    this.control = value & (MSIX_ENABLE | MSIX_MASK_ALL);
    this.#sendPending();
  }

  /** Allows or forbids messages, which are memory writes; pending ones wait until they are allowed. */
  setBusMaster(on: boolean): void {
    this.#busMaster = on;
    if (on) this.#sendPending();
  }

  /** Sends a vector's message, or marks it as pending while it is masked. */
  fire(vector: number): void {
    if (!this.enabled || vector >= this.size) return;
    if (this.#masked(vector)) {
      this.bytes[PBA_OFFSET + (vector >> 3)]! |= 1 << (vector & 7);
      return;
    }
    const at = vector * MSIX_ENTRY.SIZE;
    const low = readBytes(this.bytes, at + MSIX_ENTRY.address.offset, 4);
    const high = readBytes(this.bytes, at + MSIX_ENTRY.address.offset + 4, 4);
    this.#send(high * 2 ** 32 + low, readBytes(this.bytes, at + MSIX_ENTRY.data.offset, 4));
  }

  /** Reads the BAR. */
  read(offset: number, width: ConfigWidth): number {
    return readBytes(this.bytes, offset, width);
  }

  /** Writes the table; pending bits are read-only. */
  write(offset: number, width: ConfigWidth, value: number): void {
    if (offset + width > this.size * MSIX_ENTRY.SIZE) return;
    writeBytes(this.bytes, offset, width, value);
    this.#sendPending();
  }

  #masked(vector: number): boolean {
    if ((this.control & MSIX_MASK_ALL) !== 0 || !this.#busMaster) return true;
    const at = vector * MSIX_ENTRY.SIZE + MSIX_ENTRY.control.offset;
    return (this.bytes[at]! & MASKED) !== 0;
  }

  #sendPending(): void {
    for (let vector = 0; vector < this.size; vector++) {
      const at = PBA_OFFSET + (vector >> 3);
      const bit = 1 << (vector & 7);
      if ((this.bytes[at]! & bit) === 0 || !this.enabled || this.#masked(vector)) continue;
      this.bytes[at]! &= ~bit;
      this.fire(vector);
    }
  }
}
