/**
 * Writes `firmware/cli/help_text.ts`, the help of `vireo` itself (`make help-text`).
 *
 * @module
 */
import { buildProgram } from "../../firmware/cli/program.ts";
import type { HelpPart } from "../../firmware/cli/quick_help.ts";

/** Widest terminal that is tried; no line is so long. */
export const MOST_COLUMNS = 160;
const FILE = new URL("../../firmware/cli/help_text.ts", import.meta.url);

let text = "";
let width = 0;
const program = buildProgram().configureOutput({
  writeOut: (part) => void (text += part),
  getOutHelpWidth: () => width,
});

/** The help as the parser prints it in a terminal of so many columns. */
export function parserHelp(columns: number): string {
  text = "";
  width = columns;
  try {
    program.parse(["--help"], { from: "user" });
  } catch {
    // Help ends the parser by an error.
  }
  return text;
}

/** The module with the parts of the help. */
function helpModule(): string {
  let section = "";
  const parts = parserHelp(1000).trimEnd().split("\n").map((line): HelpPart => {
    if (/^\w.*:/.test(line)) section = line;
    const item = /^(?:Options|Commands):$/.test(section) && /^\s\s(\S.*?)\s\s\s*(\S.*)$/.exec(line);
    if (item) return [item[1]!, item[2]!];
    return section.startsWith("Usage:") && line !== section && line !== "" ? { wraps: line } : line;
  });
  return [
    "// Written by `make help-text`.",
    'import type { HelpPart } from "./quick_help.ts";',
    "",
    "/** The text of `vireo --help`, in parts. */",
    `export const HELP: readonly HelpPart[] = ${JSON.stringify(parts)};`,
    "",
  ].join("\n");
}

if (import.meta.main) await Deno.writeTextFile(FILE, helpModule());
