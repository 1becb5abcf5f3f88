import type { CommandCall, CommandRow } from "../commands/command.ts";
import { type BoardOption, DEFAULT_BOARD } from "../target/options.ts";
import { parseTarget } from "../target/target.ts";
import { inGuest } from "../terminal/environment.ts";
import { Finished } from "../terminal/usage.ts";
import { boardOptions, having } from "./board_flags.ts";

/**
 * Carries out a command that the parser has found: here, or in the guest of its target.
 *
 * @param name The command's whole name.
 * @param argv The command line as it was given.
 * @param rows The options of a board.
 * @throws {UsageError} If an option of the board is wrong.
 * @throws {Finished} When it ended in a guest.
 */
export async function dispatch(
  name: string,
  row: CommandRow,
  { flags, args }: Omit<CommandCall, "board">,
  argv: readonly string[],
  rows: Readonly<Record<string, BoardOption>>,
): Promise<void> {
  if (row.board === undefined) return await row.run({ board: DEFAULT_BOARD, flags, args });
  const own = boardOptions(flags, rows);
  const { device } = row.board;
  const call = { board: device === undefined ? own : having(own, device), flags, args };
  if (parseTarget(own.target).kind === "qemu" && !inGuest()) {
    const { guestPlan } = await import("../in_guest/plan.ts");
    const plan = await guestPlan(name, row, call);
    if (plan !== undefined) {
      const { runInGuest } = await import("../in_guest/command.ts");
      throw new Finished(await runInGuest({ ...plan, args: argv }));
    }
  }
  if (own.record !== undefined) (await import("../record/call.ts")).keepCall({ name, flags, args });
  using _hints = await waitHints(name, row);
  await row.run(call);
}

/** Reports long waits on a terminal, unless the command itself has the terminal. */
async function waitHints(name: string, { stdin }: CommandRow): Promise<Disposable | undefined> {
  if (stdin === "keys" || inGuest() || !Deno.stderr.isTerminal()) return undefined;
  const [{ StillWaiting }, { OPEN_BUSES }] = await Promise.all([
    import("../terminal/still_waiting.ts"),
    import("../target/open_buses.ts"),
  ]);
  return new StillWaiting({
    say: (line) => console.error(`vireo: ${line}`),
    buses: OPEN_BUSES,
    // Other commands may wait for what is on the host.
    idle: name === "run",
  });
}
