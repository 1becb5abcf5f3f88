import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { call, vireo } from "../cli_helper.ts";
import { TempFolder } from "../temp_folder.ts";

Deno.test("vireo check: looks at the devices of a type, and writes what it found", async () => {
  using temporary = new TempFolder();
  const folder = temporary.path;
  const { code, out } = await vireo(
    "check --only rng --hostile --seed 7 " +
      `--html ${folder}/report.html --junit ${folder}/report.xml`,
  );
  assertEquals(code, 0);
  assert(/§4\.2 +\d+ pass +0 fail/.test(out), out);
  assert(/\d+ pass, 0 fail, 0 deviate, \d+ skipped\n$/.test(out), out);
  assertStringIncludes(await Deno.readTextFile(`${folder}/report.html`), "mmio.magic");
  assertStringIncludes(await Deno.readTextFile(`${folder}/report.xml`), "<testsuite name=");
});

Deno.test("vireo check --list and --json: rows with clauses and sections", async () => {
  const { code, out } = await call("check --list --json --only §4.2.2.1");
  assertEquals(code, 0);
  const { checks } = JSON.parse(out);
  assert(checks.length > 5);
  for (const row of checks) assert(row.sections.some((text: string) => text.startsWith("4.2.2.1")));
  const run = await call("check --json --only blk,mmio.magic");
  assertEquals(JSON.parse(run.out).counts, { pass: 1, fail: 0, deviates: 0, skip: 0 });
});

Deno.test("vireo check: a word that names nothing, and a board without such a device", async () => {
  const wrong = await call("check --only nonsense");
  assertEquals(wrong.code, 2);
  assertStringIncludes(wrong.err, "--only: expected a device type");
  const none = await call("check --only gpu");
  assertEquals(none.code, 2);
  assertStringIncludes(none.err, "no device of the board");
  const socket = await call("check --target vhost-user:blk=/nowhere.sock");
  assertEquals(socket.code, 1);
  assertStringIncludes(socket.err, "/nowhere.sock");
});

Deno.test("vireo check driver: a bundled driver passes, and the reports say under which schedule", async () => {
  using temporary = new TempFolder();
  const folder = temporary.path;
  const { code, out, err } = await vireo(
    `check driver rng --only plain,late,drv.split-ring --json --junit ${folder}/report.xml`,
  );
  assertEquals([code, err], [0, ""]);
  const { target, counts, results } = JSON.parse(out);
  assertEquals([target, counts.fail], ["driver rng", 0]);
  assert(counts.pass > 10, out);
  assertEquals(new Set(results.map((row: { schedule: string }) => row.schedule)).size, 2);
  assertStringIncludes(
    await Deno.readTextFile(`${folder}/report.xml`),
    "late: rng at virtio-mmio@",
  );
});

Deno.test("vireo check driver: the folder of vireo new as it is, and then with a rule broken", async () => {
  using temporary = new TempFolder();
  const folder = temporary.path;
  assertEquals((await vireo(`new driver ${folder}/mine`)).code, 0);
  const script = `${folder}/mine/mine.ts`;
  const good = await vireo(`check driver ${script} --only plain,packed`);
  assertEquals([good.code, good.err], [0, ""], good.out);
  assert(/\d+ pass, 0 fail, 0 deviate, 0 skipped\n$/.test(good.out), good.out);
  const text = await Deno.readTextFile(script);
  const broken = text.replace(", [], length,", ", [new Uint8Array(4)], length,");
  assert(broken !== text);
  await Deno.writeTextFile(script, broken);
  const bad = await vireo(`check driver ${script} --only plain`);
  assertEquals([bad.code, bad.err], [1, ""]);
  assertStringIncludes(bad.out, "fail rng.writable: plain: rng at virtio-mmio@");
  assertStringIncludes(bad.out, "clauses  drv.rng.operation.1");
  assertStringIncludes(bad.out, `again    vireo check driver ${script} --only plain --seed 1`);
});

Deno.test("vireo check driver: --list, and what makes no sense", async () => {
  const { out } = await call("check driver --list --json --only refuse,§4.2.2");
  const { schedules, rules } = JSON.parse(out);
  assertEquals(schedules.map(({ schedule }: { schedule: string }) => schedule), ["refuse"]);
  assert(rules.length > 5);
  for (
    const [args, text] of [
      ["check drivers", "expected nothing or 'driver', got 'drivers'"],
      ["check driver", "expected a script, or a bundled driver: blk, net"],
      ["check driver rng --only nonsense", "expected a schedule, a section"],
      ["check driver rng --target qtest:x86_64-q35", "for emu targets"],
      ["check driver nowhere.ts", "no such file: nowhere.ts"],
    ] as const
  ) {
    const { code, err } = await call(args);
    assertEquals(code, 2, args);
    assertStringIncludes(err, text);
  }
});
