import { assert } from "@std/assert";
import fc from "fast-check";
import { LyingRig, lyingRuns } from "./fuzz_back_end.ts";

/** Messages of lying back ends, for a longer run: `VIREO_VHOST_FUZZ=1000000`. */
const MESSAGES = Number(Deno.env.get("VIREO_VHOST_FUZZ") ?? 10_000);
/** Of the random numbers: what fails, fails again with the same one. */
const SEED = Number(Deno.env.get("VIREO_VHOST_SEED") ?? 17);
/** Runs at a time. */
const RUNS = 500;

Deno.test("vhost-user: a lying back end is a typed error, and costs a front end nothing", async () => {
  await using rig = new LyingRig();
  for (let seed = SEED; rig.messages < MESSAGES; seed++) {
    fc.assert(fc.property(lyingRuns(), (run) => rig.meet(run)), { numRuns: RUNS, seed });
    // What the poller saw of connections that are closed.
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
  const { runs, messages, errors } = rig;
  const found = [...errors].map(([code, count]) => `${count} ${code}`).join(", ");
  const text = `${messages} messages in ${runs} runs: ${found}`;
  // Each kind of failure was met.
  assert(errors.size === 5, text);
  if (Deno.env.has("VIREO_VHOST_FUZZ")) {
    Deno.stderr.writeSync(new TextEncoder().encode(`${text}\n`));
  }
});
