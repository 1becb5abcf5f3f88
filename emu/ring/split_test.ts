import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import fc from "fast-check";
import { GuestMemory } from "../memory.ts";
import { afterNextStore, BASE, checkHeldAgain, RawRing } from "./_raw_ring_test_util.ts";
import { checkGeometry } from "./split.ts";

// Flags, typed from virtio 1.4 §2.7.5.
const NEXT = 1;
const WRITE = 2;
const INDIRECT = 4;
/** A place for buffers. */
const DATA = 0x8_0000;
const BUF = BASE + DATA;

Deno.test("split queue: chains come in order and go back by id and length", () => {
  const ring = new RawRing({ size: 8 });
  ring.put(5, BUF, 10, NEXT, 2);
  ring.put(2, BUF + 100, 20, NEXT | WRITE, 7);
  ring.put(7, BUF + 200, 30, WRITE);
  ring.put(0, BUF + 300, 4, 0);
  assert(!ring.queue.hasAvailable());
  ring.offer(5, 0);
  assert(ring.queue.hasAvailable());
  const first = ring.queue.pop()!;
  const second = ring.queue.pop()!;
  assertEquals(ring.queue.pop(), undefined);
  assertEquals([first.head, first.readableLength, first.writableLength], [5, 10, 50]);
  assertEquals([second.head, second.readableLength, second.writableLength], [0, 4, 0]);
  ring.queue.push(second);
  ring.queue.push(first, 33);
  ring.queue.signal();
  assertEquals(ring.usedIndex, 2);
  assertEquals([ring.usedEntry(0), ring.usedEntry(1)], [[0, 0], [5, 33]]);
  assertEquals([ring.interrupts, ring.faults], [1, []]);
});

Deno.test("split queue: several chains become visible at once, by signal alone", () => {
  const ring = new RawRing({ size: 8 });
  for (let i = 0; i < 3; i++) ring.put(i, BUF, 16, WRITE);
  ring.offer(0, 1, 2);
  const chains = [ring.queue.pop()!, ring.queue.pop()!, ring.queue.pop()!];
  ring.queue.pushAll(chains, [16, 16, 1]);
  assertEquals([ring.usedIndex, ring.interrupts], [0, 0]);
  ring.queue.signal();
  assertEquals([ring.usedIndex, ring.interrupts], [3, 1]);
  ring.queue.signal();
  assertEquals(ring.interrupts, 1, "nothing new, no interrupt");
});

Deno.test("split queue: indices wrap at every size (property)", () => {
  const sizes = fc.constantFrom(1, 2, 4, 16, 256, 4096, 32768);
  const property = fc.property(
    sizes,
    fc.integer({ min: 0, max: 65535 }),
    fc.boolean(),
    fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 60 }),
    (size, start, eventIdx, batches) => {
      const ring = new RawRing({ size, start, eventIdx });
      for (let i = 0; i < Math.min(size, 9); i++) ring.put(i, BUF, 4, WRITE);
      let total = start;
      for (const batch of batches) {
        const heads = Array.from({ length: Math.min(batch, size) }, (_, i) => i);
        ring.offer(...heads);
        assertEquals(ring.serve(4), heads);
        for (const head of heads) assertEquals(ring.usedEntry(total++ % 65536), [head, 4]);
        assertEquals(ring.usedIndex, total % 65536);
        if (eventIdx) assertEquals(ring.availEvent, total % 65536);
      }
      assertEquals(ring.faults, []);
    },
  );
  fc.assert(property, { seed: 42, numRuns: 150 });
});

Deno.test("split queue: without EVENT_IDX flags decide and used_event is ignored (dev.split-ring.used-suppress.1-3)", () => {
  const ring = new RawRing();
  ring.put(0, BUF, 4, WRITE);
  ring.usedEvent = 1000;
  ring.offer(0);
  ring.serve();
  assertEquals(ring.interrupts, 1);
  ring.availFlags = 1;
  ring.usedEvent = 1;
  ring.offer(0);
  ring.serve();
  assertEquals([ring.interrupts, ring.usedIndex], [1, 2]);
});

