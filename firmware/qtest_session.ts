import { QtestPlatform } from "@vireo/hal/qtest";
import { VireoError } from "@vireo/hal";
import type { StreamPort } from "@vireo/emu";
import type { Board } from "./boards/mod.ts";
import type { BoardOptions } from "./options.ts";
import { qemuArguments, type QemuPort } from "./qemu_arguments.ts";

/** How long QEMU may take to connect a port's socket, in milliseconds. */
const CONNECT_DEADLINE = 10_000;

/** A QEMU board without a guest, and the host's ends of its console ports. */
export class QtestSession implements AsyncDisposable {
  /** The machine. */
  readonly platform: QtestPlatform;
  /** The host's end of the port named `host`. */
  readonly hostPort: StreamPort;
  readonly #cleanup: AsyncDisposableStack;

  private constructor(platform: QtestPlatform, host: StreamPort, cleanup: AsyncDisposableStack) {
    this.platform = platform;
    this.hostPort = host;
    this.#cleanup = cleanup;
  }

  /**
   * Starts QEMU with the devices that the options ask for.
   *
   * @throws {VireoError} `HOST_ERROR` with QEMU's own words if it does not start.
   */
  static async create(board: Board, options: BoardOptions): Promise<QtestSession> {
    await using cleanup = new AsyncDisposableStack();
    const dir = await Deno.makeTempDir({ prefix: "vireo-ports-" });
    let removed = false;
    const removeDir = async (): Promise<void> => {
      if (!removed) await Deno.remove(dir, { recursive: true });
      removed = true;
    };
    cleanup.defer(removeDir);
    const ports: QemuPort[] = ["console", "echo", "host"].map((name, i) => ({
      name,
      socket: `${dir}/${name}`,
      console: i === 0,
    }));
    const ends = ports.map((port) => cleanup.use(new PortEnd(port.socket)));
    const { backends, devices } = qemuArguments(options, ports);
    const platform = cleanup.use(
      await QtestPlatform.start({
        board,
        devices,
        legacy: options.legacy,
        extraArgs: backends,
        ...(options.qemu === undefined ? {} : { qemu: options.qemu }),
      }),
    );
    const [con, echo, host] = await Promise.all(ends.map((end) => end.connected()));
    for (const end of [con!, echo!]) {
      // Ends with the connection; what went wrong with it is the guest's to see.
      end.readable.pipeTo(end.writable).catch(() => {});
    }
    // Connected sockets need no name any more: nothing stays behind, whatever ends this process.
    await removeDir();
    return new QtestSession(platform, host!, cleanup.move());
  }

  /** Ends QEMU. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#cleanup.disposeAsync();
  }
}

/** The host's end of one port: a socket that waits for QEMU. */
class PortEnd implements Disposable {
  readonly #listener: Deno.UnixListener;
  #connection: Deno.UnixConn | undefined;
  readonly #accepted: Promise<Deno.UnixConn>;

  constructor(path: string) {
    this.#listener = Deno.listen({ transport: "unix", path });
    this.#accepted = this.#listener.accept();
    this.#accepted.catch(() => {});
  }

  async connected(): Promise<StreamPort> {
    const timer = setTimeout(() => this.#close(), CONNECT_DEADLINE);
    try {
      this.#connection = await this.#accepted;
    } catch (cause) {
      throw new VireoError("TIMEOUT", "QEMU did not connect its console port", { cause });
    } finally {
      clearTimeout(timer);
    }
    this.#close();
    return this.#connection;
  }

  #close(): void {
    try {
      this.#listener.close();
    } catch (error) {
      if (!(error instanceof Deno.errors.BadResource)) throw error;
    }
  }

  [Symbol.dispose](): void {
    this.#close();
    try {
      this.#connection?.close();
    } catch (error) {
      if (!(error instanceof Deno.errors.BadResource)) throw error;
    }
  }
}
