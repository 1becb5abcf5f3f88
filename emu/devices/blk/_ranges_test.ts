// Ranges of a disk by their bytes; every number is typed again from virtio 1.4 §5.2.6.
import { assertEquals } from "@std/assert";
import { FeatureSet } from "@vireo/hal";
import type { DiskBackend } from "../../backends/disk.ts";
import { ArrayChain } from "../../testing/fake_chain.ts";
import { WorkMeter } from "../../work.ts";
import { applyRanges, clearRange } from "./_ranges.ts";
import type { BlkSetup } from "./config.ts";
import { EmulatedZones } from "./zones.ts";

const [DISCARD, WRITE_ZEROES, SECURE_ERASE] = [11, 13, 14] as const;
const FEATURE = { [DISCARD]: 13, [WRITE_ZEROES]: 14, [SECURE_ERASE]: 16 };
const [OK, IOERR, UNSUPP, ZONE_INVALID] = [0, 1, 2, 3];
const SECTORS = 64;
type Range = readonly [sector: number, sectors: number, flags?: number];

class Rig {
  /** What the disk was asked for: its letter, sector and sectors. */
  readonly calls: string[] = [];
  readonly stats = { ranges: 0 };
  readonly work: WorkMeter;
  valid = true;
  setup: Partial<BlkSetup>;
  features = FeatureSet.of(...Object.values(FEATURE));
  /** What a call to the disk answers. */
  answer: () => void | Promise<void> = () => {};
  /** Writable bytes of a request. */
  room = 1;

  constructor(
    setup: Partial<BlkSetup> = {},
    budget: ConstructorParameters<typeof WorkMeter>[1] = {},
  ) {
    const limits = { maxSectors: 64, maxSegments: 300, alignment: 4 };
    this.setup = {
      ...{ discard: limits, writeZeroes: limits, secureErase: limits },
      blockSize: 512,
      readOnly: false,
      ...setup,
    };
    this.work = new WorkMeter(() => {}, budget);
  }

  get disk(): DiskBackend {
    const call = (name: string) => (offset: number, length: number): void | Promise<void> => {
      this.calls.push(`${name} ${offset / 512} ${length / 512}`);
      return this.answer();
    };
    return { size: SECTORS * 512, discard: call("d"), zero: call("z") } as Partial<
      DiskBackend
    > as DiskBackend;
  }

  /** The status of a request, or the promise of it; bytes that are more than whole ranges. */
  send(type: number, ranges: readonly Range[], more = 0): number | Promise<void> {
    const bytes = new Uint8Array(16 + 16 * ranges.length + more);
    const view = new DataView(bytes.buffer);
    ranges.forEach(([sector, sectors, flags = 0], i) => {
      view.setBigUint64(16 + 16 * i, BigInt(sector), true);
      view.setUint32(16 + 16 * i + 8, sectors, true);
      view.setUint32(16 + 16 * i + 12, flags, true);
    });
    const chain = new ArrayChain(bytes, new Uint8Array(this.room));
    chain.skip(16);
    const turn = { work: this.work, valid: () => this.valid };
    const target = { disk: this.disk, setup: this.setup as BlkSetup, stats: this.stats };
    return applyRanges(target, this.features, chain, type, turn);
  }
}

const TYPES = [DISCARD, WRITE_ZEROES, SECURE_ERASE];

Deno.test("blk ranges: each request has its own feature, its own limits and its own effect", () => {
  for (const type of TYPES) {
    const rig = new Rig();
    assertEquals([rig.send(type, [[4, 8], [20, 4]]), rig.stats.ranges], [OK, 1]);
    const name = type === DISCARD ? "d" : "z";
    assertEquals(rig.calls, [`${name} 4 8`, `${name} 20 4`]);
    rig.features = rig.features.without(FEATURE[type]);
    assertEquals([rig.send(type, [[4, 8]]), rig.calls.length], [UNSUPP, 2]);
    const small = { maxSectors: 8, maxSegments: 2, alignment: 4 };
    const key = ({ 11: "discard", 13: "writeZeroes", 14: "secureErase" } as const)[type];
    const limited = new Rig({ [key]: small });
    const rows: readonly (readonly [Range[], number])[] = [
      [[[0, 8], [8, 8]], OK],
      [[[0, 8], [8, 12]], IOERR],
      [[[0, 4], [8, 4], [16, 4]], IOERR],
      [[], IOERR],
      [[[56, 8]], OK],
      [[[60, 8]], IOERR],
    ];
    for (const [ranges, status] of rows) {
      limited.calls.length = 0;
      assertEquals(limited.send(type, ranges), status);
      assertEquals(limited.calls.length, status === OK ? ranges.length : 0);
    }
    assertEquals(limited.send(type, [[0, 4]], 8), IOERR, "half a range");
  }
});

Deno.test("blk ranges: 256 are the most, whatever the options say", () => {
  const rig = new Rig();
  const many = (count: number): Range[] => Array.from({ length: count }, () => [0, 4]);
  assertEquals([rig.send(DISCARD, many(256)), rig.calls.length], [OK, 256]);
  assertEquals([rig.send(DISCARD, many(257)), rig.calls.length], [IOERR, 256]);
});

