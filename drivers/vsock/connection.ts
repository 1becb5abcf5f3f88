import {
  joinBytes,
  VireoError,
  type VireoErrorCode,
  VsockOp,
  VsockRecord,
  VsockRw,
  VsockShutdown,
  VsockType,
} from "@vireo/hal";
import {
  Condition,
  type Deadline,
  waitFor,
  waitOn,
  type WaitOptions,
  within,
} from "../wait/mod.ts";
import type { VsockPacket } from "./packet.ts";

/** Bytes that a connection has room for. */
const BUFFER: number = 256 * 1024;
/** Bytes to take before the sender gets an update of its credit. */
const UPDATE = BUFFER / 4;
/** Messages that may wait to be read. */
const MAX_MESSAGES = 16 * 1024;
/** Packets are joined up to so many bytes. */
const PIECE = 4096;
/** Bytes of data in a packet. */
const CHUNK = 16 * 1024;
/** Packets of one write that the device has at a time: together they are as much as a peer has room for. */
const UNDER_WAY = 16;
/** Milliseconds until a peer that does not end a connection is reset, as Linux has it. */
const CLOSE_DEADLINE = 8000;

/** The parts of its device that a connection uses. */
export interface ConnectionHost {
  /** Name of the device, for errors. */
  readonly device: string;
  /** Sends a packet; resolves when the device took it. */
  send(
    connection: VsockConnection,
    op: VsockOp,
    flags: number,
    data: Uint8Array,
    options?: WaitOptions,
  ): Promise<void>;
  /** The connection is over. */
  ended(connection: VsockConnection): void;
}

/**
 * One end of a connection, with its data as Web Streams (virtio 1.4 §5.10.6).
 *
 * @example
 * ```ts
 * import { Bus } from "@vireo/drivers/bus";
 * import { vsockDriver } from "@vireo/drivers/vsock";
 * import { loopbackPort } from "@vireo/emu/backends";
 * import { EmulatedMachine } from "@vireo/emu/core";
 * import { VsockDevice } from "@vireo/emu/vsock";
 * import { assertEquals } from "@std/assert";
 *
 * const device = new VsockDevice({ host: { connect: () => loopbackPort() } });
 * await using machine = EmulatedMachine.create({ devices: [device] });
 * await using bus = new Bus();
 * await bus.registerDriver(vsockDriver);
 * await bus.addPlatform(machine);
 * const connection = await bus.get(vsockDriver)!.connect(7, { deadline: 1000 });
 * const text = new Blob(["hello"]).stream();
 * const [answer] = await Promise.all([
 *   new Response(connection.readable).text(),
 *   // The end of what is sent ends the echo too.
 *   text.pipeTo(connection.writable),
 * ]);
 * assertEquals([answer, connection.peerPort], ["hello", 7]);
 * await connection.close();
 * ```
 */
export class VsockConnection implements AsyncDisposable {
  /** Our port. */
  readonly localPort: number;
  /** The other side's context id. */
  readonly peerCid: number;
  /** The other side's port. */
  readonly peerPort: number;
  /** Stream or sequenced packets. */
  readonly type: VsockType;
  /**
   * Received data: any bytes of a stream, whole messages of sequenced packets. A message that ends a record is a
   * {@linkcode VsockRecord}.
   */
  readonly readable: ReadableStream<Uint8Array>;
  /** Data to send: each chunk is a message of sequenced packets, and ends a record if it is a `VsockRecord`. */
  readonly writable: WritableStream<Uint8Array>;
  /** Resolves when the connection is over in order; rejects with why it is not. */
  readonly closed: Promise<void>;
  readonly #host: ConnectionHost;
  readonly #closed = Promise.withResolvers<void>();
  readonly #opened = Promise.withResolvers<void>();
  #reader!: ReadableStreamDefaultController<Uint8Array>;
  #writer!: WritableStreamDefaultController;
  #waiting: Uint8Array[] = [];
  #message: Uint8Array[] = [];
  #pulled = false;
  #peerBuffer = 0;
  #peerTaken = 0;
  #sent = 0;
  #received = 0;
  #taken = 0;
  #told = 0;
  readonly #credit = new Condition();
  #ended = false;
  #sentShutdown = 0;
  #gotShutdown = 0;
  #failure: Error | undefined;

