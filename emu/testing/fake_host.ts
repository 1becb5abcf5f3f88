import type { FeatureSet } from "@vireo/hal";
import type { Chain, DeviceContext, DeviceModel, DeviceQueue } from "../device.ts";
import { WorkMeter } from "../work.ts";

/** Hosts a device model without rings or registers, so that a test sees the model alone. */
export class FakeHost {
  readonly context: DeviceContext;
  readonly faults: string[] = [];
  /** Chains that were pushed, oldest first. */
  readonly done: FakeChain[] = [];
  configChanges = 0;
  signals = 0;
  readonly #model: DeviceModel;
  readonly #available = new Map<number, FakeChain[]>();
  readonly #queues = new Map<number, DeviceQueue>();

  constructor(model: DeviceModel, features: FeatureSet = model.features, legacy = false) {
    this.#model = model;
    this.context = {
      features,
      legacy,
      work: new WorkMeter((index) => model.notify(index)),
      memory: () => undefined,
      sharedAddress: () => undefined,
      queue: (index) => this.#queue(index),
      configChanged: () => void this.configChanges++,
      fault: (reason) => void this.faults.push(reason),
    };
    model.attach?.(this.context);
    model.activate(this.context);
  }

  /** Makes chains available and notifies once. */
  send(queue: number, ...chains: FakeChain[]): void {
    this.#list(queue).push(...chains);
    this.context.work.begin();
    this.#model.notify(queue);
  }

  /** One request: header, data to read, bytes to write; returns the chain. */
  request(type: number, sector: number, data: Uint8Array, writable: number): FakeChain {
    const chain = new FakeChain(header(type, sector), data, writable);
    this.send(0, chain);
    return chain;
  }

  #list(queue: number): FakeChain[] {
    if (!this.#available.has(queue)) this.#available.set(queue, []);
    return this.#available.get(queue)!;
  }

  #queue(index: number): DeviceQueue {
    const existing = this.#queues.get(index);
    if (existing !== undefined) return existing;
    const list = this.#list(index);
    const queue: DeviceQueue = {
      index,
      size: 256,
      pop: () => list.shift(),
      hasAvailable: () => list.length > 0,
      push: (chain, written) => {
        const fake = chain as FakeChain;
        fake.used = written ?? fake.written;
        this.done.push(fake);
      },
      pushAll: () => {},
      signal: () => void this.signals++,
      setNotify: () => {},
    };
    this.#queues.set(index, queue);
    return queue;
  }
}

/** A request header. */
export function header(type: number, sector: number): Uint8Array {
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, type, true);
  view.setBigUint64(8, BigInt(sector), true);
  return bytes;
}

/** A chain whose two parts are plain arrays. */
export class FakeChain implements Chain {
  readonly head = 0;
  readonly readable: Uint8Array;
  readonly writable: Uint8Array;
  written = 0;
  /** Used length, once pushed. */
  used: number | undefined;
  #read = 0;
  #write = 0;

  constructor(head: Uint8Array, data: Uint8Array, writable: number) {
    this.readable = new Uint8Array([...head, ...data]);
    this.writable = new Uint8Array(writable).fill(0xee);
  }

  /** The last writable byte. */
  get status(): number | undefined {
    return this.used === undefined ? undefined : this.writable[this.writable.length - 1];
  }
  /** Bytes before the status byte. */
  get data(): Uint8Array {
    return this.writable.subarray(0, -1);
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
