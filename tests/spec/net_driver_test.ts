// What the network driver sends, byte by byte: every number is typed from virtio 1.4 §5.1.
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { EmulatedMachine, NetDevice, type NetDeviceOptions } from "@vireo/emu";
import { FeatureSet, VireoError } from "@vireo/hal";
import { Hub } from "../../emu/backends/hub.ts";
import { Accept, NO_OFFLOAD } from "../../emu/backends/net_backend.ts";
import { Bus } from "../../drivers/bus/bus.ts";
import { createNetDriver, type Net, type NetOptions } from "../../drivers/net/mod.ts";
import { fold, words } from "./checksum.ts";
import { le, record, type Recording, type Taken } from "./recorder.ts";

const SOON = { deadline: 5000 };
const F = {
  CSUM: 0,
  GUEST_CSUM: 1,
  MTU: 3,
  GUEST_TSO4: 7,
  GUEST_TSO6: 8,
  GUEST_UFO: 10,
  HOST_TSO4: 11,
  HOST_TSO6: 12,
  HOST_ECN: 13,
  HOST_UFO: 14,
  MRG_RXBUF: 15,
  CTRL_RX: 18,
  CTRL_RX_EXTRA: 20,
  ANY_LAYOUT: 27,
} as const;
const MAC = Uint8Array.of(0x52, 0x54, 0, 0x12, 0x34, 0x56);
const OTHER = Uint8Array.of(2, 0, 0, 0, 0, 9);
const GROUP = Uint8Array.of(1, 0, 0x5e, 0, 0, 7);

interface Options extends Partial<NetDeviceOptions> {
  readonly version?: 1 | 2;
  /** Features that the bus keeps from the driver. */
  readonly filter?: readonly number[];
  readonly driver?: NetOptions;
  readonly prepare?: (rig: Rig) => void;
}

/** A driver and a device whose wire is at hand. */
class Rig implements AsyncDisposable {
  readonly hub = new Hub();
  readonly model: NetDevice;
  readonly machine: EmulatedMachine;
  readonly seen: Recording;
  /** Frames that went out, and what was left to do. */
  readonly out: { readonly bytes: Uint8Array; readonly gsoType: number }[] = [];
  readonly bus: Bus;
  net!: Net;

  constructor({ version = 2, filter = [], prepare, ...device }: Options) {
    this.model = new NetDevice({ backend: this.hub.port(), mac: MAC, ...device });
    this.seen = record(this.model, () => this.machine.memory);
    prepare?.(this);
    this.machine = EmulatedMachine.create({ devices: [{ model: this.model, version }] });
    this.bus = new Bus({ filter: FeatureSet.of(...filter) });
    this.hub.port().connect({
      accepts: Accept.ALL,
      flush: () => {},
      receive: (bytes, offset, length, { gsoType }) =>
        this.out.push({ bytes: bytes.slice(offset, offset + length), gsoType }),
    });
  }

  static open(options: Options = {}): Promise<Rig> {
    return new Rig(options).bind(options.driver);
  }

  async bind(options?: NetOptions): Promise<this> {
    const driver = createNetDriver(options);
    await this.bus.registerDriver(driver);
    await this.bus.addPlatform(this.machine);
    assertEquals(this.bus.devices[0]?.error, undefined);
    this.net = this.bus.get(driver)!;
    return this;
  }

  /** Sends a frame; the chain that the device took. */
  async send(...args: Parameters<Net["send"]>): Promise<Taken> {
    const before = this.seen.chains.length;
    await this.net.send(...args);
    this.net.tx(args[1]?.queue ?? 0).kick();
    const taken = this.seen.chains.slice(before).filter(({ queue }) => queue % 2 === 1);
    assertEquals(taken.length, 1);
    return taken[0]!;
  }

  /** The commands of the control queue so far. */
  commands(index = 2): Taken[] {
    return this.seen.chains.filter(({ queue }) => queue === index);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.bus[Symbol.asyncDispose]();
    assertEquals(this.machine.violations(), []);
    await this.machine[Symbol.asyncDispose]();
  }
}

