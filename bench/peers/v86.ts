/**
 * The device's half of the split ring as v86 has it, behind the same bare stores as every peer's: answers
 * each line `WORK COUNT` with nanoseconds per buffer.
 *
 * The first argument is the path of v86's queue as a module, which `build.ts` takes out of the npm package.
 *
 * @module
 */
import { answerLines } from "./lines.ts";

/** A chain that v86 took. */
interface Chain {
  length_writable: number;
  length_written: number;
}

/** The parts of v86's queue that are used. */
interface Queue {
  size: number;
  desc_addr: number;
  avail_addr: number;
  used_addr: number;
  enable(): void;
  has_request(): boolean;
  pop_request(): Chain;
  push_reply(chain: Chain): void;
  flush_replies(): void;
}

const SIZE = 256;
const DESCRIPTORS = 4096;
const AVAILABLE = DESCRIPTORS + 16 * SIZE;
const USED = AVAILABLE + 2 * SIZE + 8;
const BUFFERS = 32768;

const { VirtQueue } = await import(new URL(Deno.args[0]!, "file:///").href) as {
  VirtQueue: new (cpu: unknown, virtio: unknown, options: unknown) => Queue;
};

const memory = new ArrayBuffer(1 << 16);
const bytes16 = new Uint16Array(memory);
const bytes32 = new Int32Array(memory);
const cpu = {
  read16: (at: number): number => bytes16[at >>> 1]!,
  read32s: (at: number): number => bytes32[at >>> 2]!,
  write16: (at: number, value: number): void => void (bytes16[at >>> 1] = value),
  write32: (at: number, value: number): void => void (bytes32[at >>> 2] = value),
};
let interrupts = 0;
const virtio = { is_feature_negotiated: () => false, raise_irq: () => interrupts++ };
const queue = new VirtQueue(cpu, virtio, { size_supported: SIZE, notify_offset: 0 });
queue.desc_addr = DESCRIPTORS;
queue.avail_addr = AVAILABLE;
queue.used_addr = USED;
queue.enable();
for (let i = 0; i < SIZE; i++) {
  bytes32.set([BUFFERS + 64 * i, 0, 64, 2], (DESCRIPTORS + 16 * i) / 4);
  bytes16[AVAILABLE / 2 + 2 + i] = i;
}

let next = 0;
function run(batch: number, count: number): void {
  for (let done = 0; done < count; done += batch) {
    next = (next + batch) & 0xffff;
    Atomics.store(bytes16, AVAILABLE / 2 + 1, next);
    while (queue.has_request()) {
      const chain = queue.pop_request();
      chain.length_written = chain.length_writable;
      queue.push_reply(chain);
    }
    queue.flush_replies();
  }
}

await answerLines({
  "device-1": (count) => run(1, count),
  "device-64": (count) => run(64, count),
});
