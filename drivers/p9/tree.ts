import {
  P9_NO_ID,
  P9_QID,
  P9_REMOVE_DIRECTORY,
  P9_STATFS,
  P9EntryType,
  P9Errno,
  P9OpenFlag,
  P9Type,
} from "@vireo/hal";
import { type Deadline, type WaitOptions, within } from "../wait/mod.ts";
import {
  getAttributes,
  type P9Changes,
  type P9Kind,
  type P9Stat,
  setAttributes,
} from "./_attributes.ts";
import { isDirectory, isSymlink, type P9Qid, P9Reader, P9Writer } from "./_message.ts";
import type { P9Session } from "./_session.ts";
import { type Found, P9Paths, readlink, split } from "./_paths.ts";
import { checkNode, checkXattr, type P9NodeOptions, type P9XattrOptions } from "./_nodes.ts";
import { readXattr, writeXattr } from "./_nodes.ts";
import { P9Error } from "./errors.ts";
import { creates, P9File, type P9ReadOptions } from "./file.ts";

/** Most entries that a directory is believed to have. */
const MAX_ENTRIES = 1 << 20;
/** Permissions of what is made, unless told otherwise. */
const FILE_MODE = 0o644;
const DIRECTORY_MODE = 0o755;

/** An entry of a directory. */
export interface P9Entry {
  /** Its name. */
  readonly name: string;
  /** Kind of the file. */
  readonly kind: P9Kind;
  /** Names it on the server. */
  readonly qid: P9Qid;
}

/** Size and use of a file system, as the server reports them. */
export interface P9FileSystem {
  /** Its kind: Linux's magic number. */
  readonly type: number;
  /** Bytes of a block. */
  readonly blockSize: number;
  /** Blocks in all. */
  readonly blocks: number;
  /** Blocks that are free. */
  readonly free: number;
  /** Blocks that are free for everybody. */
  readonly available: number;
  /** Files that it has room for. */
  readonly files: number;
  /** Files that there is still room for. */
  readonly freeFiles: number;
  /** Most bytes of a name. */
  readonly nameLength: number;
}

/** How to make a file or a directory. */
export interface P9CreateOptions extends WaitOptions {
  /** Permissions; 0o644 for files, 0o755 for directories by default. */
  readonly mode?: number;
}

/**
 * A tree of files that a server exports. Paths begin at its root, with or without a slash; symbolic links
 * are followed within the tree, as if it were all there is.
 *
 * All methods throw a {@linkcode P9Error} if the server refuses a request, and a `VireoError` if the device
 * fails or does not answer in time. After a reset of the device a tree is of no use: attach again.
 *
 * @example
 * ```ts
 * import type { P9Tree } from "@vireo/drivers/p9";
 *
 * // Saves a text on the host, under a new name first.
 * async function save(tree: P9Tree, path: string, text: string): Promise<void> {
 *   await tree.writeFile(`${path}.new`, new TextEncoder().encode(text));
 *   await tree.rename(`${path}.new`, path);
 * }
 * ```
 */
export class P9Tree implements AsyncDisposable {
  readonly #session: P9Session;
  readonly #root: number;
  readonly #paths: P9Paths;
  #closed = false;

  /** Wraps the fid of an attached root. */
  constructor(session: P9Session, root: number, qid: P9Qid) {
    this.#session = session;
    this.#root = root;
    this.#paths = new P9Paths(session, root, qid);
  }

  /** Largest message that was agreed on, in bytes. */
  get messageSize(): number {
    return this.#session.msize;
  }

  /** Lists a directory, without `.` and `..`, in the server's order. */
  async list(path = "", options: WaitOptions = {}): Promise<P9Entry[]> {
    const call = within(options);
    const { fid } = await this.#paths.find(path, call);
    try {
      const message = P9Writer.begin(P9Type.LOPEN).u32(fid);
      message.u32(P9OpenFlag.READ | P9OpenFlag.DIRECTORY);
      await this.#session.call(message, P9_QID.SIZE + 4, call);
      return await this.#entries(fid, call);
    } finally {
      this.#session.forget(fid);
    }
  }

