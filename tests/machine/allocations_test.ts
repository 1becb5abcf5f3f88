import { assert, assertEquals } from "@std/assert";

/**
 * Bytes of heap that one operation may allocate, driver, emulated device and the caller's `await`
 * together. What is measured is the same in each run on one version of V8; a quarter is added.
 */
const MOST: Readonly<Record<string, number>> = {
  "rng-64": 450,
  "net-1": 1070,
  "blk-1": 510,
  "console-echo": 530,
  "p9-read": 1170,
  "p9-stat": 6730,
};
/** Bytes of an operation that allocates nothing: they are those of what else runs. */
const NOISE = 16;
/** What has deadlines of its own, and must not set a timer for each. */
const DEADLINES = ["console-echo", "p9-read", "p9-stat"];

/** Asks a process of its own, as what else ran shapes what V8 makes of the same code. */
async function ask(question: string): Promise<number> {
  const program = `${new URL("../../", import.meta.url).pathname}bench/peers/ours.ts`;
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", program],
    stdin: "piped",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(`${question}\n`));
  await writer.close();
  const { success, stdout } = await child.output();
  assert(success, question);
  return Number(new TextDecoder().decode(stdout));
}

Deno.test("allocations: an operation allocates no more than it is known to need", async () => {
  for (const [work, most] of Object.entries(MOST)) {
    const bytes = await ask(`bytes:${work} 20`);
    // A promise alone is more: less would be a measurement that sees nothing.
    assert(bytes > 50, `${work}: saw ${bytes} bytes`);
    assert(bytes < most, `${work} allocates ${bytes} bytes: expected less than ${most}`);
  }
});

Deno.test("allocations: a frame that is sent and received by callback allocates nothing", async () => {
  // Enough of them between two looks that a byte of each would be seen.
  const bytes = await ask("bytes:net-callback-1 320");
  assert(bytes < NOISE, `saw ${bytes} bytes a frame`);
});

Deno.test("timers: a request with a deadline sets none of its own", async () => {
  for (const work of DEADLINES) assertEquals(await ask(`timers:${work} 200`), 0, work);
});
