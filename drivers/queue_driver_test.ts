// The life that all drivers of queues share: what is asked, lent and listened to ends exactly once, and
// every byte of memory comes back.
import { assertEquals, assertRejects } from "@std/assert";
import {
  ANY_ID,
  type DmaOptions,
  type DmaRegion,
  FeatureSet,
  MmioRegister,
  VireoError,
} from "@vireo/hal";
import { Bus } from "./bus/bus.ts";
import type { QueueRequest, VirtioDevice } from "./device.ts";
import { type AskOptions, Broadcast, QueueDriver } from "./queue_driver.ts";
import { FakeDevice } from "./testing/fake_blk.ts";
import { BouncingDma, type RingChain, RingDevice, ScriptedDevice } from "./testing/mod.ts";
import { MmioTransport } from "./transport/mmio.ts";
import type { Answer } from "./virtqueue/exchange.ts";
import type { ReceiveRing } from "./virtqueue/receive_ring.ts";
import type { RequestQueue } from "./virtqueue/request_queue.ts";

const EVENT = 8;
const EVENTS = 4;

/** Memory in which one allocation fails. */
class FailingDma extends BouncingDma {
  /** How many allocations go well. */
  left = Infinity;

  override alloc(size: number, options?: DmaOptions): DmaRegion {
    if (this.left-- <= 0) throw new VireoError("OUT_OF_MEMORY", "Over the test's limit");
    return super.alloc(size, options);
  }
}

/** A driver of requests and events that has no opinion of its own. */
class Plain extends QueueDriver {
  readonly seen: number[][] = [];
  readonly ends: string[] = [];
  readonly events = this.broadcast<number>({ what: "event", limit: 4 });
  #requests!: RequestQueue;
  #ring!: ReceiveRing;

  constructor(device: VirtioDevice) {
    super(device, "Plain device");
    this.setUp();
  }

