import { get, zeroes } from "../bytes.ts";
import type { Check } from "../check.ts";
import type { CheckContext } from "../context.ts";
import { blkHeader, TYPE, zonedModel } from "../requests.ts";
import { STATUS } from "../raw/registers.ts";

const SCOPE = { devices: [TYPE.BLK], face: "modern" } as const;
const SEG_MAX = 2;
const SIZE_MAX = 1;
const ZONED = 17;
const OFFERS = [ZONED] as const;
const [HM, HA] = [1, 2];
const [OK, UNSUPP, INVALID, UNALIGNED, OPEN_LIMIT, ACTIVE_LIMIT] = [0, 2, 3, 4, 5, 6];
const [IN, OUT, APPEND, REPORT, OPEN, CLOSE, FINISH, RESET] = [0, 1, 15, 16, 18, 20, 22, 24];
const [CONV, SWR] = [1, 2];
const [EMPTY, IOPEN, EOPEN, CLOSED, RDONLY, FULL, OFFLINE] = [1, 2, 3, 4, 13, 14, 15];
/** Zones of one report. */
const REPORTED = 32;

interface Zone {
  readonly start: number;
  readonly capacity: number;
  readonly pointer: number;
  readonly type: number;
  readonly state: number;
}

const long = (bytes: Uint8Array, at: number): number =>
  get(bytes, at, 4) + get(bytes, at + 4, 4) * 2 ** 32;
const sectors = ({ device }: CheckContext): number =>
  device.config(0, 4) + device.config(4, 4) * 2 ** 32;
/** Sectors of the least write. */
const unit = ({ device }: CheckContext): number => Math.max(1, device.config(88, 4) / 512);
const zoneSectors = ({ device }: CheckContext): number => device.config(72, 4);

/** Makes a request and gives its status. */
async function ask(c: CheckContext, type: number, sector: number, out?: Uint8Array, into = 0) {
  const readable = [blkHeader(type, sector), ...out === undefined ? [] : [out]];
  const tail = type === APPEND ? 9 : 1;
  const { bytes } = await c.ask(0, readable, [...into > 0 ? [into] : [], tail]);
  return { status: bytes.at(-1)!, bytes };
}

async function report(c: CheckContext, sector: number): Promise<Zone[]> {
  const { status, bytes } = await ask(c, REPORT, sector, undefined, 64 + 64 * REPORTED);
  c.equal("status of a report", status, OK);
  const count = Math.min(long(bytes, 0), REPORTED);
  return Array.from({ length: count }, (_, i) => {
    const at = 64 + 64 * i;
    return {
      capacity: long(bytes, at),
      start: long(bytes, at + 8),
      pointer: long(bytes, at + 16),
      type: bytes[at + 24]!,
      state: bytes[at + 25]!,
    };
  });
}

/** Zones of the disk's beginning and of its middle, where the conventional ones are over. */
async function known(c: CheckContext): Promise<Zone[]> {
  const first = await report(c, 0);
  return [...first, ...await report(c, Math.floor(sectors(c) / 2))]
    .filter(({ start }, i, all) => all.findIndex((zone) => zone.start === start) === i);
}

/** Brings a disk up whose zones must be written in order; skips any other. */
async function managed(c: CheckContext): Promise<void> {
  if (zonedModel(c) !== HM) c.skip("the disk is not host-managed");
  await c.init({ features: OFFERS });
}

/** Empty zones that must be written in order; what a check writes is reset again. */
async function empty(c: CheckContext, count = 1): Promise<readonly Zone[]> {
  const zones = (await known(c)).filter(({ type, state }) => type === SWR && state === EMPTY);
  if (zones.length < count) return c.skip(`the disk has no ${count} empty zones to look at`);
  return zones.slice(0, count);
}

async function zoneAt(c: CheckContext, start: number): Promise<Zone> {
  const [zone] = await report(c, start);
  c.equal("start of the zone", zone?.start, start);
  return zone!;
}

const data = (c: CheckContext): Uint8Array => zeroes(unit(c) * 512).fill(0x5a);

/** Does something with an empty zone, and resets it whatever comes of it. */
async function withZone(c: CheckContext, run: (zone: Zone) => Promise<void>): Promise<void> {
  await managed(c);
  const [zone] = await empty(c);
  try {
    await run(zone!);
  } finally {
    await ask(c, RESET, zone!.start);
  }
}

