// A socket device by the packets of its queues; every number is typed again from virtio 1.4 §5.10.
import { setImmediate } from "node:timers";
import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { VireoError } from "@vireo/hal";
import type { StreamPort } from "../../backends/stream_port.ts";
import { FakeChain, FakeHost } from "../../testing/fake_host.ts";
import { VsockDevice, type VsockDeviceOptions } from "./device.ts";

const [RX, TX, EVENT] = [0, 1, 2];
const [STREAM, SEQPACKET] = [1, 2];
const [REQUEST, RESPONSE, RST, SHUTDOWN, RW, CREDIT_UPDATE, CREDIT_REQUEST] = [1, 2, 3, 4, 5, 6, 7];
const ROOM = 256 * 1024;
const NONE = new Uint8Array(0);

interface Packet {
  readonly op: number;
  readonly type?: number;
  readonly flags?: number;
  readonly data?: Uint8Array;
  readonly guest?: number;
  readonly port?: number;
  readonly cids?: readonly [source: bigint, target: bigint];
  /** Length that it says, if it is another. */
  readonly length?: number;
  readonly bufAlloc?: number;
  readonly fwdCnt?: number;
}

/** A host's end of a connection, of which the test decides when it takes and gives what. */
class Port implements StreamPort {
  readonly taken: Uint8Array[] = [];
  readonly ends: string[] = [];
  /** Resolved once the host may take more. */
  gate: Promise<void> | undefined;
  controller!: ReadableStreamDefaultController<Uint8Array>;
  readonly readable: ReadableStream<Uint8Array> = new ReadableStream({
    start: (controller) => void (this.controller = controller),
    cancel: () => void this.ends.push("cancel"),
  });
  readonly writable: WritableStream<Uint8Array> = new WritableStream({
    write: async (bytes) => {
      await this.gate;
      this.taken.push(bytes);
    },
    close: () => void this.ends.push("close"),
    abort: () => void this.ends.push("abort"),
  });
}

class Rig {
  readonly ports: Port[] = [];
  readonly device: VsockDevice;
  readonly host: FakeHost;
  answer: (port: Port) => StreamPort | undefined | Promise<StreamPort | undefined> = (port) => port;

  constructor(options: Partial<VsockDeviceOptions> = {}, without: readonly number[] = []) {
    this.device = new VsockDevice({
      host: {
        connect: () => {
          const port = new Port();
          this.ports.push(port);
          return this.answer(port);
        },
      },
      ...options,
    });
    this.host = new FakeHost(this.device, this.device.features.without(...without));
  }

  /** The guest sends a packet. */
  say(
    { op, type = STREAM, flags = 0, data = NONE, guest = 1024, port = 7, ...more }: Packet,
  ): FakeChain {
    const bytes = new Uint8Array(44);
    const view = new DataView(bytes.buffer);
    const [source, target] = more.cids ?? [3n, 2n];
    view.setBigUint64(0, source, true);
    view.setBigUint64(8, target, true);
    view.setUint32(16, guest, true);
    view.setUint32(20, port, true);
    view.setUint32(24, more.length ?? data.length, true);
    view.setUint16(28, type, true);
    view.setUint16(30, op, true);
    view.setUint32(32, flags, true);
    view.setUint32(36, more.bufAlloc ?? ROOM, true);
    view.setUint32(40, more.fwdCnt ?? 0, true);
    const chain = new FakeChain(bytes, data, 0);
    this.host.send(TX, chain);
    return chain;
  }

  /** All packets that wait for the guest: op, flags, bytes of data, and more where it is asked for. */
  hear(room = 44 + 65536): number[][] {
    const heard: number[][] = [];
    while (this.device.waiting > 0) {
      const chain = new FakeChain(NONE, NONE, room);
      this.host.send(RX, chain);
      const view = new DataView(chain.writable.buffer);
      assertEquals([view.getBigUint64(0, true), view.getBigUint64(8, true)], [2n, 3n]);
      assertEquals(chain.used, 44 + view.getUint32(24, true));
      heard.push([
        view.getUint16(30, true),
        view.getUint32(32, true),
        view.getUint32(24, true),
        ...[16, 20].map((at) => view.getUint32(at, true)),
        view.getUint16(28, true),
        ...[36, 40].map((at) => view.getUint32(at, true)),
      ]);
    }
    return heard;
  }

