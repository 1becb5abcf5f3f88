import type { Check } from "../check.ts";
import type { CheckContext, Segment } from "../context.ts";
import { CAUSE, DESC, FEATURE } from "../raw/registers.ts";
import type { RawDescriptor, RawPacked, RawRing, RawSplit } from "../raw/ring.ts";

/** A format of virtqueues, and how its checks bring a device up. */
interface Format<R> {
  readonly name: "split" | "packed";
  /** Features that every check of the format needs. */
  readonly features: readonly number[];
  readonly scope?: Check["scope"];
  /** Brings the device up with features, and gives the ring of the known request. */
  up(context: CheckContext, features: readonly number[], size?: number): Promise<R>;
}

/** A check of what a sound driver sees, without the parts that all of a format share. */
export interface RingRow<R> extends Pick<Check, "clauses" | "done" | "expected" | "scope"> {
  readonly name: string;
  /** Features that it needs besides those of the format. */
  readonly features?: readonly number[];
  /** Size to ask for; the context's by default. */
  readonly size?: number;
  /** Does it, once the device is up. */
  run(context: CheckContext, ring: R): Promise<void> | void;
}

/** A chain that cannot be; the device is notified after it. */
export interface Offence<R> extends Pick<Check, "clauses" | "done"> {
  readonly name: string;
  /** Features that it needs besides those of the format. */
  readonly features?: readonly number[];
  /** Features to accept where the device offers them. */
  readonly accepts?: readonly number[];
  /** Result that must be seen, if not that of all offences. */
  readonly expected?: string;
  /** Writes it into the ring. */
  write(context: CheckContext, ring: R): void;
}

/** The split format. */
export const SPLIT: Format<RawSplit> = {
  name: "split",
  features: [],
  async up(c, features, size) {
    await c.init({ features, ...size === undefined ? {} : { size } });
    return c.split(c.known.queue);
  },
};

/** The packed format. */
export const PACKED: Format<RawPacked> = {
  name: "packed",
  features: [FEATURE.RING_PACKED],
  scope: { face: "modern" },
  async up(c, features, size) {
    await c.init({ features, packed: true, ...size === undefined ? {} : { size } });
    return c.packed(c.known.queue);
  },
};

function offers<R>(format: Format<R>, features: readonly number[]): Pick<Check, "offers"> {
  const all = [...format.features, ...features];
  return all.length === 0 ? {} : { offers: all };
}

/** The checks of rows. */
export function soundChecks<R>(format: Format<R>, rows: readonly RingRow<R>[]): Check[] {
  return rows.map(({ name, features = [], scope = format.scope, size, run, ...row }) => ({
    id: `${format.name}.${name}`,
    ...row,
    ...offers(format, features),
    request: true,
    ...scope === undefined ? {} : { scope },
    run: async (c) => run(c, await format.up(c, features, size)),
  }));
}

/** The checks of offences. */
export function hostileChecks<R>(format: Format<R>, offences: readonly Offence<R>[]): Check[] {
  return offences.map(({ name, done, clauses, features = [], accepts = [], expected, write }) => ({
    id: `${format.name}.hostile.${name}`,
    clauses: [...new Set([...clauses, "dev.basic.status.3"])],
    done,
    expected: expected ??
      "the device stops or answers, writes nothing else, and after a reset works as before",
    hostile: true,
    request: true,
    ...offers(format, features),
    ...format.scope === undefined ? {} : { scope: format.scope },
    async run(c) {
      const ring = await format.up(c, [...features, ...accepts]);
      write(c, ring);
      c.device.notify(c.known.queue);
      await c.quiet();
    },
  }));
}

/** Makes the known request and waits; whether the device interrupted for it. */
export async function interruptsFor(c: CheckContext, expected: boolean): Promise<boolean> {
  c.device.causes();
  await c.cleanRequest();
  let causes = 0;
  return await c.until(
    () => ((causes |= c.device.causes()) & CAUSE.QUEUE) !== 0,
    expected ? undefined : c.rest,
  );
}

