// Nanoseconds of the processor that a request takes on a bus without a trace, as JSON: `off_cost.ts` runs it.
// With a kind and a number it does so many requests of that kind once, for a counter of instructions.
import { blkDriver, Bus, netDriver, rngDriver } from "@vireo/drivers";
import { EmulatedMachine, RngDevice } from "@vireo/emu";
import { cpuTime, loadDevices } from "./trace_load.ts";

const REPEATS = 60;
const [only, total] = Deno.args;
const found: Record<string, number> = {};

/** The least of some repeats: what is more was garbage collection, or another program's use of the caches. */
async function least(
  kind: string,
  requests: number,
  work: () => Promise<void> | void,
): Promise<void> {
  if (only !== undefined) {
    if (only !== kind) return;
    for (let done = 0; done < Number(total); done += requests) await work();
    return;
  }
  let best = Infinity;
  for (let i = 0; i < REPEATS; i++) {
    const start = cpuTime();
    await work();
    best = Math.min(best, cpuTime() - start);
  }
  found[kind] = best / requests * 1e6;
}

const random = (into: Uint8Array): Uint8Array => into.fill(7);
const machine = EmulatedMachine.create({
  devices: [...loadDevices(), { model: new RngDevice({ random }) }],
});
await using bus = new Bus();
for (const driver of [blkDriver, netDriver, rngDriver]) await bus.registerDriver(driver as never);
await bus.addPlatform(machine);
const [blk, net, rng] = [bus.get(blkDriver)!, bus.get(netDriver)!, bus.get(rngDriver)!];
const bytes = new Uint8Array(4096);

await least("blk", 2000, async () => {
  for (let i = 0; i < 2000; i++) await blk.read((i & 63) * 8, bytes);
});
const batch = blk.batch(32, 512);
await least("blk batch", 32 * 300, () => {
  for (let i = 0; i < 300; i++) {
    for (let slot = 0; slot < 32; slot++) {
      batch.prepareRead(slot, slot);
      batch.submit(slot);
    }
    batch.kick();
    while (batch.poll() >= 0);
  }
});
batch[Symbol.dispose]();
await least("rng", 2000, async () => {
  for (let i = 0; i < 2000; i++) await rng.read(64);
});
const tx = net.tx();
for (const frame of tx.frames) frame.set([...net.mac, ...net.mac, 0x88, 0xb5]);
net.onFrame = () => {};
await least("net", 64 * 150, () => {
  for (let i = 0; i < 150; i++) {
    for (let n = 0; n < 64; n++) tx.submit(tx.reserve(), 64);
    tx.kick();
    net.poll();
    tx.reclaim();
  }
});
console.log(JSON.stringify(found));
