import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { VireoError } from "@vireo/hal";
import { RawConsole } from "./raw_console.ts";
import type { DeviceModel } from "../../emu/device.ts";
import { DirectWire } from "../machine/direct_wire.ts";
import { turn } from "../turn.ts";
import { type Console, consoleDriver, type Port } from "../../drivers/console/mod.ts";

const boot = (model: DeviceModel): Promise<DirectWire<Console>> =>
  DirectWire.boot(model, consoleDriver);
const SOON = { deadline: 5000 };
const text = (s: string): number[] => [...new TextEncoder().encode(s)];
const raw = (): RawConsole => new RawConsole({ features: [0, 1], maxPorts: 4 });

/** Adds a port as a device does, and waits until the driver shows it. */
async function addPort(device: RawConsole, id: number): Promise<void> {
  const before = device.heard.filter((line) => line === `${id} 3 1`).length;
  device.control(id, 1);
  const count = (): number => device.heard.filter((line) => line === `${id} 3 1`).length;
  await device.until(`PORT_READY ${id}`, () => count() > before);
}

/** Adds port 1, which both sides open. */
async function openPort(
  device: RawConsole,
  console: Console,
): Promise<Port> {
  await addPort(device, 1);
  const port = (await console.port(1, SOON)).open();
  device.control(1, 6, 1);
  await port.hostOpened(SOON);
  return port;
}

Deno.test("the handshake goes DEVICE_READY, PORT_ADD, PORT_READY, CONSOLE_PORT, PORT_OPEN (drv.console.multiport.1-3)", async () => {
  const device = raw();
  await using booted = await boot(device);
  await device.until("DEVICE_READY", () => device.heard.length > 0);
  assertEquals(device.heard, ["-1 0 1"]);
  device.control(1, 1);
  await device.until("PORT_READY", () => device.heard.length > 1);
  device.control(1, 4, 1);
  await device.until("PORT_OPEN", () => device.heard.length > 2);
  assertEquals(device.heard, ["-1 0 1", "1 3 1", "1 6 1"]);
  const port = await booted.instance.port(undefined, SOON);
  assertEquals([port.id, port.isConsole], [1, true]);
});

Deno.test("open and close of a port are told to the device, one opener at a time", async () => {
  const device = raw();
  await using booted = await boot(device);
  await addPort(device, 2);
  const port = await booted.instance.port(2, SOON);
  {
    using _opened = port.open();
    const error = assertThrows(() => port.open(), VireoError);
    assertEquals([error.code, error.index], ["DEVICE_STATE", 2]);
  }
  await device.until("PORT_OPEN 0", () => device.heard.includes("2 6 0"));
  assertEquals(device.heard.slice(-2), ["2 6 1", "2 6 0"]);
  port.open();
  port.close();
  port.close();
  await device.until("a second close", () => device.heard.length === 6);
  assertEquals(device.heard.slice(-2), ["2 6 1", "2 6 0"]);
  const closed = await assertRejects(() => port.read(), VireoError);
  assertEquals(closed.code, "PORT_CLOSED");
});

Deno.test("name, size and host state follow the device's messages", async () => {
  const device = raw();
  await using booted = await boot(device);
  await addPort(device, 1);
  const port = await booted.instance.port(1, SOON);
  const sizes: unknown[] = [];
  const end = port.onResize((size) => sizes.push(size));
  device.control(1, 7, 1, text("org.vireo.agent"));
  device.control(1, 7, 1, text("second name"));
  device.control(1, 5, 1, [132, 0, 43, 0]);
  device.control(1, 5, 1, [132, 0, 43, 0]);
  device.control(1, 6, 1);
  await port.hostOpened(SOON);
  assertEquals(port.name, "org.vireo.agent");
  assertEquals(port.size, { cols: 132, rows: 43 });
  assertEquals(sizes, [{ cols: 132, rows: 43 }]);
  assertEquals(await booted.instance.port("org.vireo.agent", SOON), port);
  end();
  device.control(1, 5, 1, [80, 0, 25, 0]);
  device.control(1, 6, 0);
  await addPort(device, 0);
  assertEquals([port.hostOpen, port.size?.cols, sizes.length], [false, 80, 1]);
});

