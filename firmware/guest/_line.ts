import { VireoError } from "@vireo/hal";
import { takeUnderWay } from "../terminal/under_way.ts";
import { encodeFrame, FrameDecoder, PAYLOAD, printable } from "./_frames.ts";
import type { Qemu } from "./_qemu.ts";

/** Where the guest's output goes; each call returns when it is written. */
export interface GuestOutput {
  /** Standard output. */
  stdout(bytes: Uint8Array): void | Promise<void>;
  /** Standard error. */
  stderr(bytes: Uint8Array): void | Promise<void>;
  /** The file that the program writes, if it was given one. */
  file?(bytes: Uint8Array): void | Promise<void>;
}

/** Input of the guest while it runs. */
interface LineInput {
  /** Standard input; it ends at once if there is none. */
  readonly stdin?: ReadableStream<Uint8Array> | undefined;
  /** Size of the terminal, if there is one. */
  readonly terminal?: { readonly rows: number; readonly columns: number } | undefined;
  /** Interrupts the program when it resolves. */
  readonly interrupt?: Promise<void> | undefined;
  /** Connects QEMU's monitor, when the program first asks for it. */
  readonly monitor?: (() => Promise<GuestMonitor>) | undefined;
}

/** A connection to QEMU's monitor that the guest's program may use, in bytes. */
export interface GuestMonitor {
  /** Output of the monitor. */
  readonly readable: ReadableStream<Uint8Array>;
  /** Input of the monitor. */
  readonly writable: WritableStream<Uint8Array>;
}

/** The number of SIGINT. */
const SIGINT = "2";

/** How many bytes of the kernel's console are kept for a crash report. */
const CONSOLE = 16_384;

/** How many lines of the console an error shows. */
const SHOWN = 12;

/** This process's own output. */
const OWN: GuestOutput = {
  stdout: (bytes) => writeAll(Deno.stdout, bytes),
  stderr: (bytes) => writeAll(Deno.stderr, bytes),
};

/** The host's end of the guest's serial line. */
export class GuestLine {
  readonly #qemu: Qemu;
  readonly #output: GuestOutput;
  readonly #onConsole: (bytes: Uint8Array) => void;
  readonly #connected: PromiseWithResolvers<void> = Promise.withResolvers();
  #console = "";
  #exitCode: number | undefined;
  #taken: (() => void) | undefined;
  #monitor: Promise<WritableStreamDefaultWriter<Uint8Array>> | undefined;
  #openMonitor: (() => Promise<WritableStreamDefaultWriter<Uint8Array>>) | undefined;
  #pending: { kind: "o" | "e" | "f"; bytes: Uint8Array }[] = [];

  /** When PID 1 connected, by `performance.now()`; 0 before. */
  connectedAt = 0;

  constructor(
    qemu: Qemu,
    output: GuestOutput = OWN,
    onConsole: (bytes: Uint8Array) => void = () => {},
  ) {
    this.#qemu = qemu;
    this.#output = output;
    this.#onConsole = onConsole;
    this.#connected.promise.catch(() => {});
  }

  /** Resolves when PID 1 is connected. */
  get connected(): Promise<void> {
    return this.#connected.promise;
  }

  /**
   * Moves output and input until the guest has ended.
   *
   * @returns The program's exit code.
   * @throws {VireoError} `HOST_ERROR` or `GUEST_FAULT` If the guest ended without one.
   */
  async run(options: LineInput): Promise<number> {
    const input = this.#qemu.input.getWriter();
    const feeding = this.#feed(input, options).catch(() => {});
    this.#openMonitor = async () => {
      if (options.monitor === undefined) {
        throw new TypeError("Cannot pass the command on: the guest must be started with a monitor");
      }
      const { readable, writable } = await options.monitor();
      void relay(readable, input).catch(() => {});
      return writable.getWriter();
    };
    const decoder = new FrameDecoder({
      frame: (kind, payload) => this.#frame(kind, payload),
      text: (bytes) => this.#text(bytes),
    });
    for await (const chunk of this.#qemu.output) {
      decoder.push(chunk);
      await this.#flush();
      // QEMU has nothing more to say; do not wait for its end to let the caller go on.
      if (this.#exitCode !== undefined) break;
    }
    decoder.end();
    input.releaseLock();
    void feeding;
    if (this.#exitCode !== undefined) return this.#exitCode;
    const error = await this.#failure();
    this.#connected.reject(error);
    throw error;
  }

  #frame(kind: string, payload: Uint8Array): void {
    if (kind === "o" || kind === "e" || kind === "f") {
      this.#pending.push({ kind, bytes: payload.slice() });
    } else if (kind === "a") this.#taken?.();
    // A monitor that fails does so with QEMU, whose end tells; or its answer's deadline does.
    else if (kind === "q") void this.#tell(payload.slice()).catch(() => {});
    else if (kind === "x") this.#exitCode = Number(new TextDecoder().decode(payload));
    else if (kind === "r") {
      this.connectedAt = performance.now();
      this.#connected.resolve();
    }
  }

