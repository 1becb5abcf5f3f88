import { assertEquals } from "@std/assert";
import {
  blkDriver,
  Bus,
  caifDriver,
  consoleDriver,
  gpuDriver,
  netDriver,
  p9Driver,
  rngDriver,
  rpmsgDriver,
  vsockDriver,
} from "@vireo/drivers";
import { Tracer, TraceStats } from "@vireo/drivers/trace";
import {
  CaifDevice,
  ConsoleDevice,
  EmulatedMachine,
  GpuDevice,
  MemoryTree,
  P9Device,
  RngDevice,
  RpmsgDevice,
  seededRandom,
  VsockDevice,
} from "@vireo/emu";
import { loopbackPort } from "@vireo/emu/backends";
import { loadDevices } from "./trace_load.ts";

/** What each kind of request copies, in bytes. A change of these numbers is a change of what requests cost. */
const COPIES: Readonly<Record<string, number>> = {
  "blk: a read of 4 KiB": 4096,
  "blk: a write of 4 KiB": 4096,
  // Its data is where the device wrote it.
  "blk: a read of 4 KiB in a batch": 0,
  "net: 64 bytes sent and received": 2 * 64,
  // A callback looks at the frame where the device wrote it.
  "net: 64 bytes sent, and received by a callback": 64,
  "console: a line of 6 bytes sent": 6,
  "console: a line of 6 bytes received": 6,
  // Tread has 23 bytes; Rread is read where the device wrote it.
  "9p: a read of 1000 bytes": 23 + 1000,
  "rng: 100 bytes": 100,
  // A message has a header of 16 bytes, which is not copied when it comes.
  "rpmsg: 5 bytes sent and received": 16 + 2 * 5,
  // What comes is in the modem's memory.
  "caif: 6 bytes sent and received": 6,
  // A packet has a header of 44 bytes.
  "vsock: 7 bytes sent and received": 44 + 2 * 7,
  // TRANSFER_TO_HOST_2D has 56 bytes, RESOURCE_FLUSH 48, their answers 24.
  "gpu: a picture of two pieces shown": 800 * 600 * 4 + 56 + 48 + 2 * 24,
};

for (const options of [{}, { ring: { packed: true } }, { bus: "pci" }] as const) {
  Deno.test(`stats: bytes copied for each kind of request, ${JSON.stringify(options)}`, async () => {
    const stats = new TraceStats();
    const files = new MemoryTree({ "a.txt": "a".repeat(1000) });
    const echoing = new ConsoleDevice({ ports: [{ backend: loopbackPort() }] });
    const service = { name: "echo", address: 0x400 };
    const others = [
      echoing,
      new P9Device({ tree: files }),
      new RngDevice({ random: seededRandom(1) }),
      new RpmsgDevice({ services: [{ ...service, handle: (_, bytes, reply) => reply(bytes) }] }),
      new CaifDevice({ onFrame: (frame, self) => self.send(frame) }),
      new VsockDevice({ cid: 3, host: { connect: () => new TransformStream() } }),
      new GpuDevice(),
    ].map((model) => ({ model }));
    const machine = EmulatedMachine.create({ devices: [...loadDevices(), ...others], ...options });
    await using bus = new Bus({ tracer: new Tracer((event) => stats.event(event)) });
    for (const driver of [blkDriver, netDriver, consoleDriver, p9Driver, rngDriver]) {
      await bus.registerDriver(driver);
    }
    for (const driver of [rpmsgDriver, caifDriver, vsockDriver, gpuDriver]) {
      await bus.registerDriver(driver);
    }
    await bus.addPlatform(machine);
    const copied = (): number => stats.devices().reduce((sum, { copied }) => sum + copied, 0);
    const found: Record<string, number> = {};
    const count = async <T>(kind: string, request: () => Promise<T> | T): Promise<T> => {
      const before = copied();
      const answer = await request();
      found[kind] = copied() - before;
      return answer;
    };

    const blk = bus.get(blkDriver)!;
    await count("blk: a read of 4 KiB", () => blk.read(8, 4096));
    await count("blk: a write of 4 KiB", () => blk.write(8, new Uint8Array(4096)));
    using batch = blk.batch(1, 4096);
    await count("blk: a read of 4 KiB in a batch", () => {
      batch.prepareRead(0, 8);
      batch.submit(0);
      batch.kick();
      assertEquals([batch.poll(), batch.ok(0)], [0, true]);
    });

    const net = bus.get(netDriver)!;
    const frame = new Uint8Array(64);
    frame.set([...net.mac, ...net.mac, 0x88, 0xb5]);
    await count("net: 64 bytes sent and received", async () => {
      await net.send(frame);
      await net.receive();
    });
    let seen = 0;
    net.onFrame = () => seen++;
    await count("net: 64 bytes sent, and received by a callback", async () => {
      await net.send(frame);
      net.poll();
    });
    assertEquals(seen, 1);

    using port = (await bus.get(consoleDriver)!.port(0)).open();
    await count("console: a line of 6 bytes sent", () => port.writeText("hello\n"));
    const line = await count("console: a line of 6 bytes received", () => port.read());
    assertEquals(line?.length, 6);

    await using tree = await bus.get(p9Driver)!.attach();
    await using file = await tree.open("a.txt");
    const text = await count("9p: a read of 1000 bytes", () => file.read(0, 1000));
    assertEquals(text.length, 1000);

    await count("rng: 100 bytes", () => bus.get(rngDriver)!.read(100));
    using endpoint = bus.get(rpmsgDriver)!.endpoint({ remote: service.address });
    await count("rpmsg: 5 bytes sent and received", async () => {
      await endpoint.send(new Uint8Array(5));
      await endpoint.receive();
    });
    const caif = bus.get(caifDriver)!;
    await count("caif: 6 bytes sent and received", async () => {
      await caif.send(new Uint8Array(6));
      await caif.receive();
    });
    await using connection = await bus.get(vsockDriver)!.connect(7);
    const writer = connection.writable.getWriter();
    const reader = connection.readable.getReader();
    await count("vsock: 7 bytes sent and received", async () => {
      await writer.write(new Uint8Array(7));
      await reader.read();
    });
    await using picture = await bus.get(gpuDriver)!.create(800, 600);
    await count("gpu: a picture of two pieces shown", () => picture.flush());
    assertEquals(found, { ...COPIES });
  });
}
