import { DeviceId } from "@vireo/hal";
import type { StreamPort } from "../../backends/stream_port.ts";
import { ConsoleDevice } from "../console/mod.ts";

/**
 * A remote processor's serial line, as Linux's `virtio_rproc_serial` drives it: one port of a console
 * device under device id 11, without features or configuration.
 *
 * @example
 * ```ts
 * import { Bus } from "@vireo/drivers/bus";
 * import { rprocSerialDriver } from "@vireo/drivers/rproc-serial";
 * import { streamPipe } from "@vireo/emu/backends";
 * import { EmulatedMachine } from "@vireo/emu/core";
 * import { RprocSerialDevice } from "@vireo/emu/rproc-serial";
 * import { assertEquals } from "@std/assert";
 *
 * const { device, host } = streamPipe();
 * await using machine = EmulatedMachine.create({ devices: [new RprocSerialDevice(device)] });
 * await using bus = new Bus();
 * await bus.registerDriver(rprocSerialDriver);
 * await bus.addPlatform(machine);
 * using port = (await bus.get(rprocSerialDriver)!.port(0)).open();
 * // The remote processor says something.
 * await host.writable.getWriter().write(Uint8Array.of(1, 2));
 * assertEquals([...(await port.read({ deadline: 1000 }))!], [1, 2]);
 * ```
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
