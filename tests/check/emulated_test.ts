import { assert, assertEquals } from "@std/assert";
import { CHECKS } from "../../firmware/check/checks/table.ts";
import { type Bench, type CheckResult, runChecks } from "../../firmware/check/run_checks.ts";
import type { BoardOptions } from "../../firmware/target/options.ts";
import { deviceClauses, emulatorBench, richBench } from "./bench.ts";

const board = (options: Partial<BoardOptions>) => (): Promise<Bench> => emulatorBench(options);

const VARIANTS: readonly (readonly [name: string, open: () => Promise<Bench>])[] = [
  ["several queues", richBench],
  ["MMIO version 2", board({})],
  ["MMIO version 1", board({ legacy: true })],
  ["MMIO packed, in order", board({ packed: true, inOrder: true, notificationData: true })],
  ["PCI modern", board({ transport: "pci" })],
  ["PCI packed", board({ transport: "pci", packed: true })],
  ["PCI transitional", board({ transport: "pci", transitional: true })],
  ["PCI legacy", board({ transport: "pci", legacy: true })],
];

/** Features that no model offers, so that what they depend on cannot be looked at. */
const NOT_OFFERED = /\.(?:rsc_ext|context_init)$/;

Deno.test("check: the emulator passes", async (t) => {
  const results = new Map<string, CheckResult[]>();
  for (const [name, open] of VARIANTS) {
    await t.step(name, async () => {
      const all = await runChecks({ checks: CHECKS, open, pace: { deadline: 2000, quiet: 0 } });
      for (const result of all) {
        results.set(result.check.id, [...results.get(result.check.id) ?? [], result]);
      }
      const failed = all.filter(({ verdict }) => verdict === "fail" || verdict === "deviates")
        .map(({ check, device, reason }) => `${check.id} on ${device.id}: ${reason}`);
      assertEquals(failed, []);
      assert(all.filter(({ verdict }) => verdict === "pass").length > 900);
    });
  }
  for (const check of CHECKS) {
    const all = (results.get(check.id) ?? []).filter(({ verdict }) => verdict !== "skip");
    if (NOT_OFFERED.test(check.id)) continue;
    await t.step(`${check.id} [${deviceClauses(check).join(", ")}]`, () => {
      assert(all.length > 0, "no variant of the emulator has what the check is about");
      for (const { verdict, reason } of all) assertEquals(verdict, "pass", reason);
    });
  }
});
