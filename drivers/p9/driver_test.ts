import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { P9_VERSION, P9OpenFlag, P9Type, VireoError } from "@vireo/hal";
import type { P9 } from "./driver.ts";
import { P9Error } from "./errors.ts";
import type { P9Tree } from "./tree.ts";
import { turn } from "../async_test_util.ts";
import { P9Server, type ServedRequest, text, u32, u64 } from "./server_test_util.ts";

const T = P9Type;
const GONE = new VireoError("DEVICE_STATE", "As the test wants");

async function rig(set: Partial<P9Server> = {}) {
  const server = Object.assign(new P9Server(), set);
  const p9 = server.open();
  const tree = await p9.attach();
  return { server, p9, tree };
}

/** The names of a path: `d` so often, and what follows. */
const deep = (depth: number, ...more: string[]) => [...Array<string>(depth).fill("d"), ...more];

/** Does something four times, and checks that it leaves no fid in use, and takes no more fids and memory for it. */
async function leavesNothing(server: P9Server, run: () => Promise<unknown>, what: string) {
  const used = () => [server.highest, server.fake.regions.size];
  let before: number[] = [];
  for (let i = 0; i < 4; i++) {
    if (i === 2) before = used();
    await run();
    await turn();
  }
  assertEquals([server.mistakes, server.fids.size, used()], [[], 1, before], what);
}

Deno.test("9p: a search gives back every fid, whatever it finds on the way", async () => {
  const links = {
    "l": "d/f",
    "lost": "no",
    "ld": "d/d",
    "lloop": "lloop",
    "lup": "../f",
    "ltop": "/d/f",
    "lself": ".",
  };
  const cases: [path: string | string[], follow: boolean, found: number | string, walks: number][] =
    [
      ["", true, "d", 1],
      ["/d/./f", true, "f", 1],
      ["no", true, "ENOENT", 1],
      ["d/no", true, "ENOENT", 3],
      ["no/f", true, "ENOENT", 2],
      ["d/f/f", true, "ENOTDIR", 4],
      ["f/f", true, "ENOTDIR", 3],
      ["l", false, "l", 1],
      ["l", true, "f", 4],
      ["d/l", false, "l", 1],
      ["ld/f", false, "f", 5],
      ["ltop", true, "f", 4],
      ["lself", true, "d", 3],
      ["lost", true, "ENOENT", 3],
      ["lloop", true, "ELOOP", 42],
      ["d/../f", true, "f", 2],
      ["d/d/../f", true, "f", 4],
      ["..", true, "d", 1],
      ["d/lup", true, "f", 4],
      [deep(15, "f"), true, "f", 1],
      [deep(16, "f"), true, "f", 2],
      [deep(32), true, "d", 2],
      [deep(32, "f"), true, "f", 3],
      [deep(16, "l"), false, "l", 2],
      [deep(16, "ld"), true, "d", 2 + 19],
      [deep(2, "no", ...deep(20)), true, "ENOENT", 1 + 3],
      [deep(17, "no", "f"), true, "ENOENT", 2 + 18],
      [deep(17, "ld", "f"), false, "f", 2 + 21],
    ];
  for (const [path, follow, found, walks] of cases) {
    const { server, tree } = await rig({ links });
    const where = typeof path === "string" ? path : path.join("/");
    let count = 0;
    await leavesNothing(server, async () => {
      const before = server.count(T.WALK);
      const stat = follow ? tree.stat(where) : tree.lstat(where);
      if (typeof found === "string" && found.length === 1) {
        const kind = { d: 0x80, f: 0, l: 2 }[found];
        assertEquals((await stat).qid.type, kind, where);
      } else await assertRejects(() => stat, Error, `${found}`);
      count = server.count(T.WALK) - before;
    }, where);
    assertEquals(count, walks, where);
  }
});

Deno.test("9p: a link on the way is the driver's to follow, also if the server walks through it", async () => {
  for (const path of [["ld", "f"], deep(17, "ld", "f"), deep(3, "ld", ...deep(20))]) {
    const { server, tree } = await rig({ links: { ld: "d" }, walksLinks: true });
    await leavesNothing(server, () => tree.stat(path.join("/")), path.join("/"));
    assertEquals(server.count(T.READLINK), 4);
  }
});

