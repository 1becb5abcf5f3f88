import { assert, assertEquals } from "@std/assert";
import { DEFAULT_BOARD, openVireo, type Vireo } from "@vireo/firmware";
import { CHECKS } from "../../firmware/check/checks/table.ts";
import { runChecks } from "../../firmware/check/run_checks.ts";
import { reproduction } from "../../firmware/check/script.ts";
import { mutantBench } from "./mutant_machine.ts";
import { disk, MUTANTS } from "./mutants.ts";

Deno.test("check: a failure's script does the same accesses on a board whose driver had the device", async () => {
  const mutant = MUTANTS.find(({ name }) => name === "another id")!;
  const [failed] = await runChecks({
    checks: CHECKS.filter(({ id }) => id === "split.request"),
    open: () => Promise.resolve(mutantBench(disk(), mutant.mutation, "mmio")),
    pace: { deadline: 60, quiet: 0 },
  });
  assertEquals(failed?.verdict, "fail");
  const script = reproduction(failed!, "emu");
  const module: { default(vireo: Vireo): Promise<void> } = await import(
    `data:application/typescript,${encodeURIComponent(script)}`
  );
  await using vireo = await openVireo({ ...DEFAULT_BOARD, net: { kind: "none" } });
  const device = vireo.emulated!.machine.device(0);
  assertEquals(device.model.deviceId, 2);
  await module.default(vireo);
  // The sound device was set up by the script and has answered its request.
  assertEquals(device.status, 0xf);
  assertEquals(device.interruptStatus, 1);
  assert(
    device.log.every(({ reason }) => reason.includes("no such") === false),
    "all were accesses",
  );
});
