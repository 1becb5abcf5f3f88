import { requireProgram, tiedCommand } from "@vireo/hal/host";

/** A running QEMU. */
export interface Qemu extends AsyncDisposable {
  /** Its process id. */
  readonly pid: number;
  /** Its standard output: the guest's serial line. */
  readonly output: ReadableStream<Uint8Array>;
  /** Its standard input: the guest's serial line. */
  readonly input: WritableStream<Uint8Array>;
  /** How it ended. */
  readonly status: Promise<Deno.CommandStatus>;
  /** The last of what it wrote to its standard error. */
  errors(): Promise<string>;
  /** Waits for its end and kills it after so many milliseconds. */
  ended(withinMs: number): Promise<void>;
}

/** How much of QEMU's standard error is kept, in characters. */
const ERRORS = 4000;

/** Program and arguments to start. */
interface QemuCommand {
  /** The program: a name or a path. */
  readonly program: string;
  /** The board's own program. */
  readonly known: string;
  /** Its arguments. */
  readonly args: readonly string[];
}

/**
 * Starts QEMU; disposing kills it and waits for its end.
 *
 * @throws {VireoError} `HOST_ERROR` If it is not installed.
 */
export function startQemu(command: QemuCommand): Qemu {
  const child = spawn(command);
  const errors = tail(child.stderr);
  let running = true;
  const status = child.status.finally(() => running = false);
  const kill = (): void => {
    if (!running) return;
    try {
      child.kill("SIGKILL");
    } catch (error) {
      // It has ended, but its status comes in a later turn.
      if (!(error instanceof TypeError)) throw error;
    }
  };
  return {
    pid: child.pid,
    output: child.stdout,
    input: child.stdin,
    status,
    errors: () => errors,
    async ended(withinMs: number): Promise<void> {
      const timer = setTimeout(kill, withinMs);
      await status;
      clearTimeout(timer);
    },
    async [Symbol.asyncDispose](): Promise<void> {
      kill();
      await status;
      await errors;
      await child.stdin.close().catch(() => {});
      await child.stdout.cancel().catch(() => {});
    },
  };
}

function spawn({ program, known, args }: QemuCommand): Deno.ChildProcess {
  const pipes = { stdin: "piped", stdout: "piped", stderr: "piped" } as const;
  const [tied, all] = tiedCommand(requireProgram(program, known), args);
  return new Deno.Command(tied, { args: all, ...pipes }).spawn();
}

async function tail(stream: ReadableStream<Uint8Array>): Promise<string> {
  let text = "";
  for await (const chunk of stream.pipeThrough(new TextDecoderStream() as ReadableWritablePair)) {
    text = (text + chunk).slice(-ERRORS);
  }
  return text.trim();
}
