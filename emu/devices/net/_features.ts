import { FeatureSet, NET_FEATURE_REQUIRES, NetFeature } from "@vireo/hal";
import type { QueueSpec } from "../../device.ts";
import type { NetDeviceOptions } from "./options.ts";

/** Features that depend on nothing but the options. */
const ALL_FEATURES = [
  NetFeature.CSUM,
  NetFeature.GUEST_CSUM,
  NetFeature.CTRL_GUEST_OFFLOADS,
  NetFeature.MTU,
  NetFeature.MAC,
  NetFeature.GUEST_TSO4,
  NetFeature.GUEST_TSO6,
  NetFeature.GUEST_ECN,
  NetFeature.GUEST_UFO,
  NetFeature.HOST_TSO4,
  NetFeature.HOST_TSO6,
  NetFeature.HOST_ECN,
  NetFeature.HOST_UFO,
  NetFeature.MRG_RXBUF,
  NetFeature.STATUS,
  NetFeature.CTRL_VQ,
  NetFeature.CTRL_RX,
  NetFeature.CTRL_VLAN,
  NetFeature.CTRL_RX_EXTRA,
  NetFeature.GUEST_ANNOUNCE,
  NetFeature.CTRL_MAC_ADDR,
  NetFeature.SPEED_DUPLEX,
] as const;

/** Features that a device with these options offers. */
export function offer(options: NetDeviceOptions, pairs: number): FeatureSet {
  const { without = [], hashReport = false } = options;
  let set = FeatureSet.of(...ALL_FEATURES);
  if (pairs > 1) set = set.with(NetFeature.MQ, NetFeature.RSS);
  if (hashReport) set = set.with(NetFeature.HASH_REPORT);
  set = set.without(...without);
  // A device must not offer what needs a feature that it does not offer (virtio 1.4 §5.1.3.1).
  for (let before = FeatureSet.NONE; !before.equals(set);) {
    before = set;
    for (const [bit, needs] of NET_FEATURE_REQUIRES) {
      if (!needs.some((need) => set.has(need))) set = set.without(bit);
    }
  }
  return set;
}

/** The queues of such a device. */
export function queueSpecs(pairs: number, maxSize: number, features: FeatureSet): QueueSpec[] {
  const specs: QueueSpec[] = [];
  for (let i = 1; i <= pairs; i++) {
    specs.push({ name: `receiveq${i}`, maxSize }, { name: `transmitq${i}`, maxSize });
  }
  if (features.has(NetFeature.CTRL_VQ)) specs.push({ name: "controlq", maxSize: 64 });
  return specs;
}

/**
 * Reads an Ethernet address.
 *
 * @throws {TypeError} If the text is not one.
 */
export function parseAddress(text: string): Uint8Array {
  if (!/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/i.test(text)) {
    throw new TypeError(
      `Cannot parse "${text}": expected an Ethernet address such as 52:54:00:12:34:56`,
    );
  }
  return Uint8Array.from(text.split(":"), (part) => parseInt(part, 16));
}

/**
 * Returns a number that lies in its range.
 *
 * @throws {RangeError} If it does not.
 */
export function checkRange(name: string, value: number, min: number, max: number): number {
  if (Number.isInteger(value) && value >= min && value <= max) return value;
  throw new RangeError(`Cannot make a device with ${name} ${value}: expected ${min} to ${max}`);
}
