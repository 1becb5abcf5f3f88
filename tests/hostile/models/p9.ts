import { assert, assertEquals } from "@std/assert";
import { HostTree, MemoryTree, P9Device, type P9DeviceOptions, type P9Export } from "@vireo/emu";
import { bytesOf, concat, type HostileSuite, Rig, type RigOptions } from "./rig.ts";

// Typed again from 9P2000.L.
const [LOPEN, LCREATE, READDIR, MKDIR, VERSION, ATTACH, WALK, CLUNK, READ] = [
  ...[12, 14, 40, 72, 100, 104, 110, 120, 116],
] as const;
const LERROR = 7;
const [ENOMEM, EMFILE] = [12, 24] as const;

const rig = (tree: P9Export, options: Partial<P9DeviceOptions> = {}, how: RigOptions = {}) =>
  new Rig(new P9Device({ tree, ...options }), how);

const text = (value: string): Uint8Array => {
  const bytes = new TextEncoder().encode(value);
  return concat(bytesOf([2, bytes.length]), bytes);
};

/** A message: type and body of the answer. */
async function ask(it: Rig<P9Device>, type: number, ...parts: readonly Uint8Array[]) {
  const body = concat(...parts);
  const message = concat(bytesOf([4, 7 + body.length]), Uint8Array.of(type), bytesOf([2, 1]), body);
  const bytes = await it.send(0, message, 65536);
  const length = new DataView(bytes.buffer).getUint32(0, true);
  return { type: bytes[4]!, body: bytes.slice(7, length) };
}

/** The error number of a refusal; 0 if there is none. */
function errno({ type, body }: { type: number; body: Uint8Array }): number {
  return type === LERROR ? new DataView(body.buffer).getUint32(0, true) : 0;
}

const u32 = (value: number): Uint8Array => bytesOf([4, value]);

async function attach(it: Rig<P9Device>): Promise<void> {
  await ask(it, VERSION, u32(65536), text("9P2000.L"));
  await ask(it, ATTACH, u32(0), u32(0xffffffff), text("u"), text(""), u32(0));
}

const walk = (it: Rig<P9Device>, to: number, ...names: string[]) =>
  ask(it, WALK, u32(0), u32(to), bytesOf([2, names.length]), ...names.map(text));

/** Swaps `d` for a link to the outside and back, as fast as it can, until it is killed. */
const SWAPPER = `
const [root, outside] = Deno.args;
console.log("ready");
for (;;) {
  try {
    Deno.renameSync(root + "/d", root + "/.d");
    Deno.symlinkSync(outside, root + "/d");
    Deno.removeSync(root + "/d");
    Deno.renameSync(root + "/.d", root + "/d");
  } catch { /* the driver made something there */ }
}`;

