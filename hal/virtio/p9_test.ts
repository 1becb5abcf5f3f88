import { assertEquals } from "@std/assert";
import {
  P9_ATTRIBUTES,
  P9_CONFIG,
  P9_HEADER,
  P9_MODE_KIND,
  P9_QID,
  P9_REMOVE_DIRECTORY,
  P9_STATFS,
  P9Errno,
  p9ErrnoName,
  P9Feature,
  P9Mode,
  P9OpenFlag,
  P9QidType,
  P9SetAttribute,
  P9Type,
} from "./p9.ts";

Deno.test("9p: the numbers of Linux's virtio_9p.h and 9p.h", () => {
  assertEquals([P9Feature.MOUNT_TAG, P9_CONFIG.tag_len.offset, P9_CONFIG.SIZE], [0, 0, 2]);
  assertEquals([P9_HEADER.type.offset, P9_HEADER.tag.offset, P9_HEADER.SIZE], [4, 5, 7]);
  assertEquals([P9_QID.version.offset, P9_QID.path.offset, P9_QID.SIZE], [1, 5, 13]);
  const A = P9_ATTRIBUTES;
  assertEquals([A.qid.offset, A.mode.offset, A.uid.offset, A.gid.offset], [8, 21, 25, 29]);
  assertEquals([A.nlink.offset, A.size.offset, A.blocks.offset, A.mtime_sec.offset], [
    33,
    49,
    65,
    89,
  ]);
  assertEquals([A.data_version.offset, A.SIZE], [145, 153]);
  assertEquals([P9_STATFS.bfree.offset, P9_STATFS.namelen.offset, P9_STATFS.SIZE], [16, 56, 60]);
  const { LERROR, STATFS, LOPEN, LCREATE, SYMLINK, READLINK, GETATTR, SETATTR, READDIR } = P9Type;
  assertEquals([LERROR, STATFS, LOPEN, LCREATE, SYMLINK], [6, 8, 12, 14, 16]);
  assertEquals([READLINK, GETATTR, SETATTR, READDIR, P9Type.FSYNC], [22, 24, 26, 40, 50]);
  assertEquals([P9Type.MKDIR, P9Type.RENAMEAT, P9Type.UNLINKAT], [72, 74, 76]);
  assertEquals([P9Type.VERSION, P9Type.ATTACH, P9Type.FLUSH, P9Type.WALK], [100, 104, 108, 110]);
  assertEquals([P9Type.READ, P9Type.WRITE, P9Type.CLUNK, P9Type.REMOVE], [116, 118, 120, 122]);
  const { CREATE, EXCLUSIVE, TRUNCATE, APPEND, DIRECTORY, SYNC } = P9OpenFlag;
  assertEquals([CREATE, EXCLUSIVE, TRUNCATE, APPEND], [0x40, 0x80, 0x200, 0x400]);
  assertEquals([DIRECTORY, SYNC, P9_REMOVE_DIRECTORY], [0x10000, 0x100000, 0x200]);
  assertEquals([P9Mode.DIRECTORY, P9Mode.FILE, P9Mode.SYMLINK], [0x4000, 0x8000, 0xa000]);
  assertEquals([P9_MODE_KIND, P9QidType.DIRECTORY, P9QidType.SYMLINK], [0xf000, 128, 2]);
  assertEquals(Object.values(P9SetAttribute), [1, 2, 4, 8, 16, 32, 64, 128, 256]);
});

Deno.test("9p: error numbers have Linux's names", () => {
  assertEquals([P9Errno.ENOENT, P9Errno.EEXIST, P9Errno.ENOTEMPTY, P9Errno.ELOOP], [2, 17, 39, 40]);
  assertEquals([p9ErrnoName(2), p9ErrnoName(39), p9ErrnoName(4711)], [
    ...["ENOENT", "ENOTEMPTY", "errno 4711"],
  ]);
});
