import {
  type DeviceNode,
  type Dma,
  FeatureSet,
  inTraceGroups,
  TRACE_GROUPS,
  type TraceDetail,
  type TraceGroup,
  type TraceSink,
  type VireoError,
} from "@vireo/hal";
import type { Transport } from "../transport/transport.ts";
import { TracedDma } from "./traced_dma.ts";
import { tracedNode } from "./_registers.ts";
import type { Traced, TraceTarget } from "./_target.ts";
import { TracedTransport } from "./_transport.ts";

/** Options of a trace. */
export interface TracerOptions {
  /** The groups of events; all of them by default. */
  readonly groups?: readonly TraceGroup[] | undefined;
  /** Names of the only devices that it is about, for example `virtio1`; all of them by default. */
  readonly devices?: readonly string[] | undefined;
  /** Bytes of each buffer's data that events have; 0 by default, since data may be secret. */
  readonly data?: number | undefined;
  /** Milliseconds of a clock; `performance.now` by default. */
  readonly now?: (() => number) | undefined;
}

/**
 * Makes events of what a bus, its transports and rings do, and hands them to a sink. It wraps them where the
 * bus makes them, so that a bus without a tracer runs without any of its code.
 *
 * @example
 * ```ts
 * import { Bus, rngDriver } from "@vireo/drivers";
 * import { Tracer } from "@vireo/drivers/trace";
 * import { EmulatedMachine, RngDevice } from "@vireo/emu";
 * import { assert } from "@std/assert";
 *
 * const kinds = new Set<string>();
 * const tracer = new Tracer((event) => kinds.add(event.kind));
 * const random = (into: Uint8Array) => into.fill(7);
 * const machine = EmulatedMachine.create({ devices: [{ model: new RngDevice({ random }) }] });
 * await using bus = new Bus({ tracer });
 * await bus.registerDriver(rngDriver);
 * await bus.addPlatform(machine);
 * await bus.get(rngDriver)!.read(16);
 * assert(["register", "features", "queue", "add", "kick", "used"].every((kind) => kinds.has(kind)));
 * ```
 */
export class Tracer implements TraceTarget {
  /** Bytes of each buffer's data that events have. */
  readonly data: number;
  readonly #sink: TraceSink;
  readonly #groups: ReadonlySet<TraceGroup>;
  readonly #devices: ReadonlySet<string> | undefined;
  readonly #now: () => number;
  readonly #start: number;
  readonly #known = new Map<string, Traced>();
  readonly #memory = new Map<Dma, TracedDma>();

  /**
   * Begins a trace.
   *
   * @throws {RangeError} If `data` is not an integer from 0 up.
   */
  constructor(sink: TraceSink, options: TracerOptions = {}) {
    const { groups = TRACE_GROUPS, devices, data = 0, now = () => performance.now() } = options;
    if (!Number.isSafeInteger(data) || data < 0) {
      throw new RangeError(`Cannot trace ${data} bytes of data: expected an integer from 0 up`);
    }
    this.#sink = sink;
    this.#groups = new Set(groups);
    this.#devices = devices && new Set(devices);
    this.data = data;
    this.#now = now;
    this.#start = now();
  }

  /** Milliseconds since the trace began. */
  get time(): number {
    return this.#now() - this.#start;
  }

  /** Emits an event of the device in a slot, if it is asked for. */
  emit(slot: string, detail: TraceDetail): void {
    if (!inTraceGroups(this.#groups, detail)) return;
    const { name, deviceId } = this.of(slot);
    if (this.#devices?.has(name) === false) return;
    this.#sink({ time: this.time, device: name, deviceId, ...detail });
  }

  /** Returns the device in a slot. */
  of(slot: string): Traced {
    return this.#known.get(slot) ?? { name: slot, deviceId: 0, features: FeatureSet.NONE };
  }

  /** Keeps what came to be known of the device in a slot. */
  learn(slot: string, news: Partial<Traced>): void {
    this.#known.set(slot, { ...this.of(slot), ...news });
  }

  /** The node, with its register accesses as events. */
  node(node: DeviceNode): DeviceNode {
    return this.#groups.has("regs") ? tracedNode(node, this) : node;
  }

  /** The memory, so that requests can be read in it. */
  dma(dma: Dma): Dma {
    let traced = this.#memory.get(dma);
    if (traced === undefined) this.#memory.set(dma, traced = new TracedDma(dma));
    return traced;
  }

  /** The transport, with what is done through it as events. */
  transport(transport: Transport, name: string): Transport {
    this.learn(transport.name, { name, deviceId: transport.deviceId });
    return new TracedTransport(transport, this);
  }

  /** The driver's view of what a device sees at an address; undefined if no region has it whole. */
  bytesAt(dma: Dma, address: number, length: number): Uint8Array | undefined {
    return dma instanceof TracedDma ? dma.find(address, length) : undefined;
  }

  /** Something failed. */
  fault(slot: string, error: VireoError): void {
    this.emit(slot, { kind: "fault", message: error.message });
  }
}
