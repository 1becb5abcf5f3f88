// Needs qemu-system-aarch64. `deno run -A tests/killed/killed.ts` kills 1000 times.
import { assert, assertGreater } from "@std/assert";
import { killOnce } from "./killed.ts";

Deno.test("drivers on QEMU: a QEMU that is killed in the middle of I/O leaves typed errors, and nothing else", async () => {
  let written = 0;
  for (let seed = 1; seed <= 6; seed++) {
    const killed = await killOnce(seed);
    assert(killed.codes.length > 0, "a request that was under way fails");
    written += killed.written;
  }
  assertGreater(written, 0);
});
