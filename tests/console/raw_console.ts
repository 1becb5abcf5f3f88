import { FeatureSet } from "@vireo/hal";
// Only for tests: types of the other room.
import type { Chain, ConfigWidth, DeviceContext, DeviceModel } from "../../emu/device.ts";

/** Identity of a {@linkcode RawConsole}; numbers are typed again from the specification. */
interface RawConsoleOptions {
  /** Offered bits: SIZE 0, MULTIPORT 1, EMERG_WRITE 2. */
  readonly features: readonly number[];
  readonly maxPorts: number;
}

/** A console device without manners: the test says each thing that it does. Multiport only. */
export class RawConsole implements DeviceModel {
  readonly name = "raw console";
  readonly deviceId = 3;
  readonly features: FeatureSet;
  readonly queues: readonly { name: string; maxSize: number }[];
  readonly configSize = 12;
  /** The driver's control messages as `id event value`, DEVICE_READY's id as -1. */
  readonly heard: string[] = [];
  /** Whether the device takes what is on its transmit queues. */
  taking = true;
  readonly #maxPorts: number;
  readonly #outbox: { queue: number; bytes: Uint8Array }[] = [];
  readonly #sent = new Map<number, number[]>();
  #context: DeviceContext | undefined;
  #listeners = new Set<() => void>();

  constructor(options: RawConsoleOptions) {
    this.features = FeatureSet.of(...options.features);
    this.#maxPorts = options.maxPorts;
    const count = 2 * (Math.max(1, Math.min(options.maxPorts, 8)) + 1);
    this.queues = Array.from({ length: count }, (_, i) => ({ name: `q${i}`, maxSize: 64 }));
  }

  readConfig(offset: number, width: ConfigWidth): number {
    if (offset === 4 && width === 4) return this.#maxPorts;
    return (this.#maxPorts >>> (8 * (offset - 4))) & 0xff;
  }

  activate(context: DeviceContext): void {
    this.#context = context;
    for (let i = 0; i < this.queues.length; i++) this.notify(i);
  }

  notify(index: number): void {
    if (index === 3) this.#listen();
    else if ((index & 1) === 1) this.take(index);
    else this.#say();
    for (const listener of this.#listeners) listener();
  }

  reset(): void {
    this.#context = undefined;
  }

  [Symbol.dispose](): void {}

  /** Puts bytes into the next receive buffer of a queue, as soon as there is one. */
  say(queue: number, bytes: readonly number[]): void {
    this.#outbox.push({ queue, bytes: Uint8Array.from(bytes) });
    this.#say();
  }

  /** Sends a control message. */
  control(id: number, event: number, value = 0, rest: readonly number[] = []): void {
    const ids = [id & 0xff, (id >>> 8) & 0xff, (id >>> 16) & 0xff, id >>> 24];
    this.say(2, [...ids, event & 0xff, event >>> 8, value & 0xff, value >>> 8, ...rest]);
  }

  /** Returns the bytes that arrived on a transmit queue. */
  sent(queue: number): number[] {
    return this.#sent.get(queue) ?? [];
  }

  /** Takes the buffers that wait on a transmit queue. */
  take(index: number): void {
    const queue = this.#context?.queue(index);
    if (!this.taking || queue === undefined) return;
    for (let chain = queue.pop(); chain !== undefined; chain = queue.pop()) {
      const bytes = new Uint8Array(chain.readableLength);
      chain.read(bytes);
      this.#sent.set(index, [...this.sent(index), ...bytes]);
      queue.push(chain, 0);
    }
    queue.signal();
  }

  /** Resolves when a condition holds after something the driver did. */
  async until(what: string, test: () => boolean): Promise<void> {
    if (test()) return;
    const done = Promise.withResolvers<void>();
    const listener = (): void => {
      if (test()) done.resolve();
    };
    this.#listeners.add(listener);
    const timer = setTimeout(() => done.reject(new Error(`No ${what}: ${this.heard}`)), 5000);
    try {
      await done.promise;
    } finally {
      clearTimeout(timer);
      this.#listeners.delete(listener);
    }
  }

  #listen(): void {
    const queue = this.#context?.queue(3);
    if (!this.taking || queue === undefined) return;
    for (let chain: Chain | undefined = queue.pop(); chain !== undefined; chain = queue.pop()) {
      const id = chain.readU32();
      this.heard.push(`${id === 0xffffffff ? -1 : id} ${chain.readU16()} ${chain.readU16()}`);
      queue.push(chain, 0);
    }
    queue.signal();
  }

  #say(): void {
    const touched = new Set<number>();
    for (let i = 0; i < this.#outbox.length;) {
      const { queue, bytes } = this.#outbox[i]!;
      const chain = this.#context?.queue(queue)?.pop();
      if (chain === undefined) {
        i++;
        continue;
      }
      chain.write(bytes);
      this.#context?.queue(queue)?.push(chain);
      this.#outbox.splice(i, 1);
      touched.add(queue);
    }
    for (const queue of touched) this.#context?.queue(queue)?.signal();
  }
}
