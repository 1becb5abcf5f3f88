import { assert, assertEquals } from "@std/assert";
import { CLAUSES, findClause, sectionNumber } from "./clauses.ts";

Deno.test("clauses: 888 statements with ids of their own, and of them 728 MUST and MUST NOT", () => {
  assertEquals(CLAUSES.length, 888);
  assertEquals(new Set(CLAUSES.map(({ id }) => id)).size, 888);
  assertEquals(CLAUSES.filter(({ level }) => level.startsWith("MUST")).length, 728);
  for (const { id, role, area } of CLAUSES) {
    assert(id.startsWith(`${role === "driver" ? "drv" : "dev"}.${area}.`), id);
  }
});

Deno.test("clauses: an id finds its statement, and the statement its section", () => {
  const clause = findClause("dev.mmio.layout.1")!;
  assertEquals(clause.gist, "MagicValue reads 0x74726976.");
  assertEquals(sectionNumber(clause), "4.2.2.1");
  assertEquals(findClause("dev.mmio.layout.99"), undefined);
});