Deno.test("blk ranges: flags, blocks and what is erased are as the limits say", () => {
  const rows: readonly (readonly [number, Range, Partial<BlkSetup>, number])[] = [
    [DISCARD, [0, 4, 1], {}, UNSUPP],
    [SECURE_ERASE, [0, 4, 1], {}, UNSUPP],
    [WRITE_ZEROES, [0, 4, 1], {}, OK],
    [WRITE_ZEROES, [0, 4, 2], {}, UNSUPP],
    [DISCARD, [1, 1], {}, OK],
    [WRITE_ZEROES, [1, 1], {}, OK],
    [SECURE_ERASE, [4, 4], {}, OK],
    [SECURE_ERASE, [2, 4], {}, IOERR],
    [SECURE_ERASE, [4, 2], {}, IOERR],
    [DISCARD, [2, 2], { blockSize: 1024 }, OK],
    [DISCARD, [1, 2], { blockSize: 1024 }, IOERR],
    [DISCARD, [2, 1], { blockSize: 1024 }, IOERR],
    [DISCARD, [0, 4], { readOnly: true }, IOERR],
  ];
  for (const [type, range, setup, status] of rows) {
    const rig = new Rig(setup);
    assertEquals(rig.send(type, [range]), status, `${type} ${range}`);
    assertEquals(rig.calls.length, status === OK ? 1 : 0);
  }
  const rig = new Rig();
  rig.room = 2;
  assertEquals(rig.send(DISCARD, [[0, 4]]), IOERR, "room for more than a status");
});

Deno.test("blk ranges: zones that are written in order take no zeroes, and are emptied when they are erased", () => {
  const disk = { sectors: SECTORS, blockSize: 512, mostAppended: 8 };
  const make = (model: "host-managed" | "host-aware"): [Rig, EmulatedZones] => {
    const zones = new EmulatedZones({ zoneSectors: 16, conventional: 1, model }, disk);
    return [new Rig({ zones }), zones];
  };
  const pointers = (zones: EmulatedZones): number[] => [1, 2, 3].map((i) => zones.zone(i).pointer);
  const [rig, zones] = make("host-managed");
  for (const start of [16, 32, 48]) zones.write(start, 8);
  assertEquals(rig.send(WRITE_ZEROES, [[0, 4], [16, 4]]), ZONE_INVALID);
  assertEquals([rig.calls, rig.stats.ranges], [[], 0], "nothing changes");
  assertEquals(rig.send(WRITE_ZEROES, [[0, 4], [8, 4]]), OK);
  assertEquals(rig.send(SECURE_ERASE, [[16, 16], [0, 4]]), ZONE_INVALID);
  assertEquals(pointers(zones), [24, 40, 56]);
  assertEquals([rig.send(DISCARD, [[16, 16]]), pointers(zones)], [OK, [24, 40, 56]]);
  assertEquals([rig.send(SECURE_ERASE, [[16, 16], [48, 16]]), pointers(zones)], [OK, [16, 40, 48]]);
  // Where order is preferred, zeroes are data like any other.
  const [aware, preferring] = make("host-aware");
  assertEquals([aware.send(WRITE_ZEROES, [[20, 4]]), pointers(preferring)], [OK, [24, 32, 48]]);
  // Zones that cannot be written say so before the disk is asked.
  preferring.fail(2, "read-only");
  assertEquals(aware.send(WRITE_ZEROES, [[32, 4]]), ZONE_INVALID);
  assertEquals(aware.calls, ["z 20 4"]);
});

Deno.test("blk ranges: they go on in a later turn when the budget or the disk asks for it, unless a reset voids them", async () => {
  const three: Range[] = [[0, 4], [8, 4], [16, 4]];
  const calls = ["z 0 4", "z 8 4", "z 16 4"];
  // Each range is one step: behind each but the last there is a turn.
  const rows = [[1, 2], [2, 1], [3, 0], [4, 0]] as const;
  for (const [steps, yields] of rows) {
    const rig = new Rig({}, { steps });
    rig.work.begin();
    const result = rig.send(WRITE_ZEROES, three);
    assertEquals([typeof result, rig.calls], [
      yields === 0 ? "number" : "object",
      calls.slice(0, steps),
    ]);
    await result;
    assertEquals([rig.calls, rig.work.counters.yields], [calls, yields]);
    assertEquals([rig.work.counters.steps, rig.work.counters.bytes], [3, 3 * 4 * 512]);
  }
  for (const valid of [true, false]) {
    const rig = new Rig();
    const { promise, resolve } = Promise.withResolvers<void>();
    rig.answer = () => promise;
    const result = rig.send(WRITE_ZEROES, three);
    assertEquals(rig.calls, calls.slice(0, 1));
    rig.valid = valid;
    resolve();
    await result;
    assertEquals(rig.calls, valid ? calls : calls.slice(0, 1));
  }
});

Deno.test("blk ranges: a range that is cleared reads as zeroes, and is no hint", async () => {
  const rig = new Rig();
  await clearRange(rig.disk, 512, 1024, { work: rig.work, valid: () => true });
  assertEquals(rig.calls, ["z 1 2"]);
});
