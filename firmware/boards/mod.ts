/**
 * The boards that Vireo knows. To add one, describe it in a file of its own and list it in
 * `boards.ts`.
 *
 * @example
 * ```ts
 * import { findBoard } from "@vireo/firmware/boards";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(findBoard("riscv64-virt").qemu, "qemu-system-riscv64");
 * ```
 *
 * @module
 */
export * from "./aarch64_virt.ts";
export * from "./aarch64_virt_pci.ts";
export * from "./board.ts";
export * from "./boards.ts";
export * from "./riscv64_virt.ts";
export * from "./riscv64_virt_pci.ts";
export * from "./x86_64_microvm.ts";
export * from "./x86_64_q35.ts";
