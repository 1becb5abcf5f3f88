/**
 * The program of a guest: a command line that the host has parsed, or else one as on the host. The host
 * bundles this file.
 *
 * @module
 */
import { provideScript } from "../commands/run.ts";
import type { GuestCall } from "../commands/command.ts";
import { COMMANDS_BY_NAME } from "../commands/table.ts";
import { CALL_VARIABLE } from "../terminal/environment.ts";
import { report } from "../terminal/report.ts";

export { initShell } from "../commands/shell_init.ts";

/**
 * The guest's program.
 *
 * @param script Imports the user's script, where the command has one.
 */
export function guestMain(
  script?: () => Promise<{ default?: unknown }>,
): (args: readonly string[]) => Promise<number> {
  if (script !== undefined) provideScript(script);
  return async (args) => {
    const call = Deno.env.get(CALL_VARIABLE);
    if (call === undefined) return await (await import("../main.ts")).main([...args]);
    const { name, board, flags, args: given, script: source }: GuestCall = JSON.parse(call);
    if (board.record !== undefined) {
      (await import("../record/call.ts")).keepCall({ name, flags, args: given }, source);
    }
    try {
      await COMMANDS_BY_NAME.get(name)!.run({ board, flags, args: given });
      return 0;
    } catch (error) {
      return report(error);
    }
  };
}

const program: (args: readonly string[]) => Promise<number> = guestMain();

export default program;
