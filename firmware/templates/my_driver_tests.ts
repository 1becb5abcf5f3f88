import { Bus } from "@vireo/drivers/bus";
import { RingDevice, ScriptedDevice, TestDma } from "@vireo/drivers/testing";
import { MmioTransport } from "@vireo/drivers/transport";
import { openVireo } from "@vireo/firmware";
import { DeviceId } from "@vireo/hal";
import assert from "node:assert/strict";
import { myDriver } from "./my_driver.ts";

Deno.test("my_driver reads from the emulated device", async () => {
  await using vireo = await openVireo();
  const device = await vireo.use(myDriver);
  assert.equal((await device.read(16)).length, 16);
  assert.deepEqual(vireo.emulated?.machine.violations(), []);
});

Deno.test("my_driver gives what the device wrote, and no more", async () => {
  // A device that does what this test says, and memory that it shares with the driver.
  const dma = new TestDma();
  const slot = new ScriptedDevice({ deviceId: DeviceId.RNG });
  await using bus = new Bus();
  await bus.registerDriver(myDriver);
  await bus.addDevice(MmioTransport.probe(slot, dma)!);

  const reading = bus.get(myDriver)!.read(16);
  // The driver tells the device at the end of its turn.
  await Promise.resolve();
  const ring = new RingDevice(dma, slot.ring());
  const chain = ring.next()!;
  assert.deepEqual(chain.descriptors.map(({ length, flags }) => [length, flags]), [[16, 2]]);
  dma.memory.set([1, 2, 3], chain.descriptors[0]!.address - dma.base);
  ring.complete(chain, 3);
  slot.raise(1);
  assert.deepEqual(await reading, Uint8Array.of(1, 2, 3));
});
