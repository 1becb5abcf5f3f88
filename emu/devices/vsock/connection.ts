import { VsockOp, VsockRw, VsockShutdown, VsockType } from "@vireo/hal";
import type { StreamPort } from "../../backends/stream_port.ts";

/** Bytes that a connection has room for on the way to the host. */
export const ROOM: number = 256 * 1024;
/** Bytes of data in a packet: with its header it fits a guest's usual buffer of 4 KiB. */
const CHUNK = 4096 - 44;

/** A packet's header, as the device needs it. */
export interface Header {
  readonly srcCid: number;
  readonly srcPort: number;
  readonly dstPort: number;
  readonly type: number;
  readonly op: number;
  readonly flags: number;
  readonly bufAlloc: number;
  readonly fwdCnt: number;
}

/** What a connection needs of its device. */
export interface Outlet {
  send(connection: HostConnection, op: VsockOp, flags: number, data: Uint8Array): void;
  ended(connection: HostConnection): void;
}

/** The host's end of a connection: two pumps between packets and a stream of bytes. */
export class HostConnection {
  readonly guestPort: number;
  readonly hostPort: number;
  readonly type: number;
  readonly #outlet: Outlet;
  #port: StreamPort | undefined;
  #writer: WritableStreamDefaultWriter<Uint8Array> | undefined;
  #reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
  #guestRoom = 0;
  #guestTaken = 0;
  #sent = 0;
  #received = 0;
  #taken = 0;
  #told = 0;
  #credit = Promise.withResolvers<void>();
  #sentShutdown = 0;
  #gotShutdown = 0;
  #ended = false;
  #message: Uint8Array[] = [];

  constructor(outlet: Outlet, guestPort: number, hostPort: number, type: number) {
    this.#outlet = outlet;
    this.guestPort = guestPort;
    this.hostPort = hostPort;
    this.type = type;
  }

  /** Bytes that the host's user took, modulo 2^32. */
  get fwdCnt(): number {
    this.#told = this.#taken;
    return this.#taken >>> 0;
  }

  /** Connects it to the host's stream: bytes begin to flow. */
  start(port: StreamPort): void {
    this.#port = port;
    this.#writer = port.writable.getWriter();
    this.#reader = port.readable.getReader();
    this.#writer.closed.catch(() => {});
    void this.#pumpToGuest();
  }

  /** What the guest says of its room. */
  credit({ bufAlloc, fwdCnt }: Header): void {
    this.#guestRoom = bufAlloc;
    this.#guestTaken = fwdCnt;
    this.#credit.resolve();
    this.#credit = Promise.withResolvers();
  }

  /** A packet of the guest. */
  handle(header: Header, data: Uint8Array): void {
    this.credit(header);
    switch (header.op) {
      case VsockOp.RW:
        return this.#receive(data, header.flags);
      case VsockOp.CREDIT_REQUEST:
        return this.#outlet.send(this, VsockOp.CREDIT_UPDATE, 0, NONE);
      case VsockOp.SHUTDOWN:
        return this.#guestShutDown(header.flags);
      case VsockOp.CREDIT_UPDATE:
      case VsockOp.RESPONSE:
        return;
      case VsockOp.RST:
        return this.end();
      default:
        return this.reset();
    }
  }

  /** Ends it, and tells the guest. */
  reset(): void {
    if (this.#ended) return;
    this.#outlet.send(this, VsockOp.RST, 0, NONE);
    this.end();
  }

  /** Ends it. */
  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#credit.resolve();
    this.#reader?.cancel().catch(() => {});
    // What the guest had sent before is still written.
    this.#writer?.close().catch(() => {});
    this.#outlet.ended(this);
  }

  #receive(data: Uint8Array, flags: number): void {
    // A guest that sends more than there is room for is not waited for.
    if (this.#received + data.length - this.#taken > ROOM) return this.reset();
    this.#received += data.length;
    if (this.type === VsockType.STREAM) return this.#deliver(data);
    this.#message.push(data);
    if ((flags & VsockRw.EOM) !== 0) this.#deliver(join(this.#message.splice(0)));
  }

  #deliver(data: Uint8Array): void {
    this.#writer?.write(data).then(() => {
      this.#taken += data.length;
      if (this.#taken - this.#told >= ROOM / 4 && !this.#ended) {
        this.#outlet.send(this, VsockOp.CREDIT_UPDATE, 0, NONE);
      }
    }, () => this.#shutDown(VsockShutdown.RECEIVE));
  }

  async #pumpToGuest(): Promise<void> {
    const reader = this.#reader!;
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (done || this.#ended) break;
        await this.#give(value);
      }
    } catch {
      // The host's side broke: to the guest that is its end.
    }
    this.#shutDown(VsockShutdown.SEND);
  }

  async #give(data: Uint8Array): Promise<void> {
    const message = this.type === VsockType.SEQPACKET;
    for (let at = 0; at < data.length || message;) {
      const room = this.#guestRoom - ((this.#sent - this.#guestTaken) >>> 0);
      if (room <= 0 && data.length > 0) {
        const change = this.#credit.promise;
        this.#outlet.send(this, VsockOp.CREDIT_REQUEST, 0, NONE);
        await change;
        if (this.#ended || (this.#gotShutdown & VsockShutdown.RECEIVE) !== 0) return;
        continue;
      }
      const part = data.slice(at, at + Math.min(CHUNK, room));
      at += part.length;
      this.#sent += part.length;
      const last = at >= data.length;
      this.#outlet.send(this, VsockOp.RW, message && last ? VsockRw.EOM : 0, part);
      if (last) return;
    }
  }

  #shutDown(flags: number): void {
    if (this.#ended || (this.#sentShutdown & flags) === flags) return;
    this.#sentShutdown |= flags;
    this.#outlet.send(this, VsockOp.SHUTDOWN, this.#sentShutdown, NONE);
  }

  #guestShutDown(flags: number): void {
    this.#gotShutdown |= flags & BOTH;
    if ((this.#gotShutdown & VsockShutdown.SEND) !== 0) this.#writer?.close().catch(() => {});
    if (this.#gotShutdown === BOTH) this.reset();
  }

  /** Whether it is connected to a stream. */
  get started(): boolean {
    return this.#port !== undefined;
  }
}

const BOTH = VsockShutdown.RECEIVE | VsockShutdown.SEND;
const NONE = new Uint8Array(0);

function join(parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
