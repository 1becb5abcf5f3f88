/** Path of the launcher. */
export const VIREO: string = new URL("../vireo", import.meta.url).pathname;

/**
 * Milliseconds that a test may take which boots guests, as Deno's `timeout`: the first makes the images, and a
 * machine may be busy.
 */
export const GUEST_LIMIT = 600_000;

/** Result of a command line. */
export interface Result {
  readonly code: number;
  readonly out: string;
  /** Standard output as bytes. */
  readonly raw: Uint8Array;
  readonly err: string;
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
  const text = (data: Uint8Array): string => new TextDecoder().decode(data);
  return { code, out: text(stdout), raw: stdout, err: text(stderr) };
}

/** A running command line; its output may be waited for. */
export class Running {
  readonly child: Deno.ChildProcess;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #errors: Promise<string>;
  text = "";

  constructor(args: string) {
    this.child = new Deno.Command(VIREO, {
      args: args.split(" "),
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
      env: { NO_COLOR: "1" },
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
  async seen(wanted: string): Promise<void> {
    while (!this.text.includes(wanted)) {
      const { value, done } = await this.#screen.read();
      if (done) throw new Error(`It ended before '${wanted}': ${this.text}`);
      this.text += new TextDecoder().decode(value);
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
    try {
      this.#child.kill("SIGKILL");
    } catch {
      // It has ended.
    }
    await this.#screen.cancel();
    await this.#child.status;
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
