import type { Check } from "../check.ts";
import type { CheckContext, Segment } from "../context.ts";
import { CAUSE, DESC, FEATURE } from "../raw/registers.ts";
import type { RawDescriptor, RawSplit } from "../raw/ring.ts";

const { NEXT, WRITE, INDIRECT } = DESC;

/** Brings the device up with features, and gives the ring of the known request. */
async function up(c: CheckContext, ...features: number[]): Promise<RawSplit> {
  await c.init({ features });
  return c.split(c.known.queue);
}

/** Makes the known request and waits; whether the device interrupted for it. */
async function interruptsFor(c: CheckContext, expected: boolean): Promise<boolean> {
  c.device.causes();
  const { queue } = c.known;
  c.offer(queue, c.chain(c.segments()));
  c.expect("answer", await c.take(queue) !== undefined, "none", "a used buffer");
  let causes = 0;
  const told = await c.until(
    () => ((causes |= c.device.causes()) & CAUSE.QUEUE) !== 0,
    expected ? undefined : c.rest,
  );
  return told;
}

/** Splits each segment into pieces of at most some bytes. */
function pieces(c: CheckContext, size: number): Segment[] {
  const known = c.known;
  const cut = (length: number): number[] =>
    Array.from({ length: Math.ceil(length / size) }, (_, i) => Math.min(size, length - i * size));
  return [
    ...known.readable.flatMap((bytes) =>
      cut(bytes.length).map((length, i) => c.readable(bytes.slice(i * size, i * size + length)))
    ),
    ...known.writable.flatMap((length) => cut(length).map((part) => c.writable(part))),
  ];
}

