import { isDumb } from "../terminal/environment.ts";

/** Milliseconds between two looks at the clock. */
const PERIOD = 1000;

/** What a {@linkcode BootProgress} writes to; a test has its own. */
interface ProgressOutput {
  /** Whether somebody looks on. */
  readonly isTerminal: boolean;
  /** Whether a line can be written over. */
  readonly isDumb: boolean;
  /** Takes text. */
  write(text: string): void;
}

/** Says on a terminal that a guest boots, and for how long, until its program has something to say itself. */
export class BootProgress implements Disposable {
  readonly #board: string;
  readonly #output: ProgressOutput;
  #timer: ReturnType<typeof setInterval> | undefined;
  #began = 0;
  #what: string;

  /** Says nothing yet. */
  constructor(board: string, output: ProgressOutput = standardError()) {
    this.#board = board;
    this.#output = output;
    this.#what = `booting ${board}`;
  }

  /** The machine has started. */
  begin(): void {
    if (!this.#output.isTerminal) return;
    if (this.#output.isDumb) return this.#output.write(`vireo: ${this.#what}\n`);
    this.#began = performance.now();
    this.#timer = setInterval(() => this.#show(), PERIOD);
    this.#show();
  }

  /** Linux runs, and loads the program. */
  booted(): void {
    this.#what = `starting the program on ${this.#board}`;
    if (this.#timer !== undefined) this.#show();
  }

  /** Takes the line away. */
  end(): void {
    if (this.#timer === undefined) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#output.write("\r\x1b[K");
  }

  #show(): void {
    const seconds = Math.floor((performance.now() - this.#began) / 1000);
    this.#output.write(`\rvireo: ${this.#what} (${seconds} s); Ctrl-C to stop\x1b[K`);
  }

  [Symbol.dispose](): void {
    this.end();
  }
}

function standardError(): ProgressOutput {
  return {
    isTerminal: Deno.stderr.isTerminal(),
    isDumb: isDumb(),
    write: (text) => void Deno.stderr.writeSync(new TextEncoder().encode(text)),
  };
}
