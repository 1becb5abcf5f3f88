import { Feature, MmioRegister } from "@vireo/hal";
import { AREA, BUFFERS, CHAIN, type Place, type Ring, SLOT_BYTES } from "./ring.ts";
import { PackedRing } from "./packed_ring.ts";
import { SplitRing } from "./split_ring.ts";
import type { Element, RequestStep } from "./request.ts";

/** A register by the specification's name. */
export type Register = Exclude<keyof typeof MmioRegister, "Config">;

/** One step of a program; plain data, so that a failing program can be printed and run again. */
export type Step =
  /** Reads a register. */
  | { readonly do: "read"; readonly register: Register }
  /** Writes a register. */
  | { readonly do: "write"; readonly register: Register; readonly value: number }
  /** Reads configuration. */
  | { readonly do: "config"; readonly offset: number; readonly width: 1 | 2 | 4 }
  /** Writes configuration. */
  | {
    readonly do: "configure";
    readonly offset: number;
    readonly width: 1 | 2 | 4;
    readonly value: number;
  }
  /** Resets the device. */
  | { readonly do: "reset" }
  /** From reset to FEATURES_OK, with these of the features that both machines offer. */
  | { readonly do: "init"; readonly features: readonly [number, number] }
  /** Sets a queue up. */
  | { readonly do: "queue"; readonly index: number; readonly size: number }
  /** Sets DRIVER_OK. */
  | { readonly do: "start" }
  | RequestStep;

/** Which interface and which ring a pair is compared on. */
export interface Variant {
  /** 1 for the legacy interface. */
  readonly version: 1 | 2;
  readonly bus: "mmio" | "pci";
  readonly packed: boolean;
}

/** A machine under comparison: a register window, and memory at the same address on both. */
export interface Side {
  readonly name: string;
  /** Whether queues have as many descriptors as QueueSizeMax says, and no others. */
  readonly fixedSizes: boolean;
  read(offset: number, width: 1 | 2 | 4): number;
  write(offset: number, width: 1 | 2 | 4, value: number): void;
  /** Guest memory from {@linkcode ARENA} on. */
  readonly memory: Uint8Array;
}

/** Runs programs on one side. */
export class Runner {
  readonly side: Side;
  readonly #legacy: boolean;
  readonly #mask: readonly [number, number];
  readonly #packed: boolean;
  readonly #queues = new Map<number, Ring>();
  #dirty = true;
  #accepted: readonly [number, number] = [0, 0];

  /**
   * Makes a runner.
   *
   * @param mask The feature words that both sides offer.
   * @param packed Whether rings are packed.
   */
  constructor(side: Side, legacy: boolean, mask: readonly [number, number], packed: boolean) {
    this.side = side;
    this.#legacy = legacy;
    this.#packed = packed;
    this.#mask = mask;
  }

