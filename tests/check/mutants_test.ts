import { assert, assertEquals } from "@std/assert";
import { CHECKS } from "../../firmware/check/checks/table.ts";
import { type CheckResult, runChecks } from "../../firmware/check/run_checks.ts";
import { mutantBench, type Mutation } from "./mutant_machine.ts";
import { disk, type Mutant, MUTANTS, SOUND } from "./mutants.ts";

/** Runs the checks of a mutant's clause, on it or on the same device with nothing wrong. */
function run({ clause, model = disk, bus = "mmio", options }: Mutant, mutation: Mutation) {
  return runChecks({
    checks: CHECKS.filter(({ clauses }) => clauses.includes(clause)),
    open: () => Promise.resolve(mutantBench(model(), mutation, bus, options)),
    pace: { deadline: 60, quiet: 0 },
    stop: ({ verdict }) => verdict === "fail",
  });
}

const failed = (results: readonly CheckResult[]): string[] =>
  results.filter(({ verdict }) => verdict === "fail").map(({ check, reason }) =>
    `${check.id}: ${reason}`
  );

Deno.test("mutants: 60 and more, each breaks another rule or breaks it another way", () => {
  assert(MUTANTS.length >= 60);
  assertEquals(new Set(MUTANTS.map(({ clause, name }) => clause + name)).size, MUTANTS.length);
});

Deno.test("mutants: each is caught by a check of its clause, which the sound device passes", async (t) => {
  for (const mutant of MUTANTS) {
    await t.step(`[${mutant.clause}] ${mutant.name}`, async () => {
      assertEquals(failed(await run(mutant, {})), [], "the sound device");
      const caught = failed(await run(mutant, mutant.mutation));
      assert(caught.length > 0, "no check of the clause fails");
    });
  }
});

Deno.test("mutants: devices at the ends of what a clause allows pass its checks", async (t) => {
  for (const device of SOUND) {
    await t.step(`[${device.clause}] ${device.name}`, async () => {
      const results = await run(device, device.mutation);
      assertEquals(failed(results), []);
      assert(results.some(({ verdict }) => verdict === "pass"), "no check of the clause looks");
    });
  }
});
