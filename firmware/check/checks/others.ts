import { get, join, u16, u32, u64, zeroes } from "../bytes.ts";
import type { Check } from "../check.ts";
import type { CheckContext } from "../context.ts";
import {
  balloonPage,
  cryptoControl,
  cryptoSession,
  scsiCommand,
  TVERSION,
  TYPE,
  vsockHeader,
} from "../requests.ts";

/** A row of a table of requests that make no sense. */
type Shape = readonly [
  name: string,
  queue: (c: CheckContext) => number,
  readable: (c: CheckContext) => Uint8Array[],
  writable: readonly number[],
];

/** Checks that a device comes out of requests that make no sense. */
function shapes(group: string, type: number, section: string, rows: readonly Shape[]): Check[] {
  return rows.map(([name, queue, readable, writable]) => ({
    id: `${group}.hostile.${name}`,
    clauses: [section],
    done: `a request that makes no sense is made: ${name.replaceAll("-", " ")}`,
    expected: "it fails or the device stops, and after a reset the device works as before",
    hostile: true,
    scope: { devices: [type] },
    async run(c) {
      await c.init();
      await c.tell(queue(c), readable(c), writable);
    },
  }));
}

const on = (queue: number) => (): number => queue;

const RNG: Check[] = [
  ...[1, 7, 64, 4096].map((length): Check => ({
    id: `rng.bytes-${length}`,
    clauses: ["dev.rng.operation.1"],
    done: `a buffer of ${length} bytes is made available`,
    expected: "one byte or more, and no more than fit",
    scope: { devices: [TYPE.RNG] },
    async run(c) {
      await c.init();
      const { used } = await c.ask(0, [], [length]);
      const good = used.length >= 1 && used.length <= length;
      c.expect("used length", good, used.length, `1 to ${length}`);
    },
  })),
  {
    id: "rng.differs",
    clauses: ["virtio 1.4 §5.4.6"],
    done: "32 bytes are asked for twice",
    expected: "other bytes the second time",
    scope: { devices: [TYPE.RNG] },
    async run(c) {
      await c.init();
      const first = (await c.ask(0, [], [32])).bytes;
      const second = (await c.ask(0, [], [32])).bytes;
      c.expect("the second 32 bytes", first.toHex() !== second.toHex(), second, "other bytes");
    },
  },
  ...shapes("rng", TYPE.RNG, "drv.rng.operation.1", [
    ["readable-buffer", on(0), () => [zeroes(16)], []],
    ["readable-and-writable", on(0), () => [zeroes(16)], [16]],
  ]),
];

const CONSOLE: Check[] = [
  {
    id: "console.emergency",
    clauses: ["dev.console.init.1"],
    done: "a byte is written to emerg_wr of a device that was not brought up",
    expected: "the device takes it, and works when it is brought up",
    offers: [2],
    scope: { devices: [TYPE.CONSOLE] },
    async run(c) {
      await c.reset();
      c.device.writeConfig(8, 4, 0x2e);
      await c.init();
      await c.cleanRequest();
    },
  },
  {
    id: "console.ports",
    clauses: ["dev.console.multiport.1"],
    done: "the driver says DEVICE_READY, and the device reports its ports",
    expected: "each is below max_nr_ports, and added once",
    offers: [1],
    scope: { devices: [TYPE.CONSOLE] },
    async run(c) {
      await c.init({ features: [1], queues: [0, 1, 2, 3] });
      const most = c.device.config(4, 4);
      const rooms = Array.from({ length: 8 }, () => c.writable(64));
      for (const room of rooms) c.ring(2).add(c.chain([room]));
      c.device.notify(2);
      await c.ask(3, [join(u32(0), u16(0, 1))]);
      await c.until(() => c.ring(2).usedCount() > 0);
      await c.quiet();
      const count = c.ring(2).used().length;
      const events = rooms.slice(0, count).map(({ at }) => c.arena.get(at, 8));
      const added = events.filter((event) => get(event, 4, 2) === 1)
        .map((event) => get(event, 0, 4));
      c.equal("ports that were added twice", added.length - new Set(added).size, 0);
      const wrong = added.filter((port) => port >= most);
      c.equal("ports from max_nr_ports up", wrong.join(), "");
    },
  },
  ...shapes("console", TYPE.CONSOLE, "virtio 1.4 §5.3.6", [
    ["writable-sent", on(1), () => [], [16]],
    ["receive-readable", on(0), () => [zeroes(16)], []],
    ["long-line", on(1), () => [zeroes(65536)], []],
  ]),
  ...([
    ["control-cut", [zeroes(3)]],
    ["control-unknown-port", [join(u32(0xffff), u16(3, 1))]],
    ["control-unknown-event", [join(u32(0), u16(99, 1))]],
    ["control-ready-twice", [join(u32(0), u16(0, 1), u32(0), u16(0, 1))]],
    ["control-not-ready", [join(u32(0), u16(0, 0))]],
  ] as const).map(([name, readable]): Check => ({
    id: `console.hostile.${name}`,
    clauses: ["virtio 1.4 §5.3.6.2"],
    done: "a control message is sent that makes no sense",
    expected: "the device ignores it or stops, and after a reset works as before",
    hostile: true,
    offers: [1],
    scope: { devices: [TYPE.CONSOLE] },
    async run(c) {
      await c.init({ features: [1], queues: [0, 1, 2, 3] });
      await c.tell(3, [...readable]);
    },
  })),
];

