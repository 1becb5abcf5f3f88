import { CountedSettles } from "../counted_settles_test_util.ts";
import { assert, assertEquals, assertRejects } from "@std/assert";
import { VireoError } from "../errors.ts";
import { Qmp } from "./qmp.ts";
import { CountedSignal } from "../counted_signal_test_util.ts";

/** Room for lines that nobody has read, as a socket has it. */
const ROOM = { highWaterMark: 64 } as const;

/** A monitor whose other side a test speaks for. */
class Monitor implements AsyncDisposable {
  readonly qmp: Qmp;
  readonly #to = new TransformStream<Uint8Array, Uint8Array>({}, {}, ROOM);
  readonly #from = new TransformStream<Uint8Array, Uint8Array>({}, {}, ROOM);
  readonly #writer = this.#from.writable.getWriter();
  readonly #reader = this.#to.readable.getReader();

  constructor() {
    this.qmp = new Qmp(this.#to.writable, this.#from.readable);
  }

  /** Sends bytes, or lines, and lets them arrive. */
  async say(...said: readonly (object | Uint8Array)[]): Promise<void> {
    for (const one of said) {
      await this.#writer.write(
        one instanceof Uint8Array ? one : new TextEncoder().encode(`${JSON.stringify(one)}\n`),
      );
    }
    await settled();
  }

  /** The next command. */
  async heard(): Promise<unknown> {
    const { value } = await this.#reader.read();
    return JSON.parse(new TextDecoder().decode(value));
  }

  /** Ends as QEMU does. */
  async end(): Promise<void> {
    await this.#writer.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.qmp.close();
  }
}

function settled(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}

/** How a promise stands, without waiting for it. */
async function stateOf(promise: Promise<unknown>): Promise<string> {
  return await Promise.race([
    promise.then(() => "kept", () => "broken"),
    settled().then(() => "open"),
  ]);
}

Deno.test("qmp: it waits for the greeting, and then leaves the negotiation mode", async () => {
  await using monitor = new Monitor();
  const started = monitor.qmp.start({ deadline: 5000 });
  await monitor.say({ QMP: { version: {} } });
  assertEquals(await monitor.heard(), { execute: "qmp_capabilities", arguments: {}, id: 1 });
  assertEquals(await stateOf(started), "open");
  await monitor.say({ return: {}, id: 1 });
  await started;
});

Deno.test("qmp: each answer is of the command whose number it has", async () => {
  await using monitor = new Monitor();
  const { qmp } = monitor;
  const first = qmp.execute("query-status");
  const second = assertRejects(
    () => qmp.execute("device_del", { id: "a" }),
    VireoError,
    "QEMU refused 'device_del'",
  );
  const third = qmp.execute("stop");
  assertEquals(await monitor.heard(), { execute: "query-status", arguments: {}, id: 1 });
  assertEquals(await monitor.heard(), { execute: "device_del", arguments: { id: "a" }, id: 2 });
  await monitor.say(
    { return: { of: "none" }, id: 9 },
    { return: {} },
    { error: { class: "DeviceNotFound", desc: "Device 'a' not found" }, id: 2 },
  );
  assertEquals([await stateOf(first), await stateOf(third)], ["open", "open"]);
  const error = await second;
  assertEquals([error.code, error.seen], ["COMMAND_REFUSED", "Device 'a' not found"]);
  await monitor.say({ return: { running: true }, id: 1 });
  assertEquals(await first, { running: true });
  // A line in pieces, with a letter whose bytes come one by one, and an empty one before it.
  const bytes = new TextEncoder().encode(`\r\n${JSON.stringify({ return: "é", id: 3 })}\n`);
  const inside = bytes.indexOf(0xc3) + 1;
  await monitor.say(bytes.slice(0, 5), bytes.slice(5, inside), bytes.slice(inside, -1));
  assertEquals(await stateOf(third), "open");
  await monitor.say(bytes.slice(-1));
  assertEquals(await third, "é");
});

Deno.test("qmp: a wait ends with its deadline or signal, and leaves no listener there", async () => {
  await using monitor = new Monitor();
  const { qmp } = monitor;
  const late = await assertRejects(() => qmp.execute("stop", {}, { deadline: 1 }), VireoError);
  assertEquals([late.code, late.seen], ["TIMEOUT", "stop"]);
  const stop = new CountedSignal();
  const { signal } = stop;
  const answered = qmp.execute("cont", {}, { signal });
  const aborted = qmp.execute("stop", {}, { signal }).catch((error) => error);
  assertEquals(stop.listeners, 2);
  // The first is the one that came too late: nothing waits for its answer.
  await monitor.say({ return: {}, id: 1 }, { return: {}, id: 2 });
  await answered;
  const reason = new Error("enough");
  stop.abort(reason);
  assert(await aborted === reason);
  assertEquals(stop.listeners, 0);
  assert(await qmp.execute("stop", {}, { signal }).catch((error) => error) === reason);
});

Deno.test("qmp: listeners have the events of their names from when they began, until they return", async () => {
  await using monitor = new Monitor();
  const { qmp } = monitor;
  const [all, some, gone] = [qmp.events(), qmp.events("RESET", "STOP"), qmp.events()];
  const next = all.next();
  await gone.return!();
  await monitor.say(
    { event: "POWERDOWN" },
    { event: "RESET", data: { guest: false, reason: "host-qmp-system-reset" } },
  );
  assertEquals(await next, { value: { event: "POWERDOWN", data: {} }, done: false });
  const reset = {
    event: "RESET" as const,
    data: { guest: false, reason: "host-qmp-system-reset" },
  };
  assertEquals(await all.next(), { value: reset, done: false });
  assertEquals(await some.next(), { value: reset, done: false });
  assertEquals(await gone.next(), { value: undefined, done: true });
  // What waits when QEMU ends ends, after what came before.
  await monitor.say({ event: "STOP" });
  const ends = some.next().then(() => some.next());
  qmp.fail(new Error("QEMU ended"));
  assertEquals(await ends, { value: undefined, done: true });
  assertEquals((await all.next()).value.event, "STOP");
  assertEquals((await all.next()).done, true);
  for await (const event of qmp.events()) throw new Error(`Heard ${event.event} after the end`);
});

