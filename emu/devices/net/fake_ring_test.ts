/**
 * A ring without a ring: hands the chains of a driver to a device model, for tests of one side alone.
 *
 * @module
 */
import type { FeatureSet } from "@vireo/hal";
import type { Chain, DeviceContext, DeviceQueue } from "../../device.ts";
import { ArrayChain } from "../../testing/fake_chain.ts";
import { WorkMeter } from "../../work.ts";

function joined(parts: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

/** A chain over plain byte arrays, which get the device's bytes when it is pushed. */
export class FakeChain extends ArrayChain {
  readonly #parts: readonly Uint8Array[];

  constructor(head: number, readable: readonly Uint8Array[], writable: readonly Uint8Array[]) {
    super(joined(readable), joined(writable), head);
    this.#parts = writable;
  }

  /** Hands the driver what the device wrote. */
  scatter(): void {
    let at = 0;
    for (const part of this.#parts) part.set(this.writable.subarray(at, at += part.length));
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
    this.pushAll([chain], [written]);
  }

  pushAll(chains: readonly Chain[], written: readonly number[]): void {
    chains.forEach((chain, i) => {
      (chain as FakeChain).scatter();
      this.used.push({ head: chain.head, written: written[i]! });
    });
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

  hostFailed(error: unknown): void {
    throw error;
  }

  fault(reason: string): void {
    this.faults.push(reason);
  }
}
