import type { Chain } from "../device.ts";

/** A chain whose two parts are plain arrays. */
export class ArrayChain implements Chain {
  readonly head: number;
  readonly readable: Uint8Array;
  readonly writable: Uint8Array;
  written = 0;
  #read = 0;
  #write = 0;

  constructor(readable: Uint8Array, writable: Uint8Array, head = 0) {
    this.head = head;
    this.readable = readable;
    this.writable = writable;
  }

  get readableLength(): number {
    return this.readable.length;
  }
  get writableLength(): number {
    return this.writable.length;
  }
  get readableLeft(): number {
    return this.readable.length - this.#read;
  }
  get writableLeft(): number {
    return this.writable.length - this.#write;
  }
  read(into: Uint8Array, offset = 0, length: number = into.length - offset): number {
    const n = Math.min(length, this.readableLeft);
    into.set(this.readable.subarray(this.#read, this.#read + n), offset);
    this.#read += n;
    return n;
  }
  readU8(): number {
    return this.readableLeft > 0 ? this.readable[this.#read++]! : 0;
  }
  readU16(): number {
    return this.readU8() | this.readU8() << 8;
  }
  readU32(): number {
    return (this.readU16() | this.readU16() << 16) >>> 0;
  }
  readU64(): number {
    return this.readU32() + this.readU32() * 2 ** 32;
  }
  skip(length: number): number {
    const n = Math.min(length, this.readableLeft);
    this.#read += n;
    return n;
  }
  write(bytes: Uint8Array, offset = 0, length: number = bytes.length - offset): number {
    const n = Math.min(length, this.writableLeft);
    this.writable.set(bytes.subarray(offset, offset + n), this.#write);
    this.#wrote(n);
    return n;
  }
  writeZeroes(length: number): number {
    return this.write(new Uint8Array(Math.min(length, this.writableLeft)));
  }
  writeU8(value: number): void {
    this.write(Uint8Array.of(value));
  }
  writeU16(value: number): void {
    this.write(Uint8Array.of(value, value >> 8));
  }
  writeU32(value: number): void {
    this.writeU16(value);
    this.writeU16(value >>> 16);
  }
  seekWrite(position: number): void {
    this.#write = position;
  }
  #wrote(n: number): void {
    this.#write += n;
    this.written = Math.max(this.written, this.#write);
  }
}
