import { assertEquals } from "@std/assert";
import { ConfigGate } from "./_config_gate.ts";

Deno.test("config gate: a change is delivered once both gates are open, and one for all that came before", () => {
  let delivered = 0;
  const gate = new ConfigGate(() => delivered++);
  gate.changed();
  gate.changed();
  assertEquals(delivered, 0, "the bus's gate is closed at first");
  gate.setDriver(false);
  gate.setCore(true);
  assertEquals(delivered, 0);
  gate.setDriver(true);
  assertEquals(delivered, 1);
  gate.hold();
  assertEquals(delivered, 1);
  gate.setCore(true);
  assertEquals(delivered, 2);
});

Deno.test("config gate: after a clear it is as it was made", () => {
  let delivered = 0;
  const gate = new ConfigGate(() => delivered++);
  gate.setCore(true);
  gate.setDriver(false);
  gate.changed();
  gate.clear();
  gate.setCore(true);
  assertEquals(delivered, 0, "the earlier change is forgotten");
  gate.changed();
  assertEquals(delivered, 1, "the driver's gate is open");
  gate.clear();
  gate.changed();
  assertEquals(delivered, 1, "the bus's gate is closed");
});
