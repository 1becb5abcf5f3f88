import { FeatureSet } from "@vireo/hal";
import type {
  Chain,
  ConfigWidth,
  DeviceContext,
  DeviceModel,
  QueueSpec,
  SharedMemorySpec,
} from "../device.ts";

/** Options of {@linkcode EchoModel}. */
export interface EchoModelOptions {
  /** Largest size of each queue in descriptors; one queue of 16 by default. */
  readonly queueSizes?: readonly number[];
  /** Offered bits of the device type; 0 and 70 by default. */
  readonly features?: FeatureSet;
  /** Whether the model accepts a feature subset; it accepts every one by default. */
  readonly accept?: (features: FeatureSet) => boolean;
  /** Bytes of the configuration space; 16 by default. */
  readonly configSize?: number;
  /** Shared memory regions; none by default. */
  readonly sharedMemory?: readonly SharedMemorySpec[];
  /** Keeps chains until {@linkcode EchoModel.release}. */
  readonly hold?: boolean;
}

/**
 * The smallest device model: it copies the readable part of a chain to the writable part. It serves tests
 * of machines, transports and rings, and is a start for new models.
 *
 * @example
 * ```ts
 * import { EmulatedMachine } from "@vireo/emu/core";
 * import { EchoModel, MockDriver } from "@vireo/emu/testing";
 * import { assertEquals } from "@std/assert";
 *
 * const model = new EchoModel();
 * await using machine = EmulatedMachine.create({ devices: [model] });
 * const driver = new MockDriver(machine);
 * driver.init();
 * await driver.request(0, [{ read: Uint8Array.of(7) }, { write: 1 }]);
 * assertEquals(model.calls, ["reset", "activate", "notify 0"]);
 * ```
 */
export class EchoModel implements DeviceModel {
  /** Name for reports. */
  readonly name = "echo";
  /** An id that no device type has. */
  readonly deviceId = 0x3f;
  /** Offered bits of the device type. */
  readonly features: FeatureSet;
  /** The queues, all alike. */
  readonly queues: readonly QueueSpec[];
  /** Bytes of the configuration space. */
  readonly configSize: number;
  /** Shared memory regions. */
  readonly sharedMemory: readonly SharedMemorySpec[];
  /** The configuration space, writable by the driver. */
  readonly config: Uint8Array;
  /** The machine's calls in order: `activate`, `notify 0`, `reset`, ... */
  readonly calls: string[] = [];
  /** Whether the model keeps chains. */
  hold: boolean;
  /** The machine's side, once it attached the model. */
  context: DeviceContext | undefined;
  /** The kept chains, with their queue. */
  held: { readonly queue: number; readonly chain: Chain }[] = [];
  readonly #accept: (features: FeatureSet) => boolean;

  /** Makes a model. */
  constructor(options: EchoModelOptions = {}) {
    this.features = options.features ?? FeatureSet.of(0, 70);
    this.queues = (options.queueSizes ?? [16]).map((maxSize, i) => ({ name: `echo${i}`, maxSize }));
    this.configSize = options.configSize ?? 16;
    this.config = new Uint8Array(this.configSize);
    this.sharedMemory = options.sharedMemory ?? [];
    this.hold = options.hold ?? false;
    this.#accept = options.accept ?? (() => true);
  }

  /** Reads the configuration, little-endian. */
  readConfig(offset: number, width: ConfigWidth): number {
    let value = 0;
    for (let i = width - 1; i >= 0; i--) value = value << 8 | this.config[offset + i]!;
    return value;
  }

  /** Writes the configuration, little-endian. */
  writeConfig(offset: number, width: ConfigWidth, value: number): void {
    for (let i = 0; i < width; i++) this.config[offset + i] = value >>> 8 * i;
  }

  /** Calls the test's `accept`. */
  acceptFeatures(features: FeatureSet): boolean {
    return this.#accept(features);
  }

  /** Keeps the machine's side. */
  attach(context: DeviceContext): void {
    this.context = context;
  }

  /** Only notes the call. */
  activate(): void {
    this.calls.push("activate");
  }

  /** Answers, or keeps, all chains that are available. */
  notify(index: number): void {
    this.calls.push(`notify ${index}`);
    const queue = this.context?.queue(index);
    if (queue === undefined) return;
    for (let chain = queue.pop(); chain !== undefined; chain = queue.pop()) {
      if (this.hold) this.held.push({ queue: index, chain });
      else this.answer(index, chain);
    }
    queue.signal();
  }

  /** Answers the kept chains. */
  release(): void {
    const held = this.held;
    this.held = [];
    for (const { queue, chain } of held) this.answer(queue, chain);
    for (const index of this.queues.keys()) this.context?.queue(index)?.signal();
  }

  /** Drops the chains of one queue. */
  resetQueue(index: number): void {
    this.calls.push(`resetQueue ${index}`);
    this.held = this.held.filter(({ queue }) => queue !== index);
  }

  /** Drops all chains. */
  reset(): void {
    this.calls.push("reset");
    this.held = [];
  }

  /** The configuration as plain data. */
  snapshot(): unknown {
    return { config: [...this.config] };
  }

  /** Takes the configuration back. */
  restore(state: unknown): void {
    this.config.set((state as { readonly config: readonly number[] }).config);
  }

  /** Only notes the call. */
  [Symbol.dispose](): void {
    this.calls.push("dispose");
  }

  /** Answers one chain. */
  answer(index: number, chain: Chain): void {
    // The ring bounds a chain to 2^32 bytes; the copy goes in pieces, whatever the guest's numbers.
    const piece = new Uint8Array(4096);
    while (chain.readableLeft > 0 && chain.writableLeft > 0) {
      chain.write(piece, 0, chain.read(piece));
    }
    this.context?.queue(index)?.push(chain);
  }
}
