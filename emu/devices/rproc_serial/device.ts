import { DeviceId } from "@vireo/hal";
import type { StreamPort } from "../../backends/stream_port.ts";
import { ConsoleDevice } from "../console/mod.ts";

/**
 * A remote processor's serial line, as Linux's `virtio_rproc_serial` drives it: one port of a console
 * device under device id 11, without features or configuration.
 */
export class RprocSerialDevice extends ConsoleDevice {
  /** Name for reports. */
  override readonly name = "rproc-serial";
  /** Virtio device id 11. */
  override readonly deviceId: number = DeviceId.RPROC_SERIAL;
  /** It has no configuration. */
  override readonly configSize: number = 0;

  /** Makes a line whose other end is the remote processor's. */
  constructor(backend: StreamPort) {
    super({ ports: [{ backend }], multiport: false });
  }
}
