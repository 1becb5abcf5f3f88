import { DESC, DescFlag, hex, PackedDescFlag } from "@vireo/hal";
import type { InspectedBuffer, InspectedDescriptor, RingInspection } from "./inspection.ts";
import type { QueueAddresses, Virtqueue } from "./virtqueue.ts";

/** A buffer in the shadow of a ring of either format. */
interface ShadowEntry {
  readonly id: number;
  readonly token: number;
  readonly slots: number;
  readonly writable: number;
}

const FLAGS = [["NEXT", DescFlag.NEXT], ["WRITE", DescFlag.WRITE], [
  "INDIRECT",
  DescFlag.INDIRECT,
]] as const;
/** The two flags that say which side owns a packed descriptor. */
const OWNER = PackedDescFlag.AVAIL | PackedDescFlag.USED;
const WORDS = DESC.SIZE / 4;

/** A descriptor of a table, whose flags are in the lower half of the last word, or the upper one if packed. */
function descriptorAt(
  words: ArrayLike<number>,
  slot: number,
  packed: boolean,
): InspectedDescriptor {
  const at = slot * WORDS;
  const last = words[at + 3]! >>> 0;
  const flags = packed ? last >>> 16 : last & 0xffff;
  return {
    slot,
    address: (words[at]! >>> 0) + (words[at + 1]! >>> 0) * 2 ** 32,
    length: words[at + 2]! >>> 0,
    flags: FLAGS.filter(([, bit]) => (flags & bit) !== 0).map(([name]) => name),
  };
}

/** Lists the contradictions between a buffer's descriptors and the driver's records. */
function wrongWith(buffer: InspectedBuffer, entry: ShadowEntry): string[] {
  const { id, descriptors, indirect } = buffer;
  const wrong: string[] = [];
  if (!indirect && descriptors.length !== entry.slots) {
    wrong.push(
      `buffer ${id} has ${descriptors.length} descriptors, the driver wrote ${entry.slots}`,
    );
  }
  const writable = descriptors.filter(({ flags }) => flags.includes("WRITE"))
    .reduce((sum, { length }) => sum + length, 0);
  if (writable !== entry.writable) {
    wrong.push(`buffer ${id} has ${writable} writable bytes, the driver lent ${entry.writable}`);
  }
  return wrong;
}

/** Lists the contradictions in used entries. */
function wrongEntries(
  entries: readonly { readonly id: number; readonly length: number }[],
  shadow: ReadonlyMap<number, ShadowEntry>,
): string[] {
  return entries.flatMap(({ id, length }) => {
    const entry = shadow.get(id);
    if (entry === undefined) return [`used entry names buffer ${id}, which is not in flight`];
    if (length <= entry.writable) return [];
    return [`used entry of buffer ${id} has ${length} bytes, the driver lent ${entry.writable}`];
  });
}

/** The buffers of a shadow: four words each, of which one is the token, the next the slots and the room. */
function shadowEntries(shadow: Int32Array): Map<number, ShadowEntry> {
  const entries = new Map<number, ShadowEntry>();
  for (let at = 0; at < shadow.length; at += 4) {
    const token = shadow[at + 1]!;
    if (token < 0) continue;
    const id = at / 4;
    entries.set(id, { id, token, slots: shadow[at + 2]!, writable: shadow[at + 3]! >>> 0 });
  }
  return entries;
}

/** State of a split ring. */
interface SplitState {
  readonly desc: Uint32Array;
  readonly avail: Uint16Array;
  readonly used16: Uint16Array;
  readonly used32: Uint32Array;
  readonly shadow: Int32Array;
  readonly added: number;
  readonly kicked: number;
  readonly taken: number;
  readonly eventIdx: boolean;
  /** Words of the table of a head. */
  readonly table: (head: number) => Uint32Array;
}

/** The parts of a queue that its inspection shows, whatever its format. */
interface Inspected
  extends Pick<Virtqueue, "index" | "name" | "size" | "freeSlots" | "inFlight" | "broken"> {
  readonly addresses: QueueAddresses;
}

/** The first fields of an inspection. */
function head(
  queue: Inspected,
): Pick<RingInspection, "queue" | "name" | "addresses" | "free" | "inFlight" | "broken"> {
  return {
    queue: queue.index,
    name: queue.name,
    addresses: queue.addresses,
    free: queue.freeSlots,
    inFlight: queue.inFlight,
    broken: queue.broken?.message ?? null,
  };
}

