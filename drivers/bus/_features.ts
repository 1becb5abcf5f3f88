import {
  Feature,
  FeatureSet,
  TRANSPORT_FEATURE_END,
  TRANSPORT_FEATURE_START,
  VireoError,
} from "@vireo/hal";
import type { VirtioDriver } from "../driver.ts";
import type { Transport } from "../transport/transport.ts";
import { RINGS } from "../virtqueue/create_ring.ts";

const range = Array.from(
  { length: TRANSPORT_FEATURE_END - TRANSPORT_FEATURE_START },
  (_, i) => TRANSPORT_FEATURE_START + i,
);
/** Bits 28 to 41 and SUSPEND, which the bus negotiates for every driver. */
const TRANSPORT_RANGE: FeatureSet = FeatureSet.of(...range, Feature.SUSPEND);

/** The feature bits that either ring format implements. */
const RING_BITS = RINGS.reduce((all, ring) => all.or(ring.features), FeatureSet.NONE);

/**
 * The bits from 28 to 41 that each transport supports (and ANY_LAYOUT, which drivers need not handle). Refused,
 * because nothing stands behind them: ORDER_PLATFORM (barriers are those of ordinary memory), SR_IOV and ADMIN_VQ.
 */
const TRANSPORT_BITS: Readonly<Record<Transport["kind"], FeatureSet>> = {
  "mmio-1": FeatureSet.of(Feature.ANY_LAYOUT, Feature.INDIRECT_DESC, Feature.EVENT_IDX),
  "mmio-2": RING_BITS.with(
    Feature.VERSION_1,
    Feature.ACCESS_PLATFORM,
    Feature.RING_RESET,
    Feature.SUSPEND,
  ),
  "pci-legacy": FeatureSet.of(Feature.ANY_LAYOUT, Feature.INDIRECT_DESC, Feature.EVENT_IDX),
  "pci-modern": RING_BITS.with(
    Feature.VERSION_1,
    Feature.ACCESS_PLATFORM,
    Feature.NOTIF_CONFIG_DATA,
    Feature.RING_RESET,
    Feature.SUSPEND,
  ),
  // An eventfd carries no data, the status is the front end's, and addresses are those of the table of memory.
  "vhost-user": RING_BITS.with(Feature.VERSION_1, Feature.ANY_LAYOUT)
    .without(Feature.NOTIFICATION_DATA),
};

/** Feature bits 0 to 63, the only ones that a legacy table may name. */
const LEGACY_WORDS = FeatureSet.fromWords(0xffffffff, 0xffffffff);

/** Whether the driver must follow the legacy rules (virtio 1.4 §2.2.3). */
export function isLegacy(transport: Transport, offered: FeatureSet): boolean {
  return transport.legacy || !offered.has(Feature.VERSION_1);
}

/** The driver's table for this offer, chosen as in Linux's `virtio_dev_probe`. */
export function driverTable(driver: VirtioDriver, legacy: boolean): FeatureSet {
  if (!legacy || driver.legacyFeatures === undefined) return driver.features;
  return driver.legacyFeatures.and(LEGACY_WORDS);
}

/**
 * The ring and transport bits of the offer, which the bus accepts without the driver: the range, and from a
 * legacy device ANY_LAYOUT, which a transitional driver must accept (virtio 1.4 §6.3).
 */
export function transportOffer(offered: FeatureSet, legacy: boolean): FeatureSet {
  const bits = legacy ? TRANSPORT_RANGE.with(Feature.ANY_LAYOUT) : TRANSPORT_RANGE;
  return offered.and(bits);
}

/** Drops the ring and transport bits that Vireo or this transport does not implement. */
export function reduceTransportBits(transport: Transport, features: FeatureSet): FeatureSet {
  const { kind, withheld, dma } = transport;
  const unknown = TRANSPORT_RANGE.minus(TRANSPORT_BITS[kind]).or(withheld);
  // Without the bit the device takes all addresses as physical (virtio 1.4 §6.1).
  const physical = dma.access === "physical"
    ? FeatureSet.of(Feature.ACCESS_PLATFORM)
    : FeatureSet.NONE;
  return features.minus(unknown).minus(physical);
}

/**
 * Checks the result of `validate`, which may only clear bits.
 *
 * @throws {TypeError} If it added bits.
 */
export function checkValidated(driver: VirtioDriver, before: FeatureSet, after: FeatureSet): void {
  const added = after.minus(before);
  if (added.isEmpty) return;
  throw new TypeError(
    `Cannot add features in validate(): ${driver.name} added bits ${[...added].join(", ")}`,
  );
}

/**
 * Checks that the device takes addresses as the machine translates them (Linux's `virtio_check_mem_acc_cb`).
 *
 * @throws {VireoError} `FEATURE_DEPENDENCY` If it would take translated addresses as physical.
 */
export function checkAccess(transport: Transport, features: FeatureSet): void {
  if (transport.dma.access !== "translated" || features.has(Feature.ACCESS_PLATFORM)) return;
  throw new VireoError("FEATURE_DEPENDENCY", "Cannot drive the device on this machine", {
    device: transport.name,
    seen: "physical addresses only",
    expected: "ACCESS_PLATFORM",
  });
}

/** The features as one hex number, for messages. */
function featuresText(features: FeatureSet): string {
  let text = "";
  for (let i = 3; i >= 0; i--) text += features.word(i).toString(16).padStart(8, "0");
  return `0x${text.replace(/^0+(?=.)/, "")}`;
}

/** The error for a device that cleared FEATURES_OK. */
export function featuresRefused(device: string, status: number, features: FeatureSet): VireoError {
  return new VireoError(
    "FEATURES_REFUSED",
    `Cannot drive the device: it refuses features ${featuresText(features)}`,
    { device, register: "Status", seen: status, expected: "FEATURES_OK (0x8) to stay set" },
  );
}
