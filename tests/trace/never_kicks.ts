// A driver that never kicks: on any device its requests hang. For record_test.ts.
import { SgList, type VirtioDevice, type VirtioDriver, type Virtqueue } from "@vireo/drivers/core";
import type { Vireo } from "@vireo/firmware";
import { ANY_ID, DeviceId, type DmaRegion, FeatureSet, VireoError } from "@vireo/hal";

class NeverKicks {
  readonly #device: VirtioDevice;
  readonly #queue: Virtqueue;
  readonly #memory: DmaRegion;
  #answered = false;

  constructor(device: VirtioDevice) {
    this.#device = device;
    this.#memory = device.dma.alloc(64);
    const callback = (queue: Virtqueue): void => {
      this.#answered ||= queue.pop() >= 0;
    };
    [this.#queue] = device.findQueues([{ name: "requests", callback }]) as [Virtqueue];
    device.ready();
  }

  async ask(ms: number): Promise<void> {
    this.#queue.add(new SgList(1).addWritable(this.#memory.address, 64), 0);
    // this.#queue.kick() is missing.
    await new Promise((resolve) => setTimeout(resolve, ms));
    if (!this.#answered) throw new VireoError("TIMEOUT", `The device was silent for ${ms} ms`);
  }

  async remove(): Promise<void> {
    await this.#device.reset();
    this.#device.deleteQueues();
    this.#memory[Symbol.dispose]();
  }
}

const driver: VirtioDriver<NeverKicks> = {
  name: "never-kicks",
  ids: [{ device: DeviceId.RNG, vendor: ANY_ID }],
  features: FeatureSet.NONE,
  probe: (device) => new NeverKicks(device),
};

export default async function (vireo: Vireo): Promise<void> {
  const device = await vireo.use(driver);
  await device.ask(50);
}
