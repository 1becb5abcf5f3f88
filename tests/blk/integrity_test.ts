import { assert, assertEquals, assertGreater, assertRejects } from "@std/assert";
import {
  BlkDevice,
  type BlkDeviceOptions,
  EmulatedMachine,
  MemoryDisk,
  WorkerMachine,
} from "@vireo/emu";
import { Feature, FeatureSet, type Platform } from "@vireo/hal";
import type { WorkerDisk } from "./worker_disks.ts";
import { checkIntegrity, type IntegrityOptions, type IntegrityReport } from "./random_io.ts";

const MIB = 1024 * 1024;
/** Bytes of the long run; the default is what the project promises. */
const LONG = Number(Deno.env.get("VIREO_INTEGRITY_MIB") ?? "1024") * MIB;
const DISK = 64 * MIB;

function emulated(options: Partial<BlkDeviceOptions>, version: 1 | 2): () => Platform {
  return () =>
    EmulatedMachine.create({
      devices: [{ model: new BlkDevice({ disk: new MemoryDisk(DISK), ...options }), version }],
    });
}

async function check(options: IntegrityOptions): Promise<IntegrityReport> {
  const report = await checkIntegrity(options);
  assertGreater(report.bytes, options.total - 1);
  assert(report.reads > 0 && report.writes > 0);
  if ((options.upsets ?? 20) >= 3) assert(report.aborted > 0 && report.resets > 1);
  return report;
}

const { INDIRECT_DESC, EVENT_IDX } = Feature;
for (
  const [name, device, version, filter] of [
    ["version 2", {}, 2, []],
    ["version 1", {}, 1, []],
    ["no indirect, no event index, odd size_max", { sizeMax: 5000 }, 2, [INDIRECT_DESC, EVENT_IDX]],
    ["completion in reverse, small queue", { order: "reverse", queueSize: 8 }, 2, []],
    ["completion at random, 4 queues", { order: "random", queues: 4 }, 2, [INDIRECT_DESC]],
    [
      "deferred completion, 2 queues, blocks of 4096",
      { order: "deferred", queues: 2, blockSize: 4096 },
      2,
      [],
    ],
  ] as const
) {
  Deno.test(`64 MiB of random I/O, every byte verified: ${name}`, async () => {
    await check({
      platform: emulated(device, version),
      total: 64 * MIB,
      seed: 42,
      upsets: 12,
      filter: FeatureSet.of(...filter),
    });
  });
}

Deno.test(`${LONG / MIB} MiB of random I/O over 4 queues, with aborts and resets`, async () => {
  const report = await check({
    platform: emulated({ queues: 4, order: "deferred", seed: 7 }, 2),
    total: LONG,
    seed: 20261123,
    upsets: 60,
  });
  assertGreater(report.lost, 0);
});

for (const packed of [false, true]) {
  Deno.test(`32 MiB of random I/O with queue resets and device deaths, ${packed ? "packed" : "split"}`, async () => {
    const model = new BlkDevice({ disk: new MemoryDisk(DISK), queues: 2, order: "deferred" });
    const { queueResets, deaths, lost } = await check({
      platform: () => EmulatedMachine.create({ devices: [model], ring: { packed } }),
      total: 32 * MIB,
      seed: 5,
      upsets: 15,
      deaths: "busy",
      queueResets: "busy",
    });
    assertEquals([queueResets, deaths], [3, 3]);
    assertGreater(lost, 0);
  });
}

/** Bytes of the runs with the devices on a thread of their own. */
const THREADED = Number(Deno.env.get("VIREO_INTEGRITY_MIB") ?? "256") * MIB;

for (const version of [1, 2] as const) {
  Deno.test(`${THREADED / MIB} MiB of random I/O with the device on its own thread, version ${version}`, async () => {
    const options: WorkerDisk = {
      bytes: DISK,
      queues: 2,
      version,
      order: version === 1 ? "in-order" : "random",
    };
    const module = new URL("./worker_disks.ts", import.meta.url);
    const report = await checkIntegrity({
      platform: () => WorkerMachine.create({ module, options, deadline: 60_000 }),
      total: THREADED,
      seed: 99 + version,
      upsets: 20,
    });
    assertGreater(report.bytes, THREADED - 1);
    // How many requests an abort or a reset still meets is up to the two threads.
    assert(report.resets > 1 && report.reads > 0 && report.writes > 0);
  });
}

Deno.test("the check finds one byte that is wrong", async () => {
  class Forgetful extends MemoryDisk {
    override zero(offset: number, length: number): void {
      super.zero(offset, length - 1);
    }
  }
  await assertRejects(
    () =>
      checkIntegrity({
        platform: emulated({ disk: new Forgetful(DISK) }, 2),
        total: 8 * MIB,
        seed: 3,
        upsets: 0,
      }),
    Error,
    "expected 0",
  );
});
