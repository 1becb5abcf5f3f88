import { programError, requireProgram } from "@vireo/hal/host";

/** Milliseconds that a program has to say what it is. */
const ANSWER_DEADLINE = 5000;

/**
 * Makes sure that a board's QEMU can be started, before any work that needs it.
 *
 * @param board The board, whose own QEMU is taken if none is given.
 * @param given The QEMU that the user named; it must answer `--version` as QEMU does.
 * @throws {VireoError} `HOST_ERROR` If it cannot be run or is another program; the message names the
 * Debian package of the board's own.
 */
export async function requireQemu(
  { qemu }: { readonly qemu: string },
  given: string | undefined,
): Promise<void> {
  const program = requireProgram(given ?? qemu, qemu);
  if (given === undefined) return;
  const answer = await version(program).catch((cause: unknown) => {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw programError(given, `it does not answer --version (${why})`, qemu);
  });
  if (/^QEMU emulator version /.test(answer)) return;
  const line = answer.split("\n")[0]!;
  throw programError(given, `--version answers '${line}', so it is not QEMU`, qemu);
}

/** Asks a program for its version: its answer, or its own reason for having none. */
async function version(program: string): Promise<string> {
  const { stdout, stderr } = await new Deno.Command(program, {
    args: ["--version"],
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
    signal: AbortSignal.timeout(ANSWER_DEADLINE),
  }).output();
  const text = new TextDecoder();
  return (text.decode(stdout) || text.decode(stderr)).trim();
}
