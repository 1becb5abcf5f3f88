import { DeviceId } from "@vireo/hal/ids";
import { UsageError } from "../terminal/usage.ts";
import type { BoardDevice } from "./board_device.ts";

/** Ciphers, hashes and the like. */
export const CRYPTO: BoardDevice = {
  name: "crypto",
  deviceId: DeviceId.CRYPTO,
  driver: async () => (await import("@vireo/drivers/crypto")).cryptoDriver,
  async emulate(value) {
    if (value !== undefined) throw new UsageError(`--with crypto: takes no value, got '${value}'`);
    const { CryptoDevice } = await import("@vireo/emu/crypto");
    return new CryptoDevice({ queues: 2 });
  },
  qemu: (_, id) => ({
    backends: ["-object", `cryptodev-backend-builtin,id=${id}`],
    devices: [`virtio-crypto-device,cryptodev=${id}`],
  }),
};
