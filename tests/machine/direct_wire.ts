import type { Dma, DmaDirection, DmaRegion, FeatureSet, Interrupt } from "@vireo/hal";
import { VireoError } from "@vireo/hal";
// Only for tests: types of the other room.
import type { Chain, DeviceContext, DeviceModel, DeviceQueue } from "../../emu/device.ts";
import { WorkMeter } from "../../emu/work.ts";
import { DeviceConfig } from "../../drivers/config.ts";
import type { QueueRequest, VirtioDevice } from "../../drivers/device.ts";
import type { AccessWidth, Transport } from "../../drivers/transport/transport.ts";
import type { SgList, Virtqueue } from "../../drivers/virtqueue/virtqueue.ts";
import type { DriverInstance, VirtioDriver } from "../../drivers/driver.ts";

/** Memory that bounces: the device sees a copy, made at share and taken back at unshare. */
class BouncingRegion implements DmaRegion {
  readonly address: number;
  readonly bytes: Uint8Array;
  /** The device's view. */
  readonly device: Uint8Array;
  readonly #shared = new Map<number, number>();
  readonly #free: () => void;

  constructor(address: number, size: number, free: () => void) {
    this.address = address;
    this.bytes = new Uint8Array(size);
    this.device = new Uint8Array(size);
    this.#free = free;
  }

