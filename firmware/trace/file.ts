import type { VireoError } from "@vireo/hal";
import { hostError } from "../terminal/files.ts";

/** Bytes that are kept before they are written. */
const CHUNK = 1 << 17;
/** Characters of text that are kept before they are encoded; each takes three bytes at most. */
const TEXT = CHUNK >> 4;
const utf8 = new TextEncoder();

/** A file that is written as it goes: whole chunks at once, the rest at the end of the turn. */
export class TraceFile implements Disposable {
  readonly #file: Deno.FsFile;
  /** Writes to the file, or notes why the host refuses, after which there is nothing more to write. */
  readonly #put: (bytes: Uint8Array) => void;
  #refused: VireoError | undefined;
  readonly #chunk = new Uint8Array(CHUNK);
  #length = 0;
  #text = "";
  /** Until the end of the turn. */
  #timer: ReturnType<typeof setTimeout> | undefined;
  #closed = false;

  /**
   * Makes the file.
   *
   * @param what What it is for, as in `Cannot write the trace to ...`.
   * @throws {VireoError} `HOST_ERROR` If it cannot be made.
   */
  constructor(path: string, what = "trace") {
    const refused = (cause: unknown): VireoError =>
      hostError(`Cannot write the ${what} to ${path}`, cause);
    try {
      this.#file = Deno.openSync(path, { write: true, create: true, truncate: true });
    } catch (cause) {
      throw refused(cause);
    }
    this.#put = (bytes) => {
      try {
        if (this.#refused === undefined) writeAll(this.#file, bytes);
      } catch (cause) {
        this.#refused = refused(cause);
      }
    };
  }

  /** Appends text, which is encoded many lines at once: for a line alone that costs more than to make it. */
  text(text: string): void {
    this.#text += text;
    if (this.#text.length > TEXT) this.#encode();
    else this.#later();
  }

  /** Appends bytes. */
  write(bytes: Uint8Array): void {
    if (this.#closed) return;
    this.#encode();
    if (this.#length + bytes.length > CHUNK) this.#flush();
    if (bytes.length > CHUNK) return this.#put(bytes);
    this.#chunk.set(bytes, this.#length);
    this.#length += bytes.length;
    this.#later();
  }

  /** Writes the text that is kept, at the end of the turn. */
  #later(): void {
    if (this.#closed) return;
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#flush();
    });
  }

  #encode(): void {
    const text = this.#text;
    if (text === "" || this.#closed) return;
    this.#text = "";
    // A line may be longer than a chunk.
    if (3 * text.length > CHUNK) return this.write(utf8.encode(text));
    if (this.#length + 3 * text.length > CHUNK) this.#flush();
    this.#length += utf8.encodeInto(text, this.#chunk.subarray(this.#length)).written;
    this.#later();
  }

  /**
   * Writes what is left, and closes the file.
   *
   * @throws {VireoError} `HOST_ERROR` If the host refused to write some of it.
   */
  [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#flush();
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#file.close();
    if (this.#refused !== undefined) throw this.#refused;
  }

  #flush(): void {
    this.#encode();
    this.#put(this.#chunk.subarray(0, this.#length));
    this.#length = 0;
  }
}

/** Writes all bytes. */
export function writeAll(to: { writeSync(bytes: Uint8Array): number }, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length;) at += to.writeSync(bytes.subarray(at));
}
