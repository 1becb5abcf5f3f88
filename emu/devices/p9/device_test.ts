import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { EmulatedMachine } from "../../machine.ts";
import { MockDriver } from "../../testing/mock_driver.ts";
import type { MockSegment } from "../../testing/mock_segments.ts";
import type { P9ServerState } from "./_server.ts";
import type { P9Handle, P9HandleOptions, P9Path } from "./export.ts";
import { HostTree, MemoryTree, P9Device, type P9DeviceOptions, type P9Export } from "./mod.ts";

const [ENOENT, EBADF, EEXIST, ENOTDIR, EINVAL] = [2, 9, 17, 20, 22];
const [ENOSPC, EROFS, ENAMETOOLONG, ELOOP, EPROTO, EOPNOTSUPP] = [28, 30, 36, 40, 71, 95];
const [ENFILE, EFBIG, EMSGSIZE] = [23, 27, 90];

/** A message's fields: numbers are [value, bytes], text has its length before it. */
type Field = string | Uint8Array | readonly [value: number, size: 1 | 2 | 4 | 8];

function message(type: number, tag: number, ...fields: readonly Field[]): Uint8Array {
  const body = fields.flatMap((field) => {
    if (field instanceof Uint8Array) return [...field];
    if (typeof field === "string") {
      const bytes = new TextEncoder().encode(field);
      return [bytes.length & 0xff, bytes.length >> 8, ...bytes];
    }
    const [value, size] = field;
    return Array.from({ length: size }, (_, i) => Math.floor(value / 256 ** i) % 256);
  });
  const length = body.length + 7;
  return Uint8Array.of(
    length & 255,
    length >> 8,
    length >> 16,
    0,
    type,
    tag & 255,
    tag >> 8,
    ...body,
  );
}

class Client {
  readonly model: P9Device;
  readonly machine: EmulatedMachine;
  readonly mock: MockDriver;

  constructor(tree: P9Export, options: Partial<P9DeviceOptions> = {}) {
    this.model = new P9Device({ tree, ...options });
    this.machine = EmulatedMachine.create({ devices: [this.model] });
    this.mock = new MockDriver(this.machine);
    this.mock.init();
  }

  async raw(segments: readonly MockSegment[]): Promise<Uint8Array> {
    const used = await this.mock.request(0, segments);
    return used.bytes[0]!.slice(0, used.written);
  }

  /** The answer's type, and what follows its header. */
  async send(type: number, ...fields: readonly Field[]): Promise<[number, Uint8Array]> {
    const answer = await this.raw([{ read: message(type, 7, ...fields) }, { write: 9000 }]);
    const view = new DataView(answer.buffer);
    assertEquals([view.getUint32(0, true), view.getUint16(5, true)], [answer.length, 7]);
    return [answer[4]!, answer.subarray(7)];
  }

  async good(type: number, ...fields: readonly Field[]): Promise<Uint8Array> {
    const [kind, body] = await this.send(type, ...fields);
    assertEquals(kind, type + 1, `answer ${kind} ${[...body]} to ${type}`);
    return body;
  }

  async bad(errno: number, type: number, ...fields: readonly Field[]): Promise<void> {
    const [kind, body] = await this.send(type, ...fields);
    assertEquals([kind, new DataView(body.buffer, body.byteOffset).getUint32(0, true)], [7, errno]);
  }

  /** Tversion, and an attached root as fid 0. */
  async open(): Promise<this> {
    await this.good(100, [8192, 4], "9P2000.L");
    await this.good(104, [0, 4], [0xffffffff, 4], "me", "", [0, 4]);
    return this;
  }

  async walk(from: number, to: number, ...names: string[]): Promise<number> {
    const body = await this.good(110, [from, 4], [to, 4], [names.length, 2], ...names);
    return body[0]!;
  }
}

const u32 = (value: number): Field => [value, 4];

