import { assert, assertEquals, assertThrows } from "@std/assert";
import { VireoError } from "@vireo/hal";
import { checkInstance } from "./_driver_shape.ts";
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
