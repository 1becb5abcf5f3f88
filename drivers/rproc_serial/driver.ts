import { ANY_ID, DeviceId, FeatureSet } from "@vireo/hal";
import { Console } from "../console/mod.ts";
import type { VirtioDriver } from "../driver.ts";

/**
 * Drives serial lines of remote processors (Linux `virtio_console.c`, `rproc_serial_id_table`): a
 * console device's port 0 under an id of its own, without features or configuration. What `probe`
 * gives is a {@linkcode Console} with one port, whose other side counts as open always.
 */
export const rprocSerialDriver: VirtioDriver<Console> = {
  name: "virtio_rproc_serial",
  ids: [{ device: DeviceId.RPROC_SERIAL, vendor: ANY_ID }],
  features: FeatureSet.NONE,
  probe: (device) => Console.open(device, { console: false }),
};