Deno.test("9p device: dialect and message size are agreed on, before anything else", async () => {
  const client = new Client(new MemoryTree(), { messageSize: 8192, tag: "share" });
  assertEquals([...client.mock.config(0, 7)], [5, 0, ...new TextEncoder().encode("share")]);
  await client.bad(EPROTO, 104, u32(0), u32(0xffffffff), "", "", u32(0));
  const unknown = await client.good(100, u32(8192), "9P2000.u");
  assertEquals(new TextDecoder().decode(unknown.subarray(6)), "unknown");
  await client.bad(EMSGSIZE, 100, u32(4095), "9P2000.L");
  const agreed = await client.good(100, u32(1 << 30), "9P2000.L");
  assertEquals(new DataView(agreed.buffer, agreed.byteOffset).getUint32(0, true), 8192);
  await client.open();
  assertEquals(client.model.fids, 1);
  await client.good(100, u32(8192), "9P2000.L");
  assertEquals(client.model.fids, 0, "a new session has no fids");
  assertThrows(() => new P9Device({ tree: new MemoryTree(), tag: "" }), RangeError, "mount tag");
  const large = { tree: new MemoryTree(), messageSize: 1 << 30 };
  assertThrows(() => new P9Device(large), RangeError, "expected 4096 to 1048576");
});

Deno.test("9p device: a message may be split anywhere; its length is only a claim", async () => {
  const client = await new Client(new MemoryTree({ f: "contents" })).open();
  assertEquals(await client.walk(0, 1, "f"), 1);
  await client.good(12, u32(1), u32(2));
  const read = message(116, 3, u32(1), [2, 8], u32(100));
  const segments = [{ read: read.subarray(0, 1) }, { read: read.subarray(1, 9) }];
  const writes = [{ write: 3 }, { write: 5 }, { write: 100 }];
  const used = await client.mock.request(0, [...segments, { read: read.subarray(9) }, ...writes]);
  const whole = used.bytes.flatMap((part) => [...part]).slice(0, used.written);
  assertEquals(new TextDecoder().decode(Uint8Array.from(whole).subarray(11)), "ntents");
  const write = message(118, 3, u32(1), [0, 8], u32(3), new TextEncoder().encode("CON"));
  for (const at of [1, 7, 22, 23, 24]) {
    const parts = [{ read: write.subarray(0, at) }, { read: write.subarray(at) }, { write: 11 }];
    assertEquals((await client.raw(parts))[4], 119);
  }
  // Longer than it is, and shorter than a header.
  for (const claim of [1000, 0x7fffffff, 0, 6]) {
    const lying = read.slice();
    new DataView(lying.buffer).setUint32(0, claim, true);
    assertEquals([...(await client.raw([{ read: lying }, { write: 50 }])).subarray(4)], [
      ...[7, 3, 0, EINVAL, 0, 0, 0],
    ]);
  }
  await client.bad(EINVAL, 118, u32(1), [0, 8], u32(4), Uint8Array.of(1, 2, 3));
  await client.bad(EINVAL, 116, u32(1), [2 ** 60, 8], u32(1));
  await client.bad(EINVAL, 118, u32(1), [0, 8], u32(0xffffffff), Uint8Array.of(1));
  // What there is room for is read, no more.
  assertEquals((await client.raw([{ read: read }, { write: 13 }])).length, 13);
  assertEquals(client.machine.violations(), []);
});

for (
  const [name, segments] of [
    ["without a whole header", [{ read: new Uint8Array(6) }, { write: 100 }]],
    ["without room for an error", [{ read: message(120, 1, u32(0)) }, { write: 10 }]],
    ["without room for its answer", [{ read: message(24, 1, u32(0), [0x7ff, 8]) }, { write: 99 }]],
  ] as const
) {
  Deno.test(`9p device: a request ${name} needs a reset`, async () => {
    const client = await new Client(new MemoryTree()).open();
    void client.mock.queues[0]!.add(segments);
    client.mock.queues[0]!.kick();
    assert(client.mock.needsReset);
    client.mock.interrupt();
    client.mock.init();
    await client.open();
    assertEquals(client.model.fids, 1);
  });
}

