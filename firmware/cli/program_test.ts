import type { CommandUnknownOpts } from "@commander-js/extra-typings";
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { buildProgram } from "./program.ts";

/** A command and all below it. */
function all(command: CommandUnknownOpts): CommandUnknownOpts[] {
  return [command, ...command.commands.flatMap(all)];
}

function helpOf(command: CommandUnknownOpts, helpWidth: number): string {
  return command.configureHelp({ ...command.configureHelp(), helpWidth }).helpInformation();
}

Deno.test("the help of every command fits terminals of 40 and of 80 columns", () => {
  for (const width of [40, 80]) {
    for (const command of all(buildProgram())) {
      for (const line of helpOf(command, width).split("\n")) {
        assert(line.length <= width || /^Usage|^ *\S+$/.test(line), `${command.name()}: ${line}`);
      }
    }
  }
});

Deno.test("a summary stands beside its term, or below it on a narrow terminal", () => {
  const probe = "list the devices: what they offered";
  assertStringIncludes(helpOf(buildProgram(), 80), `\n  probe ${" ".repeat(29)}${probe} and\n`);
  assertStringIncludes(
    helpOf(buildProgram(), 40),
    "\n  probe\n      list the devices: what they\n      offered and what was negotiated\n",
  );
});

Deno.test("groups have a help of their own", () => {
  const program: CommandUnknownOpts = buildProgram();
  const groups = program.commands.filter(({ commands }) => commands.length > 0);
  assert(groups.length > 5);
  for (const group of groups) {
    assertEquals(group.commands.at(-1)!.name(), "help", group.name());
  }
});
