// What the driver of a zoned disk sends: every number is typed from virtio 1.4 §5.2.
import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  BlkDevice,
  type BlkDeviceOptions,
  type BlkOrder,
  type BlkZonedOptions,
  EmulatedMachine,
  MemoryDisk,
} from "@vireo/emu";
import type { RegisterTrace, VireoError } from "@vireo/hal";
import {
  type Blk,
  blkDriver,
  type BlkDriverOptions,
  createBlkDriver,
} from "../../drivers/blk/mod.ts";
import { Bus } from "../../drivers/bus/bus.ts";
import { bootRecorded, type RecordedRig } from "./boot.ts";
import { at, le } from "./recorder.ts";
import { turn } from "../turn.ts";

const SOON = { deadline: 5000 };
const [IN, OUT] = [0, 1];
const [APPEND, REPORT, OPEN, CLOSE, FINISH, RESET, RESET_ALL] = [15, 16, 18, 20, 22, 24, 26];
const [DISCARD, ZONED] = [13, 17];
const SIZE = 64;
const CAPACITY = 48;
const ZONES = 40;
const PLAIN: BlkZonedOptions = { zoneSectors: SIZE, zoneCapacity: CAPACITY, conventional: 1 };

type Rig = RecordedRig<"blk", BlkDevice, Blk> & {
  /** Types and sectors of what the device was asked since the last call. */
  asked(): (readonly [type: number, sector: number])[];
};

interface RigOptions extends Partial<BlkDeviceOptions> {
  readonly driver?: BlkDriverOptions;
  readonly registers?: RegisterTrace[];
  readonly injected?: string;
}

async function boot(zoned: Partial<BlkZonedOptions> = {}, options: RigOptions = {}): Promise<Rig> {
  const { driver, registers, injected = "", ...more } = options;
  const disk = new MemoryDisk(ZONES * SIZE * 512);
  const model = new BlkDevice({ disk, zoned: { ...PLAIN, ...zoned }, ...more });
  const rig = await bootRecorded("blk", model, driver ? createBlkDriver(driver) : blkDriver, {
    injected,
    machine: { slots: 1, trace: (access) => registers?.push(access) },
  });
  return {
    ...rig,
    asked: () => rig.seen.chains.splice(0).map(({ read }) => [at(read, 0), at(read, 8, 8)]),
  };
}

const data = (sectors: number, fill = 7): Uint8Array => new Uint8Array(sectors * 512).fill(fill);
const code = async (run: () => Promise<unknown>): Promise<string> =>
  (await assertRejects(run) as VireoError).code;

Deno.test("spec blk zoned driver: ZONED is taken of all three models, and DISCARD not of a host-managed one (drv.blk.init.4, .5)", async () => {
  const discard = { maxSectors: 64, maxSegments: 1 };
  const cases = [["host-managed", true], ["host-aware", true], ["drive-managed", false]] as const;
  for (const [model, zones] of cases) {
    const registers: RegisterTrace[] = [];
    await using rig = await boot({ model, zoneCapacity: SIZE }, { discard, registers });
    const { device } = rig.blk;
    assert(device.has(ZONED));
    assertEquals(device.has(DISCARD), model !== "host-managed");
    assertEquals(rig.blk.zones !== undefined, zones);
    await rig.blk.write(SIZE, data(2), SOON);
    assertEquals((await rig.blk.read(SIZE + 1, 512, SOON))[0], 7);
  }
  await using other = await boot({ model: "host-aware", zoneCapacity: SIZE });
  assertEquals(other.blk.zones!.ordered, false);
});

Deno.test("spec blk zoned driver: characteristics and zones are what the device says", async () => {
  await using rig = await boot({ maxOpen: 3, maxActive: 5, maxAppendSectors: 16 });
  const { zones } = rig.blk;
  assertEquals(zones!.zoned, {
    model: 1,
    zoneSectors: SIZE,
    maxOpenZones: 3,
    maxActiveZones: 5,
    maxAppendSectors: 16,
    writeGranularity: 512,
  });
  assertEquals([zones!.count, zones!.maxAppendBytes], [ZONES, 8192]);
  await rig.blk.write(SIZE, data(5), SOON);
  await zones!.finish(2 * SIZE, SOON);
  const [first, second, third, ...rest] = await zones!.report(0, SOON);
  assertEquals([first, second, third], [
    { start: 0, capacity: SIZE, pointer: undefined, type: 1, state: 0 },
    { start: SIZE, capacity: CAPACITY, pointer: SIZE + 5, type: 2, state: 2 },
    { start: 2 * SIZE, capacity: CAPACITY, pointer: undefined, type: 2, state: 14 },
  ]);
  assertEquals(rest.length, ZONES - 3);
  assertEquals(await zones!.report(0, { ...SOON, count: 0 }), []);
});

