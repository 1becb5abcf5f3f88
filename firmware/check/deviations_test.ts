import { assert, assertEquals } from "@std/assert";
import { CHECKS } from "./checks/table.ts";
import { findClause } from "./clauses.ts";
import { DEVIATIONS, findDeviation, findEnd } from "./deviations.ts";

Deno.test("deviations: each names checks and clauses that exist, and why", () => {
  for (const { checks, clauses, reason, qemu } of DEVIATIONS) {
    for (const known of checks) {
      const found = CHECKS.some(({ id }) =>
        /[.-]$/.test(known) ? id.startsWith(known) : id === known
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

Deno.test("deviations: an end of QEMU is known only where and as it was seen", () => {
  const check = (id: string) => CHECKS.find((check) => check.id === id)!;
  const on = (id: number, qemu: string) => ({ device: { id, bus: "mmio", face: "modern" }, qemu });
  const iov =
    "QEMU ended with SIGABRT: saw x: iov.c:269: iov_copy: Assertion `offset == 0' failed.";
  const random = check("split.hostile.random-3");
  assert(findDeviation(random, on(1, "7.2.22"), iov) !== undefined);
  assertEquals(findDeviation(random, on(1, "10.0.2"), iov), undefined);
  assertEquals(findDeviation(random, on(1, "7.2.22"), "QEMU ended with SIGABRT: saw x"), undefined);
  assertEquals(findDeviation(check("split.hostile.ring-itself"), on(1, "7.2.22"), iov), undefined);
  assert(findEnd(random, on(4, "10.0.2")) !== undefined);
  assertEquals(findEnd(random, on(2, "10.0.2")), undefined);
  assertEquals(findEnd(check("blk.padding"), on(2, "10.0.2")), undefined, "it ends nothing");
});

Deno.test("deviations: the ends of QEMU are those whose text says so, and no others", () => {
  const ends = DEVIATIONS.filter(({ ends }) => ends);
  const says = DEVIATIONS.filter(({ reason }) =>
    /\bQEMU(?: 10)? (?:hangs|ends)\b|asserts/.test(reason)
  );
  assertEquals(ends.map(({ reason }) => reason), says.map(({ reason }) => reason));
  // A deviation without a pattern, of any device, is known by its check alone.
  const check = CHECKS.find(({ id }) => id === "queue-reset.clear")!;
  const where = { device: { id: 99, bus: "mmio", face: "modern" }, qemu: "10.0.2" };
  assertEquals(findDeviation(check, where, "anything")?.reason.includes("QueueReset"), true);
  assertEquals(
    findDeviation(check, { ...where, device: { ...where.device, bus: "pci" } }, "x"),
    undefined,
  );
  const legacy = CHECKS.find(({ id }) => id === "features.any-layout")!;
  assertEquals(findDeviation(legacy, where, "x"), undefined);
  const old = { ...where, device: { ...where.device, face: "legacy" } };
  assertEquals(findDeviation(legacy, old, "x") !== undefined, true);
});
