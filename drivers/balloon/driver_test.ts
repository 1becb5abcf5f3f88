import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { BalloonFeature, type DmaRegion, FeatureSet, VireoError } from "@vireo/hal";
import { code, turn } from "../async_test_util.ts";
import { FakeDevice, type FakeRequest } from "../testing/fake_blk.ts";
import { Balloon, type BalloonOptions, createBalloonDriver } from "./driver.ts";

const F = BalloonFeature;
const GONE = new VireoError("DEVICE_STATE", "As the test wants");
const [TARGET, ACTUAL, COMMAND, POISON] = [0, 4, 8, 12];

/** A balloon whose host takes and returns what it hears of, unless a queue is held. */
function rig(
  { features = [], offered = features, target = 0, pages = Infinity, ...options }:
    & BalloonOptions
    & {
      readonly features?: readonly number[];
      readonly offered?: readonly number[];
      readonly target?: number;
      /** Pages of one allocation at most. */
      readonly pages?: number;
    } = {},
) {
  const fake = new FakeDevice(...features);
  fake.config.setUint32(TARGET, target, true);
  /** The queue and the first 32-bit word of each message, and how many bytes it has. */
  const told: [queue: string, first: number | undefined, length: number][] = [];
  const held: FakeRequest[] = [];
  const holds = new Set<string>(["stats"]);
  const finish = (request: FakeRequest) => {
    request.complete(undefined, 0);
    request.queue.interrupt();
  };
  fake.script = (request) => {
    const { readable, queue: { name } } = request;
    const first = readable.length < 4 ? undefined : new Uint32Array(readable.buffer, 0, 1)[0];
    const length = name === "reporting" ? request.elements.length : readable.length;
    told.push([name, first, length]);
    if (holds.has(name)) held.push(request);
    else finish(request);
  };
  const device = Object.assign(fake.device, {
    queues: fake.queues,
    offered: FeatureSet.of(32, ...offered),
    ready() {},
  });
  const { alloc } = device.dma;
  const room = { pages };
  device.dma.alloc = (size, options) => {
    if (options?.coherent && size > room.pages * 4096) {
      throw new VireoError("OUT_OF_MEMORY", "None");
    }
    return alloc(size, options);
  };
  const balloon = new Balloon(device, options);
  balloon.scan();
  return {
    fake,
    balloon,
    told,
    held,
    holds,
    finish,
    room,
    dma: device.dma,
    word: (at: number) => fake.config.getUint32(at, true),
    set(at: number, value: number) {
      fake.config.setUint32(at, value, true);
      balloon.configChanged();
    },
  };
}

Deno.test("balloon: queues have their places by what is offered, and those that were agreed on are used", () => {
  const all = [F.STATS_VQ, F.FREE_PAGE_HINT, F.PAGE_REPORTING];
  for (
    const [offered, features, expected] of [
      [[], [], []],
      [all, all, [["stats", 2], ["free_page", 3], ["reporting", 4]]],
      [all, [F.PAGE_REPORTING], [["reporting", 4]]],
      [all, [], []],
      [[F.PAGE_REPORTING], [F.PAGE_REPORTING], [["reporting", 2]]],
    ] as const
  ) {
    const { fake, balloon } = rig({ features, offered });
    const queues = fake.queues.map(({ request: { name, index } }) => [name, index]);
    assertEquals(queues, [["inflate", 0], ["deflate", 1], ...expected.map((one) => [...one])]);
    const received = fake.queues.filter(({ request }) => request.receives).map(({ name }) => name);
    assertEquals(received, queues.some(([name]) => name === "stats") ? ["stats"] : []);
    balloon.failed(GONE);
  }
});