Deno.test("split queue: with EVENT_IDX the step over used_event decides (dev.split-ring.used-suppress.4-6, property)", () => {
  const property = fc.property(
    fc.integer({ min: 0, max: 65535 }),
    fc.array(
      fc.record({
        batch: fc.integer({ min: 1, max: 16 }),
        event: fc.integer({ min: -20, max: 20 }),
        flags: fc.constantFrom(0, 1),
      }),
      { minLength: 1, maxLength: 30 },
    ),
    (start, steps) => {
      const ring = new RawRing({ start, eventIdx: true });
      for (let i = 0; i < 16; i++) ring.put(i, BUF, 4, WRITE);
      let used = start;
      let expected = 0;
      for (const { batch, event, flags } of steps) {
        const wanted = (used + event + 65536) % 65536;
        ring.usedEvent = wanted;
        ring.availFlags = flags;
        ring.offer(...Array.from({ length: batch }, (_, i) => i));
        ring.serve();
        // §2.7.7.2: notify if an entry was placed where used_event points to.
        const placed = Array.from({ length: batch }, (_, i) => (used + i) % 65536);
        if (placed.includes(wanted)) expected++;
        used = (used + batch) % 65536;
        assertEquals(ring.interrupts, expected);
      }
    },
  );
  fc.assert(property, { seed: 42, numRuns: 300 });
});

Deno.test("split queue: avail_event follows when the ring ran empty, and flags stay 0 (dev.split-ring.avail-suppress.2)", () => {
  const ring = new RawRing({ eventIdx: true });
  for (let i = 0; i < 4; i++) ring.put(i, BUF, 4, WRITE);
  ring.offer(0, 1);
  ring.queue.pop();
  assertEquals(ring.availEvent, 0, "not while there is more");
  ring.queue.pop();
  assertEquals(ring.queue.pop(), undefined);
  assertEquals(ring.availEvent, 2);
  ring.queue.setNotify(false);
  ring.offer(2);
  ring.queue.pop();
  assertEquals(ring.queue.pop(), undefined);
  assertEquals([ring.availEvent, ring.usedFlags], [2, 0], "a polling device asks for nothing");
  ring.queue.setNotify(true);
  assertEquals([ring.availEvent, ring.usedFlags], [3, 0]);
});

Deno.test("split queue: a buffer that is added while the queue asks for its notification is found", () => {
  for (const look of ["pop", "hasAvailable"] as const) {
    const ring = new RawRing({ eventIdx: true });
    for (const head of [0, 1]) ring.put(head, BUF, 4, WRITE);
    ring.offer(0);
    ring.serve();
    ring.offer(1);
    ring.queue.pop();
    afterNextStore(() => ring.offer(0));
    // The driver saw the old place, and does not notify.
    assert(ring.queue[look]());
    assertEquals(ring.availEvent, 2);
  }
});

Deno.test("split queue: without EVENT_IDX a polling device sets NO_NOTIFY (dev.split-ring.avail-suppress.1)", () => {
  const ring = new RawRing();
  assertEquals(ring.usedFlags, 0);
  ring.queue.setNotify(false);
  assertEquals(ring.usedFlags, 1);
  ring.queue.setNotify(true);
  assertEquals(ring.usedFlags, 0);
});

Deno.test("split queue: NOTIFY_ON_EMPTY interrupts when the ring ran empty, whatever the flags (dev.basic.legacy-reserved-features.1)", () => {
  const ring = new RawRing({ notifyOnEmpty: true });
  ring.availFlags = 1;
  for (let i = 0; i < 2; i++) ring.put(i, BUF, 4, WRITE);
  ring.offer(0, 1);
  ring.queue.push(ring.queue.pop()!);
  ring.queue.signal();
  assertEquals(ring.interrupts, 0);
  ring.serve();
  assertEquals(ring.interrupts, 1);
});

