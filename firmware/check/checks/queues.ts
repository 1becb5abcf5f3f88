import type { Check } from "../check.ts";
import { CheckFailure } from "../failure.ts";
import type { CheckContext } from "../context.ts";
import { CAUSE, FEATURE, STATUS } from "../raw/registers.ts";

/** Sizes that no split ring can have. */
const SIZES: readonly (readonly [name: string, size: (max: number) => number])[] = [
  ["zero", () => 0],
  ["three", () => 3],
  ["above-max", (max) => max * 2],
  ["32769", () => 32769],
  ["65535", () => 0xffff],
];

/** Selects and fills a queue's registers, one of them wrong, and starts it. */
async function startWrong(
  c: CheckContext,
  wrong: { size?: number; part?: "desc" | "driver" | "device"; address?: number },
): Promise<void> {
  await c.init({ until: "features" });
  const { queue } = c.known;
  const good = c.setUp(queue);
  // The queue that was set up right is taken back by a reset, and its ring used for the wrong one.
  await c.init({ until: "features", queues: [] });
  c.device.select(queue);
  c.device.writeSize(wrong.size ?? good.size);
  const parts = { ...good.parts };
  if (wrong.part !== undefined) parts[wrong.part] = wrong.address! - c.arena.base;
  c.device.place(parts, c.arena.base);
  c.device.enable(good.parts.desc, c.arena.base);
  c.device.writeStatus(c.device.status() | STATUS.DRIVER_OK);
  c.device.notify(queue);
  await c.quiet();
}

const sizes: Check[] = SIZES.map(([name, size]) => ({
  id: `queue.hostile.size-${name}`,
  clauses: ["drv.mmio.layout.10", "drv.pci.common-cfg.2", "drv.pci.common-cfg.3"],
  done: `a queue gets the size "${name}", is started and notified of`,
  expected: "after a reset the device works as before",
  hostile: true,
  request: true,
  scope: { face: "modern" },
  async run(c) {
    c.device.select(c.known.queue);
    await startWrong(c, { size: size(c.device.sizeMax()) });
  },
}));

/** Addresses that a part of a queue cannot have. */
const ADDRESSES:
  readonly (readonly [name: string, address: (c: CheckContext, align: number) => number])[] = [
    ["misaligned", (c) => c.arena.base + 1],
    ["no-memory", () => 0x7000_0000_0000],
    ["near-the-end", () => 2 ** 52],
    ["zero-page", () => 0],
  ];

const addresses: Check[] = (["desc", "driver", "device"] as const).flatMap((part) =>
  ADDRESSES.map(([name, address]) => ({
    id: `queue.hostile.${part}-${name}`,
    clauses: ["drv.split-ring.layout.1", "dev.basic.status.2"],
    done: `the ${part} area of a queue gets an address that is ${name.replaceAll("-", " ")}`,
    expected: "after a reset the device works as before",
    hostile: true as const,
    request: true as const,
    scope: { face: "modern" as const },
    async run(c: CheckContext) {
      await startWrong(c, { part, address: address(c, 16) });
    },
  }))
);

/** Notifications that name nothing that can be served. */
const NOTIFICATIONS: readonly (readonly [name: string, value: number])[] = [
  ["no-such-queue", 60],
  ["255", 255],
  ["1024", 1024],
  ["32767", 0x7fff],
  ["65535", 0xffff],
];

const notifications: Check[] = NOTIFICATIONS.map(([name, value]) => ({
  id: `queue.hostile.notify-${name}`,
  clauses: ["virtio 1.4 §2.3"],
  done: `the device is notified of queue ${value}, which it does not have`,
  expected: "nothing happens, and after a reset the device works as before",
  hostile: true,
  async run(c) {
    await c.init();
    if (c.device.bus !== "pci" || c.legacy) c.device.notifyValue(0, value);
    else {
      // There is no address for such a queue: its number goes to the address of another.
      const { bar, offset } = c.pci.notification();
      c.pci.bar(bar).write(offset, 2, value);
    }
    await c.quiet();
  },
}));