Deno.test("9p: a walk in parts that is refused leaves no fid", async () => {
  for (const refused of [1, 2, 3]) {
    const { server, tree } = await rig();
    await leavesNothing(server, async () => {
      let walks = 0;
      server.script = ({ type, refuse }) => {
        if (type !== T.WALK || ++walks < refused) return false;
        refuse(5);
        return true;
      };
      await assertRejects(() => tree.stat(deep(40).join("/")), Error, "EIO");
      server.script = undefined;
    }, `${refused}`);
  }
});

/** What the server does with a request that was given up. */
const LATE: Readonly<Record<string, (request: ServedRequest) => void>> = {
  "serves it": (request) => request.serve(),
  "refuses it": (request) => request.refuse(5),
  "answers nothing": (request) => request.reply([], 0),
  "answers garbage": (request) => request.reply([], 8),
};

const AT_ONCE = "serves it at once";

Deno.test("9p: what a request that is given up made is undone, or was never there", async () => {
  const cases: [name: string, type: number, run: (tree: P9Tree, p9: P9) => Promise<unknown>][] = [
    ["attach", T.ATTACH, (_, p9) => p9.attach()],
    ["stat", T.WALK, (tree) => tree.stat("d/f")],
    ["the root", T.WALK, (tree) => tree.stat("")],
    ["a deep one", T.WALK, (tree) => tree.stat(deep(20).join("/"))],
    ["getattr", T.GETATTR, (tree) => tree.stat("f")],
    ["open", T.LOPEN, (tree) => tree.open("f")],
    ["create", T.LCREATE, (tree) => tree.open("f", P9OpenFlag.CREATE | P9OpenFlag.EXCLUSIVE)],
    ["list", T.LOPEN, (tree) => tree.list("d")],
    ["entries", T.READDIR, (tree) => tree.list("d")],
    ["an attribute", T.XATTRWALK, (tree) => tree.getXattr("f", "user.a")],
    ["set an attribute", T.XATTRCREATE, (tree) => tree.setXattr("f", "a", Uint8Array.of(1))],
    ["a link", T.READLINK, (tree) => tree.stat("l")],
  ];
  for (const [name, type, run] of cases) {
    for (const [what, late] of Object.entries({ ...LATE, [AT_ONCE]: LATE["serves it"]! })) {
      const { server, p9, tree } = await rig({ links: { l: "f" } });
      await leavesNothing(server, async () => {
        const held = server.hold(type);
        const stop = new AbortController();
        const one = { signal: stop.signal };
        const limited = new Proxy(tree, {
          get: (tree, key) => (...args: unknown[]) => {
            // Options are the last parameter of each.
            const method = tree[key as "stat"] as unknown as (...args: unknown[]) => unknown;
            const places = { stat: 1, open: 2, list: 1, getXattr: 2, setXattr: 3 };
            args[places[key as "stat"]] = one;
            return method.apply(tree, args);
          },
        });
        const attach = { attach: () => p9.attach(one) } as P9;
        const running = assertRejects(() => run(limited, attach), Error, "enough");
        const request = await held;
        stop.abort(new Error("enough"));
        // Both may be there before the driver hears of either.
        if (what === AT_ONCE) late(request);
        await running;
        if (what !== AT_ONCE) late(request);
      }, `${name}: the server ${what}`);
    }
  }
});

Deno.test("9p: a close ends the use of a fid, however it is answered", async () => {
  for (const [what, late] of Object.entries(LATE)) {
    const { server, tree } = await rig();
    const run = async () => {
      const file = await tree.open("f");
      const held = server.hold(T.CLUNK);
      const closing = file.close().catch(() => {});
      await late(await held);
      await closing;
      // The fid is of use again, and the server is to know of none.
      server.fids.delete(2);
    };
    await leavesNothing(server, run, what);
  }
});

Deno.test("9p: a refusal to close is told to the caller who waits for it, and to nobody else", async () => {
  const { server, tree } = await rig();
  const file = await tree.open("f");
  server.script = ({ type, refuse }) => {
    if (type === T.CLUNK) refuse(5);
    return type === T.CLUNK;
  };
  const refused = await assertRejects(() => file.close(), P9Error, "EIO");
  assertEquals([refused.name, refused.errno, refused.errnoName], ["P9Error", 5, "EIO"]);
  await file.close();
  await tree.stat("f");
  await turn();
  assertEquals(server.count(T.CLUNK), 2);
});

