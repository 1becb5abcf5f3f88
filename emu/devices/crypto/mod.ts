/**
 * The emulated crypto device (virtio 1.4 §5.9).
 *
 * @example
 * ```ts
 * import { EmulatedMachine } from "@vireo/emu/core";
 * import { CryptoDevice } from "@vireo/emu/crypto";
 * import { MockDriver } from "@vireo/emu/testing";
 * import { CRYPTO_CONFIG, CRYPTO_HW_READY } from "@vireo/hal";
 * import { assertEquals } from "@std/assert";
 *
 * await using machine = EmulatedMachine.create({ devices: [new CryptoDevice()] });
 * const driver = new MockDriver(machine);
 * driver.init();
 * const [status] = driver.config(CRYPTO_CONFIG.status.offset, 4);
 * assertEquals(status, CRYPTO_HW_READY);
 * ```
 *
 * @module
 */
export * from "./device.ts";
