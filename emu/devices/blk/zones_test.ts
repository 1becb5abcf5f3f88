// Zones of a disk, without the disk; every number is typed again from virtio 1.4 §5.2.
import { assertEquals, assertThrows } from "@std/assert";
import { ArrayChain } from "../../testing/fake_chain.ts";
import { WorkMeter } from "../../work.ts";
import { type BlkZonedOptions, EmulatedZones } from "./zones.ts";

const [OK, INVALID, UNALIGNED, OPEN_LIMIT, ACTIVE_LIMIT, UNSUPP] = [0, 3, 4, 5, 6, 2];
const [OPEN, CLOSE, FINISH, RESET, RESET_ALL] = [18, 20, 22, 24, 26];
const [CONV, SWR, SWP] = [1, 2, 3];
const [NOT_WP, EMPTY, IOPEN, EOPEN, CLOSED, RDONLY, FULL, OFFLINE] = [0, 1, 2, 3, 4, 13, 14, 15];
/** Sectors of a zone, of which all but two hold data, and the first of each zone. */
const SIZE = 16;
const CAPACITY = 14;
const [A, B, C, D] = [0, 1, 2, 3].map((zone) => zone * SIZE) as [number, number, number, number];
const DISK = { sectors: 4 * SIZE, blockSize: 512, mostAppended: 8 };

/** Four zones, of which the first is conventional. */
const make = (options: Partial<BlkZonedOptions> = {}): EmulatedZones =>
  new EmulatedZones(
    { zoneSectors: SIZE, zoneCapacity: CAPACITY, conventional: 1, ...options },
    DISK,
  );
const aware = (options: Partial<BlkZonedOptions> = {}): EmulatedZones =>
  make({ model: "host-aware", zoneCapacity: SIZE, ...options });
const states = (zones: EmulatedZones): number[] => [0, 1, 2, 3].map((i) => zones.zone(i).state);
const pointers = (zones: EmulatedZones): number[] => [0, 1, 2, 3].map((i) => zones.zone(i).pointer);

/** Zone 1 in a state, with 4 sectors of data where that has some. */
function inState(state: number): EmulatedZones {
  const zones = make();
  if (state === RDONLY || state === OFFLINE) zones.write(B, 4);
  if (state === RDONLY) zones.fail(1, "read-only");
  if (state === OFFLINE) zones.fail(1, "offline");
  if (state === IOPEN || state === CLOSED) zones.write(B, 4);
  if (state === CLOSED) zones.manage(CLOSE, B);
  if (state === EOPEN) zones.manage(OPEN, B);
  if (state === FULL) zones.write(B, CAPACITY);
  assertEquals(zones.zone(1).state, state);
  return zones;
}

