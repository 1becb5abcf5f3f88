import { assertEquals, assertRejects } from "@std/assert";
import { BlkRequestType, BlkZonedModel, BlkZoneState, BlkZoneType, VireoError } from "@vireo/hal";
import { code } from "../async_test_util.ts";
import { type BlkZone, BlkZones } from "./zones.ts";

const { OUT, IN, ZONE_REPORT, ZONE_APPEND, ZONE_OPEN, ZONE_RESET_ALL } = BlkRequestType;
const ZONE = 8;

/** Zones of 8 sectors, of which 6 can be written, on a host that notes its requests. */
function rig(
  {
    zone = {},
    sectors = 4 * ZONE,
    count,
    readOnly = false,
    maxAppendSectors = 2,
    writeGranularity = 512,
    appended = 8,
  }: {
    readonly zone?: Partial<Omit<BlkZone, "pointer">> & { readonly pointer?: number };
    readonly sectors?: number;
    /** Zones that it says a report has; as many as were asked for by default. */
    readonly count?: number;
    readonly readOnly?: boolean;
    readonly maxAppendSectors?: number;
    readonly writeGranularity?: number;
    readonly appended?: number;
  } = {},
) {
  const sent: [type: number, sector: number, length: number][] = [];
  let hold: Promise<void> | undefined;
  const zones = new BlkZones({
    device: { name: "virtio0" } as never,
    sectors,
    maxRequestBytes: 1024,
    async submit(type, sector, bytes) {
      sent.push([type, sector, bytes.length]);
      const held = hold;
      hold = undefined;
      await held;
      const view = new DataView(bytes.buffer);
      if (type === ZONE_APPEND) {
        const answer = new DataView(new ArrayBuffer(8));
        answer.setUint32(0, appended, true);
        answer.setUint32(4, appended / 2 ** 32, true);
        return new Uint8Array(answer.buffer);
      }
      if (type !== ZONE_REPORT) return bytes;
      const most = bytes.length / 64 - 1;
      view.setUint32(0, count ?? most, true);
      for (let i = 0; i < most; i++) {
        const at = 64 * (i + 1);
        const start = zone.start ?? sector + i * ZONE;
        view.setUint32(at, zone.capacity ?? 6, true);
        view.setUint32(at + 8, start, true);
        view.setUint32(at + 12, start / 2 ** 32, true);
        view.setUint32(at + 16, zone.pointer ?? start, true);
        view.setUint32(at + 20, (zone.pointer ?? start) / 2 ** 32, true);
        bytes[at + 24] = zone.type ?? BlkZoneType.SWR;
        bytes[at + 25] = zone.state ?? BlkZoneState.EMPTY;
      }
      return bytes;
    },
    checkWritable() {
      if (readOnly) throw new VireoError("READ_ONLY", "As the test wants");
    },
  }, {
    model: BlkZonedModel.HM,
    zoneSectors: ZONE,
    maxOpenZones: 0,
    maxActiveZones: 0,
    maxAppendSectors,
    writeGranularity,
  });
  return {
    zones,
    taken: () => sent.splice(0),
    /** Holds the next request. */
    hold(): () => void {
      const { promise, resolve } = Promise.withResolvers<void>();
      hold = promise;
      return resolve;
    },
  };
}

const bytes = (sectors: number) => new Uint8Array(512 * sectors);

