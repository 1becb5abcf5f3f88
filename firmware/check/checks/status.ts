import type { Check } from "../check.ts";
import type { CheckContext, InitOptions } from "../context.ts";
import { CAUSE, FEATURE, STATUS } from "../raw/registers.ts";

const { ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK, NEEDS_RESET, FAILED } = STATUS;

/** States from which a device is reset. */
const STATES:
  readonly (readonly [name: string, bring: (context: CheckContext) => Promise<void>])[] = [
    ["driver", (c) => c.init({ until: "driver" })],
    ["features", (c) => c.init({ until: "features" })],
    ["queues", (c) => c.init({ until: "queues" })],
    ["running", (c) => c.init()],
    ["failed", async (c) => {
      await c.init();
      c.device.writeStatus(c.device.status() | FAILED);
    }],
  ];

const reset: Check[] = STATES.map(([name, bring]) => ({
  id: `reset.from-${name}`,
  clauses: ["dev.basic.reset.1"],
  done: `0 is written to Status of a device in the state "${name}"`,
  expected: "Status reads 0",
  async run(c) {
    await bring(c);
    c.device.writeStatus(0);
    const done = await c.until(() => c.device.status() === 0);
    c.expect("Status", done, c.device.status(), "0x0");
  },
}));

const steps: Check[] = [
  ["acknowledge", ACKNOWLEDGE],
  ["driver", ACKNOWLEDGE | DRIVER],
  ["failed", ACKNOWLEDGE | FAILED],
].map(([name, value]) => ({
  id: `status.${name}`,
  clauses: ["virtio 1.4 §2.1"],
  done: `a reset, then Status is written 0x${value!.toString(16)}`,
  expected: "Status reads what was written",
  async run(c) {
    await c.reset();
    for (let bits = 1, status = 0; bits < 256; bits <<= 1) {
      if ((Number(value) & bits) !== 0) c.device.writeStatus(status |= bits);
    }
    c.equal("Status", c.device.status(), value);
  },
}));

