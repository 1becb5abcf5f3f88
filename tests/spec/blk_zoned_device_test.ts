// What a zoned disk does with raw requests: every number is typed from virtio 1.4 §5.2.
import { assert, assertEquals, assertThrows } from "@std/assert";
import {
  BlkDevice,
  type BlkDeviceOptions,
  type BlkZonedOptions,
  EmulatedMachine,
  MemoryDisk,
} from "@vireo/emu";
import { MockDriver } from "@vireo/emu/testing";
import { RawRig } from "./raw_rig.ts";
import { at, le } from "./recorder.ts";

const [OK, IOERR, UNSUPP, INVALID, UNALIGNED, OPEN_LIMIT, ACTIVE_LIMIT] = [0, 1, 2, 3, 4, 5, 6];
const [IN, OUT, WRITE_ZEROES, SECURE_ERASE] = [0, 1, 13, 14];
const [APPEND, REPORT, OPEN, CLOSE, FINISH, RESET, RESET_ALL] = [15, 16, 18, 20, 22, 24, 26];
const [CONV, SWR, SWP] = [1, 2, 3];
const [NOT_WP, EMPTY, IOPEN, EOPEN, CLOSED, RDONLY, FULL, OFFLINE] = [0, 1, 2, 3, 4, 13, 14, 15];
const [DISCARD_BIT, ZONED_BIT] = [13, 17];
const FEATURES_OK = 8;

/** Zones of the disk: 64 sectors, of which 48 hold data; the first zone is conventional. */
const SIZE = 64;
const CAPACITY = 48;
const ZONES = 8;
const PLAIN: BlkZonedOptions = { zoneSectors: SIZE, zoneCapacity: CAPACITY, conventional: 1 };

/** A zoned disk that is driven by raw requests. */
class Rig extends RawRig<BlkDevice> {
  readonly disk: MemoryDisk;

  constructor(zoned: Partial<BlkZonedOptions> = {}, options: Partial<BlkDeviceOptions> = {}) {
    const disk = new MemoryDisk(ZONES * SIZE * 512);
    super(new BlkDevice({ disk, zoned: { ...PLAIN, ...zoned }, ...options }));
    this.disk = disk;
  }

  /** A request without data: its status. */
  async ask(type: number, sector: number): Promise<number> {
    const { bytes } = await this.driver.request(0, [{ read: le(type, 0, [sector, 8]) }, {
      write: 1,
    }]);
    return bytes[0]![0]!;
  }

  /** A write of sectors that are filled with a byte: its status. */
  async write(sector: number, sectors: number, fill = 7): Promise<number> {
    const read = le(OUT, 0, [sector, 8], new Uint8Array(sectors * 512).fill(fill));
    const { bytes } = await this.driver.request(0, [{ read }, { write: 1 }]);
    return bytes[0]![0]!;
  }

  /** An append: its status, and where it went. */
  async append(sector: number, sectors: number, fill = 7): Promise<[number, number]> {
    const read = le(APPEND, 0, [sector, 8], new Uint8Array(sectors * 512).fill(fill));
    const { bytes } = await this.driver.request(0, [{ read }, { write: 9 }]);
    return [bytes[0]![8]!, at(bytes[0]!, 0, 8)];
  }

  /** A read: its status, and the first byte of each sector. */
  async read(sector: number, sectors: number): Promise<[number, number[]]> {
    const room = sectors * 512;
    const { bytes } = await this.driver.request(0, [{ read: le(IN, 0, [sector, 8]) }, {
      write: room + 1,
    }]);
    return [bytes[0]![room]!, Array.from({ length: sectors }, (_, i) => bytes[0]![i * 512]!)];
  }

  /** A report with room for some zones: its status, how many there are, and the zones. */
  async report(sector: number, count: number) {
    const room = 64 + 64 * count;
    const { bytes: [bytes] } = await this.driver.request(0, [{
      read: le(REPORT, 0, [sector, 8]),
    }, { write: room + 1 }]);
    const zones = Array.from({ length: at(bytes!, 0, 8) }, (_, i) => {
      const from = 64 + 64 * i;
      return {
        capacity: at(bytes!, from, 8),
        start: at(bytes!, from + 8, 8),
        wp: at(bytes!, from + 16, 8),
        type: bytes![from + 24]!,
        state: bytes![from + 25]!,
      };
    });
    return { status: bytes![room]!, zones };
  }

