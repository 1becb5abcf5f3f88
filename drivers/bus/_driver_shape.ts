import { FeatureSet, VireoError } from "@vireo/hal";
import type { DriverInstance, VirtioDriver } from "../driver.ts";

/**
 * Checks what is registered as a driver: scripts run without a look at their types.
 *
 * @throws {TypeError} If it is no driver.
 */
export function checkDriver(driver: VirtioDriver): void {
  const expected = mistake(driver);
  if (expected === undefined) return;
  const name: unknown = driver?.name;
  throw new TypeError(
    `Cannot register ${typeof name === "string" && name !== "" ? name : "a driver"}: ${expected}`,
  );
}

function mistake(driver: Partial<VirtioDriver> | null | undefined): string | undefined {
  if (typeof driver !== "object" || driver === null) return "it must be an object";
  const { name, ids, features, probe } = driver;
  if (typeof name !== "string" || name === "") return "its name must be text";
  const isId = (id: { readonly device: number; readonly vendor: number }): boolean =>
    Number.isInteger(id?.device) && Number.isInteger(id?.vendor);
  if (!Array.isArray(ids) || ids.length === 0 || !ids.every(isId)) {
    return "its ids must be a list of { device, vendor }";
  }
  if (!(features instanceof FeatureSet)) return "its features must be a FeatureSet";
  return typeof probe === "function" ? undefined : "its probe must be a function";
}

/**
 * Checks what a driver's `probe` returned.
 *
 * @throws {VireoError} `PROBE_FAILED` If the bus could not remove it.
 */
export function checkInstance(
  { name }: VirtioDriver,
  device: string,
  instance: DriverInstance | undefined,
): DriverInstance {
  if (typeof instance?.remove === "function") return instance;
  throw new VireoError("PROBE_FAILED", `The probe of ${name} must return what drives the device`, {
    device,
    seen: instance === undefined || instance === null ? "nothing" : "no remove()",
    expected: "an object with remove()",
  });
}
