import type { FeatureSet } from "@vireo/hal";
import type { DeviceContext, DeviceModel, DeviceQueue } from "../device.ts";
import { WorkMeter } from "../work.ts";
import { ArrayChain } from "./fake_chain.ts";

/** Hosts a device model without rings or registers, so that a test sees the model alone. */
export class FakeHost {
  readonly context: DeviceContext;
  readonly faults: string[] = [];
  /** Chains that were pushed, oldest first. */
  readonly done: FakeChain[] = [];
  /** Errors of the host that the model met. */
  readonly hostFailures: unknown[] = [];
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
      hostFailed: (error) => void this.hostFailures.push(error),
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

/** A chain that knows the used length with which it was pushed. */
export class FakeChain extends ArrayChain {
  /** Used length, once pushed. */
  used: number | undefined;

  constructor(head: Uint8Array, data: Uint8Array, writable: number) {
    super(new Uint8Array([...head, ...data]), new Uint8Array(writable).fill(0xee));
  }

  /** The last writable byte. */
  get status(): number | undefined {
    return this.used === undefined ? undefined : this.writable[this.writable.length - 1];
  }
  /** Bytes before the status byte. */
  get data(): Uint8Array {
    return this.writable.subarray(0, -1);
  }
}
