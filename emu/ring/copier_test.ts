import { assertEquals } from "@std/assert";
import { GuestMemory } from "../memory.ts";
import { Copier } from "./copier.ts";

/** Lengths around every limit of the ways to copy. */
const LENGTHS = [0, 1, 3, 4, 19, 20, 21, 22, 23, 24, 63, 64, 159, 160, 161, 300];

Deno.test("copies: exactly the bytes asked for, by every way, also when an array comes again", () => {
  const memory = new GuestMemory(4096);
  const copier = new Copier(memory);
  const arrays = [new Uint8Array(400), new Uint8Array(500).subarray(50, 450)];
  let seed = 0;
  for (const length of LENGTHS) {
    for (const at of [0, 1, 2, 1021]) {
      // The first copy with an array has no view of it, the second makes one, the third uses it.
      for (const [i, array] of [0, 0, 0, 1, 1, 0].entries()) {
        const other = arrays[array]!;
        const offset = i % 3;
        for (const bytes of [memory.bytes, other]) {
          for (let j = 0; j < bytes.length; j++) bytes[j] = ++seed * 31;
        }
        const guest = memory.bytes.slice();
        const host = other.slice();
        copier.read(at, other, offset, length);
        host.set(guest.subarray(at, at + length), offset);
        assertEquals([...other], [...host], `read ${length} bytes at ${at}`);
        copier.write(other, offset + 1, at + 400, length);
        guest.set(host.subarray(offset + 1, offset + 1 + length), at + 400);
        assertEquals([...memory.bytes], [...guest], `write ${length} bytes at ${at}`);
      }
    }
  }
});

Deno.test("copies: a whole array goes into memory in one piece", () => {
  const memory = new GuestMemory(4096);
  const copier = new Copier(memory);
  const whole = Uint8Array.from({ length: 64 }, (_, i) => i + 1);
  copier.write(whole, 0, 7, 64);
  assertEquals([...memory.bytes.subarray(6, 73)], [0, ...whole, 0, 0]);
});
