import { assertEquals, assertThrows } from "@std/assert";
import { RingDevice, TestDma } from "../testing/mod.ts";
import { SplitVirtqueue } from "../virtqueue/split.ts";
import type { NetStats } from "./frame.ts";
import { TxQueue } from "./tx_queue.ts";

/** How a queue is made. */
interface RigOptions {
  readonly indirect?: boolean;
  readonly splitHeader?: boolean;
  readonly size?: number;
  readonly maxFrame?: number;
}

/** A queue of 4 slots with an mtu of 256, and the device side of its ring. */
function rig(options: RigOptions = {}) {
  const { indirect = false, splitHeader = false, size = 4, maxFrame = 2048 } = options;
  const dma = new TestDma();
  const queue = new SplitVirtqueue({
    index: 1,
    name: "transmitq1",
    size,
    dma,
    indirect,
    eventIdx: false,
    notificationData: false,
    notify() {},
  });
  const layout = { headerSize: 12, mtu: 256, splitHeader, maxFrame };
  const tx = new TxQueue(queue, dma, layout, { txFrames: 0, txBytes: 0 } as NetStats);
  const device = new RingDevice(dma, queue.addresses, { indirect });
  return { tx, device };
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
