/** With fewer columns lines stay as they are: what is so narrow is not read. */
const LEAST_COLUMNS = 24;

/**
 * A line of a list, which is more than a line if the summary is long; on a terminal that is too narrow for two columns
 * the summary stands below its term.
 *
 * @param width Characters of the longest term.
 */
export function itemText(term: string, width: number, summary: string, columns: number): string {
  if (summary === "") return `  ${term}`;
  const below = columns - width - 4 < LEAST_COLUMNS;
  const indent = below ? 6 : width + 4;
  const text = wrapText(summary, columns - indent).replaceAll("\n", `\n${" ".repeat(indent)}`);
  return below ? `  ${term}\n      ${text}` : `  ${term.padEnd(width)}  ${text}`;
}

/** Breaks the lines of a text between words, so that none is longer than `columns` if a word is not. */
export function wrapText(text: string, columns: number): string {
  if (columns < LEAST_COLUMNS) return text;
  return text.split("\n").map((line) => {
    let length = 0;
    return line.replace(/\s*\S+/g, (word) => {
      const fits = length === 0 || length + word.length <= columns;
      const put = fits ? word : `\n${word.trimStart()}`;
      length = fits ? length + word.length : put.length - 1;
      return put;
    });
  }).join("\n");
}

/** Writes a text to standard output, all of it. @throws {Deno.errors.BrokenPipe} If its reader is gone. */
export function writeOut(text: string): void {
  const bytes = new TextEncoder().encode(text);
  for (let at = 0; at < bytes.length;) at += Deno.stdout.writeSync(bytes.subarray(at));
}
