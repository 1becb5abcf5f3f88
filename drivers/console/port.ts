import { VireoError } from "@vireo/hal";
import { Condition } from "../wait/condition.ts";
import type { WaitOptions } from "../wait/options.ts";
import type { Receiver } from "./_receiver.ts";
import type { Sender } from "./_sender.ts";

const NO_OPTIONS: WaitOptions = {};

/** Size of a text console in characters. */
export interface ConsoleSize {
  /** Columns of characters. */
  readonly cols: number;
  /** Rows of characters. */
  readonly rows: number;
}

/** The two queues of a port, with their buffers; they outlive the port. */
export interface PortLink {
  /** Takes bytes from the host. */
  readonly receiver: Receiver;
  /** Sends bytes to the host. */
  readonly sender: Sender;
}

/** The parts of its console that a {@linkcode Port} uses. */
export interface PortHost {
  /** Name of the device, for messages. */
  readonly device: string;
  /** Whether ports have open states that both sides tell each other. */
  readonly multiport: boolean;
  /** Tells the device that the guest's side was opened or closed. */
  readonly sendOpen: (id: number, open: boolean) => void;
}

/** Called when a console has a new size. */
export type ResizeListener = (size: ConsoleSize) => void;

/**
 * One port of a console device: a byte stream in each direction, for one opener at a time.
 *
 * @example
 * ```ts ignore
 * using port = (await console.port("agent")).open();
 * await port.writeText("hello\n");
 * for await (const bytes of port.readable) Deno.stdout.writeSync(bytes);
 * ```
 */
export class Port implements Disposable {
  /** Port id on the device. */
  readonly id: number;
  readonly #host: PortHost;
  readonly #link: PortLink;
  readonly #gate: Condition;
  readonly #resizeListeners = new Set<ResizeListener>();
  #name = "";
  #isConsole = false;
  #size: ConsoleSize | undefined;
  #hostOpen: boolean;
  #ended = false;
  #opener: AbortController | undefined;
  #frozen = false;
  #failure: Error | undefined;
  #removed = false;
  #discarded = 0;
  #readable: ReadableStream<Uint8Array> | undefined;
  #writable: WritableStream<Uint8Array> | undefined;

