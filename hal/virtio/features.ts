/** Feature bits of every device type: rings, transports and negotiation (virtio 1.4 §6). */
export const Feature = {
  /** Legacy: interrupt when the queue runs empty. */
  NOTIFY_ON_EMPTY: 24,
  /** Legacy: no fixed message framing. */
  ANY_LAYOUT: 27,
  INDIRECT_DESC: 28,
  EVENT_IDX: 29,
  VERSION_1: 32,
  ACCESS_PLATFORM: 33,
  RING_PACKED: 34,
  IN_ORDER: 35,
  ORDER_PLATFORM: 36,
  SR_IOV: 37,
  NOTIFICATION_DATA: 38,
  NOTIF_CONFIG_DATA: 39,
  RING_RESET: 40,
  ADMIN_VQ: 41,
  SUSPEND: 43,
} as const;
/** A feature bit of every device type. */
export type Feature = typeof Feature[keyof typeof Feature];

/** First bit of the range for rings and transports, as in Linux. */
export const TRANSPORT_FEATURE_START = 28;
/** One past the last bit of the range for rings and transports, as in Linux. */
export const TRANSPORT_FEATURE_END = 42;

/** A device type's own feature bits by name, for example `BlkFeature`. */
export type FeatureNames = Readonly<Record<string, number>>;

/**
 * The name of a feature bit: a generic one, one of the device's own table, or `bit <n>`.
 *
 * @param bit The position.
 * @param table The device type's own names, as in `BlkFeature`.
 *
 * @example
 * ```ts
 * import { BlkFeature, featureName } from "@vireo/hal";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals([featureName(32), featureName(5, BlkFeature), featureName(99)], [
 *   "VERSION_1",
 *   "RO",
 *   "bit 99",
 * ]);
 * ```
 */
export function featureName(bit: number, table: FeatureNames = {}): string {
  for (const [name, value] of Object.entries(table)) if (value === bit) return name;
  for (const [name, value] of Object.entries(Feature)) if (value === bit) return name;
  return `bit ${bit}`;
}
