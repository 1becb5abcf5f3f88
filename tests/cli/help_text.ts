/**
 * Writes `firmware/cli/help_text.ts`, the help of `vireo` itself (`make help-text`).
 *
 * @module
 */
import { buildProgram } from "../../firmware/cli/program.ts";

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

/** The module with the help and the ranges of columns at which it is the same. */
function helpModule(): string {
  const text = parserHelp(80);
  const ranges: [number, number][] = [];
  for (let columns = 1; columns <= MOST_COLUMNS; columns++) {
    if (parserHelp(columns) !== text) continue;
    const last = ranges.at(-1);
    if (last?.[1] === columns - 1) last[1] = columns;
    else ranges.push([columns, columns]);
  }
  const shown = ranges.map(([from, to]) => `[${from}, ${to === MOST_COLUMNS ? "Infinity" : to}]`);
  return [
    "// Written by `make help-text`.",
    "",
    "/** Ranges of columns, from the first to the last, at which the parser prints this text. */",
    "export const UNWRAPPED: readonly (readonly [from: number, to: number])[] =",
    `  [${shown.join(", ")}];`,
    "",
    "/** Text of `vireo --help`. */",
    `export const HELP_TEXT: string = \`${text.replace(/[\\`$]/g, "\\$&")}\`;`,
    "",
  ].join("\n");
}

if (import.meta.main) await Deno.writeTextFile(FILE, helpModule());
