import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { Feature, ScsiTaskManagement, VireoError } from "@vireo/hal";
import { Bus } from "@vireo/drivers/bus";
import { EmulatedMachine, MemoryDisk, ScsiDevice, type ScsiDeviceOptions } from "@vireo/emu";
import { bootMachine, type MachineRig } from "../machine/machine_rig.ts";
import { decodeSense, scsiDriver, type ScsiHost, senseText } from "../../drivers/scsi/mod.ts";
import { turn } from "../turn.ts";

const SOON = { deadline: 5000 };
const BLOCKS = 4096;

type Rig = MachineRig<"host", ScsiDevice, ScsiHost> & { readonly disk: MemoryDisk };

async function boot(
  options: Partial<ScsiDeviceOptions> = {},
  version: 1 | 2 = 2,
  without: readonly number[] = [],
): Promise<Rig> {
  const disk = new MemoryDisk(BLOCKS * 512);
  const cd = new MemoryDisk(new Uint8Array(64 * 2048).map((_, i) => i >> 11));
  const model = new ScsiDevice({
    queues: 3,
    units: [
      { target: 0, disk, serial: "abc-1" },
      { target: 0, lun: 300, disk: new MemoryDisk(1 << 20) },
      { target: 7, disk: cd, kind: "cdrom" },
    ],
    ...options,
  });
  return { ...await bootMachine("host", model, scsiDriver, { version, without }), disk };
}

const random = (length: number): Uint8Array => {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at += 65536) {
    crypto.getRandomValues(bytes.subarray(at, at + 65536));
  }
  return bytes;
};

for (const version of [1, 2] as const) {
  for (const without of [[], [Feature.INDIRECT_DESC], [Feature.EVENT_IDX]]) {
    Deno.test(`scsi: units are found, read and written in every form (version ${version} without [${without}])`, async () => {
      await using rig = await boot({}, version, without);
      const units = await rig.host.units(SOON);
      assertEquals(units.map(({ target, lun }) => [target, lun]), [[0, 0], [0, 300], [7, 0]]);
      const [disk, , cd] = units;
      assertEquals((await disk!.inquiry(SOON)).product, "HARDDISK");
      assertEquals(await disk!.capacity(SOON), { blocks: BLOCKS, blockSize: 512 });
      assertEquals(await disk!.serial(SOON), "abc-1");
      assertEquals(await disk!.ready(SOON), true);
      for (const form of [6, 10, 12, 16] as const) {
        const data = random(200 * 512);
        await disk!.write(form * 100, data, { ...SOON, form });
        assertEquals(await disk!.read(form * 100, 200, { ...SOON, form }), data);
        assertEquals(rig.disk.memory.subarray(form * 51200, form * 51200 + data.length), data);
      }
      const all = random(BLOCKS * 512);
      await disk!.write(0, all, SOON);
      await disk!.flush(SOON);
      assertEquals(await disk!.read(0, BLOCKS, SOON), all);
      await disk!.unmap([{ block: 8, count: 8 }, { block: 100, count: 1 }], SOON);
      all.fill(0, 8 * 512, 16 * 512).fill(0, 100 * 512, 101 * 512);
      assertEquals(await disk!.read(0, BLOCKS, SOON), all);
      assertEquals(await cd!.inquiry(SOON), {
        ...{ type: 5, removable: true, vendor: "VIREO", product: "CD-ROM", revision: "1.0" },
      });
      assertEquals(await cd!.read(9, 1, SOON), new Uint8Array(2048).fill(9));
      assertEquals(rig.machine.violations(), []);
    });
  }
}

Deno.test("scsi: any number of ranges is unmapped, and blocks that there cannot be are refused", async () => {
  await using rig = await boot();
  const disk = rig.host.unit(0);
  const before = random(BLOCKS * 512);
  await disk.write(0, before, SOON);
  // 4097 ranges would take more bytes than the command's length can say.
  const ranges = Array.from({ length: 4097 }, (_, i) => ({ block: i % 2 * 20, count: 1 }));
  await disk.unmap([...ranges, { block: 30, count: 0 }, { block: 40, count: 2 }], SOON);
  for (const block of [0, 20, 40, 41]) before.fill(0, block * 512, block * 512 + 512);
  assertEquals(await disk.read(0, BLOCKS, SOON), before);
  await disk.unmap([], SOON);
  const wrong = [[-1, 1], [0.5, 1], [NaN, 1], [2 ** 53, 1], [0, -1], [0, 0.5], [
    2 ** 53 - 1,
    1,
  ]] as const;
  for (const [block, count] of wrong) {
    const uses: (() => Promise<unknown>)[] = [
      () => disk.read(block, count, SOON),
      () => disk.unmap([{ block, count }], SOON),
      ...count === 1
        ? [
          () => disk.write(block, new Uint8Array(512), SOON),
          () => disk.writeSame(block, 1, new Uint8Array(512), SOON),
        ]
        : [],
    ];
    for (const use of uses) await assertRejects(use, RangeError, `from block ${block} on`);
  }
  const large = [{ block: 0, count: 2 ** 32 }];
  await assertRejects(() => disk.unmap(large, SOON), RangeError, "at most 4294967295");
  assertEquals(await disk.read(0, BLOCKS, SOON), before);
  assertEquals(rig.machine.violations(), []);
});

