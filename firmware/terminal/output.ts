import { isDumb } from "./environment.ts";

/** Writes all bytes to standard output. */
export async function writeAll(bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await Deno.stdout.write(bytes.subarray(at));
}

/** A rate with three digits and a unit, for example `1.23 M`. */
export function rate(perSecond: number): string {
  for (const [factor, unit] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]] as const) {
    if (perSecond >= factor) return `${(perSecond / factor).toPrecision(3)} ${unit}`;
  }
  return perSecond.toPrecision(3);
}

/** A size in bytes as people read it, for example `32 MiB`. */
export function sizeText(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let unit = 0;
  let value = bytes;
  for (; value >= 1024 && unit < units.length - 1; unit++) value /= 1024;
  return `${Number.isInteger(value) ? value : value.toFixed(1)} ${units[unit]}`;
}

/**
 * Shows the progress of long work on a terminal, and nothing in a pipe or on a terminal that cannot take a line back.
 *
 * @param what What is going on.
 * @param done Part that is done, 0 to 1; 1 clears the line.
 */
export function progress(what: string, done: number): void {
  if (!Deno.stderr.isTerminal() || isDumb()) return;
  const line = done >= 1 ? "" : progressLine(what, done, Deno.consoleSize().columns);
  Deno.stderr.writeSync(new TextEncoder().encode(`\r${line}\x1b[K`));
}

/**
 * A line of progress that fits a terminal: a longer one would go on in the next line, and stay there.
 *
 * @param columns Width of the terminal; the last column stays free for the cursor.
 */
export function progressLine(what: string, done: number, columns: number): string {
  const percent = `${Math.floor(done * 100)}%`;
  const room = Math.max(columns - 1 - percent.length, 0);
  // The bar gives way first, then the words.
  const width = Math.min(30, room - what.length - 4);
  const bar = width < 8 ? "" : `[${"#".repeat(Math.round(done * width)).padEnd(width, ".")}] `;
  return `${what.slice(0, Math.max(room - 1, 0))} ${bar}${percent}`;
}

/** Reports progress, on a terminal only. */
export function note(text: string): void {
  if (Deno.stderr.isTerminal()) console.error(`vireo: ${text}`);
}
