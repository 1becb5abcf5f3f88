import { assertEquals, assertStringIncludes } from "@std/assert";
import { repl } from "./session.ts";

const TERMINAL = { columns: 80, rows: 24, colors: true };

/** A session on streams of this test. */
class Session {
  readonly #keys: ReadableStreamDefaultController<Uint8Array>;
  readonly done: Promise<void>;
  #seen = "";
  #wake = (): void => {};

  constructor(terminal?: typeof TERMINAL) {
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
  using _term = termIs("xterm");
  const session = new Session(TERMINAL);
  await session.seen("> ");
  session.type("1 + 40\x7f1\r");
  assertStringIncludes(await session.seen("42\x1b[39m\r\n"), "> 1 + 4");
  await session.seen("> ");
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

/** Makes the terminal one of this kind for a while. */
function termIs(kind: string): Disposable {
  const before = Deno.env.get("TERM");
  Deno.env.set("TERM", kind);
  return {
    [Symbol.dispose]: () =>
      before === undefined ? Deno.env.delete("TERM") : Deno.env.set("TERM", before),
  };
}

/** What a terminal shows of this, without colours and cursor movements. */
function screen(text: string): string {
  // deno-lint-ignore no-control-regex
  return text.replaceAll("\r\n", "\n").replace(/\x1b\[[0-9;?]*[A-Za-z]/g, "");
}

Deno.test("repl on a terminal echoes each pasted line behind its own prompt, and answers below it", async () => {
  using _term = termIs("xterm");
  for (const end of ["\r", "\n", "\r\n"]) {
    const session = new Session(TERMINAL);
    await session.seen("> ");
    const lines = [
      "1 + 1",
      "const slow = await new Promise((go) => setTimeout(() => go(5), 5))",
      "function pasted() {",
      "\tif (slow > 4) {",
      "\t\treturn 'yes';",
      "\t}",
      "}",
      "pasted()",
      "a b",
      "function alone(){}",
      'import { join } from "node:path"',
      "join(pasted.name, alone.name)",
      "throw new Error('seen')",
    ];
    session.type(lines.map((line) => line + end).join(""));
    const seen = await session.seen("<repl>:1\r\n");
    assertEquals(
      screen(seen),
      [
        "1 + 1",
        "2",
        `> ${lines[1]}`,
        "undefined",
        "> function pasted() {",
        "... \tif (slow > 4) {",
        "... \t\treturn 'yes';",
        "... \t}",
        "... }",
        "undefined",
        "> pasted()",
        '"yes"',
        "> a b",
        "Uncaught SyntaxError: Unexpected identifier 'b'",
        "> function alone(){}",
        "undefined",
        `> ${lines[10]}`,
        "undefined",
        `> ${lines[11]}`,
        '"pasted/alone"',
        `> ${lines[12]}`,
        "Uncaught Error: seen",
        "    at <repl>:1",
        "",
      ].join("\n"),
    );
    session.type("\x04");
    await session.done;
  }
  for (const name of ["slow", "pasted", "alone", "join"]) {
    delete (globalThis as Record<string, unknown>)[name];
  }
});

Deno.test("repl on a terminal: Ctrl-C takes what was typed ahead away", async () => {
  using _term = termIs("xterm");
  const session = new Session(TERMINAL);
  await session.seen("> ");
  session.type("await new Promise(() => {})\r");
  await session.seen("\r\n");
  session.type("'never' + 'run'\r");
  session.type("\x03'go' + 'es on'\r");
  assertEquals(screen(await session.seen("goes on")), `Interrupted\n> 'go' + 'es on'\n"goes on`);
  session.type("\x04");
  await session.done;
});

Deno.test("repl on a terminal that can only print: no colours, no cursor moves, lines and Ctrl-C work", async () => {
  using _term = termIs("dumb");
  const session = new Session({ ...TERMINAL, colors: false });
  await session.seen("> ");
  session.type("given up\x03");
  await session.seen("> ");
  session.type("[1, 'a']\r");
  assertEquals(await session.seen('"a" ]\r\n'), "[1, 'a']\r\n[ 1, \"a\" ]\r\n");
  session.type("\x04");
  await session.done;
});

Deno.test("repl ends when the other side hangs up", async () => {
  for (const terminal of [undefined, TERMINAL]) {
    const session = new Session(terminal);
    session.hangUp();
    await session.done;
  }
});

Deno.test("repl prints no frame of Vireo's own, in a rejected promise neither", async () => {
  const session = new Session();
  session.type("const { FeatureSet } = await import('@vireo/hal')\n");
  await session.seen("undefined\n");
  session.type("Promise.resolve().then(() => FeatureSet.of(-1))\n");
  const message = "RangeError: Cannot use feature bit -1: expected an integer from 0 to 127";
  await session.seen(`Promise {\n  <rejected> ${message}\n      at <repl>:1\n}\n`);
  await session.seen(`Uncaught ${message}\n    at <repl>:1\n`);
  session.type("await Promise.resolve().then(() => FeatureSet.of(-1))\n3\n");
  const seen = await session.seen("\n3\n");
  assertEquals(seen, `Uncaught ${message}\n    at <repl>:1\n    at async <repl>:1\n3\n`);
  session.hangUp();
  await session.done;
  delete (globalThis as Record<string, unknown>)["FeatureSet"];
});