Deno.test("9p device: fids and names that are none are refused", async () => {
  const client = await new Client(new MemoryTree({ "d/f": "x", g: "y" })).open();
  await client.bad(EBADF, 110, u32(9), u32(10), [0, 2]);
  await client.bad(EINVAL, 110, u32(0), u32(1), [17, 2], ...Array<string>(17).fill("d"));
  await client.bad(EINVAL, 110, u32(0), u32(1), [3, 2], "d");
  await client.bad(ENOENT, 110, u32(0), u32(1), [1, 2], "d/f");
  await client.bad(ENOENT, 110, u32(0), u32(1), [1, 2], "");
  await client.bad(EINVAL, 110, u32(0), u32(1), [1, 2], Uint8Array.of(1, 0, 0xff));
  assertEquals(await client.walk(0, 1, "..", "..", "d", "..", "d"), 5);
  await client.bad(EINVAL, 110, u32(0), u32(1), [0, 2]);
  assertEquals(await client.walk(0, 2, "d", "none", "f"), 1);
  await client.bad(EBADF, 24, u32(2), [0x7ff, 8]);
  for (
    const [name, errno] of [["..", EEXIST], [".", EEXIST], ["", EINVAL], ["a/b", EINVAL]] as const
  ) {
    await client.bad(errno, 72, u32(1), name, u32(0o755), u32(0));
    await client.bad(errno, 14, u32(1), name, u32(2), u32(0o644), u32(0));
    await client.bad(errno, 76, u32(1), name, u32(0x200));
    await client.bad(errno, 74, u32(1), "f", u32(1), name);
    await client.bad(errno, 16, u32(1), name, "target", u32(0));
  }
  await client.bad(ENAMETOOLONG, 72, u32(1), "n".repeat(256), u32(0o755), u32(0));
  await client.bad(EBADF, 116, u32(1), [0, 8], u32(1));
  for (const type of [20, 102, 250]) {
    await client.bad(EOPNOTSUPP, type, u32(1), u32(1), u32(1));
  }
  // A directory that moves takes what is below it along.
  assertEquals(await client.walk(0, 3, "d", "f"), 2);
  await client.good(74, u32(0), "d", u32(0), "e");
  await client.good(24, u32(3), [0x7ff, 8]);
  await client.good(122, u32(3));
  await client.bad(EBADF, 120, u32(3));
  assertEquals(client.machine.violations(), []);
});

Deno.test("9p device: requests that are held count as kept, beside fids", async () => {
  const client = new Client(new MemoryTree(), { hold: true });
  await client.good(100, u32(8192), "9P2000.L");
  const [queue] = client.mock.queues;
  for (const fid of [0, 1, 2]) {
    const read = message(104, fid, u32(fid), u32(0xffffffff), "me", "", u32(0));
    void queue!.add([{ read }, { write: 100 }]);
  }
  queue!.kick();
  assertEquals([client.model.held, client.model.usage().items], [3, 3]);
  client.model.release();
  assertEquals([client.model.held, client.model.usage().items], [0, 3], "fids");
});

Deno.test("9p device: what is made is answered with its id", async () => {
  const tree = new MemoryTree();
  const client = await new Client(tree).open();
  const idOf = (body: Uint8Array): [type: number, path: bigint] => {
    const view = new DataView(body.buffer, body.byteOffset, body.length);
    return [view.getUint8(0), view.getBigUint64(5, true)];
  };
  const made: [string, Uint8Array][] = [
    ["l", await client.good(16, u32(0), "l", "somewhere", u32(0))],
    ["d", await client.good(72, u32(0), "d", u32(0o755), u32(0))],
  ];
  assertEquals(made.map(([, body]) => idOf(body)), [
    [2, tree.stat(["l"]).path],
    [0x80, tree.stat(["d"]).path],
  ]);
});

Deno.test("9p device: a read-only tree refuses each kind of change, and stays as it is", async () => {
  const tree = new MemoryTree({ "d/f": "one", g: "two" }, { readOnly: true });
  const client = await new Client(tree).open();
  assertEquals([await client.walk(0, 1, "d"), await client.walk(0, 2, "d", "f")], [1, 2]);
  const before = [tree.stat(["d"]), tree.stat(["d", "f"]), tree.stat([])];
  const [READ, WRITE, READ_WRITE, TRUNCATE] = [0, 1, 2, 0x200];
  for (const flags of [WRITE, READ_WRITE, READ | TRUNCATE]) {
    await client.bad(EROFS, 12, u32(2), u32(flags));
  }
  await client.bad(EROFS, 14, u32(0), "new", u32(READ), u32(0o644), u32(0));
  await client.bad(EROFS, 16, u32(0), "new", "g", u32(0));
  await client.bad(EROFS, 72, u32(0), "new", u32(0o755), u32(0));
  await client.bad(EROFS, 74, u32(0), "g", u32(1), "g");
  await client.bad(EROFS, 76, u32(0), "g", u32(0));
  const none: Field = [0, 8];
  // Mode, size, times: each alone.
  for (const valid of [1, 8, 16, 32]) {
    const numbers = [u32(valid), u32(0o600), u32(0), u32(0), none, none, none, none, none];
    await client.bad(EROFS, 26, u32(2), ...numbers);
  }
  await client.walk(0, 3, "g");
  await client.bad(EROFS, 122, u32(3));
  assertEquals(client.model.fids, 3, "a fid is gone whether its file was removed or not");
  assertEquals([tree.stat(["d"]), tree.stat(["d", "f"]), tree.stat([])], before);
  assertEquals([tree.list([]), tree.list(["d"])], [["d", "g"], ["f"]]);
  await client.good(12, u32(2), u32(READ));
});

