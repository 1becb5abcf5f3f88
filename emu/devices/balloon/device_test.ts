// A balloon by the chains of its queues; every number is typed again from virtio 1.4 §5.5.
import { assertEquals } from "@std/assert";
import { FeatureSet } from "@vireo/hal";
import { FakeChain, FakeHost } from "../../testing/fake_host.ts";
import { BalloonDevice, type BalloonDeviceOptions } from "./device.ts";

const [INFLATE, DEFLATE, STATS, FREE_PAGE, REPORTING] = [0, 1, 2, 3, 4];
const PAGE = 4096;
const PAGE_POISON = 4;
const NONE = new Uint8Array(0);
const words = (...list: number[]): Uint8Array => new Uint8Array(Uint32Array.from(list).buffer);

class Rig {
  readonly device: BalloonDevice;
  readonly host: FakeHost;
  readonly memory = new Uint8Array(8 * PAGE).fill(9);

  constructor(options: BalloonDeviceOptions = {}, without: readonly number[] = [PAGE_POISON]) {
    this.device = new BalloonDevice(options);
    this.host = new FakeHost(this.device, this.device.features.without(...without));
    Object.assign(this.host.context, {
      memory: (at: number, length: number) =>
        at + length <= this.memory.length ? this.memory.subarray(at, at + length) : undefined,
    });
  }

  send(queue: number, read: Uint8Array, room = 0): FakeChain {
    const chain = new FakeChain(read, NONE, room);
    this.host.send(queue, chain);
    return chain;
  }
}

/** A buffer of statistics: a tag of 16 bits and a value of 64 each. */
function stats(...list: readonly (readonly [tag: number, value: number])[]): Uint8Array {
  const bytes = new Uint8Array(10 * list.length);
  const view = new DataView(bytes.buffer);
  list.forEach(([tag, value], i) => {
    view.setUint16(10 * i, tag, true);
    view.setBigUint64(10 * i + 2, BigInt(value), true);
  });
  return bytes;
}

Deno.test("balloon device: pages are taken with zeroes and given back, each counted", () => {
  const rig = new Rig();
  const { device, memory, host } = rig;
  const before = host.context.work.counters;
  assertEquals(rig.send(INFLATE, words(1, 7)).used, 0);
  const after = host.context.work.counters;
  // Looks at the queue are two.
  assertEquals([after.steps - before.steps - 2, after.bytes - before.bytes], [2, 2 * PAGE]);
  assertEquals([
    [...device.held],
    memory[PAGE - 1],
    memory[PAGE],
    memory[8 * PAGE - 1],
    memory[2 * PAGE],
  ], [
    ...[[1, 7], 9],
    ...[0, 0, 9],
  ]);
  assertEquals([rig.send(DEFLATE, words(7, 3)).used, [...device.held], device.unknown], [
    0,
    [1],
    1,
  ]);
  assertEquals([device.usage().items, host.signals], [1, 2]);
});

Deno.test("balloon device: what is no list of pages, hints or statistics is the driver's fault", () => {
  const rows: readonly (readonly [(rig: Rig) => unknown, string])[] = [
    [(rig) => rig.send(INFLATE, NONE), "inflate request of 0 bytes, expected a multiple of 4"],
    [
      (rig) => rig.send(DEFLATE, new Uint8Array(6)),
      "deflate request of 6 bytes, expected a multiple of 4",
    ],
    [(rig) => rig.send(INFLATE, words(8)), "inflates page 8, which is not memory"],
    [(rig) => rig.send(FREE_PAGE, new Uint8Array(3)), "hint command of 3 bytes, expected 4"],
    [(rig) => [1, 2].map(() => rig.send(STATS, stats([1, 2]))), "a second buffer of statistics"],
  ];
  for (const [act, fault] of rows) {
    const rig = new Rig();
    act(rig);
    assertEquals([rig.host.faults, rig.host.done], [[`balloon: ${fault}`], []]);
  }
});

