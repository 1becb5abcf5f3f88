import { assert, assertEquals, assertThrows } from "@std/assert";
import { FeatureSet, VireoError } from "@vireo/hal";
import { checkDriver, checkInstance } from "./_driver_shape.ts";
import type { DriverInstance, VirtioDriver } from "../driver.ts";

const DRIVER = { name: "mine" } as unknown as VirtioDriver;

Deno.test("driver shape: a probe returns an object with remove(), or is told what it returned", () => {
  const good: DriverInstance = { remove: () => {} };
  assert(checkInstance(DRIVER, "virtio0", good) === good);
  for (const [wrong, seen] of [[undefined, "nothing"], [null, "nothing"], [{}, "no remove()"]]) {
    const error = assertThrows(
      () => checkInstance(DRIVER, "virtio0", wrong as unknown as DriverInstance),
      VireoError,
      "The probe of mine must return",
    );
    assertEquals([error.code, error.device, error.seen], ["PROBE_FAILED", "virtio0", seen]);
  }
});

Deno.test("driver shape: what is registered has a name, ids, features and a probe, or is told what it lacks", () => {
  const good = {
    name: "mine",
    ids: [{ device: 42, vendor: -1 }],
    features: FeatureSet.NONE,
    probe: () => ({ remove: () => {} }),
  };
  checkDriver(good);
  const id = { device: 42, vendor: 1 };
  const cases: [driver: unknown, message: string][] = [
    [undefined, "Cannot register a driver: it must be an object"],
    [null, "Cannot register a driver: it must be an object"],
    ["mine", "Cannot register a driver: it must be an object"],
    [{ ...good, name: 7 }, "Cannot register a driver: its name must be text"],
    [{ ...good, name: "" }, "Cannot register a driver: its name must be text"],
    ...[undefined, {}, [], [id, {}], [{ ...id, device: "1" }], [{ ...id, vendor: 0.5 }], [null]]
      .map((ids): [unknown, string] => [
        { ...good, ids },
        "Cannot register mine: its ids must be a list of { device, vendor }",
      ]),
    [{ ...good, features: [1] }, "Cannot register mine: its features must be a FeatureSet"],
    [{ ...good, probe: {} }, "Cannot register mine: its probe must be a function"],
  ];
  for (const [driver, message] of cases) {
    const error = assertThrows(() => checkDriver(driver as VirtioDriver), TypeError);
    assertEquals(error.message, message);
  }
});