Deno.test("blk zones: a report has as many zones as there are, in requests that have room for them", async () => {
  const { zones, taken } = rig({ sectors: 40 * ZONE - 1 });
  assertEquals([zones.count, (await zones.report()).length], [40, 40]);
  // 15 and a header in 1024 bytes.
  assertEquals(taken().map(([, sector, length]) => [sector / ZONE, length / 64 - 1]), [
    [0, 15],
    [15, 15],
    [30, 10],
  ]);
  assertEquals((await zones.report(39 * ZONE + 6)).map(({ start }) => start), [39 * ZONE]);
  const far = 3 * 2 ** 33;
  const [last] = await rig({ sectors: 2 ** 40 }).zones.report(far, { count: 1 });
  assertEquals([last!.start, last!.pointer], [far, far]);
  assertEquals(await zones.report(0, { count: 0 }), []);
  assertEquals((await zones.report(0, { count: 2 })).length, 2);
  taken();
  for (const count of [-1, 0.5, NaN]) {
    await assertRejects(() => zones.report(0, { count }), RangeError, `${count} zones`);
  }
  for (const sector of [-1, 0.5]) {
    await assertRejects(() => zones.report(sector), RangeError, `sector ${sector}`);
  }
  assertEquals([await code(() => zones.report(40 * ZONE - 1)), taken()], ["OUT_OF_RANGE", []]);
});

Deno.test("blk zones: a report is of the zones that were asked for, with places that can be", async () => {
  const { CONV, SWP } = BlkZoneType;
  const { NOT_WP, RDONLY, FULL, OFFLINE, IOPEN } = BlkZoneState;
  for (
    const [wrong, pointer] of [
      [{ zone: { pointer: 8 } }, 8],
      [{ zone: { pointer: 14, state: IOPEN } }, 14],
      [{ zone: { pointer: 15 } }, "write pointer"],
      [{ zone: { pointer: 7 } }, "write pointer"],
      [{ zone: { type: SWP, pointer: 99 } }, "write pointer"],
      [{ zone: { type: CONV, state: NOT_WP, pointer: 99 } }, undefined],
      ...[RDONLY, FULL, OFFLINE].map((state) =>
        [{ zone: { state, pointer: 99 } }, undefined] as const
      ),
      [{ zone: { capacity: 8, pointer: 16 } }, 16],
      [{ zone: { capacity: 9 } }, "capacity"],
      [{ zone: { start: 16 } }, "start"],
      [{ zone: { type: 4 as never } }, "type"],
      [{ zone: { type: 0 as never } }, "type"],
      [{ zone: { state: 5 as never } }, "state"],
      [{ zone: { state: 12 as never } }, "state"],
      [{ count: 0 }, "another number"],
      [{ count: 2 }, "another number"],
    ] as const
  ) {
    const asked = rig(wrong).zones.report(8, { count: 1 });
    if (typeof pointer !== "string") assertEquals((await asked)[0]!.pointer, pointer);
    else {
      const error = await assertRejects(() => asked, VireoError, pointer);
      assertEquals(error.code, "BAD_STATUS");
    }
  }
});

Deno.test("blk zones: reads and writes are cut at borders and by the longest request", async () => {
  const { zones, taken } = rig();
  await zones.read(6, bytes(12), {});
  assertEquals(taken(), [[IN, 6, 1024], [IN, 8, 4096], [IN, 16, 1024]]);
  await zones.write(0, bytes(5), {});
  assertEquals(taken(), [[ZONE_REPORT, 0, 128], [OUT, 0, 1024], [OUT, 2, 1024], [OUT, 4, 512]]);
  // One sector is left; where the zone is written is known.
  await zones.write(5, bytes(1), {});
  assertEquals(taken(), [[OUT, 5, 512]]);
  assertEquals([await code(() => zones.write(6, bytes(1), {})), taken()], ["OUT_OF_RANGE", []]);
  await zones.write(8, bytes(4), {});
  assertEquals(taken(), [[ZONE_REPORT, 8, 128], [OUT, 8, 1024], [OUT, 10, 1024]]);
});