/** Demands that the device interrupts, or does not, for the known request. */
export async function interrupts(c: CheckContext, expected: boolean): Promise<void> {
  c.equal("interrupt", await interruptsFor(c, expected), expected);
}

/** Makes several requests by one notification, and gives their ids and the used ones in the order of use. */
async function batch(
  c: CheckContext,
  ring: RawRing,
): Promise<{ readonly added: number[]; readonly used: number[] }> {
  const known = c.known;
  const each = known.readable.length + known.writable.length;
  const count = Math.max(1, Math.min(4, Math.floor(ring.size / each)));
  const added = Array.from({ length: count }, () => ring.add(c.chain(c.segments(known))));
  c.device.notify(known.queue);
  await c.until(() => ring.usedCount() === count);
  return { added, used: ring.used().map(({ id }) => id) };
}

/** Demands that a batch is used, each once, in any order. */
export async function usesEach(c: CheckContext, ring: RawRing): Promise<void> {
  const sorted = (ids: readonly number[]): string => ids.toSorted((a, b) => a - b).join();
  const { added, used } = await batch(c, ring);
  c.equal("ids that were used", sorted(used), sorted(added));
}

/** Demands that a batch is used in the order in which it was added. */
export async function usesInOrder(c: CheckContext, ring: RawRing): Promise<void> {
  const { added, used } = await batch(c, ring);
  c.equal("ids", used.join(), added.join());
}

/** Demands that the device-readable part of a request is unchanged after it. */
export async function readableRests(c: CheckContext): Promise<void> {
  const known = c.known;
  const segments = c.segments(known);
  const read = (): string =>
    segments.filter(({ write }) => !write)
      .map(({ at, length }) => c.arena.get(at, length).toHex()).join(" ");
  const before = read();
  await c.request(known.queue, segments);
  c.equal("device-readable part", read(), before);
}

/** Demands an answer to forty requests, one after the other. */
export async function answersMany(c: CheckContext, ring: RawRing): Promise<void> {
  for (let i = 0; i < 40; i++) await c.cleanRequest();
  c.equal("buffers used", ring.usedCount(), 40);
}

/** Demands that the known request is answered when its parts are pieces of at most some bytes. */
export async function answersPieces(c: CheckContext, ring: RawRing, size: number): Promise<void> {
  const known = c.known;
  const cut = (length: number): number[] =>
    Array.from({ length: Math.ceil(length / size) }, (_, i) => Math.min(size, length - i * size));
  const segments: Segment[] = [
    ...known.readable.flatMap((bytes) =>
      cut(bytes.length).map((length, i) => c.readable(bytes.slice(i * size, i * size + length)))
    ),
    ...known.writable.flatMap((length) => cut(length).map((part) => c.writable(part))),
  ];
  if (segments.length > ring.size) return c.skip("the request has more pieces than the ring");
  known.check(c, await c.request(known.queue, segments));
}

/** A descriptor of memory for the device to read. */
export function at(c: CheckContext, length = 16): RawDescriptor {
  const { at } = c.readable(new Uint8Array(length));
  return { address: c.arena.address(at), length, flags: 0 };
}

/** A descriptor of memory for the device to write. */
export function into(c: CheckContext, length = 16): RawDescriptor {
  const { at } = c.writable(length);
  return { address: c.arena.address(at), length, flags: DESC.WRITE };
}

/** Descriptors of either direction for chains at random. */
export function places(c: CheckContext): RawDescriptor[] {
  return [at(c, 64), into(c, 64), at(c, 8), into(c, 8)];
}

/** An indirect table of entries that `put` writes. */
export function table(
  c: CheckContext,
  entries: readonly RawDescriptor[],
  length: number,
  put: (place: number, index: number, entry: RawDescriptor) => void,
): RawDescriptor {
  const place = c.arena.take(16 * Math.max(1, entries.length));
  entries.forEach((entry, i) => put(place, i, entry));
  return { address: c.arena.address(place), length, flags: DESC.INDIRECT };
}
