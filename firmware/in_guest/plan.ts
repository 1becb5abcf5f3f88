import type { CommandUnknownOpts } from "@commander-js/extra-typings";
import { checkFile } from "../commands/run.ts";
import { prepareDemo } from "../commands/demo.ts";
import { deviceCommand } from "../devices/run.ts";
import type { GuestCall } from "../commands/table.ts";
import type { GuestCommand } from "./command.ts";
import type { BoardOptions } from "../target/options.ts";

/** What of a command stays on the host when the command itself runs in a guest. */
export type GuestPlan = Omit<GuestCommand, "args">;

/** The commands that read standard input. */
const READERS: ReadonlySet<string> = new Set(["blk write", "console", "run", "shell", "boot"]);
/** Of these, the ones that talk to a terminal key by key. */
const TERMINAL: ReadonlySet<string> = new Set(["console", "shell", "boot"]);

/** The flags that matter on the host. */
interface HostFlags {
  readonly output?: string;
  readonly input?: string;
  readonly send?: string;
  readonly list?: true;
  readonly blk?: readonly string[];
  readonly watch?: true;
}

/**
 * Splits a command line for a guest: files, standard input and the user's script are the host's.
 *
 * @returns Nothing for a command that stays on the host.
 * @throws {UsageError} If the script is not there.
 */
export async function guestCommand(
  command: CommandUnknownOpts,
  board: BoardOptions,
): Promise<GuestPlan | undefined> {
  const flags: HostFlags = command.opts();
  const parent = command.parent?.parent === null ? "" : `${command.parent?.name()} `;
  const name = `${parent}${command.name()}`;
  // It starts the same command line without this flag, again and again.
  if (flags.watch) return undefined;
  const reader = READERS.has(name) || deviceCommand(name)?.command.stdin === true;
  const reads = reader && flags.send === undefined && !flags.list && !flags.input;
  const args = command.processedArgs as GuestCall["args"];
  const plan: GuestPlan = {
    board,
    call: { name, flags: { ...flags }, args },
    output: flags.output,
    input: flags.input,
    stdin: !reads ? "none" : TERMINAL.has(name) && Deno.stdin.isTerminal() ? "terminal" : "pipe",
  };
  if (name === "demo") return { ...plan, ...await prepareDemo(board, flags.blk !== undefined) };
  if (name !== "run") return plan;
  const script = command.args[0]!;
  await checkFile(script);
  return { ...plan, script };
}