const BALLOON: Check[] = [
  {
    id: "balloon.deflate",
    clauses: ["virtio 1.4 §5.5.6"],
    done: "a page is given to the device and asked back",
    expected: "both requests are answered",
    scope: { devices: [TYPE.BALLOON] },
    async run(c) {
      await c.init();
      const page = balloonPage(c);
      await c.ask(0, [page]);
      await c.ask(1, [page]);
    },
  },
  {
    id: "balloon.actual",
    clauses: ["virtio 1.4 §5.5.4", "dev.balloon.legacy-config.1"],
    done: "actual is written and read",
    expected: "what was written, little-endian",
    scope: { devices: [TYPE.BALLOON] },
    async run(c) {
      await c.init();
      const before = c.device.config(4, 4);
      c.device.writeConfig(4, 4, 0x123);
      c.equal("actual", c.device.config(4, 4), 0x123);
      c.equal("its first byte", c.device.config(4, 1), 0x23);
      c.device.writeConfig(4, 4, before);
    },
  },
  {
    id: "balloon.statistics",
    clauses: ["dev.balloon.stats.1", "dev.balloon.stats.2"],
    done: "statistics are posted in another order, with a tag that is unknown",
    expected: "the device keeps the buffer and goes on",
    offers: [1],
    scope: { devices: [TYPE.BALLOON] },
    async run(c) {
      await c.init({ features: [1], queues: [0, 1, 2] });
      await c.tell(2, [join(u16(5), u64(4096), u16(999), u64(1), u16(4), u64(2048))]);
      await c.cleanRequest();
    },
  },
  ...shapes("balloon", TYPE.BALLOON, "virtio 1.4 §5.5.6", [
    ["three-bytes", on(0), () => [zeroes(3)], []],
    ["no-memory", on(0), () => [u32(0xfffffff0)], []],
    ["page-0", on(0), () => [u32(0x7fffffff)], []],
    ["writable", on(0), () => [], [4]],
    ["deflate-no-memory", on(1), () => [u32(0xfffffff0)], []],
    ["deflate-unknown", on(1), (c) => [balloonPage(c)], []],
    ["same-page-twice", on(0), (c) => [join(balloonPage(c), balloonPage(c))], []],
  ]),
];

/** A SCSI command's response and status. */
async function scsi(
  c: CheckContext,
  cdb: readonly number[],
  target = 0,
  unit = 0,
): Promise<{ response: number; status: number; data: Uint8Array; length: number }> {
  const { bytes, used } = await c.ask(2, [scsiCommand(cdb, target, unit)], [108, 252]);
  return {
    response: bytes[11]!,
    status: bytes[10]!,
    data: bytes.slice(108),
    length: used.length,
  };
}

