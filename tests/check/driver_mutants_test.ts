import { assert, assertEquals } from "@std/assert";
import { runDriver } from "../../firmware/check/driver/run_driver.ts";
import { RULES } from "../../firmware/check/driver/rules.ts";
import { SCHEDULES } from "../../firmware/check/driver/schedules.ts";
import { findClause } from "../../firmware/check/clauses.ts";
import type { CheckResult } from "../../firmware/check/run_checks.ts";
import { DEFAULT_BOARD } from "../../firmware/target/options.ts";
import { SOURCES } from "../tree/sources.ts";
import { byHand, DRIVER_MUTANTS, type DriverMutant } from "./driver_mutants.ts";

/** Runs a script under the schedule of a mutant. */
function run(
  { name, device = 4, schedule = "plain" }: DriverMutant,
  main: ReturnType<typeof byHand>,
): Promise<CheckResult[]> {
  return runDriver({
    name,
    main,
    device,
    board: { ...DEFAULT_BOARD, net: { kind: "none" }, blk: device === 2 ? DEFAULT_BOARD.blk : [] },
    schedules: SCHEDULES.filter((row) => row.name === schedule),
    deadline: 150,
  });
}

const wrong = (results: readonly CheckResult[]): string[] =>
  results.filter(({ verdict }) => verdict === "fail" || verdict === "deviates")
    .map(({ check, verdict, seen }) => `${verdict} ${check.id}: ${seen}`);

Deno.test("driver rules: no two schedules are the same", () => {
  const plain = { eventIdx: true, packed: false, inOrder: false, ringReset: false };
  const done = SCHEDULES.map(({ board = {}, ring, temper = {} }) =>
    JSON.stringify([board, { ...plain, ...ring }, temper])
  );
  assertEquals(
    SCHEDULES.filter((_, i) => done.indexOf(done[i]!) !== i).map(({ name }) => name),
    [],
  );
});

Deno.test("driver rules: ids are unique, and clauses are those of drivers", () => {
  assertEquals(new Set(RULES.map(({ id }) => id)).size, RULES.length);
  for (const { id, clauses, should } of RULES) {
    for (const text of clauses) {
      if (text.startsWith("virtio 1.4 §")) continue;
      const clause = findClause(text);
      assertEquals(clause?.role, "driver", `${id}: ${text}`);
      if (should) assertEquals(clause?.level.startsWith("SHOULD"), true, `${id}: ${text}`);
    }
  }
});

Deno.test("driver mutants: each breaks another rule or breaks it another way", () => {
  assert(DRIVER_MUTANTS.length >= 20);
  assertEquals(new Set(DRIVER_MUTANTS.map(({ name }) => name)).size, DRIVER_MUTANTS.length);
});

Deno.test("driver mutants: each is caught by the rule of its clause, which the sound driver keeps", async (t) => {
  const sound = new Map<string, Promise<CheckResult[]>>();
  for (const mutant of DRIVER_MUTANTS) {
    const { name, rule, clause, should, device = 4, schedule = "plain" } = mutant;
    await t.step(`[${clause}] ${name}`, async () => {
      const key = `${device} ${schedule}`;
      if (schedule !== "refuse") {
        if (!sound.has(key)) sound.set(key, run(mutant, byHand(device)));
        const found = wrong(await sound.get(key)!).filter((text) => !text.startsWith("deviates"));
        assertEquals(found, [], "the sound driver");
      }
      const results = await run(mutant, byHand(device, mutant.deed, mutant.open));
      const row = results.find(({ check }) => check.id === rule);
      assertEquals(row?.verdict, should ? "deviates" : "fail", wrong(results).join("\n"));
      assert(row!.check.clauses.includes(clause), row!.check.clauses.join());
    });
  }
});

Deno.test("driver rules: the clauses that the emulator's log has are those of drivers", async () => {
  const ids = new Set<string>();
  for (const { path } of SOURCES.filter(({ room }) => room === "emu")) {
    if (/_test(?:_util)?\.ts$/.test(path)) continue;
    const text = await Deno.readTextFile(new URL(`../../${path}`, import.meta.url));
    for (const [, id] of text.matchAll(/"(drv\.[a-z0-9.-]+)"/g)) ids.add(id!);
  }
  assert(ids.size > 30, `${ids.size}`);
  for (const id of ids) assertEquals(findClause(id)?.role, "driver", id);
});
