// Receive-side scaling and reported hashes: every number is typed from virtio 1.4 §5.1, hashes are those that
// the RSS specification publishes.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { NetDevice, type NetDeviceOptions } from "@vireo/emu";
import { VireoError } from "@vireo/hal";
import { Hub } from "../../emu/backends/hub.ts";
import { NO_OFFLOAD } from "../../emu/backends/net_backend.ts";
import { createNetDriver, type Net, type NetOptions } from "../../drivers/net/mod.ts";
import { address, flowFrame, RSS_KEY, RSS_VECTORS, toeplitz } from "../net/toeplitz.ts";
import { bootRecorded, type RecordedRig } from "./boot.ts";
import { F, MAC, Rig } from "./net_device_rig.ts";
import { at, le } from "./recorder.ts";

const SOON = { deadline: 5000 };
const TYPES = { IPV4: 1, TCPV4: 2, UDPV4: 4, IPV6: 8, TCPV6: 16, UDPV6: 32 } as const;
const EX = { IP: 64, TCP: 128, UDP: 256 } as const;
const EVERY = 0x1ff;
const CONTROL = [F.CTRL_VQ, F.MQ, F.RSS, F.HASH_REPORT];

/** The data of RSS_CONFIG: types, mask, unclassified queue, table, max_tx_vq, key. */
function rssConfig(
  types: number,
  table: readonly number[],
  options: Partial<Record<"unclassified" | "transmit" | "mask" | "length", number>> & {
    readonly key?: Uint8Array;
  } = {},
): number[] {
  const { unclassified = 0, transmit = 1, key = RSS_KEY, mask = table.length - 1 } = options;
  const { length = key.length } = options;
  const entries = table.map((queue) => [queue, 2] as const);
  return [...le(types, [mask, 2], [unclassified, 2], ...entries, [transmit, 2], [length, 1], key)];
}

/** The data of HASH_CONFIG. */
const hashConfig = (types: number, key: Uint8Array = RSS_KEY): number[] => [
  ...le(types, [0, 8], [key.length, 1], key),
];

const ok = async (rig: Rig, command: number, data: readonly number[]): Promise<void> =>
  assertEquals(await rig.control(4, command, ...data), 0);

Deno.test("spec net: the limits of hashing are there where it is offered (dev.net.config.7, .8, .12)", async () => {
  const limits = ({ driver }: Rig): number[] => [
    at(driver.config(17, 1), 0, 1),
    at(driver.config(18, 2), 0, 2),
    at(driver.config(20, 4), 0),
  ];
  await using both = new Rig([], { queuePairs: 2, hashReport: true });
  assertEquals(limits(both), [40, 128, EVERY]);
  await using rss = new Rig([], { queuePairs: 2 });
  assertEquals(limits(rss), [40, 128, EVERY]);
  await using report = new Rig([], { hashReport: true });
  assertEquals(limits(report), [40, 0, EVERY]);
  await using none = new Rig([]);
  assertEquals(limits(none), [0, 0, 0]);
  await using without = new Rig([], { queuePairs: 2, hashReport: true, without: [F.CTRL_VQ] });
  for (const bit of [F.RSS, F.HASH_REPORT]) assert(!without.model.features.has(bit));
});