  /** State and write pointer of a zone, by index; the pointer from the zone's start. */
  async zone(index: number): Promise<[state: number, pointer: number]> {
    const { status, zones: [zone] } = await this.report(index * SIZE, 1);
    assertEquals([status, zone!.start], [OK, index * SIZE]);
    return [zone!.state, zone!.wp - zone!.start];
  }
}

Deno.test("spec blk zoned: the configuration has model and limits (dev.blk.init.9-16)", async () => {
  await using rig = new Rig({
    maxOpen: 3,
    maxActive: 5,
    maxAppendSectors: 16,
    writeGranularity: 4096,
  });
  const words = [72, 76, 80, 84, 88].map((offset) => at(rig.driver.config(offset, 4), 0));
  assertEquals(words, [SIZE, 3, 5, 16, 4096]);
  assertEquals([...rig.driver.config(92, 4)], [1, 0, 0, 0]);
  // An append is one request of seg_max buffers of size_max bytes.
  const options = { segMax: 2, sizeMax: 4096 };
  await using small = new Rig({}, options);
  assertEquals(at(small.driver.config(84, 4), 0), 16);
  assertThrows(() => new Rig({ maxAppendSectors: 17 }, options), RangeError, "0 to 16");
  await using aware = new Rig({ model: "host-aware", zoneCapacity: SIZE });
  assertEquals(aware.driver.config(92, 1)[0], 2);
  assertEquals(at(aware.driver.config(72, 4), 0), SIZE);
  // A drive-managed disk offers the feature, and is an ordinary disk.
  await using own = new Rig({ model: "drive-managed", zoneCapacity: SIZE });
  assertEquals([own.driver.config(92, 1)[0], at(own.driver.config(72, 4), 0)], [0, 0]);
  assertEquals([await own.write(500, 4), await own.ask(RESET, SIZE)], [OK, UNSUPP]);
});

Deno.test("spec blk zoned: who offers ZONED, and what becomes of a driver without it (dev.blk.init.5-8, dev.blk.operation.13)", async () => {
  const plain = new BlkDevice({ disk: new MemoryDisk(1 << 16) });
  await using machine = EmulatedMachine.create({ devices: [plain] });
  assertEquals(new MockDriver(machine).offered().has(ZONED_BIT), false);
  const disk = new MemoryDisk(ZONES * SIZE * 512);
  const legacy = new BlkDevice({ disk, zoned: PLAIN });
  await using old = EmulatedMachine.create({ devices: [{ model: legacy, version: 1 }] });
  assertEquals(new MockDriver(old).offered().has(ZONED_BIT), false);

  const rig = new Rig();
  const all = rig.driver.offered().without(28, 29);
  assertEquals([all.has(ZONED_BIT), all.has(DISCARD_BIT)], [true, false]);
  assertEquals(rig.driver.init(all.without(ZONED_BIT)) & FEATURES_OK, 0);
  await rig.machine[Symbol.asyncDispose]();
  for (const model of ["host-aware", "drive-managed"] as const) {
    await using other = new Rig({ model, zoneCapacity: SIZE });
    const features = other.driver.offered().without(28, 29, ZONED_BIT);
    assertEquals(other.driver.init(features) & FEATURES_OK, FEATURES_OK);
    assertEquals([...other.driver.config(72, 24)], new Array(24).fill(0));
    for (const type of [OPEN, CLOSE, FINISH, RESET, RESET_ALL]) {
      assertEquals(await other.ask(type, SIZE), UNSUPP);
    }
    assertEquals((await other.report(0, 1)).status, UNSUPP);
    assertEquals((await other.append(SIZE, 1))[0], UNSUPP);
    // Any sector may be written, over borders too.
    assertEquals(await other.write(3 * SIZE - 2, 4, 9), OK);
    assertEquals(await other.read(3 * SIZE - 3, 5), [OK, [0, 9, 9, 9, 9]]);
  }
});

Deno.test("spec blk zoned: a legacy driver reads a host-managed disk, and writes to conventional zones only", async () => {
  const disk = new MemoryDisk(ZONES * SIZE * 512);
  const model = new BlkDevice({ disk, zoned: PLAIN });
  await using machine = EmulatedMachine.create({ devices: [{ model, version: 1 }] });
  const driver = new MockDriver(machine);
  driver.init();
  const write = async (sector: number): Promise<number> => {
    const read = le(OUT, 0, [sector, 8], new Uint8Array(512));
    return (await driver.request(0, [{ read }, { write: 1 }])).bytes[0]![0]!;
  };
  assertEquals([await write(5), await write(SIZE)], [OK, IOERR]);
});

