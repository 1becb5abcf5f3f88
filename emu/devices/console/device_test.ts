import { assert, assertEquals, assertThrows } from "@std/assert";
import { FeatureSet } from "@vireo/hal";
import { loopbackPort, nullPort, streamPipe } from "../../backends/stream_port.ts";
import type { BytePort } from "../../backends/byte_port.ts";
import { FakeChain, FakeHost } from "../../testing/fake_host.ts";
import { FakeDriver } from "../../testing/fake_driver.ts";
import { ConsoleDevice } from "./device.ts";

// Control events, typed again from virtio 1.4 §5.3.6.2.
const READY = 0;
const ADD = 1;
const REMOVE = 2;
const PORT_READY = 3;
const CONSOLE = 4;
const RESIZE = 5;
const OPEN = 6;
const NAME = 7;
const NO_PORT = 0xffffffff;
const ascii = (s: string): number[] => [...new TextEncoder().encode(s)];

function message(id: number, event: number, value: number, rest: number[] = []): number[] {
  return [id & 255, id >> 8 & 255, id >> 16 & 255, id >>> 24, event, 0, value, 0, ...rest];
}

/** Sends a control message and returns what the device says then. */
function say(driver: FakeDriver, id: number, event: number, value: number): number[][] {
  driver.post(3, message(id, event, value), 0);
  return driver.taken(2);
}

function multiport(): { device: ConsoleDevice; driver: FakeDriver } {
  const device = new ConsoleDevice({
    maxPorts: 4,
    size: { cols: 80, rows: 25 },
    ports: [{ console: true, backend: nullPort() }, { name: "agent", backend: loopbackPort() }],
  });
  const driver = new FakeDriver(device);
  for (let i = 0; i < 60; i++) driver.post(2, [], 64);
  return { device, driver };
}

Deno.test("queues are numbered as the specification says (virtio 1.4 §5.3.2)", () => {
  const names = (maxPorts: number): string[] =>
    new ConsoleDevice({ ports: [], maxPorts }).queues.map((queue) => queue.name);
  assertEquals(names(1), ["receiveq0", "transmitq0", "control receiveq", "control transmitq"]);
  assertEquals(names(3).slice(4), ["receiveq1", "transmitq1", "receiveq2", "transmitq2"]);
  const single = new ConsoleDevice({ ports: [{ backend: nullPort() }] });
  assertEquals(single.queues.map((queue) => queue.name), ["receiveq0", "transmitq0"]);
});

Deno.test("features and configuration follow the options", () => {
  const { device } = multiport();
  assertEquals([...device.features], [0, 1]);
  assertEquals([device.readConfig(0, 2), device.readConfig(2, 2), device.readConfig(4, 4)], [
    80,
    25,
    4,
  ]);
  assertEquals([0, 1, 2, 3].map((i) => device.readConfig(i, 1)), [80, 0, 25, 0]);
  assertEquals([...new ConsoleDevice({ ports: [{ backend: nullPort() }] }).features], []);
  for (const maxPorts of [0, 1.5, 32768]) {
    assertThrows(
      () => new ConsoleDevice({ ports: [], maxPorts }),
      RangeError,
      "'maxPorts' must be from 1 to 32767",
    );
  }
});

Deno.test("emerg_wr works on an unconfigured device, and takes the low byte (dev.console.init.1-2)", () => {
  const out: number[] = [];
  const device = new ConsoleDevice({
    ports: [{ backend: nullPort() }],
    emergency: (byte) => out.push(byte),
  });
  assertEquals([...device.features], [2]);
  device.writeConfig(8, 4, 0x12345641);
  device.writeConfig(8, 1, 0x42);
  device.writeConfig(9, 1, 0x43);
  device.writeConfig(0, 2, 1);
  assertEquals(out, [0x41, 0x42]);
  assertEquals(device.readConfig(0, 2), 0);
});

Deno.test("nothing is said before DEVICE_READY, then each port is added", () => {
  const { driver } = multiport();
  assertEquals(driver.taken(2), []);
  assertEquals(say(driver, NO_PORT, READY, 1), [message(0, ADD, 0), message(1, ADD, 0)]);
});

Deno.test("PORT_READY is answered with kind, size, name and host state", () => {
  const { driver } = multiport();
  say(driver, NO_PORT, READY, 1);
  assertEquals(say(driver, 0, PORT_READY, 1), [
    message(0, CONSOLE, 1),
    message(0, RESIZE, 1, [80, 0, 25, 0]),
    message(0, OPEN, 1),
  ]);
  assertEquals(say(driver, 1, PORT_READY, 1), [
    message(1, NAME, 1, ascii("agent")),
    message(1, OPEN, 1),
  ]);
  assertEquals(say(driver, 1, PORT_READY, 0), []);
});

