import type { Check } from "../check.ts";
import type { CheckContext } from "../context.ts";
import { CAUSE, DESC, FEATURE } from "../raw/registers.ts";
import type { RawDescriptor, RawPacked } from "../raw/ring.ts";

const { NEXT, WRITE, INDIRECT } = DESC;
const PACKED = [FEATURE.RING_PACKED] as const;
const MODERN = { face: "modern" } as const;

async function up(c: CheckContext, ...features: number[]): Promise<RawPacked> {
  await c.init({ features, packed: true });
  return c.packed(c.known.queue);
}

async function interruptsFor(c: CheckContext, expected: boolean): Promise<boolean> {
  c.device.causes();
  await c.cleanRequest();
  let causes = 0;
  return await c.until(
    () => ((causes |= c.device.causes()) & CAUSE.QUEUE) !== 0,
    expected ? undefined : c.rest,
  );
}

/** A row without the parts that all sound checks of packed rings share. */
type Row = Pick<Check, "clauses" | "done" | "expected" | "run"> & {
  readonly name: string;
  readonly features?: readonly number[];
};

const ROWS: readonly Row[] = [
  {
    name: "request",
    clauses: ["dev.packed-ring.layout.1"],
    done: "a request is made",
    expected: "a used descriptor with its id, and a length that the device wrote",
    async run(c) {
      await up(c);
      await c.exactRequest();
    },
  },
  {
    name: "many",
    clauses: ["dev.packed-ring.layout.2", "dev.packed-ring.desc-table.3"],
    done: "forty requests are made, one after the other, over several turns of the wrap counter",
    expected: "each is answered once, in turn",
    async run(c) {
      const ring = await up(c);
      for (let i = 0; i < 40; i++) await c.cleanRequest();
      c.equal("buffers used", ring.usedCount(), 40);
    },
  },
  {
    name: "batch",
    clauses: ["dev.packed-ring.layout.1", "dev.packed-ring.layout.2"],
    done: "several requests are made available before one notification",
    expected: "all are used, each once",
    async run(c) {
      const ring = await up(c);
      const known = c.known;
      const each = known.readable.length + known.writable.length;
      const count = Math.max(1, Math.min(4, Math.floor(ring.size / each)));
      const ids = Array.from({ length: count }, () => ring.add(c.chain(c.segments(known))));
      c.device.notify(known.queue);
      await c.until(() => ring.usedCount() === count);
      const used = ring.used().map(({ id }) => id).sort((a, b) => a - b);
      c.equal("ids that were used", used.join(), ids.join());
    },
  },
  {
    name: "not-available",
    clauses: ["dev.packed-ring.desc-table.3"],
    done: "a request is written whose flags do not make it available, and the queue is notified of",
    expected: "nothing is used",
    async run(c) {
      const ring = await up(c);
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
    async run(c) {
      const ring = await up(c);
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
    async run(c) {
      await up(c);
      const known = c.known;
      const segments = c.segments(known);
      const read = (): string =>
        segments.filter(({ write }) => !write)
          .map(({ at, length }) => c.arena.get(at, length).toHex()).join(" ");
      const before = read();
      await c.request(known.queue, segments);
      c.equal("device-readable part", read(), before);
    },
  },
  {
    name: "list",
    clauses: ["dev.packed-ring.sg.1"],
    done: "the parts of a request are split into descriptors of 16 bytes, in a list",
    expected: "the request is answered as before",
    async run(c) {
      await c.init({ packed: true, size: 64 });
      const known = c.known;
      const ring = c.packed(known.queue);
      const cut = (length: number): number[] =>
        Array.from({ length: Math.ceil(length / 16) }, (_, i) => Math.min(16, length - i * 16));
      const segments = [
        ...known.readable.flatMap((bytes) =>
          cut(bytes.length).map((length, i) => c.readable(bytes.slice(i * 16, i * 16 + length)))
        ),
        ...known.writable.flatMap((length) => cut(length).map((part) => c.writable(part))),
      ];
      if (segments.length > ring.size) return c.skip("the request has more pieces than the ring");
      known.check(c, await c.request(known.queue, segments));
    },
  },
  {
    name: "odd-size",
    clauses: ["virtio 1.4 §2.8.10.1"],
    done: "the ring has 7 descriptors, and twenty requests are made",
    expected: "each is answered",
    async run(c) {
      await c.init({ packed: true, size: 7 });
      for (let i = 0; i < 20; i++) await c.cleanRequest();
    },
  },
  {
    name: "write-flag",
    clauses: ["virtio 1.4 §2.8.4"],
    done:
      "a request with a device-writable part is answered, and the flags of its used descriptor read",
    expected: "WRITE is set if and only if the used length means something",
    async run(c) {
      const ring = await up(c);
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
    async run(c) {
      const ring = await up(c, FEATURE.INDIRECT_DESC);
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
    async run(c) {
      await up(c);
      c.equal("interrupt", await interruptsFor(c, true), true);
    },
  },
  {
    name: "no-interrupt",
    clauses: ["virtio 1.4 §2.8.10"],
    done: "a request is made with the event flags at DISABLE",
    expected: "no interrupt",
    async run(c) {
      const ring = await up(c);
      ring.interrupts(false);
      c.equal("interrupt", await interruptsFor(c, false), false);
    },
  },
  {
    name: "event",
    clauses: ["virtio 1.4 §2.8.10"],
    done: "with EVENT_IDX an event is asked for at the descriptor of the next request",
    expected: "an interrupt",
    features: [FEATURE.EVENT_IDX],
    async run(c) {
      const ring = await up(c, FEATURE.EVENT_IDX);
      ring.event(0);
      c.equal("interrupt", await interruptsFor(c, true), true);
    },
  },
  {
    name: "event-later",
    clauses: ["virtio 1.4 §2.8.10"],
    done: "with EVENT_IDX an event is asked for far behind the next request",
    expected: "no interrupt",
    features: [FEATURE.EVENT_IDX],
    async run(c) {
      const ring = await up(c, FEATURE.EVENT_IDX);
      ring.event(0);
      await interruptsFor(c, true);
      ring.event(10);
      c.equal("interrupt", await interruptsFor(c, false), false);
    },
  },
  {
    name: "in-order",
    clauses: ["dev.basic.reserved-features.3"],
    done: "with IN_ORDER several requests are made available at once",
    expected: "they are used in that order",
    features: [FEATURE.IN_ORDER],
    async run(c) {
      const ring = await up(c, FEATURE.IN_ORDER);
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
      await up(c, FEATURE.RING_RESET);
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

const sound: Check[] = ROWS.map(({ name, features = [], ...row }) => ({
  id: `packed.${name}`,
  ...row,
  offers: [...PACKED, ...features],
  request: true,
  scope: MODERN,
}));

const at = (c: CheckContext, length = 16): RawDescriptor => {
  const { at } = c.readable(new Uint8Array(length));
  return { address: c.arena.address(at), length, flags: 0 };
};
const into = (c: CheckContext, length = 16): RawDescriptor => {
  const { at } = c.writable(length);
  return { address: c.arena.address(at), length, flags: WRITE };
};
/** An indirect table of entries with these flags. */
function table(
  c: CheckContext,
  entries: readonly RawDescriptor[],
  length = 16 * entries.length,
): RawDescriptor {
  const place = c.arena.take(16 * Math.max(1, entries.length));
  entries.forEach((entry, i) => {
    c.arena.putAddress(place + 16 * i, entry.address);
    c.arena.put32(place + 16 * i + 8, entry.length);
    c.arena.put16(place + 16 * i + 12, 0);
    c.arena.put16(place + 16 * i + 14, entry.flags);
  });
  return { address: c.arena.address(place), length, flags: INDIRECT };
}
const indirect = [FEATURE.INDIRECT_DESC];

const OFFENCES: readonly {
  readonly name: string;
  readonly done: string;
  readonly clauses: readonly string[];
  readonly features?: readonly number[];
  write(c: CheckContext, ring: RawPacked): void;
}[] = [
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
    write: (c, ring) => ring.write([table(c, [at(c)])], 0),
  },
  {
    name: "indirect-nested",
    done: "an indirect table holds a descriptor that names another table",
    clauses: ["drv.packed-ring.indirect.2"],
    features: indirect,
    write: (c, ring) => ring.write([table(c, [table(c, [at(c)])])], 0),
  },
  {
    name: "indirect-and-next",
    done: "a descriptor with INDIRECT is part of a list",
    clauses: ["drv.packed-ring.indirect.4"],
    features: indirect,
    write(c, ring) {
      const entry = table(c, [at(c)]);
      ring.write([{ ...entry, flags: INDIRECT | NEXT }, at(c)], 0);
    },
  },
  {
    name: "indirect-empty",
    done: "an indirect table has no bytes",
    clauses: ["virtio 1.4 §2.8.7"],
    features: indirect,
    write: (c, ring) => ring.write([table(c, [at(c)], 0)], 0),
  },
  {
    name: "indirect-odd-length",
    done: "an indirect table has 17 bytes",
    clauses: ["virtio 1.4 §2.8.7"],
    features: indirect,
    write: (c, ring) => ring.write([table(c, [at(c)], 17)], 0),
  },
  {
    name: "indirect-no-memory",
    done: "an indirect table is at an address without memory",
    clauses: ["dev.basic.status.2"],
    features: indirect,
    write: (_, ring) => ring.write([{ address: 0x7000_0000_0000, length: 16, flags: INDIRECT }], 0),
  },
  {
    name: "indirect-huge",
    done: "an indirect table claims 4 GiB less 16 bytes",
    clauses: ["drv.packed-ring.indirect.3"],
    features: indirect,
    write: (c, ring) => ring.write([table(c, [at(c)], 0xfffffff0)], 0),
  },
  {
    name: "indirect-writable-first",
    done: "a device-writable entry of an indirect table comes before a device-readable one",
    clauses: ["drv.packed-ring.sg.3"],
    features: indirect,
    write: (c, ring) => ring.write([table(c, [into(c), at(c)])], 0),
  },
  ...Array.from({ length: 6 }, (_, i) => ({
    name: `random-${i}`,
    done: "the ring is filled at random, by the seed of the run",
    clauses: ["dev.basic.status.2", "dev.basic.reset.1"],
    features: indirect,
    write(c: CheckContext, ring: RawPacked) {
      const { random } = c;
      const places = [at(c, 64), into(c, 64), at(c, 8), into(c, 8)];
      for (let n = 0; n < 6; n++) {
        const list = Array.from({ length: 1 + random.below(3) }, () => {
          const place = random.pick(places);
          const more = random.below(4) === 0 ? NEXT : random.below(8) === 0 ? INDIRECT : 0;
          return { ...place, flags: place.flags | more };
        });
        ring.write(list, random.below(0x10000));
      }
    },
  })),
];

const hostile: Check[] = OFFENCES.map(({ name, done, clauses, features = [], write }) => ({
  id: `packed.hostile.${name}`,
  clauses: [...new Set([...clauses, "dev.basic.status.3"])],
  done,
  expected: "the device stops or answers, writes nothing else, and after a reset works as before",
  hostile: true,
  request: true,
  offers: [...PACKED, ...features],
  scope: MODERN,
  async run(c) {
    const ring = await up(c, ...features);
    write(c, ring);
    c.device.notify(c.known.queue);
    await c.quiet();
  },
}));

/** Packed rings. */
export const PACKED_CHECKS: readonly Check[] = [...sound, ...hostile];