Deno.test("spec blk zoned: DISCARD of a host-managed disk is not to be accepted (drv.blk.init.5)", async () => {
  const discard = { maxSectors: 64, maxSegments: 1 };
  const rig = new Rig({}, { discard });
  const all = rig.driver.offered().without(28, 29);
  assert(all.has(DISCARD_BIT));
  assertEquals(rig.driver.init(all) & FEATURES_OK, 0);
  assertEquals(rig.driver.init(all.without(DISCARD_BIT)) & FEATURES_OK, FEATURES_OK);
  await rig.machine[Symbol.asyncDispose]();
});

Deno.test("spec blk zoned: a report begins with the zone of its sector and has what fits", async () => {
  await using rig = new Rig();
  const { status, zones } = await rig.report(0, 20);
  assertEquals([status, zones.length], [OK, ZONES]);
  assertEquals(zones.slice(0, 2), [
    { capacity: SIZE, start: 0, wp: 0, type: CONV, state: NOT_WP },
    { capacity: CAPACITY, start: SIZE, wp: SIZE, type: SWR, state: EMPTY },
  ]);
  const some = await rig.report(3 * SIZE + 17, 2);
  assertEquals(some.zones.map(({ start }) => start), [3 * SIZE, 4 * SIZE]);
  assertEquals((await rig.report(7 * SIZE, 2)).zones.length, 1);
  assertEquals((await rig.report(ZONES * SIZE, 1)).status, INVALID);
  await using aware = new Rig({ model: "host-aware", zoneCapacity: SIZE });
  assertEquals((await aware.report(SIZE, 1)).zones[0]!.type, SWP);
});

Deno.test("spec blk zoned: writes are at the write pointer and move it (dev.blk.operation.23, .27, .28)", async () => {
  await using rig = new Rig();
  assertEquals(await rig.write(SIZE, 8), OK);
  assertEquals(await rig.zone(1), [IOPEN, 8]);
  assertEquals([await rig.write(SIZE, 1), await rig.write(SIZE + 9, 1)], [UNALIGNED, UNALIGNED]);
  assertEquals(await rig.zone(1), [IOPEN, 8]);
  assertEquals(await rig.write(SIZE + 8, 41), INVALID, "one more than there is room for");
  assertEquals(await rig.write(SIZE + 8, 40), OK);
  assertEquals((await rig.zone(1))[0], FULL);
  assertEquals(await rig.write(SIZE + 48, 1), INVALID, "past the capacity");
  // Over a border, from a zone that must be written in order and into one.
  await using whole = new Rig({ zoneCapacity: SIZE });
  assertEquals(await whole.write(SIZE, 60), OK);
  assertEquals(await whole.write(SIZE + 60, 8), INVALID);
  assertEquals(await whole.write(SIZE - 4, 8), INVALID);
  assertEquals((await whole.read(2 * SIZE - 4, 8))[0], INVALID);
  assertEquals(await whole.zone(1), [IOPEN, 60]);
  // Conventional zones have no order.
  assertEquals([await whole.write(40, 2), await whole.write(10, 2)], [OK, OK]);
});

Deno.test("spec blk zoned: a write ends at a multiple of the granularity", async () => {
  await using rig = new Rig({ writeGranularity: 4096 });
  assertEquals([await rig.write(SIZE, 4), (await rig.append(SIZE, 4))[0]], [UNALIGNED, UNALIGNED]);
  assertEquals([await rig.write(SIZE, 8), await rig.append(SIZE, 8)], [OK, [OK, SIZE + 8]]);
});

