import { assert } from "@std/assert";

/**
 * Bytes of heap that one operation may allocate, driver, emulated device and the caller's `await`
 * together. What is measured is the same in each run on one version of V8; a quarter is added.
 */
const MOST: Readonly<Record<string, number>> = {
  "rng-64": 780,
  "rng-4096": 780,
  "net-1": 2300,
  "blk-1": 600,
};
/** Operations between two looks at the heap. */
const OPERATIONS = 20;

Deno.test("allocations: an operation allocates no more than it is known to need", async () => {
  // In processes of their own: what else ran shapes what V8 makes of the same code.
  const program = new URL("../bench/peers/ours.ts", import.meta.url).pathname;
  for (const [work, most] of Object.entries(MOST)) {
    const child = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", program],
      stdin: "piped",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    const writer = child.stdin.getWriter();
    await writer.write(new TextEncoder().encode(`bytes:${work} ${OPERATIONS}\n`));
    await writer.close();
    const { success, stdout } = await child.output();
    const bytes = Number(new TextDecoder().decode(stdout));
    assert(success);
    // A promise alone is more: less would be a measurement that sees nothing.
    assert(bytes > 50, `${work}: saw ${bytes} bytes`);
    assert(bytes < most, `${work} allocates ${bytes} bytes: expected less than ${most}`);
  }
});
