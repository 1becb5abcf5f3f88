/**
 * Measures the device's half of the split ring per buffer: the available ring is filled by bare stores,
 * the queue pops, pushes and signals; 64-byte buffers, size 256.
 *
 * `deno bench -A emu/ring/split_bench.ts`, or as a program: `deno run -A --v8-flags=--expose-gc` prints
 * medians of interleaved rounds beside a bare loop of the device's loads and stores, and bytes allocated.
 *
 * @module
 */
import { GuestMemory } from "../memory.ts";
import { SplitQueue } from "./split.ts";

const SIZE = 256;
const ROUND = 64_000;
const MASK = SIZE - 1;
/** 16-bit words from the start of memory: descriptors, then the available ring, then the used ring. */
const AVAIL = SIZE * 8;
const USED = AVAIL + SIZE + 4;

/** The device's end of a ring, and the memory that stands for its driver. */
interface Rig {
  readonly queue: SplitQueue;
  readonly memory: GuestMemory;
  next: number;
}

/** Makes a ring that is full of buffers. */
export function makeRig(eventIdx: boolean): Rig {
  const memory = new GuestMemory(1 << 16);
  const queue = new SplitQueue({
    index: 0,
    geometry: {
      size: SIZE,
      desc: memory.base,
      avail: memory.base + 2 * AVAIL,
      used: memory.base + 2 * USED,
    },
    memory,
    indirect: true,
    eventIdx,
    interrupt: () => {},
    fault: (reason) => {
      throw new Error(reason);
    },
  });
  for (let i = 0; i < SIZE; i++) {
    memory.words32.set([memory.base + 32768 + i * 64, 0, 64, 2], i * 4);
    memory.words16[AVAIL + 2 + i] = i;
  }
  return { queue, memory, next: 0 };
}

/** Moves `count` buffers through the queue, `batch` at a time. */
export function move(rig: Rig, batch: number, count: number): void {
  const { queue, memory: { words16 } } = rig;
  for (let done = 0; done < count; done += batch) {
    rig.next = (rig.next + batch) & 0xffff;
    Atomics.store(words16, AVAIL + 1, rig.next);
    for (let chain = queue.pop(); chain !== undefined; chain = queue.pop()) queue.push(chain, 64);
    queue.signal();
  }
}

/**
 * The same loads and stores without any check or bookkeeping: the floor. Its sums are 32-bit integers: as
 * doubles they would cost more than the loads.
 */
function bare(rig: Rig, batch: number, count: number): number {
  const { words16, words32 } = rig.memory;
  let sum = 0;
  let taken = rig.next;
  for (let done = 0; done < count; done += batch) {
    rig.next = (rig.next + batch) & 0xffff;
    Atomics.store(words16, AVAIL + 1, rig.next);
    const seen = Atomics.load(words16, AVAIL + 1);
    while (taken !== seen) {
      const head = words16[AVAIL + 2 + (taken & MASK)]!;
      const at = head * 4;
      sum = (sum + words32[at]! + words32[at + 1]! + words32[at + 2]! + words32[at + 3]!) | 0;
      words32[USED / 2 + 1 + 2 * (taken & MASK)] = head;
      words32[USED / 2 + 2 + 2 * (taken & MASK)] = 64;
      taken = (taken + 1) & 0xffff;
    }
    Atomics.store(words16, USED + 1, taken);
    sum = (sum + Atomics.load(words16, AVAIL) + Atomics.load(words16, AVAIL + 1)) | 0;
  }
  return sum;
}

const rigs = { bare: makeRig(false), split: makeRig(false), event: makeRig(true) };

for (const batch of [1, 64]) {
  const group = `device half, ${ROUND} buffers, batch ${batch}`;
  Deno.bench(`bare loop, batch ${batch}`, { group, baseline: true }, () => {
    bare(rigs.bare, batch, ROUND);
  });
  Deno.bench(`split queue, batch ${batch}`, { group }, () => move(rigs.split, batch, ROUND));
  Deno.bench(`EVENT_IDX, batch ${batch}`, { group }, () => move(rigs.event, batch, ROUND));
}

function medians(batch: number): string {
  const run = { bare, split: move, event: move };
  const samples = { bare: [] as number[], split: [] as number[], event: [] as number[] };
  for (let round = 0; round < 60; round++) {
    for (const name of ["bare", "split", "event"] as const) {
      const begin = performance.now();
      run[name](rigs[name], batch, ROUND);
      samples[name].push((performance.now() - begin) * 1e6 / ROUND);
    }
  }
  const text = Object.entries(samples).map(([name, values]) =>
    `${name} ${values.sort((a, b) => a - b)[values.length >> 1]!.toFixed(1)} ns`
  );
  return `batch ${batch}: ${text.join(", ")}`;
}

function allocated(batch: number): number {
  const gc = (globalThis as { gc?: () => void }).gc ?? (() => {});
  gc();
  const before = Deno.memoryUsage().heapUsed;
  move(rigs.event, batch, 100 * ROUND);
  return (Deno.memoryUsage().heapUsed - before) / (100 * ROUND);
}

if (import.meta.main) {
  for (const batch of [1, 64]) {
    medians(batch);
    // deno-lint-ignore no-console
    console.log(`${medians(batch)}; ${allocated(batch).toFixed(4)} bytes a buffer`);
  }
}
