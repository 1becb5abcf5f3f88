/** Runs `ip` of the host, for tests that set up interfaces. @throws {Error} With what it said, if it failed. */
export async function ip(...args: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command("ip", { args }).output();
  if (!success) throw new Error(`ip ${args.join(" ")}: ${new TextDecoder().decode(stderr)}`);
}