  /** Puts device and arena back as they were. */
  reset(): void {
    this.#write("Status", 0);
    for (const name of ["DeviceFeaturesSel", "DriverFeaturesSel", "QueueSel"] as const) {
      this.#write(name, 0);
    }
    if (this.#dirty) this.side.memory.fill(0);
    this.#dirty = false;
    this.#forget();
  }

  /** Runs a step; what it read, by name. */
  run(step: Step): [string, string][] {
    switch (step.do) {
      case "read": {
        const value = this.#read(step.register);
        // The offers are compared once, as a whole.
        return step.register === "DeviceFeatures" ? [] : [[step.register, hex(value)]];
      }
      case "write":
        this.#write(step.register, step.value);
        if (step.register === "Status" && step.value === 0) this.#forget();
        return [];
      case "config": {
        const { offset, width } = step;
        const value = this.side.read(MmioRegister.Config + offset, width);
        return [[`config+${offset}/${width}`, hex(value)]];
      }
      case "configure":
        this.side.write(MmioRegister.Config + step.offset, step.width, step.value);
        return [];
      case "reset":
        this.#write("Status", 0);
        this.#forget();
        return [];
      case "init":
        this.#init(step.features);
        return [];
      case "queue":
        this.#setUp(step.index, step.size);
        return [];
      case "start":
        this.#write("Status", this.#read("Status") | 4);
        return [];
      case "request":
        this.#request(step);
        return [];
    }
  }

  /** How much was used by queue, to see whether the device is as far as another. */
  used(): ReadonlyMap<number, number> {
    return new Map([...this.#queues].map(([index, ring]) => [index, ring.used()]));
  }

  /** Takes what was used so far as seen. */
  advance(): void {
    for (const ring of this.#queues.values()) ring.advance();
  }

  /** All that a driver can see of where the device stands, and what it used since it was advanced. */
  observe(): [string, string][] {
    const seen: [string, string][] = [];
    const names = this.#legacy
      ? ["Status", "InterruptStatus", "QueueSizeMax", "QueuePFN"] as const
      : ["Status", "InterruptStatus", "QueueSizeMax", "QueueReady"] as const;
    for (const name of names) seen.push([name, hex(this.#read(name))]);
    for (const [index, ring] of this.#queues) {
      for (const [name, value] of ring.observe()) seen.push([`q${index}.${name}`, value]);
    }
    return seen;
  }

  #forget(): void {
    this.#queues.clear();
    this.#accepted = [0, 0];
  }

  #init(features: readonly [number, number]): void {
    this.#write("Status", 0);
    this.#forget();
    this.#write("Status", 1);
    this.#write("Status", 3);
    const low = (features[0] & this.#mask[0]) >>> 0;
    const ring = Feature.RING_PACKED - 32;
    const wanted = features[1] & ~(1 << ring) | (this.#packed ? 1 << ring : 0) | 1;
    const high = this.#legacy ? 0 : (wanted & (this.#mask[1] | 1)) >>> 0;
    this.#accepted = [low, high];
    for (const [word, value] of this.#legacy ? [low].entries() : [low, high].entries()) {
      this.#write("DriverFeaturesSel", word);
      this.#write("DriverFeatures", value);
    }
    if (this.#legacy) this.#write("GuestPageSize", 4096);
    else this.#write("Status", 0xb);
  }

  #setUp(index: number, size: number): void {
    this.#write("QueueSel", index);
    this.#write("QueueSize", size);
    // A queue that is not there has none.
    if (this.side.fixedSizes) size = this.#read("QueueSizeMax") || size;
    const Kind = this.#packed ? PackedRing : SplitRing;
    const ring = new Kind(this.side.memory, index * AREA, size);
    if (this.#legacy) {
      this.#write("QueueAlign", 4096);
      this.#write("QueuePFN", ring.parts.desc / 4096);
    } else {
      const { desc, driver, device } = ring.parts;
      const parts = {
        QueueDescLow: desc,
        QueueDescHigh: 0,
        QueueDriverLow: driver,
        QueueDriverHigh: 0,
        QueueDeviceLow: device,
        QueueDeviceHigh: 0,
        QueueReady: 1,
      };
      for (const [name, value] of Object.entries(parts)) this.#write(name as Register, value);
    }
    this.#dirty = true;
    this.#queues.set(index, ring);
  }

  #request(step: RequestStep): void {
    const ring = this.#queues.get(step.queue);
    if (ring === undefined) return this.#write("QueueNotify", step.queue);
    const elements = step.elements.slice(0, Math.min(CHAIN, ring.size));
    const places = elements.map((element, i): Place => {
      const before = elements.slice(0, i).reduce((sum, other) => sum + lengthOf(other), 0);
      const at = step.queue * AREA + BUFFERS + ring.slot * SLOT_BYTES + before;
      const length = lengthOf(element);
      if ("read" in element) this.side.memory.set(element.read, at);
      else if ("write" in element) this.side.memory.fill(0xee, at, at + length);
      else for (let i = 0; i < length; i++) this.side.memory[at + i] = element.from + i;
      return { at, length, write: "write" in element };
    });
    const indirect = step.indirect === true && (this.#accepted[0] & 1 << 28) !== 0;
    const eventIdx = (this.#accepted[0] & 1 << Feature.EVENT_IDX) !== 0;
    ring.offer(step, places, indirect, eventIdx);
    this.#write("QueueNotify", step.queue);
  }

  #read(register: Register): number {
    return this.side.read(MmioRegister[register], 4);
  }

  #write(register: Register, value: number): void {
    this.side.write(MmioRegister[register], 4, value >>> 0);
  }
}

function lengthOf(element: Element): number {
  if ("read" in element) return element.read.length;
  return "write" in element ? element.write : element.count;
}

function hex(value: number): string {
  return `0x${(value >>> 0).toString(16)}`;
}

export { ARENA, ARENA_SIZE } from "./ring.ts";