Deno.test("scsi: WRITE SAME repeats a block, and MODE SENSE tells who refuses writes", async () => {
  await using rig = await boot();
  const [disk, cd] = [rig.host.unit(0), rig.host.unit(7)];
  const before = random(BLOCKS * 512);
  await disk.write(0, before, SOON);
  const pattern = random(512);
  await disk.writeSame(10, 3, pattern, SOON);
  await disk.writeSame(20, 1, new Uint8Array(512), SOON);
  const expected = before.slice();
  for (const block of [10, 11, 12]) expected.set(pattern, block * 512);
  expected.fill(0, 20 * 512, 21 * 512);
  assertEquals(await disk.read(0, BLOCKS, SOON), expected);
  assertEquals([await disk.writeProtected(SOON), await cd.writeProtected(SOON)], [false, true]);
  await assertRejects(() => disk.writeSame(0, 1, new Uint8Array(511), SOON), RangeError, "512");
  await assertRejects(() => disk.writeSame(0, 0, pattern, SOON), RangeError, "0 times");
  await assertRejects(() => disk.writeSame(BLOCKS - 1, 2, pattern, SOON), VireoError, "21/00");
  await assertRejects(() => cd.writeSame(0, 1, new Uint8Array(2048), SOON), VireoError, "27/00");
  // The long form without data (NDOB) is zeroes; ANCHOR and the old bits are refused; 0 blocks are all.
  const same = (flags: number, block: number, count: number) => {
    const cdb = Uint8Array.of(0x93, flags, 0, 0, 0, 0, 0, 0, 0, block, 0, 0, 0, count, 0, 0);
    return rig.host.command({ unit: disk, cdb, ...(flags & 1) === 0 ? { write: pattern } : {} });
  };
  assertEquals((await same(1, 10, 2)).status, 0);
  assertEquals((await disk.read(10, 3, SOON)).subarray(1024), pattern);
  assert((await disk.read(10, 2, SOON)).every((byte) => byte === 0));
  for (const flags of [2, 4, 0x10]) assertEquals((await same(flags, 10, 1)).sense?.asc, 0x24);
  assertEquals((await same(0, 200, 0)).status, 0);
  const end = await disk.read(199, BLOCKS - 199, SOON);
  assertEquals(end.subarray(0, 512), expected.subarray(199 * 512, 200 * 512));
  for (let at = 512; at < end.length; at += 512 * 500) {
    assertEquals(end.subarray(at, at + 512), pattern);
  }
  assertEquals(rig.machine.violations(), []);
});

Deno.test("scsi: a unit's refusal is a typed error with its sense data in words", async () => {
  await using rig = await boot();
  const disk = rig.host.unit(0);
  const cd = rig.host.unit(7);
  const refusal = async (run: () => Promise<unknown>, code: string, words: string) =>
    assertEquals((await assertRejects(run, VireoError, words)).code, code);
  await refusal(() => disk.read(BLOCKS, 1), "OUT_OF_RANGE", "block address out of range (21/00)");
  await refusal(() => cd.write(0, new Uint8Array(2048)), "READ_ONLY", "write protected");
  await refusal(() => rig.host.unit(3).capacity(), "NO_DEVICE", "BAD_TARGET");
  await refusal(
    () => rig.host.unit(0, 5).capacity(),
    "NO_DEVICE",
    "logical unit not supported (25/00)",
  );
  await refusal(() => disk.vitalProductData(0x99), "UNSUPPORTED", "invalid field in CDB");
  const cdb = Uint8Array.of(0xff, 0, 0, 0, 0, 0);
  const { status, sense } = await rig.host.command({ unit: disk, cdb });
  assertEquals([status, senseText(sense!)], [
    2,
    "ILLEGAL REQUEST, invalid command operation code (20/00)",
  ]);
  await assertRejects(() => disk.write(0, new Uint8Array(5)), RangeError, "multiple of 512");
  await assertRejects(() => disk.read(1 << 22, 1, { form: 6 }), RangeError, "6 bytes");
});

Deno.test("scsi: sense data of both formats is read, and of no other", () => {
  const fixed = Uint8Array.of(0x70, 0, 3, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x11, 0);
  assertEquals(senseText(decodeSense(fixed)!), "MEDIUM ERROR, unrecovered read error (11/00)");
  const descriptor = Uint8Array.of(0x73, 6, 0x2a, 9);
  assertEquals(decodeSense(descriptor), {
    ...{ key: 6, name: "UNIT ATTENTION", asc: 0x2a, ascq: 9, deferred: true },
  });
  assertEquals([decodeSense(Uint8Array.of(0x70)), decodeSense(new Uint8Array(20))], [
    undefined,
    undefined,
  ]);
});

