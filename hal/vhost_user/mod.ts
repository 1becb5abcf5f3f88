/**
 * vhost-user: devices in other processes behind unix sockets, and what both sides of such a socket need.
 *
 * @example
 * ```ts
 * import { blkDriver } from "@vireo/drivers/blk";
 * import { Bus } from "@vireo/drivers/bus";
 * import { DeviceId } from "@vireo/hal";
 * import { VhostUserPlatform } from "@vireo/hal/vhost-user";
 *
 * // Reads the first sector of a disk that another process serves, for example qemu-storage-daemon.
 * export async function firstSector(path: string): Promise<Uint8Array> {
 *   const devices = [{ deviceId: DeviceId.BLOCK, path }];
 *   await using platform = new VhostUserPlatform({ devices });
 *   await using bus = new Bus();
 *   await bus.registerDriver(blkDriver);
 *   await bus.addPlatform(platform);
 *   return await bus.get(blkDriver)!.read(0, 512);
 * }
 * ```
 *
 * @module
 */
export * from "../unix/event.ts";
export * from "../unix/libc.ts";
export * from "../unix/message_socket.ts";
export * from "../unix/poller.ts";
export * from "./bits64.ts";
export * from "./front_end.ts";
export * from "./platform.ts";
export * from "./protocol.ts";
export * from "./socket.ts";
