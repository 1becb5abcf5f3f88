import { VireoError, type VireoErrorCode } from "@vireo/hal";
import { timedOut, type Timers, waitOn, type WaitOptions, within } from "@vireo/drivers/core";
import { TcpFlag as F, type TcpSegment } from "./packets.ts";

/** Bytes that we have room for. */
const WINDOW = 0xffff;
/** Largest segment that we take. */
const MSS = 1460;
/** Bounds of the time until a segment is sent again, in milliseconds (RFC 6298). */
const MIN_RTO = 200;
const MAX_RTO = 60_000;
/** Times that a segment is sent again before the connection is given up. */
const MAX_RETRIES = 8;
/** Bytes that a writer may be ahead of what was acknowledged. */
const SEND_BUFFER = 256 * 1024;
/** Milliseconds that the other side may take to end its half. */
const FIN_DEADLINE = 5000;

/** Where a connection's segments go, and what it needs besides. */
export interface TcpHost {
  /** Sends a segment; ports are the connection's. */
  send(segment: Omit<TcpSegment, "sourcePort" | "targetPort">): void;
  /** Time. */
  readonly timers: Timers;
  /** The first sequence number. */
  readonly initial: number;
  /** Name of the other side, for errors. */
  readonly peer: string;
  /** Called once when it is over. */
  ended(): void;
}

/** a - b of sequence numbers, signed. */
const diff = (a: number, b: number): number => (a - b) | 0;

/**
 * A TCP connection that this side opened (RFC 9293), its data as Web Streams.
 *
 * @example
 * ```ts
 * import type { IpStack, TcpConnection } from "@vireo/firmware/ip";
 *
 * // Reads the first bytes that a server says by itself, for example the greeting of SMTP.
 * export async function greeting(stack: IpStack, host: string): Promise<string> {
 *   await using connection: TcpConnection = await stack.connect({ host, port: 25 });
 *   const { value } = await connection.readable.getReader().read();
 *   return new TextDecoder().decode(value);
 * }
 * ```
 */
export class TcpConnection implements AsyncDisposable {
  /** Received data; ends when the other side has sent all. */
  readonly readable: ReadableStream<Uint8Array>;
  /** Data to send; closing it tells the other side that this was all. */
  readonly writable: WritableStream<Uint8Array>;
  /** Resolves when the connection is over in order; rejects with why it is not. */
  readonly closed: Promise<void>;
  /** Resolves when the other side took the connection. */
  readonly opened: Promise<void>;
  readonly #host: TcpHost;
  readonly #openedSettler = Promise.withResolvers<void>();
  readonly #closedSettler = Promise.withResolvers<void>();
  #reader!: ReadableStreamDefaultController<Uint8Array>;
  #writer!: WritableStreamDefaultController;
  #state: "syn" | "open" | "over" = "syn";
  // Sending: the buffer begins at `unacknowledged`.
  #buffer: Uint8Array = new Uint8Array(0);
  #unacknowledged: number;
  #next: number;
  #window = 0;
  #mss = 536;
  #congestion = 10 * MSS;
  #threshold = Infinity;
  #duplicates = 0;
  #finQueued = false;
  #finSent = false;
  #finAcknowledged = false;
  #room = Promise.withResolvers<void>();
  // Round trip times (RFC 6298).
  #srtt = 0;
  #rttvar = 0;
  #rto = 1000;
  #retries = 0;
  #timed: { readonly end: number; readonly at: number } | undefined;
  #cancelTimer: (() => void) | undefined;
  // Receiving.
  #expected = 0;
  #received: Uint8Array[] = [];
  #receivedBytes = 0;
  #early = new Map<number, Uint8Array>();
  #earlyFin: number | undefined;
  #finReceived = false;
  #pulled = false;
  #advertised = WINDOW;
  #ackQueued = false;

