import type { Check } from "../check.ts";
import type { CheckContext } from "../context.ts";
import { DESC, FEATURE } from "../raw/registers.ts";
import type { RawDescriptor, RawSplit } from "../raw/ring.ts";
import {
  answersMany,
  answersPieces,
  at,
  hostileChecks,
  interrupts,
  interruptsFor,
  into,
  type Offence,
  places,
  readableRests,
  type RingRow,
  soundChecks,
  SPLIT,
  table,
  usesEach,
  usesInOrder,
} from "./_rings.ts";

const { NEXT, WRITE, INDIRECT } = DESC;

const ROWS: readonly RingRow<RawSplit>[] = [
  {
    name: "request",
    clauses: ["dev.split-ring.used-ring.1", "dev.split-ring.used-ring.2"],
    done: "a request is made",
    expected: "a used entry with the head's index, and a length that the device wrote",
    run: async (c) => void await c.exactRequest(),
  },
  {
    name: "many",
    clauses: ["dev.split-ring.used-ring.1"],
    done: "forty requests are made, one after the other, over several turns of the ring",
    expected: "each is answered once, in turn",
    run: answersMany,
  },
  {
    name: "batch",
    clauses: ["virtio 1.4 §2.7.13"],
    done: "several requests are made available before one notification",
    expected: "all are used, each once",
    run: usesEach,
  },
  {
    name: "descriptors-rest",
    clauses: ["dev.split-ring.desc-table.3"],
    done: "a request is made, and the descriptor table compared with what was written",
    expected: "it is unchanged",
    async run(c, ring) {
      await c.cleanRequest();
      const before = ring.arena.damage();
      c.equal("first changed byte", before, undefined);
    },
  },
  {
    name: "readable-rest",
    clauses: ["dev.split-ring.desc-table.1"],
    done: "a request is made, and its device-readable part compared with what was written",
    expected: "it is unchanged, and so is all memory around it",
    run: readableRests,
  },
  ...[1, 3, 16].map((bytes): RingRow<RawSplit> => ({
    name: `framing-${bytes}`,
    clauses: ["dev.split-ring.framing.1"],
    done: `each part of a request is split into descriptors of ${bytes} bytes`,
    expected: "the request is answered as before",
    scope: { face: "modern" },
    size: 256,
    run: (c, ring) => answersPieces(c, ring, bytes),
  })),
  {
    name: "framing-one",
    clauses: ["dev.split-ring.framing.1"],
    done: "the device-readable part of a request is one descriptor, and the writable part another",
    expected: "the request is answered as before",
    scope: { face: "modern" },
    async run(c) {
      const known = c.known;
      const all = new Uint8Array(known.readable.reduce((sum, { length }) => sum + length, 0));
      let at = 0;
      for (const part of known.readable) {
        all.set(part, at);
        at += part.length;
      }
      const room = known.writable.reduce((sum, length) => sum + length, 0);
      const segments = [
        ...all.length > 0 ? [c.readable(all)] : [],
        ...room > 0 ? [c.writable(room)] : [],
      ];
      known.check(c, await c.request(known.queue, segments));
    },
  },
  {
    name: "indirect",
    clauses: ["virtio 1.4 §2.7.5.3"],
    done: "a request is one descriptor that names an indirect table",
    expected: "it is answered",
    features: [FEATURE.INDIRECT_DESC],
    async run(c, ring) {
      const known = c.known;
      const segments = c.segments(known);
      const id = ring.add([c.indirect(segments, false)]);
      c.device.notify(known.queue);
      known.check(c, await c.reply(known.queue, id, segments));
    },
  },
  {
    name: "indirect-write-flag",
    clauses: ["dev.split-ring.indirect.1"],
    done: "the descriptor that names an indirect table has the WRITE flag",
    expected: "the flag means nothing, and the request is answered",
    features: [FEATURE.INDIRECT_DESC],
    async run(c, ring) {
      const known = c.known;
      const segments = c.segments(known);
      const table = c.indirect(segments, false);
      const id = ring.add([{ ...table, flags: table.flags | WRITE }]);
      c.device.notify(known.queue);
      known.check(c, await c.reply(known.queue, id, segments));
    },
  },
  {
    name: "indirect-after-plain",
    clauses: ["dev.split-ring.indirect.2"],
    done: "a chain of plain descriptors ends in one that names an indirect table",
    expected: "it is answered",
    features: [FEATURE.INDIRECT_DESC],
    async run(c, ring) {
      const known = c.known;
      const segments = c.segments(known);
      if (segments.length < 2) return c.skip("the request has one part");
      const [first, ...rest] = segments;
      const head = { ...c.chain([first!])[0]! };
      const id = ring.add([{ ...head, flags: head.flags | NEXT }, c.indirect(rest, false)]);
      c.device.notify(known.queue);
      known.check(c, await c.reply(known.queue, id, segments));
    },
  },
  {
    name: "interrupt",
    clauses: ["dev.split-ring.used-suppress.3"],
    done: "a request is made with avail.flags 0 and no EVENT_IDX",
    expected: "an interrupt",
    run: (c) => interrupts(c, true),
  },
  {
    name: "used-event-ignored",
    clauses: ["dev.split-ring.used-suppress.1"],
    done: "used_event names an entry far away, without EVENT_IDX",
    expected: "an interrupt all the same",
    async run(c, ring) {
      ring.event(1000);
      await interrupts(c, true);
    },
  },
  {
    name: "no-interrupt",
    clauses: ["dev.split-ring.used-suppress.2"],
    done: "avail.flags is 1, without EVENT_IDX",
    expected: "no interrupt for a used buffer",
    async run(c, ring) {
      ring.interrupts(false);
      await interrupts(c, false);
    },
  },
  {
    name: "event-next",
    clauses: ["dev.split-ring.used-suppress.5"],
    done: "with EVENT_IDX used_event names the next entry, five times",
    expected: "an interrupt each time",
    features: [FEATURE.EVENT_IDX],
    async run(c, ring) {
      for (let i = 0; i < 5; i++) {
        ring.event(0);
        c.equal(`interrupt ${i}`, await interruptsFor(c, true), true);
      }
    },
  },
  {
    name: "event-flags-ignored",
    clauses: ["dev.split-ring.used-suppress.4"],
    done: "with EVENT_IDX avail.flags is 1, and used_event names the next entry",
    expected: "an interrupt",
    features: [FEATURE.EVENT_IDX],
    async run(c, ring) {
      ring.flags(1);
      ring.event(0);
      await interrupts(c, true);
    },
  },
  {
    name: "event-later",
    clauses: ["dev.split-ring.used-suppress.6", "dev.split-ring.used-suppress.5"],
    done: "with EVENT_IDX used_event names the entry after the next, once one buffer was used",
    expected: "no interrupt for the next, and one for the other",
    features: [FEATURE.EVENT_IDX],
    async run(c, ring) {
      ring.event(0);
      await interruptsFor(c, true);
      ring.event(1);
      c.equal("interrupt for the next", await interruptsFor(c, false), false);
      c.equal("interrupt for the one after", await interruptsFor(c, true), true);
    },
  },
  {
    name: "event-used-flags",
    clauses: ["dev.split-ring.avail-suppress.2"],
    done: "used.flags is read with EVENT_IDX, before and after a request",
    expected: "0",
    features: [FEATURE.EVENT_IDX],
    async run(c, ring) {
      c.equal("used.flags before", ring.usedFlags, 0);
      await c.cleanRequest();
      c.equal("used.flags after", ring.usedFlags, 0);
    },
  },
  {
    name: "used-flags",
    clauses: ["dev.split-ring.avail-suppress.1"],
    done: "used.flags is read without EVENT_IDX, before and after a request",
    expected: "0 or 1",
    async run(c, ring) {
      c.expect("used.flags before", ring.usedFlags <= 1, ring.usedFlags, "0 or 1");
      await c.cleanRequest();
      c.expect("used.flags after", ring.usedFlags <= 1, ring.usedFlags, "0 or 1");
    },
  },
  {
    name: "needless-notifications",
    clauses: ["dev.split-ring.avail-suppress.3"],
    done: "the queue is notified of three times for one request",
    expected: "the request is used once",
    async run(c, ring) {
      await c.cleanRequest();
      for (let i = 0; i < 3; i++) c.device.notify(c.known.queue);
      await c.quiet();
      c.equal("buffers used", ring.usedCount(), 1);
    },
  },
  {
    name: "in-order",
    clauses: ["dev.basic.reserved-features.3"],
    done: "with IN_ORDER several requests are made available at once",
    expected: "used entries come in the order of the available ring",
    features: [FEATURE.IN_ORDER],
    run: usesInOrder,
  },
  {
    name: "notify-on-empty",
    clauses: ["dev.basic.legacy-reserved-features.1"],
    done: "with NOTIFY_ON_EMPTY a request empties the ring while avail.flags is 1",
    expected: "an interrupt all the same",
    features: [FEATURE.NOTIFY_ON_EMPTY],
    scope: { face: "legacy" },
    async run(c, ring) {
      ring.interrupts(false);
      await interrupts(c, true);
    },
  },
  {
    name: "legacy-layout",
    clauses: ["dev.split-ring.legacy-layout.1"],
    done: "the used ring of a legacy queue starts a page after the available ring",
    expected: "the device finds it there",
    scope: { face: "legacy" },
    async run(c, ring) {
      await c.cleanRequest();
      c.equal("used.idx", ring.usedCount(), 1);
    },
  },
];

