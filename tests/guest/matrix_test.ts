// Needs QEMU and the guest images: the four drivers in guests, on every transport, with each ring and each
// way of waiting, and on x86_64's virtio-mmio long work. A boot for each board, and on virtio-mmio, where all
// devices have one version, for each version.
import { assert, assertEquals, assertMatch } from "@std/assert";
import { createHash } from "node:crypto";
import { DISCARDED, type Findings, pattern, READ_ONLY, WRITTEN, ZEROED } from "./devices_script.ts";
import { hex } from "@vireo/hal";
import { makeDemoDisk } from "../../firmware/disk/demo_disk.ts";
import { EchoSocket, GUEST_LIMIT, vireo } from "../cli_helper.ts";
import { matrixName } from "../qtest/driver_checks.ts";
import {
  HOT_PLUG,
  type MatrixFinding,
  type PlugFinding,
  SCRATCH,
  type ScriptFace,
} from "./matrix_script.ts";
import { PART } from "../qemu/mod.ts";

const SCRIPT = new URL("./matrix_script.ts", import.meta.url).pathname;
const DISK = 8 << 20;
const SECTOR = 512;
/** Size of the disk of long work. */
const LONG_DISK = 96 << 20;
/** What is said of a device that was pulled out, by an access that failed or by its id, which is all ones. */
const GONE = new RegExp(
  "^vireo: virtio\\d+: The device is not there any more \\(0000:01:00\\.0" +
    "(?:\\)|, register Vendor ID\\): saw 0xffff, expected 0x1af4) \\[DEVICE_REMOVED\\]\n$",
);
/** How many writes of half a MiB to a whole one; 64 MiB and more together. */
const WRITES = 92;
const SEED = 42;

/** How devices of a board show themselves to the guest's drivers. */
interface Face extends ScriptFace {
  readonly name?: string;
  readonly transport: string;
  readonly kind: string;
}

/** A boot of a board. */
interface Boot {
  readonly faces: readonly Face[];
  /** Flags of the command line. */
  readonly flags: string;
}

/** Four more devices on PCI; their names in QEMU, their console's port among them, have this name in them. */
const LEGACY = { name: "legacy", slots: [0x10, 0x13], port: "echo-legacy" } as const;
const TRANSITIONAL = { name: "both", slots: [0x18, 0x1b], port: "echo-both" } as const;
/** The board's own devices are before those. */
const OWN = { slots: [0, LEGACY.slots[0] - 1] } as const;

const MMIO: readonly Boot[] = [
  { faces: [{ transport: "mmio v1", kind: "mmio-1", packed: false }], flags: "--legacy" },
  { faces: [{ transport: "mmio v2", kind: "mmio-2", packed: true }], flags: "--packed" },
];
/** All in one boot: the board's own devices are modern, and there are four of each other kind. */
const PCI: Boot = {
  faces: [
    { transport: "pci legacy", kind: "pci-legacy", ...LEGACY, packed: false },
    { transport: "pci transitional", kind: "pci-modern", ...TRANSITIONAL, packed: true },
    {
      transport: "pci transitional, force_legacy",
      kind: "pci-legacy",
      ...TRANSITIONAL,
      packed: false,
      forceLegacy: true,
    },
    { transport: "pci modern", kind: "pci-modern", ...OWN, packed: true },
  ],
  flags: "--packed",
};
const ARCHES = [
  { name: "guest x86_64", mmio: "x86_64-microvm", pci: "x86_64-q35" },
  { name: "guest aarch64", mmio: "aarch64-virt", pci: "aarch64-virt-pci" },
] as const;

/** What the guest found, a row for each face, and of long work if it did that. */
interface Found {
  readonly rows: readonly MatrixFinding[][];
  readonly devices: Findings | undefined;
  /** On PCI. */
  readonly plugged: PlugFinding | undefined;
}

