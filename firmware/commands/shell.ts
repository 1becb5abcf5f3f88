import { inGuest } from "../in_guest.ts";
import type { BoardOptions } from "../options.ts";

/** Environment variable that carries the board to the REPL's process, as JSON. */
export const SHELL_BOARD = "VIREO_SHELL_BOARD";

/** `vireo shell`: a Deno REPL with the board's bus and drivers in scope. */
export async function shell(board: BoardOptions): Promise<void> {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["repl", "--quiet", "-A", ...replArguments()],
    env: { [SHELL_BOARD]: JSON.stringify(board) },
    stdin: "inherit",
    stdout: "inherit",
    stderr: "inherit",
  }).spawn();
  // The REPL handles interrupts itself; ours would leave it without a terminal.
  const ignore = (): void => {};
  Deno.addSignalListener("SIGINT", ignore);
  const { code } = await child.status;
  Deno.removeSignalListener("SIGINT", ignore);
  if (code !== 0) Deno.exit(code);
}

/** Where the REPL's own module is: in a guest it is bundled with everything else. */
function replArguments(): string[] {
  const start = (url: string): string[] => ["--eval", `await (await import("${url}")).initShell()`];
  if (inGuest()) return ["--no-config", "--no-lock", "--no-remote", ...start(GUEST_PROGRAM)];
  const config = new URL("../../deno.json", import.meta.url).pathname;
  return ["--config", config, ...start(new URL("../shell_init.ts", import.meta.url).href)];
}

/** Where PID 1 has the program from. */
const GUEST_PROGRAM = "file:///vireo/program.js";
