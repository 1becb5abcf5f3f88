import { DeviceId } from "@vireo/hal/ids";
import { BOARD_DEVICES } from "../devices/table.ts";
import { splitCommas } from "../terminal/commas.ts";
import { parseCount, UsageError } from "../terminal/usage.ts";

/** A device behind a vhost-user socket. */
interface SocketOption {
  /** Virtio device id. */
  readonly deviceId: number;
  /** Path of the socket. */
  readonly path: string;
}

/** Sockets of devices, and how long a back end that ended is waited for. */
export interface SocketsOption {
  readonly sockets: readonly SocketOption[];
  /** Milliseconds; 0 unless the user asks for it. */
  readonly reconnect: number;
  /** Queue pairs of network devices, if the user asks for several. */
  readonly pairs?: number;
}

/** The devices by the names that commands have, with their ids. */
export const DEVICE_IDS: ReadonlyMap<string, number> = new Map([
  ["blk", DeviceId.BLOCK],
  ["net", DeviceId.NET],
  ["console", DeviceId.CONSOLE],
  ["rng", DeviceId.RNG],
  ...BOARD_DEVICES.map(({ name, deviceId }): [string, number] => [name, deviceId]),
]);

/** Most seconds that a back end is waited for. */
const MAX_RECONNECT = 3600;
/** Most queue pairs of a network device. */
const MAX_PAIRS = 128;

/**
 * Parses `NAME=SOCKET`, several with commas between them; a comma in a path is written twice. `reconnect=SECONDS`
 * among them has a back end that ended be waited for, `pairs=COUNT` has network devices use so many queue pairs.
 *
 * @throws {UsageError} If a name is not known or a path is missing.
 */
export function parseSockets(text: string): SocketsOption {
  let reconnect = 0;
  let pairs: number | undefined;
  const sockets: SocketOption[] = [];
  for (const part of splitCommas(text)) {
    const at = part.indexOf("=");
    const name = at < 0 ? part : part.slice(0, at);
    if (name === "reconnect") {
      reconnect = 1000 * parseCount(part.slice(at + 1), "--target reconnect", 1, MAX_RECONNECT);
      continue;
    }
    if (name === "pairs") {
      pairs = parseCount(part.slice(at + 1), "--target pairs", 1, MAX_PAIRS);
      continue;
    }
    const deviceId = DEVICE_IDS.get(name);
    if (deviceId === undefined) {
      const names = [...DEVICE_IDS.keys()].join(", ");
      throw new UsageError(`--target: no device '${name}' for vhost-user, there is ${names}`);
    }
    const path = part.slice(at + 1);
    if (at < 0 || path === "") {
      throw new UsageError(`--target: expected vhost-user:NAME=SOCKET, got '${part}'`);
    }
    sockets.push({ deviceId, path });
  }
  if (sockets.length === 0) throw new UsageError(`--target: expected a socket, got '${text}'`);
  return { sockets, reconnect, ...pairs === undefined ? {} : { pairs } };
}