  /** The ops alone. */
  ops(): number[] {
    return this.hear().map(([op]) => op!);
  }

  /** A connection of the guest's. */
  open(type = STREAM, guest = 1024): Port {
    this.say({ op: REQUEST, type, guest });
    assertEquals(this.ops(), [RESPONSE]);
    return this.ports.at(-1)!;
  }
}

/** Lets the streams of a test go on. */
const settle = async (): Promise<void> => {
  for (let i = 0; i < 3; i++) await new Promise((resolve) => setImmediate(resolve));
};

Deno.test("vsock device: packets of no connection are answered by RST, those of others by nothing", () => {
  const rst = (type: number): number[] => [RST, 0, 0, 7, 1024, type, 0, 0];
  const rows: readonly (readonly [Packet, readonly number[][]])[] = [
    [{ op: RW, data: NONE }, [rst(STREAM)]],
    [{ op: CREDIT_REQUEST, type: SEQPACKET }, [rst(SEQPACKET)]],
    [{ op: REQUEST, type: 3 }, [rst(3)]],
    [{ op: REQUEST, type: 0 }, [rst(0)]],
    [{ op: RST }, []],
    [{ op: RW, cids: [4n, 2n] }, []],
    [{ op: RW, cids: [3n, 1n] }, []],
    [{ op: RW, cids: [3n + 2n ** 32n, 2n] }, []],
    [{ op: RW, cids: [3n, 2n + 2n ** 32n] }, []],
  ];
  for (const [packet, expected] of rows) {
    const rig = new Rig();
    const chain = rig.say(packet);
    assertEquals([chain.used, rig.hear(), rig.ports.length], [0, expected, 0]);
  }
  const without = new Rig({}, [1]);
  without.say({ op: REQUEST, type: SEQPACKET });
  assertEquals(without.hear(), [rst(SEQPACKET)]);
});

Deno.test("vsock device: a request is answered as the host says, at once or later", async () => {
  const answers: readonly (readonly [Rig["answer"], number, string[]])[] = [
    [(port) => port, RESPONSE, []],
    [(port) => Promise.resolve(port), RESPONSE, []],
    [() => undefined, RST, []],
    [() => Promise.resolve(undefined), RST, []],
    [() => Promise.reject(new Error("no")), RST, []],
    [
      () => {
        throw new Error("no");
      },
      RST,
      [],
    ],
  ];
  for (const [answer, expected] of answers) {
    for (const type of [STREAM, SEQPACKET]) {
      const rig = new Rig();
      rig.answer = answer;
      rig.say({ op: REQUEST, type });
      await settle();
      const bufAlloc = ROOM;
      assertEquals(rig.hear(), [[expected, 0, 0, 7, 1024, type, bufAlloc, 0]]);
      const open = expected === RESPONSE ? 1 : 0;
      assertEquals([rig.device.connections, rig.device.ports], [open, open]);
      rig.device.reset();
      await settle();
      assertEquals([rig.device.connections, rig.device.ports], [0, 0]);
    }
  }
  // The guest left while the host was asked: what it got is let go of.
  const rig = new Rig();
  const { promise, resolve } = Promise.withResolvers<void>();
  rig.answer = async (port) => (await promise, port);
  rig.say({ op: REQUEST });
  rig.say({ op: RST });
  assertEquals([rig.device.connections, rig.device.ports], [0, 1]);
  resolve();
  await settle();
  assertEquals([rig.device.ports, rig.ports[0]!.ends.sort(), rig.ops()], [
    0,
    ["abort", "cancel"],
    [],
  ]);
});