Deno.test("spec net: hashes are those of the RSS specification, by type, on frames of every kind (dev.net.rss.1)", async () => {
  for (const vector of RSS_VECTORS) {
    const v4 = vector.source[0].includes(".");
    const input = [...address(vector.source[0]), ...address(vector.destination[0])];
    assertEquals(toeplitz(RSS_KEY, input), vector.ip);
    const tcp = flowFrame(vector, MAC, 6);
    const udp = flowFrame(vector, MAC, 17);
    const other = flowFrame(vector, MAC, 50);
    const [ip, withTcp, withUdp] = v4 ? [1, 2, 4] : [8, 16, 32];
    const first = v4 ? 1 : 4;
    const cases = [
      [EVERY, tcp, vector.ports, first + 1],
      [EVERY, udp, vector.ports, first + 2],
      [EVERY, other, vector.ip, first],
      [ip, tcp, vector.ip, first],
      [withUdp | ip, tcp, vector.ip, first],
      [withTcp, udp, 0, 0],
      [v4 ? 0x1f8 : 7, tcp, 0, 0],
      [0, tcp, 0, 0],
    ] as const;
    await using rig = new Rig([F.CTRL_VQ, F.HASH_REPORT], { hashReport: true });
    for (const [types, bytes, hash, report] of cases) {
      await ok(rig, 2, hashConfig(types));
      const [packet] = await rig.packets(bytes, NO_OFFLOAD, 4096, 1);
      // The basic header, hash_value, hash_report and padding.
      const header = le([0, 5], [0, 5], [1, 2], hash, [report, 2], [0, 2]);
      assertEquals(packet, le(header, bytes), `types ${types}`);
    }
    const fragment = tcp.slice();
    if (v4) {
      fragment[20] = 0x20;
      await ok(rig, 2, hashConfig(EVERY));
      const [packet] = await rig.packets(fragment, NO_OFFLOAD, 4096, 1);
      assertEquals(
        [at(packet!, 12), at(packet!, 16, 2)],
        [vector.ip, 1],
        "a fragment has no ports",
      );
      const tagged = Uint8Array.from([...tcp.slice(0, 12), 0x81, 0, 0, 5, ...tcp.slice(12)]);
      const [second] = await rig.packets(tagged, NO_OFFLOAD, 4096, 1);
      assertEquals([at(second!, 12), at(second!, 16, 2)], [vector.ports, 2], "behind a VLAN's tag");
    }
  }
});

Deno.test("spec net: IPv6 extension headers put other addresses into the hash, or are skipped (dev.net.rss.1)", async () => {
  const vector = RSS_VECTORS[5]!;
  const home = address("2001:db8::1");
  const final = address("2001:db8::2");
  // Destination options (PadN, home address) and a routing header of type 2, TCP behind them.
  const extensions = Uint8Array.from([
    ...[43, 2, 1, 2, 0, 0, 0xc9, 16, ...home],
    ...[6, 2, 2, 1, 0, 0, 0, 0, ...final],
  ]);
  const ports = [vector.source[1], vector.destination[1]].flatMap((
    port,
  ) => [port >> 8, port & 255]);
  const moved = [...home, ...final];
  const own = [...address(vector.source[0]), ...address(vector.destination[0])];
  const plain = Uint8Array.of(6, 0, 1, 4, 0, 0, 0, 0);
  const cases = [
    [EVERY, 60, extensions, [...moved, ...ports], 8],
    [EX.IP, 60, extensions, moved, 7],
    [EX.IP | EX.UDP, 60, extensions, moved, 7],
    [TYPES.TCPV6 | TYPES.IPV6, 60, extensions, [...own, ...ports], 5],
    [TYPES.IPV6, 60, extensions, own, 4],
    // A hop-by-hop header has no address, so that the own ones stay.
    [EVERY, 0, plain, [...own, ...ports], 8],
    // A fragment, though it is the first, has no ports; a whole packet in a fragment header has.
    [EVERY, 44, Uint8Array.of(6, 0, 0, 1, 0, 0, 0, 9), own, 7],
    [EVERY, 44, Uint8Array.of(6, 0, 0, 0, 0, 0, 0, 9), [...own, ...ports], 8],
    // Reserved bits of it have no meaning, nor have routing headers of other types.
    [EVERY, 44, Uint8Array.of(6, 0, 0, 6, 0, 0, 0, 9), [...own, ...ports], 8],
    [EVERY, 43, Uint8Array.of(6, 2, 0, 1, 0, 0, 0, 0, ...final), [...own, ...ports], 8],
    // A header that says it is longer than the packet is the last.
    [EVERY, 0, Uint8Array.of(6, 200, 1, 4, 0, 0, 0, 0), own, 7],
  ] as const;
  await using rig = new Rig([F.CTRL_VQ, F.HASH_REPORT], { hashReport: true });
  for (const [types, next, headers, input, report] of cases) {
    await ok(rig, 2, hashConfig(types));
    const bytes = flowFrame(vector, MAC, 6, { extensions: headers, next });
    const [packet] = await rig.packets(bytes, NO_OFFLOAD, 4096, 1);
    const seen = [at(packet!, 12), at(packet!, 16, 2)];
    assertEquals(seen, [toeplitz(RSS_KEY, input), report], `${types}, ${next}`);
  }
});

