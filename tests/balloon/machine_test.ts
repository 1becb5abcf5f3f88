import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { BalloonFeature, BalloonStat, type DmaRegion, Feature, VireoError } from "@vireo/hal";
import {
  BalloonDevice,
  type BalloonDeviceOptions,
  type DeviceQueue,
  type EmuDma,
} from "@vireo/emu";
import { bootMachine, type MachineRig } from "../machine/machine_rig.ts";
import {
  type Balloon,
  type BalloonOptions,
  createBalloonDriver,
} from "../../drivers/balloon/mod.ts";
import { pause } from "../../drivers/wait/mod.ts";
import { turn } from "../turn.ts";

const SOON = { deadline: 5000 };
const PAGE = 4096;

type Rig = MachineRig<"balloon", BalloonDevice, Balloon>;

interface Setup extends BalloonOptions {
  readonly device?: BalloonDeviceOptions;
  readonly version?: 1 | 2;
  readonly without?: readonly number[];
  readonly memorySize?: number;
}

function boot(setup: Setup = {}): Promise<Rig> {
  return bootModel(new BalloonDevice(setup.device), setup);
}

function bootModel(model: BalloonDevice, setup: Setup): Promise<Rig> {
  const { device: _, version = 2, without = [], memorySize = 32 << 20, ...options } = setup;
  return bootMachine("balloon", model, createBalloonDriver(options), {
    version,
    without,
    machine: { memorySize },
  });
}

for (const version of [1, 2] as const) {
  for (const without of [[], [Feature.EVENT_IDX], [Feature.INDIRECT_DESC]]) {
    Deno.test(`balloon: follows the target both ways (version ${version} without [${without}])`, async () => {
      await using rig = await boot({ version, without });
      const { model, balloon } = rig;
      for (const target of [1000, 1001, 3, 0, 700, 256, 0]) {
        model.target = target;
        await balloon.settled(SOON);
        assertEquals([balloon.size, model.actual, model.held.size], [target, target, target]);
      }
      assertEquals([model.unknown, rig.machine.violations()], [0, []]);
    });
  }
}

Deno.test("balloon: a target from the start is followed, and all comes back at the end", async () => {
  const rig = await boot({ device: { target: 64 } });
  await rig.balloon.settled(SOON);
  assertEquals(rig.model.held.size, 64);
  await rig[Symbol.asyncDispose]();
  assertEquals([rig.model.held.size, rig.model.unknown], [0, 0]);
});

Deno.test("balloon: pages come back as zeroes, or filled with the poison", async () => {
  for (const poison of [undefined, 0xa5]) {
    await using rig = await boot(poison === undefined ? {} : { poison });
    await rig.balloon.resize(1, SOON);
    const [page] = rig.model.held;
    const bytes = rig.machine.memory.view(page! * PAGE, PAGE);
    bytes.fill(0x77);
    await rig.balloon.resize(0, SOON);
    assert(bytes.every((byte) => byte === (poison ?? 0x77)), "the driver fills it, or leaves it");
  }
});

Deno.test("balloon: out of memory stops it, and it goes on when asked for less", async () => {
  await using rig = await boot({ memorySize: 4 << 20 });
  rig.model.target = 100_000;
  const error = await assertRejects(() => rig.balloon.settled({ deadline: 50 }), VireoError);
  assertEquals([error.code, rig.balloon.outOfMemory], ["TIMEOUT", true]);
  assert(rig.balloon.size > 800, `${rig.balloon.size} of 1024 pages`);
  rig.model.target = 10;
  await rig.balloon.settled(SOON);
  assertEquals([rig.model.held.size, rig.balloon.outOfMemory], [10, false]);
});

