// deno-lint-ignore-file no-console -- a program
/**
 * Verified random I/O by the block driver, with aborts, resets, queue resets and device deaths in between, for as
 * long or as much as is wanted: `make soak`.
 *
 * `deno run -A tests/blk/integrity.ts [--gib 1] [--seconds S] [--on emu|threaded|QEMU-PROGRAM]... [--ring
 * split|packed]... [--seed 1] [--round 0] [--chunk 512] [--json]`. A QEMU's program is found by name or path, for example
 * `qemu-system-aarch64`; without `--on` it is the emulator, the emulator on a thread, the host's QEMU and the one of
 * `make qemu`, as far as they are there. What comes first, GiB or seconds, ends it, and Ctrl-C ends it with what was done.
 *
 * Each chunk (MiB) is a machine and a seed of its own; the targets and rings take turns. Exits with 1 at the first byte
 * that is wrong, or the first error, and prints the command that does that chunk again.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { findBoard } from "@vireo/firmware/boards";
import { BlkDevice, EmulatedMachine, MemoryDisk, WorkerMachine } from "@vireo/emu";
import { Feature, FeatureSet, type Platform } from "@vireo/hal";
import { QtestPlatform } from "@vireo/hal/qtest";
import { progress } from "../../firmware/terminal/output.ts";
import { checkIntegrity, type IntegrityReport, NOTHING } from "./random_io.ts";
import { qemuVersion } from "../qemu/version.ts";
import type { WorkerDisk } from "./worker_disks.ts";

const MIB = 2 ** 20;
const GIB = 2 ** 30;
const DISK = 64 * MIB;
const ORDERS = ["in-order", "reverse", "random", "deferred"] as const;
const QEMU = "qemu-system-aarch64";
/** The newer QEMU, which `make qemu` installs beside an old one. */
const NEWER_QEMU = `.cache/qemu/bin/${QEMU}`;

const { values } = parseArgs({
  options: {
    gib: { type: "string", default: "1" },
    seconds: { type: "string", default: "Infinity" },
    on: { type: "string", multiple: true },
    ring: { type: "string", multiple: true, default: ["split", "packed"] },
    seed: { type: "string", default: "1" },
    round: { type: "string", default: "0" },
    chunk: { type: "string", default: "512" },
    json: { type: "boolean", default: false },
  },
});

/** A machine to do a chunk on. */
interface Chunk {
  readonly on: string;
  readonly packed: boolean;
  readonly seed: number;
  readonly order: typeof ORDERS[number];
  readonly queues: number;
  /** Whether the disk is on PCI; it is on MMIO otherwise. */
  readonly pci: boolean;
  /** Whether neither indirect descriptors nor event indices are negotiated. */
  readonly plain: boolean;
}

/** The chunk of a round: each target and ring meets all orders, buses and numbers of queues, in 60 rounds all together. */
function chunkOf(on: string, ring: string, round: number): Chunk {
  return {
    on,
    packed: ring === "packed",
    seed: Number(values.seed) * 100_003 + round,
    order: ORDERS[round % ORDERS.length]!,
    queues: 1 + round % 5,
    pci: round % 3 === 1,
    plain: round % 7 === 6,
  };
}

const isQemu = (on: string): boolean => on !== "emu" && on !== "threaded";

/** QEMU goes on with requests of a queue that was reset, and offers RING_RESET on slots without a register for it. */
function queueResetsOn({ on, pci }: Chunk): { queueResets?: "busy" | "idle" } {
  if (!isQemu(on)) return { queueResets: "busy" };
  return pci ? { queueResets: "idle" } : {};
}

/** QEMU's device never ends when a packed queue that broke it has more buffers. */
function deathsOn({ on, packed }: Chunk): "busy" | "idle" {
  return isQemu(on) && packed ? "idle" : "busy";
}

/** Makes the machine of a chunk. */
async function machine(
  { on, packed, seed, order, queues, pci }: Chunk,
  disk: string,
): Promise<Platform> {
  const ring = { packed };
  if (on === "emu") {
    const model = new BlkDevice({ disk: new MemoryDisk(DISK), queues, order, seed });
    return EmulatedMachine.create({ devices: [model], ring, bus: pci ? "pci" : "mmio" });
  }
  if (on === "threaded") {
    const options: WorkerDisk = { bytes: DISK, queues, version: 2, order };
    const module = new URL("./worker_disks.ts", import.meta.url);
    return WorkerMachine.create({ module, options, ring, deadline: 60_000 });
  }
  return await QtestPlatform.start({
    board: findBoard(pci ? "aarch64-virt-pci" : "aarch64-virt"),
    qemu: on,
    packed,
    memory: 256 * MIB,
    deadline: 60_000,
    accessDeadline: 60_000,
    extraArgs: ["-drive", `if=none,id=d,file=${disk},format=raw,discard=unmap`],
    devices: [
      `virtio-blk-${
        pci ? "pci" : "device"
      },drive=d,num-queues=${queues},discard=on,write-zeroes=on`,
    ],
  });
}

/** The targets that this host has, by what `--on` takes. */
function targets(): string[] {
  return ["emu", "threaded", QEMU, NEWER_QEMU].filter((on) =>
    !isQemu(on) || qemuVersion(on) !== undefined
  );
}

