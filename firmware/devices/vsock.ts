import type { StreamPort } from "@vireo/emu";
import { DeviceId } from "@vireo/hal/ids";
import type { BoardDevice } from "./board_device.ts";

/** The port at which a host without unix sockets says everything back. */
const ECHO = 7;

/** Sockets between guest and host; the emulated host has unix sockets, or an echo at port 7. */
export const VSOCK: BoardDevice = {
  name: "vsock",
  deviceId: DeviceId.VSOCK,
  value: "UNIX_SOCKET_PATH",
  driver: async () => (await import("@vireo/drivers/vsock")).vsockDriver,
  async emulate(value, cleanup) {
    const { UnixVsockHost } = await import("@vireo/emu/backends");
    const { VsockDevice } = await import("@vireo/emu/vsock");
    if (value === undefined) {
      const echo = (): StreamPort => new TransformStream<Uint8Array, Uint8Array>();
      const host = { connect: (port: number) => port === ECHO ? echo() : undefined };
      return new VsockDevice({ host });
    }
    const host = cleanup.use(new UnixVsockHost(value));
    const model = new VsockDevice({ host });
    try {
      host.listen(model);
    } catch (cause) {
      const { hostError } = await import("../terminal/files.ts");
      throw hostError(`--with vsock: Cannot listen at ${value}`, cause);
    }
    return model;
  },
};
