import { assert, assertEquals, assertRejects } from "@std/assert";
import { Feature, P9Errno, P9OpenFlag, VireoError } from "@vireo/hal";
import {
  GuestMemory,
  HostTree,
  MemoryTree,
  P9Device,
  type P9DeviceOptions,
  type P9Export,
} from "@vireo/emu";
import type { RingOptions } from "@vireo/emu";
import { turn } from "../turn.ts";
import { bootMachine, type MachineRig } from "../machine/machine_rig.ts";
import { BouncingDma } from "../../drivers/testing/mod.ts";
import { type P9, p9Driver, P9Error, type P9Tree } from "../../drivers/p9/mod.ts";
import { TempFolder } from "../temp_folder.ts";

const SOON = { deadline: 5000 };
const { WRITE, READ_WRITE, CREATE, EXCLUSIVE, APPEND, TRUNCATE } = P9OpenFlag;
const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
const bytes = (words: string): Uint8Array => new TextEncoder().encode(words);

type Rig = MachineRig<"p9", P9Device, P9> & { readonly files: MemoryTree; readonly tree: P9Tree };

interface BootOptions extends Partial<P9DeviceOptions> {
  readonly version?: 1 | 2;
  readonly ring?: RingOptions;
  readonly queueSize?: number;
  readonly without?: readonly number[];
  readonly files?: MemoryTree;
  /** What is exported instead. */
  readonly tree?: P9Export;
  readonly bus?: "mmio" | "pci";
  /** Driver and device see different memory, copied when it is shared. */
  readonly bounce?: boolean;
}

async function boot(options: BootOptions = {}): Promise<Rig> {
  const { version = 2, ring = {}, queueSize, without = [], bounce, ...rest } = options;
  const files = options.files ?? new MemoryTree({ "a/b/c.txt": "see", "x.txt": "ex" });
  const model = new P9Device({ tree: files, ...rest });
  const dma = bounce ? new BouncingDma({ size: 64 << 20 }) : undefined;
  const hold = rest.hold ?? false;
  const rig = await bootMachine("p9", model, p9Driver, {
    version,
    without,
    ...queueSize === undefined ? {} : { queueSize },
    machine: {
      ring,
      bus: options.bus ?? "mmio",
      ...dma === undefined ? {} : { dma, memory: new GuestMemory(dma.memory.buffer, dma.base) },
    },
  });
  return {
    ...rig,
    files,
    tree: hold ? undefined as unknown as P9Tree : await rig.p9.attach(SOON),
    async [Symbol.asyncDispose]() {
      await rig[Symbol.asyncDispose]();
      assertEquals([dma?.mistakes ?? [], dma?.live ?? 0], [[], 0]);
    },
  };
}

const random = (length: number): Uint8Array => {
  const out = new Uint8Array(length);
  for (let at = 0; at < length; at += 65536) crypto.getRandomValues(out.subarray(at, at + 65536));
  return out;
};

async function refused(run: () => Promise<unknown>, name: string): Promise<P9Error> {
  const error = await assertRejects(run, P9Error, name);
  assertEquals(error.errnoName, name);
  return error;
}

const RINGS: readonly [name: string, options: BootOptions][] = [
  ["version 1", { version: 1 }],
  ["version 2", {}],
  ["without indirect descriptors", { without: [Feature.INDIRECT_DESC] }],
  ["without event indices", { without: [Feature.EVENT_IDX] }],
  ["a split ring of 8", { queueSize: 8, without: [Feature.INDIRECT_DESC] }],
  ["a packed ring", { ring: { packed: true } }],
  ["a packed ring of 5, direct", {
    ring: { packed: true },
    queueSize: 5,
    without: [Feature.INDIRECT_DESC],
  }],
  ["a packed ring in order", { ring: { packed: true, inOrder: true } }],
  ["messages of 4096 bytes", { messageSize: 4096 }],
  ["PCI", { bus: "pci" }],
  ["legacy PCI", { bus: "pci", version: 1 }],
  ["packed on PCI", { bus: "pci", ring: { packed: true } }],
  ["a machine that bounces", { bounce: true }],
  ["small messages on a machine that bounces", { bounce: true, messageSize: 4096 }],
];

