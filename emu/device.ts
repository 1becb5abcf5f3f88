import type { FeatureNames, FeatureSet } from "@vireo/hal";
import type { WorkMeter } from "./work.ts";

/** A queue of a device model. */
export interface QueueSpec {
  /** Name for reports, for example `requestq1`. */
  readonly name: string;
  /** Largest size in descriptors, 1 to 32768. */
  readonly maxSize: number;
  /** Whether the driver plays the device's side (`ReversedQueue`); with split rings only. */
  readonly reversed?: boolean;
  /** Whether the model keeps buffers until it has something to say, as opposed to work that ends. */
  readonly keepsBuffers?: boolean;
}

/** A shared memory region that a device model offers (virtio 1.4 §2.10). */
export interface SharedMemorySpec {
  /** The id by which the driver selects the region. */
  readonly id: number;
  /** Contents; the machine chooses the address at which it maps them. */
  readonly bytes: Uint8Array;
}

/** Width of a configuration access in bytes. */
export type ConfigWidth = 1 | 2 | 4;

/**
 * One chain of buffers that the driver made available. The queue has validated all of it: every element
 * lies in guest memory, readable elements come first, and the chain is at most as long as the queue.
 *
 * A chain has a read cursor over its readable part and a write cursor over its writable part. The queue
 * reuses the object after the device pushed it.
 */
export interface Chain {
  /** Index of the head descriptor. */
  readonly head: number;
  /** Bytes of the device-readable part. */
  readonly readableLength: number;
  /** Bytes of the device-writable part. */
  readonly writableLength: number;
  /** Bytes still to be read. */
  readonly readableLeft: number;
  /** Bytes still to be written. */
  readonly writableLeft: number;
  /** Bytes written so far, from the first writable byte. */
  readonly written: number;
  /** Copies the next readable bytes; returns their number, at most `length`. */
  read(into: Uint8Array, offset?: number, length?: number): number;
  /** Reads a byte; bytes past the end read 0 (check `readableLeft` first). */
  readU8(): number;
  /** Reads a little-endian 16-bit integer, as {@linkcode Chain.readU8} does. */
  readU16(): number;
  /** Reads a little-endian 32-bit integer, unsigned. */
  readU32(): number;
  /** Reads a little-endian 64-bit integer; values over 2^53-1 lose their low bits. */
  readU64(): number;
  /** Skips readable bytes; returns their number. */
  skip(length: number): number;
  /** Copies bytes to the writable part; returns the number that fitted. */
  write(bytes: Uint8Array, offset?: number, length?: number): number;
  /** Writes zeroes; returns the number that fitted. */
  writeZeroes(length: number): number;
  /** Writes a byte; ignored past the end. */
  writeU8(value: number): void;
  /** Writes a little-endian 16-bit integer; bytes past the end are dropped. */
  writeU16(value: number): void;
  /** Writes a little-endian 32-bit integer; bytes past the end are dropped. */
  writeU32(value: number): void;
  /** Moves the write cursor to an absolute byte of the writable part, for example the last one. */
  seekWrite(position: number): void;
}

/** A running queue as a device model sees it. */
export interface DeviceQueue {
  /** Index of the queue on its device. */
  readonly index: number;
  /** Size in descriptors, as the driver chose it. */
  readonly size: number;
  /** Takes the next available chain; undefined if none is available or the device is stopped. */
  pop(): Chain | undefined;
  /** Whether a chain is available. */
  hasAvailable(): boolean;
  /**
   * Returns a chain to the driver.
   *
   * @param written Bytes written from the first writable byte; the chain's own count by default.
   */
  push(chain: Chain, written?: number): void;
  /** Returns several chains so that the driver sees them at once (mergeable receive buffers). */
  pushAll(chains: readonly Chain[], written: readonly number[]): void;
  /** Interrupts the driver for the pushed chains, unless the driver suppressed it; call this once a batch. */
  signal(): void;
  /** Asks the driver to send or to omit notifications of new buffers (a polling device omits them); a hint. */
  setNotify(enabled: boolean): void;
}

