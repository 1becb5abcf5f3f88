import { DeviceId, FeatureSet } from "@vireo/hal";
import type { DeviceContext, DeviceModel } from "../device.ts";
import { RngDevice } from "../devices/rng/mod.ts";
import { seededRandom } from "../backends/random.ts";
import type { MachineDevice } from "../machine.ts";

/** Devices that the worker of the tests hosts. */
export interface TestDevices {
  readonly kind: "rng" | "throws" | "late" | "stuck";
  readonly version?: 1 | 2;
}

/** Answers its only queue a while after it was notified, from a timer. */
class LateDevice implements DeviceModel {
  readonly name = "late";
  readonly deviceId: number = DeviceId.RNG;
  readonly features: FeatureSet = FeatureSet.NONE;
  readonly queues = [{ name: "requestq", maxSize: 8 }];
  readonly configSize = 4;
  readonly #stuck: boolean;
  #context: DeviceContext | undefined;

  constructor(stuck: boolean) {
    this.#stuck = stuck;
  }

  readConfig(): number {
    while (this.#stuck);
    return 0x5a;
  }

  activate(context: DeviceContext): void {
    this.#context = context;
  }

  notify(index: number): void {
    setTimeout(() => {
      const queue = this.#context?.queue(index);
      for (let chain = queue?.pop(); chain !== undefined; chain = queue?.pop()) {
        chain.writeU8(0x42);
        queue?.push(chain);
      }
      queue?.signal();
    }, 1);
  }

  reset(): void {
    this.#context = undefined;
  }

  [Symbol.dispose](): void {}
}

/** Makes the devices of the tests in a worker. */
export default function make({ kind, version = 2 }: TestDevices): readonly MachineDevice[] {
  if (kind === "throws") throw new Error("No devices today");
  const model = kind === "rng"
    ? new RngDevice({ random: seededRandom(7) })
    : new LateDevice(kind === "stuck");
  return [{ model, version }];
}