/** Boots a board and has the drivers work; if asked, long work too, whose disk is looked at here. */
async function run(
  board: string,
  { faces, flags }: Boot,
  { pci = false, long = false }: { readonly pci?: boolean; readonly long?: boolean },
): Promise<Found> {
  await using cleanup = new AsyncDisposableStack();
  const dir = await Deno.makeTempDir({ prefix: "vireo-matrix-" });
  cleanup.defer(() => Deno.remove(dir, { recursive: true }));
  const [scratch, disk, other] = [`${dir}/scratch.img`, `${dir}/disk.img`, `${dir}/ext4.img`];
  await Deno.writeFile(scratch, new Uint8Array(DISK));
  const words = ["run", "--target", `qemu:${board}`, ...flags.split(" ")];
  if (long) {
    await Deno.writeFile(disk, new Uint8Array(LONG_DISK).fill(0xa5));
    await makeDemoDisk(other);
    // The first one is the one that grows.
    words.push("--blk", `${disk},serial=${WRITTEN}`, "--blk", `${other},ro,serial=${READ_ONLY}`);
  }
  words.push("--blk", `${scratch},serial=${SCRATCH}`);
  if (pci) {
    const legacy = "disable-legacy=off,disable-modern=on,packed=off";
    words.push(...await four(cleanup, dir, { ...LEGACY, properties: legacy }));
    const both = "disable-legacy=off,disable-modern=off";
    words.push(...await four(cleanup, dir, { ...TRANSITIONAL, properties: both }));
    words.push(
      "--device",
      `pcie-root-port,id=port1,chassis=1,addr=${hex(TRANSITIONAL.slots[1] + 1)}`,
    );
  }
  words.push(SCRIPT, JSON.stringify(faces satisfies readonly ScriptFace[]));
  if (long) words.push(String(SEED), String(WRITES));
  if (pci) words.push(HOT_PLUG);
  const { code, err, out } = await vireo(words);
  assertEquals(code, 0, err);
  // The driver may hear of its device's end before the bus looks.
  if (err !== "" && pci) assertMatch(err, GONE);
  else assertEquals(err, "");
  const lines = out.trim().split("\n").map((line) => JSON.parse(line));
  const last = lines[faces.length];
  const found = {
    rows: lines.slice(0, faces.length),
    ...pci ? { devices: undefined, plugged: last } : { devices: last, plugged: undefined },
  };
  if (found.devices !== undefined) await checkDevices(found.devices, disk, other);
  return found;
}

/** Flags for four more devices on PCI, with a disk and an echoing port of their own. */
async function four(
  cleanup: AsyncDisposableStack,
  dir: string,
  { name, slots: [slot], port, properties }: {
    readonly name: string;
    readonly slots: readonly [number, number];
    readonly port: string;
    readonly properties: string;
  },
): Promise<string[]> {
  await Deno.writeFile(`${dir}/${name}.img`, new Uint8Array(DISK));
  cleanup.use(EchoSocket.listen(`${dir}/${name}.sock`));
  const backends = [
    ...["-netdev", `user,id=net-${name}`],
    ...["-blockdev", `raw,node-name=blk-${name},file.driver=file,file.filename=${dir}/${name}.img`],
    ...["-chardev", `socket,id=${port},path=${dir}/${name}.sock`],
  ];
  const devices = [
    `virtio-net-pci,netdev=net-${name},addr=${hex(slot)},${properties}`,
    `virtio-blk-pci,drive=blk-${name},serial=${SCRATCH},addr=${hex(slot + 1)},${properties}`,
    `virtio-serial-pci,id=serial-${name},addr=${hex(slot + 2)},${properties}`,
    `virtserialport,bus=serial-${name}.0,chardev=${port},name=${port}`,
    `virtio-rng-pci,addr=${hex(slot + 3)},${properties}`,
  ];
  return [
    ...backends.map((word) => `--qemu-arg=${word}`),
    ...devices.flatMap((device) => ["--device", device]),
  ];
}

