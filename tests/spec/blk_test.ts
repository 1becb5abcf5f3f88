// The disk's driver and device, byte by byte: every number is typed from virtio 1.4 §5.2.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { BlkDevice, type BlkDeviceOptions, EmulatedMachine, MemoryDisk } from "@vireo/emu";
import { MockDriver } from "@vireo/emu/testing";
import { FeatureSet, type RegisterTrace, VireoError } from "@vireo/hal";
import { type Blk, blkDriver } from "../../drivers/blk/mod.ts";
import { bootRecorded, type RecordedRig } from "./boot.ts";
import { at, le } from "./recorder.ts";

const SOON = { deadline: 5000 };
const SECTORS = 256;
const [IN, OUT, FLUSH, GET_ID] = [0, 1, 4, 8];
const [DISCARD, WRITE_ZEROES, SECURE_ERASE] = [11, 13, 14];
const F = { FLUSH: 9, CONFIG_WCE: 11, ANY_LAYOUT: 27 } as const;

type Rig = RecordedRig<"blk", BlkDevice, Blk> & {
  readonly disk: MemoryDisk;
  readonly registers: RegisterTrace[];
  /** Headers of what the device was asked since the last call: type, sector, and bytes after the header. */
  asked(): (readonly [number, number, Uint8Array])[];
};

async function boot(
  options: Partial<BlkDeviceOptions> & { version?: 1 | 2; filter?: readonly number[] } = {},
): Promise<Rig> {
  const { version = 2, filter = [], ...device } = options;
  const disk = new MemoryDisk(Uint8Array.from({ length: SECTORS * 512 }, (_, i) => i >> 9));
  const registers: RegisterTrace[] = [];
  const rig = await bootRecorded("blk", new BlkDevice({ disk, ...device }), blkDriver, {
    version,
    without: filter,
    machine: { slots: 1, trace: (access) => registers.push(access) },
  });
  const asked: Rig["asked"] = () =>
    rig.seen.chains.splice(0).map(({ read }) => [at(read, 0), at(read, 8, 8), read.subarray(16)]);
  return { ...rig, disk, registers, asked };
}

Deno.test("spec blk: writeback is not read before FEATURES_OK is set (drv.blk.init.3)", async () => {
  await using rig = await boot();
  // Status is at 0x70, FEATURES_OK its bit 3; writeback is byte 32 of the configuration at 0x100.
  const agreed = rig.registers.findIndex(({ op, offset, value }) =>
    op === "w" && offset === 0x70 && (value & 8) !== 0
  );
  assert(agreed > 0);
  const reads = rig.registers.flatMap(({ op, offset, width }, i) =>
    op === "r" && offset <= 0x120 && offset + width > 0x120 && offset >= 0x100 ? [i] : []
  );
  assertEquals(reads.filter((i) => i < agreed), []);
  assert(rig.blk.writeCache);
  assert(rig.registers.some(({ op, offset }) => op === "r" && offset === 0x120));
});

Deno.test("spec blk: reads and writes are whole sectors inside the disk (drv.blk.operation.2, .6)", async () => {
  await using rig = await boot();
  const { blk } = rig;
  for (
    const [sector, bytes] of [[255, 1024], [256, 512], [2 ** 40, 512], [-1, 512], [0, 100], [
      0,
      513,
    ]]
  ) {
    await assertRejects(() => blk.read(sector!, bytes!, SOON));
    await assertRejects(() => blk.write(sector!, new Uint8Array(bytes!), SOON));
  }
  assertEquals(rig.asked(), []);
  assertEquals((await blk.read(255, 512, SOON))[0], 255);
  await blk.write(254, new Uint8Array(1024), SOON);
  const chains = rig.seen.chains.map(({ readable, writable }) => [readable, writable]);
  assertEquals(rig.asked().map(([type, sector]) => [type, sector]), [[IN, 255], [OUT, 254]]);
  const bytes = chains.map(([readable, writable], i) =>
    (i === 0 ? writable! : readable!).reduce((sum, length) => sum + length)
  );
  // A status byte follows what is read; a header of 16 bytes goes before what is written.
  assertEquals(bytes, [512 + 1, 16 + 1024]);
});

Deno.test("spec blk: FLUSH has sector 0, and GET_ID room for 20 bytes (drv.blk.operation.4, .8)", async () => {
  await using rig = await boot({ serial: "S1" });
  await rig.blk.write(9, new Uint8Array(512), SOON);
  rig.asked();
  await rig.blk.flush(SOON);
  assertEquals(await rig.blk.getId(SOON), "S1");
  assertEquals(rig.seen.chains.map(({ writable }) => writable.reduce((a, b) => a + b)), [1, 21]);
  assertEquals(rig.asked(), [[FLUSH, 0, le()], [GET_ID, 0, le()]]);
});

