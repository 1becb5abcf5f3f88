import { Feature, FeatureSet } from "@vireo/hal";

/** Ring and transport features that a device offers. */
export interface TransportOffer {
  /** INDIRECT_DESC; true by default. */
  readonly indirect?: boolean;
  /** EVENT_IDX; true by default. */
  readonly eventIdx?: boolean;
  /** RING_RESET, only with VERSION_1; true by default. */
  readonly ringReset?: boolean;
  /** NOTIFICATION_DATA, only with VERSION_1; false by default. */
  readonly notificationData?: boolean;
  /** RING_PACKED, only with VERSION_1; false by default. */
  readonly packed?: boolean;
  /** IN_ORDER, only with VERSION_1; false by default. */
  readonly inOrder?: boolean;
  /**
   * With IN_ORDER: one used entry for several consecutive buffers that were written to their end, where
   * possible. By default each buffer has its own.
   */
  readonly batchUsed?: boolean;
  /** ACCESS_PLATFORM, only with VERSION_1; drivers must then accept it. False by default. */
  readonly accessPlatform?: boolean;
  /** SUSPEND, only with VERSION_1; false by default. */
  readonly suspend?: boolean;
}

/** Abilities of the rings of a device, or of all devices of a machine. */
export interface RingOptions extends TransportOffer {
  /** An upper bound for queue sizes in descriptors; the device model's own by default. */
  readonly maxQueueSize?: number;
}

/**
 * All bits that a device offers: those of its type, and those of rings and transport.
 *
 * @param own The device type's own bits.
 * @param legacy Whether the device has only the legacy interface.
 * @param offer The ring and transport features that it offers.
 * @param modern Those of the type's own bits that the legacy interface must not offer.
 *
 * @example
 * ```ts
 * import { offeredFeatures } from "@vireo/emu/core";
 * import { Feature, FeatureSet } from "@vireo/hal";
 * import { assertEquals } from "@std/assert";
 *
 * const modern = offeredFeatures(FeatureSet.of(5), false, { packed: true, eventIdx: false });
 * const { RING_PACKED, EVENT_IDX, VERSION_1 } = Feature;
 * assertEquals([5, RING_PACKED, EVENT_IDX, VERSION_1].map((bit) => modern.has(bit)), [
 *   true,
 *   true,
 *   false,
 *   true,
 * ]);
 * assertEquals(offeredFeatures(FeatureSet.NONE, true).has(VERSION_1), false);
 * ```
 */
export function offeredFeatures(
  own: FeatureSet,
  legacy: boolean,
  offer: TransportOffer = {},
  modern: FeatureSet = FeatureSet.NONE,
): FeatureSet {
  const { indirect = true, eventIdx = true, ringReset = true } = offer;
  const bits: number[] = [];
  if (indirect) bits.push(Feature.INDIRECT_DESC);
  if (eventIdx) bits.push(Feature.EVENT_IDX);
  if (legacy) {
    // dev.basic.legacy-reserved-features.2: always offered. A legacy device has 32 bits in all.
    return own.minus(modern).and(FeatureSet.fromWords(0xffffffff))
      .with(...bits, Feature.ANY_LAYOUT, Feature.NOTIFY_ON_EMPTY);
  }
  bits.push(Feature.VERSION_1);
  if (ringReset) bits.push(Feature.RING_RESET);
  if (offer.notificationData) bits.push(Feature.NOTIFICATION_DATA);
  if (offer.packed) bits.push(Feature.RING_PACKED);
  if (offer.inOrder) bits.push(Feature.IN_ORDER);
  if (offer.suspend) bits.push(Feature.SUSPEND);
  if (offer.accessPlatform) bits.push(Feature.ACCESS_PLATFORM);
  return own.with(...bits);
}
