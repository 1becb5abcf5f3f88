import { assertEquals, assertMatch } from "@std/assert";
import { helpText } from "../../firmware/cli/quick_help.ts";
import { call } from "../cli_helper.ts";
import { MOST_COLUMNS, parserHelp } from "./help_text.ts";

Deno.test("help: the text that is printed without the parser is the parser's; else run 'make help-text'", () => {
  for (let columns = 1; columns <= MOST_COLUMNS; columns++) {
    assertEquals(helpText(columns), parserHelp(columns), `${columns} columns`);
  }
});

Deno.test("help: it is printed for either flag, and what asks for more gets more", async () => {
  for (const flag of ["--help", "-h", "help"]) {
    const { code, out, err } = await call(flag);
    assertEquals([code, out, err], [0, helpText(80), ""], flag);
  }
  assertMatch((await call("probe --help")).out, /^Usage: vireo probe /);
});
