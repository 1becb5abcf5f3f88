import { CONSOLE_CONFIG, ConsoleFeature, DeviceId, VireoError } from "@vireo/hal";
import type { Transport } from "../transport/transport.ts";

/**
 * Writes characters through the console's configuration, without queues, interrupts or memory; it works
 * on a device that nobody set up yet, as long as it offers EMERG_WRITE (virtio 1.4 §5.3.5).
 *
 * @param transport Any transport of a console device, in any state.
 * @param data Text, sent as UTF-8, or one byte.
 * @throws {VireoError} `UNSUPPORTED` If the device is not a console, or does not offer EMERG_WRITE.
 * @throws {RangeError} If a number is not a byte.
 *
 * @example
 * ```ts
 * import { emergencyWrite } from "@vireo/drivers/console";
 * import type { Transport } from "@vireo/drivers/transport";
 *
 * // A panic message of a driver that may use nothing else.
 * function panic(transport: Transport, reason: string): void {
 *   emergencyWrite(transport, `panic: ${reason}\n`);
 * }
 * ```
 */
export function emergencyWrite(transport: Transport, data: string | number): void {
  const able = transport.deviceId === DeviceId.CONSOLE &&
    transport.readFeatures().has(ConsoleFeature.EMERG_WRITE);
  if (!able) {
    throw new VireoError("UNSUPPORTED", "Device has no emergency write", {
      device: transport.name,
      expected: "a console that offers EMERG_WRITE",
    });
  }
  if (typeof data === "number" && (!Number.isInteger(data) || data < 0 || data > 255)) {
    throw new RangeError(`Cannot write character ${data}: expected 0 to 255`);
  }
  const bytes = typeof data === "number" ? [data] : new TextEncoder().encode(data);
  for (const byte of bytes) transport.writeConfig(CONSOLE_CONFIG.emerg_wr.offset, 4, byte);
}