Deno.test("9p device: memory does not grow by the driver's numbers", async () => {
  const tree = new MemoryTree({ f: "1" }, { capacity: 1 << 20, maxFiles: 20 });
  const client = await new Client(tree).open();
  await client.walk(0, 1, "f");
  await client.good(12, u32(1), u32(2));
  await client.bad(EFBIG, 118, u32(1), [2 ** 50, 8], u32(1), Uint8Array.of(1));
  await client.bad(ENOSPC, 118, u32(1), [(1 << 20) - 1, 8], u32(1), Uint8Array.of(1));
  const set = (size: number): Field[] => [
    ...[u32(1), u32(8), u32(0), u32(0), u32(0), [size, 8] as const],
    ...Array<Field>(4).fill([0, 8]),
  ];
  await client.bad(EFBIG, 26, ...set(2 ** 40));
  await client.good(26, ...set(900_000));
  for (let i = 0; i < 18; i++) await client.good(72, u32(0), `d${i}`, u32(0o755), u32(0));
  await client.bad(ENOSPC, 72, u32(0), "one more", u32(0o755), u32(0));
  // What is removed while it is open keeps its room until it is closed.
  await client.good(76, u32(0), "f", u32(0));
  await client.bad(ENOSPC, 72, u32(0), "one more", u32(0o755), u32(0));
  await client.good(120, u32(1));
  await client.good(72, u32(0), "one more", u32(0o755), u32(0));
  const { msize, fids, locks } = client.model.snapshot() as P9ServerState;
  const [, root] = fids[0]!;
  const many = Array.from({ length: 16383 }, (_, fid) => [fid, root] as const);
  client.model.restore({ msize, fids: many, locks });
  await client.walk(0, 16383);
  await client.bad(ENFILE, 110, u32(0), u32(16384), [0, 2]);
  assertEquals(client.model.fids, 16384);
});

Deno.test("9p device: nothing outside of an exported directory is reached", async () => {
  const base = await Deno.makeTempDir({ prefix: "vireo-p9-" });
  try {
    const outside = `${base}/outside`;
    await Deno.mkdir(`${base}/root/d/sub`, { recursive: true });
    await Deno.mkdir(outside);
    await Deno.writeTextFile(`${outside}/secret`, "secret");
    await Deno.symlink(outside, `${base}/root/link`);
    await Deno.symlink("../outside/secret", `${base}/root/file`);
    await new Deno.Command("mkfifo", { args: [`${base}/root/fifo`] }).output();
    const client = await new Client(new HostTree(`${base}/root`)).open();
    assertEquals(await client.walk(0, 1, "..", "link"), 2);
    await client.bad(ENOTDIR, 110, u32(1), u32(2), [1, 2], "secret");
    assertEquals(await client.walk(0, 2, "link", "secret"), 1);
    await client.bad(ELOOP, 12, u32(1), u32(0));
    await client.bad(ENOTDIR, 14, u32(1), "new", u32(2), u32(0o644), u32(0));
    await client.bad(ENOTDIR, 72, u32(1), "new", u32(0o755), u32(0));
    await client.bad(ENOTDIR, 76, u32(1), "secret", u32(0));
    await client.bad(ENOTDIR, 74, u32(1), "secret", u32(0), "stolen");
    await client.bad(ENOTDIR, 74, u32(0), "d", u32(1), "given");
    await client.bad(ENOTDIR, 16, u32(1), "new", "x", u32(0));
    await client.walk(0, 3, "file");
    await client.bad(ELOOP, 12, u32(3), u32(2));
    // Size and times of what it points to stay.
    const times = Array<Field>(4).fill([0, 8]);
    await client.bad(EOPNOTSUPP, 26, u32(3), u32(0x1f8), u32(0), u32(0), u32(0), [0, 8], ...times);
    await client.bad(ELOOP, 14, u32(0), "file", u32(0o1002), u32(0o644), u32(0));
    // A fid of a directory that becomes a link to the outside.
    await client.walk(0, 4, "d");
    await client.walk(0, 5, "d", "sub");
    await client.good(76, u32(4), "sub", u32(0x200));
    await client.good(76, u32(0), "d", u32(0x200));
    await client.good(16, u32(0), "d", outside, u32(0));
    await client.bad(ENOTDIR, 14, u32(4), "new", u32(2), u32(0o644), u32(0));
    await client.bad(ENOTDIR, 24, u32(5), [0x7ff, 8]);
    await client.bad(ENOTDIR, 72, u32(5), "new", u32(0o755), u32(0));
    // One that blocks is not opened.
    await client.walk(0, 6, "fifo");
    await client.bad(EOPNOTSUPP, 12, u32(6), u32(0));
    assertEquals([...Deno.readDirSync(outside)].map(({ name }) => name), ["secret"]);
    assertEquals(await Deno.readTextFile(`${outside}/secret`), "secret");
    assertEquals(client.machine.violations(), []);

    const reader = await new Client(new HostTree(`${base}/root`, { readOnly: true })).open();
    await reader.bad(EROFS, 72, u32(0), "new", u32(0o755), u32(0));
    await reader.bad(EROFS, 14, u32(0), "new", u32(2), u32(0o644), u32(0));
    await reader.bad(EROFS, 76, u32(0), "fifo", u32(0));
    await reader.bad(EROFS, 74, u32(0), "fifo", u32(0), "pipe");
    assertThrows(() => new HostTree(`${outside}/secret`), TypeError, "it must be a directory");
    assertThrows(() => new HostTree(`${base}/none`), Deno.errors.NotFound);
  } finally {
    await Deno.remove(base, { recursive: true });
  }
});

