/**
 * A ring between two threads that both spin: the driver's half here, the device's half in `device_thread.ts`, as
 * Linux's ringtest has them.
 *
 * @module
 */
import { EmuDma, GuestMemory } from "@vireo/emu";
import { PackedVirtqueue } from "../../drivers/virtqueue/packed.ts";
import { SplitVirtqueue } from "../../drivers/virtqueue/split.ts";
import { SgList } from "../../drivers/virtqueue/virtqueue.ts";
import type { RigOptions } from "../ring_rig.ts";
import type { Work } from "./lines.ts";

const SIZE = 256;
const BUFFER = 64;

/** Message to the device's thread. */
export interface Start extends RigOptions {
  readonly memory: SharedArrayBuffer;
  readonly geometry: { size: number; desc: number; avail: number; used: number };
}

/** Starts the device's thread. */
export async function apart(options: RigOptions): Promise<Work> {
  const { packed = false, inOrder = false } = options;
  const shared = new SharedArrayBuffer(8 << 20);
  const dma = new EmuDma(new GuestMemory(shared));
  const ring = {
    index: 0,
    name: "bench",
    size: SIZE,
    dma,
    indirect: true,
    eventIdx: false,
    inOrder,
    notificationData: false,
    notify: () => {},
  };
  const queue = packed ? new PackedVirtqueue(ring) : new SplitVirtqueue(ring);
  const region = dma.alloc(SIZE * BUFFER);
  const lists = Array.from(
    { length: SIZE },
    (_, i) => new SgList(1).addWritable(region.address + i * BUFFER, BUFFER),
  );
  queue.disableCallbacks();
  const { desc, driver: avail, device: used } = queue.addresses;
  const worker = new Worker(new URL("./device_thread.ts", import.meta.url), { type: "module" });
  const start: Start = {
    packed,
    inOrder,
    memory: shared,
    geometry: { size: SIZE, desc, avail, used },
  };
  const ready = new Promise((resolve) => worker.onmessage = resolve);
  worker.postMessage(start);
  await ready;
  let next = 0;
  return (count) => {
    let added = 0;
    for (let back = 0; back < count;) {
      const before = added;
      while (added < count && queue.freeSlots > 0) {
        queue.add(lists[next]!, next);
        next = (next + 1) % SIZE;
        added++;
      }
      if (added !== before) queue.kick();
      while (queue.pop() >= 0) back++;
      if (queue.broken !== undefined) throw queue.broken;
    }
  };
}
