// deno-lint-ignore-file no-console -- a bench that is also a program
/**
 * What the split ring costs per buffer, driver and emulated device in one thread: 64-byte buffers, size
 * 256, beside a bare loop of the same loads and stores in the same run.
 *
 * `deno bench -A drivers/virtqueue/split_bench.ts`, or as a program: `deno run -A` prints medians of
 * interleaved rounds and the bytes allocated per buffer.
 *
 * @module
 */
import { GuestMemory, SplitQueue } from "@vireo/emu";
import { EmuDma } from "@vireo/emu";
import { loadAfterStore } from "@vireo/hal";
import { SgList } from "./virtqueue.ts";
import { SplitVirtqueue } from "./split.ts";

const SIZE = 256;
const BUFFER = 64;
/** Buffers that one measured round moves. */
const ROUND = 64_000;

interface Rig {
  readonly driver: SplitVirtqueue;
  readonly device: SplitQueue;
  readonly lists: readonly SgList[];
}

function makeRig(eventIdx: boolean): Rig {
  const memory = new GuestMemory(8 * 1024 * 1024);
  const dma = new EmuDma(memory);
  const driver = new SplitVirtqueue({
    index: 0,
    name: "bench",
    size: SIZE,
    dma,
    indirect: true,
    eventIdx,
    notificationData: false,
    notify: () => {},
  });
  const { addresses } = driver;
  const device = new SplitQueue({
    index: 0,
    geometry: {
      size: SIZE,
      desc: addresses.desc,
      avail: addresses.driver,
      used: addresses.device,
    },
    memory,
    indirect: true,
    eventIdx,
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
function move(rig: Rig, batch: number, count: number): void {
  for (let done = 0; done < count; done += batch) {
    give(rig, batch);
    serve(rig, batch);
    take(rig, batch);
  }
}

/** The same loads and stores of the same memory without any check or bookkeeping: the floor. */
function makeBare(): (batch: number, count: number) => void {
  const desc = new Uint32Array(SIZE * 4);
  const avail = new Uint16Array(3 + SIZE);
  const used16 = new Uint16Array(4 + 4 * SIZE);
  const used32 = new Uint32Array(used16.buffer);
  let next = 0;
  let taken = 0;
  let returned = 0;
  let sum = 0;
  const mask = SIZE - 1;
  return (batch, count) => {
    for (let done = 0; done < count; done += batch) {
      for (let i = 0; i < batch; i++) {
        const at = i * 4;
        desc[at] = 0x40000000 + i * BUFFER;
        desc[at + 1] = 0;
        desc[at + 2] = BUFFER;
        desc[at + 3] = 2;
        avail[2 + (next & mask)] = i;
        next = (next + 1) & 0xffff;
        if (batch === 1) Atomics.store(avail, 1, next);
      }
      if (batch !== 1) Atomics.store(avail, 1, next);
      sum += loadAfterStore(used16, 0);
      const seen = Atomics.load(avail, 1);
      while (taken !== seen) {
        const head = avail[2 + (taken & mask)]!;
        const at = head * 4;
        sum += desc[at]! + desc[at + 1]! + desc[at + 2]! + desc[at + 3]!;
        used32[1 + 2 * (taken & mask)] = head;
        used32[2 + 2 * (taken & mask)] = BUFFER;
        taken = (taken + 1) & 0xffff;
      }
      Atomics.store(used16, 1, taken);
      sum += loadAfterStore(avail, 0);
      const back = Atomics.load(used16, 1);
      while (returned !== back) {
        sum += used32[1 + 2 * (returned & mask)]! + used32[2 + 2 * (returned & mask)]!;
        returned = (returned + 1) & 0xffff;
      }
    }
    if (sum < 0) throw new Error("impossible");
  };
}

const plain = makeRig(false);
const event = makeRig(true);
const bare = makeBare();

for (const batch of [1, 64]) {
  const group = `${ROUND} buffers, batch ${batch}`;
  Deno.bench(`bare loop, batch ${batch}`, { group, baseline: true }, () => bare(batch, ROUND));
  Deno.bench(`split ring, batch ${batch}`, { group }, () => move(plain, batch, ROUND));
  Deno.bench(`split ring, EVENT_IDX, batch ${batch}`, { group }, () => move(event, batch, ROUND));
}

/** Nanoseconds per buffer, the median of interleaved rounds. */
function medians(batch: number): Record<"bare" | "split" | "event", number> {
  const samples = { bare: [] as number[], split: [] as number[], event: [] as number[] };
  const time = (body: () => void): number => {
    const begin = performance.now();
    body();
    return (performance.now() - begin) * 1e6 / ROUND;
  };
  for (let round = 0; round < 60; round++) {
    samples.bare.push(time(() => bare(batch, ROUND)));
    samples.split.push(time(() => move(plain, batch, ROUND)));
    samples.event.push(time(() => move(event, batch, ROUND)));
  }
  const median = (values: number[]): number => values.sort((a, b) => a - b)[values.length >> 1]!;
  return {
    bare: median(samples.bare),
    split: median(samples.split),
    event: median(samples.event),
  };
}

/** Buffers between two looks at the heap: too few for a collection to hide what they allocate. */
const CHUNK = 1920;

/** Bytes allocated per buffer: the median over many short runs, less what looking costs. */
function bytesPerBuffer(run: (count: number) => void): number {
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

/** The control: one small object a buffer, which the measurement has to see. */
function allocate(count: number): void {
  for (let i = 0; i < count; i++) kept = { i };
}

if (import.meta.main && Deno.mainModule === import.meta.url && !("bench" in globalThis)) {
  for (const batch of [1, 64]) {
    const { bare, split, event } = medians(batch);
    const ratio = (value: number): string =>
      `${value.toFixed(1)} ns (${(value / bare).toFixed(2)}x)`;
    console.log(
      `batch ${batch}: bare ${bare.toFixed(1)} ns, split ${ratio(split)}, EVENT_IDX ${
        ratio(event)
      }`,
    );
  }
  for (const batch of [1, 64]) {
    for (const [name, rig] of [["split", plain], ["EVENT_IDX", event]] as const) {
      const bytes = bytesPerBuffer((count) => move(rig, batch, count));
      console.log(`batch ${batch}, ${name}: ${bytes.toFixed(3)} bytes allocated per buffer`);
    }
  }
  const control = bytesPerBuffer(allocate);
  if (kept === undefined || control < 8) {
    throw new Error(`Cannot measure allocations: saw ${control} bytes`);
  }
  console.log(`control, an object a buffer: ${control.toFixed(3)} bytes`);
}