Deno.test("split queue: a chain is the driver's again only once, and never after a stop", () => {
  const ring = new RawRing();
  ring.put(0, BUF, 4, WRITE);
  ring.put(1, BUF, 4, WRITE);
  ring.offer(0, 1);
  const chain = ring.queue.pop()!;
  const late = ring.queue.pop()!;
  ring.queue.push(chain);
  ring.queue.push(chain);
  ring.queue.signal();
  assertEquals(ring.usedIndex, 1);
  ring.queue.stop();
  ring.queue.push(late);
  ring.queue.signal();
  assertEquals([ring.usedIndex, ring.queue.pop(), ring.queue.hasAvailable()], [
    1,
    undefined,
    false,
  ]);
});

Deno.test("split queue: each chain is noted when it is taken, used and published, whatever its form", () => {
  const notes: unknown[] = [];
  const ring = new RawRing({
    size: 8,
    start: 65535,
    inflight: () => ({
      taken: (...args) => void notes.push(["taken", ...args]),
      used: (...args) => void notes.push(["used", ...args]),
      published: (...args) => void notes.push(["published", ...args]),
    }),
  });
  const table = 0x9_0000;
  ring.put(3, BUF, 4, WRITE);
  ring.put(5, BUF, 4, NEXT, 6);
  ring.put(6, BUF, 4, WRITE);
  ring.put(7, BASE + table, 16, INDIRECT);
  ring.put(0, BUF, 4, WRITE, 0, table);
  ring.offer(3, 5, 7);
  const chains = [ring.queue.pop()!, ring.queue.pop()!, ring.queue.pop()!];
  assertEquals(notes.splice(0), [["taken", 3, 0, 0], ["taken", 5, 0, 0], ["taken", 7, 0, 0]]);
  ring.queue.push(chains[1]!);
  ring.queue.push(chains[0]!);
  assertEquals(notes.splice(0), [["used", 5], ["used", 3]]);
  ring.queue.signal();
  ring.queue.signal();
  assertEquals(notes, [["published", 1]]);
});

Deno.test("split queue: a position brings back what was held, in the order it was taken", () => {
  const ring = new RawRing({ size: 8, start: 65534 });
  for (let i = 0; i < 5; i++) ring.put(i, BUF, 4 + i, WRITE);
  ring.offer(4, 1, 3, 0, 2);
  const chains = [ring.queue.pop()!, ring.queue.pop()!];
  ring.queue.push(chains[1]!, 5);
  ring.queue.pop();
  ring.queue.pop();
  const position = structuredClone(ring.queue.position());
  assertEquals(position, { lastAvail: 2, usedIndex: 65535, signalled: 65534, held: [4, 3, 0] });
  const other = new RawRing({ size: 8, memory: ring.memory });
  other.queue.resume(position);
  assertEquals(other.queue.position(), position);
  other.queue.signal();
  assertEquals([other.interrupts, other.usedIndex], [1, 65535], "the pushed one is signalled late");
  assertEquals(other.serve(), [4, 3, 0, 2]);
  assertEquals([other.usedIndex, other.faults], [3, []]);
});

Deno.test("split queue: a position is wrong if it is ahead of the available index, in either round", () => {
  for (const start of [0, 5, 65535]) {
    const { queue } = new RawRing({ start });
    const problem = (ahead: number): string | undefined =>
      queue.notificationProblem((start + ahead) & 0xffff);
    assertEquals([0, -1, -0x7fff].map(problem), [undefined, undefined, undefined]);
    for (const ahead of [1, 0x7fff, 0x8000]) {
      assertEquals(
        problem(ahead),
        `index ${(start + ahead) & 0xffff} is ahead of the available index ${start}`,
      );
    }
  }
});

Deno.test("split queue: what was held is available again, without anything new, until it stops", () => {
  const ring = new RawRing();
  ring.put(0, BUF, 4, WRITE);
  ring.offer(0);
  ring.queue.pop();
  const position = ring.queue.position();
  checkHeldAgain(() => {
    const { queue } = new RawRing({ memory: ring.memory });
    queue.resume(position);
    return queue;
  }, 0);
});

