import type { Dma, FeatureSet, Interrupt } from "@vireo/hal";
import type { QueueAddresses } from "../virtqueue/virtqueue.ts";
import type { WaitOptions } from "../wait/options.ts";
import type { PciDetails } from "./pci/details.ts";

/** Width of one configuration access in bytes. */
export type AccessWidth = 1 | 2 | 4;

/** A shared memory region that a device offers (virtio 1.4 §2.10). */
export interface SharedMemoryRegion {
  /** Physical address of the first byte. */
  readonly address: number;
  /** Length in bytes. */
  readonly length: number;
}

/** Interrupts of a queue that a driver asks for. */
export interface QueueInterrupt {
  /** Index of the queue. */
  readonly index: number;
  /** Whether the driver wants interrupts for its used buffers; otherwise it gets no vector. */
  readonly wanted: boolean;
  /** Whether it may share the interrupt of configuration changes, because it is slow. */
  readonly slowPath?: boolean | undefined;
}

/** One interrupt of a device. */
export interface InterruptSource {
  /** The interrupt to wait on. */
  readonly interrupt: Interrupt;
  /** Its cause, bits of `InterruptCause`; 0 if the driver must read the cause each time. */
  readonly cause: number;
  /** Indices of the queues that it reports; undefined for all queues. */
  readonly queues: readonly number[] | undefined;
}

/**
 * How a device delivers its interrupts, in the order of preference of Linux's virtio-pci: MSI-X with a vector
 * for each queue, the same but with slow queues on the vector of configuration changes, MSI-X with one
 * vector for all queues, the interrupt line, and polling where the machine has nothing better. Behind a
 * vhost-user socket there is an eventfd for each queue.
 */
export type InterruptPolicy =
  | "msix-per-queue"
  | "msix-slow-shared"
  | "msix-shared"
  | "line"
  | "eventfd"
  | "poll";

/** How interrupts reach the driver. */
export interface InterruptRoute {
  /** The chosen policy. */
  readonly policy: InterruptPolicy;
  /** The interrupts; the bus waits on each. */
  readonly sources: readonly InterruptSource[];
  /** Why each better policy was not possible. */
  readonly refused: readonly string[];
}

/**
 * The operations of every virtio transport (virtio 1.4 §4); they hide all registers from drivers.
 *
 * The bus keeps the state of the negotiation; a transport keeps none.
 */
export interface Transport extends Disposable {
  /** Name of the slot, for example `virtio-mmio@a003e00` or `0000:00:03.0`. */
  readonly name: string;
  /** The kind, with its version: for reports. */
  readonly kind: "mmio-1" | "mmio-2" | "pci-legacy" | "pci-modern" | "vhost-user";
  /** Whether the device has the legacy interface only (no VERSION_1, no FEATURES_OK). */
  readonly legacy: boolean;
  /** Virtio device id, never 0. */
  readonly deviceId: number;
  /** Virtio vendor id. */
  readonly vendorId: number;
  /** Memory that the device can reach. */
  readonly dma: Dma;
  /** The device's interrupt line, or what stands in for it; see {@linkcode Transport.route}. */
  readonly interrupt: Interrupt;
  /** Alignment of the used ring when the queue must be one block (legacy), else undefined. */
  readonly legacyQueueAlign: number | undefined;
  /** Whether a queue must have the device's size (legacy virtio-pci). */
  readonly fixedQueueSize: boolean;
  /** Bits of its kind's feature range that this transport cannot carry here. */
  readonly withheld: FeatureSet;
  /** Details of the PCI function, if the device is one. */
  readonly pci: PciDetails | undefined;
  /** The route of interrupts, from {@linkcode Transport.routeInterrupts} until a reset. */
  readonly route: InterruptRoute | undefined;

  /** Reads all feature words that the device offers. */
  readFeatures(): FeatureSet;
  /**
   * Writes all feature words that the driver accepts.
   *
   * @throws {VireoError} `VERSION_1_REQUIRED` If a modern transport would run without VERSION_1.
   */
  writeFeatures(features: FeatureSet): void;
  /**
   * Reads the device status field.
   *
   * @throws {VireoError} `DEVICE_REMOVED` If the device is not there any more.
   */
  readStatus(): number;
  /** Writes the device status field; never 0, which is {@linkcode Transport.reset}. */
  writeStatus(status: number): void;
  /**
   * Resets the device and waits until its status reads 0.
   *
   * @throws {VireoError} `RESET_TIMEOUT` If it does not within the deadline, or `DEVICE_REMOVED` If it
   * is not there any more.
   */
  reset(options?: WaitOptions): Promise<void>;

  /**
   * The largest size of a queue; 0 if the device lacks it.
   *
   * @throws {VireoError} `QUEUE_IN_USE` If the queue is already set up.
   */
  queueMaxSize(index: number): number;
  /**
   * Decides how interrupts reach the driver, before the queues are set up; a reset undoes it.
   *
   * @param queues The queues that will be set up.
   */
  routeInterrupts(queues: readonly QueueInterrupt[]): InterruptRoute;
  /**
   * Sets up a queue and enables it; transports that cannot undo that enable it in
   * {@linkcode Transport.startQueues}.
   *
   * @throws {VireoError} `QUEUE_ADDRESS` If the transport cannot express an address.
   */
  enableQueue(index: number, queue: QueueAddresses): void;
  /** Enables the queues, after all of them were set up. */
  startQueues(): void;
  /** Disables a queue, after a reset of the device or before it was enabled. */
  disableQueue(index: number): void;
  /**
   * Resets one queue (virtio 1.4 §2.6.1); only with RING_RESET negotiated.
   *
   * @throws {VireoError} `RESET_TIMEOUT` If the device does not finish within the deadline, or
   * `QUEUE_RESET_UNSUPPORTED` If the transport has no such register.
   */
  resetQueue(index: number, options?: WaitOptions): Promise<void>;
  /**
   * Notifies the device of available buffers.
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
   * Reads the cause of an interrupt and acknowledges it, in that order.
   *
   * @returns Bits of `InterruptCause`; 0 if the device did not interrupt.
   * @throws {VireoError} `DEVICE_REMOVED` If the device is not there any more.
   */
  takeInterruptCause(): number;
  /** Reads the cause of an interrupt without acknowledging it. */
  peekInterruptCause(): number;
  /** Whether the device is still there; always true on a bus without unplugging. */
  isPresent(): boolean;
  /** Makes the device reachable as it was at first, after the machine was reset; costs little if it was not. */
  enable?(): void;
}