Deno.test("spec blk zoned: appends go to the write pointer (dev.blk.operation.15, .22-26)", async () => {
  await using rig = new Rig({ maxAppendSectors: 16 });
  assertEquals(await rig.append(2 * SIZE, 3), [OK, 2 * SIZE]);
  assertEquals(await rig.append(2 * SIZE, 16, 8), [OK, 2 * SIZE + 3]);
  assertEquals(await rig.zone(2), [IOPEN, 19]);
  assertEquals((await rig.append(2 * SIZE + 19, 1))[0], INVALID, "not the first sector");
  assertEquals((await rig.append(0, 1))[0], INVALID, "a conventional zone");
  assertEquals((await rig.append(2 * SIZE, 17))[0], INVALID, "above max_append_sectors");
  assertEquals([await rig.append(2 * SIZE, 16), await rig.append(2 * SIZE, 10)], [
    [OK, 2 * SIZE + 19],
    [OK, 2 * SIZE + 35],
  ]);
  assertEquals((await rig.append(2 * SIZE, 4))[0], INVALID, "no room");
  assertEquals(await rig.append(2 * SIZE, 3), [OK, 2 * SIZE + 45]);
  assertEquals((await rig.zone(2))[0], FULL);
  assertEquals((await rig.append(2 * SIZE, 1))[0], INVALID);
  assertEquals((await rig.read(2 * SIZE, 4))[1], [7, 7, 7, 8]);
  await using none = new Rig({ maxAppendSectors: 0 });
  assertEquals((await none.append(SIZE, 1))[0], UNSUPP);
  await using aware = new Rig({ model: "host-aware", zoneCapacity: SIZE });
  assertEquals((await aware.append(SIZE, 1))[0], INVALID, "a zone that only prefers order");
});

Deno.test("spec blk zoned: OPEN, CLOSE, FINISH and RESET change states (dev.blk.operation.14, .16, .18-20)", async () => {
  await using rig = new Rig();
  const sector = SIZE;
  /** Makes the zone have a state, and 5 sectors of data if it can. */
  const make: Readonly<Record<number, () => Promise<void>>> = {
    [EMPTY]: async () => void await rig.ask(RESET, sector),
    [IOPEN]: async () => void await rig.write(sector, 5),
    [EOPEN]: async () => {
      await rig.write(sector, 5);
      await rig.ask(OPEN, sector);
    },
    [CLOSED]: async () => {
      await rig.write(sector, 5);
      await rig.ask(CLOSE, sector);
    },
    [FULL]: async () => void await rig.ask(FINISH, sector),
  };
  const table: readonly (readonly [from: number, type: number, status: number, to: number])[] = [
    [EMPTY, OPEN, OK, EOPEN],
    [IOPEN, OPEN, OK, EOPEN],
    [EOPEN, OPEN, OK, EOPEN],
    [CLOSED, OPEN, OK, EOPEN],
    [FULL, OPEN, INVALID, FULL],
    [EMPTY, CLOSE, INVALID, EMPTY],
    [IOPEN, CLOSE, OK, CLOSED],
    [EOPEN, CLOSE, OK, CLOSED],
    [CLOSED, CLOSE, OK, CLOSED],
    [FULL, CLOSE, INVALID, FULL],
    [IOPEN, FINISH, OK, FULL],
    [EOPEN, FINISH, OK, FULL],
    [FULL, FINISH, OK, FULL],
    ...[EMPTY, IOPEN, EOPEN, CLOSED, FULL].flatMap((from) =>
      [[from, RESET, OK, EMPTY], [from, RESET_ALL, OK, EMPTY]] as const
    ),
  ];
  for (const [from, type, status, to] of table) {
    await rig.ask(RESET, sector);
    await make[from]!();
    assertEquals((await rig.zone(1))[0], from);
    const name = `state ${from}, type ${type}`;
    assertEquals(await rig.ask(type, type === RESET_ALL ? 0 : sector), status, name);
    const [state, pointer] = await rig.zone(1);
    assertEquals(state, to, name);
    if (to === EMPTY) assertEquals(pointer, 0, name);
  }
  // An explicitly opened zone without data becomes empty when it is closed.
  await rig.ask(OPEN, sector);
  assertEquals([await rig.ask(CLOSE, sector), await rig.zone(1)], [OK, [EMPTY, 0]]);
  for (const type of [OPEN, CLOSE, FINISH, RESET]) {
    assertEquals(await rig.ask(type, 0), INVALID, "a conventional zone");
    assertEquals(await rig.ask(type, sector + 1), INVALID, "not the first sector");
    assertEquals(await rig.ask(type, ZONES * SIZE), INVALID, "past the end");
  }
});

