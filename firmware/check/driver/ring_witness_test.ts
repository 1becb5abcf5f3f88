import { assertEquals } from "@std/assert";
import type { Chain, GuestMemory, HostedDevice, RingPosition } from "@vireo/emu";
import { Feature, FeatureSet } from "@vireo/hal";
import { Findings } from "./findings.ts";
import { RingWitness } from "./ring_witness.ts";
import type { Occasion } from "./rules.ts";

/** Descriptors of the ring, and where its parts are. */
const SIZE = 4;
const DESC = 0x1000;
const AVAIL = 0x2000;
const USED = 0x3000;
/** Where the parts are on a page of the legacy interface's size. */
const LEGACY_USED = 0x5000;
/** Where a table and buffers are. */
const TABLE = 0x6000;
const BUFFER = 0x8000;
const MEMORY = 0x10000;

const NEXT = 1;
const WRITE = 2;
const INDIRECT = 4;
const AVAILABLE = 1 << 7;
const RETURNED = 1 << 15;
const WRAP = 0x8000;

interface Options {
  readonly packed?: boolean;
  readonly features?: readonly number[];
  readonly device?: number;
  readonly legacy?: boolean;
  readonly reversed?: boolean;
  /** Index of the queue. */
  readonly queue?: number;
  /** Sectors of a disk. */
  readonly capacity?: number;
}

/** A witness of a device that is made of nothing but its memory and what the witness asks of it. */
function rig(
  {
    packed = false,
    features = [],
    device = 4,
    legacy = false,
    reversed = false,
    queue = 0,
    capacity = 0,
  }: Options = {},
) {
  const bytes = new Uint8Array(MEMORY);
  const view = new DataView(bytes.buffer);
  const state = { active: true, status: 0xf, running: true };
  /** Undefined where the position is a split ring's. */
  let at: { next: number; used: number } | undefined = packed
    ? { next: WRAP, used: WRAP }
    : undefined;
  const hosted = {
    get active() {
      return state.active;
    },
    get status() {
      return state.status;
    },
    packed,
    legacy,
    features: FeatureSet.of(...features),
    pageSize: 4096,
    position: () =>
      (at === undefined ? { lastAvail: 0 } : { ring: "packed", ...at }) as unknown as
        | RingPosition
        | undefined,
    running: (index: number) => state.running && index === queue,
    configs: Array.from({ length: queue + 1 }, () => ({
      pfn: legacy ? 1 : 0,
      geometry: () => ({ size: SIZE, desc: DESC, avail: AVAIL, used: USED }),
      legacyGeometry: (page: number) => ({
        size: SIZE,
        desc: DESC,
        avail: AVAIL,
        used: LEGACY_USED + page - 4096,
      }),
    })),
    model: {
      deviceId: device,
      queues: Array.from({ length: queue + 1 }, () => ({ reversed })),
      readConfig: (offset: number) =>
        offset === 0 ? capacity >>> 0 : Math.floor(capacity / 2 ** 32),
    },
  } as unknown as HostedDevice;
  const memory = {
    contains: (address: number, length: number) => address >= 0 && address + length <= MEMORY,
    view: (address: number, length: number) => bytes.subarray(address, address + length),
  } as unknown as GuestMemory;
  const findings = new Findings();
  const witness = new RingWitness(() => hosted, () => memory, findings);
  const set16 = (address: number, value: number): void => view.setUint16(address, value, true);
  return {
    witness,
    hosted,
    state,
    bytes,
    set16,
    /** Writes a descriptor: those of packed rings have their id in front of the flags. */
    descriptor(
      index: number,
      [address, length, flags, next = 0]: readonly [number, number, number, number?],
      table = DESC,
    ): void {
      view.setBigUint64(table + 16 * index, BigInt(address), true);
      view.setUint32(table + 16 * index + 8, length, true);
      set16(table + 16 * index + 12, packed ? next : flags);
      set16(table + 16 * index + 14, packed ? flags : next);
    },
    /** Moves the place of the next available or used packed descriptor. */
    move(next: number, used = at!.used): void {
      at = { next, used };
    },
    /** The device takes a chain, whose packed descriptors end at `next`. */
    take(chain: Partial<Chain>, next?: number): Chain {
      const before = witness.beforePop(queue);
      if (next !== undefined) at = { next, used: at!.used };
      witness.taken(queue, chain as Chain, before);
      return chain as Chain;
    },
    broken: () => findings.broken.map(({ rule, seen }) => `${rule.id}: ${seen}`),
    did: (occasion: Occasion) => findings.occasions.has(occasion),
  };
}

