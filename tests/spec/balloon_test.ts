// The balloon's driver and device, byte by byte: every number is typed from virtio 1.4 §5.5.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { BalloonDevice, type BalloonDeviceOptions, EmulatedMachine } from "@vireo/emu";
import { MockDriver } from "@vireo/emu/testing";
import { type DmaRegion, FeatureSet, VireoError } from "@vireo/hal";
import {
  type Balloon,
  type BalloonOptions,
  createBalloonDriver,
} from "../../drivers/balloon/mod.ts";
import { bootRecorded, type RecordedRig } from "./boot.ts";
import { RawRig } from "./raw_rig.ts";
import { at, le, type Recording } from "./recorder.ts";
import { turn } from "../turn.ts";

const SOON = { deadline: 5000 };
const PAGE = 4096;
const [INFLATE, DEFLATE, STATS, HINTS, REPORTS] = [0, 1, 2, 3, 4];
const F = {
  MUST_TELL_HOST: 0,
  STATS_VQ: 1,
  FREE_PAGE_HINT: 3,
  PAGE_POISON: 4,
  REPORTING: 5,
  VERSION_1: 32,
} as const;

interface Setup extends BalloonOptions {
  readonly device?: BalloonDeviceOptions;
  readonly version?: 1 | 2;
  readonly prepare?: (model: BalloonDevice) => void;
}

type Rig = RecordedRig<"balloon", BalloonDevice, Balloon>;

function boot(setup: Setup = {}): Promise<Rig> {
  const { device, version = 2, prepare, ...options } = setup;
  const model = new BalloonDevice(device);
  prepare?.(model);
  return bootRecorded("balloon", model, createBalloonDriver(options), {
    version,
    machine: { memorySize: 8 << 20 },
  });
}

/** Keeps the notifications of a queue from the device until it is let go. */
function hold(model: BalloonDevice, queue: number): { readonly held: number[]; release(): void } {
  const notify = model.notify.bind(model);
  const held: number[] = [];
  model.notify = (index) => index === queue ? void held.push(index) : notify(index);
  return {
    held,
    release() {
      model.notify = notify;
      notify(queue);
    },
  };
}

const pagesOf = ({ chains }: Recording, queue: number): number[] =>
  chains.filter((chain) => chain.queue === queue).flatMap(({ read }) =>
    Array.from({ length: read.length / 4 }, (_, i) => at(read, 4 * i))
  );

for (const version of [1, 2] as const) {
  Deno.test(`spec balloon: pages come back by deflateq, and actual is one write of 4 bytes (version ${version}; drv.balloon.operation.3, .7, .legacy-operation.2, .legacy-config.1)`, async () => {
    await using rig = await boot({ version, follow: false });
    const { seen } = rig;
    await rig.balloon.resize(300, SOON);
    const given = pagesOf(seen, INFLATE);
    assertEquals([new Set(given).size, pagesOf(seen, DEFLATE)], [300, []]);
    await rig.balloon.resize(0, SOON);
    assertEquals(pagesOf(seen, DEFLATE).sort(), given.sort());
    // 256 pages a request: 256 and 300, then 300 less 44, and none.
    const actual = seen.config.filter((access) => access.startsWith("w"));
    assertEquals(actual, ["w4@4=256", "w4@4=300", "w4@4=256", "w4@4=0"]);
    rig.model.target = 0x01020304;
    assertEquals(rig.balloon.target, 0x01020304);
    assertEquals([0, 1, 2, 3].map((i) => rig.model.readConfig(i, 1)), [4, 3, 2, 1]);
  });
}

