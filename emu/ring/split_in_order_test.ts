import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import fc from "fast-check";
import { BASE, RawRing } from "./_raw_ring_test_util.ts";

const WRITE = 2;
const BUF = BASE + 0x8_0000;

Deno.test("split queue: IN_ORDER holds what is complete early (dev.basic.reserved-features.3)", () => {
  const ring = new RawRing({ size: 4, inOrder: true, start: 65535 });
  for (let i = 0; i < 4; i++) ring.put(i, BUF, 8, WRITE);
  ring.offer(2, 3, 0);
  const [a, b, c] = [ring.queue.pop()!, ring.queue.pop()!, ring.queue.pop()!];
  ring.queue.push(c, 3);
  ring.queue.push(b, 8);
  ring.queue.signal();
  assertEquals([ring.usedIndex, ring.interrupts], [65535, 0]);
  ring.offer(2);
  assertEquals(ring.queue.pop(), undefined);
  assertStringIncludes(ring.faults[0]!, "descriptor 2 was made available twice");

  const other = new RawRing({ size: 4, inOrder: true });
  for (let i = 0; i < 4; i++) other.put(i, BUF, 8, WRITE);
  other.offer(2, 3, 0);
  const chains = [other.queue.pop()!, other.queue.pop()!, other.queue.pop()!];
  for (const chain of chains.toReversed()) other.queue.push(chain, chain.head);
  other.queue.push(a);
  other.queue.signal();
  assertEquals([0, 1, 2].map((i) => other.usedEntry(i)), [[2, 2], [3, 3], [0, 0]]);
  assertEquals([other.usedIndex, other.interrupts], [3, 1]);
});

Deno.test("split queue: IN_ORDER in batches writes one entry where the batch begins (§2.7.9)", () => {
  const ring = new RawRing({ size: 8, inOrder: true, batchUsed: true });
  for (let i = 0; i < 5; i++) ring.put(i, BUF, 8, WRITE);
  ring.offer(0, 1, 2, 3, 4);
  const chains = [0, 1, 2, 3, 4].map(() => ring.queue.pop()!);
  ring.queue.pushAll(chains, [8, 8, 3, 8, 8]);
  ring.queue.signal();
  assertEquals([ring.usedIndex, ring.interrupts], [5, 1]);
  // Only the length of 2 says something that the driver could not know.
  assertEquals([ring.usedEntry(0), ring.usedEntry(3)], [[2, 3], [4, 8]]);
  assertEquals([ring.usedEntry(1), ring.usedEntry(2), ring.usedEntry(4)], [[0, 0], [0, 0], [0, 0]]);
});

Deno.test("split queue: IN_ORDER gives the same whatever the order of completion (property)", () => {
  const property = fc.property(
    fc.constantFrom(1, 2, 8),
    fc.integer({ min: 0, max: 65535 }),
    fc.boolean(),
    fc.array(fc.array(fc.nat(50), { minLength: 1, maxLength: 8 }), { minLength: 1, maxLength: 9 }),
    (size, start, eventIdx, rounds) => {
      const ring = new RawRing({ size, start, eventIdx, inOrder: true });
      for (let i = 0; i < size; i++) ring.put(i, BUF, 64, WRITE);
      let total = start;
      for (const round of rounds) {
        const heads = round.slice(0, size).map((_, i) => i);
        ring.offer(...heads);
        const chains = heads.map((head) => ({ chain: ring.queue.pop()!, sort: round[head]! }));
        for (const { chain, sort } of chains.toSorted((a, b) => a.sort - b.sort)) {
          ring.queue.push(chain, round[chain.head]!);
          if (sort % 2 === 0) ring.queue.signal();
        }
        ring.queue.signal();
        for (const head of heads) {
          assertEquals(ring.usedEntry(total++ % 65536), [head, round[head]!]);
        }
        assertEquals(ring.usedIndex, total % 65536);
      }
      assertEquals(ring.faults, []);
    },
  );
  fc.assert(property, { seed: 42, numRuns: 200 });
});

Deno.test("split queue: IN_ORDER across a snapshot: what is complete is not done again", () => {
  const ring = new RawRing({ size: 8, inOrder: true, start: 65534 });
  for (let i = 0; i < 5; i++) ring.put(i, BUF, 8, WRITE);
  ring.offer(4, 1, 3, 0, 2);
  const chains = [0, 1, 2, 3].map(() => ring.queue.pop()!);
  ring.queue.push(chains[1]!, 5);
  ring.queue.push(chains[3]!, 6);
  ring.queue.signal();
  const position = structuredClone(ring.queue.position());
  assertEquals(position.held, [4, 3]);
  const other = new RawRing({ size: 8, inOrder: true, memory: ring.memory });
  other.queue.resume(position);
  assertEquals(other.queue.position(), position);
  const first = other.queue.pop()!;
  const second = other.queue.pop()!;
  assertEquals([first.head, second.head], [4, 3]);
  assertEquals(other.serve(7), [2]);
  assertEquals(other.usedIndex, 65534);
  other.queue.push(second, 9);
  other.queue.push(first, 8);
  other.queue.signal();
  assertEquals(
    [65534, 65535, 0, 1, 2].map((i) => other.usedEntry(i)),
    [[4, 8], [1, 5], [3, 9], [0, 6], [2, 7]],
  );
  assertEquals([other.usedIndex, other.faults], [3, []]);
});

Deno.test("split queue: a notification's position is checked against the available index", () => {
  const ring = new RawRing({ start: 65535 });
  ring.put(0, BUF, 4, WRITE);
  assertEquals(ring.queue.notificationProblem(65535), undefined);
  assertStringIncludes(ring.queue.notificationProblem(0)!, "ahead of the available index 65535");
  ring.offer(0);
  assertEquals(ring.queue.notificationProblem(0), undefined);
  assert(ring.queue.notificationProblem(65535) === undefined, "late");
  // Half of all indices are behind, half of them ahead.
  const problems = [0x7fff, 0x8000, 0x8001].map((at) => ring.queue.notificationProblem(at));
  assertEquals(problems.map((problem) => problem !== undefined), [true, true, false]);
});
