import { assertEquals, assertThrows } from "@std/assert";
import { VireoError } from "@vireo/hal";
import { turn } from "../async_test_util.ts";
import { BouncingDma, type RingChain, RingDevice } from "../testing/mod.ts";
import { SplitVirtqueue } from "../virtqueue/split.ts";
import type { NetStats } from "./frame.ts";
import { TxQueue } from "./tx_queue.ts";

/** How a queue is made. */
interface RigOptions {
  readonly indirect?: boolean;
  readonly splitHeader?: boolean;
  readonly size?: number;
  readonly maxFrame?: number;
  readonly mtu?: number;
}

/** A queue of 4 slots with an mtu of 256, and the device side of its ring. */
function rig(options: RigOptions = {}) {
  const { indirect = false, splitHeader = false, size = 4, maxFrame = 2048, mtu = 256 } = options;
  const dma = new BouncingDma({ size: 1 << 20 });
  let kicks = 0;
  const queue = new SplitVirtqueue({
    index: 1,
    name: "transmitq1",
    size,
    dma,
    indirect,
    eventIdx: false,
    notificationData: false,
    notify: () => kicks++,
  });
  const layout = { headerSize: 12, mtu, splitHeader, maxFrame };
  const stats = { txFrames: 0, txBytes: 0 };
  const tx = new TxQueue(queue, dma, layout, stats as NetStats);
  const device = new RingDevice(dma, queue.addresses, { indirect });
  return {
    dma,
    queue,
    tx,
    device,
    stats,
    kicks: () => kicks,
    /** What the device reads of a chain, by element. */
    read: ({ descriptors }: RingChain): number[][] =>
      descriptors.map(({ address, length }) => [...dma.deviceBytes(address, length)]),
  };
}

const HEADER = Array<number>(12).fill(0);

/** A frame of so many bytes, none of them 0. */
function frame(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => 1 + i % 250);
}

for (
  const [name, options, most] of [
    ["a frame takes as many slots as there are, and no more", {}, 4],
    [
      "with a descriptor for the header, a frame has a slot less than the ring",
      { indirect: true, splitHeader: true },
      3,
    ],
  ] as const
) {
  Deno.test(`tx queue: ${name}`, () => {
    const { tx, device } = rig(options);
    const largest = most * tx.slotSize;
    assertEquals([tx.frames.length, tx.free], [4, 4]);
    assertThrows(
      () => tx.copyIn(new Uint8Array(largest + 1), undefined),
      RangeError,
      `Cannot send a frame of ${largest + 1} bytes on this queue: expected at most ${largest}`,
    );
    assertEquals(tx.copyIn(new Uint8Array(largest), undefined), true);
    tx.kick();
    assertEquals(device.next()!.descriptors.length, 4);
  });
}

Deno.test("tx queue: looks for used frames only when it has too few slots", () => {
  const { tx, device } = rig();
  assertEquals(tx.copyIn(new Uint8Array(2 * tx.slotSize), undefined), true);
  tx.kick();
  device.complete(device.next()!, 0);
  assertEquals(tx.copyIn(new Uint8Array(2 * tx.slotSize), undefined), true);
  assertEquals(tx.free, 0);
  assertEquals(tx.copyIn(new Uint8Array(2 * tx.slotSize), undefined), true);
  assertEquals(tx.free, 0);
  // The device has both frames now.
  assertEquals(tx.copyIn(new Uint8Array(1), undefined), false);
});

Deno.test("tx queue: a frame too long for an indirect table waits until the ring has room for its elements", () => {
  const { tx, device } = rig({ indirect: true, splitHeader: true, size: 64, maxFrame: 16_384 });
  for (let i = 0; i < 32; i++) assertEquals(tx.copyIn(new Uint8Array(60), undefined), true);
  tx.kick();
  // 32 slots are free, and 32 places of the ring; with its header the frame needs 33.
  const long = new Uint8Array(32 * tx.slotSize);
  assertEquals([tx.free, tx.copyIn(long, undefined), tx.free], [32, false, 32]);
  device.complete(device.next()!, 0);
  assertEquals(tx.copyIn(long, undefined), true);
  tx.kick();
  assertEquals(tx.free, 1);
});

Deno.test("tx queue: a slot holds the header, a tagged frame of the MTU and no more than a page", () => {
  for (
    const [mtu, slotSize] of [[290, 320 - 12], [291, 384 - 12], [1500, 1536 - 12], [
      9000,
      4096 - 12,
    ]] as const
  ) {
    const { tx, queue } = rig({ mtu });
    assertEquals([tx.slotSize, tx.frames[0]!.length, queue.callbacks], [slotSize, slotSize, false]);
    assertEquals(tx.queue, queue);
  }
});

