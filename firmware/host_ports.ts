import { VireoError } from "@vireo/hal";
import type { StreamPort } from "@vireo/emu";
import type { QemuPort } from "./qemu_arguments.ts";

/** How long QEMU may take to connect a port's socket, in milliseconds. */
const CONNECT_DEADLINE = 10_000;

/**
 * The host's ends of a QEMU board's console ports: `console` and `echo` send back what they get,
 * `host` is the caller's.
 */
export class HostPorts implements AsyncDisposable {
  /** What QEMU is told of them. */
  readonly ports: readonly QemuPort[];
  readonly #ends: readonly PortEnd[];
  readonly #dir: string;
  #removed: Promise<void> | undefined;

  private constructor(dir: string) {
    this.#dir = dir;
    this.ports = ["console", "echo", "host"].map((name, i) => ({
      name,
      socket: `${dir}/${name}`,
      console: i === 0,
    }));
    this.#ends = this.ports.map((port) => new PortEnd(port.socket));
  }

  /** Listens for a QEMU that is started next. */
  static async listen(): Promise<HostPorts> {
    return new HostPorts(await Deno.makeTempDir({ prefix: "vireo-ports-" }));
  }

  /**
   * Waits for QEMU's connections and starts to send back.
   *
   * @returns The host's end of the port named `host`.
   * @throws {VireoError} `TIMEOUT` If QEMU does not connect.
   */
  async connect(): Promise<StreamPort> {
    const [con, echo, host] = await Promise.all(this.#ends.map((end) => end.connected()));
    for (const end of [con!, echo!]) {
      // Ends with the connection; what went wrong with it is the guest's to see.
      end.readable.pipeTo(end.writable).catch(() => {});
    }
    // Connected sockets need no name any more: nothing stays behind, whatever ends this process.
    await this.#remove();
    return host!;
  }

  /** Closes the connections. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const end of this.#ends) end[Symbol.dispose]();
    await this.#remove();
  }

  #remove(): Promise<void> {
    return this.#removed ??= Deno.remove(this.#dir, { recursive: true });
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
