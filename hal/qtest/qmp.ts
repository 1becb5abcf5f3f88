/**
 * QEMU's monitor: commands, answers and events (QMP).
 *
 * @example
 * ```ts
 * import type { Qmp } from "@vireo/hal/qmp";
 *
 * // Pulls the cable of a network device, and tells whether the machine still runs.
 * export async function unplug(qmp: Qmp, name: string): Promise<boolean> {
 *   await qmp.execute("set_link", { name, up: false });
 *   const { running } = await qmp.execute("query-status") as { running: boolean };
 *   return running;
 * }
 * ```
 *
 * @module
 */
import { VireoError } from "../errors.ts";

/** An event that QEMU's monitor sent. */
export interface QmpEvent {
  /** Name, for example `RESUME`. */
  readonly event: string;
  /** Data of the event. */
  readonly data: Readonly<Record<string, unknown>>;
}

/** Data of the events that report that a machine stops, or loses a device. */
export interface QmpEventData {
  /** The machine paused: no device answers. */
  readonly STOP: Readonly<Record<string, never>>;
  /** The machine goes on. */
  readonly RESUME: Readonly<Record<string, never>>;
  /** All devices were reset. */
  readonly RESET: { readonly guest: boolean; readonly reason: string };
  /** QEMU is about to end, or to pause with `-no-shutdown`. */
  readonly SHUTDOWN: { readonly guest: boolean; readonly reason: string };
  /** A disk of the host failed; with action `stop` a STOP follows. */
  readonly BLOCK_IO_ERROR: {
    readonly device: string;
    readonly "node-name"?: string;
    readonly operation: "read" | "write";
    readonly action: "ignore" | "report" | "stop";
    readonly nospace?: boolean;
    readonly reason: string;
  };
  /** An unplugged device is gone. */
  readonly DEVICE_DELETED: { readonly device?: string; readonly path: string };
}

/** An event whose data is typed. */
export type KnownQmpEvent<K extends keyof QmpEventData = keyof QmpEventData> = {
  readonly [N in K]: { readonly event: N; readonly data: QmpEventData[N] };
}[K];

/** Limits of a monitor command. */
export interface QmpOptions {
  /** Ends the wait with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds until the wait fails with `TIMEOUT`; 5000 by default. */
  readonly deadline?: number | undefined;
}

/** A line from QEMU's monitor, of any kind. */
interface QmpMessage {
  readonly QMP?: unknown;
  readonly id?: number;
  readonly return?: unknown;
  readonly error?: { readonly class: string; readonly desc: string };
  readonly event?: string;
  readonly data?: Record<string, unknown>;
}

interface Pending {
  readonly command: string;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/** Milliseconds in which what QEMU said before its end must have been read. */
const LAST_WORDS = 1000;

/**
 * QEMU's monitor protocol, QMP: commands and events as lines of JSON.
 *
 * @example
 * ```ts
 * import { Qmp } from "@vireo/hal/qtest";
 *
 * // Asks a QEMU that was started with `-qmp unix:PATH,server=on` whether it runs.
 * export async function runs(path: string): Promise<boolean> {
 *   using socket = await Deno.connect({ transport: "unix", path });
 *   const qmp = new Qmp(socket.writable, socket.readable);
 *   await qmp.start({ deadline: 1000 });
 *   const { running } = await qmp.execute("query-status") as { running: boolean };
 *   return running;
 * }
 * ```
 */
export class Qmp {
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #pending = new Map<number, Pending>();
  readonly #listeners = new Set<QmpEvents>();
  readonly #pump: Promise<void>;
  #paused = false;
  #ioError: QmpEventData["BLOCK_IO_ERROR"] | undefined;
  #shutdown: QmpEventData["SHUTDOWN"] | undefined;
  #nextId = 1;
  #closed: Error | undefined;

  /**
   * Speaks over a connection before QEMU has sent its greeting.
   *
   * @param writable Towards QEMU.
   * @param readable From QEMU.
   */
  constructor(writable: WritableStream<Uint8Array>, readable: ReadableStream<Uint8Array>) {
    this.#writer = writable.getWriter();
    this.#reader = readable.getReader();
    this.#pump = this.#run();
  }

