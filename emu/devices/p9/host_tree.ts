import { P9_MODE_KIND, P9Errno, P9Mode } from "@vireo/hal";
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

/** What a {@linkcode HostTree} is made of. */
export interface HostTreeOptions {
  /** Whether it takes no changes. */
  readonly readOnly?: boolean;
}

/** What `statfs` says: Deno cannot tell. */
const SPACE: P9Space = {
  blockSize: 4096,
  blocks: 1 << 28,
  free: 1 << 27,
  files: 1 << 20,
  freeFiles: 1 << 19,
};

/**
 * A directory of the host. Nothing outside of it is reached: names have no slashes, `..` stops at the root,
 * and no symbolic link is followed, neither on the way nor at its end; the driver gets its text.
 *
 * Another process that swaps directories for links while a request is carried out is not guarded against,
 * except where a file is opened: that it is the one that was looked at is checked.
 */
export class HostTree implements P9Export {
  /** Whether it takes no changes. */
  readonly readOnly: boolean;
  readonly #root: string;
  readonly #device: number;
  /** Small numbers for the file systems that are mounted below, so that files keep theirs apart. */
  readonly #devices = new Map<number, bigint>();

  /**
   * Exports a directory.
   *
   * @throws {Deno.errors.NotFound} If it is not there. {TypeError} If it is no directory.
   */
  constructor(root: string, options: HostTreeOptions = {}) {
    this.readOnly = options.readOnly ?? false;
    this.#root = Deno.realPathSync(root);
    const info = Deno.statSync(this.#root);
    if (!info.isDirectory) throw new TypeError(`Cannot export ${root}: it is no directory`);
    this.#device = info.dev;
  }

  /** What a file is. */
  stat(path: P9Path): P9Attributes {
    return this.#attributes(this.#info(path));
  }

  /** Names in a directory. */
  list(path: P9Path): readonly string[] {
    this.#check(path);
    return Array.from(Deno.readDirSync(this.#join(path)), ({ name }) => name).sort();
  }

  /** Opens a regular file; others might block the host. */
  open(path: P9Path, { read, write, truncate, append }: P9HandleOptions): P9Handle {
    const before = this.#info(path);
    if (before.isDirectory) throw new P9Refusal(P9Errno.EISDIR);
    if (before.isSymlink) throw new P9Refusal(P9Errno.ELOOP);
    if (!before.isFile) throw new P9Refusal(P9Errno.EOPNOTSUPP);
    const file = Deno.openSync(this.#join(path), { read: read || !write, write });
    const after = file.statSync();
    if (after.ino !== before.ino || after.dev !== before.dev) {
      file.close();
      throw new P9Refusal(P9Errno.ELOOP);
    }
    if (truncate) file.truncateSync(0);
    return {
      read: (offset, into) => {
        file.seekSync(offset, Deno.SeekMode.Start);
        let done = 0;
        while (done < into.length) {
          const count = file.readSync(into.subarray(done));
          if (count === null || count === 0) break;
          done += count;
        }
        return done;
      },
      write: (offset, bytes) => {
        if (append) file.seekSync(0, Deno.SeekMode.End);
        else file.seekSync(offset, Deno.SeekMode.Start);
        for (let at = 0; at < bytes.length;) at += file.writeSync(bytes.subarray(at));
      },
      sync: () => file.syncSync(),
      stat: () => this.#attributes(file.statSync()),
      truncate: (size) => file.truncateSync(size),
      [Symbol.dispose]: () => file.close(),
    };
  }

  /** Makes an empty file. */
  create(path: P9Path, mode: number): void {
    this.#check(path.slice(0, -1));
    const place = this.#join(path);
    // createNew is O_EXCL, which follows no link.
    Deno.openSync(place, { write: true, createNew: true }).close();
    Deno.chmodSync(place, mode & 0o777);
  }

  /** Makes a directory. */
  mkdir(path: P9Path, mode: number): void {
    this.#check(path.slice(0, -1));
    const place = this.#join(path);
    Deno.mkdirSync(place, { mode: mode & 0o777 });
    // Whatever the host's umask is.
    Deno.chmodSync(place, mode & 0o777);
  }

  /** Makes a symbolic link. */
  symlink(path: P9Path, target: string): void {
    this.#check(path.slice(0, -1));
    Deno.symlinkSync(target, this.#join(path));
  }

  /** Where a symbolic link points to. */
  readlink(path: P9Path): string {
    if (!this.#info(path).isSymlink) throw new P9Refusal(P9Errno.EINVAL);
    return Deno.readLinkSync(this.#join(path));
  }

  /** Removes a file or an empty directory. */
  remove(path: P9Path, directory: boolean): void {
    const info = this.#info(path);
    if (path.length === 0) throw new P9Refusal(P9Errno.EBUSY);
    if (directory !== info.isDirectory) {
      throw new P9Refusal(directory ? P9Errno.ENOTDIR : P9Errno.EISDIR);
    }
    Deno.removeSync(this.#join(path));
  }

  /** Moves a file or directory. */
  rename(from: P9Path, to: P9Path): void {
    this.#info(from);
    this.#check(to.slice(0, -1));
    Deno.renameSync(this.#join(from), this.#join(to));
  }

  /** Changes a file or directory; a symbolic link has nothing to change. */
  change(path: P9Path, { mode, size, atime, mtime }: P9AttributeChanges): void {
    const info = this.#info(path);
    if (info.isSymlink) throw new P9Refusal(P9Errno.EOPNOTSUPP);
    const place = this.#join(path);
    if (size !== undefined) {
      const options = { read: false, write: true, truncate: false, append: false };
      using file = this.open(path, options);
      file.truncate(size);
    }
    if (mode !== undefined) Deno.chmodSync(place, mode & 0o777);
    if (atime !== undefined || mtime !== undefined) {
      Deno.utimeSync(
        place,
        atime === undefined ? info.atime ?? new Date() : new Date(atime),
        mtime === undefined ? info.mtime ?? new Date() : new Date(mtime),
      );
    }
  }

  /** A guess. */
  space(): P9Space {
    return SPACE;
  }

  #join(path: P9Path): string {
    return path.length === 0 ? this.#root : `${this.#root}/${path.join("/")}`;
  }

  /** What a file is, when all on the way to it are directories. */
  #info(path: P9Path): Deno.FileInfo {
    this.#check(path.slice(0, -1));
    return Deno.lstatSync(this.#join(path));
  }

  /** Makes sure that a path is of a directory, and leads through directories: not through links. */
  #check(path: P9Path): void {
    for (let depth = 0; depth <= path.length; depth++) {
      const { isDirectory } = Deno.lstatSync(this.#join(path.slice(0, depth)));
      if (!isDirectory) throw new P9Refusal(P9Errno.ENOTDIR);
    }
  }

  #attributes(info: Deno.FileInfo): P9Attributes {
    const kind = info.isDirectory
      ? P9Mode.DIRECTORY
      : info.isSymlink
      ? P9Mode.SYMLINK
      : P9Mode.FILE;
    const mode = info.mode ?? kind | 0o644;
    let high = 0n;
    if (info.dev !== this.#device) {
      high = this.#devices.get(info.dev) ?? BigInt(this.#devices.size + 1);
      this.#devices.set(info.dev, high);
    }
    return {
      mode: (mode & P9_MODE_KIND) === 0 ? kind | mode : mode,
      size: info.size,
      path: BigInt.asUintN(64, BigInt(info.ino ?? 0) + (high << 48n)),
      uid: info.uid ?? 0,
      gid: info.gid ?? 0,
      links: info.nlink ?? 1,
      ...info.blocks === null ? {} : { blocks: info.blocks },
      ...info.atime === null ? {} : { atime: info.atime.getTime() },
      ...info.mtime === null ? {} : { mtime: info.mtime.getTime() },
      ...info.ctime === null ? {} : { ctime: info.ctime.getTime() },
    };
  }
}