Deno.test("split queue: the order of held chains is their age, whichever objects are used again", () => {
  const ring = new RawRing({ size: 8, start: 65535 });
  for (let i = 0; i < 4; i++) ring.put(i, BUF, 4, WRITE);
  ring.offer(0, 3, 2, 1);
  const first = ring.queue.pop()!;
  ring.queue.pop();
  ring.queue.push(first);
  ring.queue.pop();
  ring.queue.pop();
  assertEquals(ring.queue.position().held, [3, 2, 1]);
});

Deno.test("split queue: INDIRECT may end a plain chain, and its WRITE flag means nothing (dev.split-ring.indirect.1-2)", () => {
  const ring = new RawRing({ size: 8 });
  const table = 0x9_0000;
  ring.put(1, BUF, 3, NEXT, 6);
  ring.put(6, BASE + table, 48, INDIRECT | WRITE);
  ring.put(0, BUF + 3, 5, NEXT, 2, table);
  ring.put(2, BUF + 8, 7, NEXT | WRITE, 1, table);
  ring.put(1, BUF + 15, 9, WRITE, 0, table);
  ring.offer(1);
  const chain = ring.queue.pop()!;
  assertEquals(ring.faults, []);
  assertEquals([chain.head, chain.readableLength, chain.writableLength], [1, 8, 16]);
});

Deno.test("split queue: a chain may be as long as the queue, by either kind of table, and no longer", () => {
  const table = 0x9_0000;
  for (
    const [plain, inTable, good] of [[8, 0, true], [3, 5, true], [0, 8, true], [
      3,
      6,
      false,
    ]] as const
  ) {
    const ring = new RawRing({ size: 8 });
    for (let i = 0; i < plain; i++) {
      ring.put(i, BUF, 1, i + 1 < plain || inTable > 0 ? NEXT : 0, i + 1);
    }
    if (inTable > 0) ring.put(plain, BASE + table, 16 * inTable, INDIRECT);
    for (let i = 0; i < inTable; i++) {
      ring.put(i, BUF, 1, i + 1 < inTable ? NEXT : 0, i + 1, table);
    }
    ring.offer(0);
    assertEquals(ring.queue.pop()?.readableLength, good ? 8 : undefined);
    assertEquals(ring.faults.length, good ? 0 : 1);
  }
});

/** A chain that no device may take, and what it is told. */
const MALFORMED: Record<
  string,
  { put: (ring: RawRing) => void; says: string; indirect?: boolean }