/** Looks at a split ring (virtio 1.4 §2.7). */
export function inspectSplit(queue: Inspected, state: SplitState): RingInspection {
  const { size } = queue;
  const { desc, avail, used16, used32, added, kicked, taken, eventIdx } = state;
  const shadow = shadowEntries(state.shadow);
  const available = Atomics.load(avail, 1);
  const used = Atomics.load(used16, 1);
  const mask = size - 1;
  const fresh = used - taken & 0xffff;
  const wrong: string[] = [];
  if (fresh > shadow.size) {
    wrong.push(
      `used index ${used} is ${fresh} after ${taken}, with ${shadow.size} buffers in flight`,
    );
  }
  if (available !== kicked) wrong.push(`available index ${available}, the driver wrote ${kicked}`);
  const entries = Array.from({ length: Math.min(fresh, shadow.size) }, (_, i) => {
    const at = 1 + 2 * (taken + i & mask);
    return { id: used32[at]!, length: used32[at + 1]! };
  });
  wrong.push(...wrongEntries(entries, shadow));
  const waiting = new Set<number>();
  for (let i = kicked; i !== added; i = i + 1 & 0xffff) waiting.add(avail[2 + (i & mask)]!);
  const done = new Set(entries.map(({ id }) => id));
  const buffers = [...shadow.values()].map((entry): InspectedBuffer => {
    const { id, token } = entry;
    const head = descriptorAt(desc, id, false);
    const indirect = head.flags.includes("INDIRECT");
    const words = indirect ? state.table(id) : desc;
    const descriptors: InspectedDescriptor[] = [];
    const most = indirect ? Math.min(head.length / DESC.SIZE, words.length / WORDS) : size;
    for (let slot = indirect ? 0 : id; descriptors.length < most && slot * WORDS < words.length;) {
      const one = descriptorAt(words, slot, false);
      descriptors.push(one);
      if (!one.flags.includes("NEXT")) break;
      slot = words[slot * WORDS + 3]! >>> 16;
    }
    const state_ = done.has(id) ? "used" : waiting.has(id) ? "added" : "available";
    const buffer = { id, token, state: state_, descriptors, indirect } as const;
    wrong.push(...wrongWith(buffer, entry));
    return buffer;
  });
  const interrupt = eventIdx
    ? `at used index ${avail[avail.length - 1]! + 1 & 0xffff}`
    : (avail[0]! & 1) !== 0
    ? "none"
    : "for each used buffer";
  const kick = eventIdx
    ? `at available index ${used16[used16.length - 1]! + 1 & 0xffff}`
    : (used16[0]! & 1) !== 0
    ? "none"
    : "for each available buffer";
  return {
    ...head(queue),
    format: "split",
    shadow: { added, kicked, taken },
    memory: { available, used, entries },
    events: { interrupt, kick },
    buffers,
    wrong,
  };
}

/** State of a packed ring. */
interface PackedState {
  readonly words: Int32Array;
  /** The event suppression structures: place and flags. */
  readonly ask16: Uint16Array;
  readonly asked16: Uint16Array;
  readonly shadow: Int32Array;
  readonly added: number;
  readonly kicked: number;
  readonly taken: number;
  /** AVAIL and USED of the next used descriptor. */
  readonly usedFlags: number;
  readonly table: (id: number) => Uint32Array;
}

/** Looks at a packed ring (virtio 1.4 §2.8). */
export function inspectPacked(queue: Inspected, state: PackedState): RingInspection {
  const { size } = queue;
  const { words, added, kicked, taken } = state;
  const shadow = shadowEntries(state.shadow);
  const entries: { readonly id: number; readonly length: number }[] = [];
  let [place, flags] = [taken, state.usedFlags];
  const wrong: string[] = [];
  while (entries.length < shadow.size) {
    const word = words[place * WORDS + 3]! >>> 0;
    if ((word >>> 16 & OWNER) !== flags) break;
    const id = word & 0xffff;
    entries.push({ id, length: words[place * WORDS + 2]! >>> 0 });
    const entry = shadow.get(id);
    // Where the next one is, the entry's buffer tells: without one there is no next.
    if (entry === undefined) break;
    place += entry.slots;
    if (place < size) continue;
    place -= size;
    flags ^= OWNER;
  }
  wrong.push(...wrongEntries(entries, shadow));
  const done = new Set(entries.map(({ id }) => id));
  // The kick writes id and flags of the first descriptor: without them the buffer is nowhere.
  const isAdded = (slots: readonly InspectedDescriptor[]): boolean =>
    added !== kicked &&
    (slots.length === 0 ||
      (slots[0]!.slot - kicked + size) % size < (added - kicked + size) % size);
  const buffers = [...shadow.values()].map(({ id, token }): InspectedBuffer => {
    const slots = slotsOf(state, size, id);
    const head = slots[0];
    const indirect = head?.flags.includes("INDIRECT") === true;
    const table = indirect ? state.table(id) : undefined;
    const count = indirect ? Math.min(head!.length / DESC.SIZE, table!.length / WORDS) : 0;
    const descriptors = table === undefined
      ? slots
      : Array.from({ length: count }, (_, slot) => descriptorAt(table, slot, true));
    const now = done.has(id) ? "used" : isAdded(slots) ? "added" : "available";
    return { id, token, state: now, descriptors, indirect };
  });
  return {
    ...head(queue),
    format: "packed",
    shadow: { added, kicked, taken },
    memory: { available: null, used: null, entries },
    events: { interrupt: suppression(state.ask16), kick: suppression(state.asked16) },
    buffers,
    wrong,
  };
}

/** The descriptor that is available under an id, between the next to be used and the next to be added. */
function slotsOf(
  { words, taken, added }: PackedState,
  size: number,
  id: number,
): InspectedDescriptor[] {
  const found: InspectedDescriptor[] = [];
  for (let i = 0; i < ((added - taken + size - 1) % size) + 1; i++) {
    const slot = (taken + i) % size;
    const word = words[slot * WORDS + 3]! >>> 0;
    const owner = word >>> 16 & OWNER;
    if ((word & 0xffff) !== id || owner === 0 || owner === OWNER) {
      if (found.length > 0) break;
      continue;
    }
    found.push(descriptorAt(words, slot, true));
  }
  return found;
}

/** An event suppression structure in words (virtio 1.4 §2.8.14). */
function suppression(words: Uint16Array): string {
  const [place, flags] = [words[0]!, words[1]! & 3];
  if (flags === 2) return `at place ${place & 0x7fff}, wrap counter ${place >>> 15}`;
  return flags === 1 ? "none" : flags === 0 ? "for each buffer" : hex(flags);
}
