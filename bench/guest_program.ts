/**
 * The program of bench/guest.ts in the guest: our drivers and Linux's take turns on the same devices.
 *
 * @module
 */
import { Blk, blkDriver, Bus, Net, netDriver } from "@vireo/drivers";
import { ping } from "@vireo/firmware/ip";
import { VireoError } from "@vireo/hal";
import { DevmemPlatform } from "@vireo/hal/devmem";
import type { BlockTest, Measurement, Plan, Sample } from "./guest_plan.ts";

/** Program and modules, as bench/guest.ts put them into the image. */
const PEER = "/bench/peer";
const BUS = "/sys/bus/platform";
const DRIVER = `${BUS}/drivers/virtio-mmio`;
const SOURCE = "10.0.2.15";
const TARGET = "10.0.2.2";
/** Milliseconds for one answer. */
const DEADLINE = 5000;

/** Measures by turns and prints one JSON line for each measurement. */
export default async function main(args: readonly string[]): Promise<void> {
  const plan: Plan = JSON.parse(args[0]!);
  const names = deviceNames();
  // Loading virtio_mmio must not bind it: each device is handed over and taken back by name.
  Deno.writeTextFileSync(`${BUS}/drivers_autoprobe`, "0");
  await peer(["insmod", ...plan.modules.map((name) => `/bench/${name}`)]);
  for (let round = 0; round < plan.rounds; round++) {
    const sides = [() => measureOurs(plan, round), () => measureLinux(plan, round, names)];
    // The order changes too, in case one side leaves the caches warmer.
    if (round % 2 === 1) sides.reverse();
    for (const side of sides) await side();
  }
}

/** Linux's names of the platform devices that have a device. */
function deviceNames(): string[] {
  using platform = disposable(DevmemPlatform.open());
  const iomem = Deno.readTextFileSync("/proc/iomem");
  const names: string[] = [];
  for (const node of platform.value.nodes()) {
    if (node.kind !== "mmio") continue;
    using lease = node.open();
    if (lease.mmio.read32(8) === 0) continue;
    const base = node.base.toString(16);
    // The device tree's names have the address; ACPI's are in the list of memory ranges.
    const acpi = new RegExp(`^\\s*0*${base}-\\w+ : (\\S+)$`, "m").exec(iomem)?.[1];
    names.push(isDirectory(`${BUS}/devices/${acpi}`) ? acpi! : `${base}.virtio_mmio`);
  }
  return names;
}

function isDirectory(path: string): boolean {
  try {
    return Deno.statSync(path).isDirectory;
  } catch {
    return false;
  }
}

function disposable(value: DevmemPlatform): { readonly value: DevmemPlatform } & Disposable {
  return { value, [Symbol.dispose]: () => void value[Symbol.asyncDispose]() };
}

function print(measurement: Measurement): void {
  console.log(JSON.stringify(measurement));
}

async function measureOurs(plan: Plan, round: number): Promise<void> {
  await using platform = DevmemPlatform.open({ hugepages: 16 });
  await using bus = new Bus();
  await bus.registerDriver(blkDriver);
  await bus.registerDriver(netDriver);
  await bus.addPlatform(platform);
  for (const slot of bus.slotErrors) throw slot.error;
  const blk = bus.get(blkDriver);
  const net = bus.get(netDriver);
  if (!(blk instanceof Blk) || !(net instanceof Net)) throw new Error("A device is missing");
  for (const test of plan.blocks) {
    const seed = test.random ? round + 1 : 0;
    print({ side: "ours", test: test.name, round, ...await readPromises(blk, test, seed) });
    if (test.bytes > blk.limits.maxBatchBytes) continue;
    print({ side: "batch", test: test.name, round, ...await readBatch(blk, test, seed) });
  }
  await ping(net, { source: SOURCE, target: TARGET, count: 2, deadline: DEADLINE });
  const { replies } = await ping(net, {
    source: SOURCE,
    target: TARGET,
    count: plan.pings,
    deadline: DEADLINE,
  });
  const times = Float64Array.from(replies, (reply) => reply.milliseconds * 1000);
  const total = times.reduce((sum, time) => sum + time, 0);
  print({ side: "ours", test: "ping", round, ...sample(total / 1000, times) });
}