Deno.test("vsock device: no more connections than its option, which count until the host's streams are over", async () => {
  const rig = new Rig({ maxConnections: 2 });
  const first = rig.open(STREAM, 1);
  const { promise, resolve } = Promise.withResolvers<void>();
  first.gate = promise;
  rig.open(STREAM, 2);
  rig.say({ op: REQUEST, guest: 3 });
  assertEquals(rig.ops(), [RST]);
  // The host has not taken what the first one sent.
  rig.say({ op: RW, guest: 1, data: new Uint8Array(1) });
  rig.say({ op: RST, guest: 1 });
  await settle();
  assertEquals([rig.device.connections, rig.device.ports], [1, 2]);
  rig.say({ op: REQUEST, guest: 3 });
  assertEquals(rig.ops(), [RST]);
  resolve();
  await settle();
  assertEquals(first.ends.sort(), ["cancel", "close"]);
  rig.open(STREAM, 3);
  // 1024 packets, and two for each connection, besides connections and their messages.
  assertEquals(rig.device.bounds, { items: 2 * 1025 + 1028, bytes: 2 * ROOM + 1028 * 4096 });
});

Deno.test("vsock device: the host connects by ports of its own, and hears what the guest answers", async () => {
  const rig = new Rig();
  const connect = (type?: 1 | 2): Promise<void> => rig.device.connect(99, new Port(), type);
  const [accepted, refused, ended] = [connect(), connect(2), connect()];
  const heard = rig.hear();
  assertEquals(
    heard,
    [0, 1, 2].map((i) => [
      ...[REQUEST, 0, 0, 0x4000_0000 + i, 99],
      ...[i === 1 ? SEQPACKET : STREAM, ROOM, 0],
    ]),
  );
  const say = (i: number, op: number): FakeChain =>
    rig.say({ op, guest: 99, port: 0x4000_0000 + i, type: i === 1 ? SEQPACKET : STREAM });
  assertEquals(rig.device.connections, 3);
  say(0, RESPONSE);
  await accepted;
  say(1, RST);
  const error = await assertRejects(() => refused, VireoError, "Guest does not listen there");
  assertEquals([error.code, rig.device.connections, rig.hear()], ["PORT_CLOSED", 2, []]);
  rig.device.reset();
  await assertRejects(() => ended, VireoError, "Connection ended");
  assertEquals(rig.device.connections, 0);
});

Deno.test("vsock device: what a packet of a connection does to it", async () => {
  const BOTH = 3;
  // What is said, what is heard, whether the connection is there afterwards, and the ends of the host's streams.
  const rows: readonly (readonly [Packet, readonly number[], boolean, string[]])[] = [
    [{ op: CREDIT_REQUEST }, [CREDIT_UPDATE], true, []],
    [{ op: CREDIT_UPDATE }, [], true, []],
    [{ op: RESPONSE }, [], true, []],
    [{ op: RST }, [], false, ["cancel", "close"]],
    [{ op: SHUTDOWN, flags: BOTH }, [RST], false, ["cancel", "close"]],
    [{ op: SHUTDOWN, flags: 2 }, [], true, ["close"]],
    [{ op: SHUTDOWN, flags: 1 }, [], true, []],
    [{ op: SHUTDOWN, flags: 0xfc }, [], true, []],
    [{ op: REQUEST }, [RST], false, ["cancel", "close"]],
    [{ op: 8 }, [RST], false, ["cancel", "close"]],
    [{ op: RW, type: SEQPACKET }, [RST], true, []],
  ];
  for (const [packet, heard, there, ends] of rows) {
    const rig = new Rig();
    const port = rig.open();
    rig.say(packet);
    await settle();
    assertEquals(
      [rig.ops(), rig.device.connections],
      [heard, there ? 1 : 0],
      JSON.stringify(packet),
    );
    assertEquals(port.ends.sort(), ends);
  }
  const rig = new Rig();
  rig.open();
  for (const flags of [1, 2]) rig.say({ op: SHUTDOWN, flags });
  assertEquals([rig.ops(), rig.device.connections], [[RST], 0], "one after the other is both");
});

