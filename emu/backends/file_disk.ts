import fs from "node:fs";
import { VireoError } from "@vireo/hal";
import { Holes } from "./_holes.ts";
import type { DiskBackend } from "./disk.ts";

const ZEROES = new Uint8Array(1 << 20);

/** How to open a disk image. */
export interface FileDiskOptions {
  /** Opens the file for reading only. */
  readonly readOnly?: boolean;
  /** If the file does not exist: creates it with this size in bytes, a multiple of 512. */
  readonly create?: number;
}

/**
 * A disk in a raw image file.
 *
 * It uses synchronous positioned reads and writes of `node:fs`: one call where `Deno.FsFile` needs a
 * seek and a read, and no copy of the buffer (1.0 against 1.1 us for 4 KiB from the page cache).
 *
 * @example
 * ```ts
 * import { FileDisk } from "@vireo/emu/backends";
 * import { assertEquals } from "@std/assert";
 *
 * const path = await Deno.makeTempFile();
 * await Deno.truncate(path, 1024);
 * {
 *   using disk = new FileDisk(path);
 *   disk.write(512, new Uint8Array(512).fill(7), 0, 512);
 * }
 * assertEquals((await Deno.readFile(path))[1023], 7);
 * await Deno.remove(path);
 * ```
 */
export class FileDisk implements DiskBackend {
  /** Path of the image. */
  readonly path: string;
  /** Whether the file was opened for reading only. */
  readonly readOnly: boolean;
  readonly #holes = new Holes();
  #fd: number;
  #size: number;

  /**
   * Opens an image.
   *
   * @throws {VireoError} `HOST_ERROR` If the file cannot be opened, is a directory, or its size is not
   * a multiple of 512 (a truncated image).
   */
  constructor(path: string, options: FileDiskOptions = {}) {
    this.path = path;
    this.readOnly = options.readOnly ?? false;
    let fd = -1;
    try {
      const creating = options.create !== undefined && !fs.existsSync(path);
      fd = fs.openSync(path, this.readOnly ? "r" : creating ? "wx+" : "r+");
      if (creating) fs.ftruncateSync(fd, options.create);
      const info = fs.fstatSync(fd);
      if (info.isDirectory()) throw new Error("Is a directory");
      // A block device reports size 0, so its end is found by reading the last position.
      this.#size = info.isFile() ? info.size : endOf(path);
    } catch (cause) {
      if (fd >= 0) fs.closeSync(fd);
      throw failure(`Cannot open disk image ${path}`, cause);
    }
    if (this.#size % 512 !== 0) {
      fs.closeSync(fd);
      throw new VireoError(
        "HOST_ERROR",
        `Cannot use disk image ${path}: its size must be whole sectors, so it seems truncated`,
        {
          seen: `${this.#size} bytes`,
          expected: "a multiple of 512 bytes",
        },
      );
    }
    this.#fd = fd;
  }

  /** Size in bytes. */
  get size(): number {
    return this.#size;
  }

  /** Reads a range. */
  read(offset: number, into: Uint8Array, start: number, length: number): void {
    let done = 0;
    try {
      while (done < length) {
        const n = fs.readSync(this.#fd, into, start + done, length - done, offset + done);
        // Something truncated the file: the guest must not get stale bytes as data.
        if (n === 0) throw new Error("Unexpected end of file");
        done += n;
      }
    } catch (cause) {
      throw failure(`Cannot read disk image ${this.path} at byte ${offset + done}`, cause);
    }
  }

  /** Writes a range. */
  write(offset: number, from: Uint8Array, start: number, length: number): void {
    let done = 0;
    try {
      while (done < length) {
        done += fs.writeSync(this.#fd, from, start + done, length - done, offset + done);
      }
    } catch (cause) {
      throw failure(`Cannot write disk image ${this.path} at byte ${offset + done}`, cause);
    }
  }

  /** Writes the data of all completed writes to the medium (`fdatasync`). */
  flush(): void {
    try {
      fs.fdatasyncSync(this.#fd);
    } catch (cause) {
      throw failure(`Cannot flush disk image ${this.path}`, cause);
    }
  }

  /** Makes a range read as zeroes: a hole where the host can make one, and written otherwise. */
  zero(offset: number, length: number): void {
    if (!this.readOnly && this.#holes.punch(this.#fd, offset, length)) return;
    for (let done = 0; done < length; done += ZEROES.length) {
      this.write(offset + done, ZEROES, 0, Math.min(ZEROES.length, length - done));
    }
  }

  /** Gives the storage of a range back where the host can make a hole, and does nothing otherwise. */
  discard(offset: number, length: number): void {
    if (!this.readOnly) this.#holes.punch(this.#fd, offset, length);
  }

  /**
   * Cuts or extends the file.
   *
   * @throws {VireoError} `HOST_ERROR` If the host refuses.
   */
  resize(size: number): void {
    if (!Number.isInteger(size) || size < 0 || size % 512 !== 0) {
      throw new RangeError(`Cannot resize a disk to ${size} bytes: expected a multiple of 512`);
    }
    try {
      fs.ftruncateSync(this.#fd, size);
    } catch (cause) {
      throw failure(`Cannot resize disk image ${this.path}`, cause);
    }
    this.#size = size;
  }

  /** Closes the file. */
  [Symbol.dispose](): void {
    if (this.#fd < 0) return;
    this.#holes[Symbol.dispose]();
    fs.closeSync(this.#fd);
    this.#fd = -1;
  }
}

function endOf(path: string): number {
  using file = Deno.openSync(path, { read: true });
  return file.seekSync(0, Deno.SeekMode.End);
}

function failure(what: string, cause: unknown): VireoError {
  return new VireoError("HOST_ERROR", what, {
    seen: cause instanceof Error ? cause.message : String(cause),
    cause,
  });
}