/** An indirect table of raw descriptors. */
function tableOf(
  c: CheckContext,
  ring: RawSplit,
  entries: readonly RawDescriptor[],
  length: number = 16 * entries.length,
): RawDescriptor {
  return table(c, entries, length, (place, i, entry) => ring.descriptor(i, entry, place));
}

/** Writes descriptors from the first one on, and makes the first available. */
function chain(
  make: (c: CheckContext, ring: RawSplit) => readonly RawDescriptor[],
): Offence<RawSplit>["write"] {
  return (c, ring) => {
    make(c, ring).forEach((entry, i) => ring.descriptor(i, entry));
    ring.available(0);
  };
}

const OFFENCES: readonly Offence<RawSplit>[] = [
  {
    name: "head-out-of-range",
    done: "the available ring names a head beyond the table",
    clauses: ["virtio 1.4 §2.7.6"],
    write: (_, ring) => ring.available(ring.size),
  },
  {
    name: "head-65535",
    done: "the available ring names head 65535",
    clauses: ["virtio 1.4 §2.7.6"],
    write: (_, ring) => ring.available(0xffff),
  },
  {
    name: "index-jump",
    done: "the available index jumps by more than the size of the queue",
    clauses: ["drv.split-ring.avail-ring.1"],
    write: (_, ring) => ring.available(0, ring.size + 3),
  },
  {
    name: "index-back",
    done: "the available index goes back by one",
    clauses: ["drv.split-ring.avail-ring.1"],
    write: (_, ring) => ring.available(0, -1),
  },
  {
    name: "next-out-of-range",
    done: "NEXT names a descriptor beyond the table",
    clauses: ["virtio 1.4 §2.7.5"],
    write: chain((c, ring) => [{ ...at(c), flags: NEXT, next: ring.size }]),
  },
  {
    name: "next-65535",
    done: "NEXT names descriptor 65535",
    clauses: ["virtio 1.4 §2.7.5"],
    write: chain((c) => [{ ...at(c), flags: NEXT, next: 0xffff }]),
  },
  {
    name: "loop-of-one",
    done: "a descriptor names itself as the next",
    clauses: ["drv.split-ring.desc-table.1"],
    write: chain((c) => [{ ...at(c), flags: NEXT, next: 0 }]),
  },
  {
    name: "loop-of-two",
    done: "two descriptors name each other as the next",
    clauses: ["drv.split-ring.desc-table.1"],
    write: chain((c) => [{ ...at(c), flags: NEXT, next: 1 }, { ...at(c), flags: NEXT, next: 0 }]),
  },
  {
    name: "writable-loop",
    done: "a chain of device-writable descriptors is a loop",
    clauses: ["drv.split-ring.desc-table.1"],
    write: chain((
      c,
    ) => [{ ...into(c), flags: WRITE | NEXT, next: 1 }, {
      ...into(c),
      flags: WRITE | NEXT,
      next: 0,
    }]),
  },
  {
    name: "writable-first",
    done: "a device-writable descriptor comes before a device-readable one",
    clauses: ["drv.split-ring.framing.1"],
    write: chain((c) => [{ ...into(c), flags: WRITE | NEXT, next: 1 }, at(c)]),
  },
  {
    name: "no-memory",
    done: "a device-readable descriptor names an address without memory",
    clauses: ["dev.basic.status.2"],
    write: chain(() => [{ address: 0x7000_0000_0000, length: 16, flags: 0 }]),
  },
  {
    name: "no-memory-written",
    done: "a device-writable descriptor names an address without memory",
    clauses: ["dev.basic.status.2"],
    write: chain(() => [{ address: 0x7000_0000_0000, length: 16, flags: WRITE }]),
  },
  {
    name: "end-of-addresses",
    done: "a buffer goes past the end of 64-bit addresses",
    clauses: ["dev.basic.status.2"],
    write: chain(() => [{ address: 0xffff_ffff_ffff_fff0n, length: 64, flags: WRITE }]),
  },
  {
    name: "longest",
    done: "a device-writable buffer of 4 GiB less one byte is made available",
    clauses: ["drv.split-ring.desc-table.1"],
    write: chain(() => [{ address: 0xffff_0000_0000_0000n, length: 0xffffffff, flags: WRITE }]),
  },
  {
    name: "zero-length",
    done: "a descriptor of no bytes is made available",
    clauses: ["virtio 1.4 §2.7.5"],
    write: chain((c) => [{ ...at(c), length: 0 }]),
  },
  {
    name: "zero-length-written",
    done: "a device-writable descriptor of no bytes is made available",
    clauses: ["virtio 1.4 §2.7.5"],
    write: chain((c) => [{ ...into(c), length: 0 }]),
  },
  {
    name: "undefined-flags",
    done: "a descriptor has flags that are not defined",
    clauses: ["virtio 1.4 §2.7.5"],
    write: chain((c) => [{ ...at(c), flags: 0xfff8 }]),
  },
  {
    name: "same-head-twice",
    done: "the same head is made available twice at once",
    clauses: ["virtio 1.4 §2.7.13"],
    write(c, ring) {
      ring.descriptor(0, at(c));
      ring.available(0);
      ring.available(0);
    },
  },
  {
    name: "ring-full-of-one",
    done: "the same head fills the whole available ring",
    clauses: ["virtio 1.4 §2.7.13"],
    write(c, ring) {
      ring.descriptor(0, at(c));
      for (let i = 0; i < ring.size; i++) ring.available(0);
    },
  },
  {
    name: "ring-itself",
    done: "a device-writable buffer is the descriptor table",
    clauses: ["dev.basic.status.2"],
    write(c, ring) {
      c.arena.lend(ring.parts.desc, 16 * ring.size);
      const address = c.arena.address(ring.parts.desc);
      ring.descriptor(0, { address, length: 16 * ring.size, flags: WRITE });
      ring.available(0);
    },
  },
  {
    name: "indirect-not-negotiated",
    done: "INDIRECT is used without INDIRECT_DESC",
    clauses: ["drv.split-ring.indirect.1"],
    write: chain((c, ring) => [tableOf(c, ring, [at(c)])]),
  },
  {
    name: "indirect-nested",
    done: "an indirect table holds a descriptor that names another table",
    clauses: ["drv.split-ring.indirect.2"],
    features: [FEATURE.INDIRECT_DESC],
    write: chain((c, ring) => [tableOf(c, ring, [tableOf(c, ring, [at(c)])])]),
  },
  {
    name: "indirect-and-next",
    done: "a descriptor has INDIRECT and NEXT",
    clauses: ["drv.split-ring.indirect.4"],
    features: [FEATURE.INDIRECT_DESC],
    write: chain((c, ring) => {
      const entry = tableOf(c, ring, [at(c)]);
      return [{ ...entry, flags: INDIRECT | NEXT, next: 1 }, at(c)];
    }),
  },
  {
    name: "indirect-empty",
    done: "an indirect table has no bytes",
    clauses: ["virtio 1.4 §2.7.5.3"],
    features: [FEATURE.INDIRECT_DESC],
    write: chain((c, ring) => [tableOf(c, ring, [at(c)], 0)]),
  },
  {
    name: "indirect-odd-length",
    done: "an indirect table has 17 bytes",
    clauses: ["virtio 1.4 §2.7.5.3"],
    features: [FEATURE.INDIRECT_DESC],
    write: chain((c, ring) => [tableOf(c, ring, [at(c)], 17)]),
  },
  {
    name: "indirect-no-memory",
    done: "an indirect table is at an address without memory",
    clauses: ["dev.basic.status.2"],
    features: [FEATURE.INDIRECT_DESC],
    write: chain(() => [{ address: 0x7000_0000_0000, length: 16, flags: INDIRECT }]),
  },
  {
    name: "indirect-loop",
    done: "the entries of an indirect table are a loop",
    clauses: ["drv.split-ring.desc-table.1"],
    features: [FEATURE.INDIRECT_DESC],
    write: chain((c, ring) => {
      const entry = { ...at(c), flags: NEXT, next: 0 };
      return [tableOf(c, ring, [entry])];
    }),
  },
  {
    name: "indirect-next-out-of-range",
    done: "an entry of an indirect table names one beyond it",
    clauses: ["virtio 1.4 §2.7.5.3"],
    features: [FEATURE.INDIRECT_DESC],
    write: chain((c, ring) => [tableOf(c, ring, [{ ...at(c), flags: NEXT, next: 9 }])]),
  },
  {
    name: "indirect-huge",
    done: "an indirect table claims 4 GiB less 16 bytes",
    clauses: ["drv.split-ring.indirect.3"],
    features: [FEATURE.INDIRECT_DESC],
    write: chain((c, ring) => [tableOf(c, ring, [at(c)], 0xfffffff0)]),
  },
  {
    name: "indirect-writable-first",
    done: "a device-writable entry of an indirect table comes before a device-readable one",
    clauses: ["drv.split-ring.framing.1"],
    features: [FEATURE.INDIRECT_DESC],
    write: chain((c, ring) => {
      const first = { ...into(c), flags: WRITE | NEXT, next: 1 };
      return [tableOf(c, ring, [first, at(c)])];
    }),
  },
];

