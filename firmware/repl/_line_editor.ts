import type { Interface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { CANCELLED, type LineSource } from "./lines.ts";

const PROMPT = "> ";
const MORE = "... ";
/** Names before and after the last dot of what is typed. */
const MEMBER = /(?:([\w$.]+)\.)?([\w$]*)$/;

/** Lines of a terminal, edited here: echo, history, completion and Ctrl-C. */
export class LineEditor implements LineSource {
  readonly #readline: Interface;
  readonly #lines: (string | undefined)[] = [];
  #wake: (() => void) | undefined;
  #interrupt: (() => void) | undefined;
  #reading = false;

  private constructor(readline: Interface) {
    this.#readline = readline;
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
    void feed(input, keys);
    const output = new Writable({
      write: (chunk: Uint8Array, _encoding, done: () => void) => {
        void write(new TextDecoder().decode(chunk)).then(done);
      },
    });
    const screen = Object.assign(output, { ...size, isTTY: true });
    return new LineEditor(
      createInterface({ input: keys, output: screen, terminal: true, completer: complete }),
    );
  }

  async next(more: boolean): Promise<string | undefined> {
    this.#readline.setPrompt(more ? MORE : PROMPT);
    this.#readline.prompt();
    this.#reading = true;
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
    this.#push(CANCELLED);
  }
}

async function feed(input: AsyncIterable<Uint8Array>, keys: Writable): Promise<void> {
  try {
    for await (const bytes of input) keys.write(bytes);
  } catch {
    // The other side is gone: that is the end of the input.
  }
  keys.end();
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