for (const [name, options] of RINGS) {
  Deno.test(`9p: a tree is read, written, listed and changed (${name})`, async () => {
    await using rig = await boot(options);
    const { tree, files, p9 } = rig;
    assertEquals(p9.mountTag, "vireo");
    assertEquals((await tree.list("", SOON)).map(({ name, kind }) => [name, kind]), [
      ["a", "directory"],
      ["x.txt", "file"],
    ]);
    assertEquals(text(await tree.readFile("a/b/c.txt", SOON)), "see");
    const data = random(1 << 20);
    await tree.writeFile("big", data, SOON);
    assertEquals(files.contents("big"), data);
    assertEquals(await tree.readFile("/big", SOON), data);
    await tree.mkdir("d", SOON);
    for (let i = 0; i < 100; i++) await tree.writeFile(`d/file ${i}`, bytes(`${i}`), SOON);
    const names = (await tree.list("d", SOON)).map((entry) => entry.name);
    assertEquals(names.sort(), Array.from({ length: 100 }, (_, i) => `file ${i}`).sort());
    // Many requests at once.
    const all = await Promise.all(
      Array.from({ length: 100 }, (_, i) => tree.readFile(`d/file ${i}`, SOON)),
    );
    assertEquals(all.map(text), Array.from({ length: 100 }, (_, i) => `${i}`));
    await tree.rename("d/file 7", "a/seven", SOON);
    assertEquals(text(await tree.readFile("a/seven", SOON)), "7");
    await refused(() => tree.stat("d/file 7", SOON), "ENOENT");
    await tree.remove("a/seven", SOON);
    assertEquals(rig.machine.violations(), []);
  });
}

Deno.test("9p: a server's refusal has Linux's name and a code", async () => {
  await using rig = await boot();
  const { tree } = rig;
  assertEquals((await refused(() => tree.readFile("a/none"), "ENOENT")).code, "COMMAND_REFUSED");
  assertEquals((await refused(() => tree.readFile("a/none"), "ENOENT")).errno, P9Errno.ENOENT);
  await refused(() => tree.readFile("none/of/it"), "ENOENT");
  await refused(() => tree.stat("x.txt/below"), "ENOTDIR");
  await refused(() => tree.stat("a/none/.."), "ENOENT");
  await refused(() => tree.mkdir("a"), "EEXIST");
  await refused(() => tree.remove("a"), "ENOTEMPTY");
  await refused(() => tree.open("x.txt", WRITE | CREATE | EXCLUSIVE), "EEXIST");
  await refused(() => tree.open("a", WRITE), "EISDIR");
  await refused(() => tree.list("x.txt"), "ENOTDIR");
  await refused(() => tree.rename("a", "a/b/inside"), "EINVAL");
  await refused(() => tree.writeFile("n".repeat(256), bytes("x")), "ENAMETOOLONG");
  await refused(() => rig.p9.attach({ name: "another" }), "ENOENT");
  await assertRejects(() => tree.mkdir("/"), TypeError, "Cannot use");
  await assertRejects(() => tree.remove("a/.."), TypeError, "Cannot use");
  assertEquals(rig.model.fids, 1, "only the root's");
  const read = new MemoryTree({ f: "1" }, { readOnly: true });
  await using only = await boot({ files: read });
  const error = await refused(() => only.tree.writeFile("f", bytes("2")), "EROFS");
  assertEquals([error.code, text(read.contents("f")!)], ["READ_ONLY", "1"]);
  assertEquals(rig.machine.violations(), []);
});

Deno.test("9p: an open file is read and written anywhere, cut and made durable", async () => {
  await using rig = await boot();
  const { tree, files } = rig;
  await using file = await tree.open("new", READ_WRITE | CREATE | EXCLUSIVE, { mode: 0o600 });
  await file.write(5, bytes("five"));
  assertEquals(text(await file.read(0, 100)), "\0\0\0\0\0five");
  assertEquals([await file.size(), text(await file.read(7, 1)), await file.read(9, 5)], [
    ...[9, "v", new Uint8Array(0)],
  ]);
  await file.truncate(6);
  await file.sync();
  assertEquals(text(files.contents("new")!), "\0\0\0\0\0f");
  await tree.change("new", { size: 2, mode: 0o640, mtime: new Date(1_000_000_123_000) });
  const { kind, size, mode, mtime, links } = await tree.stat("new");
  assertEquals([kind, size, mode, links], ["file", 2, 0o640, 1]);
  assertEquals(mtime, new Date(1_000_000_123_000));
  await using log = await tree.open("new", WRITE | APPEND);
  await log.write(0, bytes("end"));
  await tree.writeFile("x.txt", bytes("short"));
  assertEquals(text(files.contents("new")!), "\0\0end");
  assertEquals(text(files.contents("x.txt")!), "short");
  await using _cut = await tree.open("x.txt", WRITE | TRUNCATE);
  assertEquals(files.contents("x.txt")!.length, 0);
  // A file that is removed while it is open lives on.
  await tree.remove("new");
  assertEquals(text(await file.read(0, 9)), "\0\0end");
  const large = await assertRejects(() => tree.readFile("a/b/c.txt", { limit: 2 }), VireoError);
  assertEquals([large.code, text(await tree.readFile("a/b/c.txt", { limit: 3 }))], [
    ...["OUT_OF_RANGE", "see"],
  ]);
  await file.close();
  await file.close();
  await assertRejects(() => file.read(-1, 1), RangeError, "expected integers from 0 to 2^53-1");
  const { blocks, free, nameLength } = await tree.statfs();
  assert(blocks > free && nameLength === 255);
});

