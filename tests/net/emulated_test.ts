import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { ETH_HDR_SIZE, NetFeature, VireoError } from "@vireo/hal";
import { Hub } from "../../emu/backends/hub.ts";
import { HostPeer } from "../../emu/backends/wire.ts";
import { Rig, type RigOptions } from "./net_rig.ts";
import type { Net } from "../../drivers/net/net.ts";
import { RxMode } from "../../drivers/net/options.ts";
import { ping } from "../../firmware/ip/ping.ts";
import { bytesBy } from "../noise.ts";

const GSO = [
  NetFeature.GUEST_TSO4,
  NetFeature.GUEST_TSO6,
  NetFeature.GUEST_UFO,
  NetFeature.GUEST_USO4,
  NetFeature.GUEST_USO6,
] as const;

/** Every way to receive, and every ring. */
const SETUPS: readonly (readonly [string, Partial<RigOptions>])[] = [
  ["mergeable", {}],
  ["small", { without: [NetFeature.MRG_RXBUF, ...GSO] }],
  ["big", { without: [NetFeature.MRG_RXBUF] }],
  ["mergeable, no indirect", { indirect: false }],
  ["mergeable, no event index", { eventIdx: false }],
  ["legacy, mergeable", { legacy: true }],
  ["legacy, small", { legacy: true, without: [NetFeature.MRG_RXBUF, ...GSO] }],
  ["legacy, small, no indirect", {
    legacy: true,
    indirect: false,
    without: [NetFeature.MRG_RXBUF, ...GSO],
  }],
  ["legacy, big", { legacy: true, without: [NetFeature.MRG_RXBUF] }],
  ["ring of 2", { ringSize: 2 }],
  ["jumbo, big", { mtu: 9000, without: [NetFeature.MRG_RXBUF, ...GSO] }],
  ["jumbo, mergeable", { mtu: 9000 }],
];

async function pair(
  options: Partial<RigOptions>,
  other: Partial<RigOptions> = options,
): Promise<{ a: Rig; b: Rig; hub: Hub }> {
  const hub = new Hub();
  const a = await Rig.open({ backend: hub.port(), mac: "02:00:00:00:00:0a", ...options });
  const b = await Rig.open({ backend: hub.port(), mac: "02:00:00:00:00:0b", ...other });
  return { a, b, hub };
}

function frame(from: Net, to: Net | undefined, length: number, seed = 0): Uint8Array {
  const bytes = bytesBy(length, (i) => (i * 31 + seed * 17 + (i >>> 8)) & 0xff);
  bytes.set(to?.mac ?? new Uint8Array(6).fill(0xff), 0);
  bytes.set(from.mac, 6);
  bytes.set([0x88, 0xb5], 12);
  return bytes;
}

for (const [name, options] of SETUPS) {
  Deno.test(`net: frames of all sizes arrive whole, both ways (${name})`, async () => {
    const { a, b } = await pair(options);
    await using left = a;
    await using right = b;
    const most = left.net.mtu + ETH_HDR_SIZE;
    for (let i = 0; i < 300; i++) {
      const [from, to] = i % 3 === 0 ? [right.net, left.net] : [left.net, right.net];
      const length = i < 40 ? ETH_HDR_SIZE + i : 60 + (i * 7919) % (most - 59);
      const sent = frame(from, to, length, i);
      const got = to.receive({ deadline: 2000 });
      await from.send(sent);
      assertEquals((await got).bytes, sent, `frame ${i} of ${length} bytes`);
    }
    assertEquals([left.faults, right.faults], [[], []]);
    assertEquals(left.net.stats.rxFrames + right.net.stats.rxFrames, 300);
  });

  Deno.test(`net: ping finds the peer on the wire (${name})`, async () => {
    const hub = new Hub();
    using peer = new HostPeer(hub.port(), { mac: "52:55:0a:00:02:02", ip: "10.0.2.2" });
    await using rig = await Rig.open({ backend: hub.port(), ...options });
    const { net } = rig;
    const result = await ping(net, { source: "10.0.2.15", target: "10.0.2.2", count: 3 });
    assertEquals(result.mac, "52:55:0a:00:02:02");
    assertEquals(result.replies.map(({ sequence }) => sequence), [0, 1, 2]);
    assertEquals(peer.stats.echoReplies, 3);
  });
}

