import { assertEquals, assertRejects } from "@std/assert";
import { CONSOLE_CONFIG, ConsoleEvent as E, ConsoleFeature, VireoError } from "@vireo/hal";
import { code, turn } from "../async_test_util.ts";
import { FakeDevice, type FakeRequest } from "../testing/fake_blk.ts";
import { Console } from "./driver.ts";

const GONE = new VireoError("QUEUE_BROKEN", "As the test wants");

/** A console with room for ports whose control messages are held while `holds` is true. */
function rig({ ports = 4, ringSize = 64 }: { ports?: number; ringSize?: number } = {}) {
  const fake = new FakeDevice(ConsoleFeature.MULTIPORT);
  fake.ringSize = ringSize;
  fake.config.setUint32(CONSOLE_CONFIG.max_nr_ports.offset, ports, true);
  const state = { holds: false, buffers: 0 };
  /** Messages of the driver: port, event and value. */
  const heard: string[] = [];
  const held: FakeRequest[] = [];
  const finish = (request = held.shift()!): void => {
    request.complete(undefined, 0);
    request.queue.interrupt();
  };
  const buffers = (): FakeRequest[] => fake.pending.filter(({ queue }) => queue.index === 2);
  fake.script = (request) => {
    if (request.queue.index !== 3) return;
    const view = new DataView(request.readable.buffer);
    heard.push(`${view.getInt32(0, true)} ${view.getUint16(4, true)} ${view.getUint16(6, true)}`);
    state.buffers = buffers().length;
    if (state.holds) held.push(request);
    else finish(request);
  };
  const device = Object.assign(fake.device, {
    features: fake.features,
    openQueues: (indices: readonly number[]) => indices.map((index) => fake.queues[index]!),
    ready() {},
  });
  const con = new Console(device);
  return {
    fake,
    device,
    con,
    heard,
    held,
    finish,
    state,
    start: () => con.start({ console: true }),
    /** Sends a control message. */
    say(id: number, event: number, value = 0, interrupts = true, name = ""): void {
      const bytes = new Uint8Array([...new Uint8Array(8), ...new TextEncoder().encode(name)]);
      const view = new DataView(bytes.buffer);
      view.setUint32(0, id, true);
      view.setUint16(4, event, true);
      view.setUint16(6, value, true);
      const [buffer] = buffers();
      buffer!.fill(bytes);
      buffer!.complete(undefined, bytes.length);
      if (interrupts) buffer!.queue.interrupt();
    },
    async reset(): Promise<void> {
      con.freeze();
      await device.reset();
      held.length = 0;
      con.restore();
    },
  };
}

Deno.test("console: the device has all buffers for control messages before it hears of the driver", () => {
  const { start, state, heard } = rig();
  start();
  assertEquals([heard, state.buffers], [["-1 0 1"], 64]);
});

Deno.test("console: no port is answered before the device has taken that the driver is ready", async () => {
  const { start, state, heard, say, finish } = rig();
  state.holds = true;
  start();
  say(1, E.PORT_ADD);
  await turn();
  assertEquals(heard, ["-1 0 1"]);
  finish();
  await turn();
  assertEquals(heard, ["-1 0 1", "1 3 1"]);
});

Deno.test("console: after a reset the device must have taken again that the driver is ready", async () => {
  for (const taken of ["before", "in the suspend", "never"] as const) {
    const { con, device, start, state, heard, held, say, finish } = rig();
    state.holds = true;
    start();
    if (taken === "before") finish();
    await turn();
    con.freeze();
    if (taken === "in the suspend") finish();
    await turn();
    await device.reset();
    held.length = heard.length = 0;
    con.restore();
    say(2, E.PORT_ADD);
    await turn();
    assertEquals(heard, ["-1 0 1"], taken);
    finish();
    await turn();
    assertEquals(heard, ["-1 0 1", "2 3 1"], taken);
  }
});

Deno.test("console: ports that the device added before it took that the driver is ready are answered without another interrupt", async () => {
  const { start, state, heard, say, finish } = rig();
  state.holds = true;
  start();
  say(1, E.PORT_ADD, 0, false);
  finish();
  await turn();
  assertEquals(heard, ["-1 0 1", "1 3 1"]);
});

