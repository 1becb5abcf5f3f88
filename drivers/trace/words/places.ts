import type { FeatureSet } from "@vireo/hal";

/** Which queue of which device. */
export interface QueuePlace {
  /** Virtio device id. */
  readonly deviceId: number;
  /** Features that were negotiated. */
  readonly features: FeatureSet;
  /** Index of the queue. */
  readonly queue: number;
  /** Name of the queue, as its driver has it (`input.0`) or the specification (`receiveq1`). */
  readonly name: string;
}

/** Bytes that the driver wrote for the device. */
export interface RequestBytes extends QueuePlace {
  /** The first bytes that the device reads. */
  readonly bytes: Uint8Array;
  /** How many bytes the device reads. */
  readonly readable: number;
  /** How many bytes the device writes. */
  readonly writable: number;
}

/** Bytes that the device wrote for the driver. */
export interface AnswerBytes extends QueuePlace {
  /** Request that was asked; undefined where nothing was. */
  readonly request: string | undefined;
  /** The first bytes that the device wrote. */
  readonly bytes: Uint8Array;
  /** How many it says it wrote. */
  readonly length: number;
  /** The last byte that it could write. */
  readonly last: number | undefined;
}

/** How the requests and answers of one type of devices are told. */
export interface DeviceWords {
  /** The driver's request; undefined where a buffer is only room. */
  request(request: RequestBytes, view: DataView): string | undefined;
  /** The device's answer; undefined where it only returned room. */
  answer(answer: AnswerBytes, view: DataView): string | undefined;
}