Deno.test("net: ping asks again when its first ARP requests are lost", async () => {
  const hub = new Hub();
  using _peer = new HostPeer(hub.port(), { mac: "52:55:0a:00:02:02", ip: "10.0.2.2" });
  const backend = hub.port();
  const send = backend.send.bind(backend);
  let lost = 0;
  backend.send = (...frame) => lost < 2 ? void lost++ : send(...frame);
  await using rig = await Rig.open({ backend });
  const options = { source: "10.0.2.15", target: "10.0.2.2", count: 1, deadline: 2000 };
  const { mac, replies } = await ping(rig.net, options);
  assertEquals([lost, mac, replies.length], [2, "52:55:0a:00:02:02", 1]);
});

Deno.test("net: ping says when nobody answers ARP", async () => {
  await using rig = await Rig.open({ backend: new Hub().port() });
  const error = await assertRejects(
    () => ping(rig.net, { source: "10.0.2.15", target: "10.0.2.9", deadline: 5 }),
    VireoError,
  );
  assertEquals(error.code, "TIMEOUT");
});

Deno.test("net: attributes come from the device", async () => {
  await using rig = await Rig.open({
    backend: new Hub().port(),
    mac: "52:54:00:aa:bb:cc",
    mtu: 4000,
    queuePairs: 4,
    speed: 25000,
    duplex: 1,
    driver: { pairs: 3 },
  });
  const { net } = rig;
  assertEquals(
    [net.macText, net.mtu, net.queuePairs, net.maxQueuePairs, net.speed, net.duplex, net.linkUp],
    ["52:54:00:aa:bb:cc", 4000, 3, 4, 25000, "full", true],
  );
  assertEquals(rig.model.pairs, 3);
});

Deno.test("net: without MAC a random local address is made and sent", async () => {
  await using rig = await Rig.open({
    backend: new Hub().port(),
    without: [NetFeature.MAC],
    driver: { random: (into) => into.fill(0xff) },
  });
  assertEquals(rig.net.macText, "fe:ff:ff:ff:ff:ff");
  assertEquals(rig.model.mac, rig.net.mac);
});

Deno.test("net: a legacy device gets its address through config", async () => {
  await using rig = await Rig.open({
    backend: new Hub().port(),
    legacy: true,
    without: [NetFeature.CTRL_MAC_ADDR],
  });
  await rig.net.setMac(Uint8Array.of(2, 1, 2, 3, 4, 5));
  assertEquals(rig.model.mac, Uint8Array.of(2, 1, 2, 3, 4, 5));
});

Deno.test("net: every control command does what it says, and a recovery repeats it", async () => {
  await using rig = await Rig.open({ backend: new Hub().port(), queuePairs: 4 });
  const { net, model } = rig;
  const other = Uint8Array.of(2, 0, 0, 0, 0, 9);
  const group = Uint8Array.of(1, 0, 0x5e, 0, 0, 7);
  await net.setMac(Uint8Array.of(2, 0, 0, 0, 0, 1));
  await net.setRxMode(RxMode.ALL_MULTICAST, true);
  await net.setRxMode(RxMode.NO_BROADCAST, true);
  await net.setRxMode(RxMode.ALL_UNICAST, true);
  await net.setRxMode(RxMode.ALL_UNICAST, false);
  await net.setMacTable([other], [group]);
  await net.addVlan(100);
  await net.addVlan(4095);
  await net.addVlan(7);
  await net.removeVlan(7);
  await net.setPairs(2);
  await net.setGuestOffloads([NetFeature.GUEST_CSUM, NetFeature.GUEST_TSO4]);
  const { filter, hash, coalescing, ...rest } = model.snapshot();
  const off = { maxPackets: 0, maxUsecs: 0 };
  assertEquals(coalescing, { rx: off, tx: off, own: [] });
  assertEquals(hash, { types: 0, key: [], table: [], unclassified: 0 });
  assertEquals(rest, { mac: [2, 0, 0, 0, 0, 1], status: 1, pairs: 2, offloads: [1, 7] });
  assertEquals(filter, {
    modes: [false, true, false, false, false, true],
    unicast: [0x020000000009],
    multicast: [0x01005e000007],
    vlans: [100, 4095],
  });
  const before = model.snapshot();
  await rig.recover();
  assertEquals(model.snapshot(), before);
  assertEquals(net.queuePairs, 2);
});