Deno.test("9p: a request ends with its caller's time, and one without a tag of its own is not forgotten", async () => {
  const { server, p9, tree } = await rig();
  for (const options of [{ deadline: 5 }, { deadline: 60_000, until: performance.now() + 5 }]) {
    const held = server.hold(T.GETATTR);
    const message = `Timed out after ${options.deadline} ms`;
    await assertRejects(() => tree.stat("f", options), VireoError, message);
    (await held).serve();
    await turn();
  }
  assertEquals(server.count(T.FLUSH), 2);
  const other = new P9Server();
  const held = other.hold(T.VERSION);
  const attach = other.open();
  const attaching = assertRejects(() => attach.attach(), VireoError, "As the test wants");
  await held;
  attach.failed(GONE);
  await attaching;
  await turn();
  assertEquals([other.count(T.FLUSH), other.fake.regions.size], [0, 1]);
  p9.failed(GONE);
});

Deno.test("9p: what cannot be sent gives back its tag, its fid and its memory", async () => {
  const { server, p9, tree } = await rig();
  const { dma } = server.device;
  const long = "x".repeat(600);
  const alloc = dma.alloc;
  dma.alloc = (...args) => {
    if (args[0] !== 1024) throw new VireoError("OUT_OF_MEMORY", "As the test wants");
    return alloc(...args);
  };
  await leavesNothing(server, async () => {
    await assertRejects(() => p9.attach({ user: long }), VireoError, "As the test wants");
    await tree.stat("f");
  }, "attach");
  assertEquals(new Set(server.seen.slice(-8).map(({ tag }) => tag)), new Set([0]));
  dma.alloc = alloc;
  const file = await tree.open("f");
  p9.failed(GONE);
  await assertRejects(() => file.read(0, 1), VireoError, "As the test wants");
  using region = dma.alloc(64);
  let returned = 0;
  const target = { offset: 0, length: 64, onReturned: () => void returned++ };
  await assertRejects(() => file.readInto(region, target), VireoError, "As the test wants");
  assertEquals([returned, server.fake.regions.size], [1, 1]);
});

Deno.test("9p: small requests share memory that is cleared, eight at most keep it", async () => {
  const { server, p9, tree } = await rig();
  const sizes = () => [...server.fake.regions].map(({ bytes }) => bytes.length);
  // A fid, a name of 1 byte and a target, with their lengths, a group and a header.
  for (const [length, own] of [[512, []], [513, [513 + 20]]] as const) {
    server.script = ({ type }) => {
      if (type === T.SYMLINK) assertEquals(sizes().filter((size) => size !== 1024), [...own]);
      return false;
    };
    await tree.symlink("x".repeat(length - 20), "l");
    await turn();
    assertEquals(new Set(sizes()), new Set([1024]));
  }
  server.script = undefined;
  assertEquals(
    [...server.fake.regions].every(({ bytes }) => bytes.every((byte) => byte === 0)),
    true,
  );
  await Promise.all(Array.from({ length: 20 }, () => tree.stat("f")));
  await turn();
  assertEquals(sizes(), Array(8).fill(1024));
  p9.failed(GONE);
  assertEquals(sizes(), []);
  await assertRejects(() => tree.stat("f"), VireoError, "As the test wants");
});

Deno.test("9p: one version is agreed on, of messages of 4096 bytes to what was asked for", async () => {
  const most = 256 * 1024 + 24;
  for (
    const [msize, dialect, code] of [
      [4096, P9_VERSION, undefined],
      [most, P9_VERSION, undefined],
      [4095, P9_VERSION, "OUT_OF_RANGE"],
      [most + 1, P9_VERSION, "OUT_OF_RANGE"],
      [4096, "9P2000", "UNSUPPORTED"],
    ] as const
  ) {
    const server = new P9Server();
    const p9 = server.open();
    assertEquals(p9.mountTag, "hi");
    server.script = ({ type, tag, reply }) => {
      if (type !== T.VERSION) return false;
      assertEquals(tag, 0xffff);
      reply([...u32(msize), ...text(dialect)]);
      return true;
    };
    const attached = Promise.all([p9.attach(), p9.attach()]);
    if (code === undefined) assertEquals((await attached)[0].messageSize, msize);
    else assertEquals((await assertRejects(() => attached, VireoError)).code, code);
    assertEquals(server.count(T.VERSION), 1);
    // The next one tries again, if it must.
    await turn();
    await p9.attach().catch(() => {});
    assertEquals(server.count(T.VERSION), code === undefined ? 1 : 2);
  }
});

