import { assertEquals } from "@std/assert";
import { BouncingDma, RingDevice, type TestDma } from "../testing/mod.ts";
import { RequestQueue } from "./request_queue.ts";
import { SplitVirtqueue } from "./split.ts";

/** A queue of requests, and a device that answers when it is told. */
export interface Rig extends Disposable {
  readonly dma: BouncingDma;
  readonly queue: SplitVirtqueue;
  readonly requests: RequestQueue;
  /** Takes the next request: writes bytes from the first writable one on, and claims a length. */
  answer(bytes: readonly number[], used?: number | undefined, last?: number): number[][];
}

/** A queue without any feature, of eight descriptors unless it says otherwise. */
export function plainQueue(
  dma: TestDma,
  notify: () => void = () => {},
  size = 8,
): SplitVirtqueue {
  return new SplitVirtqueue({
    index: 1,
    name: "requests",
    size,
    dma,
    indirect: false,
    eventIdx: false,
    notificationData: false,
    notify,
  });
}

/** Makes a rig, in memory of its own or of another one. */
export function rig(dma: BouncingDma = new BouncingDma({ size: 64 * 1024 })): Rig {
  const queue = plainQueue(dma);
  const requests = new RequestQueue(queue);
  const device = new RingDevice(dma, queue.addresses);
  return {
    dma,
    queue,
    requests,
    answer(bytes, used, last) {
      requests.flush();
      const chain = device.next()!;
      const seen: number[][] = [];
      let at = 0;
      const parts = chain.descriptors.map(({ address, length }) =>
        dma.deviceBytes(address, length)
      );
      for (const [i, { flags }] of chain.descriptors.entries()) {
        seen.push([...parts[i]!]);
        if ((flags & 2) === 0) continue;
        const part = bytes.slice(at, at += parts[i]!.length);
        parts[i]!.set(part);
      }
      if (last !== undefined) parts.at(-1)![parts.at(-1)!.length - 1] = last;
      device.complete(chain, used ?? bytes.length);
      requests.drain();
      return seen;
    },
    [Symbol.dispose]: () => queue[Symbol.dispose](),
  };
}

/** All that the driver did was right, and nothing is left but the ring. */
export function checkOver({ dma }: Rig): void {
  assertEquals([dma.mistakes, dma.live], [[], 1]);
}
