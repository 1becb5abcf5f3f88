import { assertEquals } from "@std/assert";
import { ConsoleDevice, EmulatedMachine, loopbackPort } from "@vireo/emu";
import type { Check } from "../../firmware/check/check.ts";
import { CHECKS } from "../../firmware/check/checks/table.ts";
import { runChecks } from "../../firmware/check/run_checks.ts";

const ID = "queue.hostile.driver-zero-page";

/** Runs the check that ends QEMU's console on a device that says it is one of QEMU's. */
async function run(inside: boolean) {
  const device = new ConsoleDevice({ ports: [{ backend: loopbackPort() }] });
  const [result] = await runChecks({
    checks: CHECKS.filter(({ id }) => id === ID),
    open: () => {
      const platform = EmulatedMachine.create({ devices: [device] });
      const dispose = () => platform[Symbol.asyncDispose]();
      return Promise.resolve({ platform, qemu: "7.2.22", [Symbol.asyncDispose]: dispose });
    },
    pace: { deadline: 100, quiet: 0 },
    inside,
  });
  return result!;
}

Deno.test("check: in a guest, a check that is known to end QEMU is a deviation that was not done", async () => {
  const { verdict, seen, reason, history } = await run(true);
  assertEquals([verdict, history], ["deviates", []]);
  assertEquals(seen, "not done in a guest, which would end with its QEMU");
  assertEquals(reason?.startsWith("A console whose queues are nowhere"), true);
  // Outside it is done, and another machine goes on where one ends.
  assertEquals((await run(false)).verdict, "pass");
});

Deno.test("check: a check that cannot go on fails, is named when it starts, and the next ones are made", async () => {
  const started: string[] = [];
  const check = (id: string, run: () => void): Check => ({
    id,
    clauses: ["virtio 1.4 §2.1"],
    done: "nothing",
    expected: "nothing",
    run,
  });
  const results = await runChecks({
    checks: [
      check("test.stops", () => {
        throw new TypeError("no capability");
      }),
      check("test.next", () => {}),
    ],
    open: () => {
      const platform = EmulatedMachine.create({
        devices: [new ConsoleDevice({ ports: [{ backend: loopbackPort() }] })],
      });
      return Promise.resolve({
        platform,
        [Symbol.asyncDispose]: () => platform[Symbol.asyncDispose](),
      });
    },
    pace: { deadline: 100, quiet: 0 },
    onStart: (id, device) => void started.push(`${id} on ${device}`),
  });
  assertEquals(results.map(({ verdict, reason }) => [verdict, reason]), [
    ["fail", "The check could not go on: no capability"],
    ["pass", undefined],
  ]);
  assertEquals(started, ["test.stops on virtio-mmio@a000000", "test.next on virtio-mmio@a000000"]);
});
