import {
  type DeviceNode,
  type Dma,
  FeatureSet,
  inTraceGroups,
  type MemoryWindow,
  TRACE_GROUPS,
  type TraceDetail,
  type TraceGroup,
  type TraceSink,
  type VireoError,
} from "@vireo/hal";
import type { Transport } from "../transport/transport.ts";
import type { Ring, RingRequest } from "../virtqueue/create_ring.ts";
import { CountedDma, TracedDma } from "./traced_dma.ts";
import { tracedNode } from "./_registers.ts";
import type { Traced, TraceTarget } from "./_target.ts";
import { TracedTransport } from "./_transport.ts";
import { TracedHostRing } from "./_host_ring.ts";
import { TracedRing } from "./traced_ring.ts";

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
  readonly #all: boolean;
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
    this.#all = this.#groups.size === TRACE_GROUPS.length;
    this.#devices = devices && new Set(devices);
    this.data = data;
    this.#now = now;
    this.#start = now();
  }

  /** Milliseconds since the trace began. */
  get time(): number {
    return this.#now() - this.#start;
  }

  /**
   * Emits an event of the device in a slot, if it is asked for; the detail becomes the event.
   *
   * @param time When it happened, if that is known: to ask the clock costs as much as all else here.
   */
  emit(slot: string, detail: TraceDetail, time?: number): void {
    if (!this.#all && !inTraceGroups(this.#groups, detail)) return;
    const { name, deviceId } = this.of(slot);
    if (this.#devices?.has(name) === false) return;
    // A copy would cost three times as much (tests/trace/sinks_bench.ts).
    const event = detail as TraceDetail & { time: number; device: string; deviceId: number };
    event.time = time ?? this.time;
    event.device = name;
    event.deviceId = deviceId;
    this.#sink(event);
  }

  /** Names of the devices that the bus has found, whether they are traced or not. */
  get deviceNames(): string[] {
    return [...this.#known.values()].filter(({ deviceId }) => deviceId !== 0)
      .map(({ name }) => name);
  }

  /** Returns the device in a slot. */
  of(slot: string): Traced {
    const known = this.#known.get(slot);
    if (known !== undefined) return known;
    const unknown = { name: slot, deviceId: 0, features: FeatureSet.NONE };
    this.#known.set(slot, unknown);
    return unknown;
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

  /** The memory for the device in a slot, whose driver's copies are events. */
  counted(dma: Dma, slot: string): Dma {
    if (!this.#groups.has("copy") || !(dma instanceof TracedDma)) return dma;
    return new CountedDma(dma, (bytes) => this.emit(slot, { kind: "copy", bytes }));
  }

  /** A window of memory that the device shares, so that what lies there can be read. */
  window(dma: Dma, address: number, window: MemoryWindow): MemoryWindow {
    return memoryOf(dma)?.window(address, window) ?? window;
  }

  /** The transport, with what is done through it as events. */
  transport(transport: Transport, name: string): Transport {
    this.learn(transport.name, { name, deviceId: transport.deviceId });
    return new TracedTransport(transport, this);
  }

  /**
   * The ring that `make` makes, with what goes in and out of it as events.
   *
   * @param place The slot of the ring's device, and the memory of its driver.
   */
  ring(
    { slot, dma }: { readonly slot: string; readonly dma: Dma },
    options: RingRequest,
    make: (options: RingRequest) => Ring,
  ): Ring {
    // A ring notifies nobody before it is used.
    let traced: TracedRing | TracedHostRing;
    const notify: RingRequest["notify"] = (index, data) => {
      traced.notified();
      options.notify(index, data);
    };
    const memory = memoryOf(dma);
    const find = (address: number, length: number) => memory?.find(address, length);
    const trace = { tracer: this, slot, find };
    if (options.reversed === true) {
      return make({
        ...options,
        notify,
        host: (given) => traced = new TracedHostRing(given, trace),
      });
    }
    return traced = new TracedRing(make({ ...options, notify }), trace);
  }

  /** Something failed. */
  fault(slot: string, error: VireoError): void {
    this.emit(slot, { kind: "fault", message: error.message });
  }
}

/** The memory of all devices behind that of one. */
function memoryOf(dma: Dma): TracedDma | undefined {
  const memory = dma instanceof CountedDma ? dma.memory : dma;
  return memory instanceof TracedDma ? memory : undefined;
}
