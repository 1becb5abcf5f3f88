// What the network device hands to a raw driver: every number is typed from virtio 1.4 §5.1.
import { assert, assertEquals } from "@std/assert";
import { EmulatedMachine, NetDevice, type NetDeviceOptions } from "@vireo/emu";
import { MockDriver } from "@vireo/emu/testing";
import { FeatureSet } from "@vireo/hal";
import { Hub } from "../../emu/backends/hub.ts";
import { Accept, NO_OFFLOAD, Offload } from "../../emu/backends/net_backend.ts";
import { fold, words } from "./checksum.ts";
import { at, le } from "./recorder.ts";

const VERSION_1 = 32;
const F = {
  CSUM: 0,
  GUEST_CSUM: 1,
  GUEST_TSO4: 7,
  GUEST_TSO6: 8,
  GUEST_ECN: 9,
  GUEST_UFO: 10,
  MRG_RXBUF: 15,
  STATUS: 16,
  CTRL_VQ: 17,
  CTRL_RX: 18,
  CTRL_VLAN: 19,
  GUEST_ANNOUNCE: 21,
  MQ: 22,
} as const;
const ALL = [F.GUEST_CSUM, F.GUEST_TSO4, F.GUEST_TSO6, F.GUEST_ECN, F.GUEST_UFO];
const MAC = Uint8Array.of(0x52, 0x54, 0, 0x12, 0x34, 0x56);
const OTHER = Uint8Array.of(2, 0, 0, 0, 0, 9);

/** A device, a raw driver that accepts what it is told to, and the other end of the wire. */
class Rig implements AsyncDisposable {
  readonly hub = new Hub();
  readonly wire = this.hub.port();
  readonly out: {
    readonly bytes: Uint8Array;
    readonly needsCsum: boolean;
    readonly valid: boolean;
  }[] = [];
  readonly model: NetDevice;
  readonly machine: EmulatedMachine;
  readonly driver: MockDriver;

  constructor(features: readonly number[], options: Partial<NetDeviceOptions> = {}) {
    this.model = new NetDevice({ backend: this.hub.port(), mac: MAC, ...options });
    this.wire.connect({
      accepts: Accept.ALL,
      flush: () => {},
      receive: (bytes, offset, length, { needsCsum, dataValid }) =>
        this.out.push({ bytes: bytes.slice(offset, offset + length), needsCsum, valid: dataValid }),
    });
    this.machine = EmulatedMachine.create({ devices: [this.model] });
    this.driver = new MockDriver(this.machine);
    this.init(features);
  }

  init(features: readonly number[]): void {
    assertEquals(this.driver.init(FeatureSet.of(VERSION_1, ...features)), 15);
  }

  /** A frame comes from the wire. */
  receive(bytes: Uint8Array, offload: Offload = NO_OFFLOAD): void {
    this.wire.send(bytes, 0, bytes.length, offload);
    this.wire.flush();
  }

  /** Sends frames through buffers of one size; what the driver sees, packet by packet. */
  async packets(
    bytes: Uint8Array,
    offload: Offload,
    size = 4096,
    count = 60,
  ): Promise<Uint8Array[]> {
    const queue = this.driver.queues[0]!;
    const buffers = Array.from({ length: count }, () => queue.add([{ write: size }]));
    queue.kick();
    this.receive(bytes, offload);
    const used = await this.driver.until(Promise.all(buffers.slice(0, queue.usedIndex)));
    const packets: Uint8Array[] = [];
    for (let i = 0; i < used.length;) {
      const parts = at(used[i]!.bytes[0]!, 10, 2);
      const pieces = used.slice(i, i += parts).map(({ bytes, written }) =>
        bytes[0]!.subarray(0, written)
      );
      packets.push(le(...pieces));
    }
    return packets;
  }

  /** A command; its ack. */
  async control(...bytes: number[]): Promise<number> {
    const index = this.driver.queues.length - 1;
    const used = await this.driver.request(index, [{ read: Uint8Array.from(bytes) }, { write: 1 }]);
    return used.bytes[0]![0]!;
  }

  /** Whether a frame reaches the driver. */
  passes(bytes: Uint8Array): boolean {
    const { rxFrames } = this.model.stats;
    const queue = this.driver.queues[0]!;
    void queue.add([{ write: 4096 }]);
    queue.kick();
    this.receive(bytes);
    return this.model.stats.rxFrames > rxFrames;
  }

  [Symbol.asyncDispose](): Promise<void> {
    assertEquals(this.machine.violations(), []);
    return this.machine[Symbol.asyncDispose]();
  }
}

function frame(length: number, to: Uint8Array = MAC, type = [0x88, 0xb5]): Uint8Array {
  const bytes = Uint8Array.from({ length }, (_, i) => i * 7);
  bytes.set(to);
  bytes.set(OTHER, 6);
  bytes.set(type, 12);
  return bytes;
}