Deno.test("9p device: any message is answered, and none breaks the device", async () => {
  const names = fc.constantFrom("a", "b", "d", "..", ".", "", "x/y", "\0", "n".repeat(300));
  const numbers = fc.constantFrom(0, 1, 2, 3, 7, 0x200, 4096, 0xffffffff);
  const field: fc.Arbitrary<Field> = fc.oneof(
    numbers.map((value): Field => [value, 4]),
    numbers.map((value): Field => [value, 8]),
    numbers.map((value): Field => [value, 2]),
    names,
    fc.uint8Array({ maxLength: 40 }),
  );
  const types = fc.constantFrom(
    ...[8, 12, 14, 16, 22, 24, 26, 40, 50, 72, 74, 76, 104, 108, 110, 116, 118, 120, 122, 99],
  );
  const sequence = fc.array(fc.tuple(types, fc.array(field, { maxLength: 9 })), { maxLength: 30 });
  await fc.assert(
    fc.asyncProperty(sequence, async (messages) => {
      const client = await new Client(new MemoryTree({ "d/a": "1", b: "2" })).open();
      for (const [type, fields] of messages) await client.send(type, ...fields);
      assertEquals(client.machine.violations(), []);
      await client.good(100, u32(8192), "9P2000.L");
    }),
    { seed: 42, numRuns: 150 },
  );
});