Deno.test("balloon: a poison is a byte, and reports need one where the host has it", () => {
  for (const poison of [-1, 256, 0.5, NaN]) {
    assertThrows(() => createBalloonDriver({ poison }), RangeError, `with ${poison}`);
  }
  const both = [F.PAGE_POISON, F.PAGE_REPORTING];
  for (
    const [poison, offered, agreed] of [
      [undefined, both, [F.PAGE_REPORTING]],
      [0, both, both],
      [255, both, both],
      [255, [F.PAGE_REPORTING], []],
    ] as const
  ) {
    const driver = createBalloonDriver(poison === undefined ? {} : { poison });
    const { device } = new FakeDevice();
    const features = driver.validate!(device, FeatureSet.of(...offered)) as FeatureSet;
    assertEquals([...features], [...agreed]);
  }
});

Deno.test("balloon: pages go and come in messages of 256, and the last that went come first", async () => {
  const { balloon, told, word, fake } = rig({ follow: false });
  const lengths = () => told.splice(0).map(([name, , length]) => [name, length / 4]);
  assertEquals(await balloon.resize(257), 257);
  assertEquals(lengths(), [["inflate", 256], ["inflate", 1]]);
  assertEquals([balloon.size, word(ACTUAL), fake.regions.size], [257, 257, 2]);
  const start = [...fake.regions][0]!.address / 4096;
  await balloon.resize(10);
  const steps = told.map(([name, first, length]) => [name, first! - start, length / 4]);
  assertEquals(steps.slice(1), [["deflate", 10, 246]]);
  assertEquals(lengths(), [["deflate", 1], ["deflate", 246]]);
  assertEquals([balloon.size, word(ACTUAL), fake.regions.size], [10, 10, 1]);
  assertEquals(await balloon.resize(10), 10);
  await balloon.resize(0);
  assertEquals([lengths(), word(ACTUAL), fake.regions.size], [[["deflate", 10]], 0, 0]);
});

Deno.test("balloon: it takes the memory that there is, and says that it is short", async () => {
  const { balloon, told, room } = rig({ follow: false, pages: 4 });
  assertEquals(balloon.outOfMemory, false);
  assertEquals([await balloon.resize(6), balloon.outOfMemory], [6, false]);
  // Half of what it does not get, and then the rest.
  assertEquals(told.map(([, , length]) => length / 4), [3, 3]);
  room.pages = 0;
  assertEquals([await balloon.resize(7), balloon.outOfMemory], [6, true]);
  assertEquals([await balloon.resize(0), balloon.outOfMemory], [0, false]);
  const broken = rig({ follow: false });
  for (const error of [new Error("broken"), GONE]) {
    broken.dma.alloc = () => {
      throw error;
    };
    await assertRejects(() => broken.balloon.resize(1), Error, error.message);
  }
});

Deno.test("balloon: pages that the host wants are kept, unless they may be taken back", async () => {
  for (const may of [false, true]) {
    const features = may ? [F.DEFLATE_ON_OOM] : [];
    const { balloon, set } = rig({ follow: false, features, target: 10 });
    await balloon.resize(20);
    for (const [pages, kept] of [[15, false], [10, false], [9, true]] as const) {
      const taken = () => balloon.resize(pages);
      if (kept && !may) assertEquals([await code(taken), balloon.size], ["UNSUPPORTED", 10]);
      else assertEquals(await taken(), pages);
    }
    set(TARGET, 20);
    // It has less than the host wants: it may not have less still.
    const size = balloon.size;
    assertEquals(await balloon.resize(size), size);
    if (may) {
      assertEquals([await balloon.release(4), balloon.size], [4, 5]);
      assertEquals([await balloon.release(), balloon.size], [5, 0]);
      await balloon.resize(300);
      assertEquals([await balloon.release(), balloon.size], [256, 44]);
    } else {
      assertEquals(await code(() => balloon.resize(size - 1)), "UNSUPPORTED");
      assertEquals(await code(() => balloon.release(1)), "UNSUPPORTED");
    }
  }
});