> = {
  "head out of range": { put: (ring) => ring.offer(8), says: "names descriptor 8" },
  "next out of range": {
    put: (ring) => {
      ring.put(0, BUF, 4, NEXT, 8);
      ring.offer(0);
    },
    says: "next names descriptor 8",
  },
  "loop": {
    put: (ring) => {
      ring.put(0, BUF, 4, NEXT, 1);
      ring.put(1, BUF, 4, NEXT, 0);
      ring.offer(0);
    },
    says: "longer than the queue",
  },
  "loop of one without bytes": {
    put: (ring) => {
      ring.put(0, BUF, 0, NEXT, 0);
      ring.offer(0);
    },
    says: "longer than the queue",
  },
  "readable after writable": {
    put: (ring) => {
      ring.put(0, BUF, 4, NEXT | WRITE, 1);
      ring.put(1, BUF, 4, 0);
      ring.offer(0);
    },
    says: "readable element follows",
  },
  "below memory": {
    put: (ring) => {
      ring.put(0, BASE - 1, 4, 0);
      ring.offer(0);
    },
    says: "is outside guest memory",
  },
  "address 0": {
    put: (ring) => {
      ring.put(0, 0, 4, WRITE);
      ring.offer(0);
    },
    says: "is outside guest memory",
  },
  "over the end by a byte": {
    put: (ring) => {
      ring.put(0, BASE + (1 << 20) - 3, 4, WRITE);
      ring.offer(0);
    },
    says: "is outside guest memory",
  },
  "an address that wraps around 2^64": {
    put: (ring) => {
      ring.put(0, 0, 64, WRITE);
      ring.view.setBigUint64(ring.desc, 0xffff_ffff_ffff_fff0n, true);
      ring.offer(0);
    },
    says: "is outside guest memory",
  },
  "a length of 2^32-1": {
    put: (ring) => {
      ring.put(0, BUF, 0xffffffff, WRITE);
      ring.offer(0);
    },
    says: "is outside guest memory",
  },
  "an index jump over the size": { put: (ring) => ring.jump(9), says: "jumped by 9" },
  "an index that went back": {
    put: (ring) => {
      ring.jump(65535);
    },
    says: "jumped by 65535",
  },
  "a head twice": {
    put: (ring) => {
      ring.put(0, BUF, 4, WRITE);
      ring.offer(0, 0);
      assert(ring.queue.pop() !== undefined);
    },
    says: "made available twice",
  },
  "INDIRECT without the feature": {
    put: (ring) => {
      ring.put(0, BUF, 16, INDIRECT);
      ring.offer(0);
    },
    says: "not negotiated",
    indirect: false,
  },
  "INDIRECT with NEXT": {
    put: (ring) => {
      ring.put(0, BUF, 16, INDIRECT | NEXT, 1);
      ring.offer(0);
    },
    says: "INDIRECT and NEXT",
  },
  "an empty indirect table": {
    put: (ring) => {
      ring.put(0, BUF, 0, INDIRECT);
      ring.offer(0);
    },
    says: "table of 0 bytes",
  },
  "an indirect table of 24 bytes": {
    put: (ring) => {
      ring.put(0, BUF, 24, INDIRECT);
      ring.offer(0);
    },
    says: "table of 24 bytes",
  },
  "an indirect table outside memory": {
    put: (ring) => {
      ring.put(0, BASE + (1 << 20) - 16, 32, INDIRECT);
      ring.offer(0);
    },
    says: "indirect table at",
  },
  "a nested table": {
    put: (ring) => {
      ring.put(0, BUF, 16, INDIRECT);
      ring.put(0, BUF + 64, 16, INDIRECT, 0, DATA);
      ring.offer(0);
    },
    says: "refers to another",
  },
  "next out of an indirect table": {
    put: (ring) => {
      ring.put(0, BUF, 32, INDIRECT);
      ring.put(0, BUF + 64, 4, NEXT, 2, DATA);
      ring.offer(0);
    },
    says: "descriptor 2 of 2",
  },
  "a loop in an indirect table": {
    put: (ring) => {
      ring.put(0, BUF, 16, INDIRECT);
      ring.put(0, BUF + 64, 4, NEXT, 0, DATA);
      ring.offer(0);
    },
    says: "longer than the queue",
  },
};

for (const [name, { put, says, indirect }] of Object.entries(MALFORMED)) {
  Deno.test(`split queue: one fault for ${name}`, () => {
    const ring = new RawRing({ size: 8, indirect: indirect ?? true });
    put(ring);
    const before = ring.memory.bytes.slice();
    assertEquals(ring.queue.pop(), undefined);
    assertEquals(ring.queue.pop(), undefined);
    assert(!ring.queue.hasAvailable());
    assertEquals(ring.faults.length, 1);
    assertStringIncludes(ring.faults[0]!, says);
    assertStringIncludes(ring.faults[0]!, "queue 3");
    assertEquals(ring.memory.bytes, before, "nothing is written");
    assertEquals(ring.queue.position().held, name === "a head twice" ? [0] : []);
  });
}

Deno.test("split queue: a chain over 2^32 bytes is a fault", () => {
  const memory = new GuestMemory(1 << 20, BASE);
  const ring = new RawRing({ size: 8192, memory });
  for (let i = 0; i < 8192; i++) ring.put(i, BASE, 1 << 20, i < 8191 ? NEXT : 0, i + 1);
  ring.offer(0);
  assertEquals(ring.queue.pop(), undefined);
  assertStringIncludes(ring.faults[0]!, "2^32");
});