const SCSI: Check[] = [
  {
    id: "scsi.inquiry",
    clauses: ["dev.scsi.requestq.1", "dev.scsi.requestq.2"],
    done: "INQUIRY is sent to target 0",
    expected: "OK with status GOOD, or BAD_TARGET",
    scope: { devices: [TYPE.SCSI] },
    async run(c) {
      await c.init();
      const { response, status } = await scsi(c, [0x12, 0, 0, 0, 36, 0]);
      if (response === 3) return;
      c.equal("response", response, 0);
      c.equal("status", status, 0);
    },
  },
  {
    id: "scsi.no-such-target",
    clauses: ["dev.scsi.requestq.2"],
    done: "INQUIRY is sent to target 200",
    expected: "BAD_TARGET",
    scope: { devices: [TYPE.SCSI] },
    async run(c) {
      await c.init();
      c.equal("response", (await scsi(c, [0x12, 0, 0, 0, 36, 0], 200)).response, 3);
    },
  },
  {
    id: "scsi.report-luns",
    clauses: ["dev.scsi.requestq.2"],
    done: "REPORT LUNS is sent to target 0",
    expected: "OK or BAD_TARGET",
    scope: { devices: [TYPE.SCSI] },
    async run(c) {
      await c.init();
      const { response } = await scsi(c, [0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 252, 0, 0]);
      c.expect("response", response === 0 || response === 3, response, "OK or BAD_TARGET");
    },
  },
  {
    id: "scsi.unknown-command",
    clauses: ["dev.scsi.requestq.1"],
    done: "a command that no disk knows is sent to target 0",
    expected: "OK with status CHECK CONDITION, or BAD_TARGET",
    scope: { devices: [TYPE.SCSI] },
    async run(c) {
      await c.init();
      const { response, status } = await scsi(c, [0xff, 0, 0, 0, 0, 0]);
      if (response === 3) return;
      c.equal("response", response, 0);
      c.equal("status", status, 2);
    },
  },
  {
    id: "scsi.reset-sizes",
    clauses: ["dev.scsi.config.1"],
    done: "sense_size and cdb_size are written, and the device is reset",
    expected: "96 and 32",
    scope: { devices: [TYPE.SCSI] },
    async run(c) {
      await c.init();
      c.device.writeConfig(20, 4, 64);
      c.device.writeConfig(24, 4, 16);
      await c.reset();
      c.equal("sense_size", c.device.config(20, 4), 96);
      c.equal("cdb_size", c.device.config(24, 4), 32);
    },
  },
  {
    id: "scsi.queues",
    clauses: ["virtio 1.4 §5.6.4"],
    done: "num_queues is read, and the last request queue selected",
    expected: "1 or more, and the queue exists",
    scope: { devices: [TYPE.SCSI] },
    run(c) {
      const count = c.device.config(0, 4);
      c.expect("num_queues", count >= 1, count, "1 or more");
      c.device.select(1 + count);
      c.expect(`size of queue ${1 + count}`, c.device.sizeMax() > 0, 0, "not 0");
    },
  },
  ...shapes("scsi", TYPE.SCSI, "virtio 1.4 §5.6.6", [
    ["command-cut", on(2), () => [scsiCommand([0x12]).slice(0, 20)], [108]],
    ["no-room-for-sense", on(2), () => [scsiCommand([0x12, 0, 0, 0, 36, 0])], [12]],
    ["lun-of-ones", on(2), () => [zeroes(51).fill(0xff)], [108, 36]],
    ["lun-of-zeroes", on(2), () => [zeroes(51)], [108, 36]],
    ["huge-allocation", on(2), () => [scsiCommand([0x12, 0, 0, 0xff, 0xff, 0])], [108, 4]],
    ["read-without-room", on(2), () => [scsiCommand([0x28, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0])], [
      108,
    ]],
    ["control-cut", on(0), () => [u32(0)], [1]],
    ["control-unknown", on(0), () => [u32(99, 0)], [1]],
    ["task-unknown", on(0), () => [join(u32(0, 99), zeroes(16))], [1]],
    ["event-of-one-byte", on(1), () => [], [1]],
    ["event-readable", on(1), () => [zeroes(16)], []],
  ]),
  ...[0, 1, 0xffffffff].map((size): Check => ({
    id: `scsi.hostile.cdb-size-${size}`,
    clauses: ["virtio 1.4 §5.6.4"],
    done: `cdb_size is written ${size}, and a command sent`,
    expected: "after a reset the device works as before",
    hostile: true,
    scope: { devices: [TYPE.SCSI] },
    async run(c) {
      await c.init();
      c.device.writeConfig(24, 4, size);
      await c.tell(2, [scsiCommand([0x12, 0, 0, 0, 36, 0])], [108, 36]);
    },
  })),
];

/** Text as 9P has it: the length before it. */
const p9Text = (text: string): Uint8Array => join(u16(text.length), new TextEncoder().encode(text));

/** Requests of 9P2000.L about files, each of a fid that there is not: what follows the tag. */
const P9_OF_NO_FILE: readonly (readonly [name: string, type: number, body: Uint8Array])[] = [
  ["mknod", 18, join(u32(77), p9Text("n"), u32(0o100644, 0, 0, 0))],
  ["setattr", 26, join(u32(77, 6, 0, 1, 1), zeroes(40))],
  ["xattrwalk", 30, join(u32(77, 78), p9Text("user.a"))],
  ["xattrcreate", 32, join(u32(77), p9Text("user.a"), u64(1), u32(0))],
  ["lock", 52, join(u32(77), [1], u32(0), zeroes(16), u32(1), p9Text("c"))],
  ["getlock", 54, join(u32(77), [1], zeroes(16), u32(1), p9Text("c"))],
  ["link", 70, join(u32(77, 78), p9Text("n"))],
];

const p9OfNoFile: Check[] = P9_OF_NO_FILE.map(([name, type, body]) => ({
  id: `9p.hostile.${name}-of-no-file`,
  clauses: ["virtio 1.4 §5.14"],
  done: `a session begins, and T${name} names a fid that there is not`,
  expected: "Rlerror with the request's tag, and after a reset the device works as before",
  hostile: true,
  scope: { devices: [TYPE.P9] },
  async run(c) {
    await c.init();
    await c.ask(0, [TVERSION], [64]);
    const message = join(u32(7 + body.length), [type], u16(5), body);
    const { bytes } = await c.ask(0, [message], [64]);
    c.equal("type of the answer", bytes[4], 7);
    c.equal("tag", get(bytes, 5, 2), 5);
  },
}));

