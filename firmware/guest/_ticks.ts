import { CACHE } from "../image/paths.ts";

/** Milliseconds to count for. */
const COUNT_MS = 20;
/** Looks at both, of which the closest counts: a busy host takes the processor away between two. */
const TRIES = 16;

/** The counter and the clock, read at the same time. */
interface Reading {
  readonly ticks: bigint;
  /** Milliseconds, by `performance.now()`. */
  readonly time: number;
}

/**
 * The rate in kHz of the counter that a guest under TCG sees as its time stamp counter: the host's
 * own on x86_64, nanoseconds elsewhere (QEMU's `cpu_get_host_ticks`).
 */
export function hostTickRate(): number {
  if (Deno.build.arch !== "x86_64") return 1_000_000;
  using shim = open(`${CACHE}/guest/x86_64/lib/libvireo.so`);
  return tickRate(() => shim.symbols.vireo_ticks(), () => performance.now());
}

/** The rate in kHz of a counter, by a clock of milliseconds. */
export function tickRate(ticks: () => bigint, clock: () => number): number {
  const start = read(ticks, clock);
  while (clock() - start.time < COUNT_MS);
  const end = read(ticks, clock);
  return Math.round(Number(end.ticks - start.ticks) / (end.time - start.time));
}

/** Reads the counter between two looks at the clock, several times, and returns the reading whose looks were closest. */
function read(ticks: () => bigint, clock: () => number): Reading {
  let best: Reading = { ticks: 0n, time: 0 };
  let closest = Infinity;
  for (let i = 0; i < TRIES; i++) {
    const before = clock();
    const now = ticks();
    const apart = clock() - before;
    if (apart >= closest) continue;
    closest = apart;
    best = { ticks: now, time: before + apart / 2 };
  }
  return best;
}

function open(path: string) {
  const library = Deno.dlopen(path, { vireo_ticks: { parameters: [], result: "u64" } });
  return { symbols: library.symbols, [Symbol.dispose]: () => library.close() };
}
