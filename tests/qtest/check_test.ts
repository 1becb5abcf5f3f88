// Needs qemu-system-aarch64 and qemu-system-x86_64.
import { assert, assertEquals } from "@std/assert";
import { call } from "../cli_helper.ts";

/** Boards, and what their devices are asked to be. */
const BOARDS: readonly string[] = [
  "aarch64-virt",
  "aarch64-virt --legacy",
  "x86_64-q35",
  "x86_64-q35 --transitional",
];

for (const board of BOARDS) {
  Deno.test(`check: what QEMU does on ${board} is as specified or known`, async () => {
    const { code, out } = await call(`check --json --target qtest:${board}`);
    const { counts, results } = JSON.parse(out);
    const failed = results.filter(({ verdict }: { verdict: string }) => verdict === "fail")
      .map(({ check, device, seen }: { check: string; device: { type: string }; seen: string }) =>
        `${check} on ${device.type}: ${seen}`
      );
    assertEquals(failed, []);
    assertEquals(code, 0);
    assert(counts.pass > 150, `${counts.pass} passed`);
    assert(counts.deviates > 0, "QEMU's eventfds, early requests and indirect tables are known");
  });
}