/** The receive queues that frames come on, one after the other. */
function queuesOf(rig: Rig, frames: readonly Uint8Array[]): number[] {
  const indices = rig.driver.queues.map((_, i) => i).slice(0, -1).filter((i) => i % 2 === 0);
  for (const index of indices) {
    const queue = rig.driver.queues[index]!;
    for (let i = 0; i < frames.length; i++) void queue.add([{ write: 200 }]);
    queue.kick();
  }
  return frames.map((bytes) => {
    const before = indices.map((index) => rig.driver.queues[index]!.usedIndex);
    rig.receive(bytes);
    const hit = indices.findIndex((index, i) => rig.driver.queues[index]!.usedIndex > before[i]!);
    return hit;
  });
}

Deno.test("spec net: the table has the queue at hash AND mask, other frames go to the unclassified one (dev.net.rss.1)", async () => {
  const frames = [
    ...RSS_VECTORS.slice(0, 5).map((vector) => flowFrame(vector, MAC, 6)),
    Uint8Array.from([...MAC, 2, 0, 0, 0, 0, 9, 0x88, 0xb5, ...new Uint8Array(46)]),
  ];
  const { RSS, MQ, CTRL_VQ } = F;
  await using rig = new Rig([RSS, MQ, CTRL_VQ], { queuePairs: 4 });
  const table = [3, 2, 1, 0, 1, 2, 3, 1];
  await ok(rig, 1, rssConfig(TYPES.TCPV4, table, { unclassified: 2, transmit: 4 }));
  const expected = RSS_VECTORS.slice(0, 5).map(({ ports }) => table[ports & 7]);
  assertEquals(queuesOf(rig, frames), [...expected, 2]);
  // One entry, and types that none of them has.
  await ok(rig, 1, rssConfig(TYPES.TCPV4, [3], { transmit: 1 }));
  assertEquals(queuesOf(rig, frames), [3, 3, 3, 3, 3, 0]);
  await ok(rig, 1, rssConfig(TYPES.IPV6, [3], { unclassified: 1 }));
  assertEquals(queuesOf(rig, frames), [1, 1, 1, 1, 1, 1]);
  // The last command decides: automatic steering with one pair.
  assertEquals(await rig.control(4, 0, 1, 0), 0);
  assertEquals(queuesOf(rig, frames), [0, 0, 0, 0, 0, 0]);
  await ok(rig, 1, rssConfig(TYPES.TCPV4, [3]));
  rig.init([RSS, MQ, CTRL_VQ]);
  assertEquals(queuesOf(rig, frames), [0, 0, 0, 0, 0, 0], "a reset forgets the table");
});

Deno.test("spec net: a frame whose queue is in reset is dropped, not sent elsewhere (dev.net.rss.2)", async () => {
  const { RSS, CTRL_VQ } = F;
  await using rig = new Rig([RSS, CTRL_VQ, 40], { queuePairs: 2 });
  await ok(rig, 1, rssConfig(TYPES.TCPV4, [1], { transmit: 2 }));
  const tcp = flowFrame(RSS_VECTORS[0]!, MAC, 6);
  assertEquals(queuesOf(rig, [tcp]), [1]);
  // QueueSel and QueueReset.
  rig.driver.slot.write32(0x30, 2);
  rig.driver.slot.write32(0xc0, 1);
  const { rxFrames, rxOverruns } = rig.model.stats;
  const first = rig.driver.queues[0]!;
  void first.add([{ write: 200 }]);
  first.kick();
  rig.receive(tcp);
  assertEquals([rig.model.stats.rxFrames, rig.model.stats.rxOverruns], [rxFrames, rxOverruns + 1]);
});

