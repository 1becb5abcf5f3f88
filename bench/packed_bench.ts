/**
 * Measures the packed ring per buffer beside the split ring in the same run: driver and emulated device
 * in one thread, 64-byte buffers, size 256.
 *
 * `deno bench -A bench/packed_bench.ts`, or as a program: `deno run -A` prints medians of
 * interleaved rounds, their ratios, and the bytes allocated per buffer.
 *
 * @module
 */
import * as forPacked from "./ring_rig.ts?ring=packed";
import * as forSplit from "./ring_rig.ts?ring=split";

const { bytesPerBuffer, controlBytes, medians, ROUND } = forPacked;

/** Moves buffers through one ring. */
type Move = (batch: number, count: number) => void;

function pair(options: forPacked.RigOptions): Record<"split" | "packed", Move> {
  const split = forSplit.makeRig(options);
  const packed = forPacked.makeRig({ ...options, packed: true });
  return {
    split: (batch, count) => forSplit.moveApart(split, batch, count),
    packed: (batch, count) => forPacked.moveApart(packed, batch, count),
  };
}

const OPTIONS: readonly (readonly [name: string, options: forPacked.RigOptions])[] = [
  ["plain", {}],
  ["EVENT_IDX", { eventIdx: true }],
  ["IN_ORDER", { inOrder: true }],
];
const RINGS = OPTIONS.map(([name, options]) => ({ name, ...pair(options) }));

for (const batch of [1, 64]) {
  for (const { name, split, packed } of RINGS) {
    const group = `${ROUND} buffers, ${name}, batch ${batch}`;
    Deno.bench(
      `split, ${name}, batch ${batch}`,
      { group, baseline: true },
      () => split(batch, ROUND),
    );
    Deno.bench(`packed, ${name}, batch ${batch}`, { group }, () => packed(batch, ROUND));
  }
}

if (import.meta.main && Deno.mainModule === import.meta.url && !("bench" in globalThis)) {
  for (const batch of [1, 64]) {
    for (const { name, split, packed } of RINGS) {
      const found = medians({
        split: () => split(batch, ROUND),
        packed: () => packed(batch, ROUND),
      });
      const bytes = bytesPerBuffer((count) => packed(batch, count));
      const ratio = (found.packed / found.split).toFixed(2);
      console.log(
        `batch ${batch}, ${name}: split ${found.split.toFixed(1)} ns, packed ${
          found.packed.toFixed(1)
        } ns (${ratio}x), ${bytes.toFixed(3)} bytes allocated per buffer`,
      );
    }
  }
  console.log(`control, an object a buffer: ${controlBytes().toFixed(3)} bytes`);
}