Deno.test("spec blk zoned driver: sectors of requests are those of zones (drv.blk.operation.16-20)", async () => {
  await using rig = await boot({}, { driver: { bytesPerRequest: 1024 } });
  const zones = rig.blk.zones!;
  await zones.report(2 * SIZE + 9, { ...SOON, count: 20 });
  // A request of 1024 bytes has room for 15 zones behind the header.
  assertEquals(rig.asked(), [[REPORT, 2 * SIZE], [REPORT, 17 * SIZE]]);
  await zones.open(SIZE, SOON);
  await zones.close(SIZE, SOON);
  await zones.finish(SIZE, SOON);
  await zones.reset(SIZE, SOON);
  await zones.resetAll(SOON);
  const asked = rig.seen.chains.map(({ read, writable }) => [read.length, ...writable]);
  assertEquals(asked, new Array(5).fill([16, 1]));
  assertEquals(rig.asked(), [[OPEN, SIZE], [CLOSE, SIZE], [FINISH, SIZE], [RESET, SIZE], [
    RESET_ALL,
    0,
  ]]);
  assertEquals(await zones.append(3 * SIZE, data(2), SOON), 3 * SIZE);
  const chain = rig.seen.chains.at(-1)!;
  assertEquals([at(chain.read, 0), at(chain.read, 8, 8), chain.read.length], [
    APPEND,
    3 * SIZE,
    16 + 1024,
  ]);
  assertEquals(chain.writable, [9]);
  assertEquals(chain.written, le([3 * SIZE, 8], new Uint8Array(1)));
  rig.asked();
  for (const sector of [SIZE + 1, -1, 0.5]) {
    for (const run of [zones.open, zones.close, zones.finish, zones.reset]) {
      await assertRejects(() => run.call(zones, sector), RangeError);
    }
    await assertRejects(() => zones.append(sector, data(1)), RangeError);
  }
  await assertRejects(() => zones.report(-1), RangeError);
  await assertRejects(() => zones.report(0, { count: -1 }), RangeError);
  assertEquals(await code(() => zones.report(ZONES * SIZE)), "OUT_OF_RANGE");
  assertEquals(await code(() => zones.open(ZONES * SIZE)), "OUT_OF_RANGE");
  assertEquals(rig.asked(), []);
});

Deno.test("spec blk zoned driver: appends and writes have a size that a zone takes (drv.blk.operation.21-23)", async () => {
  await using rig = await boot({ writeGranularity: 4096, maxAppendSectors: 16 });
  const zones = rig.blk.zones!;
  for (const sectors of [0, 1, 9, 24]) {
    await assertRejects(
      () => zones.append(SIZE, data(sectors), SOON),
      RangeError,
      "4096, at most 8192",
    );
  }
  assertEquals(rig.asked(), []);
  await rig.blk.write(SIZE, data(16), SOON);
  await assertRejects(
    () => rig.blk.write(SIZE + 16, data(4), SOON),
    RangeError,
    "multiples of 4096",
  );
  await assertRejects(
    () => rig.blk.write(SIZE + 17, data(8), SOON),
    RangeError,
    "multiples of 4096",
  );
  assertEquals(await zones.append(SIZE, data(16), SOON), SIZE + 16);
  // 32 of 48 sectors are written.
  rig.asked();
  assertEquals(await code(() => rig.blk.write(SIZE + 32, data(24), SOON)), "OUT_OF_RANGE");
  await zones.append(SIZE, data(8), SOON);
  assertEquals(await code(() => zones.append(SIZE, data(16), SOON)), "OUT_OF_RANGE");
  assertEquals(await zones.append(SIZE, data(8), SOON), SIZE + 40);
  assertEquals(await code(() => zones.append(SIZE, data(8), SOON)), "OUT_OF_RANGE");
  const sent = rig.asked().filter(([type]) => type !== REPORT);
  assertEquals(sent, [[APPEND, SIZE], [APPEND, SIZE]]);
  // Conventional zones have no granularity.
  await rig.blk.write(3, data(1), SOON);
  assertEquals((await rig.blk.read(3, 512, SOON))[0], 7);
  await using none = await boot({ maxAppendSectors: 0 });
  assertEquals([
    none.blk.zones!.maxAppendBytes,
    await code(() => none.blk.zones!.append(SIZE, data(1))),
  ], [
    0,
    "UNSUPPORTED",
  ]);
});