Deno.test("spec blk zoned: limits of open and active zones (dev.blk.operation.17, .21)", async () => {
  await using rig = new Rig({ maxOpen: 2, maxActive: 3 });
  assertEquals([await rig.ask(OPEN, SIZE), await rig.ask(OPEN, 2 * SIZE)], [OK, OK]);
  assertEquals(await rig.ask(OPEN, 3 * SIZE), OPEN_LIMIT);
  assertEquals([await rig.write(3 * SIZE, 1), (await rig.append(3 * SIZE, 1))[0]], [
    OPEN_LIMIT,
    OPEN_LIMIT,
  ]);
  assertEquals(await rig.zone(3), [EMPTY, 0]);
  await rig.write(SIZE, 1);
  await rig.ask(CLOSE, SIZE);
  // One open and one closed: a write opens the third, which is implicitly closed for the fourth.
  assertEquals(await rig.write(3 * SIZE, 1), OK);
  assertEquals([await rig.write(4 * SIZE, 1), await rig.ask(OPEN, 4 * SIZE)], [
    ACTIVE_LIMIT,
    ACTIVE_LIMIT,
  ]);
  assertEquals(await rig.zone(4), [EMPTY, 0]);
  assertEquals([await rig.ask(OPEN, SIZE), await rig.zone(3)], [OK, [CLOSED, 1]]);
  assertEquals([rig.model.zones!.open, rig.model.zones!.active], [2, 3]);
  // Both limits at once.
  assertEquals(await rig.ask(OPEN, 4 * SIZE), ACTIVE_LIMIT);
  assertEquals([await rig.ask(FINISH, 2 * SIZE), await rig.ask(OPEN, 4 * SIZE)], [OK, OK]);
  await rig.ask(RESET_ALL, 0);
  assertEquals([rig.model.zones!.open, rig.model.zones!.active], [0, 0]);
});

Deno.test("spec blk zoned: what was not written reads as such (dev.blk.operation.31, .32)", async () => {
  await using rig = new Rig();
  await rig.write(SIZE, 4, 1);
  assertEquals(await rig.read(SIZE + 2, 4), [OK, [1, 1, 0, 0]]);
  await rig.ask(FINISH, SIZE);
  assertEquals(await rig.read(SIZE + 2, 4), [OK, [1, 1, 0, 0]]);
  await rig.ask(RESET, SIZE);
  assertEquals(await rig.read(SIZE, 4), [OK, [0, 0, 0, 0]]);
  await rig.write(SIZE, 1, 2);
  assertEquals(await rig.read(SIZE, 3), [OK, [2, 0, 0]]);
  await using aware = new Rig({ model: "host-aware", zoneCapacity: SIZE });
  assertEquals([await aware.write(SIZE + 9, 2, 3), await aware.zone(1)], [OK, [IOPEN, 11]]);
  assertEquals([await aware.write(SIZE + 1, 1, 4), await aware.zone(1)], [OK, [IOPEN, 11]]);
  assertEquals(await aware.ask(RESET, SIZE), OK);
  assertEquals(await aware.read(SIZE, 11), [OK, new Array(11).fill(0)]);
});

Deno.test("spec blk zoned: read-only and offline zones (dev.blk.operation.29, .30)", async () => {
  await using rig = new Rig();
  for (const zone of [1, 2]) await rig.write(zone * SIZE, 4, 6);
  rig.model.zones!.fail(1, "read-only");
  rig.model.zones!.fail(2, "offline");
  assertEquals([(await rig.zone(1))[0], (await rig.zone(2))[0]], [RDONLY, OFFLINE]);
  assertEquals(await rig.read(SIZE, 2), [OK, [6, 6]]);
  assertEquals((await rig.read(2 * SIZE, 2))[0], INVALID);
  for (const sector of [SIZE, 2 * SIZE]) {
    assertEquals([await rig.write(sector + 4, 1), (await rig.append(sector, 1))[0]], [
      INVALID,
      INVALID,
    ]);
    for (const type of [OPEN, CLOSE, FINISH, RESET]) {
      assertEquals(await rig.ask(type, sector), INVALID);
    }
  }
  assertEquals(await rig.ask(RESET_ALL, 0), OK);
  assertEquals([(await rig.zone(1))[0], (await rig.zone(2))[0]], [RDONLY, OFFLINE]);
  assertEquals(rig.model.zones!.active, 0);
});

