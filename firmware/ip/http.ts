import type { WaitOptions } from "@vireo/drivers";
import { VireoError } from "@vireo/hal";
import type { TcpClient } from "./host.ts";
import type { TcpConnection } from "./tcp.ts";

/** Most bytes of an answer's head. */
const MAX_HEAD = 64 * 1024;

/** An answer of a server. */
export interface IpResponse {
  /** The status code. */
  readonly status: number;
  /** The header fields. */
  readonly headers: Headers;
  /** The body; reading it to the end, or cancelling it, ends the connection. */
  readonly body: ReadableStream<Uint8Array>;
}

/** GET of HTTP/1.1 (RFC 9112), one request a connection. */
export async function fetchUrl(
  client: TcpClient,
  url: string | URL,
  options: WaitOptions,
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
    const source = new Source(connection.readable.getReader());
    const { status, headers } = await readHead(source);
    return { status, headers, body: bodyOf(headers, source, connection) };
  } catch (error) {
    connection.reset();
    throw error;
  }
}

/** Bytes of a stream, by lines or by counts. */
class Source {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  #rest: Uint8Array = new Uint8Array(0);

  constructor(reader: ReadableStreamDefaultReader<Uint8Array>) {
    this.#reader = reader;
  }

  /** The next bytes, at most so many; undefined at the end. */
  async some(most: number): Promise<Uint8Array | undefined> {
    if (this.#rest.length === 0) {
      const { done, value } = await this.#reader.read();
      if (done) return undefined;
      this.#rest = value;
    }
    const part = this.#rest.subarray(0, most);
    this.#rest = this.#rest.subarray(part.length);
    return part;
  }

  /** A line without its end. @throws {VireoError} `BAD_STATUS` If there is none. */
  async line(): Promise<string> {
    let text = "";
    for (;;) {
      const part = await this.some(1);
      if (part === undefined || text.length > MAX_HEAD) throw bad("a line that does not end");
      if (part[0] === 10) return text.replace(/\r$/, "");
      text += String.fromCharCode(part[0]!);
    }
  }
}

function bad(seen: string): VireoError {
  return new VireoError("BAD_STATUS", "Server does not speak HTTP/1.1", { seen });
}

async function readHead(source: Source): Promise<{ status: number; headers: Headers }> {
  const first = await source.line();
  const status = Number(/^HTTP\/1\.[01] (\d{3})/.exec(first)?.[1]);
  if (!(status >= 200)) throw bad(first);
  const headers = new Headers();
  for (let line = await source.line(); line !== ""; line = await source.line()) {
    const [, name, value] = /^([^:\s]+):\s*(.*)$/.exec(line) ?? [];
    if (name === undefined) throw bad(line);
    headers.append(name, value!);
  }
  return { status, headers };
}

function bodyOf(
  headers: Headers,
  source: Source,
  connection: TcpConnection,
): ReadableStream<Uint8Array> {
  const chunked = /\bchunked\b/i.test(headers.get("transfer-encoding") ?? "");
  const length = headers.get("content-length");
  // Bytes left of the body, or of the chunk.
  let left = chunked ? 0 : length === null ? Infinity : Number(length);
  let first = true;
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      if (chunked && left === 0) {
        if (!first) await source.line();
        first = false;
        left = parseInt(await source.line(), 16);
        if (!(left >= 0)) throw bad("a chunk without a length");
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
