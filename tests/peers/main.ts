// deno-lint-ignore-file no-console -- a program
/**
 * Our drivers on devices of other projects, and Linux's drivers on ours. What is needed is fetched into
 * `.cache/peers`; what cannot be had is said, with the reason.
 *
 * `deno run -A tests/peers/main.ts [WORDS]`; words choose the rows that have them in their names. Exits with 1
 * if a row failed, and with 2 and all names if none was chosen.
 *
 * @module
 */
import { installedQemus, SECOND_QEMU } from "../qemu/installed.ts";
import { rows } from "./rows.ts";

/** Milliseconds that a row may take with what it compiles: only a hang takes that long. */
const LIMIT = Number(Deno.env.get("VIREO_ROW_LIMIT") ?? 3_600_000);

const [word = ""] = Deno.args;
const qemus = installedQemus().map(({ version: { text } }, i): readonly [string, string] => [
  text,
  i === 0 ? "" : `${SECOND_QEMU}/`,
]);
const all = rows(qemus);
const chosen = all.filter(({ name }) => name.includes(word));
if (chosen.length === 0) {
  console.error(`vireo: no row has '${word}' in its name; there are:`);
  for (const { name } of all) console.error(`  ${name}`);
  Deno.exit(2);
}
let failed = 0;
for (const { name, run } of chosen) {
  const began = performance.now();
  let result: string;
  try {
    const figures = await limited(run());
    const seconds = Math.round((performance.now() - began) / 1000);
    result = typeof figures === "string"
      ? `ok      ${name}: ${figures} (${seconds} s)`
      : `absent  ${name}: ${figures.absent}`;
  } catch (error) {
    failed++;
    result = `FAILED  ${name}\n${Deno.inspect(error)}`;
  }
  console.log(result);
}
// A row that hangs holds the process: its daemons end with it.
if (failed > 0) Deno.exit(1);

async function limited<T>(row: Promise<T>): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const message = `Timed out after ${LIMIT / 1000} s`;
  const timer = setTimeout(() => reject(new Error(message)), LIMIT);
  try {
    return await Promise.race([row, promise]);
  } finally {
    clearTimeout(timer);
  }
}