/** Status writes that a driver may not do, and that a device must recover from. */
const HOSTILE: readonly (readonly [
  name: string,
  done: string,
  run: (context: CheckContext) => Promise<void> | void,
])[] = [
  ["all-bits", "0xff is written to Status after a reset", async (c) => {
    await c.reset();
    c.wroteNeedsReset = true;
    c.device.writeStatus(0xff);
  }],
  ["driver-ok-first", "DRIVER_OK alone is written after a reset", async (c) => {
    await c.reset();
    c.device.writeStatus(DRIVER_OK);
  }],
  ["features-ok-first", "FEATURES_OK alone is written after a reset", async (c) => {
    await c.reset();
    c.device.writeStatus(FEATURES_OK);
  }],
  ["no-features-ok", "DRIVER_OK is written without FEATURES_OK", async (c) => {
    await c.init({ until: "driver" });
    c.device.writeStatus(ACKNOWLEDGE | DRIVER | DRIVER_OK);
  }],
  ["all-at-once", "all steps are written to Status at once", async (c) => {
    await c.reset();
    c.accept(c.plain());
    c.device.writeStatus(ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
  }],
  ["needs-reset", "the driver itself writes DEVICE_NEEDS_RESET", async (c) => {
    await c.init();
    c.wroteNeedsReset = true;
    c.device.writeStatus(c.device.status() | NEEDS_RESET);
  }],
  ["reserved", "the undefined bit 5 is written", async (c) => {
    await c.init();
    c.device.writeStatus(c.device.status() | 0x20);
  }],
  ["suspend", "SUSPEND is written though it was not negotiated", async (c) => {
    await c.init();
    c.device.writeStatus(c.device.status() | STATUS.SUSPEND);
  }],
  ["clear-driver-ok", "DRIVER_OK is taken back without a reset", async (c) => {
    await c.init();
    c.device.writeStatus(c.device.status() & ~DRIVER_OK);
  }],
  ["clear-acknowledge", "ACKNOWLEDGE is taken back without a reset", async (c) => {
    await c.init();
    c.device.writeStatus(c.device.status() & ~ACKNOWLEDGE);
  }],
  ["clear-features-ok", "FEATURES_OK is taken back while the device runs", async (c) => {
    await c.init();
    c.device.writeStatus(c.device.status() & ~FEATURES_OK);
  }],
  ["failed-goes-on", "the driver sets FAILED and goes on with a notification", async (c) => {
    await c.init();
    c.device.writeStatus(c.device.status() | FAILED);
    for (const queue of c.rings.keys()) c.device.notify(queue);
  }],
  ["reset-storm", "Status is written 0 and ACKNOWLEDGE fifty times without a read", async (c) => {
    await c.init();
    for (let i = 0; i < 50; i++) {
      c.device.writeStatus(0);
      c.device.writeStatus(ACKNOWLEDGE);
    }
  }],
  ["restart", "all steps are written again to a device that runs", async (c) => {
    await c.init();
    const status = c.device.status();
    for (const value of [ACKNOWLEDGE, ACKNOWLEDGE | DRIVER, status]) c.device.writeStatus(value);
  }],
];

const hostile: Check[] = HOSTILE.map(([name, done, run]) => ({
  id: `status.hostile.${name}`,
  clauses: ["dev.basic.reset.1", "dev.basic.status.3"],
  done,
  expected: "after a reset the device works as before",
  hostile: true,
  run,
}));

/** Brings a device up with a request in its ring, but not notified of. */
async function withRequest(c: CheckContext, options: InitOptions): Promise<number> {
  await c.init(options);
  const { queue } = c.known;
  c.ring(queue).add(c.chain(c.segments()));
  return queue;
}

const others: Check[] = [
  {
    id: "status.no-use-before-driver-ok",
    clauses: ["dev.basic.status.1"],
    done: "a request is made available and notified before DRIVER_OK",
    expected: "it is not used, and there is no interrupt, until DRIVER_OK is set",
    hostile: true,
    request: true,
    scope: { face: "modern" },
    async run(c) {
      const queue = await withRequest(c, { until: "queues" });
      c.device.notify(queue);
      await c.quiet();
      c.equal("buffers used before DRIVER_OK", c.ring(queue).usedCount(), 0);
      c.equal("causes of interrupts before DRIVER_OK", c.device.causes() & CAUSE.QUEUE, 0);
    },
  },
  {
    id: "status.used-once-running",
    clauses: ["virtio 1.4 §3.1.1"],
    done: "a request is made after DRIVER_OK",
    expected: "it is answered, with an interrupt",
    request: true,
    async run(c) {
      await c.init();
      await c.cleanRequest();
      const told = await c.until(() => (c.device.causes() & CAUSE.QUEUE) !== 0);
      c.expect("interrupt for a used buffer", told, "none", "bit 0");
    },
  },
  {
    id: "status.legacy-before-driver-ok",
    clauses: ["dev.basic.legacy-init.2"],
    done: "a request is made before DRIVER_OK, and DRIVER_OK is set after it",
    expected: "it is answered",
    request: true,
    scope: { face: "legacy" },
    async run(c) {
      const queue = await withRequest(c, { until: "queues" });
      c.device.notify(queue);
      c.device.writeStatus(ACKNOWLEDGE | DRIVER | DRIVER_OK);
      c.device.notify(queue);
      c.expect("answer", await c.take(queue) !== undefined, "none", "a used buffer");
    },
  },
  {
    id: "reset.stops-queues",
    clauses: ["dev.basic.reset.2"],
    done: "a device that runs is reset, and its old queue gets a request and a notification",
    expected: "nothing is used, and there is no interrupt",
    hostile: true,
    request: true,
    async run(c) {
      await c.init();
      const { queue } = c.known;
      const ring = c.ring(queue);
      c.device.writeStatus(0);
      await c.until(() => c.device.status() === 0);
      ring.add(c.chain(c.segments()));
      c.device.notify(queue);
      await c.quiet();
      c.equal("buffers used after a reset", ring.usedCount(), 0);
      c.equal("causes of interrupts after a reset", c.device.causes(), 0);
    },
  },
  {
    id: "reset.with-request",
    clauses: ["dev.basic.reset.1", "dev.basic.reset.2"],
    done: "a device is reset right after it was notified of a request",
    expected: "Status reads 0, and from then on its memory stays as it is",
    request: true,
    async run(c) {
      await c.init();
      const { queue } = c.known;
      const ring = c.ring(queue);
      c.offer(queue, c.chain(c.segments()));
      c.device.writeStatus(0);
      await c.until(() => c.device.status() === 0);
      const used = ring.usedCount();
      await c.quiet();
      c.equal("buffers used after the reset", ring.usedCount(), used);
    },
  },
  {
    id: "reset.keeps-no-interrupt",
    clauses: ["dev.basic.reset.2"],
    done: "a device that has an interrupt pending is reset",
    expected: "no cause is pending",
    request: true,
    async run(c) {
      await c.init();
      const { queue } = c.known;
      c.offer(queue, c.chain(c.segments()));
      await c.take(queue);
      await c.reset();
      c.equal("causes of interrupts", c.device.causes(), 0);
    },
  },
  {
    id: "reset.same-features",
    clauses: ["dev.basic.features.5"],
    done: "the same features are accepted before and after a reset",
    expected: "FEATURES_OK stays both times, and the offer is the same",
    scope: { face: "modern" },
    async run(c) {
      await c.init({ until: "features" });
      const before = [0, 1, 2, 3].map((word) => c.device.features(word));
      await c.init({ until: "features" });
      const after = [0, 1, 2, 3].map((word) => c.device.features(word));
      c.equal("offered features", after.join(), before.join());
    },
  },
  {
    id: "reset.ten-times",
    clauses: ["dev.basic.reset.1"],
    done: "the device is brought up, makes a request and is reset ten times",
    expected: "every request is answered",
    request: true,
    async run(c) {
      for (let i = 0; i < 10; i++) {
        c.arena.clear();
        await c.init();
        await c.cleanRequest();
      }
    },
  },
  {
    id: "status.legacy-no-features-ok",
    clauses: ["dev.basic.legacy-features.1", "dev.basic.legacy-features.2"],
    done: "the device is brought up without VERSION_1 and FEATURES_OK",
    expected: "it works by the rules of the legacy interface",
    request: true,
    scope: { face: "legacy" },
    async run(c) {
      await c.init();
      c.equal("VERSION_1 was accepted", c.accepted.has(FEATURE.VERSION_1), false);
      await c.cleanRequest();
    },
  },
];

/** Status and reset, on both transports. */
export const STATUS_CHECKS: readonly Check[] = [...reset, ...steps, ...others, ...hostile];