const setUp: Check[] = [
  {
    id: "queue.max-size",
    clauses: ["dev.pci.common-cfg.14", "virtio 1.4 §2.7"],
    done: "the largest size of each queue is read",
    expected: "each is from 1 to 32768, and a power of two where rings are split",
    async run(c) {
      await c.init({ until: "features", queues: [] });
      const count = c.queueCount();
      c.expect("queues", count > 0, count, "at least one");
      for (let queue = 0; queue < count; queue++) {
        c.device.select(queue);
        const max = c.device.sizeMax();
        const good = max >= 1 && max <= 32768 && (max & max - 1) === 0;
        c.expect(`largest size of queue ${queue}`, good, max, "a power of two up to 32768");
      }
    },
  },
  {
    id: "queue.none",
    clauses: ["dev.pci.common-cfg.13", "virtio 1.4 §4.2.2"],
    done: "queues that the device does not have are selected",
    expected: "their largest size is 0",
    run(c) {
      const count = c.queueCount();
      for (const queue of [count + 64, 1024, 4096, 0x7fff, 0xffff]) {
        c.device.select(queue);
        c.equal(`largest size of queue ${queue}`, c.device.sizeMax(), 0);
      }
    },
  },
  {
    id: "queue.starts",
    clauses: ["virtio 1.4 §4.2.2", "virtio 1.4 §4.1.4.3"],
    done: "a queue is set up and started",
    expected: "it reads as not started before, and as started after",
    request: true,
    async run(c) {
      await c.init({ until: "features" });
      const { queue } = c.known;
      c.device.select(queue);
      c.equal("before", c.device.enabled(), 0);
      c.setUp(queue);
      c.device.select(queue);
      c.expect("after", c.device.enabled() !== 0, c.device.enabled(), "not 0");
    },
  },
  {
    id: "queue.reset-stops-all",
    clauses: ["dev.mmio.layout.5", "dev.pci.common-cfg.7"],
    done: "a device with running queues is reset",
    expected: "every queue reads as not started",
    request: true,
    async run(c) {
      await c.init();
      const queues = c.known.queues;
      await c.reset();
      for (const queue of queues) {
        c.device.select(queue);
        c.equal(`queue ${queue}`, c.device.enabled(), 0);
      }
    },
  },
  {
    id: "queue.smallest",
    clauses: ["virtio 1.4 §2.7"],
    done: "rings have as few descriptors as the request needs",
    expected: "requests are answered, over several turns of the ring",
    request: true,
    async run(c) {
      const known = c.known;
      const need = known.readable.length + known.writable.length;
      const size = 2 ** Math.ceil(Math.log2(need));
      await c.init({ size });
      if (c.ring(known.queue).size !== size) return c.skip("the size of the queue is fixed");
      for (let i = 0; i < 5; i++) await c.cleanRequest();
    },
  },
  {
    id: "queue.largest",
    clauses: ["virtio 1.4 §2.7"],
    done: "the ring has as many descriptors as the device allows",
    expected: "requests are answered",
    request: true,
    async run(c) {
      await c.init({ size: 1024 });
      for (let i = 0; i < 3; i++) await c.cleanRequest();
    },
  },
  {
    id: "queue.unused-not-started",
    clauses: ["virtio 1.4 §3.1.1"],
    done: "only the queue that is used is started",
    expected: "requests are answered",
    request: true,
    async run(c) {
      if (c.known.receives) return c.skip("what is sent comes back, and must be received");
      await c.init({ queues: [c.known.queue] });
      await c.cleanRequest();
    },
  },
];

