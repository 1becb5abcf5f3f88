import { assert, assertEquals } from "@std/assert";
import { CHECKS } from "./checks/table.ts";
import { findClause } from "./clauses.ts";
import { DEVIATIONS, findDeviation } from "./deviations.ts";

Deno.test("deviations: each names checks and clauses that exist, and why", () => {
  for (const { checks, clauses, reason, qemu } of DEVIATIONS) {
    for (const known of checks) {
      const found = CHECKS.some(({ id }) =>
        known.endsWith(".") ? id.startsWith(known) : id === known
      );
      assert(found, `${known} is no check`);
    }
    for (const text of clauses) {
      assert(findClause(text) !== undefined || text.startsWith("virtio 1.4 §"), text);
    }
    assert(reason.length > 20 && qemu.length > 0);
  }
});

Deno.test("deviations: nothing is known of what is no QEMU, nor of a version that was not looked at", () => {
  const check = CHECKS.find(({ id }) => id === "mmio.queue-not-ready")!;
  const device = { id: 2, bus: "mmio", face: "modern" };
  assertEquals(findDeviation(check, { device, qemu: undefined }, "x"), undefined);
  assertEquals(findDeviation(check, { device, qemu: "3.1.0" }, "x"), undefined);
  assert(findDeviation(check, { device, qemu: "7.2.22" }, "x") !== undefined);
});