Deno.test("spec balloon: no page is used or asked for before the host has answered (drv.balloon.operation.4-6)", async () => {
  await using rig = await boot({ follow: false });
  const { balloon, model, machine } = rig;
  assert(rig.bus.devices[0]!.has(F.MUST_TELL_HOST));
  const pages = (): Uint8Array[] => [...told].map((page) => machine.memory.view(page * PAGE, PAGE));
  const inflate = hold(model, INFLATE);
  const growing = balloon.resize(4, SOON);
  const shrinking = balloon.resize(0, SOON);
  while (inflate.held.length === 0) await turn();
  await turn();
  assertEquals([balloon.size, pagesOf(rig.seen, DEFLATE)], [0, []], "inflation is under way");
  inflate.release();
  const deflate = hold(model, DEFLATE);
  assertEquals(await growing, 4);
  const told = new Set(pagesOf(rig.seen, INFLATE));
  while (deflate.held.length === 0) await turn();
  for (const bytes of pages()) bytes.fill(0xd5);
  // Whoever asks for memory gets none of them, and nobody writes to them.
  const others: DmaRegion[] = [];
  for (;;) {
    try {
      others.push(machine.dma.alloc(PAGE, { align: PAGE }));
    } catch {
      break;
    }
  }
  assert(others.length > 1000);
  assert(others.every(({ address }) => !told.has(address / PAGE)));
  assert(pages().every((bytes) => bytes.every((byte) => byte === 0xd5)));
  deflate.release();
  assertEquals(await shrinking, 0);
  const again = machine.dma.alloc(PAGE, { align: PAGE });
  assert(told.has(again.address / PAGE));
  for (const region of [...others, again]) region[Symbol.dispose]();
});

Deno.test("spec balloon: a driver that expects pages to keep a value reports none without PAGE_POISON (drv.balloon.features.3)", async () => {
  const accepted = async (poison: number | undefined, withhold: number[]): Promise<boolean[]> => {
    const options = poison === undefined ? {} : { poison };
    await using rig = await boot({ ...options, device: { withhold } });
    return [F.PAGE_POISON, F.REPORTING].map((bit) => rig.bus.devices[0]!.has(bit));
  };
  assertEquals(await accepted(0x5a, []), [true, true]);
  assertEquals(await accepted(0x5a, [F.PAGE_POISON]), [false, false]);
  assertEquals(await accepted(undefined, [F.PAGE_POISON]), [false, true]);
});

Deno.test("spec balloon: one buffer of statistics, the same ones each time (drv.balloon.stats.1-6)", async () => {
  let outstanding = 0;
  let most = 0;
  const values = [{ 4: 1, 5: 2 ** 40, 0: 3, 9: 4 }, { 4: 7, 9: 8 }, {
    4: 1,
    5: 2,
    0: 3,
    9: 4,
    7: 9,
  }];
  let asked = 0;
  const prepare = (model: BalloonDevice): void => {
    const activate = model.activate.bind(model);
    model.activate = (context) => {
      const found = context.queue(STATS!)!;
      const [pop, push] = [found.pop, found.push];
      found.pop = () => {
        const chain = pop();
        if (chain !== undefined) most = Math.max(most, ++outstanding);
        return chain;
      };
      found.push = (...args) => {
        outstanding--;
        push(...args);
      };
      activate(context);
    };
  };
  await using rig = await boot({ statistics: () => values[asked++ % 3]!, prepare });
  const buffers = () => rig.seen.chains.filter(({ queue }) => queue === STATS);
  while (buffers().length === 0) await turn();
  assertEquals(buffers().length, 1, "one after the initialization");
  for (let i = 2; i < 6; i++) {
    await rig.model.refresh();
    assertEquals([buffers().length, outstanding], [i, 1]);
  }
  assertEquals(most, 1);
  for (const { read, writable } of buffers()) {
    assertEquals([writable, read.length % 6, read.length % 10], [[], 0, 0]);
    const tags = Array.from({ length: read.length / 10 }, (_, i) => at(read, 10 * i, 2));
    // Entries that only fill up have a tag that no host knows.
    assertEquals(tags.filter((tag) => tag !== 0xffff), [0, 4, 5, 9]);
  }
  const values5 = buffers().map(({ read }) => at(read, 22, 8));
  assert(values5.includes(2 ** 40), `${values5}`);
});