Deno.test("messages wait until the driver posts buffers, and the driver's wait with them", () => {
  const device = new ConsoleDevice({
    maxPorts: 2,
    ports: [{ console: true, backend: nullPort() }],
  });
  const driver = new FakeDriver(device);
  for (let i = 0; i < 400; i++) driver.post(3, message(0, PORT_READY, 1), 0);
  assert(driver.waiting(3) > 0, "a driver that takes no answers is not listened to for ever");
  assert(device.waitingMessages < 300);
  for (let i = 0; i < 800; i++) driver.post(2, [], 64);
  const said = driver.taken(2);
  assertEquals([said.length, driver.waiting(3), device.waitingMessages], [800, 0, 0]);
  assertEquals(said.slice(-2), [message(0, CONSOLE, 1), message(0, OPEN, 1)]);
});

Deno.test("ports are added below the limit and once, and removed if added (dev.console.multiport.1-2)", () => {
  const { device, driver } = multiport();
  say(driver, NO_PORT, READY, 1);
  const port = device.addPort({ name: "third", backend: nullPort() });
  assertEquals([port.id, driver.taken(2)], [2, [message(2, ADD, 0)]]);
  device.removePort(2);
  assertEquals(driver.taken(2), [message(2, REMOVE, 0)]);
  assertThrows(() => device.removePort(2), RangeError);
  assertThrows(() => device.addPort({ id: 1, backend: nullPort() }), RangeError);
  assertThrows(() => device.addPort({ id: 4, backend: nullPort() }), RangeError);
  assertEquals(driver.taken(2), []);
});

Deno.test("control messages about unknown ports and events are counted", () => {
  const { device, driver } = multiport();
  say(driver, 3, PORT_READY, 1);
  say(driver, 0xffff, OPEN, 1);
  say(driver, 0, NAME, 1);
  say(driver, 0, 99, 1);
  assertEquals(device.counters, { unknownPort: 2, unknownEvent: 2 });
  assertEquals(driver.faults, []);
});

Deno.test("host bytes wait for the guest to open the port and for buffers, and fill them exactly", async () => {
  const { device: end, host } = streamPipe(4);
  const device = new ConsoleDevice({
    maxPorts: 2,
    ports: [{ backend: nullPort() }, { backend: end }],
  });
  const driver = new FakeDriver(device);
  const writer = host.writable.getWriter();
  const sending = [writer.write(Uint8Array.of(1, 2, 3, 4, 5)), writer.write(Uint8Array.of(6))];
  driver.post(4, [], 2);
  say(driver, 1, PORT_READY, 1);
  assertEquals(driver.taken(4), []);
  say(driver, 1, OPEN, 1);
  await driver.until("first bytes", () => driver.returned(4) === 1);
  assertEquals(device.ports.get(1)?.pendingBytes, 3);
  driver.post(4, [], 2);
  driver.post(4, [], 2);
  driver.post(4, [], 2);
  await driver.until("all bytes", () => driver.returned(4) === 4);
  assertEquals(driver.taken(4), [[1, 2], [3, 4], [5], [6]]);
  await Promise.all(sending);
});

Deno.test("guest bytes stay in the ring until the host takes them", async () => {
  const { device: end, host } = streamPipe();
  const device = new ConsoleDevice({ ports: [{ backend: end }] });
  const driver = new FakeDriver(device);
  for (let i = 0; i < 20; i++) driver.post(1, [i], 0);
  await driver.until("some", () => driver.returned(1) > 0);
  assert(driver.waiting(1) >= 15, "a stuffed host leaves the ring full");
  const reader = host.readable.getReader();
  for (let i = 0; i < 20; i++) assertEquals([...(await reader.read()).value!], [i]);
  await driver.until("the rest", () => driver.returned(1) === 20);
});

Deno.test("a host that went away takes everything and hears nothing", async () => {
  const { device: end, host } = streamPipe();
  const device = new ConsoleDevice({ ports: [{ backend: end }] });
  const driver = new FakeDriver(device);
  await host.readable.cancel();
  for (let i = 0; i < 20; i++) driver.post(1, [i], 0);
  await driver.until("all", () => driver.returned(1) === 20);
  assertEquals(driver.faults, []);
});