Deno.test("blk zones: options have bounds, the last values of which are good", () => {
  const largest = 2 ** 31;
  const huge = { sectors: 2 * largest, blockSize: 512, mostAppended: largest };
  const rows: readonly (readonly [Partial<BlkZonedOptions>, string | undefined])[] = [
    [{ zoneSectors: 1, zoneCapacity: 1 }, undefined],
    [{ zoneSectors: 64, zoneCapacity: 64 }, undefined],
    [{ zoneSectors: 0 }, "0 as zoneSectors"],
    [{ zoneSectors: 24 }, "2.6666666666666665 as number of zones"],
    [{ zoneSectors: 128, zoneCapacity: 64 }, "0.5 as number of zones"],
    [{ writeGranularity: 1024 }, undefined],
    [{ writeGranularity: 256 }, "256 as writeGranularity"],
    [{ writeGranularity: 768 }, "768 as writeGranularity"],
    [{ writeGranularity: 8192, zoneCapacity: 16 }, undefined],
    [{ writeGranularity: 16384, zoneCapacity: 16 }, "16 as zoneSectors"],
    [{ writeGranularity: 2048 }, "14 as zoneCapacity"],
    [{ zoneCapacity: 1 }, undefined],
    [{ zoneCapacity: 16 }, undefined],
    [{ zoneCapacity: 0 }, "0 as zoneCapacity"],
    [{ zoneCapacity: 17 }, "17 as zoneCapacity"],
    [{ model: "host-aware" }, "14 as zoneCapacity"],
    [{ conventional: 4 }, undefined],
    [{ conventional: 5 }, "5 as conventional"],
    [{ conventional: -1 }, "-1 as conventional"],
    [{ maxActive: 4, maxOpen: 4 }, undefined],
    [{ maxActive: 5 }, "5 as maxActive"],
    [{ maxOpen: 4 }, undefined],
    [{ maxOpen: 5 }, "5 as maxOpen"],
    [{ maxActive: 2, maxOpen: 3 }, "3 as maxOpen"],
    [{ maxAppendSectors: 0 }, undefined],
    [{ maxAppendSectors: 8 }, undefined],
    [{ maxAppendSectors: 9 }, "9 as maxAppendSectors"],
  ];
  for (const [options, wrong] of rows) {
    if (wrong === undefined) make({ maxAppendSectors: 1, ...options });
    else assertThrows(() => make(options), RangeError, `Cannot use ${wrong} of a zoned disk`);
  }
  const said = (options: Partial<BlkZonedOptions>): string =>
    assertThrows(() => make(options), RangeError).message.replace(/^.*expected /, "");
  assertEquals(said({ conventional: 5 }), "an integer from 0 to 4");
  assertEquals(said({ writeGranularity: 768 }), "a multiple of 512, 512 to 2147483648");
  const of = (zoneSectors: number): EmulatedZones =>
    new EmulatedZones({ zoneSectors }, { ...DISK, sectors: 65536 });
  assertEquals(of(1).count, 65536);
  assertThrows(
    () => new EmulatedZones({ zoneSectors: 1 }, { ...DISK, sectors: 65537 }),
    RangeError,
  );
  assertEquals(new EmulatedZones({ zoneSectors: largest }, huge).count, 2);
  assertEquals(of(4).maxAppendSectors, 4, "those of a zone");
  assertEquals(make().maxAppendSectors, 8, "those of a request");
});

Deno.test("blk zones: the configuration and the zones tell the options", () => {
  const words = (zones: EmulatedZones): number[] => {
    const view = new DataView(new ArrayBuffer(28));
    zones.fillConfig(view, 4);
    return [...[4, 8, 12, 16, 20].map((at) => view.getUint32(at, true)), view.getUint8(24)];
  };
  const options = { maxOpen: 2, maxActive: 3, maxAppendSectors: 6, writeGranularity: 1024 };
  assertEquals(words(make(options)), [SIZE, 2, 3, 6, 1024, 1]);
  assertEquals(words(aware(options)), [SIZE, 2, 3, 6, 1024, 2]);
  assertEquals(words(make({ model: "drive-managed", zoneCapacity: SIZE })), [0, 0, 0, 0, 0, 0]);
  const zone = (start: number, capacity: number, type: number, state: number) => ({
    ...{ start, capacity, pointer: start, type, state },
  });
  assertEquals([0, 1].map((i) => make().zone(i)), [
    zone(A, SIZE, CONV, NOT_WP),
    zone(B, CAPACITY, SWR, EMPTY),
  ]);
  assertEquals(aware().zone(3), zone(D, SIZE, SWP, EMPTY));
});

