// Messages of 9P2000.L by their fields; every number is typed again from Linux's `include/net/9p/9p.h`.
import { assertEquals } from "@std/assert";
import { RequestReader } from "./_message.ts";
import { P9Server, type P9ServerState, SERVER_BOUNDS } from "./_server.ts";
import type { P9Export, P9HandleOptions, P9Path } from "./export.ts";
import { MemoryTree } from "./memory_tree.ts";

const [STATFS, LOPEN, LCREATE, SYMLINK, MKNOD, READLINK] = [8, 12, 14, 16, 18, 22] as const;
const [GETATTR, SETATTR, XATTRWALK, XATTRCREATE, READDIR, FSYNC] = [
  24,
  26,
  30,
  32,
  40,
  50,
] as const;
const [LOCK, GETLOCK, LINK, MKDIR, RENAMEAT, UNLINKAT] = [52, 54, 70, 72, 74, 76] as const;
const [VERSION, ATTACH, WALK, READ, WRITE, CLUNK, REMOVE] = [
  ...[100, 104, 110, 116, 118, 120, 122],
] as [number, number, number, number, number, number, number];
const [
  ENOENT,
  E2BIG,
  EBADF,
  ENOMEM,
  EEXIST,
  ENOTDIR,
  EISDIR,
  EINVAL,
  EMFILE,
  EFBIG,
  ENOSPC,
  EROFS,
] = [
  ...[2, 7, 9, 12, 17, 20, 21, 22, 24, 27, 28, 30],
] as const;
const [ERANGE, ENAMETOOLONG, ENODATA, EOPNOTSUPP] = [34, 36, 61, 95] as const;
const [RDONLY, WRONLY, RDWR] = [0, 1, 2] as const;
const [EXCL, TRUNC, APPEND, DIRECTORY] = [0o200, 0o1000, 0o2000, 0o200000] as const;
const NONE = new Uint8Array(0);

/** A number of 32 bits, one of another size, or text. */
type Field = number | string | readonly [value: number, size: 1 | 2 | 4 | 8];

const u8 = (value: number): Field => [value, 1];
const u16 = (value: number): Field => [value, 2];
const u64 = (value: number): Field => [value, 8];

function bytesOf(fields: readonly Field[]): number[] {
  return fields.flatMap((field) => {
    if (typeof field === "string") {
      const text = new TextEncoder().encode(field);
      return [text.length & 255, text.length >> 8, ...text];
    }
    const [value, size] = typeof field === "number" ? [field, 4] : field;
    return Array.from({ length: size }, (_, i) => Math.floor(value / 256 ** i) % 256);
  });
}

/** Numbers of these sizes from bytes on. */
function numbers(bytes: Uint8Array, from: number, ...sizes: readonly number[]): number[] {
  let at = from;
  return sizes.map((size) => {
    let value = 0;
    for (let i = size; i-- > 0;) value = value * 256 + bytes[at + i]!;
    at += size;
    return value;
  });
}

/** A server with an attached root as fid 0. */
class Rig {
  readonly server: P9Server;
  /** Steps that were counted. */
  steps = 0;
  now = 1234;

  readonly tree: P9Export;

  constructor(tree: P9Export = new MemoryTree({ f: "0123456789", "d/g": "deep" })) {
    this.tree = tree;
    this.server = new P9Server(tree, 8192, () => this.now);
    this.good(VERSION, 8192, "9P2000.L");
    this.good(ATTACH, 0, 0xffffffff, "me", "", 0);
  }

  /** The answer's type, what follows its header, and the data behind it. */
  send(
    type: number,
    fields: readonly Field[],
    data = NONE,
    room = 4096,
  ): [number, Uint8Array, Uint8Array] {
    const body = bytesOf(fields);
    const message = Uint8Array.from([...new Array(7).fill(0), ...body]);
    const { head, data: out } = this.server.serve(
      type,
      7,
      new RequestReader(message).begin(message.length),
      {
        take: (length) => data.subarray(0, length),
        room,
        scratch: (length) => new Uint8Array(length),
        spend: (steps) => void (this.steps += steps),
      },
    );
    assertEquals(numbers(head, 0, 4, 1, 2), [head.length + out.length, head[4]!, 7]);
    if (type !== READ && type !== READDIR) assertEquals(out.length, 0);
    return [head[4]!, head.slice(7), out];
  }

  good(type: number, ...fields: readonly Field[]): Uint8Array {
    const [kind, body, data] = this.send(type, fields);
    assertEquals(kind, type + 1, `answer ${kind} ${[...body]} to ${type} ${fields}`);
    return Uint8Array.from([...body, ...data]);
  }

