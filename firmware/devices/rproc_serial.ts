import { DeviceId } from "@vireo/hal/ids";
import { UsageError } from "../terminal/usage.ts";
import type { BoardDevice } from "./board_device.ts";

/** The serial line of a remote processor; the emulated one sends back what it gets. */
export const RPROC_SERIAL: BoardDevice = {
  name: "rproc-serial",
  deviceId: DeviceId.RPROC_SERIAL,
  driver: async () => (await import("@vireo/drivers/rproc-serial")).rprocSerialDriver,
  async emulate(value) {
    if (value !== undefined) throw new UsageError(`--with rproc-serial: no value, got '${value}'`);
    const { loopbackPort } = await import("@vireo/emu/backends");
    const { RprocSerialDevice } = await import("@vireo/emu/rproc-serial");
    return new RprocSerialDevice(loopbackPort());
  },
};