const EVENTS = { features: [Feature.EVENT_IDX] };

for (
  const [what, options, flags, seen] of [
    ["0", {}, 0, []],
    ["1", {}, 1, ["ring.used-flags: flags 0x1 in the used ring of queue 0"]],
    ["1 of a ring that the driver has reversed", { reversed: true }, 1, []],
    ["1 of a packed ring's event structure", { packed: true }, 1, []],
    ["1 elsewhere than on the legacy page", { legacy: true }, 1, []],
  ] as const
) {
  Deno.test(`ring witness: a queue starts with used flags of ${what}`, () => {
    const { witness, set16, broken, did } = rig(options);
    set16(USED, flags);
    witness.started(0);
    assertEquals(broken(), [...seen]);
    const packed = "packed" in options;
    assertEquals([did("split"), did("packed")], [!packed, packed]);
  });
}

Deno.test("ring witness: a legacy queue's used ring is where its page size puts it", () => {
  const { witness, set16, broken } = rig({ legacy: true });
  set16(LEGACY_USED, 3);
  witness.started(0);
  assertEquals(broken(), ["ring.used-flags: flags 0x3 in the used ring of queue 0"]);
});

for (
  const [flags, options, seen] of [
    [0, {}, []],
    [1, {}, []],
    [2, {}, ["ring.avail-flags: flags 0x2 in the available ring of queue 0"]],
    [0, EVENTS, []],
    [1, EVENTS, ["ring.avail-flags: flags 0x1 in the available ring of queue 0 with EVENT_IDX"]],
    [2, { reversed: true }, []],
    [2, { packed: true }, []],
  ] as const
) {
  Deno.test(`ring witness: available flags ${flags} of ${JSON.stringify(options)}`, () => {
    const { witness, set16, broken } = rig(options);
    witness.audit(0);
    witness.started(0);
    set16(AVAIL, flags);
    witness.audit(0);
    assertEquals(broken(), [...seen]);
  });
}

for (
  const [indexes, seen] of [
    [[0x1234], []],
    [[0, SIZE, 2 * SIZE], []],
    [[0xfffe, 2], []],
    [[7, 7 + SIZE + 1], ["ring.avail-index: index 12 after 7 in queue 0 of 4"]],
    [[7, 6], ["ring.avail-index: index 6 after 7 in queue 0 of 4"]],
    [[7, 8, 13], ["ring.avail-index: index 13 after 8 in queue 0 of 4"]],
  ] as const
) {
  Deno.test(`ring witness: available indexes of ${indexes.join(", ")}`, () => {
    const { witness, set16, broken } = rig();
    witness.started(0);
    for (const index of indexes) {
      set16(AVAIL + 2, index);
      witness.audit(0);
    }
    assertEquals(broken(), [...seen]);
  });
}

for (
  const [flags, options, seen] of [
    [0, {}, []],
    [1, {}, ["notify.needless: a notification of queue 0 while the used ring's flags are 1"]],
    [2, {}, []],
    [1, EVENTS, []],
    [1, { reversed: true }, []],
    [1, { packed: true }, []],
  ] as const
) {
  Deno.test(`ring witness: a notification with used flags ${flags} of ${JSON.stringify(options)}`, () => {
    const { witness, set16, broken } = rig(options);
    set16(USED, flags);
    witness.notified(0);
    set16(USED, 0);
    witness.started(0);
    set16(USED, flags);
    witness.notified(0);
    assertEquals(broken(), [...seen]);
  });
}