Deno.test("spec net: a configuration that cannot be is refused, and the one before stays (dev.net.rss.1)", async () => {
  await using rig = new Rig(CONTROL, { queuePairs: 2, hashReport: true });
  await ok(rig, 1, rssConfig(TYPES.TCPV4, [1, 1], { transmit: 2 }));
  const refused: [number, number[]][] = [
    [1, rssConfig(0x200, [0])],
    [1, rssConfig(1, [0, 1, 0])],
    [1, rssConfig(1, new Array<number>(256).fill(0))],
    [1, rssConfig(1, [0], { mask: 0xffff })],
    [1, rssConfig(1, [2, 0])],
    [1, rssConfig(1, [0], { unclassified: 2 })],
    [1, rssConfig(1, [0], { transmit: 0 })],
    [1, rssConfig(1, [0], { transmit: 3 })],
    [1, rssConfig(1, [0], { key: new Uint8Array(41) })],
    [1, rssConfig(1, [0], { key: new Uint8Array(0) })],
    [1, rssConfig(1, [0], { length: 39 })],
    [1, rssConfig(1, [0]).slice(0, -1)],
    [1, []],
    [2, hashConfig(0x200)],
    [2, hashConfig(1, new Uint8Array(0))],
    [2, hashConfig(1, new Uint8Array(41))],
    [2, hashConfig(1).slice(0, -1)],
    [2, []],
    [3, hashConfig(1)],
  ];
  for (const [command, data] of refused) {
    assertEquals(await rig.control(4, command, ...data), 1, `${command}: ${data}`);
    assertEquals(queuesOf(rig, [flowFrame(RSS_VECTORS[0]!, MAC, 6)]), [1]);
  }
  await using plain = new Rig([F.CTRL_VQ, F.MQ], { queuePairs: 2, hashReport: true });
  assertEquals(await plain.control(4, 1, ...rssConfig(1, [0])), 1, "RSS was not negotiated");
  assertEquals(await plain.control(4, 2, ...hashConfig(1)), 1, "nor HASH_REPORT");
});

interface Options extends Partial<NetDeviceOptions> {
  readonly filter?: readonly number[];
  readonly driver?: NetOptions;
}

type Booted = RecordedRig<"net", NetDevice, Net> & {
  readonly hub: Hub;
};

async function boot({ filter = [], driver, ...device }: Options = {}): Promise<Booted> {
  const hub = new Hub();
  const model = new NetDevice({ backend: hub.port(), mac: MAC, ...device });
  const rig = await bootRecorded("net", model, createNetDriver(driver), { without: filter });
  return { ...rig, hub };
}

/** What the driver gave to the control queue, behind the queue pairs. */
const commands = ({ seen, model }: Booted): Uint8Array[] =>
  seen.chains.filter(({ queue }) => queue === 2 * model.maxPairs).map(({ read }) => read);

Deno.test("spec net: RSS_CONFIG as it is on the wire, with what the device can and only then (drv.net.rss.1-5)", async () => {
  await using rig = await boot({ queuePairs: 4, hashReport: true, driver: { pairs: 3 } });
  const { net } = rig;
  assertEquals(net.hashLimits, { keySize: 40, tableLength: 128, types: EVERY });
  const table = [2, 1, 0, 1];
  await net.setRss({ types: 3, key: RSS_KEY, table, unclassified: 2, pairs: 3, ...SOON });
  assertEquals(
    commands(rig).at(-1),
    le([4, 1], [1, 1], Uint8Array.from(rssConfig(3, table, { unclassified: 2, transmit: 3 }))),
  );
  const before = commands(rig).length;
  const wrong = [
    { table: [0, 1, 2] },
    { table: [] },
    { table: new Array<number>(256).fill(0) },
    { table: [3] },
    { table: [2], pairs: 2 },
    { table: [-1] },
    { unclassified: 3 },
    { pairs: 0 },
    { pairs: 4 },
    { types: 0x200 },
    { types: -1 },
    { key: new Uint8Array(0) },
    { key: new Uint8Array(41) },
  ];
  for (const options of wrong) {
    await assertRejects(() => net.setRss({ ...options, ...SOON }), RangeError, "Cannot");
  }
  assertEquals(commands(rig).length, before);
  // Without options: all types, queues by turns, a random key.
  await net.setRss(SOON);
  const sent = commands(rig).at(-1)!;
  assertEquals([at(sent, 2), at(sent, 6, 2), at(sent, 8, 2)], [EVERY, 127, 0]);
  const entries = Array.from({ length: 128 }, (_, i) => at(sent, 10 + 2 * i, 2));
  assertEquals(entries, entries.map((_, i) => i % 3));
  assertEquals([at(sent, 266, 2), sent[268], sent.length], [3, 40, 309]);
  assert(sent.subarray(269).some((byte) => byte !== 0));

  await using without = await boot({ queuePairs: 2, filter: [F.RSS] });
  const error = await assertRejects(() => without.net.setRss(SOON), VireoError);
  assertEquals(error.code, "UNSUPPORTED");
  assertEquals(commands(without).map(([, command]) => command), [0]);
});

