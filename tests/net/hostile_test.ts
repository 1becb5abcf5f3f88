import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { FeatureSet, NET_CONFIG, NetFeature, VireoError } from "@vireo/hal";
import { Hub } from "../../emu/backends/hub.ts";
import type { VirtioDevice } from "../../drivers/device.ts";
import { netDriver } from "../../drivers/net/driver.ts";
import type { NetStats } from "../../drivers/net/frame.ts";
import { Rig, type RigOptions } from "./net_rig.ts";

function open(options: Partial<RigOptions> = {}): Promise<Rig> {
  return Rig.open({ backend: new Hub().port(), ...options });
}

/** Uses receive buffers as the test says: header and frame, and the length that is claimed. */
function use(
  rig: Rig,
  buffers: readonly { readonly bytes: readonly number[]; readonly claim?: number }[],
): void {
  const queue = rig.far(0);
  for (const { bytes, claim } of buffers) {
    const chain = queue.pop();
    assert(chain !== undefined, "the driver gave no buffer");
    chain.write(Uint8Array.from(bytes));
    queue.push(chain, claim ?? bytes.length);
  }
  queue.signal();
  rig.net.poll();
}

interface Header {
  readonly flags?: number;
  readonly gso?: number;
  readonly size?: number;
  readonly start?: number;
  readonly offset?: number;
  readonly buffers?: number;
}

/** A header of 12 bytes and an IPv4 frame of 60. */
function packet(header: Header, type: readonly number[] = [8, 0], length = 60): number[] {
  const { flags = 0, gso = 0, size = 0, start = 0, offset = 0, buffers = 1 } = header;
  const bytes = [flags, gso, 0, 0, size & 0xff, size >>> 8, start & 0xff, start >>> 8];
  bytes.push(offset & 0xff, offset >>> 8, buffers & 0xff, buffers >>> 8);
  return [
    ...bytes,
    ...new Array<number>(12).fill(2),
    ...type,
    ...new Array<number>(length - 14).fill(3),
  ];
}

const CSUM = { flags: 1, start: 34, offset: 16 } as const;

const DROPS: readonly (readonly [string, keyof NetStats, number[][], Partial<RigOptions>?])[] = [
  ["no bytes at all", "rxShort", [[]]],
  ["less than a header", "rxShort", [packet({}).slice(0, 11)]],
  ["less than an Ethernet header", "rxShort", [packet({}).slice(0, 25)]],
  ["num_buffers 0", "rxNumBuffers", [packet({ buffers: 0 })]],
  ["num_buffers over what arrived", "rxNumBuffers", [packet({ buffers: 3 }), [1, 2, 3]]],
  ["num_buffers 65535", "rxNumBuffers", [packet({ buffers: 65535 })]],
  ["a checksum behind the end", "rxBadChecksum", [packet({ ...CSUM, start: 60 })]],
  ["a checksum across the end", "rxBadChecksum", [packet({ ...CSUM, offset: 25 })]],
  ["a checksum in the Ethernet header", "rxBadChecksum", [packet({ ...CSUM, start: 2 })]],
  ["a checksum that wraps", "rxBadChecksum", [packet({ ...CSUM, start: 65535, offset: 65535 })]],
  ["gso_size 0", "rxBadGso", [packet({ ...CSUM, gso: 1 })]],
  ["TCPV4 in IPv6", "rxBadGso", [packet({ ...CSUM, gso: 1, size: 9 }, [0x86, 0xdd])]],
  ["TCPV6 in IPv4", "rxBadGso", [packet({ ...CSUM, gso: 4, size: 9 })]],
  ["UDP in ARP", "rxBadGso", [packet({ ...CSUM, gso: 3, size: 9 }, [8, 6])]],
  ["a gso_type of no meaning", "rxBadGso", [packet({ ...CSUM, gso: 2, size: 9 })]],
  ["USO in ARP", "rxBadGso", [packet({ ...CSUM, gso: 5, size: 9 }, [8, 6])]],
  ["USO, not negotiated", "rxBadGso", [packet({ ...CSUM, gso: 5, size: 9 })], {
    without: [NetFeature.GUEST_USO4, NetFeature.GUEST_USO6],
  }],
  ["a tunnel bit", "rxBadGso", [packet({ ...CSUM, gso: 0x21, size: 9 })]],
  ["the largest gso_type", "rxBadGso", [packet({ ...CSUM, gso: 0x7f, size: 9 })]],
  ["TSO4, not negotiated", "rxBadGso", [packet({ ...CSUM, gso: 1, size: 9 })], {
    without: [NetFeature.GUEST_TSO4],
  }],
  ["ECN, not negotiated", "rxBadGso", [packet({ ...CSUM, gso: 0x81, size: 9 })], {
    without: [NetFeature.GUEST_ECN],
  }],
  ["a checksum, not negotiated", "rxBadChecksum", [packet(CSUM)], {
    without: [NetFeature.GUEST_CSUM],
  }],
];

