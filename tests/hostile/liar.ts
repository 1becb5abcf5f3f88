/**
 * Devices that lie: a model whose answers, lengths, configuration or registers are made false on the way to
 * the driver, by a seed.
 *
 * @module
 */
import type { Chain, DeviceModel, DeviceQueue, QueueSpec } from "@vireo/emu";
import type { DeviceNode, Mmio, Platform } from "@vireo/hal";
import { ReversedQueue } from "../../emu/ring/reversed.ts";
import { wrapQueues } from "../../firmware/check/driver/wrap_model.ts";
import { xorshift } from "../noise.ts";

/** A stream of numbers from 0 to 2^32 - 1 that a seed names. */
export function seeded(seed: number): () => number {
  return xorshift(Math.imul(seed, 2654435761));
}

/** The parts of a rig that a lie may use. */
interface LieContext {
  /** The next random number. */
  random(): number;
}

/** One way to lie; what is not there is honest. */
export interface Lie {
  readonly name: string;
  /** Changes what the device wrote to a chain; returns the length that it tells, or none to keep it. */
  readonly push?: (chain: Chain, written: number, context: LieContext) => number | undefined;
  /** Returns a value of the configuration space in place of the honest one. */
  readonly config?: (honest: number, offset: number, width: number, context: LieContext) => number;
  /** Returns a value of a register (virtio 1.4 §4.2.2) in place of the honest one. */
  readonly register?: (honest: number, offset: number, context: LieContext) => number;
  /** Called before a register is written, of 32 bits. */
  readonly writing?: (offset: number) => void;
  /** Whether the device keeps a chain that it is done with, until it is reset. */
  readonly keeps?: () => boolean;
  /** The size of each queue. */
  readonly queueSize?: number;
}

/** Makes a model lie. */
export function lying(model: DeviceModel, lie: Lie, seed: number): DeviceModel {
  const context: LieContext = { random: seeded(seed) };
  const { push = () => undefined, keeps = () => false, config, queueSize } = lie;
  if (queueSize !== undefined) {
    const queues = model.queues.map((spec): QueueSpec => ({ ...spec, maxSize: queueSize }));
    Object.defineProperty(model, "queues", { value: queues });
  }
  if (config !== undefined) {
    const read = model.readConfig.bind(model);
    model.readConfig = (offset, width) =>
      config(read(offset, width), offset, width, context) >>> 0 & (2 ** (8 * width) - 1);
  }
  if (lie.push !== undefined || lie.keeps !== undefined) {
    wrapQueues(model, (queue) => {
      // Nothing is pushed to a ring with its sides reversed, and its model knows what it is.
      if (queue instanceof ReversedQueue) return queue;
      return lyingQueue(queue, { push, keeps }, context);
    });
  }
  return model;
}

function lyingQueue(
  queue: DeviceQueue,
  lie: Required<Pick<Lie, "push" | "keeps">>,
  context: LieContext,
): DeviceQueue {
  const { push, keeps } = lie;
  const lengthOf = (chain: Chain, written: number): number =>
    push(chain, written, context) ?? written;
  return {
    get index() {
      return queue.index;
    },
    get size() {
      return queue.size;
    },
    pop: () => queue.pop(),
    hasAvailable: () => queue.hasAvailable(),
    push(chain, written = chain.written) {
      if (!keeps()) queue.push(chain, lengthOf(chain, written));
    },
    pushAll(chains, written) {
      const all = chains.map((chain, i) => [chain, written[i]!] as const).filter(() => !keeps());
      queue.pushAll(all.map(([chain]) => chain), all.map(([chain, told]) => lengthOf(chain, told)));
    },
    signal: () => queue.signal(),
    setNotify: (enabled) => queue.setNotify(enabled),
  };
}

/** Registers that lie, up to an offset where the configuration space begins. */
function lyingRegisters(
  mmio: Mmio,
  below: number,
  lie: (honest: number, at: number) => number,
  writing: ((at: number) => void) | undefined,
): Mmio {
  const read = (width: 1 | 2 | 4, offset: number): number => {
    const honest = width === 4
      ? mmio.read32(offset)
      : width === 2
      ? mmio.read16(offset)
      : mmio.read8(offset);
    return offset < below ? (lie(honest, offset) & (2 ** (8 * width) - 1)) >>> 0 : honest;
  };
  return {
    name: mmio.name,
    size: mmio.size,
    read8: (offset) => read(1, offset),
    read16: (offset) => read(2, offset),
    read32: (offset) => read(4, offset),
    write8: (offset, value) => mmio.write8(offset, value),
    write16: (offset, value) => mmio.write16(offset, value),
    write32(offset, value) {
      writing?.(offset);
      mmio.write32(offset, value);
    },
  };
}

