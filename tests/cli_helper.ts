import process from "node:process";

/** Path of the launcher. */
export const VIREO: string = new URL("../vireo", import.meta.url).pathname;

/**
 * Milliseconds that a test may take which boots guests, as Deno's `timeout`: the first makes the images, and a
 * machine may be busy.
 */
export const GUEST_LIMIT = 600_000;

/** Milliseconds in which a terminal shows what a test waits for: less than any test may take, so that the screen is told. */
const SCREEN_LIMIT = 200_000;

/** Result of a command line. */
export interface Result {
  readonly code: number;
  readonly out: string;
  /** Standard output as bytes. */
  readonly raw: Uint8Array;
  readonly err: string;
}

const utf8 = new TextEncoder();

function text(data: Uint8Array): string {
  return new TextDecoder().decode(data);
}

/** Runs the launcher with arguments, for tests; a text is split at spaces. */
export async function vireo(
  args: string | readonly string[],
  input?: Uint8Array | string,
  env: Readonly<Record<string, string>> = {},
): Promise<Result> {
  const child = new Deno.Command(VIREO, {
    args: typeof args === "string" ? args.split(" ") : [...args],
    stdin: input === undefined ? "null" : "piped",
    stdout: "piped",
    stderr: "piped",
    env: { NO_COLOR: "1", ...env },
  }).spawn();
  const bytes = typeof input === "string" ? new TextEncoder().encode(input) : input;
  const feed = (async () => {
    if (bytes === undefined) return;
    const writer = child.stdin.getWriter();
    // A child that refused its arguments closes the pipe: its exit code tells, not our write.
    await writer.write(bytes).then(() => writer.close()).catch(() => {});
  })();
  const [{ code, stdout, stderr }] = await Promise.all([child.output(), feed]);
  return { code, out: text(stdout), raw: stdout, err: text(stderr) };
}

let called: Promise<unknown> = Promise.resolve();

/**
 * Carries out a command line in this process, which costs a few milliseconds where {@linkcode vireo} starts Deno
 * again and has it load Vireo. What a process adds (signals, a terminal, the launcher, modules that stay
 * loaded, an error that nobody catches) needs that one.
 *
 * One runs at a time: while it does, this process's standard input and output are its own.
 */
export function call(
  args: string | readonly string[],
  input?: Uint8Array | string,
): Promise<Result> {
  const result = called.then(() =>
    callAlone(typeof args === "string" ? args.split(" ") : [...args], input)
  );
  called = result.catch(() => {});
  return result;
}

async function callAlone(args: string[], input: Uint8Array | string = ""): Promise<Result> {
  const { main } = await import("../firmware/main.ts");
  const out = new Written();
  const err = new Written();
  const line = (values: readonly unknown[]): string =>
    `${values.map((value) => typeof value === "string" ? value : Deno.inspect(value)).join(" ")}\n`;
  using _ = replaced([
    [Deno, "stdin", new Given(typeof input === "string" ? utf8.encode(input) : input)],
    [Deno, "stdout", out],
    [Deno, "stderr", err],
    [console, "log", (...values: readonly unknown[]) => out.add(line(values))],
    [console, "error", (...values: readonly unknown[]) => err.add(line(values))],
    // The parser of command lines writes its mistakes here.
    [process.stderr, "write", (text: string) => err.add(text)],
  ]);
  // Nothing of a test is in the stacks of errors, which `report` looks at: frames outside of Vireo are a script's.
  const ended = Promise.withResolvers<number>();
  queueMicrotask(() => main(args).then((code) => ended.resolve(code), (why) => ended.reject(why)));
  const code = await ended.promise;
  const raw = out.bytes();
  return { code, out: text(raw), raw, err: text(err.bytes()) };
}

/** Gives properties other values, until they are put back. */
function replaced(
  properties: readonly (readonly [holder: object, name: string, value: unknown])[],
): Disposable {
  const before = properties.map(([holder, name, value]) => {
    const old = Object.getOwnPropertyDescriptor(holder, name);
    Object.defineProperty(holder, name, { configurable: true, writable: true, value });
    return [holder, name, old] as const;
  });
  return {
    [Symbol.dispose]() {
      for (const [holder, name, old] of before) {
        if (old === undefined) Reflect.deleteProperty(holder, name);
        else Object.defineProperty(holder, name, old);
      }
    },
  };
}

/** Takes the place of standard output or standard error. */
class Written {
  readonly #chunks: Uint8Array<ArrayBuffer>[] = [];

  writeSync(bytes: Uint8Array): number {
    this.#chunks.push(Uint8Array.from(bytes));
    return bytes.length;
  }

  write(bytes: Uint8Array): Promise<number> {
    return Promise.resolve(this.writeSync(bytes));
  }

  add(text: string): boolean {
    return this.writeSync(utf8.encode(text)) >= 0;
  }

