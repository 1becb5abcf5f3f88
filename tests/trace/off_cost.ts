// What the points of traces, recordings and inspections cost where nothing is traced: this tree beside a copy of it that
// lacks them, by turns in one run. It prints the ratio of the processor's time for each kind of request; 1.01 is the most.
// deno run -A tests/trace/off_cost.ts [rounds]
import { join } from "node:path";

const ROUNDS = Number(Deno.args[0] ?? 12);
const ROOT = new URL("../../", import.meta.url).pathname;
const WORK = "tests/trace/off_work.ts";
const ROOMS = ["deno.json", "deno.lock", "types", "hal", "drivers", "emu", "firmware", "examples"];

const INSPECT = /\n {2}\/\*\* Shows the ring as it is now[^]*?\n {2}}\n/;

/** The points on the paths that are measured; each must be there, so that this list follows the code. */
const POINTS: Readonly<Record<string, readonly (readonly [RegExp, string])[]>> = {
  "drivers/bus/_bus_device.ts": [
    [/import { TracedRing } from .*\n/, ""],
    [/host\.tracer\?\.transport\(transport, this\.name\) \?\? transport/, "transport"],
    [
      / {2}#makeRing\([^]*?(?= {2}#notify\()/,
      "  #makeRing(_: QueueRequest, options: RingRequest): Ring {\n    return createRing(options);\n  }\n\n",
    ],
  ],
  "drivers/bus/bus.ts": [
    [/ {4}const { tracer } = this\.#host;\n/, ""],
    [/tracer\?\.dma\(platform\.dma\) \?\? platform\.dma/, "platform.dma"],
    [/tracer\?\.node\(node\) \?\? node/, "node"],
  ],
  "drivers/blk/_queue.ts": [[/slots\.copied\(length\);\n/g, ""]],
  "drivers/net/tx_queue.ts": [[/this\.#region\.copied\?\.\(frame\.length\);\n/, ""]],
  "drivers/virtqueue/fill_pool.ts": [[/this\.#region\.copied\?\.\(used\);\n/, ""]],
  "drivers/virtqueue/split.ts": [[INSPECT, ""], [/import { inspectSplit } from .*\n/, ""]],
  "drivers/virtqueue/packed.ts": [[INSPECT, ""], [/import { inspectPacked } from .*\n/, ""]],
};

/** Copies the tree, so that nobody changes it meanwhile. */
async function copyTree(folder: string): Promise<void> {
  await Deno.mkdir(folder);
  const args = ["-r", "--parents", ...ROOMS, "tests/trace", folder];
  const { success, stderr } = await new Deno.Command("cp", { args, cwd: ROOT }).output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
}

/** Takes the points out of a tree. */
async function strip(folder: string): Promise<void> {
  for (const [file, points] of Object.entries(POINTS)) {
    let text = await Deno.readTextFile(join(folder, file));
    for (const [point, without] of points) {
      if (!point.test(text)) throw new Error(`Cannot strip ${file}: it must have ${point}`);
      text = text.replace(point, without);
    }
    await Deno.writeTextFile(join(folder, file), text);
  }
}

/** Nanoseconds a request by kind. */
async function measure(root: string): Promise<Readonly<Record<string, number>>> {
  const args = ["run", "-A", "--no-check", "--config", join(root, "deno.json"), join(root, WORK)];
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), { args }).output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
  return JSON.parse(new TextDecoder().decode(stdout));
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1]!;
}

const folder = await Deno.makeTempDir({ prefix: "vireo-" });
try {
  const roots = [join(folder, "points"), join(folder, "without")];
  for (const root of roots) await copyTree(root);
  await strip(roots[1]!);
  const found: Record<string, [number[], number[]]> = {};
  for (let round = 0; round < ROUNDS; round++) {
    // Which one is first changes, so that a machine that gets slower or faster does not count.
    for (const which of round % 2 === 0 ? [0, 1] : [1, 0]) {
      for (const [kind, ns] of Object.entries(await measure(roots[which]!))) {
        (found[kind] ??= [[], []])[which]!.push(ns);
      }
    }
  }
  console.log("request        with points     without   least  median");
  for (const [kind, [points, without]] of Object.entries(found)) {
    const [least, other] = [Math.min(...points), Math.min(...without)];
    const ratios = points.map((ns, i) => ns / without[i]!);
    console.log(
      `${kind.padEnd(12)} ${least.toFixed(1).padStart(10)} ns ${
        other.toFixed(1).padStart(8)
      } ns   ` +
        `${(least / other).toFixed(3)}   ${median(ratios).toFixed(3)}`,
    );
  }
} finally {
  await Deno.remove(folder, { recursive: true });
}
