import { join64, VireoError } from "@vireo/hal";
import type { Transport } from "./transport/transport.ts";

/** Attempts to read a stable configuration before the device is called unstable. */
const MAX_ATTEMPTS = 1000;

/**
 * The device configuration space (virtio 1.4 §2.5): fields up to 32 bits take one access, wider ones
 * and byte arrays are read again until the generation stood still.
 */
export class DeviceConfig {
  readonly #transport: Transport;

  /** Wraps the configuration space that a transport reaches. */
  constructor(transport: Transport) {
    this.#transport = transport;
  }

  /** Reads one byte. */
  read8(offset: number): number {
    return this.#transport.readConfig(offset, 1);
  }

  /** Reads a 16-bit field. */
  read16(offset: number): number {
    return this.#transport.readConfig(offset, 2);
  }

  /** Reads a 32-bit field, unsigned. */
  read32(offset: number): number {
    return this.#transport.readConfig(offset, 4) >>> 0;
  }

  /**
   * Reads a 64-bit field.
   *
   * @throws {VireoError} `CONFIG_UNSTABLE` If the generation never stands still.
   * @throws {RangeError} If the value is over 2^53 - 1.
   */
  read64(offset: number): number {
    return this.stable(() => join64(this.read32(offset), this.read32(offset + 4)));
  }

  /**
   * Reads a byte array.
   *
   * @throws {VireoError} `CONFIG_UNSTABLE` If the generation never stands still.
   */
  readBytes(offset: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    return this.stable(() => {
      for (let i = 0; i < length; i++) bytes[i] = this.read8(offset + i);
      return bytes;
    });
  }

  /** Writes one byte. */
  write8(offset: number, value: number): void {
    this.#transport.writeConfig(offset, 1, value);
  }

  /** Writes a 16-bit field. */
  write16(offset: number, value: number): void {
    this.#transport.writeConfig(offset, 2, value);
  }

  /** Writes a 32-bit field. */
  write32(offset: number, value: number): void {
    this.#transport.writeConfig(offset, 4, value);
  }

  /**
   * Runs a read of several fields until it saw one generation (virtio 1.4 §2.5.2).
   *
   * On a legacy transport, which has no generation, the read is made once.
   *
   * @throws {VireoError} `CONFIG_UNSTABLE` If the generation changes during 1000 attempts.
   */
  stable<T>(read: () => T): T {
    let before = this.#transport.configGeneration();
    let after = before;
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      const value = read();
      after = this.#transport.configGeneration();
      if (after === before) return value;
      before = after;
    }
    throw new VireoError("CONFIG_UNSTABLE", "Cannot read a stable configuration", {
      device: this.#transport.name,
      register: "ConfigGeneration",
      seen: after,
      expected: `the same value twice within ${MAX_ATTEMPTS} attempts`,
    });
  }
}
