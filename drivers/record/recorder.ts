import { setImmediate } from "node:timers";
import {
  type DeviceNode,
  type Dma,
  type DmaOptions,
  type DmaRegion,
  type Interrupt,
  type InterruptWait,
  type MemoryWindow,
  type Mmio,
  type MmioNode,
  type PciLease,
  type PciMessage,
  type PciNode,
  type Platform,
  VireoError,
} from "@vireo/hal";
import { noRescan } from "./_rescan.ts";
import { TracedDma } from "../trace/traced_dma.ts";
import type { Ring } from "../virtqueue/create_ring.ts";
import type { RingObserver, RingPlace } from "../virtqueue/observer.ts";
import { RecordedRing } from "./_recorded_ring.ts";
import { type HostStep, RecordKind, RecordWriter } from "./format.ts";

/**
 * A machine whose device side is written to a recording while drivers use it: register accesses, memory that
 * devices wrote before each step, interrupts. A bus must have the recorder as its `rings`.
 *
 * Interrupts reach drivers at the start of a turn of the event loop, so that a replay can deliver them at the same
 * place. Memory that a device writes is seen through the rings; what it writes elsewhere is not in the recording.
 *
 * @example
 * ```ts
 * import { Bus, rngDriver } from "@vireo/drivers";
 * import { Recorder, Replay } from "@vireo/drivers/record";
 * import { EmulatedMachine, RngDevice } from "@vireo/emu";
 * import { joinBytes } from "@vireo/hal";
 * import { assertEquals } from "@std/assert";
 *
 * const use = async (machine: Recorder | Replay): Promise<Uint8Array> => {
 *   await using bus = new Bus({ rings: machine });
 *   await bus.registerDriver(rngDriver);
 *   await bus.addPlatform(machine);
 *   return await bus.get(rngDriver)!.read(4);
 * };
 * const chunks: Uint8Array[] = [];
 * const random = (into: Uint8Array) => into.fill(7);
 * const machine = EmulatedMachine.create({ devices: [{ model: new RngDevice({ random }) }] });
 * const recorder = new Recorder(machine, (bytes) => chunks.push(bytes));
 * assertEquals([...await use(recorder)], [7, 7, 7, 7]);
 * recorder.close();
 *
 * const replay = new Replay(joinBytes(...chunks));
 * assertEquals([...await use(replay)], [7, 7, 7, 7]);
 * assertEquals(replay.end(), undefined);
 * ```
 */
export class Recorder implements Platform, RingObserver {
  /** Name of the platform. */
  readonly name: string;
  /** Memory of the platform. */
  readonly dma: Dma;
  /** Driver's view of memory, by the addresses that devices see. */
  readonly memory: TracedDma;
  /** Where records go. */
  readonly log: RecordWriter;
  readonly #platform: Platform;
  readonly #rings: RecordedRing[] = [];
  readonly #diagnoses = new Map<string, string | undefined>();
  #windows = 0;
  #sources = 0;
  #ringCount = 0;
  /** Whether a poll asks: its looks are no steps. */
  polling = false;

  /**
   * Begins a recording.
   *
   * @param sink Receives the bytes, in chunks.
   * @param program Data that {@linkcode RecordingHeader.program} gives back.
   * @throws {VireoError} `UNSUPPORTED` If the machine has devices behind vhost-user sockets.
   */
  constructor(platform: Platform, sink: (bytes: Uint8Array) => void, program: unknown = null) {
    this.#platform = platform;
    this.name = platform.name;
    this.memory = new TracedDma(platform.dma);
    this.dma = {
      access: platform.dma.access,
      alloc: (size, options) => this.#alloc(size, options),
    };
    const nodes = platform.nodes().map((node) => {
      if (node.kind === "vhost-user") {
        throw new VireoError(
          "UNSUPPORTED",
          "Cannot record a device behind a vhost-user socket: it must have registers",
        );
      }
      const { open: _, ...data } = node;
      return data;
    });
    const { access } = platform.dma;
    this.log = new RecordWriter(sink, { platform: this.name, access, nodes, program });
  }

