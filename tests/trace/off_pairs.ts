// Runs the works of two trees by turns in one process, so that both see the same machine, and prints nanoseconds of
// the processor for each request as JSON: by kind, pairs of the first tree and the second. `off_cost.ts` runs it.
import { processorTime } from "../../drivers/async_test_util.ts";
import type { OffWork } from "./off_work.ts";

const [pairs, ...roots] = Deno.args;
/** Pairs that are not counted: the compiler is at work. */
const WARM_UP = 30;

type Works = Readonly<Record<string, OffWork>>;
const works: Works[] = [];
for (const root of roots) {
  const { openWorks } = await import(`file://${root}/tests/trace/off_work.ts`);
  works.push(await openWorks());
}

async function time({ requests, run }: OffWork): Promise<number> {
  const start = processorTime();
  await run();
  return (processorTime() - start) / requests * 1e6;
}

const found: Record<string, [number, number][]> = {};
const [first, second] = works as [Works, Works];
for (const kind of Object.keys(first)) {
  const list: [number, number][] = found[kind] = [];
  for (let i = -WARM_UP; i < Number(pairs); i++) {
    let [a, b] = [0, 0];
    // Which one is first changes: the second has what the first left in the caches, and to collect.
    if ((i & 1) === 0) [a, b] = [await time(first[kind]!), await time(second[kind]!)];
    else [b, a] = [await time(second[kind]!), await time(first[kind]!)];
    if (i >= 0) list.push([a, b]);
  }
}
console.log(JSON.stringify(found));
Deno.exit(0);
