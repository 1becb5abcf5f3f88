import { writeOut } from "../terminal/standard_output.ts";
import { HELP_TEXT, UNWRAPPED } from "./help_text.ts";

/** Columns where standard output is no terminal, as the parser has it. */
const COLUMNS = 80;

/**
 * Prints the help of `vireo` itself without the parser, which takes three times as long to load as Deno to start.
 *
 * @returns False if the parser would wrap a line of it in this terminal.
 */
export function printHelp(): boolean {
  const columns = Deno.stdout.isTerminal() ? Deno.consoleSize().columns : COLUMNS;
  if (!isUnwrapped(columns)) return false;
  writeOut(HELP_TEXT);
  return true;
}

/** Whether the help is the same in a terminal so wide as it is without one. */
export function isUnwrapped(columns: number): boolean {
  return UNWRAPPED.some(([from, to]) => columns >= from && columns <= to);
}
