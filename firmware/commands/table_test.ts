import { assertEquals } from "@std/assert";
import { BOARD_DEVICES } from "../devices/table.ts";
import { GUEST_ACTIONS } from "./table.ts";
import { buildProgram } from "../cli/program.ts";

interface Named {
  name(): string;
  readonly commands: readonly Named[];
  readonly options: readonly { readonly long?: string | undefined }[];
}

/** Names of the commands that take a target, with their parents' before them. */
function targeted(command: Named, parent = ""): string[] {
  return command.commands.flatMap((child) => {
    const own = child.options.some(({ long }) => long === "--target");
    return [...own ? [parent + child.name()] : [], ...targeted(child, `${child.name()} `)];
  });
}

Deno.test("every command that takes a target has an action in a guest, and no other", () => {
  const ofDevices = BOARD_DEVICES.flatMap(({ name, commands }) =>
    commands.map((command) => `${name} ${command.name}`)
  );
  assertEquals(
    [...Object.keys(GUEST_ACTIONS), ...ofDevices].sort(),
    targeted(buildProgram()).sort(),
  );
});
