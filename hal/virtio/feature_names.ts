import { BalloonFeature } from "./balloon.ts";
import { BlkFeature } from "./blk.ts";
import { ConsoleFeature } from "./console.ts";
import { CryptoFeature } from "./crypto.ts";
import type { FeatureNames } from "./features.ts";
import { GpuFeature } from "./gpu.ts";
import { NetFeature } from "./net.ts";
import { P9Feature } from "./p9.ts";
import { RpmsgFeature } from "./rpmsg.ts";
import { ScsiFeature } from "./scsi.ts";
import { VsockFeature } from "./vsock.ts";

/** Features by device id, those included that no driver or device here negotiates. */
const NAMES: Readonly<Record<number, FeatureNames>> = {
  1: {
    ...NetFeature,
    GUEST_RSC6: 42,
    DEVICE_STATS: 50,
    RSS_CONTEXT: 64,
    GUEST_UDP_TUNNEL_GSO: 65,
    GUEST_UDP_TUNNEL_GSO_CSUM: 66,
    HOST_UDP_TUNNEL_GSO: 67,
    HOST_UDP_TUNNEL_GSO_CSUM: 68,
    OUT_NET_HEADER: 69,
    IPSEC: 70,
  },
  2: BlkFeature,
  3: ConsoleFeature,
  5: BalloonFeature,
  7: RpmsgFeature,
  8: ScsiFeature,
  9: P9Feature,
  16: GpuFeature,
  17: { ALARM: 0 },
  19: VsockFeature,
  20: CryptoFeature,
  23: {
    INPUT_RANGE: 0,
    DOMAIN_RANGE: 1,
    MAP_UNMAP: 2,
    BYPASS: 3,
    PROBE: 4,
    MMIO: 5,
    BYPASS_CONFIG: 6,
  },
  24: { ACPI_PXM: 0, UNPLUGGED_INACCESSIBLE: 1, PERSISTENT_SUSPEND: 2 },
  25: { CTLS: 0 },
  26: { NOTIFICATION: 0 },
  27: { SHMEM_REGION: 0 },
  32: { P2A_CHANNELS: 0, SHARED_MEMORY: 1 },
  34: { ZERO_LENGTH_REQUEST: 0 },
  36: { CAN_CLASSIC: 0, CAN_FD: 1, RTR_FRAMES: 2, LATE_TX_ACK: 3 },
  41: { IRQ: 0 },
};

/**
 * The names of a device type's own feature bits (virtio 1.4 §5), whether or not there is a driver for it; none
 * for a type that has no such bits or is not known.
 *
 * @param id The virtio device id.
 *
 * @example
 * ```ts
 * import { deviceFeatureNames, featureName } from "@vireo/hal";
 * import { assertEquals } from "@std/assert";
 *
 * const iommu = deviceFeatureNames(23);
 * assertEquals([3, 32].map((bit) => featureName(bit, iommu)), ["BYPASS", "VERSION_1"]);
 * ```
 */
export function deviceFeatureNames(id: number): FeatureNames {
  return NAMES[id] ?? {};
}