for (const bounce of [false, true]) {
  Deno.test(`9p: data goes to the caller's own device memory (bouncing: ${bounce})`, async () => {
    await using rig = await boot({ messageSize: 4096, bounce });
    const data = random(20_000);
    await rig.tree.writeFile("data", data);
    await using file = await rig.tree.open("data");
    using region = rig.machine.dma.alloc(32_768);
    let returned = 0;
    const onReturned = (): void => void returned++;
    const got = await file.readInto(region, { offset: 1, length: 30_000, at: 7, onReturned });
    assertEquals([got, returned], [19_999, 1]);
    assertEquals(region.bytes.subarray(7, 7 + got), data.subarray(1));
    assertEquals(region.bytes.subarray(0, 7), new Uint8Array(7));
    assertEquals((await file.read(19_990, 100)).length, 10);
    const wide = () => file.readInto(region, { offset: 0, length: 32_768, at: 1 });
    await assertRejects(wide, RangeError, "Cannot read");
  });
}

Deno.test("9p: a directory of the host is served, with the host's own refusals", async () => {
  using folder = new TempFolder();
  const dir = folder.path;
  await using rig = await boot({ tree: new HostTree(dir) });
  const { tree } = rig;
  await tree.mkdir("d", { mode: 0o750 });
  assertEquals((await Deno.stat(`${dir}/d`)).mode! & 0o777, 0o750);
  const data = random(700_000);
  await tree.writeFile("d/f", data, { mode: 0o640 });
  assertEquals(await Deno.readFile(`${dir}/d/f`), data);
  assertEquals(await tree.readFile("d/f"), data);
  await tree.change("d/f", { size: 100, mode: 0o604, mtime: new Date(1_000_000_000_000) });
  const host = await Deno.stat(`${dir}/d/f`);
  assertEquals([host.size, host.mode! & 0o777, host.mtime], [100, 0o604, new Date(1e12)]);
  const { size, mode, mtime, links, uid, qid } = await tree.stat("d/f");
  assertEquals([size, mode, mtime, links, uid], [100, 0o604, host.mtime, 1, host.uid]);
  assertEquals(qid.path, `0x${host.ino!.toString(16)}`);
  await using file = await tree.open("d/f", READ_WRITE | APPEND);
  await file.write(0, bytes("end"));
  await file.sync();
  assertEquals([await file.size(), text(await file.read(100, 9))], [103, "end"]);
  await tree.symlink("d/f", "l");
  assertEquals(await Deno.readLink(`${dir}/l`), "d/f");
  assertEquals((await tree.readFile("l")).length, 103);
  await refused(() => tree.mkdir("d"), "EEXIST");
  await refused(() => tree.symlink("x", "d"), "EEXIST");
  await refused(() => tree.remove("d"), "ENOTEMPTY");
  await refused(() => tree.rename("d", "d/below"), "EINVAL");
  await refused(() => tree.rename("none", "some"), "ENOENT");
  await refused(() => tree.writeFile("n".repeat(256), bytes("x")), "ENAMETOOLONG");
  await tree.rename("d", "e");
  assertEquals(text(await file.read(100, 9)), "end");
  await tree.remove("e/f");
  await tree.remove("e");
  assertEquals((await tree.list()).map(({ name, kind }) => [name, kind]), [["l", "symlink"]]);
  assertEquals(rig.machine.violations(), []);
});

Deno.test("9p: symbolic links are followed within the tree, and not in circles", async () => {
  await using rig = await boot();
  const { tree } = rig;
  await tree.symlink("b/c.txt", "a/link");
  await tree.symlink("/a/b", "way");
  await tree.symlink("../../x.txt", "a/b/up");
  await tree.symlink("/etc/passwd", "out");
  await tree.symlink("round", "round");
  assertEquals(await tree.readlink("a/link"), "b/c.txt");
  for (const path of ["a/link", "way/c.txt", "way/../link", "way/../../a/./b//c.txt"]) {
    assertEquals([path, text(await tree.readFile(path))], [path, "see"]);
  }
  assertEquals(text(await tree.readFile("way/up")), "ex");
  assertEquals((await tree.lstat("way")).kind, "symlink");
  assertEquals((await tree.stat("way")).kind, "directory");
  // Of what is on the way all is followed, of the last only what it must be.
  assertEquals([(await tree.lstat("way/up")).kind, (await tree.stat("way/up")).kind], [
    "symlink",
    "file",
  ]);
  await refused(() => tree.readFile("out"), "ENOENT");
  await refused(() => tree.readFile("round"), "ELOOP");
  await tree.remove("way");
  assertEquals((await tree.list("a/b")).map(({ name }) => name), ["c.txt", "up"]);
});