  /** Makes a port over its queues; the console does it. */
  constructor(id: number, link: PortLink, host: PortHost) {
    this.id = id;
    this.#host = host;
    this.#link = link;
    this.#hostOpen = !host.multiport;
    this.#gate = new Condition(link.receiver.look(() => this.received()));
    link.sender.blocked = () => {
      if (this.#failure !== undefined) throw this.#failure;
      return this.#frozen || !(this.#hostOpen || this.#isConsole);
    };
  }

  /** The name that the device gave; empty without one. */
  get name(): string {
    return this.#name;
  }

  /** Whether the device said that this is a text console. */
  get isConsole(): boolean {
    return this.#isConsole;
  }

  /** Size in characters, if the device told it. */
  get size(): ConsoleSize | undefined {
    return this.#size;
  }

  /** Whether the host's side is open; always so without MULTIPORT. */
  get hostOpen(): boolean {
    return this.#hostOpen;
  }

  /** Whether someone has this side open. */
  get isOpen(): boolean {
    return this.#opener !== undefined;
  }

  /** Whether the port is gone for good. */
  get removed(): boolean {
    return this.#removed;
  }

  /** Bytes that arrived while nobody had the port open, or were unread when it closed. */
  get discardedBytes(): number {
    return this.#discarded;
  }

  /**
   * Opens this side; only one at a time may.
   *
   * @returns This port, so that `using` can close it.
   * @throws {VireoError} `DEVICE_STATE` If it is open; `PORT_CLOSED` If it was removed.
   */
  open(): this {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.isOpen) {
      throw new VireoError("DEVICE_STATE", "Cannot open the port: it is already open", {
        device: this.#host.device,
        index: this.id,
      });
    }
    this.#opener = new AbortController();
    this.#ended = false;
    if (this.#tellsOpen) this.#host.sendOpen(this.id, true);
    return this;
  }

  /**
   * Closes this side: readers see the end, writers that wait get `PORT_CLOSED`, unread bytes are thrown
   * away (a console keeps them). Twice is harmless.
   */
  close(): void {
    const opener = this.#opener;
    if (opener === undefined) return;
    this.#opener = undefined;
    this.#readable = undefined;
    this.#writable = undefined;
    if (!this.#keepsData) this.#discard();
    if (this.#tellsOpen && this.#failure === undefined) this.#host.sendOpen(this.id, false);
    this.#gate.notify();
    opener.abort(this.#closedError("Port was closed"));
    this.#link.sender.notify();
  }

  /** Same as {@linkcode Port.close}. */
  [Symbol.dispose](): void {
    this.close();
  }

  /**
   * Reads what came first; the device gets the buffer back.
   *
   * @returns At least one byte, or null after the host closed its side or this one was closed.
   * @throws {VireoError} `PORT_CLOSED` If the port is not open or was removed; `TIMEOUT`; the signal's reason.
   */
  read(options: WaitOptions = NO_OPTIONS): Promise<Uint8Array | null> {
    const { receiver } = this.#link;
    let opener: AbortController;
    try {
      opener = this.#mustBeOpen();
      // A device that answered at once is heard at once, before its interrupt.
      if (!receiver.hasData && receiver.hasUsed) this.received();
      if (options.signal?.aborted !== true) {
        const bytes = receiver.take();
        if (bytes !== undefined) return Promise.resolve(bytes);
      }
    } catch (error) {
      return Promise.reject(error);
    }
    return this.#gate.until<Uint8Array | null>("bytes from the host", () => {
      if (this.#opener !== opener) return null;
      const bytes = receiver.take();
      if (bytes !== undefined) return bytes;
      if (this.#failure !== undefined) throw this.#failure;
      return this.#ended ? null : undefined;
    }, options);
  }

  /**
   * Writes bytes and waits until the device took them; waits while the host's side is closed.
   *
   * @throws {VireoError} `PORT_CLOSED`, `TIMEOUT`, or why the device failed; the signal's reason. A part
   * of the bytes may have been sent then, and the device may still take what it has.
   */
  write(bytes: Uint8Array, options: WaitOptions = NO_OPTIONS): Promise<void> {
    return this.#send(bytes, options, true);
  }

  /** Writes text as UTF-8, as {@linkcode Port.write} does. */
  async writeText(text: string, options: WaitOptions = {}): Promise<void> {
    await this.write(new TextEncoder().encode(text), options);
  }

  /** Waits until the device took everything that was written. */
  async flush(options: WaitOptions = {}): Promise<void> {
    await this.#link.sender.flush(options);
  }

  /** Waits until the host's side is open. */
  async hostOpened(options: WaitOptions = {}): Promise<void> {
    await this.#gate.until("the host to open the port", () => {
      if (this.#failure !== undefined) throw this.#failure;
      return this.#hostOpen ? true : undefined;
    }, options);
  }

  /**
   * The bytes from the host; buffers go back to the device only as the stream is read. It ends when
   * either side closes; asked for again afterwards, there is a new one.
   */
  get readable(): ReadableStream<Uint8Array> {
    return this.#readable ??= this.#makeReadable();
  }

  /** The bytes from the host as text, UTF-8. */
  get text(): ReadableStream<string> {
    const decoder = new TextDecoderStream() as unknown as TransformStream<Uint8Array, string>;
    return this.readable.pipeThrough(decoder);
  }

  /** The bytes to the host; a write is over when it is in the ring, a close when the device took all. */
  get writable(): WritableStream<Uint8Array> {
    return this.#writable ??= this.#makeWritable();
  }

  /**
   * Calls a listener at each new size.
   *
   * @returns Ends it.
   */
  onResize(listener: ResizeListener): () => void {
    this.#resizeListeners.add(listener);
    return () => this.#resizeListeners.delete(listener);
  }

  /** The receive queue has used buffers; the console calls it. */
  received(): void {
    this.#link.receiver.collect();
    if (!this.isOpen && !this.#keepsData) this.#discard();
    this.#gate.notify();
  }

  /** The device named the port; the first name stays, as on Linux. */
  setName(name: string): void {
    if (this.#name === "") this.#name = name;
  }

  /** The device said that this is a text console: the guest's side counts as open (virtio 1.4 §5.3.6.2.2). */
  setConsole(): void {
    this.#isConsole = true;
    this.#host.sendOpen(this.id, true);
    this.#link.sender.notify();
  }

  /** Without MULTIPORT the only port is a console, and there is nobody to tell. */
  setOnlyConsole(): void {
    this.#isConsole = true;
  }

  /** The console has this size. */
  setSize(size: ConsoleSize): void {
    if (this.#size?.cols === size.cols && this.#size.rows === size.rows) return;
    this.#size = size;
    for (const listener of this.#resizeListeners) {
      try {
        listener(size);
      } catch (error) {
        reportError(error);
      }
    }
  }

  /** The host opened or closed its side. */
  setHostOpen(open: boolean): void {
    if (this.#hostOpen && !open) this.#ended = true;
    if (open) this.#ended = false;
    this.#hostOpen = open;
    this.#link.sender.notify();
    this.#gate.notify();
  }

  /** The device failed: pending calls end with the error, and new ones until {@linkcode Port.thaw}. */
  fail(error: Error): void {
    this.#failure ??= error;
    this.#link.sender.fail(error);
    this.#gate.notify();
  }

  /** The device is about to be reset: nothing is sent; readers wait on. */
  freeze(error: Error): void {
    this.#frozen = true;
    this.#link.sender.fail(error);
  }

  /** The device runs again, and knows nothing of the port's state: tells it. */
  thaw(): void {
    this.#frozen = false;
    this.#failure = undefined;
    if (this.#host.multiport) {
      this.#hostOpen = false;
      if (this.#isConsole || this.isOpen) this.#host.sendOpen(this.id, true);
    }
    this.#link.sender.notify();
    this.#gate.notify();
  }

  /** The port is gone for good: every call ends with `PORT_CLOSED`. */
  remove(cause?: Error): void {
    this.#removed = true;
    this.#hostOpen = false;
    this.#failure = this.#closedError("Port was removed", cause);
    this.#link.sender.fail(this.#failure);
    this.#link.sender.notify();
    this.#gate.notify();
  }

  /** Whether data that nobody reads is kept (and so holds the host back), as on consoles. */
  get #keepsData(): boolean {
    return this.#isConsole || !this.#host.multiport;
  }

  /** Whether open and close are told to the device; a console's side stays open. */
  get #tellsOpen(): boolean {
    return this.#host.multiport && !this.#isConsole;
  }

  #discard(): void {
    if (this.#link.receiver.hasData) this.#discarded += this.#link.receiver.discard();
  }

  #mustBeOpen(): AbortController {
    const opener = this.#opener;
    if (this.#failure !== undefined && !(opener && this.#link.receiver.hasData)) {
      throw this.#failure;
    }
    if (opener === undefined) throw this.#closedError("Cannot use the port: it must be open");
    return opener;
  }

  #closedError(what: string, cause?: Error): VireoError {
    return new VireoError("PORT_CLOSED", what, {
      device: this.#host.device,
      index: this.id,
      cause,
    });
  }

  #send(bytes: Uint8Array, options: WaitOptions, complete: boolean): Promise<void> {
    try {
      const { signal } = this.#mustBeOpen();
      return this.#link.sender.send(bytes, options, complete, signal);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  #makeReadable(): ReadableStream<Uint8Array> {
    const cancelled = new AbortController();
    const stream: ReadableStream<Uint8Array> = new ReadableStream<Uint8Array>({
      pull: async (controller) => {
        try {
          const bytes = await this.read({ signal: cancelled.signal });
          if (bytes !== null) return controller.enqueue(bytes);
          controller.close();
        } catch (error) {
          controller.error(error);
        }
        if (this.#readable === stream) this.#readable = undefined;
      },
      cancel: (reason) => {
        if (this.#readable === stream) this.#readable = undefined;
        cancelled.abort(reason);
      },
    }, { highWaterMark: 0 });
    return stream;
  }

  #makeWritable(): WritableStream<Uint8Array> {
    const over = (): void => {
      if (this.#writable === stream) this.#writable = undefined;
    };
    const stream: WritableStream<Uint8Array> = new WritableStream<Uint8Array>({
      write: async (bytes, controller) => {
        try {
          await this.#send(bytes, { signal: controller.signal }, false);
        } catch (error) {
          over();
          throw error;
        }
      },
      close: () => {
        over();
        return this.flush();
      },
      abort: over,
    });
    return stream;
  }
}
