import { splitRingLayout } from "@vireo/hal";
import type { DeviceQueue } from "../device.ts";
import type { ViolationPlace } from "../device_state.ts";
import type { GuestMemory } from "../memory.ts";
import type { WorkMeter } from "../work.ts";
import type { InflightLog } from "./inflight.ts";
import type { RingPosition } from "./position.ts";

/** Geometry of a queue as the driver set it up; plain data. */
export interface QueueGeometry {
  /** Descriptors. */
  readonly size: number;
  /** Address of the descriptor table. */
  readonly desc: number;
  /** Address of the available ring. */
  readonly avail: number;
  /** Address of the used ring. */
  readonly used: number;
}

/** Values that a driver wrote to a queue's registers, as plain data. */
export interface ConfigState {
  /** QueueSize in descriptors. */
  readonly size: number;
  /** Low and high word of the descriptor area's address. */
  readonly desc: readonly [number, number];
  /** Low and high word of the driver area's address. */
  readonly avail: readonly [number, number];
  /** Low and high word of the device area's address. */
  readonly used: readonly [number, number];
  /** QueueAlign in bytes. */
  readonly align: number;
  /** QueuePFN in guest pages. */
  readonly pfn: number;
}

/** The parts of its device that a running queue uses. */
export interface RunningQueueOptions {
  /** Index of the queue on its device. */
  readonly index: number;
  /** Size and addresses, already checked. */
  readonly geometry: QueueGeometry;
  /** The memory of ring and buffers. */
  readonly memory: GuestMemory;
  /** Whether INDIRECT_DESC was negotiated. */
  readonly indirect: boolean;
  /** Whether EVENT_IDX was negotiated. */
  readonly eventIdx: boolean;
  /** Whether IN_ORDER was negotiated; chains completed early then wait for older ones. */
  readonly inOrder?: boolean;
  /** With IN_ORDER: one used entry for consecutive chains that were written to their end, where possible. */
  readonly batchUsed?: boolean | undefined;
  /** Legacy NOTIFY_ON_EMPTY: interrupts when the ring runs empty, even if the driver suppresses interrupts. */
  readonly notifyOnEmpty?: boolean;
  /** Counts the bytes that are copied from and to chains. */
  readonly work?: WorkMeter | undefined;
  /** Where the queue notes what the model holds. */
  readonly inflight?: InflightLog | undefined;
  /** Raises the queue interrupt. */
  readonly interrupt: () => void;
  /** Reports a guest fault to the device. */
  readonly fault: (reason: string, place: ViolationPlace) => void;
}

/** A running queue of either ring format, from its device's side. */
export interface RunningQueue extends DeviceQueue {
  /** Stops the queue for good: `pop` returns nothing, and `push` does nothing. */
  stop(): void;
  /** The queue's position. */
  position(): RingPosition;
  /** Returns what is wrong with the position in a notification's data (bits 16 to 31), if anything. */
  notificationProblem(position: number): string | undefined;
}

/**
 * A queue while the driver sets it up: it has setters and cannot run. Activation makes a running queue from
 * its geometry. A running queue has no setters, so its geometry cannot change.
 */
export class QueueConfig {
  /** Largest size. */
  readonly maxSize: number;
  /** Size in descriptors, as the driver chose it. */
  size: number;
  /** Low and high words of the addresses of the parts. */
  readonly desc: [number, number] = [0, 0];
  /** Low and high word of the available ring's address. */
  readonly avail: [number, number] = [0, 0];
  /** Low and high word of the used ring's address. */
  readonly used: [number, number] = [0, 0];
  /** Version 1: QueueAlign in bytes and QueuePFN in guest pages. */
  align = 4096;
  /** Version 1: QueuePFN in guest pages. */
  pfn = 0;

  /** Makes a queue in its state after reset. */
  constructor(maxSize: number) {
    this.maxSize = maxSize;
    this.size = maxSize;
  }

  /** Restores the state after reset. */
  reset(): void {
    this.size = this.maxSize;
    for (const part of [this.desc, this.avail, this.used]) part[0] = part[1] = 0;
    this.align = 4096;
    this.pfn = 0;
  }

  /** Returns the values that the driver wrote, as plain data. */
  snapshot(): ConfigState {
    const { size, align, pfn } = this;
    const { desc, avail, used } = this;
    return { size, desc: [...desc], avail: [...avail], used: [...used], align, pfn };
  }

  /** Restores what a driver wrote. */
  restore(state: ConfigState): void {
    this.size = state.size;
    this.align = state.align;
    this.pfn = state.pfn;
    for (const part of ["desc", "avail", "used"] as const) {
      this[part][0] = state[part][0];
      this[part][1] = state[part][1];
    }
  }

  /**
   * The geometry of the legacy interface: all parts in one block.
   *
   * @param pageSize GuestPageSize in bytes.
   */
  legacyGeometry(pageSize: number): QueueGeometry {
    const layout = splitRingLayout(this.size, this.align);
    const desc = this.pfn * pageSize;
    return {
      size: this.size,
      desc,
      avail: desc + layout.availOffset,
      used: desc + layout.usedOffset,
    };
  }

  /** The geometry from the three addresses. */
  geometry(): QueueGeometry {
    const join = ([lo, hi]: [number, number]): number => hi * 0x1_0000_0000 + lo;
    return {
      size: this.size,
      desc: join(this.desc),
      avail: join(this.avail),
      used: join(this.used),
    };
  }
}
