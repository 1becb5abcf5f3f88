import { assert, assertEquals } from "@std/assert";
import { Blk, blkDriver, Bus, Console, consoleDriver } from "@vireo/drivers";
import {
  BlkDevice,
  ConsoleDevice,
  type DeviceModel,
  EmulatedMachine,
  MemoryDisk,
} from "@vireo/emu";
import type { DmaOptions, DmaRegion } from "@vireo/hal";
import type { VirtioDriver } from "@vireo/drivers/core";
import { bytesBy } from "../noise.ts";

const KIB = 1024;

/** A machine with a device whose driver is bound, and a count of the bytes that the driver has of its memory. */
async function boot(driver: VirtioDriver, model: DeviceModel) {
  const machine = EmulatedMachine.create({ devices: [model], memorySize: 64 << 20 });
  const { dma } = machine;
  const alloc = dma.alloc.bind(dma);
  let live = 0;
  /** The bytes of buffers, without those of rings. */
  let buffers = 0;
  dma.alloc = (size: number, options?: DmaOptions): DmaRegion => {
    const region = alloc(size, options);
    const free = region[Symbol.dispose].bind(region);
    const bytes = options?.coherent ? 0 : size;
    live += size;
    buffers += bytes;
    region[Symbol.dispose] = () => {
      live -= size;
      buffers -= bytes;
      free();
    };
    return region;
  };
  const bus = new Bus();
  await bus.registerDriver(driver);
  await bus.addPlatform(machine);
  return { bus, instance: bus.devices[0]!.instance, live: () => live, buffers: () => buffers };
}

Deno.test("idle memory: a disk has 256 KiB until many requests are under way, and keeps their data apart", async () => {
  const disk = new MemoryDisk(8 << 20);
  for (let i = 0; i < disk.memory.length; i += 512) disk.memory.fill(i / 512 % 251, i, i + 512);
  const { bus, instance: blk, live } = await boot(blkDriver, new BlkDevice({ disk }));
  assert(blk instanceof Blk);
  assert(live() <= 256 * KIB, `${live()} bytes`);
  assertEquals((await blk.read(9, 4096)).at(-1), 16);
  await blk.read(0, 32 * KIB);
  assert(live() <= 256 * KIB, `${live()} bytes after one request at a time`);
  // The first two are in the buffers from before.
  const reads = Array.from({ length: 40 }, (_, i) => blk.read(64 * i, 32 * KIB));
  for (const [i, bytes] of (await Promise.all(reads)).entries()) {
    for (let at = 0; at < bytes.length; at += 512) {
      assertEquals(bytes[at], (64 * i + at / 512) % 251, `read ${i}, byte ${at}`);
    }
  }
  assert(live() >= 2048 * KIB, `${live()} bytes for ${reads.length} requests`);
  const whole = await blk.read(0, 4 << 20);
  assertEquals(whole, disk.memory.slice(0, 4 << 20));
  await bus[Symbol.asyncDispose]();
  assertEquals(live(), 0);
});

Deno.test("idle memory: a port has 16 KiB until it is written to, or is sent more than that", async () => {
  const sent = bytesBy(200 * KIB, (i) => i % 253);
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
  const model = new ConsoleDevice({ ports: [{ backend: { readable, writable: sink() } }] });
  const { bus, instance: console, live, buffers } = await boot(consoleDriver, model);
  assert(console instanceof Console);
  assertEquals(buffers(), 16 * KIB);
  const port = (await console.port()).open();
  const host = writable.getWriter();
  const writing = host.write(sent);
  await new Promise((resolve) => setTimeout(resolve));
  assertEquals(buffers(), 64 * KIB, "all buffers of a port whose first ones are full");
  const received: number[] = [];
  while (received.length < sent.length) received.push(...(await port.read())!);
  await writing;
  assertEquals(received, [...sent]);
  await port.write(sent);
  assertEquals(buffers(), 128 * KIB);
  await host.close();
  await bus[Symbol.asyncDispose]();
  assertEquals(live(), 0);
});

/** A host that takes everything. */
function sink(): WritableStream<Uint8Array> {
  return new WritableStream<Uint8Array>();
}