const sound: Check[] = [
  {
    id: "blk.zoned.model",
    clauses: ["dev.blk.init.9", "dev.blk.init.16"],
    done: "model and the padding behind it are read",
    expected: "NONE, HM or HA, and zeroes",
    offers: OFFERS,
    scope: SCOPE,
    async run(c) {
      const model = zonedModel(c);
      c.expect("model", model <= HA, model, "0, 1 or 2");
      await c.init({ features: OFFERS });
      for (const at of [93, 94, 95]) c.equal(`unused2 at ${at}`, c.device.config(at, 1), 0);
    },
  },
  {
    id: "blk.zoned.sizes",
    clauses: ["dev.blk.init.10", "dev.blk.init.15"],
    done: "zone_sectors and write_granularity of a zoned disk are read",
    expected: "a zone of whole granules, which are whole sectors",
    offers: OFFERS,
    scope: SCOPE,
    async run(c) {
      if (zonedModel(c) === 0) return c.skip("the disk keeps its zones to itself");
      await c.init({ features: OFFERS });
      const [zone, granule] = [zoneSectors(c) * 512, c.device.config(88, 4)];
      c.expect("write_granularity", granule > 0 && granule % 512 === 0, granule, "whole sectors");
      c.expect("bytes of a zone", zone > 0 && zone % granule === 0, zone, "whole granules");
    },
  },
  {
    id: "blk.zoned.limits",
    clauses: ["dev.blk.init.11", "dev.blk.init.12"],
    done: "max_open_zones and max_active_zones of a zoned disk are read",
    expected: "no more open zones than active ones, if both have a limit",
    offers: OFFERS,
    scope: SCOPE,
    async run(c) {
      if (zonedModel(c) === 0) return c.skip("the disk keeps its zones to itself");
      await c.init({ features: OFFERS });
      const [open, active] = [c.device.config(76, 4), c.device.config(80, 4)];
      if (active === 0) return c.skip("any number of zones may be active");
      c.expect("max_open_zones", open <= active, open, `at most ${active}`);
    },
  },
  {
    id: "blk.zoned.append-limit",
    clauses: ["dev.blk.init.13", "dev.blk.init.14"],
    done: "max_append_sectors is read",
    expected: "no more than a zone, and than seg_max buffers of size_max bytes",
    offers: OFFERS,
    scope: SCOPE,
    async run(c) {
      if (zonedModel(c) === 0) return c.skip("the disk keeps its zones to itself");
      await c.init({ features: [ZONED, SEG_MAX, SIZE_MAX] });
      const most = c.device.config(84, 4);
      c.expect("max_append_sectors", most <= zoneSectors(c), most, `at most ${zoneSectors(c)}`);
      if (!c.accepted.has(SEG_MAX) || !c.accepted.has(SIZE_MAX)) return;
      const room = c.device.config(12, 4) * c.device.config(8, 4);
      c.expect("bytes of an append", most * 512 <= room, most * 512, `at most ${room}`);
    },
  },
  {
    id: "blk.zoned.refused-without",
    clauses: ["dev.blk.init.8"],
    done: "FEATURES_OK is written without ZONED to a host-managed disk",
    expected: "FEATURES_OK stays clear",
    offers: OFFERS,
    scope: SCOPE,
    async run(c) {
      if (zonedModel(c) !== HM) return c.skip("the disk is not host-managed");
      await c.init({ until: "driver" });
      const bits = c.plain();
      bits.delete(ZONED);
      c.accept(bits);
      const { ACKNOWLEDGE, DRIVER, FEATURES_OK } = STATUS;
      c.device.writeStatus(ACKNOWLEDGE | DRIVER | FEATURES_OK);
      c.equal("FEATURES_OK", c.device.status() & FEATURES_OK, 0);
    },
  },
  {
    id: "blk.zoned.hidden",
    clauses: ["dev.blk.init.7"],
    done: "a disk of another model is driven without ZONED, and the zoned part read",
    expected: "zeroes",
    offers: OFFERS,
    scope: SCOPE,
    async run(c) {
      if (zonedModel(c) === HM) return c.skip("a host-managed disk needs ZONED");
      await c.init();
      for (let at = 72; at < 92; at += 4) c.equal(`field at ${at}`, c.device.config(at, 4), 0);
      c.equal("model", c.device.config(92, 1), 0);
    },
  },
  {
    id: "blk.zoned.not-legacy",
    clauses: ["dev.blk.init.6"],
    done: "the offer is read by the legacy interface",
    expected: "no ZONED",
    scope: { devices: [TYPE.BLK], face: "legacy" },
    run: (c) => c.equal("ZONED is offered", c.offered().has(ZONED), false),
  },
  {
    id: "blk.zoned.report",
    clauses: ["virtio 1.4 §5.2.6"],
    done: "zones are reported",
    expected: "one after another, with a capacity, type and state that a zone may have",
    offers: OFFERS,
    scope: SCOPE,
    async run(c) {
      await managed(c);
      const size = zoneSectors(c);
      const zones = await report(c, size - 1);
      c.expect("zones", zones.length > 0, zones.length, "1 or more");
      zones.forEach(({ start, capacity, type, state, pointer }, i) => {
        c.equal(`start of zone ${i}`, start, i * size);
        c.expect("capacity", capacity <= size, capacity, `at most ${size}`);
        c.expect("type", type >= 1 && type <= 3, type, "1 to 3");
        const sequential = state >= 1 && state <= 4 || state >= 13 && state <= 15;
        c.expect("state", type === CONV ? state === 0 : sequential, state, "one of its type");
        if (state !== EMPTY) return;
        c.equal("write pointer of an empty zone", pointer, start);
      });
    },
  },
  {
    id: "blk.zoned.life",
    clauses: ["virtio 1.4 §5.2.6"],
    done: "an empty zone is written, opened, closed, finished and reset",
    expected: "OK, and its states one after another",
    offers: OFFERS,
    scope: SCOPE,
    run: (c) =>
      withZone(c, async ({ start }) => {
        const steps = [
          [OUT, IOPEN],
          [OPEN, EOPEN],
          [CLOSE, CLOSED],
          [OPEN, EOPEN],
          [FINISH, FULL],
          [
            RESET,
            EMPTY,
          ],
        ] as const;
        for (const [type, state] of steps) {
          const out = type === OUT ? data(c) : undefined;
          c.equal(`status of type ${type}`, (await ask(c, type, start, out)).status, OK);
          const zone = await zoneAt(c, start);
          c.equal(`state after type ${type}`, zone.state, state);
          const end = start + (state === EMPTY ? 0 : unit(c));
          if (state !== FULL) c.equal("write pointer", zone.pointer, end);
        }
      }),
  },
  {
    id: "blk.zoned.append",
    clauses: ["dev.blk.operation.24"],
    done: "an empty zone is appended to twice, and read",
    expected: "OK, the first sectors that were written, and what was written there",
    offers: OFFERS,
    scope: SCOPE,
    run: (c) =>
      withZone(c, async ({ start }) => {
        if (c.device.config(84, 4) < unit(c)) return c.skip("the disk has no appends");
        for (const at of [start, start + unit(c)]) {
          const { status, bytes } = await ask(c, APPEND, start, data(c));
          c.equal("status of an append", status, OK);
          c.equal("append_sector", long(bytes, 0), at);
        }
        const { status, bytes } = await ask(c, IN, start + unit(c), undefined, 512);
        c.equal("status of a read", status, OK);
        c.equal("first byte", bytes[0], 0x5a);
      }),
  },
  {
    id: "blk.zoned.unwritten",
    clauses: ["dev.blk.operation.31", "dev.blk.operation.32"],
    done: "a zone is written, reset and read",
    expected: "an error, or a pattern that is not what was written",
    offers: OFFERS,
    scope: SCOPE,
    run: (c) =>
      withZone(c, async ({ start }) => {
        c.equal("status of a write", (await ask(c, OUT, start, data(c))).status, OK);
        c.equal("status of a reset", (await ask(c, RESET, start)).status, OK);
        const { status, bytes } = await ask(c, IN, start, undefined, 512);
        if (status !== OK) return;
        const kept = bytes.subarray(0, 512).every((byte) => byte === 0x5a);
        c.equal("what was written is read", kept, false);
      }),
  },
];

