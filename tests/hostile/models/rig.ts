/**
 * The common parts of hostile drivers of device models: a machine with one device, requests written by hand,
 * and the rules that hold for every device whatever its driver does.
 *
 * @module
 */
import { setImmediate } from "node:timers";
import { assert, assertEquals } from "@std/assert";
import { DescFlag, Feature, type FeatureSet } from "@vireo/hal";
import { type DeviceModel, EmulatedMachine, type MachineOptions } from "@vireo/emu";
import { MockDriver, type MockQueue, type MockSegment } from "@vireo/emu/testing";
import { PciSlot } from "./pci_slot.ts";
import { TURN_BUDGET } from "../../../emu/work.ts";

/** One thing that a hostile driver does, and what must come of it. */
export interface HostileCase {
  /** Behaviour of the driver; clause ids in brackets. */
  readonly name: string;
  /** Does it; `random` is seeded. */
  readonly run: (random: () => number) => void | Promise<void>;
}

/** The cases of a device model. */
export interface HostileSuite {
  /** Name of the model. */
  readonly model: string;
  /** Its cases. */
  readonly cases: readonly HostileCase[];
}

/** An element of a raw chain: any guest memory, as often as one likes. */
interface RawElement {
  /** Address in guest memory. */
  readonly address: number;
  /** Length in bytes. */
  readonly length: number;
  /** Whether the device may write it. */
  readonly write?: boolean;
}

/** How to make a {@linkcode Rig}. */
export interface RigOptions extends Partial<Omit<MachineOptions, "devices">> {
  /** Features that the driver accepts; all but EVENT_IDX and INDIRECT_DESC by default. */
  readonly features?: (offered: FeatureSet) => FeatureSet;
  /** Whether the device is set up at once; true by default. */
  readonly init?: boolean;
  /** Version of the register interface; 2 by default. */
  readonly version?: 1 | 2;
}

/** A machine with one device and a driver that keeps no rule. */
export class Rig<M extends DeviceModel> implements AsyncDisposable {
  /** The model. */
  readonly model: M;
  /** Its machine. */
  readonly machine: EmulatedMachine;
  /** Its driver. */
  readonly driver: MockDriver;
  /** The device as a function, on a machine with PCI. */
  readonly pci: PciSlot | undefined;
  #scratch = 0;

  /** Makes a machine, and sets the device up. */
  constructor(model: M, options: RigOptions = {}) {
    const { features, init = true, version = 2, ...machine } = options;
    this.model = model;
    this.machine = EmulatedMachine.create({
      memorySize: 4 << 20,
      ...machine,
      devices: [{ model, version }],
    });
    this.driver = new MockDriver(this.machine);
    if (machine.bus === "pci") {
      this.pci = new PciSlot(this.machine, version);
      this.driver.slot = this.pci.slot;
    }
    if (init) this.init(features);
  }

  /** The device. */
  get device(): ReturnType<EmulatedMachine["device"]> {
    return this.machine.device(0);
  }

  /** Notes of the device against its driver. */
  get log(): string[] {
    return this.device.log.map(({ register, reason }) => `${register}: ${reason}`);
  }

  /** Resets the device and sets it up. */
  init(features?: (offered: FeatureSet) => FeatureSet): void {
    this.pci?.enable();
    const offered = this.driver.offered().without(Feature.EVENT_IDX, Feature.INDIRECT_DESC);
    this.driver.init(features?.(offered) ?? offered);
  }

  /** A split queue of the driver. */
  queue(index: number): MockQueue {
    return this.driver.queues[index]!;
  }

  /** Sends a request; resolves with what the device wrote, all writable elements in one. */
  async send(queue: number, read: Uint8Array, write = 0): Promise<Uint8Array> {
    const segments: MockSegment[] = [{ read }];
    if (write > 0) segments.push({ write });
    const { bytes } = await this.driver.request(queue, segments);
    return bytes[0] ?? new Uint8Array(0);
  }

