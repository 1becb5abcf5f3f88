import { VireoError } from "@vireo/hal";
import { requireProgram } from "@vireo/hal/host";

/** How to run a tool. */
interface ExecOptions {
  /** Working directory. */
  readonly cwd?: string;
  /** Environment variables besides the process's own. */
  readonly env?: Readonly<Record<string, string>>;
  /** Ends the tool. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Runs a tool of the host to its end.
 *
 * @param command The program and its arguments.
 * @returns Its standard output.
 * @throws {VireoError} `HOST_ERROR` If it is missing or fails; the message has its last words.
 */
export async function exec(
  command: readonly [string, ...string[]],
  options: ExecOptions = {},
): Promise<string> {
  return new TextDecoder().decode(await execBytes(command, options));
}

/** As {@linkcode exec}, for a tool that writes bytes. */
export async function execBytes(
  command: readonly [string, ...string[]],
  options: ExecOptions = {},
): Promise<Uint8Array> {
  const [program, ...args] = command;
  const output = await new Deno.Command(requireProgram(program), {
    args,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    ...(options.env === undefined ? {} : { env: options.env }),
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  }).output();
  options.signal?.throwIfAborted();
  if (output.success) return output.stdout;
  const said = new TextDecoder().decode(output.stderr);
  const last = said.trim().split("\n").slice(-10).join("\n");
  throw new VireoError("HOST_ERROR", `The program ${program} failed`, {
    seen: `exit code ${output.code}\n${last}`,
  });
}
