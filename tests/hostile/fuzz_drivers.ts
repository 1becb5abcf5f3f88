// deno-lint-ignore-file no-console -- a program
/**
 * Runs random programs of lying devices under all drivers, until the time is over or one fails; that one is made
 * shorter and kept.
 *
 * `deno run -A tests/hostile/fuzz_drivers.ts [--seconds 60] [--seed 1] [--driver NAME]... [--jobs 8] [--corpus FOLDER]`, or
 * `--replay FILE` for one that was kept. Exits with 1 if a program failed, and with 2 if one does not come back.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { type DriverProgram, DRIVERS, generate, run, shrink } from "./drivers/program.ts";

const { values } = parseArgs({
  options: {
    seconds: { type: "string", default: "60" },
    seed: { type: "string", default: String(Date.now() % 1_000_000) },
    driver: { type: "string", multiple: true, default: [...DRIVERS] },
    corpus: { type: "string", default: "tests/hostile/corpus/drivers" },
    jobs: { type: "string", default: "8" },
    replay: { type: "string" },
  },
});

let unhandled: string | undefined;
globalThis.addEventListener("unhandledrejection", (event) => {
  event.preventDefault();
  unhandled = `unhandled rejection: ${Deno.inspect(event.reason)}`;
});

/** Ends the process, from a thread of its own, if it does not come back to the event loop for a minute. */
const heart = new Int32Array(new SharedArrayBuffer(8));
const watch = `onmessage = ({ data }) => {
  let last = -1;
  setInterval(() => {
    if (data[0] === last) { console.error("program " + data[1] + " does not come back"); Deno.exit(2); }
    last = data[0];
  }, 60000);
};`;
new Worker(`data:text/javascript,${encodeURIComponent(watch)}`, { type: "module" })
  .postMessage(heart);
setInterval(() => Atomics.add(heart, 0, 1), 1000);

if (values.replay !== undefined) {
  const program = JSON.parse(await Deno.readTextFile(values.replay)) as DriverProgram;
  const { failure } = await run(program);
  console.log(failure ?? unhandled ?? "ok");
  Deno.exit(failure === undefined && unhandled === undefined ? 0 : 1);
}

const seed = Number(values.seed);
const end = performance.now() + Number(values.seconds) * 1000;
const programs = new Map<string, number>();
let [failures, longest, slowest] = [0, 0, ""];
console.log(
  `vireo: fuzzing ${values.driver.length} drivers for ${values.seconds} s, seed ${seed}`,
);
let next = 0;

/** Makes a failing program shorter and keeps it. */
async function keep(program: DriverProgram, i: number, failure: string): Promise<void> {
  failures++;
  console.log(`${program.driver}, ${program.on}, program ${seed * 1_000_003 + i}: ${failure}`);
  const short = await shrink(program);
  await Deno.mkdir(values.corpus, { recursive: true });
  const file = `${values.corpus}/${program.driver}-${seed}-${i}.json`;
  await Deno.writeTextFile(file, `${JSON.stringify(short, undefined, 2)}\n`);
  console.log(`  ${short.acts.length} of ${program.acts.length} acts are kept in ${file}`);
}

/** Runs one program after the other; most of their time they wait, so several do it at once. */
async function work(): Promise<void> {
  while (performance.now() < end && failures < 5) {
    const i = next++;
    const number = seed * 1_000_003 + i;
    const program = generate(number, values.driver);
    heart[1] = number;
    const outcome = await run(program);
    programs.set(program.driver, (programs.get(program.driver) ?? 0) + 1);
    if (outcome.longest > longest) {
      [longest, slowest] = [outcome.longest, `${program.driver}, program ${number}`];
    }
    // Something of the programs that ran meanwhile; --jobs 1 tells which.
    const failure = outcome.failure ?? unhandled;
    unhandled = undefined;
    if (failure !== undefined) await keep(program, i, failure);
  }
}
await Promise.all(Array.from({ length: Number(values.jobs) }, work));
const total = programs.values().reduce((sum, count) => sum + count, 0);
console.log(`${total} programs, ${failures} failures`);
console.log([...programs].sort().map(([driver, count]) => `${driver} ${count}`).join(", "));
console.log(
  `longest act ${longest.toFixed(0)} ms (${slowest}); memory ${
    (Deno.memoryUsage().rss / 2 ** 20).toFixed(0)
  } MiB`,
);
Deno.exit(failures === 0 ? 0 : 1);
