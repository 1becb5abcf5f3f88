import { P9_MAX_XATTR, P9_MODE_KIND, P9Errno, P9Mode } from "@vireo/hal";
import type { Clock } from "../../device.ts";
import {
  type P9AttributeChanges,
  type P9Attributes,
  type P9Export,
  type P9Handle,
  type P9HandleOptions,
  type P9Path,
  P9Refusal,
  type P9Space,
  type P9Xattrs,
} from "./export.ts";

/** Options of {@linkcode MemoryTree}. */
export interface MemoryTreeOptions {
  /** Whether it takes no changes. */
  readonly readOnly?: boolean;
  /** Bytes that all files together may have; 64 MiB by default. */
  readonly capacity?: number;
  /** Files that there may be; 65536 by default. */
  readonly maxFiles?: number;
  /** Tells the time, in milliseconds since 1970. */
  readonly clock?: Clock;
}

const BLOCK = 4096;
/** Bytes that a name or a target counts for. */
const NODE = 512;
/** Bytes that an extended attribute counts for besides its name and its value. */
const XATTR = 64;

interface Node {
  readonly path: bigint;
  readonly kind: P9Mode;
  mode: number;
  bytes: Uint8Array;
  size: number;
  atime: number;
  mtime: number;
  ctime: number;
  uid: number;
  gid: number;
  readonly children: Map<string, Node>;
  readonly target: string;
  readonly device: bigint;
  /** Extended attributes by name. */
  readonly xattrs: Map<string, Uint8Array>;
  /** Bytes of the list of their names, with a NUL behind each. */
  xattrList: number;
  /** Handles on it: one that was removed keeps its room until they are closed. */
  opens: number;
  /** Names that it has in directories. */
  links: number;
}

/**
 * A tree of files in memory.
 *
 * @example
 * ```ts
 * import { MemoryTree } from "@vireo/emu/p9";
 * import { assertEquals } from "@std/assert";
 *
 * const tree = new MemoryTree({ "poems/first.txt": "roses" });
 * tree.mkdir(["drafts"], 0o755);
 * assertEquals([...tree.list([])].sort(), ["drafts", "poems"]);
 * ```
 */