  /** Guest memory that no region has; it may be used over and over. */
  scratch(length: number): { readonly address: number; readonly bytes: Uint8Array } {
    const { base, size, bytes } = this.machine.memory;
    const offset = this.#scratch === 0 ? size - length : this.#scratch - length;
    this.#scratch = offset & ~15;
    return {
      address: base + this.#scratch,
      bytes: bytes.subarray(this.#scratch, this.#scratch + length),
    };
  }

  /** Makes a chain of any elements available, without a promise, and notifies if `kick`. */
  raw(index: number, elements: readonly RawElement[], kick = true, first = 0): void {
    const queue = this.queue(index);
    elements.forEach(({ address, length, write }, i) => {
      const flags = (write ? DescFlag.WRITE : 0) | (i + 1 < elements.length ? DescFlag.NEXT : 0);
      queue.setDesc(first + i, address, length, flags, first + i + 1);
    });
    queue.makeAvailable(first);
    if (kick) queue.kick();
  }

  /** Lets the device go on until its used index of a queue is `index`. */
  async until(queue: number, index: number, turns = 10_000): Promise<void> {
    for (let i = 0; this.queue(queue).usedIndex !== index; i++) {
      assert(i < turns, `the queue has ${this.queue(queue).usedIndex} after ${turns} turns`);
      await this.turn();
    }
  }

  /** Options for a rig with this one's memory, whose device is not set up. */
  get memory(): RigOptions {
    return { init: false, memory: this.machine.memory, dma: this.machine.dma };
  }

  /** Moves the driver to another machine's device, by way of a snapshot as plain data. */
  moveTo<R extends Rig<M>>(next: R): R {
    const usage = this.model.usage?.();
    const state = this.machine.snapshot();
    const empty = structuredClone(next.model.snapshot?.());
    next.machine.restore(structuredClone(state));
    // A state replaces the one before it, and all of that; a modem offers the frame that it holds each time.
    if (next.model.name !== "caif") {
      next.model.restore?.(structuredClone(empty));
      assertEquals(next.model.snapshot?.(), empty);
      next.machine.restore(structuredClone(state));
    }
    if (next.model.name !== "vsock") {
      assertEquals(next.model.usage?.(), usage);
      assertEquals(next.model.snapshot?.(), this.model.snapshot?.(), "nothing is left out");
    }
    this.driver.moveTo(next.machine);
    return next;
  }

  /** A turn of the event loop. */
  turn(): Promise<void> {
    return new Promise((resolve) => void setImmediate(resolve));
  }

  /** Whatever the driver did: the model never failed, stayed in its bounds, and each turn in its budget. */
  check(undivided: { readonly steps?: number; readonly bytes?: number } = {}): void {
    const failed = this.device.log.filter(({ register }) => register === "model");
    assertEquals(failed, [], "the model failed");
    const { items, bytes } = this.device.mostKept;
    const { items: mostItems = 0, bytes: mostBytes = 0 } = this.model.bounds ?? {};
    assert(items <= mostItems, `${items} items are kept, at most ${mostItems} may be`);
    assert(bytes <= mostBytes, `${bytes} bytes are kept, at most ${mostBytes} may be`);
    const { counters } = this.device.work;
    const steps = TURN_BUDGET.steps + (undivided.steps ?? 1 << 16);
    const most = TURN_BUDGET.bytes + (undivided.bytes ?? 32 << 20);
    assert(counters.mostSteps <= steps, `a turn took ${counters.mostSteps} steps`);
    assert(counters.mostBytes <= most, `a turn took ${counters.mostBytes} bytes`);
  }

  /** Checks the rules, and disposes the machine. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.device.reset();
    await this.machine[Symbol.asyncDispose]();
  }
}

/** Bytes of little-endian numbers: `[width, value]` each. */
export function bytesOf(...fields: readonly (readonly [1 | 2 | 4 | 8, number])[]): Uint8Array {
  const out: number[] = [];
  for (const [width, value] of fields) {
    for (let i = 0; i < width; i++) out.push(Math.floor(value / 2 ** (8 * i)) & 0xff);
  }
  return Uint8Array.from(out);
}

/** Bytes in a row. */
export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
