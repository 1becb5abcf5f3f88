import type { HostileSuite } from "./models/rig.ts";
import { randomOf } from "./models/rig.ts";
import { BALLOON } from "./models/balloon.ts";
import { BLK } from "./models/blk.ts";
import { CRYPTO } from "./models/crypto.ts";
import { GPU } from "./models/gpu.ts";
import { SCSI } from "./models/scsi.ts";

/** Seed of every case; a failure names it. */
const SEED = 42;

const SUITES: readonly HostileSuite[] = [BALLOON, BLK, CRYPTO, GPU, SCSI];

for (const { model, cases } of SUITES) {
  for (const { name, run } of cases) {
    Deno.test(`hostile driver of ${model}: ${name}`, () => run(randomOf(SEED)));
  }
}
