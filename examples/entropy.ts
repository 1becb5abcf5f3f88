/**
 * Random numbers from the entropy device: `vireo run examples/entropy.ts`.
 *
 * @module
 */
import type { Vireo } from "@vireo/firmware";

/** Prints a key, a die roll and how even the bits are. */
export default async function main({ rng, args, signal }: Vireo): Promise<void> {
  const key = await rng.read(32, { signal });
  console.log(`key ${key.toHex()}`);

  // The shape of crypto.getRandomValues, for any integer array.
  const [word] = await rng.fill(new Uint32Array(1), { signal });
  console.log(`die ${word! % 6 + 1}`);

  const length = Number(args[0] ?? 65536);
  const bytes = await rng.read(length, { signal });
  let ones = 0;
  for (const byte of bytes) for (let bits = byte; bits > 0; bits >>= 1) ones += bits & 1;
  console.log(`${length} bytes, ${(100 * ones / (8 * length)).toFixed(2)} % of the bits are set`);
}