/** What the device wants: used flags, or the event index with EVENT_IDX; how far the driver told it and is now. */
const WANTED: readonly (readonly [
  wants: { readonly flags?: number; readonly event?: number },
  told: number,
  now: number,
  missing: boolean,
])[] = [
  [{}, 3, 3, false],
  [{}, 3, 4, true],
  [{ flags: 1 }, 3, 4, false],
  [{ flags: 2 }, 3, 4, true],
  [{ event: 3 }, 3, 4, true],
  [{ event: 4 }, 3, 4, false],
  [{ event: 2 }, 3, 4, false],
  [{ event: 4 }, 3, 5, true],
  [{ event: 0xffff }, 0xfffe, 0, true],
  [{ event: 0 }, 0xfffe, 0, false],
];

for (const [wants, told, now, missing] of WANTED) {
  Deno.test(`ring witness: the device, which wants ${JSON.stringify(wants)}, was told ${told} of ${now}`, () => {
    const { witness, set16, broken } = rig(wants.event === undefined ? {} : EVENTS);
    witness.started(0);
    set16(AVAIL + 2, told);
    witness.notified(0);
    set16(AVAIL + 2, now);
    set16(USED, wants.flags ?? 0);
    set16(USED + 4 + 8 * SIZE, wants.event ?? 0);
    witness.rest();
    const text = `buffers of queue 0 up to ${now}, the last notification was at ${told}`;
    assertEquals(broken(), missing ? [`notify.missing: ${text}`] : []);
  });
}

Deno.test("ring witness: what is available before DRIVER_OK, or when the queue starts, needs no notification", () => {
  const { witness, set16, broken } = rig();
  set16(AVAIL + 2, 1);
  witness.started(0);
  witness.rest();
  set16(AVAIL + 2, 2);
  witness.running();
  witness.rest();
  assertEquals(broken(), []);
});

for (
  const [what, change] of [
    ["not started", ({ state }) => state.active = false],
    ["that needs a reset", ({ state }) => state.status |= 0x40],
    ["whose queue does not run", ({ state }) => state.running = false],
    ["that was reset", ({ witness }) => witness.reset()],
    ["whose queue was stopped", ({ witness }) => witness.stopped(0)],
  ] as readonly (readonly [string, (made: ReturnType<typeof rig>) => void])[]
) {
  Deno.test(`ring witness: a device ${what} misses no notification`, () => {
    const made = rig();
    const { witness, set16, broken } = made;
    witness.started(0);
    set16(AVAIL + 2, 1);
    change(made);
    witness.rest();
    assertEquals(broken(), []);
  });
}

Deno.test("ring witness: a ring that the driver has reversed misses no notification", () => {
  const { witness, set16, broken } = rig({ reversed: true });
  witness.started(0);
  set16(AVAIL + 2, 1);
  witness.rest();
  assertEquals(broken(), []);
});

/** Packed: flags of the descriptors, where the device is, the event structure, and what the device misses. */
const PACKED: readonly (readonly [
  what: string,
  flags: readonly number[],
  next: number,
  event: readonly [flags: number, place: number],
  seen: string | undefined,
])[] = [
  ["nothing", [0, 0, 0, 0], WRAP, [0, 0], undefined],
  ["one", [AVAILABLE, 0, 0, 0], WRAP, [0, 0], "up to 32769, the last notification was at 32768"],
  ["one, and wants none", [AVAILABLE, 0, 0, 0], WRAP, [1, 0], undefined],
  [
    "all, with the wrap",
    Array(4).fill(AVAILABLE),
    WRAP,
    [0, 0],
    "up to 0, the last notification was at 32768",
  ],
  [
    "one of the second round",
    [RETURNED, AVAILABLE | RETURNED, 0, 0],
    0,
    [0, 0],
    "up to 1, the last notification was at 0",
  ],
  [
    "the last of a round and the first of the next",
    [RETURNED, 0, 0, AVAILABLE],
    WRAP | 3,
    [0, 0],
    "up to 1, the last notification was at 32771",
  ],
  ["used ones", [AVAILABLE | RETURNED, 0, 0, 0], WRAP, [0, 0], undefined],
  [
    "one that is the event",
    [AVAILABLE, 0, 0, 0],
    WRAP,
    [2, WRAP],
    "up to 32769, the last notification was at 32768",
  ],
  ["one before the event", [AVAILABLE, 0, 0, 0], WRAP, [2, WRAP | 1], undefined],
  ["one in the event's place of the other round", [AVAILABLE, 0, 0, 0], WRAP, [2, 0], undefined],
  ["the last, and the event is beyond the ring", [0, 0, 0, AVAILABLE], WRAP | 3, [
    2,
    WRAP | SIZE,
  ], undefined],
  [
    "two behind the wrap, the second the event",
    [RETURNED, RETURNED, 0, AVAILABLE],
    WRAP | 3,
    [2, 1],
    "up to 2, the last notification was at 32771",
  ],
  [
    "the last of the second round before the event",
    [AVAILABLE, 0, 0, RETURNED],
    3,
    [2, WRAP | 1],
    undefined,
  ],
  [
    "the first of the third round, which is the event",
    [AVAILABLE, 0, 0, RETURNED],
    3,
    [2, WRAP],
    "up to 32769, the last notification was at 3",
  ],
];