Deno.test("net: a refused command, bad use and a missing feature are told apart", async () => {
  await using rig = await Rig.open({ backend: new Hub().port(), queuePairs: 2 });
  const { net, model } = rig;
  const many = Array.from({ length: 65 }, (_, i) => Uint8Array.of(2, 0, 0, 0, 0, i));
  const refused = await assertRejects(() => net.setMacTable(many, []), VireoError);
  assertEquals([refused.code, refused.device, refused.queue, refused.seen, refused.expected], [
    "COMMAND_REFUSED",
    "virtio0",
    4,
    1,
    0,
  ]);
  assertEquals(model.stats.controlErrors, 1);
  await assertRejects(() => net.setPairs(3), RangeError, "1 to 2");
  await assertRejects(() => net.addVlan(4096), RangeError, "4095");
  await assertRejects(() => net.setMac(Uint8Array.of(1, 0, 0, 0, 0, 0)), TypeError, "multicast");
  await assertRejects(() => net.setMacTable([Uint8Array.of(1)], []), TypeError, "1 bytes");
  await assertRejects(() => net.setGuestOffloads([NetFeature.CSUM]), TypeError, "CSUM");
  await using plain = await Rig.open({
    backend: new Hub().port(),
    without: [NetFeature.CTRL_VQ],
  });
  for (
    const act of [
      () => plain.net.setPromiscuous(true),
      () => plain.net.addVlan(1),
      () => plain.net.setPairs(1),
      () => plain.net.setMacTable([], []),
      () => plain.net.setGuestOffloads([]),
    ]
  ) {
    assertEquals((await assertRejects(act, VireoError)).code, "UNSUPPORTED");
  }
});

Deno.test("net: link and announce become events, and the announce is acknowledged", async () => {
  await using rig = await Rig.open({ backend: new Hub().port() });
  const { net, model } = rig;
  const next = (type: string): Promise<boolean> =>
    new Promise((resolve) => net.addEventListener(type, () => resolve(net.linkUp), { once: true }));
  const down = next("link");
  model.setLink(false);
  assertEquals(await down, false);
  const up = next("link");
  model.setLink(true);
  assertEquals(await up, true);
  const announce = next("announce");
  assert(model.announce());
  await announce;
  await net.setPromiscuous(true); // behind the ack in the control queue
  assertEquals(model.readConfig(6, 2), 1);
});

