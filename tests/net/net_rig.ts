/**
 * A network driver and device on real rings without a bus, a transport or a machine between them.
 *
 * @module
 */
import { DeviceId, type Dma, Feature, FeatureSet, VireoError } from "@vireo/hal";
import { NetDevice } from "../../emu/devices/net/device.ts";
import type { NetDeviceOptions } from "../../emu/devices/net/options.ts";
import type { DeviceContext } from "../../emu/device.ts";
import { WorkMeter } from "../../emu/work.ts";
import { EmuDma, GuestMemory } from "../../emu/memory.ts";
import { SplitQueue } from "../../emu/ring/split.ts";
import { DeviceConfig } from "../../drivers/config.ts";
import type { QueueRequest, VirtioDevice } from "../../drivers/device.ts";
import type { VirtioDriver } from "../../drivers/driver.ts";
import type { Transport } from "../../drivers/transport/transport.ts";
import { SplitVirtqueue } from "../../drivers/virtqueue/split.ts";
import { BouncingDma } from "../../drivers/testing/dma.ts";
import { createNetDriver } from "../../drivers/net/driver.ts";
import type { Net } from "../../drivers/net/net.ts";
import type { NetOptions } from "../../drivers/net/options.ts";

const MEMORY = 64 * 1024 * 1024;

/** Options of a rig. */
export interface RigOptions extends NetDeviceOptions {
  readonly legacy?: boolean;
  readonly indirect?: boolean;
  readonly eventIdx?: boolean;
  readonly ringSize?: number;
  readonly driver?: NetOptions;
  /** Whether the machine bounces: driver and device see different memory, copied on share. */
  readonly bounce?: boolean;
}

/** One device and its driver. */
export class Rig implements AsyncDisposable {
  readonly memory: GuestMemory;
  readonly emuDma: EmuDma;
  /** The memory of a machine that bounces. */
  readonly bouncing: BouncingDma | undefined;
  readonly model: NetDevice;
  readonly device: VirtioDevice;
  readonly driver: VirtioDriver<Net>;
  readonly faults: string[] = [];
  net!: Net;
  readonly #options: RigOptions;
  readonly #running = new Map<number, SplitQueue>();
  #queues: SplitVirtqueue[] = [];
  #requests: readonly QueueRequest[] = [];
  #features: FeatureSet = FeatureSet.NONE;
  #due = new Set<number>();
  #changed = false;
  #generation = 0;
  readonly #work = new WorkMeter((index) => this.model.notify(index));

  private constructor(options: RigOptions) {
    this.#options = options;
    this.bouncing = options.bounce ? new BouncingDma({ size: MEMORY }) : undefined;
    this.memory = this.bouncing === undefined
      ? new GuestMemory(MEMORY)
      : new GuestMemory(this.bouncing.memory.buffer, this.bouncing.base);
    this.emuDma = new EmuDma(this.memory);
    this.model = new NetDevice(options);
    this.driver = createNetDriver(options.driver);
    this.device = this.#makeDevice();
  }

