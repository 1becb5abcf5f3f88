/**
 * The device's thread of `two_threads.ts`: spins for ever, and ends with its process.
 *
 * @module
 */
import { GuestMemory, makeQueue } from "@vireo/emu";
import type { Start } from "./two_threads.ts";

const scope = self as unknown as {
  onmessage: (event: MessageEvent<Start>) => void;
  postMessage(message: string): void;
};

scope.onmessage = ({ data: { packed = false, inOrder = false, geometry, memory } }) => {
  const queue = makeQueue(packed, {
    index: 0,
    geometry,
    memory: new GuestMemory(memory),
    indirect: true,
    eventIdx: false,
    inOrder,
    interrupt: () => {},
    fault: (reason) => {
      throw new Error(reason);
    },
  });
  scope.postMessage("ready");
  while (true) {
    let taken = 0;
    for (let chain = queue.pop(); chain !== undefined; chain = queue.pop(), taken++) {
      queue.push(chain, 64);
    }
    if (taken > 0) queue.signal();
  }
};
