import type { Check } from "../check/check.ts";
import { CHECKS } from "../check/checks/table.ts";
import type { Pace } from "../check/context.ts";
import { countResults, deviceText, html, junit, resultRow, resultsText } from "../check/report.ts";
import { type Bench, type CheckResult, runChecks } from "../check/run_checks.ts";
import { sectionsOf, selectChecks } from "../check/select.ts";
import { openBoard } from "../target/open_board.ts";
import { asksForTrace, boardTrace } from "../trace/board_trace.ts";
import type { OpenTrace } from "../trace/open.ts";
import type { BoardOptions } from "../target/options.ts";
import { parseTarget } from "../target/target.ts";
import { inGuest } from "../terminal/environment.ts";
import { openSink, type Sink } from "../terminal/files.ts";
import { progress } from "../terminal/output.ts";
import { underWay } from "../terminal/under_way.ts";
import { Finished, NeedsGuest, parseCount, UsageError } from "../terminal/usage.ts";

/** Milliseconds of its processor's time without an answer after which QEMU hangs, as it does at some bad chains. */
const HANGS = 300;

/** Flags of `vireo check`. */
export interface CheckFlags {
  readonly only?: string | undefined;
  readonly list?: true | undefined;
  readonly hostile?: true | undefined;
  readonly seed: string;
  readonly json?: true | undefined;
  readonly junit?: string | undefined;
  readonly html?: string | undefined;
}

/** The emulator does at once what it does; the others have an event loop or a processor of their own. */
const EMULATOR: Pace = { deadline: 500, quiet: 0 };
const MACHINE: Pace = { deadline: 1000, quiet: 5 };

/**
 * `vireo check`: looks at every device of a board clause by clause, without our drivers.
 *
 * @throws {UsageError} If a flag makes no sense.
 * @throws {Finished} With exit code 1 if a check failed.
 */
export async function check(board: BoardOptions, flags: CheckFlags): Promise<void> {
  const { checks, devices } = selectChecks(CHECKS, flags.only, flags.hostile === true);
  const seed = parseCount(flags.seed, "--seed");
  if (flags.list) return list(checks, flags.json === true);
  if (parseTarget(board.target).kind === "qemu" && !inGuest()) {
    throw new NeedsGuest("check: the devices of a guest are checked in the guest");
  }
  const { target } = board;
  using trace = await registerTrace(board);
  using reports = await openReports(flags);
  let done = 0;
  const results = await runChecks({
    checks,
    seed,
    open: () => openBench(board),
    devices: ({ id }) => devices?.includes(id) ?? true,
    pace: target === "emu" ? EMULATOR : MACHINE,
    inside: inGuest(),
    watch: trace && ((node) => trace.tracer.node(node)),
    ...inGuest() ? { onStart: announcer() } : {},
    onResult: (result) => {
      done++;
      // Slots have no other names here: no bus has found them.
      trace?.tracer.learn(result.device.name, { deviceId: result.device.id });
      progress(`${done} checks, ${deviceText(result)}`, done % 100 / 100);
    },
  });
  progress("", 1);
  if (results.length === 0) {
    throw new UsageError("check: no device of the board is one that the checks are about");
  }
  await writeResults(results, target, { reports, json: flags.json === true });
  if (countResults(results).fail > 0) throw new Finished(1);
}

/**
 * Begins the trace that the options ask for: of registers, as the rings of checks are no driver's.
 *
 * @throws {UsageError} If they ask for what there is none of.
 */
async function registerTrace(board: BoardOptions): Promise<OpenTrace | undefined> {
  if (board.record !== undefined) {
    throw new UsageError("check: --record is for commands that have drivers");
  }
  if (!asksForTrace(board)) return undefined;
  if (parseTarget(board.target).kind === "vhost-user") {
    throw new UsageError("check: devices behind sockets have no registers to trace");
  }
  if (board.trace?.includes("regs") === false || board.traceData > 0) {
    throw new UsageError("check: only registers are traced, with --trace=regs");
  }
  return await boardTrace(board, { groups: ["regs"] });
}

/**
 * Says on the guest's console what is under way: the console is written before the next instruction, so the host
 * knows which check it was that ended QEMU.
 */
function announcer(): (check: string, device: string) => void {
  Deno.writeTextFileSync("/proc/sys/kernel/printk_devkmsg", "on\n");
  return (check, device) => Deno.writeTextFileSync("/dev/kmsg", underWay(`${check} on ${device}`));
}

/** The files of reports, which are opened before anything is checked. */
interface Reports extends Disposable {
  readonly junit: Sink | undefined;
  readonly html: Sink | undefined;
}

/**
 * Opens the files that the flags name.
 *
 * @throws {VireoError} `HOST_ERROR` If one cannot be written.
 */
export async function openReports(flags: Pick<CheckFlags, "junit" | "html">): Promise<Reports> {
  using cleanup = new DisposableStack();
  const open = async (path: string | undefined, option: string): Promise<Sink | undefined> =>
    path === undefined ? undefined : cleanup.use(await openSink(path, option));
  const files = {
    junit: await open(flags.junit, "--junit"),
    html: await open(flags.html, "--html"),
  };
  const opened = cleanup.move();
  return { ...files, [Symbol.dispose]: () => opened.dispose() };
}

/** Writes results to the files, and to standard output. */
export async function writeResults(
  results: readonly CheckResult[],
  target: string,
  { reports, json }: { readonly reports: Reports; readonly json: boolean },
): Promise<void> {
  const utf8 = new TextEncoder();
  await reports.junit?.write(utf8.encode(junit(results, target)));
  await reports.html?.write(utf8.encode(html(results, target)));
  if (json) {
    const rows = results.map((result) => resultRow(result, target));
    console.log(JSON.stringify({ target, counts: countResults(results), results: rows }, null, 2));
  } else console.log(resultsText(results, target));
}

function list(checks: readonly Check[], json: boolean): void {
  if (json) {
    const rows = checks.map((check) => ({
      check: check.id,
      clauses: check.clauses,
      sections: sectionsOf(check),
      hostile: check.hostile ?? false,
      done: check.done,
      expected: check.expected,
    }));
    return console.log(JSON.stringify({ checks: rows }, null, 2));
  }
  for (const { id, clauses, done, expected } of checks) {
    console.log(`${id}  [${clauses.join(", ")}]\n  ${done}: ${expected}`);
  }
  console.log(`${checks.length} checks`);
}

/** A board whose devices no driver has. */
async function openBench(options: BoardOptions): Promise<Bench> {
  const board = await openBoard(options, { busyDeadline: HANGS });
  // In a guest of ours the monitor is the board's: the devices there are QEMU's too.
  const qmp = "qmp" in board ? board.qmp : "qmp" in board.platform ? board.platform.qmp : undefined;
  const qemu = qmp === undefined ? undefined : await version(qmp);
  return {
    platform: board.platform,
    qemu,
    [Symbol.asyncDispose]: () => board[Symbol.asyncDispose](),
  };
}

async function version(
  qmp: { execute(command: string): Promise<unknown> },
): Promise<string> {
  const { qemu } = await qmp.execute("query-version") as {
    readonly qemu: Readonly<Record<"major" | "minor" | "micro", number>>;
  };
  return `${qemu.major}.${qemu.minor}.${qemu.micro}`;
}
