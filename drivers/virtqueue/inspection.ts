import type { QueueAddresses } from "./virtqueue.ts";

/** A descriptor, as it is in memory. */
export interface InspectedDescriptor {
  /** Its place in the ring; in an indirect table, its place there. */
  readonly slot: number;
  /** Where the device sees the buffer. */
  readonly address: number;
  /** Length in bytes. */
  readonly length: number;
  /** Names of its flags: `NEXT`, `WRITE`, `INDIRECT`. */
  readonly flags: readonly string[];
}

/** A buffer that the driver gave away and did not take back. */
export interface InspectedBuffer {
  /** Its head in a split ring, its id in a packed one. */
  readonly id: number;
  /** The driver's name of it. */
  readonly token: number;
  /** `added` until the kick, `available` to the device, `used` if the device says so. */
  readonly state: "added" | "available" | "used";
  /** The descriptors; of an indirect chain those of its table. */
  readonly descriptors: readonly InspectedDescriptor[];
  /** Whether they are in a table. */
  readonly indirect: boolean;
}

/** A ring at a moment: what is in memory beside what the driver knows itself. */
export interface RingInspection {
  /** Index on the device. */
  readonly queue: number;
  /** Name for messages. */
  readonly name: string;
  /** Its format (virtio 1.4 §2.7, §2.8). */
  readonly format: "split" | "packed";
  /** Where its parts are, and its size in descriptors. */
  readonly addresses: QueueAddresses;
  /** Free slots. */
  readonly free: number;
  /** Buffers that the device has, or will have. */
  readonly inFlight: number;
  /** Why it is broken. */
  readonly broken: string | null;
  /** The driver's own records, which no device can change. */
  readonly shadow: {
    /** Index, or place, of the next buffer to add. */
    readonly added: number;
    /** Index, or place, of the first buffer that was not kicked. */
    readonly kicked: number;
    /** Index, or place, of the next used buffer to take. */
    readonly taken: number;
  };
  /** The ring as it stands in memory. */
  readonly memory: {
    /** The available index; of a packed ring there is none. */
    readonly available: number | null;
    /** The used index; of a packed ring there is none. */
    readonly used: number | null;
    /** Used entries that the driver did not take. */
    readonly entries: readonly {
      /** Head or id of the buffer. */
      readonly id: number;
      /** Bytes that the device says it wrote. */
      readonly length: number;
    }[];
  };
  /** Notifications that each side asked of the other, in words. */
  readonly events: {
    /** When the driver wants an interrupt. */
    readonly interrupt: string;
    /** When the device wants a kick. */
    readonly kick: string;
  };
  /** Buffers that the driver did not take back, by id. */
  readonly buffers: readonly InspectedBuffer[];
  /** Where memory that a device can write says what cannot be. */
  readonly wrong: readonly string[];
}