for (const [what, flags, next, [eventFlags, event], seen] of PACKED) {
  Deno.test(`ring witness: a packed ring has ${what}, and nobody notifies`, () => {
    const { witness, set16, move, broken } = rig({ packed: true });
    move(next);
    witness.started(0);
    flags.forEach((word, i) => set16(DESC + 16 * i + 14, word));
    set16(USED, event);
    set16(USED + 2, eventFlags);
    witness.rest();
    assertEquals(
      broken(),
      seen === undefined ? [] : [`notify.missing-packed: buffers of queue 0 ${seen}`],
    );
  });
}

/** Descriptors of a split chain from 3 on, and of a table; which of them change; what is seen. */
const CHANGED: readonly (readonly [what: string, address: number, seen: boolean])[] = [
  ["nothing", 0x7000, false],
  ["the first byte of the head", DESC + 48, true],
  ["the last byte of the head", DESC + 63, true],
  ["the descriptor that follows", DESC + 7, true],
  ["the descriptor of the table", DESC + 16 + 12, true],
  ["the table's first byte", TABLE, true],
  ["the table's last descriptor, which no other leads to", TABLE + 47, true],
  ["the byte behind the table", TABLE + 48, false],
  ["a descriptor that is in no chain", DESC + 32, false],
  ["a buffer", BUFFER, false],
];

for (const [what, address, seen] of CHANGED) {
  Deno.test(`ring witness: ${what} changes while the device has a split chain with a table`, () => {
    const { witness, descriptor, take, bytes, broken, did } = rig();
    witness.started(0);
    descriptor(3, [BUFFER, 16, NEXT, 0]);
    descriptor(0, [BUFFER + 16, 16, NEXT, 1]);
    descriptor(1, [TABLE, 48, INDIRECT]);
    descriptor(0, [BUFFER + 32, 16, NEXT, 1], TABLE);
    descriptor(1, [BUFFER + 48, 16, WRITE], TABLE);
    const chain = take({ head: 3 });
    bytes[address]! ^= 1;
    witness.returned(0, chain);
    const text = `byte 0x${address.toString(16)} of a descriptor of queue 0 changed`;
    const rule = "ring.exposed-split";
    assertEquals(broken(), seen ? [`${rule}: ${text} while the device had it`] : []);
    // It is the driver's again.
    bytes[DESC + 48]! ^= 2;
    witness.returned(0, chain);
    assertEquals(broken().length, seen ? 1 : 0);
    assertEquals([did("split-table"), did("packed-table"), did("split-in-order")], [
      true,
      false,
      false,
    ]);
  });
}

Deno.test("ring witness: the available ring is looked at when the driver notifies, when the device takes, and at rest", () => {
  for (
    const look of [
      ({ witness }) => witness.notified(0),
      ({ take }) => void take({ head: 0 }),
      ({ witness }) => witness.rest(),
    ] as readonly ((made: ReturnType<typeof rig>) => void)[]
  ) {
    const made = rig();
    made.witness.started(0);
    made.set16(AVAIL, 2);
    look(made);
    assertEquals(made.broken(), ["ring.avail-flags: flags 0x2 in the available ring of queue 0"]);
  }
});

Deno.test("ring witness: a queue that does not run has not started, nor one that the device has not", () => {
  const { witness, state, set16, broken, did } = rig();
  state.running = false;
  witness.started(0);
  witness.started(7);
  state.running = true;
  set16(AVAIL + 2, 1);
  witness.rest();
  assertEquals([broken(), did("split")], [[], false]);
});

