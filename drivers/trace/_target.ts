import type { FeatureSet, TraceDetail, VireoError } from "@vireo/hal";

/** A device whose events are emitted. */
export interface Traced {
  /** Its name; that of its slot until the bus knows it. */
  readonly name: string;
  /** Virtio device id; 0 until it was read. */
  readonly deviceId: number;
  /** Features that the driver accepted last. */
  readonly features: FeatureSet;
}

/** Receiver of the events that the parts of a trace report. */
export interface TraceTarget {
  /** Milliseconds since the trace began. */
  readonly time: number;
  /** Bytes of each buffer's data that events have. */
  readonly data: number;
  /** Emits an event of the device in a slot, if it is asked for. */
  emit(slot: string, detail: TraceDetail): void;
  /** Returns the device in a slot. */
  of(slot: string): Traced;
  /** Keeps what came to be known of the device in a slot. */
  learn(slot: string, news: Partial<Traced>): void;
  /** Something failed. */
  fault(slot: string, error: VireoError): void;
}