Deno.test("opening and closing the host's side is told, also when its stream ends", async () => {
  const { device: end, host } = streamPipe();
  const device = new ConsoleDevice({ maxPorts: 1, ports: [{ backend: end }] });
  const driver = new FakeDriver(device);
  for (let i = 0; i < 10; i++) driver.post(2, [], 64);
  say(driver, NO_PORT, READY, 1);
  assertEquals(say(driver, 0, PORT_READY, 1), [message(0, OPEN, 1)]);
  const port = device.ports.get(0)!;
  port.closeHost();
  port.closeHost();
  port.openHost();
  assertEquals(driver.taken(2), [message(0, OPEN, 0), message(0, OPEN, 1)]);
  say(driver, 0, OPEN, 1);
  driver.post(0, [], 8);
  await host.writable.close();
  await driver.until("PORT_OPEN 0", () => driver.returned(2) === 1);
  assertEquals(driver.taken(2), [message(0, OPEN, 0)]);
  // A host that opens it again has nothing more to say, and is not closed a second time.
  port.openHost();
  await new Promise((resolve) => setTimeout(resolve));
  assertEquals([driver.taken(2), port.hostOpen], [[message(0, OPEN, 1)], true]);
});

Deno.test("resize changes the configuration, or is told to each console with MULTIPORT", () => {
  const { device, driver } = multiport();
  say(driver, NO_PORT, READY, 1);
  say(driver, 0, PORT_READY, 1);
  device.resize(100, 50);
  assertEquals(driver.taken(2), [message(0, RESIZE, 1, [100, 0, 50, 0])]);
  const single = new ConsoleDevice({
    ports: [{ backend: nullPort() }],
    size: { cols: 1, rows: 1 },
  });
  const alone = new FakeDriver(single);
  single.resize(300, 2);
  assertEquals([single.readConfig(0, 2), single.readConfig(2, 2), alone.configChanges], [
    300,
    2,
    1,
  ]);
});

Deno.test("chains of the wrong shape are guest faults (drv.console.operation.1-2)", async () => {
  const cases: [queue: number, input: number[], writable: number][] = [
    [0, [1], 8], // readable part in a receive buffer
    [0, [], 0],
    [1, [1], 1], // writable part in a transmit buffer
    [2, [1], 64],
    [2, [], 7], // too small for a header
    [3, message(0, OPEN, 1), 1],
    [3, [0, 0, 0, 0, 0, 0, 0], 0],
  ];
  for (const [queue, input, writable] of cases) {
    const { device: end, host } = streamPipe();
    const device = new ConsoleDevice({ maxPorts: 1, ports: [{ backend: end }] });
    const driver = new FakeDriver(device);
    driver.post(3, message(NO_PORT, READY, 1), 0);
    driver.post(3, message(0, OPEN, 1), 0);
    const sending = host.writable.getWriter().write(Uint8Array.of(1));
    driver.post(queue, input, writable);
    await driver.until(`a fault on queue ${queue}`, () => driver.faults.length > 0);
    assertEquals(driver.faults.length, 1);
    device[Symbol.dispose]();
    await sending.catch(() => {});
  }
});

Deno.test("a reset voids what the device holds, and keeps what the host sent", async () => {
  const { device: end, host } = streamPipe();
  const device = new ConsoleDevice({ maxPorts: 1, ports: [{ backend: end }] });
  const first = new FakeDriver(device);
  first.post(3, message(0, OPEN, 1), 0);
  for (let i = 0; i < 10; i++) first.post(1, [i], 0);
  const sending = host.writable.getWriter().write(Uint8Array.of(1, 2, 3));
  first.post(0, [], 1);
  await first.until("one byte", () => first.returned(0) === 1);
  await sending;
  device.reset();
  const returned = first.returned(1);
  const port = device.ports.get(0)!;
  assertEquals([port.guestOpen, port.ready, port.pendingBytes], [false, false, 2]);
  const second = new FakeDriver(device, FeatureSet.of(1));
  second.post(0, [], 8);
  second.post(3, message(0, OPEN, 1), 0);
  assertEquals(second.taken(0), [[2, 3]]);
  second.post(1, [77], 0);
  const reader = host.readable.getReader();
  while ((await reader.read()).value![0] !== 77);
  await second.until("the new write", () => second.returned(1) === 1);
  assertEquals(first.returned(1), returned, "no chain from before the reset is returned after it");
});

Deno.test("a snapshot brings back states, sizes and what waited", () => {
  const { device, driver } = multiport();
  say(driver, NO_PORT, READY, 1);
  say(driver, 0, PORT_READY, 1);
  say(driver, 1, OPEN, 1);
  device.resize(1, 2);
  const state = structuredClone(device.snapshot());
  const { device: copy } = multiport();
  copy.restore(state);
  assertEquals(copy.snapshot(), state);
  assertEquals([copy.readConfig(0, 2), copy.ports.get(1)?.guestOpen], [1, true]);
});

