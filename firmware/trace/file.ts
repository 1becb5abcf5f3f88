import { VireoError } from "@vireo/hal";

/** Bytes that are kept before they are written. */
const CHUNK = 1 << 16;
/** Characters of text that are kept before they are encoded; each takes three bytes at most. */
const TEXT = CHUNK >> 3;
const utf8 = new TextEncoder();

/** A file that is written as it goes: whole chunks at once, the rest at the end of the turn. */
export class TraceFile implements Disposable {
  readonly #file: Deno.FsFile;
  readonly #chunk = new Uint8Array(CHUNK);
  #length = 0;
  #text = "";
  #scheduled = false;
  #closed = false;

  /**
   * Makes the file.
   *
   * @param what What it is for, as in `Cannot write the trace to ...`.
   * @throws {VireoError} `HOST_ERROR` If it cannot be made.
   */
  constructor(path: string, what = "trace") {
    try {
      this.#file = Deno.openSync(path, { write: true, create: true, truncate: true });
    } catch (cause) {
      throw new VireoError("HOST_ERROR", `Cannot write the ${what} to ${path}`, { cause });
    }
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
    if (bytes.length > CHUNK) return writeAll(this.#file, bytes);
    this.#chunk.set(bytes, this.#length);
    this.#length += bytes.length;
    this.#later();
  }

  /** Writes the text that is kept, at the end of the turn. */
  #later(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setTimeout(() => {
      this.#scheduled = false;
      if (!this.#closed) this.#flush();
    });
  }

  #encode(): void {
    const text = this.#text;
    this.#text = "";
    if (text !== "") this.write(utf8.encode(text));
  }

  /** Writes what is left, and closes the file. */
  [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#flush();
    this.#closed = true;
    this.#file.close();
  }

  #flush(): void {
    this.#encode();
    writeAll(this.#file, this.#chunk.subarray(0, this.#length));
    this.#length = 0;
  }
}

/** Writes all bytes. */
export function writeAll(to: { writeSync(bytes: Uint8Array): number }, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length;) at += to.writeSync(bytes.subarray(at));
}