Deno.test("balloon: statistics are told whenever the host asks", async () => {
  let free = 1;
  const statistics = () => ({ [BalloonStat.FREE]: free++ * 2 ** 33, [BalloonStat.TOTAL]: 5 });
  await using rig = await boot({ statistics });
  for (let i = 0; i < 3; i++) {
    const before = rig.model.values.get(BalloonStat.FREE)!;
    const values = await rig.model.refresh();
    assertEquals([...values.keys()], [BalloonStat.FREE, BalloonStat.TOTAL]);
    assertEquals(values.get(BalloonStat.FREE), before + 2 ** 33);
  }
});

Deno.test("balloon: free memory is reported, in many ranges, and its contents are gone", async () => {
  await using rig = await boot();
  const regions = Array.from({ length: 70 }, () => rig.machine.dma.alloc(PAGE, { align: PAGE }));
  for (const { bytes } of regions) bytes.fill(1);
  await rig.balloon.report(regions, SOON);
  assertEquals(rig.model.reported, 70 * PAGE);
  assert(regions.every(({ bytes }) => bytes.every((byte) => byte === 0)));
  for (const region of regions) region[Symbol.dispose]();
});

Deno.test("balloon: hints are given for a command, until there are no more or it is over", async () => {
  const regions: { address: number; bytes: Uint8Array }[] = [];
  const freePages = () => regions as never;
  await using rig = await boot({ freePages });
  for (let i = 0; i < 5; i++) regions.push(rig.machine.dma.alloc(2 * PAGE, { align: PAGE }));
  rig.model.startHinting();
  for (let i = 0; i < 100 && rig.model.reported < 10 * PAGE; i++) await turn();
  assertEquals([rig.model.reported, rig.balloon.hinted], [10 * PAGE, 5]);
  for (let i = 0; i < 100 && rig.model.hinting; i++) await turn();
  assertEquals(rig.model.hinting, false);
  rig.model.finishHinting();
  assertEquals(rig.machine.violations(), []);
});

Deno.test("balloon: what was not negotiated is refused, and the queues still have their places", async () => {
  const { STATS_VQ, FREE_PAGE_HINT, DEFLATE_ON_OOM } = BalloonFeature;
  await using rig = await boot({
    device: { withhold: [STATS_VQ, FREE_PAGE_HINT, DEFLATE_ON_OOM], target: 5 },
  });
  await rig.balloon.settled(SOON);
  const error = await assertRejects(() => rig.balloon.release(), VireoError);
  assertEquals(error.code, "UNSUPPORTED");
  const region = rig.machine.dma.alloc(PAGE, { align: PAGE });
  await rig.balloon.report([region], SOON);
  assertEquals(rig.model.reported, PAGE);
  for (const poison of [256, -1, 0.5]) {
    assertThrows(
      () => createBalloonDriver({ poison }),
      RangeError,
      `Cannot poison pages with ${poison}: expected a byte, 0 to 255`,
    );
  }
  for (const poison of [0, 255]) createBalloonDriver({ poison });
});

Deno.test("balloon: a guest without memory takes pages back though the host wants them", async () => {
  await using rig = await boot({ device: { target: 600 } });
  await rig.balloon.settled(SOON);
  assertEquals(await rig.balloon.release(100, SOON), 100);
  assertEquals([rig.balloon.size, rig.model.held.size], [500, 500]);
});

Deno.test("balloon: pages are taken back from those that it has when the turn comes", async () => {
  await using rig = await boot({ device: { target: 600 }, follow: false });
  const { balloon } = rig;
  const [size, ...taken] = await Promise.all([
    balloon.resize(600, SOON),
    balloon.release(100, SOON),
    balloon.release(100, SOON),
  ]);
  assertEquals([size, taken, balloon.size], [600, [100, 100], 400]);
});

Deno.test("balloon: after a recovery and a suspend it starts empty and follows again", async () => {
  await using rig = await boot({ device: { target: 300 } });
  await rig.balloon.settled(SOON);
  const recovered = rig.bus.devices[0]!.recovered(SOON);
  rig.machine.device(0).fault("as the test wants");
  await recovered;
  await rig.balloon.settled(SOON);
  assertEquals([rig.model.held.size, rig.model.actual], [300, 300]);
  await rig.bus.freeze();
  await rig.bus.restore();
  await rig.balloon.settled(SOON);
  assertEquals([rig.model.held.size, rig.model.actual], [300, 300]);
});

