// Interrupts that the driver has held back, by a clock of the test's: every number is typed from virtio 1.4 §5.1.
import { assertEquals, assertRejects } from "@std/assert";
import { type MicrosecondTimer, NetDevice } from "@vireo/emu";
import { MockQueue } from "@vireo/emu/testing";
import { VireoError } from "@vireo/hal";
import { Hub } from "../../emu/backends/hub.ts";
import { NO_OFFLOAD } from "../../emu/backends/net_backend.ts";
import { createNetDriver } from "../../drivers/net/mod.ts";
import { bootRecorded } from "./boot.ts";
import { F, frame, MAC, Rig } from "./net_device_rig.ts";
import { at, le } from "./recorder.ts";

const SOON = { deadline: 5000 };
const [VQ_NOTF_COAL, NOTF_COAL, RING_RESET] = [52, 53, 40];
const [TX_SET, RX_SET, VQ_SET, VQ_GET] = [0, 1, 2, 3];
const FEATURES = [F.CTRL_VQ, F.MQ, NOTF_COAL, VQ_NOTF_COAL, RING_RESET];

/** A clock that goes when the test says so. */
class Clock {
  now = 0;
  readonly #due = new Set<{ readonly at: number; readonly expired: () => void }>();
  readonly timer: MicrosecondTimer = (usecs, expired) => {
    const entry = { at: this.now + usecs, expired };
    this.#due.add(entry);
    return () => this.#due.delete(entry);
  };

  get waiting(): number {
    return this.#due.size;
  }

  pass(usecs: number): void {
    this.now += usecs;
    for (const entry of [...this.#due]) {
      if (entry.at > this.now) continue;
      this.#due.delete(entry);
      entry.expired();
    }
  }
}

/** A device with two pairs, and what becomes of its interrupts. */
class Held extends Rig {
  readonly clock: Clock;

  constructor(clock = new Clock(), features: readonly number[] = FEATURES) {
    super(features, { queuePairs: 2, timer: clock.timer });
    this.clock = clock;
    this.refill();
  }

  refill(): void {
    for (const index of [0, 2]) {
      const queue = this.driver.queues[index];
      for (let i = 0; i < 60; i++) void queue?.add([{ write: 100 }]);
      queue?.kick();
    }
  }

  /** Whether there was an interrupt since this was last asked: InterruptStatus and InterruptACK. */
  interrupted(): boolean {
    const told = (this.driver.slot.read32(0x60) & 1) !== 0;
    this.driver.slot.write32(0x64, 1);
    return told;
  }

  /** A frame comes; whether the driver is interrupted. */
  comes(): boolean {
    this.receive(frame(60));
    return this.interrupted();
  }

  /** A frame is sent on a transmit queue; whether the driver is interrupted. */
  goes(index = 1): boolean {
    const queue = this.driver.queues[index]!;
    void queue.add([{ read: le(new Uint8Array(12), frame(60)) }]);
    queue.kick();
    return this.interrupted();
  }

  /** A command of the class; its ack. */
  async coal(command: number, ...values: (number | readonly [number, number])[]): Promise<number> {
    const ack = await this.control(6, command, ...le(...values));
    this.interrupted();
    return ack;
  }

