import { CACHE } from "../image/paths.ts";

/** Milliseconds to count for; the error is then some 10 us in 20 ms. */
const COUNT_MS = 20;

/**
 * The rate in kHz of the counter that a guest under TCG sees as its time stamp counter: the host's
 * own on x86_64, nanoseconds elsewhere (QEMU's `cpu_get_host_ticks`).
 */
export function hostTickRate(): number {
  if (Deno.build.arch !== "x86_64") return 1_000_000;
  using shim = open(`${CACHE}/guest/x86_64/lib/libvireo.so`);
  const ticks = shim.symbols.vireo_ticks;
  const startTime = performance.now();
  const start = ticks();
  while (performance.now() - startTime < COUNT_MS);
  const end = ticks();
  return Math.round(Number(end - start) / (performance.now() - startTime));
}

function open(path: string) {
  const library = Deno.dlopen(path, { vireo_ticks: { parameters: [], result: "u64" } });
  return { symbols: library.symbols, [Symbol.dispose]: () => library.close() };
}
