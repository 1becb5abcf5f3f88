/**
 * Runs a program in a Linux that QEMU boots, on real (QEMU's) devices.
 *
 * @module
 */
export type { GuestMonitor, GuestOutput } from "./_line.ts";
export * from "./boot.ts";
export * from "./guest_board.ts";
