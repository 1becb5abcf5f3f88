import fs from "node:fs";
import { P9Errno } from "@vireo/hal";
import {
  type P9AttributeChanges,
  type P9Attributes,
  type P9Export,
  type P9Handle,
  type P9HandleOptions,
  type P9Path,
  P9Refusal,
  type P9Space,
} from "./export.ts";

/** Options of {@linkcode HostTree}. */
export interface HostTreeOptions {
  /** Whether it takes no changes. */
  readonly readOnly?: boolean;
}

/** Answer to `statfs`: Deno cannot tell. */
const SPACE: P9Space = {
  blockSize: 4096,
  blocks: 1 << 28,
  free: 1 << 27,
  files: 1 << 20,
  freeFiles: 1 << 19,
};

const ARM = Deno.build.arch === "aarch64";
/** Flags of `open` as Linux has them: two of them differ on arm64 (`arch/arm64/include/uapi/asm/fcntl.h`). */
const O = {
  RDONLY: 0,
  WRONLY: 1,
  RDWR: 2,
  CREAT: 0o100,
  EXCL: 0o200,
  APPEND: 0o2000,
  NONBLOCK: 0o4000,
  DIRECTORY: ARM ? 0o40000 : 0o200000,
  NOFOLLOW: ARM ? 0o100000 : 0o400000,
  PATH: 0o10000000,
} as const;
/** A place, whatever is there, a symbolic link itself included. */
const PLACE = O.PATH | O.NOFOLLOW;
/** A directory and no link to one. */
const DIRECTORY = PLACE | O.DIRECTORY;

/** The path behind a held descriptor: the file itself, whatever its name is by now. */
const at = (fd: number): string => `/proc/self/fd/${fd}`;

/**
 * A directory of the host. Nothing outside of it is reached: names have no slashes, `..` stops at the root, and no
 * symbolic link is followed, neither on the way nor at its end; the driver gets its text.
 *
 * That holds while others change the tree, another device that exports it included: every step starts from a
 * directory that is held open, and opens the next one only if it is a directory and no link (`openat` with
 * `O_NOFOLLOW`, by way of `/proc/self/fd`). What is not protected: a directory that the host moves out of the tree
 * while a request has it open is still reached by that request; hard links, mounts and bind mounts in the tree lead
 * to where the host made them lead.
 *
 * Device files and extended attributes are refused with EOPNOTSUPP: Deno has no call for either. Locks are the
 * server's own, and hinder nobody on the host.
 *
 * @example
 * ```ts
 * import { HostTree } from "@vireo/emu/p9";
 * import { assertEquals } from "@std/assert";
 *
 * const folder = await Deno.makeTempDir();
 * await Deno.writeTextFile(`${folder}/poem.txt`, "Files");
 * {
 *   using tree = new HostTree(folder, { readOnly: true });
 *   assertEquals(tree.list([]), ["poem.txt"]);
 *   assertEquals(Number(tree.stat(["poem.txt"]).size), 5);
 * }
 * await Deno.remove(folder, { recursive: true });
 * ```
 */
export class HostTree implements P9Export, Disposable {
  /** Whether it takes no changes. */
  readonly readOnly: boolean;
  readonly #root: number;
  readonly #device: number;
  /** Small numbers for the file systems that are mounted below, so that files keep theirs apart. */
  readonly #devices = new Map<number, bigint>();
  #closed = false;

  /**
   * Exports a directory, which is held open until the tree is disposed.
   *
   * @throws {Deno.errors.NotFound} If it is not there. {TypeError} If it is not a directory.
   */
  constructor(root: string, options: HostTreeOptions = {}) {
    this.readOnly = options.readOnly ?? false;
    const path = Deno.realPathSync(root);
    const info = Deno.statSync(path);
    if (!info.isDirectory) throw new TypeError(`Cannot export ${root}: it must be a directory`);
    this.#root = fs.openSync(path, DIRECTORY);
    this.#device = info.dev;
  }