Deno.test("vsock device: the guest's data is kept up to its credit, and told as it is taken", async () => {
  const rig = new Rig();
  const port = rig.open();
  const { promise, resolve } = Promise.withResolvers<void>();
  port.gate = promise;
  const part = new Uint8Array(65536);
  for (let i = 0; i < 4; i++) rig.say({ op: RW, data: part.fill(i) });
  assertEquals([rig.hear(), rig.device.usage().bytes], [[], ROOM]);
  resolve();
  await settle();
  // The first went out alone, the rest together; each quarter of the room is told.
  assertEquals(port.taken.map(({ length }) => length), [65536, 3 * 65536]);
  assertEquals(port.taken[1]![65536], 2);
  assertEquals(rig.hear().map(([op, , , , , , , fwdCnt]) => [op, fwdCnt]), [
    [CREDIT_UPDATE, 65536],
    [CREDIT_UPDATE, ROOM],
  ]);
  rig.say({ op: RW, data: part.subarray(1) });
  await settle();
  assertEquals([rig.ops(), rig.device.usage().bytes], [[], 0]);
  port.gate = new Promise(() => {});
  for (let i = 0; i < 4; i++) rig.say({ op: RW, data: part });
  rig.say({ op: RW, data: part.subarray(0, 1) });
  assertEquals(
    [rig.ops(), rig.device.connections],
    [[RST], 0],
    "a byte more than there is room for",
  );
});

Deno.test("vsock device: messages are whole, keep their record's end, and are 1024 at most", async () => {
  const rig = new Rig();
  const port = rig.open(SEQPACKET);
  const say = (flags: number, ...data: number[]): FakeChain =>
    rig.say({ op: RW, type: SEQPACKET, flags, data: Uint8Array.from(data) });
  say(0, 1, 2);
  say(1, 3);
  say(3, 4);
  say(1);
  await settle();
  assertEquals(port.taken.map((bytes) => [bytes.constructor.name, ...bytes]), [
    ["Uint8Array", 1, 2, 3],
    ["VsockRecord", 4],
    ["Uint8Array"],
  ]);
  port.gate = new Promise(() => {});
  // One is on its way, and does not count.
  for (let i = 0; i < 1025; i++) say(1);
  assertEquals([rig.ops(), rig.device.usage()], [[], { items: 1 + 1024, bytes: 0 }]);
  say(1);
  assertEquals([rig.ops(), rig.device.usage().items], [[RST], 0]);
});

Deno.test("vsock device: the host's data goes out as far as the guest's credit reaches", async () => {
  const rig = new Rig();
  rig.say({ op: REQUEST, bufAlloc: 10, fwdCnt: 0 });
  const port = rig.ports[0]!;
  assertEquals(rig.ops(), [RESPONSE]);
  port.controller.enqueue(new Uint8Array(25));
  await settle();
  assertEquals(rig.hear().map(([op, , length]) => [op, length]), [[RW, 10], [CREDIT_REQUEST, 0]]);
  rig.say({ op: CREDIT_UPDATE, bufAlloc: 10, fwdCnt: 4 });
  await settle();
  assertEquals(rig.hear().map(([op, , length]) => [op, length]), [[RW, 4], [CREDIT_REQUEST, 0]]);
  // Without credit for it, nothing is sent, and the guest is asked again.
  rig.say({ op: CREDIT_UPDATE, bufAlloc: 10, fwdCnt: 4 });
  await settle();
  assertEquals(rig.ops(), [CREDIT_REQUEST]);
  rig.say({ op: CREDIT_UPDATE, bufAlloc: 100, fwdCnt: 14 });
  await settle();
  assertEquals(rig.hear().map(([op, , length]) => [op, length]), [[RW, 11]]);
  // The end of the host's stream is told once.
  port.controller.close();
  await settle();
  assertEquals(rig.hear().map(([op, flags]) => [op, flags]), [[SHUTDOWN, 2]]);
  await settle();
  assertEquals([rig.ops(), rig.device.connections], [[], 1]);
});

Deno.test("vsock device: an empty message needs none of the guest's credit", async () => {
  const rig = new Rig();
  rig.say({ op: REQUEST, type: SEQPACKET, bufAlloc: 0 });
  assertEquals(rig.ops(), [RESPONSE]);
  rig.ports[0]!.controller.enqueue(NONE);
  await settle();
  // EOM is 1.
  assertEquals(rig.hear().map(([op, flags, length]) => [op, flags, length]), [[RW, 1, 0]]);
});

Deno.test("vsock device: packets wait for buffers in parts, and a guest that takes none is not read", () => {
  const rig = new Rig();
  const { device, host } = rig;
  let sent = 0;
  for (; rig.say({ op: RW }).used !== undefined; sent++);
  assertEquals([device.waiting, sent, device.usage().items], [1024, 1024, 1024]);
  // A buffer takes one, and the next packet is read at once.
  host.send(RX, new FakeChain(NONE, NONE, 44));
  assertEquals([device.waiting, host.done.filter(({ used }) => used === 0).length], [
    sent,
    sent + 1,
  ]);
  device.reset();
  assertEquals([device.waiting, device.usage()], [0, { items: 0, bytes: 0 }]);
});