  /** Makes a connection that is not open yet; the device does it. */
  constructor(
    host: ConnectionHost,
    place: Pick<VsockConnection, "localPort" | "peerCid" | "peerPort" | "type">,
  ) {
    this.#host = host;
    this.localPort = place.localPort;
    this.peerCid = place.peerCid;
    this.peerPort = place.peerPort;
    this.type = place.type;
    this.closed = this.#closed.promise;
    this.closed.catch(() => {});
    this.#opened.promise.catch(() => {});
    this.readable = new ReadableStream<Uint8Array>({
      start: (controller) => void (this.#reader = controller),
      pull: () => this.#pull(),
      cancel: () => this.#shutDown(VsockShutdown.RECEIVE),
    }, { highWaterMark: 0 });
    this.writable = new WritableStream<Uint8Array>({
      start: (controller) => void (this.#writer = controller),
      // An abort of the stream waits for a write that is under way, so it must end that.
      write: (chunk, { signal }) => this.#write(chunk, { signal }),
      close: () => this.#shutDown(VsockShutdown.SEND, within({}, CLOSE_DEADLINE)),
      abort: () => void this.#shutDown(VsockShutdown.SEND).catch(() => {}),
    });
  }

  /** Bytes that we have room for, for headers. */
  get bufAlloc(): number {
    return BUFFER;
  }

  /** Bytes that were taken from it, modulo 2^32, for headers. */
  get fwdCnt(): number {
    this.#told = this.#taken;
    return this.#taken >>> 0;
  }

  /** Whether it is over. */
  get ended(): boolean {
    return this.#ended;
  }

  /**
   * Asks the other side to take the connection; the device does it. What fails is over.
   *
   * @throws As {@linkcode Vsock.connect}.
   */
  async connect(call: Deadline): Promise<void> {
    try {
      await this.#host.send(this, VsockOp.REQUEST, 0, NONE, call);
      await waitOn(this.#opened.promise, {
        what: "the peer to take the connection",
        details: () => ({ device: this.#host.device, index: this.localPort }),
      }, call);
    } catch (error) {
      this.reset(error as Error);
      throw error;
    }
  }

  /**
   * Ends it in order: nothing more is sent or received, and the other side is waited for. A peer that does
   * not end it within the deadline (8 s by default, as Linux has it) is reset.
   *
   * @throws {VireoError} Why it had failed before, if it had; the signal's reason, after a reset.
   */
  async close(options: WaitOptions = {}): Promise<void> {
    if (this.#ended) return await this.closed;
    const call = within(options, CLOSE_DEADLINE);
    const shut = this.#shutDown(VsockShutdown.RECEIVE | VsockShutdown.SEND, call);
    // An error of sending ends the connection, or the wait below.
    shut.catch(() => {});
    const look = (): "late" => {
      this.#resetPeer();
      this.end(undefined);
      return "late";
    };
    try {
      const ended = await waitFor<"late" | "closed">(
        { what: "the peer to close the connection", look },
        call,
        (waiter) => {
          this.closed.then(() => waiter.resolve("closed"), (error) => waiter.reject(error));
        },
      );
      // It has the same deadline, and must not outlive the call.
      if (ended === "late") await shut.catch(() => {});
    } catch (error) {
      this.reset(error as Error);
      throw error;
    }
  }

  /** Ends it at once. */
  reset(reason?: Error): void {
    if (this.#ended) return;
    this.#resetPeer();
    this.end(reason ?? this.#error("PORT_CLOSED", "Connection was reset"));
  }

  /** As {@linkcode VsockConnection.close}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close().catch(() => {});
  }

  /** A packet came for it; the device tells it. */
  handle(packet: VsockPacket, data: Uint8Array): void {
    this.#peerBuffer = packet.bufAlloc;
    this.#peerTaken = packet.fwdCnt;
    this.#credit.notify();
    switch (packet.op) {
      case VsockOp.RESPONSE:
        return this.#opened.resolve();
      case VsockOp.RW:
        return this.#receive(data, packet.flags);
      case VsockOp.CREDIT_REQUEST:
        return void this.#host.send(this, VsockOp.CREDIT_UPDATE, 0, NONE).catch(() => {});
      case VsockOp.CREDIT_UPDATE:
        return;
      case VsockOp.SHUTDOWN:
        return this.#peerShutDown(packet.flags);
      case VsockOp.RST: {
        const orderly = this.#sentShutdown === BOTH || this.#gotShutdown === BOTH;
        return this.end(orderly ? undefined : this.#error("IO_ERROR", "Peer reset the connection"));
      }
      default:
        return this.reset(this.#error("BAD_STATUS", `Peer sent operation ${packet.op}`));
    }
  }

  /** Ends it without a word to the other side; the device tells it. */
  end(error: Error | undefined): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#failure = error;
    this.#credit.notify();
    const refused = this.#error("COMMAND_REFUSED", "Nobody listens there");
    this.#opened.reject(error ?? refused);
    if (error === undefined) {
      this.#closed.resolve();
      this.#finishReading();
      this.#writer.error(this.#error("PORT_CLOSED", "Connection is closed"));
    } else {
      this.#closed.reject(error);
      if (this.#waiting.length === 0) this.#reader.error(error);
      this.#writer.error(error);
    }
    this.#host.ended(this);
  }

  #receive(data: Uint8Array, flags: number): void {
    // A peer that sends more than there is room for loses it, as on Linux.
    if (this.#received + data.length - this.#taken > BUFFER) return;
    this.#received += data.length;
    if (this.type === VsockType.SEQPACKET) {
      append(this.#message, data);
      if ((flags & VsockRw.EOM) === 0) return;
      // Room does not bound empty messages, because they need none.
      if (this.#waiting.length >= MAX_MESSAGES) {
        return this.reset(
          this.#error("OUT_OF_RANGE", `Peer sent over ${MAX_MESSAGES} messages ahead`),
        );
      }
      const message = joinBytes(...this.#message.splice(0));
      this.#waiting.push((flags & VsockRw.EOR) === 0 ? message : new VsockRecord(message));
    } else append(this.#waiting, data);
    if (this.#pulled) this.#pull();
  }

  #pull(): void {
    const chunk = this.#next();
    if (chunk === undefined) {
      this.#pulled = true;
      this.#finishReading();
      if (this.#failure !== undefined) this.#reader.error(this.#failure);
      return;
    }
    this.#pulled = false;
    this.#taken += chunk.length;
    this.#reader.enqueue(chunk);
    if (this.#taken - this.#told >= UPDATE && !this.#ended) {
      void this.#host.send(this, VsockOp.CREDIT_UPDATE, 0, NONE).catch(() => {});
    }
  }

  /** Takes a message, or what waits of a stream: a reader's turn costs more than the copy. */
  #next(): Uint8Array | undefined {
    const waiting = this.#waiting;
    if (this.type === VsockType.SEQPACKET || waiting.length < 2) return waiting.shift();
    return joinBytes(...waiting.splice(0));
  }

  /** Ends the readable side once all was read, if nothing more can come. */
  #finishReading(): void {
    const over = this.#ended || (this.#gotShutdown & VsockShutdown.SEND) !== 0;
    if (!over || this.#waiting.length > 0 || this.#failure !== undefined) return;
    try {
      this.#reader.close();
    } catch {
      // It was cancelled or closed before.
    }
  }

  async #write(chunk: Uint8Array, options: WaitOptions): Promise<void> {
    const message = this.type === VsockType.SEQPACKET;
    if (message && chunk.length > BUFFER) {
      throw new RangeError(
        `Cannot send a message of ${chunk.length} bytes: expected at most ${BUFFER}`,
      );
    }
    const end = VsockRw.EOM | (chunk instanceof VsockRecord ? VsockRw.EOR : 0);
    const underWay: Promise<void>[] = [];
    try {
      for (let at = 0; at < chunk.length || (message && chunk.length === 0);) {
        const room = this.#room() ?? await this.#waitForCredit(options);
        const part = chunk.subarray(at, at + Math.min(CHUNK, room));
        at += part.length;
        this.#sent += part.length;
        const last = at >= chunk.length;
        const flags = message && last ? end : 0;
        const sent = this.#host.send(this, VsockOp.RW, flags, part, options);
        // Until it is waited for, below.
        sent.catch(() => {});
        underWay.push(sent);
        if (underWay.length === UNDER_WAY) await underWay.shift();
        if (chunk.length === 0) break;
      }
      await Promise.all(underWay);
    } finally {
      // The chunk is the caller's again.
      await Promise.allSettled(underWay);
    }
  }

  /**
   * Bytes that the other side has room for (virtio 1.4 §5.10.6.3); undefined if there are none now.
   *
   * @throws {VireoError} If it takes nothing any more.
   */
  #room(): number | undefined {
    if (this.#ended || (this.#gotShutdown & VsockShutdown.RECEIVE) !== 0) {
      throw this.#failure ?? this.#error("PORT_CLOSED", "Peer takes nothing any more");
    }
    const room = this.#peerBuffer - ((this.#sent - this.#peerTaken) >>> 0);
    return room > 0 ? room : undefined;
  }

  async #waitForCredit(options: WaitOptions): Promise<number> {
    // The wait begins first: the answer may be there before the request's buffer is back.
    const room = this.#credit.until("the peer to have room", () => this.#room(), options);
    room.catch(() => {});
    await this.#host.send(this, VsockOp.CREDIT_REQUEST, 0, NONE, options);
    return await room;
  }

  async #shutDown(flags: number, options: WaitOptions = {}): Promise<void> {
    if (this.#ended || (this.#sentShutdown & flags) === flags) return;
    this.#sentShutdown |= flags;
    await this.#host.send(this, VsockOp.SHUTDOWN, this.#sentShutdown, NONE, options);
  }

  /** Tells the other side that it is over; nobody waits for that. */
  #resetPeer(): void {
    void this.#host.send(this, VsockOp.RST, 0, NONE).catch(() => {});
  }

  #peerShutDown(flags: number): void {
    this.#gotShutdown |= flags & BOTH;
    this.#credit.notify();
    if (this.#pulled) this.#finishReading();
    else if (this.#waiting.length === 0) this.#finishReading();
    // The side that learns that both are done says so with RST.
    if (this.#gotShutdown !== BOTH) return;
    this.#resetPeer();
    this.end(undefined);
  }

  #error(code: VireoErrorCode, what: string): VireoError {
    return new VireoError(code, what, { device: this.#host.device, index: this.localPort });
  }
}

const BOTH = VsockShutdown.RECEIVE | VsockShutdown.SEND;
const NONE = new Uint8Array(0);

/** Adds bytes to a list whose items are large enough that they are few, however small the packets are. */
function append(parts: Uint8Array[], data: Uint8Array): void {
  if (data.length === 0) return;
  const last = parts.at(-1);
  if (last === undefined || last.length + data.length > PIECE) parts.push(data);
  else parts[parts.length - 1] = joinBytes(last, data);
}