Deno.test("spec net: a device that has RSS alone has its queues enabled by it (drv.net.rss.2; drv.net.mq.3)", async () => {
  await using rig = await boot({ queuePairs: 2, filter: [F.MQ] });
  assertEquals(rig.net.queuePairs, 2);
  assertEquals(commands(rig).map(([group, command]) => [group, command]), [[4, 1]]);
});

Deno.test("spec net: limits below what must be are not used, nor HASH_REPORT without CTRL_VQ (drv.net.config.12)", async () => {
  const offers = (hash: NetDevice): boolean[] =>
    [F.RSS, F.HASH_REPORT].map((b) => hash.features.has(b));
  for (
    const [field, value, kept] of [[17, 39, [false, false]], [18, 127, [false, true]]] as const
  ) {
    const hub = new Hub();
    const model = new NetDevice({ backend: hub.port(), queuePairs: 2, hashReport: true });
    assertEquals(offers(model), [true, true]);
    const read = model.readConfig.bind(model);
    model.readConfig = (offset, width) => offset === field ? value : read(offset, width);
    await using rig = await bootRecorded("net", model, createNetDriver());
    assertEquals([F.RSS, F.HASH_REPORT].map((bit) => rig.net.device.has(bit)), [...kept]);
  }
  await using rig = await boot({ hashReport: true, without: [F.CTRL_VQ] });
  assertEquals(rig.net.device.has(F.HASH_REPORT), false);
});

Deno.test("spec net: reported hashes reach the receiver, and a recovery asks for them again (dev.net.rss.1; drv.net.tx.1)", async () => {
  for (const filter of [[F.RSS], [F.RSS, F.MRG_RXBUF], []]) {
    await using rig = await boot({ hashReport: true, queuePairs: 2, filter });
    const { net } = rig;
    const wire = rig.hub.port();
    const [vector] = RSS_VECTORS;
    const bytes = flowFrame(vector!, MAC, 6);
    const receive = async () => {
      wire.send(bytes, 0, bytes.length, NO_OFFLOAD);
      wire.flush();
      const { hash, hashReport, queue, bytes: got } = await net.receive(SOON);
      assertEquals(got, bytes);
      return [hash, hashReport, queue];
    };
    const none = await receive();
    assertEquals(none.slice(0, 2), [0, 0], "nothing was configured");
    const byRss = filter.length === 0;
    if (byRss) await net.setRss({ types: 2, key: RSS_KEY, table: [1], ...SOON });
    else await net.setHash({ types: 2, key: RSS_KEY, ...SOON });
    const expected = [0x51ccc178, 2, byRss ? 1 : none[2]];
    assertEquals(await receive(), expected);
    await rig.bus.freeze();
    await rig.bus.restore();
    assertEquals(await receive(), expected);
    const state = rig.model.snapshot();
    if (!byRss) {
      // A change of pairs, which the device takes for all of the class, keeps the hash.
      await net.setPairs(1, SOON);
      assertEquals(await receive(), [0x51ccc178, 2, 0]);
    } else {
      await net.setPairs(2, SOON);
      assertEquals((await receive()).slice(0, 2), [0, 0]);
    }
    rig.model.restore(state);
    assertEquals(await receive(), expected, "a snapshot has it");
    // The transmit header is as long, and zero.
    const frame = new Uint8Array(60).fill(3);
    await net.send(frame, SOON);
    net.tx().kick();
    const { read } = rig.seen.chains.findLast(({ queue }) => queue === 1)!;
    assertEquals(read, le(new Uint8Array(20), frame));
  }
});

Deno.test("spec net: hashes of devices that lie are numbers at most (drv.net.rx.1)", async () => {
  await using rig = await boot({ hashReport: true });
  const got: number[][] = [];
  rig.net.onFrame = ({ hash, hashReport }) => got.push([hash, hashReport]);
  const queue = rig.machine.device(0).queue(0)!;
  const frame = flowFrame(RSS_VECTORS[0]!, MAC, 6);
  for (const [value, report] of [[0xffffffff, 9], [5, 10], [5, 0x101], [5, 0], [7, 1]] as const) {
    const chain = queue.pop()!;
    chain.write(le([0, 5], [0, 5], [1, 2], value, [report, 2], [0xffff, 2], frame));
    queue.push(chain);
    queue.signal();
    rig.net.poll();
  }
  assertEquals(got, [[0xffffffff, 9], [0, 0], [0, 0], [0, 0], [7, 1]]);
});