Deno.test("console: only the first port has queues before there are others, and all buffers are single", () => {
  const { fake, start, say } = rig({ ports: 2 });
  start();
  const seen = fake.queues.map(({ request: { name, later, indirect, receives } }) =>
    [name, later ? "later" : "now", indirect, receives] as const
  );
  assertEquals(seen, [
    ["input.0", "now", false, true],
    ["output.0", "now", false, false],
    ["control-i", "now", false, true],
    ["control-o", "now", false, false],
    ["input.1", "later", false, true],
    ["output.1", "later", false, false],
  ]);
  // Until the device fills them a port has 16 KiB of buffers.
  say(1, E.PORT_ADD);
  const buffers = fake.pending.filter(({ queue }) => queue.index === 4);
  assertEquals(buffers.map(({ writableLength }) => writableLength), [4096, 4096, 4096, 4096]);
});

Deno.test("console: as many ports are answered at a time as there is room for what the device says of them", async () => {
  for (const [ringSize, most] of [[64, 16], [8, 2], [2, 1]] as const) {
    const { start, state, heard, held, say, finish } = rig({ ports: 32, ringSize });
    start();
    await turn();
    state.holds = true;
    for (let id = 0; id < 20; id++) say(id, E.PORT_ADD);
    await turn();
    assertEquals(held.length, Math.min(most, 16));
    finish();
    await turn();
    assertEquals([held.length, heard.at(-1)], [most, `${most} 3 1`]);
  }
});

Deno.test("console: a device that failed, is being suspended or removed is told nothing more", async () => {
  for (const end of ["failed", "freeze", "remove"] as const) {
    const { device, con, start, heard, say } = rig();
    start();
    say(1, E.PORT_ADD);
    await turn();
    const port = (await con.port(1)).open();
    await turn();
    heard.length = 0;
    // A reset that takes its time.
    if (end === "remove") device.reset = () => new Promise(() => {});
    void con[end](GONE);
    port.close();
    say(2, E.PORT_ADD);
    say(1, E.CONSOLE_PORT);
    await turn();
    assertEquals(heard, []);
  }
});

Deno.test("console: what the device said before a reset and was not looked at is forgotten", async () => {
  const { con, start, state, heard, say, reset } = rig();
  state.holds = true;
  start();
  // 64 and as many as there may be ports wait for the device, the first message among them: what
  // follows is left unread.
  for (let i = 0; i < 64 + 4 - 2; i++) say(1, E.PORT_ADD);
  say(3, E.PORT_ADD);
  say(2, E.PORT_ADD);
  assertEquals(con.ports.map(({ id }) => id), [1, 3]);
  state.holds = false;
  await reset();
  await turn();
  assertEquals(con.ports.map(({ id }) => id), [1, 3]);
  assertEquals(heard.filter((line) => line.startsWith("2")), []);
});

Deno.test("console: an answer that a reset cut off keeps no port of later from its own", async () => {
  const { start, state, heard, say, reset } = rig({ ringSize: 2 });
  start();
  await turn();
  state.holds = true;
  say(1, E.PORT_ADD);
  await turn();
  state.holds = false;
  await reset();
  await turn();
  heard.length = 0;
  say(2, E.PORT_ADD);
  await turn();
  assertEquals(heard, ["2 3 1"]);
});

Deno.test("console: what was left unread is looked at when the device has taken what was sent", async () => {
  const { con, start, state, held, say, finish } = rig();
  start();
  say(1, E.PORT_ADD);
  await con.port(1);
  state.holds = true;
  // Each is answered with an open port.
  for (let i = 0; i < 64 + 4; i++) say(1, E.CONSOLE_PORT, 1);
  say(2, E.PORT_ADD);
  assertEquals(con.ports.map(({ id }) => id), [1]);
  state.holds = false;
  while (held.length > 0) finish();
  await turn();
  assertEquals(con.ports.map(({ id }) => id), [1, 2]);
});

Deno.test("console: a port is shown with what the device says of it, also without another interrupt", async () => {
  const { con, start, state, say, finish } = rig();
  start();
  await turn();
  state.holds = true;
  say(1, E.PORT_ADD);
  const shown = con.port(1);
  say(1, E.CONSOLE_PORT, 1, false);
  finish();
  assertEquals((await shown).isConsole, true);
});

