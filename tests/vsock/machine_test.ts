import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { Feature, VireoError, VsockFeature, VsockRecord, VsockType } from "@vireo/hal";
import {
  streamPipe,
  type StreamPort,
  UnixVsockHost,
  VsockDevice,
  type VsockDeviceOptions,
} from "@vireo/emu";
import { bootMachine, type MachineRig } from "../machine/machine_rig.ts";
import { waitOn } from "../../drivers/wait/mod.ts";
import { type Vsock, type VsockConnection, vsockDriver } from "../../drivers/vsock/mod.ts";
import { turn } from "../turn.ts";
import { bytesBy } from "../noise.ts";
import { TempFolder } from "../temp_folder.ts";

const SOON = { deadline: 5000 };
const ECHO = 7;
const SINK = 9;
const { SEQPACKET } = VsockType;

type Rig = MachineRig<"vsock", VsockDevice, Vsock>;

function echo(): StreamPort {
  return new TransformStream<Uint8Array, Uint8Array>();
}

function boot(
  options: Partial<VsockDeviceOptions> = {},
  version: 1 | 2 = 2,
  without: readonly number[] = [],
): Promise<Rig> {
  const host = { connect: (port: number) => port === ECHO ? echo() : undefined };
  const model = new VsockDevice({ cid: 42, host, ...options });
  return bootMachine("vsock", model, vsockDriver, { version, without });
}

const pattern = (length: number, seed: number): Uint8Array =>
  bytesBy(length, (i) => i * 31 + (i >> 8) * 7 + seed);

