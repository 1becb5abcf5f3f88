import { consoleReceiveQueue, consoleTransmitQueue } from "@vireo/hal";
import type { StreamPort } from "../../backends/stream_port.ts";
import type { DeviceContext, DeviceQueue } from "../../device.ts";

/** The most bytes copied out of a chain at a time; the guest's number never sizes an allocation. */
const CHUNK = 65536;

/** Size of a text console in characters. */
export interface ConsoleSize {
  /** Columns of characters. */
  readonly cols: number;
  /** Rows of characters. */
  readonly rows: number;
}

/** Options of a port. */
export interface ConsolePortOptions {
  /** Port id; by default the lowest that is free. */
  readonly id?: number;
  /** The name that the guest is told. */
  readonly name?: string;
  /** Whether the guest should treat it as a text console. */
  readonly console?: boolean;
  /** The host's end. */
  readonly backend: StreamPort;
  /** Whether the host's side is open at first; true by default. */
  readonly hostOpen?: boolean;
}

/** The parts of its device that a port uses. */
export interface PortHooks {
  /** The running device, if the driver has set it up. */
  readonly context: () => DeviceContext | undefined;
  /** Whether control messages and open states exist. */
  readonly multiport: () => boolean;
  /** The host's side opened or closed. */
  readonly hostChanged: (port: ConsolePort) => void;
}

/** One port of an emulated console device: two pumps between a stream port and two queues. */
export class ConsolePort {
  /** Port id; names the queues. */
  readonly id: number;
  /** The name that the guest is told; may be empty. */
  readonly name: string;
  /** Whether it is a text console. */
  readonly console: boolean;
  /** Called when the guest opens or closes its side. */
  onGuestOpen: ((open: boolean) => void) | undefined;
  readonly #hooks: PortHooks;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  #hostOpen: boolean;
  #guestOpen = false;
  #ready = false;
  #pending: Uint8Array = new Uint8Array(0);
  #reading = false;
  #ended = false;
  #sinkClosed = false;
  #removed = false;
  #draining = false;
  /** Moves on whenever chains that a pump holds become void. */
  #epoch = 0;

  /** Makes a port with its id; the device does it. */
  constructor(id: number, options: ConsolePortOptions, hooks: PortHooks) {
    this.id = id;
    this.name = options.name ?? "";
    this.console = options.console ?? false;
    this.#hostOpen = options.hostOpen ?? true;
    this.#hooks = hooks;
    this.#reader = options.backend.readable.getReader();
    this.#writer = options.backend.writable.getWriter();
    // A sink that fails is noticed at the next write; this only marks the rejection as seen.
    this.#writer.closed.catch(() => {});
  }

  /** Whether the host's side is open. */
  get hostOpen(): boolean {
    return this.#hostOpen;
  }

  /** Whether the guest said that its side is open; always so without MULTIPORT. */
  get guestOpen(): boolean {
    return this.#guestOpen || !this.#hooks.multiport();
  }

  /** Whether the guest said that it is ready for the port. */
  get ready(): boolean {
    return this.#ready;
  }

  /** Bytes taken from the host that wait for the guest's buffers. */
  get pendingBytes(): number {
    return this.#pending.length;
  }

  /** Opens the host's side; the guest is told. */
  openHost(): void {
    this.#setHostOpen(true);
  }

  /** Closes the host's side; the guest is told, and what it sends meanwhile is thrown away. */
  closeHost(): void {
    this.#setHostOpen(false);
  }

  /** The guest is ready for the port, or not. */
  setReady(ready: boolean): void {
    this.#ready = ready;
  }

