import { deviceName } from "@vireo/hal";
import { reproduction } from "./script.ts";
import type { CheckResult, Verdict } from "./run_checks.ts";
import { sectionsOf } from "./select.ts";

/** How many results ended in each way. */
type Counts = Readonly<Record<Verdict, number>>;

/** Counts results. */
export function countResults(results: readonly CheckResult[]): Counts {
  const counts = { pass: 0, fail: 0, deviates: 0, skip: 0 };
  for (const { verdict } of results) counts[verdict]++;
  return counts;
}

/** Names a device by type and place: `blk at virtio-mmio@a003e00 (mmio, modern)`, and a driver's schedule. */
export function deviceText({ device, schedule }: CheckResult): string {
  const { id, name, bus, face } = device;
  const under = schedule === undefined ? "" : `${schedule}: `;
  return `${under}${deviceName(id)} at ${name} (${bus}, ${face})`;
}

/** Returns a command line, or a script for `vireo run`, that shows a failure again. */
function againText(result: CheckResult, target: string): string {
  return result.again ?? reproduction(result, target);
}

/** A result as plain data, for `--json`. */
export function resultRow(result: CheckResult, target: string): Record<string, unknown> {
  const { check, device, verdict, reason, seen, ms, schedule, again } = result;
  const told = verdict === "fail" || verdict === "deviates";
  return {
    check: check.id,
    clauses: check.clauses,
    sections: sectionsOf(check),
    hostile: check.hostile ?? false,
    device: { ...device, type: deviceName(device.id) },
    verdict,
    done: check.done,
    expected: check.expected,
    ...reason === undefined ? {} : { reason },
    ...seen === undefined ? {} : { seen },
    ms: Math.round(ms * 10) / 10,
    ...schedule === undefined ? {} : { schedule },
    ...!told ? {} : again === undefined ? { script: reproduction(result, target) } : { again },
  };
}

/** Counts by the first two numbers of the sections that checks are about. */
function summary(results: readonly CheckResult[]): string[] {
  const rows = new Map<string, Record<Verdict, number>>();
  for (const { check, verdict } of results) {
    const sections = new Set(
      sectionsOf(check).map((section) => section.split(".").slice(0, 2).join(".")),
    );
    for (const section of sections.size === 0 ? ["none"] : sections) {
      const row = rows.get(section) ?? { pass: 0, fail: 0, deviates: 0, skip: 0 };
      rows.set(section, row);
      row[verdict]++;
    }
  }
  const order = (text: string): number[] => text.split(".").map(Number);
  const lines = [...rows].toSorted(([a], [b]) => {
    const [x, y] = [order(a), order(b)];
    return (x[0]! - y[0]!) || ((x[1] ?? 0) - (y[1] ?? 0));
  }).map(([section, { pass, fail, deviates, skip }]) =>
    `  ${`§${section}`.padEnd(8)}${String(pass).padStart(6)} pass${String(fail).padStart(6)} fail` +
    `${String(deviates).padStart(6)} deviate${String(skip).padStart(6)} skip`
  );
  return ["by section:", ...lines];
}

/** Lists the failures and deviations, and then the counts. */
export function resultsText(results: readonly CheckResult[], target: string): string {
  const lines: string[] = [];
  const known = new Map<string, CheckResult[]>();
  for (const result of results) {
    const { check, verdict, seen, reason } = result;
    if (verdict === "deviates") known.set(reason!, [...known.get(reason!) ?? [], result]);
    if (verdict !== "fail") continue;
    lines.push(`fail ${check.id}: ${deviceText(result)}`);
    lines.push(`  clauses  ${check.clauses.join(", ")}`);
    lines.push(`  done     ${check.done}`);
    lines.push(`  seen     ${seen}`);
    lines.push(`  expected ${check.expected}`);
    lines.push("  again    " + againText(result, target).split("\n").join("\n           "));
  }
  for (const [reason, all] of known) {
    lines.push(`deviates ${reason}`);
    const checks = new Map<string, Set<string>>();
    for (const result of all) {
      const types = checks.get(result.check.id) ?? new Set();
      checks.set(result.check.id, types.add(deviceName(result.device.id)));
    }
    for (const [id, types] of checks) lines.push(`  ${id}: ${[...types].join(", ")}`);
  }
  const { pass, fail, deviates, skip } = countResults(results);
  lines.push(...summary(results));
  lines.push(`${pass} pass, ${fail} fail, ${deviates} deviate, ${skip} skipped`);
  return lines.join("\n");
}

