/**
 * The clock that processes share.
 *
 * @module
 */
const { symbols: libc } = Deno.dlopen("libc.so.6", {
  clock_gettime: { parameters: ["i32", "buffer"], result: "i32" },
});
const MONOTONIC = 1;
const time = new BigInt64Array(2);
const view = new Uint8Array(time.buffer);

/** CLOCK_MONOTONIC in nanoseconds. */
export function clock(): number {
  libc.clock_gettime(MONOTONIC, view);
  return Number(time[0]) * 1e9 + Number(time[1]);
}