Deno.test("9p device: links, device files, extended attributes and locks are refused where they cannot be", async () => {
  const client = await new Client(new MemoryTree({ f: "1", "d/g": "2" })).open();
  await client.walk(0, 1, "f");
  const u64 = (value: number): Field => [value, 8];
  const lock = (fid: number, type: number, length = 0): Field[] => [
    ...[u32(fid), [type, 1] as const, u32(0), u64(0), u64(length), u32(7), "me"],
  ];
  // Tmknod: a file is made, a directory and what is no kind are not.
  await client.good(18, u32(0), "made", u32(0o100640), u32(0), u32(0), u32(0));
  await client.good(18, u32(0), "plain", u32(0o640), u32(0), u32(0), u32(0));
  for (const mode of [0o040755, 0o120777, 0o170000]) {
    await client.bad(EINVAL, 18, u32(0), "not", u32(mode), u32(0), u32(0), u32(0));
  }
  // Tlink
  await client.bad(EBADF, 70, u32(0), u32(9), "name");
  await client.bad(EEXIST, 70, u32(0), u32(1), "d");
  await client.bad(ENOTDIR, 70, u32(1), u32(1), "name");
  // Txattrwalk and Txattrcreate: a fid is a place or an attribute.
  await client.bad(61, 30, u32(1), u32(2), "user.none");
  await client.good(30, u32(1), u32(2), "");
  await client.bad(EINVAL, 30, u32(1), u32(2), "");
  await client.bad(EINVAL, 30, u32(2), u32(3), "");
  await client.bad(EINVAL, 110, u32(2), u32(3), [0, 2]);
  await client.bad(EINVAL, 12, u32(2), u32(0));
  await client.bad(EINVAL, 32, u32(2), "user.a", u64(1), u32(0));
  await client.bad(EBADF, 118, u32(2), u64(0), u32(1), Uint8Array.of(1));
  await client.walk(0, 4, "f");
  await client.bad(7, 32, u32(4), "user.a", u64(65537), u32(0));
  await client.bad(EINVAL, 32, u32(4), "", u64(1), u32(0));
  await client.bad(EINVAL, 32, u32(4), "user.a", u64(1), u32(4));
  await client.bad(34, 32, u32(4), "n".repeat(256), u64(1), u32(0));
  await client.good(32, u32(4), "user.a", u64(4), u32(0));
  await client.bad(EBADF, 116, u32(4), u64(0), u32(4));
  await client.bad(ENOSPC, 118, u32(4), u64(1), u32(1), Uint8Array.of(1));
  await client.bad(ENOSPC, 118, u32(4), u64(0), u32(5), Uint8Array.of(1, 2, 3, 4, 5));
  await client.good(118, u32(4), u64(0), u32(3), Uint8Array.of(1, 2, 3));
  // A byte is missing: nothing is set, and the fid is gone all the same.
  await client.bad(EINVAL, 120, u32(4));
  await client.bad(EBADF, 120, u32(4));
  await client.bad(61, 30, u32(1), u32(4), "user.a");
  // Tlock and Tgetlock: of what is open, up to a bound.
  await client.bad(EBADF, 52, ...lock(1, 0));
  await client.good(12, u32(1), u32(2));
  await client.bad(EINVAL, 52, ...lock(1, 3));
  await client.bad(EINVAL, 52, ...lock(1, 0, 2 ** 53));
  assertEquals([...await client.good(52, ...lock(1, 1))], [0]);
  let taken = 1;
  const one = (at: number): Field[] => [
    ...[u32(1), [1, 1] as const, u32(0), u64(2 * at), u64(1), u32(7), "me"],
  ];
  await client.good(52, ...lock(1, 2));
  while ((await client.send(52, ...one(taken)))[0] === 53) taken++;
  assertEquals(taken - 1, 1024);
  assert(client.model.usage().items <= client.model.bounds.items);
  assertEquals(client.machine.violations(), []);
});

Deno.test("9p device: attributes that are half written and locks are in a snapshot", async () => {
  const tree = new MemoryTree({ f: "1" });
  const client = await new Client(tree).open();
  await client.walk(0, 1, "f");
  await client.good(12, u32(1), u32(2));
  const lock = (process: number): Field[] => [
    ...[u32(1), [1, 1] as const, u32(0), [0, 8] as const, [0, 8] as const, u32(process), "me"],
  ];
  await client.good(52, ...lock(7));
  await client.walk(0, 2, "f");
  await client.good(32, u32(2), "user.a", [2, 8], u32(0));
  assertEquals(client.model.usage().bytes, 2);
  await client.good(118, u32(2), [0, 8], u32(1), Uint8Array.of(65));
  client.model.restore(structuredClone(client.model.snapshot()));
  assertEquals([...await client.good(52, ...lock(8))], [1]);
  await client.good(118, u32(2), [1, 8], u32(1), Uint8Array.of(66));
  await client.good(120, u32(2));
  assertEquals(tree.xattrs.get(["f"], "user.a"), Uint8Array.of(65, 66));
  assertEquals(client.model.usage().bytes, 0);
});

