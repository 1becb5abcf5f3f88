import { assert, assertEquals } from "@std/assert";
import { EchoModel } from "@vireo/emu/testing";
import { generate, MODELS, type Program, run, shrink } from "./models/program.ts";
import { SUBJECTS } from "./models/subjects.ts";

const CORPUS = new URL("./corpus/models/", import.meta.url);
/** Seed of what every run of the tests tries, and programs for each model: a quarter of a second of them. */
const SEED = 20_000;
const PROGRAMS = 150;

for (const model of MODELS) {
  Deno.test(`fuzz: programs of hostile drivers leave ${model} sound`, async () => {
    for (let i = 0; i < PROGRAMS; i++) {
      const program = generate(SEED + i, [model]);
      const { failure } = await run(program);
      assertEquals(failure, undefined, `program ${SEED + i}: ${JSON.stringify(program)}`);
    }
  });
}

for (const { name } of Deno.readDirSync(CORPUS)) {
  Deno.test(`fuzz: what was found once stays repaired: ${name}`, async () => {
    const program = JSON.parse(await Deno.readTextFile(new URL(name, CORPUS))) as Program;
    assertEquals((await run(program)).failure, undefined);
  });
}

Deno.test("fuzz: a program is the same for its number, and another for another", () => {
  assertEquals(generate(7, MODELS), generate(7, MODELS));
  assert(JSON.stringify(generate(7, MODELS)) !== JSON.stringify(generate(8, MODELS)));
});

Deno.test("fuzz: a model that fails is found, and its program is made as short as can be", async () => {
  class Failing extends EchoModel {
    override notify(queue: number): void {
      const chain = this.context?.queue(queue)?.pop();
      if (chain === undefined) return;
      if (chain.readU8() === 7) throw new Error("seven");
      this.context!.queue(queue)!.push(chain);
      this.context!.queue(queue)!.signal();
    }
  }
  const name = "failing";
  const forms = [{ queue: 0, fields: [[1, 1, 7]] as const, more: 20 }];
  const all = SUBJECTS as unknown as unknown[];
  all.push({ name, alive: 0, make: () => new Failing(), forms });
  try {
    let found: Program | undefined;
    for (let i = 0; found === undefined && i < 200; i++) {
      const program = generate(i, [name]);
      if ((await run(program)).failure !== undefined) found = program;
    }
    assert(found !== undefined, "a byte of 7 is tried");
    const short = await shrink(found);
    assertEquals(short.acts.length, 1);
    assert(JSON.stringify(short.acts[0]).includes('"bytes":[7]'), JSON.stringify(short));
  } finally {
    all.pop();
  }
});