  /** The error number; 0 if there was none. */
  errno(type: number, ...fields: readonly Field[]): number {
    const [kind, body] = this.send(type, fields);
    return kind === 7 ? numbers(body, 0, 4)[0]! : 0;
  }

  write(fid: number, offset: number, text: string, length = text.length): number {
    const bytes = new TextEncoder().encode(text);
    const [kind, body] = this.send(WRITE, [fid, u64(offset), length], bytes);
    if (kind === 7) return -numbers(body, 0, 4)[0]!;
    return numbers(body, 0, 4)[0]!;
  }

  walk(fid: number, ...names: string[]): this {
    const [found] = numbers(this.good(WALK, 0, fid, u16(names.length), ...names), 0, 2);
    assertEquals(found, names.length);
    return this;
  }

  /** Fid 1 is a file that is open so. */
  open(flags: number, ...names: string[]): this {
    this.walk(1, ...names).good(LOPEN, 1, flags);
    return this;
  }

  read(fid: number, offset: number, length: number, room?: number): string {
    const [kind, body, data] = this.send(READ, [fid, u64(offset), length], NONE, room);
    if (kind === 7) return `errno ${numbers(body, 0, 4)}`;
    assertEquals(numbers(body, 0, 4), [data.length]);
    return new TextDecoder().decode(data);
  }

  /** The entries of an open directory from an offset on: type, next offset and name of each. */
  list(fid: number, offset: number, length: number, room?: number): [number, number, string][] {
    const [kind, body, data] = this.send(READDIR, [fid, u64(offset), length], NONE, room);
    assertEquals([kind, ...numbers(body, 0, 4)], [READDIR + 1, data.length]);
    const found: [number, number, string][] = [];
    for (let at = 0; at < data.length;) {
      const [next, type, size] = numbers(data, at + 13, 8, 1, 2) as [number, number, number];
      at += 24 + size;
      found.push([type, next, new TextDecoder().decode(data.subarray(at - size, at))]);
    }
    return found;
  }
}

const text = (tree: P9Export, path: string): string =>
  new TextDecoder().decode((tree as MemoryTree).contents(path));

Deno.test("9p server: a file is read and written as it is open, and no other way", () => {
  // Flags, what a read of all gives, and what a write gives.
  const rows: readonly (readonly [number, string, number])[] = [
    [RDONLY, "0123456789", -EBADF],
    [WRONLY, `errno ${EBADF}`, 2],
    [RDWR, "0123456789", 2],
    [RDWR | APPEND, "0123456789", 2],
    [RDWR | TRUNC, "", 2],
    [RDONLY | TRUNC, "", -EBADF],
  ];
  for (const [flags, read, written] of rows) {
    const rig = new Rig().open(flags, "f");
    assertEquals([rig.read(1, 0, 100), rig.write(1, 4, "ab")], [read, written], `flags ${flags}`);
    const empty = (flags & TRUNC) !== 0;
    const expected = written < 0
      ? empty ? "" : "0123456789"
      : empty
      ? "\0\0\0\0ab"
      : (flags & APPEND) !== 0
      ? "0123456789ab"
      : "0123ab6789";
    assertEquals(text(rig.tree, "f"), expected);
  }
  const rig = new Rig().walk(1, "f");
  assertEquals([rig.errno(LOPEN, 1, 3), rig.server.fids], [EINVAL, 2], "no fourth way");
  assertEquals([rig.errno(LOPEN, 1, DIRECTORY), rig.errno(LOPEN, 1, 0)], [ENOTDIR, 0]);
  assertEquals(rig.errno(LOPEN, 1, 0), EINVAL, "once");
  rig.walk(3, "f");
  const { path } = rig.tree.stat(["f"]);
  assertEquals(numbers(rig.good(LOPEN, 3, 0), 0, 1, 4, 8, 4), [0, 0, Number(path), 0]);
  rig.walk(2, "d");
  assertEquals([WRONLY, RDWR].map((flags) => rig.errno(LOPEN, 2, flags)), [EISDIR, EISDIR]);
  assertEquals([rig.errno(LOPEN, 2, DIRECTORY), rig.errno(LOPEN, 2, 0)], [0, EINVAL]);
});

