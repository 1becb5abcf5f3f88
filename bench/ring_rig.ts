/**
 * The common parts of benches of rings: driver and emulated device in one thread, 64-byte buffers, size
 * 256, and how time and allocations are measured.
 *
 * A bench of several rings imports this once for each, by a query in the specifier: a module of its own
 * has loops of its own, which only ever see one kind of ring, as those of a driver do.
 *
 * @module
 */
import { EmuDma, GuestMemory, makeQueue, type RunningQueue } from "@vireo/emu";
import { PackedVirtqueue } from "../drivers/virtqueue/packed.ts";
import { SplitVirtqueue } from "../drivers/virtqueue/split.ts";
import { SgList } from "../drivers/virtqueue/virtqueue.ts";

/** Size of the rings in descriptors. */
export const SIZE = 256;
/** Bytes of each buffer. */
export const BUFFER = 64;
/** Buffers that one measured round moves. */
export const ROUND = 64_000;

/** Which ring. */
export interface RigOptions {
  readonly packed?: boolean;
  readonly eventIdx?: boolean;
  readonly inOrder?: boolean;
}

/** Both sides of a ring, and what they move. */
interface Rig {
  readonly driver: SplitVirtqueue | PackedVirtqueue;
  readonly device: RunningQueue;
  readonly lists: readonly SgList[];
}

/** Makes both sides of a ring. */
export function makeRig(rig: RigOptions): Rig {
  const { packed = false, eventIdx = false, inOrder = false } = rig;
  const memory = new GuestMemory(8 * 1024 * 1024);
  const dma = new EmuDma(memory);
  const options = {
    index: 0,
    name: "bench",
    size: SIZE,
    dma,
    indirect: true,
    eventIdx,
    inOrder,
    notificationData: false,
    notify: () => {},
  };
  const driver = packed ? new PackedVirtqueue(options) : new SplitVirtqueue(options);
  const { desc, driver: avail, device: used } = driver.addresses;
  const device = makeQueue(packed, {
    index: 0,
    geometry: { size: SIZE, desc, avail, used },
    memory,
    indirect: true,
    eventIdx,
    inOrder,
    interrupt: () => {},
    fault: (reason) => {
      throw new Error(reason);
    },
  });
  const region = dma.alloc(SIZE * BUFFER);
  const lists = Array.from(
    { length: SIZE },
    (_, i) => new SgList(1).addWritable(region.address + i * BUFFER, BUFFER),
  );
  driver.disableCallbacks();
  return { driver, device, lists };
}

/** The driver adds a batch and kicks once. */
function give({ driver, lists }: Rig, batch: number): void {
  for (let i = 0; i < batch; i++) driver.add(lists[i]!, i);
  driver.kick();
}

/** The device takes and returns a batch and signals once. */
function serve({ device }: Rig, batch: number): void {
  for (let i = 0; i < batch; i++) device.push(device.pop()!, BUFFER);
  device.signal();
}

/** The driver takes a batch back. */
function take({ driver }: Rig, batch: number): void {
  for (let i = 0; i < batch; i++) if (driver.pop() < 0) throw new Error("Nothing came back");
}

/** Moves `count` buffers to the device and back, `batch` at a time: three loops, as in three places. */
export function move(rig: Rig, batch: number, count: number): void {
  for (let done = 0; done < count; done += batch) {
    give(rig, batch);
    serve(rig, batch);
    take(rig, batch);
  }
}

const PLACES = [give, serve, take];

/**
 * The same with a call for each batch of each loop that V8 cannot inline, since it has several targets: so
 * each is optimized by itself, as it is in a program. Inlined all in one, a loop's cost depends on how much
 * of V8's budget for inlining the others left it: for the same ring 25 or 33 ns a buffer, run by run.
 */
export function moveApart(rig: Rig, batch: number, count: number): void {
  for (let done = 0; done < count; done += batch) {
    for (let i = 0; i < PLACES.length; i++) PLACES[i]!(rig, batch);
  }
}

/** Nanoseconds per buffer of each body, the medians of interleaved rounds. */
export function medians<K extends string>(
  bodies: Readonly<Record<K, () => void>>,
): Record<K, number> {
  const names = Object.keys(bodies) as K[];
  const samples = Object.fromEntries(names.map((name) => [name, [] as number[]]));
  for (let round = 0; round < 60; round++) {
    for (const name of names) {
      const begin = performance.now();
      bodies[name]();
      samples[name]!.push((performance.now() - begin) * 1e6 / ROUND);
    }
  }
  const median = (values: number[]): number => values.sort((a, b) => a - b)[values.length >> 1]!;
  return Object.fromEntries(names.map((name) => [name, median(samples[name]!)])) as Record<
    K,
    number
  >;
}

/** Buffers between two looks at the heap: too few for a collection to hide what they allocate. */
const CHUNK = 1920;

/** Bytes allocated per buffer: the median over many short runs, less what looking costs. */
export function bytesPerBuffer(run: (count: number) => void): number {
  run(ROUND);
  const grown = (count: number): number => {
    const growth: number[] = [];
    for (let i = 0; i < 200; i++) {
      const before = Deno.memoryUsage().heapUsed;
      if (count > 0) run(count);
      growth.push(Deno.memoryUsage().heapUsed - before);
    }
    return growth.sort((a, b) => a - b)[growth.length >> 1]!;
  };
  return (grown(CHUNK) - grown(0)) / CHUNK;
}

/** Where the control keeps its object. */
let kept: unknown;

/** The control: one small object a buffer. */
function allocate(count: number): void {
  for (let i = 0; i < count; i++) kept = { i };
}

/**
 * Bytes that the measurement sees of one small object a buffer.
 *
 * @throws {Error} If it does not see it.
 */
export function controlBytes(): number {
  const control = bytesPerBuffer(allocate);
  if (kept === undefined || control < 8) {
    throw new Error(`Cannot measure allocations: saw ${control} bytes`);
  }
  return control;
}