const escapeXml = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;");

/** The results as JUnit reads them: a suite for each device. */
export function junit(results: readonly CheckResult[], target: string): string {
  const suites = Map.groupBy(results, (result) => deviceText(result));
  const lines = ['<?xml version="1.0" encoding="UTF-8"?>', "<testsuites>"];
  for (const [name, all] of suites) {
    const { fail, deviates, skip } = countResults(all);
    lines.push(
      `  <testsuite name="${escapeXml(name)}" tests="${all.length}" failures="${fail}" ` +
        `skipped="${skip + deviates}">`,
    );
    for (const result of all) {
      const { check, verdict, reason, ms } = result;
      const title = escapeXml(`[${check.clauses.join(", ")}] ${check.id}`);
      const open = `    <testcase name="${title}" classname="${escapeXml(name)}" ` +
        `time="${(ms / 1000).toFixed(4)}"`;
      if (verdict === "pass") lines.push(`${open}/>`);
      else if (verdict === "fail") {
        const text = escapeXml(`${reason}\n${againText(result, target)}`);
        lines.push(`${open}><failure message="${escapeXml(reason!)}">${text}</failure></testcase>`);
      } else {
        lines.push(`${open}><skipped message="${escapeXml(`${verdict}: ${reason}`)}"/></testcase>`);
      }
    }
    lines.push("  </testsuite>");
  }
  return `${lines.join("\n")}\n</testsuites>\n`;
}

/** Verdicts in the order in which a reader of the page looks for them. */
const FIRST: readonly Verdict[] = ["fail", "deviates", "pass", "skip"];

/**
 * The results as one page that needs nothing else: failures first, then rows by device, with filters by verdict
 * and by word.
 */
export function html(results: readonly CheckResult[], target: string): string {
  const counts = countResults(results);
  const ordered = FIRST.flatMap((first) => results.filter(({ verdict }) => verdict === first));
  const rows = ordered.map((result) => {
    const { check, verdict, reason } = result;
    const told = verdict === "fail" || verdict === "deviates";
    const script = told
      ? `<details><summary>again</summary><pre>${
        escapeXml(againText(result, target))
      }</pre></details>`
      : "";
    return `<tr class="${verdict}"><td>${verdict}</td><td>${escapeXml(check.id)}</td>` +
      `<td>${escapeXml(check.clauses.join(", "))}</td><td>${escapeXml(deviceText(result))}</td>` +
      `<td>${escapeXml(check.done)}</td><td>${escapeXml(check.expected)}</td>` +
      `<td>${escapeXml(reason ?? "")}${script}</td></tr>`;
  });
  const boxes = Object.entries(counts).map(([verdict, count]) =>
    `<label><input type="checkbox" value="${verdict}" ${
      verdict === "skip" ? "" : "checked"
    }> ${verdict} ${count}</label>`
  );
  return `<!doctype html>
<meta charset="utf-8"><title>vireo check ${escapeXml(target)}</title>
<style>
body { font: 14px/1.4 system-ui, sans-serif; margin: 1.5rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .25rem .6rem; border-bottom: 1px solid #ddd; }
th { position: sticky; top: 0; background: #fff; }
td:first-child { font-weight: 600; }
.pass td:first-child { color: #187a32; } .fail td:first-child { color: #b3261e; }
.deviates td:first-child { color: #8a5a00; } .skip td:first-child { color: #666; }
label { margin-right: 1rem; } input[type=search] { width: 20rem; padding: .2rem .4rem; }
pre { max-height: 24rem; overflow: auto; background: #f6f6f6; padding: .5rem; }
</style>
<h1>vireo check ${escapeXml(target)}</h1>
<p>${boxes.join("")} <input type="search" placeholder="check, clause, device or word"></p>
<table><thead><tr><th>verdict</th><th>check</th><th>clauses</th><th>device</th><th>done</th>
<th>expected</th><th>seen, or why</th></tr></thead><tbody>
${rows.join("\n")}
</tbody></table>
<script>
const search = document.querySelector("input[type=search]");
const boxes = [...document.querySelectorAll("input[type=checkbox]")];
function filter() {
  const on = new Set(boxes.filter((box) => box.checked).map((box) => box.value));
  const word = search.value.toLowerCase();
  for (const row of document.querySelectorAll("tbody tr")) {
    row.hidden = !on.has(row.className) || !row.textContent.toLowerCase().includes(word);
  }
}
for (const box of boxes) box.onchange = filter;
search.oninput = filter;
filter();
</script>
`;
}