/** Compares what long work found and left on its disk with what it should. */
async function checkDevices(found: Findings, disk: string, other: string): Promise<void> {
  const expected = `${disk}.expected`;
  await Deno.writeFile(expected, new Uint8Array(LONG_DISK).fill(0xa5));
  let writtenBytes = 0;
  {
    using file = await Deno.open(expected, { write: true });
    const put = async (sector: number, bytes: Uint8Array): Promise<void> => {
      await file.seek(sector * SECTOR, Deno.SeekMode.Start);
      for (let at = 0; at < bytes.length;) at += await file.write(bytes.subarray(at));
    };
    for (const { sector, bytes } of pattern(SEED, LONG_DISK, WRITES)) {
      await put(sector, bytes);
      writtenBytes += bytes.length;
    }
    for (const { sector, sectors } of [DISCARDED, ZEROED]) {
      await put(sector, new Uint8Array(sectors * SECTOR));
    }
    await file.truncate(2 * LONG_DISK);
  }
  assert(writtenBytes >= 64 << 20, `${writtenBytes} bytes are less than 64 MiB`);
  assertEquals(found, {
    writtenBytes,
    differing: 0,
    serials: [READ_ONLY, SCRATCH, WRITTEN],
    readOnly: "READ_ONLY",
    sha256: createHash("sha256").update(await Deno.readFile(other)).digest("hex"),
    replies: 3,
    echo: [true, true],
    entropy: { bytes: 1 << 20, values: 256 },
    link: [false, true],
    grown: 2 * LONG_DISK / SECTOR,
  });
  const compare = await new Deno.Command("qemu-img", {
    args: ["compare", "-f", "raw", "-F", "raw", disk, expected],
    stdout: "piped",
    stderr: "piped",
  }).output();
  assertEquals(new TextDecoder().decode(compare.stdout), "Images are identical.\n");
}

const limit = { timeout: GUEST_LIMIT };
for (const boot of MMIO) {
  const { transport } = boot.faces[0]!;
  Deno.test(`drivers in guests on ${transport}`, limit, async (t) => {
    await checkBoots(t, boot, "mmio");
  });
}
Deno.test("drivers in guests on PCI: legacy, transitional and modern devices", limit, async (t) => {
  await checkBoots(t, PCI, "pci");
});

/** Boots the board of each architecture, and checks what the drivers found there. */
async function checkBoots(t: Deno.TestContext, boot: Boot, bus: "mmio" | "pci"): Promise<void> {
  const all = await Promise.allSettled(ARCHES.map((arch) => {
    return run(arch[bus], boot, { pci: bus === "pci", long: isLong(arch[bus]) });
  }));
  for (const [i, arch] of ARCHES.entries()) {
    const found = all[i]!;
    if (found.status === "rejected") throw found.reason;
    const { rows, devices, plugged } = found.value;
    assertEquals([rows.length, devices !== undefined], [boot.faces.length, isLong(arch[bus])]);
    if (bus === "pci") {
      await t.step(
        `hot plug, qemu:${arch[bus]}: found, removed while it works, found again`,
        () => {
          assertEquals(plugged, {
            added: ["virtio_rng"],
            ended: "DEVICE_REMOVED",
            removed: 1,
            stays: 8,
            again: ["virtio_balloon"],
          });
        },
      );
    }
    for (const [j, face] of boot.faces.entries()) {
      await checkRows(t, arch.name, face, { bus, rows: rows[j]! });
    }
  }
}

/** Long work shows what any guest does: one architecture and one QEMU have it, with each version of virtio-mmio. */
function isLong(board: string): boolean {
  return board === "x86_64-microvm" && PART.index === 1;
}

/** A step for each row of the matrix. */
async function checkRows(
  t: Deno.TestContext,
  target: string,
  { transport, kind, packed: offered }: Face,
  { bus, rows }: { readonly bus: "mmio" | "pci"; readonly rows: readonly MatrixFinding[] },
): Promise<void> {
  assertEquals(rows.length, offered ? 4 : 2);
  for (const { packed, poll, transports, policies, ...rest } of rows) {
    // Linux gives programs no interrupt of a virtio-mmio slot: its driver polls there in any case.
    const way = poll ? "poll" : "INTx";
    const policy = bus === "mmio" || poll ? "poll" : "line";
    const row = bus === "mmio" && !poll
      ? `matrix none: ${target} | ${transport} | interrupt`
      : matrixName(target, transport, packed ? "packed" : "split", way);
    await t.step(row, () => {
      assertEquals([transports, policies], [[kind], [policy]]);
      const { entropy, ...checks } = rest;
      assertEquals(checks, { rings: [packed], blk: [true, true], replies: 3, echo: true });
      // 10000 random bytes miss a value with a chance of 10^-14.
      assert(entropy === 256, `${entropy} values`);
    });
  }
}
