import type { RingPosition } from "./ring/position.ts";
import type { ConfigState } from "./ring/queue_config.ts";

/** A driver's violation of the specification; the device reacted as hardware would. */
export interface Violation {
  /** The register or ring at fault. */
  readonly register: string;
  /** The value written, if there was one. */
  readonly value: number | undefined;
  /** What the driver did wrong. */
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
  /** The result of the model's own `snapshot`. */
  readonly model: unknown;
}

/** State of a queue as plain data. */
export interface QueueState extends ConfigState {
  /** Where the queue stands, if it runs. */
  readonly position: RingPosition | null;
}
