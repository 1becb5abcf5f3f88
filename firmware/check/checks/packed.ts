import type { Check } from "../check.ts";
import type { CheckContext } from "../context.ts";
import { DESC, FEATURE } from "../raw/registers.ts";
import type { RawDescriptor, RawPacked } from "../raw/ring.ts";
import {
  answersMany,
  answersPieces,
  at,
  hostileChecks,
  interrupts,
  interruptsFor,
  into,
  type Offence,
  PACKED,
  places,
  readableRests,
  type RingRow,
  soundChecks,
  table,
  usesEach,
} from "./_rings.ts";

const { NEXT, WRITE, INDIRECT } = DESC;

const ROWS: readonly RingRow<RawPacked>[] = [
  {
    name: "request",
    clauses: ["dev.packed-ring.layout.1"],
    done: "a request is made",
    expected: "a used descriptor with its id, and a length that the device wrote",
    run: async (c) => void await c.exactRequest(),
  },
  {
    name: "many",
    clauses: ["dev.packed-ring.layout.2", "dev.packed-ring.desc-table.3"],
    done: "forty requests are made, one after the other, over several turns of the wrap counter",
    expected: "each is answered once, in turn",
    run: answersMany,
  },
  {
    name: "batch",
    clauses: ["dev.packed-ring.layout.1", "dev.packed-ring.layout.2"],
    done: "several requests are made available before one notification",
    expected: "all are used, each once",
    run: usesEach,
  },
  {
    name: "not-available",
    clauses: ["dev.packed-ring.desc-table.3"],
    done: "a request is written whose flags do not make it available, and the queue is notified of",
    expected: "nothing is used",
    async run(c, ring) {
      const { queue } = c.known;
      ring.write(c.chain(c.segments()), 0, false);
      const before = c.arena.get(ring.parts.desc, 16 * ring.size);
      c.device.notify(queue);
      await c.quiet();
      c.equal("descriptors", c.arena.get(ring.parts.desc, 16 * ring.size), before);
    },
  },
  {
    name: "used-rest",
    clauses: ["dev.packed-ring.desc-table.4"],
    done:
      "a request is answered, and its used descriptor looked at again after a needless notification",
    expected: "it is unchanged",
    async run(c, ring) {
      await c.cleanRequest();
      const before = c.arena.get(ring.parts.desc, 16 * ring.size);
      c.device.notify(c.known.queue);
      await c.quiet();
      c.equal("descriptors", c.arena.get(ring.parts.desc, 16 * ring.size), before);
    },
  },
  {
    name: "readable-rest",
    clauses: ["dev.packed-ring.desc-table.1"],
    done: "a request is made, and its device-readable part compared with what was written",
    expected: "it is unchanged, and so is all memory around it",
    run: readableRests,
  },
  {
    name: "list",
    clauses: ["dev.packed-ring.sg.1"],
    done: "the parts of a request are split into descriptors of 16 bytes, in a list",
    expected: "the request is answered as before",
    size: 64,
    run: (c, ring) => answersPieces(c, ring, 16),
  },
  {
    name: "odd-size",
    clauses: ["virtio 1.4 §2.8.10.1"],
    done: "the ring has 7 descriptors, and twenty requests are made",
    expected: "each is answered",
    size: 7,
    async run(c) {
      for (let i = 0; i < 20; i++) await c.cleanRequest();
    },
  },
  {
    name: "write-flag",
    clauses: ["virtio 1.4 §2.8.4"],
    done:
      "a request with a device-writable part is answered, and the flags of its used descriptor read",
    expected: "WRITE is set if and only if the used length means something",
    async run(c, ring) {
      if (c.known.writable.length === 0) return c.skip("the request has no device-writable part");
      await c.cleanRequest();
      const flags = c.arena.get16(ring.parts.desc + 14);
      c.equal("WRITE of the used descriptor", flags & WRITE, WRITE);
    },
  },
  {
    name: "indirect",
    clauses: ["virtio 1.4 §2.8.7"],
    done: "a request is one descriptor that names an indirect table",
    expected: "it is answered",
    features: [FEATURE.INDIRECT_DESC],
    async run(c, ring) {
      const known = c.known;
      const segments = c.segments(known);
      const id = ring.add([c.indirect(segments, true)]);
      c.device.notify(known.queue);
      const reply = await c.reply(known.queue, id, segments);
      c.equal("id", reply.used.id, id);
      known.check(c, reply);
    },
  },
  {
    name: "interrupt",
    clauses: ["virtio 1.4 §2.8.10"],
    done: "a request is made with the event flags at ENABLE",
    expected: "an interrupt",
    run: (c) => interrupts(c, true),
  },
  {
    name: "no-interrupt",
    clauses: ["virtio 1.4 §2.8.10"],
    done: "a request is made with the event flags at DISABLE",
    expected: "no interrupt",
    async run(c, ring) {
      ring.interrupts(false);
      await interrupts(c, false);
    },
  },
  {
    name: "event",
    clauses: ["virtio 1.4 §2.8.10"],
    done: "with EVENT_IDX an event is asked for at the descriptor of the next request",
    expected: "an interrupt",
    features: [FEATURE.EVENT_IDX],
    async run(c, ring) {
      ring.event(0);
      await interrupts(c, true);
    },
  },
  {
    name: "event-later",
    clauses: ["virtio 1.4 §2.8.10"],
    done: "with EVENT_IDX an event is asked for far behind the next request",
    expected: "no interrupt",
    features: [FEATURE.EVENT_IDX],
    async run(c, ring) {
      ring.event(0);
      await interruptsFor(c, true);
      ring.event(10);
      await interrupts(c, false);
    },
  },
  {
    name: "in-order",
    clauses: ["dev.basic.reserved-features.3"],
    done: "with IN_ORDER several requests are made available at once",
    expected: "they are used in that order",
    features: [FEATURE.IN_ORDER],
    async run(c, ring) {
      const known = c.known;
      const ids = [0, 1].map(() => ring.add(c.chain(c.segments(known))));
      c.device.notify(known.queue);
      await c.until(() => ring.usedCount() === ids.length);
      c.equal("ids", ring.used().map(({ id }) => id).join(), ids.join());
    },
  },
  {
    name: "queue-reset",
    clauses: ["dev.basic.vq-reset.2"],
    done: "a queue that was used is reset, and started again",
    expected: "it begins at the start of the ring with a wrap counter of 1, and answers",
    features: [FEATURE.RING_RESET],
    async run(c) {
      const { queue } = c.known;
      for (let i = 0; i < 3; i++) await c.cleanRequest();
      c.device.select(queue);
      c.device.resetQueue();
      c.expect("reset", await c.until(() => c.device.queueReset() === 0), 1, "0x0");
      c.setUp(queue);
      await c.cleanRequest();
    },
  },
];

