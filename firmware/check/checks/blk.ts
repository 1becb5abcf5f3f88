import { join, u32, u64, zeroes } from "../bytes.ts";
import type { Check } from "../check.ts";
import type { CheckContext, Reply } from "../context.ts";
import { blkHeader, TYPE, zonedModel } from "../requests.ts";

const BLK = { devices: [TYPE.BLK] } as const;
const MODERN = { devices: [TYPE.BLK], face: "modern" } as const;
const RO = 5;
const FLUSH = 9;
const WCE = 11;
const MQ = 12;
const DISCARD = 13;
const WRITE_ZEROES = 14;
const SECURE_ERASE = 16;
const OK = 0;
const IOERR = 1;
const UNSUPP = 2;

/** The disk's size in sectors. */
function capacity({ device }: CheckContext): number {
  return device.config(0, 4) + device.config(4, 4) * 2 ** 32;
}

/** Makes a request and gives its status. */
async function status(
  c: CheckContext,
  type: number,
  sector: number | bigint,
  out: Uint8Array = zeroes(0),
  into = 0,
): Promise<number> {
  const readable = [blkHeader(type, sector), ...out.length > 0 ? [out] : []];
  const reply = await c.ask(0, readable, [...into > 0 ? [into] : [], 1]);
  return reply.bytes.at(-1)!;
}

async function read(c: CheckContext, sector: number, count = 1): Promise<Reply> {
  const reply = await c.ask(0, [blkHeader(0, sector)], [512 * count, 1]);
  c.equal(`status of a read of sector ${sector}`, reply.bytes.at(-1), OK);
  return reply;
}

const sound: Check[] = [
  {
    id: "blk.capacity",
    clauses: ["virtio 1.4 §5.2.4"],
    done: "capacity is read",
    expected: "one sector or more",
    scope: BLK,
    run: (c) => c.expect("capacity", capacity(c) > 0, capacity(c), "1 or more"),
  },
  {
    id: "blk.last-sector",
    clauses: ["virtio 1.4 §5.2.6"],
    done: "the last sector is read",
    expected: "OK",
    scope: BLK,
    async run(c) {
      await c.init();
      await read(c, capacity(c) - 1);
    },
  },
  {
    id: "blk.several-sectors",
    clauses: ["virtio 1.4 §5.2.6"],
    done: "two sectors are read at once, and one by one",
    expected: "the same bytes",
    scope: BLK,
    async run(c) {
      await c.init();
      const both = (await read(c, 0, 2)).bytes.slice(0, 1024);
      const apart = [await read(c, 0), await read(c, 1)].map(({ bytes }) => bytes.slice(0, 512));
      c.equal("sectors 0 and 1", join(...apart).toHex() === both.toHex(), true);
    },
  },
  {
    id: "blk.write-back",
    clauses: ["virtio 1.4 §5.2.6"],
    done: "a sector is read, written with what it held, and read again",
    expected: "OK, and the same bytes",
    scope: BLK,
    async run(c) {
      if (c.offered().has(RO)) return c.skip("the disk is read-only");
      await c.init();
      const before = (await read(c, 0)).bytes.slice(0, 512);
      c.equal("status of the write", await status(c, 1, 0, before), OK);
      c.equal("sector 0", (await read(c, 0)).bytes.slice(0, 512), before);
    },
  },
  {
    id: "blk.read-only",
    clauses: ["dev.blk.operation.2", "dev.blk.operation.3"],
    done: "a sector of a read-only disk is written, with RO accepted",
    expected: "IOERR, and the sector as it was",
    offers: [RO],
    scope: BLK,
    async run(c) {
      await c.init({ features: [RO] });
      const before = (await read(c, 0)).bytes.slice(0, 512);
      c.equal("status of the write", await status(c, 1, 0, before.map((byte) => ~byte)), IOERR);
      c.equal("sector 0", (await read(c, 0)).bytes.slice(0, 512), before);
    },
  },
  {
    id: "blk.id",
    clauses: ["virtio 1.4 §5.2.6"],
    done: "the id of the disk is asked for, with 20 bytes of room",
    expected: "OK or UNSUPP",
    scope: BLK,
    async run(c) {
      await c.init();
      const seen = await status(c, 8, 0, zeroes(0), 20);
      c.expect("status of GET_ID", seen === OK || seen === UNSUPP, seen, "OK or UNSUPP");
    },
  },
  {
    id: "blk.flush",
    clauses: ["virtio 1.4 §5.2.6"],
    done: "a flush is made, with FLUSH accepted",
    expected: "OK",
    offers: [FLUSH],
    scope: BLK,
    async run(c) {
      await c.init({ features: [FLUSH] });
      c.equal("status of FLUSH", await status(c, 4, 0), OK);
    },
  },
  {
    id: "blk.flush-offered",
    clauses: ["dev.blk.init.1"],
    done: "the offer is read",
    expected: "FLUSH is offered",
    scope: BLK,
    run: (c) => c.equal("FLUSH is offered", c.offered().has(FLUSH), true),
  },
  {
    id: "blk.writeback",
    clauses: ["virtio 1.4 §5.2.4"],
    done: "writeback is read with CONFIG_WCE accepted, written each value and read",
    expected: "0 or 1, and what was written",
    offers: [WCE, FLUSH],
    scope: MODERN,
    async run(c) {
      await c.init({ features: [WCE, FLUSH] });
      const before = c.device.config(32, 1);
      c.expect("writeback", before <= 1, before, "0 or 1");
      for (const value of [1 - before, before]) {
        c.device.writeConfig(32, 1, value);
        c.equal("writeback", c.device.config(32, 1), value);
      }
    },
  },
  {
    id: "blk.no-flush-no-cache",
    clauses: ["dev.blk.init.3"],
    done: "CONFIG_WCE is accepted without FLUSH, and writeback read",
    expected: "0",
    offers: [WCE],
    scope: MODERN,
    async run(c) {
      await c.init({ features: [WCE] });
      c.equal("writeback", c.device.config(32, 1), 0);
    },
  },
  {
    id: "blk.padding",
    clauses: ["dev.blk.init.4"],
    done: "unused0 is read, and unused1 where WRITE_ZEROES is offered",
    expected: "0",
    scope: BLK,
    async run(c) {
      await c.init();
      if (c.offered().has(MQ)) c.equal("unused0", c.device.config(33, 1), 0);
      if (!c.offered().has(WRITE_ZEROES)) return;
      for (const at of [57, 58, 59]) c.equal(`unused1 at ${at}`, c.device.config(at, 1), 0);
    },
  },
  {
    id: "blk.queues",
    clauses: ["virtio 1.4 §5.2.4"],
    done: "num_queues is read where MQ is offered, and the last queue selected",
    expected: "1 or more, and the queue exists",
    offers: [MQ],
    scope: BLK,
    run(c) {
      const count = c.device.config(34, 2);
      c.expect("num_queues", count > 0, count, "1 or more");
      c.device.select(count - 1);
      c.expect(`size of queue ${count - 1}`, c.device.sizeMax() > 0, 0, "not 0");
    },
  },
];

