// The socket device's driver and model, byte by byte: every number is typed from virtio 1.4 §5.10.
import { assert, assertEquals, assertRejects } from "@std/assert";
import { type StreamPort, VsockDevice, type VsockDeviceOptions } from "@vireo/emu";
import { VireoError } from "@vireo/hal";
import { type Vsock, vsockDriver } from "../../drivers/vsock/mod.ts";
import { bootRecorded, type RecordedRig } from "./boot.ts";
import { RawRig } from "./raw_rig.ts";
import { at, le } from "./recorder.ts";
import { turn } from "../turn.ts";

const SOON = { deadline: 5000 };
const [RX, TX] = [0, 1];
const [REQUEST, RESPONSE, RST, RW, CREDIT_UPDATE] = [1, 2, 3, 5, 6];
const HOST = 2;
const GUEST = 42;
const PORT = 1234;

/** The fields of a packet's header of 44 bytes, and its data. */
interface Packet {
  readonly from: number;
  readonly to: number;
  readonly srcPort: number;
  readonly dstPort: number;
  readonly type: number;
  readonly op: number;
  readonly bufAlloc: number;
  readonly fwdCnt: number;
  readonly data: Uint8Array;
}

function decode(bytes: Uint8Array): Packet {
  assertEquals(bytes.length, 44 + at(bytes, 24));
  return {
    from: at(bytes, 0, 8),
    to: at(bytes, 8, 8),
    srcPort: at(bytes, 16),
    dstPort: at(bytes, 20),
    type: at(bytes, 28, 2),
    op: at(bytes, 30, 2),
    bufAlloc: at(bytes, 36),
    fwdCnt: at(bytes, 40),
    data: bytes.subarray(44),
  };
}

function encode(packet: Partial<Packet> & { readonly op: number }): Uint8Array {
  const { from = GUEST, to = HOST, srcPort = 5, dstPort = PORT, type = 1, op } = packet;
  const { bufAlloc = 1 << 16, fwdCnt = 0, data = new Uint8Array(0) } = packet;
  const head = le([from, 8], [to, 8], srcPort, dstPort, data.length, [type, 2], [op, 2]);
  return le(head, 0, bufAlloc, fwdCnt, data);
}

/** A port of the host that is read and written by hand. */
function port(): {
  readonly port: StreamPort;
  readonly got: number[];
  send(bytes: Uint8Array): void;
  open(): void;
} {
  const gate = Promise.withResolvers<void>();
  const got: number[] = [];
  let controller!: ReadableStreamDefaultController<Uint8Array>;
  return {
    port: {
      readable: new ReadableStream<Uint8Array>({ start: (given) => void (controller = given) }),
      writable: new WritableStream<Uint8Array>({
        async write(chunk) {
          await gate.promise;
          got.push(chunk.length);
        },
      }),
    },
    got,
    send: (bytes) => controller.enqueue(bytes),
    open: () => gate.resolve(),
  };
}

type Rig = RecordedRig<"vsock", VsockDevice, Vsock> & {
  /** Packets of the guest since the last call. */
  sent(): Packet[];
  /** Gives the guest a packet. */
  receive(packet: Uint8Array): void;
};

async function boot(options: Partial<VsockDeviceOptions> = {}): Promise<Rig> {
  const model = new VsockDevice({ cid: GUEST, host: { connect: () => undefined }, ...options });
  const rig = await bootRecorded("vsock", model, vsockDriver);
  const rx = rig.machine.device(0).queue(RX)!;
  return {
    ...rig,
    sent: () =>
      rig.seen.chains.splice(0).filter(({ queue }) => queue === TX).map((c) => decode(c.read)),
    receive(packet) {
      const chain = rx.pop()!;
      chain.write(packet);
      rx.push(chain);
      rx.signal();
    },
  };
}

Deno.test("spec vsock: packets of the guest have its id, its room and what it took, and no more data than there is room for (drv.vsock.rxtx.1, .credit.1, .credit.2)", async () => {
  const host = port();
  await using rig = await boot({ host: { connect: () => host.port } });
  const connection = await rig.vsock.connect(PORT, SOON);
  const [request] = rig.sent();
  assertEquals([request!.op, request!.type, request!.from, request!.to], [REQUEST, 1, GUEST, HOST]);
  assertEquals([request!.dstPort, request!.fwdCnt], [PORT, 0]);
  assert(request!.bufAlloc > 0);
  // The host takes nothing: it has room for 256 KiB.
  const writer = connection.writable.getWriter();
  const writing = writer.write(new Uint8Array(1 << 20));
  await turn(30);
  const first = rig.sent();
  const bytes = first.filter(({ op }) => op === RW).reduce((sum, { data }) => sum + data.length, 0);
  assertEquals(bytes, 256 * 1024);
  // What the guest's user took is told with the next packets.
  host.send(new Uint8Array(1000));
  const reader = connection.readable.getReader();
  assertEquals((await reader.read()).value!.length, 1000);
  host.open();
  await writing;
  const later = rig.sent();
  const all = [request!, ...first, ...later];
  assert(all.every(({ from, to, type }) => from === GUEST && to === HOST && type === 1));
  assert(all.every(({ bufAlloc }) => bufAlloc === request!.bufAlloc));
  assert(first.every(({ fwdCnt }) => fwdCnt === 0));
  assertEquals(later.at(-1)!.fwdCnt, 1000);
  reader.releaseLock();
  connection.reset();
});