/** The parts of its device that a model may use while a driver has set it up. */
export interface DeviceContext {
  /** The negotiated features. */
  readonly features: FeatureSet;
  /** Whether the driver uses the legacy interface (no VERSION_1). */
  readonly legacy: boolean;
  /** Counts what the model does, and lets it go on in a later turn when a turn's budget is used up. */
  readonly work: WorkMeter;
  /** A running queue; undefined if the driver did not set it up. */
  queue(index: number): DeviceQueue | undefined;
  /**
   * Guest memory outside of chains, for devices whose drivers pass addresses (balloon, gpu).
   *
   * @returns A view that is valid until the machine is disposed; undefined if part of the range is not
   * memory.
   */
  memory(address: number, length: number): Uint8Array | undefined;
  /** The address at which the driver finds a shared memory region; undefined if the id is unknown. */
  sharedAddress(id: number): number | undefined;
  /** Reports a configuration change to the driver and increments the generation. */
  configChanged(): void;
  /**
   * Reports a guest fault, whatever it is: sets NEEDS_RESET, raises the config interrupt, and stops all
   * queues until reset.
   *
   * @param reason What the driver did wrong; the machine's log keeps it.
   * @param rule The statement that forbids it, by its id: `drv.rng.operation.1`.
   */
  fault(reason: string, rule?: string): void;
  /**
   * Notes that the host failed the model, whose disk is full, for example: the driver's errors have it as their cause.
   *
   * @param error What the backend threw.
   */
  hostFailed(error: unknown): void;
}

/** Memory and items that a model keeps on behalf of its driver. */
export interface ModelUsage {
  /** Entries of lists and tables. */
  readonly items: number;
  /** Bytes of the host's memory. */
  readonly bytes: number;
}

/** Milliseconds since any fixed point; the caller passes it in. */
export type Clock = () => number;
/** Fills a buffer with random bytes; the caller passes it in. */
export type RandomSource = (into: Uint8Array) => void;

/**
 * A device type, as the emulator hosts it. A model gets whole, validated chains. When a driver did
 * something wrong, the model calls {@linkcode DeviceContext.fault} and never throws.
 *
 * Nothing that a driver says sizes the host's work or memory without a bound. A model takes chains by
 * `context.work.take`, counts what else it loops over by `context.work.spend`, and yields when that says so. What it
 * keeps for a driver is at most `bounds`, which come from the queues' geometry or from options with defaults.
 */
export interface DeviceModel extends Disposable {
  /** Name for reports, for example `blk`. */
  readonly name: string;
  /** Virtio device id. */
  readonly deviceId: number;
  /** The feature bits that the device type itself offers; the machine adds ring and transport bits. */
  readonly features: FeatureSet;
  /** Those of them that the legacy interface must not offer; none by default. */
  readonly modernFeatures?: FeatureSet;
  /** Names of those bits. */
  readonly featureNames?: FeatureNames;
  /** The queues, in order. */
  readonly queues: readonly QueueSpec[];
  /** Size of the configuration space in bytes. */
  readonly configSize: number;
  /** Shared memory regions. */
  readonly sharedMemory?: readonly SharedMemorySpec[];
  /** Reads configuration bytes; the range lies inside `configSize`. */
  readConfig(offset: number, width: ConfigWidth): number;
  /** Writes configuration bytes; a model without it has a read-only space, which ignores writes. */
  writeConfig?(offset: number, width: ConfigWidth, value: number): void;
  /** Whether the model accepts a feature subset; called when the driver sets FEATURES_OK. */
  acceptFeatures?(features: FeatureSet): boolean;
  /** Gives the model a way to report config changes before and after activation. */
  attach?(context: DeviceContext): void;
  /** The driver set DRIVER_OK (legacy: or notified for the first time): the model may use buffers. */
  activate(context: DeviceContext): void;
  /** The driver notified a queue, or the queue had buffers when the device was activated. */
  notify(queue: number): void;
  /**
   * The front end lets the device use a queue, or not (vhost-user's SET_VRING_ENABLE); a reset lets it use
   * none. Other transports have no such word.
   */
  setQueueEnabled?(queue: number, enabled: boolean): void;
  /** The driver reset one queue; the model must forget the chains that it holds of it. */
  resetQueue?(queue: number): void;
  /** The driver reset the device; the model must forget the chains that it holds. */
  reset(): void;
  /** The most that it keeps, whatever its driver does; a model without it keeps only its configuration. */
  readonly bounds?: ModelUsage;
  /** Reports what the model keeps now. */
  usage?(): ModelUsage;
  /** Returns the model's own state as plain data, for a snapshot. */
  snapshot?(): unknown;
  /** Restores the state. */
  restore?(state: unknown): void;
}
