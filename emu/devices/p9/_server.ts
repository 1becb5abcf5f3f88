import {
  P9_ACCESS,
  P9_HEADER,
  P9_MAX_NAME,
  P9_MAX_WALK,
  P9_MAX_XATTR,
  P9_MIN_MSIZE,
  P9_MODE_KIND,
  P9_NO_FID,
  P9_REMOVE_DIRECTORY,
  P9_UNKNOWN_VERSION,
  P9_VERSION,
  P9Errno,
  P9LockStatus,
  P9LockType,
  P9MessageWriter,
  P9Mode,
  P9OpenFlag,
  P9SetAttribute,
  P9Type,
  P9XattrFlag,
} from "@vireo/hal";
import type { Clock, ModelUsage } from "../../device.ts";
import { child, entryType, isDirectory, writeQid } from "./_entries.ts";
import { type LockRange, LockTable, MAX_LOCKS, type SavedLocks } from "./_locks.ts";
import { isName, type RequestReader } from "./_message.ts";
import {
  errnoOf,
  type P9Attributes,
  type P9Export,
  type P9Handle,
  type P9Path,
  P9Refusal,
} from "./export.ts";

/** Most fids and open files that a driver may have. */
const MAX_FIDS = 16384;
const MAX_OPEN = 256;
/** Most bytes that the names of all open directories together count for, and what a name counts for besides its own. */
const MAX_LISTINGS = 8 << 20;
const NAME_COST = 64;
/** Bounds of the server's lists and memory. */
export const SERVER_BOUNDS: ModelUsage = {
  items: MAX_FIDS + MAX_LISTINGS / NAME_COST + MAX_LOCKS,
  bytes: MAX_LISTINGS,
};
/** Magic number of v9fs, as `statfs` has it. */
const V9FS_MAGIC = 0x01021997;

interface Fid {
  path: P9Path;
  handle: P9Handle | undefined;
  /** Names of an open directory, as they were when it was listed from the start, and what they count for. */
  entries: readonly string[] | undefined;
  cost: number;
  /** How it was opened. */
  access: number;
  append: boolean;
  opened: boolean;
  /** The extended attribute that it stands for, from Txattrwalk or Txattrcreate on. */
  xattr: Xattr | undefined;
}

/** An extended attribute, or the list of them, that is read or written. */
interface Xattr {
  readonly name: string;
  /** Flags of Txattrcreate; undefined if it is read. */
  readonly flags: number | undefined;
  readonly bytes: Uint8Array;
  /** How many bytes were written. */
  written: number;
}

/** A fid as plain data. */
type SavedFid = readonly [number: number, fid: Omit<Fid, "handle" | "cost">];

/** A server's state as plain data. */
export interface P9ServerState {
  readonly msize: number;
  readonly fids: readonly SavedFid[];
  readonly locks: SavedLocks;
}

/** Data that is read or written besides a message. */
interface P9Data {
  /** Takes what the driver sent behind a Twrite, at most so many bytes. */
  take(length: number): Uint8Array;
  /** Most data bytes that the answer has room for. */
  readonly room: number;
  /** Memory for so many bytes of data to send, at most `room`. */
  readonly scratch: (length: number) => Uint8Array;
  /** Counts steps. */
  readonly spend: (steps: number) => void;
}

/** An answer: a message, and the data behind it. */
interface P9Answer {
  /** The message; valid until the next request. */
  readonly head: Uint8Array;
  /** The data. */
  readonly data: Uint8Array;
}

const NONE = new Uint8Array(0);

/** Serves 9P2000.L: fids and files, without the ring. */
export class P9Server {
  readonly #tree: P9Export;
  readonly #maxMessage: number;
  readonly #clock: Clock;
  readonly #fids = new Map<number, Fid>();
  readonly #locks = new LockTable();
  readonly #answer = new P9MessageWriter();
  #open = 0;
  #msize = 0;
  /** Names of open directories: how many, and what they count for. */
  #names = 0;
  #listings = 0;
  #data: Uint8Array = NONE;

  /** Serves a tree, with messages of so many bytes at most. */
  constructor(tree: P9Export, maxMessage: number, clock: Clock) {
    this.#tree = tree;
    this.#maxMessage = maxMessage;
    this.#clock = clock;
  }

  /** Largest message that was agreed on; 0 before. */
  get msize(): number {
    return this.#msize;
  }

