/** Path of the launcher. */
export const VIREO: string = new URL("../vireo", import.meta.url).pathname;

/**
 * Milliseconds that a test may take which boots guests, as Deno's `timeout`: the first makes the images, and a
 * machine may be busy.
 */
export const GUEST_LIMIT = 600_000;

/** What a command line did. */
export interface Result {
  readonly code: number;
  readonly out: string;
  /** Standard output as bytes. */
  readonly raw: Uint8Array;
  readonly err: string;
}

/** Runs the launcher with arguments, which are split at spaces, for tests. */
export async function vireo(
  args: string,
  input?: Uint8Array | string,
  env: Readonly<Record<string, string>> = {},
): Promise<Result> {
  const child = new Deno.Command(VIREO, {
    args: args.split(" "),
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