/** A large packet that the device must cut, and where its checksum begins. */
function large(
  kind: "tcpv4" | "tcpv6" | "udp",
  payload: number,
): { bytes: Uint8Array; start: number } {
  const v4 = kind !== "tcpv6";
  const start = v4 ? 34 : 54;
  const header = kind === "udp" ? 8 : 20;
  const bytes = new Uint8Array(start + header + payload);
  bytes.set(MAC);
  bytes.set(OTHER, 6);
  const view = new DataView(bytes.buffer);
  view.setUint16(12, v4 ? 0x0800 : 0x86dd);
  const protocol = kind === "udp" ? 17 : 6;
  if (v4) {
    bytes.set([0x45, 0, 0, 0, 0, 1, 0, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2], 14);
    view.setUint16(16, 20 + header + payload);
  } else {
    bytes.set([0x60, 0, 0, 0, 0, 0, protocol, 64], 14);
    view.setUint16(18, header + payload);
    bytes[53] = 2;
  }
  if (kind === "udp") view.setUint16(start + 4, 8 + payload);
  else bytes.set([0x10, 0, 0x20, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0x50, 0x18], start);
  for (let i = start + header; i < bytes.length; i++) bytes[i] = i * 11;
  view.setUint16(start + (kind === "udp" ? 6 : 16), fold(pseudo(bytes)));
  return { bytes, start };
}

const startOf = (bytes: Uint8Array): number => bytes[12] === 0x86 ? 54 : 34;

function pseudo(bytes: Uint8Array): number {
  const start = startOf(bytes);
  const protocol = start === 34 ? bytes[23]! : bytes[20]!;
  return words(bytes.subarray(start === 34 ? 26 : 22, start)) + protocol + bytes.length - start;
}

/** Whether the checksum of a TCP packet is right. */
const sound = (bytes: Uint8Array): boolean =>
  fold(pseudo(bytes) + words(bytes.subarray(startOf(bytes)))) === 0xffff;

function offload(start: number, offset: number, gsoType = 0, gsoSize = 0): Offload {
  const work = new Offload();
  Object.assign(work, { needsCsum: true, csumStart: start, csumOffset: offset, gsoType, gsoSize });
  return work;
}

Deno.test("spec net: with MTU nothing above it comes, and what fits comes in one piece (dev.net.config.5, .6)", async () => {
  await using rig = new Rig([3], { mtu: 2000 });
  const fits = frame(2014);
  assertEquals(await rig.packets(fits, NO_OFFLOAD), [
    le([0, 5], [0, 5], [1, 2], fits),
  ]);
  assertEquals(rig.passes(frame(2015)), false);
});

Deno.test("spec net: num_buffers counts buffers, all but the last are full, and all are seen at once (dev.net.rx-buffers.1, .rx.2-4)", async () => {
  await using rig = new Rig([F.MRG_RXBUF]);
  const queue = rig.driver.queues[0]!;
  const buffers = [100, 60, 300, 100].map((size) => queue.add([{ write: size }]));
  queue.kick();
  const published: number[] = [];
  const { store } = Atomics;
  Atomics.store = ((array: Uint16Array, index: number, value: number) => {
    published.push(value);
    return store(array, index, value);
  }) as typeof Atomics.store;
  try {
    rig.receive(frame(250));
  } finally {
    Atomics.store = store;
  }
  assertEquals([published.filter((value) => value > 0 && value < 4), queue.usedIndex], [[3], 3]);
  const used = await rig.driver.until(Promise.all(buffers.slice(0, 3)));
  assertEquals(used.map(({ written }) => written), [100, 60, 12 + 250 - 160]);
  assertEquals(at(used[0]!.bytes[0]!, 10, 2), 3);
});

Deno.test("spec net: without MRG_RXBUF a packet has one buffer, and num_buffers is 1 (dev.net.rx-buffers.2, .rx.1)", async () => {
  await using rig = new Rig([]);
  const queue = rig.driver.queues[0]!;
  const buffers = [100, 100, 400].map((size) => queue.add([{ write: size }]));
  queue.kick();
  rig.receive(frame(250));
  assertEquals(queue.usedIndex, 0, "the first buffer does not hold it");
  for (let i = 0; i < 2; i++) rig.receive(frame(80));
  rig.receive(frame(250));
  const used = await rig.driver.until(Promise.all(buffers));
  assertEquals(used.map(({ written }) => written), [92, 92, 262]);
  assertEquals(used.map(({ bytes }) => at(bytes[0]!, 10, 2)), [1, 1, 1]);
});

