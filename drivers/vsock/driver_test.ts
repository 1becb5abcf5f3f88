import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { VireoError, VSOCK_CONFIG, VsockFeature, VsockOp, VsockType } from "@vireo/hal";
import { FakeDevice } from "../testing/fake_blk.ts";
import { Vsock } from "./driver.ts";
import { decodePacket, encodePacket, type VsockPacket } from "./packet.ts";

const CID = 42;
const HOST = 2;
const [RX, TX, EVENTS] = [0, 1, 2];
const turn = () => new Promise((resolve) => setTimeout(resolve));

/** A driver whose device takes packets, and gives some, when the test says so. */
function rig(...features: number[]) {
  const fake = new FakeDevice(...features);
  fake.config.setUint32(VSOCK_CONFIG.guest_cid.offset, CID, true);
  const device = Object.assign(fake.device, { features: fake.features, queues: fake.queues });
  const vsock = new Vsock(device);
  vsock.scan();
  const pending = (index: number) => fake.pending.filter(({ queue }) => queue.index === index);
  const give = (index: number, bytes: Uint8Array, used = bytes.length): void => {
    const [request] = pending(index);
    request!.fill(bytes);
    request!.complete(undefined, used);
    request!.queue.interrupt();
  };
  return {
    fake,
    vsock,
    pending,
    give,
    /** The device's packet, of which only so many bytes come. */
    packet(more: Partial<VsockPacket>, data = new Uint8Array(0), cut = 0): void {
      const bytes = new Uint8Array(44 + data.length);
      bytes.set(encodePacket({
        ...{ srcCid: HOST, dstCid: CID, srcPort: 9, dstPort: 7, type: VsockType.STREAM },
        ...{ op: VsockOp.REQUEST, flags: 0, bufAlloc: 1000, fwdCnt: 0, len: data.length },
        ...more,
      }));
      bytes.set(data, 44);
      give(RX, bytes, bytes.length - cut);
    },
    /** Takes the packets that were sent, and returns them or leaves them. */
    async sent(giveBack = true): Promise<VsockPacket[]> {
      await turn();
      const requests = pending(TX);
      const packets = requests.map(({ readable }) => decodePacket(readable)!);
      if (giveBack) {
        for (const request of requests) request.complete(undefined, 0);
        fake.queues[TX]!.interrupt();
      }
      return packets;
    },
  };
}

const ops = (packets: readonly VsockPacket[]): number[] => packets.map(({ op }) => op);

Deno.test("vsock driver: what is no whole packet for this guest is dropped, the rest has its answer", async () => {
  const cases: [Partial<VsockPacket>, number, number, number[]][] = [
    [{}, 0, 0, [VsockOp.RST]],
    [{ op: VsockOp.RW }, 5, 0, [VsockOp.RST]],
    [{ op: VsockOp.RST }, 0, 0, []],
    [{ dstCid: CID + 1 }, 0, 0, []],
    // Less than a header, or than it says.
    [{}, 0, 1, []],
    [{ op: VsockOp.RW }, 5, 1, []],
    [{ op: VsockOp.RW, len: 6 }, 5, 0, []],
  ];
  for (const [more, length, cut, expected] of cases) {
    const { packet, sent, pending } = rig();
    const buffers = pending(RX).length;
    packet(more, new Uint8Array(length), cut);
    const answers = await sent();
    assertEquals([ops(answers), pending(RX).length], [expected, buffers]);
    for (const { srcCid, dstCid, srcPort, dstPort, len } of answers) {
      assertEquals([srcCid, dstCid, srcPort, dstPort, len], [CID, HOST, 7, 9, 0]);
    }
  }
});

Deno.test("vsock driver: a listener takes connections of its type, one for each peer", async () => {
  const { vsock, packet, sent } = rig(VsockFeature.STREAM, VsockFeature.SEQPACKET);
  using listener = vsock.listen(7);
  assertThrows(() => vsock.listen(7), RangeError, "in use");
  packet({ type: VsockType.SEQPACKET });
  assertEquals(ops(await sent()), [VsockOp.RST]);
  packet({});
  assertEquals(ops(await sent()), [VsockOp.RESPONSE]);
  const connection = await listener.accept();
  assertEquals([connection.peerPort, connection.localPort, vsock.connections], [9, 7, 1]);
  // It has its own packets, and of another type they are none of its.
  packet({ op: VsockOp.RW }, Uint8Array.of(1, 2));
  const reader = connection.readable.getReader();
  assertEquals([...(await reader.read()).value!], [1, 2]);
  packet({ op: VsockOp.RW, type: VsockType.SEQPACKET }, Uint8Array.of(3));
  assertEquals(ops(await sent()), [VsockOp.RST]);
  connection.reset();
  assertEquals(vsock.connections, 0);
});

