// USO, exact header lengths and STANDBY, in both directions: every number is typed from virtio 1.4 §5.1.
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { NetDevice, type NetDeviceOptions } from "@vireo/emu";
import { Hub } from "../../emu/backends/hub.ts";
import { Accept } from "../../emu/backends/net_backend.ts";
import { createNetDriver } from "../../drivers/net/mod.ts";
import { bootRecorded } from "./boot.ts";
import { F, large, MAC, offload, Rig, sound } from "./net_device_rig.ts";
import { at, le } from "./recorder.ts";

const SOON = { deadline: 5000 };
const UDP_L4 = 5;
const [GUEST_HDRLEN, STANDBY] = [59, 62];
const KINDS = [
  { kind: "udp", feature: F.GUEST_USO4, start: 34 },
  { kind: "udpv6", feature: F.GUEST_USO6, start: 54 },
] as const;

/** What datagrams of cut packets carry; each must be whole and right. */
function joined(pieces: readonly Uint8Array[], start: number): number[] {
  return pieces.flatMap((piece) => {
    assertEquals(
      new DataView(piece.buffer, piece.byteOffset).getUint16(start + 4),
      piece.length - start,
    );
    assert(sound(piece), "the checksum");
    return [...piece.subarray(start + 8)];
  });
}

for (const { kind, feature, start } of KINDS) {
  Deno.test(`spec net: a large ${kind} packet of USO comes whole only with a feature of it (dev.net.rx.10, .11, .12, .16-18, .22, .23, .32)`, async () => {
    const { bytes } = large(kind, 5000);
    const work = offload(start, 6, UDP_L4, 1400);
    await using rig = new Rig([F.MRG_RXBUF, F.GUEST_CSUM, feature]);
    const [packet, ...more] = await rig.packets(bytes, work);
    assertEquals(more, []);
    assertEquals([packet![0], packet![1]], [1, UDP_L4]);
    assertEquals([4, 6, 8].map((place) => at(packet!, place, 2)), [1400, start, 6]);
    assertEquals(packet!.subarray(12), bytes);
    for (const features of [[F.GUEST_CSUM], [F.GUEST_CSUM, F.GUEST_UFO], []]) {
      await using less = new Rig([F.MRG_RXBUF, ...features]);
      const packets = await less.packets(bytes, work);
      assertEquals(
        packets.map(({ length }) => length),
        [1400, 1400, 1400, 800].map((size) => 12 + start + 8 + size),
      );
      assert(packets.every((packet) => packet[0] === 0 && packet[1] === 0));
      const pieces = packets.map((packet) => packet.slice(12));
      assertEquals(joined(pieces, start), [...bytes.subarray(start + 8)]);
      // Datagrams of their own, not fragments: each has its identification, and DF stays as it was.
      if (kind === "udp") {
        const words = pieces.map((piece) => new DataView(piece.buffer));
        assertEquals(words.map((view) => view.getUint16(18)), [1, 2, 3, 4]);
        assertEquals(words.map((view) => view.getUint16(20)), [0, 0, 0, 0]);
      }
    }
  });
}

Deno.test("spec net: the driver turns USO off and on by the offloads (dev.net.rx.10)", async () => {
  const features = [F.CTRL_VQ, F.CTRL_GUEST_OFFLOADS, F.GUEST_CSUM, F.GUEST_USO4];
  await using rig = new Rig([F.MRG_RXBUF, ...features]);
  const { bytes } = large("udp", 3000);
  /** How many packets come of it. */
  const pieces = (): number => {
    const { rxFrames } = rig.model.stats;
    const queue = rig.driver.queues[0]!;
    for (let i = 0; i < 3; i++) void queue.add([{ write: 4096 }]);
    queue.kick();
    rig.receive(bytes, offload(34, 6, UDP_L4, 1400));
    return rig.model.stats.rxFrames - rxFrames;
  };
  const set = (low: number, high: number): Promise<number> => rig.control(5, 0, ...le(low, high));
  assertEquals(pieces(), 1);
  assertEquals(await set(2, 0), 0);
  assertEquals(pieces(), 3);
  assertEquals(await set(2, 1 << 22), 0);
  assertEquals(pieces(), 1);
  // GUEST_USO6 was not negotiated.
  assertEquals(await set(2, 1 << 23), 1);
});

Deno.test("spec net: the device cuts datagrams for receivers that need it, with HOST_USO (dev.net.tx.1)", async () => {
  const { bytes } = large("udp", 3000);
  const header = le([1, 1], [UDP_L4, 1], [42, 2], [1400, 2], [34, 2], [6, 2], [0, 2]);
  await using rig = new Rig([F.CSUM, F.HOST_USO]);
  await rig.driver.request(1, [{ read: le(header, bytes) }]);
  assertEquals(rig.out.map((frame) => frame.bytes), [bytes]);
  const plain: Uint8Array[] = [];
  rig.hub.port().connect({
    accepts: Accept.ALL & ~Accept.USO4,
    flush: () => {},
    receive: (from, offset, length) => plain.push(from.slice(offset, offset + length)),
  });
  await rig.driver.request(1, [{ read: le(header, bytes) }]);
  assertEquals(plain.map(({ length }) => length), [1442, 1442, 242]);
  assertEquals(joined(plain, 34), [...bytes.subarray(42)]);
  await using without = new Rig([F.CSUM]);
  await without.driver.request(1, [{ read: le(header, bytes) }]);
  assertEquals([without.out.length, without.model.stats.txMalformed], [0, 1]);
});