Deno.test("balloon device: statistics stay with the device until new ones are wanted", async () => {
  const rig = new Rig();
  const { device, host } = rig;
  const first = rig.send(STATS, stats([1, 2], [0xffff, 5], [3, 2 ** 40]));
  assertEquals([first.used, [...device.values]], [undefined, [[1, 2], [3, 2 ** 40]]]);
  const wanted = [device.refresh(), device.refresh()];
  assertEquals([first.used, host.signals], [0, 2]);
  rig.send(STATS, stats([1, 4]).slice(0, 19));
  assertEquals(await Promise.all(wanted), [new Map([[1, 4]]), new Map([[1, 4]])]);
  // Wanted before there was a buffer: the first one tells, and goes back for newer ones.
  const early = new Rig();
  let told = false;
  const promise = early.device.refresh().then((values) => (told = true, values));
  const chain = early.send(STATS, stats([1, 1]));
  await Promise.resolve();
  assertEquals([told, [...early.device.values]], [true, [[1, 1]]]);
  assertEquals([chain.used, (await promise).get(1)], [undefined, 1]);
  early.device.resetQueue(STATS);
  void early.device.refresh();
  assertEquals(chain.used, undefined, "the buffer is void");
});

Deno.test("balloon device: hints count between their command and its end", () => {
  const rig = new Rig();
  const { device, host } = rig;
  const hint = (): number => {
    const before = device.reported;
    assertEquals(rig.send(FREE_PAGE, NONE, 64).used !== undefined, true);
    return device.reported - before;
  };
  const command = (id: number): FakeChain => rig.send(FREE_PAGE, words(id));
  assertEquals([hint(), device.hinting], [0, false]);
  device.startHinting();
  assertEquals([device.readConfig(8, 4), host.configChanges, hint()], [2, 1, 0]);
  command(2);
  assertEquals([device.hinting, hint()], [true, 64]);
  command(0);
  assertEquals([device.hinting, hint()], [false, 0]);
  command(2);
  device.finishHinting();
  assertEquals([device.readConfig(8, 4), host.configChanges, hint()], [1, 2, 0]);
  command(1);
  assertEquals(device.hinting, false);
  device.startHinting();
  command(2);
  assertEquals([device.readConfig(8, 4), hint()], [3, 0]);
  command(3);
  assertEquals(hint(), 64);
});

Deno.test("balloon device: reported memory has zeroes, or the driver's poison", () => {
  for (const poisoned of [false, true]) {
    const rig = new Rig({}, poisoned ? [] : [PAGE_POISON]);
    rig.device.writeConfig(12, 4, 0x04030201);
    const chain = rig.send(REPORTING, NONE, 3 * PAGE);
    assertEquals([chain.used, rig.device.reported], [0, 3 * PAGE]);
    const expected = poisoned ? [1, 2, 3, 4] : [0, 0, 0, 0];
    assertEquals(chain.writable.every((byte, i) => byte === expected[i % 4]), true);
  }
});

Deno.test("balloon device: a chain that takes more than a turn goes on where it was", async () => {
  const rig = new Rig();
  const { device, host } = rig;
  const pages = new FakeChain(words(1, 2, 3), NONE, 0);
  const { work } = host.context;
  const spend = work.spend.bind(work);
  // Each page takes the turn's budget.
  work.spend = (steps, bytes) => spend(steps + 2 ** 20, bytes);
  host.send(INFLATE, pages);
  assertEquals([[...device.held], pages.used], [[1], undefined]);
  for (let i = 0; i < 50 && pages.used === undefined; i++) await work.turn();
  assertEquals([[...device.held], pages.used, host.faults], [[1, 2, 3], 0, []]);
  host.send(INFLATE, new FakeChain(words(4, 5), NONE, 0));
  device.resetQueue(INFLATE);
  for (let i = 0; i < 5; i++) await work.turn();
  assertEquals([...device.held], [1, 2, 3, 4], "what was left of it is void");
});

Deno.test("balloon device: its queues are those of its features", () => {
  const names = (...withhold: number[]): string[] =>
    new BalloonDevice({ withhold }).queues.map(({ name }) => name);
  assertEquals(names(), ["inflate", "deflate", "stats", "free_page", "reporting"]);
  assertEquals(names(1, 3), ["inflate", "deflate", "reporting"]);
  const device = new BalloonDevice({ target: 5 });
  assertEquals([device.target, device.readConfig(0, 4), device.actual], [5, 5, 0]);
  assertEquals(device.queues.map(({ keepsBuffers }) => keepsBuffers), [
    false,
    false,
    true,
    false,
    false,
  ]);
  new FakeHost(device, FeatureSet.NONE);
  device.writeConfig(4, 4, 3);
  assertEquals(device.actual, 3);
});