const P9: Check[] = [
  ...p9OfNoFile,
  {
    id: "9p.unknown-version",
    clauses: ["virtio 1.4 §5.14"],
    done: "Tversion names a version that nobody knows",
    expected: "Rversion with `unknown`, or an error",
    scope: { devices: [TYPE.P9] },
    async run(c) {
      await c.init();
      const message = TVERSION.slice();
      message.set(new TextEncoder().encode("9P2999.Z"), 13);
      const { bytes } = await c.ask(0, [message], [64]);
      c.expect("answer", bytes[4] === 101 || bytes[4] === 7, bytes[4], "Rversion or Rlerror");
    },
  },
  {
    id: "9p.tag",
    clauses: ["virtio 1.4 §5.14"],
    done: "Tversion is sent, and the header of its answer looked at",
    expected: "the size of the message, and the request's tag",
    scope: { devices: [TYPE.P9] },
    async run(c) {
      await c.init();
      const { bytes, used } = await c.ask(0, [TVERSION], [64]);
      c.equal("tag", get(bytes, 5, 2), 0xffff);
      c.equal("used length", used.length, get(bytes, 0, 4));
    },
  },
  ...shapes("9p", TYPE.P9, "virtio 1.4 §5.14", [
    ["size-0", on(0), () => [join(u32(0), TVERSION.slice(4))], [64]],
    ["size-4", on(0), () => [join(u32(4), TVERSION.slice(4))], [64]],
    ["size-of-ones", on(0), () => [join(u32(0xffffffff), TVERSION.slice(4))], [64]],
    ["size-beyond", on(0), () => [join(u32(100), TVERSION.slice(4))], [64]],
    ["unknown-message", on(0), () => [join(u32(7), [250], u16(1))], [64]],
    ["header-cut", on(0), () => [u32(7)], [64]],
    ["no-room", on(0), () => [TVERSION], [4]],
    ["read-of-no-file", on(0), () => [join(u32(23), [116], u16(1), u32(77), u64(0), u32(16))], [
      64,
    ]],
    ["string-beyond", on(0), () => [join(u32(13), [100], u16(1), u32(4096), u16(0xffff))], [64]],
  ]),
];

/** A command of the gpu's control queue, and its answer. */
const gpu = (type: number, ...rest: Uint8Array[]): Uint8Array =>
  join(u32(type, 0), zeroes(16), ...rest);

async function answer(c: CheckContext, command: Uint8Array, room = 408): Promise<number> {
  return get((await c.ask(0, [command], [room])).bytes, 0, 4);
}

const isError = (type: number): boolean => type >= 0x1200 && type < 0x1300;

/** Commands that name what is not there. */
const GPU_ERRORS: readonly (readonly [string, Uint8Array])[] = [
  ["unknown-command", gpu(0x01ff)],
  ["unknown-cursor", gpu(0x0999)],
  ["create-0", gpu(0x101, u32(0, 1, 16, 16))],
  ["create-bad-format", gpu(0x101, u32(1, 9999, 16, 16))],
  ["unref-unknown", gpu(0x102, u32(77, 0))],
  ["scanout-99", gpu(0x103, u32(0, 0, 16, 16, 99, 0))],
  ["scanout-of-unknown", gpu(0x103, u32(0, 0, 16, 16, 0, 77))],
  ["flush-unknown", gpu(0x104, u32(0, 0, 16, 16, 77, 0))],
  ["transfer-unknown", gpu(0x105, u32(0, 0, 16, 16), u64(0), u32(77, 0))],
  ["backing-unknown", gpu(0x106, u32(77, 0))],
  ["detach-unknown", gpu(0x107, u32(77, 0))],
];

