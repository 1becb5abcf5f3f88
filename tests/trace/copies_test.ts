import { assertEquals } from "@std/assert";
import { blkDriver, Bus, consoleDriver, netDriver, p9Driver } from "@vireo/drivers";
import { Tracer, TraceStats } from "@vireo/drivers/trace";
import { ConsoleDevice, EmulatedMachine, MemoryTree, P9Device } from "@vireo/emu";
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
};

for (const options of [{}, { ring: { packed: true } }, { bus: "pci" }] as const) {
  Deno.test(`stats: bytes copied for each kind of request, ${JSON.stringify(options)}`, async () => {
    const stats = new TraceStats();
    const files = new MemoryTree({ "a.txt": "a".repeat(1000) });
    const echoing = new ConsoleDevice({ ports: [{ backend: loopbackPort() }] });
    const others = [{ model: echoing }, { model: new P9Device({ tree: files }) }];
    const machine = EmulatedMachine.create({ devices: [...loadDevices(), ...others], ...options });
    await using bus = new Bus({ tracer: new Tracer((event) => stats.event(event)) });
    await bus.registerDriver(blkDriver);
    await bus.registerDriver(netDriver);
    await bus.registerDriver(consoleDriver);
    await bus.registerDriver(p9Driver);
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
    assertEquals(found, { ...COPIES });
  });
}
