/** Gives the lines of a REPL. */
export interface LineSource extends AsyncDisposable {
  /**
   * The next line, without its end; undefined at the end of the input.
   *
   * @param more Whether the line goes on with the one before.
   */
  next(more: boolean): Promise<string | undefined>;
  /** Resolves at the next interrupt from the keyboard. */
  interrupted(): Promise<void>;
}

/** Ctrl-D: ends the input, also where there is no terminal. */
export const END_OF_INPUT = 0x04;

/** A line that the user gave up with Ctrl-C, with the lines before it. */
export const CANCELLED = "\x03";

/** Lines of a pipe. */
export class PlainLines implements LineSource {
  readonly #chunks: AsyncIterator<Uint8Array>;
  readonly #decoder = new TextDecoder();
  #text = "";
  #ended = false;

  constructor(input: AsyncIterable<Uint8Array>) {
    this.#chunks = input[Symbol.asyncIterator]();
  }

  async next(): Promise<string | undefined> {
    for (;;) {
      const end = this.#text.indexOf("\n");
      if (end >= 0) {
        const line = this.#text.slice(0, end);
        this.#text = this.#text.slice(end + 1);
        return line;
      }
      if (this.#ended) break;
      const { value, done } = await this.#chunks.next();
      const bytes: Uint8Array = value ?? new Uint8Array();
      const last = bytes.indexOf(END_OF_INPUT);
      this.#ended = done === true || last >= 0;
      this.#text += this.#decoder.decode(last < 0 ? bytes : bytes.subarray(0, last), {
        stream: true,
      });
    }
    const rest = this.#text;
    this.#text = "";
    return rest === "" ? undefined : rest;
  }

  interrupted(): Promise<void> {
    return new Promise(() => {});
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#chunks.return?.();
  }
}