const GPU: Check[] = [
  {
    id: "gpu.fence",
    clauses: ["virtio 1.4 §5.7.6.7"],
    done: "GET_DISPLAY_INFO is sent with a fence",
    expected: "the answer has the flag, the fence's id and the context",
    scope: { devices: [TYPE.GPU] },
    async run(c) {
      await c.init();
      const { bytes } = await c.ask(
        0,
        [join(u32(0x100, 1), u64(0x1122334455n), u32(5, 0))],
        [408],
      );
      c.equal("flags", get(bytes, 4, 4) & 1, 1);
      c.equal("fence_id", bytes.slice(8, 16), u64(0x1122334455n));
    },
  },
  {
    id: "gpu.scanouts",
    clauses: ["virtio 1.4 §5.7.4"],
    done: "num_scanouts is read",
    expected: "1 to 16",
    scope: { devices: [TYPE.GPU] },
    run(c) {
      const count = c.device.config(8, 4);
      c.expect("num_scanouts", count >= 1 && count <= 16, count, "1 to 16");
    },
  },
  {
    id: "gpu.blob-alignment",
    clauses: ["virtio 1.4 §5.7.4"],
    done: "blob_alignment is read",
    expected: "a power of two",
    offers: [5],
    scope: { devices: [TYPE.GPU], face: "modern" },
    async run(c) {
      await c.init({ features: [3, 5] });
      const alignment = c.device.config(16, 4);
      const power = alignment !== 0 && (alignment & alignment - 1) === 0;
      c.expect("blob_alignment", power, alignment, "a power of two");
    },
  },
  {
    id: "gpu.events-clear",
    clauses: ["virtio 1.4 §5.7.4"],
    done: "events_clear is written all ones",
    expected: "events_read is 0, and events_clear reads 0",
    scope: { devices: [TYPE.GPU] },
    async run(c) {
      await c.init();
      c.device.writeConfig(4, 4, 0xffffffff);
      c.equal("events_read", c.device.config(0, 4), 0);
      c.equal("events_clear", c.device.config(4, 4), 0);
    },
  },
  {
    id: "gpu.resource",
    clauses: ["virtio 1.4 §5.7.6.8"],
    done: "a resource is made, given up, and given up again",
    expected: "OK, OK, and an error",
    scope: { devices: [TYPE.GPU] },
    async run(c) {
      await c.init();
      c.equal("create", await answer(c, gpu(0x101, u32(1, 1, 16, 16)), 24), 0x1100);
      c.equal("unref", await answer(c, gpu(0x102, u32(1, 0)), 24), 0x1100);
      const again = await answer(c, gpu(0x102, u32(1, 0)), 24);
      c.expect("unref again", isError(again), again, "0x1200 to 0x1205");
    },
  },
  {
    id: "gpu.reset-forgets",
    clauses: ["dev.basic.reset.1"],
    done: "a resource is made, the device is reset, and it is given up",
    expected: "an error: the reset has taken it",
    scope: { devices: [TYPE.GPU] },
    async run(c) {
      await c.init();
      c.equal("create", await answer(c, gpu(0x101, u32(9, 1, 16, 16)), 24), 0x1100);
      await c.init();
      const seen = await answer(c, gpu(0x102, u32(9, 0)), 24);
      c.expect("unref after a reset", isError(seen), seen, "0x1200 to 0x1205");
    },
  },
  {
    id: "gpu.edid",
    clauses: ["virtio 1.4 §5.7.6.8"],
    done: "the EDID of scanout 0 is read, with EDID accepted",
    expected: "a block that begins as EDID does, and whose bytes add up to 0",
    offers: [1],
    scope: { devices: [TYPE.GPU] },
    async run(c) {
      await c.init({ features: [1] });
      const { bytes } = await c.ask(0, [gpu(0x10a, u32(0, 0))], [1056]);
      c.equal("answer", get(bytes, 0, 4), 0x1104);
      const edid = bytes.slice(32, 160);
      c.equal("its first bytes", edid.slice(0, 8).toHex(), "00ffffffffffff00");
      c.equal("sum of the block", edid.reduce((sum, byte) => sum + byte & 0xff, 0), 0);
    },
  },
  ...GPU_ERRORS.map(([name, command]): Check => ({
    id: `gpu.hostile.${name}`,
    clauses: ["virtio 1.4 §5.7.6.7"],
    done: `a command is sent that cannot be carried out: ${name.replaceAll("-", " ")}`,
    expected: "an error, 0x1200 to 0x1205",
    hostile: true,
    scope: { devices: [TYPE.GPU] },
    async run(c) {
      await c.init();
      const seen = await answer(c, command, 24);
      c.expect("answer", isError(seen), seen, "0x1200 to 0x1205");
    },
  })),
  ...shapes("gpu", TYPE.GPU, "virtio 1.4 §5.7.6", [
    ["header-cut", on(0), () => [u32(0x100)], [408]],
    ["command-cut", on(0), () => [gpu(0x101, u32(1))], [24]],
    ["no-room", on(0), () => [gpu(0x100)], []],
    ["entries-of-ones", on(0), () => [gpu(0x106, u32(1, 0xffffffff))], [24]],
    ["huge-resource", on(0), () => [gpu(0x101, u32(3, 1, 0xffffffff, 0xffffffff))], [24]],
    ["cursor-cut", on(1), () => [u32(0x300)], []],
    ["cursor-of-unknown", on(1), () => [gpu(0x300, u32(0, 0, 0, 0, 77, 0, 0, 0))], []],
    ["cursor-99", on(1), () => [gpu(0x301, u32(99, 0, 0, 0, 0, 0, 0, 0))], []],
  ]),
];

/** Writes select and subsel, and reads size. */
function inputSize(c: CheckContext, select: number, subsel = 0): number {
  c.device.writeConfig(0, 1, select);
  c.device.writeConfig(1, 1, subsel);
  return c.device.config(2, 1);
}