  #text(bytes: Uint8Array): void {
    this.#console = (this.#console + new TextDecoder().decode(bytes)).slice(-CONSOLE);
    this.#onConsole(bytes);
  }

  async #flush(): Promise<void> {
    const pending = this.#pending;
    this.#pending = [];
    for (const { kind, bytes } of pending) {
      if (kind === "o") await this.#output.stdout(bytes);
      else if (kind === "e") await this.#output.stderr(bytes);
      else await this.#output.file?.(bytes);
    }
  }

  async #feed(
    line: WritableStreamDefaultWriter<Uint8Array>,
    { stdin, terminal, interrupt }: LineInput,
  ): Promise<void> {
    await this.connected;
    // A write that fails: the guest is gone, as the interrupt wanted.
    interrupt?.then(() => line.write(encodeFrame("s", new TextEncoder().encode(SIGINT))))
      .catch(() => {});
    if (terminal !== undefined) {
      const size = new TextEncoder().encode(`${terminal.rows} ${terminal.columns}`);
      await line.write(encodeFrame("w", size));
    }
    for await (const chunk of stdin ?? []) {
      for (let at = 0; at < chunk.length; at += PAYLOAD) {
        const taken = new Promise<void>((resolve) => this.#taken = resolve);
        await line.write(encodeFrame("i", chunk.subarray(at, at + PAYLOAD)));
        await taken;
      }
    }
    if (terminal === undefined) await line.write(encodeFrame("c", new Uint8Array()));
  }

  /** Passes on what the program says to the monitor. */
  async #tell(bytes: Uint8Array): Promise<void> {
    const monitor = await (this.#monitor ??= this.#openMonitor!());
    await monitor.write(bytes);
  }

  /** The serial line ended without an exit code: the guest's fault, or QEMU's. */
  async #failure(): Promise<VireoError> {
    const { signal, code } = await this.#qemu.status;
    const { text, last: doing } = takeUnderWay(this.#console);
    const last = printable(text.trim().split("\n").slice(-SHOWN));
    const at = doing === undefined ? "" : `, at ${doing}`;
    const panic = /Kernel panic[^\r\n]*/.exec(this.#console)?.[0];
    if (panic !== undefined) {
      return new VireoError("GUEST_FAULT", `The guest crashed${at}`, { seen: `${panic}\n${last}` });
    }
    if (signal === null && code === 0 && this.connectedAt !== 0) {
      return new VireoError("GUEST_FAULT", "The guest went down without an exit code", {
        seen: last,
      });
    }
    const errors = await this.#qemu.errors();
    const how = signal === null ? `exit code ${code}` : signal;
    return new VireoError("HOST_ERROR", `QEMU ended before the guest did${at}`, {
      seen: [how, errors, last].filter((part) => part !== "").join("\n"),
    });
  }
}

/** Passes on what the monitor says to the program. */
async function relay(
  monitor: ReadableStream<Uint8Array>,
  line: WritableStreamDefaultWriter<Uint8Array>,
): Promise<void> {
  for await (const chunk of monitor) {
    for (let at = 0; at < chunk.length; at += PAYLOAD) {
      await line.write(encodeFrame("q", chunk.subarray(at, at + PAYLOAD)));
    }
  }
}

async function writeAll(
  writer: { write(bytes: Uint8Array): Promise<number> },
  bytes: Uint8Array,
): Promise<void> {
  for (let done = 0; done < bytes.length;) done += await writer.write(bytes.subarray(done));
}
