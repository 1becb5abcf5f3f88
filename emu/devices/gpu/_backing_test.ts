import { assertEquals } from "@std/assert";
import { Backing } from "./_backing.ts";

/** Pieces of 4, 1, 7 and 3 bytes; each byte is its address. */
const backing = new Backing([[10, 4], [99, 0], [20, 1], [30, 7], [40, 3]]);
const ALL = [10, 11, 12, 13, 20, 30, 31, 32, 33, 34, 35, 36, 40, 41, 42];

Deno.test("backing: every range of its bytes is copied, from those pieces alone that have them", () => {
  assertEquals([backing.length, backing.count], [15, 4]);
  assertEquals(backing.entries(), [[10, 4], [20, 1], [30, 7], [40, 3]]);
  for (let from = 0; from < ALL.length; from++) {
    for (let to = from + 1; to <= ALL.length; to++) {
      const into = new Uint8Array(to - from);
      const looked: number[] = [];
      const done = backing.copy(from, into, (address, length) => {
        const bytes = Uint8Array.from({ length }, (_, i) => address + i);
        looked.push(...bytes);
        assertEquals(length > 0, true, `${from} to ${to} looks at nothing`);
        return bytes;
      });
      assertEquals([done, [...into], looked], [true, ALL.slice(from, to), ALL.slice(from, to)]);
    }
  }
});

Deno.test("backing: what it lacks, or what is no memory any more, is not copied", () => {
  const memory = (address: number, length: number) =>
    address >= 30 && address < 37 ? undefined : new Uint8Array(length);
  assertEquals(backing.copy(0, new Uint8Array(16), () => new Uint8Array(16)), false);
  assertEquals(backing.copy(15, new Uint8Array(1), () => new Uint8Array(1)), false);
  assertEquals(backing.copy(0, new Uint8Array(5), memory), true);
  assertEquals(backing.copy(0, new Uint8Array(6), memory), false);
  assertEquals(backing.copy(12, new Uint8Array(3), memory), true);
});
