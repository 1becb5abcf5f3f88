import { Bus } from "@vireo/drivers/bus";
import { EmulatedMachine } from "@vireo/emu";
import { MockDriver } from "@vireo/emu/testing";
import assert from "node:assert/strict";
import { MyDevice, myDevice } from "./my_device.ts";

Deno.test("my_device answers a chain that was put into its ring by hand", async () => {
  await using machine = EmulatedMachine.create({ devices: [new MyDevice()] });
  const driver = new MockDriver(machine);
  driver.init();
  const used = await driver.request(0, [{ read: Uint8Array.of(1, 2, 3) }, { write: 3 }]);
  assert.equal(used.written, 3);
  assert.deepEqual([...used.bytes[0]!], [3, 2, 1]);
  // A request that the specification forbids ends in NEEDS_RESET, not in an exception.
  driver.queues[0]!.makeAvailable(999);
  driver.queues[0]!.kick();
  assert.equal(driver.needsReset, true);
});

for (const ring of [{}, { packed: true }]) {
  Deno.test(`my_device and its driver agree, with ${JSON.stringify(ring)}`, async () => {
    await using machine = EmulatedMachine.create({ devices: [new MyDevice()], ring });
    await using bus = new Bus();
    await bus.registerDriver(myDevice);
    await bus.addPlatform(machine);
    const bytes = Uint8Array.from({ length: 1000 }, (_, i) => i);
    assert.deepEqual(await bus.get(myDevice)!.reverse(bytes), bytes.toReversed());
    assert.deepEqual(machine.violations(), []);
  });
}
