import type { Check } from "../check.ts";
import type { CheckContext } from "../context.ts";
import { CAUSE, MMIO, type MmioName, STATUS } from "../raw/registers.ts";

const MODERN = { bus: "mmio", face: "modern" } as const;
const SLOT = { bus: "mmio" } as const;

/** Makes a request and leaves its interrupt alone. */
async function interrupted(c: CheckContext): Promise<void> {
  await c.init();
  const { queue } = c.known;
  c.offer(queue, c.chain(c.segments()));
  await c.take(queue);
  const there = await c.until(() => (c.mmio.get("InterruptStatus") & CAUSE.QUEUE) !== 0);
  c.expect("InterruptStatus", there, c.mmio.get("InterruptStatus"), "bit 0 set");
}

const identity: Check[] = [
  {
    id: "mmio.magic",
    clauses: ["dev.mmio.layout.1"],
    done: "MagicValue is read",
    expected: "0x74726976",
    scope: SLOT,
    run: (c) => c.equal("MagicValue", c.mmio.get("MagicValue"), 0x74726976),
  },
  {
    id: "mmio.version",
    clauses: ["dev.mmio.layout.2"],
    done: "Version is read",
    expected: "2",
    scope: MODERN,
    run: (c) => c.equal("Version", c.mmio.get("Version"), 2),
  },
  {
    id: "mmio.legacy-version",
    clauses: ["virtio 1.4 §4.2.4"],
    done: "Version is read",
    expected: "1",
    scope: { bus: "mmio", face: "legacy" },
    run: (c) => c.equal("Version", c.mmio.get("Version"), 1),
  },
  {
    id: "mmio.identity-rests",
    clauses: ["virtio 1.4 §4.2.2"],
    done: "the identity is read before and after the device was brought up",
    expected: "it is the same",
    scope: SLOT,
    async run(c) {
      const read = (): string =>
        (["MagicValue", "Version", "DeviceID", "VendorID"] as const)
          .map((name) => c.mmio.get(name)).join();
      const before = read();
      await c.init();
      c.equal("identity", read(), before);
    },
  },
  {
    id: "mmio.no-shared-memory",
    clauses: ["virtio 1.4 §4.2.2"],
    done: "a shared memory region that the device does not have is selected",
    expected: "its length is all ones",
    scope: MODERN,
    run(c) {
      c.mmio.set("SHMSel", 250);
      c.equal("SHMLenLow", c.mmio.get("SHMLenLow"), 0xffffffff);
      c.equal("SHMLenHigh", c.mmio.get("SHMLenHigh"), 0xffffffff);
    },
  },
];