Deno.test("a port that is added twice is confirmed twice and stays the same", async () => {
  const device = raw();
  await using booted = await boot(device);
  await addPort(device, 1);
  const port = await booted.instance.port(1, SOON);
  await addPort(device, 1);
  assertEquals(booted.instance.ports, [port]);
});

Deno.test("malformed control messages are counted and ignored", async () => {
  const device = raw();
  await using booted = await boot(device);
  await addPort(device, 0);
  device.say(2, [1, 0, 0]); // shorter than the header
  device.control(4, 1); // port id not below max_nr_ports
  device.control(0xffffffff, 1);
  device.control(0, 5, 1, [80, 0, 25]); // RESIZE cut short
  device.control(3, 6, 1); // no such port
  device.control(3, 2);
  device.control(0, 0, 1); // events that only drivers send
  device.control(0, 3, 1);
  device.control(0, 8, 1); // no such event
  device.control(0, 0xffff, 1);
  await addPort(device, 1);
  assertEquals(booted.instance.counters, { malformed: 4, unknownPort: 2, unknownEvent: 4 });
  assertEquals(booted.instance.ports.map((port) => port.id), [0, 1]);
  assertEquals(booted.instance.ports[0]?.size, undefined);
});

Deno.test("a flood of control messages is answered without growing", async () => {
  const device = raw();
  await using booted = await boot(device);
  device.taking = false;
  for (let i = 0; i < 2000; i++) device.control(1, 1);
  device.taking = true;
  device.notify(3);
  await device.until("2000 answers", () => device.heard.length >= 2000);
  assertEquals(booted.instance.ports.length, 1);
});

Deno.test("data for a port that nobody opened is thrown away and counted", async () => {
  const device = raw();
  await using booted = await boot(device);
  await addPort(device, 1);
  const port = await booted.instance.port(1, SOON);
  for (let i = 0; i < 100; i++) device.say(4, text("unread"));
  await device.until("100 buffers back", () => port.discardedBytes === 600);
  port.open();
  device.control(1, 6, 1);
  await port.hostOpened(SOON);
  device.say(4, text("read"));
  assertEquals([...(await port.read(SOON))!], text("read"));
});

Deno.test("the host's close ends the reader after what it sent, and its reopening starts again", async () => {
  const device = raw();
  await using booted = await boot(device);
  const port = await openPort(device, booted.instance);
  device.say(4, text("last words"));
  device.control(1, 6, 0);
  let got = "";
  for await (const part of port.text) got += part;
  assertEquals(got, "last words");
  assertEquals(await port.read(SOON), null);
  device.control(1, 6, 1);
  await port.hostOpened(SOON);
  device.say(4, text("again"));
  const reader = port.readable.getReader();
  assertEquals([...(await reader.read()).value!], text("again"));
  await reader.cancel();
});

Deno.test("a write waits while the host's side is closed, and can be given up", async () => {
  const device = raw();
  await using booted = await boot(device);
  await addPort(device, 1);
  const port = (await booted.instance.port(1, SOON)).open();
  const late = await assertRejects(() => port.writeText("x", { deadline: 1 }), VireoError);
  assertEquals(late.code, "TIMEOUT");
  const abort = new AbortController();
  const aborted = port.writeText("y", { signal: abort.signal });
  abort.abort(new Error("enough"));
  await assertRejects(() => aborted, Error, "enough");
  // No deadline, whose last look would find that it may go on.
  const waiting = port.writeText("z");
  device.control(1, 6, 1);
  await waiting;
  assertEquals(device.sent(5), text("z"));
  // A text console's is open as soon as it is one.
  await addPort(device, 2);
  const other = (await booted.instance.port(2, SOON)).open();
  const shown = other.writeText("w");
  device.control(2, 4, 1);
  await shown;
  assertEquals(device.sent(7), text("w"));
});

Deno.test("buffers of an aborted write stay the device's until it returns them", async () => {
  const device = raw();
  await using booted = await boot(device);
  const port = await openPort(device, booted.instance);
  device.taking = false;
  const data = Array.from({ length: 200_000 }, (_, i) => i % 251);
  const late = await assertRejects(
    () => port.write(Uint8Array.from(data), { deadline: 20 }),
    VireoError,
  );
  assertEquals(late.code, "TIMEOUT");
  const next = port.writeText("next", SOON);
  device.taking = true;
  device.take(5);
  await next;
  const sent = device.sent(5);
  assertEquals(sent.slice(-4), text("next"));
  // What was in the ring went out unharmed; the rest of the aborted write did not.
  assertEquals(sent.slice(0, -4), data.slice(0, sent.length - 4));
  assert(sent.length < data.length);
});