Deno.test("net: bad frames and offloads are refused before the device sees them", async () => {
  await using rig = await Rig.open({ backend: new Hub().port(), without: [NetFeature.HOST_UFO] });
  const { net } = rig;
  const csum = { start: 34, offset: 16 } as const;
  const gso = { type: "tcpv4", size: 100, headerLength: 54 } as const;
  const good = frame(net, undefined, 200);
  assertThrows(() => net.trySend(new Uint8Array(13)), RangeError, "14 to 1514");
  assertThrows(() => net.trySend(new Uint8Array(1515)), RangeError, "1515");
  assertThrows(() => net.trySend(good, { queue: 1 }), RangeError, "queue 1");
  assertThrows(() => net.trySend(good, { gso }), TypeError, "csum must be given");
  assertThrows(() => net.trySend(good, { csum: { start: 199, offset: 0 } }), RangeError, "200");
  assertThrows(() => net.trySend(good, { csum: { start: 4, offset: 0 } }), RangeError, "start 4");
  const bad = (change: object): () => boolean => () =>
    net.trySend(good, { csum, gso: { ...gso, ...change } });
  assertThrows(bad({ type: "udp" }), TypeError, "HOST_UFO");
  assertThrows(bad({ size: 0 }), RangeError, "pieces of 0");
  assertThrows(bad({ headerLength: 34 }), RangeError, "34 bytes");
  assertThrows(bad({ headerLength: 201 }), RangeError, "201 bytes");
  const tagged = new Uint8Array(1518);
  tagged.set([0x81, 0], 12);
  assert(net.trySend(tagged), "a tag does not count");
  assertEquals(rig.model.stats.txMalformed, 0);
  await using plain = await Rig.open({ backend: new Hub().port(), without: [NetFeature.CSUM] });
  assertThrows(() => plain.net.trySend(good, { csum }), TypeError, "CSUM");
});

Deno.test("net: a large packet crosses whole to a driver that takes it, and is cut for one that does not", async () => {
  const sizes: number[][] = [];
  for (const without of [[], [NetFeature.GUEST_CSUM], [NetFeature.MRG_RXBUF]]) {
    const { a, b } = await pair({}, { without });
    await using left = a;
    await using right = b;
    const bytes = new Uint8Array(54 + 20000);
    bytes.set(frame(left.net, right.net, 14));
    bytes.set(
      [8, 0, 0x45, 0, 0x4e, 0x48, 0, 1, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2],
      12,
    );
    bytes.set([0x10, 0, 0x20, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0x50, 0x18], 34);
    for (let i = 54; i < bytes.length; i++) bytes[i] = i * 11;
    await left.net.send(bytes, {
      csum: { start: 34, offset: 16 },
      gso: { type: "tcpv4", size: 1460, headerLength: 54 },
    });
    const got: number[] = [];
    const data: number[] = [];
    while (data.length < 20000) {
      const { bytes: piece, gsoType, gsoSize, checksum } = await right.net.receive({
        deadline: 999,
      });
      got.push(piece.length);
      data.push(...piece.subarray(54));
      const whole = piece.length > 1514;
      assertEquals([gsoType, gsoSize, checksum], whole ? [1, 1460, "partial"] : [0, 0, "none"]);
    }
    assertEquals(data, [...bytes.subarray(54)]);
    sizes.push(got);
  }
  const cut = [...new Array<number>(13).fill(1514), 54 + 20000 - 13 * 1460];
  assertEquals(sizes, [[20054], cut, [20054]]);
});

Deno.test("net: the inbox drops the newest or the oldest and counts", async () => {
  for (const drop of ["newest", "oldest"] as const) {
    const { a, b } = await pair({}, { driver: { inbox: 2, drop } });
    await using left = a;
    await using right = b;
    for (let i = 0; i < 4; i++) left.net.trySend(frame(left.net, right.net, 60 + i));
    left.net.tx().kick();
    right.net.poll();
    const kept = [await right.net.receive(), await right.net.receive()];
    assertEquals(
      kept.map(({ bytes }) => bytes.length),
      drop === "newest" ? [60, 61] : [62, 63],
    );
    assertEquals(right.net.stats.rxQueueFull, 2);
  }
});

Deno.test("net: onFrame sees frames where they lie, and may throw", async () => {
  const { a, b } = await pair({});
  await using left = a;
  await using right = b;
  const sent = frame(left.net, right.net, 99);
  const seen: Uint8Array[] = [];
  let calls = 0;
  const errors: unknown[] = [];
  const listen = (event: ErrorEvent): void => {
    event.preventDefault();
    errors.push(event.error);
  };
  globalThis.addEventListener("error", listen);
  right.net.onFrame = (rx) => {
    if (calls++ === 0) throw new Error("a bug of the user's");
    seen.push(rx.view().slice());
  };
  for (let i = 0; i < 2; i++) left.net.trySend(sent);
  left.net.tx().kick();
  assertEquals(right.net.poll(), 2);
  globalThis.removeEventListener("error", listen);
  assertEquals(seen, [sent]);
  assertEquals(errors.map((error) => (error as Error).message), ["a bug of the user's"]);
});

