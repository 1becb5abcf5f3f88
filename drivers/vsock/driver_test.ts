import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { VireoError, VsockFeature, VsockOp, VsockType } from "@vireo/hal";
import { turn } from "../async_test_util.ts";
import { FakeDevice, type FakeRequest } from "../testing/fake_blk.ts";
import { Vsock } from "./driver.ts";
import { decodePacket, encodePacket, type VsockPacket } from "./packet.ts";

const { REQUEST, RESPONSE, RST, SHUTDOWN, RW, CREDIT_UPDATE } = VsockOp;
const { STREAM, SEQPACKET } = VsockType;
const CID = 5;
const LATE = { deadline: 1 };
const GONE = new VireoError("DEVICE_STATE", "As the test wants");
/** A packet of the host's port 7 to port 1024. */
const PACKET: VsockPacket = {
  srcCid: 2,
  dstCid: CID,
  srcPort: 7,
  dstPort: 1024,
  len: 0,
  type: STREAM,
  op: RW,
  flags: 0,
  bufAlloc: 1000,
  fwdCnt: 0,
};

/** A socket device whose packets go to a test. */
function rig(...features: number[]) {
  const fake = new FakeDevice(...features);
  fake.config.setUint32(0, CID, true);
  const sent: VsockPacket[] = [];
  const held: FakeRequest[] = [];
  let hold = false;
  const finish = (request: FakeRequest) => {
    request.complete(undefined, 0);
    request.queue.interrupt();
  };
  fake.script = (request) => {
    if (request.queue.index !== 1) return;
    sent.push(decodePacket(request.readable)!);
    if (hold) held.push(request);
    else finish(request);
  };
  const device = Object.assign(fake.device, {
    queues: fake.queues,
    features: fake.features,
    ready() {},
  });
  const copied: number[] = [];
  const { alloc } = device.dma;
  device.dma.alloc = (...args) =>
    Object.assign(alloc(...args), { copied: (length: number) => copied.push(length) });
  const vsock = new Vsock(device);
  vsock.scan();
  const fill = (queue: number, bytes: Uint8Array) => {
    const buffer = fake.pending.find((request) => request.queue.index === queue)!;
    buffer.fill(bytes);
    buffer.complete(undefined, bytes.length);
    buffer.queue.interrupt();
  };
  return {
    fake,
    vsock,
    copied,
    held,
    finish,
    fill,
    hold: () => void (hold = true),
    /** The packets that were sent since. */
    async taken(): Promise<VsockPacket[]> {
      await turn();
      return sent.splice(0);
    },
    deliver(fields: Partial<VsockPacket>, data: readonly number[] = [], cut = Infinity): void {
      const head = encodePacket({ ...PACKET, len: data.length, ...fields });
      fill(0, Uint8Array.from([...head, ...data].slice(0, cut)));
    },
  };
}

/** A connection to the host's port 7, from port 1024. */
async function connected({ vsock, deliver, taken }: ReturnType<typeof rig>) {
  const connecting = vsock.connect(7);
  await taken();
  deliver({ op: RESPONSE });
  return await connecting;
}

Deno.test("vsock: ports are integers below 2^32 - 1, and a listener has one alone", async () => {
  for (const port of [-1, 0.5, NaN, 0xffff_ffff, 2 ** 32]) {
    const { vsock } = rig();
    assertThrows(() => vsock.listen(port), RangeError, `${port}`);
    await assertRejects(() => vsock.connect(port), RangeError, `${port}`);
  }
  const { vsock, taken, deliver } = rig();
  for (const port of [0, 0xffff_fffe]) {
    const before = vsock.listen(port);
    assertThrows(() => vsock.listen(port), RangeError, "it is in use");
    before[Symbol.dispose]();
    using again = vsock.listen(port);
    assertEquals(again.port, port);
    const connecting = vsock.connect(port);
    const { srcPort, dstPort } = (await taken()).at(-1)!;
    assertEquals(dstPort, port);
    deliver({ op: RESPONSE, srcPort: port, dstPort: srcPort });
    (await connecting).reset();
  }
});