const interrupts: Check[] = [
  {
    id: "mmio.interrupt-stays",
    clauses: ["dev.mmio.layout.3"],
    done: "a request is answered, and InterruptStatus read several times",
    expected: "bit 0 stays until it is acknowledged, and then goes",
    request: true,
    scope: SLOT,
    async run(c) {
      await interrupted(c);
      for (let i = 0; i < 3; i++) {
        const seen = c.mmio.get("InterruptStatus") & CAUSE.QUEUE;
        c.equal("bit 0 of InterruptStatus", seen, CAUSE.QUEUE);
      }
      c.mmio.set("InterruptACK", CAUSE.QUEUE);
      c.equal("after InterruptACK", c.mmio.get("InterruptStatus") & CAUSE.QUEUE, 0);
    },
  },
  {
    id: "mmio.acknowledge-own-bit",
    clauses: ["dev.mmio.layout.3"],
    done: "the configuration bit is acknowledged while the used buffer's is set",
    expected: "the used buffer's stays",
    request: true,
    scope: SLOT,
    async run(c) {
      await interrupted(c);
      c.mmio.set("InterruptACK", CAUSE.CONFIG);
      const seen = c.mmio.get("InterruptStatus") & CAUSE.QUEUE;
      c.equal("bit 0 of InterruptStatus", seen, CAUSE.QUEUE);
    },
  },
  {
    id: "mmio.acknowledge-nothing",
    clauses: ["dev.mmio.layout.3"],
    done: "InterruptACK is written 0",
    expected: "the used buffer's bit stays",
    request: true,
    scope: SLOT,
    async run(c) {
      await interrupted(c);
      c.mmio.set("InterruptACK", 0);
      const seen = c.mmio.get("InterruptStatus") & CAUSE.QUEUE;
      c.equal("bit 0 of InterruptStatus", seen, CAUSE.QUEUE);
    },
  },
  {
    id: "mmio.no-other-cause",
    clauses: ["dev.mmio.layout.4"],
    done: "InterruptStatus is read after a reset, after DRIVER_OK and after a used buffer",
    expected: "only what happened is set, and no undefined bit",
    request: true,
    scope: SLOT,
    async run(c) {
      await c.reset();
      c.equal("after a reset", c.mmio.get("InterruptStatus"), 0);
      await c.init();
      await c.quiet();
      c.equal("after DRIVER_OK", c.mmio.get("InterruptStatus"), 0);
      await interrupted(c);
      c.equal("after a used buffer", c.mmio.get("InterruptStatus"), CAUSE.QUEUE);
    },
  },
  {
    id: "mmio.reset-clears",
    clauses: ["dev.mmio.layout.5"],
    done: "a device with an interrupt pending is reset",
    expected: "InterruptStatus reads 0, and QueueReady of every queue",
    request: true,
    scope: MODERN,
    async run(c) {
      await interrupted(c);
      const queues = c.known.queues;
      c.mmio.set("Status", 0);
      await c.until(() => c.mmio.get("Status") === 0);
      c.equal("InterruptStatus", c.mmio.get("InterruptStatus"), 0);
      for (const queue of queues) {
        c.mmio.set("QueueSel", queue);
        c.equal(`QueueReady of queue ${queue}`, c.mmio.get("QueueReady"), 0);
      }
    },
  },
  {
    id: "mmio.queue-not-ready",
    clauses: ["dev.mmio.layout.7"],
    done: "QueueReady of a running queue is written 0, and the queue gets a request",
    expected: "it reads 0, and nothing is used",
    request: true,
    hostile: true,
    scope: MODERN,
    async run(c) {
      await c.init();
      const { queue } = c.known;
      c.mmio.set("QueueSel", queue);
      c.mmio.set("QueueReady", 0);
      const stopped = await c.until(() => c.mmio.get("QueueReady") === 0);
      c.expect("QueueReady", stopped, c.mmio.get("QueueReady"), "0x0");
      const ring = c.ring(queue);
      ring.add(c.chain(c.segments()));
      c.mmio.set("QueueNotify", queue);
      await c.quiet();
      c.equal("buffers used", ring.usedCount(), 0);
    },
  },
];

/** Registers that drivers only read, and how else they may change on their own. */
const READ_ONLY: readonly MmioName[] = [
  "MagicValue",
  "Version",
  "DeviceID",
  "VendorID",
  "DeviceFeatures",
  "QueueSizeMax",
  "InterruptStatus",
];

const readOnly: Check[] = READ_ONLY.map((name) => ({
  id: `mmio.hostile.written.${name}`,
  clauses: ["drv.mmio.layout.1"],
  done: `${name}, which is read-only, is written 0 and all ones`,
  expected: "it reads as before, and after a reset the device works as before",
  hostile: true,
  scope: SLOT,
  async run(c) {
    await c.init();
    c.mmio.set("DeviceFeaturesSel", 0);
    c.mmio.set("QueueSel", 0);
    const before = c.mmio.get(name);
    for (const value of [0, 0xffffffff]) {
      c.mmio.set(name, value);
      c.equal(name, c.mmio.get(name), before);
    }
  },
}));

/** Registers that drivers only write. */
const WRITE_ONLY: readonly MmioName[] = [
  "DeviceFeaturesSel",
  "DriverFeatures",
  "DriverFeaturesSel",
  "QueueSel",
  "QueueSize",
  "QueueNotify",
  "InterruptACK",
];

const writeOnly: Check[] = WRITE_ONLY.map((name) => ({
  id: `mmio.hostile.read.${name}`,
  clauses: ["drv.mmio.layout.1"],
  done: `${name}, which is write-only, is read`,
  expected: "the device goes on: a request is answered",
  hostile: true,
  request: true,
  scope: SLOT,
  async run(c) {
    await c.init();
    c.mmio.get(name);
    await c.cleanRequest();
  },
}));