Deno.test("spec blk zoned: erasing is a reset of whole zones (dev.blk.operation.33-35)", async () => {
  await using rig = new Rig();
  const alignment = at(rig.driver.config(68, 4), 0);
  assertEquals(alignment % SIZE, 0);
  const range = async (type: number, sector: number, sectors: number): Promise<number> => {
    const read = le(type, 0, [0, 8], [sector, 8], sectors, 0);
    return (await rig.driver.request(0, [{ read }, { write: 1 }])).bytes[0]![0]!;
  };
  for (const zone of [1, 2, 3]) await rig.write(zone * SIZE, 4, 6);
  assertEquals([await range(SECURE_ERASE, SIZE, SIZE - 1), await rig.zone(1)], [IOERR, [IOPEN, 4]]);
  assertEquals(await range(SECURE_ERASE, SIZE, 2 * SIZE), OK);
  assertEquals([await rig.zone(1), await rig.zone(2), await rig.zone(3)], [
    [EMPTY, 0],
    [EMPTY, 0],
    [IOPEN, 4],
  ]);
  assertEquals(
    rig.disk.memory.subarray(SIZE * 512, 3 * SIZE * 512).some((byte) => byte !== 0),
    false,
  );
  assertEquals(await range(SECURE_ERASE, 0, 2 * SIZE), INVALID, "a conventional zone");
  assertEquals([await range(WRITE_ZEROES, SIZE, 4), await rig.zone(1)], [INVALID, [EMPTY, 0]]);
  assertEquals(await range(WRITE_ZEROES, 0, 4), OK);
  assertThrows(
    () => new Rig({}, { secureErase: { maxSectors: 64, maxSegments: 1, alignment: 32 } }),
    RangeError,
    "whole zones of 64",
  );
});

Deno.test("spec blk zoned: chains of a wrong shape change nothing", async () => {
  await using rig = new Rig();
  const send = async (read: Uint8Array, write: number): Promise<number> => {
    const { bytes } = await rig.driver.request(0, [{ read }, { write }]);
    return bytes[0]!.at(-1)!;
  };
  assertEquals(await send(le(APPEND, 0, [SIZE, 8], new Uint8Array(512)), 1), IOERR);
  assertEquals(await send(le(APPEND, 0, [SIZE, 8], new Uint8Array(511)), 9), IOERR);
  assertEquals(await send(le(OPEN, 0, [SIZE, 8], 1), 1), IOERR);
  assertEquals(await send(le(OPEN, 0, [SIZE, 8]), 2), IOERR);
  assertEquals(await send(le(REPORT, 0, [SIZE, 8]), 64), INVALID);
  assertEquals(await rig.zone(1), [EMPTY, 0]);
  await using fixed = new Rig({}, { readOnly: true });
  assertEquals([await fixed.ask(OPEN, SIZE), (await fixed.append(SIZE, 1))[0]], [IOERR, IOERR]);
});

Deno.test("blk zoned: options are checked, and a snapshot has the zones", async () => {
  for (
    const zoned of [
      { zoneSectors: 60 },
      { zoneSectors: 0 },
      { zoneCapacity: 65 },
      { conventional: 9 },
      { maxOpen: 4, maxActive: 3 },
      { writeGranularity: 1000 },
      { model: "host-aware" },
    ] as Partial<BlkZonedOptions>[]
  ) {
    assertThrows(() => new Rig(zoned), RangeError, "of a zoned disk");
  }
  await using rig = new Rig({ maxOpen: 2 });
  assertThrows(() => rig.model.resize(SIZE), RangeError, "zones");
  assertThrows(() => rig.model.zones!.fail(0, "offline"), RangeError, "sequential");
  await rig.write(SIZE, 4, 5);
  await rig.ask(OPEN, 2 * SIZE);
  const other = new BlkDevice({ disk: rig.disk, zoned: { ...PLAIN, maxOpen: 2 } });
  other.restore(structuredClone(rig.model.snapshot()));
  const zones = (model: BlkDevice) => Array.from({ length: ZONES }, (_, i) => model.zones!.zone(i));
  assertEquals(zones(other), zones(rig.model));
  assertEquals([other.zones!.open, other.zones!.active], [2, 2]);
  const short = new BlkDevice({ disk: new MemoryDisk(SIZE * 512), zoned: { zoneSectors: SIZE } });
  assertThrows(() => short.restore(rig.model.snapshot()), RangeError, "the disk has 1");
});
