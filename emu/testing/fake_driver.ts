import type { FeatureSet } from "@vireo/hal";
import type { Chain, DeviceContext, DeviceModel, DeviceQueue } from "../device.ts";
import { WorkMeter } from "../work.ts";

/** A chain over plain arrays. */
class FakeChain implements Chain {
  readonly head: number;
  readonly input: Uint8Array;
  readonly output: Uint8Array;
  #readAt = 0;
  #writeAt = 0;

  constructor(head: number, input: Uint8Array, output: Uint8Array) {
    this.head = head;
    this.input = input;
    this.output = output;
  }

  get readableLength(): number {
    return this.input.length;
  }
  get writableLength(): number {
    return this.output.length;
  }
  get readableLeft(): number {
    return this.input.length - this.#readAt;
  }
  get writableLeft(): number {
    return this.output.length - this.#writeAt;
  }
  get written(): number {
    return this.#writeAt;
  }
  read(into: Uint8Array, offset = 0, length = into.length - offset): number {
    const count = Math.min(length, this.readableLeft);
    into.set(this.input.subarray(this.#readAt, this.#readAt + count), offset);
    this.#readAt += count;
    return count;
  }
  readU8(): number {
    return this.input[this.#readAt++] ?? 0;
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
    return this.read(new Uint8Array(Math.min(length, this.readableLeft)));
  }
  write(bytes: Uint8Array, offset = 0, length = bytes.length - offset): number {
    const count = Math.min(length, this.writableLeft);
    this.output.set(bytes.subarray(offset, offset + count), this.#writeAt);
    this.#writeAt += count;
    return count;
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
    this.write(Uint8Array.of(value, value >> 8, value >> 16, value >> 24));
  }
  seekWrite(position: number): void {
    this.#writeAt = position;
  }
}

/** A driver for one device model without rings: it posts arrays and gets them back. */
export class FakeDriver implements DeviceContext {
  readonly features: FeatureSet;
  readonly legacy = false;
  readonly work: WorkMeter;
  /** Reasons of the faults that the model found. */
  readonly faults: string[] = [];
  /** How often the model said that the configuration changed. */
  configChanges = 0;
  readonly #model: DeviceModel;
  readonly #available: FakeChain[][] = [];
  readonly #used: Uint8Array[][] = [];
  readonly #wanted = new Set<() => void>();

  /** Sets the model up with these features, by default all that it offers. */
  constructor(model: DeviceModel, features: FeatureSet = model.features) {
    this.#model = model;
    this.work = new WorkMeter((index) => model.notify(index));
    this.features = features;
    model.attach?.(this);
    model.activate(this);
  }

  queue(index: number): DeviceQueue {
    const available = this.#available[index] ??= [];
    const used = this.#used[index] ??= [];
    return {
      index,
      size: 64,
      hasAvailable: () => available.length > 0 && this.faults.length === 0,
      pop: () => this.faults.length === 0 ? available.shift() : undefined,
      push: (chain, written = chain.written) => {
        used.push((chain as FakeChain).output.slice(0, written));
      },
      pushAll: () => {},
      signal: () => {
        for (const wanted of this.#wanted) wanted();
      },
      setNotify: () => {},
    };
  }

  memory(): undefined {
    return undefined;
  }

  sharedAddress(): undefined {
    return undefined;
  }

  configChanged(): void {
    this.configChanges++;
  }

  fault(reason: string): void {
    this.faults.push(reason);
    for (const wanted of this.#wanted) wanted();
  }

  /** Posts a chain: what the device reads, and how many bytes it may write. */
  post(index: number, input: readonly number[], writable: number): void {
    this.queue(index);
    const chain = new FakeChain(0, Uint8Array.from(input), new Uint8Array(writable));
    this.#available[index]!.push(chain);
    this.work.begin();
    this.#model.notify(index);
  }

  /** Chains that the device did not take. */
  waiting(index: number): number {
    return this.#available[index]?.length ?? 0;
  }

  /** Returns the bytes that the device wrote to each buffer it returned so far, and forgets them. */
  taken(index: number): number[][] {
    this.queue(index);
    return this.#used[index]!.splice(0).map((bytes) => [...bytes]);
  }

  /** Resolves when a condition holds after something the device did. */
  async until(what: string, test: () => boolean): Promise<void> {
    if (test()) return;
    const done = Promise.withResolvers<void>();
    const wanted = (): void => {
      if (test()) done.resolve();
    };
    // Before the timer: a process's first setTimeout can run microtasks (measured, Deno 2.9.5).
    this.#wanted.add(wanted);
    const timer = setTimeout(
      () => done.reject(new Error(`Timed out after 5000 ms waiting for ${what}`)),
      5000,
    );
    try {
      await done.promise;
    } finally {
      clearTimeout(timer);
      this.#wanted.delete(wanted);
    }
  }

  /** How many chains the device returned and {@linkcode FakeDriver.taken} did not give yet. */
  returned(index: number): number {
    return this.#used[index]?.length ?? 0;
  }
}
