/**
 * What runs in a guest: a command line that the host has parsed, or else one as on the host. The host
 * bundles this file.
 *
 * @module
 */
import { provideScript } from "../commands/run.ts";
import type { DeviceCall } from "../devices/board_device.ts";
import { deviceCommand, runDeviceCommand } from "../devices/run.ts";
import { GUEST_ACTIONS, type GuestCall } from "../commands/table.ts";
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
    const { name, board, flags, args: given }: GuestCall = JSON.parse(call);
    try {
      const found = deviceCommand(name);
      if (found !== undefined) {
        const call = { flags, args: given } as DeviceCall;
        await runDeviceCommand(found.device, found.command, board, call);
      } else await GUEST_ACTIONS[name]!({ board, flags: flags as never, args: given as never[] });
      return 0;
    } catch (error) {
      return report(error);
    }
  };
}

const program: (args: readonly string[]) => Promise<number> = guestMain();

export default program;