Deno.test("vsock device: packets and buffers of the wrong size are the driver's faults", () => {
  const rows: readonly (readonly [(rig: Rig) => void, string | undefined])[] = [
    [
      ({ host }) => host.send(TX, new FakeChain(new Uint8Array(43), NONE, 0)),
      "socket packet of 43 bytes, expected at least 44",
    ],
    [
      (rig) => rig.say({ op: RW, data: new Uint8Array(4), length: 5 }),
      "socket packet with 5 bytes of data, has 4",
    ],
    [
      (rig) => rig.say({ op: RW, data: new Uint8Array(65537) }),
      "socket packet with 65537 bytes of data, has 65537",
    ],
    [(rig) => rig.say({ op: RW, data: new Uint8Array(65536) }), undefined],
    [(rig) => rig.say({ op: RW, data: new Uint8Array(4), length: 3 }), undefined],
    [(rig) => {
      rig.say({ op: RW });
      rig.host.send(RX, new FakeChain(NONE, NONE, 43));
    }, "socket buffer of 43 bytes, expected at least 45"],
    [(rig) => {
      rig.device.resetTransport();
      rig.host.send(EVENT, new FakeChain(NONE, NONE, 3));
    }, "socket event buffer of 3 bytes, expected 4"],
  ];
  for (const [act, fault] of rows) {
    const rig = new Rig();
    act(rig);
    assertEquals(rig.host.faults, fault === undefined ? [] : [fault]);
  }
});

Deno.test("vsock device: a reset of the transport ends all connections, and is told once", () => {
  const rig = new Rig();
  const { device, host } = rig;
  rig.open();
  rig.say({ op: CREDIT_REQUEST });
  const event = (): unknown => {
    const chain = new FakeChain(NONE, NONE, 4);
    host.send(EVENT, chain);
    return chain.used === undefined ? undefined : [...chain.writable];
  };
  device.resetTransport();
  assertEquals([device.connections, device.waiting, host.configChanges, device.cid], [0, 0, 0, 3]);
  assertEquals([event(), event()], [[0, 0, 0, 0], undefined]);
  const before = host.signals;
  // The buffer that is there takes the next one.
  device.resetTransport(77);
  assertEquals([host.configChanges, device.cid, host.signals], [1, 77, before + 1]);
  assertEquals([device.readConfig(0, 4), device.readConfig(4, 4)], [77, 0]);
  device.resetTransport();
  device.reset();
  assertEquals(event(), undefined);
});

Deno.test("vsock device: features follow the options", () => {
  assertEquals([...new Rig().device.features], [0, 1, 2]);
  assertEquals([...new Rig({ withhold: [1] }).device.features], [0, 2]);
});

Deno.test("vsock device: ids and numbers of connections have bounds, and the id is read in parts", () => {
  for (const cid of [3, 0xfffffffe]) assertEquals(new Rig({ cid }).device.cid, cid);
  for (const cid of [2, 0xffffffff, 3.5, NaN]) {
    assertThrows(() => new Rig({ cid }), RangeError, "expected 3 to 4294967294");
  }
  new Rig({ maxConnections: 1 });
  for (const maxConnections of [0, 1.5]) {
    assertThrows(() => new Rig({ maxConnections }), RangeError, "expected 1 or more");
  }
  const { device } = new Rig({ cid: 0x92345678 });
  const parts = ([[0, 1], [1, 1], [0, 2], [2, 2], [0, 4], [4, 4]] as const).map(([at, width]) =>
    device.readConfig(at, width)
  );
  assertEquals(parts, [0x78, 0x56, 0x5678, 0x9234, 0x92345678, 0]);
});

