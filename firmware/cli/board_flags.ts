import { BOARD_OPTIONS, type BoardOption, type BoardOptions } from "../target/options.ts";
import { parseTarget, targetBus } from "../target/target.ts";
import { traceOptionWithoutTrace } from "../trace/board_trace.ts";
import { flagName } from "../terminal/flag_name.ts";
import { UsageError } from "../terminal/usage.ts";

/**
 * Turns command line flags into a board.
 *
 * @param flags What the parser found, by the flags' names in camel case.
 * @param rows The options of a board; a test may have another.
 * @throws {UsageError} If one is wrong.
 */
export function boardOptions(
  flags: Readonly<Record<string, unknown>>,
  rows: Readonly<Record<string, BoardOption>> = BOARD_OPTIONS,
): BoardOptions {
  const text = String(flags["target"]);
  const target = parseTarget(text);
  const given = Object.values(rows).map((row) => ({
    row,
    // The flag that is said: `--blk <disk>` is about `--blk`.
    name: row.flag.split(" ")[0]!,
    value: flags[flagName(row.flag)] as never,
  }));
  for (const { row: { targets }, name, value } of given) {
    if (value !== undefined && targets?.includes(target.kind) === false) {
      throw new UsageError(`${name}: for ${targets.join(" and ")} targets, not for ${text}`);
    }
  }
  const fields = Object.entries(rows).map(([field, row], i) => [field, row.parse(given[i]!.value)]);
  for (const { name, value } of given) {
    if (![value].flat().includes("" as never)) continue;
    throw new UsageError(`${name}: expected a value that is not empty`);
  }
  // The rows are the type's own.
  const board = Object.fromEntries(fields) as BoardOptions;
  const { transport, legacy, transitional } = board;
  const bus = target.kind === "emu" ? transport ?? "mmio" : targetBus(target);
  for (const { row, name, value } of given) {
    if (value === undefined) continue;
    const why = row.refuse?.(value, { target: text, bus, legacy, transitional });
    if (why !== undefined) throw new UsageError(`${name}: ${why}`);
  }
  const idle = traceOptionWithoutTrace(board);
  if (idle !== undefined) {
    const name = BOARD_OPTIONS[idle].flag.split(" ")[0];
    throw new UsageError(`${name}: expected --trace or --trace-file as well`);
  }
  return board;
}

/** The same board with a device, unless it has one, or is a machine as it is. */
export function having(board: BoardOptions, name: string): BoardOptions {
  const fixed = ["devmem", "vhost-user", "replay"].includes(parseTarget(board.target).kind);
  if (fixed || board.with.some((device) => device.name === name)) return board;
  return { ...board, with: [...board.with, { name, value: undefined }] };
}
