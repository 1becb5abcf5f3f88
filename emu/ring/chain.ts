import { DescFlag } from "@vireo/hal";
import type { Chain } from "../device.ts";
import type { GuestMemory } from "../memory.ts";
import type { WorkMeter } from "../work.ts";
import { Copier } from "./copier.ts";

/** The longest chain in bytes (virtio 1.4 §2.7.5.1). */
const MAX_CHAIN_BYTES = 2 ** 32;
/** Elements a chain has room for at first. */
const INITIAL = 8;

/**
 * A chain of a ring. The queue reuses the object: it fills it, and checks every element before a device
 * model sees it.
 */
export class RingChain implements Chain {
  /** Index of the head descriptor. */
  head = 0;
  /** The queue that it belongs to. */
  readonly owner: object;
  readableLength = 0;
  writableLength = 0;
  /** Position of the read and of the write cursor in bytes, from the start of their part. */
  #readAt = 0;
  #writeAt = 0;
  written = 0;
  /** Whether a device model holds it. */
  held = false;
  /** Split: available index at which it was taken. Packed: number of chains taken before it. */
  takenAt = 0;
  /** Packed: place of its first descriptor in the ring, and number of descriptors there. */
  start = 0;
  descriptors = 0;

  readonly #memory: GuestMemory;
  readonly #copier: Copier;
  readonly #work: WorkMeter | undefined;
  /** Byte offsets in guest memory. */
  #offsets: Float64Array = new Float64Array(INITIAL);
  #lengths: Uint32Array = new Uint32Array(INITIAL);
  #count = 0;
  #readable = 0;
  /** Element of each cursor, and how far into it. */
  #readElement = 0;
  #readInto = 0;
  #writeElement = 0;
  #writeInto = 0;

  /**
   * Makes a chain for a queue, empty; bytes that are copied from and to it are counted.
   *
   * @param copier Copies them; the chains of a queue share one.
   */
  constructor(
    owner: object,
    memory: GuestMemory,
    work?: WorkMeter,
    copier: Copier = new Copier(memory),
  ) {
    this.owner = owner;
    this.#work = work;
    this.#copier = copier;
    this.#memory = memory;
  }

  get readableLeft(): number {
    return this.readableLength - this.#readAt;
  }

  get writableLeft(): number {
    return this.writableLength - this.#writeAt;
  }