Deno.test("net: receive can be aborted, timed out, iterated and streamed", async () => {
  const { a, b } = await pair({});
  await using left = a;
  await using right = b;
  const reason = new Error("enough");
  await assertRejects(
    () => right.net.receive({ signal: AbortSignal.abort(reason) }),
    Error,
    "enough",
  );
  const abort = new AbortController();
  const waiting = right.net.receive({ signal: abort.signal });
  abort.abort(reason);
  await assertRejects(() => waiting, Error, "enough");
  const late = await assertRejects(() => right.net.receive({ deadline: 1 }), VireoError);
  assertEquals(late.code, "TIMEOUT");
  for (let i = 0; i < 3; i++) left.net.trySend(frame(left.net, right.net, 60 + i));
  for await (const { bytes } of right.net) {
    assertEquals(bytes.length, 60);
    break;
  }
  const reader = right.net.readable.getReader();
  assertEquals((await reader.read()).value?.bytes.length, 61);
  await reader.cancel();
  assertEquals((await right.net.receive()).bytes.length, 62);
});

Deno.test("net: senders wait for room in order, and can be aborted", async () => {
  const { a, b } = await pair({ ringSize: 4 });
  await using left = a;
  await using right = b;
  const got: number[] = [];
  right.net.onFrame = (rx) => got.push(rx.bytes[rx.offset + 20]!);
  const abort = new AbortController();
  const sends: Promise<void>[] = [];
  for (let i = 0; i < 64; i++) {
    const bytes = frame(left.net, right.net, 60);
    bytes[20] = i;
    sends.push(left.net.send(bytes, i === 40 ? { signal: abort.signal } : {}));
  }
  abort.abort(new Error("not this one"));
  const results = await Promise.allSettled(sends);
  const rejected = results.flatMap(({ status }, i) => status === "rejected" ? [i] : []);
  assert(rejected.length === 0 || rejected[0] === 40, `${rejected}`);
  await left.net.writable();
  left.net.tx().kick();
  right.net.poll();
  const expected = Array.from({ length: 64 }, (_, i) => i).filter((i) => !rejected.includes(i));
  assertEquals(got, expected);
});

Deno.test("net: the batch interface sends what was put into its slots", async () => {
  const { a, b } = await pair({ ringSize: 8 });
  await using left = a;
  await using right = b;
  const tx = left.net.tx();
  const got: number[] = [];
  right.net.onFrame = (rx) => got.push(rx.length);
  for (let round = 0; round < 5; round++) {
    for (let i = 0; i < 8; i++) {
      const slot = tx.reserve();
      assert(slot >= 0);
      const length = 60 + round * 8 + i;
      tx.frames[slot]!.set(frame(left.net, right.net, length));
      if (i === 0) assertThrows(() => tx.submit(slot, 13), RangeError, "13");
      tx.submit(slot, length);
    }
    assertEquals(round === 0 ? tx.reserve() : -1, -1, "all slots are with the device");
    tx.kick();
    right.net.poll();
  }
  assertEquals(got, Array.from({ length: 40 }, (_, i) => 60 + i));
  assertEquals(tx.reclaim(), 8);
  assertEquals(tx.free, 8);
});