Deno.test("a write ends when the device took it, a stream's chunk when it is in the ring", async () => {
  const device = raw();
  await using booted = await boot(device);
  const port = await openPort(device, booted.instance);
  device.taking = false;
  const writer = port.writable.getWriter();
  await writer.write(Uint8Array.from(text("a")));
  let ended = false;
  const written = port.writeText("b").then(() => void (ended = true));
  await turn();
  assertEquals(ended, false);
  device.taking = true;
  device.take(5);
  await written;
  assertEquals(device.sent(5), text("ab"));
  // Each stream is made again when the last one is over.
  const { writable } = port;
  await writer.close();
  assertEquals(port.writable === writable, false);
  await port.writable.abort();
});

Deno.test("a write of a suspended console goes on when it resumes; a removed port's host is closed", async () => {
  const device = raw();
  await using booted = await boot(device);
  await addPort(device, 1);
  device.control(1, 4, 1);
  device.control(1, 6, 1);
  const port = (await booted.instance.port(1, SOON)).open();
  await port.hostOpened(SOON);
  booted.instance.freeze();
  const written = port.writeText("x");
  await booted.suspend();
  await written;
  assertEquals(device.sent(5), text("x"));
  await device.until(
    "DEVICE_READY",
    () => device.heard.filter((line) => line === "-1 0 1").length === 2,
  );
  device.control(1, 6, 1);
  await port.hostOpened(SOON);
  device.control(1, 2);
  while (!port.removed) await turn();
  assertEquals(port.hostOpen, false);
});

Deno.test("after a recovery the device hears which ports are open, and says which of its own are", async () => {
  const device = raw();
  await using booted = await boot(device);
  for (const id of [0, 1, 2, 3]) await addPort(device, id);
  // Console and open, console, open, neither.
  for (const id of [0, 1]) device.control(id, 4, 1);
  device.control(0, 6, 1);
  const ports = await Promise.all([0, 1, 2, 3].map((id) => booted.instance.port(id, SOON)));
  for (const id of [0, 2]) ports[id]!.open();
  await ports[0]!.hostOpened(SOON);
  const reads = [0, 2].map((id) =>
    assertRejects(() => ports[id]!.read(), VireoError, "needs a reset")
  );
  const opened = assertRejects(() => ports[1]!.hostOpened(), VireoError, "needs a reset");
  device.heard.length = 0;
  await booted.recover();
  await Promise.all([...reads, opened]);
  await device.until(
    "PORT_OPEN",
    () => device.heard.filter((line) => / 6 /.test(line)).length >= 3,
  );
  assertEquals(device.heard.filter((line) => / 6 /.test(line)).sort(), ["0 6 1", "1 6 1", "2 6 1"]);
  assertEquals(ports.map(({ hostOpen }) => hostOpen), [false, false, false, false]);
  // All is as at first: nobody fails for what was before.
  const next = ports[0]!.read();
  device.control(0, 6, 1);
  await ports[0]!.hostOpened();
  await ports[0]!.writeText("on");
  assertEquals(device.sent(1).slice(-2), text("on"));
  const ended = assertRejects(() => next, VireoError);
  await booted.instance.remove();
  assertEquals((await ended).code, "PORT_CLOSED");
});

Deno.test("an aborted read loses nothing", async () => {
  const device = raw();
  await using booted = await boot(device);
  await addPort(device, 1);
  const port = (await booted.instance.port(1, SOON)).open();
  const abort = new AbortController();
  const read = port.read({ signal: abort.signal });
  abort.abort(new Error("enough"));
  await assertRejects(() => read, Error, "enough");
  const late = await assertRejects(() => port.read({ deadline: 1 }), VireoError);
  assertEquals(late.code, "TIMEOUT");
  device.control(1, 6, 1);
  device.say(4, text("kept"));
  assertEquals([...(await port.read(SOON))!], text("kept"));
});

