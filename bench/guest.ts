/**
 * Our drivers against Linux's own, in the same guest, on the same QEMU devices, by turns:
 * `deno run -A bench/guest.ts [--help]`.
 *
 * The devices change hands within one boot: Linux's virtio_mmio is bound to them and unbound again
 * by name. A ratio above 1 means that ours is faster: of the median request, and of all the time, in
 * which a busy host's and the guest's other threads count too.
 *
 * @module
 */
import { Command } from "@commander-js/extra-typings";
import { VireoError } from "@vireo/hal";
import { bootGuest, findGuestBoard } from "../firmware/guest/mod.ts";
import {
  type Arch,
  bundle,
  compilerFor,
  type CpioEntry,
  guestImage,
} from "../firmware/image/mod.ts";
import { exec } from "../firmware/image/exec.ts";
import type { BlockTest, Measurement, Plan } from "./guest_plan.ts";

const MIB = 1 << 20;
const DISK_BYTES = 256 * MIB;
const ROUNDS = 7;
/** The first round warms up compilers and caches on both sides. */
const WARM_UP = 1;
const PINGS = 200;

const BLOCKS: readonly BlockTest[] = [
  { name: "4 KiB random, depth 1", bytes: 4096, depth: 1, count: 1500, random: true },
  { name: "4 KiB random, depth 32", bytes: 4096, depth: 32, count: 8000, random: true },
  { name: "1 MiB in order", bytes: MIB, depth: 1, count: 64, random: false },
];

/** Boards whose devices change hands by the names of virtio-mmio slots. */
const BOARDS = ["x86_64-microvm", "aarch64-virt"];

/** Paths below a kernel's `kernel/`, in the order in which they need each other. */
const MODULES = [
  "drivers/virtio/virtio_ring.ko",
  "drivers/virtio/virtio.ko",
  "drivers/virtio/virtio_mmio.ko",
  "net/core/failover.ko",
  "drivers/net/net_failover.ko",
  "drivers/net/virtio_net.ko",
  "drivers/block/virtio_blk.ko",
] as const;

const FLAGS = ["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-static"];

if (import.meta.main) {
  const command = new Command("guest.ts")
    .description("our drivers against Linux's own in a guest; a ratio above 1: ours is faster")
    .argument("[boards...]", BOARDS.join(", "))
    .option(
      "--rounds <n>",
      "rounds of each side, by turns, after one that warms up",
      Number,
      ROUNDS,
    )
    .option("--smp <n>", "the guest's processors", Number, 1)
    .option("--json", "print every measurement as JSON, for scripts")
    .parse(Deno.args, { from: "user" });
  const { rounds, smp, json } = command.opts();
  const boards = command.args.length > 0 ? command.args : BOARDS;
  const results: Record<string, readonly Measurement[]> = {};
  for (const board of boards) {
    results[board] = await measure(board, rounds + WARM_UP, smp);
    if (!json) report(board, results[board]);
  }
  if (json) console.log(JSON.stringify(results, null, 2));
}