Deno.test("vsock: a connection is asked for from a port of its own", async () => {
  const r = rig();
  const { vsock, taken, deliver } = r;
  const connecting = vsock.connect(7);
  const [request] = await taken();
  assertEquals([request!.op, request!.srcCid, request!.dstCid], [REQUEST, CID, 2]);
  assertEquals([request!.srcPort, request!.dstPort, request!.len], [1024, 7, 0]);
  deliver({ op: RESPONSE });
  await connecting;
  const other = vsock.connect(7, { cid: 9 });
  const [second] = await taken();
  assertEquals([second!.srcPort, second!.dstCid], [1025, 9]);
  // The answer of another peer is none.
  deliver({ op: RESPONSE, dstPort: 1025 });
  assertEquals((await taken()).map(({ op }) => op), [RST]);
  deliver({ op: RESPONSE, dstPort: 1025, srcCid: 9 });
  await other;
  assertEquals(vsock.connections, 2);
});

Deno.test("vsock: a packet goes to its connection or a listener, is refused, or is of no use", async () => {
  const refused = { srcCid: CID, dstCid: 2, srcPort: 1024, dstPort: 7, op: RST, type: STREAM };
  const none = [] as const;
  const cases: [Partial<VsockPacket>, readonly Partial<VsockPacket>[], number?, number?][] = [
    [{ srcPort: 8 }, [{ ...refused, dstPort: 8 }]],
    [{ srcCid: 3 }, [{ ...refused, dstCid: 3 }]],
    [{ dstPort: 1025 }, [{ ...refused, srcPort: 1025 }]],
    [{ srcPort: 8, op: RST }, none],
    [{ srcPort: 8, dstCid: 6 }, none],
    [{ type: SEQPACKET }, [{ ...refused, type: SEQPACKET }]],
    [{ type: SEQPACKET, op: RST }, none],
    [{ srcPort: 8, op: REQUEST }, [{ ...refused, dstPort: 8 }]],
    [{ op: REQUEST, dstPort: 99 }, [{ ...refused, srcPort: 99, op: RESPONSE }]],
    [{ op: REQUEST, dstPort: 99, type: SEQPACKET }, [{
      ...refused,
      srcPort: 99,
      type: SEQPACKET,
    }]],
    // Of lengths that are not there nothing is believed.
    [{ srcPort: 8, len: 4 }, none],
    [{ srcPort: 8, len: 3 }, [{ ...refused, dstPort: 8 }]],
    [{ srcPort: 8 }, none, 43],
    [{ srcPort: 8, len: 0 }, [{ ...refused, dstPort: 8 }], 44],
  ];
  for (const [fields, expected, cut] of cases) {
    const r = rig();
    const connection = await connected(r);
    r.vsock.listen(99);
    r.deliver(fields, [1, 2, 3], cut);
    const what = JSON.stringify(fields);
    const sent = await r.taken();
    assertEquals(sent.map(({ len }) => len), expected.map(() => 0), what);
    for (const [i, fields] of expected.entries()) {
      assertEquals({ ...sent[i]!, ...fields }, sent[i], what);
    }
    assertEquals(connection.ended, false);
    connection.reset();
  }
  const r = rig();
  const connection = await connected(r);
  r.copied.length = 0;
  r.deliver({ op: CREDIT_UPDATE });
  r.deliver({}, [1, 2, 3]);
  assertEquals(r.copied, [3]);
  assertEquals([...(await connection.readable.getReader().read()).value!], [1, 2, 3]);
  // Both sides have said all.
  r.deliver({ op: SHUTDOWN, flags: 3 });
  await connection.closed;
  assertEquals(r.vsock.connections, 0);
});

Deno.test("vsock: a listener takes the peer's room, 128 connections wait, and it can be closed", async () => {
  const { vsock, deliver, taken } = rig();
  const listener = vsock.listen(99);
  for (let port = 0; port < 129; port++) deliver({ op: REQUEST, srcPort: port, dstPort: 99 });
  const ops = () => taken().then((all) => all.map(({ op }) => op));
  assertEquals(await ops(), [...Array<VsockOp>(128).fill(RESPONSE), RST]);
  const first = await listener.accept();
  assertEquals([first.peerPort, vsock.connections], [0, 128]);
  deliver({ op: REQUEST, srcPort: 200, dstPort: 99 });
  assertEquals(await ops(), [RESPONSE]);
  // The request said how much room the peer has.
  const writer = first.writable.getWriter();
  await writer.write(new Uint8Array(1000));
  const late = writer.write(new Uint8Array(1)).catch(() => {});
  const data = () => taken().then((all) => all.filter(({ op }) => op === RW).map(({ len }) => len));
  assertEquals(await data(), [1000]);
  deliver({ op: CREDIT_UPDATE, srcPort: 0, dstPort: 99, fwdCnt: 1 });
  await late;
  assertEquals(await data(), [1]);
  listener[Symbol.dispose]();
  deliver({ op: REQUEST, srcPort: 201, dstPort: 99 });
  assertEquals(await ops(), [RST]);
  vsock.failed(GONE);
});

