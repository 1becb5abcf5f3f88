import type { BoardOptions } from "../options.ts";

/** Environment variable that carries the board to the REPL's process, as JSON. */
export const SHELL_BOARD = "VIREO_SHELL_BOARD";

/** `vireo shell`: a Deno REPL with the board's bus and drivers in scope. */
export async function shell(board: BoardOptions): Promise<void> {
  const init = new URL("../shell_init.ts", import.meta.url).href;
  const config = new URL("../../deno.json", import.meta.url).pathname;
  const child = new Deno.Command(Deno.execPath(), {
    args: ["repl", "--quiet", "-A", "--config", config, "--eval", `await import("${init}")`],
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