Deno.test("console: those that wait for a name or a text console get the port that becomes one", async () => {
  const { con, start, say } = rig();
  start();
  say(1, E.PORT_ADD);
  await con.port(1);
  const [named, text] = [con.port("agent"), con.port()];
  say(1, E.PORT_NAME, 1, true, "agent\0rest");
  say(1, E.CONSOLE_PORT, 1);
  assertEquals([(await named).id, (await text).id], [1, 1]);
  say(2, E.PORT_ADD);
  say(2, E.PORT_NAME, 1, true, "\0rest");
  assertEquals((await con.port(2)).name, "");
});

Deno.test("console: an event that devices do not send is counted as one, whatever port it is of", () => {
  const { con, start, say } = rig();
  start();
  for (const event of [0, 8]) say(3, event);
  assertEquals(con.counters, { malformed: 0, unknownPort: 0, unknownEvent: 2 });
});

Deno.test("console: a port that there is no memory for is refused", async () => {
  const { con, device, start, heard, say } = rig();
  start();
  await turn();
  device.dma.alloc = () => {
    throw new VireoError("OUT_OF_MEMORY", "As the test wants");
  };
  say(1, E.PORT_ADD);
  await turn();
  assertEquals([heard, con.ports], [["-1 0 1", "1 3 0"], []]);
});

Deno.test("console: a port that goes before its answer gets none, and leaves no bytes to the next of its number", async () => {
  const { con, fake, start, state, heard, say, finish } = rig({ ringSize: 2 });
  start();
  await turn();
  state.holds = true;
  for (const id of [1, 2]) say(id, E.PORT_ADD);
  say(2, E.PORT_REMOVE);
  finish();
  await turn();
  assertEquals(heard.slice(1), ["1 3 1"]);
  const put = (text: string): void => {
    const buffer = fake.pending.find(({ queue }) => queue.index === 4)!;
    buffer.fill(new TextEncoder().encode(text));
    buffer.complete(undefined, text.length);
    buffer.queue.interrupt();
  };
  state.holds = false;
  (await con.port(1)).open();
  put("old");
  say(1, E.PORT_REMOVE);
  say(1, E.PORT_ADD);
  using port = (await con.port(1)).open();
  put("new");
  assertEquals(new TextDecoder().decode((await port.read())!), "new");
});

Deno.test("console: a removal ends those that wait for a port, of a device that cannot be reset too", async () => {
  const { fake, con, start } = rig();
  start();
  const waiting = code(() => con.port(3));
  fake.resetFails = true;
  await assertRejects(() => con.remove(), VireoError);
  assertEquals(await waiting, "DEVICE_REMOVED");
});

Deno.test("console: a port that is closed ends those that read and write at once, and begins again when it is opened", async () => {
  const { con, start, heard, say } = rig();
  start();
  say(1, E.PORT_ADD);
  const port = (await con.port(1)).open();
  const { readable, writable } = port;
  // No deadlines, whose last look would see it too. The host's side is closed, so that the write waits.
  const [read, written] = [port.read(), code(() => port.write(Uint8Array.of(1)))];
  await turn();
  port.close();
  assertEquals([await read, await written], [null, "PORT_CLOSED"]);
  port.open();
  assertEquals([port.readable === readable, port.writable === writable], [false, false]);
  await turn();
  assertEquals(heard.slice(2), ["1 6 1", "1 6 0", "1 6 1"]);
});

Deno.test("console: who opens a port after the host closed it waits for what comes", async () => {
  const { con, start, say } = rig();
  start();
  say(1, E.PORT_ADD);
  const port = (await con.port(1)).open();
  say(1, E.PORT_OPEN, 1);
  say(1, E.PORT_OPEN, 0);
  assertEquals(await port.read(), null);
  port.close();
  port.open();
  assertEquals(await code(() => port.read({ deadline: 1 })), "TIMEOUT");
});

Deno.test("console: a text console counts as open, whoever has it open", async () => {
  const { con, start, heard, say } = rig();
  start();
  say(1, E.PORT_ADD);
  say(1, E.CONSOLE_PORT, 1);
  const port = await con.port();
  await turn();
  heard.length = 0;
  port.open();
  port.close();
  await turn();
  assertEquals(heard, []);
});
