import type { Check } from "../check.ts";
import type { CheckContext } from "../context.ts";
import { CAUSE, FEATURE, STATUS } from "../raw/registers.ts";

const { DRIVER_OK, FEATURES_OK, SUSPEND } = STATUS;
const OPTIONS = { features: [FEATURE.SUSPEND] } as const;

/** Waits until the device has one of SUSPEND and DRIVER_OK and not the other, as drivers must. */
async function settled(c: CheckContext, bit: number): Promise<void> {
  const both = SUSPEND | DRIVER_OK;
  const done = await c.until(() => (c.device.status() & both) === bit);
  const what = bit === SUSPEND ? "SUSPEND without DRIVER_OK" : "DRIVER_OK without SUSPEND";
  c.expect("Status", done, c.device.status(), what);
}

async function suspend(c: CheckContext): Promise<void> {
  await c.init(OPTIONS);
  c.device.writeStatus(c.device.status() | SUSPEND);
  await settled(c, SUSPEND);
}

async function resume(c: CheckContext): Promise<void> {
  c.device.writeStatus(c.device.status() | DRIVER_OK);
  await settled(c, DRIVER_OK);
}

/** SUSPEND (virtio 1.4 §3.4). */
export const SUSPEND_CHECKS: readonly Check[] = [
  {
    id: "suspend.goes-on",
    clauses: ["dev.basic.suspend.6", "dev.basic.suspend.7"],
    done: "a device that runs is suspended, goes on, and gets a request",
    expected:
      "SUSPEND is set and DRIVER_OK is not, then the other way round; the request is answered",
    offers: [FEATURE.SUSPEND],
    request: true,
    async run(c) {
      await suspend(c);
      await resume(c);
      await c.cleanRequest();
    },
  },
  {
    id: "suspend.answers-first",
    clauses: ["dev.basic.suspend.8"],
    done: "a device is suspended right after a request",
    expected: "the request is answered when SUSPEND is seen",
    offers: [FEATURE.SUSPEND],
    request: true,
    async run(c) {
      await c.init(OPTIONS);
      const { queue } = c.known;
      c.offer(queue, c.chain(c.segments()));
      c.device.writeStatus(c.device.status() | SUSPEND);
      await settled(c, SUSPEND);
      c.equal("buffers used", c.ring(queue).usedCount(), 1);
    },
  },
  {
    id: "suspend.hostile.request-meanwhile",
    clauses: ["dev.basic.suspend.3", "drv.basic.suspend.3", "drv.basic.suspend.4"],
    done: "a suspended device gets a request and a notification, and goes on",
    expected: "it uses nothing and does not interrupt before it goes on",
    hostile: true,
    offers: [FEATURE.SUSPEND],
    request: true,
    async run(c) {
      await suspend(c);
      c.device.causes();
      const { queue } = c.known;
      const before = c.ring(queue).usedCount();
      c.offer(queue, c.chain(c.segments()));
      await c.quiet();
      c.equal("buffers used", c.ring(queue).usedCount(), before);
      c.equal("causes of interrupts", c.device.causes() & CAUSE.QUEUE, 0);
      await resume(c);
      c.expect("answer", await c.take(queue) !== undefined, "none", "a used buffer");
    },
  },
  {
    id: "suspend.hostile.before-driver-ok",
    clauses: ["dev.basic.suspend.1"],
    done: "SUSPEND is written after FEATURES_OK, before DRIVER_OK",
    expected: "Status reads without it",
    hostile: true,
    offers: [FEATURE.SUSPEND],
    async run(c) {
      await c.init({ ...OPTIONS, until: "queues" });
      const status = c.device.status();
      c.device.writeStatus(status | SUSPEND);
      await c.quiet();
      c.equal("Status", c.device.status() & (SUSPEND | FEATURES_OK), FEATURES_OK);
    },
  },
];
