/**
 * A ring without a ring: hands the chains of a driver to a device model, for tests of one side alone.
 *
 * @module
 */
import type { FeatureSet } from "@vireo/hal";
import type { Chain, DeviceContext, DeviceQueue } from "../../device.ts";
import { WorkMeter } from "../../work.ts";

/** A chain over plain byte arrays. */
export class FakeChain implements Chain {
  readonly head: number;
  readonly #in: Uint8Array;
  readonly #out: readonly Uint8Array[];
  readonly readableLength: number;
  readonly writableLength: number;
  #read = 0;
  #write = 0;
  #end = 0;

  constructor(head: number, readable: readonly Uint8Array[], writable: readonly Uint8Array[]) {
    this.head = head;
    this.readableLength = readable.reduce((sum, part) => sum + part.length, 0);
    this.writableLength = writable.reduce((sum, part) => sum + part.length, 0);
    this.#in = new Uint8Array(this.readableLength);
    let at = 0;
    for (const part of readable) {
      this.#in.set(part, at);
      at += part.length;
    }
    this.#out = writable;
  }

  get readableLeft(): number {
    return this.readableLength - this.#read;
  }

  get writableLeft(): number {
    return this.writableLength - this.#write;
  }

  get written(): number {
    return this.#end;
  }

  read(into: Uint8Array, offset = 0, length: number = into.length - offset): number {
    const size = Math.min(length, this.readableLeft);
    into.set(this.#in.subarray(this.#read, this.#read + size), offset);
    this.#read += size;
    return size;
  }

  readU8(): number {
    return this.#little(1);
  }

  readU16(): number {
    return this.#little(2);
  }

  readU32(): number {
    return this.#little(4);
  }

  readU64(): number {
    return this.#little(8);
  }

  skip(length: number): number {
    const size = Math.min(length, this.readableLeft);
    this.#read += size;
    return size;
  }

  write(bytes: Uint8Array, offset = 0, length: number = bytes.length - offset): number {
    const size = Math.min(length, this.writableLeft);
    for (let i = 0; i < size; i++) this.#put(bytes[offset + i]!);
    return size;
  }

  writeZeroes(length: number): number {
    const size = Math.min(length, this.writableLeft);
    for (let i = 0; i < size; i++) this.#put(0);
    return size;
  }

  writeU8(value: number): void {
    this.#put(value);
  }

  writeU16(value: number): void {
    this.write(Uint8Array.of(value, value >>> 8));
  }

  writeU32(value: number): void {
    this.write(Uint8Array.of(value, value >>> 8, value >>> 16, value >>> 24));
  }

  seekWrite(position: number): void {
    this.#write = position;
  }

  #little(width: number): number {
    let value = 0;
    for (let i = 0; i < width; i++) value += (this.#in[this.#read + i] ?? 0) * 2 ** (8 * i);
    this.skip(width);
    return value;
  }

  #put(byte: number): void {
    let at = this.#write++;
    this.#end = Math.max(this.#end, this.#write);
    for (const part of this.#out) {
      if (at < part.length) {
        part[at] = byte;
        return;
      }
      at -= part.length;
    }
  }
}

/** A returned chain. */
interface UsedChain {
  readonly head: number;
  readonly written: number;
}

/** The device's end of one queue, and what a test puts into it and takes out. */
export class FakeDeviceQueue implements DeviceQueue {
  readonly index: number;
  readonly size: number;
  readonly available: FakeChain[] = [];
  readonly used: UsedChain[] = [];
  /** How many chains came back with each push. */
  readonly batches: number[] = [];
  signals = 0;
  onSignal: (() => void) | undefined;

  constructor(index: number, size = 256) {
    this.index = index;
    this.size = size;
  }

  pop(): Chain | undefined {
    return this.available.shift();
  }

  hasAvailable(): boolean {
    return this.available.length > 0;
  }

  push(chain: Chain, written: number = chain.written): void {
    this.used.push({ head: chain.head, written });
    this.batches.push(1);
  }

  pushAll(chains: readonly Chain[], written: readonly number[]): void {
    chains.forEach((chain, i) => this.used.push({ head: chain.head, written: written[i]! }));
    this.batches.push(chains.length);
  }

  signal(): void {
    this.signals++;
    this.onSignal?.();
  }

  setNotify(): void {}
}

/** What a model is activated with. */
export class FakeContext implements DeviceContext {
  readonly features: FeatureSet;
  readonly legacy: boolean;
  readonly work: WorkMeter = new WorkMeter(() => {});
  readonly faults: string[] = [];
  readonly queues: Map<number, FakeDeviceQueue> = new Map();
  changes = 0;
  onChange: (() => void) | undefined;

  constructor(features: FeatureSet, queues: number, legacy = false, size = 256) {
    this.features = features;
    this.legacy = legacy;
    for (let i = 0; i < queues; i++) this.queues.set(i, new FakeDeviceQueue(i, size));
  }

  queue(index: number): FakeDeviceQueue | undefined {
    return this.faults.length > 0 ? undefined : this.queues.get(index);
  }

  memory(): undefined {
    return undefined;
  }

  sharedAddress(): undefined {
    return undefined;
  }

  configChanged(): void {
    this.changes++;
    this.onChange?.();
  }

  fault(reason: string): void {
    this.faults.push(reason);
  }
}
