import type { DeviceModel } from "@vireo/emu";
import { UsageError } from "../terminal/usage.ts";
import { SCSI } from "./scsi.ts";
import { VSOCK } from "./vsock.ts";
import type { BoardDevice, WithOption } from "./board_device.ts";
import { BALLOON } from "./balloon.ts";
import { CAIF } from "./caif.ts";
import { CRYPTO } from "./crypto.ts";
import { GPU } from "./gpu.ts";
import { INPUT } from "./input.ts";
import { P9 } from "./p9.ts";
import { RPMSG } from "./rpmsg.ts";
import { RPROC_SERIAL } from "./rproc_serial.ts";

/** All of them, by device id. */
export const BOARD_DEVICES: readonly BoardDevice[] = [
  BALLOON,
  RPMSG,
  SCSI,
  P9,
  RPROC_SERIAL,
  CAIF,
  GPU,
  INPUT,
  VSOCK,
  CRYPTO,
];

/**
 * Finds a device by its name.
 *
 * @throws {UsageError} If there is none.
 *
 * @example
 * ```ts
 * import { boardDevice } from "@vireo/firmware";
 * import { assertEquals, assertThrows } from "@std/assert";
 *
 * assertEquals(boardDevice("crypto").name, "crypto");
 * assertThrows(() => boardDevice("cripto"), Error, "no device 'cripto'");
 * ```
 */
export function boardDevice(name: string): BoardDevice {
  const found = BOARD_DEVICES.find((device) => device.name === name);
  if (found !== undefined) return found;
  const names = BOARD_DEVICES.map((device) => device.name).join(", ");
  throw new UsageError(`--with: no device '${name}', there is ${names}`);
}

/**
 * Makes the emulated device that an option asks for.
 *
 * @throws {UsageError} If there is none.
 *
 * @example
 * ```ts
 * import { emulateDevice, parseWith } from "@vireo/firmware";
 * import { DeviceId } from "@vireo/hal";
 * import { assertEquals } from "@std/assert";
 *
 * await using cleanup = new AsyncDisposableStack();
 * const device = await emulateDevice(parseWith("crypto"), cleanup);
 * assertEquals(device.deviceId, DeviceId.CRYPTO);
 * ```
 */
export function emulateDevice(
  { name, value }: WithOption,
  cleanup: AsyncDisposableStack,
): DeviceModel | Promise<DeviceModel> {
  return boardDevice(name).emulate(value, cleanup);
}

/**
 * Lists the texts that may follow `--with`, for the help.
 *
 * @example
 * ```ts
 * import { withSyntax } from "@vireo/firmware";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(withSyntax().split(", ").includes("crypto"), true);
 * ```
 */
export function withSyntax(): string {
  return BOARD_DEVICES.map(({ name, value }) => value === undefined ? name : `${name}=${value}`)
    .join(", ");
}

/**
 * Parses `NAME` or `NAME=VALUE`.
 *
 * @throws {UsageError} If there is no such device.
 *
 * @example
 * ```ts
 * import { parseWith } from "@vireo/firmware";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(parseWith("9p=/srv"), { name: "9p", value: "/srv" });
 * ```
 */
export function parseWith(text: string): WithOption {
  const at = text.indexOf("=");
  const name = at < 0 ? text : text.slice(0, at);
  boardDevice(name);
  return { name, value: at < 0 ? undefined : text.slice(at + 1) };
}