  /** VQ_GET; the ack, and the two parameters behind it. */
  async get(queue: number, reserved = 0): Promise<number[]> {
    const { bytes, written } = await this.driver.request(4, [
      { read: le([6, 1], [VQ_GET, 1], [queue, 2], [reserved, 2]) },
      { write: 9 },
    ]);
    this.interrupted();
    const [got] = bytes;
    return written === 1 ? [got![0]!] : [got![0]!, at(got!, 1), at(got!, 5)];
  }
}

Deno.test("spec net: interrupts come after so many packets or so long after the first, by queue (dev.net.coalescing.7, .8)", async () => {
  await using rig = new Held();
  assertEquals([rig.comes(), rig.comes(), rig.goes()], [true, true, true], "nothing was set");
  assertEquals(await rig.coal(RX_SET, 3, 10), 0);
  assertEquals([rig.comes(), rig.comes(), rig.comes()], [false, false, true]);
  assertEquals([rig.comes(), rig.comes(), rig.comes()], [false, false, true]);
  assertEquals(rig.goes(), true, "transmit queues have their own");
  // The time counts from the first packet on.
  assertEquals(rig.comes(), false);
  rig.clock.pass(6);
  assertEquals(rig.comes(), false);
  rig.clock.pass(3);
  assertEquals(rig.interrupted(), false);
  rig.clock.pass(1);
  assertEquals([rig.interrupted(), rig.clock.waiting], [true, 0]);
  // 0 in either is no coalescing.
  for (const [packets, usecs] of [[0, 10], [3, 0]] as const) {
    assertEquals(await rig.coal(RX_SET, packets, usecs), 0);
    assertEquals([rig.comes(), rig.comes()], [true, true]);
  }
  assertEquals(await rig.coal(TX_SET, 2, 10), 0);
  assertEquals([rig.goes(), rig.goes(3), rig.goes(), rig.goes(3)], [false, false, true, true]);
  // What is suppressed stays so, when the conditions are met too.
  assertEquals(await rig.coal(RX_SET, 2, 10), 0);
  rig.driver.queues[0]!.setAvailFlags(1);
  assertEquals([rig.comes(), rig.comes(), rig.comes()], [false, false, false]);
  rig.clock.pass(20);
  assertEquals(rig.interrupted(), false);
  rig.driver.queues[0]!.setAvailFlags(0);

  assertEquals(rig.comes(), false);
  rig.init(FEATURES);
  rig.refill();
  assertEquals([rig.clock.waiting, rig.comes()], [0, true], "a reset sets all to 0");
  for (const queue of [0, 1, 2, 3]) assertEquals(await rig.get(queue), [0, 0, 0]);
});

Deno.test("spec net: held back interrupts come when the parameters change", async () => {
  await using rig = new Held();
  assertEquals(await rig.coal(TX_SET, 15, 1000), 0);
  for (let i = 0; i < 10; i++) assertEquals(rig.goes(), false);
  const queue = rig.driver.queues[4]!;
  // Silent, so that what is seen is the transmit queue's.
  queue.setAvailFlags(1);
  void queue.add([{ read: le([6, 1], [TX_SET, 1], 8, 1000) }, { write: 1 }]);
  queue.kick();
  assertEquals([rig.interrupted(), rig.clock.waiting], [true, 0]);
  assertEquals(rig.goes(), false);
  void queue.add([{ read: le([6, 1], [VQ_SET, 1], [1, 2], [0, 2], 8, 1000) }, { write: 1 }]);
  queue.kick();
  assertEquals([rig.interrupted(), rig.clock.waiting], [true, 0]);
});

Deno.test("spec net: parameters of one queue and of all replace each other (dev.net.coalescing.1, .4-6)", async () => {
  await using rig = new Held();
  // The example of the specification.
  assertEquals(await rig.coal(RX_SET, 5, 50), 0);
  assertEquals(await rig.coal(VQ_SET, [0, 2], [0xffff, 2], 7, 70), 0);
  assertEquals(await rig.get(0, 0xffff), [0, 7, 70]);
  assertEquals(await rig.get(2), [0, 5, 50]);
  assertEquals(await rig.coal(VQ_SET, [1, 2], [0, 2], 9, 90), 0);
  assertEquals(await rig.get(3), [0, 0, 0]);
  assertEquals(await rig.coal(TX_SET, 6, 60), 0);
  assertEquals([await rig.get(1), await rig.get(3)], [[0, 6, 60], [0, 6, 60]]);
  assertEquals(await rig.get(0), [0, 7, 70]);

  // A queue that was disabled and enabled has what all of its kind have, or 0.
  assertEquals(await rig.coal(VQ_SET, [3, 2], [0, 2], 8, 80), 0);
  for (const index of [0, 3]) {
    // QueueSel and QueueReset.
    rig.driver.slot.write32(0x30, index);
    rig.driver.slot.write32(0xc0, 1);
    // It is not enabled now.
    assertEquals(await rig.get(index), [1]);
    assertEquals(await rig.coal(VQ_SET, [index, 2], [0, 2], 1, 1), 1);
    rig.driver.queues[index] = new MockQueue(rig.driver, index, 64);
  }
  assertEquals([await rig.get(0), await rig.get(3)], [[0, 5, 50], [0, 6, 60]]);
  for (const index of [4, 5, 6, 0xffff]) {
    assertEquals(await rig.get(index), [1], `queue ${index}`);
    assertEquals(await rig.coal(VQ_SET, [index, 2], [0, 2], 1, 1), 1);
  }

  assertEquals(await rig.coal(VQ_SET, [0, 2], [0, 2], 7, 70), 0);
  rig.init(FEATURES);
  assertEquals(await rig.get(0), [0, 0, 0], "a reset takes those of single queues too");
});

Deno.test("spec net: what cannot be set is refused and changes nothing (dev.net.coalescing.2, .3)", async () => {
  await using rig = new Held();
  assertEquals(await rig.coal(RX_SET, 5, 50), 0);
  assertEquals(await rig.coal(TX_SET, 6, 60), 0);
  const wrong: [number, (number | readonly [number, number])[]][] = [
    [RX_SET, [1]],
    [TX_SET, [1, 1, 1]],
    [VQ_SET, [0, 1]],
    [VQ_SET, [0, 1, 1, 1]],
    [VQ_GET, [0]],
    [4, [1, 1]],
  ];
  for (const [command, values] of wrong) assertEquals(await rig.coal(command, ...values), 1);
  assertEquals([await rig.get(0), await rig.get(1)], [[0, 5, 50], [0, 6, 60]]);
  for (const without of [NOTF_COAL, VQ_NOTF_COAL]) {
    await using less = new Held(new Clock(), FEATURES.filter((bit) => bit !== without));
    const all = without === NOTF_COAL ? 1 : 0;
    assertEquals([await less.coal(RX_SET, 1, 1), await less.coal(TX_SET, 1, 1)], [all, all]);
    assertEquals(await less.coal(VQ_SET, [0, 2], [0, 2], 2, 1), 1 - all);
    if (all === 1) assertEquals([less.comes(), less.comes()], [false, true], "that queue's own");
  }
});

/** A driver, and a device whose commands are seen. */
async function boot(without: readonly number[] = []) {
  const hub = new Hub();
  const clock = new Clock();
  const model = new NetDevice({ backend: hub.port(), mac: MAC, queuePairs: 2, timer: clock.timer });
  const rig = await bootRecorded("net", model, createNetDriver(), { without });
  const commands = () => rig.seen.chains.filter(({ queue }) => queue === 4).slice(1);
  return { ...rig, hub, clock, commands };
}

Deno.test("spec net: the driver's commands, for queues that are enabled and with their features (drv.net.coalescing.1-3)", async () => {
  await using rig = await boot();
  const { net } = rig;
  await net.setCoalescing("rx", { maxPackets: 32, maxUsecs: 50, ...SOON });
  await net.setCoalescing("tx", { maxPackets: 64, maxUsecs: 100, ...SOON });
  await net.setCoalescing("tx", { maxPackets: 1, maxUsecs: 0xffffffff, queue: 1, ...SOON });
  assertEquals(await net.coalescing("rx", 1, SOON), { maxPackets: 32, maxUsecs: 50 });
  assertEquals(await net.coalescing("tx", 1, SOON), { maxPackets: 1, maxUsecs: 0xffffffff });
  assertEquals(rig.commands().map(({ read, writable }) => [read, writable]), [
    [le([6, 1], [RX_SET, 1], 32, 50), [1]],
    [le([6, 1], [TX_SET, 1], 64, 100), [1]],
    [le([6, 1], [VQ_SET, 1], [3, 2], [0, 2], 1, 0xffffffff), [1]],
    [le([6, 1], [VQ_GET, 1], [2, 2], [0, 2]), [1, 8]],
    [le([6, 1], [VQ_GET, 1], [3, 2], [0, 2]), [1, 8]],
  ]);
  const none = { maxPackets: 1, maxUsecs: 1 };
  for (const queue of [-1, 2, 0.5]) {
    await assertRejects(() => net.setCoalescing("rx", { ...none, queue }), RangeError, "queue");
    await assertRejects(() => net.coalescing("tx", queue), RangeError, "queue");
  }
  for (const wrong of [-1, 0.5, 2 ** 32]) {
    const options = { ...none, maxUsecs: wrong };
    await assertRejects(() => net.setCoalescing("rx", options), RangeError, "Cannot hold");
  }
  assertEquals(rig.commands().length, 5);

  await using all = await boot([VQ_NOTF_COAL]);
  await all.net.setCoalescing("rx", { ...none, ...SOON });
  for (
    const ask of [
      () => all.net.coalescing("rx", 0),
      () => all.net.setCoalescing("rx", { ...none, queue: 0 }),
    ]
  ) {
    const error = await assertRejects(ask, VireoError, "VQ_NOTF_COAL");
    assertEquals(error.code, "UNSUPPORTED");
  }
  await using single = await boot([NOTF_COAL]);
  await single.net.setCoalescing("rx", { ...none, queue: 0, ...SOON });
  await assertRejects(() => single.net.setCoalescing("rx", none), VireoError, "NOTF_COAL");
  assertEquals([all.commands().length, single.commands().length], [1, 1]);
});

Deno.test("spec net: a refused VQ_GET has no parameters, and a short answer is none (drv.net.coalescing.4)", async () => {
  await using rig = await boot();
  const { net, model } = rig;
  const notify = model.notify.bind(model);
  for (
    const [answer, code] of [[[1, 9, 0, 0, 0, 9, 0, 0, 0], "COMMAND_REFUSED"], [
      [0, 9, 0],
      "BAD_LENGTH",
    ], [
      [],
      "COMMAND_REFUSED",
    ]] as const
  ) {
    model.notify = (index) => {
      if (index !== 4) return notify(index);
      const queue = rig.machine.device(0).queue(4)!;
      // The last one, which finds none, asks for the next notification.
      for (let chain = queue.pop(); chain !== undefined; chain = queue.pop()) {
        chain.write(Uint8Array.from(answer));
        queue.push(chain);
      }
      queue.signal();
    };
    const error = await assertRejects(() => net.coalescing("rx", 0, SOON), VireoError);
    assertEquals(error.code, code);
  }
  model.notify = notify;
});

Deno.test("net: held back interrupts deliver in the end, and a recovery sets them again", async () => {
  await using rig = await boot();
  const { net, clock, model } = rig;
  const wire = rig.hub.port();
  await net.setCoalescing("rx", { maxPackets: 1000, maxUsecs: 500, ...SOON });
  await net.setCoalescing("rx", { maxPackets: 2, maxUsecs: 500, queue: 1, ...SOON });
  await net.setCoalescing("tx", { maxPackets: 4, maxUsecs: 80, ...SOON });
  const state = model.snapshot().coalescing;
  await rig.bus.freeze();
  await rig.bus.restore();
  assertEquals(model.snapshot().coalescing, state);
  const got = net.receive(SOON);
  let here = false;
  got.then(() => here = true);
  wire.send(frame(60), 0, 60, NO_OFFLOAD);
  wire.flush();
  for (let turn = 0; turn < 5; turn++) await Promise.resolve();
  assertEquals(here, false);
  clock.pass(500);
  assertEquals((await got).bytes, frame(60));
});
