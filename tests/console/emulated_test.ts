import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { VireoError } from "@vireo/hal";
import { ConsoleDevice, loopbackPort, streamPipe } from "@vireo/emu";
import type { DeviceModel } from "../../emu/device.ts";
import { DirectWire } from "../machine/direct_wire.ts";
import { type Console, consoleDriver, type Port } from "../../drivers/console/mod.ts";
import { collect, pattern, threePorts } from "./ports.ts";

const boot = (model: DeviceModel): Promise<DirectWire<Console>> =>
  DirectWire.boot(model, consoleDriver);
const SOON = { deadline: 20_000 };
const utf8 = (s: string): Uint8Array => new TextEncoder().encode(s);

/** Writes bytes in pieces of uneven lengths. */
async function feed(stream: WritableStream<Uint8Array>, bytes: Uint8Array): Promise<void> {
  const writer = stream.getWriter();
  let step = 1;
  for (let at = 0; at < bytes.length; at += step) {
    step = (step * 7 + 1) % 9973 + 1;
    await writer.write(bytes.subarray(at, at + step));
  }
  writer.releaseLock();
}

Deno.test("three ports carry 200 kB both ways at once, byte for byte", async () => {
  const { device, pipes } = threePorts();
  await using booted = await boot(device);
  const names = ["port0", "port1", "port2"];
  const ports = await Promise.all(names.map((name) => booted.instance.port(name, SOON)));
  const length = 200_000;
  await Promise.all(ports.map(async (port, i) => {
    using _opened = port.open();
    const { host } = pipes[i]!;
    const up = pattern(length, i);
    const down = pattern(length, i + 10);
    const [gotUp, gotDown] = await Promise.all([
      collect(host.readable, length),
      collect(port.readable, length),
      feed(host.writable, down),
      i === 1 ? feed(port.writable, up) : port.write(up, SOON),
    ]);
    assertEquals(gotUp, up);
    assertEquals(gotDown, down);
  }));
  assertEquals(booted.faults, []);
});

Deno.test("one port without MULTIPORT carries data and size", async () => {
  const device = new ConsoleDevice({
    ports: [{ backend: loopbackPort() }],
    size: { cols: 132, rows: 43 },
  });
  await using booted = await boot(device);
  using port = (await booted.instance.port(undefined, SOON)).open();
  assertEquals([booted.instance.multiport, port.id, port.hostOpen], [false, 0, true]);
  assertEquals(port.size, { cols: 132, rows: 43 });
  const data = pattern(100_000, 1);
  const [back] = await Promise.all([collect(port.readable, data.length), port.write(data, SOON)]);
  assertEquals(back, data);
  const resized = Promise.withResolvers<unknown>();
  port.onResize(resized.resolve);
  device.resize(100, 30);
  assertEquals(await resized.promise, { cols: 100, rows: 30 });
  assertEquals(booted.faults, []);
});

Deno.test("name, kind and size arrive with the port, and RESIZE later", async () => {
  const { device } = threePorts();
  await using booted = await boot(device);
  const port = await booted.instance.port(0, SOON);
  assertEquals([port.name, port.isConsole, port.hostOpen], ["port0", true, true]);
  assertEquals(port.size, { cols: 80, rows: 25 });
  const resized = Promise.withResolvers<unknown>();
  port.onResize(resized.resolve);
  device.resize(10, 20);
  assertEquals(await resized.promise, { cols: 10, rows: 20 });
  const other = await booted.instance.port(1, SOON);
  assertEquals([other.name, other.isConsole, other.size], ["port1", false, undefined]);
});

Deno.test("what nobody reads holds the host back, and nothing is lost", async () => {
  const { device, pipes } = threePorts();
  await using booted = await boot(device);
  using port = (await booted.instance.port(1, SOON)).open();
  const data = pattern(400_000, 5);
  let written = 0;
  const writer = pipes[1]!.host.writable.getWriter();
  const feeding = (async () => {
    for (; written < data.length; written += 1000) {
      await writer.write(data.subarray(written, written + 1000));
    }
  })();
  // Another port still works while this one is stuffed.
  using other = (await booted.instance.port(2, SOON)).open();
  await other.hostOpened(SOON);
  const ping = pattern(100_000, 6);
  const [pong] = await Promise.all([
    collect(pipes[2]!.host.readable, ping.length),
    other.write(ping, SOON),
  ]);
  assertEquals(pong, ping);
  assert(written <= 16 * 4096 + 8000, `${written} bytes went into 16 buffers of 4096`);
  assertEquals(await collect(port.readable, data.length), data);
  await feeding;
});