Deno.test("split queue: a geometry that cannot run says why", () => {
  const memory = new GuestMemory(1 << 16, BASE);
  const good = { size: 8, desc: BASE, avail: BASE + 128, used: BASE + 152 };
  assertEquals(checkGeometry(good, memory), undefined);
  const wrong = (change: Partial<typeof good>, says: string): void =>
    assertStringIncludes(checkGeometry({ ...good, ...change }, memory)!, says);
  wrong({ size: 0 }, "is not a power of two");
  wrong({ size: 6 }, "is not a power of two");
  wrong({ desc: BASE + 8 }, "descriptor table at 0x40000008 is not aligned");
  wrong({ avail: BASE + 129 }, "available ring at 0x40000081 is not aligned");
  wrong({ used: BASE + 154 }, "used ring at 0x4000009a is not aligned");
  wrong({ desc: 0 }, "outside guest memory");
  wrong({ used: BASE + (1 << 16) - 4 }, "outside guest memory");
  // 6 + 8 * 8 bytes of used ring just fit.
  assertEquals(checkGeometry({ ...good, used: BASE + (1 << 16) - 72 }, memory), undefined);
});

Deno.test("split queue: whatever is in memory, it ends, faults at most once, and writes only the used ring (property)", () => {
  const property = fc.property(
    fc.constantFrom(1, 8, 64),
    fc.boolean(),
    fc.boolean(),
    fc.integer({ min: 0, max: 0x7fffffff }),
    fc.integer({ min: 0, max: 3 }),
    (size, indirect, eventIdx, seed, tame) => {
      const memory = new GuestMemory(1 << 14, BASE);
      const ring = new RawRing({ size, indirect, eventIdx, memory });
      let state = seed | 1;
      const random = (): number => {
        state ^= state << 13;
        state ^= state >>> 17;
        state ^= state << 5;
        return state >>> 0;
      };
      for (let i = 0; i < memory.words32.length; i++) memory.words32[i] = random();
      // Half-way sane descriptors get further than noise.
      for (let i = 0; i < size && tame > 0; i++) {
        const address = BASE + (random() % (1 << 14) & ~15);
        ring.put(i, address, random() % 64 * (tame > 1 ? 16 : 1), random() % 8, random() % size);
      }
      ring.view.setUint16(ring.avail + 2, random() % (size + 1), true);
      if (tame > 2) {
        for (let i = 0; i < size; i++) ring.view.setUint16(ring.avail + 4 + 2 * i, i, true);
      }
      const before = memory.bytes.slice();
      const heads = ring.serve();
      assert(heads.length <= size);
      assert(ring.faults.length <= 1);
      const after = memory.bytes.slice();
      // §2.7.8: 6 bytes and 8 an entry.
      before.fill(0, ring.used, ring.used + 6 + 8 * size);
      after.fill(0, ring.used, ring.used + 6 + 8 * size);
      assertEquals(after, before);
    },
  );
  fc.assert(property, { seed: 42, numRuns: 400 });
});

Deno.test("split queue: a chain may have 2^32 bytes, and a table may begin where memory does", () => {
  const size = 64 << 20;
  const memory = new GuestMemory(size + 4096, BASE);
  for (const [bytes, fits] of [[size, true], [size + 64, false]] as const) {
    const ring = new RawRing({ size: 64, memory });
    for (let i = 0; i < 64; i++) {
      ring.put(i, BASE, i === 63 ? bytes : size, i === 63 ? WRITE : WRITE | NEXT, i + 1);
    }
    ring.offer(0);
    assertEquals(ring.queue.pop()?.writableLength, fits ? 2 ** 32 : undefined);
    assertEquals(ring.faults.length, fits ? 0 : 1);
  }
  const ring = new RawRing();
  ring.view.setBigUint64(0, BigInt(BUF), true);
  ring.view.setUint32(8, 5, true);
  ring.put(0, BASE, 16, INDIRECT);
  ring.offer(0);
  assertEquals([ring.queue.pop()?.readableLength, ring.faults], [5, []]);
});
