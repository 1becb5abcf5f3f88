// deno-lint-ignore-file no-console -- a program
/**
 * Verified random I/O by the block driver, with aborts, resets, queue resets and device deaths in between, for as
 * long or as much as is wanted.
 *
 * `deno run -A tests/blk/integrity.ts [--gib 1] [--seconds 600] [--on emu|threaded|QEMU-PROGRAM]... [--ring
 * split|packed]... [--seed 1] [--chunk 512]`. A QEMU's program is found by name or path, for example
 * `qemu-system-aarch64`. What comes first, GiB or seconds, ends it. Each chunk (MiB) is a machine and a seed of its
 * own. Exits with 1 at the first byte that is wrong.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { findBoard } from "@vireo/firmware/boards";
import { BlkDevice, EmulatedMachine, MemoryDisk, WorkerMachine } from "@vireo/emu";
import { Feature, FeatureSet, type Platform } from "@vireo/hal";
import { QtestPlatform } from "@vireo/hal/qtest";
import { checkIntegrity, type IntegrityReport } from "../blk_integrity.ts";
import type { WorkerDisk } from "../worker_disks.ts";

const MIB = 2 ** 20;
const DISK = 64 * MIB;
const ORDERS = ["in-order", "reverse", "random", "deferred"] as const;

const { values } = parseArgs({
  options: {
    gib: { type: "string", default: "1" },
    seconds: { type: "string", default: "3600" },
    on: { type: "string", multiple: true, default: ["emu", "threaded", "qemu-system-aarch64"] },
    ring: { type: "string", multiple: true, default: ["split", "packed"] },
    seed: { type: "string", default: "1" },
    chunk: { type: "string", default: "512" },
  },
});

/** QEMU goes on with requests of a queue that was reset, and offers RING_RESET on slots without a register for it. */
function queueResetsOn(on: string, seed: number): { queueResets?: "busy" | "idle" } {
  if (on === "emu" || on === "threaded") return { queueResets: "busy" };
  return onPci(seed) ? { queueResets: "idle" } : {};
}

/** Whether QEMU's disk of a chunk is on PCI. */
const onPci = (seed: number): boolean => seed % 3 === 0;

/** Queues of a chunk's disk; no number of places divides 5. */
const queuesOf = (seed: number): number => 1 + seed % 5;

/** Makes the machine of a chunk. */
async function machine(
  on: string,
  packed: boolean,
  seed: number,
  disk: string,
): Promise<Platform> {
  const ring = { packed };
  if (on === "emu") {
    const model = new BlkDevice({
      disk: new MemoryDisk(DISK),
      queues: queuesOf(seed),
      order: ORDERS[seed % 4]!,
      seed,
    });
    return EmulatedMachine.create({ devices: [model], ring, bus: seed % 3 === 0 ? "pci" : "mmio" });
  }
  if (on === "threaded") {
    const options: WorkerDisk = {
      bytes: DISK,
      queues: queuesOf(seed),
      version: 2,
      order: (["in-order", "random", "deferred"] as const)[seed % 3]!,
    };
    const module = new URL("../worker_disks.ts", import.meta.url);
    return WorkerMachine.create({ module, options, ring, deadline: 60_000 });
  }
  const pci = onPci(seed);
  return await QtestPlatform.start({
    board: findBoard(pci ? "aarch64-virt-pci" : "aarch64-virt"),
    qemu: on,
    packed,
    memory: 256 * MIB,
    deadline: 60_000,
    accessDeadline: 60_000,
    extraArgs: ["-drive", `if=none,id=d,file=${disk},format=raw,discard=unmap`],
    devices: [
      `virtio-blk-${pci ? "pci" : "device"},drive=d,num-queues=${
        queuesOf(seed)
      },discard=on,write-zeroes=on`,
    ],
  });
}

const start = performance.now();
const end = start + Number(values.seconds) * 1000;
const total = Number(values.gib) * 1024 * MIB;
const disk = await Deno.makeTempFile({ prefix: "vireo-" });
const places = values.on.flatMap((on) => values.ring.map((ring) => ({ on, ring })));
const sums = places.map(() => ({ bytes: 0, ms: 0, reports: [] as IntegrityReport[] }));
let done = 0;
try {
  for (let i = 0; done < total && performance.now() < end; i++) {
    const place = i % places.length;
    const { on, ring } = places[place]!;
    const seed = Number(values.seed) * 100_003 + i;
    await Deno.truncate(disk, 0);
    await Deno.truncate(disk, DISK);
    const begin = performance.now();
    const where = `${on}, ${ring}, seed ${seed}`;
    try {
      const report = await checkIntegrity({
        platform: () => machine(on, ring === "packed", seed, disk),
        total: Number(values.chunk) * MIB,
        seed,
        upsets: 40,
        deaths: true,
        ...queueResetsOn(on, seed),
        filter: seed % 7 === 0
          ? FeatureSet.of(Feature.INDIRECT_DESC, Feature.EVENT_IDX)
          : FeatureSet.NONE,
      });
      const sum = sums[place]!;
      sum.reports.push(report);
      sum.bytes += report.bytes;
      sum.ms += performance.now() - begin;
      done += report.bytes;
    } catch (error) {
      console.error(where, error);
      Deno.exit(1);
    }
  }
} finally {
  await Deno.remove(disk);
}

for (const [i, { on, ring }] of places.entries()) {
  const { bytes, ms, reports } = sums[i]!;
  const sum = (of: (report: IntegrityReport) => number): number =>
    reports.reduce((all, report) => all + of(report), 0);
  console.log(
    `${on}, ${ring}: ${(bytes / 2 ** 30).toFixed(2)} GiB at ${
      (bytes / MIB / (ms / 1000)).toFixed(0)
    } MiB/s; ${sum((r) => r.aborted)} aborted, ${sum((r) => r.resets)} resets, ${
      sum((r) => r.queueResets)
    } queue resets, ${sum((r) => r.deaths)} deaths, ${sum((r) => r.lost)} requests lost`,
  );
}
console.log(
  `${(done / 2 ** 30).toFixed(2)} GiB in ${
    ((performance.now() - start) / 1000).toFixed(0)
  } s, mismatches 0`,
);