/** A request that a zone does not take: what is done with an empty zone first, the request, and its statuses. */
interface Refusal {
  readonly name: string;
  readonly clauses: readonly string[];
  readonly done: string;
  readonly statuses: readonly number[];
  readonly zone?: (zone: Zone) => boolean;
  readonly run: (c: CheckContext, zone: Zone) => Promise<{ readonly status: number }>;
}

const NAMES = ["OK", "IOERR", "UNSUPP", "ZONE_INVALID_CMD", "ZONE_UNALIGNED_WP"];
const isEmpty = ({ type, state }: Zone): boolean => type === SWR && state === EMPTY;
const isConventional = ({ type }: Zone): boolean => type === CONV;

const MANAGED: readonly Refusal[] = ([["open", OPEN], ["close", CLOSE], ["finish", FINISH], [
  "reset",
  RESET,
]] as const).map(([name, type]) => ({
  name: `${name}-conventional`,
  clauses: ["dev.blk.operation.14"],
  done: `a conventional zone gets a request of type ${type}`,
  statuses: [INVALID],
  zone: isConventional,
  run: (c, { start }) => ask(c, type, start),
}));

const REFUSALS: readonly Refusal[] = [
  ...MANAGED,
  {
    name: "append-conventional",
    clauses: ["dev.blk.operation.15"],
    done: "data are appended to a conventional zone",
    statuses: [INVALID],
    zone: isConventional,
    run: (c, { start }) => ask(c, APPEND, start, data(c)),
  },
  {
    name: "open-full",
    clauses: ["dev.blk.operation.16"],
    done: "a full zone is opened",
    statuses: [INVALID],
    async run(c, { start }) {
      await ask(c, OUT, start, data(c));
      await ask(c, FINISH, start);
      return await ask(c, OPEN, start);
    },
  },
  {
    name: "close-full",
    clauses: ["dev.blk.operation.18"],
    done: "a full zone is closed",
    statuses: [INVALID],
    async run(c, { start }) {
      await ask(c, OUT, start, data(c));
      await ask(c, FINISH, start);
      return await ask(c, CLOSE, start);
    },
  },
  {
    name: "append-inside",
    clauses: ["dev.blk.operation.22"],
    done: "data are appended at a sector that is not a zone's first",
    statuses: [INVALID],
    run: (c, { start }) => ask(c, APPEND, start + unit(c), data(c)),
  },
  {
    name: "write-full",
    clauses: ["dev.blk.operation.23"],
    done: "a full zone is written",
    statuses: [INVALID],
    async run(c, { start }) {
      await ask(c, OUT, start, data(c));
      await ask(c, FINISH, start);
      return await ask(c, OUT, start + unit(c), data(c));
    },
  },
  {
    name: "append-full",
    clauses: ["dev.blk.operation.23"],
    done: "data are appended to a full zone",
    statuses: [INVALID],
    async run(c, { start }) {
      await ask(c, OUT, start, data(c));
      await ask(c, FINISH, start);
      return await ask(c, APPEND, start, data(c));
    },
  },
  {
    name: "append-too-much",
    clauses: ["dev.blk.operation.25", "dev.blk.operation.26"],
    done: "more than max_append_sectors are appended",
    statuses: [INVALID, UNSUPP],
    run(c, { start }) {
      const most = c.device.config(84, 4);
      // The memory that is shared with the device has no room for more.
      if (most > 64) c.skip(`max_append_sectors is ${most}`);
      const size = (Math.floor(most / unit(c)) + 1) * unit(c) * 512;
      return ask(c, APPEND, start, zeroes(size));
    },
  },
  {
    name: "read-across",
    clauses: ["dev.blk.operation.27"],
    done: "the last sectors of a zone and the next zone's first ones are read at once",
    statuses: [INVALID],
    run(c, { start }) {
      if (start + 2 * zoneSectors(c) > sectors(c)) c.skip("it is the last zone");
      const granule = unit(c);
      return ask(c, IN, start + zoneSectors(c) - granule, undefined, 2 * granule * 512);
    },
  },
  {
    name: "write-elsewhere",
    clauses: ["dev.blk.operation.28"],
    done: "a zone is written behind its write pointer",
    statuses: [UNALIGNED],
    run: (c, { start }) => ask(c, OUT, start + unit(c), data(c)),
  },
  {
    name: "write-read-only",
    clauses: ["dev.blk.operation.29"],
    done: "a read-only zone is written",
    statuses: [INVALID],
    zone: ({ state }) => state === RDONLY,
    run: (c, { start }) => ask(c, OUT, start, data(c)),
  },
  {
    name: "finish-read-only",
    clauses: ["dev.blk.operation.19"],
    done: "a read-only zone is finished",
    statuses: [INVALID],
    zone: ({ state }) => state === RDONLY,
    run: (c, { start }) => ask(c, FINISH, start),
  },
  {
    name: "reset-read-only",
    clauses: ["dev.blk.operation.20"],
    done: "a read-only zone is reset",
    statuses: [INVALID],
    zone: ({ state }) => state === RDONLY,
    run: (c, { start }) => ask(c, RESET, start),
  },
  {
    name: "read-offline",
    clauses: ["dev.blk.operation.30"],
    done: "an offline zone is read",
    statuses: [INVALID],
    zone: ({ state }) => state === OFFLINE,
    run: (c, { start }) => ask(c, IN, start, undefined, unit(c) * 512),
  },
];

