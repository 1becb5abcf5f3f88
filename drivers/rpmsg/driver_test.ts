import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { RpmsgFeature, VireoError } from "@vireo/hal";
import { FakeDevice, type FakeRequest } from "../testing/fake_blk.ts";
import { Rpmsg } from "./driver.ts";

const GONE = new VireoError("DEVICE_STATE", "As the test wants");
const NS = 53;
const u16 = (value: number): number[] => [value & 255, value >> 8];
const u32 = (value: number): number[] => [...u16(value & 0xffff), ...u16(value >>> 16)];

/** A remote processor whose buffers a test fills. */
function rig(...features: number[]) {
  const fake = new FakeDevice(...features);
  const sent: [src: number, dst: number, bytes: number[]][] = [];
  fake.script = (request) => {
    if (request.queue.index === 0) return;
    const message = request.readable;
    const view = new DataView(message.buffer);
    const length = view.getUint16(12, true);
    assertEquals(message.length, 16 + length);
    sent.push([view.getUint32(0, true), view.getUint32(4, true), [...message.subarray(16)]]);
    request.complete(undefined, 0);
    request.queue.interrupt();
  };
  const device = Object.assign(fake.device, { queues: fake.queues, ready() {} });
  const rpmsg = new Rpmsg(device);
  rpmsg.scan();
  const buffers = (): FakeRequest[] => fake.pending.filter(({ queue }) => queue.index === 0);
  return {
    fake,
    rpmsg,
    buffers,
    async taken() {
      await new Promise((resolve) => setTimeout(resolve));
      return sent.splice(0);
    },
    /** Sends a message, which may say that it has another length. */
    deliver(dst: number, bytes: readonly number[], length = bytes.length, cut = Infinity): void {
      const message = [...u32(9), ...u32(dst), ...u32(0), ...u16(length), 0, 0, ...bytes];
      const [buffer] = buffers();
      buffer!.fill(Uint8Array.from(message.slice(0, cut)));
      buffer!.complete(undefined, Math.min(message.length, cut));
      buffer!.queue.interrupt();
    },
  };
}

/** A message of the name service. */
function named(name: string, address: number, gone = 0): number[] {
  const bytes = [...new TextEncoder().encode(name)];
  return [...bytes, ...Array<number>(32 - bytes.length).fill(0), ...u32(address), ...u32(gone)];
}

Deno.test("rpmsg: addresses are integers below 2^32 - 1 that nobody has, and the lowest free one", () => {
  const { rpmsg } = rig();
  for (const local of [-1, 0.5, NaN, 0xffff_ffff, 2 ** 32, NS]) {
    assertThrows(() => rpmsg.endpoint({ local }), RangeError, "expected 0 to 2^32 - 2");
  }
  for (const local of [0, 0xffff_fffe, 1024]) {
    assertEquals(rpmsg.endpoint({ local }).address, local);
    assertThrows(() => rpmsg.endpoint({ local }), RangeError, "it is in use");
  }
  const next = rpmsg.endpoint();
  assertEquals([next.address, rpmsg.endpoint().address], [1025, 1026]);
  next[Symbol.dispose]();
  assertEquals(rpmsg.endpoint().address, 1025);
  // One that was closed before does not take the address from the next one.
  next[Symbol.dispose]();
  assertThrows(() => rpmsg.endpoint({ local: 1025 }), RangeError);
});

Deno.test("rpmsg: a message has 496 bytes at most, and goes to an address", async () => {
  const { rpmsg, taken } = rig();
  const endpoint = rpmsg.endpoint();
  const send = (length: number, to?: number) => () => endpoint.send(new Uint8Array(length), { to });
  for (const to of [-1, 0.5, NaN, 0xffff_ffff]) {
    await assertRejects(send(1, to), RangeError, "2^32 - 2");
  }
  await assertRejects(send(497, 1), RangeError, "at most 496");
  assertThrows(send(1), RangeError, "an address must be given");
  assertEquals(await taken(), []);
  await send(496, 0)();
  await send(0, 0xffff_fffe)();
  // Its own place to send to, unless told otherwise.
  using bound = rpmsg.endpoint({ remote: 7 });
  await bound.send(new Uint8Array(1));
  await bound.send(new Uint8Array(2), { to: 8 });
  const seen = (await taken()).map(([src, dst, bytes]) => [src, dst, bytes.length]);
  assertEquals(seen, [[1024, 0, 496], [1024, 0xffff_fffe, 0], [1025, 7, 1], [1025, 8, 2]]);
});

Deno.test("rpmsg: a message is one buffer, so no queue has memory for tables of several", () => {
  const { fake } = rig();
  assertEquals(fake.queues.map(({ request }) => request.indirect), [false, false]);
});