  /** Tells of a file; of what a symbolic link points to. */
  stat(path: string, options: WaitOptions = {}): Promise<P9Stat> {
    return this.#with(path, options, true, this.#stat);
  }

  /** Tells of a file, or of a symbolic link itself. */
  lstat(path: string, options: WaitOptions = {}): Promise<P9Stat> {
    return this.#with(path, options, false, this.#stat);
  }

  /** Reads a whole file. */
  async readFile(path: string, options: P9ReadOptions = {}): Promise<Uint8Array> {
    const call = { ...options, ...within(options) };
    const file = await this.open(path, P9OpenFlag.READ, call);
    try {
      return await file.readToEnd(0, call);
    } finally {
      await file.close(call).catch(() => {});
    }
  }

  /** Writes a whole file, which is made if it is not there. */
  async writeFile(path: string, bytes: Uint8Array, options: P9CreateOptions = {}): Promise<void> {
    const { WRITE, CREATE, TRUNCATE } = P9OpenFlag;
    const call = { ...options, ...within(options) };
    const file = await this.open(path, WRITE | CREATE | TRUNCATE, call);
    try {
      await file.write(0, bytes, call);
    } catch (error) {
      await file.close(call).catch(() => {});
      throw error;
    }
    // An error that the server reports at the close is not lost.
    await file.close(call);
  }