/** Registers that are accessed by other widths than 32 bits, and whether the device must answer right away. */
const NARROW = {
  read: {
    names: [
      "MagicValue",
      "DeviceID",
      "DeviceFeatures",
      "QueueSizeMax",
      "QueueReady",
      "InterruptStatus",
      "Status",
      "ConfigGeneration",
    ],
    done: "read",
    expected: "the device goes on: a request is answered",
    request: true,
  },
  write: {
    names: [
      "DeviceFeaturesSel",
      "DriverFeatures",
      "QueueSel",
      "QueueNotify",
      "InterruptACK",
      "Status",
    ],
    done: "written",
    expected: "after a reset the device works as before",
    request: false,
  },
} as const;

const narrow: Check[] = (["read", "write"] as const).flatMap((op) => {
  const { names, done, expected, request } = NARROW[op];
  return names.flatMap((name) =>
    ([1, 2] as const).map((width) => ({
      id: `mmio.hostile.${op}${8 * width}.${name}`,
      clauses: ["drv.mmio.layout.2"],
      done: `${name} is ${done} by ${8 * width} bits`,
      expected,
      hostile: true as const,
      ...request ? { request } : {},
      scope: MODERN,
      async run(c: CheckContext) {
        await c.init();
        const { offset } = MMIO[name];
        if (op === "read") c.device.peek(offset, width);
        else c.device.poke(offset, width, 1);
        if (request) await c.cleanRequest();
      },
    }))
  );
});

const holes: Check[] = [0x00c + 0x0c, 0x02c, 0x048, 0x054, 0x074, 0x0c4, 0x0f0].map((offset) => ({
  id: `mmio.hostile.hole.${offset.toString(16).padStart(3, "0")}`,
  clauses: ["drv.mmio.layout.1"],
  done: `the undocumented offset 0x${offset.toString(16)} is read and written`,
  expected: "the device goes on: a request is answered",
  hostile: true,
  request: true,
  scope: MODERN,
  async run(c) {
    await c.init();
    c.device.peek(offset, 4);
    c.device.poke(offset, 4, 0xffffffff);
    await c.cleanRequest();
  },
}));

const other: Check[] = [
  {
    id: "mmio.hostile.acknowledge-undefined",
    clauses: ["drv.mmio.layout.15"],
    done: "undefined bits are written to InterruptACK",
    expected: "the device goes on: a request is answered",
    hostile: true,
    request: true,
    scope: SLOT,
    async run(c) {
      await c.init();
      c.mmio.set("InterruptACK", 0xfffffffc);
      await c.cleanRequest();
    },
  },
  {
    id: "mmio.hostile.ready-2",
    clauses: ["virtio 1.4 §4.2.2"],
    done: "QueueReady is written 2 and 0xffffffff",
    expected: "after a reset the device works as before",
    hostile: true,
    scope: MODERN,
    async run(c) {
      await c.init({ until: "features", queues: [] });
      c.mmio.set("QueueSel", 0);
      for (const value of [2, 0xffffffff]) c.mmio.set("QueueReady", value);
    },
  },
  {
    id: "mmio.hostile.page-size",
    clauses: ["virtio 1.4 §4.2.4"],
    done: "GuestPageSize is written 0, 3 and 0xffffffff",
    expected: "after a reset the device works as before",
    hostile: true,
    scope: { bus: "mmio", face: "legacy" },
    async run(c) {
      await c.init({ queues: [] });
      for (const value of [0, 3, 0xffffffff]) c.mmio.set("GuestPageSize", value);
      c.mmio.set("QueueSel", 0);
      c.mmio.set("QueuePFN", 0);
    },
  },
  {
    id: "mmio.hostile.legacy-registers",
    clauses: ["drv.mmio.layout.1"],
    done: "the registers of version 1 are used on a device of version 2",
    expected: "after a reset the device works as before",
    hostile: true,
    scope: MODERN,
    async run(c) {
      await c.init({ until: "features", queues: [] });
      c.mmio.set("GuestPageSize", 4096);
      c.mmio.set("QueueSel", 0);
      c.mmio.set("QueueAlign", 4096);
      c.mmio.set("QueuePFN", 1);
      c.mmio.set("Status", c.mmio.get("Status") | STATUS.DRIVER_OK);
      c.mmio.set("QueueNotify", 0);
    },
  },
];

/** Virtio-mmio. */
export const MMIO_CHECKS: readonly Check[] = [
  ...identity,
  ...interrupts,
  ...readOnly,
  ...writeOnly,
  ...narrow,
  ...holes,
  ...other,
];