/** Bytes of a slot's registers; of a function's in each BAR, what is behind its configuration space too. */
const REGISTERS = { mmio: 0x100, pci: 0x10000 };

/** A machine whose registers lie: those of slots, and those in the BARs of functions. */
export function lyingMachine(
  machine: Platform,
  { register, writing }: Pick<Lie, "register" | "writing">,
  seed: number,
): Pick<Platform, "dma" | "nodes" | "openMemory"> {
  const context: LieContext = { random: seeded(seed) };
  const silent = register === undefined && writing === undefined;
  const lie = (honest: number, at: number): number => register?.(honest, at, context) ?? honest;
  const disguise = (node: DeviceNode): DeviceNode => {
    if (node.kind === "mmio") {
      return {
        ...node,
        open() {
          const lease = node.open();
          return { ...lease, mmio: lyingRegisters(lease.mmio, REGISTERS.mmio, lie, writing) };
        },
      };
    }
    if (node.kind !== "pci") return node;
    const { name, address, vendor, device } = node;
    return {
      kind: "pci",
      ...{ name, address, vendor, device },
      open() {
        const lease = node.open();
        return {
          config: lease.config,
          bars: lease.bars,
          openBar: (index) => lyingRegisters(lease.openBar(index), REGISTERS.pci, lie, writing),
          line: lease.line,
          messages: (count) => lease.messages(count),
          [Symbol.dispose]: () => lease[Symbol.dispose](),
        };
      },
    };
  };
  return {
    dma: machine.dma,
    nodes: () => silent ? machine.nodes() : machine.nodes().map(disguise),
    openMemory: (address, length) => machine.openMemory(address, length),
  };
}

/** Overwrites what the device wrote. */
function scribble(chain: Chain, written: number, byte: () => number): void {
  const length = Math.min(written, chain.writableLength, 1 << 16);
  chain.seekWrite(0);
  chain.write(Uint8Array.from({ length }, byte));
}

const STATUS = 0x70;
const QUEUE_SIZE_MAX = 0x34;
const INTERRUPT_STATUS = 0x60;
const GENERATION = 0xfc;

/** The lies that every driver is told. */
export const LIES: readonly Lie[] = [
  { name: "length 0", push: () => 0 },
  { name: "length 1", push: () => 1 },
  { name: "a byte less", push: (_, written) => Math.max(0, written - 1) },
  { name: "length 2^32 - 1", push: () => 0xffffffff },
  { name: "a random length", push: (_chain, _written, { random }) => random() % 8192 },
  { name: "zeroes", push: (chain, written) => void scribble(chain, written, () => 0) },
  { name: "ones", push: (chain, written) => void scribble(chain, written, () => 0xff) },
  { name: "noise", push: (chain, written, { random }) => void scribble(chain, written, random) },
  {
    name: "noise now and then",
    push: (chain, written, { random }) => {
      if (random() % 3 === 0) scribble(chain, written, random);
      return undefined;
    },
  },
  {
    name: "noise, and more of it than was asked for",
    push: (chain, _written, { random }) => {
      scribble(chain, chain.writableLength, random);
      return chain.writableLength;
    },
  },
  { name: "a configuration of ones", config: () => 0xffffffff },
  { name: "a configuration of zeroes", config: () => 0 },
  { name: "a configuration of noise", config: (_h, _o, _w, { random }) => random() },
  {
    name: "a configuration that flips",
    config: (honest, _offset, _width, { random }) => random() % 2 === 0 ? honest : ~honest,
  },
  { name: "queues of 32768", queueSize: 32768 },
  {
    name: "a status that flips",
    register: (honest, offset, { random }) =>
      offset === STATUS ? honest ^ (random() % 4 === 0 ? 4 : 0) : honest,
  },
  {
    name: "a status of noise",
    register: (honest, offset, { random }) =>
      offset === STATUS && random() % 3 === 0 ? random() & 0xff : honest,
  },
  {
    name: "queue sizes of noise",
    register: (honest, offset, { random }) => offset === QUEUE_SIZE_MAX ? random() : honest,
  },
  {
    name: "interrupts of noise",
    register: (honest, offset, { random }) =>
      offset === INTERRUPT_STATUS && random() % 2 === 0 ? random() : honest,
  },
  {
    name: "a generation that never rests",
    register: (honest, offset, { random }) => offset === GENERATION ? random() : honest,
  },
];
