/** Bits of the device status field (virtio 1.4 §2.1). */
export const Status = {
  ACKNOWLEDGE: 1,
  DRIVER: 2,
  DRIVER_OK: 4,
  FEATURES_OK: 8,
  SUSPEND: 16,
  NEEDS_RESET: 64,
  FAILED: 128,
} as const;
/** A bit of the device status field. */
export type Status = typeof Status[keyof typeof Status];

/**
 * The names of the bits that are set, joined by `|`, or `0`.
 *
 * @example
 * ```ts
 * import { statusText } from "@vireo/hal";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals([statusText(3), statusText(0)], ["ACKNOWLEDGE|DRIVER", "0"]);
 * ```
 */
export function statusText(status: number): string {
  const names = Object.entries(Status).filter(([, bit]) => (status & bit) !== 0);
  return names.map(([name]) => name).join("|") || "0";
}