const INPUT: Check[] = [
  {
    id: "input.name",
    clauses: ["virtio 1.4 §5.8.4"],
    done: "the name is selected",
    expected: "a size of 1 to 128",
    scope: { devices: [TYPE.INPUT] },
    async run(c) {
      await c.init();
      const size = inputSize(c, 1);
      c.expect("size", size >= 1 && size <= 128, size, "1 to 128");
    },
  },
  {
    id: "input.some-events",
    clauses: ["virtio 1.4 §5.8.4"],
    done: "the event types 0 to 31 are selected",
    expected: "at least one type has codes",
    scope: { devices: [TYPE.INPUT] },
    async run(c) {
      await c.init();
      const sizes = Array.from({ length: 32 }, (_, type) => inputSize(c, 0x11, type));
      c.expect("types with codes", sizes.some((size) => size > 0), 0, "one or more");
    },
  },
  ...[[0, 0], [5, 0], [0x0f, 0], [0x13, 0], [0x80, 0], [0xff, 0xff], [0x11, 0xff], [0x12, 0xff]]
    .map(([select, subsel]): Check => ({
      id: `input.hostile.select-${select!.toString(16)}-${subsel!.toString(16)}`,
      clauses: ["dev.input.init.1"],
      done: `select 0x${select!.toString(16)} and subsel 0x${subsel!.toString(16)} are written`,
      expected: "size is 0",
      hostile: true,
      scope: { devices: [TYPE.INPUT] },
      async run(c) {
        await c.init();
        c.equal("size", inputSize(c, select!, subsel!), 0);
      },
    })),
  ...shapes("input", TYPE.INPUT, "virtio 1.4 §5.8.6", [
    ["event-of-one-byte", on(0), () => [], [1]],
    ["event-readable", on(0), () => [zeroes(8)], []],
    ["status-cut", on(1), () => [zeroes(3)], []],
    ["status-writable", on(1), () => [], [8]],
    ["status-unknown", on(1), () => [join(u16(0xffff, 0xffff), u32(0xffffffff))], []],
  ]),
];

/** Sends a packet and waits for one from the host. */
async function packet(c: CheckContext, bytes: Uint8Array): Promise<Uint8Array> {
  const room = c.writable(256);
  c.offer(0, c.chain([room]));
  await c.ask(1, [bytes]);
  c.expect("packet from the host", await c.take(0) !== undefined, "none", "one");
  return c.arena.get(room.at, 44);
}

const VSOCK: Check[] = [
  {
    id: "vsock.cid",
    clauses: ["dev.vsock.rxtx.1"],
    done: "guest_cid is read",
    expected: "none of 0, 1, 2, 0xffffffff, and an upper half of 0",
    scope: { devices: [TYPE.VSOCK] },
    run(c) {
      const cid = c.device.config(0, 4);
      c.expect("guest_cid", cid > 2 && cid !== 0xffffffff, cid, "3 or more");
      c.equal("its upper half", c.device.config(4, 4), 0);
    },
  },
  {
    id: "vsock.refused",
    clauses: ["virtio 1.4 §5.10.6.6"],
    done: "a connection is asked for to a port where nobody listens",
    expected: "RST, to the guest's port",
    scope: { devices: [TYPE.VSOCK] },
    async run(c) {
      await c.init();
      const reply = await packet(c, vsockHeader(c.device.config(0, 4), { op: 1 }));
      c.equal("op", get(reply, 30, 2), 3);
      c.equal("dst_port", get(reply, 20, 4), 1234);
    },
  },
  {
    id: "vsock.unknown-type",
    clauses: ["dev.vsock.rxtx.2"],
    done: "a packet of type 99 is sent",
    expected: "RST",
    scope: { devices: [TYPE.VSOCK] },
    async run(c) {
      await c.init();
      const reply = await packet(c, vsockHeader(c.device.config(0, 4), { op: 1, type: 99 }));
      c.equal("op", get(reply, 30, 2), 3);
    },
  },
  {
    id: "vsock.not-connected",
    clauses: ["virtio 1.4 §5.10.6.6"],
    done: "data is sent on a connection that is none",
    expected: "RST",
    scope: { devices: [TYPE.VSOCK] },
    async run(c) {
      await c.init();
      const header = vsockHeader(c.device.config(0, 4), { op: 5, length: 4 });
      const reply = await packet(c, join(header, zeroes(4)));
      c.equal("op", get(reply, 30, 2), 3);
    },
  },
  ...shapes("vsock", TYPE.VSOCK, "virtio 1.4 §5.10.6", [
    ["header-cut", on(1), () => [zeroes(20)], []],
    [
      "length-lies",
      on(1),
      (c) => [vsockHeader(c.device.config(0, 4), { op: 5, length: 0xffffffff })],
      [],
    ],
    ["another-cid", on(1), () => [vsockHeader(9, { op: 1 })], []],
    ["unknown-op", on(1), (c) => [vsockHeader(c.device.config(0, 4), { op: 99 })], []],
    ["receive-of-one-byte", on(0), () => [], [1]],
    ["receive-readable", on(0), () => [zeroes(64)], []],
    ["event-of-one-byte", on(2), () => [], [1]],
  ]),
];

