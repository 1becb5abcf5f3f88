import { assert, assertEquals } from "@std/assert";
import { CLAUSES } from "../../firmware/check/clauses.ts";
import { citedInReports, citedInSources } from "./cited.ts";
import {
  citedBy,
  coverageText,
  decide,
  literals,
  missingMusts,
  passedNames,
  unknownIds,
} from "./coverage.ts";
import { MISSING_MUSTS } from "./missing.ts";
import { OUT_OF_SCOPE } from "./scope.ts";

Deno.test("spec: no more MUSTs are missing than before", () => {
  const missing = missingMusts(decide(citedInSources()));
  assert(
    missing.length <= MISSING_MUSTS,
    `${missing.length} MUSTs are untested: ${missing.join(", ")}`,
  );
});

Deno.test("spec: tests cite clauses that exist", () => {
  assertEquals(unknownIds(citedInSources()), []);
  assertEquals(unknownIds(new Set(["dev.mmio.layout.1", "dev.mmio.layout.77"])), [
    "dev.mmio.layout.77",
  ]);
});

Deno.test("spec: every reason stands for clauses that exist, and none has two", () => {
  const seen = new Set<string>();
  for (const { ids } of OUT_OF_SCOPE) {
    for (const known of ids) {
      const of = CLAUSES.filter(({ id }) =>
        known.endsWith(".") ? id.startsWith(known) : id === known
      );
      assert(of.length > 0, `${known} stands for nothing`);
      for (const { id } of of) {
        assert(!seen.has(id), `${id} is out of scope twice`);
        seen.add(id);
      }
    }
  }
});

Deno.test("spec: a passed test counts, a failed or ignored one does not", () => {
  const xml = `<testcase name="a (dev.mmio.layout.1)" classname="x"/>
    <testcase name="b [dev.mmio.layout.2]" classname="x"><failure>no</failure></testcase>
    <testcase name="c [dev.mmio.layout.3]" classname="x"><skipped/></testcase>
    <testcase name="d > [dev.mmio.layout.4] x" classname="x"></testcase>`;
  const cited = citedBy(passedNames(xml));
  assertEquals([...cited], ["dev.mmio.layout.1", "dev.mmio.layout.4"]);
  const states = decide(cited).filter(({ clause }) => clause.id.startsWith("dev.mmio.layout."))
    .map(({ state }) => state);
  assertEquals(states.slice(0, 4), ["tested", "missing", "missing", "tested"]);
});

Deno.test("spec: names are strings and templates of sources, comments are not", () => {
  const source = 'Deno.test("one (dev.a.b.1)", () => {\n  // "two"\n  f(`three ${x}`);\n});\n';
  assertEquals(literals(source), ["one (dev.a.b.1)", "three ${x}"]);
});

Deno.test("spec: a folder without reports says nothing", () => {
  assertEquals(citedInReports(new URL("./nowhere/", import.meta.url)), undefined);
});

Deno.test("spec: the text has every area and role, what is missing and why others do not count", () => {
  const text = coverageText(decide(new Set(["dev.mmio.layout.1"])));
  assert(text.includes("| mmio, device | 12 | 1 | 0 | 11 | 8% | 0 of 0 |"), text);
  assert(text.includes("- §4.2.2.1 (mmio, device): dev.mmio.layout.2, "));
  assert(text.includes("- 2: SR_IOV is neither offered nor accepted"));
});
