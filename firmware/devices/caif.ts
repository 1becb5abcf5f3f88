import { DeviceId } from "@vireo/hal/ids";
import { UsageError } from "../terminal/usage.ts";
import type { BoardDevice } from "./board_device.ts";

/** Frames to and from a modem; the emulated one sends back what it gets. */
export const CAIF: BoardDevice = {
  name: "caif",
  deviceId: DeviceId.CAIF,
  driver: async () => (await import("@vireo/drivers/caif")).caifDriver,
  async emulate(value) {
    if (value !== undefined) throw new UsageError(`--with caif: takes no value, got '${value}'`);
    const { CaifDevice } = await import("@vireo/emu/caif");
    return new CaifDevice({ onFrame: (frame, modem) => modem.send(frame) });
  },
};