export class MemoryTree implements P9Export {
  /** Whether it takes no changes. */
  readonly readOnly: boolean;
  /** Extended attributes, which count to the tree's bytes. */
  readonly xattrs: P9Xattrs = {
    list: (path) => [...this.#find(path).xattrs.keys()].sort(),
    get: (path, name) => this.#find(path).xattrs.get(name)?.slice(),
    set: (path, name, value) => {
      const node = this.#find(path);
      const before = node.xattrs.get(name);
      const cost = xattrCost(name, value) - (before === undefined ? 0 : xattrCost(name, before));
      const list = node.xattrList + (before === undefined ? listed(name) : 0);
      // As Linux's file systems: a file has no more than one list can name, which bounds the work of a list, too.
      if (list > P9_MAX_XATTR) throw new P9Refusal(P9Errno.ENOSPC);
      this.#take(cost);
      node.xattrList = list;
      node.xattrs.set(name, value.slice());
      node.ctime = this.#clock();
    },
    remove: (path, name) => {
      const node = this.#find(path);
      const value = node.xattrs.get(name);
      if (value === undefined) throw new P9Refusal(P9Errno.ENODATA);
      this.#used -= xattrCost(name, value);
      node.xattrList -= listed(name);
      node.xattrs.delete(name);
      node.ctime = this.#clock();
    },
  };
  readonly #capacity: number;
  readonly #maxFiles: number;
  readonly #clock: Clock;
  readonly #root: Node;
  #used = 0;
  #count = 0;
  #nextPath = 1n;

  /**
   * Makes a tree.
   *
   * @param files Contents by path; directories on the way are made.
   */
  constructor(
    files: Readonly<Record<string, Uint8Array | string>> = {},
    options: MemoryTreeOptions = {},
  ) {
    this.readOnly = options.readOnly ?? false;
    this.#capacity = options.capacity ?? 64 << 20;
    this.#maxFiles = options.maxFiles ?? 65536;
    this.#clock = options.clock ?? Date.now;
    this.#root = this.#make(P9Mode.DIRECTORY, 0o755);
    for (const [path, contents] of Object.entries(files)) {
      const names = path.split("/").filter((name) => name !== "");
      for (let depth = 1; depth < names.length; depth++) {
        const directory = names.slice(0, depth);
        if (this.#look(directory) === undefined) this.mkdir(directory, 0o755);
      }
      this.create(names, 0o644);
      const bytes = typeof contents === "string" ? new TextEncoder().encode(contents) : contents;
      this.#write(this.#find(names), 0, bytes);
    }
  }

  /** A file's contents, for tests; undefined if there is none. */
  contents(path: string): Uint8Array | undefined {
    const node = this.#look(path.split("/").filter((name) => name !== ""));
    return node?.kind === P9Mode.FILE ? node.bytes.slice(0, node.size) : undefined;
  }

  /** Reads the attributes of a file. */
  stat(path: P9Path): P9Attributes {
    return attributes(this.#find(path));
  }

  /** Names in a directory. */
  list(path: P9Path): readonly string[] {
    return [...this.#directory(path).children.keys()].sort();
  }

  /** Opens a file. */
  open(path: P9Path, options: P9HandleOptions): P9Handle {
    const node = this.#find(path);
    if (node.kind === P9Mode.DIRECTORY) throw new P9Refusal(P9Errno.EISDIR);
    if (node.kind === P9Mode.SYMLINK) throw new P9Refusal(P9Errno.ELOOP);
    // There is nothing behind a device file, a pipe or a socket.
    if (node.kind !== P9Mode.FILE) throw new P9Refusal(P9Errno.ENXIO);
    if (options.truncate) this.#resize(node, 0);
    node.opens++;
    let open = true;
    return {
      read: (offset, into) => {
        node.atime = this.#clock();
        const length = Math.max(0, Math.min(into.length, node.size - offset));
        into.set(node.bytes.subarray(offset, offset + length));
        return length;
      },
      write: (offset, bytes) => this.#write(node, options.append ? node.size : offset, bytes),
      sync: () => {},
      stat: () => attributes(node),
      truncate: (size) => this.#resize(node, size),
      [Symbol.dispose]: () => {
        if (!open) return;
        open = false;
        node.opens--;
        this.#release(node);
      },
    };
  }

  /** Makes an empty file. */
  create(path: P9Path, mode: number): void {
    this.#add(path, () => this.#make(P9Mode.FILE, mode));
  }

  /** Makes a directory. */
  mkdir(path: P9Path, mode: number): void {
    this.#add(path, () => this.#make(P9Mode.DIRECTORY, mode));
  }

  /** Makes a symbolic link. */
  symlink(path: P9Path, target: string): void {
    this.#add(path, () => this.#make(P9Mode.SYMLINK, 0o777, target));
  }

  /** Gives a file a second name. */
  link(from: P9Path, to: P9Path): void {
    const node = this.#find(from);
    if (node.kind === P9Mode.DIRECTORY) throw new P9Refusal(P9Errno.EPERM);
    this.#add(to, () => node);
    node.ctime = this.#clock();
  }

  /** Makes a device file, a pipe or a socket, which has nothing behind it. */
  mknod(path: P9Path, mode: number, device: bigint): void {
    const kind = (mode & P9_MODE_KIND) as P9Mode;
    this.#add(path, () => this.#make(kind, mode, "", device));
  }

  /** Where a symbolic link points to. */
  readlink(path: P9Path): string {
    const node = this.#find(path);
    if (node.kind !== P9Mode.SYMLINK) throw new P9Refusal(P9Errno.EINVAL);
    return node.target;
  }

  /** Removes a file or an empty directory. */
  remove(path: P9Path, directory: boolean): void {
    const node = this.#find(path);
    if (directory !== (node.kind === P9Mode.DIRECTORY)) {
      throw new P9Refusal(directory ? P9Errno.ENOTDIR : P9Errno.EISDIR);
    }
    this.#detach(path, node);
  }

  /** Moves a file or directory. */
  rename(from: P9Path, to: P9Path): void {
    const node = this.#find(from);
    const place = this.#look(to);
    if (place === node) return;
    // Into itself it cannot go.
    if (from.every((name, i) => to[i] === name)) throw new P9Refusal(P9Errno.EINVAL);
    const directory = this.#directory(to.slice(0, -1));
    if (place !== undefined) {
      const full = place.kind === P9Mode.DIRECTORY;
      if (full !== (node.kind === P9Mode.DIRECTORY)) {
        throw new P9Refusal(full ? P9Errno.EISDIR : P9Errno.ENOTDIR);
      }
      this.#detach(to, place);
    }
    this.#directory(from.slice(0, -1)).children.delete(from.at(-1)!);
    directory.children.set(to.at(-1)!, node);
    node.ctime = this.#clock();
  }

  /** Changes a file. */
  change(path: P9Path, { mode, size, uid, gid, atime, mtime }: P9AttributeChanges): void {
    const node = this.#find(path);
    if (size !== undefined) {
      if (node.kind !== P9Mode.FILE) throw new P9Refusal(P9Errno.EISDIR);
      this.#resize(node, size);
    }
    if (mode !== undefined) node.mode = node.kind | mode & 0o7777;
    if (uid !== undefined) node.uid = uid;
    if (gid !== undefined) node.gid = gid;
    if (atime !== undefined) node.atime = atime;
    if (mtime !== undefined) node.mtime = mtime;
    node.ctime = this.#clock();
  }

  /** How much there is room for. */
  space(): P9Space {
    const free = Math.floor((this.#capacity - this.#used) / BLOCK);
    const blocks = Math.floor(this.#capacity / BLOCK);
    const files = this.#maxFiles;
    return { blockSize: BLOCK, blocks, free, files, freeFiles: files - this.#count };
  }

  #make(kind: P9Mode, mode: number, target = "", device = 0n): Node {
    if (this.#count >= this.#maxFiles) throw new P9Refusal(P9Errno.ENOSPC);
    this.#take(NODE + target.length);
    this.#count++;
    const now = this.#clock();
    return {
      path: this.#nextPath++,
      kind,
      mode: kind | mode & 0o7777,
      bytes: new Uint8Array(0),
      size: target.length,
      atime: now,
      mtime: now,
      ctime: now,
      uid: 0,
      gid: 0,
      children: new Map(),
      target,
      device,
      xattrs: new Map(),
      xattrList: 0,
      opens: 0,
      links: 0,
    };
  }

  #add(path: P9Path, make: () => Node): void {
    const directory = this.#directory(path.slice(0, -1));
    const name = path.at(-1)!;
    if (directory.children.has(name)) throw new P9Refusal(P9Errno.EEXIST);
    const node = make();
    directory.children.set(name, node);
    node.links++;
    directory.mtime = directory.ctime = this.#clock();
  }

  #detach(path: P9Path, node: Node): void {
    if (node.children.size > 0) throw new P9Refusal(P9Errno.ENOTEMPTY);
    if (path.length === 0) throw new P9Refusal(P9Errno.EBUSY);
    this.#directory(path.slice(0, -1)).children.delete(path.at(-1)!);
    node.links--;
    node.ctime = this.#clock();
    this.#release(node);
  }

  /** Gives the room of a file back that is neither in a directory nor open. */
  #release(node: Node): void {
    if (node.links > 0 || node.opens > 0) return;
    this.#count--;
    this.#used -= NODE + node.target.length + node.bytes.length;
    for (const [name, value] of node.xattrs) this.#used -= xattrCost(name, value);
    node.bytes = new Uint8Array(0);
  }

  #look(path: P9Path): Node | undefined {
    let node: Node | undefined = this.#root;
    for (const name of path) node = node?.children.get(name);
    return node;
  }

  #find(path: P9Path): Node {
    const node = this.#look(path);
    if (node === undefined) throw new P9Refusal(P9Errno.ENOENT);
    return node;
  }

  #directory(path: P9Path): Node {
    const node = this.#find(path);
    if (node.kind !== P9Mode.DIRECTORY) throw new P9Refusal(P9Errno.ENOTDIR);
    return node;
  }

  #write(node: Node, offset: number, bytes: Uint8Array): void {
    const end = offset + bytes.length;
    if (end > node.size) this.#resize(node, end);
    node.bytes.set(bytes, offset);
    node.mtime = node.ctime = this.#clock();
  }

  #resize(node: Node, size: number): void {
    if (size > this.#capacity) throw new P9Refusal(P9Errno.EFBIG);
    if (size > node.bytes.length) {
      // Twice as much as before, so that what grows bit by bit is not copied each time.
      const room = Math.min(Math.max(size, 2 * node.bytes.length), this.#capacity);
      const grown = this.#fits(room - node.bytes.length) ? room : size;
      this.#take(grown - node.bytes.length);
      const bytes = new Uint8Array(grown);
      bytes.set(node.bytes.subarray(0, node.size));
      node.bytes = bytes;
    } else if (size < node.bytes.length / 4) {
      // Most of the room goes back; what stays is copied, and less than what came before it.
      this.#used -= node.bytes.length - size;
      node.bytes = node.bytes.slice(0, size);
    } else node.bytes.fill(0, size, node.size);
    node.size = size;
    node.mtime = node.ctime = this.#clock();
  }

  #fits(bytes: number): boolean {
    return this.#used + bytes <= this.#capacity;
  }

  #take(bytes: number): void {
    if (!this.#fits(bytes)) throw new P9Refusal(P9Errno.ENOSPC);
    this.#used += bytes;
  }
}

function attributes(node: Node): P9Attributes {
  const { mode, path, uid, gid, device, atime, mtime, ctime } = node;
  const directory = (mode & P9_MODE_KIND) === P9Mode.DIRECTORY;
  const size = directory ? BLOCK : node.size;
  const links = directory ? 2 : node.links;
  return { mode, size, path, uid, gid, device, atime, mtime, ctime, links };
}

/** Bytes of a name in a list of extended attributes. */
function listed(name: string): number {
  return new TextEncoder().encode(name).length + 1;
}

/** Bytes that an extended attribute counts for. */
function xattrCost(name: string, value: Uint8Array): number {
  return XATTR + name.length + value.length;
}
