import { type DmaOptions, type DmaRegion, FeatureSet, type VireoError } from "@vireo/hal";
import { DeviceConfig } from "../config.ts";
import type { QueueRequest, VirtioDevice } from "../device.ts";
import type { SgList, Virtqueue } from "../virtqueue/virtqueue.ts";
import { timedOut } from "../wait/waiter.ts";

/**
 * For tests: a device whose requests a script answers, without rings, on memory that bounces, so that a
 * driver that looks before it unshared sees nothing and one that frees too early is caught.
 */
export class FakeDevice {
  /** The configuration space. */
  readonly config: DataView = new DataView(new ArrayBuffer(96));
  /** Requests that were kicked and not answered, oldest first. */
  readonly pending: FakeRequest[] = [];
  /** Called for each request at the kick. */
  script: ((request: FakeRequest) => void) | undefined;
  /** Calls and requests that reached the device, in order. */
  readonly log: string[] = [];
  /** Called when the driver notifies again. */
  onKickAgain: (() => void) | undefined;
  /** Kicks so far. */
  kicks = 0;
  features: FeatureSet;
  legacy = false;
  ringSize = 64;
  resetFails = false;
  readonly queues: FakeQueue[] = [];
  readonly regions: Set<FakeRegion> = new Set();
  #nextAddress = 0x1000;

  constructor(...features: number[]) {
    this.features = FeatureSet.of(32, ...features);
  }

  /** The device as a driver sees it. */
  get device(): VirtioDevice {
    const { config } = this;
    const transport = {
      name: "fake",
      legacy: this.legacy,
      configGeneration: () => 0,
      readConfig: (at: number, width: number) =>
        width === 1
          ? config.getUint8(at)
          : width === 2
          ? config.getUint16(at, true)
          : config.getUint32(at, true),
      writeConfig: (at: number, width: number, value: number) =>
        width === 1
          ? config.setUint8(at, value)
          : width === 2
          ? config.setUint16(at, value, true)
          : config.setUint32(at, value, true),
    };
    const fake = {
      name: "virtio0",
      transport,
      config: new DeviceConfig(transport as never),
      dma: { alloc: (size: number, options?: DmaOptions) => this.#alloc(size, options) },
      has: (bit: number) => this.features.has(bit),
      findQueues: (requests: readonly QueueRequest[]) => {
        this.queues.length = 0;
        requests.forEach((request, i) => this.queues.push(new FakeQueue(this, i, request)));
        return [...this.queues];
      },
      reset: () => {
        if (this.resetFails) {
          const late = timedOut("the device to reset", undefined, {}, "RESET_TIMEOUT");
          return Promise.reject(late);
        }
        this.log.push("reset");
        this.pending.length = 0;
        return Promise.resolve();
      },
      deleteQueues: () => this.log.push("deleteQueues"),
      break: (reason: VireoError) => {
        for (const queue of this.queues) queue.break(reason);
        this.log.push(`break ${reason.code}`);
      },
    };
    return fake as unknown as VirtioDevice;
  }

  /** The device's bytes at an address: the bounce side. */
  memory(address: number, length: number): Uint8Array {
    for (const region of this.regions) {
      if (address >= region.address && address + length <= region.address + region.far.length) {
        return region.far.subarray(address - region.address, address - region.address + length);
      }
    }
    throw new Error(`The device was given an address that is not memory: ${address}`);
  }

  #alloc(size: number, options: DmaOptions = {}): DmaRegion {
    const align = options.align ?? 16;
    this.#nextAddress = Math.ceil(this.#nextAddress / align) * align;
    const region = new FakeRegion(this, this.#nextAddress, size);
    this.#nextAddress += size;
    this.regions.add(region);
    return region;
  }
}

class FakeRegion implements DmaRegion {
  readonly bytes: Uint8Array;
  /** The device's side. */
  readonly far: Uint8Array;
  readonly shared: Map<number, number> = new Map();
  readonly fake: FakeDevice;
  readonly address: number;

  constructor(fake: FakeDevice, address: number, size: number) {
    this.fake = fake;
    this.address = address;
    this.bytes = new Uint8Array(size);
    this.far = new Uint8Array(size).fill(0xcc);
  }

  share(offset: number, length: number, direction: string): number {
    if (this.shared.has(offset)) throw new Error(`Shared twice: ${offset}`);
    this.shared.set(offset, length);
    if (direction !== "from-device") {
      this.far.set(this.bytes.subarray(offset, offset + length), offset);
    }
    return this.address + offset;
  }

  unshare(offset: number, length: number, direction: string): void {
    if (this.shared.get(offset) !== length) throw new Error(`Not shared so: ${offset} ${length}`);
    this.shared.delete(offset);
    if (direction !== "to-device") {
      this.bytes.set(this.far.subarray(offset, offset + length), offset);
    }
    this.far.fill(0xcc, offset, offset + length);
  }

