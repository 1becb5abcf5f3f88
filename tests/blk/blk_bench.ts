// 4 KiB random reads from a memory disk at depth 32, driver and emulated device in one thread.
// `deno run -A blk_bench.ts` prints requests a second; `deno bench -A` the usual table.
import { BlkDevice, EmulatedMachine, MemoryDisk } from "@vireo/emu";
import { Bus } from "../../drivers/bus/bus.ts";
import { type Blk, blkDriver } from "../../drivers/blk/driver.ts";

const DEPTH = 32;
const BYTES = 4096;
const DISK = 256 * 1024 * 1024;
/** Requests of one bench iteration: divide the time shown by it. */
const REQUESTS = 32768;

async function setUp(): Promise<Blk> {
  const disk = new MemoryDisk(DISK);
  for (let at = 0; at < DISK; at += BYTES) disk.memory[at] = at >>> 12;
  const model = new BlkDevice({ disk });
  const machine = EmulatedMachine.create({ devices: [{ model, version: 2 }] });
  const bus = new Bus();
  await bus.registerDriver(blkDriver);
  await bus.addPlatform(machine);
  return bus.get(blkDriver)!;
}

let seed = 1;
function randomSector(): number {
  seed ^= seed << 13;
  seed ^= seed >>> 17;
  seed ^= seed << 5;
  return ((seed >>> 0) % (DISK / BYTES)) * (BYTES / 512);
}

/** The promise API: so many loops, each with one request in flight. */
async function promises(blk: Blk, requests: number): Promise<void> {
  let left = requests;
  const loop = async (): Promise<void> => {
    const bytes = new Uint8Array(BYTES);
    while (left-- > 0) await blk.read(randomSector(), bytes);
  };
  await Promise.all(Array.from({ length: DEPTH }, loop));
}

/** The batch API: a slot goes out again as soon as it came back. */
function batches(blk: Blk, requests: number): void {
  using batch = blk.batch(DEPTH, BYTES);
  let submitted = 0;
  let done = 0;
  for (let slot = 0; slot < DEPTH; slot++, submitted++) {
    batch.prepareRead(slot, randomSector());
    batch.submit(slot);
  }
  batch.kick();
  while (done < requests) {
    for (let slot = batch.poll(); slot >= 0; slot = batch.poll()) {
      if (!batch.ok(slot)) throw batch.error(slot);
      done++;
      if (submitted >= requests) continue;
      batch.prepareRead(slot, randomSector());
      batch.submit(slot);
      submitted++;
    }
    batch.kick();
  }
}

/** Requests a second, and bytes of heap a request, after a warm-up. */
async function measure(name: string, run: () => void | Promise<void>): Promise<void> {
  for (let i = 0; i < 4; i++) await run();
  const rates: number[] = [];
  let growth = 0;
  for (let i = 0; i < 9; i++) {
    const heap = Deno.memoryUsage().heapUsed;
    const start = performance.now();
    await run();
    rates.push(REQUESTS / (performance.now() - start) * 1000);
    // A collection in between makes it less: the largest growth is the true one.
    growth = Math.max(growth, (Deno.memoryUsage().heapUsed - heap) / REQUESTS);
  }
  rates.sort((a, b) => a - b);
  const rate = Math.round(rates[4]!).toLocaleString("en");
  console.log(`${name}: ${rate} requests/s (median of 9), ${growth.toFixed(0)} bytes of heap each`);
}

if (import.meta.main) {
  const blk = await setUp();
  await measure("promise API", () => promises(blk, REQUESTS));
  await measure("batch API", () => batches(blk, REQUESTS));
  await blk.remove();
} else {
  const blk = await setUp();
  // An async function, or the bench does not wait for it.
  Deno.bench(`${REQUESTS} reads of 4 KiB, depth 32, promise API`, async () => {
    await promises(blk, REQUESTS);
  });
  Deno.bench(`${REQUESTS} reads of 4 KiB, depth 32, batch API`, () => batches(blk, REQUESTS));
}