Deno.test("blk zones: an append has a multiple of the unit, room, and an answer in its zone", async () => {
  for (
    const [appended, fits] of [[8, true], [13, true], [14, false], [7, false], [
      2 ** 32 + 8,
      false,
    ]] as const
  ) {
    const { zones } = rig({ appended });
    if (fits) assertEquals(await zones.append(8, bytes(2)), appended);
    else assertEquals(await code(() => zones.append(8, bytes(2))), "BAD_STATUS");
  }
  const { zones, taken } = rig();
  for (const length of [0, 100, 1025, 1536]) {
    const data = new Uint8Array(length);
    await assertRejects(() => zones.append(8, data), RangeError, `${length} bytes`);
  }
  await assertRejects(() => zones.append(9, bytes(1)), RangeError, "sector 9");
  assertEquals(taken(), []);
  for (let i = 0; i < 3; i++) await zones.append(8, bytes(2));
  assertEquals(await code(() => zones.append(8, bytes(1))), "OUT_OF_RANGE");
  assertEquals(taken().map(([type]) => type), [ZONE_REPORT, ZONE_APPEND, ZONE_APPEND, ZONE_APPEND]);
  const full = rig({ zone: { state: BlkZoneState.FULL } }).zones;
  const { seen, expected } = await assertRejects(() => full.append(8, bytes(1)), VireoError);
  assertEquals([seen, expected], [15, "at most 14"]);
  const none = rig({ maxAppendSectors: 0 }).zones;
  assertEquals([none.maxAppendBytes, await code(() => none.append(8, bytes(1)))], [
    0,
    "UNSUPPORTED",
  ]);
  assertEquals(rig({ maxAppendSectors: 1 }).zones.maxAppendBytes, 512);
});

Deno.test("blk zones: what changes zones makes them unknown, and a read-only disk takes none of it", async () => {
  const changes: ((zones: BlkZones) => Promise<unknown>)[] = [
    (zones) => zones.open(8),
    (zones) => zones.close(8),
    (zones) => zones.finish(8),
    (zones) => zones.reset(8),
    (zones) => zones.resetAll(),
  ];
  for (const change of changes) {
    const { zones, taken } = rig();
    await zones.append(8, bytes(1));
    await change(zones);
    taken();
    await zones.append(8, bytes(1));
    assertEquals(taken().map(([type]) => type), [ZONE_REPORT, ZONE_APPEND]);
    const only = rig({ readOnly: true });
    assertEquals([await code(() => change(only.zones)), only.taken()], ["READ_ONLY", []]);
  }
  const only = rig({ readOnly: true });
  assertEquals([await code(() => only.zones.append(8, bytes(1))), only.taken()], ["READ_ONLY", []]);
  await assertRejects(() => rig().zones.open(9), RangeError, "sector 9");
});

Deno.test("blk zones: requests of one zone wait for each other, and a reset of all makes nothing known", async () => {
  const { zones, taken, hold } = rig();
  await zones.write(0, bytes(6), {});
  taken();
  let release = hold();
  const [open, write] = [zones.open(8), zones.write(8, bytes(1), {})];
  await new Promise((resolve) => setTimeout(resolve));
  assertEquals(taken(), [[ZONE_OPEN, 8, 0]]);
  release();
  await Promise.all([open, write]);
  assertEquals(taken().map(([type]) => type), [ZONE_REPORT, OUT]);
  // While all are reset, a zone that was full is asked for, and once more afterwards.
  release = hold();
  const all = zones.resetAll();
  await zones.write(0, bytes(1), {});
  assertEquals(taken().map(([type]) => type), [ZONE_RESET_ALL, ZONE_REPORT, OUT]);
  release();
  await all;
  await zones.write(0, bytes(1), {});
  assertEquals(taken().map(([type]) => type), [ZONE_REPORT, OUT]);
});

Deno.test("blk zones: writes to sequential zones are of whole units, those to others of sectors", async () => {
  for (const type of [BlkZoneType.SWR, BlkZoneType.CONV]) {
    for (const [sector, length, whole] of [[0, 2, true], [0, 1, false], [1, 2, false]] as const) {
      const { zones } = rig({ zone: { type }, writeGranularity: 1024 });
      const write = () => zones.write(sector, bytes(length), {});
      if (whole || type === BlkZoneType.CONV) await write();
      else await assertRejects(write, RangeError, "multiples of 1024 bytes");
    }
  }
});
