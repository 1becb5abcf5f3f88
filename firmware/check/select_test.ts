import { assert, assertEquals, assertThrows } from "@std/assert";
import { UsageError } from "../terminal/usage.ts";
import { CHECKS } from "./checks/table.ts";
import { findClause } from "./clauses.ts";
import { sectionsOf, selectChecks } from "./select.ts";

Deno.test("checks: 300 and more with ids of their own, 120 and more of them break rules", () => {
  assertEquals(new Set(CHECKS.map(({ id }) => id)).size, CHECKS.length);
  assert(CHECKS.length >= 300);
  assert(CHECKS.filter(({ hostile }) => hostile).length >= 120);
});

Deno.test("checks: each cites clauses that exist, or a section, or Linux where there is none", () => {
  for (const { id, clauses } of CHECKS) {
    assert(clauses.length > 0, id);
    for (const text of clauses) {
      const good = findClause(text) !== undefined || /^virtio 1\.4 §\d/.test(text) ||
        /^Linux \w+\.c$/.test(text);
      assert(good, `${id} cites ${text}`);
    }
  }
});

Deno.test("checks: words choose by type, section, clause and check", () => {
  const ids = (only: string, hostile = true): string[] =>
    selectChecks(CHECKS, only, hostile).checks.map(({ id }) => id);
  assertEquals(ids("mmio.magic"), ["mmio.magic"]);
  assertEquals(ids("dev.mmio.layout.1"), ["mmio.magic"]);
  assert(ids("§2.8").every((id) => id.startsWith("packed.")));
  assert(ids("split").every((id) => id.startsWith("split.")) && ids("split").length > 40);
  assert(ids("split", false).every((id) => !id.includes("hostile")));
  assertEquals(selectChecks(CHECKS, "blk,9p", true).devices, [2, 9]);
  assertEquals(selectChecks(CHECKS, "blk", true).checks.length, CHECKS.length);
  assertEquals(selectChecks(CHECKS, undefined, true).devices, undefined);
  assertThrows(() => selectChecks(CHECKS, "nothing", true), UsageError, "got 'nothing'");
});

Deno.test("checks: a clause's section, and one that is named, are what a check is about", () => {
  const check = CHECKS.find(({ id }) => id === "mmio.magic")!;
  assertEquals(sectionsOf(check), ["4.2.2.1"]);
  assertEquals(sectionsOf({ ...check, clauses: ["virtio 1.4 §5.2.6"] }), ["5.2.6"]);
});
