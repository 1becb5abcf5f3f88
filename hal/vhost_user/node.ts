import type { FeatureSet } from "../bits.ts";
import type { Interrupt } from "../interrupt.ts";

/** Where the parts of a queue are, as the device sees them, and what ring it is. */
export interface VhostUserQueue {
  /** Descriptors. */
  readonly size: number;
  /** Address of the descriptor area. */
  readonly desc: number;
  /** Address of the driver area. */
  readonly driver: number;
  /** Address of the device area. */
  readonly device: number;
  /** Whether it is a packed ring. */
  readonly packed: boolean;
  /**
   * Puts the buffers in flight where a back end finds them that knows nothing of the one before.
   *
   * @returns The index in the available ring where it starts; undefined if the ring is broken.
   */
  readonly again?: (() => number | undefined) | undefined;
}

/**
 * A device behind a vhost-user socket, as a transport drives it. Each call is a message, and each waits
 * for the answer if there is one; all of them throw `DEVICE_REMOVED` once the back end is gone.
 */
export interface VhostUserLease extends Disposable {
  /** Queues of the device: those of the back end, and the control queue if the front end serves it. */
  readonly queues: number;
  /** Queue pairs of a network device whose control queue the front end serves; 0 if it serves none. */
  readonly pairs: number;
  /** Whether the back end has the configuration: of network devices it is often the front end's. */
  readonly hasConfig: boolean;
  /** Whether the back end is there. */
  readonly present: boolean;
  /** How often the back end said that the configuration changed. */
  readonly configChanges: number;
  /** Interrupts when the configuration changed, or the back end is gone. */
  readonly configInterrupt: Interrupt;
  /** Reads the feature bits of virtio that the back end offers. */
  readFeatures(): FeatureSet;
  /** Writes the feature bits that the driver accepts. */
  writeFeatures(features: FeatureSet): void;
  /** Reads the device status field, as the back end has it if it keeps one. */
  readStatus(): number;
  /** Writes the device status field. */
  writeStatus(status: number): void;
  /** Stops all queues and puts the device back as it was at first. */
  reset(): void;
  /** Tells of a queue; {@linkcode VhostUserLease.enableQueue} comes next. */
  setUpQueue(index: number, queue: VhostUserQueue): void;
  /** Lets the back end look at a queue. */
  enableQueue(index: number): void;
  /** Stops a queue; does nothing if it was not set up. */
  stopQueue(index: number): void;
  /** The interrupt of a queue. */
  queueInterrupt(index: number): Interrupt;
  /** Whether the back end interrupted for a queue since this was last asked; nobody else may wait for it. */
  takeInterrupt(index: number): boolean;
  /** Tells the back end of available buffers. */
  kick(index: number): void;
  /**
   * Reads configuration bytes.
   *
   * @throws {VireoError} `CONFIG_ACCESS` If the back end does not have them.
   */
  readConfig(offset: number, length: number): Uint8Array;
  /** Writes configuration bytes. @throws {VireoError} `CONFIG_ACCESS` If the back end takes none. */
  writeConfig(offset: number, bytes: Uint8Array): void;
}

/** A device behind a vhost-user socket; the protocol does not tell the type, so the user does. */
export interface VhostUserNode {
  /** Tells it from nodes of other buses. */
  readonly kind: "vhost-user";
  /** Name: `vhost-user:<path of the socket>`. */
  readonly name: string;
  /** Virtio device id. */
  readonly deviceId: number;
  /** Connects to the socket; the lease closes the connection. */
  open(): VhostUserLease;
}
