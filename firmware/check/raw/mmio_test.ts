import { assertEquals } from "@std/assert";
import { ScriptedDevice } from "@vireo/drivers/testing";
import { Log, LoggedWindow } from "./log.ts";
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

/** Acts on a slot of a version, and lists what that reads and writes. */
function told(version: number, act: (raw: RawMmio) => unknown, cause = 0): [unknown, string] {
  const slot = new ScriptedDevice({ version, queues: [8, 16] });
  slot.cause = cause;
  const raw = RawMmio.open(slot, new Log())!;
  slot.takeLog();
  return [act(raw), slot.takeLog().join(",")];
}

Deno.test("raw mmio: each access is one of the specification's registers", () => {
  const parts = { desc: 0x1000, driver: 0x1080, device: 0x2000 };
  const cases:
    readonly (readonly [act: (raw: RawMmio) => unknown, gives: unknown, told: string])[] = [
      [(raw) => raw.status(), 0, "r Status 0x0"],
      [(raw) => raw.writeStatus(3), undefined, "w Status 0x3"],
      [(raw) => raw.features(1), 1, "w DeviceFeaturesSel 0x1,r DeviceFeatures 0x1"],
      [(raw) => raw.accept(1, 5), undefined, "w DriverFeaturesSel 0x1,w DriverFeatures 0x5"],
      [(raw) => (raw.select(1), raw.sizeMax()), 16, "w QueueSel 0x1,r QueueSizeMax 0x10"],
      [(raw) => raw.writeSize(4), undefined, "w QueueSize 0x4"],
      [
        (raw) => raw.place(parts, 2 ** 33),
        undefined,
        "w QueueDescLow 0x1000,w QueueDescHigh 0x2,w QueueDriverLow 0x1080,w QueueDriverHigh 0x2," +
        "w QueueDeviceLow 0x2000,w QueueDeviceHigh 0x2",
      ],
      [(raw) => (raw.enable(0x1000, 0), raw.enabled()), 1, "w QueueReady 0x1,r QueueReady 0x1"],
      [(raw) => raw.notify(0x10003), undefined, "w QueueNotify 0x3"],
      [(raw) => raw.notifyValue(0, 0x10003), undefined, "w QueueNotify 0x10003"],
      [(raw) => raw.causes(), 0, "r InterruptStatus 0x0"],
      [
        (raw) => (raw.writeConfig(1, 2, 0x201), raw.config(2, 1)),
        2,
        "w Config+1:2 0x201,r Config+2:1 0x2",
      ],
      [(raw) => raw.generation(), 0, "r ConfigGeneration 0x0"],
      [(raw) => (raw.resetQueue(), raw.queueReset()), 0, "w QueueReset 0x1,r QueueReset 0x0"],
      [(raw) => (raw.poke(0x70, 1, 5), raw.peek(0x70, 2)), 5, "w Status:1 0x5,r Status:2 0x5"],
    ];
  for (const [act, gives, said] of cases) assertEquals(told(2, act), [gives, said]);
  assertEquals(told(2, (raw) => raw.causes(), 3), [3, "r InterruptStatus 0x3,w InterruptACK 0x3"]);
  // Version 1 has a page for the whole queue, and no generation.
  assertEquals(told(1, (raw) => raw.place(parts, 0)), [undefined, ""]);
  assertEquals(told(1, (raw) => (raw.enable(0x1000, 0x10000), raw.enabled())), [
    17,
    "w GuestPageSize 0x1000,w QueueAlign 0x1000,w QueuePFN 0x11,r QueuePFN 0x11",
  ]);
  assertEquals(told(1, (raw) => raw.generation()), [0, ""]);
  assertEquals(told(2, (raw) => [raw.configSize, raw.legacy, raw.id, raw.bus])[0], [
    ...[0x100, false, 42, "mmio"],
  ]);
});

Deno.test("raw mmio: the log says which parts of addresses were written", () => {
  const log = new Log();
  const places = (version: number, act: (raw: RawMmio) => void): unknown[] => {
    const raw = RawMmio.open(new ScriptedDevice({ version }), log)!;
    log.clear();
    act(raw);
    return log.entries.map((entry) => entry.op === "write" ? entry.place : undefined);
  };
  const parts = { desc: 16, driver: 32, device: 48 };
  assertEquals(
    places(2, (raw) => raw.place(parts, 4096)),
    [16, 32, 48].flatMap((at) => [{ at, part: "low" }, { at, part: "high" }]),
  );
  assertEquals(places(1, (raw) => raw.enable(0x1000, 4096)), [
    ...[undefined, undefined, { at: 0x1000, part: "page" }],
  ]);
});

Deno.test("log: the first 4000 entries are kept, and values as wide as they are written", () => {
  const log = new Log();
  for (let i = 0; i < 4001; i++) log.add({ op: "note", text: String(i) });
  assertEquals([log.entries.length, log.entries.at(-1)], [4000, { op: "note", text: "3999" }]);
  log.clear();
  assertEquals(log.entries, []);
  const slot = new ScriptedDevice();
  const window = new LoggedWindow("mmio", slot.mmio, log);
  window.write(0x100, 1, 0x1ff);
  window.write(0x100, 2, 0x1ffff);
  window.write(0x100, 4, -1);
  assertEquals(slot.log, ["w Config+0:1 0xff", "w Config+0:2 0xffff", "w Config+0 0xffffffff"]);
  assertEquals(log.entries[0], {
    op: "write",
    window: "mmio",
    offset: 0x100,
    width: 1,
    value: 0x1ff,
  });
  assertEquals([1, 2, 4].map((width) => window.read(0x100, width as 1 | 2 | 4)), [
    ...[0xff, 0xffff, 0xffffffff],
  ]);
  assertEquals([window.name, window.size], ["mmio", 0x200]);
});
