import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { CHECKS } from "./checks/table.ts";
import { countResults, html, junit, resultRow, resultsText } from "./report.ts";
import type { CheckResult, Verdict } from "./run_checks.ts";

const check = CHECKS.find(({ id }) => id === "mmio.magic")!;
const device = { name: "virtio-mmio@a000000", id: 2, bus: "mmio", face: "modern" } as const;
const result = (verdict: Verdict, reason?: string): CheckResult => ({
  check,
  device,
  verdict,
  reason,
  seen: verdict === "fail" ? 'MagicValue: saw 0x1 & "2", expected 0x74726976' : undefined,
  history: [
    {
      op: "write",
      window: "mmio",
      offset: 0x80,
      width: 4,
      value: 0x1000,
      place: { at: 0x1000, part: "low" },
    },
    { op: "write", window: "mmio", offset: 0x70, width: 4, value: 0 },
    { op: "read", window: "mmio", offset: 0, width: 4, value: 1 },
    { op: "bytes", at: 32, bytes: Uint8Array.of(1, 2, 3) },
    { op: "bytes", at: 64, bytes: new Uint8Array(100) },
    { op: "pointer", at: 0x2000, to: 32 },
  ],
  ms: 1.25,
});
const ALL = [
  result("pass"),
  result("skip", "no such thing"),
  result("fail", "MagicValue: saw 0x1"),
  result("deviates", "the board is known for it"),
];

Deno.test("report: a failure says what was done, seen and expected, and how to see it again", () => {
  const text = resultsText(ALL, "emu");
  assertStringIncludes(text, "fail mmio.magic: block at virtio-mmio@a000000 (mmio, modern)");
  assertStringIncludes(text, "clauses  dev.mmio.layout.1");
  assertStringIncludes(text, "mmio.write32(0x80, low(0x1000));");
  assertStringIncludes(text, "mmio.read32(0x0); // 0x1");
  assertStringIncludes(text, 'put(0x20, "010203");');
  assertStringIncludes(text, "fill(0x40, 100, 0x0);");
  assertStringIncludes(text, "pointer(0x2000, 0x20);");
  assertStringIncludes(text, "deviates the board is known for it\n  mmio.magic: block");
  assert(text.endsWith("1 pass, 1 fail, 1 deviate, 1 skipped"), text);
});

Deno.test("report: counts by the section's first two numbers", () => {
  assertEquals(countResults(ALL), { pass: 1, fail: 1, deviates: 1, skip: 1 });
  assert(/§4\.2 +1 pass +1 fail +1 deviate +1 skip/.test(resultsText(ALL, "emu")));
});

Deno.test("report: JUnit has a failure for each fail, and what was not looked at is skipped", () => {
  const xml = junit(ALL, "emu");
  assertStringIncludes(xml, 'tests="4" failures="1" skipped="2"');
  assertStringIncludes(xml, 'name="[dev.mmio.layout.1] mmio.magic"');
  assertStringIncludes(xml, '<skipped message="deviates: the board is known for it"/>');
  assertEquals([...xml.matchAll(/<failure/g)].length, 1);
  assert(!xml.includes('& "2"'), "text is escaped");
});

Deno.test("report: the page has every row, filters, and nothing from elsewhere", () => {
  const page = html(ALL, "qtest:aarch64-virt");
  assertEquals([...page.matchAll(/<tr class="/g)].length, 4);
  assertStringIncludes(page, "<h1>vireo check qtest:aarch64-virt</h1>");
  const verdicts = [...page.matchAll(/<tr class="(\w+)"/g)].map(([, verdict]) => verdict);
  assertEquals(verdicts, ["fail", "deviates", "pass", "skip"], "failures come first");
  assert(!/(?:src|href)=/.test(page));
});

Deno.test("report: JSON has the script of a failure only", () => {
  assertEquals("script" in resultRow(result("pass"), "emu"), false);
  const row = resultRow(result("fail", "x"), "emu");
  assertEquals(row["clauses"], ["dev.mmio.layout.1"]);
  assertStringIncludes(String(row["script"]), "export default async function (vireo: Vireo)");
});
