/**
 * Boards with the bus probed and the drivers bound: what scripts under `vireo run` get.
 *
 * @module
 */
export type * from "./commands/probe.ts";
export { makeDemoDisk } from "./demo_disk.ts";
export * from "./devices/mod.ts";
export * from "./disk_report.ts";
export * from "./emulated_board.ts";
export * from "./options.ts";
export * from "./partitions.ts";
export type { QemuArguments } from "./qemu_arguments.ts";
export * from "./superblock.ts";
export { UsageError } from "./usage.ts";
export * from "./vireo.ts";
export type { Qmp, QmpEvent, QmpOptions } from "@vireo/hal/qtest";
