// Needs QEMU and the guest images: the four drivers in guests, on every transport, with each ring and each
// way of waiting, and on x86_64's virtio-mmio long work. A boot for each board and version of virtio-mmio, which all
// slots of a machine share; aarch64-virt has slots and PCI at once.
import { assert, assertEquals, assertMatch } from "@std/assert";
import { createHash } from "node:crypto";
import { DISCARDED, type Findings, pattern, READ_ONLY, WRITTEN, ZEROED } from "./devices_script.ts";
import { hex } from "@vireo/hal";
import { makeDemoDisk } from "../../firmware/disk/demo_disk.ts";
import { EchoSocket, GUEST_LIMIT, Running, vireo } from "../cli_helper.ts";
import { endGuest } from "../killed/guest.ts";
import { matrixName } from "../qtest/driver_checks.ts";
import {
  BUSY,
  HOT_PLUG,
  type MatrixFinding,
  type PlugFinding,
  SCRATCH,
  type ScriptFace,
  TRACED,
} from "./matrix_script.ts";
import { PART } from "../qemu/mod.ts";
import { documented, GUEST } from "../trace/three.ts";

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
/** Size of the disk that is read whole: what a guest hashes takes it 0.1 s a MiB. */
const READ_DISK = 4 << 20;
/** How many writes of half a MiB to a whole one: 64 MiB and more together, and 4 MiB and more. */
const MANY_WRITES = 92;
const FEW_WRITES = 8;
const SEED = 42;

/** How devices of a board show themselves to the guest's drivers. */
interface Face extends ScriptFace {
  readonly transport: string;
  readonly kind: string;
}

/** A boot of a board. */
interface Boot {
  readonly board: string;
  /** Its row in the matrix. */
  readonly target: string;
  /** Flags of the command line. */
  readonly flags: string;
  readonly faces: readonly Face[];
  /** Devices beside the board's own. */
  readonly more: readonly Four[];
  /** Whether it has a port to plug functions into. */
  readonly plug?: boolean;
  /** How many writes the drivers' long work has, if they do it too. */
  readonly long?: number | undefined;
  /** Whether QEMU is killed in the end, in the middle of the drivers' I/O. */
  readonly killed?: boolean;
}

/** Four devices; their names in QEMU, their console's port among them, have this name in them. */
interface Four {
  readonly name: string;
  readonly port: string;
  /** On PCI: the first slot and the last one. */
  readonly slots?: readonly [first: number, last: number];
  /** Properties of each. */
  readonly properties: string;
}

const LEGACY = {
  name: "legacy",
  port: "echo-legacy",
  slots: [0x10, 0x13],
  properties: ",disable-legacy=off,disable-modern=on,packed=off",
} as const;
const TRANSITIONAL = {
  name: "both",
  port: "echo-both",
  slots: [0x18, 0x1b],
  properties: ",disable-legacy=off,disable-modern=off",
} as const;
/** The slots of virtio-mmio on a board whose own devices are on PCI. */
const SLOTS = { name: "mmio", port: "echo-mmio", properties: "" } as const;
/** A board's own devices on PCI are before those. */
const OWN = { slots: [0, LEGACY.slots[0] - 1] } as const;

const MMIO_1 = { transport: "mmio v1", kind: "mmio-1", bus: "mmio", packed: false } as const;
const MMIO_2 = { transport: "mmio v2", kind: "mmio-2", bus: "mmio", packed: true } as const;
/** The board's own devices are modern, and there are four of each other kind. */
const PCI: readonly Face[] = [
  { transport: "pci legacy", kind: "pci-legacy", bus: "pci", ...LEGACY, packed: false },
  { transport: "pci transitional", kind: "pci-modern", bus: "pci", ...TRANSITIONAL, packed: true },
  {
    transport: "pci transitional, force_legacy",
    kind: "pci-legacy",
    bus: "pci",
    ...TRANSITIONAL,
    packed: false,
    forceLegacy: true,
  },
  { transport: "pci modern", kind: "pci-modern", bus: "pci", ...OWN, packed: true },
];
/** Long work shows what any guest does: one architecture and one QEMU have it, with each version of virtio-mmio. */
const long = (writes: number): number | undefined => PART.index === 1 ? writes : undefined;
const MICROVM = { board: "x86_64-microvm", target: "guest x86_64", more: [] } as const;
const BOOTS: readonly Boot[] = [
  { ...MICROVM, faces: [MMIO_1], flags: "--legacy", long: long(FEW_WRITES) },
  {
    ...MICROVM,
    faces: [MMIO_2],
    flags: "--packed",
    long: long(MANY_WRITES),
    killed: PART.index === PART.count,
  },
  {
    board: "x86_64-q35",
    target: "guest x86_64",
    faces: PCI,
    flags: "--packed",
    more: [LEGACY, TRANSITIONAL],
    plug: true,
  },
  {
    board: "aarch64-virt",
    target: "guest aarch64",
    faces: [MMIO_2],
    flags: "--packed",
    more: [],
  },
  {
    board: "aarch64-virt-pci",
    target: "guest aarch64",
    faces: [{ ...MMIO_1, port: SLOTS.port }, ...PCI],
    // `--legacy` would take the modern interface from the functions too.
    flags: "--packed --qemu-arg=-global --qemu-arg=virtio-mmio.force-legacy=on",
    more: [SLOTS, LEGACY, TRANSITIONAL],
    plug: true,
  },
];

