import { VireoError } from "@vireo/hal";
import { waitOn } from "@vireo/drivers/wait";
import type { StreamPort } from "@vireo/emu";
import { Qmp } from "@vireo/hal/qmp";
import type { QemuPort } from "./qemu_arguments.ts";
import { doubleCommas } from "../terminal/commas.ts";

/** How long QEMU may take to connect a port's socket, in milliseconds. */
const CONNECT_DEADLINE = 10_000;

/** QEMU's names for the connections of its monitor: the guest's, and the host's own. */
const MONITORS = ["vireo-monitor", "vireo-watch"] as const;
type Monitor = typeof MONITORS[number];

/**
 * The host's ends of a QEMU board's console ports: `console` and `echo` send back what they get,
 * `host` and those that were asked for are the caller's.
 */
export class HostPorts implements AsyncDisposable {
  /** QEMU's arguments for them. */
  readonly ports: readonly QemuPort[];
  readonly #ends: ReadonlyMap<string, PortEnd>;
  readonly #monitors: ReadonlyMap<Monitor, PortEnd>;
  readonly #dir: string;
  #removed: Promise<void> | undefined;

  private constructor(dir: string, { more = [], monitor = false }: HostPortsOptions) {
    this.#dir = dir;
    this.ports = ["console", "echo", "host", ...more].map((name, i) => ({
      name,
      socket: `${dir}/${name}`,
      console: i === 0,
    }));
    this.#ends = new Map(this.ports.map(({ name, socket }) => [name, new PortEnd(socket)]));
    const monitors = monitor ? MONITORS : [];
    this.#monitors = new Map(monitors.map((name) => [name, new PortEnd(`${dir}/${name}`)]));
  }

  /** Listens for a QEMU that is started next. */
  static async listen(options: HostPortsOptions = {}): Promise<HostPorts> {
    return new HostPorts(await Deno.makeTempDir({ prefix: "vireo-ports-" }), options);
  }

  /** QEMU's arguments for its monitor, if it is wanted. */
  get monitorArguments(): readonly string[] {
    return [...this.#monitors.keys()].flatMap((name) => [
      ...["-chardev", `socket,id=${name},path=${doubleCommas(this.#dir)}/${name}`],
      ...["-mon", `chardev=${name},mode=control`],
    ]);
  }

  /**
   * Waits for QEMU's connections and starts to send back.
   *
   * @returns The host's end of the port named `host`.
   * @throws {VireoError} `TIMEOUT` If QEMU does not connect.
   */
  async connect(): Promise<StreamPort> {
    const ends = [...this.#ends.values(), ...this.#monitors.values()];
    await Promise.all(ends.map((end) => end.connected()));
    for (const name of ["console", "echo"]) {
      const end = await this.port(name);
      // Ends with the connection; what went wrong with it is the guest's to see.
      end.readable.pipeTo(end.writable).catch(() => {});
    }
    // Connected sockets need no name any more: nothing stays behind, whatever ends this process.
    await this.#remove();
    return await this.port("host");
  }

  /**
   * The host's end of a port, when QEMU has connected it.
   *
   * @throws {VireoError} `TIMEOUT` If QEMU does not connect; `NO_DEVICE` If there is no such port.
   */
  async port(name: string): Promise<StreamPort> {
    const end = this.#ends.get(name);
    if (end === undefined) throw new VireoError("NO_DEVICE", `No port '${name}' on the host`);
    return await end.connected();
  }

  /**
   * QEMU's monitor for the host's own use, past its negotiation; for one caller.
   *
   * @throws {VireoError} `TIMEOUT` If QEMU does not connect it; `HOST_ERROR` If it ends.
   */
  async watch(): Promise<Qmp> {
    const { writable, readable } = await this.#connected("vireo-watch");
    const qmp = new Qmp(writable, readable);
    await qmp.start();
    return qmp;
  }

  /**
   * QEMU's monitor in bytes, past its greeting and negotiation; for one caller.
   *
   * @throws {VireoError} `TIMEOUT` If QEMU does not connect it; `HOST_ERROR` If it ends.
   */
  async monitor(): Promise<StreamPort> {
    const connection = await this.#connected("vireo-monitor");
    const reader = connection.readable.getReader();
    const writer = connection.writable.getWriter();
    await writer.write(new TextEncoder().encode('{"execute":"qmp_capabilities"}\n'));
    writer.releaseLock();
    const decoder = new TextDecoder();
    for (let text = ""; !/"return": \{\}[^\n]*\n$/.test(text);) {
      const { value, done } = await reader.read();
      if (done) throw new VireoError("HOST_ERROR", "QEMU's monitor ended", { seen: text });
      text += decoder.decode(value, { stream: true });
    }
    reader.releaseLock();
    return connection;
  }

  #connected(name: Monitor): Promise<StreamPort> {
    return this.#monitors.get(name)!.connected();
  }

  /** Closes the connections. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const end of this.#ends.values()) await end[Symbol.asyncDispose]();
    for (const end of this.#monitors.values()) await end[Symbol.asyncDispose]();
    await this.#remove();
  }

  #remove(): Promise<void> {
    return this.#removed ??= Deno.remove(this.#dir, { recursive: true });
  }
}

/** Sockets that {@linkcode HostPorts.listen} makes besides the ports of every board. */
interface HostPortsOptions {
  /** Names of further ports. */
  readonly more?: readonly string[];
  /** Whether there are connections to QEMU's monitor. */
  readonly monitor?: boolean;
}

/** The host's end of one port: a socket that waits for QEMU. */
class PortEnd implements AsyncDisposable {
  readonly #listener: Deno.UnixListener;
  #connection: Deno.UnixConn | undefined;
  readonly #accepted: Promise<Deno.UnixConn>;

  constructor(path: string) {
    this.#listener = Deno.listen({ transport: "unix", path });
    this.#accepted = this.#listener.accept();
    this.#accepted.catch(() => {});
  }

  async connected(): Promise<StreamPort> {
    if (this.#connection !== undefined) return this.#connection;
    const subject = { what: "QEMU to connect its console port" };
    try {
      const limits = { deadline: CONNECT_DEADLINE };
      return this.#connection = await waitOn(this.#accepted, subject, limits);
    } catch (cause) {
      if (cause instanceof VireoError) throw cause;
      throw new VireoError("HOST_ERROR", "QEMU did not connect its console port", { cause });
    } finally {
      this.#close();
    }
  }

  #close(): void {
    try {
      this.#listener.close();
    } catch (error) {
      if (!(error instanceof Deno.errors.BadResource)) throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#close();
    // One that came in and that nobody asked for is there too: QEMU ended before.
    const connection = this.#connection ?? await this.#accepted.catch(() => undefined);
    try {
      connection?.close();
    } catch (error) {
      if (!(error instanceof Deno.errors.BadResource)) throw error;
    }
  }
}