/** A TCP packet over IPv4 or IPv6, whose checksum holds the pseudo-header's sum. */
function tcp(version: 4 | 6, payload: number): { bytes: Uint8Array; start: number } {
  const start = 14 + (version === 4 ? 20 : 40);
  const bytes = new Uint8Array(start + 20 + payload);
  bytes.set(OTHER, 0);
  bytes.set(MAC, 6);
  const view = new DataView(bytes.buffer);
  view.setUint16(12, version === 4 ? 0x0800 : 0x86dd);
  const length = 20 + payload;
  if (version === 4) {
    bytes.set([0x45, 0, 0, 0, 0, 1, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2], 14);
    view.setUint16(16, 20 + length);
  } else {
    bytes.set([0x60, 0, 0, 0, 0, 0, 6, 64], 14);
    view.setUint16(18, length);
    bytes[29] = 1;
    bytes[53] = 2;
  }
  bytes.set([0x10, 0, 0x20, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0x50, 0x18], start);
  for (let i = start + 20; i < bytes.length; i++) bytes[i] = i * 11;
  view.setUint16(start + 16, fold(pseudo(bytes, start)));
  return { bytes, start };
}

function pseudo(bytes: Uint8Array, start: number): number {
  const addresses = bytes.subarray(start === 34 ? 26 : 22, start);
  return words(addresses) + 6 + bytes.length - start;
}

const frame = (length: number): Uint8Array => {
  const bytes = new Uint8Array(length).fill(3);
  bytes.set(OTHER);
  bytes.set(MAC, 6);
  bytes.set([0x88, 0xb5], 12);
  return bytes;
};

Deno.test("spec net: configuration is read and not written, and the address is its mac (drv.net.config.1, .3)", async () => {
  await using rig = await Rig.open({ queuePairs: 2 });
  assertEquals(rig.net.mac, MAC);
  await rig.net.setMac(OTHER, SOON);
  await rig.net.setPromiscuous(true, SOON);
  await rig.net.addVlan(7, SOON);
  rig.model.setLink(false);
  const recovered = rig.bus.devices[0]!.recovered(SOON);
  rig.model.announce();
  await rig.bus.freeze();
  await rig.bus.restore();
  recovered.catch(() => {});
  assert(rig.seen.config.length > 6);
  assertEquals(rig.seen.config.filter((access) => access.startsWith("w")), []);
});

Deno.test("spec net: with MTU buffers hold a packet of it, and none that is larger is sent (drv.net.config.7, .8; drv.net.rx-buffers.3)", async () => {
  for (
    const filter of [[], [F.MRG_RXBUF], [F.MRG_RXBUF, F.GUEST_TSO4, F.GUEST_TSO6, F.GUEST_UFO]]
  ) {
    for (const mtu of [68, 1500, 9000]) {
      await using rig = await Rig.open({ mtu, filter });
      const wire = rig.hub.port();
      const large = frame(14 + mtu);
      large.set(MAC);
      wire.send(large, 0, large.length, NO_OFFLOAD);
      wire.flush();
      assertEquals((await rig.net.receive(SOON)).bytes, large);
      const buffers = rig.seen.chains.filter(({ queue }) => queue === 0);
      assert(
        buffers.every(({ writable, readable }) => writable[0]! >= 12 && readable.length === 0),
      );
      const room = buffers.reduce((sum, { writable }) => sum + writable.reduce((a, b) => a + b), 0);
      assert(room >= 12 + 14 + mtu, `${room} bytes`);
      await rig.send(large);
      const before = rig.seen.chains.length;
      assertThrows(() => rig.net.trySend(frame(14 + mtu + 1)), RangeError);
      await assertRejects(() => rig.net.send(frame(14 + mtu + 1)), RangeError);
      assertEquals(rig.seen.chains.length, before);
    }
  }
});

Deno.test("spec net: a speed over 0x7fffffff and a duplex over 1 are unknown (drv.net.config.10)", async () => {
  const cases = [
    [0x7fffffff, 1, 0x7fffffff, "full"],
    [0x80000000, 0, undefined, "half"],
    [0xffffffff, 2, undefined, undefined],
    [100, 0xff, 100, undefined],
  ] as const;
  for (const [speed, duplex, ...expected] of cases) {
    await using rig = await Rig.open({ speed, duplex });
    assertEquals([rig.net.speed, rig.net.duplex], expected);
  }
});

