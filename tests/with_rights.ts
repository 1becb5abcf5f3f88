/** Tells the child that it has the rights which its test asked for. */
const GIVEN = "VIREO_TEST_HAS_RIGHTS";

/** Rights to open `/dev/net/tun` and to set up an interface. */
const RIGHTS = "+net_admin,+dac_override";

/** Runs a test when no other of this network does: they give interfaces of the host the same addresses. */
async function alone(fn: () => void | Promise<void>): Promise<void> {
  using network = Deno.openSync("/proc/self/ns/net");
  await network.lock(true);
  await fn();
}

/**
 * A test that sets up network interfaces of the host. An ordinary user's runs it once more in a process that
 * has these two capabilities and is else the same user's, by `sudo` and `setpriv`.
 *
 * @param file The test file, `import.meta.url`.
 * @param name Its name, in that file only once.
 * @param fn The test.
 * @param options Deno's own, for example a test's limit.
 */
export function testWithRights(
  file: string,
  name: string,
  fn: () => void | Promise<void>,
  options: Omit<Deno.TestDefinition, "name" | "fn"> = {},
): void {
  Deno.test(name, options, async () => {
    if (Deno.uid() === 0 || Deno.env.get(GIVEN) === "1") return await alone(fn);
    const filter = `/^${name.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&")}$/`;
    const given = Object.entries({ ...Deno.env.toObject(), [GIVEN]: "1" });
    const { success, stdout, stderr } = await new Deno.Command("sudo", {
      args: [
        ...["-n", "setpriv", `--reuid=${Deno.uid()}`, `--regid=${Deno.gid()}`, "--init-groups"],
        ...[`--inh-caps=${RIGHTS}`, `--ambient-caps=${RIGHTS}`],
        ...["env", "-i", ...given.map(([key, value]) => `${key}=${value}`)],
        ...[Deno.execPath(), "test", "-A", "--no-check", "--filter", filter, file],
      ],
    }).output();
    const text = new TextDecoder().decode(stdout);
    if (success && text.includes("1 passed")) return;
    throw new Error(`Cannot test with ${RIGHTS}: ${text}${new TextDecoder().decode(stderr)}`);
  });
}