/** RING_RESET (virtio 1.4 §2.6.1). */
const resets: Check[] = [
  {
    id: "queue-reset.clear",
    clauses: [
      "dev.mmio.layout.8",
      "dev.pci.common-cfg.8",
      "dev.mmio.layout.9",
      "dev.pci.common-cfg.9",
    ],
    done: "the reset register of a queue is read after a device reset, and after the queue started",
    expected: "it reads 0",
    offers: [FEATURE.RING_RESET],
    request: true,
    scope: { face: "modern" },
    async run(c) {
      await c.init({ features: [FEATURE.RING_RESET], until: "features" });
      const { queue } = c.known;
      c.device.select(queue);
      c.equal("after a device reset", c.device.queueReset(), 0);
      c.setUp(queue);
      c.device.select(queue);
      c.equal("after the queue started", c.device.queueReset(), 0);
    },
  },
  {
    id: "queue-reset.completes",
    clauses: [
      "dev.mmio.layout.10",
      "dev.mmio.layout.11",
      "dev.mmio.layout.12",
      "dev.pci.common-cfg.10",
      "dev.pci.common-cfg.11",
      "dev.pci.common-cfg.12",
    ],
    done: "a running queue is reset",
    expected: "its reset register reads 1 until it reads 0, and then the queue does not run",
    offers: [FEATURE.RING_RESET],
    request: true,
    scope: { face: "modern" },
    async run(c) {
      await resetOf(c);
      c.equal("queue runs", c.device.enabled(), 0);
    },
  },
  {
    id: "queue-reset.stops",
    clauses: ["dev.basic.vq-reset.1", "dev.mmio.layout.7"],
    done: "a queue that was reset gets a request in its old ring, and a notification",
    expected: "nothing is used, and there is no interrupt",
    offers: [FEATURE.RING_RESET],
    request: true,
    scope: { face: "modern" },
    async run(c) {
      const { queue } = await resetOf(c);
      const ring = c.ring(queue);
      ring.add(c.chain(c.segments()));
      c.device.causes();
      c.device.notify(queue);
      await c.quiet();
      c.equal("buffers used", ring.usedCount(), 0);
      c.equal("causes of interrupts", c.device.causes() & CAUSE.QUEUE, 0);
    },
  },
  {
    id: "queue-reset.again",
    clauses: ["dev.basic.vq-reset.2", "dev.basic.vq-reenable.1"],
    done: "a queue that was used is reset, and started again with another ring of another size",
    expected: "it begins at the start of the new ring, and answers",
    offers: [FEATURE.RING_RESET],
    request: true,
    scope: { face: "modern" },
    async run(c) {
      await c.init({ features: [FEATURE.RING_RESET] });
      const { queue } = c.known;
      for (let i = 0; i < 3; i++) await c.cleanRequest();
      await resetOf(c, false);
      const ring = c.setUp(queue, 8);
      c.device.select(queue);
      c.expect("queue runs", c.device.enabled() === 1, c.device.enabled(), "0x1");
      await c.cleanRequest();
      c.equal("buffers used in the new ring", ring.usedCount(), 1);
    },
  },
  {
    id: "queue-reset.others-go-on",
    clauses: ["virtio 1.4 §2.6.1"],
    done: "another queue than the one that is used is reset",
    expected: "the one that is used answers",
    offers: [FEATURE.RING_RESET],
    request: true,
    scope: { face: "modern" },
    async run(c) {
      const other = c.known.queues.find((queue) => queue !== c.known.queue);
      if (other === undefined) return c.skip("the device has one queue");
      await c.init({ features: [FEATURE.RING_RESET] });
      c.device.select(other);
      c.device.resetQueue();
      await c.until(() => c.device.queueReset() === 0);
      await c.cleanRequest();
    },
  },
  ...[
    ["twice", async (c: CheckContext) => {
      await resetOf(c);
      c.device.resetQueue();
    }],
    ["not-started", async (c: CheckContext) => {
      await c.init({ features: [FEATURE.RING_RESET], queues: [] });
      c.device.select(0);
      c.device.resetQueue();
    }],
    ["no-such-queue", async (c: CheckContext) => {
      await c.init({ features: [FEATURE.RING_RESET] });
      c.device.select(0x7fff);
      c.device.resetQueue();
    }],
    ["not-negotiated", async (c: CheckContext) => {
      await c.init();
      c.device.select(c.known.queue);
      c.device.resetQueue();
    }],
  ].map(([name, run]): Check => ({
    id: `queue-reset.hostile.${name}`,
    clauses: ["virtio 1.4 §2.6.1"],
    done: `a queue is reset: ${String(name).replaceAll("-", " ")}`,
    expected: "after a reset the device works as before",
    hostile: true,
    offers: [FEATURE.RING_RESET],
    request: true,
    scope: { face: "modern" },
    run: run as Check["run"],
  })),
];

/** Brings the device up and resets the queue of the known request. */
async function resetOf(c: CheckContext, init = true): Promise<{ queue: number }> {
  if (init) await c.init({ features: [FEATURE.RING_RESET] });
  const { queue } = c.known;
  c.device.select(queue);
  c.device.resetQueue();
  const done = await c.until(() => c.device.queueReset() === 0);
  if (!done) throw new CheckFailure("reset register", String(c.device.queueReset()), "0");
  return { queue };
}

