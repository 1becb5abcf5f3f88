// deno-lint-ignore-file no-console -- a program
/**
 * Runs random programs of hostile drivers on all device models, until the time is over or one fails; that one is made
 * shorter and kept.
 *
 * `deno run -A tests/hostile/fuzz_models.ts [--seconds 60] [--seed 1] [--model NAME]... [--corpus FOLDER]`, or
 * `--replay FILE` for one that was kept. Exits with 1 if a program failed.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { generate, MODELS, type Program, run, shrink } from "./models/program.ts";

const { values } = parseArgs({
  options: {
    seconds: { type: "string", default: "60" },
    seed: { type: "string", default: String(Date.now() % 1_000_000) },
    model: { type: "string", multiple: true, default: [...MODELS] },
    corpus: { type: "string", default: "tests/hostile/corpus/models" },
    replay: { type: "string" },
  },
});

let unhandled: string | undefined;
globalThis.addEventListener("unhandledrejection", (event) => {
  event.preventDefault();
  unhandled = `unhandled rejection: ${event.reason}`;
});

if (values.replay !== undefined) {
  const program = JSON.parse(await Deno.readTextFile(values.replay)) as Program;
  const { failure } = await run(program);
  console.log(failure ?? unhandled ?? "ok");
  Deno.exit(failure === undefined && unhandled === undefined ? 0 : 1);
}

const seed = Number(values.seed);
const end = performance.now() + Number(values.seconds) * 1000;
const most = { longest: 0, steps: 0, bytes: 0 };
let slowest = "";
const programs = new Map<string, number>();
let failures = 0;
console.log(
  `vireo: fuzzing ${values.model.length} device models for ${values.seconds} s, seed ${seed}`,
);
for (let i = 0; performance.now() < end && failures < 5; i++) {
  const program = generate(seed * 1_000_003 + i, values.model);
  const outcome = await run(program);
  programs.set(program.model, (programs.get(program.model) ?? 0) + 1);
  if (outcome.longest > most.longest) {
    const { queue = "", do: what } = program.acts[outcome.slowest] as {
      do: string;
      queue?: number;
    };
    slowest = `${what} ${queue} of ${program.model}, program ${seed * 1_000_003 + i}`;
  }
  for (const key of ["longest", "steps", "bytes"] as const) {
    most[key] = Math.max(most[key], outcome[key]);
  }
  const failure = outcome.failure ?? unhandled;
  unhandled = undefined;
  if (failure === undefined) continue;
  failures++;
  console.log(`${program.model}, ${program.ring}: ${failure}`);
  const short = await shrink(program);
  unhandled = undefined;
  await Deno.mkdir(values.corpus, { recursive: true });
  const file = `${values.corpus}/${program.model}-${seed}-${i}.json`;
  await Deno.writeTextFile(file, `${JSON.stringify(short, undefined, 2)}\n`);
  console.log(`  ${short.acts.length} of ${program.acts.length} acts are kept in ${file}`);
}
const total = programs.values().reduce((sum, count) => sum + count, 0);
console.log(`${total} programs, ${failures} failures`);
console.log([...programs].sort().map(([model, count]) => `${model} ${count}`).join(", "));
console.log(
  `longest act ${
    most.longest.toFixed(1)
  } ms (${slowest}); most of a turn: ${most.steps} steps, ${most.bytes} bytes; ` +
    `memory ${(Deno.memoryUsage().rss / 2 ** 20).toFixed(0)} MiB`,
);
Deno.exit(failures === 0 ? 0 : 1);
