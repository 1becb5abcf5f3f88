/**
 * The storage of a block device model.
 *
 * An operation that finishes at once returns nothing, which is the fast path; a slow one returns a promise,
 * which `read` and `write` may do only on an `asynchronous` disk. The device model has checked that ranges
 * are whole sectors inside the disk. A failure throws, or rejects with, a `VireoError` `HOST_ERROR`; the
 * device answers IOERR.
 */
export interface DiskBackend extends Disposable {
  /** Size in bytes, a multiple of 512. */
  readonly size: number;
  /** Whether the storage itself refuses writes. */
  readonly readOnly: boolean;
  /**
   * The whole contents of a disk in memory, so that reads and writes are one copy. The device model never
   * calls `read` or `write` of such a disk.
   */
  readonly memory?: Uint8Array | undefined;

  /** Whether reads and writes may return promises; each then gets its own buffer. */
  readonly asynchronous?: boolean | undefined;

  /** Copies `length` bytes of the disk from `offset` to `into`, from its byte `start` on. */
  read(offset: number, into: Uint8Array, start: number, length: number): void | Promise<void>;
  /** Copies `length` bytes of `from`, from its byte `start` on, to the disk at `offset`. */
  write(offset: number, from: Uint8Array, start: number, length: number): void | Promise<void>;
  /** Makes all completed writes durable. */
  flush(): void | Promise<void>;
  /** Makes a range read as zeroes, and frees its storage where that is possible. */
  zero(offset: number, length: number): void | Promise<void>;
  /**
   * Takes the hint that a range is not needed: what it reads as afterwards is open. It must cost no more
   * than ignoring it, so a disk that cannot give storage back cheaply leaves it out.
   */
  discard?(offset: number, length: number): void | Promise<void>;
  /**
   * Changes the size; new bytes read as zeroes.
   *
   * @throws {VireoError} `HOST_ERROR` If the storage cannot.
   */
  resize(size: number): void;
}
