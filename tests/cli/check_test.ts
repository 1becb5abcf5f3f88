import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { vireo } from "../cli_helper.ts";

Deno.test("vireo check: looks at the devices of a type, and writes what it found", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const { code, out } = await vireo(
      "check --only rng --hostile --seed 7 " +
        `--html ${folder}/report.html --junit ${folder}/report.xml`,
    );
    assertEquals(code, 0);
    assert(/§4\.2 +\d+ pass +0 fail/.test(out), out);
    assert(/\d+ pass, 0 fail, 0 deviate, \d+ skipped\n$/.test(out), out);
    assertStringIncludes(await Deno.readTextFile(`${folder}/report.html`), "mmio.magic");
    assertStringIncludes(await Deno.readTextFile(`${folder}/report.xml`), "<testsuite name=");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("vireo check --list and --json: rows with clauses and sections", async () => {
  const { code, out } = await vireo("check --list --json --only §4.2.2.1");
  assertEquals(code, 0);
  const { checks } = JSON.parse(out);
  assert(checks.length > 5);
  for (const row of checks) assert(row.sections.some((text: string) => text.startsWith("4.2.2.1")));
  const run = await vireo("check --json --only blk,mmio.magic");
  assertEquals(JSON.parse(run.out).counts, { pass: 1, fail: 0, deviates: 0, skip: 0 });
});

Deno.test("vireo check: a word that names nothing, and a board without such a device", async () => {
  const wrong = await vireo("check --only nonsense");
  assertEquals(wrong.code, 2);
  assertStringIncludes(wrong.err, "--only: expected a device type");
  const none = await vireo("check --only gpu");
  assertEquals(none.code, 2);
  assertStringIncludes(none.err, "no device of the board");
});
