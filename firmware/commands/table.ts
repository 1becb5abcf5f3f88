import { BLK_GROUP } from "./blk_rows.ts";
import { BOARD_ROWS, STREAM_ROWS } from "./board_rows.ts";
import type { CommandGroup, CommandRow } from "./command.ts";
import { DEVICE_GROUPS } from "./device_rows.ts";
import { NET_GROUP } from "./net_rows.ts";

/**
 * Every command, in the order of the help. The command line is built from these rows, and a guest runs
 * from them: there the parser stays away, because under TCG the parts of Node that it needs take one to
 * two seconds to load.
 */
export const COMMANDS: readonly (CommandRow | CommandGroup)[] = [
  ...BOARD_ROWS,
  BLK_GROUP,
  NET_GROUP,
  ...DEVICE_GROUPS,
  ...STREAM_ROWS,
];

/** The commands by their whole names, `blk read`. */
export const COMMANDS_BY_NAME: ReadonlyMap<string, CommandRow> = new Map(
  COMMANDS.flatMap((entry): [string, CommandRow][] =>
    "commands" in entry
      ? entry.commands.map((row) => [`${entry.name} ${row.name}`, row])
      : [[entry.name, entry]]
  ),
);
