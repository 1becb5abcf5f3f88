/**
 * What runs in a guest: the same command line as on the host. The host bundles this file.
 *
 * @module
 */
import { provideScript } from "./commands/run.ts";
import { main } from "./main.ts";

export { initShell } from "./shell_init.ts";

/**
 * The guest's program.
 *
 * @param script Imports the user's script, where the command has one.
 */
export function guestMain(
  script?: () => Promise<{ default?: unknown }>,
): (args: readonly string[]) => Promise<number> {
  if (script !== undefined) provideScript(script);
  return (args) => main([...args]);
}

const program: (args: readonly string[]) => Promise<number> = guestMain();

export default program;