Deno.test("9p device: the last value of each bound is still good", async () => {
  const tree = new MemoryTree({ f: "1" });
  for (const messageSize of [4096, 1 << 20]) new P9Device({ tree, messageSize });
  new P9Device({ tree, tag: "t".repeat(31) });
  assertThrows(() => new P9Device({ tree, tag: "t".repeat(32) }), RangeError, "expected 1 to 31");
  assertThrows(() => new P9Device({ tree, messageSize: 4095 }), RangeError, "expected 4096");
  assertThrows(() => new P9Device({ tree, messageSize: (1 << 20) + 1 }), RangeError, "to 1048576");
  const client = new Client(tree, { messageSize: 8192 });
  const size = async (asked: number, version: string): Promise<number> => {
    const { buffer, byteOffset } = await client.good(100, u32(asked), version);
    return new DataView(buffer, byteOffset).getUint32(0, true);
  };
  // An unknown dialect is answered with a size that both sides have, too.
  assertEquals([await size(5000, "9P2000.u"), await size(9000, "9P2000.u")], [5000, 8192]);
  assertEquals([await size(4096, "9P2000.L"), await size(9000, "9P2000.L")], [4096, 8192]);
  await client.open();
  const long = "n".repeat(255);
  await client.good(72, u32(0), long, u32(0o755), u32(0));
  assertEquals(await client.walk(0, 1, ...Array<string>(16).fill(".")), 16);
  await client.good(16, u32(0), "link", "t".repeat(4095), u32(0));
  await client.bad(ENAMETOOLONG, 16, u32(0), "longer", "t".repeat(4096), u32(0));
  // An attribute: its name, its value, and the last byte of it.
  await client.walk(0, 2, "f");
  await client.good(32, u32(2), long, [65536, 8], u32(0));
  await client.bad(EINVAL, 120, u32(2));
  await client.walk(0, 3, "f");
  await client.good(32, u32(3), "user.a", [2, 8], u32(0));
  await client.good(118, u32(3), [0, 8], u32(1), Uint8Array.of(65));
  await client.good(118, u32(3), [1, 8], u32(1), Uint8Array.of(66));
  await client.bad(ENOSPC, 118, u32(3), [2, 8], u32(1), Uint8Array.of(67));
  await client.good(120, u32(3));
  assertEquals(tree.xattrs.get(["f"], "user.a"), Uint8Array.of(65, 66));
  // A lock: the client's name, and the last byte that a number can say.
  await client.walk(0, 4, "f");
  await client.good(12, u32(4), u32(2));
  const lock = (start: number, length: number, name: string): Field[] => [
    ...[u32(4), [1, 1] as const, u32(0), [start, 8] as const, [length, 8] as const, u32(7), name],
  ];
  await client.good(52, ...lock(2 ** 53 - 2, 1, long));
  await client.bad(EINVAL, 52, ...lock(2 ** 53 - 2, 2, long));
  await client.bad(ENAMETOOLONG, 52, ...lock(0, 1, `${long}n`));
  // 256 directories are the deepest place.
  for (let i = 1; i <= 256; i++) tree.mkdir(Array<string>(i).fill("d"), 0o755);
  await client.walk(0, 5);
  for (let i = 0; i < 16; i++) await client.walk(5, 5, ...Array<string>(16).fill("d"));
  await client.bad(ENAMETOOLONG, 72, u32(5), "d", u32(0o755), u32(0));
  assertEquals(client.machine.violations(), []);
});

Deno.test("9p device: a list of a directory counts as work by its length, and a name of it does not", async () => {
  const tree = new MemoryTree();
  for (let i = 0; i < 500; i++) tree.create([`f${i}`], 0o644);
  const client = await new Client(tree).open();
  await client.walk(0, 1);
  await client.good(12, u32(1), u32(0));
  const steps = async (offset: number): Promise<number> => {
    const { work } = client.machine.device(0);
    const before = work.counters.steps;
    await client.good(40, u32(1), [offset, 8], u32(40));
    return work.counters.steps - before;
  };
  assert(await steps(0) >= 500);
  assert(await steps(400) < 10);
  // Fids that a renamed directory takes along are work, too.
  await client.good(72, u32(0), "d", u32(0o755), u32(0));
  for (let fid = 2; fid < 102; fid++) await client.walk(0, fid, "d");
  const { work } = client.machine.device(0);
  const before = work.counters.steps;
  await client.good(74, u32(0), "d", u32(0), "e");
  assert(work.counters.steps - before > 100);
});

Deno.test("9p device: files are opened after a snapshot as they were before it", async () => {
  const opened: string[] = [];
  class Watched extends MemoryTree {
    override open(path: P9Path, options: P9HandleOptions): P9Handle {
      const { read, write, truncate, append } = options;
      opened.push(`${path}: ${[read, write, truncate, append].map(Number).join("")}`);
      return super.open(path, options);
    }
  }
  const client = await new Client(new Watched({ f: "1" })).open();
  // O_RDONLY, O_WRONLY, O_RDWR, O_WRONLY | O_APPEND, O_RDWR | O_TRUNC
  for (const [i, flags] of [0, 1, 2, 0o2001, 0o1002].entries()) {
    await client.walk(0, i + 1, "f");
    await client.good(12, u32(i + 1), u32(flags));
  }
  const before = opened.splice(0);
  assertEquals(before, ["f: 1000", "f: 0100", "f: 1100", "f: 0101", "f: 1110"]);
  client.model.restore(structuredClone(client.model.snapshot()));
  assertEquals(opened, [...before.slice(0, 4), "f: 1100"], "what was cut off is not cut off again");
});

