// The names of features in a trace are those that the drivers have: a trace is read without their drivers.
import { assert, assertEquals } from "@std/assert";
import * as drivers from "@vireo/drivers";
import type { VirtioDriver } from "@vireo/drivers";
import { FEATURE_NAMES } from "../../firmware/trace/feature_names.ts";

function isDriver(value: unknown): value is VirtioDriver {
  return typeof value === "object" && value !== null && "probe" in value && "ids" in value;
}

Deno.test("trace: features have the names that the drivers give them", () => {
  const exported: readonly unknown[] = Object.values(drivers);
  const named = exported.filter(isDriver).flatMap(({ ids, featureNames }) =>
    featureNames === undefined ? [] : ids.map(({ device }) => [device, featureNames] as const)
  );
  assert(named.length >= 10, `${named.length} drivers with names`);
  assertEquals(Object.fromEntries(named), FEATURE_NAMES);
});