  [Symbol.dispose](): void {
    if (this.shared.size > 0) throw new Error("Freed while the device has it");
    if (!this.fake.regions.delete(this)) throw new Error("Freed twice");
  }
}

/** One request that the driver made. */
export class FakeRequest {
  readonly elements: { address: number; length: number; writable: boolean }[] = [];
  readonly queue: FakeQueue;
  readonly token: number;

  constructor(queue: FakeQueue, token: number, chain: SgList) {
    this.queue = queue;
    this.token = token;
    for (let i = 0; i < chain.count; i++) {
      this.elements.push({
        address: chain.address(i),
        length: chain.length(i),
        writable: i >= chain.readable,
      });
    }
  }

  /** The bytes that the device may read, header first. */
  get readable(): Uint8Array {
    return this.#join(false);
  }

  get type(): number {
    return new DataView(this.readable.buffer).getUint32(0, true);
  }

  get sector(): number {
    return Number(new DataView(this.readable.buffer).getBigUint64(8, true));
  }

  /** The bytes that the device may write, status last. */
  get writableLength(): number {
    return this.#join(true).length;
  }

  /** Writes to the writable part, from its first byte. */
  fill(bytes: Uint8Array): void {
    let done = 0;
    for (const { address, length, writable } of this.elements) {
      if (!writable) continue;
      const n = Math.min(length, bytes.length - done);
      this.queue.fake.memory(address, length).set(bytes.subarray(done, done + n));
      done += n;
    }
  }

  /** Writes the status byte; returns the request to the driver. */
  complete(status: number | undefined, used: number = this.writableLength): void {
    const last = this.elements[this.elements.length - 1]!;
    if (status !== undefined) this.queue.fake.memory(last.address, 1)[0] = status;
    const at = this.queue.fake.pending.indexOf(this);
    if (at >= 0) this.queue.fake.pending.splice(at, 1);
    this.queue.used.push({ request: this, used });
  }

  #join(writable: boolean): Uint8Array {
    const parts = this.elements.filter((element) => element.writable === writable)
      .map(({ address, length }) => this.queue.fake.memory(address, length));
    const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of parts) {
      out.set(part, at);
      at += part.length;
    }
    return out;
  }
}

/** A queue without a ring. */
class FakeQueue implements Virtqueue {
  readonly name: string;
  readonly size: number;
  readonly used: { request: FakeRequest; used: number }[] = [];
  broken: VireoError | undefined;
  usedLength = 0;
  inFlight = 0;
  callbacks = true;
  #added: FakeRequest[] = [];

  readonly fake: FakeDevice;
  readonly index: number;
  readonly request: QueueRequest;

  constructor(fake: FakeDevice, index: number, request: QueueRequest) {
    this.fake = fake;
    this.index = index;
    this.request = request;
    this.name = request.name;
    this.size = fake.ringSize;
  }

  get freeSlots(): number {
    return this.size - this.inFlight;
  }

  /** Delivers the interrupt. */
  interrupt(): void {
    this.request.callback?.(this);
  }

  slotsFor(_elements: number): number {
    return 1;
  }

  add(chain: SgList, token: number): boolean {
    if (this.broken !== undefined) throw this.broken;
    if (this.freeSlots < 1) return false;
    this.inFlight++;
    this.#added.push(new FakeRequest(this, token, chain));
    return true;
  }

  kick(): void {
    if (this.#added.length === 0) return;
    this.fake.kicks++;
    const added = this.#added;
    this.#added = [];
    this.fake.pending.push(...added);
    for (const request of added) this.fake.script?.(request);
  }

  kickAgain(): void {
    this.fake.kicks++;
    this.fake.onKickAgain?.();
  }

  pop(): number {
    if (this.broken !== undefined) return -1;
    const entry = this.used.shift();
    if (entry === undefined) return -1;
    this.inFlight--;
    this.usedLength = entry.used;
    return entry.request.token;
  }

  hasUsed(): boolean {
    return this.broken === undefined && this.used.length > 0;
  }

  disableCallbacks(): void {
    this.callbacks = false;
  }

  enableCallbacks(): boolean {
    this.callbacks = true;
    return this.used.length === 0 || this.broken !== undefined;
  }

  enableCallbacksDelayed(): boolean {
    return this.enableCallbacks();
  }

  detachUnused(): number {
    for (const list of [this.#added, this.fake.pending]) {
      const at = list.findIndex(({ queue }) => queue === this);
      if (at >= 0) return list.splice(at, 1)[0]!.token;
    }
    return -1;
  }

  break(reason: VireoError): void {
    this.broken ??= reason;
  }

  [Symbol.dispose](): void {}
}