/** Hostile drivers of the 9P transport. */
export const P9: HostileSuite = {
  model: "9p",
  cases: [
    {
      name: "another process that swaps directories for links lets nothing out",
      async run() {
        const base = await Deno.makeTempDir({ prefix: "vireo-p9-" });
        const [root, outside] = [`${base}/root`, `${base}/outside`];
        await Deno.mkdir(`${root}/d`, { recursive: true });
        await Deno.mkdir(outside);
        const script = `${base}/swap.ts`;
        await Deno.writeTextFile(script, SWAPPER);
        const swapper = new Deno.Command(Deno.execPath(), {
          args: ["run", "-A", "--no-check", script, root, outside],
          stdout: "piped",
          stderr: "null",
        }).spawn();
        try {
          const reader = swapper.stdout.getReader();
          await reader.read();
          await reader.cancel();
          await using it = rig(new HostTree(root), {}, { memorySize: 8 << 20 });
          await attach(it);
          const seen = { made: 0, refused: 0 };
          for (let i = 0; i < 600; i++) {
            await ask(it, CLUNK, u32(1));
            await walk(it, 1, "d");
            const answer = await ask(it, MKDIR, u32(1), text(`n${i}`), u32(0o755), u32(0));
            seen[errno(answer) === 0 ? "made" : "refused"]++;
            await ask(it, LCREATE, u32(1), text(`f${i}`), u32(1), u32(0o644), u32(0));
          }
          assert(seen.made > 0 && seen.refused > 0, `${JSON.stringify(seen)}: both must occur`);
          assertEquals([...Deno.readDirSync(outside)], [], "nothing was made outside");
          it.check();
        } finally {
          swapper.kill("SIGKILL");
          await swapper.status;
          await Deno.remove(base, { recursive: true });
        }
      },
    },
    {
      name: "open directories count as open files, and their names have one limit together",
      async run() {
        const tree = new MemoryTree();
        for (let i = 0; i < 4000; i++) tree.create([`${"n".repeat(200)}${i}`], 0o644);
        await using it = rig(tree, {}, { memorySize: 8 << 20 });
        await attach(it);
        const errors: number[] = [];
        let opened = 0;
        for (let fid = 1; fid <= 300; fid++) {
          await walk(it, fid);
          const open = errno(await ask(it, LOPEN, u32(fid), u32(0)));
          if (open !== 0) errors.push(open);
          else if (opened++ < 20) {
            errors.push(errno(await ask(it, READDIR, u32(fid), bytesOf([8, 0]), u32(8000))));
          }
        }
        assertEquals([opened, errors.filter((error) => error === EMFILE).length], [256, 44]);
        const listed = errors.filter((error) => error === 0).length;
        assert(listed > 2 && listed < 20, `${listed} listings of 1.8 MB each in 8 MiB`);
        assert(errors.includes(ENOMEM));
        it.check();
        for (let fid = 1; fid <= 300; fid++) await ask(it, CLUNK, u32(fid));
        assertEquals(it.model.usage(), { items: 1, bytes: 0 }, "all is given back");
      },
    },
    {
      name: "a name keeps its byte order mark",
      async run() {
        const tree = new MemoryTree();
        await using it = rig(tree);
        await attach(it);
        await ask(it, MKDIR, u32(0), text("\ufeffa"), u32(0o755), u32(0));
        assertEquals(tree.list([]), ["\ufeffa"]);
        assertEquals(errno(await walk(it, 1, "a")), 2);
        assertEquals(errno(await walk(it, 1, "\ufeffa")), 0);
      },
    },
    {
      name: "messages of any bytes are answered or are a fault, and the tree stays whole",
      async run(random) {
        await using it = rig(new MemoryTree({ "a/b": "x" }, { capacity: 1 << 20 }));
        await attach(it);
        for (let i = 0; i < 400; i++) {
          const type = [
            LOPEN,
            LCREATE,
            READDIR,
            MKDIR,
            WALK,
            CLUNK,
            READ,
            76,
            74,
            26,
          ][random() % 10]!;
          const body = Uint8Array.from(
            { length: random() % 60 },
            () => random() % 3 === 0 ? random() : 0,
          );
          await ask(it, type, body);
        }
        it.check();
      },
    },
    {
      name: "fids and open files go on after a snapshot",
      async run() {
        const tree = new MemoryTree({ "f": "hello" });
        await using it = rig(tree);
        await attach(it);
        await walk(it, 1, "f");
        await ask(it, LOPEN, u32(1), u32(2));
        await walk(it, 2);
        await ask(it, LOPEN, u32(2), u32(0));
        await using next = it.moveTo(rig(tree, {}, it.memory));
        assertEquals(next.model.fids, 3);
        const body = concat(u32(1), bytesOf([8, 1]), u32(3));
        const read = concat(
          bytesOf([4, 7 + body.length]),
          Uint8Array.of(READ),
          bytesOf([2, 1]),
          body,
        );
        const { bytes } = await it.driver.request(0, [{ read }, { write: 64 }]);
        assertEquals(new TextDecoder().decode(bytes[0]!.subarray(11, 14)), "ell");
      },
    },
  ],
};
