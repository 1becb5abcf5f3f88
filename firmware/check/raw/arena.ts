import type { DmaRegion } from "@vireo/hal";
import type { Log } from "./log.ts";

/** Byte that untouched memory of the arena holds. */
const BLANK = 0xee;

/**
 * The memory that the raw driver gives the device: rings from the front, buffers behind them. What is written
 * through it is noted, so that it can be written again.
 */
export class Arena {
  /** Address of the first byte, as the device sees it. */
  readonly base: number;
  /** Bytes of it. */
  readonly size: number;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #log: Log;
  #next = 0;
  /** Ranges that the device may write: buffers, and its parts of rings. */
  #device: (readonly [from: number, to: number])[] = [];
  /** Contents at the time when the device was given the memory. */
  #before: Uint8Array | undefined;

  /** Takes a region that starts at a page. */
  constructor(region: DmaRegion, log: Log) {
    this.base = region.address;
    this.size = region.bytes.length;
    this.#bytes = region.bytes;
    this.#view = new DataView(region.bytes.buffer, region.bytes.byteOffset, region.bytes.length);
    this.#log = log;
    this.clear();
  }

  /** Makes all of it blank and free. */
  clear(): void {
    // Bytes that no check has touched are blank already.
    this.#bytes.fill(BLANK, 0, this.#before === undefined ? this.size : this.#next);
    this.#before ??= new Uint8Array(this.size).fill(BLANK);
    this.#before.fill(BLANK, 0, this.#next);
    this.#next = 0;
    this.#device = [];
  }

  /** Takes bytes, with blank ones before and after them. @returns The offset in the arena. */
  take(length: number, align = 16): number {
    const at = Math.ceil((this.#next + 32) / align) * align;
    if (at + length + 32 > this.size) throw new RangeError("Cannot take more memory of the arena");
    this.#next = at + length + 32;
    return at;
  }

  /** Address of an offset, as the device sees it. */
  address(at: number): number {
    return this.base + at;
  }

  /** Lets the device write a range. */
  lend(at: number, length: number): void {
    this.#device.push([at, at + length]);
  }

  /** Writes bytes. */
  put(at: number, bytes: Uint8Array): void {
    this.#put(at, bytes.slice());
  }

  /** Writes bytes that nothing else writes to: the log keeps them. */
  #put(at: number, bytes: Uint8Array): void {
    this.#log.add({ op: "bytes", at, bytes });
    this.#bytes.set(bytes, at);
    this.#before!.set(bytes, at);
  }

  /** Writes the same byte to a range. */
  fill(at: number, length: number, value: number): void {
    this.#put(at, new Uint8Array(length).fill(value));
  }

  /** Writes a little-endian 16-bit word. */
  put16(at: number, value: number): void {
    this.#put(at, Uint8Array.of(value & 0xff, value >>> 8 & 0xff));
  }

  /** Writes a little-endian 32-bit word. */
  put32(at: number, value: number): void {
    this.#put(at, Uint8Array.of(value, value >>> 8, value >>> 16, value >>> 24));
  }

  /** Writes a 64-bit address; one in the arena moves with it. */
  putAddress(at: number, address: number | bigint): void {
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setBigUint64(0, BigInt(address), true);
    const to = typeof address === "bigint" ? -1 : address - this.base;
    if (to < 0 || to >= this.size) return this.#put(at, bytes);
    this.#log.add({ op: "pointer", at, to });
    this.#bytes.set(bytes, at);
    this.#before!.set(bytes, at);
  }

  /** Reads a 16-bit word. */
  get16(at: number): number {
    // The device writes from another thread or process; a plain load could be merged with one before.
    return Atomics.load(new Uint16Array(this.#bytes.buffer, this.#bytes.byteOffset + at, 1), 0);
  }

  /** Reads a 32-bit word. */
  get32(at: number): number {
    return this.#view.getUint32(at, true);
  }

  /** A copy of bytes. */
  get(at: number, length: number): Uint8Array {
    return this.#bytes.slice(at, at + length);
  }

  /**
   * Finds a byte that changed though the device had not been given it.
   *
   * @returns Its offset; undefined if there is none.
   */
  damage(): number | undefined {
    const words = new Uint32Array(this.#bytes.buffer, this.#bytes.byteOffset, this.size >>> 2);
    const before = new Uint32Array(this.#before!.buffer);
    // Words first: there may be hundreds of thousands of bytes.
    for (let word = 0; word < this.#next >>> 2; word++) {
      if (words[word] === before[word]) continue;
      for (let at = 4 * word; at < 4 * word + 4; at++) {
        const lent = this.#device.some(([from, to]) => at >= from && at < to);
        if (this.#bytes[at] !== this.#before![at] && !lent) return at;
      }
    }
    return undefined;
  }
}
