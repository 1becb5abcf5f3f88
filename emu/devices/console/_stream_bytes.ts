import type { BytePort } from "../../backends/byte_port.ts";
import type { StreamPort } from "../../backends/stream_port.ts";

/** Most bytes of a chunk for the host. */
const CHUNK = 65536;

/** The host's end of a console port over two Web Streams. */
export class StreamBytes implements BytePort {
  onChange: (() => void) | undefined;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  #chunk: Uint8Array | undefined;
  #reading = false;
  #ended = false;
  /** Whether somebody waits for the writer to have room. */
  #asked = false;
  #broken = false;

  /** Locks both streams. */
  constructor({ readable, writable }: StreamPort) {
    this.#reader = readable.getReader();
    this.#writer = writable.getWriter();
    // A sink that fails is noticed at the next write; this only marks the rejection as seen.
    this.#writer.closed.catch(() => this.#broken = true);
  }

  get room(): number {
    // A broken sink takes all: `write` says that it is broken.
    if (this.#broken || (this.#writer.desiredSize ?? 1) > 0) return CHUNK;
    if (!this.#asked) {
      this.#asked = true;
      const ready = (): void => {
        this.#asked = false;
        this.onChange?.();
      };
      this.#writer.ready.then(ready, ready);
    }
    return 0;
  }

  write(bytes: Uint8Array): void {
    if (this.#broken) throw new Error("Cannot write to the host: its stream is broken");
    // Not awaited: the desired size is the back-pressure, and a failed write shows at the next one.
    this.#writer.write(bytes.slice()).catch(() => this.#broken = true);
  }

  read(): Uint8Array | undefined | null {
    const chunk = this.#chunk;
    this.#chunk = undefined;
    if (chunk !== undefined) return chunk;
    if (this.#ended) return null;
    if (!this.#reading) {
      this.#reading = true;
      this.#reader.read().then(this.#came, this.#came);
    }
    return undefined;
  }

  close(): void {
    this.#writer.close().catch(() => {});
    this.#reader.cancel().catch(() => {});
  }

  readonly #came = (result: ReadableStreamReadResult<Uint8Array> | Error): void => {
    this.#reading = false;
    if ("value" in result && result.value !== undefined) this.#chunk = result.value;
    else this.#ended = true;
    this.onChange?.();
  };
}
