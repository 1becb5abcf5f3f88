import { assertEquals, assertStringIncludes } from "@std/assert";
import { repl } from "./session.ts";

/** A session on streams of this test. */
class Session {
  readonly #keys: ReadableStreamDefaultController<Uint8Array>;
  readonly done: Promise<void>;
  #seen = "";
  #wake = (): void => {};

  constructor(terminal?: { columns: number; rows: number }) {
    let keys: ReadableStreamDefaultController<Uint8Array>;
    const input = new ReadableStream<Uint8Array>({
      start: (controller) => void (keys = controller),
    });
    this.#keys = keys!;
    const write = (bytes: Uint8Array): Promise<void> => {
      this.#seen += new TextDecoder().decode(bytes);
      this.#wake();
      return Promise.resolve();
    };
    this.done = repl({ input, write, terminal });
  }

  type(text: string): void {
    this.#keys.enqueue(new TextEncoder().encode(text));
  }

  hangUp(): void {
    this.#keys.close();
  }

  /** Waits until this was printed, and takes it and what came before. */
  async seen(text: string): Promise<string> {
    const timer = setTimeout(() => {
      throw new Error(`No ${JSON.stringify(text)} in ${JSON.stringify(this.#seen)}`);
    }, 10_000);
    while (!this.#seen.includes(text)) {
      await new Promise<void>((resolve) => this.#wake = resolve);
    }
    clearTimeout(timer);
    const end = this.#seen.indexOf(text) + text.length;
    const taken = this.#seen.slice(0, end);
    this.#seen = this.#seen.slice(end);
    return taken;
  }

  get rest(): string {
    return this.#seen;
  }
}

Deno.test("repl on a pipe prints values, errors and what the console has", async () => {
  const session = new Session();
  session.type("1 + 1\nconst pip");
  session.type("e = [\n1,\n2]\npipe.length\nconsole.log('a', { b: 1 })\nnope\n");
  assertStringIncludes(
    await session.seen("Uncaught ReferenceError: nope is not defined\n"),
    "2\nundefined\n2\na { b: 1 }\nundefined\n",
  );
  session.type("Promise.reject(new Error('lost')); 3\n");
  await session.seen("3\n");
  await session.seen("Uncaught Error: lost\n");
  session.type("4\x04 not read\n");
  await session.done;
  assertEquals(session.rest.split("\n").slice(-2), ["4", ""]);
  delete (globalThis as Record<string, unknown>)["pipe"];
});

Deno.test("repl on a terminal edits lines; Ctrl-C ends a line or an evaluation, Ctrl-D all", async () => {
  const session = new Session({ columns: 80, rows: 24 });
  await session.seen("> ");
  session.type("1 + 40\x7f1\r");
  assertStringIncludes(await session.seen("> "), "\r\n");
  session.type("function f() {\r");
  await session.seen("... ");
  session.type("\x03");
  await session.seen("> ");
  session.type("await new Promise(() => {})\r");
  await session.seen("\r\n");
  session.type("\x03");
  await session.seen("Interrupted\r\n");
  await session.seen("> ");
  session.type("'still ' + 'here'\r");
  await session.seen("still here");
  session.type("\x04");
  await session.done;
});

Deno.test("repl ends when the other side hangs up", async () => {
  for (const terminal of [undefined, { columns: 80, rows: 24 }]) {
    const session = new Session(terminal);
    session.hangUp();
    await session.done;
  }
});
