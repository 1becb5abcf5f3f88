// deno-lint-ignore-file no-console -- a program
/**
 * Our drivers in place of `front_end.c`, with the same arguments and the same line of JSON.
 *
 * @module
 */
import { blkDriver, Bus, rngDriver } from "@vireo/drivers";
import { DeviceId } from "@vireo/hal";
import { VhostUserPlatform } from "@vireo/hal/vhost-user";
import { clock } from "./clock.ts";

const [path, kind, ...numbers] = Deno.args;
const [bytes, depth, count] = numbers.map(Number) as [number, number, number];
const deviceId = kind === "blk" ? DeviceId.BLOCK : DeviceId.RNG;

await using platform = new VhostUserPlatform({ devices: [{ deviceId, path: path! }] });
await using bus = new Bus();
await bus.registerDriver(blkDriver);
await bus.registerDriver(rngDriver);
const [device] = await bus.addPlatform(platform);
if (device?.error !== undefined) throw device.error;

const times = new Float64Array(count);
const there = new Float64Array(count);
const back = new Float64Array(count);
const read = reader();
let next = 0;

async function work(): Promise<void> {
  while (next < count) {
    const i = next++;
    const sent = clock();
    const answer = await read();
    const got = clock();
    times[i] = got - sent;
    if (kind === "blk") continue;
    const stamp = Number(new DataView(answer.buffer, answer.byteOffset).getBigUint64(0, true));
    there[i] = stamp - sent;
    back[i] = got - stamp;
  }
}

const began = clock();
await Promise.all(Array.from({ length: depth }, work));
const op = (clock() - began) / count;
const rng = kind === "blk" ? {} : { there: median(there), back: median(back) };
console.log(JSON.stringify({ op, ...depth === 1 ? { median: median(times), ...rng } : {} }));

function reader(): () => Promise<Uint8Array> {
  if (kind !== "blk") {
    const rng = bus.get(rngDriver)!;
    return () => rng.read(bytes);
  }
  const blk = bus.get(blkDriver)!;
  const places = Math.floor(blk.capacity / bytes);
  let seed = 17;
  return () => {
    seed ^= seed << 13;
    seed ^= seed >>> 17;
    seed ^= seed << 5;
    return blk.read((seed >>> 0) % places * (bytes / 512), bytes);
  };
}

function median(values: Float64Array): number {
  return values.toSorted()[values.length >>> 1]!;
}