/** Asks for a session; its status and id. */
async function session(
  c: CheckContext,
  algo?: number,
  key?: Uint8Array,
): Promise<{ status: number; id: string }> {
  const { bytes } = await c.ask(cryptoControl(c), [cryptoSession(algo, key)], [16]);
  return { status: get(bytes, 8, 4), id: bytes.slice(0, 8).toHex() };
}

/** Masks of algorithms in the configuration, by service, and the highest bit that has a meaning. */
const MASKS:
  readonly (readonly [name: string, service: number, offset: number, highest: number])[] = [
    ["cipher", 0, 12, 14],
    ["hash", 1, 20, 12],
    ["aead", 3, 32, 3],
    ["akcipher", 4, 44, 2],
  ];

const CRYPTO: Check[] = [
  {
    id: "crypto.queues",
    clauses: ["dev.crypto.config.1"],
    done: "max_dataqueues is read, and the control queue selected",
    expected: "1 to 65535, and the queue exists",
    scope: { devices: [TYPE.CRYPTO] },
    run(c) {
      const count = c.device.config(4, 4);
      c.expect("max_dataqueues", count >= 1 && count <= 65535, count, "1 to 65535");
      c.device.select(count);
      c.expect("size of the control queue", c.device.sizeMax() > 0, 0, "not 0");
    },
  },
  {
    id: "crypto.status",
    clauses: ["dev.crypto.config.2", "dev.crypto.config.3"],
    done: "status is read",
    expected: "no bit but HW_READY",
    scope: { devices: [TYPE.CRYPTO] },
    run: (c) => c.equal("other bits", (c.device.config(0, 4) & ~1) >>> 0, 0),
  },
  {
    id: "crypto.services",
    clauses: ["dev.crypto.config.5"],
    done: "crypto_services is read",
    expected: "one service or more, and none that is unknown",
    scope: { devices: [TYPE.CRYPTO] },
    run(c) {
      const services = c.device.config(8, 4);
      c.expect("services", services !== 0 && (services & ~0x3f) === 0, services, "bits 0 to 5");
    },
  },
  ...MASKS.flatMap(([name, service, offset, highest]): Check[] => [
    {
      id: `crypto.algorithms.${name}`,
      clauses: ["dev.crypto.config.6"],
      done: `the algorithms of the service ${name} are read if it is on offer`,
      expected: "at least one",
      scope: { devices: [TYPE.CRYPTO] },
      run(c) {
        if ((c.device.config(8, 4) >>> service & 1) === 0) return c.skip(`no service ${name}`);
        c.expect("algorithms", c.device.config(offset, 4) !== 0, 0, "not 0");
      },
    },
    {
      id: `crypto.undefined.${name}`,
      clauses: ["dev.crypto.config.7"],
      done: `the bits above the last algorithm of ${name} are read`,
      expected: "0",
      scope: { devices: [TYPE.CRYPTO] },
      run(c) {
        const mask = c.device.config(offset, 4);
        c.equal("undefined bits", highest === 31 ? 0 : mask >>> highest + 1, 0);
      },
    },
  ]),
  {
    id: "crypto.sizes",
    clauses: ["dev.crypto.config.8", "dev.crypto.config.9"],
    done: "max_size is read, and max_cipher_key_len where CIPHER is on offer",
    expected: "not 0",
    scope: { devices: [TYPE.CRYPTO] },
    run(c) {
      const size = c.device.config(48, 4) + c.device.config(52, 4) * 2 ** 32;
      c.expect("max_size", size > 0, size, "not 0");
      if ((c.device.config(8, 4) & 1) === 0) return;
      c.expect("max_cipher_key_len", c.device.config(36, 4) > 0, 0, "not 0");
    },
  },
  {
    id: "crypto.mac-key",
    clauses: ["dev.crypto.config.10"],
    done: "max_auth_key_len is read where MAC is on offer",
    expected: "not 0",
    scope: { devices: [TYPE.CRYPTO] },
    run(c) {
      if ((c.device.config(8, 4) >>> 2 & 1) === 0) return c.skip("no service MAC");
      c.expect("max_auth_key_len", c.device.config(40, 4) > 0, 0, "not 0");
    },
  },
  {
    id: "crypto.unique-ids",
    clauses: ["dev.crypto.session-create.3", "dev.crypto.session-create.4"],
    done: "three sessions are made",
    expected: "OK, and an id of its own for each",
    scope: { devices: [TYPE.CRYPTO] },
    async run(c) {
      await c.init();
      const all = [await session(c), await session(c), await session(c)];
      c.equal("statuses", all.map(({ status }) => status).join(), "0,0,0");
      c.equal("different ids", new Set(all.map(({ id }) => id)).size, 3);
    },
  },
  {
    id: "crypto.destroy",
    clauses: ["dev.crypto.session-destroy.1"],
    done: "a session is made and given up",
    expected: "OK",
    scope: { devices: [TYPE.CRYPTO] },
    async run(c) {
      await c.init();
      const { id } = await session(c);
      const body = join(u32(0x0003, 3, 0, 0), Uint8Array.fromHex(id), zeroes(48));
      c.equal("status", (await c.ask(cryptoControl(c), [body], [1])).bytes[0], 0);
    },
  },
  {
    id: "crypto.unknown-algorithm",
    clauses: ["dev.crypto.session-create.3"],
    done: "a session of the unknown cipher 99 is asked for",
    expected: "NOTSUPP or ERR",
    scope: { devices: [TYPE.CRYPTO] },
    async run(c) {
      await c.init();
      const { status } = await session(c, 99);
      c.expect("status", status === 3 || status === 1, status, "NOTSUPP or ERR");
    },
  },
  {
    id: "crypto.hostile.destroy-unknown",
    clauses: ["dev.crypto.session-destroy.1"],
    done: "a session is given up that nobody made",
    expected: "ERR",
    hostile: true,
    scope: { devices: [TYPE.CRYPTO] },
    async run(c) {
      await c.init();
      const body = join(u32(0x0003, 3, 0, 0), u64(999), zeroes(48));
      c.equal("status", (await c.ask(cryptoControl(c), [body], [1])).bytes[0], 1);
    },
  },
  {
    id: "crypto.hostile.unknown-session",
    clauses: ["dev.crypto.sym.8"],
    done: "data is encrypted by a session that nobody made",
    expected: "INVSESS or ERR",
    hostile: true,
    scope: { devices: [TYPE.CRYPTO] },
    async run(c) {
      await c.init();
      const request = join(
        u32(0, 3),
        u64(999),
        u32(0, 0),
        u32(16, 16, 16, 0),
        zeroes(24),
        u32(1, 0),
      );
      const { bytes } = await c.ask(0, [request, zeroes(16), zeroes(16)], [16, 1]);
      const status = bytes.at(-1);
      c.expect("status", status === 4 || status === 1, status, "INVSESS or ERR");
    },
  },
  ...shapes("crypto", TYPE.CRYPTO, "virtio 1.4 §5.9.9", [
    ["control-cut", cryptoControl, () => [zeroes(10)], [16]],
    ["unknown-opcode", cryptoControl, () => [join(u32(0xffff, 0, 0, 0), zeroes(56))], [16]],
    ["no-room", cryptoControl, () => [cryptoSession()], []],
    ["room-of-1", cryptoControl, () => [cryptoSession()], [1]],
    ["key-missing", cryptoControl, () => [cryptoSession().slice(0, 72)], [16]],
    [
      "key-of-ones",
      cryptoControl,
      () => [join(u32(2, 3, 0, 0), u32(3, 0xffffffff, 1, 0), zeroes(32), u32(1, 0))],
      [16],
    ],
    ["data-cut", on(0), () => [zeroes(10)], [1]],
    ["data-without-status", on(0), () => [zeroes(72)], []],
  ]),
];

