import { consoleReceiveQueue, consoleTransmitQueue } from "@vireo/hal";
import type { BytePort } from "../../backends/byte_port.ts";
import type { StreamPort } from "../../backends/stream_port.ts";
import type { Chain, DeviceContext, DeviceQueue } from "../../device.ts";
import { StreamBytes } from "./_stream_bytes.ts";

/** The most bytes copied out of a chain at a time; the guest's number never sizes an allocation. */
const CHUNK = 65536;
const NONE = new Uint8Array(0);

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
  /** The host's end: two Web Streams, or calls. */
  readonly backend: StreamPort | BytePort;
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

/** One port of an emulated console device: two pumps between the host's end and two queues. */
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
  readonly #host: BytePort;
  #hostOpen: boolean;
  #guestOpen = false;
  #ready = false;
  /** Bytes from the host, of which the guest has had the first. */
  #pending: Uint8Array = NONE;
  #taken = 0;
  #ended = false;
  #sinkClosed = false;
  #removed = false;
  /** Whether a pump runs: the host's end may call back while it does. */
  #filling = false;
  #draining = false;
  /** The chain that the host has not taken all of. */
  #sending: Chain | undefined;
  /** Where bytes are between a chain and the host. */
  #scratch: Uint8Array = NONE;

  /** Makes a port with its id; the device does it. */
  constructor(id: number, options: ConsolePortOptions, hooks: PortHooks) {
    this.id = id;
    this.name = options.name ?? "";
    this.console = options.console ?? false;
    this.#hostOpen = options.hostOpen ?? true;
    this.#hooks = hooks;
    const { backend } = options;
    this.#host = "room" in backend ? backend : new StreamBytes(backend);
    this.#host.onChange = () => {
      this.toGuest();
      this.fromGuest();
    };
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
    return this.#pending.length - this.#taken;
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
    if (this.#filling) return;
    this.#filling = true;
    try {
      this.#fill(context, queue);
    } finally {
      this.#filling = false;
    }
  }

  /** Moves what the driver sent to the host, no faster than the host takes it. */
  fromGuest(): void {
    const context = this.#hooks.context();
    const queue = context?.queue(consoleTransmitQueue(this.id));
    if (context === undefined || queue === undefined || this.#draining) return;
    if (this.#sending === undefined && !queue.hasAvailable()) return;
    this.#draining = true;
    try {
      this.#drain(context, queue);
    } finally {
      this.#draining = false;
    }
  }

  /** The driver reset the device or this port's queues: what the pumps hold is void. */
  reset(device: boolean): void {
    this.#sending = undefined;
    if (!device) return;
    this.#ready = false;
    this.setGuestOpen(false);
  }

  /** Ends the port: its host's end is released, and its buffers go back to the driver. */
  remove(): void {
    this.#removed = true;
    this.#host.onChange = undefined;
    this.#host.close();
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
      pending: [...this.#pending.subarray(this.#taken)],
    };
  }

  /** Takes the state back. */
  restore(state: Record<string, unknown>): void {
    this.#hostOpen = state["hostOpen"] === true;
    this.#guestOpen = state["guestOpen"] === true;
    this.#ready = state["ready"] === true;
    this.#pending = Uint8Array.from(state["pending"] as number[]);
    this.#taken = 0;
  }

  #setHostOpen(open: boolean): void {
    if (this.#hostOpen === open) return;
    this.#hostOpen = open;
    this.#hooks.hostChanged(this);
    this.toGuest();
  }

  #fill(context: DeviceContext, queue: DeviceQueue): void {
    let pushed = false;
    while (queue.hasAvailable()) {
      // Asked only when the driver has room for it.
      if (this.pendingBytes === 0 && !this.#fetch()) break;
      const chain = queue.pop();
      if (chain === undefined) break;
      // virtio 1.4 §5.3.6.1: the receive queue holds no device-readable buffers.
      if (chain.readableLength > 0 || chain.writableLength === 0) {
        const reason = `receive buffer of port ${this.id} is not device-writable only`;
        context.fault(reason, "drv.console.operation.1");
        return;
      }
      context.work.spend(1);
      this.#taken += chain.write(this.#pending, this.#taken);
      queue.push(chain);
      pushed = true;
    }
    if (pushed) queue.signal();
  }

  /** Takes the host's next bytes; false if there are none now. */
  #fetch(): boolean {
    const bytes = this.#ended ? null : this.#host.read();
    if (bytes === null && !this.#ended) {
      this.#ended = true;
      this.#setHostOpen(false);
    }
    this.#pending = bytes ?? NONE;
    this.#taken = 0;
    return this.#pending.length > 0;
  }

  #drain(context: DeviceContext, queue: DeviceQueue): void {
    const { work } = context;
    let pushed = false;
    for (;;) {
      const chain = this.#sending ?? work.take(queue);
      if (chain === undefined) break;
      this.#sending = chain;
      // virtio 1.4 §5.3.6.1: the transmit queue holds no device-writable buffers.
      if (chain.writableLength > 0) {
        const reason = `transmit buffer of port ${this.id} is device-writable`;
        this.#sending = undefined;
        context.fault(reason, "drv.console.operation.2");
        break;
      }
      if (!this.#deliver(chain, work)) break;
      this.#sending = undefined;
      queue.push(chain, 0);
      pushed = true;
    }
    if (pushed) queue.signal();
  }

  /** Whether anyone takes what the guest sends; without, it is thrown away as if sent. */
  #listening(): boolean {
    return !this.#sinkClosed && (this.#hostOpen || this.console || !this.#hooks.multiport());
  }

  /** Gives the host what is left of a chain; false if it takes no more now, or the turn is over. */
  #deliver(chain: Chain, work: DeviceContext["work"]): boolean {
    while (chain.readableLeft > 0 && this.#listening()) {
      // A host that takes all at once would have this loop go on for as long as the driver sends.
      if (work.exhausted) {
        work.again(consoleTransmitQueue(this.id));
        return false;
      }
      const length = Math.min(chain.readableLeft, this.#host.room, CHUNK);
      if (length === 0) return false;
      if (this.#scratch.length !== length) this.#scratch = new Uint8Array(length);
      chain.read(this.#scratch);
      try {
        this.#host.write(this.#scratch);
      } catch {
        this.#sinkClosed = true;
      }
    }
    return true;
  }
}
