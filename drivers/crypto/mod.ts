/**
 * Crypto devices: ciphers, hashes, MACs, authenticated and asymmetric ciphers (virtio 1.4 §5.9).
 *
 * @module
 */
export { type DataLengths, type SessionNumber, type SessionParameters } from "./codec.ts";
export * from "./driver.ts";
export * from "./services.ts";
export {
  type CryptoHost,
  type CryptoParts,
  CryptoSession,
  type HeldSession,
  type SessionId,
} from "./session.ts";
