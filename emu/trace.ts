import type { BufferContents, FeatureSet, TraceDetail, TraceElement } from "@vireo/hal";

/** A buffer that a traced device has, or has had. */
export interface TracedBuffer {
  /** Index of the queue. */
  readonly queue: number;
  /** Name of the queue. */
  readonly name: string;
  /** The negotiated features. */
  readonly features: FeatureSet;
  /** Its parts. */
  readonly elements: readonly TraceElement[];
  /** Guest memory at an address of an element; undefined where there is none. */
  readonly find: (address: number, length: number) => Uint8Array | undefined;
}

/**
 * Receiver of what a device sees: its driver's set-up, notifications, buffers as it takes and returns them, calls. A
 * device that has none runs without any code of it.
 */
export interface DeviceTrace {
  /** Milliseconds since the trace began. */
  readonly time: number;
  /** Takes an event; the detail becomes the event. */
  emit(detail: TraceDetail, time?: number): void;
  /** Tells what the driver asks for, in the device's words. */
  asked(buffer: TracedBuffer): BufferContents;
  /**
   * Tells what the device answered, while its buffer is still its own.
   *
   * @param request What the driver asked for.
   * @param length Bytes that it wrote.
   */
  answered(buffer: TracedBuffer, request: string | undefined, length: number): BufferContents;
}
