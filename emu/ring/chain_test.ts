import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { DescFlag } from "@vireo/hal";
import { GuestMemory } from "../memory.ts";
import { WorkMeter } from "../work.ts";
import { RingChain } from "./chain.ts";

/** A chain over elements of these lengths at scattered places, and its parts as flat arrays. */
function makeChain(readable: readonly number[], writable: readonly number[]): {
  chain: RingChain;
  text: Uint8Array;
  memory: GuestMemory;
  flat: () => Uint8Array;
} {
  const memory = new GuestMemory(1 << 14);
  const chain = new RingChain({}, memory);
  const text: number[] = [];
  const places: number[] = [];
  let at = 64;
  chain.clear();
  for (const length of readable) {
    for (let i = 0; i < length; i++) text.push(memory.bytes[at + i] = (at * 7 + i * 13) & 0xff);
    chain.append(at, length, false);
    at += length + 3;
  }
  for (const length of writable) {
    for (let i = 0; i < length; i++) places.push(at + i);
    memory.bytes.fill(0xee, at, at + length);
    chain.append(at, length, true);
    at += length + 5;
  }
  chain.finish();
  const flat = (): Uint8Array => Uint8Array.from(places, (place) => memory.bytes[place]!);
  return { chain, text: Uint8Array.from(text), memory, flat };
}

const lengths = fc.array(
  fc.oneof(fc.integer({ min: 0, max: 6 }), fc.integer({ max: 120, min: 0 })),
  {
    maxLength: 20,
  },
);

Deno.test("chain: any mix of reads sees the readable bytes as one text (property)", () => {
  const step = fc.tuple(
    fc.constantFrom("u8", "u16", "u32", "u64", "read", "skip"),
    fc.integer({ min: 0, max: 90 }),
  );
  const property = fc.property(
    lengths,
    lengths,
    fc.array(step, { maxLength: 40 }),
    (r, w, steps) => {
      const { chain, text, memory } = makeChain(r, w);
      const before = memory.bytes.slice();
      const view = new DataView(new ArrayBuffer(text.length + 8));
      new Uint8Array(view.buffer).set(text);
      let at = 0;
      const take = (n: number): number => {
        const from = at;
        at = Math.min(at + n, text.length);
        return from;
      };
      assertEquals(chain.readableLength, text.length);
      for (const [kind, n] of steps) {
        if (kind === "u8") assertEquals(chain.readU8(), view.getUint8(take(1)));
        else if (kind === "u16") assertEquals(chain.readU16(), view.getUint16(take(2), true));
        else if (kind === "u32") assertEquals(chain.readU32(), view.getUint32(take(4), true));
        else if (kind === "u64") {
          assertEquals(chain.readU64(), Number(view.getBigUint64(take(8), true)));
        } else if (kind === "skip") {
          const from = take(n);
          assertEquals(chain.skip(n), at - from);
        } else {
          const into = new Uint8Array(n + 2).fill(0xaa);
          const from = take(n);
          assertEquals(chain.read(into, 1, n), at - from);
          assertEquals(into.subarray(1, 1 + at - from), text.subarray(from, at));
          assertEquals([into[0], into[n + 1]], [0xaa, 0xaa]);
        }
        assertEquals(chain.readableLeft, text.length - at);
      }
      assertEquals(memory.bytes, before);
    },
  );
  fc.assert(property, { seed: 42, numRuns: 400 });
});

Deno.test("chain: any mix of writes fills the writable bytes and nothing else (property)", () => {
  const step = fc.tuple(
    fc.constantFrom("u8", "u16", "u32", "write", "zeroes", "seek"),
    fc.integer({ min: 0, max: 90 }),
  );
  const property = fc.property(
    lengths,
    lengths,
    fc.array(step, { maxLength: 40 }),
    (r, w, steps) => {
      const { chain, memory, flat } = makeChain(r, w);
      const outside = memory.bytes.slice();
      const expected = flat();
      const size = expected.length;
      let at = 0;
      let written = 0;
      const put = (bytes: readonly number[]): number => {
        const n = Math.min(bytes.length, size - at);
        expected.set(bytes.slice(0, n), at);
        at += n;
        if (n > 0) written = Math.max(written, at);
        return n;
      };
      steps.forEach(([kind, n], i) => {
        const bytes = Array.from({ length: n }, (_, k) => (i * 31 + k) & 0xff);
        if (kind === "u8") (chain.writeU8(0x12), put([0x12]));
        else if (kind === "u16") (chain.writeU16(0x3456), put([0x56, 0x34]));
        else if (kind === "u32") (chain.writeU32(0x89abcdef), put([0xef, 0xcd, 0xab, 0x89]));
        else if (kind === "zeroes") assertEquals(chain.writeZeroes(n), put(bytes.fill(0)));
        else if (kind === "seek") {
          chain.seekWrite(n);
          at = Math.min(n, size);
        } else assertEquals(chain.write(Uint8Array.from([9, ...bytes]), 1), put(bytes));
        assertEquals([chain.writableLeft, chain.written], [size - at, written]);
      });
      assertEquals(flat(), expected);
      // Put the writable part back as it was: all else is untouched.
      chain.seekWrite(0);
      chain.write(new Uint8Array(size).fill(0xee));
      assertEquals(memory.bytes, outside);
    },
  );
  fc.assert(property, { seed: 42, numRuns: 400 });
});

