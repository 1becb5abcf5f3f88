import { UsageError } from "../terminal/usage.ts";
import type { Check } from "./check.ts";
import { findClause, sectionNumber } from "./clauses.ts";
import { TYPE } from "./requests.ts";

const TYPES: ReadonlyMap<string, number> = new Map(
  Object.entries(TYPE).map(([name, id]) => [name.toLowerCase().replaceAll("_", "-"), id]),
);

/** Checks that a `--only` asks for, and devices if a type was named. */
interface Selection {
  /** The checks, in the order of the table. */
  readonly checks: readonly Check[];
  /** Virtio ids of the devices that are looked at; undefined for all. */
  readonly devices: readonly number[] | undefined;
}

/**
 * Chooses checks by words with commas between them: a type of device (`blk`), a section (`§2.7`), a clause
 * or its beginning (`dev.mmio`), or a check or its beginning (`split.hostile`).
 *
 * @param table All checks.
 * @param only The words; undefined for all checks.
 * @param hostile Whether checks that break rules are among them.
 * @throws {UsageError} If a word names nothing.
 */
export function selectChecks(
  table: readonly Check[],
  only: string | undefined,
  hostile: boolean,
): Selection {
  const words = (only ?? "").split(",").map((word) => word.trim()).filter((word) => word !== "");
  const devices = words.flatMap((word) => TYPES.get(typeName(word)) ?? []);
  const others = words.filter((word) => !TYPES.has(typeName(word)));
  for (const word of others) {
    if (table.some((check) => matchesRow(check, word))) continue;
    throw new UsageError(
      `--only: expected a device type, a section (§2.7), a clause (dev.mmio) or a check, got '${word}'`,
    );
  }
  const checks = table.filter((check) =>
    (hostile || !check.hostile) &&
    (others.length === 0 || others.some((word) => matchesRow(check, word)))
  );
  return { checks, devices: devices.length === 0 ? undefined : devices };
}

/** People say 9p and p9. */
function typeName(word: string): string {
  return word === "9p" ? "p9" : word;
}

/** The sections that a check is about. */
export function sectionsOf({ clauses }: Pick<Check, "clauses">): string[] {
  return clauses.flatMap((text) => {
    const clause = findClause(text);
    if (clause !== undefined) return [sectionNumber(clause)];
    const number = /§([\d.]+)/.exec(text)?.[1];
    return number === undefined ? [] : [number];
  });
}

/** Whether a word names a check or rule, its section or its clause. */
export function matchesRow(check: Pick<Check, "id" | "clauses">, word: string): boolean {
  if (word.startsWith("§")) {
    const section = word.slice(1);
    return sectionsOf(check).some((found) => found === section || found.startsWith(`${section}.`));
  }
  const starts = (text: string): boolean => text === word || text.startsWith(`${word}.`);
  return starts(check.id) || check.clauses.some(starts);
}