/** Requests of types that a device without their feature does not know. */
const ZONES = { append: 15, report: 16, open: 18, close: 20, finish: 22, reset: 24, resetAll: 26 };

const zones: Check[] = Object.entries(ZONES).map(([name, type]) => ({
  id: `blk.hostile.zone-${name.toLowerCase()}`,
  clauses: ["dev.blk.operation.13"],
  done: `a zone request (type ${type}) is made without ZONED`,
  expected: "UNSUPP",
  hostile: true,
  scope: BLK,
  async run(c) {
    if (zonedModel(c) === 1) return c.skip("a host-managed disk needs ZONED");
    await c.init();
    c.equal("status", await status(c, type, 0, zeroes(0), 512), UNSUPP);
  },
}));

const unknown: Check[] = [9, 12, 27, 255, 0x7fffffff].map((type) => ({
  id: `blk.hostile.type-${type}`,
  clauses: ["virtio 1.4 §5.2.6"],
  done: `a request of the unknown type ${type} is made`,
  expected: "UNSUPP",
  hostile: true,
  scope: BLK,
  async run(c) {
    await c.init();
    c.equal("status", await status(c, type, 0), UNSUPP);
  },
}));

/** One range of sectors with flags. */
const range = (sector: number | bigint, count: number, flags: number): Uint8Array =>
  join(u64(sector), u32(count, flags));

const ranges: Check[] = ([
  ["discard-unknown-flag", 11, DISCARD, 2, ["dev.blk.operation.4"]],
  ["discard-unmap", 11, DISCARD, 1, ["dev.blk.operation.5"]],
  ["write-zeroes-unknown-flag", 13, WRITE_ZEROES, 2, ["dev.blk.operation.4"]],
  ["secure-erase-unknown-flag", 14, SECURE_ERASE, 2, ["dev.blk.operation.4"]],
  ["secure-erase-unmap", 14, SECURE_ERASE, 1, ["dev.blk.operation.4"]],
] as const).map(([name, type, bit, flags, clauses]) => ({
  id: `blk.hostile.${name}`,
  clauses,
  done: `request ${type} has the flags ${flags}`,
  expected: "UNSUPP",
  hostile: true,
  offers: [bit],
  scope: BLK,
  async run(c) {
    if (c.offered().has(RO)) return c.skip("the disk is read-only");
    await c.init({ features: [bit] });
    c.equal("status", await status(c, type, 0, range(0, 8, flags)), UNSUPP);
  },
}));