const hostile: Check[] = [
  {
    id: "queue.hostile.start-before-features-ok",
    clauses: ["drv.basic.init.1"],
    done: "a queue is started before FEATURES_OK",
    expected: "after a reset the device works as before",
    hostile: true,
    request: true,
    scope: { face: "modern" },
    async run(c) {
      await c.init({ until: "driver" });
      c.setUp(c.known.queue, 16, false);
      c.device.notify(c.known.queue);
    },
  },
  {
    id: "queue.hostile.no-such-started",
    clauses: ["virtio 1.4 §4.2.2"],
    done: "a queue that the device does not have is given addresses and started",
    expected: "it does not read as started, and after a reset the device works as before",
    hostile: true,
    scope: { face: "modern" },
    async run(c) {
      await c.init({ until: "features", queues: [] });
      c.device.select(0x7fff);
      c.device.writeSize(16);
      c.device.place({ desc: 0, driver: 4096, device: 8192 }, c.arena.base);
      c.device.enable(0, c.arena.base);
      c.equal("a queue that is none runs", c.device.enabled(), 0);
    },
  },
  {
    id: "queue.hostile.moved-while-running",
    clauses: ["drv.mmio.layout.11"],
    done: "size and addresses of a running queue are written",
    expected: "after a reset the device works as before",
    hostile: true,
    request: true,
    scope: { face: "modern" },
    async run(c) {
      await c.init();
      const { queue } = c.known;
      c.device.select(queue);
      c.device.writeSize(2);
      c.device.place({ desc: 0, driver: 4096, device: 8192 }, c.arena.base);
      await c.tell(queue, [...c.known.readable], c.known.writable);
    },
  },
  {
    id: "queue.hostile.same-memory",
    clauses: ["dev.basic.status.2"],
    done: "two queues get the same ring",
    expected: "after a reset the device works as before",
    hostile: true,
    request: true,
    scope: { face: "modern" },
    async run(c) {
      const other = c.known.queues.find((queue) => queue !== c.known.queue);
      if (other === undefined) return c.skip("the device has one queue");
      await c.init({ until: "features" });
      const ring = c.setUp(c.known.queue);
      c.device.select(other);
      c.device.writeSize(ring.size);
      c.device.place(ring.parts, c.arena.base);
      c.device.enable(ring.parts.desc, c.arena.base);
      c.device.writeStatus(c.device.status() | STATUS.DRIVER_OK);
      ring.add(c.chain(c.segments()));
      c.device.notify(c.known.queue);
      c.device.notify(other);
      await c.quiet();
    },
  },
  {
    id: "queue.hostile.notify-storm",
    clauses: ["dev.split-ring.avail-suppress.3"],
    done: "a device is notified a hundred times with nothing in its ring",
    expected: "nothing is used, and a request is answered",
    hostile: true,
    request: true,
    async run(c) {
      await c.init();
      const { queue } = c.known;
      for (let i = 0; i < 100; i++) c.device.notify(queue);
      await c.quiet();
      c.equal("buffers used", c.ring(queue).usedCount(), 0);
      await c.cleanRequest();
    },
  },
  {
    id: "queue.hostile.every-queue-notified",
    clauses: ["virtio 1.4 §2.3"],
    done: "every queue that exists is notified of though only one was started",
    expected: "a request is answered",
    hostile: true,
    request: true,
    async run(c) {
      if (c.known.receives) return c.skip("what is sent comes back, and must be received");
      await c.init({ queues: [c.known.queue] });
      const count = Math.min(c.queueCount(), 8);
      for (let queue = 0; queue < count; queue++) c.device.notify(queue);
      await c.quiet();
      await c.cleanRequest();
    },
  },
  {
    id: "queue.hostile.page-without-memory",
    clauses: ["dev.basic.status.2"],
    done: "a queue gets a page at which there is no memory",
    expected: "after a reset the device works as before",
    hostile: true,
    request: true,
    scope: { face: "legacy" },
    async run(c) {
      await c.init({ queues: [] });
      c.device.select(c.known.queue);
      c.device.enable(0, 0x7ff_ffff_f000);
      c.device.notify(c.known.queue);
      await c.quiet();
    },
  },
  {
    id: "queue.hostile.read-only-buffers",
    clauses: ["dev.split-ring.desc-table.1", "drv.split-ring.framing.1"],
    done: "a request's device-writable part is marked as device-readable",
    expected: "the device writes none of it, and after a reset works as before",
    hostile: true,
    request: true,
    async run(c) {
      const known = c.known;
      if (known.writable.length === 0) return c.skip("the request has no device-writable part");
      await c.init();
      const parts = [
        ...known.readable.map((bytes) => c.readable(bytes)),
        ...known.writable.map((length) => c.readable(new Uint8Array(length).fill(0xc3))),
      ];
      c.offer(known.queue, c.chain(parts));
      await c.quiet();
    },
  },
  {
    id: "queue.hostile.all-writable",
    clauses: ["dev.basic.status.2"],
    done: "a request's device-readable part is marked as device-writable",
    expected: "after a reset the device works as before",
    hostile: true,
    request: true,
    async run(c) {
      const known = c.known;
      if (known.readable.length === 0) return c.skip("the request has no device-readable part");
      await c.init();
      const parts = c.segments().map((part) => ({ ...part, write: true }));
      for (const { at, length } of parts) c.arena.lend(at, length);
      c.offer(known.queue, c.chain(parts));
      await c.quiet();
    },
  },
];

/** Queues by their registers, on both transports. */
export const QUEUE_CHECKS: readonly Check[] = [
  ...setUp,
  ...resets.filter((check) => !check.hostile),
  ...hostile,
  ...sizes,
  ...addresses,
  ...notifications,
  ...resets.filter((check) => check.hostile),
];
