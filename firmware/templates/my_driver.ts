/**
 * A driver for entropy devices: `vireo run my_driver.ts`.
 *
 * Change `ids` to the device that you drive, and `read` to what it does.
 *
 * @module
 */
import {
  QueueDriver,
  type RequestQueue,
  type VirtioDevice,
  type VirtioDriver,
  type WaitOptions,
} from "@vireo/drivers/core";
import type { Vireo } from "@vireo/firmware";
import { ANY_ID, DeviceId, FeatureSet } from "@vireo/hal";

/** One device. */
export class MyDriver extends QueueDriver {
  #requests!: RequestQueue;

  /** Sets up a device whose features are negotiated. */
  constructor(device: VirtioDevice) {
    super(device, "My device");
    this.setUp();
  }

  /** Opens the queues: at first, and again after each reset. */
  protected override setUp(): void {
    [this.#requests] = this.openQueues({ name: "requests" });
  }

  /**
   * Asks the device for bytes.
   *
   * @param length How many at most.
   * @throws {VireoError} `TIMEOUT` If the deadline passes, or why the device failed.
   */
  async read(length: number, options: WaitOptions = {}): Promise<Uint8Array> {
    // Nothing for the device to read, and so many bytes for it to write.
    const { bytes } = await this.ask(this.#requests, [], length, { deadline: 1000, ...options });
    return bytes;
  }
}

/** Matches devices to this driver, for the bus. */
export const myDriver: VirtioDriver<MyDriver> = {
  name: "my_driver",
  ids: [{ device: DeviceId.RNG, vendor: ANY_ID }],
  features: FeatureSet.NONE,
  probe: (device) => new MyDriver(device),
};

/** Drives the board's device, whichever driver has it. */
export default async function main(vireo: Vireo): Promise<void> {
  const device = await vireo.use(myDriver);
  console.log(`my_driver read ${(await device.read(16)).length} bytes`);
}