const KINDS = [
  { kind: "tcpv4", feature: F.GUEST_TSO4, gsoType: 1, offset: 16, clause: "dev.net.rx.7" },
  { kind: "tcpv6", feature: F.GUEST_TSO6, gsoType: 4, offset: 16, clause: "dev.net.rx.9" },
  { kind: "udp", feature: F.GUEST_UFO, gsoType: 3, offset: 6, clause: "dev.net.rx.8" },
] as const;

for (const { kind, feature, gsoType, offset, clause } of KINDS) {
  Deno.test(`spec net: a large ${kind} packet comes whole only with its feature (${clause}; dev.net.rx.14, .16-18, .22, .23, .25)`, async () => {
    const { bytes, start } = large(kind, 9000);
    const ecn = kind === "udp" ? 0 : 0x80;
    const work = offload(start, offset, gsoType | ecn, 1400);
    {
      await using rig = new Rig([F.MRG_RXBUF, ...ALL]);
      const [packet, ...more] = await rig.packets(bytes, work);
      assertEquals(more, []);
      // NEEDS_CSUM alone, the type with the ECN bit, hdr_len, gso_size, where the checksum is.
      assertEquals([packet![0], packet![1]], [1, gsoType | ecn]);
      assertEquals([4, 6, 8].map((place) => at(packet!, place, 2)), [1400, start, offset]);
      assertEquals(packet!.subarray(12), bytes, "with the pseudo-header's sum in it");
    }
    for (const lacks of [[feature], [F.GUEST_ECN], ALL.slice(1), ALL]) {
      if (kind === "udp" && lacks[0] === F.GUEST_ECN) continue;
      const features = ALL.filter((bit) => !lacks.includes(bit));
      await using rig = new Rig([F.MRG_RXBUF, ...features]);
      const packets = await rig.packets(bytes, work);
      const whole = packets.filter((packet) => packet[1] !== 0);
      assertEquals(whole, [], `without ${lacks}`);
      assert(packets.length > 6 && packets.every(({ length }) => length <= 12 + 1514));
      for (const packet of packets) {
        assertEquals([packet[0]! & ~1, packet[1], at(packet, 4, 2)], [0, 0, 0]);
        if (!features.includes(F.GUEST_CSUM)) assertEquals(packet[0], 0);
        if (kind !== "udp" && packet[0] === 0) assert(sound(packet.subarray(12)));
      }
    }
  });
}

Deno.test("spec net: a partial checksum comes as one, or completed without GUEST_CSUM (dev.net.rx.5, .16-18)", async () => {
  const { bytes } = large("tcpv4", 500);
  const work = offload(34, 16);
  await using takes = new Rig([F.GUEST_CSUM]);
  const [partial] = await takes.packets(bytes, work);
  assertEquals(partial, le([1, 6], [34, 2], [16, 2], [1, 2], bytes));
  const sum = ~fold(words(partial!.subarray(12 + 34))) & 0xffff;
  const done = bytes.slice();
  new DataView(done.buffer).setUint16(50, sum);
  assert(sound(done), "the sum from csum_start on completes it");
  await using plain = new Rig([]);
  assertEquals(await plain.packets(bytes, work), [le([0, 5], [0, 5], [1, 2], done)]);
});

Deno.test("spec net: DATA_VALID is for checksums that somebody checked (dev.net.rx.5, .25, .27; dev.net.tx.9)", async () => {
  await using rig = new Rig([F.CSUM, F.GUEST_CSUM]);
  const { bytes } = large("tcpv4", 100);
  assert(!sound(bytes));
  // A wrong checksum without NEEDS_CSUM is not the device's to judge, in either direction.
  const [unknown] = await rig.packets(bytes, NO_OFFLOAD);
  assertEquals([unknown![0], unknown!.subarray(12)], [0, bytes]);
  await rig.driver.request(1, [{ read: le(new Uint8Array(12), bytes) }]);
  assertEquals(rig.out, [{ bytes, needsCsum: false, valid: false }]);
  // DATA_VALID of a driver, which must not send it, makes nothing checked.
  await rig.driver.request(1, [{ read: le([2, 4], [0, 4], [0, 4], bytes) }]);
  assertEquals(rig.out[1]?.valid, false);
  const checked = Object.assign(new Offload(), { dataValid: true });
  await using other = new Rig([F.GUEST_CSUM]);
  const [valid] = await other.packets(bytes, checked);
  assertEquals(valid![0], 2);
  await using plain = new Rig([]);
  const [silent] = await plain.packets(bytes, checked);
  assertEquals(silent![0], 0, "without GUEST_CSUM there are no flags");
});