Deno.test("balloon: it follows the host's target, also if that moves meanwhile, until it has it", async () => {
  const { balloon, told, set, holds, held, finish, word } = rig({ target: 3 });
  await balloon.settled({ deadline: 1000 });
  assertEquals([balloon.size, word(ACTUAL)], [3, 3]);
  holds.add("inflate");
  told.length = 0;
  // Asked for more while the first change is under way: one change more, to the last of them.
  for (const target of [5, 8, 9, 7]) set(TARGET, target);
  const settled = balloon.settled();
  await turn();
  set(TARGET, 6);
  while (balloon.size !== 6) {
    finish(held.shift()!);
    await turn();
  }
  await settled;
  assertEquals(told.map(([name, , length]) => [name, length / 4]), [["inflate", 4], [
    "deflate",
    1,
  ]]);
});

Deno.test("balloon: pages come back with the poison, and what is reported has it", async () => {
  for (const poison of [undefined, 0, 0xa5]) {
    const features = [F.PAGE_REPORTING, ...poison === undefined ? [] : [F.PAGE_POISON]];
    const { balloon, dma, fake, word } = rig({
      features,
      follow: false,
      ...poison === undefined ? {} : { poison },
    });
    assertEquals(word(POISON), (poison ?? 0) * 0x01010101);
    await balloon.resize(2);
    const [block] = fake.regions;
    block!.bytes.fill(1);
    await balloon.resize(1);
    assertEquals([block!.bytes[0], block!.bytes[4096], block!.bytes.at(-1)], [
      1,
      ...poison ? [poison, poison] : [1, 1],
    ]);
    using region = dma.alloc(64);
    region.bytes.fill(1);
    let seen: number | undefined;
    const onReturned = () => seen = region.bytes[0];
    fake.script = (request) => {
      seen = request.queue.name === "reporting"
        ? fake.memory(request.elements[0]!.address, 1)[0]
        : seen;
      request.complete(undefined, 0);
      request.queue.interrupt();
    };
    await balloon.report([region], { onReturned });
    assertEquals(seen, poison ?? 1);
  }
});

Deno.test("balloon: reports have 32 ranges at most, and each region comes back once", async () => {
  const { balloon, dma, told, holds, held, finish } = rig({ features: [F.PAGE_REPORTING] });
  const regions = Array.from({ length: 65 }, () => dma.alloc(16));
  const returned: DmaRegion[] = [];
  const onReturned = (region: DmaRegion): void => void returned.push(region);
  await balloon.report([], { onReturned });
  assertEquals(told, []);
  await balloon.report(regions, { onReturned });
  assertEquals([told.map(([, , ranges]) => ranges), returned], [[32, 32, 1], regions]);
  returned.length = 0;
  const twice = [regions[0]!, regions[0]!];
  assertEquals(await code(() => balloon.report(twice, { onReturned })), "DEVICE_STATE");
  assertEquals(returned, twice);
  returned.length = 0;
  // The host keeps the first part; the second one is never lent.
  holds.add("reporting");
  const late = balloon.report(regions.slice(0, 40), { onReturned, deadline: 1 });
  assertEquals(await code(() => late), "TIMEOUT");
  assertEquals(returned, regions.slice(32, 40));
  const again = regions.slice(31, 33);
  assertEquals(await code(() => balloon.report(again)), "DEVICE_STATE");
  finish(held.shift()!);
  assertEquals(new Set(returned), new Set(regions.slice(0, 40)));
  holds.clear();
  await balloon.report(again);
  const none = rig();
  returned.length = 0;
  assertEquals(await code(() => none.balloon.report(again, { onReturned })), "UNSUPPORTED");
  assertEquals(returned, again);
});

