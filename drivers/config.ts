import { join64, VireoError } from "@vireo/hal";
import type { Transport } from "./transport/transport.ts";

/** Attempts to read a stable configuration before the device is called unstable. */
const MAX_ATTEMPTS = 1000;

/**
 * The device configuration space (virtio 1.4 §2.5): fields up to 32 bits take one access, wider ones
 * and byte arrays are read again until the generation stood still.
 *
 * @example
 * ```ts
 * import { DeviceConfig } from "@vireo/drivers/core";
 * import { ScriptedDevice, TestDma } from "@vireo/drivers/testing";
 * import { MmioTransport } from "@vireo/drivers/transport";
 * import { assertEquals } from "@std/assert";
 *
 * const device = new ScriptedDevice({ config: Uint8Array.of(0, 8, 0, 0, 0, 0, 0, 0, 7) });
 * using transport = MmioTransport.probe(device, new TestDma())!;
 * const config = new DeviceConfig(transport);
 * assertEquals([config.read64(0), config.read8(8)], [2048, 7]);
 * assertEquals([...config.readBytes(0, 2)], [0, 8]);
 * ```
 */
export class DeviceConfig {
  readonly #reached: Transport;
  readonly #check: (() => void) | undefined;

  /**
   * Wraps the configuration space that a transport reaches.
   *
   * @param check Called before each access; throws if there must be none now.
   */
  constructor(transport: Transport, check?: () => void) {
    this.#reached = transport;
    this.#check = check;
  }

  get #transport(): Transport {
    this.#check?.();
    return this.#reached;
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
   * @throws {VireoError} `CONFIG_UNSTABLE` If the generation never stands still; `CONFIG_INVALID` If
   * the value is over 2^53 - 1, which a number cannot hold.
   */
  read64(offset: number): number {
    const words = this.stable(() => {
      const low = this.read32(offset);
      return [low, this.read32(offset + 4)] as const;
    });
    try {
      return join64(...words);
    } catch (cause) {
      throw new VireoError("CONFIG_INVALID", "Cannot hold a 64-bit field in a number", {
        device: this.#transport.name,
        register: `Config+${offset}`,
        seen: `0x${words[1].toString(16)}${words[0].toString(16).padStart(8, "0")}`,
        expected: "at most 0x1fffffffffffff",
        cause,
      });
    }
  }

  /**
   * Reads a byte array.
   *
   * @throws {VireoError} `CONFIG_UNSTABLE` If the generation never stands still.
   */
  readBytes(offset: number, length: number): Uint8Array {
    return this.stable(() => {
      const bytes = new Uint8Array(length);
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
   * On a legacy transport, which has no generation, the read is made until two in a row agree
   * (virtio 1.4 §2.5.4).
   *
   * @param read Reads the fields; gives numbers, strings, byte arrays, or plain objects of them.
   * @throws {VireoError} `CONFIG_UNSTABLE` If they change during 1000 attempts.
   */
  stable<T>(read: () => T): T {
    if (this.#transport.legacy) return this.#stableLegacy(read);
    let before = this.#transport.configGeneration();
    let after = before;
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      const value = read();
      after = this.#transport.configGeneration();
      if (after === before) return value;
      before = after;
    }
    throw this.#unstable("ConfigGeneration", after);
  }

  #stableLegacy<T>(read: () => T): T {
    let text = JSON.stringify(read());
    for (let attempt = 1; attempt < MAX_ATTEMPTS; attempt++) {
      const after = read();
      const again = JSON.stringify(after);
      if (again === text) return after;
      text = again;
    }
    throw this.#unstable("Config", text);
  }

  #unstable(register: string, seen: number | string): VireoError {
    return new VireoError("CONFIG_UNSTABLE", "Cannot read a stable configuration", {
      device: this.#reached.name,
      register,
      seen,
      expected: "the same value twice within 1000 attempts",
    });
  }
}
