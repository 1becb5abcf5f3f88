import { assertEquals, assertRejects } from "@std/assert";
import {
  type BoardInput,
  DEFAULT_BOARD,
  openVireo,
  UsageError,
  type VireoOptions,
} from "@vireo/firmware";
import { VireoError } from "@vireo/hal";

/** What a program may get wrong, and what it is told. */
const WRONG: readonly (readonly [unknown, string])[] = [
  [{ queueSize: 3 }, "queueSize 3: expected a power of two from 1 to 32768"],
  [{ queueSize: 65536 }, "queueSize 65536: expected a power of two"],
  [{ queueSize: "8" }, 'queueSize "8": expected a power of two'],
  [{ net: { kind: "bogus" } }, 'net {"kind":"bogus"}: expected { kind }, whose kind is "hub" or'],
  [{ net: { kind: "tap" } }, 'expected { kind: "tap", name }, whose name is text'],
  [{ net: "hub" }, 'net "hub": expected { kind }'],
  [{ net: null }, "net null: expected { kind }"],
  [{ blk: ["x.img"] }, 'blk ["x.img"]: expected { path?, readOnly?, serial?, blockSize? }'],
  [{ blk: "x.img" }, 'blk "x.img": expected an array'],
  [
    { blk: [{ file: "x.img" }] },
    "expected { path?, readOnly?, serial?, blockSize? }, without 'file'",
  ],
  [{ blk: [{ path: "" }] }, "whose path is text that is not empty"],
  [
    { blk: [{ path: "x", blockSize: 1000 }] },
    "whose blockSize is a power of two from 512 to 65536",
  ],
  [{ blk: [{ serial: "é".repeat(11) }] }, "whose serial is text of at most 20 bytes"],
  [
    { blkZoned: "host-managed" },
    'blkZoned "host-managed": expected { model, zoneSize?, capacity?, conventional?, maxOpen?, maxActive? }',
  ],
  [{ blkZoned: { model: "zbc" } }, 'whose model is "host-managed" or "host-aware"'],
  [{ blkZoned: { model: "host-aware", zoneSize: 1000 } }, "zoneSize is a multiple of 512 above 0"],
  [{ with: [{ name: "toaster" }] }, "expected a device of balloon, rpmsg, scsi"],
  [{ with: ["gpu"] }, 'with ["gpu"]: expected { name, value? }'],
  [{ legacy: 1 }, "legacy 1: expected a boolean"],
  [{ legacy: null }, "legacy null: expected a boolean"],
  [{ queuesize: 8 }, "the option 'queuesize': it is called 'queueSize'"],
  [{ "queue-size": 8 }, "the option 'queue-size': it is called 'queueSize'"],
  [{ disk: "x" }, "the option 'disk': expected one of target, blk, blkZoned, net, with"],
  [{ memory: 512 }, "Cannot open emu with memory 512: it is for qemu targets"],
  [{ packed: true, legacy: true }, "packed true: legacy devices do not have it"],
  [{ transitional: true }, "transitional true: for devices on PCI"],
  [{ target: "qtest:aarch64-virt", net: { kind: "hub" } }, "QEMU has user, tap:NAME or none"],
  [{ target: "qtest:aarch64-virt", transport: "pci" }, "has its devices on mmio, not on pci"],
  [{ accel: "xen" }, 'accel "xen": expected "tcg" or "kvm"'],
  [{ smp: 0 }, "smp 0: expected an integer from 1 to 64"],
  [{ qemuArgs: "-d" }, "qemuArgs: expected an array".replace("qemuArgs:", 'qemuArgs "-d":')],
  [null, "Cannot open a board of null: expected an object of options"],
  ["emu", 'Cannot open a board of "emu": expected an object of options'],
];

Deno.test("openVireo refuses options that are unknown, of another type or out of range", async () => {
  for (const [board, message] of WRONG) {
    const error = await assertRejects(() => openVireo(board as BoardInput), Error, message);
    assertEquals(
      [message, error instanceof TypeError || error instanceof RangeError],
      [message, true],
    );
  }
  await assertRejects(
    () => openVireo({}, { arg: [] } as VireoOptions),
    TypeError,
    "the option 'arg' beside it: expected args, drivers",
  );
  await assertRejects(() => openVireo({ target: "qtest:pdp11" }), UsageError, "no board 'pdp11'");
});

Deno.test("openVireo takes parts of options, undefined ones, and a whole board", async () => {
  const path = await Deno.makeTempFile();
  try {
    await Deno.truncate(path, 65536);
    const boards: readonly BoardInput[] = [
      {},
      { blk: undefined, queueSize: undefined, net: undefined, with: undefined },
      { blk: [{ path }] },
      { blk: [{ path, readOnly: true }, { serial: "second" }, {}] },
      { with: [{ name: "input", value: "mouse" }, { name: "balloon" }] },
      DEFAULT_BOARD,
    ];
    const disks: (number | undefined)[] = [];
    for (const board of boards) {
      await using vireo = await openVireo(board);
      disks.push(vireo.emulated?.disks.length);
      if (board.blk?.[0]?.path !== undefined) assertEquals(vireo.blk.capacity, 65536);
    }
    assertEquals(disks, [1, 1, 1, 3, 1, 1]);
  } finally {
    await Deno.remove(path);
  }
});

Deno.test("openVireo names a disk that is not there instead of making one", async () => {
  await assertRejects(
    () => openVireo({ blk: [{ path: "/nonexistent.img" }] }),
    VireoError,
    "nonexistent",
  );
});
