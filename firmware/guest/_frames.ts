import { joinBytes } from "@vireo/hal";

/** The first bytes of every frame, see firmware/image/guest.c. */
const SYNC = [0x16, 0x56] as const;

/** Length of a frame's header: two bytes of sync, the kind, four hex digits. */
const HEADER = 7;

/** The most bytes that one frame carries. */
export const PAYLOAD = 4096;

/** Called with each frame, and with what is between them. */
interface FrameSink {
  /** A frame; the payload is only valid during the call. */
  frame(kind: string, payload: Uint8Array): void;
  /** Bytes outside of any frame: the kernel talks. */
  text(bytes: Uint8Array): void;
}

/** Makes a frame. */
export function encodeFrame(kind: string, payload: Uint8Array): Uint8Array {
  const head = `\x16V${kind}${payload.length.toString(16).padStart(4, "0")}`;
  return joinBytes(new TextEncoder().encode(head), payload);
}

/** Takes frames out of the bytes of a serial line, however they are cut. */
export class FrameDecoder {
  readonly #sink: FrameSink;
  #rest: Uint8Array = new Uint8Array();

  /** @param sink Told of what is found. */
  constructor(sink: FrameSink) {
    this.#sink = sink;
  }

  /** Takes the next bytes of the line. */
  push(chunk: Uint8Array): void {
    const bytes = this.#rest.length === 0 ? chunk : joinBytes(this.#rest, chunk);
    let at = 0;
    for (;;) {
      const start = findSync(bytes, at);
      if (start > at) this.#sink.text(bytes.subarray(at, start));
      at = start;
      if (bytes.length - at < HEADER) break;
      const length = parseHeader(bytes, at);
      if (length === undefined) {
        this.#sink.text(bytes.subarray(at, at + 1));
        at++;
        continue;
      }
      const end = at + HEADER + length;
      if (bytes.length < end) break;
      const kind = String.fromCharCode(bytes[at + 2]!);
      this.#sink.frame(kind, bytes.subarray(at + HEADER, end));
      at = end;
    }
    this.#rest = bytes.slice(at);
  }

  /** Ends the line: the rest of its bytes is text. */
  end(): void {
    if (this.#rest.length > 0) this.#sink.text(this.#rest);
    this.#rest = new Uint8Array();
  }
}

/** The next place where a frame may begin, or the end. */
function findSync(bytes: Uint8Array, from: number): number {
  for (let at = bytes.indexOf(SYNC[0], from); at !== -1; at = bytes.indexOf(SYNC[0], at + 1)) {
    if (at + 1 === bytes.length || bytes[at + 1] === SYNC[1]) return at;
  }
  return bytes.length;
}

function parseHeader(bytes: Uint8Array, at: number): number | undefined {
  const digits = new TextDecoder().decode(bytes.subarray(at + 3, at + HEADER));
  const length = /^[0-9a-f]{4}$/.test(digits) ? parseInt(digits, 16) : Infinity;
  return length <= PAYLOAD ? length : undefined;
}

/** Most characters of a line that an error shows. */
const LINE = 200;

/**
 * Lines of a console for an error: a frame that was cut off by the end of the line leaves bytes among them
 * other than text, which are shown as dots.
 */
export function printable(lines: readonly string[]): string {
  return lines.map((line) => {
    // deno-lint-ignore no-control-regex -- control characters are what is looked for
    const text = line.replace(/\r/g, "").replace(/[\x00-\x08\x0b-\x1f\x7f-\x9f\ufffd]+/g, "...");
    return text.length > LINE ? `${text.slice(0, LINE)}...` : text;
  }).join("\n");
}