Deno.test("balloon: a command for hints is answered once, with regions that the host does not have", async () => {
  const free: DmaRegion[] = [];
  const r = rig({ features: [F.FREE_PAGE_HINT, F.PAGE_REPORTING], freePages: () => free });
  const { balloon, dma, told, set, holds, held, finish } = r;
  for (let i = 0; i < 3; i++) free.push(dma.alloc(16));
  const hints = () =>
    told.splice(0).flatMap(([name, first]) => name === "free_page" ? [first] : []);
  for (const command of [0, 1]) {
    set(COMMAND, command);
    await turn();
    assertEquals(hints(), []);
  }
  set(COMMAND, 5);
  await turn();
  assertEquals([hints(), balloon.hinted], [[5, undefined, undefined, undefined, 0], 3]);
  set(COMMAND, 5);
  await turn();
  assertEquals(hints(), []);
  // The host has one of them already.
  holds.add("reporting");
  const report = balloon.report([free[1]!]);
  set(COMMAND, 6);
  await turn();
  assertEquals([hints(), balloon.hinted], [[6, undefined, undefined, 0], 2]);
  finish(held.shift()!);
  await report;
  // Another command during a round ends it, and is answered next.
  holds.add("free_page");
  set(COMMAND, 7);
  await turn();
  set(COMMAND, 8);
  holds.clear();
  finish(held.shift()!);
  await turn();
  assertEquals([hints(), balloon.hinted], [[7, 0, 8, undefined, undefined, undefined, 0], 3]);
  // The host has enough.
  holds.add("free_page");
  set(COMMAND, 9);
  await turn();
  set(COMMAND, 0);
  finish(held.shift()!);
  await turn();
  assertEquals([hints(), balloon.hinted], [[9, 0], 0]);
  balloon.failed(GONE);
});

Deno.test("balloon: statistics are in entries of 10 bytes, a multiple of three, that say what they are", async () => {
  for (
    const [statistics, entries] of [
      [undefined, []],
      [{}, []],
      [{ 4: 2 ** 33 + 5 }, [[4, 5, 2]]],
      [{ 0: 1, 1: -1, 2: 2.9 }, [[0, 1, 0], [1, 0, 0], [2, 2, 0]]],
      [{ 0: 1, 1: 1, 2: 1, 3: 1 }, [0, 1, 2, 3].map((tag) => [tag, 1, 0])],
    ] as const
  ) {
    const { balloon, held, told, finish } = rig({
      features: [F.STATS_VQ],
      ...statistics === undefined ? {} : { statistics: () => statistics },
    });
    await turn();
    const { readable } = held[0]!;
    const view = new DataView(readable.buffer);
    const seen = Array.from(
      { length: readable.length / 10 },
      (_, i) =>
        [0, 2, 6].map((at) =>
          at === 0 ? view.getUint16(10 * i, true) : view.getUint32(10 * i + at, true)
        ),
    );
    const filled = Math.max(3, Math.ceil(entries.length / 3) * 3);
    const none = Array(filled - entries.length).fill([0xffff, 0, 0]);
    assertEquals(seen, [...entries.map((one) => [...one]), ...none]);
    // The host asks by giving it back.
    finish(held[0]!);
    while (told.length < 2) await turn();
    balloon.failed(GONE);
  }
});

Deno.test("balloon: pages that the host takes late are the balloon's, and no change passes them", async () => {
  const { balloon, holds, held, finish, told, word } = rig({ follow: false });
  holds.add("inflate");
  assertEquals(await code(() => balloon.resize(2, { deadline: 1 })), "TIMEOUT");
  assertEquals([balloon.size, word(ACTUAL)], [0, 0]);
  const next = balloon.resize(1);
  await turn();
  assertEquals(told.length, 1);
  finish(held.shift()!);
  assertEquals(await next, 1);
  assertEquals(told.map(([name, , length]) => [name, length / 4]), [["inflate", 2], [
    "deflate",
    1,
  ]]);
  assertEquals(word(ACTUAL), 1);
});

