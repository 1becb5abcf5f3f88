/**
 * Kills QEMU at a random moment of a disk's I/O, and looks at what is left: typed errors, every acknowledged write in
 * the disk's file, and no process, descriptor or file.
 *
 * `deno run -A tests/killed/killed.ts [--times 1000] [--seconds 3600] [--seed 1] [--qemu PROGRAM]` does it often, and
 * with `--guest BOARD` in guests. Exits with 1 at the first time that is wrong.
 *
 * @module
 */
// deno-lint-ignore-file no-console -- a program
import { parseArgs } from "node:util";
import { assert, assertEquals } from "@std/assert";
import { Bus } from "@vireo/drivers/bus";
import { type Blk, blkDriver } from "@vireo/drivers/blk";
import { findBoard } from "@vireo/firmware/boards";
import { VireoError } from "@vireo/hal";
import { QtestPlatform } from "@vireo/hal/qtest";
import { seeded } from "../hostile/liar.ts";
import { killGuestOnce } from "./guest.ts";
import { noMoreDescriptors, openDescriptors } from "../vhost_user/wait.ts";

const SECTOR = 512;
const LANES = 16;
/** Sectors of a lane, all written by each of its writes. */
const SECTORS = 24;
/** Milliseconds that a request has: one whose QEMU is dead must end long before. */
const DEADLINE = 8000;

/** Outcome of a kill. */
interface Killed {
  /** Codes of the errors that requests ended with, sorted. */
  readonly codes: readonly string[];
  /** Writes that were acknowledged. */
  readonly written: number;
  /** Milliseconds from the first request that failed until the last one, and the bus, ended. */
  readonly ended: number;
}

/** Processes that this one started and that are still there. */
function children(): string[] {
  return [...Deno.readDirSync("/proc/self/task")].flatMap(({ name }) => {
    try {
      return Deno.readTextFileSync(`/proc/self/task/${name}/children`).split(" ").filter(Boolean);
    } catch {
      // The thread ended.
      return [];
    }
  });
}

let warm: Promise<void> | undefined;

/** The first board of a process gives Deno two sockets of its own, which stay. */
async function warmUp(qemu: string | undefined): Promise<void> {
  const board = findBoard("aarch64-virt");
  await using _ = await QtestPlatform.start({ board, ...(qemu === undefined ? {} : { qemu }) });
}

/** One lane's writes; each fills its sectors with its number. */
class Lane {
  issued = 0;
  acknowledged = 0;
  readonly index: number;

  constructor(index: number) {
    this.index = index;
  }

  /** Writes and reads until that fails. @returns Why. */
  async run(blk: Blk, random: () => number, begin: () => void): Promise<unknown> {
    const sector = this.index * SECTORS;
    try {
      for (;;) {
        begin();
        this.issued++;
        const data = new Uint8Array(SECTORS * SECTOR);
        new Uint32Array(data.buffer).fill(this.issued);
        await blk.write(sector, data, { deadline: DEADLINE });
        this.acknowledged = this.issued;
        if (random() % 3 > 0) continue;
        const read = await blk.read(sector, data.length, { deadline: DEADLINE });
        assertEquals(read, data, `lane ${this.index} reads back what it wrote`);
      }
    } catch (error) {
      return error;
    }
  }

  /** Every sector has what was acknowledged last, or what was under way. */
  check(file: Uint8Array): void {
    for (let i = 0; i < SECTORS; i++) {
      const at = (this.index * SECTORS + i) * SECTOR;
      const words = new Uint32Array(file.buffer.slice(at, at + SECTOR));
      const [first] = words;
      assert(
        first === this.acknowledged || first === this.issued,
        `sector ${i} of lane ${this.index} has ${first}: ${this.acknowledged} was acknowledged, ${this.issued} issued`,
      );
      assert(words.every((word) => word === first), `sector ${i} of lane ${this.index} is torn`);
    }
  }
}

