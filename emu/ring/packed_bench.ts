/**
 * Measures the device's half of the packed ring per buffer, beside the split ring's in the same run:
 * the driver's half is bare stores, the queue pops, pushes and signals; 64-byte buffers, size 256.
 *
 * `deno bench -A emu/ring/packed_bench.ts`, or as a program: `deno run -A --v8-flags=--expose-gc` prints
 * medians of interleaved rounds, and bytes allocated.
 *
 * @module
 */
import { GuestMemory } from "../memory.ts";
import { PackedQueue } from "./packed.ts";
import { SplitQueue } from "./split.ts";

const SIZE = 256;
const ROUND = 64_000;
const WRITE = 2;
const AVAIL = 0x80;
const USED = 0x8000;
/** 32-bit words of a descriptor table; what follows it starts there. */
const TABLE = SIZE * 4;

/** Makes `batch` buffers available, `count` in all, and has them served. */
type Move = (batch: number, count: number) => void;

function options(memory: GuestMemory, features: Features) {
  const { base } = memory;
  const after = base + TABLE * 4;
  return {
    index: 0,
    geometry: { size: SIZE, desc: base, avail: after, used: after + 2 * SIZE + 8 },
    memory,
    indirect: true,
    eventIdx: features.eventIdx ?? false,
    inOrder: features.inOrder ?? false,
    interrupt: () => {},
    fault: (reason: string) => {
      throw new Error(reason);
    },
  };
}

interface Features {
  readonly eventIdx?: boolean;
  readonly inOrder?: boolean;
}

function split(features: Features): Move {
  const memory = new GuestMemory(1 << 16);
  const queue = new SplitQueue(options(memory, features));
  const { words16, words32 } = memory;
  const avail = TABLE * 2;
  for (let i = 0; i < SIZE; i++) {
    words32.set([memory.base + 32768 + i * 64, 0, 64, WRITE], i * 4);
    words16[avail + 2 + i] = i;
  }
  let index = 0;
  return (batch, count) => {
    for (let done = 0; done < count; done += batch) {
      index = (index + batch) & 0xffff;
      Atomics.store(words16, avail + 1, index);
      for (let chain = queue.pop(); chain !== undefined; chain = queue.pop()) queue.push(chain, 64);
      queue.signal();
    }
  };
}

function packed(features: Features): Move {
  const memory = new GuestMemory(1 << 16);
  const queue = new PackedQueue(options(memory, features));
  const { words16, words32 } = memory;
  for (let i = 0; i < SIZE; i++) words32.set([memory.base + 32768 + i * 64, 0, 64, i], i * 4);
  let at = 0;
  let flags = AVAIL | WRITE;
  return (batch, count) => {
    for (let done = 0; done < count; done += batch) {
      const first = at;
      const firstFlags = flags;
      for (let i = 0; i < batch; i++) {
        // The used descriptor left these.
        words32[at * 4 + 2] = 64;
        if (i > 0) words32[at * 4 + 3] = at | flags << 16;
        if (++at < SIZE) continue;
        at = 0;
        flags ^= AVAIL | USED;
      }
      words16[first * 8 + 6] = first;
      Atomics.store(words16, first * 8 + 7, firstFlags);
      for (let chain = queue.pop(); chain !== undefined; chain = queue.pop()) queue.push(chain, 64);
      queue.signal();
    }
  };
}

const moves: Record<string, Move> = {
  "split": split({}),
  "packed": packed({}),
  "split, EVENT_IDX": split({ eventIdx: true }),
  "packed, EVENT_IDX": packed({ eventIdx: true }),
  "split, IN_ORDER": split({ inOrder: true }),
  "packed, IN_ORDER": packed({ inOrder: true }),
};

for (const batch of [1, 64]) {
  const group = `device half, ${ROUND} buffers, batch ${batch}`;
  for (const [name, move] of Object.entries(moves)) {
    Deno.bench(`${name}, batch ${batch}`, { group, baseline: name === "split" }, () => {
      move(batch, ROUND);
    });
  }
}

function medians(batch: number): string {
  const samples = Object.entries(moves).map(([name, move]) => ({
    name,
    move,
    times: [] as number[],
  }));
  for (let round = 0; round < 60; round++) {
    for (const { move, times } of samples) {
      const begin = performance.now();
      move(batch, ROUND);
      times.push((performance.now() - begin) * 1e6 / ROUND);
    }
  }
  return samples.map(({ name, times }) =>
    `${name}: ${times.sort((a, b) => a - b)[times.length >> 1]!.toFixed(1)} ns`
  ).join("; ");
}

function allocated(move: Move, batch: number): string {
  const gc = (globalThis as { gc?: () => void }).gc ?? (() => {});
  gc();
  const before = Deno.memoryUsage().heapUsed;
  move(batch, 100 * ROUND);
  return ((Deno.memoryUsage().heapUsed - before) / (100 * ROUND)).toFixed(4);
}

if (import.meta.main) {
  for (const batch of [1, 64]) {
    medians(batch);
    const bytes = Object.values(moves).map((move) => allocated(move, batch)).join(", ");
    // deno-lint-ignore no-console
    console.log(`batch ${batch}: ${medians(batch)}; bytes a buffer: ${bytes}`);
  }
}