/** Boots the board once and returns what was measured in it. */
async function measure(board: string, rounds: number, smp: number): Promise<Measurement[]> {
  const { arch } = findGuestBoard(board);
  const dir = await Deno.makeTempDir({ prefix: "vireo-bench-" });
  try {
    const disk = `${dir}/disk.img`;
    await writeDisk(disk);
    const extra = [...await modules(arch), await compilePeer(arch, `${dir}/peer`)];
    const plan: Plan = {
      rounds,
      blocks: BLOCKS,
      pings: PINGS,
      diskBytes: DISK_BYTES,
      modules: MODULES.map(baseName),
    };
    let text = "";
    const decoder = new TextDecoder();
    const { exitCode } = await bootGuest({
      board,
      smp,
      program: await bundle(new URL("./guest_program.ts", import.meta.url).pathname),
      args: [JSON.stringify(plan)],
      devices: [
        "-blockdev",
        `raw,node-name=disk0,file.driver=file,file.filename=${disk}`,
        ...["-device", "virtio-blk-device,drive=disk0"],
        ...["-netdev", "user,id=net0", "-device", "virtio-net-device,netdev=net0"],
      ],
      extra,
      output: {
        stdout: (bytes) => void (text += decoder.decode(bytes, { stream: true })),
        stderr: (bytes) => void Deno.stderr.writeSync(bytes),
      },
    });
    if (exitCode !== 0) {
      throw new VireoError("GUEST_FAULT", "The bench failed in the guest", { device: board });
    }
    return text.trim().split("\n").map((line) => JSON.parse(line));
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

/** A disk of incompressible bytes, so that nothing is read from holes. */
async function writeDisk(path: string): Promise<void> {
  using file = await Deno.open(path, { create: true, write: true });
  const bytes = new Uint8Array(MIB);
  for (let at = 0; at < bytes.length; at += 65536) {
    crypto.getRandomValues(bytes.subarray(at, at + 65536));
  }
  for (let at = 0; at < DISK_BYTES; at += bytes.length) {
    for (let done = 0; done < bytes.length;) done += await file.write(bytes.subarray(done));
  }
}

/** Linux's modules, from the package that the image's kernel is from. */
async function modules(arch: Arch): Promise<CpioEntry[]> {
  const image = await guestImage(arch, { onProgress: (text) => console.error(text) });
  const name = image.manifest.packages[0]!.name;
  const release = name.replace(/^linux-image-/, "");
  const cache = image.kernel.replace(/\/[^/]+$/, "");
  const root = `${cache}/unpacked/${name}/lib/modules/${release}/kernel`;
  return await Promise.all(MODULES.map(async (path): Promise<CpioEntry> => {
    const data = await Deno.readFile(`${root}/${path}`);
    return { kind: "file", path: `bench/${baseName(path)}`, data };
  }));
}

async function compilePeer(arch: Arch, path: string): Promise<CpioEntry> {
  const source = new URL("./peer.c", import.meta.url).pathname;
  await exec([compilerFor(arch), ...FLAGS, "-o", path, source]);
  return { kind: "file", path: "bench/peer", data: await Deno.readFile(path), executable: true };
}

function baseName(path: string): string {
  return path.replace(/^.*\//, "");
}

/** Prints medians over the rounds, and the median of the rounds' ratios. */
function report(board: string, all: readonly Measurement[]): void {
  console.log(`\n${board}, medians of ${Math.max(...all.map(({ round }) => round))} rounds`);
  console.log(row("", "ours", "p50/p99 us", "Linux", "p50/p99 us", "p50", "all, range"));
  for (const test of [...BLOCKS.map(({ name }) => name), "ping"]) {
    for (const side of ["ours", "batch"] as const) {
      const ours = all.filter((one) => one.side === side && one.test === test && one.round > 0);
      const linux = all.filter((one) => one.side === "linux" && one.test === test && one.round > 0);
      if (ours.length === 0) continue;
      const ratios = ours.map((one, i) => linux[i]!.seconds / one.seconds);
      const p50s = ours.map((one, i) => linux[i]!.p50 / one.p50);
      console.log(row(
        side === "ours" ? test : "  by batch",
        rate(test, ours),
        latency(ours),
        rate(test, linux),
        latency(linux),
        median(p50s).toFixed(2),
        `${median(ratios).toFixed(2)} (${Math.min(...ratios).toFixed(2)} to ${
          Math.max(...ratios).toFixed(2)
        })`,
      ));
    }
  }
}

function row(...cells: readonly string[]): string {
  const widths = [24, 12, 14, 12, 14, 6, 0];
  return cells.map((cell, i) => i === 0 ? cell.padEnd(24) : cell.padStart(widths[i]!)).join("  ");
}

function rate(test: string, samples: readonly Measurement[]): string {
  const block = BLOCKS.find(({ name }) => name === test);
  const seconds = median(samples.map((one) => one.seconds));
  if (block === undefined) return `${(seconds * 1e6 / PINGS).toFixed(0)} us`;
  if (block.bytes === MIB) return `${(block.count / seconds).toFixed(0)} MiB/s`;
  return `${(block.count / seconds).toFixed(0)} IOPS`;
}

function latency(samples: readonly Measurement[]): string {
  const p50 = median(samples.map((one) => one.p50)).toFixed(0);
  return `${p50}/${median(samples.map((one) => one.p99)).toFixed(0)}`;
}

function median(numbers: readonly number[]): number {
  const sorted = numbers.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