Deno.test("ring witness: of a queue that has not started, or runs no more, nothing is looked at", () => {
  const { witness, state, descriptor, set16, take, broken, did } = rig();
  descriptor(0, [BUFFER, 16, WRITE]);
  take({ head: 0 });
  witness.started(0);
  state.running = false;
  set16(USED, 1);
  witness.notified(0);
  take({ head: 0 });
  assertEquals([broken(), did("used")], [[], false]);
  witness.freed({ address: BUFFER, length: 16 });
  assertEquals([broken(), did("memory")], [[], true]);
});

Deno.test("ring witness: a packed queue without a position misses no notification", () => {
  const { witness, hosted, set16, broken } = rig({ packed: true });
  witness.started(0);
  set16(DESC + 14, AVAILABLE);
  const before = witness.beforePop(0);
  hosted.position = () => undefined;
  witness.rest();
  assertEquals(broken(), []);
  // Nobody knows where a chain ends then: it may be all of the ring.
  witness.taken(0, { head: 0 } as Chain, before);
  witness.freed({ address: DESC + 16 * SIZE - 1, length: 1 });
  assertEquals(broken().length, 1);
});

/** Where used descriptors may be written over others, a table is looked at unless it is in the ring. */
for (
  const [table, seen] of [
    [DESC - 16, true],
    [DESC, false],
    [DESC + 16 * SIZE - 16, false],
    [DESC + 16 * SIZE, true],
  ] as const
) {
  Deno.test(`ring witness: a packed ring's table at 0x${table.toString(16)} changes`, () => {
    const { witness, descriptor, take, move, bytes, broken } = rig({ packed: true });
    move(WRAP | 1, WRAP);
    witness.started(0);
    descriptor(1, [table, 16, INDIRECT | AVAILABLE]);
    const chain = take({ head: 1 }, WRAP | 2);
    bytes[table]! ^= 1;
    witness.returned(0, chain);
    assertEquals(broken().length, seen ? 1 : 0);
  });
}

const IN_ORDER = { features: [Feature.IN_ORDER] };
for (
  const [what, options, chain, table, seen] of [
    ["follow each other", IN_ORDER, [2, 3, 0, 1], [], undefined],
    ["leave one out", IN_ORDER, [0, 2], [], "descriptor 2 follows descriptor 0"],
    ["go back", IN_ORDER, [1, 0], [], "descriptor 0 follows descriptor 1"],
    ["go back, and need not be in order", {}, [1, 0], [], undefined],
    ["follow each other in a table", IN_ORDER, [3], [0, 1, 2], undefined],
    ["leave one out in a table", IN_ORDER, [3], [0, 2], "descriptor 2 follows descriptor 0"],
  ] as const
) {
  Deno.test(`ring witness: descriptors that ${what}`, () => {
    const { witness, descriptor, take, broken, did } = rig(options);
    witness.started(0);
    const write = (list: readonly number[], at?: number): void =>
      list.forEach((index, i) => {
        const next = list[i + 1] ?? 0;
        descriptor(index, [BUFFER, 16, i + 1 < list.length ? NEXT : 0, next], at);
      });
    write(chain);
    if (table.length > 0) {
      descriptor(chain[0], [TABLE, 48, INDIRECT]);
      write(table, TABLE);
    }
    take({ head: chain[0] });
    assertEquals(broken(), seen === undefined ? [] : [`ring.in-order: ${seen}`]);
    assertEquals(did("split-in-order"), "features" in options);
  });
}

Deno.test("ring witness: a table that goes round as a ring does is not in order, and comes to an end", () => {
  const { witness, descriptor, take, broken } = rig(IN_ORDER);
  witness.started(0);
  descriptor(0, [TABLE, 16, INDIRECT]);
  descriptor(0, [BUFFER, 16, NEXT, 0], TABLE);
  take({ head: 0 });
  assertEquals(broken(), ["ring.in-order: descriptor 0 follows descriptor 0"]);
});