  bytes(): Uint8Array {
    const bytes = new Uint8Array(this.#chunks.reduce((sum, { length }) => sum + length, 0));
    let at = 0;
    for (const chunk of this.#chunks) {
      bytes.set(chunk, at);
      at += chunk.length;
    }
    return bytes;
  }

  isTerminal(): boolean {
    return false;
  }
}

/** Takes the place of standard input. */
class Given {
  #left: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.#left = bytes;
  }

  readSync(into: Uint8Array): number | null {
    if (this.#left.length === 0) return null;
    const part = this.#left.subarray(0, into.length);
    into.set(part);
    this.#left = this.#left.subarray(part.length);
    return part.length;
  }

  read(into: Uint8Array): Promise<number | null> {
    return Promise.resolve(this.readSync(into));
  }

  get readable(): ReadableStream<Uint8Array> {
    const bytes = this.#left;
    this.#left = bytes.subarray(bytes.length);
    return new Blob([bytes.slice()]).stream();
  }

  isTerminal(): boolean {
    return false;
  }
}

/** A running command line; its output may be waited for. */
export class Running {
  readonly child: Deno.ChildProcess;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #errors: Promise<string>;
  text = "";

  constructor(args: string | readonly string[], env: Readonly<Record<string, string>> = {}) {
    this.child = new Deno.Command(VIREO, {
      args: typeof args === "string" ? args.split(" ") : [...args],
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
      env: { NO_COLOR: "1", ...env },
    }).spawn();
    this.#reader = this.child.stdout.getReader();
    this.#errors = new Response(this.child.stderr).text();
  }

  /** Reads until the output has this line. */
  async line(wanted: string): Promise<void> {
    while (!this.text.split("\n").slice(0, -1).includes(wanted)) {
      if (!await this.#read()) {
        throw new Error(`It ended before '${wanted}': ${await this.#errors}`);
      }
    }
  }

  /** Waits until it has ended. */
  async end(): Promise<{ code: number; err: string }> {
    while (await this.#read());
    const { code } = await this.child.status;
    return { code, err: await this.#errors };
  }

  async #read(): Promise<boolean> {
    const { value, done } = await this.#reader.read();
    this.text += new TextDecoder().decode(value ?? new Uint8Array());
    return !done;
  }
}

/** A command line on a terminal of its own. */
export class OnTerminal implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #keys: WritableStreamDefaultWriter<Uint8Array>;
  readonly #screen: ReadableStreamDefaultReader<Uint8Array>;
  /** Output that nothing has looked at. */
  text = "";

  constructor(args: string, env: Readonly<Record<string, string>> = {}) {
    this.#child = new Deno.Command("script", {
      args: ["-qefc", `stty cols 100; exec ${VIREO} ${args}`, "/dev/null"],
      stdin: "piped",
      stdout: "piped",
      env: { NO_COLOR: "1", ...env },
    }).spawn();
    this.#keys = this.#child.stdin.getWriter();
    this.#screen = this.#child.stdout.getReader();
  }

  /** Reads until the screen has this text behind what was looked at. */
  async seen(wanted: string, limit: number = SCREEN_LIMIT): Promise<void> {
    let late = false;
    // The command's end ends the reading; what it started, QEMU for one, ends with it.
    const timer = setTimeout(() => {
      late = true;
      this.#kill();
    }, limit);
    try {
      while (!this.text.includes(wanted)) {
        const { value, done } = await this.#screen.read();
        if (done) {
          const why = late ? `It took more than ${limit} ms to` : "It ended before it would";
          throw new Error(`${why} show ${Deno.inspect(wanted)}: ${Deno.inspect(this.text)}`);
        }
        this.text += new TextDecoder().decode(value);
      }
    } finally {
      clearTimeout(timer);
    }
    this.text = this.text.slice(this.text.indexOf(wanted) + wanted.length);
  }

  /** Types keys. */
  type(keys: string): Promise<void> {
    return this.#keys.write(new TextEncoder().encode(keys));
  }

  /** Waits until the command has ended, and returns its exit code. */
  async end(): Promise<number> {
    for (;;) {
      const { value, done } = await this.#screen.read();
      if (done) break;
      this.text += new TextDecoder().decode(value);
    }
    return (await this.#child.status).code;
  }

  /** Ends the command if it still runs. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#keys.abort().catch(() => {});
    this.#kill();
    await this.#screen.cancel();
    await this.#child.status;
  }

  #kill(): void {
    try {
      this.#child.kill("SIGKILL");
    } catch {
      // It has ended.
    }
  }
}

/** The host's end of a port of QEMU's: a unix socket that sends back what comes in. */
export class EchoSocket implements AsyncDisposable {
  readonly #listener: Deno.UnixListener;
  readonly #done: Promise<void>;

  private constructor(listener: Deno.UnixListener) {
    this.#listener = listener;
    // Without a connection, the accept fails when the listener is closed.
    this.#done = listener.accept()
      .then(({ readable, writable }) => readable.pipeTo(writable)).catch(() => {});
  }

  /** Listens for a QEMU that is started next, which connects once. */
  static listen(path: string): EchoSocket {
    return new EchoSocket(Deno.listen({ transport: "unix", path }));
  }

  /** Waits for the end of the connection. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    await this.#done;
  }
}
