import { type Timers, waitOn, type WaitOptions } from "@vireo/drivers/core";
import { VireoError } from "@vireo/hal";
import type { TcpClient, TcpStream } from "./host.ts";

/** Most bytes of an answer's head. */
const MAX_HEAD = 64 * 1024;
/** Most 1xx answers before the answer. */
const MAX_INTERIM = 16;
/** Milliseconds that a server may be silent in the middle of its answer. */
const IDLE = 30_000;

/** An answer of a server. */
export interface IpResponse {
  /** The status code. */
  readonly status: number;
  /** The header fields. */
  readonly headers: Headers;
  /** The body; reading it to the end, or cancelling it, ends the connection. */
  readonly body: ReadableStream<Uint8Array>;
}

/** How to fetch. */
export interface FetchOptions extends WaitOptions {
  /** Milliseconds that the server may be silent in the middle of its answer; 30000 by default. */
  readonly idle?: number | undefined;
}

/**
 * GET of HTTP/1.1 (RFC 9112), one request a connection.
 *
 * @throws {VireoError} `BAD_STATUS` If the answer is not HTTP, or its length is not certain; `TIMEOUT` if
 * the server falls silent, in reads of the body too.
 */
export async function fetchUrl(
  client: TcpClient,
  url: string | URL,
  options: FetchOptions,
): Promise<IpResponse> {
  const { protocol, hostname, port, host, pathname, search } = new URL(url);
  if (protocol !== "http:") throw new TypeError(`Cannot fetch '${url}': only http:// is there`);
  const place = { host: hostname, port: port === "" ? 80 : Number(port) };
  const connection = await client.connect(place, options);
  try {
    const request = `GET ${pathname}${search} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n` +
      `User-Agent: vireo\r\n\r\n`;
    const writer = connection.writable.getWriter();
    await writer.write(new TextEncoder().encode(request));
    writer.releaseLock();
    const source = new Source(connection, client.timers, options.idle ?? IDLE);
    const { status, headers } = await readAnswer(source);
    return { status, headers, body: bodyOf(status, headers, source, connection) };
  } catch (error) {
    connection.reset();
    throw error;
  }
}

/** Bytes of a stream, by lines or by counts. */
class Source {
  readonly #connection: TcpStream;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #timers: Timers;
  readonly #idle: number;
  #rest: Uint8Array = new Uint8Array(0);

  constructor(connection: TcpStream, timers: Timers, idle: number) {
    this.#connection = connection;
    this.#reader = connection.readable.getReader();
    this.#timers = timers;
    this.#idle = idle;
  }

  /**
   * The next bytes, at most so many; undefined at the end.
   *
   * @throws {VireoError} `TIMEOUT` If none come for too long.
   */
  async some(most: number): Promise<Uint8Array | undefined> {
    if (this.#rest.length === 0) {
      const subject = { what: "the server to go on with its answer", timers: this.#timers };
      try {
        const { done, value } = await waitOn(this.#reader.read(), subject, {
          deadline: this.#idle,
        });
        if (done) return undefined;
        this.#rest = value;
      } catch (error) {
        this.#connection.reset(error as Error);
        throw error;
      }
    }
    const part = this.#rest.subarray(0, most);
    this.#rest = this.#rest.subarray(part.length);
    return part;
  }

  /** A line without its end, of at most so many bytes. @throws {VireoError} `BAD_STATUS` If there is none. */
  async line(most = MAX_HEAD): Promise<string> {
    let text = "";
    for (;;) {
      const part = await this.some(1);
      if (part === undefined || text.length > most) throw bad("a line that does not end");
      if (part[0] === 10) return text.replace(/\r$/, "");
      text += String.fromCharCode(part[0]!);
    }
  }
}

function bad(seen: string): VireoError {
  return new VireoError("BAD_STATUS", "Server does not speak HTTP/1.1", { seen });
}

interface Head {
  readonly status: number;
  readonly headers: Headers;
}

/** The head of the answer itself: those of the 1xx before it say only that it is on its way (RFC 9110 §15.2). */
async function readAnswer(source: Source): Promise<Head> {
  for (let i = 0; i <= MAX_INTERIM; i++) {
    const head = await readHead(source);
    if (head.status >= 200) return head;
    // Nobody asked for another protocol.
    if (head.status === 101) throw bad("101 without a request for it");
  }
  throw bad(`more than ${MAX_INTERIM} answers before the answer`);
}

async function readHead(source: Source): Promise<Head> {
  const first = await source.line();
  const status = Number(/^HTTP\/1\.\d (\d{3})(?: |$)/.exec(first)?.[1]);
  if (!(status >= 100)) throw bad(first);
  const fields: [name: string, value: string][] = [];
  let length = 0;
  for (let line = await source.line(); line !== ""; line = await source.line(MAX_HEAD - length)) {
    length += line.length;
    const [, name, value] = /^([!#$%&'*+.^_`|~\w-]+):[ \t]*(.*?)[ \t]*$/.exec(line) ?? [];
    if (name !== undefined) fields.push([name, value!]);
    // A line that goes on, which is one with spaces between (RFC 9112 §5.2).
    else if (/^[ \t]/.test(line) && fields.length > 0) fields.at(-1)![1] += ` ${line.trim()}`;
    else throw bad(line);
  }
  const headers = new Headers();
  for (const [name, value] of fields) {
    try {
      headers.append(name, value);
    } catch {
      throw bad(`a field '${name}' with bytes that no field may have`);
    }
  }
  return { status, headers };
}

/**
 * How many bytes of a body come, or that it comes in chunks, or until the end (RFC 9112 §6.3). A length that
 * is not certain is an error: the body would be cut, or run into what is behind it.
 */
function lengthOf(status: number, headers: Headers): number | "chunked" {
  if (status === 204 || status === 304) return 0;
  const coding = headers.get("transfer-encoding");
  if (coding !== null) {
    if (!/^chunked$/i.test(coding)) throw bad(`a body coded as '${coding}'`);
    return "chunked";
  }
  const text = headers.get("content-length");
  if (text === null) return Infinity;
  const values = new Set(text.split(",").map((value) => value.trim()));
  const [value = ""] = values;
  const length = Number(value);
  if (values.size > 1 || !/^\d+$/.test(value) || !Number.isSafeInteger(length)) {
    throw bad(`a body of Content-Length '${text}'`);
  }
  return length;
}

function bodyOf(
  status: number,
  headers: Headers,
  source: Source,
  connection: TcpStream,
): ReadableStream<Uint8Array> {
  const length = lengthOf(status, headers);
  const chunked = length === "chunked";
  // Bytes left of the body, or of the chunk.
  let left = chunked ? 0 : length;
  let first = true;
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      if (chunked && left === 0) {
        if (!first && await source.line() !== "") throw bad("a chunk that is longer than it says");
        first = false;
        const size = await source.line();
        left = parseInt(/^([0-9a-f]{1,13})[ \t]*(?:;.*)?$/i.exec(size)?.[1] ?? "", 16);
        if (!(left >= 0)) throw bad(`a chunk of length '${size}'`);
      }
      if (left > 0) {
        const part = await source.some(left);
        if (part !== undefined) {
          left -= part.length;
          return controller.enqueue(part);
        }
        if (left !== Infinity) throw bad(`an end ${left} bytes too early`);
      }
      controller.close();
      await connection.close().catch(() => {});
    },
    cancel: () => connection.reset(),
  }, { highWaterMark: 0 });
}