Deno.test("spec net: a reset empties the address table, and a command has taken effect when it is returned (dev.net.mac-filter.1, .2)", async () => {
  const features = [F.CTRL_VQ, F.CTRL_RX];
  await using rig = new Rig(features);
  assertEquals(rig.passes(frame(60, OTHER)), false);
  const queue = rig.driver.queues[2]!;
  // Seen when the used index moves: the filter passes it by then.
  let early = 0;
  const { store } = Atomics;
  Atomics.store = ((array: Uint16Array, index: number, value: number) => {
    if (queue.usedIndex === 0 && !rig.model.filter.passes(frame(60, OTHER), 0, 60)) early++;
    return store(array, index, value);
  }) as typeof Atomics.store;
  try {
    assertEquals(await rig.control(1, 0, 1, 0, 0, 0, ...OTHER, 0, 0, 0, 0), 0);
  } finally {
    Atomics.store = store;
  }
  assertEquals([early, rig.passes(frame(60, OTHER))], [0, true]);
  rig.init(features);
  assertEquals(rig.passes(frame(60, OTHER)), false);
});

Deno.test("spec net: tagged packets pass without CTRL_VLAN, and with it those in the table (dev.net.vlan-filter.1, .2)", async () => {
  const tagged = (id: number): Uint8Array => frame(64, MAC, [0x81, 0, 0x60 | id >> 8, id & 0xff]);
  await using plain = new Rig([F.CTRL_VQ]);
  for (const id of [0, 100, 4095]) assert(plain.passes(tagged(id)), `${id}`);
  await using rig = new Rig([F.CTRL_VQ, F.CTRL_VLAN]);
  assertEquals(rig.passes(tagged(100)), false);
  assertEquals(await rig.control(2, 0, 100, 0), 0);
  assertEquals([rig.passes(tagged(100)), rig.passes(tagged(101))], [true, false]);
});

Deno.test("spec net: ANNOUNCE is clear when the acknowledgement is returned (dev.net.gratuitous.1)", async () => {
  await using rig = new Rig([F.CTRL_VQ, F.STATUS, F.GUEST_ANNOUNCE]);
  const status = (): number => at(rig.driver.config(6, 2), 0, 2);
  assert(rig.model.announce());
  assertEquals(status(), 3);
  const queue = rig.driver.queues[2]!;
  let early = 0;
  const { store } = Atomics;
  Atomics.store = ((array: Uint16Array, index: number, value: number) => {
    if (queue.usedIndex === 0 && rig.model.readConfig(6, 2) === 3) early++;
    return store(array, index, value);
  }) as typeof Atomics.store;
  try {
    assertEquals(await rig.control(3, 0), 0);
  } finally {
    Atomics.store = store;
  }
  assertEquals([early, status()], [0, 1]);
});

Deno.test("spec net: packets come on receiveq1 at first, and never above the pairs in use (dev.net.mq.1, .2)", async () => {
  const features = [F.CTRL_VQ, F.MQ];
  await using rig = new Rig(features, { queuePairs: 4 });
  const flow = (port: number): Uint8Array => {
    const { bytes } = large("tcpv4", 10);
    bytes[35] = port;
    return bytes;
  };
  /** The queues that many flows come in on. */
  const queues = (): number[] => {
    const before = [0, 2, 4, 6].map((index) => rig.driver.queues[index]!.usedIndex);
    for (const index of [0, 2, 4, 6]) {
      const queue = rig.driver.queues[index]!;
      for (let i = 0; i < 40; i++) void queue.add([{ write: 200 }]);
      queue.kick();
    }
    for (let port = 0; port < 40; port++) rig.receive(flow(port));
    return [0, 2, 4, 6].filter((index, i) => rig.driver.queues[index]!.usedIndex > before[i]!);
  };
  assertEquals(queues(), [0]);
  assertEquals(await rig.control(4, 0, 3, 0), 0);
  assertEquals(queues(), [0, 2, 4]);
  assertEquals(await rig.control(4, 0, 1, 0), 0);
  assertEquals(queues(), [0]);
  assertEquals(await rig.control(4, 0, 4, 0), 0);
  assertEquals(queues(), [0, 2, 4, 6]);
  rig.init(features);
  assertEquals(queues(), [0]);
});

Deno.test("spec net: packets that wait for a queue which is no longer in use are dropped (dev.net.mq.2)", async () => {
  await using rig = new Rig([F.CTRL_VQ, F.MQ], { queuePairs: 2 });
  assertEquals(await rig.control(4, 0, 2, 0), 0);
  for (let port = 0; port < 40; port++) {
    const { bytes } = large("tcpv4", 10);
    bytes[35] = port;
    rig.receive(bytes);
  }
  assertEquals(await rig.control(4, 0, 1, 0), 0);
  for (const index of [0, 2]) {
    const queue = rig.driver.queues[index]!;
    for (let i = 0; i < 40; i++) void queue.add([{ write: 200 }]);
    queue.kick();
  }
  const [first, second] = [0, 2].map((index) => rig.driver.queues[index]!.usedIndex);
  assertEquals([first! > 0, second], [true, 0]);
});
