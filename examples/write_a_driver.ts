/**
 * A driver of one's own for a device id, here the entropy device's: `vireo run examples/write_a_driver.ts`.
 *
 * @module
 */
import { type DriverInstance, SgList, type VirtioDevice } from "@vireo/drivers/core";
import { ANY_ID, DeviceId, FeatureSet } from "@vireo/hal";
import type { Vireo } from "@vireo/firmware";

/** Dice from an entropy device. */
class Dice implements DriverInstance {
  #device: VirtioDevice;
  #got = Promise.withResolvers<void>();

  constructor(device: VirtioDevice) {
    this.#device = device;
    device.findQueues([{ name: "input", callback: () => this.#got.resolve() }]);
  }

  async roll(): Promise<number> {
    const queue = this.#device.queues[0]!;
    using buffer = this.#device.dma.alloc(64);
    this.#got = Promise.withResolvers();
    queue.add(new SgList(1).addWritable(buffer.share(0, 64, "from-device"), 64), 0);
    queue.kick();
    await this.#got.promise;
    queue.pop();
    buffer.unshare(0, 64, "from-device");
    return buffer.bytes.subarray(0, queue.usedLength).reduce((sum, byte) => sum + byte, 0) % 6 + 1;
  }

  async remove(): Promise<void> {
    await this.#device.reset();
    this.#device.deleteQueues();
  }
}

/** Takes the device from the bundled driver, binds this one, and rolls. */
export default async function main(vireo: Vireo): Promise<void> {
  const driver = {
    name: "dice",
    ids: [{ device: DeviceId.RNG, vendor: ANY_ID }],
    features: FeatureSet.NONE,
    probe: (device: VirtioDevice) => new Dice(device),
  };
  const dice = await vireo.use(driver);
  console.log(`rolled ${await dice.roll()} and ${await dice.roll()}`);
}