for (
  const [what, from, length, freed] of [
    ["the buffer", BUFFER, 64, true],
    ["the buffer's last byte", BUFFER + 63, 1, true],
    ["the byte behind the buffer", BUFFER + 64, 1, false],
    ["the byte before the buffer", BUFFER - 1, 1, false],
    ["what ends with the buffer's first byte", BUFFER - 1, 2, true],
    ["its descriptor", DESC + 15, 1, true],
    ["another descriptor", DESC + 16, 16, false],
  ] as const
) {
  Deno.test(`ring witness: ${what} is freed while the device has it`, () => {
    const { witness, state, descriptor, take, broken } = rig();
    witness.started(0);
    descriptor(0, [BUFFER, 64, WRITE]);
    take({ head: 0 });
    for (const name of ["active", "running"] as const) {
      state[name] = false;
      witness.freed({ address: from, length });
      assertEquals(broken(), []);
      state[name] = true;
    }
    witness.freed({ address: from, length });
    const text = `memory at 0x${from.toString(16)} was freed while a buffer of queue 0 was in it`;
    assertEquals(broken(), freed ? [`memory.freed: ${text}`] : []);
  });
}

Deno.test("ring witness: memory above 4 GiB is not the memory below it", () => {
  const { witness, descriptor, take, broken } = rig();
  witness.started(0);
  descriptor(0, [2 ** 32 + 0x8001_0000, 64, WRITE]);
  take({ head: 0 });
  witness.freed({ address: 0x8001_0000, length: 64 });
  assertEquals(broken(), []);
  witness.freed({ address: 2 ** 32 + 0x8001_0000, length: 64 });
  assertEquals(broken().length, 1);
});

/** Packed chains of two descriptors from 3 on: what changes while the device has the chain, and whether that is seen. */
for (
  const [what, address, used, seen] of [
    ["nothing", 0x7000, WRAP | 3, undefined],
    ["the head", DESC + 48 + 7, WRAP | 3, true],
    ["the descriptor that follows", DESC + 15, WRAP | 3, true],
    ["the head, where used ones may be written", DESC + 48, WRAP | 2, undefined],
    ["a descriptor of others", DESC + 16, WRAP | 3, undefined],
    ["the table, where used ones may be written", TABLE + 8, WRAP | 2, true],
  ] as const
) {
  Deno.test(`ring witness: ${what} changes while the device has a packed chain`, () => {
    const { witness, descriptor, take, move, bytes, broken, did } = rig({ packed: true });
    move(WRAP | 3, used);
    witness.started(0);
    descriptor(3, [BUFFER, 16, NEXT | AVAILABLE]);
    descriptor(0, [TABLE, 32, INDIRECT | RETURNED]);
    descriptor(0, [BUFFER + 16, 16, 0], TABLE);
    descriptor(1, [BUFFER + 32, 16, WRITE], TABLE);
    const chain = take({ head: 3 }, 1);
    bytes[address]! ^= 1;
    witness.returned(0, chain);
    const text = `byte 0x${address.toString(16)} of a descriptor of queue 0 changed`;
    const rule = "ring.exposed-packed";
    assertEquals(broken(), seen ? [`${rule}: ${text} while the device had it`] : []);
    assertEquals([did("packed-table"), did("split-table")], [true, false]);
  });
}

for (
  const [flags, seen] of [
    [0, undefined],
    [WRITE, undefined],
    [NEXT, "flags 0x1 in a table"],
    [WRITE | AVAILABLE, "flags 0x82 in a table"],
  ] as const
) {
  Deno.test(`ring witness: the last descriptor of a packed table has flags 0x${flags.toString(16)}`, () => {
    const { witness, descriptor, take, broken } = rig({ packed: true });
    witness.started(0);
    descriptor(0, [TABLE, 32, INDIRECT | AVAILABLE]);
    descriptor(0, [BUFFER, 16, 0], TABLE);
    descriptor(1, [BUFFER + 16, 32, flags], TABLE);
    // Behind the table.
    descriptor(2, [BUFFER + 48, 16, NEXT], TABLE);
    take({ head: 0 }, WRAP | 1);
    assertEquals(broken(), seen === undefined ? [] : [`ring.packed-table-flags: ${seen}`]);
    witness.freed({ address: BUFFER + 47, length: 1 });
    assertEquals(broken().at(-1)?.startsWith("memory.freed"), true);
  });
}