async function boot(device: Partial<NetDeviceOptions> = {}) {
  const hub = new Hub();
  const model = new NetDevice({ backend: hub.port(), mac: MAC, ...device });
  const rig = await bootRecorded("net", model, createNetDriver());
  return { ...rig, hub };
}

Deno.test("spec net: UDP_L4 and exact header lengths as the driver sends them (drv.net.tx.8, .23-25, .32)", async () => {
  for (const { kind, start } of KINDS) {
    const { bytes } = large(kind, 4000);
    const csum = { start, offset: 6 };
    const gso = (headerLength: number) => ({ type: "udp_l4", size: 1400, headerLength }) as const;
    await using rig = await boot();
    assert(rig.net.device.has(GUEST_HDRLEN));
    await rig.net.send(bytes, { csum, gso: gso(start + 8) });
    rig.net.tx().kick();
    const sent = rig.seen.chains.findLast(({ queue }) => queue === 1)!.read;
    assertEquals(
      sent,
      le([1, 1], [UDP_L4, 1], [start + 8, 2], [1400, 2], [start, 2], [6, 2], [0, 2], bytes),
    );
    for (const wrong of [start + 7, start + 9, start + 20]) {
      assertThrows(() => rig.net.trySend(bytes, { csum, gso: gso(wrong) }), RangeError, "headers");
    }
    assertThrows(
      () => rig.net.trySend(bytes, { csum, gso: { ...gso(start + 8), ecn: true } }),
      TypeError,
      "ECN",
    );
    await using hint = await boot({ without: [GUEST_HDRLEN] });
    await hint.net.send(bytes, { csum, gso: gso(start + 20) });
    await using none = await boot({ without: [F.HOST_USO] });
    assertThrows(
      () => none.net.trySend(bytes, { csum, gso: gso(start + 8) }),
      TypeError,
      "HOST_USO",
    );
  }
  // The length of a TCP header is in it.
  const { bytes, start } = large("tcpv4", 4000);
  bytes[start + 12] = 0x80;
  await using rig = await boot();
  const options = (headerLength: number) => ({
    csum: { start, offset: 16 },
    gso: { type: "tcpv4", size: 1400, headerLength },
  } as const);
  assertThrows(() => rig.net.trySend(bytes, options(start + 20)), RangeError, "66");
  await rig.net.send(bytes, options(start + 32));
});

Deno.test("spec net: the old GSO of legacy devices is not for datagrams (drv.net.tx.8)", async () => {
  const model = new NetDevice({ backend: new Hub().port(), mac: MAC });
  // GSO, which our model does not offer, instead of HOST_TSO4.
  Object.defineProperty(model, "features", { value: model.features.with(6).without(11) });
  await using rig = await bootRecorded("net", model, createNetDriver(), { version: 1 });
  const { bytes, start } = large("tcpv4", 4000);
  const size = 1400;
  await rig.net.send(bytes, {
    csum: { start, offset: 16 },
    gso: { type: "tcpv4", size, headerLength: start + 20 },
  });
  const csum = { start, offset: 6 };
  const gso = { type: "udp_l4", size, headerLength: start + 8 } as const;
  assertThrows(() => rig.net.trySend(large("udp", 4000).bytes, { csum, gso }), TypeError, "USO");
});

Deno.test("spec net: large datagrams arrive, and their offloads are asked for by bit (drv.net.offloads.1)", async () => {
  await using rig = await boot();
  const { net, model } = rig;
  const { bytes } = large("udpv6", 3000);
  const wire = rig.hub.port();
  const work = offload(54, 6, UDP_L4, 1400);
  wire.send(bytes, 0, bytes.length, work);
  wire.flush();
  const { gsoType, gsoSize, checksum, bytes: got } = await net.receive(SOON);
  assertEquals([gsoType, gsoSize, checksum, got], [UDP_L4, 1400, "partial", bytes]);
  await net.setGuestOffloads([F.GUEST_CSUM, F.GUEST_USO6], SOON);
  const control = rig.seen.chains.findLast(({ queue }) => queue === 2)!;
  assertEquals(control.read, le([5, 1], [0, 1], 2, 1 << 23));
  assertEquals(model.accepts, Accept.CSUM | Accept.USO6);
  await rig.bus.freeze();
  await rig.bus.restore();
  assertEquals(model.accepts, Accept.CSUM | Accept.USO6);
  await using without = await boot({ without: [F.GUEST_USO4] });
  await assertRejects(() => without.net.setGuestOffloads([F.GUEST_USO4], SOON), TypeError);
});

Deno.test("spec net: STANDBY is accepted when it is offered (drv.net.config.9)", async () => {
  await using rig = await boot({ standby: true });
  assertEquals([rig.net.standby, rig.net.device.has(STANDBY)], [true, true]);
  await using plain = await boot();
  assertEquals(plain.net.standby, false);
});