  /** Its elements: offset in guest memory, length, and whether the device may write it. */
  elements(): (readonly [number, number, boolean])[] {
    return Array.from(
      { length: this.#count },
      (_, i) => [this.#offsets[i]!, this.#lengths[i]!, i >= this.#readable] as const,
    );
  }

  /** Empties the chain for a new walk. */
  clear(): void {
    this.#count = 0;
    this.#readable = 0;
    this.readableLength = 0;
    this.writableLength = 0;
  }

  /** Elements so far. */
  get count(): number {
    return this.#count;
  }

  /** Appends an element of any address and length; returns what is wrong with it, if anything. */
  tryAppend(address: number, bytes: number, flags: number): string | undefined {
    const writable = (flags & DescFlag.WRITE) !== 0;
    if (!writable && this.#count > this.#readable) {
      return "a readable element follows a writable one";
    }
    const offset = this.#memory.offset(address, bytes);
    if (offset < 0) {
      return `element at 0x${address.toString(16)}, ${bytes} bytes, is outside guest memory`;
    }
    if (this.readableLength + this.writableLength + bytes > MAX_CHAIN_BYTES) {
      return "a chain has over 2^32 bytes";
    }
    this.append(offset, bytes, writable);
    return undefined;
  }

  /** Appends a checked element. */
  append(offset: number, length: number, writable: boolean): void {
    const i = this.#count;
    if (i === this.#lengths.length) this.#grow();
    this.#offsets[i] = offset;
    this.#lengths[i] = length;
    this.#count = i + 1;
    if (writable) this.writableLength += length;
    else {
      this.#readable = i + 1;
      this.readableLength += length;
    }
  }

  /** Makes the chain consist of one checked element, as most chains do. */
  single(offset: number, length: number, writable: boolean): void {
    this.#offsets[0] = offset;
    this.#lengths[0] = length | 0;
    this.#count = 1;
    if (writable) {
      this.#readable = 0;
      this.readableLength = 0;
      this.writableLength = length;
    } else {
      this.#readable = 1;
      this.readableLength = length;
      this.writableLength = 0;
    }
    this.finish();
  }

  /** Moves the cursors to the start. */
  finish(): void {
    this.#readAt = 0;
    this.#readElement = 0;
    this.#readInto = 0;
    this.#writeAt = 0;
    this.#writeElement = this.#readable;
    this.#writeInto = 0;
    this.written = 0;
    this.held = true;
  }

  read(into: Uint8Array, offset = 0, length: number = into.length - offset): number {
    const total = least(length, this.readableLength - this.#readAt, into.length - offset);
    this.#work?.carried(total);
    let done = 0;
    while (done < total) {
      const left = this.#lengths[this.#readElement]! - this.#readInto;
      const n = left < total - done ? left : total - done;
      const from = this.#offsets[this.#readElement]! + this.#readInto;
      this.#copier.read(from, into, offset + done, n);
      this.#advanceRead(n);
      done += n;
    }
    return done;
  }

  skip(length: number): number {
    const total = Math.min(length, this.readableLeft);
    let done = 0;
    while (done < total) {
      const n = Math.min(this.#lengths[this.#readElement]! - this.#readInto, total - done);
      this.#advanceRead(n);
      done += n;
    }
    return done;
  }

  readU8(): number {
    // Elements of length 0 are allowed.
    while (this.#readElement < this.#readable) {
      if (this.#readInto < this.#lengths[this.#readElement]!) {
        const at = this.#offsets[this.#readElement]! + this.#readInto;
        this.#readInto++;
        this.#readAt++;
        return this.#memory.bytes[at]!;
      }
      this.#readElement++;
      this.#readInto = 0;
    }
    return 0;
  }

  readU16(): number {
    return this.readU8() | this.readU8() << 8;
  }

  readU32(): number {
    const into = this.#readInto;
    if (this.#readElement < this.#readable && into + 4 <= this.#lengths[this.#readElement]!) {
      const at = this.#offsets[this.#readElement]! + into;
      this.#readInto = into + 4;
      this.#readAt += 4;
      const bytes = this.#memory.bytes;
      return (bytes[at]! | bytes[at + 1]! << 8 | bytes[at + 2]! << 16 | bytes[at + 3]! << 24) >>> 0;
    }
    return (this.readU16() | this.readU16() << 16) >>> 0;
  }

  readU64(): number {
    const low = this.readU32();
    return this.readU32() * 0x1_0000_0000 + low;
  }

  write(bytes: Uint8Array, offset = 0, length: number = bytes.length - offset): number {
    const total = least(length, this.writableLength - this.#writeAt, bytes.length - offset);
    this.#work?.carried(total);
    let done = 0;
    while (done < total) {
      const left = this.#lengths[this.#writeElement]! - this.#writeInto;
      const n = left < total - done ? left : total - done;
      const to = this.#offsets[this.#writeElement]! + this.#writeInto;
      this.#copier.write(bytes, offset + done, to, n);
      this.#advanceWrite(n);
      done += n;
    }
    return done;
  }

  writeZeroes(length: number): number {
    const total = Math.min(length, this.writableLeft);
    this.#work?.carried(total);
    let done = 0;
    while (done < total) {
      const n = Math.min(this.#lengths[this.#writeElement]! - this.#writeInto, total - done);
      const to = this.#offsets[this.#writeElement]! + this.#writeInto;
      this.#memory.bytes.fill(0, to, to + n);
      this.#advanceWrite(n);
      done += n;
    }
    return done;
  }

  writeU8(value: number): void {
    while (this.#writeElement < this.#count) {
      if (this.#writeInto < this.#lengths[this.#writeElement]!) {
        this.#memory.bytes[this.#offsets[this.#writeElement]! + this.#writeInto] = value;
        this.#advanceWrite(1);
        return;
      }
      this.#writeElement++;
    }
  }

  writeU16(value: number): void {
    this.writeU8(value & 0xff);
    this.writeU8(value >>> 8 & 0xff);
  }

  writeU32(value: number): void {
    this.writeU16(value & 0xffff);
    this.writeU16(value >>> 16);
  }

  seekWrite(position: number): void {
    const target = Math.max(0, Math.min(position, this.writableLength));
    let element = this.#readable;
    let left = target;
    while (element < this.#count && left >= this.#lengths[element]!) {
      left -= this.#lengths[element]!;
      element++;
    }
    this.#writeElement = element;
    this.#writeInto = left;
    this.#writeAt = target;
  }

  #advanceRead(n: number): void {
    this.#readAt += n;
    this.#readInto += n;
    if (this.#readInto === this.#lengths[this.#readElement]!) {
      this.#readElement++;
      this.#readInto = 0;
    }
  }

  #advanceWrite(n: number): void {
    this.#writeAt += n;
    if (this.#writeAt > this.written) this.written = this.#writeAt;
    this.#writeInto += n;
    if (this.#writeInto === this.#lengths[this.#writeElement]!) {
      this.#writeElement++;
      this.#writeInto = 0;
    }
  }

  #grow(): void {
    const offsets = new Float64Array(this.#offsets.length * 2);
    const lengths = new Uint32Array(this.#lengths.length * 2);
    offsets.set(this.#offsets);
    lengths.set(this.#lengths);
    this.#offsets = offsets;
    this.#lengths = lengths;
  }
}

/** The least of three; `Math.min` of numbers that may be fractions takes V8 longer than two comparisons. */
function least(a: number, b: number, c: number): number {
  const less = a < b ? a : b;
  return less < c ? less : c;
}