Deno.test("9p: paths deeper than one message's 16 names are walked", async () => {
  await using rig = await boot();
  let path = "";
  for (let i = 0; i < 40; i++) await rig.tree.mkdir(path += `/d${i}`);
  await rig.tree.writeFile(`${path}/deep`, bytes("down"));
  assertEquals(text(await rig.tree.readFile(`${path}/deep`)), "down");
  await refused(() => rig.tree.stat(`${path}/none`), "ENOENT");
  await refused(() => rig.tree.stat("d0/d1/none/d3"), "ENOENT");
  const lost = path.split("/").map((name) => name === "d20" ? "none" : name).join("/");
  await refused(() => rig.tree.stat(lost), "ENOENT");
  // All fids but the root's were given back.
  await rig.tree.stat("");
  await new Promise((resolve) => queueMicrotask(() => resolve(undefined)));
  assertEquals(rig.model.fids, 1);
});

Deno.test("9p: a file is found by as few messages as its names need", async () => {
  await using rig = await boot();
  const { tree } = rig;
  const depth = (count: number): string => Array<string>(count).fill("d").join("/");
  for (let i = 1; i <= 33; i++) await tree.mkdir(depth(i));
  await tree.symlink("x.txt", "l");
  await tree.symlink("../x.txt", "d/l");
  const queue = rig.bus.devices[0]!.queues[0] as unknown as { popped: number };
  for (
    const [path, walks] of [
      ["x.txt", 1],
      [depth(16), 1],
      [depth(17), 2],
      [depth(32), 2],
      [depth(33), 3],
      // A link that is not followed is a file like any other.
      ["l", 1],
      ["d/l", 1],
    ] as const
  ) {
    await turn();
    const before = queue.popped;
    await tree.lstat(path);
    await turn();
    // Tgetattr and Tclunk follow the walks.
    assertEquals([path, queue.popped - before], [path, walks + 2]);
  }
});

Deno.test("9p: what is given up is flushed, and its memory and tag wait for the device", async () => {
  await using rig = await boot({ hold: true });
  const { p9, model } = rig;
  const attaching = p9.attach(SOON);
  while (model.held === 0) await Promise.resolve();
  model.release();
  const tree = await attaching;
  const abort = new AbortController();
  const waits = [1, 2, 3].map(() => tree.stat("a/b", { signal: abort.signal }));
  while (model.held < 3) await Promise.resolve();
  abort.abort(new Error("enough"));
  for (const wait of waits) await assertRejects(() => wait, Error, "enough");
  // Tflush makes the device give all three back, unanswered; a fid never came to be.
  while (model.held > 0) await Promise.resolve();
  assertEquals([model.held, model.fids], [0, 1]);
  const late = await assertRejects(() => tree.stat("a", { deadline: 5 }), VireoError);
  assertEquals(late.code, "TIMEOUT");
  await refusedHeld(rig, () => tree.stat("none", SOON), "ENOENT");
  assertEquals(rig.machine.violations(), []);
});

/** A refusal by a device that holds requests back. */
async function refusedHeld(rig: Rig, run: () => Promise<unknown>, name: string): Promise<void> {
  const result = refused(run, name);
  while (rig.model.held === 0) await Promise.resolve();
  rig.model.release();
  await result;
}

Deno.test("9p: after a recovery and a suspend one attaches again", async () => {
  await using rig = await boot();
  const device = rig.bus.devices[0]!;
  const file = await rig.tree.open("x.txt");
  const recovered = device.recovered(SOON);
  rig.machine.device(0).fault("as the test wants");
  await recovered;
  assertEquals((await assertRejects(() => rig.tree.list(), VireoError)).code, "DEVICE_NEEDS_RESET");
  await assertRejects(() => file.read(0, 1), VireoError);
  await file[Symbol.asyncDispose]();
  const again = await rig.p9.attach(SOON);
  assertEquals(text(await again.readFile("x.txt", SOON)), "ex");
  await rig.bus.freeze();
  assertEquals((await assertRejects(() => again.list(), VireoError)).code, "DEVICE_STATE");
  await rig.bus.restore();
  await using last = await rig.p9.attach(SOON);
  assertEquals(text(await last.readFile("x.txt", SOON)), "ex");
  assertEquals(rig.model.fids, 1);
});

Deno.test("9p: a removed device ends what is pending", async () => {
  const rig = await boot({ hold: true });
  const pending = assertRejects(() => rig.p9.attach(SOON), VireoError);
  while (rig.model.held === 0) await Promise.resolve();
  await rig[Symbol.asyncDispose]();
  assertEquals((await pending).code, "DEVICE_REMOVED");
  assertEquals((await assertRejects(() => rig.p9.attach(), VireoError)).code, "DEVICE_REMOVED");
});
