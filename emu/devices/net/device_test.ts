import { assert, assertEquals, assertMatch, assertThrows } from "@std/assert";
import { Feature, FeatureSet, NetFeature } from "@vireo/hal";
import { Hub } from "../../backends/hub.ts";
import { Accept, type NetBackend, NO_OFFLOAD, Offload } from "../../backends/net_backend.ts";
import { NetDevice } from "./device.ts";
import type { NetDeviceOptions } from "./options.ts";
import { FakeChain, FakeContext, type FakeDeviceQueue } from "./fake_ring_test.ts";

const MAC = Uint8Array.of(0x52, 0x54, 0, 0x12, 0x34, 0x56);
const BROADCAST = Uint8Array.of(255, 255, 255, 255, 255, 255);
const MULTICAST = Uint8Array.of(0x01, 0, 0x5e, 0, 0, 1);
const OTHER = Uint8Array.of(0x52, 0x54, 0, 0, 0, 9);

interface Sent {
  readonly bytes: Uint8Array;
  readonly gsoType: number;
  readonly needsCsum: boolean;
}

/** A wire that keeps what was sent, and a device on it that was activated. */
class Rig implements Disposable {
  readonly sent: Sent[] = [];
  /** Ends of batches. */
  flushes = 0;
  readonly device: NetDevice;
  readonly context: FakeContext;

  constructor(
    features: readonly number[],
    options: Partial<NetDeviceOptions> & { accepts?: number; legacy?: boolean } = {},
  ) {
    const { accepts = Accept.ALL, legacy = false, ...rest } = options;
    const sent = this.sent;
    const backend: NetBackend = {
      name: "test",
      accepts,
      connect: () => {},
      send: (bytes, offset, length, { gsoType, needsCsum }) =>
        sent.push({ bytes: bytes.slice(offset, offset + length), gsoType, needsCsum }),
      flush: () => void this.flushes++,
      [Symbol.dispose]: () => {},
    };
    this.device = new NetDevice({ backend, mac: MAC, ...rest });
    const set = legacy ? FeatureSet.of(...features) : FeatureSet.of(Feature.VERSION_1, ...features);
    this.context = new FakeContext(set, this.device.queues.length, legacy);
    this.device.attach(this.context);
    this.device.activate(this.context);
  }

  queue(index: number): FakeDeviceQueue {
    return this.context.queues.get(index)!;
  }

  /** Puts a receive buffer in; its bytes come back. */
  post(size: number, index = 0): Uint8Array {
    const bytes = new Uint8Array(size);
    const queue = this.queue(index);
    queue.available.push(new FakeChain(queue.used.length + queue.available.length, [], [bytes]));
    this.device.notify(index);
    return bytes;
  }

  transmit(header: readonly number[], frame: Uint8Array, index = 1): void {
    this.queue(index).available.push(new FakeChain(0, [Uint8Array.from(header), frame], []));
    this.device.notify(index);
  }

  receive(frame: Uint8Array, offload: Offload = NO_OFFLOAD): void {
    this.device.receive(frame, 0, frame.length, offload);
    this.device.flush();
  }

  /** Runs a control command; gives the ack. */
  control(bytes: readonly number[], index = 2): number {
    const ack = Uint8Array.of(0xee);
    this.queue(index).available.push(new FakeChain(0, [Uint8Array.from(bytes)], [ack]));
    this.device.notify(index);
    return ack[0]!;
  }

  [Symbol.dispose](): void {
    this.device[Symbol.dispose]();
  }
}

function frameTo(to: Uint8Array, length = 60, type: readonly number[] = [0x88, 0xb5]): Uint8Array {
  const frame = Uint8Array.from({ length }, (_, i) => i * 7);
  frame.set(to, 0);
  frame.set(OTHER, 6);
  frame.set(type, 12);
  return frame;
}

const HEADER = new Array<number>(12).fill(0);

Deno.test("net device: the config space reads as virtio 1.4 §5.1.4 says", () => {
  using rig = new Rig([], { mtu: 9000, queuePairs: 4, speed: 10000, duplex: 1 });
  const { device } = rig;
  const bytes = Array.from({ length: 17 }, (_, i) => device.readConfig(i, 1));
  assertEquals(bytes, [...MAC, 1, 0, 4, 0, 0x28, 0x23, 0x10, 0x27, 0, 0, 1]);
  assertEquals(device.readConfig(10, 2), 9000);
  assertEquals(device.readConfig(12, 4), 10000);
});

