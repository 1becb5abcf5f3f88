// The measurement of what points cost where nothing is traced must find them all: it is no part of `make test`.
import { assert } from "@std/assert";
import { POINTS, withoutPoints } from "./off_points.ts";

Deno.test("trace: every point that off_cost.ts takes out is in the code", async () => {
  for (const file of Object.keys(POINTS)) {
    const text = await Deno.readTextFile(new URL(`../../${file}`, import.meta.url));
    const without = withoutPoints(file, text);
    assert(!/\.copied\b|tracer\?\.|inspect\(\)/.test(without), file);
  }
});
