import type { Occasion, Rule } from "./rules.ts";

/** A note against a driver. */
interface Finding {
  /** The rule that it broke. */
  readonly rule: Rule;
  /** Behaviour that was seen. */
  readonly seen: string;
}

/** Record of a driver on one device: its occasions, and the rules that it broke. */
export class Findings {
  /** Actions of the driver, so that the rules about them were looked at. */
  readonly occasions: Set<Occasion> = new Set();
  /** Rules that it broke, in order. */
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
