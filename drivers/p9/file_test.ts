import { assertEquals, assertRejects } from "@std/assert";
import { P9OpenFlag, P9Type, VireoError } from "@vireo/hal";
import { turn } from "../async_test_util.ts";
import { P9Server, text, u32, u64 } from "./server_test_util.ts";

const T = P9Type;
/** Data of a message of 4096 bytes. */
const CHUNK = 4072;
const CONTENTS = Uint8Array.from({ length: 10_000 }, (_, i) => i % 251);

const GONE = new VireoError("DEVICE_STATE", "As the test wants");

async function rig(set: Partial<P9Server> = {}) {
  const server = Object.assign(new P9Server(), { msize: 4096, contents: CONTENTS, ...set });
  const p9 = server.open();
  const tree = await p9.attach();
  return { server, p9, tree, file: await tree.open("f") };
}

Deno.test("9p file: a read has all bytes up to the file's end, in as few messages as hold them", async () => {
  for (
    const [offset, length, messages, set] of [
      [0, 10, 1, {}],
      [0, 0, 0, {}],
      [9990, 10, 1, {}],
      [9990, 11, 2, {}],
      [10_000, 5, 1, {}],
      [0, CHUNK, 1, {}],
      [0, CHUNK + 1, 2, {}],
      [1, 3 * CHUNK, 4, {}],
      [0, 1000, 1, { ioUnit: 1000 }],
      [0, 1001, 2, { ioUnit: 1000 }],
      [0, CHUNK, 1, { ioUnit: 100_000 }],
      [0, 1000, 4, { atOnce: 300 }],
    ] as const
  ) {
    const { server, file } = await rig(set);
    const what = `${length} bytes at ${offset}`;
    const expected = CONTENTS.subarray(offset, offset + length);
    assertEquals(await file.read(offset, length), expected, what);
    assertEquals(server.count(T.READ), messages, what);
    using region = server.device.dma.alloc(16_384);
    let returned = 0;
    const target = { offset, length, at: 5, onReturned: () => void returned++ };
    assertEquals(await file.readInto(region, target), expected.length, what);
    assertEquals(region.bytes.slice(5, 5 + expected.length), expected);
    assertEquals([returned, server.count(T.READ)], [1, 2 * messages], what);
    await turn();
    assertEquals(server.mistakes, []);
  }
});

Deno.test("9p file: bytes behind a gap are not handed out", async () => {
  const { server, file } = await rig();
  // The second part ends early, though there are bytes in the third one.
  server.script = ({ type, body, reply }) => {
    const short = type === T.READ && body.getUint32(4, true) === CHUNK + 7;
    if (short) reply([0, 0, 0, 0]);
    else if (type === T.READ && body.getUint32(4, true) === CHUNK) {
      reply([7, 0, 0, 0, ...Array(7).fill(1)]);
    } else return false;
    return true;
  };
  assertEquals((await file.read(0, 3 * CHUNK)).length, CHUNK + 7);
  using region = server.device.dma.alloc(16_384);
  assertEquals(await file.readInto(region, { offset: 0, length: 3 * CHUNK }), CHUNK + 7);
});

Deno.test("9p file: a place is of integers that stay below 2^53, and inside the region", async () => {
  const { server, file } = await rig();
  const most = Number.MAX_SAFE_INTEGER;
  for (
    const [offset, length] of [[-1, 1], [0.5, 1], [NaN, 1], [most, 1], [most - 1, 2], [0, 0.5]]
  ) {
    await assertRejects(() => file.read(offset!, length!), RangeError, "from 0 to 2^53-1");
  }
  assertEquals((await file.read(most - 1, 1)).length, 0);
  await assertRejects(() => file.truncate(-1), RangeError);
  using region = server.device.dma.alloc(64);
  for (const [at, length] of [[-1, 1], [0, 65], [64, 1]] as const) {
    const wrong = `${length} bytes to byte ${at}`;
    await assertRejects(() => file.readInto(region, { offset: 0, length, at }), RangeError, wrong);
  }
  assertEquals(await file.readInto(region, { offset: 0, length: 60, at: 4 }), 60);
  assertEquals(await file.readInto(region, { offset: 0, length: 0, at: 64 }), 0);
});

