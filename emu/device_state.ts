import type { RingPosition } from "./ring/position.ts";

/** Something a driver did against the specification, which the device answered as hardware would. */
export interface Violation {
  /** The register or ring at fault. */
  readonly register: string;
  /** The value written, if there was one. */
  readonly value: number | undefined;
  /** What was wrong. */
  readonly reason: string;
}

/** State of a device as plain data. */
export interface DeviceState {
  /** Device status field. */
  readonly status: number;
  /** Whether the model was activated; a legacy driver may have done that before DRIVER_OK. */
  readonly active: boolean;
  /** Feature words the driver wrote, lowest first. */
  readonly driverFeatures: readonly number[];
  /** Bits of the interrupt status. */
  readonly interruptStatus: number;
  /** Configuration generation. */
  readonly generation: number;
  /** GuestPageSize in bytes. */
  readonly pageSize: number;
  /** The queues in order. */
  readonly queues: readonly QueueState[];
  /** What the model's own `snapshot` gave. */
  readonly model: unknown;
}

/** State of a queue as plain data. */
export interface QueueState {
  /** QueueSize in descriptors. */
  readonly size: number;
  /** Low and high word of the descriptor table's address. */
  readonly desc: readonly [number, number];
  /** Low and high word of the available ring's address. */
  readonly avail: readonly [number, number];
  /** Low and high word of the used ring's address. */
  readonly used: readonly [number, number];
  /** QueueAlign in bytes. */
  readonly align: number;
  /** QueuePFN in guest pages. */
  readonly pfn: number;
  /** Where the queue stands, if it runs. */
  readonly position: RingPosition | null;
}