async function readAll(stream: ReadableStream<Uint8Array>): Promise<Uint8Array> {
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

async function send(connection: VsockConnection, data: Uint8Array): Promise<void> {
  const writer = connection.writable.getWriter();
  await writer.write(data);
  await writer.close();
}

for (const version of [1, 2] as const) {
  for (const without of [[], [Feature.INDIRECT_DESC], [Feature.EVENT_IDX]]) {
    Deno.test(`vsock: a megabyte there and back, and many connections at once (version ${version} without [${without}])`, async () => {
      await using rig = await boot({}, version, without);
      assertEquals(rig.vsock.cid, 42);
      const one = async (length: number, seed: number): Promise<void> => {
        await using connection = await rig.vsock.connect(ECHO, SOON);
        const data = pattern(length, seed);
        const [, back] = await Promise.all([send(connection, data), readAll(connection.readable)]);
        assertEquals(back, data);
      };
      await one(1 << 20, 1);
      await Promise.all(Array.from({ length: 100 }, (_, i) => one(i * 997, i)));
      assertEquals([rig.vsock.connections, rig.model.connections], [0, 0]);
      assertEquals(rig.machine.violations(), []);
    });
  }
}

Deno.test("vsock: what is no port is refused, not cut to 32 bits", async () => {
  await using rig = await boot();
  for (const port of [-1, 1.5, NaN, 2 ** 32 + ECHO, 2 ** 32 - 1]) {
    const expected = `port ${port}: expected an integer from 0 to 4294967294`;
    await assertRejects(() => rig.vsock.connect(port, SOON), RangeError, expected);
    assertThrows(() => rig.vsock.listen(port), RangeError, expected);
  }
});

Deno.test("vsock: sequenced packets keep their borders, the empty and the large ones too", async () => {
  const messages: Uint8Array[] = [];
  const host = {
    connect: () =>
      new TransformStream<Uint8Array, Uint8Array>({
        transform(message, out) {
          messages.push(message);
          out.enqueue(message);
        },
      }),
  };
  await using rig = await boot({ host });
  await using connection = await rig.vsock.connect(ECHO, { ...SOON, type: SEQPACKET });
  const sent = [1, 0, 5000, 100_000, 17].map((length, i) => pattern(length, i));
  const writer = connection.writable.getWriter();
  const reader = connection.readable.getReader();
  for (const message of sent) {
    await writer.write(message);
    assertEquals((await reader.read()).value, message);
  }
  assertEquals(messages, sent);
  await assertRejects(() => writer.write(new Uint8Array(300_000)), RangeError, "300000");
});

Deno.test("vsock: a message that ends a record does so at the other end, both ways and in parts", async () => {
  const ends: boolean[] = [];
  const host = {
    connect: () =>
      new TransformStream<Uint8Array, Uint8Array>({
        transform(message, out) {
          ends.push(message instanceof VsockRecord);
          out.enqueue(message);
        },
      }),
  };
  await using rig = await boot({ host });
  await using connection = await rig.vsock.connect(ECHO, { ...SOON, type: SEQPACKET });
  const writer = connection.writable.getWriter();
  const reader = connection.readable.getReader();
  const sent = [[1, false], [100_000, true], [0, true], [5000, false]] as const;
  for (const [length, record] of sent) {
    const bytes = pattern(length, length);
    await writer.write(record ? new VsockRecord(bytes) : bytes);
    const { value } = await reader.read();
    assertEquals([...value!], [...bytes]);
    assertEquals(value instanceof VsockRecord, record);
  }
  assertEquals(ends, sent.map(([, record]) => record));
  // A stream has no records.
  await using stream = await rig.vsock.connect(ECHO, SOON);
  await stream.writable.getWriter().write(new VsockRecord([1, 2]));
  const { value } = await stream.readable.getReader().read();
  assertEquals([value!.length, value instanceof VsockRecord], [2, false]);
  assertEquals(rig.machine.violations(), []);
});

Deno.test("vsock: the host connects to a listener of the guest", async () => {
  await using rig = await boot();
  using listener = rig.vsock.listen(5000);
  assertThrows(() => rig.vsock.listen(5000), RangeError, "in use");
  const serving = (async () => {
    for await (const connection of listener) {
      assertEquals([connection.peerCid, connection.localPort], [2, 5000]);
      await connection.readable.pipeTo(connection.writable);
      break;
    }
  })();
  const pipe = streamPipe(8);
  await rig.model.connect(5000, pipe.device);
  const data = pattern(300_000, 3);
  const writing = (async () => {
    const writer = pipe.host.writable.getWriter();
    await writer.write(data);
    await writer.close();
  })();
  assertEquals(await readAll(pipe.host.readable), data);
  await Promise.all([writing, serving]);
  const refused = await assertRejects(() => rig.model.connect(1, streamPipe().device), VireoError);
  assertEquals(refused.code, "PORT_CLOSED");
});

Deno.test("vsock: a device that takes no packets holds nobody up beyond a deadline or a signal", async () => {
  await using rig = await boot();
  const [one, other] = [await rig.vsock.connect(ECHO, SOON), await rig.vsock.connect(ECHO, SOON)];
  const notify = rig.model.notify.bind(rig.model);
  rig.model.notify = () => {};
  const late = await assertRejects(() => rig.vsock.connect(ECHO, { deadline: 20 }), VireoError);
  assertEquals([late.code, rig.vsock.connections], ["TIMEOUT", 2]);
  // A peer that does not answer is reset, and that is an end in order.
  await one.close({ deadline: 20 });
  const abort = new AbortController();
  const closing = assertRejects(() => other.close({ signal: abort.signal }), Error, "enough");
  abort.abort(new Error("enough"));
  await closing;
  assertEquals(rig.vsock.connections, 0);
  rig.model.notify = notify;
});

Deno.test("vsock: an abort of the writer ends a write that waits for room, or for the device", async () => {
  const gate = Promise.withResolvers<void>();
  const port = {
    readable: new ReadableStream<Uint8Array>(),
    writable: new WritableStream<Uint8Array>({ write: () => gate.promise }),
  };
  await using rig = await boot({ host: { connect: (at) => at === SINK ? port : echo() } });
  const full = await rig.vsock.connect(SINK, SOON);
  const slow = await rig.vsock.connect(ECHO, SOON);
  const giveUp = async (connection: VsockConnection): Promise<void> => {
    const writer = connection.writable.getWriter();
    const writing = assertRejects(() => writer.write(pattern(1 << 20, 5)), Error, "enough");
    await turn(5);
    await waitOn(writer.abort(new Error("enough")), { what: "the abort" }, SOON);
    await writing;
    connection.reset();
  };
  await giveUp(full);
  const notify = rig.model.notify.bind(rig.model);
  rig.model.notify = () => {};
  await giveUp(slow);
  rig.model.notify = notify;
  gate.resolve();
});

Deno.test("vsock: nobody listens, nobody answers, and a type that is not there", async () => {
  const never = { connect: () => new Promise<undefined>(() => {}) };
  await using rig = await boot({ host: never, withhold: [VsockFeature.SEQPACKET] });
  const code = async (run: () => Promise<unknown>): Promise<string> =>
    (await assertRejects(run, VireoError)).code;
  assertEquals(await code(() => rig.vsock.connect(1, { deadline: 10 })), "TIMEOUT");
  assertEquals(await code(() => rig.vsock.connect(1, { type: SEQPACKET })), "UNSUPPORTED");
  const listen = assertThrows(() => rig.vsock.listen(1, { type: SEQPACKET }), VireoError);
  assertEquals(listen.code, "UNSUPPORTED");
  const signal = AbortSignal.abort(new Error("enough"));
  await assertRejects(() => rig.vsock.connect(1, { signal }), Error, "enough");
  await using other = await boot();
  const refused = await assertRejects(() => other.vsock.connect(1, SOON), VireoError);
  assertEquals(refused.code, "IO_ERROR");
  assertEquals([rig.vsock.connections, other.vsock.connections], [0, 0]);
});

Deno.test("vsock: neither side sends more than the other has room for", async () => {
  // A host that reads nothing until it is told to.
  const gate = Promise.withResolvers<void>();
  const got: Uint8Array[] = [];
  const host = {
    connect: () => ({
      readable: new ReadableStream<Uint8Array>(),
      writable: new WritableStream<Uint8Array>({
        async write(chunk) {
          await gate.promise;
          got.push(chunk);
        },
      }),
    }),
  };
  await using rig = await boot({ host });
  const connection = await rig.vsock.connect(SINK, SOON);
  const data = pattern(1 << 20, 5);
  let done = false;
  const writing = send(connection, data).then(() => done = true);
  await turn(50);
  assertEquals(done, false, "256 KiB of room, and no more");
  gate.resolve();
  await writing;
  connection.reset();
  const total = got.reduce((sum, { length }) => sum + length, 0);
  assert(total >= (1 << 20) - 256 * 1024, `${total} bytes arrived`);
});

Deno.test("vsock: a reset of the transport ends connections, and listeners go on", async () => {
  await using rig = await boot();
  using listener = rig.vsock.listen(80);
  const connection = await rig.vsock.connect(ECHO, SOON);
  const reading = assertRejects(() => connection.readable.getReader().read(), VireoError);
  rig.model.resetTransport(77);
  assertEquals((await reading).code, "PORT_CLOSED");
  assertEquals(rig.vsock.cid, 77);
  const pipe = streamPipe();
  const [, accepted] = await Promise.all([
    rig.model.connect(80, pipe.device),
    listener.accept(SOON),
  ]);
  accepted.reset();
  await using again = await rig.vsock.connect(ECHO, SOON);
  assertEquals(again.ended, false);
});

Deno.test("vsock: a failing device ends all; after a recovery there are new connections", async () => {
  await using rig = await boot();
  const connection = await rig.vsock.connect(ECHO, SOON);
  const reading = assertRejects(() => connection.readable.getReader().read(), VireoError);
  const recovered = rig.bus.devices[0]!.recovered(SOON);
  rig.machine.device(0).fault("as the test wants");
  assertEquals((await reading).code, "DEVICE_NEEDS_RESET");
  await recovered;
  await using again = await rig.vsock.connect(ECHO, SOON);
  const [, back] = await Promise.all([
    send(again, pattern(5000, 1)),
    readAll(again.readable),
  ]);
  assertEquals(back, pattern(5000, 1));
});

Deno.test("vsock: the host's ports are unix sockets, both ways", async () => {
  using folder = new TempFolder();
  const dir = folder.path;
  const host = new UnixVsockHost(`${dir}/v.sock`);
  await using rig = await boot({ host });
  // The guest connects to a server of the host: QEMU and Firecracker users know the name.
  const server = Deno.listen({ transport: "unix", path: `${dir}/v.sock_1234` });
  const serving = (async () => {
    using client = await server.accept();
    const bytes = new Uint8Array(5);
    await client.read(bytes);
    await client.write(bytes.reverse());
  })();
  {
    await using connection = await rig.vsock.connect(1234, SOON);
    const [, back] = await Promise.all([
      send(connection, new TextEncoder().encode("hello")),
      readAll(connection.readable),
    ]);
    assertEquals(new TextDecoder().decode(back), "olleh");
  }
  await serving;
  server.close();
  const none = await assertRejects(() => rig.vsock.connect(99, SOON), VireoError);
  assertEquals(none.code, "IO_ERROR");
  // The host connects to a server of the guest.
  host.listen(rig.model);
  using listener = rig.vsock.listen(22);
  const accepting = listener.accept(SOON);
  using client = await Deno.connect({ transport: "unix", path: `${dir}/v.sock` });
  await client.write(new TextEncoder().encode("CONNECT 22\nknock"));
  const guest = await accepting;
  const { value } = await guest.readable.getReader().read();
  assertEquals(new TextDecoder().decode(value), "knock");
  guest.reset();
  await host[Symbol.asyncDispose]();
});
