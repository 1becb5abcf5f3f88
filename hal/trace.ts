/**
 * The contract of traces: typed events of every layer, and who takes them.
 *
 * @example
 * ```ts
 * import type { TraceSink } from "@vireo/hal/trace";
 * import { assertEquals } from "@std/assert";
 *
 * const counts = new Map<string, number>();
 * const sink: TraceSink = ({ kind }) => counts.set(kind, (counts.get(kind) ?? 0) + 1);
 * const place = { time: 0, device: "virtio0", deviceId: 4 };
 * sink({ ...place, kind: "status", status: 1 });
 * sink({ ...place, kind: "status", status: 3 });
 * assertEquals(counts.get("status"), 2);
 * ```
 *
 * @module
 */
import type { FeatureSet } from "./bits.ts";
import type { FeatureNames } from "./virtio/features.ts";

/**
 * Version of the contract below, which every trace file says. It goes up when an event or a field changes its
 * meaning or is gone; readers must pass over kinds and fields that they do not know.
 */
export const TRACE_VERSION = 1;

/** One register access, as an emulator or a test sees it at its own window. */
export interface RegisterTrace {
  /** `r` for a read and `w` for a write. */
  readonly op: "r" | "w";
  /** Name of the register window. */
  readonly window: string;
  /** Byte offset in the window. */
  readonly offset: number;
  /** Width of the access in bytes: 1, 2 or 4. */
  readonly width: 1 | 2 | 4;
  /** Value read or written. */
  readonly value: number;
}

/** Receives every register access, in program order. */
export type RegisterSink = (access: RegisterTrace) => void;

/** The kinds of events that can be chosen: register accesses, what rings and devices do, requests, and copies of data. */
export const TRACE_GROUPS = ["regs", "ring", "request", "copy"] as const;
/** One of {@linkcode TRACE_GROUPS}. */
export type TraceGroup = typeof TRACE_GROUPS[number];

/** A register access, at the window (virtio 1.4 §4.1.4, §4.2.2). */
export interface RegisterEvent {
  /** Names the event. */
  readonly kind: "register";
  /** Direction of the access. */
  readonly op: "read" | "write";
  /** The register's name in the specification; undefined for one that it does not name. */
  readonly register: string | undefined;
  /** Name of the window, for example `virtio-mmio@a003e00` or `BAR4`. */
  readonly window: string;
  /** Byte offset in the window. */
  readonly offset: number;
  /** Width in bytes. */
  readonly width: 1 | 2 | 4;
  /** Value that was read or written. */
  readonly value: number;
}

/** The driver wrote the device status field; 0 is a reset (virtio 1.4 §2.1). */
export interface StatusEvent {
  /** Names the event. */
  readonly kind: "status";
  /** Bits of `Status`. */
  readonly status: number;
}

/** Features that a device offers, or a driver accepts (virtio 1.4 §2.2). */
export interface FeaturesEvent {
  /** Names the event. */
  readonly kind: "features";
  /** Side that offers or accepts. */
  readonly by: "device" | "driver";
  /** The bits. */
  readonly features: FeatureSet;
  /** Names of the device's own bits, where the device knows them: it may be one that no specification has. */
  readonly names?: FeatureNames | undefined;
}

/** A queue was set up, or taken down. */
export interface QueueEvent {
  /** Names the event. */
  readonly kind: "queue";
  /** Index of the queue. */
  readonly queue: number;
  /** Size and places of its parts; undefined where it is taken down. */
  readonly ring: {
    /** Number of descriptors. */
    readonly size: number;
    /** Address of the descriptor area. */
    readonly desc: number;
    /** Address of the driver area. */
    readonly driver: number;
    /** Address of the device area. */
    readonly device: number;
  } | undefined;
}

/** One element of a buffer. */
export interface TraceElement {
  /** Where the device sees it. */
  readonly address: number;
  /** Length in bytes. */
  readonly length: number;
  /** Whether the device writes it. */
  readonly writable: boolean;
}

/** Fields of what happens to one buffer of a queue. */
export interface BufferFields {
  /** Index of the queue. */
  readonly queue: number;
  /** Name of the queue. */
  readonly name: string;
  /** The driver's name of the buffer. */
  readonly token: number;
  /**
   * Whether the sides of the queue are swapped: the device adds, which is told when the driver takes the buffer, and
   * the driver uses (CAIF).
   */
  readonly reversed?: true;
  /**
   * The side that tells it, if that is the device: a buffer is then added when the device takes it, and used when the
   * device is done with it.
   */
  readonly seenBy?: "device" | undefined;
  /** The request in the device's words; undefined where it has none. */
  readonly request: string | undefined;
  /** An Ethernet frame, or a packet of a socket with its header (virtio 1.4 §5.10.6), where the buffer has one. */
  readonly frame?: Uint8Array | undefined;
  /** The first bytes, if they are asked for. */
  readonly data?: Uint8Array | undefined;
}

/** The fields of an event that tell what is in its buffer. */
export type BufferContents = Pick<BufferFields, "request" | "frame" | "data">;

/** The driver put a buffer into a ring. */
export interface AddEvent extends BufferFields {
  /** Names the event. */
  readonly kind: "add";
  /** Its parts, those that the device reads first. */
  readonly elements: readonly TraceElement[];
  /** Buffers that the device has or will have with the next kick. */
  readonly inFlight: number;
}

/** The driver took a buffer that the device returned. */
export interface UsedEvent extends BufferFields {
  /** Names the event. */
  readonly kind: "used";
  /** Bytes that the device says it wrote. */
  readonly length: number;
  /** Buffers that the device still has. */
  readonly inFlight: number;
  /** Milliseconds since the buffer was added. */
  readonly after: number;
}