Deno.test("qmp: it says why the machine pauses until it goes on", async () => {
  await using monitor = new Monitor();
  const { qmp } = monitor;
  const why = (): unknown[] => {
    const error = qmp.diagnose();
    return [qmp.paused, error?.message.split(":")[0], error?.device, error?.seen];
  };
  const io = (action: string, names: object): object => {
    const data = { operation: "write", action, reason: "No space left on device", ...names };
    return { event: "BLOCK_IO_ERROR", data };
  };
  const seen = "BLOCK_IO_ERROR: No space left on device";
  const failed = "QEMU has paused the machine";
  assertEquals(why(), [false, undefined, undefined, undefined]);
  await monitor.say(io("report", { device: "disk0" }));
  await monitor.say({ event: "STOP" });
  assertEquals(why(), [true, failed, undefined, undefined]);
  await monitor.say(io("stop", { device: "disk0", "node-name": "" }));
  assertEquals(why(), [true, failed, "disk0", seen]);
  await monitor.say(io("stop", { device: "disk0", "node-name": "node1" }));
  assertEquals(why(), [true, failed, "node1", seen]);
  await monitor.say({ event: "RESUME" });
  assertEquals(why(), [false, undefined, undefined, undefined]);
  // The next pause has nothing to do with that disk.
  await monitor.say({ event: "STOP" });
  assertEquals(why(), [true, failed, undefined, undefined]);
  assertEquals(qmp.shutdownReason, undefined);
  await monitor.say({ event: "SHUTDOWN", data: { guest: false, reason: "host-qmp-quit" } });
  assertEquals(qmp.shutdownReason, "host-qmp-quit");
});

Deno.test("qmp: the end of QEMU fails what waits, once, after its last words", async () => {
  await using monitor = new Monitor();
  const { qmp } = monitor;
  const [answered, open] = [qmp.execute("quit"), qmp.execute("stop")];
  const lost = assertRejects(() => open, Error, "ended with 1");
  const failing = qmp.failAfterLast(new Error("ended with 1"));
  await monitor.say({ return: {}, id: 1 });
  await answered;
  await monitor.end();
  await failing;
  await lost;
  qmp.fail(new Error("another"));
  await assertRejects(() => qmp.execute("cont"), Error, "ended with 1");
  await assertRejects(() => qmp.start(), Error, "ended with 1");
});

Deno.test("qmp: a line that is not JSON ends the connection", async () => {
  await using monitor = new Monitor();
  const open = monitor.qmp.execute("stop");
  const lost = assertRejects(() => open, VireoError, "a line that is not JSON");
  await monitor.say(new TextEncoder().encode("QEMU 10.0.2 monitor\n"));
  assertEquals([(await lost).code, (await lost).seen], [
    "HOST_ERROR",
    "QEMU 10.0.2 monitor",
  ]);
});

Deno.test("qmp: a connection that is closed fails what waits, and is heard no more", async () => {
  const monitor = new Monitor();
  const { qmp } = monitor;
  const open = qmp.execute("stop");
  const lost = assertRejects(() => open, VireoError, "The board was disposed");
  const events = qmp.events();
  const waiting = events.next();
  assertEquals(await stateOf(waiting), "open");
  await monitor[Symbol.asyncDispose]();
  assertEquals((await lost).code, "HOST_ERROR");
  assertEquals(await waiting, { value: undefined, done: true });
  await monitor[Symbol.asyncDispose]();
});

Deno.test("qmp: listeners hear nothing of what comes behind the end", async () => {
  await using monitor = new Monitor();
  const events = monitor.qmp.events();
  monitor.qmp.fail(new Error("QEMU ended"));
  await monitor.say({ event: "STOP" });
  assertEquals(await events.next(), { value: undefined, done: true });
  const other = monitor.qmp.events();
  assertEquals(await other.return!(), { value: undefined, done: true });
});

Deno.test("qmp: a connection that breaks in either direction is an end, and no error of its own", async () => {
  const to = new TransformStream<Uint8Array, Uint8Array>({}, {}, ROOM);
  const from = new TransformStream<Uint8Array, Uint8Array>({}, {}, ROOM);
  const qmp = new Qmp(to.writable, from.readable);
  const open = qmp.execute("stop");
  const lost = assertRejects(() => open, Error, "ended with 1");
  await to.readable.cancel(new Error("broken pipe"));
  await from.writable.abort(new Error("connection reset"));
  // A promise that nobody handled would end the test.
  await settled();
  await qmp.failAfterLast(new Error("ended with 1"));
  await lost;
  await qmp.close();
});

Deno.test("qmp: commands that were answered are forgotten", async () => {
  await using monitor = new Monitor();
  const { qmp } = monitor;
  using settles = new CountedSettles();
  const answered = qmp.execute("stop");
  await monitor.say({ return: {}, id: 1 });
  await answered;
  const before = settles.count;
  qmp.fail(new Error("ended with 1"));
  assertEquals(settles.count, before);
});
