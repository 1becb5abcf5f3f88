import { assert, assertEquals } from "@std/assert";
import { progressLine } from "./output.ts";

Deno.test("a line of progress has words, a bar and a share, and fits the terminal", () => {
  assertEquals(progressLine("read", 0.5, 80), `read [${"#".repeat(15)}${".".repeat(15)}] 50%`);
  assertEquals(progressLine("read", 0.5, 24), "read [######......] 50%");
  assertEquals(progressLine("42 checks, rng at virtio", 0.42, 30), "42 checks, rng at virtio 42%");
  for (let columns = 1; columns < 120; columns++) {
    for (const what of ["read", "98 checks, block at virtio-mmio@a000600 (mmio, modern)"]) {
      const line = progressLine(what, 0.98, columns);
      assert(line.length < Math.max(columns, 5), `${columns}: ${line}`);
      assert(line.endsWith("98%"), line);
    }
  }
});