/** The driver made added buffers available (virtio 1.4 §2.7.13.3, §2.8.21.3). */
export interface KickEvent {
  /** Names the event. */
  readonly kind: "kick";
  /** Index of the queue. */
  readonly queue: number;
  /** Name of the queue. */
  readonly name: string;
  /** How many buffers were added since the kick before. */
  readonly buffers: number;
  /** Whether the device was notified; if not, it had asked for no notification. */
  readonly notified: boolean;
}

/** An interrupt, or what a poll found in its place. */
export interface InterruptEvent {
  /** Names the event. */
  readonly kind: "interrupt";
  /** Bits of `InterruptCause`. */
  readonly cause: number;
  /** The queues that it reports; undefined for all of them. */
  readonly queues: readonly number[] | undefined;
}

/** The driver read a configuration field, or wrote it. */
export interface ConfigEvent {
  /** Names the event. */
  readonly kind: "config";
  /** Direction of the access. */
  readonly op: "read" | "write";
  /** Byte offset in the device configuration. */
  readonly offset: number;
  /** Width in bytes. */
  readonly width: 1 | 2 | 4;
  /** Value that was read or written. */
  readonly value: number;
}

/** The driver copied data between its caller's memory and memory that the device can reach. */
export interface CopyEvent {
  /** Names the event. */
  readonly kind: "copy";
  /** Length in bytes. */
  readonly bytes: number;
}

/** A device behind a vhost-user socket carried out what its front end asked, or heard of it otherwise. */
export interface FrontEndEvent {
  /** Names the event. */
  readonly kind: "message";
  /** The request by its name in the protocol; `connected` and `disconnected` for the socket itself. */
  readonly request: string;
  /** Its contents in words, and the answer behind an arrow; empty if there are none. */
  readonly text: string;
}

/** A device got a notification of a queue: the other side of a kick (virtio 1.4 §2.9). */
export interface NotifiedEvent {
  /** Names the event. */
  readonly kind: "notified";
  /** Index of the queue. */
  readonly queue: number;
  /** Name of the queue. */
  readonly name: string;
  /** Why the device does not look at the queue for it; undefined if it does. */
  readonly ignored: string | undefined;
}

/** A device made used buffers visible to its driver (virtio 1.4 §2.7.7.2, §2.8.7): the other side of an interrupt. */
export interface CallEvent {
  /** Names the event. */
  readonly kind: "call";
  /** Index of the queue. */
  readonly queue: number;
  /** Name of the queue. */
  readonly name: string;
  /** How many buffers were used since the call before. */
  readonly buffers: number;
  /** Why the driver was not interrupted; undefined if it was. */
  readonly unsent: string | undefined;
}

/** A device reported that its configuration changed, or that it needs a reset (virtio 1.4 §2.5). */
export interface ChangeEvent {
  /** Names the event. */
  readonly kind: "change";
  /** Why nobody was told; undefined if the driver or its front end was. */
  readonly unsent: string | undefined;
}

/** Something failed: a ring broke, a device needs a reset. */
export interface FaultEvent {
  /** Names the event. */
  readonly kind: "fault";
  /** Message of the error. */
  readonly message: string;
}

/** Mistake of the driver that the machine noted: an emulator knows it (`Platform.diagnose`). */
export interface ViolationEvent {
  /** Names the event. */
  readonly kind: "violation";
  /** Text of the mistake. */
  readonly message: string;
}

/** Kinds of events; each is emitted at one place. */
export type TraceDetail =
  | RegisterEvent
  | StatusEvent
  | FeaturesEvent
  | QueueEvent
  | AddEvent
  | UsedEvent
  | KickEvent
  | InterruptEvent
  | ConfigEvent
  | CopyEvent
  | FrontEndEvent
  | NotifiedEvent
  | CallEvent
  | ChangeEvent
  | FaultEvent
  | ViolationEvent;

/** One event of a trace, in program order. */
export type TraceEvent = TraceDetail & {
  /** Milliseconds since the trace began. */
  readonly time: number;
  /** Name of the device or, before the bus knows it, of its slot. */
  readonly device: string;
  /** Virtio device id; 0 where it is not known. */
  readonly deviceId: number;
};

/** Receives every event. It must not throw, nor call what is traced. */
export type TraceSink = (event: TraceEvent) => void;

/**
 * The group of an event.
 *
 * @example
 * ```ts
 * import { traceGroup } from "@vireo/hal/trace";
 * import { assertEquals } from "@std/assert";
 *
 * const kick = { kind: "kick", queue: 0, name: "rng 0", buffers: 1, notified: true } as const;
 * assertEquals(traceGroup(kick), "ring");
 * ```
 */
export function traceGroup(event: TraceDetail): TraceGroup {
  switch (event.kind) {
    case "register":
    case "config":
    case "message":
      return "regs";
    case "copy":
      return "copy";
    case "add":
    case "used":
      return event.request === undefined ? "ring" : "request";
    default:
      return "ring";
  }
}

/**
 * Whether an event is asked for by its group; what happens to a buffer is the ring's too.
 *
 * @example
 * ```ts
 * import { inTraceGroups } from "@vireo/hal/trace";
 * import { assertEquals } from "@std/assert";
 *
 * const kick = { kind: "kick", queue: 0, name: "rng 0", buffers: 1, notified: true } as const;
 * assertEquals(inTraceGroups(new Set(["regs"]), kick), false);
 * assertEquals(inTraceGroups(new Set(["regs", "ring"]), kick), true);
 * ```
 */
export function inTraceGroups(groups: ReadonlySet<TraceGroup>, event: TraceDetail): boolean {
  if (groups.has(traceGroup(event))) return true;
  return (event.kind === "add" || event.kind === "used") && groups.has("ring");
}