/** A target as people read it, for example `QEMU 7.2.22`. */
function nameOf(on: string): string {
  if (!isQemu(on)) return on;
  const version = qemuVersion(on);
  if (version !== undefined) return `QEMU ${version.text}`;
  console.error(`Cannot run on ${on}: it must be emu, threaded or a program of QEMU`);
  Deno.exit(2);
}

/** An error with those that closing it brought; `Deno.inspect` shows none of a SuppressedError. */
function said(error: unknown): string {
  if (!(error instanceof SuppressedError)) return Deno.inspect(error);
  return `${said(error.suppressed)}\nThen, while it was closed: ${said(error.error)}`;
}

/** Totals of one target and ring. */
class Row {
  readonly target: string;
  readonly ring: string;
  chunks = 0;
  ms = 0;
  readonly counts = { ...NOTHING };

  constructor(target: string, ring: string) {
    this.target = target;
    this.ring = ring;
  }

  add(report: IntegrityReport, ms: number): void {
    this.chunks++;
    this.ms += ms;
    for (const key of Object.keys(this.counts) as (keyof IntegrityReport)[]) {
      this.counts[key] += report[key];
    }
  }

  get mibPerSecond(): number {
    return this.ms === 0 ? 0 : this.counts.bytes / MIB / (this.ms / 1000);
  }
}

const start = performance.now();
const total = Number(values.gib) * GIB;
const places = (values.on ?? targets()).flatMap((on) =>
  values.ring.map((ring) => ({ on, ring, row: new Row(nameOf(on), ring) }))
);
/** A part of the total for each place, if that is less than a chunk. */
const chunkBytes = Math.min(Number(values.chunk) * MIB, Math.ceil(total / places.length));
const disk = await Deno.makeTempFile({ prefix: "vireo-" });
let interrupted = false;
Deno.addSignalListener("SIGINT", () => {
  // The second one ends the program at once.
  if (interrupted) Deno.exit(130);
  interrupted = true;
});
const seconds = (): number => (performance.now() - start) / 1000;
const mayGoOn = (): boolean =>
  done < total && seconds() < Number(values.seconds) && !interrupted && failure === undefined;
let done = 0;
let failure:
  | { readonly where: string; readonly again: string; readonly error: string }
  | undefined;
for (let round = Number(values.round); mayGoOn(); round++) {
  for (const { on, ring, row } of places) {
    if (!mayGoOn()) break;
    progress(
      `${(done / GIB).toFixed(1)} GiB, ${row.target}, ${ring}, round ${round}`,
      done / total,
    );
    const chunk = chunkOf(on, ring, round);
    await Deno.truncate(disk, 0);
    await Deno.truncate(disk, DISK);
    const begin = performance.now();
    try {
      const report = await checkIntegrity({
        platform: () => machine(chunk, disk),
        total: chunkBytes,
        seed: chunk.seed,
        upsets: 40,
        deaths: deathsOn(chunk),
        ...queueResetsOn(chunk),
        filter: chunk.plain
          ? FeatureSet.of(Feature.INDIRECT_DESC, Feature.EVENT_IDX)
          : FeatureSet.NONE,
      });
      row.add(report, performance.now() - begin);
      done += report.bytes;
    } catch (error) {
      const again = `--on ${on} --ring ${ring} --seed ${values.seed} --round ${round} ` +
        `--chunk ${chunkBytes / MIB} --gib ${chunkBytes / GIB}`;
      failure = {
        where: `${row.target}, ${ring}, round ${round}`,
        again: `deno run -A tests/blk/integrity.ts ${again}`,
        error: said(error),
      };
      break;
    }
  }
}
progress("", 1);
await Deno.remove(disk);

if (values.json) {
  const rows = places.map(({ row }) => ({
    target: row.target,
    ring: row.ring,
    chunks: row.chunks,
    seconds: Number((row.ms / 1000).toFixed(3)),
    ...row.counts,
  }));
  console.log(JSON.stringify(
    { seed: Number(values.seed), bytes: done, seconds: seconds(), rows, failure: failure ?? null },
    undefined,
    2,
  ));
} else {
  for (const { row: { target, ring, mibPerSecond, counts } } of places) {
    console.log(
      `${target}, ${ring}: ${(counts.bytes / GIB).toFixed(2)} GiB at ${
        mibPerSecond.toFixed(0)
      } MiB/s; ${counts.reads} reads, ${counts.writes} writes, ${counts.zeroes} zeroes; ` +
        `${counts.aborted} aborted, ${counts.resets} resets, ${counts.queueResets} queue resets, ` +
        `${counts.deaths} deaths, ${counts.lost} requests lost`,
    );
  }
  console.log(
    `${(done / GIB).toFixed(2)} GiB in ${seconds().toFixed(0)} s, seed ${values.seed}, failures ${
      failure === undefined ? 0 : 1
    }`,
  );
  if (failure !== undefined) {
    console.error(`${failure.where}: ${failure.error}\nOnce more: ${failure.again}`);
  }
}
Deno.exit(failure !== undefined ? 1 : interrupted ? 130 : 0);