Deno.test("what the host does not take holds the guest back, and nothing is lost", async () => {
  const { device, pipes } = threePorts();
  await using booted = await boot(device);
  using port = (await booted.instance.port(1, SOON)).open();
  const data = pattern(500_000, 7);
  let done = false;
  const writing = port.write(data, SOON).then(() => done = true);
  using other = (await booted.instance.port(2, SOON)).open();
  await Promise.all([collect(pipes[2]!.host.readable, 3), other.write(utf8("abc"), SOON)]);
  assert(!done);
  assertEquals(await collect(pipes[1]!.host.readable, data.length), data);
  await writing;
});

Deno.test("ports come and go while the device runs", async () => {
  const { device } = threePorts();
  await using booted = await boot(device);
  const port = (await booted.instance.port(2, SOON)).open();
  const read = assertRejects(() => port.read(SOON), VireoError);
  const writing = assertRejects(() => port.write(pattern(500_000, 1), SOON), VireoError);
  device.removePort(2);
  assertEquals([(await read).code, (await writing).code], ["PORT_CLOSED", "PORT_CLOSED"]);
  for (let round = 0; round < 5; round++) {
    device.addPort({ id: 2, name: `round ${round}`, backend: loopbackPort() });
    using again = (await booted.instance.port(`round ${round}`, SOON)).open();
    await again.hostOpened(SOON);
    const data = pattern(20_000, round);
    const [back] = await Promise.all([
      collect(again.readable, data.length),
      again.write(data, SOON),
    ]);
    assertEquals(back, data);
    const gone = Promise.withResolvers<Port>();
    const end = booted.instance.onPort((which, event) =>
      event === "removed" && gone.resolve(which)
    );
    device.removePort(2);
    assertEquals(await gone.promise, again);
    end();
  }
});

Deno.test("the host's stream ending is the guest's end of file", async () => {
  const { device, pipes } = threePorts();
  await using booted = await boot(device);
  using port = (await booted.instance.port(1, SOON)).open();
  const writer = pipes[1]!.host.writable.getWriter();
  const reading = Array.fromAsync(port.text);
  await writer.write(utf8("good"));
  await writer.write(utf8("bye"));
  await writer.close();
  assertEquals((await reading).join(""), "goodbye");
  assertEquals(port.hostOpen, false);
});

Deno.test("open and close cycles are seen by the host, and lose nothing that follows", async () => {
  const { device, pipes } = threePorts();
  await using booted = await boot(device);
  const port = await booted.instance.port(1, SOON);
  const seen: boolean[] = [];
  let turn = Promise.withResolvers<void>();
  device.ports.get(1)!.onGuestOpen = (open) => {
    seen.push(open);
    turn.resolve();
  };
  const writer = pipes[1]!.host.writable.getWriter();
  for (let round = 0; round < 10; round++) {
    port.open();
    const data = pattern(5000, round);
    const [bytes] = await Promise.all([collect(port.readable, 5000), writer.write(data)]);
    assertEquals(bytes, data);
    turn = Promise.withResolvers();
    port.close();
    await turn.promise;
  }
  assertEquals(seen, Array.from({ length: 20 }, (_, i) => i % 2 === 0));
});

Deno.test("a recovery ends what is pending with its error, and opens the ports again", async () => {
  const { device, pipes } = threePorts();
  await using booted = await boot(device);
  using port = (await booted.instance.port(1, SOON)).open();
  const ended = [
    assertRejects(() => port.read(SOON), VireoError),
    assertRejects(() => port.write(pattern(500_000, 1), SOON), VireoError),
    assertRejects(() => port.readable.getReader().read(), VireoError),
  ];
  const reader = pipes[1]!.host.readable.getReader();
  await reader.read();
  await booted.recover();
  for (const error of await Promise.all(ended)) assertEquals(error.code, "DEVICE_NEEDS_RESET");
  await port.hostOpened(SOON);
  const writer = pipes[1]!.host.writable.getWriter();
  const data = pattern(50_000, 2);
  const [bytes] = await Promise.all([collect(port.readable, data.length), writer.write(data)]);
  assertEquals(bytes, data);
  const writing = port.writeText("back", SOON);
  for (let got = ""; !got.endsWith("back");) {
    got = new TextDecoder().decode((await reader.read()).value);
  }
  await writing;
  assertEquals(booted.instance.ports.map((each) => each.id), [0, 1, 2]);
});

