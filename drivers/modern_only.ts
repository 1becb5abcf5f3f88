import { VireoError } from "@vireo/hal";
import type { VirtioDevice } from "./device.ts";

/**
 * Refuses a device that is driven through the legacy interface.
 *
 * @param devices Devices of its type, which have no such interface, as a sentence begins.
 * @throws {VireoError} `VERSION_1_REQUIRED` If it is.
 */
export function requireModern({ name, transport }: VirtioDevice, devices: string): void {
  if (!transport.legacy) return;
  throw new VireoError("VERSION_1_REQUIRED", `${devices} have no legacy interface`, {
    device: name,
  });
}
