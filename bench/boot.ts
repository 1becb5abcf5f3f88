/**
 * From QEMU's start to the first block read by a script in the guest, and where the time goes:
 * `deno run -A bench/boot.ts [--help]`.
 *
 * @module
 */
import { Command } from "@commander-js/extra-typings";
import { bootGuest, GUEST_BOARDS } from "../firmware/guest/mod.ts";
import { bundleSource } from "../firmware/image/mod.ts";
import { guestEntry } from "../firmware/in_guest/command.ts";
import type { GuestCall } from "../firmware/commands/command.ts";
import { CALL_VARIABLE, GUEST_VARIABLE } from "../firmware/terminal/environment.ts";
import { DEFAULT_BOARD } from "../firmware/target/options.ts";
import { qemuArguments } from "../firmware/target/qemu_arguments.ts";
import type { GuestTimes } from "./boot_program.ts";

const SCRIPT = new URL("./boot_program.ts", import.meta.url).pathname;
/** Longest time for a board's first I/O, in milliseconds. */
const AIMS: Readonly<Record<string, number>> = { "x86_64-microvm": 6000, "aarch64-virt": 12_000 };
/** `/proc/PID/stat` counts in hundredths of a second. */
const TICK_MS = 10;

/** One boot, phase by phase, in milliseconds; the phases up to `io` add up to `total`. */
interface Boot {
  /** The host bundles the program. */
  readonly bundle: number;
  /** The host writes the initramfs and starts QEMU. */
  readonly prepare: number;
  /** QEMU loads the kernel and the initramfs, and the kernel unpacks itself. */
  readonly qemu: number;
  /** The kernel, until it starts PID 1. */
  readonly kernel: number;
  /** Deno, until PID 1's first statement. */
  readonly deno: number;
  /** PID 1 mounts and connects. */
  readonly connect: number;
  /** The program's modules are read and evaluated. */
  readonly load: number;
  /** Devices are found and probed. */
  readonly probe: number;
  /** The first block is read, and the host hears of it. */
  readonly io: number;
  readonly total: number;
  /** Processor time of QEMU until then: steadier than the clock on a busy host. */
  readonly qemuCpu: number;
  /** Microseconds of the first `rng.read(16)`, and the median of the next 200. */
  readonly rngFirst: number;
  readonly rngMedian: number;
}

if (import.meta.main) {
  const { args, opts } = parse();
  const boards = args.length > 0 ? args : GUEST_BOARDS.map(({ name }) => name);
  const boots = new Map<string, Boot[]>(boards.map((board) => [board, []]));
  // The first round makes images and fills the host's caches; boards take turns.
  for (let round = 0; round <= opts.rounds; round++) {
    for (const [board, all] of boots) {
      const boot = await measure(board, opts);
      if (round > 0) all.push(boot);
    }
  }
  const medians = Object.fromEntries([...boots].map(([board, all]) => [board, medianOf(all)]));
  if (opts.json) console.log(JSON.stringify({ rounds: opts.rounds, medians }, null, 2));
  else for (const [board, boot] of Object.entries(medians)) report(board, boot);
}

interface Options {
  readonly rounds: number;
  readonly json?: true | undefined;
  readonly kernelArg?: string[] | undefined;
  readonly qemuArg?: string[] | undefined;
}

function parse(): { readonly args: string[]; readonly opts: Options } {
  const collect = (value: string, before: string[] | undefined): string[] => [
    ...before ?? [],
    value,
  ];
  const command = new Command("boot.ts")
    .description("time from QEMU's start to the first device I/O, by phases, as medians")
    .argument("[boards...]", GUEST_BOARDS.map(({ name }) => name).join(", "))
    .option("--rounds <n>", "boots of each board, after one that does not count", Number, 5)
    .option("--kernel-arg <word>", "one more word for the kernel; may be repeated", collect)
    .option("--qemu-arg <arg>", "one more argument for QEMU; may be repeated", collect)
    .option("--json", "print JSON, for scripts")
    .parse(Deno.args, { from: "user" });
  return { args: command.args, opts: command.opts() };
}

async function measure(board: string, options: Options): Promise<Boot> {
  const begin = performance.now();
  const program = await bundleSource(guestEntry(SCRIPT));
  const bundled = performance.now();
  const target = `qemu:${board}`;
  const call: GuestCall = {
    name: "run",
    board: { ...DEFAULT_BOARD, target },
    flags: {},
    args: [SCRIPT, []],
  };
  const { backends, devices } = qemuArguments(call.board, []);
  let pid = 0;
  let started = 0;
  let heard = 0;
  let qemuCpu = 0;
  let text = "";
  const { exitCode } = await bootGuest({
    board,
    program,
    env: { [GUEST_VARIABLE]: "1", [CALL_VARIABLE]: JSON.stringify(call) },
    devices: [...backends, ...devices.flatMap((device) => ["-device", device])],
    kernelArgs: options.kernelArg ?? [],
    qemuArgs: options.qemuArg ?? [],
    onStart: (id) => {
      pid = id;
      started = performance.now();
    },
    output: {
      stdout: (bytes) => {
        if (heard === 0) {
          heard = performance.now();
          qemuCpu = processorTime(pid);
        }
        text += new TextDecoder().decode(bytes);
      },
      stderr: (bytes) => void Deno.stderr.writeSync(bytes),
    },
  });
  if (exitCode !== 0) throw new Error(`The guest on ${board} ended with exit code ${exitCode}`);
  const guest: GuestTimes = JSON.parse(text.slice(text.indexOf("{")));
  return {
    bundle: bundled - begin,
    prepare: started - bundled,
    qemu: heard - started - guest.io,
    kernel: guest.exec,
    deno: guest.init - guest.exec,
    connect: guest.connected - guest.init,
    load: guest.loaded - guest.connected,
    probe: guest.probed - guest.loaded,
    io: guest.io - guest.probed,
    total: heard - begin,
    qemuCpu,
    rngFirst: guest.rngFirst,
    rngMedian: guest.rngMedian,
  };
}

/** User and system time of a process, in milliseconds. */
function processorTime(pid: number): number {
  const stat = Deno.readTextFileSync(`/proc/${pid}/stat`);
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) * TICK_MS;
}

function medianOf(boots: readonly Boot[]): Boot {
  const keys = Object.keys(boots[0]!) as (keyof Boot)[];
  const median = (key: keyof Boot): number =>
    Math.round(boots.map((boot) => boot[key]).sort((a, b) => a - b)[boots.length >> 1]!);
  return Object.fromEntries(keys.map((key) => [key, median(key)])) as unknown as Boot;
}

function report(board: string, boot: Boot): void {
  const { total, qemuCpu, rngFirst, rngMedian, ...phases } = boot;
  console.log(
    `\n${board}: ${total} ms to the first I/O (aim ${
      AIMS[board] ?? "none"
    }), QEMU's CPU ${qemuCpu}`,
  );
  for (const [name, ms] of Object.entries(phases)) {
    console.log(`  ${name.padEnd(8)} ${String(ms).padStart(6)} ms`);
  }
  console.log(`  rng.read(16): first ${rngFirst} us, then median ${rngMedian} us`);
}