/** Requests of a disk of 4 GiB sectors and 8: type, sector, and bytes of data. */
const DISK = 2 ** 32 + 8;
for (
  const [type, sector, data, seen] of [
    [0, DISK - 1, 512, undefined],
    [0, DISK - 1, 1024, `blk.capacity: a request up to sector ${DISK + 1} of ${DISK}`],
    [1, DISK, 512, `blk.capacity: a request up to sector ${DISK + 1} of ${DISK}`],
    [1, 0, 513, "blk.whole-sectors: a request of 513 bytes"],
    [0, 0, 0, undefined],
    [4, 0, 0, undefined],
    [4, 1, 0, "blk.flush-sector: a FLUSH of sector 1"],
    [8, 1, 20, undefined],
    [8, 0, 19, "blk.id-length: a GET_ID of 19 bytes"],
    [11, DISK, 21, undefined],
  ] as const
) {
  Deno.test(`ring witness: a disk's request of type ${type}, sector ${sector} and ${data} bytes`, () => {
    const { witness, bytes, descriptor, take, broken, did } = rig({ device: 2, capacity: DISK });
    witness.started(0);
    const header = new DataView(bytes.buffer, BUFFER, 16);
    header.setUint32(0, type, true);
    header.setBigUint64(8, BigInt(sector), true);
    // The header lies in two buffers.
    descriptor(0, [BUFFER, 5, NEXT, 1]);
    descriptor(1, [BUFFER + 5, 11 + data, 0]);
    const out = type === 1;
    take({ head: 0, readableLength: 16 + (out ? data : 0), writableLength: out ? 1 : data + 1 });
    assertEquals([broken(), did("blk"), did("used")], [
      seen === undefined ? [] : [seen],
      true,
      true,
    ]);
  });
}

Deno.test("ring witness: a disk's request without a whole header in memory is not looked at", () => {
  for (const [address, length] of [[BUFFER, 15], [MEMORY - 8, 16]] as const) {
    const { witness, bytes, descriptor, take, broken } = rig({ device: 2 });
    witness.started(0);
    // A FLUSH of sector 4, if the rest is 0.
    bytes.set([4, 0, 0, 0, 0, 0, 0, 0], address);
    if (length === 15) bytes[address + 8] = 4;
    descriptor(0, [address, length, 0]);
    take({ head: 0, readableLength: 16, writableLength: 1 });
    assertEquals(broken(), []);
  }
});

const CSUM = 0;
const MRG_RXBUF = 15;
for (
  const [what, options, header, seen] of [
    ["0", {}, [], undefined],
    ["flags", {}, [[0, 1]], "net.flags: flags 0x1 without CSUM"],
    ["flags with CSUM", { features: [CSUM] }, [[0, 1]], undefined],
    ["num_buffers", {}, [[10, 1]], "net.buffers: num_buffers 1 in a header that is sent"],
    ["num_buffers of 256", {}, [[11, 1]], "net.buffers: num_buffers 256 in a header that is sent"],
    ["data behind a short header", { legacy: true }, [[10, 1]], undefined],
    [
      "num_buffers with MRG_RXBUF",
      { legacy: true, features: [MRG_RXBUF] },
      [[10, 1]],
      "net.buffers: num_buffers 1 in a header that is sent",
    ],
    ["num_buffers of a received frame", { queue: 0 }, [[10, 1]], undefined],
    [
      "num_buffers of the second pair",
      { queue: 3 },
      [[10, 2]],
      "net.buffers: num_buffers 2 in a header that is sent",
    ],
  ] as const
) {
  Deno.test(`ring witness: a frame's header has ${what}`, () => {
    const queue = "queue" in options ? options.queue : 1;
    const { witness, bytes, descriptor, take, broken, did } = rig({ device: 1, ...options, queue });
    witness.started(queue);
    for (const [at, value] of header) bytes[BUFFER + at] = value;
    descriptor(0, [BUFFER, 60, 0]);
    take({ head: 0 });
    assertEquals([broken(), did("net")], [seen === undefined ? [] : [seen], queue % 2 === 1]);
  });
}