/** Kills a QEMU once, at a moment that a seed names. */
export async function killOnce(seed: number, qemu?: string): Promise<Killed> {
  const random = seeded(seed);
  for (let i = 0; i < 4; i++) random();
  const dir = await Deno.makeTempDir({ prefix: "vireo-killed-" });
  const disk = `${dir}/disk`;
  await Deno.writeFile(disk, new Uint8Array(LANES * SECTORS * SECTOR));
  await (warm ??= warmUp(qemu));
  const [before, processes] = [openDescriptors(), children()];
  const pci = random() % 2 === 0;
  const board = findBoard(pci ? "aarch64-virt-pci" : "aarch64-virt");
  const lanes = Array.from({ length: LANES }, (_, i) => new Lane(i));
  const errors: unknown[] = [];
  let failedAt = 0;
  let pid: number;
  {
    await using platform = await QtestPlatform.start({
      board,
      ...(qemu === undefined ? {} : { qemu }),
      memory: 64 << 20,
      packed: random() % 2 === 0,
      deadline: 60_000,
      extraArgs: ["-drive", `if=none,id=d,file=${disk},format=raw`],
      devices: [`virtio-blk-${pci ? "pci" : "device"},drive=d,num-queues=${1 + random() % 3}`],
    });
    pid = platform.pid;
    const bus = new Bus({ onError: (error) => void errors.push(error) });
    // Either by this process, after so many requests, or by another one, whatever this one does.
    const byCount = random() % 2 === 0;
    let left = random() % 600;
    const shell = `sleep ${(20 + random() % 100) / 1000}; kill -9 ${pid}`;
    const killer = byCount ? undefined : new Deno.Command("sh", { args: ["-c", shell] }).output();
    const begin = (): void => {
      if (byCount && left-- === 0) Deno.kill(pid, "SIGKILL");
    };
    try {
      await bus.registerDriver(blkDriver);
      await bus.addPlatform(platform);
    } catch (error) {
      errors.push(error);
    }
    const blk = bus.get(blkDriver);
    const run = async (lane: Lane): Promise<void> => {
      errors.push(await lane.run(blk!, random, begin));
      failedAt ||= performance.now();
    };
    if (blk !== undefined) await Promise.all(lanes.map(run));
    else if (byCount) Deno.kill(pid, "SIGKILL");
    await killer;
    failedAt ||= performance.now();
    for (const { error } of bus.slotErrors) errors.push(error);
    try {
      await bus[Symbol.asyncDispose]();
    } catch (error) {
      errors.push(...error instanceof AggregateError ? error.errors : [error]);
    }
  }
  const ended = performance.now() - failedAt;
  for (const error of errors) {
    assert(error instanceof VireoError, `not a typed error: ${Deno.inspect(error)}`);
    assert(error.code !== "TIMEOUT", `an error that took its deadline: ${Deno.inspect(error)}`);
  }
  const file = await Deno.readFile(disk);
  for (const lane of lanes) lane.check(file);
  assertEquals([...Deno.readDirSync(dir)].map(({ name }) => name), ["disk"]);
  await Deno.remove(dir, { recursive: true });
  await noMoreDescriptors(before, 5000);
  assertEquals(children(), processes, "a process is left");
  return {
    codes: [...new Set(errors.map((error) => (error as VireoError).code))].sort(),
    written: lanes.reduce((sum, { acknowledged }) => sum + acknowledged, 0),
    ended,
  };
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: {
      times: { type: "string", default: "1000" },
      seconds: { type: "string", default: "3600" },
      seed: { type: "string", default: "1" },
      qemu: { type: "string" },
      guest: { type: "string" },
    },
  });
  // Deno takes signals from a pair of sockets, which it opens for the first listener and keeps.
  Deno.addSignalListener("SIGUSR2", () => {});
  const end = performance.now() + Number(values.seconds) * 1000;
  const codes = new Map<string, number>();
  let [times, written, longest, idle] = [0, 0, 0, 0];
  for (; times < Number(values.times) && performance.now() < end; times++) {
    const seed = Number(values.seed) * 100_003 + times;
    try {
      const killed = values.guest === undefined
        ? await killOnce(seed, values.qemu)
        // The command's last line has this code, or the kill was wrong.
        : { codes: ["HOST_ERROR"], ...await killGuestOnce(seed, values.guest, values.qemu) };
      for (const code of killed.codes) codes.set(code, (codes.get(code) ?? 0) + 1);
      written += killed.written;
      longest = Math.max(longest, killed.ended);
      if (killed.written === 0) idle++;
    } catch (error) {
      console.error(`kill ${times}, seed ${seed}:`, error);
      Deno.exit(1);
    }
  }
  console.log(
    `${times} kills, ${idle} of them before the first write; ${written} writes acknowledged and found; ` +
      `longest from the first failure to the end ${longest.toFixed(0)} ms; errors: ${
        [...codes].map(([code, count]) => `${code} ${count}`).join(", ")
      }`,
  );
}