for (const [name, counter, buffers, options] of DROPS) {
  Deno.test(`net: a hostile device is dropped and counted: ${name}`, async () => {
    await using rig = await open(options);
    const seen: number[] = [];
    rig.net.onFrame = (rx) => seen.push(rx.length);
    const before = rig.queue(0).freeSlots;
    use(rig, buffers.map((bytes) => ({ bytes })));
    assertEquals(seen, []);
    assertEquals(rig.net.stats[counter], 1);
    assertEquals(rig.queue(0).freeSlots, before, "every buffer went back to the device");
    use(rig, [{ bytes: packet({}) }]);
    assertEquals(seen, [60], "the next good frame arrives");
    assertEquals(rig.queue(0).broken, undefined);
  });
}

Deno.test("net: a hostile device that claims more than a buffer holds gains nothing", async () => {
  await using rig = await open();
  const seen: number[] = [];
  rig.net.onFrame = (rx) => seen.push(rx.length);
  use(rig, [{ bytes: packet({}), claim: 0xffffffff }]);
  assert(seen.every((length) => length <= 1536 - 12), `${seen}`);
});

Deno.test("net: a hostile device that sends over 64 KiB in buffers is dropped", async () => {
  await using rig = await open();
  const seen: number[] = [];
  rig.net.onFrame = (rx) => seen.push(rx.length);
  const full = new Array<number>(1536).fill(1);
  const first = [...packet({ buffers: 60 }), ...full].slice(0, 1536);
  use(rig, [{ bytes: first }, ...new Array<{ bytes: number[] }>(59).fill({ bytes: full })]);
  assertEquals([seen, rig.net.stats.rxTooLong], [[], 1]);
});

Deno.test("net: a good partial checksum and a checked one are told apart", async () => {
  await using rig = await open();
  const seen: unknown[] = [];
  rig.net.onFrame = (rx) => seen.push([rx.checksum, rx.csumStart, rx.csumOffset, rx.gsoSize]);
  use(rig, [
    { bytes: packet(CSUM) },
    { bytes: packet({ flags: 2 }) },
    { bytes: packet({ ...CSUM, flags: 0xf9, gso: 0x81, size: 700 }) },
    // RSC_INFO: csum_start and csum_offset count segments and acknowledgements (drv.net.rx.3).
    { bytes: packet({ ...CSUM, flags: 0xfd, gso: 0x81, size: 700 }) },
    { bytes: packet({}) },
  ]);
  assertEquals(seen, [
    ["partial", 34, 16, 0],
    ["valid", 0, 0, 0],
    ["partial", 34, 16, 700],
    ["none", 0, 0, 700],
    ["none", 0, 0, 0],
  ]);
});

Deno.test("net: a command without an answer times out, and its memory stays the device's", async () => {
  const rig = await open();
  const free = rig.emuDma.freeBytes;
  rig.model.notify = () => {};
  const error = await assertRejects(
    () => rig.net.setPromiscuous(true, { deadline: 5 }),
    VireoError,
  );
  assertEquals(error.code, "TIMEOUT");
  assert(rig.emuDma.freeBytes < free);
  await rig[Symbol.asyncDispose]();
  assertEquals(rig.emuDma.freeBytes, rig.memory.size);
});

Deno.test("net: a command whose ack was never written is refused", async () => {
  await using rig = await open();
  rig.model.notify = (index) => {
    const queue = rig.far(index);
    const chain = queue.pop();
    if (chain === undefined) return;
    queue.push(chain, 0);
    queue.signal();
  };
  const error = await assertRejects(() => rig.net.setPromiscuous(true), VireoError);
  assertEquals([error.code, error.seen], ["COMMAND_REFUSED", 0xff]);
});

Deno.test("net: a device that uses what it was not given breaks the queue, nothing throws", async () => {
  await using rig = await open();
  const waiting = rig.net.receive({ deadline: 1000 });
  waiting.catch(() => {});
  const chain = rig.far(0).pop()!;
  const lie = { head: chain.head, held: true, written: 20 };
  const used = rig.queue(0).addresses.device - rig.memory.base;
  const words = new Uint16Array(rig.memory.bytes.buffer);
  assertEquals(lie.held, true);
  new DataView(rig.memory.bytes.buffer).setUint32(used + 4, 9999, true);
  Atomics.store(words, used / 2 + 1, 1);
  assertEquals(rig.net.poll(), 0);
  assertEquals(rig.queue(0).broken?.code, "USED_ID_RANGE");
  rig.net.failed(rig.queue(0).broken!);
  const error = await assertRejects(() => waiting, VireoError);
  assertEquals(error.code, "USED_ID_RANGE");
  assertThrows(() => rig.net.trySend(new Uint8Array(60)), VireoError);
});