const SERIAL: Check[] = shapes("rproc-serial", TYPE.RPROC_SERIAL, "virtio 1.4 §5.3.6", [
  ["writable-sent", on(1), () => [], [16]],
  ["receive-readable", on(0), () => [zeroes(16)], []],
]);

const RPMSG: Check[] = shapes("rpmsg", TYPE.RPMSG, "Linux virtio_rpmsg_bus.c", [
  ["header-cut", on(1), () => [zeroes(5)], []],
  ["length-lies", on(1), () => [join(u32(1024, 1025, 0), u16(0xffff, 0))], []],
  ["unknown-address", on(1), () => [join(u32(1, 0xfffffffe, 0), u16(0, 0))], []],
]);

const CAIF: Check[] = shapes("caif", TYPE.CAIF, "Linux caif_virtio.c", [
  ["one-byte", on(0), () => [zeroes(1)], []],
  ["writable", on(0), () => [], [16]],
  ["long-frame", on(0), () => [zeroes(65536)], []],
]);

/** The types that have few clauses of their own. */
export const OTHER_CHECKS: readonly Check[] = [
  ...RNG,
  ...CONSOLE,
  ...BALLOON,
  ...SCSI,
  ...P9,
  ...GPU,
  ...INPUT,
  ...VSOCK,
  ...CRYPTO,
  ...SERIAL,
  ...RPMSG,
  ...CAIF,
];
