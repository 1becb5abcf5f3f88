import { assert, assertEquals, assertMatch } from "@std/assert";
import { blkDriver, Bus } from "@vireo/drivers";
import { Tracer, TraceStats } from "@vireo/drivers/trace";
import { BlkDevice, EmulatedMachine, MemoryDisk } from "@vireo/emu";
import type { TraceDetail } from "@vireo/hal";
import { call } from "../cli_helper.ts";

/** Counts of reads of a disk: one by one, then together. */
async function counts(options: object): Promise<readonly unknown[]> {
  const stats = new TraceStats();
  const tracer = new Tracer((event) => stats.event(event));
  const machine = EmulatedMachine.create({
    devices: [{ model: new BlkDevice({ disk: new MemoryDisk(64 * 512) }) }],
    ...options,
  });
  await using bus = new Bus({ tracer });
  await bus.registerDriver(blkDriver);
  await bus.addPlatform(machine);
  const blk = bus.get(blkDriver)!;
  const before = stats.device("virtio0")!;
  for (let i = 0; i < 100; i++) await blk.read(i % 64, 512);
  const after = stats.device("virtio0")!;
  const alone = {
    kicks: after.queues[0]!.kicks,
    interrupts: after.interrupts - before.interrupts,
    reads: after.reads - before.reads,
    writes: after.writes - before.writes,
  };
  await Promise.all(Array.from({ length: 32 }, (_, i) => blk.read(i, 512)));
  const both = stats.device("virtio0")!;
  const together = {
    kicks: both.queues[0]!.kicks - after.queues[0]!.kicks,
    interrupts: both.interrupts - after.interrupts,
    accesses: both.reads - after.reads + both.writes - after.writes,
    most: both.queues[0]!.most,
  };
  const [queue] = both.queues;
  assertEquals([queue!.added, queue!.used, queue!.suppressed, both.errors], [132, 132, 0, 0]);
  assertEquals([queue!.read, queue!.written], [132 * 16, 132 * 513]);
  return [alone, together];
}

Deno.test("stats: what a read costs on the emulator, to the register access", async () => {
  // A device that answers at once is asked at once: the notification is the only access.
  const cheap = [
    { kicks: 100, interrupts: 0, reads: 0, writes: 100 },
    { kicks: 1, interrupts: 0, accesses: 1, most: 32 },
  ];
  assertEquals(await counts({}), cheap);
  assertEquals(await counts({ ring: { packed: true } }), cheap);
  assertEquals(await counts({ bus: "pci" }), cheap);
  // One that answers later interrupts: the cause and its acknowledgement.
  assertEquals(await counts({ deferNotify: true }), [
    { kicks: 100, interrupts: 100, reads: 100, writes: 200 },
    { kicks: 1, interrupts: 1, accesses: 3, most: 32 },
  ]);
  // Messages need neither.
  assertEquals(await counts({ bus: "pci", deferNotify: true }), [
    { kicks: 100, interrupts: 100, reads: 0, writes: 100 },
    { kicks: 1, interrupts: 1, accesses: 1, most: 32 },
  ]);
});

Deno.test("stats: percentiles are at most 5% too high", () => {
  const stats = new TraceStats();
  let details: TraceDetail | undefined;
  const tracer = new Tracer((event) => stats.event(event));
  for (let i = 1; i <= 1000; i++) {
    const [queue, name, token, request] = [0, "q", 0, undefined];
    details = { kind: "used", queue, name, token, request, length: 1, inFlight: 0, after: i / 10 };
    tracer.emit("slot", details);
  }
  const { p50, p90, p99, max } = stats.device("slot")!.queues[0]!.latency;
  for (const [value, exact] of [[p50, 50], [p90, 90], [p99, 99]] as const) {
    assert(value >= exact && value <= exact * 1.05, `${value} for ${exact}`);
  }
  assertEquals(max, 100);
});

Deno.test("stats: --stats prints counts at the end, beside a trace of some groups", async () => {
  const { code, err } = await call("blk read --count 8 --hash --stats");
  assertEquals(code, 0);
  const lines = err.trim().split("\n");
  assertMatch(
    lines[0]!,
    /^device +queue +buffers +back +kicks +suppressed +bytes to device +from device/,
  );
  assert(lines.some((line) => /^virtio1 +req\.0 +1 +1 +1 +0 +16 +4097 +[\d.]+ ms/.test(line)), err);
  assert(
    lines.some((line) =>
      /^virtio1: 0 interrupts, \d+ register reads, \d+ register writes, 4096 bytes copied \(4096 a request\)$/
        .test(line)
    ),
    err,
  );
  assert(!err.includes("blk READ"));
  const both = await call(
    "blk read --count 8 --hash --stats --trace=request --trace-device virtio1 --trace-device virtio9",
  );
  assertMatch(
    both.err,
    /\nvireo: --trace-device: there was no 'virtio9', but virtio0, virtio1, virtio2, virtio3\n$/,
  );
  const requests = both.err.split("\n").filter((line) => line.includes("blk READ"));
  assertEquals(requests.length, 2);
  assert(!both.err.includes("Status <-") && !both.err.includes("virtio2 '"));
  assertMatch(both.err, /\nvirtio2: /);
});
