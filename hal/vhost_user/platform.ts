import { VireoError } from "../errors.ts";
import type { Dma } from "../dma.ts";
import type { DeviceNode, MemoryWindow, Platform } from "../platform.ts";
import { Libc, type Mapping } from "../unix/libc.ts";
import { Poller } from "../unix/poller.ts";
import { SharedRam } from "../unix/shared_ram.ts";
import { type FrontEndMemory, VhostUserFrontEnd } from "./front_end.ts";

/** Address of the first byte as devices see it: not the one in this process, so that no one mixes them up. */
const RAM_BASE = 0x1_0000_0000;
/** Bytes of memory unless told otherwise; pages that nobody touches cost nothing. */
const DEFAULT_MEMORY = 256 * 1024 * 1024;
const PAGE = 4096;
/** Most queue pairs: a message names a queue in eight bits. */
const MAX_PAIRS = 128;
/** Milliseconds that an answer of a back end may take unless told otherwise. */
const DEFAULT_DEADLINE = 5000;

/** A socket at which a back end listens. */
export interface VhostUserDevice {
  /** Virtio device id of what is behind it. */
  readonly deviceId: number;
  /** Path of the socket. */
  readonly path: string;
}

/** Options of {@linkcode VhostUserPlatform}. */
export interface VhostUserPlatformOptions {
  /** The devices. */
  readonly devices: readonly VhostUserDevice[];
  /** Memory in bytes, a multiple of 4096; 256 MiB by default. */
  readonly memorySize?: number;
  /** Milliseconds that an answer of a back end may take; 5000 by default. */
  readonly deadline?: number;
  /**
   * Milliseconds in which a back end that went away may come back at its socket and go on with the requests under
   * way, as {@linkcode FrontEndOptions.reconnect}; 0 by default.
   */
  readonly reconnect?: number | undefined;
  /** Queue pairs of network devices whose back ends have so many; 1 by default. */
  readonly pairs?: number | undefined;
}

/**
 * Devices in other processes, behind vhost-user sockets, and memory that is shared with them.
 *
 * @example
 * ```ts
 * import { Bus } from "@vireo/drivers/bus";
 * import { rngDriver } from "@vireo/drivers/rng";
 * import { DeviceId } from "@vireo/hal";
 * import { VhostUserPlatform } from "@vireo/hal/vhost-user";
 *
 * // Reads from an entropy device that may be killed and come back within two seconds.
 * export async function entropy(path: string): Promise<Uint8Array> {
 *   const devices = [{ deviceId: DeviceId.RNG, path }];
 *   await using platform = new VhostUserPlatform({ devices, reconnect: 2000 });
 *   await using bus = new Bus();
 *   await bus.registerDriver(rngDriver);
 *   await bus.addPlatform(platform);
 *   return await bus.get(rngDriver)!.read(16);
 * }
 * ```
 */
export class VhostUserPlatform implements Platform {
  /** The target string's kind. */
  readonly name = "vhost-user";
  /** Memory that all devices can reach. */
  readonly dma: Dma;
  readonly #libc: Libc;
  readonly #poller: Poller;
  readonly #ram: SharedRam;
  readonly #mapping: Mapping;
  readonly #memory: FrontEndMemory;
  readonly #devices: readonly VhostUserDevice[];
  readonly #deadline: number;
  readonly #reconnect: number;
  readonly #pairs: number | undefined;
  readonly #open = new Set<VhostUserFrontEnd>();
  #closed = false;

  /**
   * Makes the memory; the sockets are connected to when their nodes are opened.
   *
   * @throws {RangeError} If the memory is not a positive multiple of 4096, or the pairs are not 1 to 128.
   * @throws {VireoError} `HOST_ERROR` If the host does not give the memory.
   */
  constructor(options: VhostUserPlatformOptions) {
    const size = options.memorySize ?? DEFAULT_MEMORY;
    if (!Number.isSafeInteger(size) || size <= 0 || size % PAGE !== 0) {
      throw new RangeError(`Cannot make memory of ${size} bytes: expected a multiple of ${PAGE}`);
    }
    const { pairs = 1 } = options;
    if (!Number.isInteger(pairs) || pairs < 1 || pairs > MAX_PAIRS) {
      throw new RangeError(`Cannot use ${pairs} queue pairs: expected 1 to ${MAX_PAIRS}`);
    }
    this.#devices = options.devices;
    this.#deadline = options.deadline ?? DEFAULT_DEADLINE;
    this.#reconnect = options.reconnect ?? 0;
    this.#pairs = options.pairs;
    this.#libc = new Libc();
    this.#poller = new Poller(this.#libc);
    const fd = this.#libc.memoryFile("vireo-vhost-user", size);
    // A back end must not be able to take pages away: touching them would end this process.
    this.#libc.fixSize(fd);
    this.#mapping = this.#libc.map(fd, size);
    this.#memory = {
      fd,
      size,
      guest: RAM_BASE,
      user: Number(Deno.UnsafePointer.value(this.#mapping.pointer)),
    };
    const range = { base: RAM_BASE, reservedLow: 0, reservedHigh: 0 };
    this.#ram = new SharedRam(range, this.#mapping.buffer);
    this.dma = this.#ram;
  }

  /** The sockets, in order. */
  nodes(): readonly DeviceNode[] {
    return this.#devices.map(({ deviceId, path }) => ({
      kind: "vhost-user",
      name: `vhost-user:${path}`,
      deviceId,
      open: () => this.#connect(deviceId, path),
    }));
  }

  /**
   * Opens a range of the memory.
   *
   * @throws {VireoError} `BAD_ACCESS` If part of the range is not memory.
   */
  openMemory(address: number, length: number): MemoryWindow {
    const bytes = this.#ram.window(address, length);
    if (bytes !== undefined) return { bytes, [Symbol.dispose]() {} };
    throw new VireoError("BAD_ACCESS", "Cannot open memory of this machine", {
      device: this.name,
      seen: address,
      base: 16,
      expected: "memory that is shared with the devices",
    });
  }

  /** Closes all connections and gives the memory back. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    for (const connection of this.#open) connection[Symbol.dispose]();
    await this.#poller[Symbol.asyncDispose]();
    this.#libc.unmap(this.#mapping);
    this.#libc.close(this.#memory.fd);
    this.#libc.dispose();
  }

  #connect(deviceId: number, path: string): VhostUserFrontEnd {
    const fd = this.#libc.connect(path);
    const connection = new VhostUserFrontEnd(this.#libc, this.#poller, {
      fd,
      path,
      deviceId,
      memory: this.#memory,
      deadline: this.#deadline,
      reconnect: this.#reconnect,
      pairs: this.#pairs,
    });
    this.#open.add(connection);
    return connection;
  }
}
