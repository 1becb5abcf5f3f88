import { assert, assertEquals, assertThrows } from "@std/assert";
import { type DmaOptions, type DmaRegion, Feature, FeatureSet, VireoError } from "@vireo/hal";
import { TestDma } from "../testing/dma.ts";
import { createRing, type Ring, type RingRequest } from "./create_ring.ts";
import { HostRing } from "./host_ring.ts";
import { IndirectTables } from "./_indirect.ts";
import { PackedVirtqueue } from "./packed.ts";
import { SplitVirtqueue } from "./split.ts";
import { SgList } from "./virtqueue.ts";

const { INDIRECT_DESC, RING_PACKED, IN_ORDER, NOTIFICATION_DATA } = Feature;

/** Memory whose allocations are noted, and fail over a limit. */
class NotedDma extends TestDma {
  readonly asked: [size: number, options: DmaOptions | undefined][] = [];
  limit = Infinity;
  failure: Error = new VireoError("OUT_OF_MEMORY", "Over the test's limit");

  constructor() {
    super({ size: 1 << 16 });
  }

  override alloc(size: number, options?: DmaOptions): DmaRegion {
    this.asked.push([size, options]);
    if (size > this.limit) throw this.failure;
    return super.alloc(size, options);
  }
}

function make(
  { features = [], ...request }: Omit<Partial<RingRequest>, "features"> & { features?: number[] },
): Ring {
  return createRing({
    index: 3,
    name: "requests",
    maxSize: 8,
    dma: new NotedDma(),
    features: FeatureSet.of(Feature.VERSION_1, ...features),
    legacyAlign: undefined,
    indirect: true,
    device: "virtio0",
    status: () => 15,
    notify: () => {},
    ...request,
  });
}

Deno.test("createRing: a split ring is the largest power of 2 within the bound, a packed one has any size", () => {
  const size = (maxSize: number, ...features: number[]) => make({ maxSize, features }).size;
  assertEquals([1, 2, 12, 16, 31.5].map((max) => size(max)), [1, 2, 8, 16, 16]);
  assertEquals([1, 2, 12, 16, 31.5].map((max) => size(max, RING_PACKED)), [1, 2, 12, 16, 31]);
  assert(make({}) instanceof SplitVirtqueue);
  assert(make({ features: [RING_PACKED] }) instanceof PackedVirtqueue);
  for (const maxSize of [0, 0.5, -1, NaN]) {
    assertThrows(() => make({ maxSize }), RangeError, `a ring of ${maxSize} descriptors`);
  }
});

Deno.test("createRing: where memory is short the ring is halved until it fits, or not even one descriptor does", () => {
  for (const features of [[], [RING_PACKED]]) {
    const dma = new NotedDma();
    dma.limit = 240;
    const { size } = make({ dma, features, maxSize: 64 });
    assertEquals([size, dma.asked.length], [8, 4]);
    dma.limit = 0;
    const error = assertThrows(() => make({ dma, features, maxSize: 4 }), VireoError);
    assertEquals([error.code, dma.asked.length], ["OUT_OF_MEMORY", 4 + 3]);
    // Anything else is no reason to ask for less.
    for (
      const failure of [
        new VireoError("HOST_ERROR", "As the test wants"),
        Object.assign(new Error("Its own"), { code: "OUT_OF_MEMORY" }),
      ]
    ) {
      const failing = Object.assign(new NotedDma(), { limit: 0, failure });
      assertEquals(assertThrows(() => make({ dma: failing, features }), Error), failure);
      assertEquals(failing.asked.length, 1);
    }
  }
});

Deno.test("createRing: tables of indirect descriptors are made if the device and the driver want them", () => {
  for (const format of [[], [RING_PACKED]]) {
    const tables = (indirect: boolean, ...features: number[]): number => {
      const dma = new NotedDma();
      make({ dma, indirect, features: [...format, ...features] });
      return dma.asked.length - 1;
    };
    assertEquals([tables(true, INDIRECT_DESC), tables(true), tables(false, INDIRECT_DESC)], [
      1,
      0,
      0,
    ]);
  }
});

Deno.test("createRing: a driver can play the device on a plain split ring only", () => {
  const diagnosis = new VireoError("HOST_ERROR", "QEMU has ended");
  const dma = new NotedDma();
  const ring = make({ dma, reversed: true, legacyAlign: 4096, diagnose: () => diagnosis });
  assert(ring instanceof HostRing);
  assertEquals([ring.name, ring.device, ring.callbacks], ["requests", "virtio0", true]);
  assertEquals([ring.status!(), ring.diagnose!()], [15, diagnosis]);
  assertEquals(dma.asked.map(([, options]) => options), [{ align: 4096, coherent: true }]);
  const modern = new NotedDma();
  make({ dma: modern, reversed: true });
  assertEquals(modern.asked.map(([, options]) => options), [{ align: 16, coherent: true }]);
  for (const bit of [RING_PACKED, INDIRECT_DESC, IN_ORDER, NOTIFICATION_DATA]) {
    assertThrows(
      () => make({ reversed: true, features: [bit] }),
      TypeError,
      `'requests' with features ${bit}`,
    );
  }
});

Deno.test("indirect tables have the ring's size, 32 elements at most, in memory that needs no share", () => {
  for (const [size, capacity] of [[1, 0], [2, 2], [32, 32], [64, 32]] as const) {
    const dma = new NotedDma();
    assertEquals(new IndirectTables(dma, size, true).capacity, capacity);
    const options = { align: 16, coherent: true };
    assertEquals(dma.asked, capacity === 0 ? [] : [[16 * size * capacity, options]]);
    assertEquals(new IndirectTables(dma, size, false).capacity, 0);
  }
  const tables = new IndirectTables(new NotedDma(), 4, true);
  assertEquals([1, 2, 4, 5].map((count) => tables.slotsFor(count)), [1, 1, 1, 5]);
});