Deno.test("blk zones: what each command does in each state", () => {
  // Command, state before, status, state afterwards, and sectors before the pointer.
  const rows: readonly (readonly [number, number, number, number, number])[] = [
    [OPEN, EMPTY, OK, EOPEN, 0],
    [OPEN, IOPEN, OK, EOPEN, 4],
    [OPEN, EOPEN, OK, EOPEN, 0],
    [OPEN, CLOSED, OK, EOPEN, 4],
    [OPEN, FULL, INVALID, FULL, 14],
    [CLOSE, EMPTY, INVALID, EMPTY, 0],
    [CLOSE, IOPEN, OK, CLOSED, 4],
    [CLOSE, EOPEN, OK, EMPTY, 0],
    [CLOSE, CLOSED, OK, CLOSED, 4],
    [CLOSE, FULL, INVALID, FULL, 14],
    [FINISH, EMPTY, OK, FULL, 0],
    [FINISH, IOPEN, OK, FULL, 4],
    [FINISH, FULL, OK, FULL, 14],
    [RESET, IOPEN, OK, EMPTY, 0],
    [RESET, FULL, OK, EMPTY, 0],
    [RESET, EMPTY, OK, EMPTY, 0],
    ...[OPEN, CLOSE, FINISH, RESET].flatMap((type) =>
      [RDONLY, OFFLINE].map((state) => [type, state, INVALID, state, 4] as const)
    ),
    [RESET_ALL, EMPTY, OK, EMPTY, 0],
    [RESET_ALL, IOPEN, OK, EMPTY, 0],
    [RESET_ALL, EOPEN, OK, EMPTY, 0],
    [RESET_ALL, CLOSED, OK, EMPTY, 0],
    [RESET_ALL, FULL, OK, EMPTY, 0],
    [RESET_ALL, RDONLY, OK, RDONLY, 4],
    [RESET_ALL, OFFLINE, OK, OFFLINE, 4],
  ];
  for (const [type, before, status, state, written] of rows) {
    const zones = inState(before);
    const name = `${type} in ${before}`;
    assertEquals(zones.manage(type, type === RESET_ALL ? 0 : B), status, name);
    assertEquals([zones.zone(1).state, zones.zone(1).pointer - B], [state, written], name);
    const open = state === IOPEN || state === EOPEN ? 1 : 0;
    assertEquals([zones.open, zones.active], [open, open + Number(state === CLOSED)], name);
  }
  for (const sector of [A, B + 1, 4 * SIZE]) assertEquals(make().manage(OPEN, sector), INVALID);
  const all = make();
  for (const start of [B, C, D]) all.write(start, 2);
  assertEquals([all.manage(RESET_ALL, 0), states(all)], [OK, [NOT_WP, EMPTY, EMPTY, EMPTY]]);
});

Deno.test("blk zones: writes and appends go where the pointer is, into zones that take them", () => {
  // State, and what a write at the pointer and an append answer.
  const rows = [
    ...[[EMPTY, OK], [IOPEN, OK], [EOPEN, OK], [CLOSED, OK]],
    ...[[FULL, INVALID], [RDONLY, INVALID], [OFFLINE, INVALID]],
  ] as const;
  for (const [state, status] of rows) {
    const zones = inState(state!);
    const { pointer } = zones.zone(1);
    assertEquals(inState(state!).append(B, 2), {
      status: status!,
      sector: status === OK ? pointer : 0,
    });
    assertEquals([zones.write(pointer, 2), zones.zone(1).pointer], [
      status,
      pointer + (status === OK ? 2 : 0),
    ]);
  }
  const zones = make({ writeGranularity: 1024 });
  // Sector, sectors, status.
  const writes: readonly (readonly [number, number, number])[] = [
    [B, 0, OK],
    [B + 2, 2, UNALIGNED],
    [B, 3, UNALIGNED],
    [B, 2, OK],
    [B, 2, UNALIGNED],
    [B + 2, 14, INVALID],
    [B + 2, 16, INVALID],
    [B + 2, 10, OK],
    [B + 12, 4, INVALID],
    [B + 12, 2, OK],
    [B + 14, 2, INVALID],
    [A + 8, 16, INVALID],
    [A, 16, OK],
    [A + 3, 5, OK],
  ];
  for (const [sector, sectors, status] of writes) {
    assertEquals(zones.write(sector, sectors), status, `${sector} ${sectors}`);
  }
  assertEquals([states(zones), pointers(zones)], [[NOT_WP, FULL, EMPTY, EMPTY], [A, B + 14, C, D]]);
  const appends: readonly (readonly [number, number, number, number])[] = [
    [C, 8, OK, C],
    [C, 0, OK, C + 8],
    [C, 9, INVALID, 0],
    [C, 8, INVALID, C + 8],
    [C, 3, UNALIGNED, 0],
    [C + 2, 2, INVALID, 0],
    [A, 2, INVALID, 0],
    [4 * SIZE, 2, INVALID, 0],
    [C, 6, OK, C + 8],
    [C, 2, INVALID, 0],
  ];
  for (const [start, sectors, status, sector] of appends) {
    assertEquals(zones.append(start, sectors), { status, sector }, `${start} ${sectors}`);
  }
  assertEquals(make({ maxAppendSectors: 0 }).append(B, 1).status, UNSUPP);
  assertEquals(aware().append(B, 1).status, INVALID);
});

