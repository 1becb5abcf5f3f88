import { VsockOp, VsockRecord, VsockRw, VsockShutdown, VsockType } from "@vireo/hal";
import type { StreamPort } from "../../backends/stream_port.ts";

/** Bytes that a connection has room for on the way to the host. */
export const ROOM: number = 256 * 1024;
/** Most bytes of a packet's data, as Linux has it; a guest's buffers take it in parts. */
export const MAX_DATA: number = 64 * 1024;

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

/** Messages of a connection that the host did not take yet; their bytes are bounded by `ROOM`. */
export const MAX_MESSAGES = 1024;

/** The parts of its device that a connection uses. */
interface Outlet {
  send(connection: HostConnection, op: VsockOp, flags: number, data: Uint8Array): void;
  /** Resolves when there is room for a packet of data; undefined if there is now. */
  room(): Promise<void> | undefined;
  ended(connection: HostConnection): void;
}

/** Ends a host's stream that no connection has any use for. */
export async function dropPort({ readable, writable }: StreamPort): Promise<void> {
  await Promise.allSettled([readable.cancel(), writable.abort()]);
}

/** The host's end of a connection: two pumps between packets and a stream of bytes. */
export class HostConnection {
  readonly guestPort: number;
  readonly hostPort: number;
  readonly type: number;
  readonly #outlet: Outlet;
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
  /** Bytes of the guest that wait: of a stream, or of the message that is not whole. */
  #gathered: Uint8Array = NONE;
  #gatheredLength = 0;
  /** Whole messages that wait. */
  #messages: Uint8Array[] = [];
  #writing = false;
  #closing = false;
  readonly #closed = Promise.withResolvers<void>();

  constructor(outlet: Outlet, guestPort: number, hostPort: number, type: number) {
    this.#outlet = outlet;
    this.guestPort = guestPort;
    this.hostPort = hostPort;
    this.type = type;
  }

  /** Resolves when nothing of the host is used for it any more; for one that was started only. */
  get closed(): Promise<void> {
    return this.#closed.promise;
  }

  /** Bytes and messages of the guest that the host did not take yet. */
  get waiting(): { readonly bytes: number; readonly items: number } {
    return { bytes: this.#received - this.#taken, items: this.#messages.length };
  }

  /** Bytes that the host's user took, modulo 2^32. */
  get fwdCnt(): number {
    this.#told = this.#taken;
    return this.#taken >>> 0;
  }

  /** Connects it to the host's stream: bytes begin to flow. */
  start(port: StreamPort): void {
    this.#writer = port.writable.getWriter();
    this.#reader = port.readable.getReader();
    const ends = [this.#writer.closed, this.#reader.closed];
    void Promise.allSettled(ends).then(() => this.#closed.resolve());
    void this.#pumpToGuest();
  }

  /** Takes the guest's room, as a packet reports it. */
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
    // Data that the guest had sent before is still written.
    this.#closeWriter();
    this.#outlet.ended(this);
  }

  #receive(data: Uint8Array, flags: number): void {
    // A guest that sends more than there is room for is not waited for.
    if (this.#received + data.length - this.#taken > ROOM) return this.reset();
    this.#received += data.length;
    this.#gather(data);
    if (this.type === VsockType.SEQPACKET) {
      if ((flags & VsockRw.EOM) === 0) return;
      // Empty messages take no room of a guest's credit: they are counted.
      if (this.#messages.length >= MAX_MESSAGES) return this.reset();
      const message = this.#takeGathered();
      this.#messages.push((flags & VsockRw.EOR) === 0 ? message : new VsockRecord(message));
    }
    this.#write();
  }

  /** Appends bytes to those that wait: packets of a byte cost a byte, not an object each. */
  #gather(data: Uint8Array): void {
    const length = this.#gatheredLength + data.length;
    if (length > this.#gathered.length) {
      const grown = new Uint8Array(Math.min(ROOM, Math.max(length, 2 * this.#gathered.length)));
      grown.set(this.#gathered.subarray(0, this.#gatheredLength));
      this.#gathered = grown;
    }
    this.#gathered.set(data, this.#gatheredLength);
    this.#gatheredLength = length;
  }

  #takeGathered(): Uint8Array {
    const bytes = this.#gathered.subarray(0, this.#gatheredLength);
    this.#gathered = NONE;
    this.#gatheredLength = 0;
    return bytes;
  }

  /** Takes the host's next data: a message, or all that waits of a stream. */
  #next(): Uint8Array | undefined {
    if (this.type === VsockType.SEQPACKET) return this.#messages.shift();
    return this.#gatheredLength > 0 ? this.#takeGathered() : undefined;
  }

  /** Writes to the host, one chunk at a time. */
  #write(): void {
    const writer = this.#writer;
    if (writer === undefined || this.#writing) return;
    const data = this.#next();
    if (data === undefined) {
      if (this.#closing) writer.close().catch(() => {});
      return;
    }
    this.#writing = true;
    writer.write(data).then(() => {
      this.#writing = false;
      this.#taken += data.length;
      if (this.#taken - this.#told >= ROOM / 4 && !this.#ended) {
        this.#outlet.send(this, VsockOp.CREDIT_UPDATE, 0, NONE);
      }
      this.#write();
    }, () => this.#shutDown(VsockShutdown.RECEIVE));
  }

  /** Closes the host's end once what waits is written. */
  #closeWriter(): void {
    if (this.#closing) return;
    this.#closing = true;
    this.#write();
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
    const end = VsockRw.EOM | (data instanceof VsockRecord ? VsockRw.EOR : 0);
    for (let at = 0; at < data.length || message;) {
      // The guest's word for its room sizes nothing here: the device keeps so many packets and no more.
      const change = this.#outlet.room();
      if (change !== undefined) {
        await change;
        if (this.#ended || (this.#gotShutdown & VsockShutdown.RECEIVE) !== 0) return;
        continue;
      }
      const room = this.#guestRoom - ((this.#sent - this.#guestTaken) >>> 0);
      if (room <= 0 && data.length > 0) {
        const change = this.#credit.promise;
        this.#outlet.send(this, VsockOp.CREDIT_REQUEST, 0, NONE);
        await change;
        if (this.#ended || (this.#gotShutdown & VsockShutdown.RECEIVE) !== 0) return;
        continue;
      }
      const part = data.slice(at, at + Math.min(MAX_DATA, room));
      at += part.length;
      this.#sent += part.length;
      const last = at >= data.length;
      this.#outlet.send(this, VsockOp.RW, message && last ? end : 0, part);
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
    if ((this.#gotShutdown & VsockShutdown.SEND) !== 0) this.#closeWriter();
    if (this.#gotShutdown === BOTH) this.reset();
  }
}

const BOTH = VsockShutdown.RECEIVE | VsockShutdown.SEND;
const NONE = new Uint8Array(0);