Deno.test("9p server: a read has what there is, what is asked for and what there is room for", () => {
  const rig = new Rig().open(RDWR, "f");
  const rows: readonly (readonly [number, number, number, string])[] = [
    [0, 10, 14, "0123456789"],
    [0, 10, 13, "012345678"],
    [0, 9, 100, "012345678"],
    [0, 11, 100, "0123456789"],
    [9, 5, 100, "9"],
    [10, 5, 100, ""],
    [0, 5, 4, ""],
    [0, 5, 3, ""],
  ];
  for (const [offset, length, room, expected] of rows) {
    assertEquals(rig.read(1, offset, length, room), expected);
  }
  // The same of an extended attribute.
  rig.tree.xattrs!.set(["f"], "user.a", new TextEncoder().encode("0123456789"));
  rig.walk(2, "f");
  assertEquals(numbers(rig.good(XATTRWALK, 2, 3, "user.a"), 0, 8), [10]);
  for (const [offset, length, room, expected] of rows) {
    assertEquals(rig.read(3, offset, length, room), expected);
  }
});

Deno.test("9p server: a write has all of its bytes, and ends where a number can say", () => {
  const rig = new Rig().open(RDWR, "f");
  assertEquals([rig.write(1, 0, "abc", 4), rig.write(1, 0, "abc", 3)], [-EINVAL, 3]);
  assertEquals([rig.write(1, 2 ** 53 - 1, "a"), rig.write(1, 2 ** 53 - 2, "a")], [-EFBIG, -EFBIG]);
  assertEquals(text(rig.tree, "f"), "abc3456789");
  // A tree with room for any file.
  const ends: number[] = [];
  const open = rig.tree.open.bind(rig.tree);
  rig.tree.open = (path: P9Path, options: P9HandleOptions) =>
    Object.assign(open(path, options), {
      write: (offset: number, { length }: Uint8Array) => void ends.push(offset + length),
    });
  rig.walk(2, "f").good(LOPEN, 2, RDWR);
  assertEquals([rig.write(2, 2 ** 53 - 1, "a"), rig.write(2, 2 ** 53 - 2, "a")], [-EFBIG, 1]);
  assertEquals(ends, [2 ** 53 - 1]);
});

Deno.test("9p server: a new file is made, or opened if it is there and may be", () => {
  const create = (name: string, flags: number): [number, Rig] => {
    const rig = new Rig().walk(1);
    return [rig.errno(LCREATE, 1, name, flags, 0o640, 0), rig];
  };
  for (
    const [name, flags, errno] of [
      ["new", RDWR, 0],
      ["new", RDWR | EXCL, 0],
      ["f", RDWR, 0],
      ["f", RDWR | EXCL, EEXIST],
      ["d", RDWR, EISDIR],
    ] as const
  ) {
    const [found, rig] = create(name, flags);
    assertEquals([found, name === "new" ? rig.tree.stat(["new"]).mode & 0o777 : 0o640], [
      errno,
      0o640,
    ]);
    // The fid is the file's, if there is one; else still the directory's.
    assertEquals(rig.errno(READ, 1, u64(0), 1), errno === 0 ? 0 : EBADF);
    assertEquals(numbers(rig.good(GETATTR, 1, u64(0)), 8, 1), [errno === 0 ? 0 : 0x80]);
  }
  const rig = new Rig().walk(1);
  const made = rig.good(LCREATE, 1, "new", RDWR, 0o640, 0);
  const { path } = rig.tree.stat(["new"]);
  assertEquals(numbers(made, 0, 1, 4, 8, 4), [0, 0, Number(path), 0]);
  assertEquals(rig.errno(LCREATE, 1, "other", RDWR, 0o640, 0), EINVAL);
});

Deno.test("9p server: a walk stops at what is no directory or not there, and only a whole one counts", () => {
  const rows: readonly (readonly [readonly string[], number | string])[] = [
    [[], 0],
    [["f"], 1],
    [["d", "g"], 2],
    [["d", "..", "f"], 3],
    [["d", ".", "g"], 3],
    [["f", ".."], 1],
    [["f", "x"], 1],
    [["d", "none"], 1],
    [["none"], `errno ${ENOENT}`],
  ];
  for (const [names, expected] of rows) {
    const rig = new Rig();
    const [kind, body] = rig.send(WALK, [0, 1, u16(names.length), ...names]);
    const found = kind === 7 ? `errno ${numbers(body, 0, 4)}` : numbers(body, 0, 2)[0];
    assertEquals([found, rig.server.fids], [expected, expected === names.length ? 2 : 1]);
    if (kind !== 7) assertEquals(body.length, 2 + 13 * Number(expected));
  }
  const rig = new Rig().walk(1, "f");
  rig.steps = 0;
  assertEquals(rig.errno(WALK, 1, 2, u16(1), ".."), ENOTDIR);
  assertEquals(rig.steps, 2, "names, each as deep as where the walk begins");
  const names = (count: number): Field[] => [u16(count), ...new Array<string>(count).fill(".")];
  assertEquals([17, 16].map((count) => rig.errno(WALK, 0, 9, ...names(count))), [EINVAL, 0]);
  rig.good(CLUNK, 9);
  // A fid moves if it is its own target, and no other may be.
  assertEquals([rig.errno(WALK, 0, 1, u16(0)), rig.errno(WALK, 1, 1, u16(0))], [EINVAL, 0]);
  rig.walk(2, "d").good(WALK, 2, 2, u16(1), "g");
  assertEquals([rig.server.fids, numbers(rig.good(GETATTR, 2, u64(0)), 49, 8)], [3, [4]]);
});