Deno.test("spec net: the header has one size both ways, and is zero for a plain frame (drv.net.tx.1-3, .33; drv.net.rx-buffers.4)", async () => {
  const plain = frame(60);
  for (
    const [version, filter, size] of [
      [2, [], 12],
      [2, [F.MRG_RXBUF], 12],
      [2, [F.CSUM], 12],
      [1, [], 12],
      [1, [F.MRG_RXBUF], 10],
    ] as const
  ) {
    await using rig = await Rig.open({ version, filter });
    const { read } = await rig.send(plain);
    // flags, gso_type, hdr_len, gso_size, csum_start, csum_offset and num_buffers.
    assertEquals(read, le(new Uint8Array(size), plain), `version ${version}, without ${filter}`);
    const wire = rig.hub.port();
    const back = frame(60);
    back.set(MAC);
    wire.send(back, 0, 60, NO_OFFLOAD);
    wire.flush();
    assertEquals((await rig.net.receive(SOON)).bytes, back);
    const used = rig.seen.chains.find(({ queue, written }) =>
      queue === 0 && written !== undefined
    )!;
    assertEquals(used.written!.length, size + 60);
    // A dirty header is cleared before the slot is used again.
    if (filter.length > 0 && filter[0] === F.CSUM) continue;
    const { bytes, start } = tcp(4, 10);
    await rig.send(bytes, { csum: { start, offset: 16 } });
    const after = [await rig.send(plain), await rig.send(plain)];
    for (const { read } of after) assertEquals(read, le(new Uint8Array(size), plain));
  }
  await using rig = await Rig.open({ filter: [F.CSUM] });
  const { bytes, start } = tcp(4, 10);
  assertThrows(() => rig.net.trySend(bytes, { csum: { start, offset: 16 } }), TypeError, "CSUM");
});

Deno.test("spec net: a partial checksum is completed from where the header says (drv.net.tx.19-21)", async () => {
  await using rig = await Rig.open();
  for (const version of [4, 6] as const) {
    const { bytes, start } = tcp(version, 101);
    const { read } = await rig.send(bytes, { csum: { start, offset: 16 } });
    // NEEDS_CSUM and the two places, and nothing else; the packet is as it was given.
    assertEquals(read, le([1, 1], [0, 5], [start, 2], [16, 2], [0, 2], bytes));
    const sum = fold(words(read.subarray(12 + start)));
    const done = bytes.slice();
    new DataView(done.buffer).setUint16(start + 16, ~sum & 0xffff);
    // With the pseudo-header a packet whose checksum is right sums up to all ones.
    assertEquals(fold(pseudo(done, start) + words(done.subarray(start))), 0xffff);
    for (const csum of [{ start: bytes.length, offset: 16 }, { start, offset: bytes.length }]) {
      assertThrows(() => rig.net.trySend(bytes, { csum }), RangeError);
    }
  }
});

Deno.test("spec net: a large packet says how it is cut, only with its feature (drv.net.tx.5-7, .10, .11, .15, .22, .23, .30, .31)", async () => {
  const kinds = [
    { type: "tcpv4", feature: F.HOST_TSO4, value: 1, version: 4 },
    { type: "tcpv6", feature: F.HOST_TSO6, value: 4, version: 6 },
    { type: "udp", feature: F.HOST_UFO, value: 3, version: 4 },
  ] as const;
  for (const { type, feature, value, version } of kinds) {
    const { bytes, start } = tcp(version, 5000);
    const csum = { start, offset: 16 };
    const gso = { type, size: 1400, headerLength: start + (type === "udp" ? 8 : 20) };
    await using rig = await Rig.open();
    const { read } = await rig.send(bytes, { csum, gso });
    assertEquals(
      read.subarray(0, 12),
      le([1, 1], [value, 1], [gso.headerLength, 2], [1400, 2], [start, 2], [16, 2], [0, 2]),
    );
    if (type !== "udp") {
      const marked = await rig.send(bytes, { csum, gso: { ...gso, ecn: true } });
      assertEquals(marked.read[1], 0x80 | value);
    }
    const before = rig.seen.chains.length;
    assertThrows(() => rig.net.trySend(bytes, { gso }), TypeError);
    assertThrows(() => rig.net.trySend(bytes, { csum, gso: { ...gso, size: 0 } }), RangeError);
    await using without = await Rig.open({ filter: [feature, F.HOST_ECN] });
    assertThrows(() => without.net.trySend(bytes, { csum, gso }), TypeError);
    await using none = await Rig.open({
      filter: [F.HOST_TSO4, F.HOST_TSO6, F.HOST_UFO, F.HOST_ECN],
    });
    assertThrows(() => none.net.trySend(bytes, { csum, gso }), TypeError);
    const small = tcp(version, 100);
    const partial = await none.send(small.bytes, { csum });
    assertEquals(partial.read[1], 0);
    assertEquals([rig.seen.chains.length, without.seen.chains.length], [before, 0]);
  }
});

