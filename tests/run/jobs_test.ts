import { assert, assertEquals } from "@std/assert";
import { inTurn } from "./in_turn.ts";
import { jobs, LONG, LONGEST } from "./jobs.ts";
import { SOURCES } from "../tree/sources.ts";

Deno.test("jobs: every test file is in exactly one, and what takes longest is there", () => {
  const all = jobs("all");
  const paths = all.flatMap((job) => job.paths);
  const files = SOURCES.map(({ path }) => path).filter((path) => path.endsWith("_test.ts"));
  assert(files.length > 200);
  for (const file of files) {
    assertEquals([file, paths.filter((path) => path === file).length], [file, 1]);
  }
  assertEquals(all.slice(0, LONGEST.length).map(({ name }) => name), LONGEST);
  assertEquals(all.slice(-LONG.length).map(({ name }) => name), LONG);
  for (const room of ["hal", "drivers", "emu", "firmware"]) {
    assert(all.find(({ name }) => name === room)!.paths.every((path) => path.startsWith(room)));
  }
});

Deno.test("jobs: those that need QEMU are a part of all", () => {
  const all = new Set(jobs("all").flatMap(({ paths }) => paths));
  const again = jobs("qemu").flatMap(({ paths }) => paths);
  assert(again.includes("tests/killed/killed_test.ts") && again.length < all.size / 2);
  assertEquals(again.filter((path) => !all.has(path)), []);
});

Deno.test("inTurn: as many at a time as there are workers, in order, and one that holds the same waits", async () => {
  const started: string[] = [];
  const ends = new Map<string, () => void>();
  const tasks = [
    { name: "a", holds: "net" },
    { name: "b", holds: "net" },
    { name: "c" },
    { name: "d" },
  ];
  const all = inTurn(tasks, 2, ({ name }) => {
    started.push(name);
    return new Promise((resolve) => ends.set(name, resolve));
  });
  const seen: string[][] = [[...started]];
  for (const name of ["c", "a", "b", "d"]) {
    ends.get(name)!();
    await new Promise((resolve) => setTimeout(resolve));
    seen.push([...started]);
  }
  await all;
  assertEquals(seen, [["a", "c"], ["a", "c", "d"], ["a", "c", "d", "b"], [..."acdb"], [..."acdb"]]);
});
