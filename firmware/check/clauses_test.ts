import { assert, assertEquals } from "@std/assert";
import { citations, CLAUSES, findClause, sectionNumber } from "./clauses.ts";

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

Deno.test("clauses: every way in which names of tests cite", () => {
  const cases: [string, string[]][] = [
    ["x (dev.mmio.layout.3-5)", ["dev.mmio.layout.3", "dev.mmio.layout.4", "dev.mmio.layout.5"]],
    ["drv.pci.caps.1, .2 and .4: x", ["drv.pci.caps.1", "drv.pci.caps.2", "drv.pci.caps.4"]],
    ["(drv.basic.init.4, .status.1)", ["drv.basic.init.4", "drv.basic.status.1"]],
    ["(drv.pci.avail-notify.1 to .3)", [1, 2, 3].map((n) => `drv.pci.avail-notify.${n}`)],
    ["[drv.net.mq.4] x, .5", ["drv.net.mq.4"]],
    ["drv.mmio.layout.6, .7, drv.mmio.init.3", [
      "drv.mmio.layout.6",
      "drv.mmio.layout.7",
      "drv.mmio.init.3",
    ]],
    ["nothing of dev.rng or 1.4", []],
  ];
  for (const [text, expected] of cases) assertEquals(citations(text), expected, text);
});