/** What `validate` makes of a device that offers these bits. */
function validate(offered: FeatureSet, config: Partial<Record<number, number>> = {}): FeatureSet {
  const device = {
    name: "virtio0",
    offered,
    config: { read16: (offset: number) => config[offset] ?? 0 },
  } as unknown as VirtioDevice;
  return netDriver.validate!(device, offered.and(netDriver.features));
}

Deno.test("net: a device that offers control features without CTRL_VQ is refused", () => {
  for (
    const name of [
      "CTRL_RX",
      "CTRL_VLAN",
      "CTRL_RX_EXTRA",
      "GUEST_ANNOUNCE",
      "MQ",
      "CTRL_MAC_ADDR",
      "CTRL_GUEST_OFFLOADS",
      "RSS",
      "HASH_REPORT",
      "NOTF_COAL",
      "VQ_NOTF_COAL",
    ] as const
  ) {
    const error = assertThrows(() => validate(FeatureSet.of(NetFeature[name])), VireoError);
    assertEquals([error.code, error.device, error.seen, error.expected], [
      "FEATURE_DEPENDENCY",
      "virtio0",
      name,
      "CTRL_VQ",
    ]);
  }
});

Deno.test("net: offloads without the checksum they need are not used", () => {
  const { HOST_TSO4, HOST_ECN, GUEST_TSO6, GUEST_ECN, GUEST_UFO, MAC } = NetFeature;
  assertEquals([...validate(FeatureSet.of(HOST_TSO4, HOST_ECN, GUEST_TSO6, GUEST_ECN, MAC))], [
    MAC,
  ]);
  assertEquals([...validate(FeatureSet.of(1, GUEST_UFO, GUEST_ECN))], [1, GUEST_UFO]);
});

Deno.test("net: an mtu or a number of pairs out of range is not used", () => {
  const set = FeatureSet.of(NetFeature.MTU, NetFeature.MQ, NetFeature.CTRL_VQ);
  const { mtu, max_virtqueue_pairs: pairs } = NET_CONFIG;
  const bits = (config: Record<number, number>): number[] => [...validate(set, config)];
  assertEquals(bits({ [mtu.offset]: 68, [pairs.offset]: 0x8000 }), [3, 17, 22]);
  assertEquals(bits({ [mtu.offset]: 67, [pairs.offset]: 1 }), [17, 22]);
  assertEquals(bits({ [mtu.offset]: 1500, [pairs.offset]: 0 }), [3, 17]);
  assertEquals(bits({ [mtu.offset]: 1500, [pairs.offset]: 0x8001 }), [3, 17]);
});

Deno.test("net: interrupts are off while received frames are handled, and on afterwards", async () => {
  await using rig = await open();
  const queue = rig.queue(0);
  const seen: boolean[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  rig.net.onFrame = () => void (seen.push(queue.callbacks) === 2 && resolve());
  const far = rig.far(0);
  for (let i = 0; i < 2; i++) {
    const chain = far.pop()!;
    chain.write(Uint8Array.from(packet({})));
    far.push(chain, 72);
  }
  far.signal();
  await promise;
  await Promise.resolve();
  assertEquals([seen, queue.callbacks], [[false, false], true]);
});

Deno.test("net: a device that never runs dry does not keep the event loop", async () => {
  await using rig = await open();
  const honest = rig.model.notify.bind(rig.model);
  const bytes = Uint8Array.from(packet({}));
  let endless = true;
  let notifies = 0;
  rig.model.notify = (index) => {
    if (index !== 0 || !endless) return honest(index);
    // A loop that never yields would hang the test; this bound turns that into a failure.
    if (++notifies > 10_000) throw new Error("the driver never let go");
    const queue = rig.far(0);
    for (let chain = queue.pop(); chain !== undefined; chain = queue.pop()) {
      chain.write(bytes);
      queue.push(chain, bytes.length);
    }
    queue.signal();
  };
  rig.net.onFrame = () => {};
  rig.model.notify(0);
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, 0);
  await promise;
  clearTimeout(timer);
  endless = false;
  assert(notifies > 4 && rig.net.stats.rxFrames >= 1024, `${notifies}`);
});