Deno.test("spec net: what a receive header does not say is not believed (drv.net.rx.1, .3-5)", async () => {
  await using rig = await Rig.open();
  const bytes = frame(60);
  bytes.set(MAC);
  const wire = rig.hub.port();
  const got: unknown[] = [];
  rig.net.onFrame = (rx) => got.push([rx.checksum, rx.csumStart, rx.csumOffset, rx.length]);
  // flags, then hdr_len, csum_start and csum_offset: nonsense where the flags do not ask for them.
  const headers = [[0, 0xffff], [0xfc, 0xffff], [2, 0xffff], [0xf9, 34], [0, 34], [0xfd, 34]];
  const queue = rig.machine.device(0).queue(0)!;
  for (const [flags, place] of headers as [number, number][]) {
    const chain = queue.pop()!;
    chain.write(le([flags, 1], [0, 1], [0xffff, 2], [0, 2], [place, 2], [6, 2], [1, 2], bytes));
    queue.push(chain);
    queue.signal();
    rig.net.poll();
  }
  wire.flush();
  assertEquals(got, [
    ["none", 0, 0, 60],
    ["none", 0, 0, 60],
    ["valid", 0, 0, 60],
    ["partial", 34, 6, 60],
    ["none", 0, 0, 60],
    // RSC_INFO: the two fields count segments and acknowledgements.
    ["none", 0, 0, 60],
  ]);
});

Deno.test("spec net: a packet that claims a tunnel is not handed on (drv.net.rx.6, .8)", async () => {
  await using rig = await Rig.open();
  const { bytes } = tcp(4, 2000);
  bytes.set(MAC);
  const got: number[] = [];
  rig.net.onFrame = (rx) => got.push(rx.gsoType);
  const queue = rig.machine.device(0).queue(0)!;
  const receive = (flags: number, gso: number): void => {
    const chain = queue.pop()!;
    chain.write(
      le([flags, 1], [gso, 1], [54, 2], [1000, 2], [34, 2], [16, 2], [1, 2], bytes),
    );
    queue.push(chain);
    queue.signal();
    rig.net.poll();
  };
  // Both bits; one bit, without NEEDS_CSUM, with DATA_VALID, and with NONE or UDP behind it.
  for (const gso of [0x61, 0x21, 0x41, 0x44, 0x20, 0x40, 0x23, 0x43]) {
    for (const flags of [0, 1, 2, 3]) receive(flags, gso);
  }
  assertEquals(got, []);
  assertEquals(rig.net.stats.rxBadGso, 32);
  receive(1, 1);
  assertEquals(got, [1], "a large packet without a tunnel");
});

Deno.test("spec net: modes are asked for only with their features (drv.net.rx-filter.1, .2)", async () => {
  for (
    const [feature, modes] of [[F.CTRL_RX, [0, 1]], [F.CTRL_RX_EXTRA, [
      2,
      3,
      4,
      5,
    ]]] as const
  ) {
    await using rig = await Rig.open({ filter: [feature] });
    for (const mode of modes) {
      await assertRejects(() => rig.net.setRxMode(mode, true, SOON), VireoError, "CTRL_RX");
    }
    assertEquals(rig.commands(), []);
  }
  await using rig = await Rig.open();
  for (let mode = 0 as 0 | 1 | 2 | 3 | 4 | 5; mode < 6; mode++) {
    await rig.net.setRxMode(mode, mode % 2 === 0, SOON);
  }
  const sent = rig.commands().map(({ read }) => [...read]);
  assertEquals(sent, [0, 1, 2, 3, 4, 5].map((mode) => [0, mode, 1 - mode % 2]));
});