Deno.test("net: a failure rejects the waiters, a recovery serves again", async () => {
  const { a, b } = await pair({});
  await using left = a;
  await using right = b;
  const waiting = right.net.receive();
  waiting.catch(() => {});
  await right.recover();
  const error = await assertRejects(() => waiting, VireoError);
  assertEquals(error.code, "DEVICE_NEEDS_RESET");
  const sent = frame(left.net, right.net, 77);
  await left.net.send(sent);
  assertEquals((await right.net.receive({ deadline: 999 })).bytes, sent);
  await right.net.freeze();
  const frozen = await assertRejects(() => right.net.send(sent), VireoError);
  assertEquals(frozen.code, "DEVICE_STATE");
  const stopped = await assertRejects(() => right.net.receive(), VireoError);
  assertEquals(stopped.code, "DEVICE_STATE");
});

Deno.test("net: no memory stays behind after remove", async () => {
  for (const [, options] of SETUPS) {
    const rig = await Rig.open({ backend: new Hub().port(), queuePairs: 2, ...options });
    await rig.net.setPromiscuous(true);
    await rig.recover();
    await rig[Symbol.asyncDispose]();
    assertEquals(rig.emuDma.freeBytes, rig.memory.size);
  }
});

Deno.test("net: several queues carry many frames, every byte verified", async () => {
  const { a, b } = await pair({ queuePairs: 4 });
  await using left = a;
  await using right = b;
  let random = 12345;
  const next = (): number => random = (Math.imul(random, 1103515245) + 12345) & 0x7fffffff;
  const expected = new Map<number, Uint8Array>();
  const queues = new Set<number>();
  let wrong = 0;
  for (const { net } of [left, right]) {
    net.onFrame = (rx) => {
      const bytes = rx.view();
      const id = new DataView(bytes.buffer, bytes.byteOffset).getUint32(16);
      const sent = expected.get(id);
      expected.delete(id);
      queues.add(rx.queue);
      if (sent === undefined || sent.some((byte, i) => byte !== bytes[i])) wrong++;
    };
  }
  for (let id = 0; id < 20000; id++) {
    const [from, to] = (next() & 1024) !== 0 ? [left.net, right.net] : [right.net, left.net];
    const bytes = frame(from, to, 60 + next() % 1455, id);
    new DataView(bytes.buffer).setUint32(16, id);
    expected.set(id, bytes);
    await from.send(bytes, { queue: next() % 4 });
  }
  for (const { net } of [left, right]) {
    for (let queue = 0; queue < 4; queue++) net.tx(queue).kick();
  }
  for (const { net } of [left, right]) for (let queue = 0; queue < 4; queue++) net.poll(queue);
  assertEquals([wrong, expected.size], [0, 0]);
  assert(queues.size > 1, `${[...queues]}`);
});

for (const [name, options] of SETUPS) {
  Deno.test(`net: the driver owns memory only when it may (${name})`, async () => {
    const { a, b } = await pair({ ...options, bounce: true });
    await using left = a;
    await using right = b;
    await left.net.setMac(Uint8Array.of(2, 0, 0, 0, 0, 1));
    assertEquals(left.model.mac, left.net.mac);
    for (let i = 0; i < 20; i++) {
      const sent = frame(left.net, right.net, Math.min(1514, 60 + i * 80), i);
      await left.net.send(sent);
      assertEquals((await right.net.receive({ deadline: 999 })).bytes, sent);
    }
    assertEquals([left.bouncing!.mistakes, right.bouncing!.mistakes], [[], []]);
  });
}

Deno.test("net: a frame that the ring could never take is refused, not waited for", async () => {
  await using rig = await Rig.open({ backend: new Hub().port(), ringSize: 4 });
  const { net } = rig;
  const large = new Uint8Array(20000);
  large.set([8, 0], 12);
  large[46] = 0x50;
  const options = {
    csum: { start: 34, offset: 16 },
    gso: { type: "tcpv4", size: 1000, headerLength: 54 },
  } as const;
  assertThrows(() => net.trySend(large, options), RangeError, "on this queue");
  await assertRejects(() => net.send(large, options), RangeError, "on this queue");
  assert(net.trySend(large.subarray(0, 3000), options), "two slots are there");
});