  share(offset: number, length: number, direction: DmaDirection): number {
    if (this.#shared.has(offset)) throw new Error(`Range at ${offset} is shared twice`);
    this.#shared.set(offset, length);
    if (direction !== "from-device") this.#copy(this.bytes, this.device, offset, length);
    return this.address + offset;
  }

  unshare(offset: number, length: number, direction: DmaDirection): void {
    if (this.#shared.get(offset) !== length) throw new Error(`Range at ${offset} is not shared`);
    this.#shared.delete(offset);
    if (direction !== "to-device") this.#copy(this.device, this.bytes, offset, length);
  }

  isShared(offset: number, length: number): boolean {
    for (const [start, size] of this.#shared) {
      if (offset >= start && offset + length <= start + size) return true;
    }
    return false;
  }

  [Symbol.dispose](): void {
    if (this.#shared.size > 0) throw new Error(`${this.#shared.size} ranges are still shared`);
    this.#free();
  }

  #copy(from: Uint8Array, to: Uint8Array, offset: number, length: number): void {
    to.set(from.subarray(offset, offset + length), offset);
  }
}

/** One buffer: where it is and who writes it. */
interface Entry {
  readonly token: number;
  readonly elements: readonly { address: number; length: number; readable: boolean }[];
}

/** A queue without a ring: the driver's and the device's side of two lists. */
class WireQueue implements Virtqueue {
  readonly index: number;
  readonly name: string;
  readonly size = 64;
  readonly available: Entry[] = [];
  readonly used: { token: number; length: number }[] = [];
  inFlight = 0;
  broken: VireoError | undefined;
  usedLength = 0;
  readonly #kick: (queue: WireQueue) => void;

  constructor(index: number, name: string, kick: (queue: WireQueue) => void) {
    this.index = index;
    this.name = name;
    this.#kick = kick;
  }

  get freeSlots(): number {
    return this.size - this.inFlight;
  }
  slotsFor(elements: number): number {
    return elements;
  }
  add(chain: SgList, token: number): boolean {
    if (this.broken) throw this.broken;
    if (this.inFlight === this.size) return false;
    this.inFlight++;
    this.available.push({
      token,
      elements: Array.from({ length: chain.count }, (_, i) => ({
        address: chain.address(i),
        length: chain.length(i),
        readable: i < chain.readable,
      })),
    });
    return true;
  }
  kick(): void {
    this.#kick(this);
  }
  kickAgain(): void {
    this.#kick(this);
  }
  pop(): number {
    const used = this.broken ? undefined : this.used.shift();
    if (used === undefined) return -1;
    this.inFlight--;
    this.usedLength = used.length;
    return used.token;
  }
  hasUsed(): boolean {
    return !this.broken && this.used.length > 0;
  }
  disableCallbacks(): void {}
  enableCallbacks(): boolean {
    return !this.hasUsed();
  }
  enableCallbacksDelayed(): boolean {
    return !this.hasUsed();
  }
  detachUnused(): number {
    return this.available.shift()?.token ?? -1;
  }
  break(reason: VireoError): void {
    this.broken ??= reason;
  }
  [Symbol.dispose](): void {}
}

/**
 * A driver and a device model on a direct wire, for tests: no rings, no registers, one-element chains,
 * and memory that bounces.
 */
export class DirectWire<T extends DriverInstance> implements AsyncDisposable {
  /** Reasons of the faults that the model found. */
  readonly faults: string[] = [];
  /** Regions that were allocated and not freed. */
  readonly regions: Set<DmaRegion> = new Set();
  readonly features: FeatureSet;
  /** Instance that the driver's probe returned. */
  instance!: T;
  readonly #model: DeviceModel;
  readonly #work = new WorkMeter((index) => this.#model.notify(index));
  readonly #device: VirtioDevice;
  #queues: { queue: WireQueue; request: QueueRequest }[] = [];
  #nextAddress = 0x10000;
  #running = false;

  private constructor(model: DeviceModel, driver: VirtioDriver<T>) {
    this.#model = model;
    this.features = model.features.and(driver.features).with(32);
    this.#device = this.#makeDevice();
  }

  /** Probes the model's device. */
  static async boot<T extends DriverInstance>(
    model: DeviceModel,
    driver: VirtioDriver<T>,
  ): Promise<DirectWire<T>> {
    const wire = new DirectWire(model, driver);
    model.attach?.(wire.#context());
    wire.instance = await driver.probe(wire.#device);
    wire.#device.ready();
    return wire;
  }

  /** NEEDS_RESET and what the bus does then. */
  async recover(): Promise<void> {
    this.instance.failed?.(new VireoError("DEVICE_NEEDS_RESET", "Device needs a reset"));
    await this.#device.reset();
    await this.instance.restore?.();
    this.#device.ready();
  }

  /** Suspend and resume. */
  async suspend(): Promise<void> {
    await this.instance.freeze?.();
    await this.#device.reset();
    await this.instance.restore?.();
    this.#device.ready();
  }

  /** Removes the driver; every byte must be free then. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.instance.remove();
    this.#model[Symbol.dispose]();
    if (this.regions.size > 0) throw new Error(`${this.regions.size} regions were not freed`);
  }

  #makeDevice(): VirtioDevice {
    const model = this.#model;
    const dma: Dma = {
      alloc: (size) => {
        const region: BouncingRegion = new BouncingRegion(
          this.#nextAddress,
          size,
          () => this.regions.delete(region),
        );
        this.#nextAddress += Math.ceil(size / 4096) * 4096 + 4096;
        this.regions.add(region);
        return region;
      },
    };
    const transport: Partial<Transport> = {
      name: "wire",
      deviceId: model.deviceId,
      interrupt: {} as Interrupt,
      readFeatures: () => model.features,
      readConfig: (offset: number, width: AccessWidth) => model.readConfig(offset, width),
      writeConfig: (offset, width, value) => model.writeConfig?.(offset, width, value),
      configGeneration: () => 0,
    };
    const device: Partial<VirtioDevice> = {
      name: "virtio0",
      transport: transport as Transport,
      dma,
      config: new DeviceConfig(transport as Transport),
      features: this.features,
      has: (bit) => this.features.has(bit),
      findQueues: (requests) => {
        this.#queues = requests.map((request, i) => ({
          request,
          queue: new WireQueue(i, request.name, (queue) => this.#notify(queue)),
        }));
        return this.#queues.map(({ queue }) => queue);
      },
      openQueues: (indices) => indices.map((index) => this.#queues[index]!.queue),
      ready: () => {
        if (this.#running) return;
        this.#running = true;
        model.activate(this.#context());
      },
      reset: () => {
        this.#running = false;
        const reason = new VireoError("DEVICE_STATE", "Device was reset before it answered");
        for (const { queue } of this.#queues) queue.break(reason);
        this.instance?.failed?.(reason);
        model.reset();
        return Promise.resolve();
      },
      deleteQueues: () => {
        this.#queues = [];
      },
    };
    return device as VirtioDevice;
  }

  #notify(queue: WireQueue): void {
    if (queue.broken) return;
    if (!this.#running) throw new Error("Notified before DRIVER_OK");
    queueMicrotask(() => {
      if (queue.broken || this.faults.length > 0) return;
      this.#work.begin();
      this.#model.notify(queue.index);
    });
  }

  #context(): DeviceContext {
    return {
      features: this.features,
      legacy: false,
      work: this.#work,
      queue: (index) => this.#deviceQueue(index),
      memory: () => undefined,
      sharedAddress: () => undefined,
      configChanged: () => queueMicrotask(() => this.instance.configChanged?.()),
      fault: (reason) => {
        this.faults.push(reason);
      },
      // A test whose host fails has failed.
      hostFailed(error) {
        throw error;
      },
    };
  }

  #deviceQueue(index: number): DeviceQueue | undefined {
    const found = this.#queues[index];
    if (found === undefined) return undefined;
    const { queue, request } = found;
    return {
      index,
      size: queue.size,
      pop: () => {
        const entry = this.faults.length === 0 ? queue.available.shift() : undefined;
        return entry === undefined ? undefined : this.#chain(entry);
      },
      hasAvailable: () => queue.available.length > 0 && this.faults.length === 0,
      push: (chain, written = chain.written) =>
        void queue.used.push({ token: chain.head, length: written }),
      pushAll: () => {},
      signal: () =>
        queueMicrotask(() => {
          if (queue.hasUsed()) request.callback?.(queue);
        }),
      setNotify: () => {},
    };
  }

  #chain(entry: Entry): Chain {
    const gather = (readable: boolean): Uint8Array[] =>
      entry.elements.filter((each) => each.readable === readable)
        .map((each) => this.#memory(each.address, each.length));
    const input = gather(true)[0] ?? new Uint8Array(0);
    const output = gather(false)[0] ?? new Uint8Array(0);
    let at = 0;
    let written = 0;
    const readInteger = (width: number): number => {
      let value = 0;
      for (let i = 0; i < width; i++) value += (input[at++] ?? 0) * 2 ** (8 * i);
      return value;
    };
    const chain: Partial<Chain> = {
      head: entry.token,
      readableLength: input.length,
      writableLength: output.length,
      get readableLeft() {
        return input.length - at;
      },
      get writableLeft() {
        return output.length - written;
      },
      get written() {
        return written;
      },
      read: (into) => {
        const part = input.subarray(at, at + into.length);
        into.set(part);
        at += part.length;
        return part.length;
      },
      readU8: () => readInteger(1),
      readU16: () => readInteger(2),
      readU32: () => readInteger(4),
      write: (bytes, offset = 0, length = bytes.length - offset) => {
        const end = offset + Math.min(length, output.length - written);
        const part = bytes.subarray(offset, end);
        output.set(part, written);
        written += part.length;
        return part.length;
      },
    };
    return chain as Chain;
  }

  /** Returns the memory that the device sees at an address; only what is shared with it. */
  #memory(address: number, length: number): Uint8Array {
    for (const region of this.regions as Set<BouncingRegion>) {
      const offset = address - region.address;
      if (offset < 0 || offset + length > region.device.length) continue;
      if (!region.isShared(offset, length)) throw new Error(`Address ${address} is not shared`);
      return region.device.subarray(offset, offset + length);
    }
    throw new Error(`Address ${address} is not memory`);
  }
}