Deno.test("vsock device: an event is told after a reset of the transport or a snapshot, and at no other time", () => {
  const told = (act: (rig: Rig) => void): boolean => {
    const rig = new Rig();
    act(rig);
    const chain = new FakeChain(NONE, NONE, 4);
    rig.host.send(EVENT, chain);
    return chain.used === 4;
  };
  assertEquals(told(() => {}), false);
  assertEquals(told(({ device }) => device.resetTransport()), true);
  assertEquals(told(({ device }) => device.restore({ cid: 9 })), true);
  const again = ({ device, host }: Rig): void => {
    device.resetTransport();
    device.reset();
    device.activate(host.context);
  };
  assertEquals(told(again), false);
});

Deno.test("vsock device: what waits is counted, by packets and bytes, and a driver that is gone is not served", async () => {
  const rig = new Rig();
  const { device, host } = rig;
  const port = rig.open();
  port.controller.enqueue(new Uint8Array(100));
  await settle();
  const { steps, bytes } = host.context.work.counters;
  rig.say({ op: CREDIT_REQUEST });
  // A look at the queue, one that finds nothing, and an answer.
  const { counters } = host.context.work;
  assertEquals([counters.steps - steps, counters.bytes - bytes], [3, 0]);
  assertEquals(device.usage(), { items: 3, bytes: 2 * 44 + 100 });
  host.send(RX, new FakeChain(NONE, NONE, 44 + 60));
  assertEquals(device.usage(), { items: 3, bytes: 2 * 44 + 40 });
  device.resetTransport();
  assertEquals(device.usage(), { items: 0, bytes: 0 });
  rig.open();
  device[Symbol.dispose]();
  assertEquals([device.connections, rig.say({ op: RW }).used], [0, undefined]);
});

Deno.test("vsock device: a buffer that waits has the next packet, and each queue that was used is signalled", () => {
  const rig = new Rig();
  const { host } = rig;
  const buffers = [0, 1].map(() => new FakeChain(NONE, NONE, 44));
  host.send(RX, ...buffers);
  const before = host.signals;
  rig.say({ op: RW });
  assertEquals([buffers.map(({ used }) => used), host.signals - before], [[44, undefined], 2]);
  // A packet that is none is not given back.
  for (const bytes of [43, 44]) {
    const broken = new Rig();
    const chain = new FakeChain(new Uint8Array(bytes).fill(0xff), NONE, 0);
    broken.host.send(TX, chain);
    assertEquals([chain.used, broken.host.faults.length], [undefined, 1]);
  }
});

Deno.test("vsock device: an answer to the host counts once, and has the guest's room", async () => {
  const rig = new Rig();
  const port = new Port();
  const connected = rig.device.connect(99, port);
  rig.ops();
  const guest = { guest: 99, port: 0x4000_0000 };
  rig.say({ op: RESPONSE, ...guest });
  await connected;
  port.controller.enqueue(new Uint8Array(5));
  await settle();
  assertEquals(rig.ops(), [RW]);
  // Of another type, it is of no connection.
  rig.say({ op: RST, type: SEQPACKET, ...guest });
  assertEquals([rig.ops(), rig.device.connections], [[RST], 1]);
  const ended = rig.device.connect(99, new Port());
  rig.device.resetTransport();
  await assertRejects(() => ended, VireoError, "Connection ended");
  rig.say({ op: REQUEST, guest: 99, port: 0x4000_0001 });
  rig.say({ op: RESPONSE, type: SEQPACKET, guest: 99, port: 0x4000_0001 });
  assertEquals(rig.ops(), [RESPONSE, RST]);
});

Deno.test("vsock device: the host's streams wait for room behind 512 packets or 2 MiB", async () => {
  for (const [length, waiting] of [[1, 512], [65536, 32]] as const) {
    const rig = new Rig();
    rig.say({ op: REQUEST, bufAlloc: 0x7fffffff });
    const port = rig.ports[0]!;
    assertEquals(rig.ops(), [RESPONSE]);
    const all = waiting + 8;
    for (let i = 0; i < all; i++) port.controller.enqueue(new Uint8Array(length));
    await settle();
    assertEquals(rig.device.waiting, waiting);
    // Each packet that the guest takes makes room for one.
    rig.host.send(RX, new FakeChain(NONE, NONE, 44 + 65536));
    await settle();
    assertEquals(rig.device.waiting, waiting);
    let heard = 1;
    for (; rig.device.waiting > 0; await settle()) heard += rig.hear().length;
    assertEquals(heard, all);
  }
});
