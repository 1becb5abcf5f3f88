/**
 * What a block device model stores its sectors in.
 *
 * An operation that finishes at once returns nothing, which is the fast path; one that takes a while
 * returns a promise, which `read` and `write` may do only on an `asynchronous` disk. Ranges are inside the disk and whole sectors: the device model checked them.
 * A failure throws (or rejects with) a `VireoError` `HOST_ERROR`; the device answers IOERR.
 */
export interface DiskBackend extends Disposable {
  /** Size in bytes, a multiple of 512. */
  readonly size: number;
  /** Whether writes are refused by the storage itself. */
  readonly readOnly: boolean;
  /**
   * The whole contents when they lie in memory, so that reads and writes are one copy; such a disk is
   * never asked to `read` or `write`.
   */
  readonly memory?: Uint8Array | undefined;

  /** Whether reads and writes may return promises: each then gets a buffer of its own. */
  readonly asynchronous?: boolean | undefined;

  /** Copies `length` bytes of the disk from `offset` to `into`, from its byte `start` on. */
  read(offset: number, into: Uint8Array, start: number, length: number): void | Promise<void>;
  /** Copies `length` bytes of `from`, from its byte `start` on, to the disk at `offset`. */
  write(offset: number, from: Uint8Array, start: number, length: number): void | Promise<void>;
  /** Makes all completed writes durable. */
  flush(): void | Promise<void>;
  /** Makes a range read as zeroes, giving its storage back where that is possible. */
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