Deno.test("balloon: a change that was asked for before a reset is not made after it", async () => {
  await using rig = await boot({ device: { target: 300 } });
  await rig.balloon.settled(SOON);
  const notify = rig.model.notify.bind(rig.model);
  rig.model.notify = () => {};
  const recovered = rig.bus.devices[0]!.recovered(SOON);
  // The host has the first, the second waits for its turn, and the third comes when the device has failed.
  const changes = [rig.balloon.resize(400, SOON), rig.balloon.resize(500, SOON)];
  await turn();
  rig.machine.device(0).fault("as the test wants");
  changes.push(rig.balloon.resize(600, SOON));
  rig.model.notify = notify;
  const ends = await Promise.allSettled(changes);
  assertEquals(
    ends.map((end) => end.status === "rejected" && end.reason.code),
    ["DEVICE_NEEDS_RESET", "DEVICE_NEEDS_RESET", "DEVICE_NEEDS_RESET"],
  );
  await recovered;
  await rig.balloon.settled(SOON);
  for (let i = 0; i < 10; i++) await turn();
  assertEquals([rig.balloon.size, rig.model.held.size, rig.model.unknown], [300, 300, 0]);
});

Deno.test("balloon: a change of size waits for the others within its deadline, and its turn is not lost", async () => {
  await using rig = await boot({ follow: false });
  const notify = rig.model.notify.bind(rig.model);
  const held: number[] = [];
  rig.model.notify = (queue) => void held.push(queue);
  const first = rig.balloon.resize(10, SOON);
  const late = await assertRejects(() => rig.balloon.resize(20, { deadline: 20 }), VireoError);
  assertEquals(late.code, "TIMEOUT");
  const third = rig.balloon.resize(5, SOON);
  rig.model.notify = notify;
  for (const queue of held) notify(queue);
  assertEquals([await first, await third, rig.model.held.size], [10, 5, 5]);
});

/** A device that keeps what it is told on a queue until it is let go. */
function slow(model: BalloonDevice): { readonly held: number[]; release(): void } {
  const notify = model.notify.bind(model);
  const held: number[] = [];
  model.notify = (queue) => void held.push(queue);
  return {
    held,
    release() {
      model.notify = notify;
      for (const queue of held.splice(0)) notify(queue);
    },
  };
}

Deno.test("balloon: pages that the host took late are not used before it gave them back", async () => {
  await using rig = await boot({ follow: false });
  const { balloon, model, machine } = rig;
  const device = slow(model);
  const free = (machine.dma as EmuDma).freeBytes;
  const late = await assertRejects(() => balloon.resize(2, { deadline: 5 }), VireoError);
  assertEquals([late.code, balloon.size], ["TIMEOUT", 0]);
  // The pages are in doubt: a deflate waits, and its pages go to nobody.
  const deflate = await assertRejects(() => balloon.resize(0, { deadline: 5 }), VireoError);
  assertEquals(
    deflate.message,
    "Timed out after 5 ms waiting for the host to return the balloon's earlier pages (virtio0)",
  );
  assert((machine.dma as EmuDma).freeBytes <= free - 2 * PAGE);
  device.release();
  await turn();
  assertEquals([balloon.size, model.held.size], [2, 2]);
  assertEquals(await balloon.resize(0, SOON), 0);
  assertEquals((machine.dma as EmuDma).freeBytes, free);
  // Likewise a deflate that the host hears late.
  await balloon.resize(3, SOON);
  const again = slow(model);
  await assertRejects(() => balloon.resize(1, { deadline: 5 }), VireoError);
  assertEquals(balloon.size, 3);
  again.release();
  await turn();
  assertEquals([balloon.size, model.held.size], [1, 1]);
});

