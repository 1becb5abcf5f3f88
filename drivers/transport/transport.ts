import type { Dma, FeatureSet, Interrupt } from "@vireo/hal";

/** Width of one configuration access in bytes. */
export type AccessWidth = 1 | 2 | 4;

/** Where a driver placed the parts of a virtqueue, as device addresses. */
export interface QueueAddresses {
  /** Number of descriptors. */
  readonly size: number;
  /** Descriptor table (split) or descriptor ring (packed). */
  readonly desc: number;
  /** Available ring (split) or driver event suppression (packed). */
  readonly driver: number;
  /** Used ring (split) or device event suppression (packed). */
  readonly device: number;
}

/** A shared memory region that a device offers (virtio 1.4 §2.10). */
export interface SharedMemoryRegion {
  /** Physical address of the first byte. */
  readonly address: number;
  /** Length in bytes. */
  readonly length: number;
}

/** How long a wait on a device may take. */
export interface WaitOptions {
  /** Ends the wait with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds until the wait fails with a typed error; 1000 by default. */
  readonly deadline?: number | undefined;
}

/**
 * What every virtio transport can do (virtio 1.4 §4); a driver sees no register.
 *
 * Nothing here keeps state of the negotiation: the bus does.
 */
export interface Transport extends Disposable {
  /** Name of the slot, for example `virtio-mmio@a003e00`. */
  readonly name: string;
  /** The kind, with its version: for reports. */
  readonly kind: "mmio-1" | "mmio-2";
  /** Whether the device has the legacy interface only (no VERSION_1, no FEATURES_OK). */
  readonly legacy: boolean;
  /** Virtio device id, never 0. */
  readonly deviceId: number;
  /** Virtio vendor id. */
  readonly vendorId: number;
  /** Memory that the device can reach. */
  readonly dma: Dma;
  /** The device's interrupt line. */
  readonly interrupt: Interrupt;
  /** Alignment of the used ring when the queue must be one block (legacy), else undefined. */
  readonly legacyQueueAlign: number | undefined;

  /** Reads all feature words that the device offers. */
  readFeatures(): FeatureSet;
  /**
   * Writes all feature words that the driver accepts.
   *
   * @throws {VireoError} `VERSION_1_REQUIRED` If a modern transport would run without VERSION_1.
   */
  writeFeatures(features: FeatureSet): void;
  /** Reads the device status field. */
  readStatus(): number;
  /** Writes the device status field; never 0, which is {@linkcode Transport.reset}. */
  writeStatus(status: number): void;
  /**
   * Resets the device and waits until its status reads 0.
   *
   * @throws {VireoError} `RESET_TIMEOUT` If it does not within the deadline.
   */
  reset(options?: WaitOptions): Promise<void>;

  /**
   * The largest size of a queue; 0 if there is no such queue.
   *
   * @throws {VireoError} `QUEUE_IN_USE` If the queue is already set up.
   */
  queueMaxSize(index: number): number;
  /**
   * Sets up and enables a queue.
   *
   * @throws {VireoError} `QUEUE_ADDRESS` If the transport cannot express an address.
   */
  enableQueue(index: number, queue: QueueAddresses): void;
  /** Takes a queue down, after a reset of the device. */
  disableQueue(index: number): void;
  /**
   * Resets one queue (virtio 1.4 §2.6.1); only with RING_RESET negotiated.
   *
   * @throws {VireoError} `RESET_TIMEOUT` If the device does not finish within the deadline, or
   * `QUEUE_RESET_UNSUPPORTED` If the transport has no such register.
   */
  resetQueue(index: number, options?: WaitOptions): Promise<void>;
  /**
   * Tells the device of available buffers.
   *
   * @param index The queue.
   * @param data The next available position (16 bits) if NOTIFICATION_DATA is negotiated, else -1.
   */
  notify(index: number, data: number): void;

  /** Reads a device configuration field with one access (legacy: byte by byte). */
  readConfig(offset: number, width: AccessWidth): number;
  /** Writes a device configuration field with one access (legacy: byte by byte). */
  writeConfig(offset: number, width: AccessWidth, value: number): void;
  /** The configuration generation; always 0 on a legacy transport. */
  configGeneration(): number;

  /** Finds a shared memory region by id. */
  sharedMemory(id: number): SharedMemoryRegion | undefined;

  /**
   * Reads why the device interrupted and acknowledges it, in that order.
   *
   * @returns Bits of `InterruptCause`; 0 if the device did not interrupt.
   */
  takeInterruptCause(): number;
  /** Reads why the device interrupts without acknowledging it. */
  peekInterruptCause(): number;
}
