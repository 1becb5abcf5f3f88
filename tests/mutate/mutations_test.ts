import { assert, assertEquals } from "@std/assert";
import { EQUIVALENTS, isKnown } from "./_equivalents.ts";
import { candidates } from "./_mutations.ts";
import { isOfRoom, optionsOf, USAGE } from "./_options.ts";
import { stagesOf } from "./_tests.ts";
import { SOURCES } from "../tree/sources.ts";

Deno.test("mutate: changes are made of code alone, one at a time", () => {
  const text = [
    "// a < b",
    "  if (a < b && !c) return true;",
    "  this.#count++;",
    "  this.#look(`a + b`);",
    "  const x = Math.min(a, b + 1);",
    "  let it: Promise<true> = (): true | undefined => it;",
    "  const no = (): false => it;",
    "export class X {",
    "  count = 0;",
    "  constructor() {",
    "    this.count = 2;",
    "  }",
    "}",
    "function reset(): void {",
    "  count = 0;",
  ].join("\n");
  assertEquals(candidates("x.ts", text).map(({ line, what }) => [line, what.split(" -> ")[1]]), [
    [2, "if (a <= b && !c) return true;"],
    [2, "if (a < b || !c) return true;"],
    [2, "if (a < b && !c) return false;"],
    [4, "nothing"],
    [5, "const x = Math.min(a, b);"],
    [5, "const x = Math.min(a, b - 1);"],
    [5, "const x = Math.max(a, b + 1);"],
    [11, "nothing"],
    [15, "nothing"],
  ]);
});

Deno.test("mutate: each change that counts as no change is still one of its file", () => {
  const gone = EQUIVALENTS.filter((known) => {
    const text = Deno.readTextFileSync(new URL(`../../${known.path}`, import.meta.url));
    return !candidates(known.path, text).some((mutation) => isKnown(known, mutation));
  });
  assertEquals(gone, []);
});

Deno.test("mutate: the nearest tests look at a change first, and each of them once", () => {
  const [first] = stagesOf("hal/poll_interrupt.ts", false);
  assertEquals(first?.tests[0], "hal/poll_interrupt_test.ts");
  // The examples in its docs are tests, too.
  assertEquals(first?.doc, "hal/poll_interrupt.ts");
  // Behind the test in its folder the seconds-long ones come, one at a time.
  assertEquals(
    stagesOf("firmware/check/checks/split.ts", false).slice(0, 2).map(({ tests }) => tests),
    [["firmware/check/checks/table_test.ts"], ["tests/check/broken_test.ts"]],
  );
  const files = SOURCES.map(({ path }) => path);
  for (const path of ["emu/hosted_device.ts", "hal/vhost_user/front_end.ts"]) {
    const all = stagesOf(path, false).flatMap(({ tests }) => tests);
    assertEquals([new Set(all).size, all.filter((test) => !files.includes(test))], [
      all.length,
      [],
    ]);
    const near = stagesOf(path, true).flatMap(({ tests }) => tests);
    assertEquals(near, all.slice(0, near.length));
    assert(near.length < all.length);
  }
});

Deno.test("mutate: a command line is help, options or a line that says what is wrong", () => {
  const sources = ["hal/host.ts", "hal/host_test.ts"];
  const told = (line: string) => optionsOf(line.split(" "), sources);
  assertEquals([told("--help"), told("-h")], [USAGE, USAGE]);
  assertEquals(told("--rom hal"), "Unknown option '--rom'");
  for (
    const [line, seen] of [
      ["--room halls", "room halls: expected drivers, emu, rings, hal, firmware"],
      ["--file hal/host_test.ts", "file hal/host_test.ts: expected a source file of drivers, "],
      ["--file hal/host.ts --room emu", "file hal/host.ts: expected a source file of emu"],
      ["--at hal/host.ts", "hal/host.ts: expected PATH:LINE"],
      ["--at hal/hosts.ts:1", "file hal/hosts.ts: expected a source file of drivers, "],
    ] as const
  ) assert(String(told(line)).startsWith(`Cannot break ${seen}`), `${line}: ${told(line)}`);
  for (const line of ["--count 0", "--jobs 1.5", "--seed x", "--seconds="]) {
    assertEquals(
      told(line),
      `Cannot use ${line.replace("=", " ")}: expected an integer of 1 or more`,
    );
  }
  const { room, at, count, jobs, near } = told("--room hal --at hal/host.ts:7 --jobs 3") as Exclude<
    ReturnType<typeof told>,
    string
  >;
  assertEquals({ room, at, count, jobs, near }, {
    room: ["hal"],
    at: ["hal/host.ts:7"],
    count: 40,
    jobs: 3,
    near: false,
  });
  assertEquals(
    ["drivers/blk/blk.ts", "drivers/blk/mod.ts"].map((path) => isOfRoom(path, "drivers")),
    [
      true,
      false,
    ],
  );
});
