/**
 * An emulated device and a driver for it: `vireo run my_device.ts`.
 *
 * Change the id, the queues and `notify` to what your device does.
 *
 * @module
 */
import { Bus } from "@vireo/drivers/bus";
import {
  QueueDriver,
  type RequestQueue,
  type VirtioDevice,
  type VirtioDriver,
} from "@vireo/drivers/core";
import { EmulatedMachine } from "@vireo/emu";
import type { DeviceContext, DeviceModel } from "@vireo/emu/core";
import { ANY_ID, FeatureSet } from "@vireo/hal";

/** An id that virtio 1.4 does not use. */
const MY_ID = 63;

/** Answers each request with its bytes in reverse order. */
export class MyDevice implements DeviceModel {
  readonly name = "my_device";
  readonly deviceId: number = MY_ID;
  readonly features: FeatureSet = FeatureSet.NONE;
  readonly queues: DeviceModel["queues"] = [{ name: "requestq", maxSize: 64 }];
  /** Bytes of the configuration space. */
  readonly configSize = 0;
  #context: DeviceContext | undefined;

  readConfig(): number {
    return 0;
  }

  /** The driver has set DRIVER_OK. */
  activate(context: DeviceContext): void {
    this.#context = context;
  }

  /** Says what is wrong with a request of so many bytes; undefined if nothing is. */
  reject(length: number): string | undefined {
    return length === 0 ? "a request without bytes" : undefined;
  }

  /** The driver has made buffers available. */
  notify(index: number): void {
    const queue = this.#context?.queue(index);
    for (let chain = queue?.pop(); chain !== undefined; chain = queue?.pop()) {
      const wrong = this.reject(chain.readableLength);
      // Sets NEEDS_RESET; the driver's errors have the reason as their cause.
      if (wrong !== undefined) return this.#context?.fault(wrong);
      const request = new Uint8Array(chain.readableLength);
      chain.read(request);
      chain.write(request.reverse());
      queue?.push(chain);
    }
    // One interrupt for all of them, if the driver asked for interrupts.
    queue?.signal();
  }

  reset(): void {
    this.#context = undefined;
  }

  [Symbol.dispose](): void {}
}

/** The driver. */
export class MyDeviceDriver extends QueueDriver {
  #requests!: RequestQueue;

  constructor(device: VirtioDevice) {
    super(device, "My device");
    this.setUp();
  }

  protected override setUp(): void {
    [this.#requests] = this.openQueues({ name: "requests" });
  }

  /** Has the device reverse bytes. */
  async reverse(bytes: Uint8Array): Promise<Uint8Array> {
    const answer = await this.ask(this.#requests, [bytes], bytes.length, { deadline: 1000 });
    return answer.bytes;
  }
}

/** Matches devices to this driver, for the bus. */
export const myDevice: VirtioDriver<MyDeviceDriver> = {
  name: "my_device",
  ids: [{ device: MY_ID, vendor: ANY_ID }],
  features: FeatureSet.NONE,
  probe: (device) => new MyDeviceDriver(device),
};

/** Makes a machine with the device, and drives it. */
export default async function main(): Promise<void> {
  await using machine = EmulatedMachine.create({ devices: [new MyDevice()] });
  await using bus = new Bus();
  await bus.registerDriver(myDevice);
  await bus.addPlatform(machine);
  const answer = await bus.get(myDevice)!.reverse(new TextEncoder().encode("oeriv"));
  console.log(`my_device says ${new TextDecoder().decode(answer)}`);
}
