// A ring whose device side is the driver's: what the modem gives on it is told too.
import { assertEquals } from "@std/assert";
import { Bus, caifDriver } from "@vireo/drivers";
import { Tracer, TraceStats } from "@vireo/drivers/trace";
import { CaifDevice, EmulatedMachine } from "@vireo/emu";
import { traceText } from "@vireo/firmware/trace";

Deno.test("trace: a ring whose sides are swapped tells frames, data, kicks, and what breaks it", async () => {
  const lines: string[] = [];
  const stats = new TraceStats();
  const tracer = new Tracer((event) => {
    stats.event(event);
    if ("queue" in event && event.queue !== 1 || event.kind === "register") return;
    const text = traceText(event).replace(/0x[0-9a-f]+\+/, "AT+").replace(
      /after [\d.]+/,
      "after T",
    );
    lines.push(text.replace(/data (0000)+/, "data "));
  }, { data: 64 });
  const modem = new CaifDevice({ onFrame: () => {} });
  const machine = EmulatedMachine.create({ devices: [modem] });
  await using bus = new Bus({ tracer });
  await bus.registerDriver(caifDriver);
  await bus.addPlatform(machine);
  lines.length = 0;
  modem.send(Uint8Array.of(0xaa, 0xbb, 0xcc));
  assertEquals([...await bus.get(caifDriver)!.receive({ deadline: 1000 })], [0xaa, 0xbb, 0xcc]);
  assertEquals(lines, [
    "interrupt: used buffer",
    `'input' device's add 0 [r AT+67]: caif frame in 67 bytes data aabbcc${"00".repeat(29)}`,
    "'input' driver used 0, 0 bytes written, after T ms: caif frame in 67 bytes: received",
    "'input' kick of 1 buffer, notified",
  ]);
  const input = stats.devices()[0]!.queues.find(({ name }) => name === "input")!;
  assertEquals([input.added, input.used, input.kicks], [1, 1, 1]);
  assertEquals([input.read, input.written], [0, 67]);

  // The modem makes a descriptor available that is none.
  lines.length = 0;
  const { queues } = bus.devices[0]!;
  const { driver } = (queues[1] as unknown as { addresses: { driver: number } }).addresses;
  const available = machine.openMemory(driver, 8).bytes;
  available[2]!++;
  available[6] = 99;
  queues[1]!.pop();
  assertEquals(lines, [
    "fault: Cannot use the other side's buffers (virtio0, queue 1, index 1): saw 99, expected a head below 64",
  ]);
});
