import type { Dma, FeatureSet, MemoryWindow, VireoError } from "@vireo/hal";
import type { DeviceConfig } from "./config.ts";
import type { DriverInstance, VirtioDriver } from "./driver.ts";
import type { SharedMemoryRegion, Transport } from "./transport/transport.ts";
import type { WaitOptions } from "./wait/options.ts";
import type { Virtqueue } from "./virtqueue/virtqueue.ts";

/** A queue that a driver wants. */
export interface QueueRequest {
  /** Name as Linux gives it, for example `req.0`. */
  readonly name: string;
  /**
   * Called after an interrupt when the queue may have used buffers; without it the queue starts with
   * callbacks disabled. It must not throw; what it throws breaks the queue.
   */
  readonly callback?: (queue: Virtqueue) => void;
  /** An upper bound for the ring size; the device's and the bus's bounds hold too. */
  readonly maxSize?: number;
  /** False forbids indirect descriptors on this queue (receive queues of single buffers). */
  readonly indirect?: boolean;
  /** Whether it is so slow that it may share the interrupt of configuration changes (MSI-X). */
  readonly slowPath?: boolean;
  /**
   * Whether the driver lends buffers for what the device may have to say at any time, so that nobody
   * waits for the device to return one.
   */
  readonly receives?: boolean;
  /**
   * Whether the driver has the device's side of the queue: it is a {@linkcode HostRing} then. Not with
   * RING_PACKED, INDIRECT_DESC, IN_ORDER or NOTIFICATION_DATA.
   */
  readonly reversed?: boolean;
  /**
   * Whether the driver may never need the queue. If the device can start one queue while the others run, it is
   * set up only by {@linkcode VirtioDevice.openQueues}.
   */
  readonly later?: boolean;
  /** Queue index on the device; by default one more than the entry before (0 at first). */
  readonly index?: number;
}

/** How to wait for a recovery. */
export interface RecoveryWait extends WaitOptions {
  /** The number of recoveries that does not count any more; by default those there were already. */
  readonly after?: number | undefined;
}

/** A device on the bus, as its driver sees it (Linux `struct virtio_device`). */
export interface VirtioDevice {
  /** `virtio<index>`. */
  readonly name: string;
  /** Lowest free index at registration. */
  readonly index: number;
  /** Virtio device id. */
  readonly deviceId: number;
  /** Virtio vendor id. */
  readonly vendorId: number;
  /** How the device is reached. */
  readonly transport: Transport;
  /** Memory that the device can reach. */
  readonly dma: Dma;
  /** The device's configuration space. */
  readonly config: DeviceConfig;
  /** Features that the device offered when it was last probed. */
  readonly offered: FeatureSet;
  /** Features that were negotiated; empty before. */
  readonly features: FeatureSet;
  /** The driver that is bound, or tries to be. */
  readonly driver: VirtioDriver | undefined;
  /** Instance that its probe returned. */
  readonly instance: DriverInstance | undefined;
  /** The queues that are set up, in the order of the request; those of `openQueues` come last. */
  readonly queues: readonly Virtqueue[];
  /** Why the device failed: its last probe, restore or recovery, or it was given up. */
  readonly error: Error | undefined;
  /** How often the device was recovered after NEEDS_RESET. */
  readonly recoveries: number;

  /**
   * Waits until the device was recovered once more.
   *
   * @returns How often it was recovered.
   * @throws {VireoError} `TIMEOUT` If it was not within the deadline; why it was given up; or
   * `DEVICE_REMOVED`. The signal's reason if it is aborted.
   */
  recovered(options?: RecoveryWait): Promise<number>;
  /**
   * Whether a feature was negotiated.
   *
   * @throws {TypeError} If the driver does not list the bit.
   */
  has(bit: number): boolean;
  /**
   * Sets up the queues and starts the delivery of interrupts; all of them or none.
   *
   * @throws {VireoError} `QUEUE_UNAVAILABLE`, `QUEUE_IN_USE`, `QUEUE_ADDRESS` or `OUT_OF_MEMORY`.
   */
  findQueues(requests: readonly QueueRequest[]): readonly Virtqueue[];
  /**
   * Sets up queues that were requested with `later`; all of them or none. With RING_RESET a device starts a queue
   * in its default state after DRIVER_OK (virtio 1.4 §2.6.1.2). Without it, §3.1.1 has all queues set up before
   * DRIVER_OK, so {@linkcode VirtioDevice.findQueues} set them up.
   *
   * @param indices Queue indices on the device.
   * @returns The queues, in the order of the indices; one that is already set up is returned as it is.
   * @throws {TypeError} If a queue was not requested.
   * @throws {VireoError} `QUEUE_UNAVAILABLE`, `QUEUE_IN_USE`, `QUEUE_ADDRESS` or `OUT_OF_MEMORY`.
   */
  openQueues(indices: readonly number[]): readonly Virtqueue[];
  /** Sets DRIVER_OK; the bus does it after `probe` if the driver did not. */
  ready(): void;
  /** Holds config changes back until {@linkcode VirtioDevice.enableConfigChanges}. */
  disableConfigChanges(): void;
  /** Delivers config changes again, and at once one that came in meanwhile. */
  enableConfigChanges(): void;
  /**
   * Resets the device and breaks, but does not free, its queues; what was pending fails.
   *
   * @throws {VireoError} `RESET_TIMEOUT` If the device may still use its memory.
   */
  reset(options?: WaitOptions): Promise<void>;
  /**
   * Frees the queues; only after a reset. Stops the delivery of interrupts.
   *
   * @throws {VireoError} `QUEUE_IN_USE` If the device keeps a queue, whose memory is then not freed.
   */
  deleteQueues(): void;
  /**
   * Resets one queue and sets it up again, empty (virtio 1.4 §2.6.1). The queue that was given is
   * spent; the new one, maybe of another size, has its place in {@linkcode VirtioDevice.queues}.
   *
   * @returns The tokens that the device had.
   */
  resetQueue(queue: Virtqueue, options?: WaitOptions): Promise<readonly number[]>;
  /** Marks every queue broken and tells the driver, as the device's removal does. */
  break(reason: VireoError): void;
  /** Finds a shared memory region by id. */
  sharedMemory(id: number): SharedMemoryRegion | undefined;
  /**
   * Opens a shared memory region; undefined if the device has none of this id.
   *
   * @throws {VireoError} `BAD_ACCESS` If the machine cannot open it.
   */
  openSharedMemory(id: number): MemoryWindow | undefined;
}
