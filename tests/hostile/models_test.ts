import { SUITES } from "./models/mod.ts";
import { xorshift } from "../noise.ts";

/** Seed of every case. */
const SEED = 42;

for (const { model, cases } of SUITES) {
  for (const { name, run } of cases) {
    Deno.test(`hostile driver of ${model}: ${name}`, () => run(xorshift(SEED)));
  }
}
