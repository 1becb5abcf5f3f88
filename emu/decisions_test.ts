// Points that the specification leaves open, and how this emulator decides them: ARCHITECTURE.md lists them.
import { assertEquals } from "@std/assert";
import { EmulatedMachine } from "./machine.ts";
import { EchoModel, MockDriver } from "./testing/mod.ts";

function rig(packed = false) {
  const model = new EchoModel({ queueSizes: [8] });
  const machine = EmulatedMachine.create({
    devices: [model],
    memorySize: 1 << 20,
    ring: { packed, notificationData: packed },
  });
  return { machine, driver: new MockDriver(machine) };
}

const reasons = ({ machine }: ReturnType<typeof rig>): string[] =>
  machine.violations().map(({ register, reason }) => `${register}: ${reason}`);

Deno.test("decided: FAILED is a note of the driver's, and the device serves on until it is reset", async () => {
  const it = rig();
  it.driver.init();
  it.driver.slot.write32(0x70, 0x8f);
  assertEquals(it.driver.slot.read32(0x70), 0x8f);
  const { written } = await it.driver.request(0, [{ read: Uint8Array.of(5) }, { write: 1 }]);
  assertEquals([written, reasons(it)], [1, []]);
});

Deno.test("decided: a QueueSize that is refused is noted, and the size before it stays", () => {
  const it = rig();
  it.driver.init(undefined, { queueSize: 4, stopBeforeDriverOk: true });
  const { slot } = it.driver;
  // The queue was set up with 4 entries. While it does not run, the driver may try any size.
  slot.write32(0x30, 0);
  slot.write32(0x44, 0);
  for (const size of [0, 3, 9, 16, 0xffffffff]) slot.write32(0x38, size);
  assertEquals(reasons(it), [
    "QueueSize: not 1 to 8",
    "QueueSize: not a power of two",
    ...new Array(3).fill("QueueSize: not 1 to 8"),
  ]);
  assertEquals(it.machine.device(0).configs[0]!.size, 4);
});

Deno.test("decided: a notification whose offset is beyond the packed ring is noted, and served", async () => {
  const it = rig(true);
  it.driver.init();
  const done = it.driver.packed[0]!.add([{ read: Uint8Array.of(5) }, { write: 1 }]);
  it.driver.slot.write32(0x50, 100 << 16);
  const { written } = await it.driver.until(done);
  assertEquals(written, 1);
  assertEquals(reasons(it), ["QueueNotify: offset 100 is outside a ring of 8"]);
});