Deno.test("balloon: a failure ends all waits; a reset empties it, and it follows again", async () => {
  const { balloon, fake, set, holds, told, word } = rig({ target: 2 });
  await balloon.settled();
  holds.add("inflate");
  set(TARGET, 3);
  await turn();
  // It will follow to this one when the change is over.
  set(TARGET, 4);
  const waits = [balloon.settled(), balloon.resize(9)];
  await turn();
  balloon.failed(GONE);
  for (const wait of waits) await assertRejects(() => wait, VireoError, "As the test wants");
  await assertRejects(() => balloon.settled(), VireoError, "As the test wants");
  await assertRejects(() => balloon.resize(1), VireoError, "As the test wants");
  assertEquals([told.length, word(ACTUAL)], [2, 2]);
  holds.clear();
  const restored = balloon.restore();
  assertEquals([balloon.size, word(ACTUAL)], [0, 0]);
  await restored;
  await balloon.settled();
  assertEquals([balloon.size, word(ACTUAL)], [4, 4]);
  await balloon.remove();
  assertEquals([told.at(-1)![0], word(ACTUAL), fake.regions.size], ["deflate", 0, 0]);
});

Deno.test("balloon: a wait for the target ends when the host wants what there is, and when it took pages late", async () => {
  const short = rig({ target: 2 });
  await turn();
  short.room.pages = 0;
  short.set(TARGET, 5);
  // Of a deadline the last look would find it too.
  let settled = false;
  short.balloon.settled().then(() => settled = true);
  await turn();
  assertEquals([short.balloon.size, settled], [2, false]);
  short.set(TARGET, 2);
  await turn();
  assertEquals(settled, true);
  short.balloon.failed(GONE);
  const late = rig({ follow: false, target: 2 });
  late.holds.add("inflate");
  assertEquals(await code(() => late.balloon.resize(2, { deadline: 1 })), "TIMEOUT");
  const waiting = late.balloon.settled();
  await turn();
  late.finish(late.held.shift()!);
  await waiting;
  // One that follows gives back what the host does not want.
  const { balloon, holds, held, finish, told } = rig();
  holds.add("inflate");
  assertEquals(await code(() => balloon.resize(2, { deadline: 1 })), "TIMEOUT");
  finish(held.shift()!);
  await turn();
  assertEquals([balloon.size, told.map(([name]) => name)], [0, ["inflate", "deflate"]]);
});

Deno.test("balloon: a failure takes no more pages, neither behind an answer nor after the next reset", async () => {
  const { balloon, fake, holds, held, finish, told } = rig({ follow: false });
  holds.add("inflate");
  const growing = balloon.resize(600);
  await turn();
  finish(held.shift()!);
  balloon.failed(GONE);
  await assertRejects(() => growing, VireoError, "As the test wants");
  assertEquals([told.length, fake.regions.size], [1, 1]);
  await balloon.restore();
  assertEquals(fake.regions.size, 0);
  assertEquals(await code(() => balloon.resize(2, { deadline: 1 })), "TIMEOUT");
  const behind = balloon.resize(5);
  await turn();
  balloon.failed(GONE);
  await balloon.restore();
  await assertRejects(() => behind, VireoError, "As the test wants");
  assertEquals([told.length, balloon.size, fake.regions.size], [2, 0, 0]);
  holds.clear();
  await balloon.resize(3);
  balloon.failed(GONE);
  await balloon.remove();
  assertEquals(fake.regions.size, 0);
});

Deno.test("balloon: a command for hints that a reset cut short is answered again", async () => {
  const { balloon, holds, told, set } = rig({ features: [F.FREE_PAGE_HINT] });
  holds.add("free_page");
  set(COMMAND, 5);
  await turn();
  balloon.failed(GONE);
  holds.clear();
  told.length = 0;
  await balloon.restore();
  await turn();
  assertEquals(told.map(([, first]) => first), [5, 0]);
  balloon.failed(GONE);
});

Deno.test("balloon: pages that could not be asked back, for want of memory, stay the host's", async () => {
  const { balloon, told, dma, word } = rig();
  await balloon.resize(2);
  const { alloc } = dma;
  dma.alloc = () => {
    throw new VireoError("OUT_OF_MEMORY", "None");
  };
  assertEquals(await code(() => balloon.resize(0)), "OUT_OF_MEMORY");
  assertEquals([balloon.size, word(ACTUAL), told.length], [2, 2, 1]);
  dma.alloc = alloc;
  await balloon.resize(0);
  assertEquals([balloon.size, told.length], [0, 2]);
});