/** An indirect table of entries with these flags. */
function tableOf(
  c: CheckContext,
  entries: readonly RawDescriptor[],
  length: number = 16 * entries.length,
): RawDescriptor {
  return table(c, entries, length, (place, i, entry) => {
    c.arena.putAddress(place + 16 * i, entry.address);
    c.arena.put32(place + 16 * i + 8, entry.length);
    c.arena.put16(place + 16 * i + 12, 0);
    c.arena.put16(place + 16 * i + 14, entry.flags);
  });
}

const OFFENCES: readonly Offence<RawPacked>[] = [
  {
    name: "endless-list",
    done: "every descriptor of the ring has NEXT",
    clauses: ["drv.packed-ring.sg.2"],
    write(c, ring) {
      ring.write(Array.from({ length: ring.size }, () => ({ ...at(c), flags: NEXT })), 0);
    },
  },
  {
    name: "open-list",
    done: "the last descriptor of a list has NEXT, and none follows",
    clauses: ["drv.packed-ring.sg.6"],
    write: (c, ring) => ring.write([{ ...at(c), flags: NEXT }], 0),
  },
  {
    name: "writable-first",
    done: "a device-writable descriptor comes before a device-readable one",
    clauses: ["drv.packed-ring.sg.3"],
    write: (c, ring) => ring.write([{ ...into(c), flags: WRITE | NEXT }, at(c)], 0),
  },
  {
    name: "id-65535",
    done: "a buffer has the id 65535",
    clauses: ["virtio 1.4 §2.8.1"],
    write: (c, ring) => ring.write([at(c)], 0xffff),
  },
  {
    name: "no-memory",
    done: "a device-readable descriptor names an address without memory",
    clauses: ["dev.basic.status.2"],
    write: (_, ring) => ring.write([{ address: 0x7000_0000_0000, length: 16, flags: 0 }], 0),
  },
  {
    name: "no-memory-written",
    done: "a device-writable descriptor names an address without memory",
    clauses: ["dev.basic.status.2"],
    write: (_, ring) => ring.write([{ address: 0x7000_0000_0000, length: 16, flags: WRITE }], 0),
  },
  {
    name: "end-of-addresses",
    done: "a buffer goes past the end of 64-bit addresses",
    clauses: ["dev.basic.status.2"],
    write(_, ring) {
      ring.write([{ address: 0xffff_ffff_ffff_fff0n, length: 64, flags: WRITE }], 0);
    },
  },
  {
    name: "zero-length",
    done: "a descriptor of no bytes is made available",
    clauses: ["virtio 1.4 §2.8.5"],
    write: (c, ring) => ring.write([{ ...at(c), length: 0 }], 0),
  },
  {
    name: "undefined-flags",
    done: "a descriptor has flags that are not defined",
    clauses: ["virtio 1.4 §2.8.1"],
    write: (c, ring) => ring.write([{ ...at(c), flags: 0x7f78 & ~0x80 }], 0),
  },
  {
    name: "same-id-twice",
    done: "two buffers with the same id are made available",
    clauses: ["virtio 1.4 §2.8.1"],
    write(c, ring) {
      ring.write([at(c)], 5);
      ring.write([at(c)], 5);
    },
  },
  {
    name: "ring-itself",
    done: "a device-writable buffer is the descriptor ring",
    clauses: ["dev.basic.status.2"],
    write(c, ring) {
      const address = c.arena.address(ring.parts.desc);
      ring.write([{ address, length: 16 * ring.size, flags: WRITE }], 0);
    },
  },
  {
    name: "event-beyond-ring",
    done: "the driver's event names a descriptor beyond the ring",
    clauses: ["virtio 1.4 §2.8.10"],
    features: [FEATURE.EVENT_IDX],
    write(c, ring) {
      c.arena.put16(ring.parts.driver, 0x7fff);
      c.arena.put16(ring.parts.driver + 2, 2);
      ring.write([at(c)], 0);
    },
  },
  {
    name: "event-flags-3",
    done: "the driver's event flags are 3, which is reserved",
    clauses: ["virtio 1.4 §2.8.14"],
    write(c, ring) {
      c.arena.put16(ring.parts.driver + 2, 3);
      ring.write([at(c)], 0);
    },
  },
  {
    name: "indirect-not-negotiated",
    done: "INDIRECT is used without INDIRECT_DESC",
    clauses: ["drv.packed-ring.indirect.1"],
    write: (c, ring) => ring.write([tableOf(c, [at(c)])], 0),
  },
  {
    name: "indirect-nested",
    done: "an indirect table holds a descriptor that names another table",
    clauses: ["drv.packed-ring.indirect.2"],
    features: [FEATURE.INDIRECT_DESC],
    write: (c, ring) => ring.write([tableOf(c, [tableOf(c, [at(c)])])], 0),
  },
  {
    name: "indirect-and-next",
    done: "a descriptor with INDIRECT is part of a list",
    clauses: ["drv.packed-ring.indirect.4"],
    features: [FEATURE.INDIRECT_DESC],
    write(c, ring) {
      const entry = tableOf(c, [at(c)]);
      ring.write([{ ...entry, flags: INDIRECT | NEXT }, at(c)], 0);
    },
  },
  {
    name: "indirect-empty",
    done: "an indirect table has no bytes",
    clauses: ["virtio 1.4 §2.8.7"],
    features: [FEATURE.INDIRECT_DESC],
    write: (c, ring) => ring.write([tableOf(c, [at(c)], 0)], 0),
  },
  {
    name: "indirect-odd-length",
    done: "an indirect table has 17 bytes",
    clauses: ["virtio 1.4 §2.8.7"],
    features: [FEATURE.INDIRECT_DESC],
    write: (c, ring) => ring.write([tableOf(c, [at(c)], 17)], 0),
  },
  {
    name: "indirect-no-memory",
    done: "an indirect table is at an address without memory",
    clauses: ["dev.basic.status.2"],
    features: [FEATURE.INDIRECT_DESC],
    write: (_, ring) => ring.write([{ address: 0x7000_0000_0000, length: 16, flags: INDIRECT }], 0),
  },
  {
    name: "indirect-huge",
    done: "an indirect table claims 4 GiB less 16 bytes",
    clauses: ["drv.packed-ring.indirect.3"],
    features: [FEATURE.INDIRECT_DESC],
    write: (c, ring) => ring.write([tableOf(c, [at(c)], 0xfffffff0)], 0),
  },
  {
    name: "indirect-writable-first",
    done: "a device-writable entry of an indirect table comes before a device-readable one",
    clauses: ["drv.packed-ring.sg.3"],
    features: [FEATURE.INDIRECT_DESC],
    write: (c, ring) => ring.write([tableOf(c, [into(c), at(c)])], 0),
  },
  ...Array.from({ length: 6 }, (_, i) => ({
    name: `random-${i}`,
    done: "the ring is filled at random, by the seed of the run",
    clauses: ["dev.basic.status.2", "dev.basic.reset.1"],
    features: [FEATURE.INDIRECT_DESC],
    write(c: CheckContext, ring: RawPacked) {
      const { random } = c;
      const all = places(c);
      for (let n = 0; n < 6; n++) {
        const list = Array.from({ length: 1 + random.below(3) }, () => {
          const place = random.pick(all);
          const more = random.below(4) === 0 ? NEXT : random.below(8) === 0 ? INDIRECT : 0;
          return { ...place, flags: place.flags | more };
        });
        ring.write(list, random.below(0x10000));
      }
    },
  })),
];

/** Packed rings. */
export const PACKED_CHECKS: readonly Check[] = [
  ...soundChecks(PACKED, ROWS),
  ...hostileChecks(PACKED, OFFENCES),
];