Deno.test("spec net: tables, announcements and offloads as they are on the wire (drv.net.mac-filter.3, .gratuitous.2, .offloads.1)", async () => {
  await using rig = await Rig.open({ filter: [F.GUEST_TSO6] });
  await rig.net.setMacTable([OTHER, MAC], [GROUP], SOON);
  await rig.net.setMacTable([], [], SOON);
  const announced = Promise.withResolvers<void>();
  rig.net.addEventListener("announce", () => announced.resolve());
  rig.model.announce();
  await announced.promise;
  await rig.net.setGuestOffloads([F.GUEST_CSUM, F.GUEST_TSO4], SOON);
  assertEquals(rig.commands().map(({ read }) => read), [
    le([1, 1], [0, 1], 2, OTHER, MAC, 1, GROUP),
    le([1, 1], [0, 1], 0, 0),
    le([3, 1], [0, 1]),
    le([5, 1], [0, 1], [1 << F.GUEST_CSUM | 1 << F.GUEST_TSO4, 8]),
  ]);
  await assertRejects(() => rig.net.setGuestOffloads([F.GUEST_TSO6], SOON), TypeError);
  assertEquals(rig.commands().length, 4);
});

Deno.test("spec net: queues are there before VQ_PAIRS_SET, which stays within what the device has (drv.net.mq.1-3)", async () => {
  await using rig = await Rig.open({ queuePairs: 4, driver: { pairs: 3 } });
  assertEquals(
    rig.commands(8).map(({ read }) => [...read]),
    [[4, 0, 3, 0]],
    "as many as are set up",
  );
  for (const pairs of [0, 4, 5, 0x8001]) {
    await assertRejects(() => rig.net.setPairs(pairs, SOON), RangeError);
  }
  assertEquals(rig.commands(8).length, 1);

  let ready: (number | undefined)[] | undefined;
  const used = new Set<number>();
  const prepare = ({ model }: Rig): void => {
    const notify = model.notify.bind(model);
    model.notify = (index) => {
      if (index % 2 === 1) used.add(index);
      if (index !== 4) return notify(index);
      const device = late.machine.device(0);
      ready ??= [0, 1, 2, 3].map((queue) => device.queue(queue)?.index);
      notify(index);
    };
  };
  const late = new Rig({ queuePairs: 2, prepare });
  await using _late = await late.bind();
  assertEquals(ready, [0, 1, 2, 3], "all are ready when the command is given");
  assertEquals([...used], []);
  // A command that took the second pair away leaves the first.
  const second = late.net.tx(1);
  const slot = second.reserve();
  await late.net.setPairs(1, SOON);
  assertThrows(() => second.submit(slot, 60), VireoError, "Transmit queue 1 is not in use");
  assertThrows(() => late.net.trySend(frame(60), { queue: 1 }), RangeError);
  await late.send(frame(60));
  assertEquals([...used], [1]);
  // One that has no answer may have taken it away as well.
  await late.net.setPairs(2, SOON);
  late.model.notify = () => {};
  await assertRejects(() => late.net.setPairs(1, { deadline: 5 }), VireoError, "Timed out");
  assertThrows(() => late.net.trySend(frame(60), { queue: 1 }), RangeError);
});

Deno.test("spec net: a legacy device without ANY_LAYOUT gets its parts in descriptors of their own (drv.net.legacy-framing.1-3)", async () => {
  for (const filter of [[F.ANY_LAYOUT], [F.ANY_LAYOUT, F.MRG_RXBUF]]) {
    await using rig = await Rig.open({ version: 1, filter });
    const header = filter.length === 2 ? 10 : 12;
    const { readable } = await rig.send(frame(60));
    assertEquals(readable, [header, 60]);
    await rig.net.setPromiscuous(true, SOON);
    await rig.net.setMacTable([OTHER], [GROUP, GROUP], SOON);
    assertEquals(rig.commands().map(({ readable, writable }) => [readable, writable]), [
      [[2, 1], [1]],
      [[2, 4 + 6, 4 + 12], [1]],
    ]);
    const first = rig.machine.device(0).queue(0)!.pop()!;
    const elements = (first as unknown as { elements(): [number, number, boolean][] }).elements();
    if (filter.length === 2) assertEquals(elements[0]![1], 10);
  }
});
