/**
 * Boards with the bus probed and the drivers bound: what scripts under `vireo run` get.
 *
 * @example
 * ```ts
 * import { openVireo } from "@vireo/firmware";
 * import { assertEquals } from "@std/assert";
 *
 * await using vireo = await openVireo({ target: "emu" });
 * await vireo.blk.write(0, new Uint8Array(512).fill(7));
 * assertEquals((await vireo.blk.read(0, 512))[511], 7);
 * ```
 *
 * @module
 */
export type * from "./commands/probe.ts";
export { makeDemoDisk } from "./disk/demo_disk.ts";
export * from "./devices/mod.ts";
export * from "./disk/disk_report.ts";
export type * from "./inspect/inspect_board.ts";
export { type BoardInput } from "./target/check_board.ts";
export * from "./target/emulated_board.ts";
export * from "./target/option_values.ts";
export * from "./target/options.ts";
export * from "./disk/partitions.ts";
export * from "./disk/superblock.ts";
export { UsageError } from "./terminal/usage.ts";
export * from "./session.ts";
export * from "./vireo.ts";
export type { KnownQmpEvent, Qmp, QmpEvent, QmpEventData, QmpOptions } from "@vireo/hal/qtest";