Deno.test("vsock driver: packets stay in the ring while 256 answers wait for the device", async () => {
  const { packet, pending, fake } = rig();
  const [rx, tx] = fake.queues;
  for (let i = 0; i < 256; i++) packet({ srcPort: i });
  await turn();
  assertEquals([rx!.used.length, pending(TX).length], [0, 64]);
  for (const waiting of [1, 2]) {
    packet({ srcPort: 255 + waiting });
    assertEquals(rx!.used.length, waiting);
  }
  // Each that comes back makes way for another one.
  for (const left of [1, 0, 0]) {
    pending(TX)[0]!.complete(undefined, 0);
    tx!.interrupt();
    await turn();
    assertEquals(rx!.used.length, left);
  }
  assertEquals(pending(TX).length, 64);
});

Deno.test("vsock driver: 128 connections wait for a listener at most; a failure ends it, and those to come", async () => {
  const { vsock, packet, sent } = rig();
  const listener = vsock.listen(7);
  assertEquals(listener.port, 7);
  const answers: number[] = [];
  for (let i = 0; i < 129; i++) {
    packet({ srcPort: i });
    answers.push(...ops(await sent()));
  }
  assertEquals([answers.length, answers.indexOf(VsockOp.RST)], [129, 128]);
  for (let i = 0; i < 128; i++) assertEquals((await listener.accept()).peerPort, i);
  const waiting = assertRejects(() => listener.accept(), VireoError, "As the test wants");
  vsock.failed(new VireoError("DEVICE_STATE", "As the test wants"));
  await waiting;
  assertEquals(vsock.connections, 0);
  await assertRejects(() => vsock.connect(1), VireoError, "As the test wants");
  await assertRejects(() => vsock.listen(7).accept(), VireoError, "As the test wants");
});

Deno.test("vsock driver: a peer's room is known from its first packet on", async () => {
  const { vsock, packet, sent } = rig();
  using listener = vsock.listen(7);
  packet({ bufAlloc: 10 });
  await sent();
  const connection = await listener.accept();
  connection.writable.getWriter().write(new Uint8Array(10)).catch(() => {});
  const [data] = await sent();
  assertEquals([data!.op, data!.len], [VsockOp.RW, 10]);
  connection.reset();
});

Deno.test("vsock driver: a reset of the transport ends connections, and the guest may have another id", async () => {
  for (const [event, length, ends] of [[0, 4, true], [1, 4, false], [0, 3, false]] as const) {
    const { vsock, give, packet, fake } = rig();
    using listener = vsock.listen(7);
    packet({});
    const { closed } = await listener.accept();
    fake.config.setUint32(VSOCK_CONFIG.guest_cid.offset, 77, true);
    give(EVENTS, Uint8Array.of(event, 0, 0, 0), length);
    assertEquals([vsock.connections, vsock.cid], ends ? [0, 77] : [1, CID]);
    if (ends) await assertRejects(() => closed, VireoError, "The host reset all connections");
  }
});

Deno.test("vsock driver: ports are integers of 32 bits, and types those of the device", async () => {
  const { vsock, sent } = rig();
  for (const port of [-1, 0.5, 2 ** 32 - 1, NaN]) {
    await assertRejects(() => vsock.connect(port), RangeError, "expected an integer from 0");
    assertThrows(() => vsock.listen(port), RangeError, "expected an integer from 0");
  }
  for (const port of [0, 2 ** 32 - 2]) vsock.listen(port)[Symbol.dispose]();
  const calls = [1, 2].map(() => vsock.connect(5).catch(() => {}));
  const [first, second] = await sent();
  assertEquals([first!.op, first!.dstPort, second!.srcPort - first!.srcPort], [
    VsockOp.REQUEST,
    5,
    1,
  ]);
  assertEquals(vsock.connections, 2);
  await assertRejects(
    () => vsock.connect(5, { type: VsockType.SEQPACKET }),
    VireoError,
    "no sockets",
  );
  vsock.failed(new VireoError("DEVICE_STATE", "As the test wants"));
  await Promise.all(calls);
  const { STREAM, SEQPACKET, NO_IMPLIED_STREAM } = VsockFeature;
  const cases = [
    [[], true, false],
    [[STREAM], true, false],
    [[SEQPACKET], true, true],
    [[SEQPACKET, NO_IMPLIED_STREAM], false, true],
    [[STREAM, SEQPACKET, NO_IMPLIED_STREAM], true, true],
  ] as const;
  for (const [features, stream, packets] of cases) {
    const { vsock } = rig(...features);
    for (
      const [type, has] of [[VsockType.STREAM, stream], [VsockType.SEQPACKET, packets]] as const
    ) {
      const listen = () => vsock.listen(1, { type })[Symbol.dispose]();
      if (has) listen();
      else assertEquals(assertThrows(listen, VireoError).code, "UNSUPPORTED");
    }
  }
});
