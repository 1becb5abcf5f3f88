// The pages say how many checks, schedules, rules and mutants there are: what they say is counted.
import { assertEquals } from "@std/assert";
import { CHECKS } from "../../firmware/check/checks/table.ts";
import { BUNDLED } from "../../firmware/check/driver/bundled.ts";
import { RULES } from "../../firmware/check/driver/rules.ts";
import { SCHEDULES } from "../../firmware/check/driver/schedules.ts";
import { DRIVER_MUTANTS } from "./driver_mutants.ts";
import { MUTANTS } from "./mutants.ts";

/** Each number: the page, the words around it, and what it must be. */
const COUNTS: readonly (readonly [page: string, words: RegExp, ...counts: number[]])[] = [
  [
    "docs/check.md",
    /has (\d+) checks, .* and (\d+) of them break rules on purpose/,
    CHECKS.length,
    CHECKS.filter(({ hostile }) => hostile).length,
  ],
  [
    "docs/check.md",
    /(\d+) devices and (\d+) drivers with one rule broken each/,
    MUTANTS.length,
    DRIVER_MUTANTS.length,
  ],
  ["docs/check.md", /once under each of (\d+) schedules/, SCHEDULES.length],
  ["docs/check.md", /All (\d+) pass \(`tests\/check\/drivers_test\.ts`\)/, BUNDLED.length],
  ["README.md", /under (\d+) schedules that tempt it/, SCHEDULES.length],
  ["ARCHITECTURE.md", /(\d+) mutants in\s+`tests\/check\/`/, MUTANTS.length],
  [
    "CHANGELOG.md",
    /clause by clause: (\d+) checks, (\d+) of which break rules/,
    CHECKS.length,
    CHECKS.filter(({ hostile }) => hostile).length,
  ],
  [
    "CHANGELOG.md",
    /under (\d+) named schedules; each of (\d+) rules/,
    SCHEDULES.length,
    RULES.length,
  ],
];

for (const [page, words, ...counts] of COUNTS) {
  Deno.test(`check: ${page} has the numbers of ${words.source.slice(0, 30)}...`, async () => {
    const text = await Deno.readTextFile(new URL(`../../${page}`, import.meta.url));
    assertEquals(words.exec(text.replaceAll("\n", " "))?.slice(1).map(Number), counts);
  });
}