Deno.test("net device: options out of range are refused", () => {
  const backend = new Hub().port();
  assertThrows(() => new NetDevice({ backend, mtu: 67 }), RangeError, "mtu");
  assertThrows(() => new NetDevice({ backend, queuePairs: 0 }), RangeError, "queuePairs");
  assertThrows(() => new NetDevice({ backend, mac: MULTICAST }), TypeError, "unicast");
  assertThrows(() => new NetDevice({ backend, mac: "52:54" }), TypeError, "Ethernet address");
});

Deno.test("net device: what depends on a withheld feature is not offered either", () => {
  const backend = new Hub().port();
  const device = new NetDevice({ backend, without: [NetFeature.CTRL_VQ, NetFeature.CSUM] });
  for (const bit of [NetFeature.CTRL_RX, NetFeature.HOST_TSO4, NetFeature.HOST_ECN]) {
    assert(!device.features.has(bit), `bit ${bit}`);
  }
  assertEquals(device.queues.map(({ name }) => name), ["receiveq1", "transmitq1"]);
  const refused = FeatureSet.of(NetFeature.GUEST_TSO4);
  assert(!device.acceptFeatures(refused));
  assert(device.acceptFeatures(refused.with(NetFeature.GUEST_CSUM)));
});

Deno.test("net device: a frame goes out without its header, and in with one", () => {
  using rig = new Rig([]);
  const out = frameTo(OTHER, 100);
  rig.transmit(HEADER, out);
  assertEquals(rig.sent.map(({ bytes }) => bytes), [out]);
  const buffer = rig.post(2000);
  const frame = frameTo(MAC, 99);
  rig.receive(frame);
  assertEquals([...buffer.subarray(0, 12)], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
  assertEquals(buffer.subarray(12, 12 + 99), frame);
  assertEquals(rig.queue(0).used, [{ head: 0, written: 111 }]);
  assertEquals(rig.queue(0).signals, 1);
});

Deno.test("net device: a legacy header has 10 bytes without MRG_RXBUF, 12 with it", () => {
  for (const [features, size] of [[[], 10], [[NetFeature.MRG_RXBUF], 12]] as const) {
    using rig = new Rig(features, { legacy: true });
    rig.transmit(new Array<number>(size).fill(0), frameTo(OTHER));
    assertEquals(rig.sent[0]?.bytes, frameTo(OTHER));
    rig.post(2000);
    rig.receive(frameTo(MAC));
    assertEquals(rig.queue(0).used[0]?.written, size + 60);
  }
});

Deno.test("net device: mergeable buffers are filled in full and seen at once", () => {
  using rig = new Rig([NetFeature.MRG_RXBUF]);
  const buffers = [rig.post(100), rig.post(100), rig.post(100)];
  const frame = frameTo(MAC, 250);
  rig.receive(frame);
  assertEquals(rig.queue(0).used.map(({ written }) => written), [100, 100, 62]);
  assertEquals(rig.queue(0).batches, [3]);
  assertEquals(buffers[0]![10], 3);
  const whole = [...buffers[0]!.subarray(12), ...buffers[1]!, ...buffers[2]!.subarray(0, 62)];
  assertEquals(whole, [...frame]);
});

Deno.test("net device: a frame that just fills its mergeable buffers takes no other one", () => {
  for (const [length, written] of [[88, [100]], [188, [100, 100]], [189, [100, 100, 1]]] as const) {
    using rig = new Rig([NetFeature.MRG_RXBUF]);
    const [first] = [rig.post(100), rig.post(100), rig.post(100)];
    rig.receive(frameTo(MAC, length));
    assertEquals(rig.queue(0).used.map(({ written }) => written), [...written]);
    assertEquals(first![10], written.length);
  }
});

Deno.test("net device: a reset forgets the buffers that it held, and the frames that it did not report", () => {
  using rig = new Rig([NetFeature.MRG_RXBUF]);
  const { device } = rig;
  const again = (): FakeDeviceQueue => {
    device.reset();
    const context = new FakeContext(rig.context.features, device.queues.length, false);
    device.activate(context);
    return context.queues.get(0)!;
  };
  // The first buffer waits for another one.
  rig.post(40);
  rig.receive(frameTo(MAC));
  const next = again();
  next.available.push(new FakeChain(0, [], [new Uint8Array(100)]));
  device.notify(0);
  rig.receive(frameTo(MAC));
  assertEquals([next.used.map(({ written }) => written), next.signals], [[72], 1]);
  // A frame of a batch that did not end.
  next.available.push(new FakeChain(1, [], [new Uint8Array(100)]));
  device.receive(frameTo(MAC), 0, 60, NO_OFFLOAD);
  assertEquals([next.used.length, next.signals], [2, 1]);
  const last = again();
  device.flush();
  assertEquals([next.signals, last.signals], [1, 0]);
});

Deno.test("net device: commands that come while others are carried out are, too, without a notification", () => {
  using rig = new Rig([NetFeature.CTRL_VQ, NetFeature.CTRL_RX]);
  const queue = rig.queue(2);
  const count = queue.size + 1;
  for (let i = 0; i < count; i++) {
    queue.available.push(new FakeChain(i, [Uint8Array.of(0, 0, 1)], [new Uint8Array(1)]));
  }
  rig.device.notify(2);
  assertEquals([queue.used.length, queue.signals], [count, 1]);
});

Deno.test("net device: flows are forgotten when the number of pairs is set, though it be the same", () => {
  using rig = new Rig([NetFeature.CTRL_VQ, NetFeature.MQ], { queuePairs: 2 });
  const setPairs = (): void => assertEquals(rig.control([4, 0, 2, 0], 4), 0);
  const frame = (to: Uint8Array, from: Uint8Array): Uint8Array => {
    const bytes = frameTo(to);
    bytes.set(from, 6);
    return bytes;
  };
  /** The pair that a frame of the flow comes in on. */
  const chosen = (): number => {
    const before = rig.queue(2).used.length;
    for (const index of [0, 2]) rig.post(200, index);
    rig.receive(frame(MAC, OTHER));
    return rig.queue(2).used.length - before;
  };
  setPairs();
  const own = chosen();
  rig.transmit(Array<number>(12).fill(0), frame(OTHER, MAC), 2 * (1 - own) + 1);
  assertEquals(chosen(), 1 - own);
  setPairs();
  assertEquals(chosen(), own);
});

Deno.test("net device: frames wait for buffers, up to the backlog", () => {
  using rig = new Rig([NetFeature.MRG_RXBUF], { backlog: 2 });
  for (let i = 0; i < 3; i++) rig.receive(frameTo(MAC, 60 + i));
  assertEquals(rig.device.stats.rxOverruns, 1);
  rig.post(40);
  assertEquals(rig.queue(0).used.length, 0, "the first frame needs two such buffers");
  rig.post(40);
  rig.post(200);
  assertEquals(rig.queue(0).used.map(({ written }) => written), [40, 32, 73]);
});

Deno.test("net device: a frame that no buffer can hold is dropped, the buffer stays", () => {
  using rig = new Rig([]);
  rig.post(100);
  rig.receive(frameTo(MAC, 90));
  assertEquals(rig.device.stats.rxSize, 1);
  rig.receive(frameTo(MAC, 60));
  assertEquals(rig.queue(0).used.map(({ written }) => written), [72]);
});

Deno.test("net device: with MTU nothing above it comes in", () => {
  using rig = new Rig([NetFeature.MTU], { mtu: 100 });
  for (const [length, type, drops] of [[114, 0x08, 0], [115, 0x08, 1], [118, 0x81, 1]] as const) {
    rig.post(2000);
    rig.receive(frameTo(MAC, length, [type, 0]));
    assertEquals(rig.device.stats.rxSize, drops, `${length}`);
  }
});

const FILTERED = [NetFeature.CTRL_VQ, NetFeature.CTRL_RX, NetFeature.CTRL_RX_EXTRA];

Deno.test("net device: every receive mode filters as virtio 1.4 §5.1.6.5.1 says", () => {
  const frames = [MAC, OTHER, MULTICAST, BROADCAST];
  // Modes that are on, and which of the four frames pass.
  const table: readonly (readonly [readonly number[], string])[] = [
    [[], "1001"],
    [[0], "1111"],
    [[1], "1011"],
    [[2], "1101"],
    [[3], "1001"],
    [[1, 3], "1001"],
    [[4], "0001"],
    [[2, 4], "0001"],
    [[5], "1000"],
    [[1, 5], "1010"],
    [[0, 3, 4, 5], "1111"],
  ];
  for (const [modes, expected] of table) {
    using rig = new Rig(FILTERED);
    for (const mode of modes) assertEquals(rig.control([0, mode, 1]), 0);
    let seen = "";
    for (const to of frames) {
      rig.post(2000);
      const before = rig.queue(0).used.length;
      rig.receive(frameTo(to));
      seen += rig.queue(0).used.length - before;
    }
    assertEquals(seen, expected, `modes ${modes}`);
    for (const mode of modes) assertEquals(rig.control([0, mode, 0]), 0);
    assert(!rig.device.filter.passes(frameTo(OTHER), 0, 60), `modes ${modes} off`);
  }
});

Deno.test("net device: the address table adds addresses and is replaced", () => {
  using rig = new Rig(FILTERED);
  const passes = (to: Uint8Array): boolean => rig.device.filter.passes(frameTo(to), 0, 60);
  assertEquals(rig.control([1, 0, 1, 0, 0, 0, ...OTHER, 1, 0, 0, 0, ...MULTICAST]), 0);
  assert(passes(OTHER) && passes(MULTICAST));
  assertEquals(rig.control([1, 0, 0, 0, 0, 0, 0, 0, 0, 0]), 0);
  assert(!passes(OTHER) && !passes(MULTICAST));
  // Too few bytes, bytes left over, too many entries.
  assertEquals(rig.control([1, 0, 1, 0, 0, 0, ...OTHER]), 1);
  assertEquals(rig.control([1, 0, 2, 0, 0, 0, ...OTHER, 0, 0, 0, 0]), 1);
  assertEquals(rig.control([1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7]), 1);
  assertEquals(rig.control([1, 0, 255, 255, 255, 255]), 1);
});

Deno.test("net device: the address is set, seen in config, and reset", () => {
  using rig = new Rig([NetFeature.CTRL_VQ, NetFeature.CTRL_RX, NetFeature.CTRL_MAC_ADDR]);
  assertEquals(rig.control([1, 1, ...OTHER]), 0);
  assertEquals(rig.device.mac, OTHER);
  assert(rig.device.filter.passes(frameTo(OTHER), 0, 60));
  assertEquals(rig.control([1, 1, ...OTHER.subarray(1)]), 1);
  rig.device.reset();
  assertEquals(rig.device.mac, MAC);
});

Deno.test("net device: only a legacy driver writes the address to config", () => {
  using modern = new Rig([]);
  modern.device.writeConfig(0, 1, 0x02);
  assertEquals(modern.device.mac, MAC);
  using legacy = new Rig([], { legacy: true });
  legacy.device.writeConfig(0, 1, 0x02);
  legacy.device.writeConfig(6, 1, 0xff);
  assertEquals(legacy.device.mac[0], 0x02);
  assertEquals(legacy.device.readConfig(6, 2), 1);
});

Deno.test("net device: VLAN ids are added and removed", () => {
  using rig = new Rig([NetFeature.CTRL_VQ, NetFeature.CTRL_VLAN]);
  const tagged = frameTo(MAC, 60, [0x81, 0, 0x60, 100]);
  const passes = (): boolean => rig.device.filter.passes(tagged, 0, 60);
  assert(!passes());
  // A tag that is not whole is none.
  assertEquals([17, 18].map((length) => rig.device.filter.passes(tagged, 0, length)), [
    true,
    false,
  ]);
  assertEquals(rig.control([2, 0, 100, 0]), 0);
  assert(passes());
  assertEquals(rig.control([2, 1, 100, 0]), 0);
  assert(!passes());
  assertEquals(rig.control([2, 0, 0, 0x10]), 1, "4096");
  assertEquals(rig.control([2, 2, 100, 0]), 1, "no such command");
  // The id is the lower 12 bits, wherever the frame lies.
  const wide = new Uint8Array(100);
  wide.set(frameTo(MAC, 60, [0x81, 0, 0xe1, 0x23]), 30);
  assert(!rig.device.filter.passes(wide, 30, 60));
  assertEquals(rig.control([2, 0, 0x23, 0x01]), 0);
  assert(rig.device.filter.passes(wide, 30, 60));
  using without = new Rig([]);
  assert(without.device.filter.passes(tagged, 0, 60));
});

Deno.test("net device: announce sets a bit that the ack clears", () => {
  using rig = new Rig([NetFeature.CTRL_VQ, NetFeature.STATUS, NetFeature.GUEST_ANNOUNCE]);
  assert(rig.device.announce());
  assertEquals(rig.device.readConfig(6, 2), 3);
  assertEquals(rig.context.changes, 1);
  assertEquals(rig.control([3, 0]), 0);
  assertEquals(rig.device.readConfig(6, 2), 1);
  using without = new Rig([]);
  assert(!without.device.announce());
});

Deno.test("net device: the link goes down and takes frames with it", () => {
  using rig = new Rig([NetFeature.STATUS]);
  rig.device.setLink(false);
  rig.device.setLink(false);
  assertEquals(rig.context.changes, 1);
  assertEquals(rig.device.readConfig(6, 2), 0);
  rig.transmit(HEADER, frameTo(OTHER));
  rig.receive(frameTo(MAC));
  assertEquals([rig.device.stats.txDown, rig.device.stats.rxDown, rig.sent.length], [1, 1, 0]);
  rig.device.setLink(true);
  rig.device.reset();
  rig.receive(frameTo(MAC));
  assertEquals(rig.device.stats.rxDown, 2, "after a reset");
});

Deno.test("net device: what comes in before there is a driver is dropped, and nothing goes out", () => {
  using device = new NetDevice({ backend: new Hub().port() });
  device.notify(0);
  device.notify(1);
  device.receive(frameTo(MAC), 0, 60, NO_OFFLOAD);
  assertEquals([device.stats.rxDown, device.stats.rxOverruns, device.announce()], [1, 0, false]);
});

Deno.test("net device: pairs are set within bounds, flows come back on their queue, and without any are dropped (dev.net.mq.4)", () => {
  using rig = new Rig([NetFeature.CTRL_VQ, NetFeature.MQ], { queuePairs: 4 });
  const control = (bytes: readonly number[]): number => rig.control(bytes, 8);
  assertEquals(control([4, 0, 5, 0]), 1);
  assertEquals(control([4, 0, 0, 0]), 1);
  assertEquals(control([4, 0, 4, 0]), 0);
  assertEquals(rig.device.pairs, 4);
  const out = frameTo(OTHER);
  out.set(MAC, 6);
  const back = frameTo(MAC);
  for (const pair of [2, 0, 3, 1]) {
    rig.transmit(HEADER, out, 2 * pair + 1);
    rig.post(2000, 2 * pair);
    rig.receive(back);
    assertEquals(rig.queue(2 * pair).used.length, 1, `pair ${pair}`);
  }
  // A queue in reset is passed over, and without any queue the frame is dropped.
  rig.context.queues.delete(2);
  for (const pair of [0, 2, 3]) rig.post(2000, 2 * pair);
  rig.receive(back);
  for (const pair of [0, 2, 3]) rig.context.queues.delete(2 * pair);
  rig.receive(back);
  assertEquals(rig.device.stats.rxOverruns, 1);
});

Deno.test("net device: receive offloads are set within what was negotiated", () => {
  const features = [NetFeature.GUEST_CSUM, NetFeature.GUEST_TSO4];
  using rig = new Rig([NetFeature.CTRL_VQ, NetFeature.CTRL_GUEST_OFFLOADS, ...features]);
  assertEquals(rig.device.accepts, Accept.CSUM | Accept.TSO4);
  assertEquals(rig.control([5, 0, 2, 0, 0, 0, 0, 0, 0, 0]), 0);
  assertEquals(rig.device.accepts, Accept.CSUM);
  assertEquals(rig.control([5, 0, 0, 1, 0, 0, 0, 0, 0, 0]), 1, "TSO6");
  assertEquals(rig.control([5, 0, 2, 0, 0, 0, 1, 0, 0, 0]), 1, "bit 32");
  assertEquals(rig.control([5, 0, 2, 0, 0, 0]), 1, "short");
});

Deno.test("net device: commands that were not negotiated, or do not exist, are refused", () => {
  using rig = new Rig([NetFeature.CTRL_VQ]);
  const commands = [[0, 0, 1], [0, 6, 1], [1, 0, 0, 0, 0, 0, 0, 0, 0, 0], [1, 1, ...OTHER]];
  for (const command of [...commands, [2, 0, 1, 0], [3, 0], [4, 0, 1, 0], [5, 0], [9, 9]]) {
    assertEquals(rig.control(command), 1, `${command}`);
  }
  assertEquals(rig.device.stats.controlErrors, 9);
});

Deno.test("net device: guest faults go through the one door", () => {
  const cases: readonly (readonly [RegExp, (rig: Rig) => void])[] = [
    [/transmitq1: 3 readable/, (rig) => rig.transmit([0, 0, 0], new Uint8Array(0))],
    [/receiveq1: a buffer of 5/, (rig) => {
      rig.post(5);
      rig.receive(frameTo(MAC));
    }],
    [/controlq/, (rig) => rig.control([1])],
  ];
  for (const [expected, act] of cases) {
    using rig = new Rig([NetFeature.CTRL_VQ]);
    act(rig);
    assertEquals(rig.context.faults.length, 1);
    assertMatch(rig.context.faults[0]!, expected);
  }
});

Deno.test("net device: malformed headers are dropped and counted", () => {
  const csum = [1, 0, 0, 0, 0, 0, 34, 0, 6, 0, 0, 0];
  const cases: readonly (readonly [readonly number[], readonly number[], number])[] = [
    [[], csum, 60], // CSUM not negotiated
    [[NetFeature.CSUM], [1, 0, 0, 0, 0, 0, 60, 0, 0, 0, 0, 0], 60],
    [[NetFeature.CSUM], [1, 0, 0, 0, 0, 0, 34, 0, 25, 0, 0, 0], 60],
    [[NetFeature.CSUM], [1, 1, 54, 0, 100, 0, 34, 0, 16, 0, 0, 0], 60], // HOST_TSO4 not negotiated
    [[NetFeature.CSUM, NetFeature.HOST_TSO4], [1, 1, 54, 0, 0, 0, 34, 0, 16, 0, 0, 0], 60],
    [[NetFeature.CSUM, NetFeature.HOST_TSO4], [1, 0x81, 54, 0, 9, 0, 34, 0, 16, 0, 0, 0], 60],
    [[NetFeature.CSUM, NetFeature.HOST_TSO4], [0, 1, 54, 0, 9, 0, 34, 0, 16, 0, 0, 0], 60],
    [[NetFeature.CSUM, NetFeature.HOST_TSO4], [1, 2, 54, 0, 9, 0, 34, 0, 16, 0, 0, 0], 60],
    [[], HEADER, 13],
    [[], HEADER, 65590],
  ];
  for (const [features, header, length] of cases) {
    using rig = new Rig(features);
    rig.transmit(header, frameTo(OTHER, Math.max(length, 60)).subarray(0, length));
    assertEquals([rig.device.stats.txMalformed, rig.sent.length], [1, 0], `${features} ${header}`);
    assertEquals(rig.queue(1).used.length, 1, "the buffer comes back");
  }
  using rig = new Rig([NetFeature.CSUM]);
  rig.transmit([...csum], frameTo(OTHER));
  assert(rig.sent[0]?.needsCsum, "the good one passes");
});

Deno.test("net device: without GUEST_CSUM the header's flags stay 0", () => {
  for (const [features, flags] of [[[], 0], [[NetFeature.GUEST_CSUM], 2]] as const) {
    using rig = new Rig(features);
    const buffer = rig.post(2000);
    const offload = new Offload();
    offload.dataValid = true;
    rig.receive(frameTo(MAC), offload);
    assertEquals(buffer[0], flags);
  }
});

Deno.test("net device: a snapshot brings filter, address and pairs back", () => {
  const features = [...FILTERED, NetFeature.MQ, NetFeature.CTRL_MAC_ADDR];
  using rig = new Rig(features, { queuePairs: 2 });
  rig.control([1, 1, ...OTHER], 4);
  rig.control([4, 0, 2, 0], 4);
  rig.control([0, 1, 1], 4);
  rig.device.setLink(false);
  const state = JSON.parse(JSON.stringify(rig.device.snapshot()));
  using other = new Rig(features, { queuePairs: 2 });
  other.device.restore(state);
  assertEquals(other.device.snapshot(), rig.device.snapshot());
  assert(other.device.filter.passes(frameTo(MULTICAST), 0, 60));
});

Deno.test("net device: a front end that serves the control queue uses pairs from the first on, without a gap", () => {
  using rig = new Rig([NetFeature.MQ], { queuePairs: 4 });
  const { device } = rig;
  const enable = (queue: number, enabled = true): number => {
    device.setQueueEnabled(queue, enabled);
    return device.pairs;
  };
  assertEquals([enable(0), enable(1), enable(3), enable(4)], [1, 1, 1, 1]);
  assertEquals([enable(2), enable(6), enable(8), enable(9)], [3, 4, 4, 4]);
  assertEquals([enable(4, false), enable(6, false), enable(4)], [2, 2, 3]);
  assertEquals([enable(2, false), enable(0, false)], [1, 1]);
  device.reset();
  assertEquals([device.pairs, enable(4), enable(2)], [1, 1, 3]);
});

Deno.test("net device: a legacy driver writes the six bytes of the address, in any width", () => {
  using rig = new Rig([NetFeature.CTRL_VQ, NetFeature.CTRL_RX], { legacy: true });
  const { device } = rig;
  device.writeConfig(0, 4, 0x04030202);
  device.writeConfig(4, 2, 0x0605);
  assertEquals([...device.mac], [2, 2, 3, 4, 5, 6]);
  assert(device.filter.passes(frameTo(device.mac), 0, 60));
  for (const [offset, width] of [[4, 4], [5, 2], [6, 1], [8, 4]] as const) {
    device.writeConfig(offset, width, 0x7e7e7e7e);
  }
  assertEquals([...device.mac], [2, 2, 3, 4, 5, 6]);
  device.writeConfig(5, 1, 0x107);
  assertEquals([[...device.mac], device.readConfig(6, 2)], [[2, 2, 3, 4, 5, 7], 1]);
});

Deno.test("net device: it is plugged into its backend as long as it lives", () => {
  const plugged: unknown[] = [];
  const hub = new Hub();
  const backend = Object.assign(hub.port(), {
    connect: (sink: unknown) => void plugged.push(sink),
  });
  const device = new NetDevice({ backend });
  assertEquals(plugged, [device]);
  device[Symbol.dispose]();
  assertEquals(plugged, [device, undefined]);
});

Deno.test("net device: a reset queue forgets its own frames, and a reset all that was set", () => {
  using rig = new Rig([NetFeature.MRG_RXBUF, NetFeature.GUEST_CSUM], { backlog: 4 });
  const { device } = rig;
  assertEquals(device.accepts, Accept.CSUM);
  const small = rig.post(40);
  rig.receive(frameTo(MAC));
  // The buffer was taken, and the frame needs another one.
  device.resetQueue(1);
  assertEquals(rig.queue(0).used.length, 0);
  device.resetQueue(0);
  rig.post(100);
  assertEquals([small.every((byte) => byte === 0), rig.queue(0).used.map(({ head }) => head)], [
    true,
    [0],
  ]);
  device.reset();
  assertEquals([device.accepts, device.pairs], [0, 1]);
});

Deno.test("net device: the shortest frame has a header, and one that is shorter is dropped", () => {
  using rig = new Rig([]);
  for (const [length, drops] of [[14, 0], [13, 1]] as const) {
    rig.post(100);
    rig.receive(frameTo(MAC, 60).subarray(0, length));
    assertEquals([rig.device.stats.rxSize, rig.device.stats.rxFrames], [drops, 1]);
  }
});

Deno.test("net device: a batch of frames is flushed and told once, an empty one not at all", () => {
  using rig = new Rig([NetFeature.CTRL_VQ]);
  const queue = rig.queue(1);
  rig.device.notify(1);
  assertEquals([rig.flushes, queue.signals], [0, 0]);
  const chain = (): FakeChain => new FakeChain(0, [Uint8Array.from(HEADER), frameTo(OTHER)], []);
  queue.available.push(chain(), chain(), chain());
  rig.device.notify(1);
  assertEquals([rig.sent.length, rig.flushes, queue.signals], [3, 1, 1]);
  rig.control([9, 9]);
  assertEquals(rig.queue(2).signals, 1);
  // A header alone is no fault, but no frame either.
  rig.transmit(HEADER, new Uint8Array(0));
  assertEquals([rig.device.stats.txMalformed, rig.context.faults], [1, []]);
});
