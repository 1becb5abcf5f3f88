import { assert, assertEquals, assertRejects } from "@std/assert";
import { SgList, type VirtioDriver } from "@vireo/drivers/core";
import { ANY_ID, DeviceId, FeatureSet, VireoError } from "@vireo/hal";
import { BUNDLED } from "../../firmware/check/driver/bundled.ts";
import { type DriverRun, runDriver } from "../../firmware/check/driver/run_driver.ts";
import { RULES } from "../../firmware/check/driver/rules.ts";
import { type Schedule, SCHEDULES } from "../../firmware/check/driver/schedules.ts";
import { BOARD_DEVICES } from "../../firmware/devices/table.ts";
import { DEFAULT_BOARD } from "../../firmware/target/options.ts";
import { UsageError } from "../../firmware/terminal/usage.ts";
import { byHand } from "./driver_mutants.ts";

const only = (...names: readonly string[]): Schedule[] =>
  SCHEDULES.filter(({ name }) => names.includes(name));

/** A script on the board that every script has. */
const onBoard = (main: DriverRun["main"], schedules: readonly Schedule[]): DriverRun => ({
  name: "script.ts",
  main,
  board: DEFAULT_BOARD,
  schedules,
  deadline: 200,
});

/** A driver that forgets to kick its queue. */
const SILENT: VirtioDriver = {
  name: "silent",
  ids: [{ device: DeviceId.RNG, vendor: ANY_ID }],
  features: FeatureSet.NONE,
  probe(device) {
    const [queue] = device.findQueues([{ name: "input", callback() {} }]);
    queue!.add(new SgList(1).addWritable(device.dma.alloc(64).address, 64), 0);
    return { remove: () => device.reset().then(() => device.deleteQueues()) };
  },
};

Deno.test("check driver: all 14 bundled drivers keep every rule under every schedule", async (t) => {
  assertEquals(BUNDLED.length, BOARD_DEVICES.length + 4);
  const looked = new Set<string>();
  for (const { name, device, main, board } of BUNDLED) {
    await t.step(name, async () => {
      const results = await runDriver({
        name,
        main,
        device,
        board: { ...DEFAULT_BOARD, ...board },
        schedules: SCHEDULES,
      });
      const wrong = results.filter(({ verdict }) => verdict === "fail" || verdict === "deviates")
        .map(({ schedule, check, seen }) => `${schedule}: ${check.id}: ${seen}`);
      assertEquals(wrong, []);
      const ran = new Set(
        results.filter(({ verdict }) => verdict === "pass").map((row) => row.schedule),
      );
      assert(ran.size >= SCHEDULES.length - 3, `${ran.size} schedules`);
      for (const { check } of results) looked.add(check.id);
    });
  }
  await t.step("and meet all of them", () => {
    const unmet = RULES.filter(({ id }) => !looked.has(id)).map(({ id }) => id);
    // No driver resets a single queue at work; `driver_mutants.ts` has one that does.
    assertEquals(unmet, ["queue.reset"]);
  });
});

Deno.test("check driver: a seed names how a device behaves", async () => {
  const lengths = async (seed: number): Promise<number[]> => {
    const seen: number[] = [];
    const main = byHand(4, async ({ context }) => {
      await context.init();
      for (let i = 0; i < 8; i++) seen.push((await context.ask(0, [], [100])).used.length);
    });
    await runDriver({ ...onBoard(main, only("partial")), device: 4, seed });
    return seen;
  };
  const first = await lengths(1);
  assertEquals(first.length, 8);
  assertEquals(await lengths(1), first);
  assert(first.join() !== (await lengths(2)).join(), "another seed");
});

Deno.test("check driver: a script that drives its own device is about that device alone", async () => {
  const results = await runDriver(onBoard(byHand(), only("plain")));
  assertEquals(new Set(results.map(({ device }) => device.id)), new Set([4]));
  assertEquals(results.filter(({ verdict }) => verdict === "fail"), []);
});

Deno.test("check driver: a script that uses bundled drivers is about all of the board", async () => {
  const results = await runDriver(
    onBoard(async ({ rng, blk }) => {
      await rng.read(4);
      await blk.read(0, 512);
    }, only("plain", "pci")),
  );
  assertEquals(new Set(results.map(({ device }) => device.id)), new Set([1, 2, 3, 4]));
});

Deno.test("check driver: a script fails, hangs, or drives nothing", async () => {
  const ends = async (main: DriverRun["main"]): Promise<string | undefined> => {
    const results = await runDriver(onBoard(main, only("plain")));
    return results.find(({ check }) => check.id === "run.ends")?.seen;
  };
  assertEquals(
    await ends(async ({ rng }) => {
      await rng.read(4);
      throw new Error("No", { cause: new Error("why not") });
    }),
    "the script failed: No, because why not",
  );
  assertEquals(
    await ends(async ({ rng }) => {
      await rng.read(4);
      await new Promise(() => {});
    }),
    "the script did not end within 200 ms: the devices have returned all buffers",
  );
  const stuck = await runDriver(onBoard((vireo) => {
    void vireo.use(SILENT);
    return new Promise<void>(() => {});
  }, only("plain", "packed", "pci")));
  assertEquals(
    stuck.filter(({ check }) => check.id === "run.ends")
      .map(({ schedule, verdict, reason }) => [schedule, verdict, reason]),
    [
      [
        "plain",
        "fail",
        "the script did not end within 200 ms: virtio3 has a buffer of queue 'input', and the driver did not kick it",
      ],
      ["pci", "skip", "the script does not end under 'plain'"],
      ["packed", "skip", "the script does not end under 'plain'"],
    ],
  );
  assertEquals(
    await ends(async ({ rng }) => {
      await rng.read(4);
      void Promise.reject(new Error("Floating"));
    }),
    "nobody waits for a promise that fails: Floating",
  );
  await assertRejects(
    () => runDriver(onBoard(() => {}, only("plain"))),
    UsageError,
    "script.ts drives no device of the board",
  );
});

Deno.test("check driver: a schedule of the legacy interface is left out for a driver that needs the modern one", async () => {
  const verdicts = async (code: "VERSION_1_REQUIRED" | "HOST_ERROR", name: string) => {
    const results = await runDriver(onBoard(() => {
      throw new VireoError(code, "Cannot drive this device");
    }, only(name)));
    return results.filter(({ verdict }) => verdict === "skip" || verdict === "fail")
      .map(({ verdict, seen, reason }) => `${verdict}: ${seen ?? reason}`);
  };
  const skipped = "skip: the driver needs the modern interface";
  assertEquals(await verdicts("VERSION_1_REQUIRED", "mmio-1"), [skipped]);
  for (const [code, name] of [["HOST_ERROR", "mmio-1"], ["VERSION_1_REQUIRED", "plain"]] as const) {
    const [failed, ...rest] = await verdicts(code, name);
    assertEquals([failed?.startsWith("fail: the script failed: "), rest], [true, []]);
  }
});
