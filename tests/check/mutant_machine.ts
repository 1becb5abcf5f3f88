import type { Platform } from "@vireo/hal";
import { type DeviceModel, EmulatedMachine, type MachineDevice } from "@vireo/emu";
import { type Access, watchNode, type WindowWatcher } from "../../firmware/check/driver/window.ts";
import type { Bench } from "../../firmware/check/run_checks.ts";

/** One rule that a device breaks, by what its registers read and what becomes of writes. */
export interface Mutation {
  /** Returns the value to read instead of `value`. */
  read?(access: Access, value: number, spy: Spy): number;
  /** Carries out a write; `forward` lets the device have it. */
  write?(access: Access, value: number, spy: Spy, forward: (value?: number) => void): void;
}

/** Knowledge of a mutant: the rings that the driver set up, and its memory. */
export class Spy {
  /** The machine's memory. */
  readonly memory: Uint8Array;
  /** Address of its first byte. */
  readonly base: number;
  /** The registers that were written last, by name. */
  readonly written: Map<string, number> = new Map();
  /** Numbers that a mutant keeps. */
  readonly notes: Map<string, number> = new Map();
  readonly #view: DataView;

  /** Looks at a machine. */
  constructor(machine: EmulatedMachine) {
    this.memory = machine.memory.bytes;
    this.base = machine.memory.base;
    this.#view = new DataView(this.memory.buffer, this.memory.byteOffset, this.memory.byteLength);
  }

  /** Where a part of the queue that was set up last is in memory; 0 before. */
  part(name: "Desc" | "Driver" | "Device"): number {
    const low = this.written.get(`Queue${name}Low`) ??
      this.written.get(`queue_${name.toLowerCase()}_low`);
    return low === undefined ? 0 : low - this.base;
  }

  /** Reads 16 bits of memory; 0 where there is none, as hostile checks name such places. */
  get16(at: number): number {
    return this.#has(at, 2) ? this.#view.getUint16(at, true) : 0;
  }

  /** Writes 16 bits of memory, if it is there. */
  set16(at: number, value: number): void {
    if (this.#has(at, 2)) this.#view.setUint16(at, value, true);
  }

  /** Reads 32 bits of memory; 0 where there is none. */
  get32(at: number): number {
    return this.#has(at, 4) ? this.#view.getUint32(at, true) : 0;
  }

  /** Writes 32 bits of memory, if it is there. */
  set32(at: number, value: number): void {
    if (this.#has(at, 4)) this.#view.setUint32(at, value, true);
  }

  #has(at: number, bytes: number): boolean {
    return at >= 0 && at + bytes <= this.memory.length;
  }

  /** Has another queue count as the one that was set up last, if it was set up at all. */
  select(queue: number): void {
    for (const name of PARTS) {
      const value = this.notes.get(`${name} of ${queue}`);
      if (value !== undefined) this.written.set(name, value);
    }
  }

  /** Descriptors of the queue that was set up last. */
  get size(): number {
    return this.written.get("QueueSize") ?? this.written.get("queue_size") ?? 0;
  }

  /** Whether a feature was accepted. */
  accepted(bit: number): boolean {
    return ((this.notes.get(`features${bit >>> 5}`) ?? 0) >>> (bit & 31) & 1) !== 0;
  }

  /** Where the used entry before last but `back` is. */
  usedEntry(back = 0): number {
    const device = this.part("Device");
    const index = (this.get16(device + 2) - 1 - back) & 0xffff;
    return device + 4 + 8 * (index % this.size);
  }

  /** Where the descriptors of the chain that was made available last are. */
  chain(): number[] {
    const driver = this.part("Driver");
    const index = (this.get16(driver + 2) - 1) & 0xffff;
    const found: number[] = [];
    let head = this.get16(driver + 4 + 2 * (index % this.size));
    while (found.length < this.size) {
      const at = this.part("Desc") + 16 * head;
      found.push(at);
      if ((this.get16(at + 12) & 1) === 0) break;
      head = this.get16(at + 14);
    }
    return found;
  }

  /** Where in memory the buffer of a descriptor is. */
  buffer(descriptor: number): number {
    return this.get32(descriptor) - this.base;
  }
}

/** The registers of virtio-mmio that say where a queue is. */
const PARTS: readonly string[] = [
  ...["QueueSize", "QueueDescLow", "QueueDriverLow", "QueueDeviceLow"],
];

function watcher(mutation: Mutation, spy: Spy): WindowWatcher {
  return {
    read: (access, value) => mutation.read?.(access, value, spy) ?? value,
    write(access, value, forward) {
      const { name } = access;
      spy.written.set(name, value);
      if (PARTS.includes(name)) spy.notes.set(`${name} of ${spy.written.get("QueueSel")}`, value);
      if (name === "DriverFeatures" || name === "driver_feature") {
        const select = spy.written.get("DriverFeaturesSel") ??
          spy.written.get("driver_feature_select");
        spy.notes.set(`features${select}`, value);
      }
      if (mutation.write === undefined) return forward();
      mutation.write(access, value, spy, forward);
    },
  };
}

/** A machine of one device that breaks one rule. */
export function mutantBench(
  model: DeviceModel,
  mutation: Mutation,
  bus: "mmio" | "pci",
  options: Omit<MachineDevice, "model"> = {},
): Bench {
  const machine = EmulatedMachine.create({ bus, devices: [{ ...options, model }] });
  const spy = new Spy(machine);
  const node = machine.slotNodes()[0] ?? machine.functions[0]!;
  const mutant = watchNode(node, watcher(mutation, spy));
  const platform: Platform = {
    name: "mutant",
    dma: machine.dma,
    nodes: () => [mutant],
    openMemory: (address, length) => machine.openMemory(address, length),
    [Symbol.asyncDispose]: () => machine[Symbol.asyncDispose](),
  };
  return { platform, [Symbol.asyncDispose]: () => machine[Symbol.asyncDispose]() };
}