/** What the guest found, a row for each face, and of long work if it did that. */
interface Found {
  readonly rows: readonly MatrixFinding[][];
  readonly devices: Findings | undefined;
  /** On PCI. */
  readonly plugged: PlugFinding | undefined;
  /** The lines of a trace, if it made one. */
  readonly traced: readonly string[] | undefined;
}

/** Boots a board and has the drivers work; after long work its disk is looked at here. */
async function run(boot: Boot): Promise<Found> {
  const { board, faces, flags, more, plug = false, long, killed = false } = boot;
  const trace = isTraced(boot);
  await using cleanup = new AsyncDisposableStack();
  const dir = await Deno.makeTempDir({ prefix: "vireo-matrix-" });
  cleanup.defer(() => Deno.remove(dir, { recursive: true }));
  const [scratch, disk, other] = [`${dir}/scratch.img`, `${dir}/disk.img`, `${dir}/ext4.img`];
  await Deno.writeFile(scratch, new Uint8Array(DISK));
  const words = ["run", "--target", `qemu:${board}`, ...flags.split(" ")];
  if (long !== undefined) {
    await Deno.writeFile(disk, new Uint8Array(LONG_DISK).fill(0xa5));
    await makeDemoDisk(other);
    await Deno.truncate(other, READ_DISK);
    // The first one is the one that grows.
    words.push("--blk", `${disk},serial=${WRITTEN}`, "--blk", `${other},ro,serial=${READ_ONLY}`);
  }
  words.push("--blk", `${scratch},serial=${SCRATCH}`);
  for (const devices of more) words.push(...await four(cleanup, dir, devices));
  if (plug) {
    const addr = hex(TRANSITIONAL.slots[1] + 1);
    words.push("--device", `pcie-root-port,id=port1,chassis=1,addr=${addr}`);
  }
  words.push(SCRIPT, JSON.stringify(faces satisfies readonly ScriptFace[]));
  if (long !== undefined) words.push(String(SEED), String(long));
  if (plug) words.push(HOT_PLUG);
  if (trace) words.push(TRACED);
  const out = killed ? await runUntilKilled([...words, BUSY], dir) : await runToEnd(words, plug);
  const lines = out.trim().split("\n").map((line) => JSON.parse(line));
  const last = lines[faces.length];
  const found: Found = {
    rows: lines.slice(0, faces.length),
    devices: long === undefined ? undefined : last,
    plugged: plug ? last : undefined,
    traced: trace ? last : undefined,
  };
  if (found.devices !== undefined) await checkDevices(found.devices, long!, disk, other);
  return found;
}

/** Runs a command to its end. Returns what it printed. */
async function runToEnd(words: readonly string[], plug: boolean): Promise<string> {
  const { code, err, out } = await vireo(words);
  assertEquals(code, 0, err);
  // The driver may hear of its device's end before the bus looks.
  if (err !== "" && plug) assertMatch(err, GONE);
  else assertEquals(err, "");
  return out;
}

/** Kills a guest's QEMU when the script is busy. Returns what it had printed before. */
async function runUntilKilled(words: readonly string[], dir: string): Promise<string> {
  const guest = new Running(words);
  await guest.line(BUSY);
  await endGuest(guest, "QEMU's end", dir);
  return guest.text.slice(0, guest.text.lastIndexOf(BUSY));
}

/** Flags for four more devices, with a disk and an echoing port of their own. */
async function four(
  cleanup: AsyncDisposableStack,
  dir: string,
  { name, slots, port, properties }: Four,
): Promise<string[]> {
  await Deno.writeFile(`${dir}/${name}.img`, new Uint8Array(DISK));
  cleanup.use(EchoSocket.listen(`${dir}/${name}.sock`));
  const backends = [
    ...["-netdev", `user,id=net-${name}`],
    ...["-blockdev", `raw,node-name=blk-${name},file.driver=file,file.filename=${dir}/${name}.img`],
    ...["-chardev", `socket,id=${port},path=${dir}/${name}.sock`],
  ];
  const type = slots === undefined ? "device" : "pci";
  const at = (i: number): string =>
    properties + (slots === undefined ? "" : `,addr=${hex(slots[0] + i)}`);
  const devices = [
    `virtio-net-${type},netdev=net-${name}${at(0)}`,
    `virtio-blk-${type},drive=blk-${name},serial=${SCRATCH}${at(1)}`,
    `virtio-serial-${type},id=serial-${name}${at(2)}`,
    `virtserialport,bus=serial-${name}.0,chardev=${port},name=${port}`,
    `virtio-rng-${type}${at(3)}`,
  ];
  return [
    ...backends.map((word) => `--qemu-arg=${word}`),
    ...devices.flatMap((device) => ["--device", device]),
  ];
}

