import {
  ANY_ID,
  type DmaOptions,
  type DmaRegion,
  FeatureSet,
  type Interrupt,
  type InterruptWait,
  VireoError,
} from "@vireo/hal";
import { Bus, type BusOptions } from "./bus.ts";
import type { QueueRequest, VirtioDevice } from "../device.ts";
import type { DriverInstance, VirtioDriver } from "../driver.ts";
import { TestDma } from "../testing/dma.ts";
import { type DeviceScript, ScriptedDevice } from "../testing/scripted_device.ts";
import { MmioTransport } from "../transport/mmio.ts";
import type { Virtqueue } from "../virtqueue/virtqueue.ts";
import { waitOn } from "../wait/waiter.ts";

/** Memory in which allocations over a limit fail. */
export class LimitedDma extends TestDma {
  /** Bytes. */
  limit: number = Infinity;

  override alloc(size: number, options?: DmaOptions): DmaRegion {
    if (size > this.limit) throw new VireoError("OUT_OF_MEMORY", "Over the test's limit");
    return super.alloc(size, options);
  }
}

/** The interrupt of a machine that polls: a test has the bus serve by what it was given to wait with. */
export class HeldInterrupt implements Interrupt {
  readonly polled = true;
  /** The last wait. */
  options!: InterruptWait;

  wait(options: InterruptWait): Promise<void> {
    this.options = options;
    return waitOn(new Promise<void>(() => {}), { what: "an interrupt" }, options);
  }
}

/** Callbacks of a test driver, one for each call of the bus. */
export interface Hooks {
  readonly queues?: readonly QueueRequest[];
  readonly validate?: VirtioDriver["validate"];
  readonly probe?: (device: VirtioDevice, calls: string[]) => void | Promise<void>;
  readonly scan?: () => void;
  readonly restore?: false | ((device: VirtioDevice) => void | Promise<void>);
  readonly freeze?: () => void;
  readonly remove?: (device: VirtioDevice) => void | Promise<void>;
  readonly configChanged?: () => void;
  readonly features?: FeatureSet;
  readonly legacyFeatures?: FeatureSet;
  readonly ids?: VirtioDriver["ids"];
}

/** A driver that records what is called, in order, and has no opinion of its own. */
export function recorder(hooks: Hooks = {}, name = "virtio_test"): {
  driver: VirtioDriver;
  calls: string[];
  errors: Error[];
} {
  const calls: string[] = [];
  const errors: Error[] = [];
  const driver: VirtioDriver = {
    name,
    ids: hooks.ids ?? [{ device: 42, vendor: ANY_ID }],
    features: hooks.features ?? FeatureSet.NONE,
    ...(hooks.legacyFeatures && { legacyFeatures: hooks.legacyFeatures }),
    ...(hooks.validate && { validate: hooks.validate }),
    async probe(device) {
      calls.push("probe");
      if (hooks.queues) device.findQueues(hooks.queues);
      await hooks.probe?.(device, calls);
      return instance(device, hooks, calls, errors);
    },
  };
  return { driver, calls, errors };
}

function instance(
  device: VirtioDevice,
  hooks: Hooks,
  calls: string[],
  errors: Error[],
): DriverInstance {
  const base: DriverInstance = {
    scan() {
      calls.push("scan");
      hooks.scan?.();
    },
    configChanged() {
      calls.push("configChanged");
      hooks.configChanged?.();
    },
    failed(error) {
      calls.push("failed");
      errors.push(error);
    },
    freeze() {
      calls.push("freeze");
      hooks.freeze?.();
    },
    async remove() {
      calls.push("remove");
      if (hooks.remove) return await hooks.remove(device);
      await device.reset();
      device.deleteQueues();
    },
  };
  if (hooks.restore === false) return base;
  const again = hooks.restore;
  return {
    ...base,
    async restore() {
      calls.push("restore");
      if (hooks.queues) device.findQueues(hooks.queues);
      if (again) await again(device);
    },
  };
}

/** A bus with one scripted device that is not registered yet. */
export function board(script: DeviceScript = {}, options: BusOptions = {}): {
  bus: Bus;
  scripted: ScriptedDevice;
  transport: MmioTransport;
  dma: LimitedDma;
  reports: Error[];
} {
  const scripted = new ScriptedDevice(script);
  const dma = new LimitedDma();
  const reports: Error[] = [];
  const bus = new Bus({ onError: (error) => reports.push(error), ...options });
  const transport = MmioTransport.probe(scripted, dma)!;
  scripted.takeLog();
  return { bus, scripted, transport, dma, reports };
}

/** Plays the device: returns a buffer through the used ring of a split queue, without interrupt. */
export function use(dma: LimitedDma, scripted: ScriptedDevice, queue: Virtqueue, id: number): void {
  const low = scripted.queues[queue.index]!.addresses.get(0x0a0)!;
  const { buffer, byteOffset } = dma.deviceBytes(low, 4 + 8 * queue.size);
  const used = new DataView(buffer, byteOffset);
  const index = used.getUint16(2, true);
  const at = 4 + 8 * (index % queue.size);
  used.setUint32(at, id, true);
  used.setUint32(at + 4, 0, true);
  used.setUint16(2, index + 1, true);
}

/** Lets every promise that is ready, and what follows from it, run. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 50; i++) await Promise.resolve();
}

/** Has each look at the clock find it 100 ms later, so that a wait of a second is over after some turns. */
export async function hurried<T>(run: () => Promise<T>): Promise<T> {
  const { now } = performance;
  let hurry = 0;
  performance.now = () => now.call(performance) + (hurry += 100);
  try {
    return await run();
  } finally {
    performance.now = now;
  }
}