/** A region that tells whether the driver looked at its bytes or wrote them. */
function watched(region: DmaRegion): { readonly region: DmaRegion; touched(): boolean } {
  let touched = false;
  const bytes = new Proxy(region.bytes, {
    get(target, name) {
      if (name !== "length") touched = true;
      return Reflect.get(target, name, target);
    },
  });
  const spy = new Proxy(region, {
    get(target, name) {
      if (name === "bytes") return bytes;
      const value = Reflect.get(target, name, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
  return { region: spy, touched: () => touched };
}

Deno.test("spec balloon: hints begin with the command and end with STOP, in buffers of 4 bytes (drv.balloon.free-page-hint.1-3, .6)", async () => {
  const regions: DmaRegion[] = [];
  await using rig = await boot({ freePages: () => regions });
  for (let i = 0; i < 3; i++) regions.push(rig.machine.dma.alloc(2 * PAGE, { align: PAGE }));
  const hints = () => rig.seen.chains.filter(({ queue }) => queue === HINTS);
  for (const round of [1, 2]) {
    rig.model.startHinting();
    while (hints().length < round * 5) await turn();
    await turn();
    const id = at(Uint8Array.from({ length: 4 }, (_, i) => rig.model.readConfig(8 + i, 1)), 0);
    const seen = hints().slice((round - 1) * 5);
    assertEquals(seen.map(({ readable, writable }) => [...readable, ...writable]), [
      [4],
      [2 * PAGE],
      [2 * PAGE],
      [2 * PAGE],
      [4],
    ]);
    assertEquals([seen[0]!.read, seen[4]!.read], [le(id), le(0)]);
    assertEquals(hints().filter(({ read }) => at(read, 0) === id).length, 1);
  }
});

Deno.test("spec balloon: what hinted and reported pages hold is nobody's (drv.balloon.free-page-hint.7, .8, .free-page-report.1)", async () => {
  const regions: DmaRegion[] = [];
  await using rig = await boot({ freePages: () => regions });
  const { dma, memory } = rig.machine;
  const [hinted, reported] = [0, 1].map(() => watched(dma.alloc(PAGE, { align: PAGE })));
  regions.push(hinted!.region);
  rig.model.startHinting();
  while (rig.balloon.hinted === 0) await turn();
  await rig.balloon.report([reported!.region], SOON);
  assertEquals([hinted!.touched(), reported!.touched()], [false, false]);
  // The host may put anything there until DONE; a page that is used before then is initialized.
  const addresses = [hinted!, reported!].map(({ region }) => region.address);
  for (const address of addresses) memory.view(address, PAGE).fill(0xe7);
  for (const { region } of [hinted!, reported!]) region[Symbol.dispose]();
  const again = addresses.map(() => dma.alloc(PAGE, { align: PAGE }));
  assertEquals(again.map(({ address }) => address).sort(), addresses.sort());
  assert(again.every(({ bytes }) => bytes.every((byte) => byte === 0)));
  for (const region of again) region[Symbol.dispose]();
});

Deno.test("spec balloon: the poison is told before DRIVER_OK, stays, and fills pages (drv.balloon.page-poison.1-3, .free-page-report.2)", async () => {
  const writes: [number, number, number][] = [];
  const poisoned: boolean[] = [];
  const prepare = (model: BalloonDevice): void => {
    const write = model.writeConfig.bind(model);
    model.writeConfig = (offset, width, value) => {
      // poison_val is at offset 12.
      if (offset >= 12) writes.push([offset, value, rig?.machine.device(0).status ?? 0]);
      write(offset, width, value);
    };
    const notify = model.notify.bind(model);
    model.notify = (index) => {
      if (index === REPORTS) poisoned.push(free.bytes.every((byte) => byte === 0x5a));
      notify(index);
    };
  };
  let rig: Rig | undefined = undefined as Rig | undefined;
  await using booted = await boot({ poison: 0x5a, follow: false, prepare });
  rig = booted;
  assertEquals(writes, [[12, 0x5a5a5a5a, 0]], "before the rig was up: DRIVER_OK is not set");
  await rig.balloon.resize(1, SOON);
  const [page] = pagesOf(rig.seen, INFLATE);
  const bytes = rig.machine.memory.view(page! * PAGE, PAGE);
  bytes.fill(0);
  await rig.balloon.resize(0, SOON);
  assert(bytes.every((byte) => byte === 0x5a), "what is used again has the poison");
  const free = rig.machine.dma.alloc(PAGE, { align: PAGE });
  await rig.balloon.report([free], SOON);
  assertEquals([writes.length, poisoned], [1, [true]]);
  free[Symbol.dispose]();
});

Deno.test("spec balloon: reported pages are off limits until the host has answered (drv.balloon.free-page-report.3)", async () => {
  await using rig = await boot({ follow: false });
  const { dma, memory } = rig.machine;
  const free = dma.alloc(PAGE, { align: PAGE });
  const reports = hold(rig.model, REPORTS);
  const back: DmaRegion[] = [];
  const onReturned = (region: DmaRegion): unknown => back.push(region);
  const reporting = rig.balloon.report([free], { ...SOON, onReturned });
  while (reports.held.length === 0) await turn();
  const bytes = memory.view(free.address, PAGE);
  bytes.fill(0x99);
  const twice = await assertRejects(() => rig.balloon.report([free], SOON), VireoError);
  assertEquals(twice.code, "DEVICE_STATE");
  await rig.balloon.resize(4, SOON);
  assert(!pagesOf(rig.seen, INFLATE).includes(free.address / PAGE));
  assertEquals([back, bytes.every((byte) => byte === 0x99)], [[], true]);
  reports.release();
  await reporting;
  assertEquals(back, [free]);
  free[Symbol.dispose]();
});

Deno.test("spec balloon: a driver without MUST_TELL_HOST is served, on both interfaces (dev.balloon.legacy-features.1)", async () => {
  for (const version of [1, 2] as const) {
    const model = new BalloonDevice();
    await using machine = EmulatedMachine.create({ devices: [{ model, version }] });
    const driver = new MockDriver(machine);
    driver.init(version === 1 ? FeatureSet.NONE : FeatureSet.of(F.VERSION_1));
    const { address } = machine.dma.alloc(PAGE, { align: PAGE });
    await driver.request(INFLATE!, [{ read: le(address / PAGE) }]);
    assertEquals([...model.held], [address / PAGE]);
    // It need not wait for the answer, nor ask at all.
    machine.memory.view(address, PAGE).fill(1);
    await driver.request(DEFLATE!, [{ read: le(address / PAGE) }]);
    assertEquals([model.held.size, model.unknown, machine.violations()], [0, 0, []]);
  }
});

Deno.test("spec balloon: ids of commands are not used again, and only hints of the current one count until DONE (dev.balloon.free-page-hint.2-5)", async () => {
  await using rig = new RawRig(new BalloonDevice(), [F.FREE_PAGE_HINT]);
  const { model, machine, driver } = rig;
  const command = (): number => at(driver.config(8, 4), 0);
  const page = machine.dma.alloc(PAGE, { align: PAGE });
  const hint = (): boolean => {
    page.bytes.fill(0x33);
    const region = { address: page.address };
    const queue = driver.queues[HINTS]!;
    // The page itself is the buffer.
    queue.setDesc(9, region.address, PAGE, 2);
    const used = queue.usedIndex;
    queue.makeAvailable(9);
    queue.kick();
    assertEquals(queue.usedIndex, used + 1);
    return page.bytes.every((byte) => byte === 0x33);
  };
  const send = (id: number) => driver.request(HINTS!, [{ read: le(id) }]);
  assertEquals(hint(), true, "no command is in force");
  const ids: number[] = [];
  for (let i = 0; i < 3; i++) {
    model.startHinting();
    ids.push(command());
  }
  assertEquals([new Set(ids).size, ids.every((id) => id > 1)], [3, true]);
  await send(ids[1]!);
  assertEquals(hint(), true, "of a command before");
  await send(ids[2]!);
  assertEquals(hint(), false);
  model.finishHinting();
  assertEquals(command(), 1);
  assertEquals(hint(), true, "after DONE");
  await send(0);
  model.startHinting();
  assert(!ids.includes(command()));
  page[Symbol.dispose]();
});

Deno.test("spec balloon: with PAGE_POISON a reported page changes to nothing but the poison (dev.balloon.free-page-report.1)", async () => {
  for (const poison of [0x5a5a5a5a, 0]) {
    await using rig = new RawRig(new BalloonDevice(), [F.PAGE_POISON, F.REPORTING]);
    const { model, machine, driver } = rig;
    driver.slot.write32(0x100 + 12, poison);
    const page = machine.dma.alloc(PAGE, { align: PAGE });
    page.bytes.fill(poison & 0xff);
    const queue = driver.queues[REPORTS]!;
    queue.setDesc(0, page.address, PAGE, 2);
    queue.makeAvailable(0);
    queue.kick();
    assertEquals([queue.usedIndex, model.reported], [1, PAGE]);
    assert(page.bytes.every((byte) => byte === (poison & 0xff)));
    page[Symbol.dispose]();
  }
});
