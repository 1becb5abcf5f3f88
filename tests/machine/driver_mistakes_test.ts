/**
 * The usual mistakes of a new driver, each with all that its author is told: by the bus, by
 * the request that fails, and at the end by the removal.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { Bus } from "@vireo/drivers/bus";
import { SgList, type VirtioDevice, type Virtqueue } from "@vireo/drivers/core";
import { EmulatedMachine } from "@vireo/emu/core";
import { seededRandom } from "@vireo/emu/backends";
import { RngDevice } from "@vireo/emu/rng";
import { ANY_ID, DeviceId, type DmaRegion, FeatureSet } from "@vireo/hal";
import { errorLines } from "../../firmware/terminal/report.ts";

/** A driver's parts that a mistake replaces. */
interface Mistake {
  callback?(): void;
  submit?(queue: Virtqueue, buffer: DmaRegion): unknown;
  remove?(device: VirtioDevice): void | Promise<void>;
  /** Whether the driver has no `failed`. */
  deaf?: true;
  /** What the author is told. */
  told: readonly string[];
}

function chain(address: number, length: number): SgList {
  return new SgList(1).addWritable(address, length);
}

const MISTAKES: Readonly<Record<string, Mistake>> = {
  "none": { told: ["answered 64 bytes"] },
  "a callback that throws": {
    callback: () => {
      throw new TypeError("Not a thing");
    },
    told: [
      "bus: Queue callback threw (virtio0, queue 0) [QUEUE_BROKEN]",
      "  because: TypeError: Not a thing",
      "failed: Queue callback threw (virtio0, queue 0) [QUEUE_BROKEN]",
      "  because: TypeError: Not a thing",
    ],
  },
  "a callback that throws, in a driver without failed": {
    callback: () => {
      throw new TypeError("Not a thing");
    },
    deaf: true,
    told: [
      "bus: Queue callback threw (virtio0, queue 0) [QUEUE_BROKEN]",
      "  because: TypeError: Not a thing",
    ],
  },
  "a token that says 'none'": {
    submit: (queue, buffer) => queue.add(chain(buffer.address, 64), -1),
    told: [
      "bus: mine cannot drive the device (virtio0) [PROBE_FAILED]",
      "  because: RangeError: Cannot add a buffer with token -1: the token must be an integer, 0 to 2147483647",
    ],
  },
  "a length that a descriptor cannot hold": {
    submit: (queue, buffer) => queue.add(chain(buffer.address, 2 ** 32 + 64), 0),
    told: [
      "bus: mine cannot drive the device (virtio0) [PROBE_FAILED]",
      "  because: RangeError: Cannot append 4294967360 bytes at address ADDRESS: the address must be 0 to 2^53 - 1, " +
      "and the length an integer, 0 to 4294967295",
    ],
  },
  "an address that is none": {
    submit: (queue) => queue.add(chain(NaN, 64), 0),
    told: [
      "bus: mine cannot drive the device (virtio0) [PROBE_FAILED]",
      "  because: RangeError: Cannot append 64 bytes at address NaN: the address must be 0 to 2^53 - 1, " +
      "and the length an integer, 0 to 4294967295",
    ],
  },
  "a buffer without room": {
    submit: (queue, buffer) => queue.add(chain(buffer.address, 0), 0),
    told: [
      "failed: The device failed and must be reset (virtio0, register Status): saw 0x4f [DEVICE_NEEDS_RESET]",
      "  because: The driver erred: entropy request has no room for a byte (virtio 1.4 §5.4) (SLOT) [VIOLATION]",
    ],
  },
  "a buffer of the wrong direction": {
    submit: (queue, buffer) => queue.add(new SgList(1).addReadable(buffer.address, 64), 0),
    told: [
      "failed: The device failed and must be reset (virtio0, register Status): saw 0x4f [DEVICE_NEEDS_RESET]",
      "  because: The driver erred: entropy request has 64 device-readable bytes, expected none " +
      "(virtio 1.4 §5.4) (SLOT) [VIOLATION]",
    ],
  },
  "queues that are never deleted": {
    remove: (device) => device.reset(),
    told: [
      "answered 64 bytes",
      "removal: mine left the queues of the device: remove() must call deleteQueues() (virtio0): " +
      "saw 1, expected 0 [DEVICE_STATE]",
    ],
  },
  "a device that is never reset": {
    remove: () => {},
    told: [
      "answered 64 bytes",
      "removal: mine left the device running: remove() must reset it (virtio0, register Status): " +
      "saw 0xf, expected 0x0 [DEVICE_STATE]",
    ],
  },
};

for (const [name, mistake] of Object.entries(MISTAKES)) {
  Deno.test(`a driver's author hears of a mistake: ${name}`, async () => {
    const told: string[] = [];
    const news = Promise.withResolvers<void>();
    const tell = (...lines: string[]): void => {
      told.push(...lines);
      news.resolve();
    };
    const heard = (what: string, error: unknown): void => {
      const lines = errorLines(error).filter((line) => !/^\s+at /.test(line));
      tell(...lines.map((line, i) => i === 0 ? `${what}: ${line}` : line));
    };
    let place = 0;
    await using machine = EmulatedMachine.create({
      devices: [new RngDevice({ random: seededRandom(1) })],
    });
    const bus = new Bus({ recover: "manual", onError: (error) => heard("bus", error) });
    await bus.registerDriver({
      name: "mine",
      ids: [{ device: DeviceId.RNG, vendor: ANY_ID }],
      features: FeatureSet.NONE,
      probe(device: VirtioDevice) {
        const buffer = device.dma.alloc(64);
        place = buffer.address;
        const [queue] = device.findQueues([{
          name: "input",
          callback(queue) {
            if (mistake.callback !== undefined) return mistake.callback();
            if (queue.pop() >= 0) tell(`answered ${queue.usedLength} bytes`);
          },
        }]);
        device.ready();
        if (mistake.submit === undefined) queue!.add(chain(buffer.address, 64), 0);
        else mistake.submit(queue!, buffer);
        queue!.kick();
        return {
          ...mistake.deaf ? {} : { failed: (error: Error) => heard("failed", error) },
          remove: () =>
            mistake.remove === undefined
              ? device.reset().then(() => device.deleteQueues())
              : mistake.remove(device),
        };
      },
    });
    await bus.addPlatform(machine);
    await news.promise;
    const before = told.length;
    await bus[Symbol.asyncDispose]().catch((error) => heard("removal", error));
    // A removal resets the device, which ends what is pending in a driver that still waits.
    const ends = (line: string): boolean => line.startsWith("failed: The device was reset before");
    const rest = told.splice(before).filter((line) => !ends(line));
    const [node] = machine.nodes();
    const lines = [...told, ...rest].map((line) =>
      line.replace(`address ${place}:`, "address ADDRESS:").replace(`(${node!.name})`, "(SLOT)")
    );
    assertEquals(lines, mistake.told);
  });
}
