import type { FeatureSet } from "@vireo/hal";
import type { DeviceContext, DeviceModel, DeviceQueue } from "../device.ts";
import { type TurnBudget, WorkMeter } from "../work.ts";
import { ArrayChain } from "./fake_chain.ts";

/** A driver for one device model without rings: it posts arrays and gets them back. */
export class FakeDriver implements DeviceContext {
  readonly features: FeatureSet;
  readonly legacy = false;
  readonly work: WorkMeter;
  /** Reasons of the faults that the model found. */
  readonly faults: string[] = [];
  /** Errors of the host that the model met. */
  readonly hostFailures: unknown[] = [];
  /** How often the model said that the configuration changed. */
  configChanges = 0;
  readonly #model: DeviceModel;
  readonly #available: ArrayChain[][] = [];
  readonly #used: Uint8Array[][] = [];
  readonly #wanted = new Set<() => void>();

  /** Sets the model up with these features, by default all that it offers, and this budget of a turn. */
  constructor(
    model: DeviceModel,
    features: FeatureSet = model.features,
    budget: Partial<TurnBudget> = {},
  ) {
    this.#model = model;
    this.work = new WorkMeter((index) => model.notify(index), budget);
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
        used.push((chain as ArrayChain).writable.slice(0, written));
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

  hostFailed(error: unknown): void {
    this.hostFailures.push(error);
  }

  fault(reason: string): void {
    this.faults.push(reason);
    for (const wanted of this.#wanted) wanted();
  }

  /** Posts a chain: what the device reads, and how many bytes it may write. */
  post(index: number, input: readonly number[], writable: number): void {
    this.queue(index);
    const chain = new ArrayChain(Uint8Array.from(input), new Uint8Array(writable));
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