  /**
   * Waits for the greeting and leaves the negotiation mode; call this once, before any command.
   *
   * @throws {VireoError} `TIMEOUT` or `HOST_ERROR` If QEMU does not greet.
   */
  async start(options: QmpOptions = {}): Promise<void> {
    const greeting = this.#wait(0, "the greeting", options);
    await greeting;
    await this.execute("qmp_capabilities", {}, options);
  }

  /**
   * Runs a command.
   *
   * @param command Name, for example `query-status`.
   * @param args Its arguments.
   * @returns What the command returns.
   * @throws {VireoError} `COMMAND_REFUSED` with QEMU's words, `TIMEOUT`, or `HOST_ERROR` if QEMU ended.
   */
  async execute(
    command: string,
    args: Readonly<Record<string, unknown>> = {},
    options: QmpOptions = {},
  ): Promise<unknown> {
    if (this.#closed !== undefined) throw this.#closed;
    const id = this.#nextId++;
    const line = JSON.stringify({ execute: command, arguments: args, id });
    const answer = this.#wait(id, command, options);
    // A write fails only when QEMU has ended, and that rejects the answer.
    this.#writer.write(new TextEncoder().encode(`${line}\n`)).catch(() => {});
    return await answer;
  }

  /**
   * Listens to events from now on, until the iterator is returned or QEMU ends.
   *
   * @example
   * ```ts
   * import type { Qmp } from "@vireo/hal/qtest";
   *
   * async function untilReset(qmp: Qmp): Promise<void> {
   *   const events = qmp.events();
   *   await qmp.execute("system_reset");
   *   for await (const { event } of events) if (event === "RESET") break;
   * }
   * ```
   */
  events(): AsyncIterableIterator<QmpEvent>;
  /** Listens to the events of these names only, whose data is typed. */
  events<K extends keyof QmpEventData>(
    ...names: readonly K[]
  ): AsyncIterableIterator<KnownQmpEvent<K>>;
  events(...names: readonly string[]): AsyncIterableIterator<QmpEvent> {
    const events = new QmpEvents((gone) => this.#listeners.delete(gone), names);
    if (this.#closed !== undefined) events.end();
    else this.#listeners.add(events);
    return events;
  }

  /** Whether QEMU has paused the machine, by the events so far. */
  get paused(): boolean {
    return this.#paused;
  }

  /** Why QEMU ends, once it has said so: for example `host-qmp-quit`. */
  get shutdownReason(): string | undefined {
    return this.#shutdown?.reason;
  }

  /** Says why no device answers, if QEMU has paused the machine: after which error of which disk. */
  diagnose(): VireoError | undefined {
    if (!this.#paused) return undefined;
    if (this.#ioError === undefined) {
      return new VireoError("HOST_ERROR", "QEMU has paused the machine", {
        expected: "'cont' from its monitor",
      });
    }
    const { operation, reason, device, "node-name": node } = this.#ioError;
    const disk = [node, device].find((name) => name !== undefined && name !== "");
    return new VireoError("HOST_ERROR", `QEMU has paused the machine: a ${operation} failed`, {
      device: disk,
      seen: `BLOCK_IO_ERROR: ${reason}`,
      expected: "the cause to be removed, then 'cont' from its monitor",
    });
  }

  /** Fails all pending commands with this error, and ends all event streams. */
  fail(error: Error): void {
    if (this.#closed !== undefined) return;
    this.#closed = error;
    for (const { reject } of this.#pending.values()) reject(error);
    for (const events of this.#listeners) events.end();
    this.#listeners.clear();
  }

  /**
   * Fails as {@linkcode Qmp.fail} does, once all is read that QEMU said before it ended, or after a second.
   *
   * @param error Why QEMU does not answer any more.
   */
  async failAfterLast(error: Error): Promise<void> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<void>((resolve) => timer = setTimeout(resolve, LAST_WORDS));
    await Promise.race([this.#pump, late]);
    clearTimeout(timer);
    this.fail(error);
  }

  /** Closes the connection; resolves when both directions are closed. */
  async close(): Promise<void> {
    this.fail(new VireoError("HOST_ERROR", "The board was disposed"));
    await this.#reader.cancel().catch(() => {});
    await this.#writer.abort().catch(() => {});
    await this.#pump;
  }

  #wait(id: number, command: string, options: QmpOptions): Promise<unknown> {
    const { signal, deadline = 5000 } = options;
    if (signal?.aborted) return Promise.reject(signal.reason);
    if (this.#closed !== undefined) return Promise.reject(this.#closed);
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    const timer = setTimeout(() =>
      reject(
        new VireoError(
          "TIMEOUT",
          `Timed out after ${deadline} ms waiting for QEMU's monitor to answer`,
          { seen: command },
        ),
      ), deadline);
    const abort = () => reject(signal?.reason);
    signal?.addEventListener("abort", abort);
    this.#pending.set(id, { command, resolve, reject });
    return promise.finally(() => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
      this.#pending.delete(id);
    });
  }

  async #run(): Promise<void> {
    const decoder = new TextDecoder();
    let text = "";
    for (;;) {
      const { value } = await this.#reader.read().catch(() => END);
      if (value === undefined) return;
      text += decoder.decode(value, { stream: true });
      const lines = text.split("\n");
      text = lines.pop() ?? "";
      for (const line of lines) if (line.trim() !== "") this.#take(line);
    }
  }

  #take(line: string): void {
    let message: QmpMessage;
    try {
      message = JSON.parse(line);
    } catch (cause) {
      this.fail(
        new VireoError("HOST_ERROR", "QEMU's monitor sent a line that is not JSON", {
          seen: line,
          cause,
        }),
      );
      return;
    }
    if (message.event !== undefined) {
      const event = { event: message.event, data: message.data ?? {} };
      // QEMU sends what the table says.
      this.#note(event as unknown as KnownQmpEvent);
      for (const events of this.#listeners) events.push(event);
      return;
    }
    const pending = this.#pending.get(message.QMP === undefined ? message.id ?? -1 : 0);
    if (message.error !== undefined) {
      pending?.reject(
        new VireoError("COMMAND_REFUSED", `QEMU refused '${pending.command}'`, {
          seen: message.error.desc,
        }),
      );
    } else {
      pending?.resolve(message.return);
    }
  }

  #note(event: KnownQmpEvent): void {
    switch (event.event) {
      case "STOP":
        this.#paused = true;
        break;
      case "RESUME":
        this.#paused = false;
        this.#ioError = undefined;
        break;
      case "BLOCK_IO_ERROR":
        if (event.data.action === "stop") this.#ioError = event.data;
        break;
      case "SHUTDOWN":
        this.#shutdown = event.data;
    }
  }
}

/** A connection that broke reads as one that ended. */
const END = { value: undefined } as const;

/** One listener's queue of events. */
class QmpEvents implements AsyncIterableIterator<QmpEvent> {
  readonly #queue: QmpEvent[] = [];
  readonly #stop: (self: QmpEvents) => void;
  #wake: (() => void) | undefined;
  readonly #names: readonly string[];
  #ended = false;

  constructor(stop: (self: QmpEvents) => void, names: readonly string[]) {
    this.#stop = stop;
    this.#names = names;
  }

  push(event: QmpEvent): void {
    if (this.#names.length > 0 && !this.#names.includes(event.event)) return;
    this.#queue.push(event);
    this.#wake?.();
  }

  end(): void {
    this.#ended = true;
    this.#wake?.();
  }

  async next(): Promise<IteratorResult<QmpEvent>> {
    for (;;) {
      const value = this.#queue.shift();
      if (value !== undefined) return { value, done: false };
      if (this.#ended) return { value: undefined, done: true };
      await new Promise<void>((resolve) => this.#wake = resolve);
    }
  }

  return(): Promise<IteratorResult<QmpEvent>> {
    this.#stop(this);
    this.end();
    return Promise.resolve({ value: undefined, done: true });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