Deno.test("9p file: a file is read to its end, wherever the server says that it is", async () => {
  for (const size of [0, 1, 9_999, 10_000, 10_001, 1_000_000]) {
    for (const offset of [0, 10, 9_999, 10_000, 20_000]) {
      const { p9, file } = await rig({ size });
      assertEquals(await file.readToEnd(offset), CONTENTS.subarray(offset), `${size} ${offset}`);
      // Leaves no timer of a wait for memory behind.
      p9.failed(GONE);
    }
  }
  const { server, file } = await rig();
  assertEquals((await file.readToEnd(0, { limit: 10_000 })).length, 10_000);
  const long = await assertRejects(() => file.readToEnd(0, { limit: 9_999 }), VireoError);
  assertEquals([long.code, long.expected], ["OUT_OF_RANGE", "at most 9999 bytes"]);
  // Its size is asked for, and one more read finds its end.
  server.seen.length = 0;
  await file.readToEnd(9_000);
  assertEquals([server.count(T.GETATTR), server.count(T.READ)], [1, 2]);
});

Deno.test("9p file: a write is carried on until the server has all, in parts that it takes", async () => {
  for (
    const [offset, length, messages, set] of [
      [0, 10, 1, {}],
      [3, CHUNK, 1, {}],
      [3, CHUNK + 1, 2, {}],
      [0, 1000, 4, { atOnce: 300 }],
      [5, 1001, 2, { ioUnit: 1000 }],
      [0, 0, 0, {}],
    ] as const
  ) {
    const { server, file } = await rig({ contents: new Uint8Array(0), ...set });
    await file.write(offset, CONTENTS.subarray(0, length));
    const what = `${length} bytes at ${offset}`;
    assertEquals(server.count(T.WRITE), messages, what);
    assertEquals(server.contents.subarray(offset), CONTENTS.subarray(0, length), what);
  }
  for (const count of [0, 11]) {
    const { server, file } = await rig();
    server.script = ({ type, reply }) => {
      if (type === T.WRITE) reply([count, 0, 0, 0]);
      return type === T.WRITE;
    };
    const { code, seen } = await assertRejects(() => file.write(0, new Uint8Array(10)), VireoError);
    assertEquals([code, seen], ["BAD_LENGTH", count]);
  }
});

Deno.test("9p file: eight parts have memory at a time, and a failure frees it", async () => {
  const { server, p9, file } = await rig({ contents: new Uint8Array(0) });
  let [now, most] = [0, 0];
  const waiting: (() => void)[] = [];
  server.script = ({ type, serve }) => {
    if (type !== T.WRITE) return false;
    most = Math.max(most, ++now);
    waiting.push(() => (now--, serve()));
    return true;
  };
  const write = file.write(0, new Uint8Array(20 * CHUNK).fill(7));
  for (let served = 0; served < 20; served++) {
    while (waiting.length === 0) await turn();
    waiting.shift()!();
  }
  await write;
  assertEquals([most, server.contents.length], [8, 20 * CHUNK]);
  p9.failed(GONE);
  assertEquals(server.fake.regions.size, 0);
  await assertRejects(() => file.write(0, new Uint8Array(1)), VireoError, "As the test wants");
});

Deno.test("9p file: a lock's numbers have their ranges, and the one in its way its kind", async () => {
  const { server, p9, file } = await rig();
  let kind = 2;
  server.script = ({ type, reply }) => {
    if (type !== T.GETLOCK) return false;
    reply([kind, ...u64(5), ...u64(2 ** 32), ...u32(7), ...text("other")]);
    return true;
  };
  const asked = { type: "write" } as const;
  assertEquals(await file.getLock(asked), undefined);
  for (const [answered, type] of [[0, "read"], [1, "write"]] as const) {
    kind = answered;
    const found = { type, start: 5, length: 2 ** 32, owner: 7, client: "other" };
    assertEquals(await file.getLock(asked), found);
  }
  kind = 3;
  const error = await assertRejects(() => file.getLock(asked), VireoError);
  assertEquals([error.code, error.seen], ["BAD_STATUS", 3]);
  kind = 2;
  for (const owner of [0, 0xffff_ffff]) {
    assertEquals(await file.getLock({ ...asked, owner }), undefined);
  }
  const before = server.count(T.GETLOCK);
  for (
    const wrong of [
      { owner: -1 },
      { owner: 2 ** 32 },
      { owner: 0.5 },
      { start: -1 },
      { start: 0.5 },
      { start: 2 ** 53 },
      { length: -1 },
      { length: 0.5 },
    ]
  ) await assertRejects(() => file.getLock({ ...asked, ...wrong }), RangeError, "Cannot lock");
  assertEquals(server.count(T.GETLOCK), before);
  p9.failed(GONE);
});

