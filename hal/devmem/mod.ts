/**
 * The machine a program runs on as a platform: registers through `/dev/mem` and the C shim, DMA
 * memory in hugepages, polling instead of interrupts. Linux on x86_64 and aarch64, as root.
 *
 * @module
 */
export { HUGEPAGE, HugepageDma } from "./dma.ts";
export { type DevmemOptions, DevmemPlatform } from "./platform.ts";
