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

Deno.test("report: the text, line by line", () => {
  const other = CHECKS.find(({ id }) => id === "rng.differs")!;
  const again = "vireo check driver x --only plain --seed 1";
  const results: CheckResult[] = [
    ...ALL,
    { ...result("fail", "y"), check: other, again, schedule: "plain", seen: "y" },
    { ...result("deviates", "the board is known for it"), check: other },
    { ...result("deviates", "the board is known for it"), device: { ...device, id: 4 } },
    { ...result("deviates", "for more") },
    { ...result("pass"), check: { ...check, clauses: ["nowhere"] } },
  ];
  const lines = resultsText(results, "emu").split("\n");
  const second = lines.indexOf(
    "fail rng.differs: plain: block at virtio-mmio@a000000 (mmio, modern)",
  );
  assertEquals(lines.slice(0, 6), [
    "fail mmio.magic: block at virtio-mmio@a000000 (mmio, modern)",
    `  clauses  ${check.clauses.join(", ")}`,
    `  done     ${check.done}`,
    '  seen     MagicValue: saw 0x1 & "2", expected 0x74726976',
    `  expected ${check.expected}`,
    "  again    // mmio.magic on virtio-mmio@a000000 (device 2): " + check.clauses.join(", "),
  ]);
  // The script goes on below its beginning.
  assertEquals(lines.slice(6, second).every((line) => line.startsWith("           ")), true);
  assertEquals(lines.slice(second + 1), [
    `  clauses  ${other.clauses.join(", ")}`,
    `  done     ${other.done}`,
    "  seen     y",
    `  expected ${other.expected}`,
    `  again    ${again}`,
    ...[
      "deviates the board is known for it",
      "  mmio.magic: block, rng",
      "  rng.differs: block",
    ],
    ...["deviates for more", "  mmio.magic: block"],
    "by section:",
    "  §none        1 pass     0 fail     0 deviate     0 skip",
    "  §4.2         1 pass     1 fail     3 deviate     1 skip",
    "  §5.4         0 pass     1 fail     1 deviate     0 skip",
    "2 pass, 2 fail, 4 deviate, 1 skipped",
  ]);
});

Deno.test("report: sections are sorted by their numbers", () => {
  const of = (section: string): CheckResult => ({
    ...result("pass"),
    check: { ...check, clauses: [`virtio 1.4 §${section}`] },
  });
  const lines = resultsText(["5.10.1", "5.9", "2", "10.1", "2.7.1", "5.9.3"].map(of), "emu");
  assertEquals(
    [...lines.matchAll(/§([\d.]+) +(\d)/g)].map(([, section, pass]) => `${section} ${pass}`),
    [
      ...["2 1", "2.7 1", "5.9 2", "5.10 1", "10.1 1"],
    ],
  );
});

Deno.test("report: a row has all that a result says, milliseconds in tenths", () => {
  const { script, ...row } = resultRow({ ...result("fail", "x"), ms: 1.26 }, "emu");
  assertEquals(row, {
    ...{ check: "mmio.magic", clauses: check.clauses, sections: row["sections"], hostile: false },
    device: { ...device, type: "block" },
    ...{ verdict: "fail", done: check.done, expected: check.expected, reason: "x" },
    ...{ seen: 'MagicValue: saw 0x1 & "2", expected 0x74726976', ms: 1.3 },
  });
  assertEquals(typeof script, "string");
  const hostile = CHECKS.find(({ hostile }) => hostile)!;
  const again = { ...result("deviates", "x"), check: hostile, again: "vireo x", schedule: "plain" };
  const other = resultRow(again, "emu");
  assertEquals([other["hostile"], other["again"], other["schedule"], "script" in other], [
    ...[true, "vireo x", "plain", false],
  ]);
  assertEquals(
    ["script", "again"].filter((name) => name in resultRow({ ...again, verdict: "pass" }, "emu")),
    [],
  );
});

Deno.test("report: JUnit has a suite for each device, with its own counts and times", () => {
  const more: CheckResult = { ...result("pass"), device: { ...device, id: 4, name: "b" } };
  const xml = junit([...ALL, more], "emu").split("\n");
  assertEquals(xml.filter((line) => line.includes("<testsuite ")), [
    '  <testsuite name="block at virtio-mmio@a000000 (mmio, modern)" tests="4" failures="1" skipped="2">',
    '  <testsuite name="rng at b (mmio, modern)" tests="1" failures="0" skipped="0">',
  ]);
  assertEquals(xml.filter((line) => line === "  </testsuite>").length, 2);
  assertEquals(xml.filter((line) => line.endsWith('time="0.0013"/>')).length, 2);
  assertEquals(
    xml.filter((line) => line.includes('<skipped message="skip: no such thing"/>')).length,
    1,
  );
});

Deno.test("report: the page shows what is skipped at a click only, and scripts of what is told", () => {
  const page = html(ALL, "emu");
  assertEquals(
    [...page.matchAll(/value="(\w+)" (checked)?> \w+ (\d)/g)].map(([, a, b, c]) => [a, b, c]),
    [
      ...[["pass", "checked", "1"], ["fail", "checked", "1"]],
      ...[["deviates", "checked", "1"], ["skip", undefined, "1"]],
    ],
  );
  assertEquals([...page.matchAll(/<details>/g)].length, 2);
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