  /** The guest opened or closed its side. */
  setGuestOpen(open: boolean): void {
    if (this.#guestOpen === open) return;
    this.#guestOpen = open;
    this.onGuestOpen?.(open);
    this.toGuest();
  }

  /** Moves host bytes into the buffers that the driver posted, as many as both sides have. */
  toGuest(): void {
    const context = this.#hooks.context();
    const queue = context?.queue(consoleReceiveQueue(this.id));
    if (context === undefined || queue === undefined || this.#removed) return;
    if (!this.#hostOpen || !this.guestOpen) return;
    let pushed = false;
    while (queue.hasAvailable()) {
      if (this.#pending.length === 0) {
        this.#fetch();
        break;
      }
      const chain = queue.pop();
      if (chain === undefined) break;
      // virtio 1.4 §5.3.6.1: the receive queue holds no device-readable buffers.
      if (chain.readableLength > 0 || chain.writableLength === 0) {
        const reason = `receive buffer of port ${this.id} is not device-writable only`;
        context.fault(reason, "drv.console.operation.1");
        return;
      }
      context.work.spend(1);
      const count = chain.write(this.#pending);
      queue.push(chain);
      this.#pending = this.#pending.subarray(count);
      pushed = true;
    }
    if (pushed) queue.signal();
  }

  /** Moves what the driver sent to the host, no faster than the host takes it. */
  fromGuest(): void {
    const queue = this.#hooks.context()?.queue(consoleTransmitQueue(this.id));
    if (queue === undefined || this.#draining || !queue.hasAvailable()) return;
    this.#draining = true;
    this.#drain(queue, this.#epoch);
  }

  /** The driver reset the device or this port's queues: what the pumps hold is void. */
  reset(device: boolean): void {
    this.#epoch++;
    this.#draining = false;
    if (!device) return;
    this.#ready = false;
    this.setGuestOpen(false);
  }

  /** Ends the port: its streams are released, and its buffers go back to the driver. */
  remove(): void {
    this.#removed = true;
    this.#writer.close().catch(() => {});
    this.#reader.cancel().catch(() => {});
    this.#sinkClosed = true;
    this.setGuestOpen(false);
    this.fromGuest();
  }

  /** The port's state as plain data. */
  snapshot(): unknown {
    return {
      id: this.id,
      hostOpen: this.#hostOpen,
      guestOpen: this.#guestOpen,
      ready: this.#ready,
      pending: [...this.#pending],
    };
  }

  /** Takes the state back. */
  restore(state: Record<string, unknown>): void {
    this.#hostOpen = state["hostOpen"] === true;
    this.#guestOpen = state["guestOpen"] === true;
    this.#ready = state["ready"] === true;
    this.#pending = Uint8Array.from(state["pending"] as number[]);
  }

  #setHostOpen(open: boolean): void {
    if (this.#hostOpen === open) return;
    this.#hostOpen = open;
    this.#hooks.hostChanged(this);
    this.toGuest();
  }

  /** Asks the host for its next bytes; only ever called when the driver has room for them. */
  #fetch(): void {
    if (this.#reading || this.#ended) return;
    this.#reading = true;
    this.#reader.read().then(({ done, value }) => {
      this.#reading = false;
      if (done) this.#hostEnded();
      else this.#pending = value;
      this.toGuest();
    }, () => this.#hostEnded());
  }

  #hostEnded(): void {
    this.#reading = false;
    this.#ended = true;
    if (!this.#removed) this.#setHostOpen(false);
  }

  async #drain(queue: DeviceQueue, epoch: number): Promise<void> {
    for (let chain = queue.pop(); chain !== undefined; chain = queue.pop()) {
      this.#hooks.context()?.work.spend(1);
      // virtio 1.4 §5.3.6.1: the transmit queue holds no device-writable buffers.
      if (chain.writableLength > 0) {
        const reason = `transmit buffer of port ${this.id} is device-writable`;
        this.#hooks.context()?.fault(reason, "drv.console.operation.2");
        break;
      }
      while (chain.readableLeft > 0 && this.#listening) {
        const bytes = new Uint8Array(Math.min(chain.readableLeft, CHUNK));
        chain.read(bytes);
        await this.#deliver(bytes);
        // A host that takes all at once would have this loop go on in microtasks: nothing else would run.
        const work = this.#hooks.context()?.work;
        if (work?.exhausted) await work.turn();
        if (epoch !== this.#epoch) return;
      }
      queue.push(chain, 0);
      queue.signal();
      const work = this.#hooks.context()?.work;
      if (!work?.exhausted) continue;
      await work.turn();
      if (epoch !== this.#epoch) return;
    }
    this.#draining = false;
  }

  /** Whether anyone takes what the guest sends; without, it is thrown away as if sent. */
  get #listening(): boolean {
    return !this.#sinkClosed && (this.#hostOpen || this.console || !this.#hooks.multiport());
  }

  async #deliver(bytes: Uint8Array): Promise<void> {
    try {
      await this.#writer.ready;
      // Not awaited: `ready` is the back-pressure, and a failed write shows at the next `ready`.
      this.#writer.write(bytes).catch(() => this.#sinkFailed());
    } catch {
      this.#sinkFailed();
    }
  }

  #sinkFailed(): void {
    this.#sinkClosed = true;
  }
}
