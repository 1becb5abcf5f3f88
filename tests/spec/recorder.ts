/**
 * Sees what a driver does to a device model: the chains of its queues as bytes, and the accesses to its
 * configuration. The tests of clauses compare that with numbers that are typed from the specification.
 *
 * @module
 */
import type { Chain, ConfigWidth, DeviceModel, DeviceQueue, GuestMemory } from "@vireo/emu";
import type { RingChain } from "../../emu/ring/chain.ts";

/** A chain as the device took it. */
export interface Taken {
  /** Index of its queue. */
  readonly queue: number;
  /** The readable part. */
  readonly read: Uint8Array;
  /** Bytes of each readable element, and of each writable one. */
  readonly readable: readonly number[];
  readonly writable: readonly number[];
  /** Bytes that the device wrote, and the length that it told; undefined until it returned the chain. */
  written: Uint8Array | undefined;
}

/** Record of a {@linkcode record}. */
export interface Recording {
  /** The chains, in the order in which the device took them. */
  readonly chains: Taken[];
  /** Configuration accesses: `r8@0`, `w4@12=5`, in bytes and decimal. */
  readonly config: string[];
}

/** Puts a recorder between a model and its machine; call it before the machine is made. */
export function record(model: DeviceModel, memory: () => GuestMemory): Recording {
  const chains: Taken[] = [];
  const config: string[] = [];
  const read = model.readConfig.bind(model);
  model.readConfig = (offset: number, width: ConfigWidth): number => {
    config.push(`r${width}@${offset}`);
    return read(offset, width);
  };
  const write = model.writeConfig?.bind(model);
  model.writeConfig = (offset: number, width: ConfigWidth, value: number): void => {
    config.push(`w${width}@${offset}=${value}`);
    write?.(offset, width, value);
  };
  const activate = model.activate.bind(model);
  model.activate = (context): void => {
    const queues = new Map<number, DeviceQueue>();
    activate({
      features: context.features,
      legacy: context.legacy,
      work: context.work,
      memory: (address, length) => context.memory(address, length),
      sharedAddress: (id) => context.sharedAddress(id),
      configChanged: () => context.configChanged(),
      fault: (reason) => context.fault(reason),
      hostFailed: (error) => context.hostFailed(error),
      queue: (index) => {
        const queue = context.queue(index);
        if (queue === undefined) return undefined;
        const known = queues.get(index) ?? watch(queue, chains, memory);
        queues.set(index, known);
        return known;
      },
    });
  };
  return { chains, config };
}

function watch(queue: DeviceQueue, chains: Taken[], memory: () => GuestMemory): DeviceQueue {
  const held = new Map<Chain, Taken>();
  const give = (chain: Chain, written = chain.written): void => {
    const taken = held.get(chain);
    held.delete(chain);
    if (taken === undefined) return;
    const parts = elements(chain).filter(([, , writable]) => writable);
    taken.written = bytesOf(parts, memory()).slice(0, written);
  };
  return {
    index: queue.index,
    size: queue.size,
    pop: () => {
      const chain = queue.pop();
      if (chain === undefined) return undefined;
      const all = elements(chain);
      const of = (writable: boolean) => all.filter((element) => element[2] === writable);
      const taken: Taken = {
        queue: queue.index,
        read: bytesOf(of(false), memory()),
        readable: of(false).map(([, length]) => length),
        writable: of(true).map(([, length]) => length),
        written: undefined,
      };
      held.set(chain, taken);
      chains.push(taken);
      return chain;
    },
    hasAvailable: () => queue.hasAvailable(),
    push: (chain, written) => {
      give(chain, written);
      queue.push(chain, written);
    },
    pushAll: (all, written) => {
      all.forEach((chain, i) => give(chain, written[i]));
      queue.pushAll(all, written);
    },
    signal: () => queue.signal(),
    setNotify: (enabled) => queue.setNotify(enabled),
  };
}

function elements(chain: Chain): ReturnType<RingChain["elements"]> {
  return (chain as RingChain).elements();
}

function bytesOf(
  parts: readonly (readonly [number, number, boolean])[],
  memory: GuestMemory,
): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, [, length]) => sum + length, 0));
  let at = 0;
  for (const [offset, length] of parts) {
    bytes.set(memory.bytes.subarray(offset, offset + length), at);
    at += length;
  }
  return bytes;
}

/** Little-endian bytes: a number is 4 of them, `[value, size]` has its own size, bytes are as they are. */
export function le(...values: (number | readonly [number, number] | Uint8Array)[]): Uint8Array {
  const bytes: number[] = [];
  for (const value of values) {
    if (value instanceof Uint8Array) bytes.push(...value);
    else {
      const [number, size] = typeof value === "number" ? [value, 4] as const : value;
      for (let i = 0; i < size; i++) bytes.push(Math.floor(number / 256 ** i) & 0xff);
    }
  }
  return Uint8Array.from(bytes);
}

/** A little-endian number of 4 bytes, or of another size. */
export function at(bytes: Uint8Array, offset: number, size = 4): number {
  let value = 0;
  for (let i = size - 1; i >= 0; i--) value = value * 256 + (bytes[offset + i] ?? NaN);
  return value;
}
