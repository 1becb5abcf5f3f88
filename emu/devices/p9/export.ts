import { P9Errno, type P9ErrnoName, p9ErrnoName } from "@vireo/hal";

/** A place in a tree: the names from its root on, each of them checked. */
export type P9Path = readonly string[];

/** Attributes of a file in an exported tree. */
export interface P9Attributes {
  /** Kind and permissions, as `stat` has them. */
  readonly mode: number;
  /** Bytes. */
  readonly size: number;
  /** Numbers it in its tree. */
  readonly path: bigint;
  /** Whose it is. */
  readonly uid?: number;
  /** Whose group's it is. */
  readonly gid?: number;
  /** Hard links; 1 by default. */
  readonly links?: number;
  /** Blocks of 512 bytes; as many as its size needs by default. */
  readonly blocks?: number;
  /** When it was last read, in milliseconds since 1970. */
  readonly atime?: number;
  /** When its contents last changed. */
  readonly mtime?: number;
  /** When anything of it last changed. */
  readonly ctime?: number;
  /** The device that a device file stands for, as Linux's `dev_t` has it; 0 by default. */
  readonly device?: bigint;
}

/** Attributes that a driver wants to change. */
export interface P9AttributeChanges {
  /** Permissions. */
  readonly mode?: number;
  /** Bytes. */
  readonly size?: number;
  /** Whose it is. */
  readonly uid?: number;
  /** Whose group's it is. */
  readonly gid?: number;
  /** When it was last read, in milliseconds since 1970. */
  readonly atime?: number;
  /** When its contents last changed. */
  readonly mtime?: number;
}

/** Extended attributes of files: names and bytes. Methods are for the link itself where the file is one. */
export interface P9Xattrs {
  /** Names, sorted. */
  list(path: P9Path): readonly string[];
  /** The bytes of one; undefined if the file does not have it. */
  get(path: P9Path, name: string): Uint8Array | undefined;
  /** Sets one, which may be there already. */
  set(path: P9Path, name: string, value: Uint8Array): void;
  /** Removes one that is there. */
  remove(path: P9Path, name: string): void;
}

/** How much there is room for. */
export interface P9Space {
  /** Bytes of a block. */
  readonly blockSize: number;
  /** Blocks in all. */
  readonly blocks: number;
  /** Blocks that are free. */
  readonly free: number;
  /** Files in all. */
  readonly files: number;
  /** Files that there is room for. */
  readonly freeFiles: number;
}

/** An open file of an exported tree. */
export interface P9Handle extends Disposable {
  /** Reads; fewer bytes than asked for, or none, at the end. */
  read(offset: number, into: Uint8Array): number;
  /** Writes all bytes. */
  write(offset: number, bytes: Uint8Array): void;
  /** Makes what was written durable. */
  sync(): void;
  /** Reads the attributes of the open file. */
  stat(): P9Attributes;
  /** Changes its size. */
  truncate(size: number): void;
}

/** How to open a file. */
export interface P9HandleOptions {
  /** Whether it is read. */
  readonly read: boolean;
  /** Whether it is written. */
  readonly write: boolean;
  /** Whether its contents go. */
  readonly truncate: boolean;
  /** Whether every write goes to the end. */
  readonly append: boolean;
}

/**
 * A tree of files that a 9P device exports. Nothing of it follows a symbolic link, and what fails throws a
 * {@linkcode P9Refusal}, or an error of Deno's with a `code`.
 */
export interface P9Export {
  /** Whether it takes no changes. */
  readonly readOnly: boolean;
  /** Reads the attributes of a file; of a symbolic link, those of the link itself. */
  stat(path: P9Path): P9Attributes;
  /** Names in a directory, sorted. */
  list(path: P9Path): readonly string[];
  /** Looks at many entries of a directory at the cost of one walk to it; without it each is looked at by `stat`. */
  within?<T>(path: P9Path, use: (stat: (name: string) => P9Attributes) => T): T;
  /** Opens a file. */
  open(path: P9Path, options: P9HandleOptions): P9Handle;
  /** Makes an empty file where nothing is. */
  create(path: P9Path, mode: number): void;
  /** Makes a directory. */
  mkdir(path: P9Path, mode: number): void;
  /** Makes a symbolic link. */
  symlink(path: P9Path, target: string): void;
  /** Where a symbolic link points to. */
  readlink(path: P9Path): string;
  /** Removes an empty directory, or anything else. */
  remove(path: P9Path, directory: boolean): void;
  /** Moves a file or directory to a place where nothing, a file or an empty directory is. */
  rename(from: P9Path, to: P9Path): void;
  /** Changes a file. */
  change(path: P9Path, changes: P9AttributeChanges): void;
  /** Gives a file a second name where nothing is; without it links are refused. */
  link?(from: P9Path, to: P9Path): void;
  /** Makes a device file, a pipe or a socket where nothing is; without it they are refused. */
  mknod?(path: P9Path, mode: number, device: bigint): void;
  /** Extended attributes; without them, files have none and take none. */
  readonly xattrs?: P9Xattrs;
  /** How much there is room for. */
  space(): P9Space;
  /** Lets go of what it holds of the host; the device calls this when it is disposed itself. */
  [Symbol.dispose]?(): void;
}

/**
 * Why an exported tree does not do something.
 *
 * @example
 * ```ts
 * import { MemoryTree, P9Refusal } from "@vireo/emu/p9";
 * import { P9Errno } from "@vireo/hal";
 * import { assertEquals, assertThrows } from "@std/assert";
 *
 * const tree = new MemoryTree({ "a.txt": "x" });
 * const error = assertThrows(() => tree.stat(["b.txt"]), P9Refusal);
 * assertEquals(error.errno, P9Errno.ENOENT);
 * ```
 */
export class P9Refusal extends Error {
  /** Linux's error number. */
  readonly errno: number;

  /** Refuses with an error number. */
  constructor(errno: number) {
    super(p9ErrnoName(errno));
    this.name = "P9Refusal";
    this.errno = errno;
  }
}

/**
 * The error number of what was thrown; EIO for what has none.
 *
 * @example
 * ```ts
 * import { errnoOf, P9Refusal } from "@vireo/emu/p9";
 * import { P9Errno } from "@vireo/hal";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(errnoOf(new P9Refusal(P9Errno.ENOENT)), P9Errno.ENOENT);
 * assertEquals(errnoOf(new Error("of no kind")), P9Errno.EIO);
 * ```
 */
export function errnoOf(error: unknown): number {
  if (error instanceof P9Refusal) return error.errno;
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === "string" && code in P9Errno ? P9Errno[code as P9ErrnoName] : P9Errno.EIO;
}