Deno.test("9p server: a directory is listed as it was at its start, in as many parts as there is room for", () => {
  const rig = new Rig().open(DIRECTORY);
  rig.steps = 0;
  rig.list(1, 0, 4096);
  assertEquals(rig.steps, 2 + 4, "each name that is kept, and each entry");
  const all: [number, number, string][] = [[4, 1, "."], [4, 2, ".."], [4, 3, "d"], [8, 4, "f"]];
  assertEquals(rig.list(1, 0, 4096), all);
  // 25 bytes of an entry with one letter, 26 with two.
  assertEquals([rig.list(1, 0, 101), rig.list(1, 0, 100)], [all, all.slice(0, 3)]);
  assertEquals([rig.list(1, 0, 4096, 105), rig.list(1, 0, 4096, 104)], [all, all.slice(0, 3)]);
  assertEquals([rig.list(1, 3, 25), rig.list(1, 4, 25)], [all.slice(3), []]);
  assertEquals(rig.errno(READDIR, 1, u64(3), 24), EINVAL, "nothing at all would be the end");
  // Names that went are left out, and new ones are seen from the start alone.
  rig.tree.remove(["f"], false);
  rig.tree.symlink(["l"], "x");
  assertEquals(rig.list(1, 2, 4096), [[4, 3, "d"]]);
  assertEquals(rig.list(1, 0, 4096).slice(2), [[4, 3, "d"], [10, 4, "l"]]);
  rig.walk(2, "d");
  assertEquals(rig.errno(READDIR, 2, u64(0), 4096), EBADF, "it is not open");
  rig.good(LOPEN, 2, 0);
  const [kind, , data] = rig.send(READDIR, [2, u64(0), 4096]);
  const idOf = (at: number): number[] => numbers(data, at, 1, 4, 8);
  assertEquals(kind, READDIR + 1);
  assertEquals([idOf(0), idOf(25)], [
    [0x80, 0, Number(rig.tree.stat(["d"]).path)],
    [0x80, 0, Number(rig.tree.stat([]).path)],
  ]);
});

Deno.test("9p server: attributes are told in their places", () => {
  const rig = new Rig().walk(1, "f");
  const more = {
    uid: 5,
    gid: 6,
    links: 7,
    device: 8n,
    size: 513,
    atime: 1500,
    mtime: 2250,
    ctime: 3001.5,
  };
  rig.tree.stat = () => ({ mode: 0o100640, path: 99n, ...more });
  const sizes = [8, 1, 4, 8, 4, 4, 4, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8];
  const found = numbers(rig.good(GETATTR, 1, u64(0x7ff)), 0, ...sizes);
  assertEquals(found, [
    ...[0x7ff, 0, 0, 99, 0o100640, 5, 6, 7, 8, 513, 4096, 2],
    ...[1, 500_000_000, 2, 250_000_000, 3, 1_000_000, 0, 0, 0, 0],
  ]);
  // Of what a tree does not know there is one link, and else nothing.
  rig.tree.stat = () => ({ mode: 0o100640, path: 99n, size: 1, blocks: 3, mtime: -1 });
  assertEquals(numbers(rig.good(GETATTR, 1, u64(0x7ff)), 0, ...sizes).slice(5), [
    ...[0, 0, 1, 0, 1, 4096, 3],
    ...new Array(10).fill(0),
  ]);
});

