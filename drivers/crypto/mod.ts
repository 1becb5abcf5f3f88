/**
 * Crypto devices: ciphers, hashes, MACs, authenticated and asymmetric ciphers (virtio 1.4 §5.9).
 *
 * @example
 * ```ts
 * import { Bus } from "@vireo/drivers/bus";
 * import { cryptoDriver } from "@vireo/drivers/crypto";
 * import { EmulatedMachine } from "@vireo/emu/core";
 * import { CryptoDevice } from "@vireo/emu/crypto";
 * import { CryptoHash } from "@vireo/hal";
 * import { assertEquals } from "@std/assert";
 *
 * await using machine = EmulatedMachine.create({ devices: [new CryptoDevice()] });
 * await using bus = new Bus();
 * await bus.registerDriver(cryptoDriver);
 * await bus.addPlatform(machine);
 *
 * await using hash = await bus.get(cryptoDriver)!.hash(CryptoHash.SHA_256);
 * const digest = await hash.digest(new TextEncoder().encode("abc"));
 * assertEquals(digest.length, 32);
 * ```
 *
 * @module
 */
export {
  type ChainLengths,
  type ChainPart,
  type DataLengths,
  type SessionNumber,
  type SessionParameters,
} from "./codec.ts";
export * from "./driver.ts";
export * from "./services.ts";
export {
  type CryptoHost,
  type CryptoParts,
  CryptoSession,
  type HeldSession,
  type SessionId,
} from "./session.ts";
