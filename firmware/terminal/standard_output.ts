/** Writes a text to standard output, all of it. @throws {Deno.errors.BrokenPipe} If its reader is gone. */
export function writeOut(text: string): void {
  const bytes = new TextEncoder().encode(text);
  for (let at = 0; at < bytes.length;) at += Deno.stdout.writeSync(bytes.subarray(at));
}