Deno.test("scsi: tasks are queried, aborted and reset", async () => {
  await using rig = await boot({ hold: true });
  const { host, model } = rig;
  const unit = host.unit(0);
  const T = ScsiTaskManagement;
  const cdb = Uint8Array.of(0, 0, 0, 0, 0, 0);
  const failure = (id: number) => assertRejects(() => host.command({ unit, cdb, id }), VireoError);
  const aborted = failure(11);
  const others = [failure(12), failure(13)];
  await until(() => model.held === 3);
  assertEquals(await host.manage(T.QUERY_TASK, unit, 11), true);
  assertEquals(await host.manage(T.QUERY_TASK, unit, 99), false);
  assertEquals(await host.manage(T.ABORT_TASK, unit, 11), false);
  assert((await aborted).message.includes("ABORTED"));
  await host.resetUnit(unit);
  for (const other of others) assert((await other).message.includes("RESET"));
  const missing = await assertRejects(() => host.manage(T.QUERY_TASK_SET, { target: 9, lun: 0 }));
  assertEquals((missing as VireoError).code, "NO_DEVICE");
  const odd = await assertRejects(() => host.manage(55 as never, unit), VireoError);
  assertEquals(odd.code, "UNSUPPORTED");
  // The reset is told to the next command, which is sent again.
  const ready = unit.ready(SOON);
  for (let i = 0; i < 3; i++) {
    await until(() => model.held > 0 || i > 1);
    model.release();
  }
  assertEquals(await ready, true);
});

Deno.test("scsi: units that come, go and grow are reported; lost events too", async () => {
  await using rig = await boot();
  using events = rig.host.events(SOON);
  rig.model.plug({ target: 9, lun: 2, disk: new MemoryDisk(1 << 20) });
  rig.model.resize(0, 0, BLOCKS * 1024);
  rig.model.unplug(7);
  const take = async () => (await events.next()).value;
  assertEquals(await take(), { kind: "rescan", target: 9, lun: 2 });
  assertEquals(await take(), { kind: "changed", target: 0, lun: 0, asc: 0x2a, ascq: 9 });
  assertEquals(await take(), { kind: "removed", target: 7, lun: 0 });
  assertEquals((await rig.host.unit(0).capacity(SOON)).blocks, BLOCKS * 2);
  assertEquals((await rig.host.units(SOON)).map(({ target }) => target), [0, 0, 9]);
  // 8 buffers, 64 that wait, and one that does not fit.
  for (let i = 0; i < 80; i++) rig.model.resize(0, 0, BLOCKS * 512 + 512 * i);
  const kinds: string[] = [];
  for (let i = 0; i < 73; i++) kinds.push((await take()).kind);
  assertEquals(kinds.filter((kind) => kind === "missed").length, 1);
});

Deno.test("scsi: hundreds of commands in flight over several queues, each with its answer", async () => {
  await using rig = await boot();
  const disk = rig.host.unit(0);
  const all = random(BLOCKS * 512);
  rig.disk.memory.set(all);
  await disk.capacity(SOON);
  const reads = Array.from({ length: 500 }, (_, i) => disk.read(i * 7 % BLOCKS, 1, SOON));
  for (const [i, bytes] of (await Promise.all(reads)).entries()) {
    const at = i * 7 % BLOCKS * 512;
    assertEquals(bytes, all.subarray(at, at + 512));
  }
});

Deno.test("scsi: after a recovery and a suspend the host works on", async () => {
  await using rig = await boot();
  const disk = rig.host.unit(0);
  const recovered = rig.bus.devices[0]!.recovered(SOON);
  rig.machine.device(0).fault("as the test wants");
  await recovered;
  await disk.write(1, new Uint8Array(512).fill(9), SOON);
  await rig.bus.freeze();
  await rig.bus.restore();
  assertEquals(await disk.read(1, 1, SOON), new Uint8Array(512).fill(9));
  using events = rig.host.events(SOON);
  rig.model.unplug(7);
  assertEquals((await events.next()).value, { kind: "removed", target: 7, lun: 0 });
  assertThrows(() => new ScsiDevice({ units: [], queues: 0 }), RangeError, "0 queues");
});

async function until(done: () => boolean): Promise<void> {
  const end = performance.now() + SOON.deadline;
  while (!done()) {
    assert(performance.now() < end, "not within the deadline");
    await turn();
  }
}

Deno.test("scsi: the sizes of sense data and command blocks are written only where they are others", async () => {
  // A back end of vhost-user may end at a write: vhost-device-scsi does.
  const written: number[] = [];
  class Watched extends ScsiDevice {
    override writeConfig(...args: Parameters<ScsiDevice["writeConfig"]>): void {
      written.push(args[0], args[2]);
      super.writeConfig(...args);
    }
  }
  const model = new Watched({ units: [{ target: 0, disk: new MemoryDisk(1 << 20) }] });
  await using machine = EmulatedMachine.create({ devices: [model] });
  await using bus = new Bus();
  await bus.registerDriver(scsiDriver);
  await bus.addPlatform(machine);
  assertEquals(written, []);
  await bus.freeze();
  // As firmware that had the device before leaves it, which a reset does not undo here.
  const reset = model.reset.bind(model);
  model.reset = () => {
    reset();
    ScsiDevice.prototype.writeConfig.call(model, 20, 4, 18);
  };
  await bus.restore();
  assertEquals(written, [20, 96]);
});
