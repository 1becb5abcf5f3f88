/**
 * Runs a program in a Linux that QEMU boots, on real (QEMU's) devices.
 *
 * @module
 */
export * from "./boot.ts";
export * from "./guest_board.ts";
export type { GuestOutput } from "./_line.ts";
