import { assert, assertEquals } from "@std/assert";
import { RngDevice } from "@vireo/emu";
import { type Rng, rngDriver } from "../../drivers/rng/mod.ts";
import { type DriverProgram, DRIVERS, generate, run, shrink } from "./drivers/program.ts";
import { type Subject, SUBJECTS } from "./subjects.ts";

const CORPUS = new URL("./corpus/drivers/", import.meta.url);
/** Seed of what every run of the tests tries, programs, and how many at once, as most of their time they wait. */
const SEED = 90_000;
const PROGRAMS = 12 * DRIVERS.length;
const JOBS = 12;

Deno.test("fuzz: drivers survive programs of lying devices", async () => {
  let next = 0;
  const work = async (): Promise<void> => {
    while (next < PROGRAMS) {
      const number = SEED + next++;
      const program = generate(number, [DRIVERS[number % DRIVERS.length]!]);
      const { failure } = await run(program);
      assertEquals(failure, undefined, `program ${number}: ${JSON.stringify(program)}`);
    }
  };
  await Promise.all(Array.from({ length: JOBS }, work));
});

for (const { name } of Deno.readDirSync(CORPUS)) {
  Deno.test(`fuzz: what a lying device did once stays repaired: ${name}`, async () => {
    const program = JSON.parse(await Deno.readTextFile(new URL(name, CORPUS))) as DriverProgram;
    assertEquals((await run(program)).failure, undefined);
  });
}

Deno.test("fuzz: a device's program is the same for its number, and another for another", () => {
  assertEquals(generate(7, DRIVERS), generate(7, DRIVERS));
  assert(JSON.stringify(generate(7, DRIVERS)) !== JSON.stringify(generate(8, DRIVERS)));
});

Deno.test("fuzz: a driver that fails is found, and its program is made as short as can be", async () => {
  const failing: Subject<Rng> = {
    name: "failing",
    driver: rngDriver,
    model: () => new RngDevice({ random: (into) => void into.fill(1) }),
    async use(rng, limits) {
      const bytes = await rng.read(32, limits);
      if (bytes.includes(0x7f)) throw new TypeError("no such byte");
    },
    asks: () => Promise.resolve({}),
  };
  const all = SUBJECTS as unknown as unknown[];
  all.push(failing);
  try {
    let found: DriverProgram | undefined;
    for (let i = 0; found === undefined && i < 300; i++) {
      const program = generate(i, ["failing"]);
      if (program.acts.some((act) => act.do === "keep" || act.do === "suspend")) continue;
      if ((await run(program)).failure !== undefined) found = program;
    }
    assert(found !== undefined, "a byte of 0x7f is tried");
    const short = await shrink(found);
    assertEquals(short.acts.map((act) => act.do), ["bytes", "use"]);
  } finally {
    all.pop();
  }
});