Deno.test("rpmsg: names are announced while they are there, with the name service alone", async () => {
  const { rpmsg, taken } = rig(RpmsgFeature.NS);
  for (const announce of ["", "x".repeat(32), "ü".repeat(16)]) {
    assertThrows(() => rpmsg.endpoint({ announce }), RangeError, "1 to 31 bytes");
  }
  const name = "x".repeat(31);
  const endpoint = rpmsg.endpoint({ announce: name });
  assertEquals(await taken(), [[1024, NS, named(name, 1024)]]);
  endpoint[Symbol.dispose]();
  endpoint[Symbol.dispose]();
  assertEquals(await taken(), [[1024, NS, named(name, 1024, 1)]]);
  rpmsg.endpoint()[Symbol.dispose]();
  assertEquals(await taken(), []);
  const last = rpmsg.endpoint({ announce: "last" });
  await taken();
  rpmsg.failed(GONE);
  last[Symbol.dispose]();
  assertEquals(await taken(), []);
  const { rpmsg: other } = rig();
  for (const run of [() => other.endpoint({ announce: "a" }), () => other.channel("a")]) {
    const error = await assertRejects(async () => await run(), VireoError);
    assertEquals(error.code, "UNSUPPORTED");
  }
});

Deno.test("rpmsg: a message is delivered as long as it is, or counted", async () => {
  const { rpmsg, deliver } = rig();
  const endpoint = rpmsg.endpoint();
  deliver(1024, [1, 2, 3]);
  deliver(1024, [1, 2, 3], 2);
  deliver(1024, [], 0);
  for (const expected of [[1, 2, 3], [1, 2], []]) {
    assertEquals(await endpoint.receive(), { from: 9, bytes: Uint8Array.from(expected) });
  }
  deliver(1024, [1, 2, 3], 4);
  deliver(1024, [], 0, 15);
  assertEquals(rpmsg.counters, { malformed: 2, unknownAddress: 0, tooManyServices: 0 });
  deliver(1025, [1]);
  // Without the name service its address is like any other.
  deliver(NS, named("a", 5));
  assertEquals(rpmsg.counters, { malformed: 2, unknownAddress: 2, tooManyServices: 0 });
});

Deno.test("rpmsg: services come and go by name and address, 1024 at most", async () => {
  const { rpmsg, deliver } = rig(RpmsgFeature.NS);
  const waiting = rpmsg.channel("b");
  deliver(NS, named("a", 5));
  deliver(NS, named("b", 6));
  deliver(NS, named("b", 5));
  assertEquals(await waiting, { name: "b", address: 6 });
  deliver(NS, named("a", 5, 1));
  deliver(NS, named("", 8));
  assertEquals(rpmsg.channels.at(-1), { name: "", address: 8 });
  deliver(NS, named("", 8, 1));
  const full = "y".repeat(31);
  // A name without an end is cut there.
  deliver(NS, named(`${full}z`, 7));
  assertEquals(rpmsg.channels.map(({ name, address }) => [name, address]), [
    ["b", 6],
    ["b", 5],
    [full, 7],
  ]);
  deliver(NS, named("a", 5).slice(1));
  assertEquals(rpmsg.counters.malformed, 1);
  for (let address = 100; address < 100 + 1024 - 3; address++) deliver(NS, named("s", address));
  assertEquals([rpmsg.channels.length, rpmsg.counters.tooManyServices], [1024, 0]);
  deliver(NS, named("s", 9999));
  // One that is known is not one more.
  deliver(NS, named("b", 6));
  assertEquals([rpmsg.channels.length, rpmsg.counters.tooManyServices], [1024, 1]);
});

Deno.test("rpmsg: an endpoint with 64 messages holds the remote processor up until it takes one", async () => {
  const { fake, rpmsg, deliver } = rig();
  const [slow, other] = [rpmsg.endpoint(), rpmsg.endpoint()];
  const kept = () => fake.queues[0]!.used.length;
  for (let i = 0; i < 66; i++) deliver(1024, [i]);
  deliver(1025, [99]);
  assertEquals(kept(), 3);
  assertEquals((await slow.receive()).bytes[0], 0);
  assertEquals(kept(), 2);
  await slow.receive();
  await slow.receive();
  assertEquals([kept(), (await other.receive()).bytes[0]], [0, 99]);
  rpmsg.failed(GONE);
});

Deno.test("rpmsg: a failure ends endpoints and waits, and a reset forgets addresses and services", async () => {
  const { rpmsg, deliver, taken } = rig(RpmsgFeature.NS);
  deliver(NS, named("a", 5));
  const endpoint = rpmsg.endpoint({ announce: "x" });
  await taken();
  const waits = [endpoint.receive(), rpmsg.channel("b")];
  rpmsg.failed(GONE);
  for (const wait of waits) await assertRejects(() => wait, VireoError, "As the test wants");
  await assertRejects(() => rpmsg.channel("a"), VireoError, "As the test wants");
  const late = rpmsg.endpoint();
  await assertRejects(() => late.receive(), VireoError, "As the test wants");
  await rpmsg.restore();
  assertEquals(rpmsg.channels, []);
  const again = rpmsg.endpoint();
  assertEquals(again.address, 1024);
  // The one from before has nothing to take back.
  endpoint[Symbol.dispose]();
  assertEquals(await taken(), []);
  deliver(1024, [1]);
  assertEquals((await again.receive()).bytes.length, 1);
});