Deno.test("vsock: while 256 packets wait for the device, none is taken from it", async () => {
  const { fake, vsock, deliver, hold, held, finish, taken } = rig();
  hold();
  const buffers = () => fake.queues[0]!.used.length;
  for (let i = 0; i < 256; i++) {
    assertEquals(buffers(), 0);
    deliver({ srcPort: 8 });
    await Promise.resolve();
  }
  await turn();
  for (let i = 0; i < 2; i++) deliver({ srcPort: 9 });
  await taken();
  assertEquals(buffers(), 2);
  finish(held.shift()!);
  await turn();
  assertEquals(buffers(), 1);
  finish(held.shift()!);
  await turn();
  assertEquals(buffers(), 0);
  vsock.failed(GONE);
});

Deno.test("vsock: a reset of the transport has a number, ends connections, and brings a new id", async () => {
  const r = rig();
  const { vsock, fake, fill } = r;
  const connection = await connected(r);
  const listener = vsock.listen(99);
  fake.config.setUint32(0, 6, true);
  for (const bytes of [[0, 0, 0], [1, 0, 0, 0]]) {
    fill(2, Uint8Array.from(bytes));
    assertEquals([vsock.cid, vsock.connections], [CID, 1]);
  }
  fill(2, new Uint8Array(4));
  assertEquals([vsock.cid, vsock.connections], [6, 0]);
  assertEquals((await assertRejects(() => connection.closed, VireoError)).code, "PORT_CLOSED");
  r.deliver({ op: REQUEST, dstPort: 99, dstCid: 6 });
  assertEquals((await listener.accept()).peerPort, 7);
  vsock.failed(GONE);
});

Deno.test("vsock: types of sockets are those of the features, with streams if there are none", async () => {
  const F = VsockFeature;
  for (
    const [features, stream, packets] of [
      [[], true, false],
      [[F.STREAM], true, false],
      [[F.SEQPACKET], true, true],
      [[F.STREAM, F.SEQPACKET], true, true],
      [[F.SEQPACKET, F.NO_IMPLIED_STREAM], false, true],
      [[F.STREAM, F.NO_IMPLIED_STREAM], true, false],
      [[F.NO_IMPLIED_STREAM], false, false],
    ] as const
  ) {
    for (const [type, there] of [[STREAM, stream], [SEQPACKET, packets]] as const) {
      const { vsock } = rig(...features);
      const listen = () => vsock.listen(1, { type });
      const code = there ? "TIMEOUT" : "UNSUPPORTED";
      if (there) assertEquals(listen().type, type);
      else assertEquals(assertThrows(listen, VireoError).code, code);
      const connect = () => vsock.connect(1, { type, ...LATE });
      assertEquals((await assertRejects(connect, VireoError)).code, code);
      assertEquals(vsock.connections, 0);
    }
  }
});

Deno.test("vsock: a failure ends connections and listeners, also those to come, until it is restored", async () => {
  const r = rig();
  const { vsock, fake } = r;
  const connection = await connected(r);
  const accept = assertRejects(() => vsock.listen(99).accept(), VireoError, "As the test wants");
  vsock.failed(GONE);
  await accept;
  await assertRejects(() => connection.closed, VireoError, "As the test wants");
  await assertRejects(() => vsock.connect(7), VireoError, "As the test wants");
  using late = vsock.listen(99);
  await assertRejects(() => late.accept(), VireoError, "As the test wants");
  assertEquals(vsock.connections, 0);
  fake.config.setUint32(0, 8, true);
  await vsock.restore();
  assertEquals(vsock.cid, 8);
  using again = vsock.listen(98);
  r.deliver({ op: REQUEST, dstPort: 98, dstCid: 8 });
  assertEquals((await again.accept()).peerPort, 7);
  vsock.failed(GONE);
});