Deno.test("9p server: each attribute is set by its own bit, and the times by the clock without one", () => {
  const before = { mode: 0o644, uid: 0, gid: 0, size: 10, atime: 50, mtime: 50 };
  // Bits of Linux's P9_SETATTR_: what is changed.
  const rows: readonly (readonly [number, Partial<typeof before>])[] = [
    [0, {}],
    [1, { mode: 0o600 }],
    [2, { uid: 5 }],
    [4, { gid: 6 }],
    [8, { size: 3, mtime: 60 }],
    [16, { atime: 1234 }],
    [32, { mtime: 1234 }],
    [16 | 128, { atime: 7008 }],
    [32 | 256, { mtime: 9010 }],
    [128 | 256, {}],
  ];
  for (const [valid, changed] of rows) {
    let now = 50;
    const rig = new Rig(new MemoryTree({ f: "0123456789" }, { clock: () => now })).walk(1, "f");
    now = 60;
    rig.good(
      SETATTR,
      ...[1, valid, 0o600, 5, 6, u64(3), u64(7), u64(8_000_000), u64(9), u64(10_999_999)],
    );
    const { mode, uid, gid, size, atime, mtime } = rig.tree.stat(["f"]);
    assertEquals({ mode: mode & 0o7777, uid, gid, size, atime, mtime }, { ...before, ...changed });
  }
});

Deno.test("9p server: a file system says how much there is room for", () => {
  const rig = new Rig();
  rig.tree.space = () => ({ blockSize: 512, blocks: 10, free: 4, files: 20, freeFiles: 7 });
  assertEquals(numbers(rig.good(STATFS, 0), 0, 4, 4, 8, 8, 8, 8, 8, 8, 4), [
    ...[0x01021997, 512, 10, 4, 4, 20, 7, 0, 255],
  ]);
  assertEquals(rig.errno(STATFS, 9), EBADF);
});

Deno.test("9p server: links have a target that is text of 1 to 4095 bytes", () => {
  const rig = new Rig();
  const rows = [["", ENOENT], ["a\0b", ENOENT], ["x".repeat(4096), ENAMETOOLONG]] as const;
  for (const [target, errno] of rows) assertEquals(rig.errno(SYMLINK, 0, "l", target, 0), errno);
  for (const [name, length] of [["l", 1], ["m", 4095]] as const) {
    assertEquals(rig.good(SYMLINK, 0, name, "x".repeat(length), 0)[0], 2);
    rig.walk(length, name);
    assertEquals(numbers(rig.good(READLINK, length), 0, 2), [length]);
  }
});

Deno.test("9p server: nodes are made of each kind, where the tree has them", () => {
  const made: unknown[] = [];
  const rig = new Rig().walk(1, "f");
  rig.good(LINK, 0, 1, "link");
  assertEquals(rig.tree.stat(["link"]).path, rig.tree.stat(["f"]).path);
  const node = rig.good(MKNOD, 0, "file", 0o600, 0, 0, 0);
  assertEquals(numbers(node, 0, 1, 4, 8), [0, 0, Number(rig.tree.stat(["file"]).path)]);
  (rig.tree as MemoryTree).mknod = (path, mode, device) => {
    made.push([mode, device]);
    rig.tree.create(path, 0o600);
  };
  const mknod = (name: string, mode: number, major = 0, minor = 0): number =>
    rig.errno(MKNOD, 0, name, mode, major, minor, 0);
  assertEquals([mknod("a", 0o100600), mknod("b", 0o600), made], [0, 0, []]);
  assertEquals([0o040755, 0o120777, 0o170000].map((mode) => mknod("c", mode)), [
    EINVAL,
    EINVAL,
    EINVAL,
  ]);
  assertEquals([0o010600, 0o020600, 0o060600, 0o140600].map((mode, i) => mknod(`c${i}`, mode)), [
    0,
    0,
    0,
    0,
  ]);
  made.length = 0;
  assertEquals([mknod("p", 0o020600, 0xfff, 0xfffff), mknod("q", 0o020600, 0x102, 0x304)], [0, 0]);
  assertEquals(made, [[0o020600, 0xffff_ffffn], [0o020600, 0x0031_0204n]]);
  Object.assign(rig.tree, { mknod: undefined, link: undefined });
  assertEquals([mknod("g", 0o020600), mknod("g", 0o600)], [EOPNOTSUPP, 0]);
  assertEquals(rig.errno(LINK, 0, 1, "h"), EOPNOTSUPP);
});

Deno.test("9p server: an extended attribute is there or not, as the flags say", () => {
  const [CREATE, REPLACE] = [1, 2];
  // Whether it is there, flags, bytes, errno, and what is there afterwards.
  const rows: readonly (readonly [boolean, number, string, number, string | undefined])[] = [
    [false, 0, "new", 0, "new"],
    [true, 0, "new", 0, "new"],
    [false, CREATE, "new", 0, "new"],
    [true, CREATE, "new", EEXIST, "old"],
    [false, REPLACE, "new", ENODATA, undefined],
    [true, REPLACE, "new", 0, "new"],
    [true, 0, "", 0, undefined],
    [false, 0, "", ENODATA, undefined],
  ];
  for (const [there, flags, value, errno, expected] of rows) {
    const rig = new Rig().walk(1, "f");
    const xattrs = rig.tree.xattrs!;
    if (there) xattrs.set(["f"], "user.a", new TextEncoder().encode("old"));
    rig.good(XATTRCREATE, 1, "user.a", u64(value.length), flags);
    assertEquals(rig.server.usage(), { items: 2, bytes: value.length });
    if (value !== "") assertEquals(rig.write(1, 0, value), value.length);
    assertEquals([rig.errno(CLUNK, 1), rig.server.fids, rig.server.usage().bytes], [errno, 1, 0]);
    const bytes = xattrs.get(["f"], "user.a");
    assertEquals(bytes && new TextDecoder().decode(bytes), expected);
  }
});

