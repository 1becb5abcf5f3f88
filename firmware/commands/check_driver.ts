import { BUNDLED } from "../check/driver/bundled.ts";
import { runDriver } from "../check/driver/run_driver.ts";
import { type Rule, RULES } from "../check/driver/rules.ts";
import { type Schedule, SCHEDULES } from "../check/driver/schedules.ts";
import { countResults } from "../check/report.ts";
import { matchesRow } from "../check/select.ts";
import type { BoardOptions } from "../target/options.ts";
import { hideInnerFrames } from "../terminal/frames.ts";
import { progress } from "../terminal/output.ts";
import { Finished, parseCount, UsageError } from "../terminal/usage.ts";
import { type CheckFlags, openReports, writeResults } from "./check.ts";
import { loadScript } from "./run.ts";

/** Choices of a command line. */
interface Chosen {
  readonly schedules: readonly Schedule[];
  readonly rules: (rule: Rule) => boolean;
}

/**
 * `vireo check driver`: runs a script against a strict emulated device under each schedule, and reports the
 * rules that its driver broke.
 *
 * @param script A file as `vireo run` takes it, or the name of a bundled driver.
 * @throws {UsageError} If a flag makes no sense, or there is no such script.
 * @throws {Finished} With exit code 1 if a rule was broken.
 */
export async function checkDriver(
  board: BoardOptions,
  script: string | undefined,
  args: readonly string[],
  flags: CheckFlags,
): Promise<void> {
  const chosen = choose(flags.only);
  const seed = parseCount(flags.seed, "--seed");
  if (flags.list) return list(chosen, flags.json === true);
  if (board.target !== "emu") {
    throw new UsageError(`check driver: for emu targets, not for ${board.target}`);
  }
  if (script === undefined) {
    const names = BUNDLED.map(({ name }) => name).join(", ");
    throw new UsageError(`check driver: expected a script, or a bundled driver: ${names}`);
  }
  using _frames = hideInnerFrames();
  const bundled = BUNDLED.find(({ name }) => name === script);
  const main = bundled?.main ?? await loadScript(script, "check driver");
  using reports = await openReports(flags);
  let done = 0;
  const results = await quietly(() =>
    runDriver({
      name: script,
      main,
      args,
      board: { ...board, ...bundled?.board },
      ...bundled === undefined ? {} : { device: bundled.device },
      schedules: chosen.schedules,
      rules: chosen.rules,
      seed,
      onSchedule: ({ name }) => progress(name, done++ / chosen.schedules.length),
    })
  );
  progress("", 1);
  await writeResults(results, `driver ${script}`, { reports, json: flags.json === true });
  if (countResults(results).fail > 0) throw new Finished(1);
}

/** Chooses schedules by their names, and rules by theirs, by clauses and by sections. */
function choose(only: string | undefined): Chosen {
  const words = (only ?? "").split(",").map((word) => word.trim()).filter((word) => word !== "");
  const named = SCHEDULES.filter(({ name }) => words.includes(name));
  const others = words.filter((word) => !SCHEDULES.some(({ name }) => name === word));
  const matches = (rule: Rule): boolean => others.some((word) => matchesRow(rule, word));
  for (const word of others) {
    if (RULES.some((rule) => matchesRow(rule, word))) continue;
    throw new UsageError(
      `--only: expected a schedule, a section (§2.7), a clause (drv.mmio) or a rule, got '${word}'`,
    );
  }
  return {
    schedules: named.length === 0 ? SCHEDULES : named,
    rules: others.length === 0 ? () => true : matches,
  };
}

function list({ schedules, rules }: Chosen, json: boolean): void {
  const shown = RULES.filter(rules);
  if (json) {
    const rows = schedules.map(({ name, done, clauses }) => ({ schedule: name, done, clauses }));
    const texts = shown.map(({ id, clauses, expected, should }) => ({
      rule: id,
      clauses,
      expected,
      level: should ? "SHOULD" : "MUST",
    }));
    return console.log(JSON.stringify({ schedules: rows, rules: texts }, null, 2));
  }
  for (const { name, done } of schedules) console.log(`${name}\n  ${done}`);
  for (const { id, clauses, expected } of shown) {
    console.log(`${id}  [${clauses.join(", ")}]\n  ${expected}`);
  }
  console.log(`${schedules.length} schedules, ${shown.length} rules`);
}

/** Runs a script many times without what it prints each time. */
async function quietly<T>(run: () => Promise<T>): Promise<T> {
  const { log, info, warn, error, debug } = console;
  const none = (): void => {};
  Object.assign(console, { log: none, info: none, warn: none, error: none, debug: none });
  try {
    return await run();
  } finally {
    Object.assign(console, { log, info, warn, error, debug });
  }
}