  /** Lets go of the directory. */
  [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#closed = true;
    fs.closeSync(this.#root);
  }

  /** Reads the attributes of a file. */
  stat(path: P9Path): P9Attributes {
    return this.#hold(path, (fd) => this.#attributes(fs.fstatSync(fd)));
  }

  /** Names in a directory. */
  list(path: P9Path): readonly string[] {
    return this.#enter(path, (fd) => fs.readdirSync(at(fd)).sort());
  }

  /** Looks at entries of a directory, which is held meanwhile. */
  within<T>(path: P9Path, use: (stat: (name: string) => P9Attributes) => T): T {
    return this.#enter(
      path,
      (fd) => use((name) => this.#attributes(fs.lstatSync(`${at(fd)}/${name}`))),
    );
  }

  /** Opens a regular file; others might block the host. */
  open(path: P9Path, { read, write, truncate, append }: P9HandleOptions): P9Handle {
    const access = !write ? O.RDONLY : read ? O.RDWR : O.WRONLY;
    const handle = this.#hold(
      path,
      (fd) => this.#openHeld(fd, fs.fstatSync(fd), access | (append ? O.APPEND : 0)),
    );
    if (truncate) handle.truncate(0);
    return handle;
  }

  /** Opens what is held, whatever has its name by now. */
  #openHeld(held: number, info: fs.Stats, flags: number): P9Handle {
    if (info.isDirectory()) throw new P9Refusal(P9Errno.EISDIR);
    if (info.isSymbolicLink()) throw new P9Refusal(P9Errno.ELOOP);
    if (!info.isFile()) throw new P9Refusal(P9Errno.EOPNOTSUPP);
    const append = (flags & O.APPEND) !== 0;
    const fd = fs.openSync(at(held), flags | O.NONBLOCK);
    return {
      read: (offset, into) => {
        let done = 0;
        while (done < into.length) {
          const count = fs.readSync(fd, into, done, into.length - done, offset + done);
          if (count === 0) break;
          done += count;
        }
        return done;
      },
      write: (offset, bytes) => {
        for (let done = 0; done < bytes.length;) {
          const place = append ? null : offset + done;
          done += fs.writeSync(fd, bytes, done, bytes.length - done, place);
        }
      },
      sync: () => fs.fsyncSync(fd),
      stat: () => this.#attributes(fs.fstatSync(fd)),
      truncate: (size) => fs.ftruncateSync(fd, size),
      [Symbol.dispose]: () => fs.closeSync(fd),
    };
  }

  /** Makes an empty file. */
  create(path: P9Path, mode: number): void {
    this.#in(path, (place) => {
      // O_EXCL follows no link.
      const fd = fs.openSync(place, O.WRONLY | O.CREAT | O.EXCL | O.NOFOLLOW, mode & 0o777);
      // The host's umask must not matter.
      fs.fchmodSync(fd, mode & 0o777);
      fs.closeSync(fd);
    });
  }

  /** Makes a directory. */
  mkdir(path: P9Path, mode: number): void {
    this.#in(path, (place) => {
      fs.mkdirSync(place, mode & 0o777);
      using held = hold(place, DIRECTORY);
      fs.chmodSync(at(held.fd), mode & 0o777);
    });
  }

  /** Makes a symbolic link. */
  symlink(path: P9Path, target: string): void {
    this.#in(path, (place) => fs.symlinkSync(target, place));
  }

  /** Where a symbolic link points to. */
  readlink(path: P9Path): string {
    if (path.length === 0) throw new P9Refusal(P9Errno.EINVAL);
    return this.#in(path, (place) => fs.readlinkSync(place));
  }

  /** Removes a file or an empty directory. */
  remove(path: P9Path, directory: boolean): void {
    if (path.length === 0) throw new P9Refusal(P9Errno.EBUSY);
    this.#in(path, (place) => {
      if (directory !== fs.lstatSync(place).isDirectory()) {
        throw new P9Refusal(directory ? P9Errno.ENOTDIR : P9Errno.EISDIR);
      }
      if (directory) fs.rmdirSync(place);
      else fs.unlinkSync(place);
    });
  }

  /** Moves a file or directory. */
  rename(from: P9Path, to: P9Path): void {
    this.#in(from, (old) => this.#in(to, (place) => fs.renameSync(old, place)));
  }

  /** Gives a file a second name; what a symbolic link leads to gets none. */
  link(from: P9Path, to: P9Path): void {
    this.#in(from, (old) =>
      this.#in(to, (place) => {
        // Not even the host's own `link` follows it, but then a link of a link would be made.
        if (fs.lstatSync(old).isDirectory()) throw new P9Refusal(P9Errno.EPERM);
        fs.linkSync(old, place);
      }));
  }

  /**
   * Changes a file or directory; a symbolic link has nothing to change. To give it to another owner, the host's
   * user needs the right to.
   */
  change(path: P9Path, { mode, size, uid, gid, atime, mtime }: P9AttributeChanges): void {
    this.#hold(path, (fd) => {
      const info = fs.fstatSync(fd);
      if (info.isSymbolicLink()) throw new P9Refusal(P9Errno.EOPNOTSUPP);
      if (size !== undefined) {
        using file = this.#openHeld(fd, info, O.WRONLY);
        file.truncate(size);
      }
      if (uid !== undefined || gid !== undefined) {
        fs.chownSync(at(fd), uid ?? info.uid, gid ?? info.gid);
      }
      if (mode !== undefined) fs.chmodSync(at(fd), mode & 0o777);
      if (atime === undefined && mtime === undefined) return;
      const seconds = (time: number | undefined, now: number): number => (time ?? now) / 1000;
      fs.utimesSync(at(fd), seconds(atime, info.atimeMs), seconds(mtime, info.mtimeMs));
    });
  }

  /** A guess. */
  space(): P9Space {
    return SPACE;
  }

  /** Goes to a directory, from one that is held to the next; a link on the way is refused. */
  #enter<T>(path: P9Path, use: (fd: number) => T): T {
    let fd = this.#root;
    try {
      for (const name of path) {
        const next = fs.openSync(`${at(fd)}/${name}`, DIRECTORY);
        if (fd !== this.#root) fs.closeSync(fd);
        fd = next;
      }
      return use(fd);
    } finally {
      if (fd !== this.#root) fs.closeSync(fd);
    }
  }

  /** Names a place in its directory, which is held meanwhile: only for calls that follow no link at the end. */
  #in<T>(path: P9Path, use: (place: string) => T): T {
    const name = path.at(-1);
    if (name === undefined) throw new P9Refusal(P9Errno.EBUSY);
    return this.#enter(path.slice(0, -1), (fd) => use(`${at(fd)}/${name}`));
  }

  /** Holds what is at a place, a symbolic link itself included. */
  #hold<T>(path: P9Path, use: (fd: number) => T): T {
    if (path.length === 0) return use(this.#root);
    return this.#in(path, (place) => {
      using held = hold(place, PLACE);
      return use(held.fd);
    });
  }

  #attributes(info: fs.Stats): P9Attributes {
    let high = 0n;
    if (info.dev !== this.#device) {
      high = this.#devices.get(info.dev) ?? BigInt(this.#devices.size + 1);
      this.#devices.set(info.dev, high);
    }
    return {
      mode: info.mode,
      size: info.size,
      path: BigInt.asUintN(64, BigInt(info.ino) + (high << 48n)),
      uid: info.uid,
      gid: info.gid,
      links: info.nlink,
      device: BigInt(info.rdev),
      blocks: info.blocks,
      atime: info.atimeMs,
      mtime: info.mtimeMs,
      ctime: info.ctimeMs,
    };
  }
}

/** Opens a place until the block ends. */
function hold(place: string, flags: number): Disposable & { readonly fd: number } {
  const fd = fs.openSync(place, flags);
  return { fd, [Symbol.dispose]: () => fs.closeSync(fd) };
}