  /** Fids that the driver has. */
  get fids(): number {
    return this.#fids.size;
  }

  /** Fids, names of open directories and locks; bytes of names and of extended attributes. */
  usage(): ModelUsage {
    const items = this.#fids.size + this.#names + this.#locks.count;
    return { items, bytes: this.#listings };
  }

  /** Fids as plain data. */
  snapshot(): P9ServerState {
    const fids = [...this.#fids].map(([number, { handle: _, cost: __, ...fid }]): SavedFid => [
      number,
      fid,
    ]);
    return { msize: this.#msize, fids, locks: this.#locks.snapshot() };
  }

  /** Takes fids back; a file that cannot be opened any more has none of its data, and answers EBADF. */
  restore({ msize, fids, locks }: P9ServerState): void {
    this.reset();
    this.#msize = msize;
    this.#locks.restore(locks);
    for (const [number, saved] of fids) {
      const fid: Fid = { ...saved, entries: undefined, cost: 0, handle: undefined };
      this.#fids.set(number, fid);
      if (saved.xattr !== undefined) this.#reserve(fid, saved.xattr.bytes.length);
      if (!saved.opened) continue;
      this.#open++;
      if (saved.entries !== undefined) {
        this.#keep(fid, saved.entries);
        continue;
      }
      const write = saved.access !== P9OpenFlag.READ;
      const read = saved.access !== P9OpenFlag.WRITE;
      try {
        fid.handle = this.#tree.open(saved.path, {
          read,
          write,
          truncate: false,
          append: saved.append,
        });
      } catch {
        // It went, or may not be opened.
      }
    }
  }

  /** Forgets all fids, and closes their files. */
  reset(): void {
    for (const fid of this.#fids.values()) this.#close(fid);
    this.#fids.clear();
    this.#locks.clear();
    this.#msize = 0;
  }

  /** Carries out a request; never throws. */
  serve(type: number, tag: number, request: RequestReader, data: P9Data): P9Answer {
    this.#answer.clear();
    this.#data = NONE;
    try {
      if (this.#msize === 0 && type !== P9Type.VERSION) throw new P9Refusal(P9Errno.EPROTO);
      this.#run(type, request, data);
    } catch (error) {
      this.#answer.clear().u32(errnoOf(error));
      return { head: this.#answer.finish(P9Type.LERROR + 1, tag), data: NONE };
    }
    return { head: this.#answer.finish(type + 1, tag, this.#data.length), data: this.#data };
  }

  #run(type: number, request: RequestReader, data: P9Data): void {
    switch (type) {
      case P9Type.VERSION:
        return this.#version(request);
      case P9Type.ATTACH:
        return this.#attach(request);
      case P9Type.WALK:
        return this.#walk(request, data);
      case P9Type.LOPEN:
        return this.#lopen(request);
      case P9Type.LCREATE:
        return this.#lcreate(request);
      case P9Type.READ:
        return this.#read(request, data);
      case P9Type.WRITE:
        return this.#write(request, data);
      case P9Type.READDIR:
        return this.#readdir(request, data);
      case P9Type.GETATTR:
        return this.#getattr(request);
      case P9Type.SETATTR:
        return this.#setattr(request);
      case P9Type.STATFS:
        return this.#statfs(request);
      case P9Type.READLINK:
        this.#answer.text(this.#tree.readlink(this.#fid(request.u32()).path));
        return;
      case P9Type.SYMLINK:
        return this.#symlink(request);
      case P9Type.MKDIR:
        return this.#mkdir(request);
      case P9Type.MKNOD:
        return this.#mknod(request);
      case P9Type.LINK:
        return this.#link(request);
      case P9Type.XATTRWALK:
        return this.#xattrWalk(request);
      case P9Type.XATTRCREATE:
        return this.#xattrCreate(request);
      case P9Type.LOCK:
        return this.#lock(request, data);
      case P9Type.GETLOCK:
        return this.#getLock(request, data);
      case P9Type.UNLINKAT:
        return this.#unlinkat(request);
      case P9Type.RENAMEAT:
        return this.#renameat(request, data);
      case P9Type.FSYNC:
        this.#fid(request.u32()).handle?.sync();
        return;
      case P9Type.FLUSH:
        // Requests that could be flushed were answered before this was read.
        request.u16();
        return;
      case P9Type.CLUNK:
        return this.#clunk(request.u32());
      case P9Type.REMOVE:
        return this.#remove(request.u32());
      default:
        throw new P9Refusal(P9Errno.EOPNOTSUPP);
    }
  }

  #version(request: RequestReader): void {
    const msize = request.u32();
    const version = request.text();
    this.reset();
    if (version !== P9_VERSION) {
      this.#answer.u32(Math.min(msize, this.#maxMessage)).text(P9_UNKNOWN_VERSION);
      return;
    }
    if (msize < P9_MIN_MSIZE) throw new P9Refusal(P9Errno.EMSGSIZE);
    this.#msize = Math.min(msize, this.#maxMessage);
    this.#answer.u32(this.#msize).text(P9_VERSION);
  }

  #attach(request: RequestReader): void {
    const fid = request.u32();
    const auth = request.u32();
    request.text();
    const name = request.text();
    if (auth !== P9_NO_FID) throw new P9Refusal(P9Errno.EINVAL);
    if (name !== "" && name !== "/") throw new P9Refusal(P9Errno.ENOENT);
    this.#add(fid, []);
    this.#qid(this.#tree.stat([]));
  }

  #walk(request: RequestReader, data: P9Data): void {
    const from = this.#fid(request.u32());
    const to = request.u32();
    const count = request.u16();
    if (count > P9_MAX_WALK || inUse(from)) throw new P9Refusal(P9Errno.EINVAL);
    const names: string[] = [];
    while (names.length < count) names.push(request.text());
    let path = from.path;
    data.spend(count * (1 + path.length));
    const found: P9Attributes[] = [];
    if (count > 0 && !isDirectory(this.#tree.stat(path))) throw new P9Refusal(P9Errno.ENOTDIR);
    for (const name of names) {
      try {
        if (found.length > 0 && !isDirectory(found.at(-1)!)) throw new P9Refusal(P9Errno.ENOTDIR);
        if (name === "..") path = path.slice(0, -1);
        else if (name !== ".") {
          if (!isName(name)) throw new P9Refusal(P9Errno.ENOENT);
          path = child(path, name);
        }
        found.push(this.#tree.stat(path));
      } catch (error) {
        // Only the first name's failure is one: else the driver gets what there was.
        if (found.length === 0) throw error;
        break;
      }
    }
    if (found.length === count) {
      if (this.#fids.get(to) === from) from.path = path;
      else this.#add(to, path);
    }
    this.#answer.u16(found.length);
    for (const attributes of found) this.#qid(attributes);
  }

  #lopen(request: RequestReader): void {
    const fid = this.#fid(request.u32());
    const flags = request.u32();
    if (inUse(fid)) throw new P9Refusal(P9Errno.EINVAL);
    const attributes = this.#tree.stat(fid.path);
    if (isDirectory(attributes)) {
      if ((flags & P9_ACCESS) !== P9OpenFlag.READ) throw new P9Refusal(P9Errno.EISDIR);
      this.#opening();
      fid.entries = [];
      fid.opened = true;
    } else {
      if ((flags & P9OpenFlag.DIRECTORY) !== 0) throw new P9Refusal(P9Errno.ENOTDIR);
      this.#openFile(fid, fid.path, flags);
    }
    this.#qid(attributes).u32(0);
  }

  #lcreate(request: RequestReader): void {
    const fid = this.#fid(request.u32());
    const path = child(fid.path, request.name());
    const flags = request.u32();
    const mode = request.u32();
    this.#changing();
    if (inUse(fid)) throw new P9Refusal(P9Errno.EINVAL);
    try {
      this.#tree.create(path, mode);
    } catch (error) {
      const there = errnoOf(error) === P9Errno.EEXIST;
      if (!there || (flags & P9OpenFlag.EXCLUSIVE) !== 0) throw error;
    }
    this.#openFile(fid, path, flags);
    fid.path = path;
    this.#qid(this.#tree.stat(path)).u32(0);
  }

  #read(request: RequestReader, data: P9Data): void {
    const { handle, access, xattr } = this.#fid(request.u32());
    const offset = request.u64();
    const length = Math.min(request.u32(), data.room - 4);
    if (xattr !== undefined) {
      if (xattr.flags !== undefined) throw new P9Refusal(P9Errno.EBADF);
      this.#data = xattr.bytes.subarray(offset, offset + Math.max(0, length));
      this.#answer.u32(this.#data.length);
      return;
    }
    if (handle === undefined || access === P9OpenFlag.WRITE) throw new P9Refusal(P9Errno.EBADF);
    const into = data.scratch(Math.max(0, length));
    const read = handle.read(offset, into);
    this.#data = read === into.length ? into : into.subarray(0, read);
    this.#answer.u32(this.#data.length);
  }

  #write(request: RequestReader, data: P9Data): void {
    const { handle, access, xattr } = this.#fid(request.u32());
    const offset = request.u64();
    const length = request.u32();
    if (xattr !== undefined) return this.#writeXattr(xattr, offset, length, data);
    if (handle === undefined || access === P9OpenFlag.READ) throw new P9Refusal(P9Errno.EBADF);
    const bytes = data.take(length);
    if (bytes.length < length) throw new P9Refusal(P9Errno.EINVAL);
    if (!Number.isSafeInteger(offset + length)) throw new P9Refusal(P9Errno.EFBIG);
    handle.write(offset, bytes);
    this.#answer.u32(length);
  }

  #readdir(request: RequestReader, data: P9Data): void {
    const fid = this.#fid(request.u32());
    const offset = request.u64();
    const room = Math.min(request.u32(), data.room - 4);
    if (fid.entries === undefined) throw new P9Refusal(P9Errno.EBADF);
    if (offset === 0) {
      this.#keep(fid, this.#tree.list(fid.path));
      data.spend(fid.entries.length);
    }
    // Not a list of its own for each request: a directory may be long, and a request may ask for a name of it.
    const names = fid.entries;
    const out = new P9MessageWriter();
    let end = out.length;
    const fill = (stat: (name: string) => P9Attributes): void => {
      for (let i = offset; i < names.length + 2; i++) {
        const name = i === 0 ? "." : i === 1 ? ".." : names[i - 2]!;
        let attributes: P9Attributes;
        data.spend(1);
        try {
          attributes = name === "."
            ? this.#tree.stat(fid.path)
            : name === ".."
            ? this.#tree.stat(fid.path.slice(0, -1))
            : stat(name);
        } catch {
          continue; // it went meanwhile
        }
        writeQid(out, attributes).u64(i + 1).u8(entryType(attributes)).text(name);
        if (out.length - P9_HEADER.SIZE > room) {
          // Nothing at all would be the end.
          if (end === P9_HEADER.SIZE) throw new P9Refusal(P9Errno.EINVAL);
          return;
        }
        end = out.length;
      }
    };
    if (this.#tree.within !== undefined) this.#tree.within(fid.path, fill);
    else fill((name) => this.#tree.stat([...fid.path, name]));
    this.#data = out.finish(0, 0).subarray(P9_HEADER.SIZE, end);
    this.#answer.u32(this.#data.length);
  }

  /** Keeps the names of an open directory, instead of those that it had. */
  #keep(fid: Fid, names: readonly string[] | undefined): void {
    const cost = names?.reduce((sum, name) => sum + NAME_COST + 2 * name.length, 0) ?? 0;
    this.#reserve(fid, cost);
    this.#names += (names?.length ?? 0) - (fid.entries?.length ?? 0);
    fid.entries = names;
  }

  /** Counts the bytes that are kept for a fid, instead of those that were. */
  #reserve(fid: Fid, cost: number): void {
    if (this.#listings - fid.cost + cost > MAX_LISTINGS) throw new P9Refusal(P9Errno.ENOMEM);
    this.#listings += cost - fid.cost;
    fid.cost = cost;
  }

  #getattr(request: RequestReader): void {
    const fid = this.#fid(request.u32());
    const a = fid.handle?.stat() ?? this.#tree.stat(fid.path);
    const out = this.#answer.u64(0x7ff);
    this.#qid(a);
    out.u32(a.mode).u32(a.uid ?? 0).u32(a.gid ?? 0).u64(a.links ?? 1).u64(a.device ?? 0n).u64(
      a.size,
    );
    out.u64(4096).u64(a.blocks ?? Math.ceil(a.size / 512));
    for (const time of [a.atime ?? 0, a.mtime ?? 0, a.ctime ?? 0, 0]) {
      const ms = Math.max(0, Math.floor(time));
      out.u64(Math.floor(ms / 1000)).u64(ms % 1000 * 1_000_000);
    }
    out.u64(0).u64(0);
  }

  #setattr(request: RequestReader): void {
    const fid = this.#fid(request.u32());
    const valid = request.u32();
    const mode = request.u32();
    const [uid, gid] = [request.u32(), request.u32()];
    const size = request.u64();
    const time = (now: number, set: number): number | undefined => {
      const ms = request.u64() * 1000 + Math.floor(request.u64() / 1_000_000);
      return (valid & now) === 0 ? undefined : (valid & set) === 0 ? this.#clock() : ms;
    };
    const S = P9SetAttribute;
    const atime = time(S.ATIME, S.ATIME_SET);
    const mtime = time(S.MTIME, S.MTIME_SET);
    this.#changing();
    if ((valid & S.SIZE) !== 0 && fid.handle !== undefined && fid.access !== P9OpenFlag.READ) {
      fid.handle.truncate(size);
    } else if ((valid & S.SIZE) !== 0) this.#tree.change(fid.path, { size });
    this.#tree.change(fid.path, {
      ...(valid & S.MODE) === 0 ? {} : { mode },
      ...(valid & S.UID) === 0 ? {} : { uid },
      ...(valid & S.GID) === 0 ? {} : { gid },
      ...atime === undefined ? {} : { atime },
      ...mtime === undefined ? {} : { mtime },
    });
  }

  #statfs(request: RequestReader): void {
    this.#fid(request.u32());
    const { blockSize, blocks, free, files, freeFiles } = this.#tree.space();
    this.#answer.u32(V9FS_MAGIC).u32(blockSize).u64(blocks).u64(free).u64(free);
    this.#answer.u64(files).u64(freeFiles).u64(0).u32(255);
  }

  #symlink(request: RequestReader): void {
    const path = child(this.#fid(request.u32()).path, request.name());
    const target = request.text();
    this.#changing();
    if (target === "" || target.includes("\0")) throw new P9Refusal(P9Errno.ENOENT);
    if (target.length > 4095) throw new P9Refusal(P9Errno.ENAMETOOLONG);
    this.#tree.symlink(path, target);
    this.#qid(this.#tree.stat(path));
  }

  #mkdir(request: RequestReader): void {
    const path = child(this.#fid(request.u32()).path, request.name());
    this.#changing();
    this.#tree.mkdir(path, request.u32());
    this.#qid(this.#tree.stat(path));
  }

  #mknod(request: RequestReader): void {
    const path = child(this.#fid(request.u32()).path, request.name());
    const mode = request.u32();
    const device = makeDevice(request.u32(), request.u32());
    this.#changing();
    const kind = mode & P9_MODE_KIND;
    // Linux takes a mode without a kind for a file's.
    if (kind === P9Mode.FILE || kind === 0) this.#tree.create(path, mode);
    else if (!SPECIAL.has(kind)) throw new P9Refusal(P9Errno.EINVAL);
    else if (this.#tree.mknod === undefined) throw new P9Refusal(P9Errno.EOPNOTSUPP);
    else this.#tree.mknod(path, mode, device);
    this.#qid(this.#tree.stat(path));
  }

  #link(request: RequestReader): void {
    const directory = this.#fid(request.u32()).path;
    const { path } = this.#fid(request.u32());
    const to = child(directory, request.name());
    this.#changing();
    if (this.#tree.link === undefined) throw new P9Refusal(P9Errno.EOPNOTSUPP);
    this.#tree.link(path, to);
  }

  #xattrWalk(request: RequestReader): void {
    const { path, xattr } = this.#fid(request.u32());
    const number = request.u32();
    const name = request.text();
    if (xattr !== undefined) throw new P9Refusal(P9Errno.EINVAL);
    const { xattrs } = this.#tree;
    if (xattrs === undefined) throw new P9Refusal(P9Errno.EOPNOTSUPP);
    const bytes = name === "" ? nameList(xattrs.list(path)) : xattrs.get(path, name);
    if (bytes === undefined) throw new P9Refusal(P9Errno.ENODATA);
    if (bytes.length > P9_MAX_XATTR) throw new P9Refusal(P9Errno.E2BIG);
    this.#add(number, path, { name, flags: undefined, bytes, written: 0 });
    this.#answer.u64(bytes.length);
  }

  #xattrCreate(request: RequestReader): void {
    const fid = this.#fid(request.u32());
    const name = request.text();
    const size = request.u64();
    const flags = request.u32();
    this.#changing();
    if (inUse(fid)) throw new P9Refusal(P9Errno.EINVAL);
    if (this.#tree.xattrs === undefined) throw new P9Refusal(P9Errno.EOPNOTSUPP);
    if (new TextEncoder().encode(name).length > P9_MAX_NAME) throw new P9Refusal(P9Errno.ERANGE);
    if (name === "" || name.includes("\0")) throw new P9Refusal(P9Errno.EINVAL);
    if ((flags & ~(P9XattrFlag.CREATE | P9XattrFlag.REPLACE)) !== 0) {
      throw new P9Refusal(P9Errno.EINVAL);
    }
    if (size > P9_MAX_XATTR) throw new P9Refusal(P9Errno.E2BIG);
    this.#reserve(fid, size);
    fid.xattr = { name, flags, bytes: new Uint8Array(size), written: 0 };
  }

  #writeXattr(xattr: Xattr, offset: number, length: number, data: P9Data): void {
    if (xattr.flags === undefined) throw new P9Refusal(P9Errno.EBADF);
    // A client writes it from its first byte on, and no more bytes than it announced.
    if (offset !== xattr.written || offset + length > xattr.bytes.length) {
      throw new P9Refusal(P9Errno.ENOSPC);
    }
    const bytes = data.take(length);
    if (bytes.length < length) throw new P9Refusal(P9Errno.EINVAL);
    xattr.bytes.set(bytes, offset);
    xattr.written += length;
    this.#answer.u32(length);
  }

  /** Sets an extended attribute whose bytes are there, when its fid goes; none at all remove it. */
  #finishXattr({ path, xattr }: Fid): void {
    const { xattrs } = this.#tree;
    if (xattr?.flags === undefined || xattrs === undefined) return;
    const { name, flags, bytes, written } = xattr;
    if (written !== bytes.length) throw new P9Refusal(P9Errno.EINVAL);
    const there = xattrs.get(path, name) !== undefined;
    if (bytes.length === 0) return xattrs.remove(path, name);
    if (there && (flags & P9XattrFlag.CREATE) !== 0) throw new P9Refusal(P9Errno.EEXIST);
    if (!there && (flags & P9XattrFlag.REPLACE) !== 0) throw new P9Refusal(P9Errno.ENODATA);
    xattrs.set(path, name, bytes);
  }

  #lock(request: RequestReader, data: P9Data): void {
    const number = request.u32();
    const type = request.u8();
    request.u32();
    const { file, range } = this.#lockRange(number, type, request);
    // Nobody waits here: a client that wants to asks again.
    const taken = this.#locks.lock(file, number, range, data.spend);
    this.#answer.u8(taken ? P9LockStatus.SUCCESS : P9LockStatus.BLOCKED);
  }

  #getLock(request: RequestReader, data: P9Data): void {
    const number = request.u32();
    const { file, range } = this.#lockRange(number, request.u8(), request);
    const found = this.#locks.find(file, range, data.spend) ??
      { ...range, type: P9LockType.UNLOCK };
    this.#answer.u8(found.type).u64(found.start).u64(found.length).u32(found.process);
    this.#answer.text(found.client);
  }

  #lockRange(
    number: number,
    type: number,
    request: RequestReader,
  ): { readonly file: bigint; readonly range: LockRange } {
    const { path, handle, opened } = this.#fid(number);
    const [start, length, process] = [request.u64(), request.u64(), request.u32()];
    const client = request.text();
    if (client.length > P9_MAX_NAME) throw new P9Refusal(P9Errno.ENAMETOOLONG);
    if (type > P9LockType.UNLOCK) throw new P9Refusal(P9Errno.EINVAL);
    if (!opened) throw new P9Refusal(P9Errno.EBADF);
    const file = (handle?.stat() ?? this.#tree.stat(path)).path;
    return { file, range: { type, start, length, process, client } };
  }

  #unlinkat(request: RequestReader): void {
    const path = child(this.#fid(request.u32()).path, request.name());
    const flags = request.u32();
    this.#changing();
    this.#tree.remove(path, (flags & P9_REMOVE_DIRECTORY) !== 0);
  }

  #renameat(request: RequestReader, data: P9Data): void {
    const from = child(this.#fid(request.u32()).path, request.name());
    const to = child(this.#fid(request.u32()).path, request.name());
    this.#changing();
    this.#tree.rename(from, to);
    // The fids of what moved, and of all below, go with it.
    for (const fid of this.#fids.values()) {
      data.spend(1);
      if (from.every((name, i) => fid.path[i] === name)) {
        data.spend(fid.path.length);
        fid.path = [...to, ...fid.path.slice(from.length)];
      }
    }
  }

  #remove(number: number): void {
    const fid = this.#fid(number);
    try {
      this.#changing();
      this.#tree.remove(fid.path, isDirectory(this.#tree.stat(fid.path)));
    } finally {
      // Whether it worked or not.
      this.#clunk(number);
    }
  }

  #clunk(number: number): void {
    const fid = this.#fid(number);
    try {
      this.#finishXattr(fid);
    } finally {
      this.#locks.release(number);
      this.#close(fid);
      this.#fids.delete(number);
    }
  }

  #openFile(fid: Fid, path: P9Path, flags: number): void {
    const access = flags & P9_ACCESS;
    const truncate = (flags & P9OpenFlag.TRUNCATE) !== 0;
    if (access !== P9OpenFlag.READ || truncate) this.#changing();
    if (access === P9_ACCESS) throw new P9Refusal(P9Errno.EINVAL);
    if (this.#open >= MAX_OPEN) throw new P9Refusal(P9Errno.EMFILE);
    fid.append = (flags & P9OpenFlag.APPEND) !== 0;
    fid.handle = this.#tree.open(path, {
      read: access !== P9OpenFlag.WRITE,
      write: access !== P9OpenFlag.READ || truncate,
      truncate,
      append: fid.append,
    });
    this.#open++;
    fid.access = access;
    fid.opened = true;
  }

  /** An open directory counts as a file does. */
  #opening(): void {
    if (this.#open >= MAX_OPEN) throw new P9Refusal(P9Errno.EMFILE);
    this.#open++;
  }

  /** Gives back what a fid has that goes. */
  #close(fid: Fid): void {
    if (fid.xattr !== undefined) this.#reserve(fid, 0);
    if (!fid.opened) return;
    this.#open--;
    this.#keep(fid, undefined);
    fid.handle?.[Symbol.dispose]();
  }

  #changing(): void {
    if (this.#tree.readOnly) throw new P9Refusal(P9Errno.EROFS);
  }

  #fid(number: number): Fid {
    const fid = this.#fids.get(number);
    if (fid === undefined) throw new P9Refusal(P9Errno.EBADF);
    return fid;
  }

  #add(number: number, path: P9Path, xattr?: Xattr): void {
    if (number === P9_NO_FID || this.#fids.has(number)) throw new P9Refusal(P9Errno.EINVAL);
    if (this.#fids.size >= MAX_FIDS) throw new P9Refusal(P9Errno.ENFILE);
    const fresh = { handle: undefined, entries: undefined, cost: 0, access: 0 };
    const fid = { path, ...fresh, append: false, opened: false, xattr };
    if (xattr !== undefined) this.#reserve(fid, xattr.bytes.length);
    this.#fids.set(number, fid);
  }

  #qid(attributes: P9Attributes): P9MessageWriter {
    return writeQid(this.#answer, attributes);
  }
}

/** Whether a fid stands for something that is open, and no longer for a place. */
function inUse({ opened, xattr }: Fid): boolean {
  return opened || xattr !== undefined;
}

/** Kinds of files that are neither files, directories nor symbolic links. */
const SPECIAL: ReadonlySet<number> = new Set([
  P9Mode.FIFO,
  P9Mode.CHARACTER,
  P9Mode.BLOCK,
  P9Mode.SOCKET,
]);

/** Names with a NUL behind each, as `listxattr` has them. */
function nameList(names: readonly string[]): Uint8Array {
  return new TextEncoder().encode(names.map((name) => `${name}\0`).join(""));
}

/** Linux's number of a device (`new_encode_dev`). */
function makeDevice(major: number, minor: number): bigint {
  return BigInt((minor & 0xff | (major & 0xfff) << 8 | (minor & ~0xff) << 12) >>> 0);
}
