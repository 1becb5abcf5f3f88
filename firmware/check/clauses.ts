import rows from "./clauses.json" with { type: "json" };

/** Side that a clause binds. */
type ClauseRole = "driver" | "device";

/** A normative statement of virtio 1.4, in our words. */
export interface Clause {
  /** Role, area, section and number: `dev.mmio.layout.3`. */
  readonly id: string;
  /** Whose duty it is. */
  readonly role: ClauseRole;
  /** Part of the specification: `basic`, `split-ring`, `mmio`, `net` and so on. */
  readonly area: string;
  /** Number and title of the section: `4.2.2.1 Device Requirements: MMIO Device Register Layout`. */
  readonly section: string;
  /** `MUST`, `MUST NOT`, `SHOULD` or `SHOULD NOT`. */
  readonly level: string;
  /** Meaning of the clause, in short. */
  readonly gist: string;
  /** Whether it is about the legacy interface. */
  readonly legacy: boolean;
}

/** All statements, in the order of the specification. */
export const CLAUSES: readonly Clause[] = rows as readonly Clause[];

const BY_ID: ReadonlyMap<string, Clause> = new Map(CLAUSES.map((clause) => [clause.id, clause]));

/** The clause with an id; undefined if there is none. */
export function findClause(id: string): Clause | undefined {
  return BY_ID.get(id);
}

/** The number of a clause's section, `4.2.2.1`. */
export function sectionNumber({ section }: Clause): string {
  return section.replace(/ .*/, "");
}