Deno.test("spec blk: ranges are whole structures, as many as the device takes, without unmap in discards (drv.blk.operation.7, .9-11, .13)", async () => {
  const bounds = (maxSegments: number) => ({ maxSectors: 64, maxSegments });
  await using rig = await boot({
    discard: bounds(2),
    writeZeroes: bounds(3),
    secureErase: bounds(4),
  });
  const ranges = Array.from({ length: 9 }, (_, i) => ({ sector: 10 * i, sectors: 4 }));
  const { blk } = rig;
  for (
    const [type, most, unmap, run] of [
      [DISCARD, 2, 0, () => blk.discard(ranges, SOON)],
      [WRITE_ZEROES, 3, 0, () => blk.writeZeroes(ranges, SOON)],
      [WRITE_ZEROES, 3, 1, () => blk.writeZeroes(ranges, { ...SOON, unmap: true })],
      [SECURE_ERASE, 4, 0, () => blk.secureErase(ranges, SOON)],
    ] as const
  ) {
    await run();
    const asked = rig.asked();
    assert(asked.every(([seen]) => seen === type));
    assert(asked.every(([, , data]) => data.length % 16 === 0 && data.length <= most * 16));
    const all = le(...asked.map(([, , data]) => data));
    // sector of 8 bytes, num_sectors, flags with unmap as bit 0.
    assertEquals(all, le(...ranges.flatMap(({ sector }) => [le([sector, 8], 4, unmap)])));
  }
});

Deno.test("spec blk: clearing writeback makes nothing durable that was written before (drv.blk.operation.12)", async () => {
  await using rig = await boot();
  await rig.blk.write(1, new Uint8Array(512), SOON);
  rig.blk.writeCache = false;
  await rig.blk.flush(SOON);
  assertEquals(rig.asked().map(([type]) => type), [OUT, FLUSH]);
});

Deno.test("spec blk: what discarded sectors and failed ranges hold is not known (drv.blk.operation.14, .15)", async () => {
  await using rig = await boot();
  const { blk, disk } = rig;
  await blk.write(4, new Uint8Array(512).fill(7), SOON);
  await blk.discard([{ sector: 4, sectors: 1 }], SOON);
  for (const fill of [0x11, 0x22]) {
    disk.memory.fill(fill, 4 * 512, 5 * 512);
    assertEquals((await blk.read(4, 512, SOON))[0], fill, "the device is asked each time");
  }
  rig.asked();
  disk.resize(20 * 512);
  const ranges = [{ sector: 4, sectors: 1 }, { sector: 100, sectors: 1 }];
  for (const run of [() => blk.discard(ranges, SOON), () => blk.writeZeroes(ranges, SOON)]) {
    const error = await assertRejects(run, VireoError);
    assertEquals(error.code, "IO_ERROR");
    assertEquals(rig.asked().length, 1, "and not tried again by parts");
    // The first range may have been carried out or not.
    for (const fill of [0x33, 0x44]) {
      disk.memory.fill(fill, 4 * 512, 5 * 512);
      assertEquals((await blk.read(4, 512, SOON))[0], fill);
    }
    rig.asked();
  }
});

Deno.test("spec blk: a legacy device without ANY_LAYOUT gets header, data and status in descriptors of their own (drv.blk.legacy-framing.1)", async () => {
  await using rig = await boot({ version: 1, filter: [F.ANY_LAYOUT] });
  await rig.blk.read(0, 1024, SOON);
  await rig.blk.write(0, new Uint8Array(512), SOON);
  await rig.blk.flush(SOON);
  await rig.blk.getId(SOON);
  // type, reserved and sector: 16 bytes, where the specification's text says 8.
  assertEquals(rig.seen.chains.map(({ readable, writable }) => [readable, writable]), [
    [[16], [1024, 1]],
    [[16, 512], [1]],
    [[16], [1]],
    [[16], [20, 1]],
  ]);
});

Deno.test("spec blk: on the legacy interface neither features nor status change the cache mode of a driver with CONFIG_WCE (dev.blk.legacy-init.1-3)", async () => {
  const legacy = (features: readonly number[]) => {
    const model = new BlkDevice({ disk: new MemoryDisk(1 << 16) });
    const machine = EmulatedMachine.create({ devices: [{ model, version: 1 }] });
    const driver = new MockDriver(machine);
    const field = () => driver.config(32, 1)[0]!;
    driver.init(FeatureSet.of(...features), { stopBeforeDriverOk: true });
    return { model, machine, driver, field };
  };
  for (const features of [[F.FLUSH, F.CONFIG_WCE], [F.CONFIG_WCE]]) {
    for (const mode of [0, 1]) {
      const { machine, driver, field, model } = legacy(features);
      await using _machine = machine;
      driver.slot.write8(0x100 + 32, mode);
      // DriverFeatures is at 0x20, its selector at 0x24.
      driver.slot.write32(0x24, 0);
      for (const word of [0, 1 << F.FLUSH, features.reduce((all, bit) => all | 1 << bit, 0)]) {
        driver.slot.write32(0x20, word);
        assertEquals(field(), mode, "after the features");
      }
      // ACKNOWLEDGE and DRIVER, then DRIVER_OK: a legacy device knows no FEATURES_OK.
      for (const status of [3, 7]) {
        driver.slot.write32(0x70, status);
        assertEquals([field(), driver.slot.read32(0x70)], [mode, status]);
      }
      assertEquals(model.writeback, mode === 1);
    }
  }
  // Without CONFIG_WCE the mode is what FLUSH says, from DRIVER_OK on.
  for (const [features, mode] of [[[F.FLUSH], true], [[], false]] as const) {
    const { machine, driver, model } = legacy(features);
    await using _machine = machine;
    driver.slot.write32(0x70, 7);
    assertEquals(model.writeback, mode);
  }
});
