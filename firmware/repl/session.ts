import { hideInnerFrames } from "../terminal/frames.ts";
import { evaluate } from "./evaluate.ts";
import { LineEditor } from "./_line_editor.ts";
import { CANCELLED, type LineSource, PlainLines } from "./lines.ts";

/** The other side of a REPL. */
interface ReplStreams {
  /** Typed text. */
  readonly input: AsyncIterable<Uint8Array>;
  /** Takes what is printed, in the order of the calls. */
  write(bytes: Uint8Array): Promise<void>;
  /** The terminal at the other side, if it is one. */
  readonly terminal?: ReplTerminal | undefined;
}

/** The terminal at the other side. */
interface ReplTerminal {
  /** Its width in characters. */
  readonly columns: number;
  /** Its height in lines. */
  readonly rows: number;
  /** Whether it has colours, and whether they are wanted. */
  readonly colors: boolean;
}

/**
 * Reads TypeScript from a stream, evaluates it and prints the values, until the input ends. On a terminal
 * there are a prompt, a line editor with a history, and Ctrl-C, which leaves an evaluation to itself.
 */
export async function repl(streams: ReplStreams): Promise<void> {
  const printer = new Printer(streams);
  using _frames = hideInnerFrames();
  using _console = ownConsole(printer);
  using _rejections = ownRejections(printer);
  await using lines: LineSource = streams.terminal === undefined
    ? new PlainLines(streams.input)
    : await LineEditor.open(streams.input, (text) => printer.raw(text), streams.terminal);
  let text = "";
  for (;;) {
    const line = await lines.next(text !== "");
    if (line === undefined) break;
    if (line === CANCELLED) text = "";
    else text = await step(text + line, lines, printer) ? "" : `${text}${line}\n`;
  }
  if (text !== "") printer.line("Uncaught SyntaxError: Unexpected end of input");
  await printer.flushed();
}

/** Evaluates a text; false if more lines are needed. */
async function step(text: string, lines: LineSource, printer: Printer): Promise<boolean> {
  if (text.trim() === "") return true;
  let evaluation: ReturnType<typeof evaluate>;
  try {
    evaluation = evaluate(text);
  } catch (error) {
    // A text that is wrong has no frames of its own.
    printer.line(`Uncaught ${error}`);
    return true;
  }
  if (evaluation.kind === "incomplete") return false;
  try {
    const interrupt = lines.interrupted().then(() => undefined);
    const end = await Promise.race([evaluation.done, interrupt]);
    if (end === undefined) {
      // It may go on; nobody waits for it, so its failure is not reported.
      evaluation.done.catch(() => {});
      printer.line("Interrupted");
    } else printer.value(end.value);
  } catch (error) {
    printer.failure(error);
  }
  return true;
}

/** Prints to the other side, in order. */
class Printer {
  readonly #streams: ReplStreams;
  readonly #newline: string;
  readonly #colors: boolean;
  #last: Promise<void> = Promise.resolve();

  constructor(streams: ReplStreams) {
    this.#streams = streams;
    this.#colors = streams.terminal?.colors === true;
    // The terminal at the other side is raw.
    this.#newline = streams.terminal === undefined ? "\n" : "\r\n";
  }

  raw(text: string): Promise<void> {
    const bytes = new TextEncoder().encode(text);
    // The other side being gone ends the input, which ends the session.
    return this.#last = this.#last.then(() => this.#streams.write(bytes)).catch(() => {});
  }

  line(text: string): void {
    void this.raw(`${text}\n`.replaceAll("\n", this.#newline));
  }

  value(value: unknown): void {
    this.line(Deno.inspect(value, { colors: this.#colors }));
  }

  failure(error: unknown): void {
    this.line(`Uncaught ${Deno.inspect(error, { colors: this.#colors })}`);
  }

  /** As `console.log` has it, without format specifiers. */
  values(values: readonly unknown[]): void {
    const texts = values.map((value) =>
      typeof value === "string" ? value : Deno.inspect(value, { colors: this.#colors })
    );
    this.line(texts.join(" "));
  }

  async flushed(): Promise<void> {
    await this.#last;
  }
}

/** Has the console print here. */
function ownConsole(printer: Printer): Disposable {
  const methods = ["log", "info", "debug", "warn", "error", "dir"] as const;
  const before = methods.map((name) => [name, console[name]] as const);
  for (const name of methods) console[name] = (...values: unknown[]) => printer.values(values);
  return {
    [Symbol.dispose]: () => {
      for (const [name, method] of before) console[name] = method;
    },
  };
}

/** Reports failures of promises that nobody waits for here, instead of ending the program. */
function ownRejections(printer: Printer): Disposable {
  const listener = (event: PromiseRejectionEvent): void => {
    event.preventDefault();
    event.stopImmediatePropagation();
    printer.failure(event.reason);
  };
  addEventListener("unhandledrejection", listener);
  return { [Symbol.dispose]: () => removeEventListener("unhandledrejection", listener) };
}