Deno.test("9p file: attributes are those of the answer, with times to the millisecond", async () => {
  const { server, p9, tree } = await rig();
  server.script = ({ type, reply }) => {
    if (type !== T.GETATTR) return false;
    reply([
      ...u64(0x7ff),
      // A qid of 64 bits.
      ...[0, ...u32(4), ...u64(0x1_0000_00ab)],
      ...u32(0o100640),
      ...u32(1000),
      ...u32(100),
      ...u64(2),
      ...u64(0x0802),
      ...u64(12_345),
      ...u64(4096),
      ...u64(24),
      ...[10, 20, 30].flatMap((seconds) => [...u64(seconds), ...u64(seconds * 1e7 + 999)]),
      ...[...u64(0), ...u64(0), ...u64(0), ...u64(0)],
    ]);
    return true;
  };
  const { atime, mtime, ctime, ...stat } = await tree.stat("f");
  assertEquals(stat, {
    kind: "file",
    qid: { type: 0, version: 4, path: "0x1000000ab" },
    mode: 0o640,
    uid: 1000,
    gid: 100,
    links: 2,
    device: { major: 8, minor: 2 },
    size: 12_345,
    blocks: 24,
  });
  assertEquals([atime, mtime, ctime].map(Number), [10_100, 20_200, 30_300]);
  p9.failed(GONE);
});

Deno.test("9p file: a change names what it changes, and leaves the rest", async () => {
  const { server, p9, tree } = await rig();
  let words: number[] = [];
  server.script = ({ type, body, reply }) => {
    if (type !== T.SETATTR) return false;
    words = Array.from(
      { length: body.byteLength / 4 - 1 },
      (_, i) => body.getUint32(4 + 4 * i, true),
    );
    reply([]);
    return true;
  };
  const time = new Date(5250);
  // Bits that are valid, and the words behind them: mode, uid, gid, size, and seconds with nanoseconds of two times.
  for (
    const [changes, valid, at, value] of [
      [{ mode: 0o600 }, 1, 1, 0o600],
      [{ uid: 0 }, 2, 2, 0],
      [{ gid: 0xffff_fffe }, 4, 3, 0xffff_fffe],
      [{ size: 5 }, 8, 4, 5],
      [{ atime: time }, 0x10 | 0x80, 6, 5],
      [{ mtime: time }, 0x20 | 0x100, 10, 5],
    ] as const
  ) {
    await tree.change("f", changes);
    assertEquals([words[0], words[at]], [valid, value], JSON.stringify(changes));
    if (valid > 8) assertEquals(words[at + 2], 250e6);
  }
  for (const id of [-1, 0.5, 0xffff_ffff]) {
    await assertRejects(() => tree.change("f", { uid: id }), RangeError, `Cannot set uid ${id}`);
    await assertRejects(() => tree.change("f", { gid: id }), RangeError, `Cannot set gid ${id}`);
  }
  p9.failed(GONE);
});

Deno.test("9p: a file that is there is made only by what asks for a new one", async () => {
  const { CREATE, EXCLUSIVE, WRITE } = P9OpenFlag;
  for (
    const [flags, opened, made] of [
      [WRITE | CREATE, 1, 0],
      [WRITE | EXCLUSIVE, 1, 0],
      [WRITE | CREATE | EXCLUSIVE, 0, 1],
    ] as const
  ) {
    const { server, tree } = await rig();
    const before = server.count(T.LOPEN);
    await tree.open("f", flags);
    assertEquals([server.count(T.LOPEN) - before, server.count(T.LCREATE)], [opened, made]);
  }
});