const beyond: Check[] = ([
  ["discard", 11, DISCARD],
  ["write-zeroes", 13, WRITE_ZEROES],
  ["secure-erase", 14, SECURE_ERASE],
] as const).flatMap(([name, type, bit]) =>
  ([["end", 0n, 2], ["wrap", 0xffff_ffff_ffff_fff0n, 64]] as const).map(([where, at, count]) => ({
    id: `blk.hostile.${name}-beyond-${where}`,
    clauses: ["virtio 1.4 §5.2.6"],
    done: `a ${name} request goes beyond the end of the disk`,
    expected: "IOERR",
    hostile: true as const,
    offers: [bit],
    scope: BLK,
    async run(c: CheckContext) {
      await c.init({ features: [bit] });
      const sector = at === 0n ? BigInt(capacity(c)) - 1n : at;
      c.equal("status", await status(c, type, 0, range(sector, count, 0)), IOERR);
    },
  }))
);

/** Reads and writes that no disk can carry out. */
const outside: Check[] = ([
  ["read-at-end", 0, (end: bigint) => end, 512],
  ["read-across-end", 0, (end: bigint) => end - 1n, 1024],
  ["read-2-55", 0, () => 1n << 55n, 512],
  ["read-last-number", 0, () => 0xffff_ffff_ffff_ffffn, 512],
] as const).map(([name, type, sector, length]) => ({
  id: `blk.hostile.${name}`,
  clauses: ["drv.blk.operation.2"],
  done: "sectors beyond the capacity are read",
  expected: "IOERR",
  hostile: true,
  scope: BLK,
  async run(c) {
    await c.init();
    const at = sector(BigInt(capacity(c)));
    c.equal("status", await status(c, type, at, zeroes(0), length), IOERR);
  },
}));

const writes: Check[] = ([
  ["write-at-end", (end: bigint) => end],
  ["write-2-55", () => 1n << 55n],
  ["write-last-number", () => 0xffff_ffff_ffff_ffffn],
] as const).map(([name, sector]) => ({
  id: `blk.hostile.${name}`,
  clauses: ["drv.blk.operation.2"],
  done: "sectors beyond the capacity are written",
  expected: "IOERR",
  hostile: true,
  scope: BLK,
  async run(c) {
    await c.init();
    const at = sector(BigInt(capacity(c)));
    c.equal("status", await status(c, 1, at, zeroes(512)), IOERR);
  },
}));

/** Requests whose shape is wrong; what they may do is stop the device. */
const shapes: Check[] = ([
  ["odd-length", "drv.blk.operation.6", [blkHeader(0, 0)], [100, 1]],
  ["no-data", "drv.blk.operation.6", [blkHeader(0, 0)], [1]],
  ["header-of-8", "virtio 1.4 §5.2.6", [u32(0, 0)], [512, 1]],
  ["write-without-data", "drv.blk.operation.6", [blkHeader(1, 0)], [1]],
  ["write-of-one-byte", "drv.blk.operation.6", [blkHeader(1, 0), zeroes(1)], [1]],
  ["no-status", "virtio 1.4 §5.2.6", [blkHeader(4, 0)], []],
  ["id-of-one-byte", "drv.blk.operation.8", [blkHeader(8, 0)], [1, 1]],
  ["flush-with-data", "drv.blk.operation.5", [blkHeader(4, 0), zeroes(512)], [1]],
  ["flush-of-sector", "drv.blk.operation.4", [blkHeader(4, 77)], [1]],
  ["discard-of-7-bytes", "drv.blk.operation.7", [blkHeader(11, 0), zeroes(7)], [1]],
  ["discard-of-nothing", "drv.blk.operation.7", [blkHeader(11, 0)], [1]],
  ["zeroes-of-17-bytes", "drv.blk.operation.7", [blkHeader(13, 0), zeroes(17)], [1]],
] as const).map(([name, clause, readable, writable]) => ({
  id: `blk.hostile.${name}`,
  clauses: [clause],
  done: "a request is made whose shape is wrong",
  expected: "it fails or the device stops, and after a reset the device works as before",
  hostile: true,
  scope: BLK,
  async run(c) {
    await c.init({ features: [FLUSH, DISCARD, WRITE_ZEROES] });
    await c.tell(0, [...readable], [...writable]);
  },
}));

/** Block devices. */
export const BLK_CHECKS: readonly Check[] = [
  ...sound,
  ...zones,
  ...unknown,
  ...ranges,
  ...beyond,
  ...outside,
  ...writes,
  ...shapes,
];