  /** Negotiates and probes. */
  static async open(options: RigOptions): Promise<Rig> {
    const rig = new Rig(options);
    const { legacy } = options;
    const table = legacy ? rig.driver.legacyFeatures! : rig.driver.features;
    let features = rig.device.offered.and(table);
    if (!legacy) features = features.with(Feature.VERSION_1);
    rig.#features = features;
    rig.#features = rig.driver.validate!(rig.device, features);
    if (!rig.model.acceptFeatures(rig.#features)) throw new Error("the device refuses features");
    rig.net = await rig.driver.probe(rig.device);
    return rig;
  }

  /** The driver's end of a queue. */
  queue(index: number): SplitVirtqueue {
    return this.#queues.find((queue) => queue.index === index)!;
  }

  /** The device's end of a queue, for a device that lies. */
  far(index: number): SplitQueue {
    return this.#running.get(index)!;
  }

  /** Resets and brings the driver back, as the bus does. */
  async recover(): Promise<void> {
    const error = new VireoError("DEVICE_NEEDS_RESET", "test", {});
    this.net.failed(error);
    await this.device.reset();
    const old = this.#queues;
    this.#queues = [];
    await this.net.restore();
    for (const queue of old) queue[Symbol.dispose]();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.net.remove();
    this.model[Symbol.dispose]();
  }

  #makeDevice(): VirtioDevice {
    const dma = this.bouncing ?? this.emuDma;
    const transport = {
      name: "rig",
      readConfig: (offset: number, width: 1 | 2 | 4) => this.model.readConfig(offset, width),
      writeConfig: (offset: number, width: 1 | 2 | 4, value: number) =>
        this.model.writeConfig(offset, width, value),
      configGeneration: () => this.#generation,
    } as unknown as Transport;
    const features = (): FeatureSet => this.#features;
    return {
      name: "virtio0",
      suspended: false,
      index: 0,
      deviceId: DeviceId.NET,
      vendorId: 0,
      transport,
      dma,
      config: new DeviceConfig(transport),
      offered: this.#options.legacy
        ? this.model.features
        : this.model.features.with(Feature.VERSION_1),
      get features() {
        return features();
      },
      driver: undefined,
      instance: undefined,
      queues: [],
      error: undefined,
      recoveries: 0,
      recovered: () => Promise.resolve(0),
      has: (bit) => this.#features.has(bit),
      findQueues: (requests) => this.#findQueues(requests, dma),
      openQueues: () => [],
      ready: () => this.#ready(),
      disableConfigChanges: () => {},
      enableConfigChanges: () => {},
      reset: () => {
        this.model.reset();
        for (const queue of this.#running.values()) queue.stop();
        this.#running.clear();
        const error = new VireoError("DEVICE_STATE", "reset", {});
        for (const queue of this.#queues) queue.break(error);
        return Promise.resolve();
      },
      deleteQueues: () => {
        for (const queue of this.#queues) queue[Symbol.dispose]();
        this.#queues = [];
      },
      resetQueue: () => Promise.reject(new Error("not here")),
      break: (reason) => {
        for (const queue of this.#queues) queue.break(reason);
        this.net.failed(reason);
      },
      sharedMemory: () => undefined,
      openSharedMemory: () => undefined,
    };
  }

  #findQueues(requests: readonly QueueRequest[], dma: Dma): readonly SplitVirtqueue[] {
    const { indirect = true, eventIdx = true, ringSize = 256, legacy } = this.#options;
    this.#requests = requests;
    this.#queues = requests.map((request, i) => {
      const index = request.index ?? i;
      const queue = new SplitVirtqueue({
        index,
        name: request.name,
        size: Math.min(ringSize, this.model.queues[index]!.maxSize),
        dma,
        ...(legacy ? { legacyAlign: 4096 } : {}),
        indirect: indirect && request.indirect !== false,
        eventIdx,
        notificationData: false,
        notify: (number) => this.#notify(number),
      });
      if (request.callback === undefined) queue.disableCallbacks();
      const { desc, driver, device, size } = queue.addresses;
      this.#running.set(
        index,
        new SplitQueue({
          index,
          geometry: { size, desc, avail: driver, used: device },
          memory: this.memory,
          indirect,
          eventIdx,
          interrupt: () => this.#interrupt(i),
          fault: (reason) => this.faults.push(reason),
        }),
      );
      return queue;
    });
    return this.#queues;
  }

  /** Every notification is a turn of its own, as on an emulated machine. */
  #notify(index: number): void {
    this.#work.begin();
    this.model.notify(index);
  }

  #interrupt(request: number): void {
    if (this.#due.size === 0) {
      queueMicrotask(() => {
        const due = [...this.#due];
        this.#due.clear();
        for (const i of due) {
          const queue = this.#queues[i];
          if (queue !== undefined) this.#requests[i]?.callback?.(queue);
        }
      });
    }
    this.#due.add(request);
  }

  #ready(): void {
    const context: DeviceContext = {
      features: this.#features,
      legacy: this.#options.legacy ?? false,
      work: this.#work,
      queue: (index) => this.#running.get(index),
      configChanged: () => {
        this.#generation++;
        if (this.#changed) return;
        this.#changed = true;
        queueMicrotask(() => {
          this.#changed = false;
          this.net.configChanged();
        });
      },
      memory: () => undefined,
      sharedAddress: () => undefined,
      fault: (reason) => this.faults.push(reason),
      hostFailed(error) {
        throw error;
      },
    };
    this.model.attach(context);
    this.model.activate(context);
    for (const index of this.#running.keys()) this.#notify(index);
  }
}
