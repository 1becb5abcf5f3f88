import type { HostileSuite } from "./models/rig.ts";
import { randomOf } from "./models/rig.ts";
import { SCSI } from "./models/scsi.ts";

/** Seed of every case; a failure names it. */
const SEED = 42;

const SUITES: readonly HostileSuite[] = [SCSI];

for (const { model, cases } of SUITES) {
  for (const { name, run } of cases) {
    Deno.test(`hostile driver of ${model}: ${name}`, () => run(randomOf(SEED)));
  }
}
