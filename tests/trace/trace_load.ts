// Requests whose events are what traces have most of: reads of a disk, and frames that go out and come back.
import { blkDriver, Bus, type BusOptions, netDriver } from "@vireo/drivers";
import { BlkDevice, type DeviceModel, EmulatedMachine, MemoryDisk, NetDevice } from "@vireo/emu";
import type { FrameSink, NetBackend } from "@vireo/emu/backends";
import type { Platform } from "@vireo/hal";
import { processorTime } from "../../drivers/async_test_util.ts";

const MAC = [2, 0, 0, 0, 0, 1];

/** A wire that brings back each frame. */
class Mirror implements NetBackend {
  readonly name = "mirror";
  readonly accepts = 0;
  #sink: FrameSink | undefined;

  connect(sink: FrameSink | undefined): void {
    this.#sink = sink;
  }

  send(...frame: Parameters<NetBackend["send"]>): void {
    this.#sink?.receive(...frame);
  }

  flush(): void {
    this.#sink?.flush();
  }

  [Symbol.dispose](): void {}
}

/** An echo request of 98 bytes. */
function echo(): Uint8Array {
  const frame = new Uint8Array(98);
  frame.set(MAC, 0);
  frame.set(MAC, 6);
  frame.set([8, 0, 0x45, 0, 0, 84, 0, 0, 0, 0, 64, 1, 0, 0, 10, 0, 2, 15, 10, 0, 2, 2], 12);
  frame.set([8, 0, 0, 0, 0, 1, 0, 1], 34);
  return frame;
}

/** A disk of 256 KiB and a network card. */
export function loadDevices(): { readonly model: DeviceModel }[] {
  return [
    { model: new BlkDevice({ disk: new MemoryDisk(64 * 4096) }) },
    { model: new NetDevice({ backend: new Mirror(), mac: "02:00:00:00:00:01" }) },
  ];
}

/** A machine of {@linkcode loadDevices}. */
export function loadMachine(): EmulatedMachine {
  return EmulatedMachine.create({ devices: loadDevices() });
}

/**
 * Does so many rounds, each a read of 4 KiB and an echo of 98 bytes.
 *
 * @returns Milliseconds of the processor that the rounds took.
 */
export async function load(
  rounds: number,
  options: BusOptions = {},
  machine: Platform = loadMachine(),
): Promise<number> {
  await using bus = new Bus(options);
  await bus.registerDriver(blkDriver);
  await bus.registerDriver(netDriver);
  await bus.addPlatform(machine);
  const [blk, net] = [bus.get(blkDriver)!, bus.get(netDriver)!];
  const bytes = new Uint8Array(4096);
  const frame = echo();
  const start = processorTime();
  for (let i = 0; i < rounds; i++) {
    await blk.read((i & 63) * 8, bytes);
    await net.send(frame);
    await net.receive();
  }
  return processorTime() - start;
}
