/**
 * Measures the split ring per buffer, driver and emulated device in one thread: 64-byte buffers, size
 * 256, beside a bare loop of the same loads and stores in the same run.
 *
 * `deno bench -A bench/split_bench.ts`, or as a program: `deno run -A` prints medians of
 * interleaved rounds and the bytes allocated per buffer.
 *
 * @module
 */
import { loadAfterStore } from "@vireo/hal";
import {
  BUFFER,
  bytesPerBuffer,
  controlBytes,
  makeRig,
  medians,
  move,
  ROUND,
  SIZE,
} from "./ring_rig.ts";

/**
 * The same loads and stores of the same memory without any check or bookkeeping: the floor. Its
 * sums are 32-bit integers: as doubles they would cost more than the loads.
 */
function makeBare(): (batch: number, count: number) => number {
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
      sum = (sum + loadAfterStore(used16, 0)) | 0;
      const seen = Atomics.load(avail, 1);
      while (taken !== seen) {
        const head = avail[2 + (taken & mask)]!;
        const at = head * 4;
        sum = (sum + desc[at]! + desc[at + 1]! + desc[at + 2]! + desc[at + 3]!) | 0;
        used32[1 + 2 * (taken & mask)] = head;
        used32[2 + 2 * (taken & mask)] = BUFFER;
        taken = (taken + 1) & 0xffff;
      }
      Atomics.store(used16, 1, taken);
      sum = (sum + loadAfterStore(avail, 0)) | 0;
      const back = Atomics.load(used16, 1);
      while (returned !== back) {
        const at = 1 + 2 * (returned & mask);
        sum = (sum + used32[at]! + used32[at + 1]!) | 0;
        returned = (returned + 1) & 0xffff;
      }
    }
    return sum;
  };
}

const plain = makeRig({});
const event = makeRig({ eventIdx: true });
const bare = makeBare();

for (const batch of [1, 64]) {
  const group = `${ROUND} buffers, batch ${batch}`;
  Deno.bench(`bare loop, batch ${batch}`, { group, baseline: true }, () => void bare(batch, ROUND));
  Deno.bench(`split ring, batch ${batch}`, { group }, () => move(plain, batch, ROUND));
  Deno.bench(`split ring, EVENT_IDX, batch ${batch}`, { group }, () => move(event, batch, ROUND));
}

if (import.meta.main && Deno.mainModule === import.meta.url && !("bench" in globalThis)) {
  for (const batch of [1, 64]) {
    const found = medians({
      bare: () => void bare(batch, ROUND),
      split: () => move(plain, batch, ROUND),
      event: () => move(event, batch, ROUND),
    });
    const ratio = (value: number): string =>
      `${value.toFixed(1)} ns (${(value / found.bare).toFixed(2)}x)`;
    const ours = `split ${ratio(found.split)}, EVENT_IDX ${ratio(found.event)}`;
    console.log(`batch ${batch}: bare ${found.bare.toFixed(1)} ns, ${ours}`);
  }
  for (const batch of [1, 64]) {
    for (const [name, rig] of [["split", plain], ["EVENT_IDX", event]] as const) {
      const bytes = bytesPerBuffer((count) => move(rig, batch, count));
      console.log(`batch ${batch}, ${name}: ${bytes.toFixed(3)} bytes allocated per buffer`);
    }
  }
  console.log(`control, an object a buffer: ${controlBytes().toFixed(3)} bytes`);
}
