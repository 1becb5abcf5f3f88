import { assert, assertEquals, assertMatch } from "@std/assert";
import { isUnwrapped } from "../../firmware/cli/quick_help.ts";
import { HELP_TEXT } from "../../firmware/cli/help_text.ts";
import { call } from "../cli_helper.ts";
import { MOST_COLUMNS, parserHelp } from "./help_text.ts";

Deno.test("help: the text that is printed without the parser is the parser's; else run 'make help-text'", () => {
  assertEquals(HELP_TEXT, parserHelp(80));
  assert(isUnwrapped(80) && isUnwrapped(MOST_COLUMNS));
  for (let columns = 1; columns <= MOST_COLUMNS; columns++) {
    assertEquals(isUnwrapped(columns), parserHelp(columns) === HELP_TEXT, `${columns} columns`);
  }
});

Deno.test("help: it is printed for either flag, and what asks for more gets more", async () => {
  for (const flag of ["--help", "-h", "help"]) {
    const { code, out, err } = await call(flag);
    assertEquals([code, out, err], [0, HELP_TEXT, ""], flag);
  }
  assertMatch((await call("probe --help")).out, /^Usage: vireo probe /);
});