Deno.test("tx queue: a reserved slot is sent as it was filled, behind a header of zeroes", () => {
  const r = rig();
  const { tx } = r;
  const slots = [0, 1, 2, 3].map(() => tx.reserve());
  assertEquals([new Set(slots).size, tx.reserve(), tx.free], [4, -1, 0]);
  for (const length of [13, tx.slotSize + 1, NaN]) {
    assertThrows(() => tx.submit(slots[0]!, length), RangeError, `frame of ${length} bytes`);
  }
  // One that had a header of its own before.
  const lengths = [14, tx.slotSize, 60];
  for (let round = 0; round < 2; round++) {
    const sent = round === 0 ? slots.slice(0, 3) : lengths.map(() => tx.reserve());
    for (const [i, slot] of sent.entries()) {
      tx.frames[slot]!.set(frame(lengths[i]!));
      tx.submit(slot, lengths[i]!);
    }
    tx.kick();
    for (const [i, slot] of sent.entries()) {
      const chain = r.device.next()!;
      assertEquals(r.read(chain), [[...HEADER, ...frame(lengths[i]!)]], `${i} ${slot}`);
      r.device.complete(chain, 0);
    }
    assertEquals([r.kicks(), tx.free, tx.reclaim(), tx.free], [1 + round * 4, 0, 3, 3]);
    if (round > 0) break;
    for (let i = 0; i < 3; i++) {
      tx.copyIn(frame(20), frame(12));
      tx.kick();
      const chain = r.device.next()!;
      assertEquals(r.read(chain), [[...frame(12), ...frame(20)]]);
      r.device.complete(chain, 0);
    }
    tx.reclaim();
  }
  tx.release(slots[3]!);
  const bytes = 2 * (14 + tx.slotSize + 60) + 3 * 20;
  assertEquals([tx.free, r.stats], [4, { txFrames: 9, txBytes: bytes }]);
});

Deno.test("tx queue: a slot that the device used is reserved again without being asked for", () => {
  const { tx, device } = rig();
  for (let i = 0; i < 4; i++) tx.submit(tx.reserve(), 60);
  tx.kick();
  assertEquals(tx.reserve(), -1);
  const chain = device.next()!;
  device.complete(chain, 0);
  assertEquals([tx.reserve(), tx.free, tx.reserve()], [chain.head, 0, -1]);
});

Deno.test("tx queue: a long frame is in slots of which the first has the header, and all come back", () => {
  for (const splitHeader of [false, true]) {
    const r = rig({ splitHeader, size: 8 });
    const { tx } = r;
    const count = tx.free;
    const long = frame(2 * tx.slotSize + 5);
    const parts = [long.slice(0, tx.slotSize), long.slice(tx.slotSize, 2 * tx.slotSize), frame(0)];
    parts[2] = long.slice(2 * tx.slotSize);
    for (const header of [frame(12), undefined]) {
      assertEquals([tx.copyIn(long, header), tx.free], [true, count - 3]);
      tx.kick();
      const chain = r.device.next()!;
      const own = header === undefined ? HEADER : [...header];
      assertEquals(
        r.read(chain),
        (splitHeader ? [own, [...parts[0]!]] : [[...own, ...parts[0]!]])
          .concat(parts.slice(1).map((part) => [...part])),
      );
      r.device.complete(chain, 0);
      assertEquals([tx.reclaim(), tx.free], [1, count]);
    }
    // What the device still has comes back with the reset.
    tx.copyIn(long, undefined);
    tx.kick();
    tx.dispose();
    assertEquals([r.dma.mistakes, r.dma.live], [[], 1]);
  }
});

Deno.test("tx queue: a closed one takes nothing, and a broken one keeps no slot", () => {
  const { tx, queue, stats } = rig();
  const slot = tx.reserve();
  tx.close(new Error("not in use"));
  assertThrows(() => tx.submit(slot, 60), Error, "not in use");
  assertThrows(() => tx.copyIn(frame(60), undefined), Error, "not in use");
  tx.close(undefined);
  tx.submit(slot, 60);
  queue.break(new VireoError("DEVICE_STATE", "As the test wants"));
  assertThrows(() => tx.submit(tx.reserve(), 60), VireoError);
  assertThrows(() => tx.copyIn(frame(400), undefined), VireoError);
  assertEquals([tx.free, stats.txFrames], [3, 1]);
});

Deno.test("tx queue: kicks of a turn are one, and none for a broken or disposed queue", async () => {
  for (const how of ["submit", "kick", "break", "dispose"] as const) {
    const r = rig();
    const { tx } = r;
    for (let i = 0; i < 2; i++) {
      tx.submit(tx.reserve(), 60);
      tx.kickSoon();
    }
    assertEquals(r.kicks(), 0);
    if (how === "kick") tx.kick();
    if (how === "break") r.queue.break(new VireoError("DEVICE_STATE", "As the test wants"));
    if (how === "dispose") tx.dispose();
    await turn();
    assertEquals(r.kicks(), how === "submit" || how === "kick" ? 1 : 0, how);
    if (how !== "submit") continue;
    tx.submit(tx.reserve(), 60);
    tx.kickSoon();
    await turn();
    assertEquals(r.kicks(), 2);
  }
});
