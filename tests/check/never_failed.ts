// deno-lint-ignore-file no-console -- a program
/**
 * Lists the checks of `vireo check` that no mutant of `mutants.ts` makes fail: each is worth a second look.
 *
 * Every check runs on every mutant whose device it is about, not only those of the mutant's clause, so it takes
 * minutes; words choose mutants by their clause or name, for example `never_failed.ts dev.suspend`. A check that
 * fails on the device with nothing wrong is no witness, and is printed as such.
 *
 * @module
 */
import { CHECKS } from "../../firmware/check/checks/table.ts";
import { runChecks } from "../../firmware/check/run_checks.ts";
import { mutantBench, type Mutation } from "./mutant_machine.ts";
import { disk, type Mutant, MUTANTS } from "./mutants.ts";

/** The checks that fail on a device, and those that are made. */
async function failing(
  { model = disk, bus = "mmio", options }: Mutant,
  mutation: Mutation,
): Promise<{ readonly made: ReadonlySet<string>; readonly failed: ReadonlySet<string> }> {
  const results = await runChecks({
    checks: CHECKS,
    open: () => Promise.resolve(mutantBench(model(), mutation, bus, options)),
    pace: { deadline: 60, quiet: 0 },
  });
  const ids = (...verdicts: string[]): Set<string> =>
    new Set(
      results.filter(({ verdict }) => verdicts.includes(verdict)).map(({ check }) => check.id),
    );
  return { made: ids("pass", "fail"), failed: ids("fail") };
}

const asked = Deno.args;
const caught = new Map<string, string[]>();
const unsound = new Set<string>();
const made = new Set<string>();
const seen = new Set<string>();
for (const mutant of MUTANTS) {
  const name = `[${mutant.clause}] ${mutant.name}`;
  if (!asked.every((word) => name.includes(word))) continue;
  const kind = `${mutant.model?.name} ${mutant.bus} ${JSON.stringify(mutant.options)}`;
  if (!seen.has(kind)) {
    seen.add(kind);
    const sound = await failing(mutant, {});
    for (const id of sound.made) made.add(id);
    for (const id of sound.failed) unsound.add(id);
  }
  const { failed } = await failing(mutant, mutant.mutation);
  for (const id of failed) caught.set(id, [...caught.get(id) ?? [], name]);
  if (asked.length > 0) console.log(`${name}: ${[...failed].join(", ") || "nothing fails"}`);
}

const never = CHECKS.filter(({ id }) => !caught.has(id));
const kinds = Map.groupBy(CHECKS, ({ id }) => id.split(".").slice(0, -1).join(".") || id);
for (const [kind, checks] of kinds) {
  const silent = checks.filter(({ id }) => !caught.has(id));
  if (silent.length === 0) continue;
  const words = silent.map(({ id }) =>
    made.has(id) ? id : `${id} (no device of the mutants has it)`
  );
  console.log(`${kind}: ${silent.length} of ${checks.length}: ${words.join(", ")}`);
}
if (unsound.size > 0) {
  console.log(`fail on a device with nothing wrong: ${[...unsound].join(", ")}`);
}
console.log(
  `${never.length} of ${CHECKS.length} checks fail on no mutant; ` +
    `${
      [...kinds.values()].filter((c) => c.every(({ id }) => !caught.has(id))).length
    } of ${kinds.size} kinds have none`,
);
