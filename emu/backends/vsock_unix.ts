import type { StreamPort } from "./stream_port.ts";
import type { VsockHost } from "../devices/vsock/mod.ts";

/** The receiver of connections through a {@linkcode UnixVsockHost}. */
export interface VsockGuest {
  /** Connects to a port of the guest. */
  connect(port: number, stream: StreamPort): Promise<void>;
}

/**
 * The host's ports as unix sockets, as in Firecracker: a guest that connects to port P reaches the socket
 * `PATH_P`. A process that connects to `PATH` and sends `CONNECT P` reaches the guest's port P.
 *
 * @example
 * ```ts
 * import { UnixVsockHost } from "@vireo/emu/backends";
 * import { VsockDevice } from "@vireo/emu/vsock";
 * import { assertEquals } from "@std/assert";
 *
 * const folder = await Deno.makeTempDir();
 * {
 *   await using host = new UnixVsockHost(`${folder}/guest`);
 *   host.listen(new VsockDevice({ host }));
 *   assertEquals((await Deno.stat(`${folder}/guest`)).isSocket, true);
 *   // Nothing listens at guest_1234.
 *   assertEquals(await host.connect(1234), undefined);
 * }
 * await Deno.remove(folder, { recursive: true });
 * ```
 */
export class UnixVsockHost implements VsockHost, AsyncDisposable {
  readonly #path: string;
  #listener: Deno.UnixListener | undefined;
  #accepting: Promise<void> = Promise.resolve();

  /**
   * Makes a host that does not listen yet.
   *
   * @param path Path of the sockets without the port number.
   */
  constructor(path: string) {
    this.#path = path;
  }

  /** Connects a guest to the socket of a port; undefined if nothing listens there. */
  async connect(port: number): Promise<StreamPort | undefined> {
    try {
      return streams(await Deno.connect({ transport: "unix", path: `${this.#path}_${port}` }));
    } catch {
      return undefined;
    }
  }

  /**
   * Accepts connections to the guest at the socket `PATH`.
   *
   * @throws {Deno.errors.AddrInUse} If the socket already exists.
   */
  listen(guest: VsockGuest): void {
    this.#listener = Deno.listen({ transport: "unix", path: this.#path });
    this.#accepting = this.#accept(this.#listener, guest);
  }

  /** Stops accepting connections. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#listener === undefined) return;
    this.#listener.close();
    await this.#accepting;
    await Deno.remove(this.#path).catch(() => {});
  }

  async #accept(listener: Deno.UnixListener, guest: VsockGuest): Promise<void> {
    for await (const connection of listener) {
      void this.#greet(connection, guest).catch(() => connection.close());
    }
  }

  async #greet(connection: Deno.UnixConn, guest: VsockGuest): Promise<void> {
    // Byte by byte: the bytes after the line belong to the guest.
    let line = "";
    const byte = new Uint8Array(1);
    while (!line.endsWith("\n") && line.length < 32) {
      if (await connection.read(byte) === null) {
        throw new Error("Cannot connect: the peer closed before it sent a line");
      }
      line += String.fromCharCode(byte[0]!);
    }
    const port = /^CONNECT (\d+)\r?\n$/.exec(line)?.[1];
    if (port === undefined) {
      throw new Error(`Cannot connect: expected CONNECT and a port, got '${line}'`);
    }
    await guest.connect(Number(port), streams(connection));
  }
}

/** Bytes read at a time. */
const CHUNK = 64 * 1024;
/** Chunks that are read ahead of the guest's credit. */
const AHEAD = 4;

/** A socket as two streams, which may end one after the other; the end of both closes the socket. */
function streams(connection: Deno.UnixConn): StreamPort {
  let open = 2;
  const done = (): void => {
    if (--open === 0) connection.close();
  };
  return {
    readable: new ReadableStream<Uint8Array>({
      async pull(controller) {
        const bytes = new Uint8Array(CHUNK);
        const length = await connection.read(bytes).catch(() => null);
        if (length !== null) return controller.enqueue(bytes.subarray(0, length));
        controller.close();
        done();
      },
      cancel: done,
    }, { highWaterMark: AHEAD }),
    writable: new WritableStream<Uint8Array>({
      async write(bytes, controller) {
        try {
          for (let at = 0; at < bytes.length;) at += await connection.write(bytes.subarray(at));
        } catch (error) {
          done();
          controller.error(error);
        }
      },
      async close() {
        await connection.closeWrite().catch(() => {});
        done();
      },
      abort: done,
    }),
  };
}