Deno.test("chain: a 64-bit integer over 2^53 loses low bits, not more", () => {
  const { chain, memory } = makeChain([8], []);
  memory.bytes.set([1, 0, 0, 0, 0, 0, 0, 0x80], 64);
  assertEquals(chain.readU64(), 2 ** 63);
});

Deno.test("chain: 2^32 bytes are the most that all its elements have", () => {
  const chain = new RingChain({}, new GuestMemory(1 << 20, 0));
  chain.clear();
  const add = (bytes: number, flags: number): string | undefined =>
    chain.tryAppend(0, bytes, flags);
  for (let i = 0; i < 4096; i++) {
    assertEquals(add(1 << 20, i < 1000 ? 0 : DescFlag.WRITE), undefined);
  }
  assertEquals(add(1, DescFlag.WRITE), "a chain has over 2^32 bytes");
  assertEquals([chain.count, chain.readableLength, chain.writableLength], [
    4096,
    1000 * 2 ** 20,
    3096 * 2 ** 20,
  ]);
});

Deno.test("chain: one that is used again has nothing of the chain before, whether of one element or more", () => {
  const memory = new GuestMemory(4096, 0);
  memory.bytes.set([1, 2, 3, 4, 5, 6, 7, 8], 64);
  for (const writable of [false, true]) {
    for (const single of [false, true]) {
      const chain = new RingChain({}, memory);
      const state = (): unknown => [
        ...[chain.count, chain.readableLength, chain.writableLength, chain.readableLeft],
        ...[chain.writableLeft, chain.written, chain.held, chain.elements()],
      ];
      chain.clear();
      chain.append(0, 5, false);
      chain.append(10, 5, false);
      chain.append(20, 5, true);
      chain.append(30, 5, true);
      chain.finish();
      // Both cursors stand inside the second element.
      assertEquals([chain.skip(7), chain.write(new Uint8Array(7))], [7, 7]);
      assertEquals([chain.readableLeft, chain.writableLeft, chain.written], [3, 3, 7]);
      if (single) chain.single(64, 8, writable);
      else {
        chain.clear();
        chain.append(64, 8, writable);
        chain.finish();
      }
      const [read, write] = writable ? [0, 8] : [8, 0];
      assertEquals(state(), [1, read, write, read, write, 0, true, [[64, 8, writable]]]);
      const bytes = new Uint8Array(8);
      assertEquals([chain.read(bytes), chain.write(new Uint8Array(8).fill(9))], [read, write]);
      assertEquals(
        [bytes[0], memory.bytes[64], memory.bytes[71]],
        writable ? [0, 9, 9] : [1, 1, 8],
      );
      memory.bytes.set([1, 2, 3, 4, 5, 6, 7, 8], 64);
      const before = memory.bytes.slice();
      chain.writeU32(0xffffffff);
      assertEquals([memory.bytes, chain.readU8(), chain.writeZeroes(9)], [before, 0, 0]);
    }
  }
});

Deno.test("chain: bytes that are copied count as work, those that are skipped do not", () => {
  const work = new WorkMeter(() => {});
  const chain = new RingChain({}, new GuestMemory(4096, 0), work);
  chain.clear();
  chain.append(0, 100, false);
  chain.append(200, 50, true);
  chain.finish();
  const counted = (act: () => unknown): number => {
    const before = work.counters.bytes;
    act();
    return work.counters.bytes - before;
  };
  assertEquals(counted(() => chain.read(new Uint8Array(30))), 30);
  assertEquals(counted(() => chain.skip(30)), 0);
  assertEquals(counted(() => chain.read(new Uint8Array(99), 90)), 9);
  assertEquals(counted(() => chain.read(new Uint8Array(99))), 31);
  assertEquals(counted(() => chain.write(new Uint8Array(30), 10)), 20);
  assertEquals(counted(() => chain.writeZeroes(99)), 30);
});