Deno.test("blk zoned: each status of zones is a typed error that names it", async () => {
  await using rig = await boot({ maxOpen: 1, maxActive: 2 });
  const zones = rig.blk.zones!;
  const refused = async (run: () => Promise<unknown>): Promise<unknown> => {
    const error = await assertRejects(run) as VireoError;
    assertEquals(error.code, "ZONE_REFUSED");
    return error.seen;
  };
  await zones.open(SIZE, SOON);
  assertEquals(await refused(() => zones.open(2 * SIZE, SOON)), "ZONE_OPEN_RESOURCE");
  assertEquals(await refused(() => rig.blk.write(2 * SIZE, data(1), SOON)), "ZONE_OPEN_RESOURCE");
  await rig.blk.write(SIZE, data(1), SOON);
  await zones.close(SIZE, SOON);
  await zones.append(2 * SIZE, data(1), SOON);
  assertEquals(await refused(() => zones.append(3 * SIZE, data(1), SOON)), "ZONE_ACTIVE_RESOURCE");
  assertEquals(await refused(() => rig.blk.write(SIZE + 7, data(1), SOON)), "ZONE_UNALIGNED_WP");
  assertEquals(await refused(() => zones.close(3 * SIZE, SOON)), "ZONE_INVALID_CMD");
  assertEquals(await refused(() => zones.reset(0, SOON)), "ZONE_INVALID_CMD");
  // A refusal leaves nothing behind: the write pointer is asked for again.
  await rig.blk.write(SIZE + 1, data(4), SOON);
  await zones.resetAll(SOON);
  await rig.blk.write(SIZE, data(2), SOON);
  await using fixed = await boot({}, { readOnly: true });
  assertEquals(await code(() => fixed.blk.zones!.reset(SIZE)), "READ_ONLY");
  assertEquals(await code(() => fixed.blk.zones!.append(SIZE, data(1))), "READ_ONLY");
});

for (const order of ["in-order", "reverse", "random", "deferred"] as const satisfies BlkOrder[]) {
  Deno.test(`blk zoned: long writes to zones arrive in order on a device that takes requests ${order}`, async () => {
    const capacity = { zoneCapacity: SIZE };
    await using rig = await boot(capacity, { order, queues: 3, driver: { bytesPerRequest: 2048 } });
    const { blk } = rig;
    const picture = Uint8Array.from({ length: 3 * SIZE * 512 }, (_, i) => (i >> 9) * 3 + i % 5);
    // Over two borders of zones, in 96 requests of the device, while two other zones are written as well.
    const more = [10, 20].map(async (zone) => {
      const parts = [0, 10, 20].map((from) => blk.write(zone * SIZE + from, data(10, zone), SOON));
      await Promise.all(parts);
    });
    await Promise.all([blk.write(SIZE, picture, SOON), ...more]);
    assertEquals(await blk.read(SIZE, picture.length, SOON), picture);
    // A read over a border is two requests.
    assertEquals(
      await blk.read(2 * SIZE - 2, 4 * 512, SOON),
      picture.slice((SIZE - 2) * 512, (SIZE + 2) * 512),
    );
    rig.asked();
    await blk.read(20 * SIZE, 30 * 512, SOON);
    assert(rig.asked().every(([type]) => type === IN));
    // Many appends at once: each is somewhere, none over another.
    const appended = await Promise.all(
      Array.from({ length: 32 }, (_, i) => blk.zones!.append(30 * SIZE, data(2, i), SOON)),
    );
    assertEquals(
      [...appended].sort((a, b) => a - b),
      Array.from({ length: 32 }, (_, i) => 30 * SIZE + 2 * i),
    );
    for (const [i, sector] of appended.entries()) {
      assertEquals((await blk.read(sector, 512, SOON))[0], i);
    }
    assertEquals(rig.asked().filter(([type]) => type === OUT), []);
  });
}