/** The promise interface: as many loops as requests in flight. */
async function readPromises(blk: Blk, test: BlockTest, seed: number): Promise<Sample> {
  const times = new Float64Array(test.count);
  const next = blocks(test, seed, blk.capacity);
  const sectors = test.bytes / 512;
  let begun = 0;
  const begin = performance.now();
  const loop = async (): Promise<void> => {
    const into = new Uint8Array(test.bytes);
    while (begun < test.count) {
      const i = begun++;
      const before = performance.now();
      await blk.read(next(i) * sectors, into);
      times[i] = (performance.now() - before) * 1000;
    }
  };
  await Promise.all(Array.from({ length: test.depth }, loop));
  return sample(performance.now() - begin, times);
}

/** The interface without allocations or copies. */
async function readBatch(blk: Blk, test: BlockTest, seed: number): Promise<Sample> {
  using batch = blk.batch(test.depth, test.bytes);
  const times = new Float64Array(test.count);
  const starts = new Float64Array(test.depth);
  const next = blocks(test, seed, blk.capacity);
  const sectors = test.bytes / 512;
  let begun = 0;
  let ended = 0;
  const begin = performance.now();
  const start = (slot: number): void => {
    if (begun === test.count) return;
    batch.prepareRead(slot, next(begun++) * sectors);
    if (!batch.submit(slot)) throw new Error("The ring has no room");
    starts[slot] = performance.now();
  };
  for (let slot = 0; slot < test.depth; slot++) start(slot);
  batch.kick();
  while (ended < test.count) {
    let slot = batch.poll();
    if (slot < 0) {
      await batch.wait({ deadline: DEADLINE });
      continue;
    }
    const now = performance.now();
    for (; slot >= 0; slot = batch.poll()) {
      const error = batch.error(slot);
      if (error !== undefined) throw error;
      times[ended++] = (now - starts[slot]!) * 1000;
      start(slot);
    }
    batch.kick();
  }
  return sample(performance.now() - begin, times);
}

/** The same sequence as in peer.c. */
function blocks(test: BlockTest, seed: number, capacity: number): (i: number) => number {
  const count = Math.floor(capacity / test.bytes);
  if (seed === 0) return (i) => i % count;
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state >>> 8) % count;
  };
}

/** Times in microseconds, the whole in milliseconds. */
function sample(totalMs: number, times: Float64Array): Sample {
  times.sort();
  const at = (part: number): number => times[Math.floor(times.length * part)] ?? NaN;
  return { seconds: totalMs / 1000, p50: at(0.5), p99: at(0.99) };
}

async function measureLinux(plan: Plan, round: number, names: readonly string[]): Promise<void> {
  for (const name of names) Deno.writeTextFileSync(`${DRIVER}/bind`, name);
  // Probing Linux's devices also made their nodes.
  for (const test of plan.blocks) {
    const seed = test.random ? round + 1 : 0;
    const numbers = [test.bytes, test.depth, test.count, seed, plan.diskBytes].map(String);
    const times = await peer(["read", "/dev/vda", ...numbers]);
    print({ side: "linux", test: test.name, round, ...times });
  }
  const [network] = [...Deno.readDirSync("/sys/class/net")].filter(({ name }) => name !== "lo");
  if (network === undefined) throw new VireoError("NO_DEVICE", "Linux has no network device");
  const times = await peer(["ping", network.name, SOURCE, TARGET, String(plan.pings)]);
  print({ side: "linux", test: "ping", round, ...times });
  for (const name of names) Deno.writeTextFileSync(`${DRIVER}/unbind`, name);
}

async function peer(args: readonly string[]): Promise<Sample> {
  const { success, stdout, stderr } = await new Deno.Command(PEER, { args: [...args] }).output();
  if (!success) throw new Error(`peer ${args[0]}: ${new TextDecoder().decode(stderr)}`);
  const [total, p50, p99] = new TextDecoder().decode(stdout).trim().split(" ").map(Number);
  return { seconds: (total ?? NaN) / 1e9, p50: (p50 ?? NaN) / 1000, p99: (p99 ?? NaN) / 1000 };
}