Deno.test("9p device: a file has another length only where that is asked for, however it is open", async () => {
  const MODE = 1;
  const SIZE = 8;
  for (
    const [access, valid, length] of [[1, MODE, 4], [0, MODE, 4], [1, SIZE, 2], [
      0,
      SIZE,
      2,
    ]] as const
  ) {
    const tree = new MemoryTree({ f: "1234" });
    const cut: number[] = [];
    const open = tree.open.bind(tree);
    tree.open = (path: P9Path, options: P9HandleOptions): P9Handle => {
      const handle = open(path, options);
      const truncate = handle.truncate.bind(handle);
      return Object.assign(handle, {
        truncate: (size: number) => (cut.push(size), truncate(size)),
      });
    };
    const client = await new Client(tree).open();
    await client.walk(0, 1, "f");
    await client.good(12, u32(1), u32(access));
    // fid, valid, mode, uid, gid, size, and two times of seconds and nanoseconds.
    const times = Array<Field>(4).fill([0, 8]);
    await client.good(26, u32(1), u32(valid), u32(0o600), u32(0), u32(0), [2, 8], ...times);
    // What is open to be read alone is cut by its name.
    assertEquals(cut, access === 1 && valid === SIZE ? [2] : []);
    assertEquals([tree.stat(["f"]).size, tree.stat(["f"]).mode & 0o777], [
      length,
      valid === MODE ? 0o600 : 0o644,
    ]);
  }
});

Deno.test("9p device: one attaches to the root alone, and without authentication", async () => {
  const client = new Client(new MemoryTree({ f: "1" }));
  await client.good(100, u32(8192), "9P2000.L");
  const attach = (fid: number, name: string, auth = 0xffffffff): readonly Field[] => [
    ...[u32(fid), u32(auth), "me", name],
    u32(0),
  ];
  for (const [fid, name] of [[0, ""], [1, "/"]] as const) {
    const qid = await client.good(104, ...attach(fid, name));
    assertEquals([qid.length, qid[0]], [13, 0x80], "a directory");
  }
  await client.bad(ENOENT, 104, ...attach(2, "f"));
  await client.bad(EINVAL, 104, ...attach(2, "", 1));
  await client.bad(EINVAL, 104, ...attach(0xffffffff, ""));
  await client.bad(EINVAL, 104, ...attach(1, ""));
  assertEquals(client.model.fids, 2);
});

Deno.test("9p device: links are read, and files written through as far as they are open", async () => {
  const tree = new MemoryTree({ f: "1" });
  tree.symlink(["l"], "there");
  const synced: string[] = [];
  const open = tree.open.bind(tree);
  tree.open = (path: P9Path, options: P9HandleOptions): P9Handle =>
    Object.assign(open(path, options), { sync: () => void synced.push(path.join("/")) });
  const client = await new Client(tree).open();
  await client.walk(0, 1, "l");
  const target = await client.good(22, u32(1));
  assertEquals([target[0], new TextDecoder().decode(target.subarray(2))], [5, "there"]);
  await client.walk(0, 2, "f");
  await client.good(50, u32(2), u32(0));
  assertEquals(synced, []);
  await client.good(12, u32(2), u32(0));
  await client.good(50, u32(2), u32(0));
  assertEquals(synced, ["f"]);
  // A flush is answered whatever it names, if it names something.
  assertEquals((await client.good(108, [9, 2])).length, 0);
  await client.bad(EINVAL, 108);
});

Deno.test("9p device: a walk counts as work by its names and their depth", async () => {
  const tree = new MemoryTree();
  tree.mkdir(["a"], 0o755);
  tree.mkdir(["a", "b"], 0o755);
  const client = await new Client(tree).open();
  await client.walk(0, 1, "a", "b");
  const { work } = client.machine.device(0);
  const counted = async (from: number, to: number, ...names: string[]): Promise<number> => {
    const { steps } = work.counters;
    await client.walk(from, to, ...names);
    return work.counters.steps - steps;
  };
  const none = await counted(0, 2);
  assertEquals([await counted(0, 3, "a", "b") - none, await counted(1, 4, "..") - none], [2, 3]);
});
