import { PACKED_DESC } from "@vireo/hal";
import type { GuestMemory } from "../memory.ts";
import type { RingChain } from "./chain.ts";

/** Words (32 bits) of a descriptor. */
const DESC_WORDS = PACKED_DESC.SIZE / 4;

/**
 * Appends the elements of an indirect table of a packed ring; WRITE is their only flag with a meaning.
 *
 * @param most The most elements.
 * @returns What is wrong with the table, if anything.
 */
export function appendTable(
  chain: RingChain,
  memory: GuestMemory,
  most: number,
  address: number,
  bytes: number,
): string | undefined {
  const count = bytes / PACKED_DESC.SIZE;
  if (bytes === 0 || !Number.isInteger(count)) {
    return `an indirect table of ${bytes} bytes is not whole descriptors`;
  }
  const table = memory.offset(address, bytes);
  if (address % 4 !== 0 || table < 0) {
    return `an indirect table at 0x${address.toString(16)} is misaligned or outside guest memory`;
  }
  if (count > most) return "a chain is longer than the queue";
  const words = memory.words32;
  let at = table / 4;
  for (let i = 0; i < count; i++, at += DESC_WORDS) {
    const wrong = chain.tryAppend(addressAt(words, at), words[at + 2]!, words[at + 3]! >>> 16);
    if (wrong !== undefined) return wrong;
  }
  return undefined;
}

/** The 64-bit address at an index of words. */
export function addressAt(words: Uint32Array, at: number): number {
  const high = words[at + 1]!;
  return high === 0 ? words[at]! : high * 0x1_0000_0000 + words[at]!;
}