Deno.test("9p server: what names and bytes of extended attributes are refused", () => {
  const rig = new Rig().walk(1, "f");
  const create = (name: string, size = 4, flags = 0): number =>
    rig.errno(XATTRCREATE, 1, name, u64(size), flags);
  assertEquals([create(""), create("a\0b"), create("a", 4, 4)], [EINVAL, EINVAL, EINVAL]);
  assertEquals([create("\u00e4".repeat(128)), create("a", 65537)], [ERANGE, E2BIG]);
  assertEquals([create("a"), create("a")], [0, EINVAL]);
  for (const [fid, name, size] of [[11, "n".repeat(255), 4], [12, "a", 65536]] as const) {
    assertEquals(rig.walk(fid, "f").errno(XATTRCREATE, fid, name, u64(size), 0), 0);
    assertEquals(rig.errno(CLUNK, fid), EINVAL, "no byte of it was written");
  }
  assertEquals(rig.write(1, 0, "abc", 4), -EINVAL);
  assertEquals([rig.write(1, 0, "ab"), rig.write(1, 0, "ab"), rig.write(1, 2, "abc")], [
    2,
    -ENOSPC,
    -ENOSPC,
  ]);
  assertEquals([rig.write(1, 2, "cd"), rig.read(1, 0, 4)], [2, `errno ${EBADF}`]);
  assertEquals(rig.errno(CLUNK, 1), 0);
  // One that is too long for a message to say is not read.
  rig.walk(1, "f");
  const get = rig.tree.xattrs!.get;
  for (const [length, errno] of [[65536, 0], [65537, E2BIG]] as const) {
    Object.assign(rig.tree.xattrs!, { get: () => new Uint8Array(length) });
    assertEquals(rig.errno(XATTRWALK, 1, 2, "a"), errno);
  }
  Object.assign(rig.tree.xattrs!, { get });
  assertEquals(rig.write(2, 0, "a"), -EBADF);
  assertEquals(numbers(rig.good(XATTRWALK, 1, 3, ""), 0, 8), [2]);
  assertEquals(rig.read(3, 0, 10), "a\0");
  assertEquals([rig.errno(XATTRWALK, 3, 4, ""), rig.errno(XATTRWALK, 1, 3, "")], [EINVAL, EINVAL]);
  // The bytes that a fid keeps are counted as long as it is there.
  assertEquals(rig.server.usage(), { items: 4, bytes: 65538 });
  assertEquals([rig.errno(CLUNK, 2), rig.server.usage().bytes], [0, 2]);
  Object.assign(rig.tree, { xattrs: undefined });
  assertEquals([rig.errno(XATTRWALK, 1, 5, ""), create("a")], [EOPNOTSUPP, EOPNOTSUPP]);
});