Deno.test("suspend and resume keep readers and unread bytes, and cut off writes", async () => {
  const { device, pipes } = threePorts();
  await using booted = await boot(device);
  using port = (await booted.instance.port(1, SOON)).open();
  using other = (await booted.instance.port(2, SOON)).open();
  const read = port.read(SOON);
  const unread = pattern(100, 4);
  const cut = assertRejects(() => port.write(pattern(500_000, 1), SOON), VireoError);
  await pipes[2]!.host.writable.getWriter().write(unread);
  await Promise.all([pipes[2]!.host.readable.getReader().read(), other.write(utf8("x"), SOON)]);
  await booted.suspend();
  assertEquals((await cut).code, "DEVICE_STATE");
  await port.hostOpened(SOON);
  await pipes[1]!.host.writable.getWriter().write(utf8("still"));
  assertEquals(await read, utf8("still"));
  assertEquals(await other.read(SOON), unread);
});

Deno.test("removing the driver ends readers, writers and waiters, and frees all memory", async () => {
  const { device } = threePorts();
  const booted = await boot(device);
  const port = (await booted.instance.port(1, SOON)).open();
  const ended = [
    assertRejects(() => port.read(SOON), VireoError),
    assertRejects(() => port.write(pattern(500_000, 1), SOON), VireoError),
    assertRejects(() => port.readable.getReader().read(), VireoError),
    assertRejects(() => port.flush(SOON), VireoError),
  ];
  const waiting = assertRejects(() => booted.instance.port("never", SOON), VireoError);
  await booted[Symbol.asyncDispose]();
  for (const error of await Promise.all(ended)) assertEquals(error.code, "PORT_CLOSED");
  assertEquals((await waiting).code, "DEVICE_REMOVED");
  assertEquals(booted.instance.ports, []);
});

Deno.test("a port that was removed says so, whether it was open, had bytes, or neither", async () => {
  for (const [opens, sends] of [[true, false], [false, true], [false, false], [true, true]]) {
    const { device: end, host } = streamPipe();
    const booted = await boot(new ConsoleDevice({ ports: [{ backend: end }] }));
    const port = await booted.instance.port(undefined, SOON);
    port.open();
    if (sends) await host.writable.getWriter().write(utf8("left"));
    // A console's bytes wait for its next opener.
    await new Promise((resolve) => setTimeout(resolve));
    if (!opens) port.close();
    await booted[Symbol.asyncDispose]();
    const what = `open ${opens}, bytes ${sends}`;
    if (opens && sends) assertEquals(await port.read(SOON), utf8("left"), what);
    const error = await assertRejects(() => port.read(SOON), VireoError);
    assertStringIncludes(error.message, "Port was removed", what);
    const refused = await assertRejects(() => port.write(utf8("x"), SOON), VireoError);
    assertStringIncludes(refused.message, "Port was removed", what);
  }
});

Deno.test("emergency write goes to the host's sink, at any time", async () => {
  const out: number[] = [];
  const device = new ConsoleDevice({
    ports: [{ backend: loopbackPort() }],
    emergency: (byte) => out.push(byte),
  });
  {
    await using booted = await boot(device);
    booted.instance.emergencyWrite("é!");
    booted.instance.emergencyWrite(10);
    booted.instance.emergencyWrite(0);
    booted.instance.emergencyWrite(255);
    assertEquals(out, [0xc3, 0xa9, 0x21, 10, 0, 255]);
    for (const wrong of [256, -1, 0.5]) {
      assertThrows(() => booted.instance.emergencyWrite(wrong), RangeError, `${wrong}`);
    }
  }
  await using booted = await boot(threePorts().device);
  assertEquals(
    assertThrows(() => booted.instance.emergencyWrite("x"), VireoError).code,
    "UNSUPPORTED",
  );
});