  /** The nodes, whose accesses are recorded. */
  nodes(): readonly DeviceNode[] {
    return this.#platform.nodes().map((node) => {
      if (node.kind === "vhost-user") return node;
      return node.kind === "mmio" ? this.#mmioNode(node) : this.#pciNode(node);
    });
  }

  /** Refuses: devices that come or go are not recorded. @throws {VireoError} `UNSUPPORTED` Always. */
  rescan(): never {
    throw noRescan(this.name);
  }

  /** Opens shared memory, which is not recorded. */
  openMemory(address: number, length: number): MemoryWindow {
    return this.#platform.openMemory(address, length);
  }

  /** Asks the machine about a device; changes are recorded. */
  diagnose(node: string): VireoError | undefined {
    const error = this.#platform.diagnose?.(node);
    if (error?.message !== this.#diagnoses.get(node)) {
      this.#diagnoses.set(node, error?.message);
      const { code, message = null } = error ?? {};
      this.log.json(RecordKind.DIAGNOSIS, { node, code, message });
    }
    return error;
  }

  /** A ring whose steps are recorded. */
  ring(ring: Ring, { slot, packed }: RingPlace): Ring {
    const { index, name, size } = ring;
    const id = this.#ringCount++;
    this.log.json(RecordKind.META, { op: "ring", slot, queue: index, name, size, ring: id });
    const recorded = new RecordedRing(ring, { recorder: this, id, packed });
    this.#rings.push(recorded);
    return recorded;
  }

  /** A ring is gone. */
  drop(ring: RecordedRing): void {
    const at = this.#rings.indexOf(ring);
    if (at >= 0) this.#rings.splice(at, 1);
  }

  /** Records what devices wrote to the rings up to now. */
  sync(): void {
    for (const ring of this.#rings) ring.sync();
  }

  /**
   * Records what the program gets at the host's end of a port, at the start of a turn of the event loop as interrupts
   * are: a replay gives it to the program at the same place.
   */
  async host({ kind, bytes }: HostStep): Promise<void> {
    await new Promise<void>((resolve) => setImmediate(resolve));
    // The machine may end after its recording.
    if (this.log.closed) return;
    this.log.begin(RecordKind.HOST);
    this.log.number(kind);
    this.log.blob(bytes);
  }

  /** Ends the recording in order; without it, it reads as one that is cut. */
  close(): void {
    this.log.close();
  }

  /** Ends the recording; the platform stays its owner's. */
  [Symbol.asyncDispose](): Promise<void> {
    this.close();
    return Promise.resolve();
  }

  #alloc(size: number, options?: DmaOptions): DmaRegion {
    let region: DmaRegion;
    try {
      region = this.memory.alloc(size, options);
    } catch (error) {
      if (error instanceof VireoError) this.#allocated(size, options, 0);
      throw error;
    }
    this.#allocated(size, options, region.address + 1);
    return region;
  }

  /** @param place One more than the address; 0 if there was no room. */
  #allocated(size: number, options: DmaOptions | undefined, place: number): void {
    this.log.begin(RecordKind.ALLOC);
    this.log.number(size);
    this.log.number(options?.align ?? 16);
    this.log.number(place);
  }

  #mmioNode(node: MmioNode): MmioNode {
    return {
      ...node,
      open: () => {
        const lease = node.open();
        const { polled } = lease.interrupt;
        const [window, source] = [this.#windows++, this.#sources++];
        this.log.json(RecordKind.META, { op: "open", node: node.name, polled, window, source });
        return {
          mmio: this.#window(lease.mmio, window),
          interrupt: this.#interrupt(lease.interrupt, source),
          [Symbol.dispose]: () => lease[Symbol.dispose](),
        };
      },
    };
  }

  #pciNode(node: PciNode): PciNode {
    return {
      ...node,
      open: () => {
        const lease = node.open();
        const { bars, config, line } = lease;
        const { name, size } = config;
        const window = this.#windows++;
        const source = line === undefined ? undefined : this.#sources++;
        const op = { op: "open", node: node.name, window, source, polled: line?.polled };
        this.log.json(RecordKind.META, { ...op, bars, config: { name, size } });
        return this.#pciLease(node.name, lease, {
          config: this.#window(config, window),
          line: line && this.#interrupt(line, source!),
        });
      },
    };
  }

  #pciLease(node: string, lease: PciLease, open: Pick<PciLease, "config" | "line">): PciLease {
    return {
      ...open,
      bars: lease.bars,
      messages: (count) => {
        const messages = lease.messages(count);
        const given = messages?.map(({ address, data, interrupt }) => {
          return { address, data, interrupt, source: this.#sources++ };
        });
        const told = given?.map(({ interrupt: { polled }, ...message }) => ({
          ...message,
          polled,
        }));
        this.log.json(RecordKind.META, { op: "messages", node, count, given: told ?? null });
        return given?.map(({ address, data, interrupt, source }): PciMessage => {
          return { address, data, interrupt: this.#interrupt(interrupt, source) };
        });
      },
      openBar: (index) => {
        const bar = lease.openBar(index);
        const window = this.#windows++;
        const { name, size } = bar;
        this.log.json(RecordKind.META, { op: "bar", node, index, name, size, window });
        return this.#window(bar, window);
      },
      [Symbol.dispose]: () => lease[Symbol.dispose](),
    };
  }

  #window(window: Mmio, id: number): Mmio {
    const { log } = this;
    const access = (kind: number, offset: number, value: number): number => {
      log.begin(kind);
      log.number(id);
      log.number(offset);
      log.number(value >>> 0);
      return value;
    };
    return {
      name: window.name,
      size: window.size,
      read8: (offset) => access(RecordKind.READ8, offset, window.read8(offset)),
      read16: (offset) => access(RecordKind.READ16, offset, window.read16(offset)),
      read32: (offset) => access(RecordKind.READ32, offset, window.read32(offset)),
      write8: (offset, value) => window.write8(offset, access(RecordKind.WRITE8, offset, value)),
      write16: (offset, value) => window.write16(offset, access(RecordKind.WRITE16, offset, value)),
      write32: (offset, value) => window.write32(offset, access(RecordKind.WRITE32, offset, value)),
    };
  }

  #interrupt(interrupt: Interrupt, source: number): Interrupt {
    const { polled } = interrupt;
    const wait = async ({ serve, ...options }: InterruptWait): Promise<void> => {
      const { ready, readyInMemory = ready } = options;
      let by = 0;
      if (polled) {
        await interrupt.wait({
          ...options,
          ready: () => this.#poll(ready) && (by = 2) > 0,
          ...options.readyInMemory && {
            readyInMemory: () => this.#poll(readyInMemory) && (by = 1) > 0,
          },
        });
      } else {
        await interrupt.wait(options);
        await new Promise<void>((resolve) => setImmediate(resolve));
      }
      if (options.signal.aborted) return;
      this.sync();
      this.log.begin(RecordKind.INTERRUPT);
      this.log.number(source);
      this.log.number(by);
      // The reads of the poll are steps of the driver too.
      if (by === 1) readyInMemory();
      if (by === 2) ready();
      serve?.();
    };
    return { polled, wait };
  }

  /** Asks without a trace in the recording: how often a poll asks is chance. */
  #poll(ask: () => boolean): boolean {
    this.log.hold();
    this.polling = true;
    try {
      return ask();
    } finally {
      this.polling = false;
      this.log.drop();
    }
  }
}