Deno.test("9p server: locks are taken of what is open, tell who has them, and go with their fid", () => {
  const [READ_LOCK, WRITE_LOCK, UNLOCK] = [0, 1, 2];
  const rig = new Rig().open(RDWR, "f");
  const range = (start: number, length: number, process: number, client = "me"): Field[] => [
    ...[u64(start), u64(length), process, client],
  ];
  const lock = (type: number, ...more: Field[]): Uint8Array =>
    rig.good(LOCK, 1, u8(type), 0, ...more);
  const ask = (...more: Field[]): [number[], string] => {
    const found = rig.good(GETLOCK, 1, u8(WRITE_LOCK), ...more);
    return [numbers(found, 0, 1, 8, 8, 4), new TextDecoder().decode(found.subarray(23))];
  };
  assertEquals([...lock(READ_LOCK, ...range(5, 2, 7))], [0]);
  assertEquals(rig.server.usage().items, 3);
  assertEquals(ask(...range(0, 0, 8, "you")), [[READ_LOCK, 5, 2, 7], "me"]);
  assertEquals(ask(...range(7, 1, 8, "you")), [[UNLOCK, 7, 1, 8], "you"]);
  assertEquals([...lock(WRITE_LOCK, ...range(6, 1, 8))], [1]);
  const errno = (type: number, ...more: Field[]): number =>
    rig.errno(LOCK, 1, u8(type), 0, ...more);
  assertEquals([errno(3, ...range(0, 1, 7)), errno(UNLOCK, ...range(0, 1, 7))], [EINVAL, 0]);
  assertEquals(errno(0, ...range(0, 1, 7, "n".repeat(256))), ENAMETOOLONG);
  assertEquals(errno(0, ...range(0, 1, 7, "n".repeat(255))), 0);
  rig.walk(2, "f");
  assertEquals(rig.errno(LOCK, 2, u8(0), 0, ...range(0, 1, 7)), EBADF);
  // An open directory has locks, too.
  rig.walk(3, "d").good(LOPEN, 3, 0);
  assertEquals(rig.errno(LOCK, 3, u8(0), 0, ...range(0, 1, 7)), 0);
  assertEquals(rig.server.usage().items, 4 + 3);
  rig.good(CLUNK, 1);
  assertEquals(rig.server.usage().items, 3 + 1);
  rig.server.reset();
  assertEquals([rig.server.usage(), rig.server.msize], [{ items: 0, bytes: 0 }, 0]);
});

Deno.test("9p server: what is renamed takes its fids along, and those of others stay", () => {
  const rig = new Rig().walk(1, "d").walk(2, "d", "g").walk(3, "f");
  rig.steps = 0;
  rig.good(RENAMEAT, 0, "d", 0, "e");
  assertEquals(rig.steps, 4 + 1 + 2, "each fid, and the depth of those that move");
  const kinds = (): number[] => [1, 2, 3].map((fid) => rig.errno(GETATTR, fid, u64(0)));
  assertEquals(kinds(), [0, 0, 0]);
  rig.good(RENAMEAT, 1, "g", 0, "h");
  assertEquals([kinds(), rig.tree.list([]), rig.tree.list(["e"])], [
    [0, 0, 0],
    ["e", "f", "h"],
    [],
  ]);
});

Deno.test("9p server: files and directories are removed each by their own flag", () => {
  const rig = new Rig();
  const made = rig.good(MKDIR, 0, "empty", 0o700, 0);
  assertEquals(numbers(made, 0, 1, 4, 8), [0x80, 0, Number(rig.tree.stat(["empty"]).path)]);
  assertEquals(rig.tree.stat(["empty"]).mode & 0o777, 0o700);
  const unlink = (name: string, flags: number): number => rig.errno(UNLINKAT, 0, name, flags);
  assertEquals([unlink("f", 0x200), unlink("empty", 0), unlink("none", 0)], [
    ENOTDIR,
    EISDIR,
    ENOENT,
  ]);
  assertEquals([unlink("f", 0), unlink("empty", 0x200), rig.tree.list([])], [0, 0, ["d"]]);
  for (const name of ["g", "d"]) {
    rig.walk(1, ...name === "g" ? ["d", "g"] : ["d"]);
    assertEquals([rig.errno(REMOVE, 1), rig.server.fids], [0, 1]);
  }
  assertEquals(rig.tree.list([]), []);
});

Deno.test("9p server: files are written through, if they are open", () => {
  const synced: string[] = [];
  const tree = new MemoryTree({ f: "1" });
  const open = tree.open.bind(tree);
  tree.open = (path: P9Path, options: P9HandleOptions) =>
    Object.assign(open(path, options), { sync: () => void synced.push(path.join("/")) });
  const rig = new Rig(tree).walk(2, "f");
  rig.good(FSYNC, 2, 0);
  assertEquals(synced, []);
  rig.open(RDWR, "f").good(FSYNC, 1, 0);
  assertEquals(synced, ["f"]);
});

Deno.test("9p server: 256 files and directories are open at a time", () => {
  const rig = new Rig();
  for (let fid = 1; fid <= 256; fid++) {
    rig.walk(fid, ...fid % 2 === 0 ? ["f"] : ["d"]).good(LOPEN, fid, 0);
  }
  rig.walk(257, "f").walk(258, "d");
  const more = (): number[] => [257, 258].map((fid) => rig.errno(LOPEN, fid, 0));
  assertEquals(more(), [EMFILE, EMFILE]);
  rig.good(CLUNK, 1);
  assertEquals(more(), [0, EMFILE]);
  rig.good(CLUNK, 2);
  assertEquals(more(), [EINVAL, 0]);
  // All are open after a snapshot, too, and closed by a reset.
  rig.server.restore(structuredClone(rig.server.snapshot()));
  rig.walk(1, "f");
  assertEquals(rig.errno(LOPEN, 1, 0), EMFILE);
  rig.server.reset();
  rig.good(VERSION, 8192, "9P2000.L");
  rig.good(ATTACH, 0, 0xffffffff, "me", "", 0);
  for (let fid = 1; fid <= 256; fid++) rig.walk(fid, "f").good(LOPEN, fid, 0);
});

