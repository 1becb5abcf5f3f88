import { DeviceId } from "@vireo/hal/ids";
import { UsageError } from "../terminal/usage.ts";
import type { BoardDevice } from "./board_device.ts";

/** The service of the emulated remote processor: the name of Linux's sample driver. */
const SERVICE = "rpmsg-client-sample";

/** Messages to a remote processor; the emulated one has a service that answers with what it got. */
export const RPMSG: BoardDevice = {
  name: "rpmsg",
  deviceId: DeviceId.RPMSG,
  driver: async () => (await import("@vireo/drivers/rpmsg")).rpmsgDriver,
  async emulate(value) {
    if (value !== undefined) throw new UsageError(`--with rpmsg: takes no value, got '${value}'`);
    const { RpmsgDevice } = await import("@vireo/emu/rpmsg");
    return new RpmsgDevice({
      services: [{ name: SERVICE, address: 1024, handle: (_, bytes, reply) => reply(bytes) }],
    });
  },
};
