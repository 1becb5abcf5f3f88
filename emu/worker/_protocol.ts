import type { RingOptions } from "../offer.ts";

/** Words of the control buffer, which the driver's thread and the devices' thread share. */
export const Word = {
  /** Incremented for every request and posted write; the worker sleeps on it. */
  DOORBELL: 0,
  /** A {@linkcode RequestState}; the driver's thread sleeps on it. */
  STATE: 1,
  /** The request: 1 for a write, slot, width in bytes, offset, and the value written or read. */
  WRITE: 2,
  SLOT: 3,
  WIDTH: 4,
  OFFSET: 5,
  VALUE: 6,
  /** Positions in the ring of posted writes: the worker advances the first, the driver's thread the second. */
  POSTED_TAKEN: 7,
  POSTED_ADDED: 8,
  /** Incremented when an interrupt line rises; interrupt waiters sleep on it. */
  INTERRUPTS: 9,
  /** 1 once the worker has failed. */
  FAILED: 10,
  /** Level of each slot's interrupt line. */
  LEVELS: 16,
  /** Posted writes: slot and value. */
  POSTED: 80,
} as const;

/** State of the one register access that may be in progress. */
export const RequestState = { IDLE: 0, REQUESTED: 1, DONE: 2 } as const;

/** Most slots of a machine in a worker. */
export const MAX_SLOTS = 64;
/** The most posted writes that may wait, a power of two. */
export const POSTED_COUNT = 256;
/** Size of the control buffer in bytes. */
export const CONTROL_BYTES: number = 4 * (Word.POSTED + 2 * POSTED_COUNT);

/** The message that starts the worker. */
export interface WorkerStart {
  /** URL of the module whose default export makes the devices. */
  readonly module: string;
  /** Its argument. */
  readonly options: unknown;
  readonly control: SharedArrayBuffer;
  readonly memory: SharedArrayBuffer;
  readonly slots: number | undefined;
  readonly ring: RingOptions | undefined;
}

/** A message from the worker. */
export type WorkerAnswer =
  | { readonly kind: "ready"; readonly nodes: readonly WorkerNode[] }
  | { readonly kind: "failed"; readonly message: string }
  | { readonly kind: "disposed" };

/** A slot of the worker's machine. */
export interface WorkerNode {
  readonly name: string;
  readonly base: number;
  readonly size: number;
  readonly irq: number | undefined;
}
