import { assertEquals, assertStringIncludes } from "@std/assert";
import { TempFolder } from "../temp_folder.ts";

const ROOT = new URL("../..", import.meta.url).pathname;

/** A test file with hangs of both kinds, in each form of `Deno.test`. */
const HANGS =
  `// Timers are loaded when first used, and a load that the limit cuts short is never made again.
await new Promise((resolve) => setTimeout(resolve));
const forever = () => new Promise((resolve) => setTimeout(resolve, 1e9));
Deno.test("a promise", forever);
Deno.test(function aLoop() { for (;;); });
Deno.test({ name: "an object", fn: forever });
Deno.test("its own limit", { timeout: 200 }, () => { for (;;); });
Deno.test("a step", async (t) => { await t.step("of it", forever); });
Deno.test.ignore("ignored", forever);
Deno.test("a good one", () => {});
`;

Deno.test("the limit fails each test that hangs, by its name and line, and runs the others", async () => {
  using folder = new TempFolder();
  const dir = folder.path;
  await Deno.writeTextFile(`${dir}/hangs_test.ts`, HANGS);
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["test", "-A", "--no-check", "--preload", `${ROOT}tests/run/limit.ts`, "hangs_test.ts"],
    cwd: dir,
    env: { NO_COLOR: "1", VIREO_TEST_LIMIT: "500" },
  }).output();
  const text = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
  assertEquals(code, 1);
  const hangs = [["a promise", 4, 500], ["aLoop", 5, 500], ["an object", 6, 500]] as const;
  for (const [name, line, ms] of [...hangs, ["its own limit", 7, 200], ["a step", 8, 500]]) {
    const report = `${name} => ./hangs_test.ts:${line}:6\nerror: Test timed out after ${ms}ms.\n`;
    assertStringIncludes(text, report);
  }
  assertStringIncludes(text, "1 passed | 5 failed | 1 ignored");
});