  /**
   * Opens a file.
   *
   * @param flags Values of `P9OpenFlag`; to read by default.
   */
  async open(
    path: string,
    flags: number = P9OpenFlag.READ,
    options: P9CreateOptions = {},
  ): Promise<P9File> {
    const call = { ...options, ...within(options) };
    if (creates(flags) && (flags & P9OpenFlag.EXCLUSIVE) !== 0) {
      return await this.#create(path, flags, call);
    }
    let found: Found;
    try {
      found = await this.#paths.find(path, call);
    } catch (error) {
      if (!creates(flags) || !isErrno(error, P9Errno.ENOENT)) throw error;
      return await this.#create(path, flags, call);
    }
    const { fid } = found;
    try {
      const message = P9Writer.begin(P9Type.LOPEN).u32(fid).u32(flags & ~P9OpenFlag.CREATE);
      const answer = await this.#session.call(message, P9_QID.SIZE + 4, call);
      answer.qid();
      return new P9File(this.#session, fid, answer.u32());
    } catch (error) {
      this.#session.forget(fid);
      throw error;
    }
  }

  /** Makes a directory. */
  async mkdir(path: string, options: P9CreateOptions = {}): Promise<void> {
    await this.#at(path, options, async (fid, name, call) => {
      const message = P9Writer.begin(P9Type.MKDIR).u32(fid).text(name);
      message.u32(options.mode ?? DIRECTORY_MODE).u32(P9_NO_ID);
      await this.#session.call(message, P9_QID.SIZE, call);
    });
  }

  /** Makes a symbolic link. */
  async symlink(target: string, path: string, options: WaitOptions = {}): Promise<void> {
    await this.#at(path, options, async (fid, name, call) => {
      const message = P9Writer.begin(P9Type.SYMLINK).u32(fid).text(name).text(target).u32(P9_NO_ID);
      await this.#session.call(message, P9_QID.SIZE, call);
    });
  }

  /** Gives a file a second name, a hard link; of a symbolic link, the link itself. */
  async link(existing: string, path: string, options: WaitOptions = {}): Promise<void> {
    await this.#with(existing, options, false, async ({ fid }, call) => {
      await this.#at(path, call, async (directory, name) => {
        const message = P9Writer.begin(P9Type.LINK).u32(directory).u32(fid).text(name);
        await this.#session.call(message, 0, call);
      });
    });
  }

  /**
   * Makes a device file, a pipe or a socket.
   *
   * @throws {RangeError} If the device has no such number.
   */
  async mknod(path: string, node: P9NodeOptions): Promise<void> {
    const { mode, major, minor } = checkNode(node);
    await this.#at(path, node, async (fid, name, call) => {
      const message = P9Writer.begin(P9Type.MKNOD).u32(fid).text(name).u32(mode);
      message.u32(major).u32(minor).u32(P9_NO_ID);
      await this.#session.call(message, P9_QID.SIZE, call);
    });
  }

  /** Lists the names of a file's extended attributes. */
  async listXattrs(path: string, options: WaitOptions = {}): Promise<string[]> {
    const names = await this.getXattr(path, "", options);
    return new TextDecoder().decode(names).split("\0").filter((name) => name !== "");
  }

  /** Reads an extended attribute, for example `user.comment`. */
  async getXattr(path: string, name: string, options: WaitOptions = {}): Promise<Uint8Array> {
    return await this.#with(
      path,
      options,
      true,
      ({ fid }, call) => readXattr(this.#session, fid, name, call),
    );
  }

  /**
   * Sets an extended attribute. One of no bytes cannot be told from one that is removed.
   *
   * @throws {RangeError} If it has no bytes, or more than 65536.
   */
  async setXattr(
    path: string,
    name: string,
    value: Uint8Array,
    options: P9XattrOptions = {},
  ): Promise<void> {
    checkXattr(value.length);
    const call = { ...options, ...within(options) };
    await this.#writeXattr(path, name, value, call);
  }

  /** Removes an extended attribute. */
  async removeXattr(path: string, name: string, options: WaitOptions = {}): Promise<void> {
    await this.#writeXattr(path, name, new Uint8Array(0), within(options));
  }

  /** Reads where a symbolic link points to. */
  async readlink(path: string, options: WaitOptions = {}): Promise<string> {
    return await this.#with(
      path,
      options,
      false,
      ({ fid }, call) => readlink(this.#session, fid, call),
    );
  }

  /** Removes a file, a symbolic link or an empty directory. */
  async remove(path: string, options: WaitOptions = {}): Promise<void> {
    const call = within(options);
    const qid = await this.#with(path, call, false, ({ qid }) => Promise.resolve(qid));
    await this.#at(path, call, async (fid, name) => {
      const message = P9Writer.begin(P9Type.UNLINKAT).u32(fid).text(name);
      message.u32(isDirectory(qid) ? P9_REMOVE_DIRECTORY : 0);
      await this.#session.call(message, 0, call);
    });
  }

  /** Gives a file or directory another place; what had it is replaced, unless it is a full directory. */
  async rename(from: string, to: string, options: WaitOptions = {}): Promise<void> {
    const call = within(options);
    await this.#at(from, call, async (oldDirectory, oldName) => {
      await this.#at(to, call, async (newDirectory, newName) => {
        const message = P9Writer.begin(P9Type.RENAMEAT).u32(oldDirectory).text(oldName);
        await this.#session.call(message.u32(newDirectory).text(newName), 0, call);
      });
    });
  }

  /** Changes permissions, owners, size or times. @throws {RangeError} If an owner has no such number. */
  async change(path: string, changes: P9Changes, options: WaitOptions = {}): Promise<void> {
    await this.#with(
      path,
      options,
      true,
      ({ fid }, call) => setAttributes(this.#session, fid, changes, call),
    );
  }

  /** Tells of the file system. */
  async statfs(options: WaitOptions = {}): Promise<P9FileSystem> {
    const message = P9Writer.begin(P9Type.STATFS).u32(this.#root);
    const answer = await this.#session.call(message, P9_STATFS.SIZE, options);
    const [type, blockSize] = [answer.u32(), answer.u32()];
    const [blocks, free, available] = [answer.u64(), answer.u64(), answer.u64()];
    const [files, freeFiles] = [answer.u64(), answer.u64()];
    answer.u64();
    const nameLength = answer.u32();
    return { type, blockSize, blocks, free, available, files, freeFiles, nameLength };
  }

  /** Lets the tree go; files that are open stay so. */
  async close(options: WaitOptions = {}): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#session.clunk(this.#root, options);
  }

  /** Lets the tree go; one whose device is gone is let go. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close().catch(() => {});
  }

  async #create(path: string, flags: number, options: P9CreateOptions): Promise<P9File> {
    const { directory, name } = split(path);
    const { fid } = await this.#paths.find(directory, options);
    try {
      const message = P9Writer.begin(P9Type.LCREATE).u32(fid).text(name).u32(flags);
      message.u32(options.mode ?? FILE_MODE).u32(P9_NO_ID);
      const answer = await this.#session.call(message, P9_QID.SIZE + 4, options);
      answer.qid();
      return new P9File(this.#session, fid, answer.u32());
    } catch (error) {
      this.#session.forget(fid);
      throw error;
    }
  }

  /** All entries of an open directory. */
  async #entries(fid: number, options: WaitOptions): Promise<P9Entry[]> {
    const { payloads, chunk } = this.#session;
    const entries: P9Entry[] = [];
    // An offset is the server's word for a place, in all of its 64 bits.
    let [low, high] = [0, 0];
    for (;;) {
      const payload = await payloads.take(options);
      const message = P9Writer.begin(P9Type.READDIR).u32(fid).u32(low).u32(high).u32(chunk);
      const data = await this.#session.read(message, options, {
        into: payload.carry(chunk, "from-device"),
        take: (answer) => {
          try {
            const count = this.#session.count(answer);
            payload.region.copied?.(count);
            return payload.region.bytes.slice(0, count);
          } finally {
            payloads.give(payload);
          }
        },
        onFailed: () => payloads.give(payload),
      });
      if (data.length === 0) return entries;
      const before = `${low} ${high}`;
      for (const reader = new P9Reader(data); reader.left > 0;) {
        const qid = reader.qid();
        [low, high] = [reader.u32(), reader.u32()];
        const type = reader.u8();
        const name = reader.text();
        if (name !== "." && name !== "..") entries.push({ name, kind: entryKind(type, qid), qid });
      }
      if (`${low} ${high}` === before || entries.length > MAX_ENTRIES) {
        throw this.#session.error("BAD_STATUS", "9P server lists a directory without end");
      }
    }
  }

  async #writeXattr(
    path: string,
    name: string,
    value: Uint8Array,
    call: P9XattrOptions,
  ): Promise<void> {
    // The fid becomes the attribute's, which is set when it is given back.
    const { fid } = await this.#paths.find(path, call);
    await writeXattr(this.#session, fid, { name, value, must: call.must }, call);
  }

  readonly #stat = ({ fid }: Found, call: Deadline): Promise<P9Stat> =>
    getAttributes(this.#session, fid, call);

  /** Does something with the directory of a path, and the name in it. */
  async #at(
    path: string,
    options: WaitOptions,
    run: (fid: number, name: string, call: Deadline) => Promise<void>,
  ): Promise<void> {
    const { directory, name } = split(path);
    await this.#with(directory, options, true, ({ fid }, call) => run(fid, name, call));
  }

  async #with<T>(
    path: string,
    options: WaitOptions,
    follow: boolean,
    run: (found: Found, call: Deadline) => Promise<T>,
  ): Promise<T> {
    const call = within(options);
    const found = await this.#paths.find(path, call, follow);
    try {
      return await run(found, call);
    } finally {
      this.#session.forget(found.fid);
    }
  }
}

function isErrno(error: unknown, errno: number): boolean {
  return error instanceof P9Error && error.errno === errno;
}

function entryKind(type: number, qid: P9Qid): P9Kind {
  if (type === P9EntryType.DIRECTORY || isDirectory(qid)) return "directory";
  if (type === P9EntryType.SYMLINK || isSymlink(qid)) return "symlink";
  return type === P9EntryType.FILE || type === P9EntryType.UNKNOWN ? "file" : "other";
}