Deno.test("spec vsock: a packet of an unknown type is answered by RST (drv.vsock.rxtx.2)", async () => {
  await using rig = await boot();
  using _listener = rig.vsock.listen(80);
  for (const type of [3, 0, 0xffff]) {
    const strange = { from: HOST, to: GUEST, srcPort: 9, dstPort: 80, type, op: REQUEST };
    rig.receive(encode(strange));
    await turn(3);
    const [answer, ...more] = rig.sent();
    assertEquals(more, []);
    assertEquals([answer!.op, answer!.from, answer!.to], [RST, GUEST, HOST]);
    assertEquals([answer!.srcPort, answer!.dstPort], [80, 9]);
  }
});

Deno.test("spec vsock: what comes is taken while nothing goes out (drv.vsock.vq-flow.1)", async () => {
  const host = port();
  await using rig = await boot({ host: { connect: () => host.port } });
  const connection = await rig.vsock.connect(PORT, SOON);
  const notify = rig.model.notify.bind(rig.model);
  // The device takes no more packets: the transmit queue fills up.
  rig.model.notify = (index) => index === TX ? undefined : notify(index);
  const writing = connection.writable.getWriter().write(new Uint8Array(200_000));
  await turn(10);
  const reader = connection.readable.getReader();
  for (let i = 0; i < 20; i++) {
    host.send(new Uint8Array(2000).fill(i));
    assertEquals((await reader.read()).value![0], i);
  }
  rig.model.notify = notify;
  notify(TX);
  host.open();
  await writing;
  connection.reset();
});

Deno.test("spec vsock: after TRANSPORT_RESET the id is new, connections are over, and listeners go on with it (drv.vsock.events.2-4)", async () => {
  const host = port();
  await using rig = await boot({ host: { connect: () => host.port } });
  using listener = rig.vsock.listen(80);
  const connection = await rig.vsock.connect(PORT, SOON);
  const reading = assertRejects(() => connection.readable.getReader().read(), VireoError);
  rig.sent();
  rig.model.resetTransport(77);
  assertEquals((await reading).code, "PORT_CLOSED");
  assertEquals([rig.vsock.connections, connection.ended, rig.vsock.cid], [0, true, 77]);
  // A request to the earlier id is for nobody; one to the new id reaches the listener.
  for (const to of [GUEST, 77]) {
    rig.receive(encode({ from: HOST, to, srcPort: 9, dstPort: 80, op: REQUEST }));
  }
  const accepted = await listener.accept(SOON);
  await turn(3);
  const answers = rig.sent();
  assertEquals(answers.map(({ op, from }) => [op, from]), [[RESPONSE, 77]]);
  accepted.reset();
});

/** A device and a raw driver with `count` receive buffers. */
function raw(count: number) {
  const host = port();
  const rig = new RawRig(
    new VsockDevice({ cid: GUEST, host: { connect: () => host.port } }),
    [0],
  );
  const { driver } = rig;
  const packets: Packet[] = [];
  const queue = driver.queues[RX]!;
  const give = (buffers: number): void => {
    for (let i = 0; i < buffers; i++) {
      void queue.add([{ write: 4096 }]).then(({ bytes, written }) =>
        packets.push(decode(bytes[0]!.subarray(0, written)))
      );
    }
    queue.kick();
  };
  give(count);
  const settle = async (): Promise<Packet[]> => {
    for (let i = 0; i < 20; i++) {
      driver.interrupt();
      await turn();
    }
    return packets.splice(0);
  };
  const send = (bytes: Uint8Array) => driver.request(TX, [{ read: bytes }]);
  return { rig, host, give, settle, send };
}

Deno.test("spec vsock: the device sends no more than the guest has room for, and says what it has (dev.vsock.credit.1, .2)", async () => {
  const { rig, host, settle, send, give } = raw(100);
  await using _rig = rig;
  await send(encode({ op: REQUEST, bufAlloc: 5000 }));
  const [response] = await settle();
  assertEquals([response!.op, response!.from, response!.to], [RESPONSE, HOST, GUEST]);
  assert(response!.bufAlloc > 0);
  host.send(new Uint8Array(20_000));
  const total = (packets: Packet[]): number =>
    packets.filter(({ op }) => op === RW).reduce((sum, { data }) => sum + data.length, 0);
  const first = await settle();
  assertEquals(total(first), 5000);
  await send(encode({ op: CREDIT_UPDATE, bufAlloc: 5000, fwdCnt: 3000 }));
  give(20);
  const second = await settle();
  assertEquals(total(second), 3000);
  // 1000 bytes of the guest that the host has taken are told with the next packet.
  host.open();
  await send(encode({ op: RW, data: new Uint8Array(1000), bufAlloc: 5000, fwdCnt: 3000 }));
  await settle();
  await send(encode({ op: CREDIT_UPDATE, bufAlloc: 5000, fwdCnt: 8000 }));
  const third = await settle();
  assertEquals([total(third), host.got], [5000, [1000]]);
  const all = [response!, ...first, ...second, ...third];
  assert(all.every(({ bufAlloc }) => bufAlloc === response!.bufAlloc));
  assertEquals([first.at(-1)!.fwdCnt, third.at(-1)!.fwdCnt], [0, 1000]);
});

Deno.test("spec vsock: packets are taken from a guest that gives no buffers (dev.vsock.vq-flow.1)", async () => {
  const { rig, settle, give } = raw(0);
  await using _rig = rig;
  const { model, driver } = rig;
  // Each request is answered, and the answers wait.
  const queue = driver.queues[TX]!;
  for (let i = 0; i < 100; i++) {
    void queue.add([{ read: encode({ op: RW, srcPort: 100 + i }) }]);
    queue.kick();
  }
  assertEquals([queue.usedIndex, model.waiting], [100, 100]);
  give(100);
  const answers = await settle();
  assertEquals(answers.map(({ op, dstPort }) => [op, dstPort]), [
    ...Array.from({ length: 100 }, (_, i) => [RST, 100 + i]),
  ]);
});