/** Compares what long work found and left on its disk with what it should. */
async function checkDevices(
  found: Findings,
  writes: number,
  disk: string,
  other: string,
): Promise<void> {
  const expected = `${disk}.expected`;
  await Deno.writeFile(expected, new Uint8Array(LONG_DISK).fill(0xa5));
  let writtenBytes = 0;
  {
    using file = await Deno.open(expected, { write: true });
    const put = async (sector: number, bytes: Uint8Array): Promise<void> => {
      await file.seek(sector * SECTOR, Deno.SeekMode.Start);
      for (let at = 0; at < bytes.length;) at += await file.write(bytes.subarray(at));
    };
    for (const { sector, bytes } of pattern(SEED, LONG_DISK, writes)) {
      await put(sector, bytes);
      writtenBytes += bytes.length;
    }
    for (const { sector, sectors } of [DISCARDED, ZEROED]) {
      await put(sector, new Uint8Array(sectors * SECTOR));
    }
    await file.truncate(2 * LONG_DISK);
  }
  const least = writes === MANY_WRITES ? 64 << 20 : 4 << 20;
  assert(writtenBytes >= least, `${writtenBytes} bytes are less than ${least}`);
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

for (const boot of BOOTS) {
  const name = [...new Set(boot.faces.map(({ transport }) => transport))].join(", ");
  Deno.test(`drivers in a guest, ${boot.board}: ${name}`, { timeout: GUEST_LIMIT }, async (t) => {
    await checkBoot(t, boot, await run(boot));
  });
}

/** Checks what the drivers found on a board. */
async function checkBoot(
  t: Deno.TestContext,
  boot: Boot,
  { rows, devices, plugged, traced }: Found,
): Promise<void> {
  const { board, target, faces, plug = false, long } = boot;
  assertEquals([rows.length, devices !== undefined], [faces.length, long !== undefined]);
  assertEquals(traced !== undefined, isTraced(boot));
  if (traced !== undefined) {
    await t.step(`docs/tracing.md shows what ${GUEST} does`, async () => {
      const text = (await documented())[GUEST]!;
      assert(text.length >= 10);
      const all = traced.join("\n");
      for (const line of text) assert(traced.includes(line), `no '${line}' in\n${all}`);
    });
  }
  if (plug) {
    await t.step(`hot plug, qemu:${board}: found, removed while it works, found again`, () => {
      assertEquals(plugged, {
        added: ["virtio_rng"],
        ended: "DEVICE_REMOVED",
        removed: 1,
        stays: 8,
        again: ["virtio_balloon"],
      });
    });
  }
  for (const [i, face] of faces.entries()) await checkRows(t, target, face, rows[i]!);
}

/** The guest of docs/tracing.md, whose devices are modern. */
function isTraced({ board, faces }: Boot): boolean {
  return GUEST === `--target qemu:${board}` && faces[0] === MMIO_2;
}

/** A step for each row of the matrix. */
async function checkRows(
  t: Deno.TestContext,
  target: string,
  { transport, kind, bus, packed: offered }: Face,
  rows: readonly MatrixFinding[],
): Promise<void> {
  assertEquals(rows.length, (offered ? 2 : 1) * (bus === "pci" ? 2 : 1));
  for (const { packed, poll, transports, policies, ...rest } of rows) {
    // Linux gives programs no interrupt of a virtio-mmio slot: its driver polls there without being told to.
    if (bus === "mmio") {
      await t.step(`matrix none: ${target} | ${transport} | interrupt`, () => {
        assertEquals([poll, policies], [false, ["poll"]]);
      });
    }
    const policy = bus === "mmio" || poll ? "poll" : "line";
    const way = policy === "poll" ? "poll" : "INTx";
    const row = matrixName(target, transport, packed ? "packed" : "split", way);
    await t.step(row, () => {
      assertEquals([transports, policies], [[kind], [policy]]);
      const { entropy, ...checks } = rest;
      assertEquals(checks, { rings: [packed], blk: [true, true], replies: 3, echo: true });
      // 10000 random bytes miss a value with a chance of 10^-14.
      assert(entropy === 256, `${entropy} values`);
    });
  }
}