Deno.test("9p: the mount tag has 1024 bytes at most", () => {
  for (const length of [1024, 1025]) {
    const server = new P9Server();
    Object.assign(server.fake, { config: new DataView(new ArrayBuffer(2048)) });
    server.fake.config.setUint16(0, length, true);
    if (length === 1024) assertEquals(server.open().mountTag.length, 1024);
    else {
      const { seen, expected } = assertThrows(() => server.open(), VireoError);
      assertEquals([seen, expected], ["1025 bytes", "at most 1024"]);
    }
  }
});

Deno.test("9p: an answer has a header, its own length, and no more than it has room for", async () => {
  const qid = Array<number>(13).fill(0);
  for (
    const [body, used, code] of [
      [qid, 20, undefined],
      [qid, 21, "BAD_LENGTH"],
      [qid, 19, "BAD_LENGTH"],
      [qid.slice(1), 19, "BAD_LENGTH"],
      [[], 7, "BAD_LENGTH"],
      [[], 6, "BAD_LENGTH"],
      // The room for an error of 4 bytes is there in any case.
      [[...qid, 0], 21, "BAD_LENGTH"],
    ] as const
  ) {
    const { server, tree } = await rig();
    server.script = ({ type, reply }) => {
      if (type !== T.MKDIR) return false;
      reply(body, used);
      return true;
    };
    const made = () => tree.mkdir("d");
    if (code === undefined || body.length === 12 || used === 7) await made();
    else assertEquals((await assertRejects(made, VireoError)).code, code);
  }
});

Deno.test("9p: a tag is free when the request and what forgets it are over", async () => {
  const { server, tree } = await rig();
  const held = server.hold(T.GETATTR);
  const stop = new AbortController();
  const given = assertRejects(() => tree.stat("f", { signal: stop.signal }), Error, "enough");
  const { tag, serve } = await held;
  const flushing = server.hold(T.FLUSH);
  stop.abort(new Error("enough"));
  await given;
  const flush = await flushing;
  assertEquals(flush.body.getUint16(0, true), tag);
  const tags = async (): Promise<boolean> => {
    const from = server.seen.length;
    await Promise.all(Array.from({ length: 9 }, () => tree.stat("f")));
    await turn();
    return server.seen.slice(from).some((request) => request.tag === tag);
  };
  assertEquals(await tags(), false);
  serve();
  assertEquals(await tags(), false);
  flush.serve();
  await turn();
  assertEquals([await tags(), server.mistakes], [true, []]);
});

Deno.test("9p: an attribute has at most 65536 bytes, and is read and set in parts", async () => {
  const { server, p9, tree } = await rig({ msize: 4096 });
  const value = Uint8Array.from({ length: 10_000 }, (_, i) => i & 0x7f);
  await leavesNothing(server, () => tree.setXattr("f", "user.a", value), "set");
  assertEquals(server.contents, value);
  await leavesNothing(server, async () => {
    assertEquals(await tree.getXattr("f", "user.a"), value);
  }, "get");
  for (const [size, code] of [[65536, undefined], [65537, "BAD_LENGTH"]] as const) {
    server.script = ({ type, body, reply }) => {
      if (type !== T.XATTRWALK) return false;
      server.fids.set(body.getUint32(4, true), "f");
      reply(u64(size));
      return true;
    };
    const got = () => tree.getXattr("f", "user.a");
    if (code === undefined) assertEquals((await got()).length, 10_000);
    else assertEquals((await assertRejects(got, VireoError)).code, code);
  }
  await turn();
  assertEquals([server.fids.size, server.mistakes], [1, []]);
  // Leaves no timer of a wait for memory behind.
  p9.failed(GONE);
});

Deno.test("9p: a device file has a major number of 12 bits and a minor one of 20", async () => {
  const { server, tree } = await rig();
  server.script = ({ type, reply }) => {
    if (type === T.MKNOD) reply(Array<number>(13).fill(0));
    return type === T.MKNOD;
  };
  for (
    const [major, minor, fits] of [
      [0, 0, true],
      [4095, 1_048_575, true],
      [4096, 0, false],
      [0, 1_048_576, false],
      [-1, 0, false],
      [0, 0.5, false],
    ] as const
  ) {
    const made = () => tree.mknod("f", { kind: "block", major, minor });
    if (fits) await made();
    else await assertRejects(made, RangeError, "number");
  }
  assertEquals(server.count(T.MKNOD), 2);
});

Deno.test("9p: a tree that is closed again does no harm: its root is given back once", async () => {
  const { server, tree } = await rig();
  for (let i = 0; i < 2; i++) await tree.close();
  assertEquals([server.count(T.CLUNK), server.mistakes, server.fids.size], [1, [], 0]);
});