Deno.test("indirect tables: one has all of its elements, with addresses of 64 bits, and no other's", () => {
  const tables = new IndirectTables(new NotedDma(), 2, true);
  const list = (at: number) => new SgList(2).addReadable(at, 5).addWritable(at + 16, 6);
  const second = tables.fill(1, list(0x5_0000_0000).words, 2, true);
  const first = tables.fill(0, list(0x7_0000_0000).words, 2, true);
  assertEquals(second - first, 32);
  // Address, its upper half, length, and flags (NEXT, WRITE) with the next one.
  assertEquals([...tables.table(0)], [0, 7, 5, 1 | 1 << 16, 16, 7, 6, 2]);
  assertEquals([...tables.table(1)], [0, 5, 5, 1 | 1 << 16, 16, 5, 6, 2]);
  tables.fill(1, list(0x3_0000_0000).words, 2, false);
  assertEquals([...tables.table(1)], [0, 3, 5, 0, 16, 3, 6, 2 << 16]);
});

Deno.test("a chain may have 2^32 bytes, not one more (drv.split-ring.desc-table.1)", () => {
  for (const features of [[], [RING_PACKED]]) {
    const list = (last: number) => new SgList(2).addWritable(0, 2 ** 31).addWritable(0, last);
    const ring = make({ features });
    assertEquals(ring.add(list(2 ** 31), 0), true);
    const error = assertThrows(() => ring.add(list(2 ** 31 + 1), 1), VireoError);
    assertEquals([error.code, error.seen], ["CHAIN_SHAPE", 2 ** 32 + 1]);
  }
});

Deno.test("every ring knows its place, and lies in memory that needs no share", () => {
  const diagnosis = new VireoError("HOST_ERROR", "QEMU has ended");
  for (
    const [request, size, align] of [
      [{}, 16 * 8 + (2 * 8 + 6) + 2 + (8 * 8 + 6), 16],
      [{ legacyAlign: 4096 }, 8192, 4096],
      // Event suppression has 4 bytes for each side.
      [{ features: [RING_PACKED] }, 16 * 8 + 8, 16],
    ] as const
  ) {
    const dma = new NotedDma();
    const { features = [], ...rest } = request as { features?: readonly number[] };
    const ring = make({ dma, features: [...features], ...rest, diagnose: () => diagnosis });
    assertEquals([ring.index, ring.name, ring.device], [3, "requests", "virtio0"]);
    assertEquals([ring.status!(), ring.diagnose!()], [15, diagnosis]);
    assertEquals([dma.asked[0]![0] - size < 4, dma.asked[0]![1]], [true, {
      align,
      coherent: true,
    }]);
    assertEquals(dma.asked[0]![0] >= size, true, `${dma.asked[0]![0]} of ${size}`);
  }
});

Deno.test("every ring: what is added is made available by a kick, unless it is held or broken", () => {
  for (const features of [[], [RING_PACKED]]) {
    let notified = 0;
    const ring = make({ features, notify: () => notified++ });
    const chain = new SgList(1).addWritable(0x1000, 8);
    ring.add(chain, 0);
    ring.held = true;
    ring.kick();
    ring.kickAgain();
    assertEquals([ring.unkicked, notified], [1, 0]);
    ring.held = false;
    ring.kick();
    assertEquals([ring.unkicked, notified], [0, 1]);
    // Nothing is new.
    ring.kick();
    assertEquals(notified, 1);
    ring.add(chain, 1);
    ring.kickAgain();
    assertEquals(notified > 1, true);
    notified = 0;
    ring.add(chain, 2);
    ring.break(new VireoError("DEVICE_STATE", "As the test wants"));
    ring.kick();
    ring.kickAgain();
    assertEquals([notified, ring.hasUsed()], [0, false]);
  }
});

Deno.test("every ring says whether its driver asks for interrupts", () => {
  for (const request of [{}, { features: [RING_PACKED] }, { reversed: true }]) {
    const ring = make(request);
    const steps: boolean[] = [ring.callbacks];
    for (const enable of ["enableCallbacks", "enableCallbacksDelayed"] as const) {
      ring.disableCallbacks();
      steps.push(ring.callbacks);
      assertEquals(ring[enable](), true);
      steps.push(ring.callbacks);
    }
    assertEquals(steps, [true, false, true, false, true]);
    // A broken one has nothing to look at.
    ring.break(new VireoError("DEVICE_STATE", "As the test wants"));
    assertEquals([ring.enableCallbacks(), ring.enableCallbacksDelayed()], [true, true]);
  }
});

Deno.test("a split ring has a power of 2 of descriptors, up to 32768", () => {
  const ring = (size: number) =>
    new SplitVirtqueue({
      index: 3,
      name: "requests",
      size,
      dma: new NotedDma(),
      indirect: false,
      eventIdx: false,
      notificationData: false,
      notify: () => {},
    });
  for (const size of [0, 3, 1.5, 65_536, NaN]) {
    assertEquals(assertThrows(() => ring(size), VireoError).code, "QUEUE_SIZE");
  }
  // The test has no memory for it.
  assertEquals(assertThrows(() => ring(32_768), VireoError).code, "OUT_OF_MEMORY");
});
