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
  const width = 30;
  const full = Math.round(done * width);
  const bar = "#".repeat(full).padEnd(width, ".");
  const line = done >= 1 ? "\r\x1b[K" : `\r${what} [${bar}] ${Math.floor(done * 100)}%\x1b[K`;
  Deno.stderr.writeSync(new TextEncoder().encode(line));
}

/** Reports progress, on a terminal only. */
export function note(text: string): void {
  if (Deno.stderr.isTerminal()) console.error(`vireo: ${text}`);
}