const refusals: Check[] = REFUSALS.map(({ name, clauses, done, statuses, run, ...refusal }) => ({
  id: `blk.zoned.hostile.${name}`,
  clauses,
  done,
  expected: statuses.map((status) => NAMES[status]).join(" or "),
  hostile: true,
  offers: OFFERS,
  scope: SCOPE,
  async run(c) {
    await managed(c);
    const zone = (await known(c)).find(refusal.zone ?? isEmpty);
    if (zone === undefined) return c.skip("the disk has no such zone");
    try {
      const { status } = await run(c, zone);
      c.expect("status", statuses.includes(status), status, statuses.join(" or "));
    } finally {
      if (isEmpty(zone)) await ask(c, RESET, zone.start);
    }
  },
}));

/** Opens empty zones until one is refused, and gives the status of a request that opens one more. */
function limit(name: string, request: "open" | "write" | "append", clause: string): Check {
  return {
    id: `blk.zoned.hostile.${name}`,
    clauses: [clause],
    done: `as many zones are opened as may be, and one more by a request to ${request}`,
    expected: "ZONE_OPEN_RESOURCE or ZONE_ACTIVE_RESOURCE, and the zone as it was",
    hostile: true,
    offers: OFFERS,
    scope: SCOPE,
    async run(c) {
      await managed(c);
      const limits = [c.device.config(76, 4), c.device.config(80, 4)].filter((most) => most > 0);
      const most = Math.min(...limits);
      if (limits.length === 0 || most > REPORTED) return c.skip("there is no limit in reach");
      const zones = await empty(c, most + 1);
      try {
        for (const { start } of zones.slice(0, most)) {
          if ((await ask(c, OPEN, start)).status !== OK) break;
        }
        const { start } = zones.at(-1)!;
        const { status } = request === "open"
          ? await ask(c, OPEN, start)
          : await ask(c, request === "write" ? OUT : APPEND, start, data(c));
        const refused = status === OPEN_LIMIT || status === ACTIVE_LIMIT;
        c.expect("status", refused, status, `${OPEN_LIMIT} or ${ACTIVE_LIMIT}`);
        c.equal("state of the zone", (await zoneAt(c, start)).state, EMPTY);
      } finally {
        for (const { start } of zones) await ask(c, RESET, start);
      }
    },
  };
}

/** Zoned disks (virtio 1.4 §5.2); what they write goes to empty zones, which are reset. */
export const BLK_ZONED_CHECKS: readonly Check[] = [
  ...sound,
  ...refusals,
  limit("open-too-many", "open", "dev.blk.operation.17"),
  limit("write-too-many", "write", "dev.blk.operation.21"),
  limit("append-too-many", "append", "dev.blk.operation.21"),
  {
    id: "blk.zoned.hostile.no-room-for-report",
    clauses: ["virtio 1.4 §5.2.6"],
    done: "zones are reported into 63 bytes",
    expected: "an error",
    hostile: true,
    offers: OFFERS,
    scope: SCOPE,
    async run(c) {
      await managed(c);
      const { bytes } = await c.ask(0, [blkHeader(REPORT, 0)], [63, 1]);
      c.expect("status", bytes[63] !== OK, bytes[63], "not OK");
    },
  },
];
