import { assertEquals } from "@std/assert";
import { ScriptedDevice } from "@vireo/drivers/testing";
import { Log } from "./log.ts";
import { RawMmio } from "./mmio.ts";

Deno.test("raw mmio: a slot is given back when it is empty, or with its device", () => {
  const empty = new ScriptedDevice({ deviceId: 0 });
  assertEquals([RawMmio.open(empty, new Log()), empty.leases], [undefined, 0]);
  const slot = new ScriptedDevice();
  const raw = RawMmio.open(slot, new Log())!;
  assertEquals([raw.id, raw.legacy, slot.leases], [42, false, 1]);
  raw[Symbol.dispose]();
  assertEquals(slot.leases, 0);
});
