import { itemText, wrapText, writeOut } from "../terminal/layout.ts";
import { HELP } from "./help_text.ts";

/** A part of a help: lines as they are, a paragraph that may be broken, or a term with its summary. */
export type HelpPart =
  | string
  | { readonly wraps: string }
  | readonly [term: string, summary: string];

/** Columns where standard output is no terminal, as the parser has it. */
const COLUMNS = 80;

/** Prints the help of `vireo` itself without the parser, which takes three times as long to load as Deno to start. */
export function printHelp(): void {
  writeOut(helpText(Deno.stdout.isTerminal() ? Deno.consoleSize().columns : COLUMNS));
}

/** The help of `vireo` itself, for a terminal of so many columns. */
export function helpText(columns: number): string {
  const width = Math.max(
    ...HELP.map((part) => typeof part === "object" && !("wraps" in part) ? part[0].length : 0),
  );
  return HELP.map((part) => {
    if (typeof part === "string") return `${part}\n`;
    return `${
      "wraps" in part ? wrapText(part.wraps, columns) : itemText(part[0], width, part[1], columns)
    }\n`;
  }).join("");
}
