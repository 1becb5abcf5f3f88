import type { FeatureNames, FeatureSet } from "@vireo/hal";
import type { VirtioDevice } from "./device.ts";

/** One line of a driver's id table; either may be `ANY_ID`. */
export interface IdMatch {
  /** Virtio device id. */
  readonly device: number;
  /** Virtio vendor id. */
  readonly vendor: number;
}

/**
 * A driver bound to one device: what its `probe` returned.
 *
 * The bus calls these; all but `remove` are optional.
 */
export interface DriverInstance {
  /** Runs after DRIVER_OK, when the device can be used (Linux `scan`). */
  scan?(): void | Promise<void>;
  /** The device's configuration changed; never called before `scan` ended or while gated. */
  configChanged?(): void;
  /** The device or a queue failed: reject what is pending with this error, free nothing yet. */
  failed?(error: Error): void;
  /**
   * The device is about to be reset for suspend: stop using it, keep what is needed. A recovery does
   * not call it, because the device does not answer any more.
   */
  freeze?(): void | Promise<void>;
  /**
   * The device was reset and renegotiated, after `freeze` or, in a recovery, after `failed`: find the
   * queues again. Buffers may be detached from the old ones until it ends; the bus frees those then.
   * Without it, a device cannot be recovered.
   */
  restore?(): void | Promise<void>;
  /** Releases everything; must reset the device before it frees memory the device may reach. */
  remove(): void | Promise<void>;
  /** The machine goes down; the default breaks all queues and resets the device. */
  shutdown?(): void | Promise<void>;
}

/** A virtio driver: an id table, a feature table and a few callbacks (Linux `struct virtio_driver`). */
export interface VirtioDriver<T extends DriverInstance = DriverInstance> {
  /** Name, for example `virtio_blk`. */
  readonly name: string;
  /** Ids of the devices that it drives. */
  readonly ids: readonly IdMatch[];
  /** Feature bits it knows, without the ring and transport range (28 to 41), which the bus handles. */
  readonly features: FeatureSet;
  /** Used instead of `features` when the device does not offer VERSION_1. */
  readonly legacyFeatures?: FeatureSet;
  /** Names of its feature bits, for reports. */
  readonly featureNames?: FeatureNames;
  /**
   * Checks the negotiated set before FEATURES_OK; the configuration may be read, not written.
   *
   * @returns The set, possibly with bits cleared.
   * @throws {VireoError} If the device cannot be driven.
   */
  validate?(device: VirtioDevice, features: FeatureSet): FeatureSet;
  /** Sets the device up; finds its queues; may call `device.ready()` itself. */
  probe(device: VirtioDevice): T | Promise<T>;
}