/** Ports whose host takes a byte and then no more, and what each took. */
function slowPorts(count: number): { device: ConsoleDevice; host: FakeHost; taken: number[][] } {
  const taken: number[][] = [];
  const ports = Array.from({ length: count }, (_, id) => {
    taken.push([]);
    const backend: BytePort = {
      get room() {
        return taken[id]!.length === 0 ? 1 : 0;
      },
      write: (bytes) => void taken[id]!.push(...bytes),
      read: () => undefined,
      close: () => void taken[id]!.push(-1),
      onChange: undefined,
    };
    return { id, backend };
  });
  const device = new ConsoleDevice({ ports, maxPorts: count + 1 });
  return { device, host: new FakeHost(device), taken };
}

Deno.test("each port has its two queues, and what it holds is void when they are given up", () => {
  const none = new Uint8Array(0);
  const transmit = [1, 5, 7];
  for (const given of [0, 1, 2, 3, 4, 5, 6, 7]) {
    const { device, host, taken } = slowPorts(3);
    const chains = transmit.map((queue, id) => {
      const chain = new FakeChain(Uint8Array.of(10 + id, 20 + id), none, 0);
      host.send(queue, chain);
      return chain;
    });
    assertEquals([taken, host.done], [[[10], [11], [12]], []]);
    device.resetQueue(given);
    for (const list of taken) list.length = 0;
    for (const queue of transmit) device.notify(queue);
    const port = given < 2 ? 0 : given < 4 ? -1 : (given >> 1) - 1;
    assertEquals(taken, [0, 1, 2].map((id) => id === port ? [] : [20 + id]), `queue ${given}`);
    assertEquals(
      chains.map(({ used }) => used),
      [0, 1, 2].map((id) => id === port ? undefined : 0),
    );
  }
});

Deno.test("what is sent to a port that is not there comes back, and is told once", () => {
  const { host, taken } = slowPorts(1);
  const { signals } = host;
  const chains = [1, 2].map((byte) => new FakeChain(Uint8Array.of(byte), new Uint8Array(0), 0));
  host.send(5, ...chains);
  assertEquals([chains.map(({ used }) => used), host.signals - signals, taken], [[0, 0], 1, [[]]]);
});

Deno.test("control messages are answered in a batch, and the driver is told once of each", () => {
  const { host } = slowPorts(2);
  const control = (event: number, value: number): FakeChain =>
    new FakeChain(Uint8Array.from(message(0, event, value)), new Uint8Array(0), 0);
  host.send(2, ...[1, 2, 3].map(() => new FakeChain(new Uint8Array(0), new Uint8Array(0), 64)));
  const signals = host.signals;
  const chains = [control(READY, 1), control(PORT_READY, 1), control(READY, 0)];
  host.send(3, ...chains);
  assertEquals(chains.map(({ used }) => used), [0, 0, 0]);
  // Two ports are added, and the first one's side is open; each message had a buffer waiting.
  assertEquals([host.done.length, host.signals - signals], [6, 4]);
  for (
    const wrong of [
      new FakeChain(new Uint8Array(7), new Uint8Array(0), 0),
      new FakeChain(new Uint8Array(8), new Uint8Array(0), 1),
    ]
  ) {
    host.send(3, wrong);
  }
  assertEquals(host.faults.length, 2);
});

Deno.test("a new size is told to consoles that are ready, or to the one that it is of", () => {
  const device = new ConsoleDevice({
    maxPorts: 4,
    size: { cols: 80, rows: 25 },
    ports: [true, true, false, true].map((console) => ({ console, backend: nullPort() })),
  });
  const driver = new FakeDriver(device);
  for (let i = 0; i < 60; i++) driver.post(2, [], 64);
  say(driver, NO_PORT, READY, 1);
  for (const id of [0, 1, 2]) say(driver, id, PORT_READY, 1);
  const size = (id: number): number[] => message(id, RESIZE, 1, [90, 0, 30, 0]);
  device.resize(90, 30);
  assertEquals(driver.taken(2), [size(0), size(1)]);
  device.resize(90, 30, 1);
  device.resize(90, 30, 2);
  assertEquals(driver.taken(2), [size(1)]);
});

Deno.test("a device that is disposed lets go of its ports, and a port that is removed of its host", () => {
  const { device, taken } = slowPorts(2);
  device.removePort(1);
  assertEquals([taken, device.ports.size], [[[], [-1]], 1]);
  device[Symbol.dispose]();
  assertEquals([taken, device.ports.size], [[[-1], [-1]], 0]);
  const one = new ConsoleDevice({ ports: [{ backend: nullPort() }] });
  assertThrows(() => one.removePort(0), RangeError, "Cannot remove port 0");
  assertEquals([one.queues.length, one.bounds.items! > 256], [2, true]);
  const wide = new ConsoleDevice({ ports: [], maxPorts: 11 }).bounds.items!;
  assertEquals(wide - new ConsoleDevice({ ports: [], maxPorts: 1 }).bounds.items!, 10);
});
