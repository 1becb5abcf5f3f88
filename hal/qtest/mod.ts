/**
 * Boards whose devices are QEMU's own and whose drivers run on the host: registers over QEMU's qtest
 * protocol, memory as a shared mapping, interrupts by interception. No guest runs.
 *
 * @module
 */
export * from "./board.ts";
export * from "./interfaces.ts";
export * from "./platform.ts";
export * from "./qmp.ts";
