import { P9Errno, P9LockType } from "@vireo/hal";
import { P9Refusal } from "./export.ts";

/** Most locks that a driver may have. */
export const MAX_LOCKS = 1024;

/** The owner of a lock: a process of a client. */
interface Owner {
  /** The process, as the client numbers it. */
  readonly process: number;
  /** The client's name for itself. */
  readonly client: string;
}

/** A range of a file, from its first byte to behind its last one; a length of 0 means to the end. */
export interface LockRange extends Owner {
  /** The kind: {@linkcode P9LockType}. */
  readonly type: number;
  /** First byte. */
  readonly start: number;
  /** Bytes; 0 for all from there. */
  readonly length: number;
}

/** A lock that is held. */
interface Lock extends Owner {
  readonly type: number;
  readonly start: number;
  readonly end: number;
  /** The fid that it was taken by. */
  readonly fid: number;
}

/** Locks as plain data. */
export type SavedLocks = readonly (readonly [file: bigint, locks: readonly Lock[]])[];

/** The locks of ranges of files, as POSIX has them: an owner's own do not hinder it, and it may change them. */
export class LockTable {
  readonly #files = new Map<bigint, Lock[]>();
  #count = 0;

  /** Locks that are held. */
  get count(): number {
    return this.#count;
  }

  /** Takes, changes or gives back a lock. @returns Whether nobody else's is in the way. */
  lock(file: bigint, fid: number, range: LockRange, spend: (steps: number) => void): boolean {
    const { type, process, client } = range;
    if (type !== P9LockType.UNLOCK && this.#inTheWay(file, range, spend) !== undefined) {
      return false;
    }
    const { start, end } = bounds(range);
    const locks = this.#files.get(file) ?? [];
    const kept: Lock[] = [];
    for (const lock of locks) {
      if (!isOwner(lock, range) || lock.end <= start || lock.start >= end) kept.push(lock);
      else {
        if (lock.start < start) kept.push({ ...lock, end: start });
        if (lock.end > end) kept.push({ ...lock, start: end });
      }
    }
    if (type !== P9LockType.UNLOCK) kept.push({ type, start, end, fid, process, client });
    // Giving back the middle of a lock leaves two.
    if (this.#count + kept.length - locks.length > MAX_LOCKS) throw new P9Refusal(P9Errno.ENOMEM);
    this.#replace(file, kept);
    return true;
  }

  /** The first lock that is in the way of one; undefined if none is. */
  find(file: bigint, range: LockRange, spend: (steps: number) => void): LockRange | undefined {
    const found = this.#inTheWay(file, range, spend);
    if (found === undefined) return undefined;
    const { type, start, end, process, client } = found;
    return { type, start, length: end === Infinity ? 0 : end - start, process, client };
  }

  /** Gives back the locks that were taken by a fid. */
  release(fid: number): void {
    if (this.#count === 0) return;
    for (const [file, locks] of this.#files) {
      this.#replace(file, locks.filter((lock) => lock.fid !== fid));
    }
  }

  /** Forgets all. */
  clear(): void {
    this.#files.clear();
    this.#count = 0;
  }

  /** All locks as plain data. */
  snapshot(): SavedLocks {
    return [...this.#files];
  }

  /** Takes locks back. */
  restore(saved: SavedLocks): void {
    this.clear();
    for (const [file, locks] of saved) this.#replace(file, [...locks]);
  }

  #inTheWay(file: bigint, range: LockRange, spend: (steps: number) => void): Lock | undefined {
    const { start, end } = bounds(range);
    const locks = this.#files.get(file) ?? [];
    spend(locks.length);
    return locks.find((lock) =>
      !isOwner(lock, range) && lock.start < end && start < lock.end &&
      (lock.type === P9LockType.WRITE || range.type === P9LockType.WRITE)
    );
  }

  #replace(file: bigint, locks: Lock[]): void {
    this.#count += locks.length - (this.#files.get(file)?.length ?? 0);
    if (locks.length === 0) this.#files.delete(file);
    else this.#files.set(file, locks);
  }
}

function isOwner(lock: Owner, { process, client }: Owner): boolean {
  return lock.process === process && lock.client === client;
}

/** @throws {P9Refusal} If it ends beyond what a number can say. */
function bounds({ start, length }: LockRange): { readonly start: number; readonly end: number } {
  if (length === 0) return { start, end: Infinity };
  if (!Number.isSafeInteger(start + length)) throw new P9Refusal(P9Errno.EINVAL);
  return { start, end: start + length };
}