/** Writes chains of random descriptors; the seed of the run gives others. */
function random(c: CheckContext, ring: RawSplit): void {
  const { random } = c;
  const all = places(c);
  for (let index = 0; index < ring.size; index++) {
    const place = random.pick(all);
    const flags = place.flags | (random.below(2) * NEXT) | (random.below(8) === 0 ? INDIRECT : 0);
    const length = random.pick([place.length, 0, 1, place.length >> 1]);
    ring.descriptor(index, { ...place, length, flags, next: random.below(ring.size + 2) });
  }
  for (let n = 0; n < 6; n++) ring.available(random.below(ring.size));
}

const RANDOM: readonly Offence<RawSplit>[] = Array.from({ length: 8 }, (_, i) => ({
  name: `random-${i}`,
  done: "the table and the available ring are filled at random, by the seed of the run",
  expected: "the device writes nothing that it was not given, and after a reset works as before",
  clauses: ["dev.basic.status.2", "dev.basic.reset.1"],
  accepts: [FEATURE.INDIRECT_DESC],
  write: random,
}));

/** Split rings. */
export const SPLIT_CHECKS: readonly Check[] = [
  ...soundChecks(SPLIT, ROWS),
  ...hostileChecks(SPLIT, OFFENCES),
  ...hostileChecks(SPLIT, RANDOM),
];
