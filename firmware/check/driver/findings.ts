import type { Occasion, Rule } from "./rules.ts";

/** What was noted against a driver. */
interface Finding {
  /** The rule that it broke. */
  readonly rule: Rule;
  /** What was seen. */
  readonly seen: string;
}

/** What a driver did to one device: on what occasions, and against which rules. */
export class Findings {
  /** What it did, so that the rules about it were looked at. */
  readonly occasions: Set<Occasion> = new Set();
  /** What it did wrong, in order. */
  readonly broken: Finding[] = [];

  /** Notes that something was done. */
  did(...occasions: readonly Occasion[]): void {
    for (const occasion of occasions) this.occasions.add(occasion);
  }

  /** Notes a violation; the same rule once a device is enough. */
  broke(rule: Rule, seen: string): void {
    this.did(rule.when);
    if (this.broken.some((finding) => finding.rule.id === rule.id)) return;
    this.broken.push({ rule, seen });
  }
}
