import type { BoardOptions } from "../target/options.ts";
import { keepOffTerminal } from "../terminal/files.ts";
import { writeAll } from "../terminal/output.ts";
import { parseSize } from "../terminal/usage.ts";
import { openVireo } from "../session.ts";

/** Bytes asked of the device at a time. */
const CHUNK = 65536;

/** `vireo rng`: prints random bytes. */
export async function rng(
  board: BoardOptions,
  amount: string,
  flags: { format: "hex" | "raw"; json?: true },
): Promise<void> {
  const length = parseSize(amount, "bytes");
  if (flags.format === "raw" && !flags.json) keepOffTerminal("rng --format raw");
  await using vireo = await openVireo(board);
  const parts: string[] = [];
  for (let left = length; left > 0; left -= CHUNK) {
    const bytes = await vireo.rng.read(Math.min(left, CHUNK));
    if (flags.json) parts.push(hexText(bytes));
    else if (flags.format === "raw") await writeAll(bytes);
    else await writeAll(new TextEncoder().encode(hexText(bytes)));
  }
  if (flags.json) console.log(JSON.stringify({ length, hex: parts.join("") }));
  else if (flags.format === "hex") console.log();
}

function hexText(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += byte.toString(16).padStart(2, "0");
  return text;
}
