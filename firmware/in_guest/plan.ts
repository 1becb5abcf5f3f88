import type { CommandCall, CommandRow, HostPart } from "../commands/command.ts";
import type { RecordedCall, RecordedScript } from "../record/call.ts";
import type { GuestCommand } from "./command.ts";
import { flagName } from "../terminal/flag_name.ts";
import type { BoardOptions } from "../target/options.ts";
import { NeedsGuest, UsageError } from "../terminal/usage.ts";

/** The part of a command that stays on the host when the command itself runs in a guest. */
type GuestPlan = Omit<GuestCommand, "args">;

/**
 * Splits a command line for a guest: files, standard input and the user's script are the host's.
 *
 * @returns Nothing for a command that stays on the host.
 * @throws {UsageError} If a flag or an argument is wrong, or the script is not there.
 */
export async function guestPlan(
  name: string,
  row: CommandRow,
  call: CommandCall,
): Promise<GuestPlan | undefined> {
  const { board, flags, args } = call;
  const part = row.beforeGuest === undefined
    ? await checkCall(row, call)
    : await row.beforeGuest(call);
  if (part === undefined) return undefined;
  const given = (row.options ?? []).filter(({ flag }) => flags[flagName(flag)] !== undefined);
  const file = (use: "read" | "write"): string | undefined => {
    const option = given.find((option) => option.file === use);
    return option && flags[flagName(option.flag)] as string;
  };
  const input = file("read");
  const reads = row.stdin !== undefined && input === undefined &&
    !given.some(({ noStdin }) => noStdin);
  const script = board.record === undefined
    ? undefined
    : await recordedScript({ name, flags, args });
  return {
    board,
    call: { name, flags: { ...flags, ...part.flags }, args, script },
    output: theFile(file("write"), part.board ?? board),
    input,
    stdin: !reads ? "none" : row.stdin === "keys" && Deno.stdin.isTerminal() ? "terminal" : "pipe",
    ...part,
  };
}

/** Most characters of a script that a guest is given for its recording: they come in a variable of its environment. */
const MOST_SCRIPT = 100_000;

/** The script that a recording has; undefined for a longer one, which a replay takes from its file. */
async function recordedScript(call: RecordedCall): Promise<RecordedScript | undefined> {
  const script = (await import("../record/call.ts")).scriptOf(call);
  return script === undefined || script.text.length > MOST_SCRIPT ? undefined : script;
}

/**
 * The file that the guest writes: the line to it has room for one.
 *
 * @throws {UsageError} If there are more.
 */
function theFile(own: string | undefined, { traceFile, record }: BoardOptions): string | undefined {
  const files = [own, traceFile, record].filter((name) => name !== undefined);
  if (files.length > 1) {
    throw new UsageError(
      `Cannot write ${files.join(" and ")}: a guest can write one file of the host`,
    );
  }
  return files[0];
}

/**
 * Finds what is wrong with a command line before a guest is booted for it: actions look at their flags,
 * then open the board, and on the host they come no further.
 *
 * @throws {UsageError} If a flag or an argument is wrong.
 */
async function checkCall(row: CommandRow, call: CommandCall): Promise<HostPart> {
  try {
    await row.run(call);
  } catch (error) {
    if (!(error instanceof NeedsGuest)) throw error;
  }
  return {};
}
