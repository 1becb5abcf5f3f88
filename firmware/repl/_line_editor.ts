import type { Interface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { CANCELLED, type LineSource } from "./lines.ts";

const PROMPT = "> ";
const MORE = "... ";
/** Names before and after the last dot of what is typed. */
const MEMBER = /(?:([\w$.]+)\.)?([\w$]*)$/;

const ENTER = 0x0d;
const NEWLINE = 0x0a;
const CTRL_C = 0x03;

/**
 * Lines of a terminal, edited here: echo, history, completion and Ctrl-C.
 *
 * Keys behind the end of a line wait until the next line is wanted, as in a shell: so each line that was pasted is
 * echoed behind its own prompt, and not into the answer to the one before.
 */
export class LineEditor implements LineSource {
  readonly #readline: Interface;
  readonly #keys: Writable;
  /** Keys that came, and that the editor has not been given. */
  #waiting: number[] = [];
  /** Whether the editor takes keys: not between the end of a line and the call for the next one. */
  #wanted = false;
  #ended = false;
  #lastWasEnter = false;
  readonly #lines: (string | undefined)[] = [];
  #wake: (() => void) | undefined;
  #interrupt: (() => void) | undefined;
  #reading = false;

  private constructor(readline: Interface, keys: Writable) {
    this.#readline = readline;
    this.#keys = keys;
    readline.on("line", (line) => this.#push(line));
    readline.on("close", () => this.#push(undefined));
    readline.on("SIGINT", () => this.#onInterrupt());
  }

  /** Edits what comes from `input`, with echo to `write`. */
  static async open(
    input: AsyncIterable<Uint8Array>,
    write: (text: string) => Promise<void>,
    size: { readonly columns: number; readonly rows: number },
  ): Promise<LineEditor> {
    // They take a guest under emulation a while to load, so only a terminal has them loaded.
    const [{ createInterface }, { PassThrough, Writable }] = await Promise.all([
      import("node:readline"),
      import("node:stream"),
    ]);
    const keys: Readable & Writable = new PassThrough();
    const output = new Writable({
      // Each call is in order with what else is printed, so none may wait here for the one before.
      write: (chunk: Uint8Array, _encoding, done: () => void) => {
        void write(new TextDecoder().decode(chunk));
        done();
      },
    });
    const screen = Object.assign(output, { ...size, isTTY: true });
    const editor = new LineEditor(
      createInterface({ input: keys, output: screen, terminal: true, completer: complete }),
      keys,
    );
    void editor.#feed(input);
    return editor;
  }

  async next(more: boolean): Promise<string | undefined> {
    this.#readline.setPrompt(more ? MORE : PROMPT);
    this.#readline.prompt();
    this.#reading = this.#wanted = true;
    this.#pass();
    while (this.#lines.length === 0) await new Promise<void>((resolve) => this.#wake = resolve);
    this.#reading = false;
    return this.#lines.shift();
  }

  interrupted(): Promise<void> {
    return new Promise((resolve) => this.#interrupt = resolve);
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#readline.close();
    return Promise.resolve();
  }

  #push(line: string | undefined): void {
    this.#lines.push(line);
    this.#wake?.();
  }

  #onInterrupt(): void {
    if (!this.#reading) return this.#interrupt?.();
    // To the end of the line, and away with it.
    this.#readline.write(null, { ctrl: true, name: "e" });
    this.#readline.write(null, { ctrl: true, name: "u" });
    // Where the terminal moves no cursor, neither does anything.
    Reflect.set(this.#readline, "line", "");
    Reflect.set(this.#readline, "cursor", 0);
    this.#push(CANCELLED);
  }

  async #feed(input: AsyncIterable<Uint8Array>): Promise<void> {
    try {
      for await (const bytes of input) {
        this.#waiting = [...this.#waiting, ...bytes];
        // As in a terminal, an interrupt takes what was typed ahead away.
        const last = this.#wanted ? -1 : bytes.lastIndexOf(CTRL_C);
        if (last >= 0) {
          this.#waiting = [...bytes.subarray(last + 1)];
          this.#keys.write(Uint8Array.of(CTRL_C));
        }
        this.#pass();
      }
    } catch {
      // The other side is gone: that is the end of the input.
    }
    this.#ended = true;
    this.#pass();
  }

  /** Gives the editor what waits, up to the end of a line. */
  #pass(): void {
    if (!this.#wanted) return;
    if (this.#lastWasEnter && this.#waiting[0] === NEWLINE) this.#waiting.shift();
    const end = this.#waiting.findIndex((byte) => byte === ENTER || byte === NEWLINE);
    this.#lastWasEnter = end < 0
      ? this.#lastWasEnter && this.#waiting.length === 0
      : this.#waiting[end] === ENTER;
    const passed = this.#waiting.splice(0, end < 0 ? Infinity : end + 1);
    if (end >= 0) this.#wanted = false;
    if (passed.length > 0) this.#keys.write(Uint8Array.from(passed));
    if (this.#ended && this.#waiting.length === 0) this.#keys.end();
  }
}

/** Completes the names of the global object and of what is reached from there by names. */
function complete(line: string): [string[], string] {
  const [, path, start = ""] = MEMBER.exec(line) ?? [];
  let object: unknown = globalThis;
  try {
    for (const name of path?.split(".") ?? []) object = (object as Record<string, unknown>)[name];
  } catch {
    return [[], start];
  }
  const names = new Set<string>();
  for (let of: unknown = object; of !== null && of !== undefined; of = Object.getPrototypeOf(of)) {
    for (const name of Object.getOwnPropertyNames(of)) if (/^[\w$]+$/.test(name)) names.add(name);
  }
  return [[...names].filter((name) => name.startsWith(start)).sort(), start];
}