Deno.test("balloon: reported memory comes back once, and is not reported twice meanwhile", async () => {
  await using rig = await boot({ follow: false });
  const device = slow(rig.model);
  const [one, two] = [0, 1].map(() => rig.machine.dma.alloc(PAGE, { align: PAGE }));
  const back: DmaRegion[] = [];
  const onReturned = (region: DmaRegion): void => void back.push(region);
  const report = (regions: DmaRegion[]) =>
    assertRejects(() => rig.balloon.report(regions, { deadline: 5, onReturned }), VireoError);
  assertEquals((await report([one!])).code, "TIMEOUT");
  assertEquals(back, []);
  assertEquals((await report([two!, one!])).code, "DEVICE_STATE");
  assertEquals(back, [two, one], "what the host never had is the caller's");
  device.release();
  await turn();
  assertEquals(back, [two, one, one]);
});

Deno.test("balloon: a host that returns statistics at once starves nobody", async () => {
  const model = new BalloonDevice();
  let asked = 0;
  const context = model.activate.bind(model);
  let queue: DeviceQueue | undefined;
  model.activate = (given) => {
    queue = given.queue(2);
    context(given);
  };
  const notify = model.notify.bind(model);
  model.notify = (index) => {
    if (index !== 2) return notify(index);
    for (let chain = queue?.pop(); chain !== undefined; chain = queue?.pop()) {
      asked++;
      queue!.push(chain, 0);
    }
    queue?.signal();
  };
  await using rig = await bootModel(model, { statistics: () => ({ 4: 1 }) });
  await pause(20);
  assert(asked > 1 && asked < 100, `${asked} answers in 20 ms`);
  assertEquals(await rig.balloon.resize(1, SOON), 1);
});

Deno.test("balloon: memory that lacks is tried for again, without being asked", async () => {
  await using rig = await boot({ device: { target: 1 }, memorySize: 8 << 20 });
  await rig.balloon.settled(SOON);
  const others = rig.machine.dma.alloc(6 << 20);
  rig.model.target = 1000;
  while (!rig.balloon.outOfMemory) await turn();
  const { size } = rig.balloon;
  assert(size > 1 && size < 1000, `${size} pages`);
  others[Symbol.dispose]();
  await rig.balloon.settled(SOON);
  assertEquals([rig.balloon.size, rig.balloon.outOfMemory], [1000, false]);
});

Deno.test("balloon: a command for hints that comes during a round is answered after it", async () => {
  const regions: DmaRegion[] = [];
  await using rig = await boot({ freePages: () => regions });
  for (let i = 0; i < 5; i++) regions.push(rig.machine.dma.alloc(PAGE, { align: PAGE }));
  const device = slow(rig.model);
  rig.model.startHinting();
  while (device.held.length === 0) await turn();
  rig.model.startHinting();
  await turn();
  device.release();
  for (let i = 0; i < 100 && rig.model.reported < 5 * PAGE; i++) await turn();
  assertEquals(rig.model.reported, 5 * PAGE);
});

Deno.test("[drv.balloon.operation.2] balloon: pages that the host wants stay, without DEFLATE_ON_OOM", async () => {
  const device = { withhold: [BalloonFeature.DEFLATE_ON_OOM], target: 10 };
  await using rig = await boot({ device });
  await rig.balloon.settled(SOON);
  const kept = await assertRejects(() => rig.balloon.resize(9, SOON), VireoError);
  assertEquals(
    kept.message,
    "Balloon must keep the pages that the host wants (virtio0): saw 9 pages, " +
      "expected 10 pages at least, without DEFLATE_ON_OOM",
  );
  assertEquals([rig.balloon.size, await rig.balloon.resize(12, SOON)], [10, 12]);
  assertEquals(await rig.balloon.resize(10, SOON), 10);
});