Deno.test("blk zones: reads and erasing ask the zones that they touch", () => {
  const zones = make();
  zones.write(B, 4);
  const written = (sector: number, sectors: number): number => zones.written(sector, sectors);
  assertEquals([written(B, 4), written(B, 8), written(B + 3, 2), written(B + 4, 1)], [4, 4, 1, 0]);
  assertEquals([written(B + 6, 1), written(A, 9), written(B, 0)], [0, 9, 0]);
  assertEquals([zones.requiresOrder(A, 16), zones.requiresOrder(A, 17)], [false, true]);
  assertEquals([zones.read(A, 16), zones.read(A, 17), zones.read(B, 16)], [OK, INVALID, OK]);
  assertEquals([zones.read(B, 17), zones.read(B, 0)], [INVALID, OK]);
  const two = make({ conventional: 2 });
  assertEquals([two.read(A, 32), two.read(A, 33), two.write(A, 32)], [OK, INVALID, OK]);
  assertEquals([B, C].map((start) => zones.erasable(start, 16)), [OK, OK]);
  assertEquals([zones.erasable(A, 16), zones.erasable(B, 48)], [INVALID, OK]);
  zones.write(C, 4);
  const both = make();
  for (const start of [B, C, D]) both.write(start, 4);
  both.erase(B, 32);
  assertEquals(pointers(both), [A, B, C, D + 4]);
  zones.erase(B, 16);
  assertEquals([pointers(zones), states(zones)[1]], [[A, B, C + 4, D], EMPTY]);
  for (const state of ["read-only", "offline"] as const) {
    zones.fail(2, state);
    assertEquals([zones.erasable(B, 16), zones.erasable(B, 17), zones.erasable(C, 16)], [
      ...[OK, INVALID, INVALID],
    ]);
    assertEquals(zones.read(C, 1), state === "offline" ? INVALID : OK);
  }
  // A zone that was taken away does not come back.
  zones.fail(2, "read-only");
  assertEquals(states(zones)[2], OFFLINE);
  for (const index of [-1, 0, 4, NaN]) assertThrows(() => zones.fail(index, "offline"), RangeError);
  zones.fail(3, "offline");
  make({ conventional: 0 }).fail(0, "offline");
});

Deno.test("blk zones: limits close what a write has opened, the oldest first, and nothing else", () => {
  const zones = make({ maxOpen: 2, maxActive: 3 });
  assertEquals([zones.write(B, 2), zones.write(C, 2), states(zones)], [
    ...[OK, OK],
    [NOT_WP, IOPEN, IOPEN, EMPTY],
  ]);
  assertEquals([zones.manage(OPEN, D), states(zones)], [OK, [NOT_WP, CLOSED, IOPEN, EOPEN]]);
  assertEquals([zones.open, zones.active], [2, 3]);
  assertEquals([zones.manage(OPEN, C), zones.manage(OPEN, B)], [OK, OPEN_LIMIT]);
  assertEquals([zones.write(B + 2, 2), zones.zone(1).pointer], [OPEN_LIMIT, B + 2]);
  const few = make({ maxActive: 1 });
  assertEquals([few.write(B, 2), few.manage(CLOSE, B), few.write(C, 2)], [OK, OK, ACTIVE_LIMIT]);
  assertEquals([few.append(C, 2).status, few.manage(OPEN, C), few.write(B + 2, 2)], [
    ...[ACTIVE_LIMIT, ACTIVE_LIMIT, OK],
  ]);
  few.limited = false;
  assertEquals([few.write(C, 2), few.active], [OK, 2], "a driver that knows of no zones");
  const one = make({ maxOpen: 1 });
  one.manage(OPEN, B);
  assertEquals(one.write(C, 2), OPEN_LIMIT);
  one.limited = false;
  assertEquals(one.write(C, 2), OK);
});

