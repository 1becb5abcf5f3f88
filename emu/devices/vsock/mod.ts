/**
 * The emulated socket device (virtio 1.4 §5.10).
 *
 * @example
 * ```ts
 * import { loopbackPort } from "@vireo/emu/backends";
 * import { EmulatedMachine } from "@vireo/emu/core";
 * import { MockDriver } from "@vireo/emu/testing";
 * import { VsockDevice } from "@vireo/emu/vsock";
 * import { VSOCK_CONFIG } from "@vireo/hal";
 * import { assertEquals } from "@std/assert";
 *
 * // Each port of the host sends back what it gets.
 * const host = { connect: () => loopbackPort() };
 * await using machine = EmulatedMachine.create({ devices: [new VsockDevice({ cid: 5, host })] });
 * const driver = new MockDriver(machine);
 * driver.init();
 * assertEquals([...driver.config(VSOCK_CONFIG.guest_cid.offset, 4)], [5, 0, 0, 0]);
 * ```
 *
 * @module
 */
export * from "./device.ts";