  override setUp(): void {
    [this.#requests, this.#ring] = this.openQueues(
      { name: "requests", indirect: false },
      { name: "events", bytes: EVENT, count: EVENTS, received: () => this.#drain() },
    );
  }

  #drain(): void {
    this.#ring.drain((bytes) => {
      this.seen.push([...bytes]);
      this.events.push(bytes[0]!);
    });
  }

  override ended(error: Error): void {
    this.ends.push((error as VireoError).code);
  }

  say(room: number, options?: AskOptions): Promise<Answer> {
    return this.ask(this.#requests, [Uint8Array.of(1, 2, 3)], room, options);
  }

  give(region: DmaRegion, onReturned: (length: number) => void): Promise<number> {
    return this.lend(this.#requests, [{ region, direction: "from-device" }], { onReturned });
  }
}

const driver = {
  name: "plain",
  ids: [{ device: 42, vendor: ANY_ID }],
  features: FeatureSet.NONE,
  probe: (device: VirtioDevice): Plain => new Plain(device),
};

class Rig {
  readonly dma = new FailingDma();
  readonly scripted = new ScriptedDevice({ queues: [8, 8] });
  readonly bus = new Bus();
  plain!: Plain;
  device!: VirtioDevice;
  #requests!: RingDevice;
  #events!: RingDevice;

  /** Binds the driver. */
  async open(): Promise<this> {
    await this.bus.registerDriver(driver);
    this.device = await this.bus.addDevice(MmioTransport.probe(this.scripted, this.dma)!);
    if (this.device.error === undefined) {
      this.plain = this.bus.get(driver)!;
      this.attach();
    }
    return this;
  }

  /** Looks for the rings again, after a reset. */
  attach(): void {
    const of = (index: number): RingDevice => {
      const { size, addresses } = this.scripted.queues[index]!;
      return new RingDevice(this.dma, {
        size,
        desc: addresses.get(MmioRegister.QueueDescLow)!,
        driver: addresses.get(MmioRegister.QueueDriverLow)!,
        device: addresses.get(MmioRegister.QueueDeviceLow)!,
      });
    };
    this.#requests = of(0);
    this.#events = of(1);
  }

  /** Takes the next request, at the end of the turn that sent it. */
  async next(): Promise<RingChain> {
    for (let i = 0; i < 10; i++) await Promise.resolve();
    return this.#requests.next()!;
  }

  /** Answers it with bytes. */
  answer(chain: RingChain, bytes: readonly number[], used: number = bytes.length): void {
    const { address, length } = chain.descriptors.at(-1)!;
    this.dma.deviceBytes(address, length).set(bytes.slice(0, length));
    this.#requests.complete(chain, used);
    this.scripted.raise(1);
  }

  /** Sends an event. */
  event(bytes: readonly number[]): void {
    const chain = this.#events.next()!;
    this.dma.deviceBytes(chain.descriptors[0]!.address, EVENT).set(bytes);
    this.#events.complete(chain, bytes.length);
    this.scripted.raise(1);
  }

  async close(): Promise<void> {
    await this.bus[Symbol.asyncDispose]();
    assertEquals([this.dma.live, this.dma.mistakes], [0, []]);
  }
}

const code = async (run: () => Promise<unknown>): Promise<string> =>
  (await assertRejects(run, VireoError)).code;

Deno.test("queue driver: an answer, events, and a removal that leaves nothing", async () => {
  const rig = await new Rig().open();
  const asked = rig.plain.say(4);
  const chain = await rig.next();
  const [request] = chain.descriptors;
  assertEquals([...rig.dma.deviceBytes(request!.address, request!.length)], [1, 2, 3]);
  rig.answer(chain, [9, 8]);
  assertEquals([...(await asked).bytes], [9, 8]);
  using listener = rig.plain.events.listen({ deadline: 5000 });
  rig.event([7, 7, 7]);
  rig.event([5]);
  assertEquals([await listener.take(), await listener.take()], [7, 5]);
  assertEquals(rig.plain.seen, [[7, 7, 7], [5]]);
  await rig.close();
  assertEquals(rig.plain.ends, ["DEVICE_REMOVED"]);
});

Deno.test("queue driver: an answer that is too short is refused, and its owner is told", async () => {
  const rig = await new Rig().open();
  const late: (number | undefined)[] = [];
  const onFailed = (answer: Answer | undefined): void => void late.push(answer?.bytes.length);
  const asked = assertRejects(() => rig.plain.say(4, { least: 3, onFailed }), VireoError);
  rig.answer(await rig.next(), [1, 2]);
  assertEquals(
    (await asked).message,
    "Plain device wrote too short an answer (virtio0): saw 2 bytes, expected at least 3 bytes",
  );
  assertEquals(late, [2]);
  await rig.close();
});

Deno.test("queue driver: a failure ends all at once; memory waits for the reset", async () => {
  const rig = await new Rig().open();
  const region = rig.dma.alloc(16);
  const returned: number[] = [];
  const asked = code(() => rig.plain.say(4));
  const lent = code(() => rig.plain.give(region, (length) => returned.push(length)));
  const heard = code(() => rig.plain.events.listen().take());
  const chain = await rig.next();
  const live = rig.dma.live;
  rig.device.break(new VireoError("DEVICE_NEEDS_RESET", "test"));
  assertEquals(await Promise.all([asked, lent, heard]), Array(3).fill("DEVICE_NEEDS_RESET"));
  assertEquals([returned, rig.dma.live, chain.descriptors.length], [[], live, 2]);
  // What comes later ends at once, and its memory was never the device's.
  const early: unknown[] = [];
  assertEquals(
    await code(() =>
      rig.plain.say(1, {
        onReturned: () => early.push("returned"),
        onFailed: (answer) => early.push(answer),
      })
    ),
    "DEVICE_NEEDS_RESET",
  );
  assertEquals(
    await code(() => rig.plain.give(region, (n) => early.push(n))),
    "DEVICE_NEEDS_RESET",
  );
  assertEquals(early, ["returned", undefined, -1]);
  assertEquals(await code(() => rig.plain.events.listen().take()), "DEVICE_NEEDS_RESET");
  await rig.bus[Symbol.asyncDispose]();
  assertEquals(returned, [-1]);
  region[Symbol.dispose]();
  await rig.close();
});

Deno.test("queue driver: a suspend ends what is pending, and a resume begins again", async () => {
  const rig = await new Rig().open();
  const asked = code(() => rig.plain.say(4));
  const heard = code(() => rig.plain.events.listen().take());
  await rig.next();
  await rig.bus.freeze();
  assertEquals([await asked, await heard, rig.plain.ends], [
    "DEVICE_STATE",
    "DEVICE_STATE",
    ["DEVICE_STATE"],
  ]);
  await rig.bus.restore();
  rig.attach();
  const listener = rig.plain.events.listen({ deadline: 5000 });
  const again = rig.plain.say(1);
  rig.answer(await rig.next(), [6]);
  rig.event([4]);
  assertEquals([[...(await again).bytes], await listener.take()], [[6], 4]);
  await rig.close();
});

Deno.test("queue driver: memory that lacks at any step of a probe leaves none behind", async () => {
  let failures = 0;
  for (let allocations = 0;; allocations++) {
    const rig = new Rig();
    rig.dma.left = allocations;
    await rig.open();
    const error = rig.device.error as VireoError | undefined;
    if (error !== undefined) {
      assertEquals([error.code, rig.dma.live], ["OUT_OF_MEMORY", 0], `${allocations} went well`);
      failures++;
    }
    await rig.close();
    if (error === undefined) break;
  }
  // Two rings, and the buffers of events.
  assertEquals(failures, 3);
});

Deno.test("queue driver: receive buffers take no indirect table, requests do unless their plan forgoes it", () => {
  const { device } = new FakeDevice();
  const asked: QueueRequest[] = [];
  const { findQueues } = device;
  device.findQueues = (requests) => (asked.push(...requests), findQueues(requests));
  class Planned extends QueueDriver {
    constructor() {
      super(device, "Planned device");
      this.setUp();
    }

    override setUp(): void {
      this.openQueues(
        { name: "plain" },
        { name: "direct", indirect: false },
        { name: "events", bytes: EVENT, count: EVENTS, received() {} },
        { name: "own", receives: true },
      );
    }
  }
  new Planned();
  assertEquals(asked.map(({ name, indirect, receives }) => [name, indirect, receives]), [
    ["plain", true, false],
    ["direct", false, false],
    ["events", false, true],
    ["own", true, true],
  ]);
});

Deno.test("broadcast: who listens hears what comes from then on, until it ends or all do", async () => {
  const all = new Broadcast<number>({ device: "virtio0", what: "key", limit: 2 });
  all.push(1);
  const [first, second] = [all.listen(), all.listen()];
  all.push(2);
  assertEquals([await first.take(), await second.take()], [2, 2]);
  second[Symbol.dispose]();
  for (const key of [3, 4, 5]) all.push(key);
  // One that is two behind misses what came before.
  assertEquals(await first.take(), 5);
  const late = await assertRejects(() => first.take({ deadline: 1 }), VireoError);
  assertEquals([late.device, late.message.includes("waiting for the next key")], ["virtio0", true]);
  const gone = new Error("unplugged");
  all.fail(gone);
  all.fail(new Error("again"));
  const after = all.listen();
  assertEquals(await assertRejects(() => after.take(), Error), gone);
  all.restore();
  all.push(6);
  // What ended stays that.
  for (const old of [first, after]) {
    assertEquals(await assertRejects(() => old.take(), Error), gone);
  }
  using again = all.listen();
  all.push(7);
  assertEquals(await again.take(), 7);
});