Deno.test("blk zones: those that prefer order take any, and have their pointers behind what was written", () => {
  const zones = aware();
  // Sector, sectors, pointers afterwards.
  const rows: readonly (readonly [number, number, number[], number[]])[] = [
    [B + 4, 4, [A, B + 8, C, D], [NOT_WP, IOPEN, EMPTY, EMPTY]],
    [B + 1, 2, [A, B + 8, C, D], [NOT_WP, IOPEN, EMPTY, EMPTY]],
    [A + 8, 9, [A, B + 8, C, D], [NOT_WP, IOPEN, EMPTY, EMPTY]],
    [B + 15, 2, [A, C, C + 1, D], [NOT_WP, FULL, IOPEN, EMPTY]],
    [B, 16, [A, C, C + 1, D], [NOT_WP, FULL, IOPEN, EMPTY]],
    [C + 1, 15, [A, C, D, D], [NOT_WP, FULL, FULL, EMPTY]],
  ];
  for (const [sector, sectors, expected, after] of rows) {
    assertEquals([zones.write(sector, sectors), pointers(zones), states(zones)], [
      OK,
      expected,
      after,
    ]);
  }
  assertEquals([zones.written(B, 16), zones.written(D, 16)], [16, 16]);
  const few = aware({ maxActive: 1 });
  assertEquals([few.write(B, 2), few.write(C, 2), states(few)[2]], [OK, ACTIVE_LIMIT, EMPTY]);
  // What reads as zeroes after a reset: a zone, or all but conventional ones.
  assertEquals(zones.stale(RESET, C), { start: C, sectors: SIZE });
  assertEquals(zones.stale(RESET_ALL, 0), { start: B, sectors: 3 * SIZE });
  assertEquals([zones.stale(OPEN, C), make().stale(RESET, C)], [undefined, undefined]);
});

Deno.test("blk zones: a report has as many zones as there are and as there is room for", () => {
  const zones = make();
  zones.write(C, 5);
  const report = (sector: number, room: number, more = 0): [number, number[][]] => {
    const chain = new ArrayChain(new Uint8Array(more), new Uint8Array(room).fill(0xee));
    const status = zones.report(chain, sector, new WorkMeter(() => {}));
    if (status !== OK) return [status, []];
    const view = new DataView(chain.writable.buffer);
    const count = view.getUint32(0, true);
    assertEquals([chain.written, view.getUint32(4, true)], [64 + 64 * count, 0]);
    const found = Array.from({ length: count }, (_, i) => [
      ...[64, 72, 80].map((at) => Number(view.getBigUint64(64 * i + at, true))),
      ...[88, 89].map((at) => view.getUint8(64 * i + at)),
    ]);
    return [status, found];
  };
  const all = [
    [SIZE, A, A, CONV, NOT_WP],
    [CAPACITY, B, B, SWR, EMPTY],
    [CAPACITY, C, C + 5, SWR, IOPEN],
    [CAPACITY, D, D, SWR, EMPTY],
  ];
  const room = (count: number): number => 64 + 64 * count + 1;
  assertEquals([report(0, room(4)), report(0, room(9))], [[OK, all], [OK, all]]);
  assertEquals([report(C, room(4)), report(C + 15, room(1))], [[OK, all.slice(2)], [OK, [
    all[2]!,
  ]]]);
  assertEquals([report(0, room(4) - 1), report(0, room(0))], [[OK, all.slice(0, 3)], [OK, []]]);
  assertEquals([report(0, 64), report(4 * SIZE, room(1)), report(4 * SIZE - 1, room(1))], [
    ...[[INVALID, []], [INVALID, []]] as [number, number[][]][],
    [OK, [all[3]!]],
  ]);
  assertEquals(report(0, room(1), 1), [INVALID, []]);
});

Deno.test("blk zones: a snapshot has all of it, for a disk with as many zones", () => {
  const zones = make({ maxOpen: 2 });
  zones.write(B, CAPACITY);
  zones.manage(OPEN, C);
  zones.write(D, 3);
  const other = make({ maxOpen: 2 });
  other.write(C, 1);
  other.restore(structuredClone(zones.snapshot()));
  assertEquals([states(other), pointers(other)], [[NOT_WP, FULL, EOPEN, IOPEN], [
    A,
    B + 14,
    C,
    D + 3,
  ]]);
  assertEquals([other.open, other.active, other.written(D, 16)], [2, 2, 3]);
  // What a write has opened is closed for the next one; what it had before is forgotten.
  assertEquals([other.manage(RESET, B), other.write(B, 1), states(other)[3]], [OK, OK, CLOSED]);
  const error = assertThrows(() =>
    new EmulatedZones({ zoneSectors: 32 }, DISK).restore(zones.snapshot())
  );
  assertEquals((error as Error).message, "Cannot restore 4 zones: the disk has 2");
});
