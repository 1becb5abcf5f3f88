import { nameIn } from "../bits.ts";
import { type Layout, layout } from "../layout.ts";

/** Feature bits of the 9P transport (Linux `include/uapi/linux/virtio_9p.h`). */
export const P9Feature = { MOUNT_TAG: 0 } as const;
/** A feature bit of the 9P transport. */
export type P9Feature = typeof P9Feature[keyof typeof P9Feature];

/** `struct virtio_9p_config`; the tag's bytes follow, without a NUL. */
export const P9_CONFIG: Layout<"tag_len"> = layout({ tag_len: "u16" }, 2);

/** The dialect of 9P that Linux speaks. */
export const P9_VERSION = "9P2000.L";
/** The answer of a server that does not speak the client's dialect. */
export const P9_UNKNOWN_VERSION = "unknown";
/** Smallest message size that a session may have, in bytes. */
export const P9_MIN_MSIZE = 4096;
/** Bytes of a message reserved for the header of a read or a write. */
export const P9_IO_HEADER = 24;
/** The tag of Tversion. */
export const P9_NO_TAG = 0xffff;
/** The value that stands for "no fid". */
export const P9_NO_FID = 0xffffffff;
/** The value that stands for "no user" or "no group": new files then belong to the server's own. */
export const P9_NO_ID = 0xffffffff;
/** Most names of one Twalk. */
export const P9_MAX_WALK = 16;
/** Most bytes of a name. */
export const P9_MAX_NAME = 255;

/** Requests, `T` in the documents; the answer's type is one more. */
export const P9Type = {
  /** Only as an answer (7). */
  LERROR: 6,
  STATFS: 8,
  LOPEN: 12,
  LCREATE: 14,
  SYMLINK: 16,
  MKNOD: 18,
  RENAME: 20,
  READLINK: 22,
  GETATTR: 24,
  SETATTR: 26,
  XATTRWALK: 30,
  XATTRCREATE: 32,
  READDIR: 40,
  FSYNC: 50,
  LOCK: 52,
  GETLOCK: 54,
  LINK: 70,
  MKDIR: 72,
  RENAMEAT: 74,
  UNLINKAT: 76,
  VERSION: 100,
  AUTH: 102,
  ATTACH: 104,
  FLUSH: 108,
  WALK: 110,
  READ: 116,
  WRITE: 118,
  CLUNK: 120,
  REMOVE: 122,
} as const;
/** A request. */
export type P9Type = typeof P9Type[keyof typeof P9Type];

/** The header of every message. */
export const P9_HEADER: Layout<"size" | "type" | "tag"> = layout({
  size: "u32",
  type: "u8",
  tag: "u16",
}, 7);
/** The identity of a file on its server. */
export const P9_QID: Layout<"type" | "version" | "path"> = layout({
  type: "u8",
  version: "u32",
  path: "u64",
}, 13);
/** Answer of Tgetattr, after the header. */
export const P9_ATTRIBUTES: Layout<
  | "valid"
  | "qid"
  | "mode"
  | "uid"
  | "gid"
  | "nlink"
  | "rdev"
  | "size"
  | "blksize"
  | "blocks"
  | "atime_sec"
  | "atime_nsec"
  | "mtime_sec"
  | "mtime_nsec"
  | "ctime_sec"
  | "ctime_nsec"
  | "btime_sec"
  | "btime_nsec"
  | "gen"
  | "data_version"
> = layout({
  valid: "u64",
  qid: { bytes: 13 },
  mode: "u32",
  uid: "u32",
  gid: "u32",
  nlink: "u64",
  rdev: "u64",
  size: "u64",
  blksize: "u64",
  blocks: "u64",
  atime_sec: "u64",
  atime_nsec: "u64",
  mtime_sec: "u64",
  mtime_nsec: "u64",
  ctime_sec: "u64",
  ctime_nsec: "u64",
  btime_sec: "u64",
  btime_nsec: "u64",
  gen: "u64",
  data_version: "u64",
}, 153);
/** Answer of Tstatfs, after the header. */
export const P9_STATFS: Layout<
  | "type"
  | "bsize"
  | "blocks"
  | "bfree"
  | "bavail"
  | "files"
  | "ffree"
  | "fsid"
  | "namelen"
> = layout({
  type: "u32",
  bsize: "u32",
  blocks: "u64",
  bfree: "u64",
  bavail: "u64",
  files: "u64",
  ffree: "u64",
  fsid: "u64",
  namelen: "u32",
}, 60);

/** Kinds of files in a qid's first byte. */
export const P9QidType = { FILE: 0x00, SYMLINK: 0x02, DIRECTORY: 0x80 } as const;
/** A kind of file in a qid. */
export type P9QidType = typeof P9QidType[keyof typeof P9QidType];

/** Kinds of files in a directory's entries (`DT_*`). */
export const P9EntryType = { UNKNOWN: 0, DIRECTORY: 4, FILE: 8, SYMLINK: 10 } as const;
/** A kind of file in a directory's entries. */
export type P9EntryType = typeof P9EntryType[keyof typeof P9EntryType];

