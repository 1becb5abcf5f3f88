import { DeviceId } from "@vireo/hal/ids";
import { UsageError } from "../terminal/usage.ts";
import type { BoardDevice } from "./board_device.ts";

/** The memory balloon. */
export const BALLOON: BoardDevice = {
  name: "balloon",
  deviceId: DeviceId.BALLOON,
  driver: async () => (await import("@vireo/drivers/balloon")).balloonDriver,
  async emulate(value) {
    if (value !== undefined) throw new UsageError(`--with balloon: takes no value, got '${value}'`);
    const { BalloonDevice } = await import("@vireo/emu/balloon");
    return new BalloonDevice();
  },
  qemu: (_, id) => ({
    backends: [],
    devices: [
      `virtio-balloon-device,id=${id},deflate-on-oom=on,free-page-reporting=on`,
    ],
  }),
};
