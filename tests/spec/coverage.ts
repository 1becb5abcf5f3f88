import { type Clause, CLAUSES, sectionNumber } from "../../firmware/check/clauses.ts";
import { citations } from "./citations.ts";
import { outOfScope } from "./scope.ts";

/** State of a clause. */
interface Decision {
  /** The clause. */
  readonly clause: Clause;
  /** Whether a test cites it, nothing here can keep or break it, or it is still to be tested. */
  readonly state: "tested" | "not applicable" | "missing";
  /** Why it is not applicable. */
  readonly why: string | undefined;
}

/**
 * Decides every clause.
 *
 * @param cited The ids that tests cite.
 */
export function decide(cited: ReadonlySet<string>): Decision[] {
  return CLAUSES.map((clause) => {
    const why = outOfScope(clause);
    const state = cited.has(clause.id)
      ? "tested"
      : why === undefined
      ? "missing"
      : "not applicable";
    return { clause, state, why };
  });
}

/** Ids that no clause has: mistakes of the tests that cite them. */
export function unknownIds(cited: ReadonlySet<string>): string[] {
  const known = new Set(CLAUSES.map(({ id }) => id));
  return [...cited].filter((id) => !known.has(id));
}

/** Whether a clause is a MUST or a MUST NOT. */
function isMust({ level }: Clause): boolean {
  return level.startsWith("MUST");
}

/** The MUSTs in scope that no test cites. */
export function missingMusts(decisions: readonly Decision[]): string[] {
  return decisions.filter(({ clause, state }) => isMust(clause) && state === "missing")
    .map(({ clause }) => clause.id);
}

/** A JUnit report's names of the tests and steps that passed. */
export function passedNames(xml: string): string[] {
  const cases = /<testcase name="([^"]*)"[^>]*?(?:\/>|>([\s\S]*?)<\/testcase>)/g;
  return [...xml.matchAll(cases)]
    .filter(([, , body = ""]) => !/<(?:failure|skipped|error)\b/.test(body))
    .map(([, name]) => name!);
}

/** The ids in the names of tests. */
export function citedBy(names: Iterable<string>): Set<string> {
  const found = new Set<string>();
  for (const name of names) for (const id of citations(name)) found.add(id);
  return found;
}

/** The string literals of a source text that are a line or less, as names of tests are. */
export function literals(source: string): string[] {
  const code = source.replace(/^\s*(?:\/\/|\*|\/\*).*$/gm, "");
  return [...code.matchAll(/"((?:\\.|[^"\\\n])*)"|`((?:\\.|[^`\\])*)`/g)]
    .map(([, double, template]) => double ?? template!);
}

interface Count {
  must: number;
  mustTested: number;
  mustNot: number;
  should: number;
  shouldTested: number;
  missing: string[];
}

/** Adds up decisions by a key. */
function count(
  decisions: readonly Decision[],
  key: (clause: Clause) => string,
): Map<string, Count> {
  const counts = new Map<string, Count>();
  for (const { clause, state } of decisions) {
    const name = key(clause);
    const row = counts.get(name) ??
      { must: 0, mustTested: 0, mustNot: 0, should: 0, shouldTested: 0, missing: [] };
    counts.set(name, row);
    const tested = state === "tested" ? 1 : 0;
    if (!isMust(clause)) {
      row.should++;
      row.shouldTested += tested;
      continue;
    }
    row.must++;
    row.mustTested += tested;
    if (state === "not applicable") row.mustNot++;
    if (state === "missing") row.missing.push(clause.id);
  }
  return counts;
}

function percent({ must, mustTested, mustNot }: Count): string {
  const scope = must - mustNot;
  return scope === 0 ? "-" : `${Math.round(100 * mustTested / scope)}%`;
}

function table(title: string, counts: ReadonlyMap<string, Count>): string[] {
  const lines = [
    `| ${title} | MUST, MUST NOT | tested | not applicable | missing | of those in scope | SHOULD tested |`,
    "|---|---|---|---|---|---|---|",
  ];
  for (const [name, row] of counts) {
    const { must, mustTested, mustNot, missing, should, shouldTested } = row;
    lines.push(
      `| ${name} | ${must} | ${mustTested} | ${mustNot} | ${missing.length} | ${percent(row)} ` +
        `| ${shouldTested} of ${should} |`,
    );
  }
  return lines;
}

/**
 * The coverage of the specification as text: by role, by area and role, by section and role, what is missing,
 * and what is not applicable with the reasons.
 */
export function coverageText(decisions: readonly Decision[]): string {
  const lines = table("role", count(decisions, ({ role }) => role));
  lines.push("", ...table("area and role", count(decisions, (c) => `${c.area}, ${c.role}`)));
  const sections = count(decisions, (c) => `§${sectionNumber(c)} (${c.area}, ${c.role})`);
  lines.push("", ...table("section and role", sections));
  lines.push("", "Missing MUSTs by section:", "");
  for (const [name, { missing }] of sections) {
    if (missing.length > 0) lines.push(`- ${name}: ${missing.join(", ")}`);
  }
  const reasons = new Map<string, number>();
  for (const { state, why } of decisions) {
    if (state === "not applicable") reasons.set(why!, (reasons.get(why!) ?? 0) + 1);
  }
  lines.push("", "Not applicable:", "");
  for (const [why, number] of reasons) lines.push(`- ${number}: ${why}`);
  return `${lines.join("\n")}\n`;
}
