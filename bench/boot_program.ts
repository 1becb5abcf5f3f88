/**
 * The program of bench/boot.ts in the guest: the first I/O of a script, then when what happened.
 *
 * @module
 */
import type { Vireo } from "@vireo/firmware";

/** When the guest did what, in milliseconds since its kernel's clock began. */
export interface GuestTimes {
  /** The kernel started PID 1. */
  readonly exec: number;
  /** PID 1's JavaScript began. */
  readonly init: number;
  /** PID 1 was connected to the host. */
  readonly connected: number;
  /** The program's bundle was evaluated. */
  readonly loaded: number;
  /** The bus was probed and every driver bound. */
  readonly probed: number;
  /** The first block of the disk was read. */
  readonly io: number;
  /** Microseconds of `rng.read(16)`: the first, and the median of those after it. */
  readonly rngFirst: number;
  /** See {@linkcode GuestTimes.rngFirst}. */
  readonly rngMedian: number;
}

const RNG_READS = 200;
/** `SYSLOG_ACTION_READ_ALL`: the kernel's messages so far. */
const READ_ALL = 3;
const CLOCK_BOOTTIME = 7;

/** Reads a block and says so at once, then prints the times. */
export default async function main(vireo: Vireo): Promise<void> {
  const probed = performance.now();
  await vireo.blk.read(0, new Uint8Array(512), { deadline: 5000 });
  const read = performance.now();
  await Deno.stdout.write(new TextEncoder().encode("io\n"));
  const times: number[] = [];
  for (let i = 0; i < RNG_READS; i++) {
    const before = performance.now();
    await vireo.rng.read(16, { deadline: 5000 });
    times.push((performance.now() - before) * 1000);
  }
  const [rngFirst] = times;
  times.sort((a, b) => a - b);
  const { exec, offset } = kernelTimes();
  // PID 1 has noted the others.
  const noted = Reflect.get(globalThis, Symbol.for("vireo:times")) as Record<string, number>;
  const at = (name: string): number => ({ ...noted, probed, io: read })[name]! + offset;
  const report: GuestTimes = {
    exec,
    init: at("init"),
    connected: at("connected"),
    loaded: at("loaded"),
    probed: at("probed"),
    io: at("io"),
    rngFirst: rngFirst!,
    rngMedian: times[RNG_READS >> 1]!,
  };
  console.log(JSON.stringify(report));
}

/** When PID 1 was started, and how far the kernel's clock is ahead of this program's. */
function kernelTimes(): { readonly exec: number; readonly offset: number } {
  const libc = Deno.dlopen("/lib/libc.so.6", {
    clock_gettime: { parameters: ["i32", "buffer"], result: "i32" },
    klogctl: { parameters: ["i32", "buffer", "i32"], result: "i32" },
  });
  const time = new BigInt64Array(2);
  libc.symbols.clock_gettime(CLOCK_BOOTTIME, time);
  const offset = Number(time[0]) * 1000 + Number(time[1]) / 1e6 - performance.now();
  const bytes = new Uint8Array(1 << 20);
  const length = libc.symbols.klogctl(READ_ALL, bytes, bytes.length);
  libc.close();
  const lines = new TextDecoder().decode(bytes.subarray(0, length)).split("\n");
  // "<6>[    1.518335] Run /bin/deno as init process".
  const line = lines.find((one) => one.includes("as init process"));
  const exec = Number(/\[ *([\d.]+)\]/.exec(line ?? "")?.[1]) * 1000;
  return { exec, offset };
}
