import type { Dma, FeatureSet, Interrupt, InterruptWait } from "@vireo/hal";
import type { PciDetails } from "../transport/pci/details.ts";
import type {
  AccessWidth,
  InterruptRoute,
  InterruptSource,
  QueueInterrupt,
  SharedMemoryRegion,
  Transport,
} from "../transport/transport.ts";
import type { QueueAddresses } from "../virtqueue/virtqueue.ts";
import type { WaitOptions } from "../wait/options.ts";
import type { TraceTarget } from "./_target.ts";

/** A transport of which a tracer hears what drivers and devices do through it. */
export class TracedTransport implements Transport {
  readonly name: string;
  readonly kind: Transport["kind"];
  readonly legacy: boolean;
  readonly deviceId: number;
  readonly vendorId: number;
  readonly dma: Dma;
  readonly interrupt: Interrupt;
  readonly legacyQueueAlign: number | undefined;
  readonly fixedQueueSize: boolean;
  readonly withheld: FeatureSet;
  readonly #transport: Transport;
  readonly #tracer: TraceTarget;
  /** The sources that are wrapped already: the same ones are given out each time. */
  readonly #sources = new WeakMap<InterruptSource, InterruptSource>();

  constructor(transport: Transport, tracer: TraceTarget) {
    this.#transport = transport;
    this.#tracer = tracer;
    this.name = transport.name;
    this.kind = transport.kind;
    this.legacy = transport.legacy;
    this.deviceId = transport.deviceId;
    this.vendorId = transport.vendorId;
    this.dma = tracer.counted(transport.dma, transport.name);
    this.interrupt = transport.interrupt;
    this.legacyQueueAlign = transport.legacyQueueAlign;
    this.fixedQueueSize = transport.fixedQueueSize;
    this.withheld = transport.withheld;
  }

  get pci(): PciDetails | undefined {
    return this.#transport.pci;
  }

  get route(): InterruptRoute | undefined {
    const { route } = this.#transport;
    return route && this.#traced(route);
  }

  readFeatures(): FeatureSet {
    const features = this.#transport.readFeatures();
    this.#tracer.emit(this.name, { kind: "features", by: "device", features });
    return features;
  }

  writeFeatures(features: FeatureSet): void {
    this.#tracer.learn(this.name, { features });
    this.#tracer.emit(this.name, { kind: "features", by: "driver", features });
    this.#transport.writeFeatures(features);
  }

  readStatus(): number {
    return this.#transport.readStatus();
  }

  writeStatus(status: number): void {
    this.#tracer.emit(this.name, { kind: "status", status });
    this.#transport.writeStatus(status);
  }

  reset(options?: WaitOptions): Promise<void> {
    this.#tracer.emit(this.name, { kind: "status", status: 0 });
    return this.#transport.reset(options);
  }

  queueMaxSize(index: number): number {
    return this.#transport.queueMaxSize(index);
  }

  routeInterrupts(queues: readonly QueueInterrupt[]): InterruptRoute {
    return this.#traced(this.#transport.routeInterrupts(queues));
  }

  enableQueue(index: number, queue: QueueAddresses): void {
    const { size, desc, driver, device } = queue;
    this.#tracer.emit(this.name, {
      kind: "queue",
      queue: index,
      ring: { size, desc, driver, device },
    });
    this.#transport.enableQueue(index, queue);
  }

  startQueues(): void {
    this.#transport.startQueues();
  }

  disableQueue(index: number): void {
    this.#tracer.emit(this.name, { kind: "queue", queue: index, ring: undefined });
    this.#transport.disableQueue(index);
  }

  resetQueue(index: number, options?: WaitOptions): Promise<void> {
    this.#tracer.emit(this.name, { kind: "queue", queue: index, ring: undefined });
    return this.#transport.resetQueue(index, options);
  }

  notify(index: number, data: number): void {
    this.#transport.notify(index, data);
  }

  readConfig(offset: number, width: AccessWidth): number {
    const value = this.#transport.readConfig(offset, width);
    this.#config("read", offset, width, value);
    return value;
  }

  writeConfig(offset: number, width: AccessWidth, value: number): void {
    this.#config("write", offset, width, value);
    this.#transport.writeConfig(offset, width, value);
  }

  configGeneration(): number {
    return this.#transport.configGeneration();
  }

  sharedMemory(id: number): SharedMemoryRegion | undefined {
    return this.#transport.sharedMemory(id);
  }

  takeInterruptCause(): number {
    const cause = this.#transport.takeInterruptCause();
    if (cause !== 0) {
      this.#tracer.emit(this.name, { kind: "interrupt", cause, queues: undefined });
    }
    return cause;
  }

  peekInterruptCause(): number {
    return this.#transport.peekInterruptCause();
  }

  isPresent(): boolean {
    return this.#transport.isPresent();
  }

  enable(): void {
    this.#transport.enable?.();
  }

  [Symbol.dispose](): void {
    this.#transport[Symbol.dispose]();
  }

  /** Register events have it already, but behind a socket there are none. */
  #config(op: "read" | "write", offset: number, width: AccessWidth, value: number): void {
    if (this.kind !== "vhost-user") return;
    this.#tracer.emit(this.name, { kind: "config", op, offset, width, value });
  }

  #traced(route: InterruptRoute): InterruptRoute {
    return { ...route, sources: route.sources.map((source) => this.#source(source)) };
  }

  /** A source that needs no register tells by itself; others when their cause is taken. */
  #source(source: InterruptSource): InterruptSource {
    if (source.cause === 0) return source;
    let traced = this.#sources.get(source);
    if (traced === undefined) {
      const { interrupt, cause, queues } = source;
      // Without `serve`, so that each interrupt ends a wait.
      const wait = async ({ serve: _, ...options }: InterruptWait): Promise<void> => {
        await interrupt.wait(options);
        this.#tracer.emit(this.name, { kind: "interrupt", cause, queues });
      };
      traced = { cause, queues, interrupt: { polled: interrupt.polled, wait } };
      this.#sources.set(source, traced);
    }
    return traced;
  }
}
