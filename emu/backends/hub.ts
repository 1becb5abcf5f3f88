import { Accept, type FrameSink, type NetBackend, type Offload } from "./net_backend.ts";
import { type FrameEmit, Offloader } from "./net_backend_offload.ts";

/** Options of {@linkcode Hub}. */
export interface HubOptions {
  /** Sends a frame only to the port where its destination was last seen, as a switch; false by default. */
  readonly learning?: boolean;
  /** The most addresses that a switch remembers, oldest forgotten first; 1024 by default. */
  readonly maxAddresses?: number;
}

/**
 * An Ethernet hub: a frame that comes in at one port goes out at every other, at once.
 *
 * A frame with offloaded work passes unchanged to receivers that accept it; the hub finishes it for the
 * others.
 *
 * @example
 * ```ts
 * import { HostPeer, Hub } from "@vireo/emu/backends";
 * import { assertEquals } from "@std/assert";
 *
 * using hub = new Hub();
 * using left = new HostPeer(hub.port(), { ip: "10.0.2.1" });
 * using right = new HostPeer(hub.port(), { ip: "10.0.2.2" });
 * left.send(new Uint8Array(60).fill(0xff, 0, 6));
 * assertEquals([left.stats.received, right.stats.received], [0, 1]);
 * ```
 */
export class Hub implements Disposable {
  readonly #ports: HubPort[] = [];
  readonly #offloader = new Offloader();
  readonly #addresses = new Map<number, HubPort>();
  readonly #learning: boolean;
  readonly #maxAddresses: number;
  #malformed = 0;
  #nextName = 0;

  /** Makes a hub without ports. */
  constructor(options: HubOptions = {}) {
    this.#learning = options.learning ?? false;
    this.#maxAddresses = options.maxAddresses ?? 1024;
  }

  /** Number of dropped frames that the hub could not finish for a receiver. */
  get malformed(): number {
    return this.#malformed;
  }

  /** Adds a port: the backend of one device. */
  port(): NetBackend {
    const port = new HubPort(`hub:${this.#nextName++}`, {
      forward: (from, bytes, offset, length, off) =>
        this.#forward(from, bytes, offset, length, off),
      flush: (from) => this.#flush(from),
      remove: (from) => this.#remove(from),
    });
    this.#ports.push(port);
    return port;
  }

  /** Removes every port. */
  [Symbol.dispose](): void {
    for (const port of [...this.#ports]) port[Symbol.dispose]();
  }

  #forward(from: HubPort, bytes: Uint8Array, offset: number, length: number, off: Offload): void {
    if (this.#learning) {
      this.#learn(from, macNumber(bytes, offset + 6));
      const to = this.#addresses.get(macNumber(bytes, offset));
      if (to !== undefined) {
        if (to !== from) this.#deliver(to, bytes, offset, length, off);
        return;
      }
    }
    for (let i = 0; i < this.#ports.length; i++) {
      const to = this.#ports[i]!;
      if (to !== from) this.#deliver(to, bytes, offset, length, off);
    }
  }

  #flush(from: HubPort): void {
    for (let i = 0; i < this.#ports.length; i++) {
      const to = this.#ports[i]!;
      if (to !== from && to.pending) {
        to.pending = false;
        to.sink?.flush();
      }
    }
  }

  #remove(port: HubPort): void {
    const at = this.#ports.indexOf(port);
    if (at >= 0) this.#ports.splice(at, 1);
    for (const [mac, to] of this.#addresses) if (to === port) this.#addresses.delete(mac);
  }

  #deliver(to: HubPort, bytes: Uint8Array, offset: number, length: number, off: Offload): void {
    const sink = to.sink;
    if (sink === undefined) return;
    to.pending = true;
    if (!off.needsCsum && off.gsoType === 0) {
      sink.receive(bytes, offset, length, off);
    } else if (!this.#offloader.conform(bytes, offset, length, off, sink.accepts, to.emit)) {
      this.#malformed++;
    }
  }

  #learn(port: HubPort, source: number): void {
    if (this.#addresses.get(source) === port) return;
    if (this.#addresses.size >= this.#maxAddresses && !this.#addresses.has(source)) {
      for (const oldest of this.#addresses.keys()) {
        this.#addresses.delete(oldest);
        break;
      }
    }
    this.#addresses.set(source, port);
  }
}

/** The parts of its hub that a port uses. */
interface HubInside {
  forward(from: HubPort, bytes: Uint8Array, offset: number, length: number, off: Offload): void;
  flush(from: HubPort): void;
  remove(from: HubPort): void;
}

/** One port of a {@linkcode Hub}. */
class HubPort implements NetBackend {
  readonly name: string;
  readonly accepts: number = Accept.ALL;
  readonly #hub: HubInside;
  sink: FrameSink | undefined;
  /** Whether the sink got frames since its last flush. */
  pending = false;
  readonly emit: FrameEmit;

  constructor(name: string, hub: HubInside) {
    this.#hub = hub;
    this.name = name;
    this.emit = (bytes, offset, length, off) => this.sink?.receive(bytes, offset, length, off);
  }

  connect(sink: FrameSink | undefined): void {
    this.sink = sink;
  }

  send(bytes: Uint8Array, offset: number, length: number, offload: Offload): void {
    this.#hub.forward(this, bytes, offset, length, offload);
  }

  flush(): void {
    this.#hub.flush(this);
  }

  [Symbol.dispose](): void {
    this.sink = undefined;
    this.#hub.remove(this);
  }
}

function macNumber(bytes: Uint8Array, at: number): number {
  const high = (bytes[at]! << 8) | bytes[at + 1]!;
  const low = ((bytes[at + 2]! << 24) | (bytes[at + 3]! << 16) | (bytes[at + 4]! << 8) |
    bytes[at + 5]!) >>> 0;
  return high * 0x1_0000_0000 + low;
}
