// What the network device hands to a raw driver: every number is typed from virtio 1.4 §5.1.
import { assert, assertEquals } from "@std/assert";
import { NO_OFFLOAD, Offload } from "../../emu/backends/net_backend.ts";
import { fold, words } from "./checksum.ts";
import { ALL, F, frame, large, MAC, offload, OTHER, Rig, sound } from "./net_device_rig.ts";
import { at, le } from "./recorder.ts";

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

Deno.test("spec net: a partial checksum comes as one, or completed without GUEST_CSUM (dev.net.rx.5, .11, .12, .16-18, .32)", async () => {
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

Deno.test("spec net: a packet that claims a tunnel is not sent (dev.net.tx.5, .7)", async () => {
  // HOST_TSO4, _TSO6, _ECN, _UFO and _USO.
  await using rig = new Rig([F.CSUM, 11, 12, 13, 14, 56]);
  const { bytes } = large("tcpv4", 2000);
  const send = (flags: number, gso: number) =>
    rig.driver.request(1, [{
      read: le([flags, 1], [gso, 1], [54, 2], [1000, 2], [34, 2], [16, 2], [0, 2], bytes),
    }]);
  // Both bits; one bit, without NEEDS_CSUM, with DATA_VALID, and with NONE, UDP or what there is not behind it.
  for (const gso of [0x61, 0xe1, 0x21, 0x41, 0x24, 0x44, 0x20, 0x40, 0x23, 0x43, 0x25, 0x45]) {
    for (const flags of [0, 1, 2, 3]) await send(flags, gso);
  }
  assertEquals(rig.out.length, 0);
  await send(1, 1);
  assertEquals(rig.out.length, 1, "a large packet without a tunnel");
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