/** Kinds of files in a mode, under {@linkcode P9_MODE_KIND}. */
export const P9Mode = {
  FIFO: 0o010000,
  CHARACTER: 0o020000,
  DIRECTORY: 0o040000,
  BLOCK: 0o060000,
  FILE: 0o100000,
  SYMLINK: 0o120000,
  SOCKET: 0o140000,
} as const;
/** A kind of file in a mode. */
export type P9Mode = typeof P9Mode[keyof typeof P9Mode];
/** The bits of a mode that hold the kind of file. */
export const P9_MODE_KIND = 0o170000;

/** Flags of Tlopen and Tlcreate: the same on every architecture. */
export const P9OpenFlag = {
  READ: 0,
  WRITE: 1,
  READ_WRITE: 2,
  CREATE: 0o100,
  EXCLUSIVE: 0o200,
  TRUNCATE: 0o1000,
  APPEND: 0o2000,
  DATA_SYNC: 0o10000,
  DIRECT: 0o40000,
  LARGE_FILE: 0o100000,
  DIRECTORY: 0o200000,
  NO_FOLLOW: 0o400000,
  NO_ATIME: 0o1000000,
  SYNC: 0o4000000,
} as const;
/** A flag of Tlopen and Tlcreate. */
export type P9OpenFlag = typeof P9OpenFlag[keyof typeof P9OpenFlag];
/** Mask of the flags for reading and writing. */
export const P9_ACCESS = 3;
/** Flag of Tunlinkat: it is a directory. */
export const P9_REMOVE_DIRECTORY = 0x200;
/** The mask of Tgetattr for the fields of `stat`: mode to blocks. */
export const P9_GETATTR_BASIC = 0x7ff;
/** Bits of Tsetattr: what to set. */
export const P9SetAttribute = {
  MODE: 0x001,
  UID: 0x002,
  GID: 0x004,
  SIZE: 0x008,
  ATIME: 0x010,
  MTIME: 0x020,
  CTIME: 0x040,
  /** To the given time instead of now. */
  ATIME_SET: 0x080,
  /** To the given time instead of now. */
  MTIME_SET: 0x100,
} as const;
/** A bit of Tsetattr. */
export type P9SetAttribute = typeof P9SetAttribute[keyof typeof P9SetAttribute];

/** Kinds of a lock, in Tlock, Tgetlock and Rgetlock. */
export const P9LockType = { READ: 0, WRITE: 1, UNLOCK: 2 } as const;
/** A kind of a lock. */
export type P9LockType = typeof P9LockType[keyof typeof P9LockType];
/** Flags of Tlock. */
export const P9LockFlag = { BLOCK: 1, RECLAIM: 2 } as const;
/** A flag of Tlock. */
export type P9LockFlag = typeof P9LockFlag[keyof typeof P9LockFlag];
/** The word of Rlock. */
export const P9LockStatus = { SUCCESS: 0, BLOCKED: 1, ERROR: 2, GRACE: 3 } as const;
/** A word of Rlock. */
export type P9LockStatus = typeof P9LockStatus[keyof typeof P9LockStatus];
/** Flags of Txattrcreate: the attribute must not be there, or must. */
export const P9XattrFlag = { CREATE: 1, REPLACE: 2 } as const;
/** A flag of Txattrcreate. */
export type P9XattrFlag = typeof P9XattrFlag[keyof typeof P9XattrFlag];
/** Most bytes of an extended attribute, and of the list of their names. */
export const P9_MAX_XATTR = 65536;

/** Linux's error numbers, as Rlerror has them. */
export const P9Errno = {
  EPERM: 1,
  ENOENT: 2,
  EINTR: 4,
  EIO: 5,
  ENXIO: 6,
  E2BIG: 7,
  EBADF: 9,
  EAGAIN: 11,
  ENOMEM: 12,
  EACCES: 13,
  EBUSY: 16,
  EEXIST: 17,
  EXDEV: 18,
  ENODEV: 19,
  ENOTDIR: 20,
  EISDIR: 21,
  EINVAL: 22,
  ENFILE: 23,
  EMFILE: 24,
  ETXTBSY: 26,
  EFBIG: 27,
  ENOSPC: 28,
  ESPIPE: 29,
  EROFS: 30,
  EMLINK: 31,
  EPIPE: 32,
  ERANGE: 34,
  ENAMETOOLONG: 36,
  ENOSYS: 38,
  ENOTEMPTY: 39,
  ELOOP: 40,
  ENODATA: 61,
  EPROTO: 71,
  EMSGSIZE: 90,
  EOPNOTSUPP: 95,
  ENOBUFS: 105,
  ETIMEDOUT: 110,
  ESTALE: 116,
  EDQUOT: 122,
} as const;
/** One of Linux's error numbers. */
export type P9Errno = typeof P9Errno[keyof typeof P9Errno];
/** The name of one of Linux's error numbers. */
export type P9ErrnoName = keyof typeof P9Errno;

/**
 * The name of an error number, or `errno N`.
 *
 * @example
 * ```ts
 * import { p9ErrnoName } from "@vireo/hal";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals([p9ErrnoName(2), p9ErrnoName(9999)], ["ENOENT", "errno 9999"]);
 * ```
 */
export function p9ErrnoName(errno: number): string {
  return nameIn(P9Errno, errno) ?? `errno ${errno}`;
}