Deno.test("blk zoned: waiting for a zone ends with the call's deadline or signal, and the zone goes on", async () => {
  await using rig = await boot({ zoneCapacity: SIZE }, { order: "held" });
  const { blk, model } = rig;
  const releasing = async (run: Promise<unknown>): Promise<void> => {
    let over = false;
    const end = run.finally(() => over = true);
    while (!over) {
      model.release();
      await turn();
    }
    await end;
  };
  const first = blk.write(SIZE, data(2), SOON);
  const late = await assertRejects(() =>
    blk.write(SIZE + 2, data(2), { deadline: 20 })
  ) as VireoError;
  assertEquals([late.code, late.message.includes("the request before this one in the zone")], [
    "TIMEOUT",
    true,
  ]);
  const stop = new AbortController();
  const aborted = blk.zones!.append(SIZE, data(2), { signal: stop.signal });
  stop.abort(new Error("enough"));
  await assertRejects(() => aborted, Error, "enough");
  await releasing(first);
  await releasing(blk.write(SIZE + 2, data(2), SOON));
});

Deno.test("blk zoned: after a reset the write pointer is asked for again", async () => {
  await using rig = await boot({}, { injected: "as the test wants" });
  const { blk } = rig;
  await blk.write(SIZE, data(4), SOON);
  const recovered = rig.bus.devices[0]!.recovered(SOON);
  rig.machine.device(0).fault("as the test wants");
  await recovered;
  rig.asked();
  await blk.write(SIZE + 4, data(4), SOON);
  assertEquals(rig.asked(), [[REPORT, SIZE], [OUT, SIZE + 4]]);
});

Deno.test("blk zoned: an erased zone is written from its first sector on", async () => {
  const secureErase = { maxSectors: SIZE, maxSegments: 1, alignment: SIZE };
  await using rig = await boot({}, { secureErase });
  const { blk } = rig;
  await blk.write(SIZE, data(4), SOON);
  await blk.secureErase([{ sector: SIZE, sectors: SIZE }], SOON);
  rig.asked();
  await blk.write(SIZE, data(4), SOON);
  assertEquals(rig.asked(), [[REPORT, SIZE], [OUT, SIZE]]);
});

Deno.test("blk zoned: what a device lies about its zones is a typed error", async () => {
  const words = (offset: number, value: number) => (model: BlkDevice) => {
    const read = model.readConfig.bind(model);
    model.readConfig = (at, width) => at === offset ? value : read(at, width);
  };
  const bind = async (change: (model: BlkDevice) => void): Promise<VireoError | undefined> => {
    const model = new BlkDevice({ disk: new MemoryDisk(ZONES * SIZE * 512), zoned: PLAIN });
    change(model);
    await using machine = EmulatedMachine.create({ devices: [model] });
    await using bus = new Bus();
    await bus.registerDriver(blkDriver);
    await bus.addPlatform(machine);
    return bus.devices[0]!.error as VireoError | undefined;
  };
  for (
    const [offset, value, register] of [
      [92, 9, "zoned.model"],
      [72, 0, "zoned.zone_sectors"],
      [88, 0, "zoned.write_granularity"],
      [88, 700, "zoned.write_granularity"],
      [88, 0x80000000, "zoned.write_granularity"],
    ] as const
  ) {
    const error = await bind(words(offset, value));
    assertEquals([error?.code, error?.register], ["CONFIG_INVALID", register]);
  }
  const report = async (change: (view: DataView) => void): Promise<string> => {
    const model = new BlkDevice({ disk: new MemoryDisk(ZONES * SIZE * 512), zoned: PLAIN });
    const zone = model.zones!.zone.bind(model.zones);
    const view = new DataView(new ArrayBuffer(32));
    model.zones!.zone = (index) => {
      const { start, capacity, pointer, type, state } = zone(index);
      [start, capacity, pointer, type, state].forEach((value, i) => view.setUint32(i * 4, value));
      change(view);
      const [a, b, c, d, e] = [0, 4, 8, 12, 16].map((i) => view.getUint32(i));
      return { start: a!, capacity: b!, pointer: c!, type: d!, state: e! };
    };
    await using rig = await bootRecorded("blk", model, blkDriver);
    return await code(() => rig.blk.zones!.report(SIZE, SOON));
  };
  for (const [at, value] of [[0, 5], [4, SIZE + 1], [8, 2], [8, 4000], [12, 9], [16, 7]] as const) {
    assertEquals(
      await report((view) => view.setUint32(at, value)),
      "BAD_STATUS",
      `${at}: ${value}`,
    );
  }
});
