/**
 * An emulated device of one's own, and a driver for it: `vireo run examples/write_a_device.ts`.
 *
 * @module
 */
import { Bus, type DriverInstance, RequestQueue, SgList, type VirtioDevice } from "@vireo/drivers";
import { type DeviceContext, type DeviceModel, EmulatedMachine } from "@vireo/emu";
import { ANY_ID, FeatureSet } from "@vireo/hal";

/** An id that the specification does not use. */
const UPPERCASE_ID = 63;

/** Answers each buffer with the same text in capitals. */
class UppercaseDevice implements DeviceModel {
  readonly name = "uppercase";
  readonly deviceId = UPPERCASE_ID;
  readonly features: FeatureSet = FeatureSet.NONE;
  readonly queues = [{ name: "requestq", maxSize: 8 }];
  readonly configSize = 0;
  #context: DeviceContext | undefined;

  readConfig = () => 0;
  activate = (context: DeviceContext) => void (this.#context = context);
  notify(index: number): void {
    const queue = this.#context?.queue(index);
    for (let chain = queue?.pop(); chain !== undefined; chain = queue?.pop()) {
      const text = new Uint8Array(chain.readableLength);
      chain.read(text);
      chain.write(new TextEncoder().encode(new TextDecoder().decode(text).toUpperCase()));
      queue?.push(chain);
    }
    queue?.signal();
  }
  reset = () => void (this.#context = undefined);
  [Symbol.dispose](): void {}
}

/** Its driver: one request at a time. */
class Uppercase implements DriverInstance {
  #device: VirtioDevice;
  #requests: RequestQueue;

  constructor(device: VirtioDevice) {
    this.#device = device;
    const [queue] = device.findQueues([{ name: "req", callback: () => this.#requests.drain() }]);
    this.#requests = new RequestQueue(queue!);
  }

  async convert(text: string): Promise<string> {
    const bytes = new TextEncoder().encode(text);
    using buffer = this.#device.dma.alloc(bytes.length);
    buffer.bytes.set(bytes);
    const at = buffer.share(0, bytes.length, "both");
    const list = new SgList(2).addReadable(at, bytes.length).addWritable(at, bytes.length);
    const length = await this.#requests.submit(list, { deadline: 1000 });
    buffer.unshare(0, bytes.length, "both");
    return new TextDecoder().decode(buffer.bytes.slice(0, length));
  }

  async remove(): Promise<void> {
    await this.#device.reset();
    this.#device.deleteQueues();
  }
}

/** Builds a machine with the device, binds the driver, and uses it. */
export default async function main(): Promise<void> {
  await using machine = EmulatedMachine.create({ devices: [new UppercaseDevice()] });
  await using bus = new Bus();
  const driver = {
    name: "uppercase",
    ids: [{ device: UPPERCASE_ID, vendor: ANY_ID }],
    features: FeatureSet.NONE,
    probe: (device: VirtioDevice) => new Uppercase(device),
  };
  await bus.registerDriver(driver);
  await bus.addPlatform(machine);
  console.log(await bus.get(driver)?.convert("virtio reads like the specification"));
}
