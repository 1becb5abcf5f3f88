// Needs QEMU and the guest images: the four drivers in guests, on every transport, with each ring and each
// way of waiting, and on virtio-mmio long work. A boot for each board and kind of devices.
import { assert, assertEquals } from "@std/assert";
import { createHash } from "node:crypto";
import {
  DISCARDED,
  type Findings,
  pattern,
  READ_ONLY,
  WRITTEN,
  ZEROED,
} from "../devices_script.ts";
import { makeDemoDisk } from "../../firmware/disk/demo_disk.ts";
import { GUEST_LIMIT, vireo } from "../cli_helper.ts";
import { matrixName } from "../driver_checks.ts";
import { type MatrixFinding, SCRATCH } from "../matrix_script.ts";

const SCRIPT = new URL("../matrix_script.ts", import.meta.url).pathname;
const DISK = 8 << 20;
const SECTOR = 512;
/** Size of the disk of long work. */
const LONG_DISK = 96 << 20;
/** How many writes of half a MiB to a whole one; 64 MiB and more together. */
const WRITES = 92;
const SEED = 42;

/** How the devices of a board show themselves to the guest's drivers. */
interface Face {
  readonly transport: string;
  readonly kind: string;
  /** What the script is told. */
  readonly name: "own" | "forceLegacy";
}

/** A boot of a board. */
interface Boot {
  readonly faces: readonly Face[];
  /** Flags of the command line. */
  readonly flags: string;
  /** Whether devices offer packed rings. */
  readonly packed: boolean;
}

function face(transport: string, kind: string, name: Face["name"] = "own"): Face {
  return { transport, kind, name };
}

const MMIO: readonly Boot[] = [
  { faces: [face("mmio v1", "mmio-1")], flags: "--legacy", packed: false },
  { faces: [face("mmio v2", "mmio-2")], flags: "--packed", packed: true },
];
const PCI: readonly Boot[] = [
  { faces: [face("pci legacy", "pci-legacy")], flags: "--legacy", packed: false },
  {
    faces: [
      face("pci transitional", "pci-modern"),
      face("pci transitional, force_legacy", "pci-legacy", "forceLegacy"),
    ],
    flags: "--transitional --packed",
    packed: true,
  },
  { faces: [face("pci modern", "pci-modern")], flags: "--packed", packed: true },
];
const ARCHES = [
  { name: "guest x86_64", mmio: "x86_64-microvm", pci: "x86_64-q35" },
  { name: "guest aarch64", mmio: "aarch64-virt", pci: "aarch64-virt-pci" },
] as const;

/** What the guest found, a row for each face, and of long work if it did that. */
interface Found {
  readonly rows: readonly MatrixFinding[][];
  readonly devices: Findings | undefined;
}

/** Boots a board and has the drivers work; on virtio-mmio long work too, whose disk is looked at here. */
async function run(board: string, { faces, flags, packed }: Boot, long: boolean): Promise<Found> {
  const dir = await Deno.makeTempDir({ prefix: "vireo-matrix-" });
  try {
    const [scratch, disk, other] = [`${dir}/scratch.img`, `${dir}/disk.img`, `${dir}/ext4.img`];
    await Deno.writeFile(scratch, new Uint8Array(DISK));
    let disks = `--blk ${scratch},serial=${SCRATCH}`;
    let args = `${faces.map(({ name }) => name)} ${packed ? "packed" : "-"}`;
    if (long) {
      await Deno.writeFile(disk, new Uint8Array(LONG_DISK).fill(0xa5));
      await makeDemoDisk(other);
      // The first one is the one that grows.
      disks = `--blk ${disk},serial=${WRITTEN} --blk ${other},ro,serial=${READ_ONLY} ${disks}`;
      args += ` ${SEED} ${WRITES}`;
    }
    const { code, err, out } = await vireo(
      `run --target qemu:${board} ${flags} ${disks} ${SCRIPT} ${args}`,
    );
    assertEquals([code, err], [0, ""]);
    const lines = out.trim().split("\n").map((line) => JSON.parse(line));
    const found = { rows: lines.slice(0, faces.length), devices: lines[faces.length] };
    if (found.devices !== undefined) await checkDevices(found.devices, disk, other);
    return found;
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
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
for (const [bus, boots] of [["mmio", MMIO], ["pci", PCI]] as const) {
  for (const boot of boots) {
    const names = boot.faces.map(({ transport }) => transport).join(" and ");
    Deno.test(`drivers in guests on ${names}`, limit, async (t) => {
      const long = bus === "mmio";
      const all = await Promise.allSettled(ARCHES.map((arch) => run(arch[bus], boot, long)));
      for (const [i, { name }] of ARCHES.entries()) {
        const found = all[i]!;
        if (found.status === "rejected") throw found.reason;
        assertEquals([found.value.rows.length, found.value.devices !== undefined], [
          boot.faces.length,
          long,
        ]);
        for (const [j, face] of boot.faces.entries()) {
          await checkRows(t, name, face, { ...boot, bus, rows: found.value.rows[j]! });
        }
      }
    });
  }
}

/** A step for each row of the matrix. */
async function checkRows(
  t: Deno.TestContext,
  target: string,
  { transport, kind, name }: Face,
  { bus, packed: offered, rows }: {
    readonly bus: "mmio" | "pci";
    readonly packed: boolean;
    readonly rows: readonly MatrixFinding[];
  },
): Promise<void> {
  assertEquals(rows.length, offered && name === "own" ? 4 : 2);
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