  /** Sends SYN. */
  constructor(host: TcpHost) {
    this.#host = host;
    this.#unacknowledged = host.initial >>> 0;
    this.#next = this.#unacknowledged;
    this.opened = this.#openedSettler.promise;
    this.closed = this.#closedSettler.promise;
    this.opened.catch(() => {});
    this.closed.catch(() => {});
    this.readable = new ReadableStream<Uint8Array>({
      start: (controller) => void (this.#reader = controller),
      pull: () => this.#pull(),
      cancel: () => this.reset(),
    }, { highWaterMark: 0 });
    this.writable = new WritableStream<Uint8Array>({
      start: (controller) => void (this.#writer = controller),
      write: (bytes) => this.#write(bytes),
      close: () => this.#finish(),
      abort: () => this.reset(),
    });
    this.#transmit(F.SYN, this.#next, NONE);
    this.#next = this.#next + 1 >>> 0;
    this.#arm();
  }

  /** Whether it is over. */
  get over(): boolean {
    return this.#state === "over";
  }

  /**
   * Ends it in order: sends what is there, and waits for the other side's end. If the other side does not
   * end its half within the deadline (5 s by default), the connection is reset.
   *
   * @throws Why it had failed before, if it had; the signal's reason, after a reset.
   */
  async close(options: WaitOptions = {}): Promise<void> {
    if (this.over) return await this.closed;
    const { timers, peer } = this.#host;
    const call = within(options, FIN_DEADLINE, timers);
    const late = (): true => {
      this.reset();
      return true;
    };
    const subject = { what: `${peer} to close the connection`, timers, look: late };
    try {
      await waitOn(this.#finishBoth(), subject, call);
    } catch (error) {
      this.reset(error as Error);
      throw error;
    }
  }

  async #finishBoth(): Promise<true> {
    await this.#finish();
    // Nobody reads any more: what still comes is taken and dropped.
    this.#received = [];
    this.#receivedBytes = 0;
    this.#pulled = true;
    await this.closed;
    return true;
  }

  /** Ends it at once, and tells the other side. */
  reset(reason?: Error): void {
    if (this.over) return;
    this.#transmit(F.RST | F.ACK, this.#next, NONE);
    this.#end(reason);
  }

  /** As {@linkcode TcpConnection.close}; does not throw. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close().catch(() => {});
  }

  /** Ends it without a word; the stack does it. */
  fail(error: Error): void {
    this.#end(error);
  }

  /** A segment came for it; the stack tells it. */
  handle(segment: TcpSegment): void {
    if (this.over) return;
    if (this.#state === "syn") return this.#handleSyn(segment);
    const { flags, sequence } = segment;
    if ((flags & F.RST) !== 0) {
      // Only one that is exactly the next may end a connection (RFC 9293 §3.10.7.4).
      if (sequence === this.#expected) {
        this.#end(
          this.#finReceived && this.#finSent ? undefined : this.#error("IO_ERROR", "reset"),
        );
      } else this.#acknowledge();
      return;
    }
    if ((flags & F.ACK) !== 0) this.#handleAck(segment);
    if (this.over) return;
    this.#take(segment);
    this.#output();
    this.#endIfDone();
  }

  #handleSyn({ flags, acknowledgement, sequence, window, mss }: TcpSegment): void {
    if ((flags & F.ACK) !== 0 && acknowledgement !== this.#next) return;
    if ((flags & F.RST) !== 0) {
      if ((flags & F.ACK) !== 0) this.#end(this.#error("COMMAND_REFUSED", "refused"));
      return;
    }
    if ((flags & (F.SYN | F.ACK)) !== (F.SYN | F.ACK)) return;
    this.#state = "open";
    this.#expected = sequence + 1 >>> 0;
    this.#unacknowledged = acknowledgement;
    this.#window = window;
    this.#mss = Math.min(mss ?? 536, MSS);
    this.#disarm();
    this.#retries = 0;
    this.#acknowledge();
    this.#openedSettler.resolve();
    this.#output();
  }

  #handleAck({ acknowledgement, window, data }: TcpSegment): void {
    const acked = diff(acknowledgement, this.#unacknowledged);
    if (diff(acknowledgement, this.#next) > 0) return this.#acknowledge();
    if (acked <= 0) {
      const duplicate = acked === 0 && data.length === 0 && window === this.#window &&
        this.#unacknowledged !== this.#next;
      this.#window = acked === 0 ? window : this.#window;
      if (duplicate && ++this.#duplicates === 3) this.#resendFast();
      return;
    }
    this.#window = window;
    this.#duplicates = 0;
    this.#retries = 0;
    if (this.#finSent && acknowledgement === this.#next) this.#finAcknowledged = true;
    const bytes = Math.min(acked, this.#buffer.length);
    this.#buffer = this.#buffer.subarray(bytes);
    this.#unacknowledged = acknowledgement;
    if (this.#timed !== undefined && diff(acknowledgement, this.#timed.end) >= 0) {
      this.#measure(this.#host.timers.now() - this.#timed.at);
      this.#timed = undefined;
    }
    // RFC 5681: faster up to the threshold, a segment a round trip above it.
    this.#congestion += this.#congestion < this.#threshold
      ? Math.min(acked, this.#mss)
      : this.#mss * this.#mss / this.#congestion;
    this.#disarm();
    if (this.#unacknowledged !== this.#next) this.#arm();
    this.#room.resolve();
    this.#room = Promise.withResolvers();
  }

  #measure(rtt: number): void {
    if (this.#srtt === 0) {
      this.#srtt = rtt;
      this.#rttvar = rtt / 2;
    } else {
      this.#rttvar = 0.75 * this.#rttvar + 0.25 * Math.abs(this.#srtt - rtt);
      this.#srtt = 0.875 * this.#srtt + 0.125 * rtt;
    }
    this.#rto = Math.min(MAX_RTO, Math.max(MIN_RTO, this.#srtt + 4 * this.#rttvar));
  }

  /** Takes a segment's data: what is next, and what came early. */
  #take({ sequence, data, flags }: TcpSegment): void {
    const fin = (flags & F.FIN) !== 0;
    if (data.length === 0 && !fin) return;
    const skip = -diff(sequence, this.#expected);
    const inWindow = diff(sequence, this.#expected) < WINDOW - this.#receivedBytes;
    if (fin && inWindow) this.#earlyFin = sequence + data.length >>> 0;
    if (skip >= 0 && skip < data.length && inWindow) this.#accept(data.slice(skip));
    else if (skip < 0 && inWindow && data.length > 0) this.#early.set(sequence, data.slice());
    for (let more = this.#nextEarly(); more !== undefined; more = this.#nextEarly()) {
      this.#accept(more);
    }
    if (this.#earlyFin === this.#expected && !this.#finReceived) {
      this.#finReceived = true;
      this.#expected = this.#expected + 1 >>> 0;
      if (this.#pulled || this.#received.length === 0) this.#pull();
    }
    this.#acknowledgeSoon();
  }

  #nextEarly(): Uint8Array | undefined {
    for (const [sequence, data] of this.#early) {
      const skip = -diff(sequence, this.#expected);
      if (skip < 0) continue;
      this.#early.delete(sequence);
      if (skip < data.length) return data.subarray(skip);
    }
    return undefined;
  }

  #accept(data: Uint8Array): void {
    const room = WINDOW - this.#receivedBytes;
    const taken = data.subarray(0, room);
    if (taken.length === 0 || this.#finReceived) return;
    this.#expected = this.#expected + taken.length >>> 0;
    this.#received.push(taken);
    this.#receivedBytes += taken.length;
    if (this.#pulled) this.#pull();
  }

  #pull(): void {
    const chunk = this.#received.shift();
    if (chunk === undefined) {
      this.#pulled = true;
      if (this.#finReceived) this.#closeReader();
      return;
    }
    this.#pulled = false;
    this.#receivedBytes -= chunk.length;
    try {
      this.#reader.enqueue(chunk);
    } catch {
      // Nobody reads any more.
    }
    const open = WINDOW - this.#receivedBytes - this.#advertised;
    if (this.#state === "open" && (open >= 2 * this.#mss || open >= WINDOW / 2)) {
      this.#acknowledge();
    }
    if (this.#finReceived && this.#received.length === 0) this.#closeReader();
  }

  #closeReader(): void {
    try {
      this.#reader.close();
    } catch {
      // Closed before.
    }
  }

  async #write(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length;) {
      if (this.over) throw this.#error("PORT_CLOSED", "closed");
      const room = SEND_BUFFER - this.#buffer.length;
      if (room > 0) {
        const part = bytes.subarray(at, at + room);
        at += part.length;
        const joined = new Uint8Array(this.#buffer.length + part.length);
        joined.set(this.#buffer);
        joined.set(part, this.#buffer.length);
        this.#buffer = joined;
        this.#output();
      } else await this.#room.promise;
    }
  }

  async #finish(): Promise<void> {
    this.#finQueued = true;
    if (this.#state === "open") this.#output();
    while (!this.over && !this.#finAcknowledged) await this.#room.promise;
  }

  /** Sends what windows allow. */
  #output(): void {
    if (this.#state !== "open") return;
    const window = Math.floor(Math.min(this.#window, this.#congestion));
    for (;;) {
      const flying = diff(this.#next, this.#unacknowledged);
      const left = this.#buffer.length - flying;
      const room = Math.min(window - flying, this.#mss);
      if (left <= 0 || this.#finSent) break;
      if (room <= 0) {
        // A closed window is asked for with a byte when the timer ends.
        if (flying === 0) this.#arm();
        return;
      }
      const data = this.#buffer.subarray(flying, flying + Math.min(room, left));
      const last = data.length === left;
      this.#timed ??= {
        end: this.#next + data.length >>> 0,
        at: this.#host.timers.now(),
      };
      this.#transmit(F.ACK | (last ? F.PSH : 0), this.#next, data);
      this.#next = this.#next + data.length >>> 0;
      this.#arm();
    }
    if (this.#finQueued && !this.#finSent) {
      this.#finSent = true;
      this.#transmit(F.FIN | F.ACK, this.#next, NONE);
      this.#next = this.#next + 1 >>> 0;
      this.#arm();
    }
  }

  #arm(): void {
    this.#cancelTimer ??= this.#host.timers.after(this.#rto, () => this.#timeout());
  }

  #disarm(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
  }

  #timeout(): void {
    this.#cancelTimer = undefined;
    if (this.over) return;
    if (++this.#retries > MAX_RETRIES) {
      const seen = `no answer to ${MAX_RETRIES} retransmissions`;
      return this.#end(timedOut(`${this.#host.peer} to acknowledge`, undefined, { seen }));
    }
    this.#rto = Math.min(this.#rto * 2, MAX_RTO);
    // Karn: what was sent twice is not timed.
    this.#timed = undefined;
    const flying = diff(this.#next, this.#unacknowledged);
    this.#threshold = Math.max(flying / 2, 2 * this.#mss);
    this.#congestion = this.#mss;
    this.#resend();
    this.#arm();
  }

  #resendFast(): void {
    const flying = diff(this.#next, this.#unacknowledged);
    this.#threshold = Math.max(flying / 2, 2 * this.#mss);
    this.#congestion = this.#threshold;
    this.#timed = undefined;
    this.#resend();
  }

  /** Sends the oldest segment that was not acknowledged again. */
  #resend(): void {
    if (this.#state === "syn") return this.#transmit(F.SYN, this.#unacknowledged, NONE);
    const probe = this.#window === 0 && this.#next === this.#unacknowledged;
    const data = this.#buffer.subarray(0, probe ? 1 : this.#mss);
    const flying = diff(this.#next, this.#unacknowledged);
    const sent = data.subarray(0, probe ? 1 : Math.min(data.length, flying));
    if (probe && sent.length > 0) this.#next = this.#next + 1 >>> 0;
    const fin = this.#finSent && sent.length === this.#buffer.length ? F.FIN : 0;
    this.#transmit(F.ACK | fin, this.#unacknowledged, sent);
  }

  #acknowledgeSoon(): void {
    if (this.#ackQueued) return;
    this.#ackQueued = true;
    queueMicrotask(() => {
      if (this.#ackQueued && this.#state === "open") this.#acknowledge();
    });
  }

  #acknowledge(): void {
    this.#transmit(F.ACK, this.#next, NONE);
  }

  #transmit(flags: number, sequence: number, data: Uint8Array): void {
    if ((flags & F.ACK) !== 0) this.#ackQueued = false;
    this.#advertised = Math.max(0, WINDOW - this.#receivedBytes);
    this.#host.send({
      sequence,
      acknowledgement: (flags & F.ACK) !== 0 ? this.#expected : 0,
      flags,
      window: this.#advertised,
      mss: (flags & F.SYN) !== 0 ? MSS : undefined,
      data,
    });
  }

  #endIfDone(): void {
    if (this.#finAcknowledged && this.#finReceived) this.#end(undefined);
  }

  #end(error: Error | undefined): void {
    if (this.over) return;
    if (this.#ackQueued) this.#acknowledge();
    this.#state = "over";
    this.#disarm();
    this.#room.resolve();
    this.#openedSettler.reject(error ?? this.#error("PORT_CLOSED", "closed"));
    if (error === undefined) {
      this.#closedSettler.resolve();
      if (this.#finReceived && this.#received.length === 0) this.#closeReader();
      else if (!this.#finReceived) this.#failReader(this.#error("PORT_CLOSED", "closed"));
    } else {
      this.#closedSettler.reject(error);
      this.#failReader(error);
    }
    this.#writer.error(error ?? this.#error("PORT_CLOSED", "closed"));
    this.#host.ended();
  }

  #failReader(error: Error): void {
    try {
      this.#reader.error(error);
    } catch {
      // Closed before.
    }
  }

  #error(code: VireoErrorCode, what: string): VireoError {
    return new VireoError(code, `Connection to ${this.#host.peer} is ${what}`);
  }
}

const NONE = new Uint8Array(0);