Deno.test("PORT_REMOVE ends readers and writers with PORT_CLOSED; the id may come back", async () => {
  const device = raw();
  await using booted = await boot(device);
  const seen: string[] = [];
  booted.instance.onPort((port, event) => seen.push(`${port.id} ${event}`));
  await addPort(device, 1);
  const port = (await booted.instance.port(1, SOON)).open();
  const calls = [port.read(SOON), port.writeText("never", SOON), port.readable.getReader().read()];
  device.control(1, 2);
  for (const call of calls) {
    const error = await assertRejects(() => call as Promise<unknown>, VireoError);
    assertEquals(error.code, "PORT_CLOSED");
  }
  assert(port.removed);
  port.close();
  assertEquals(assertThrows(() => port.open(), VireoError).code, "PORT_CLOSED");
  device.say(4, text("to nobody"));
  await addPort(device, 1);
  const again = (await booted.instance.port(1, SOON)).open();
  assert(again !== port);
  assertEquals(seen, ["1 added", "1 removed", "1 added"]);
  device.control(1, 6, 1);
  await again.hostOpened(SOON);
  const echo = again.read(SOON);
  device.say(4, text("hello"));
  assertEquals([...(await echo)!], text("hello"));
});

Deno.test("only the reset of a suspend leaves readers waiting: every other failure ends them", async () => {
  const cases = [
    [true, "DEVICE_STATE", false],
    [true, "DEVICE_REMOVED", true],
    [false, "DEVICE_STATE", true],
    [false, "QUEUE_BROKEN", true],
  ] as const;
  for (const [frozen, code, ends] of cases) {
    const device = raw();
    await using booted = await boot(device);
    await addPort(device, 1);
    using port = (await booted.instance.port(1, SOON)).open();
    const stop = new AbortController();
    const read = assertRejects(() => port.read({ signal: stop.signal }));
    if (frozen) booted.instance.freeze();
    const failure = new VireoError(code, "As the test wants");
    booted.instance.failed(failure);
    const enough = new Error("it waits on");
    stop.abort(enough);
    assertEquals(await read, ends ? failure : enough, `${frozen} ${code}`);
  }
});

Deno.test("a failure ends those that wait for a port at once, until the device is recovered or resumed", async () => {
  for (const way of ["recover", "suspend"] as const) {
    const device = raw();
    await using booted = await boot(device);
    const { instance } = booted;
    // The second time it fails as it did the first time: nothing is left of the reset.
    for (const code of ["QUEUE_BROKEN", "DEVICE_STATE"] as const) {
      const failure = new VireoError(code, "As the test wants");
      const stop = new AbortController();
      const waiting = assertRejects(() => instance.port(3, { signal: stop.signal }));
      instance.failed(failure);
      stop.abort(new Error("it waited on"));
      assertEquals(await waiting, failure);
      assertEquals(await assertRejects(() => instance.port(3, SOON)), failure);
      const heard = device.heard.length;
      await booted[way]();
      await device.until("DEVICE_READY", () => device.heard.length > heard);
      assertEquals(device.heard.at(-1), "-1 0 1");
    }
    await addPort(device, 3);
    assertEquals((await instance.port(3, SOON)).id, 3);
  }
});

Deno.test("a removal ends those that wait for a port, of a suspended device too, and reports the ports", async () => {
  for (const frozen of [false, true]) {
    const device = raw();
    await using booted = await boot(device);
    const { instance } = booted;
    const seen: string[] = [];
    instance.onPort((port, change) => seen.push(`${port.id} ${change}`));
    const end = instance.onPort(() => seen.push("too much"));
    end();
    await addPort(device, 1);
    if (frozen) instance.freeze();
    const waiting = assertRejects(() => instance.port(3, SOON), VireoError);
    await instance.remove();
    assertEquals((await waiting).code, "DEVICE_REMOVED");
    assertEquals([seen, instance.ports], [["1 added", "1 removed"], []]);
  }
});

Deno.test("max_nr_ports of 0 or over 32767 fails the probe", async () => {
  for (const maxPorts of [0, 0x8000, 0xffffffff]) {
    const device = new RawConsole({ features: [1], maxPorts });
    const error = await assertRejects(() => boot(device), VireoError);
    assertEquals([error.code, error.register, error.seen], [
      "CONFIG_INVALID",
      "max_nr_ports",
      maxPorts,
    ]);
  }
});