const sound: Check[] = [
  {
    id: "split.request",
    clauses: ["dev.split-ring.used-ring.1", "dev.split-ring.used-ring.2"],
    done: "a request is made",
    expected: "a used entry with the head's index, and a length that the device wrote",
    request: true,
    async run(c) {
      await up(c);
      await c.exactRequest();
    },
  },
  {
    id: "split.many",
    clauses: ["dev.split-ring.used-ring.1"],
    done: "forty requests are made, one after the other, over several turns of the ring",
    expected: "each is answered once, in turn",
    request: true,
    async run(c) {
      const ring = await up(c);
      for (let i = 0; i < 40; i++) await c.cleanRequest();
      c.equal("buffers used", ring.usedCount(), 40);
    },
  },
  {
    id: "split.batch",
    clauses: ["virtio 1.4 §2.7.13"],
    done: "several requests are made available before one notification",
    expected: "all are used, each once",
    request: true,
    async run(c) {
      const ring = await up(c);
      const known = c.known;
      const each = known.readable.length + known.writable.length;
      const count = Math.max(1, Math.min(4, Math.floor(ring.size / each)));
      const ids = Array.from({ length: count }, () => ring.add(c.chain(c.segments(known))));
      c.device.notify(known.queue);
      await c.until(() => ring.usedCount() === count);
      const used = ring.used().map(({ id }) => id).sort((a, b) => a - b);
      c.equal("ids that were used", used.join(), ids.sort((a, b) => a - b).join());
    },
  },
  {
    id: "split.descriptors-rest",
    clauses: ["dev.split-ring.desc-table.3"],
    done: "a request is made, and the descriptor table compared with what was written",
    expected: "it is unchanged",
    request: true,
    async run(c) {
      const ring = await up(c);
      await c.cleanRequest();
      const before = ring.arena.damage();
      c.equal("first changed byte", before, undefined);
    },
  },
  {
    id: "split.readable-rest",
    clauses: ["dev.split-ring.desc-table.1"],
    done: "a request is made, and its device-readable part compared with what was written",
    expected: "it is unchanged, and so is all memory around it",
    request: true,
    async run(c) {
      await up(c);
      const known = c.known;
      const segments = c.segments(known);
      const before = segments.filter(({ write }) => !write)
        .map(({ at, length }) => c.arena.get(at, length).toHex());
      await c.request(known.queue, segments);
      const after = segments.filter(({ write }) => !write)
        .map(({ at, length }) => c.arena.get(at, length).toHex());
      c.equal("device-readable part", after.join(" "), before.join(" "));
    },
  },
  ...[1, 3, 16].map((size): Check => ({
    id: `split.framing-${size}`,
    clauses: ["dev.split-ring.framing.1"],
    done: `each part of a request is split into descriptors of ${size} bytes`,
    expected: "the request is answered as before",
    request: true,
    scope: { face: "modern" },
    async run(c) {
      await c.init({ size: 256 });
      const known = c.known;
      const segments = pieces(c, size);
      const ring = c.split(known.queue);
      if (segments.length > ring.size) return c.skip("the request has more pieces than the ring");
      known.check(c, await c.request(known.queue, segments));
    },
  })),
  {
    id: "split.framing-one",
    clauses: ["dev.split-ring.framing.1"],
    done: "the device-readable part of a request is one descriptor, and the writable part another",
    expected: "the request is answered as before",
    request: true,
    scope: { face: "modern" },
    async run(c) {
      await up(c);
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
    id: "split.indirect",
    clauses: ["virtio 1.4 §2.7.5.3"],
    done: "a request is one descriptor that names an indirect table",
    expected: "it is answered",
    offers: [FEATURE.INDIRECT_DESC],
    request: true,
    async run(c) {
      const ring = await up(c, FEATURE.INDIRECT_DESC);
      const known = c.known;
      const segments = c.segments(known);
      const id = ring.add([c.indirect(segments, false)]);
      c.device.notify(known.queue);
      known.check(c, await c.reply(known.queue, id, segments));
    },
  },
  {
    id: "split.indirect-write-flag",
    clauses: ["dev.split-ring.indirect.1"],
    done: "the descriptor that names an indirect table has the WRITE flag",
    expected: "the flag means nothing, and the request is answered",
    offers: [FEATURE.INDIRECT_DESC],
    request: true,
    async run(c) {
      const ring = await up(c, FEATURE.INDIRECT_DESC);
      const known = c.known;
      const segments = c.segments(known);
      const table = c.indirect(segments, false);
      const id = ring.add([{ ...table, flags: table.flags | WRITE }]);
      c.device.notify(known.queue);
      known.check(c, await c.reply(known.queue, id, segments));
    },
  },
  {
    id: "split.indirect-after-plain",
    clauses: ["dev.split-ring.indirect.2"],
    done: "a chain of plain descriptors ends in one that names an indirect table",
    expected: "it is answered",
    offers: [FEATURE.INDIRECT_DESC],
    request: true,
    async run(c) {
      const ring = await up(c, FEATURE.INDIRECT_DESC);
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
    id: "split.interrupt",
    clauses: ["dev.split-ring.used-suppress.3"],
    done: "a request is made with avail.flags 0 and no EVENT_IDX",
    expected: "an interrupt",
    request: true,
    async run(c) {
      await up(c);
      c.equal("interrupt", await interruptsFor(c, true), true);
    },
  },
  {
    id: "split.used-event-ignored",
    clauses: ["dev.split-ring.used-suppress.1"],
    done: "used_event names an entry far away, without EVENT_IDX",
    expected: "an interrupt all the same",
    request: true,
    async run(c) {
      const ring = await up(c);
      ring.event(1000);
      c.equal("interrupt", await interruptsFor(c, true), true);
    },
  },
  {
    id: "split.no-interrupt",
    clauses: ["dev.split-ring.used-suppress.2"],
    done: "avail.flags is 1, without EVENT_IDX",
    expected: "no interrupt for a used buffer",
    request: true,
    async run(c) {
      const ring = await up(c);
      ring.interrupts(false);
      c.equal("interrupt", await interruptsFor(c, false), false);
    },
  },
  {
    id: "split.event-next",
    clauses: ["dev.split-ring.used-suppress.5"],
    done: "with EVENT_IDX used_event names the next entry, five times",
    expected: "an interrupt each time",
    offers: [FEATURE.EVENT_IDX],
    request: true,
    async run(c) {
      const ring = await up(c, FEATURE.EVENT_IDX);
      for (let i = 0; i < 5; i++) {
        ring.event(0);
        c.equal(`interrupt ${i}`, await interruptsFor(c, true), true);
      }
    },
  },
  {
    id: "split.event-flags-ignored",
    clauses: ["dev.split-ring.used-suppress.4"],
    done: "with EVENT_IDX avail.flags is 1, and used_event names the next entry",
    expected: "an interrupt",
    offers: [FEATURE.EVENT_IDX],
    request: true,
    async run(c) {
      const ring = await up(c, FEATURE.EVENT_IDX);
      ring.flags(1);
      ring.event(0);
      c.equal("interrupt", await interruptsFor(c, true), true);
    },
  },
  {
    id: "split.event-later",
    clauses: ["dev.split-ring.used-suppress.6", "dev.split-ring.used-suppress.5"],
    done: "with EVENT_IDX used_event names the entry after the next, once one buffer was used",
    expected: "no interrupt for the next, and one for the other",
    offers: [FEATURE.EVENT_IDX],
    request: true,
    async run(c) {
      const ring = await up(c, FEATURE.EVENT_IDX);
      ring.event(0);
      await interruptsFor(c, true);
      ring.event(1);
      c.equal("interrupt for the next", await interruptsFor(c, false), false);
      c.equal("interrupt for the one after", await interruptsFor(c, true), true);
    },
  },
  {
    id: "split.event-used-flags",
    clauses: ["dev.split-ring.avail-suppress.2"],
    done: "used.flags is read with EVENT_IDX, before and after a request",
    expected: "0",
    offers: [FEATURE.EVENT_IDX],
    request: true,
    async run(c) {
      const ring = await up(c, FEATURE.EVENT_IDX);
      c.equal("used.flags before", ring.usedFlags, 0);
      await c.cleanRequest();
      c.equal("used.flags after", ring.usedFlags, 0);
    },
  },
  {
    id: "split.used-flags",
    clauses: ["dev.split-ring.avail-suppress.1"],
    done: "used.flags is read without EVENT_IDX, before and after a request",
    expected: "0 or 1",
    request: true,
    async run(c) {
      const ring = await up(c);
      c.expect("used.flags before", ring.usedFlags <= 1, ring.usedFlags, "0 or 1");
      await c.cleanRequest();
      c.expect("used.flags after", ring.usedFlags <= 1, ring.usedFlags, "0 or 1");
    },
  },
  {
    id: "split.needless-notifications",
    clauses: ["dev.split-ring.avail-suppress.3"],
    done: "the queue is notified of three times for one request",
    expected: "the request is used once",
    request: true,
    async run(c) {
      const ring = await up(c);
      await c.cleanRequest();
      for (let i = 0; i < 3; i++) c.device.notify(c.known.queue);
      await c.quiet();
      c.equal("buffers used", ring.usedCount(), 1);
    },
  },
  {
    id: "split.in-order",
    clauses: ["dev.basic.reserved-features.3"],
    done: "with IN_ORDER several requests are made available at once",
    expected: "used entries come in the order of the available ring",
    offers: [FEATURE.IN_ORDER],
    request: true,
    async run(c) {
      const ring = await up(c, FEATURE.IN_ORDER);
      const known = c.known;
      const each = known.readable.length + known.writable.length;
      const count = Math.max(1, Math.min(4, Math.floor(ring.size / each)));
      const ids = Array.from({ length: count }, () => ring.add(c.chain(c.segments(known))));
      c.device.notify(known.queue);
      await c.until(() => ring.usedCount() === count);
      c.equal("ids", ring.used().map(({ id }) => id).join(), ids.join());
    },
  },
  {
    id: "split.notify-on-empty",
    clauses: ["dev.basic.legacy-reserved-features.1"],
    done: "with NOTIFY_ON_EMPTY a request empties the ring while avail.flags is 1",
    expected: "an interrupt all the same",
    offers: [FEATURE.NOTIFY_ON_EMPTY],
    request: true,
    scope: { face: "legacy" },
    async run(c) {
      const ring = await up(c, FEATURE.NOTIFY_ON_EMPTY);
      ring.interrupts(false);
      c.equal("interrupt", await interruptsFor(c, true), true);
    },
  },
  {
    id: "split.legacy-layout",
    clauses: ["dev.split-ring.legacy-layout.1"],
    done: "the used ring of a legacy queue starts a page after the available ring",
    expected: "the device finds it there",
    request: true,
    scope: { face: "legacy" },
    async run(c) {
      const ring = await up(c);
      await c.cleanRequest();
      c.equal("used.idx", ring.usedCount(), 1);
    },
  },
];

/** An available entry that names no chain that can be. */
interface Offence {
  readonly name: string;
  readonly done: string;
  readonly clauses: readonly string[];
  /** Features to accept. */
  readonly features?: readonly number[];
  /** Writes the offence; the device is notified after it. */
  write(c: CheckContext, ring: RawSplit): void;
}

const at = (c: CheckContext, length = 16): RawDescriptor => {
  const { at } = c.readable(new Uint8Array(length));
  return { address: c.arena.address(at), length, flags: 0 };
};
const into = (c: CheckContext, length = 16): RawDescriptor => {
  const { at } = c.writable(length);
  return { address: c.arena.address(at), length, flags: WRITE };
};
/** An indirect table of raw descriptors. */
function table(
  c: CheckContext,
  ring: RawSplit,
  entries: readonly RawDescriptor[],
  length = 16 * entries.length,
): RawDescriptor {
  const place = c.arena.take(16 * Math.max(1, entries.length));
  entries.forEach((entry, i) => ring.descriptor(i, entry, place));
  return { address: c.arena.address(place), length, flags: INDIRECT };
}
const indirect = [FEATURE.INDIRECT_DESC];

const OFFENCES: readonly Offence[] = [
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
    write(c, ring) {
      ring.descriptor(0, { ...at(c), flags: NEXT, next: ring.size });
      ring.available(0);
    },
  },
  {
    name: "next-65535",
    done: "NEXT names descriptor 65535",
    clauses: ["virtio 1.4 §2.7.5"],
    write(c, ring) {
      ring.descriptor(0, { ...at(c), flags: NEXT, next: 0xffff });
      ring.available(0);
    },
  },
  {
    name: "loop-of-one",
    done: "a descriptor names itself as the next",
    clauses: ["drv.split-ring.desc-table.1"],
    write(c, ring) {
      ring.descriptor(0, { ...at(c), flags: NEXT, next: 0 });
      ring.available(0);
    },
  },
  {
    name: "loop-of-two",
    done: "two descriptors name each other as the next",
    clauses: ["drv.split-ring.desc-table.1"],
    write(c, ring) {
      ring.descriptor(0, { ...at(c), flags: NEXT, next: 1 });
      ring.descriptor(1, { ...at(c), flags: NEXT, next: 0 });
      ring.available(0);
    },
  },
  {
    name: "writable-loop",
    done: "a chain of device-writable descriptors is a loop",
    clauses: ["drv.split-ring.desc-table.1"],
    write(c, ring) {
      ring.descriptor(0, { ...into(c), flags: WRITE | NEXT, next: 1 });
      ring.descriptor(1, { ...into(c), flags: WRITE | NEXT, next: 0 });
      ring.available(0);
    },
  },
  {
    name: "writable-first",
    done: "a device-writable descriptor comes before a device-readable one",
    clauses: ["drv.split-ring.framing.1"],
    write(c, ring) {
      ring.descriptor(0, { ...into(c), flags: WRITE | NEXT, next: 1 });
      ring.descriptor(1, at(c));
      ring.available(0);
    },
  },
  {
    name: "no-memory",
    done: "a device-readable descriptor names an address without memory",
    clauses: ["dev.basic.status.2"],
    write(_, ring) {
      ring.descriptor(0, { address: 0x7000_0000_0000, length: 16, flags: 0 });
      ring.available(0);
    },
  },
  {
    name: "no-memory-written",
    done: "a device-writable descriptor names an address without memory",
    clauses: ["dev.basic.status.2"],
    write(_, ring) {
      ring.descriptor(0, { address: 0x7000_0000_0000, length: 16, flags: WRITE });
      ring.available(0);
    },
  },
  {
    name: "end-of-addresses",
    done: "a buffer goes past the end of 64-bit addresses",
    clauses: ["dev.basic.status.2"],
    write(_, ring) {
      ring.descriptor(0, { address: 0xffff_ffff_ffff_fff0n, length: 64, flags: WRITE });
      ring.available(0);
    },
  },
  {
    name: "longest",
    done: "a device-writable buffer of 4 GiB less one byte is made available",
    clauses: ["drv.split-ring.desc-table.1"],
    write(_, ring) {
      ring.descriptor(0, { address: 0xffff_0000_0000_0000n, length: 0xffffffff, flags: WRITE });
      ring.available(0);
    },
  },
  {
    name: "zero-length",
    done: "a descriptor of no bytes is made available",
    clauses: ["virtio 1.4 §2.7.5"],
    write(c, ring) {
      ring.descriptor(0, { ...at(c), length: 0 });
      ring.available(0);
    },
  },
  {
    name: "zero-length-written",
    done: "a device-writable descriptor of no bytes is made available",
    clauses: ["virtio 1.4 §2.7.5"],
    write(c, ring) {
      ring.descriptor(0, { ...into(c), length: 0 });
      ring.available(0);
    },
  },
  {
    name: "undefined-flags",
    done: "a descriptor has flags that are not defined",
    clauses: ["virtio 1.4 §2.7.5"],
    write(c, ring) {
      ring.descriptor(0, { ...at(c), flags: 0xfff8 });
      ring.available(0);
    },
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
    write(c, ring) {
      ring.descriptor(0, table(c, ring, [at(c)]));
      ring.available(0);
    },
  },
  {
    name: "indirect-nested",
    done: "an indirect table holds a descriptor that names another table",
    clauses: ["drv.split-ring.indirect.2"],
    features: indirect,
    write(c, ring) {
      ring.descriptor(0, table(c, ring, [table(c, ring, [at(c)])]));
      ring.available(0);
    },
  },
  {
    name: "indirect-and-next",
    done: "a descriptor has INDIRECT and NEXT",
    clauses: ["drv.split-ring.indirect.4"],
    features: indirect,
    write(c, ring) {
      const entry = table(c, ring, [at(c)]);
      ring.descriptor(0, { ...entry, flags: INDIRECT | NEXT, next: 1 });
      ring.descriptor(1, at(c));
      ring.available(0);
    },
  },
  {
    name: "indirect-empty",
    done: "an indirect table has no bytes",
    clauses: ["virtio 1.4 §2.7.5.3"],
    features: indirect,
    write(c, ring) {
      ring.descriptor(0, table(c, ring, [at(c)], 0));
      ring.available(0);
    },
  },
  {
    name: "indirect-odd-length",
    done: "an indirect table has 17 bytes",
    clauses: ["virtio 1.4 §2.7.5.3"],
    features: indirect,
    write(c, ring) {
      ring.descriptor(0, table(c, ring, [at(c)], 17));
      ring.available(0);
    },
  },
  {
    name: "indirect-no-memory",
    done: "an indirect table is at an address without memory",
    clauses: ["dev.basic.status.2"],
    features: indirect,
    write(_, ring) {
      ring.descriptor(0, { address: 0x7000_0000_0000, length: 16, flags: INDIRECT });
      ring.available(0);
    },
  },
  {
    name: "indirect-loop",
    done: "the entries of an indirect table are a loop",
    clauses: ["drv.split-ring.desc-table.1"],
    features: indirect,
    write(c, ring) {
      const entry = { ...at(c), flags: NEXT, next: 0 };
      ring.descriptor(0, table(c, ring, [entry]));
      ring.available(0);
    },
  },
  {
    name: "indirect-next-out-of-range",
    done: "an entry of an indirect table names one beyond it",
    clauses: ["virtio 1.4 §2.7.5.3"],
    features: indirect,
    write(c, ring) {
      ring.descriptor(0, table(c, ring, [{ ...at(c), flags: NEXT, next: 9 }]));
      ring.available(0);
    },
  },
  {
    name: "indirect-huge",
    done: "an indirect table claims 4 GiB less 16 bytes",
    clauses: ["drv.split-ring.indirect.3"],
    features: indirect,
    write(c, ring) {
      ring.descriptor(0, table(c, ring, [at(c)], 0xfffffff0));
      ring.available(0);
    },
  },
  {
    name: "indirect-writable-first",
    done: "a device-writable entry of an indirect table comes before a device-readable one",
    clauses: ["drv.split-ring.framing.1"],
    features: indirect,
    write(c, ring) {
      const first = { ...into(c), flags: WRITE | NEXT, next: 1 };
      ring.descriptor(0, table(c, ring, [first, at(c)]));
      ring.available(0);
    },
  },
];

const hostile: Check[] = OFFENCES.map(({ name, done, clauses, features = [], write }) => ({
  id: `split.hostile.${name}`,
  clauses: [...new Set([...clauses, "dev.basic.status.3"])],
  done,
  expected: "the device stops or answers, writes nothing else, and after a reset works as before",
  hostile: true,
  request: true,
  offers: features,
  async run(c) {
    const ring = await up(c, ...features);
    write(c, ring);
    c.device.notify(c.known.queue);
    await c.quiet();
  },
}));

/** Chains of random descriptors; the seed of the run gives others. */
const random: Check[] = Array.from({ length: 8 }, (_, i) => ({
  id: `split.hostile.random-${i}`,
  clauses: ["dev.basic.status.2", "dev.basic.reset.1"],
  done: "the table and the available ring are filled at random, by the seed of the run",
  expected: "the device writes nothing that it was not given, and after a reset works as before",
  hostile: true as const,
  request: true as const,
  async run(c: CheckContext) {
    const ring = await up(c, FEATURE.INDIRECT_DESC);
    const { random } = c;
    const places = [at(c, 64), into(c, 64), at(c, 8), into(c, 8)];
    for (let index = 0; index < ring.size; index++) {
      const place = random.pick(places);
      const flags = place.flags | (random.below(2) * NEXT) | (random.below(8) === 0 ? INDIRECT : 0);
      const length = random.pick([place.length, 0, 1, place.length >> 1]);
      ring.descriptor(index, { ...place, length, flags, next: random.below(ring.size + 2) });
    }
    for (let n = 0; n < 6; n++) ring.available(random.below(ring.size));
    c.device.notify(c.known.queue);
    await c.quiet();
  },
}));

/** Split rings. */
export const SPLIT_CHECKS: readonly Check[] = [...sound, ...hostile, ...random];
