import { DeviceId } from "@vireo/hal/ids";
import { BOARD_DEVICES } from "../devices/table.ts";
import { splitCommas } from "../terminal/commas.ts";
import { UsageError } from "../terminal/usage.ts";

/** A device behind a vhost-user socket. */
export interface SocketOption {
  /** Virtio device id. */
  readonly deviceId: number;
  /** Path of the socket. */
  readonly path: string;
}

/** The devices by the names that commands have, with their ids. */
export const DEVICE_IDS: ReadonlyMap<string, number> = new Map([
  ["blk", DeviceId.BLOCK],
  ["net", DeviceId.NET],
  ["console", DeviceId.CONSOLE],
  ["rng", DeviceId.RNG],
  ...BOARD_DEVICES.map(({ name, deviceId }): [string, number] => [name, deviceId]),
]);

/**
 * Parses `NAME=SOCKET`, several with commas between them; a comma in a path is written twice.
 *
 * @throws {UsageError} If a name is not known or a path is missing.
 */
export function parseSockets(text: string): SocketOption[] {
  return splitCommas(text).map((part) => {
    const at = part.indexOf("=");
    const name = at < 0 ? part : part.slice(0, at);
    const deviceId = DEVICE_IDS.get(name);
    if (deviceId === undefined) {
      const names = [...DEVICE_IDS.keys()].join(", ");
      throw new UsageError(`--target: no device '${name}' for vhost-user, there is ${names}`);
    }
    const path = part.slice(at + 1);
    if (at < 0 || path === "") {
      throw new UsageError(`--target: expected vhost-user:NAME=SOCKET, got '${part}'`);
    }
    return { deviceId, path };
  });
}
