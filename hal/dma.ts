/** Which side reads and which writes a shared range, as seen from the driver. */
export type DmaDirection = "to-device" | "from-device" | "both";

/**
 * Memory that a device can reach. On a coherent machine both sides may look at it at any time. A
 * machine with bounce buffers copies at {@linkcode DmaRegion.share} and {@linkcode DmaRegion.unshare}, so
 * a driver must share a range before the device touches it, and unshare it before it reads the answer.
 */
export interface DmaRegion extends Disposable {
  /** Where the device sees the region's first byte; at most 2^53 - 1. */
  readonly address: number;
  /** The driver's view: zeroed at first, exactly `size` bytes long, cached and never replaced. */
  readonly bytes: Uint8Array;
  /**
   * Gives a range to the device.
   *
   * @param offset First byte of the range in {@linkcode DmaRegion.bytes}.
   * @param length Length in bytes.
   * @param direction Which side will write it.
   * @returns The address at which the device sees the range.
   */
  share(offset: number, length: number, direction: DmaDirection): number;
  /**
   * Takes a range back from the device, so that the driver may look at it.
   *
   * @param offset As at {@linkcode DmaRegion.share}.
   * @param length As at {@linkcode DmaRegion.share}.
   * @param direction As at {@linkcode DmaRegion.share}.
   */
  unshare(offset: number, length: number, direction: DmaDirection): void;
  /**
   * Hears of each copy that a driver makes between this memory and its caller's; absent where nobody counts.
   *
   * @param bytes Length of the copy in bytes.
   */
  copied?(bytes: number): void;
}

/** Options of an allocation. */
export interface DmaOptions {
  /** Alignment of the address in bytes, a power of two; 16 by default. */
  readonly align?: number;
  /**
   * Whether both sides use the memory at the same time without share and unshare, as the parts of
   * a virtqueue do. False by default: the region holds buffers.
   */
  readonly coherent?: boolean;
}

/**
 * How devices take the addresses of a machine's memory. Only a device behind the platform's IOMMU can use
 * `translated` addresses, only a device that bypasses it can use `physical` ones, and every device can use
 * `any`.
 */
export type DmaAccess = "any" | "translated" | "physical";

/** Hands out memory that devices can reach. */
export interface Dma {
  /** How devices take the addresses; `any` by default. */
  readonly access?: DmaAccess | undefined;
  /**
   * Allocates zeroed memory.
   *
   * @param size Length in bytes, at least 1.
   * @throws {VireoError} `OUT_OF_MEMORY` If the machine has no room left.
   */
  alloc(size: number, options?: DmaOptions): DmaRegion;
}