Deno.test("9p server: a snapshot has names of directories, locks and attributes", () => {
  const rig = new Rig().open(DIRECTORY);
  rig.list(1, 0, 4096);
  // 64 bytes of each name, and two of each letter.
  assertEquals(rig.server.usage(), { items: 2 + 2, bytes: 2 * 66 });
  rig.walk(2, "f").good(XATTRCREATE, 2, "a", u64(5), 0);
  rig.good(LOCK, 1, u8(0), 0, u64(0), u64(0), 7, "me");
  const state = structuredClone(rig.server.snapshot()) as P9ServerState;
  assertEquals([state.msize, rig.server.usage()], [8192, { items: 3 + 3, bytes: 2 * 66 + 5 }]);
  const [, root] = state.fids[0]!;
  assertEquals([root.path, root.access, root.append, root.opened], [[], 0, false, false]);
  rig.server.reset();
  rig.server.restore(state);
  assertEquals([rig.server.msize, rig.server.usage()], [8192, { items: 3 + 3, bytes: 2 * 66 + 5 }]);
  // Names are those of then.
  rig.tree.create(["a"], 0o644);
  assertEquals(rig.list(1, 2, 4096).map(([, , name]) => name), ["d", "f"]);
  rig.good(CLUNK, 1);
  assertEquals(rig.server.usage(), { items: 2, bytes: 5 });
  rig.walk(1, "f").good(LOPEN, 1, RDWR);
  const open = structuredClone(rig.server.snapshot());
  rig.tree.remove(["f"], false);
  rig.server.restore(open);
  assertEquals([rig.server.fids, rig.read(1, 0, 1)], [3, `errno ${EBADF}`], "the file is gone");
});

Deno.test("9p server: names of open directories have 8 MiB, and not a byte more", () => {
  assertEquals(SERVER_BOUNDS, { items: 16384 + (8 << 20) / 64 + 1024, bytes: 8 << 20 });
  const rig = new Rig().open(DIRECTORY);
  // 1024 names of 4064 letters are 8 MiB with what each counts for.
  const names = Array.from({ length: 1024 }, (_, i) => String(i).padStart(4064, "n"));
  rig.tree.list = () => names;
  assertEquals([rig.list(1, 1026, 8), rig.list(1, 0, 100).length], [[], 2]);
  assertEquals(rig.server.usage(), { items: 2 + 1024, bytes: 8 << 20 });
  rig.list(1, 0, 100);
  rig.tree.list = () => [...names.slice(1), `${names[0]}n`];
  assertEquals(rig.errno(READDIR, 1, u64(0), 100), ENOMEM);
  rig.walk(2, "f");
  assertEquals(rig.errno(XATTRCREATE, 2, "a", u64(1), 0), ENOMEM);
});

Deno.test("9p server: a tree that takes no changes is not asked for one", () => {
  const rig = new Rig(new MemoryTree({ f: "1" }, { readOnly: true })).walk(1, "f");
  Object.assign(rig.tree, {
    create() {},
    mkdir() {},
    symlink() {},
    mknod() {},
    link() {},
    rename() {},
    remove() {},
    change() {},
  });
  const times = [u64(0), u64(0), u64(0), u64(0), u64(0)];
  const requests: readonly (readonly [number, ...Field[]])[] = [
    [LCREATE, 0, "n", RDONLY, 0, 0],
    [SETATTR, 1, 1, 0, 0, 0, ...times],
    [SYMLINK, 0, "n", "x", 0],
    [MKDIR, 0, "n", 0, 0],
    [MKNOD, 0, "n", 0, 0, 0, 0],
    [LINK, 0, 1, "n"],
    [XATTRCREATE, 1, "n", u64(1), 0],
    [UNLINKAT, 0, "f", 0],
    [RENAMEAT, 0, "f", 0, "g"],
    [LOPEN, 1, WRONLY],
    [LOPEN, 1, RDWR],
    [LOPEN, 1, RDONLY | TRUNC],
    [REMOVE, 1],
  ];
  for (const [type, ...fields] of requests) {
    assertEquals(rig.errno(type, ...fields), EROFS, `${type}`);
  }
  assertEquals(rig.server.fids, 1);
});
