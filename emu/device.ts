import type { FeatureNames, FeatureSet } from "@vireo/hal";
import type { WorkMeter } from "./work.ts";

/** A queue that a device model has. */
export interface QueueSpec {
  /** Name for reports, for example `requestq1`. */
  readonly name: string;
  /** Largest size in descriptors, 1 to 32768. */
  readonly maxSize: number;
  /** Whether the driver has the device's side of it (`ReversedQueue`); with split rings only. */
  readonly reversed?: boolean;
  /** Whether the model keeps buffers until it has something to say, as opposed to work that ends. */
  readonly keepsBuffers?: boolean;
}

/** A shared memory region that a device model offers (virtio 1.4 §2.10). */
export interface SharedMemorySpec {
  /** The region's id, which the driver selects it by. */
  readonly id: number;
  /** Contents; the machine maps them at an address of its choice. */
  readonly bytes: Uint8Array;
}

/** Width of a configuration access in bytes. */
export type ConfigWidth = 1 | 2 | 4;

/**
 * One chain of buffers that the driver made available, already validated whole: every element lies
 * in guest memory, readable ones come first, and the chain is no longer than the queue.
 *
 * It has a read cursor over the readable part and a write cursor over the writable part. It is
 * reused after it was pushed.
 */
export interface Chain {
  /** Index of the head descriptor. */
  readonly head: number;
  /** Bytes of the device-readable part. */
  readonly readableLength: number;
  /** Bytes of the device-writable part. */
  readonly writableLength: number;
  /** Bytes not read yet. */
  readonly readableLeft: number;
  /** Bytes not written yet. */
  readonly writableLeft: number;
  /** Bytes written so far, from the first writable byte. */
  readonly written: number;
  /** Copies the next readable bytes; returns how many there were, at most `length`. */
  read(into: Uint8Array, offset?: number, length?: number): number;
  /** Reads a little-endian integer; 0 for what is past the end (check `readableLeft` first). */
  readU8(): number;
  /** Reads a little-endian 16-bit integer, as {@linkcode Chain.readU8} does. */
  readU16(): number;
  /** Reads a little-endian 32-bit integer, unsigned. */
  readU32(): number;
  /** Reads a little-endian 64-bit integer; values over 2^53-1 lose their low bits. */
  readU64(): number;
  /** Passes over readable bytes; returns how many there were. */
  skip(length: number): number;
  /** Copies bytes to the writable part; returns how many had room. */
  write(bytes: Uint8Array, offset?: number, length?: number): number;
  /** Writes zeroes; returns how many had room. */
  writeZeroes(length: number): number;
  /** Writes a byte; past the end, nothing. */
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
  /** Size the driver chose. */
  readonly size: number;
  /** Takes the next available chain; undefined if there is none or the device is stopped. */
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
  /** Interrupts the driver for what was pushed, unless it asked not to be; call once a batch. */
  signal(): void;
  /** Asks the driver to notify of new buffers, or not to (a device that polls); only a hint. */
  setNotify(enabled: boolean): void;
}

/** What a device model may use while the driver has it set up. */
export interface DeviceContext {
  /** What was negotiated. */
  readonly features: FeatureSet;
  /** Whether the driver uses the legacy interface (no VERSION_1). */
  readonly legacy: boolean;
  /** Counts what the model does, and lets it go on in a later turn when a turn's budget is used up. */
  readonly work: WorkMeter;
  /** A running queue; undefined if the driver did not set it up. */
  queue(index: number): DeviceQueue | undefined;
  /**
   * Guest memory outside of chains, for devices that drivers tell of addresses (balloon, gpu).
   *
   * @returns A view that is valid until the machine is disposed; undefined if it is not all memory.
   */
  memory(address: number, length: number): Uint8Array | undefined;
  /** Where the driver finds a shared memory region of the device; undefined if there is none of this id. */
  sharedAddress(id: number): number | undefined;
  /** Tells the driver that the configuration changed; the generation moves on. */
  configChanged(): void;
  /**
   * The one door for guest faults: NEEDS_RESET, config interrupt, all queues stop until reset.
   *
   * @param reason What the driver did wrong; kept for the machine's log.
   */
  fault(reason: string): void;
}

/** What a model keeps because its driver asked for it. */
export interface ModelUsage {
  /** Entries of lists and tables. */
  readonly items: number;
  /** Bytes of the host's memory. */
  readonly bytes: number;
}

/** Milliseconds since any fixed point; injected. */
export type Clock = () => number;
/** Fills bytes with random ones; injected. */
export type RandomSource = (into: Uint8Array) => void;

/**
 * A device type, as the emulator hosts it. A model is handed whole, validated chains, and never
 * throws for what a driver did: it calls {@linkcode DeviceContext.fault}.
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
  /** The device type's own offered bits; the machine adds ring and transport bits. */
  readonly features: FeatureSet;
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
  /** Writes configuration bytes; without it the space is read-only and writes are ignored. */
  writeConfig?(offset: number, width: ConfigWidth, value: number): void;
  /** Whether a feature subset can be driven; asked when the driver sets FEATURES_OK. */
  acceptFeatures?(features: FeatureSet): boolean;
  /** Gives the model a way to report config changes before and after activation. */
  attach?(context: DeviceContext): void;
  /** The driver set DRIVER_OK (legacy: the first notify also counts): buffers may be used. */
  activate(context: DeviceContext): void;
  /** The driver notified a queue, or the device was activated with buffers in it. */
  notify(queue: number): void;
  /** The driver reset one queue; chains of it that the model holds are void. */
  resetQueue?(queue: number): void;
  /** The driver reset the device; chains that the model holds are void. */
  reset(): void;
  /** What it keeps at most, whatever its driver does; without it, nothing but its configuration. */
  readonly bounds?: ModelUsage;
  /** What it keeps now. */
  usage?(): ModelUsage;
  /** The model's own state as plain data, for a snapshot. */
  snapshot?(): unknown;
  /** Takes the state back. */
  restore?(state: unknown): void;
}
