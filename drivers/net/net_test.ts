import { assertEquals, assertRejects } from "@std/assert";
import { NET_CONFIG, NetFeature as F, VireoError } from "@vireo/hal";
import { code, turn } from "../async_test_util.ts";
import { FakeDevice } from "../testing/fake_blk.ts";
import { Net } from "./net.ts";

const GONE = new VireoError("DEVICE_STATE", "As the test wants");

/** A card whose queues wait for an answer. */
async function rig(features: readonly number[] = [], set: (config: DataView) => void = () => {}) {
  const fake = new FakeDevice(...features);
  set(fake.config);
  fake.ringSize = 4;
  const device = Object.assign(fake.device, { features: fake.features, ready() {} });
  // The buffers that the device has stay in its ring.
  device.reset = () => Promise.resolve();
  const net = new Net(device, { random: (into) => into.fill(0xff) });
  await net.start();
  return { fake, net };
}

Deno.test("net: a card without an address gets one that is local, and of one card", async () => {
  const { net } = await rig();
  assertEquals([...net.mac], [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff]);
});

Deno.test("net: no frame in time is no reason to notify the device again", async () => {
  const { fake, net } = await rig();
  const { kicks } = fake;
  const error = await assertRejects(() => net.receive({ deadline: 1 }), VireoError);
  assertEquals([error.seen, fake.kicks - kicks], ["nothing in the used ring", 0]);
});

Deno.test("net: a frame whose sender has given up already is not sent", async () => {
  const { fake, net } = await rig([F.MAC]);
  const enough = new Error("enough");
  const signal = AbortSignal.abort(enough);
  assertEquals(await assertRejects(() => net.send(new Uint8Array(60), { signal })), enough);
  assertEquals(fake.pending.filter(({ queue }) => queue.index === 1), []);
});

Deno.test("net: a frame that finds no room in time has the device notified once more", async () => {
  const { fake, net } = await rig();
  for (let i = 0; i < 4; i++) assertEquals(net.trySend(new Uint8Array(60)), true);
  await Promise.resolve();
  const { kicks } = fake;
  const error = await assertRejects(
    () => net.send(new Uint8Array(60), { deadline: 1 }),
    VireoError,
  );
  assertEquals([error.code, error.seen, fake.kicks - kicks], [
    "TIMEOUT",
    "nothing in the used ring, even after another notification",
    1,
  ]);
});

Deno.test("net: a modern card's address is not written to its configuration", async () => {
  const { fake, net } = await rig([F.MAC]);
  await net.setMac(Uint8Array.of(2, 1, 2, 3, 4, 5));
  assertEquals([net.mac[5], fake.config.getUint8(NET_CONFIG.mac.offset + 5)], [5, 0]);
});

Deno.test("net: VLANs have ids of 0 to 4095", async () => {
  const { fake, net } = await rig([F.CTRL_VQ, F.CTRL_VLAN]);
  fake.script = (request) => {
    if (request.queue.name !== "control") return;
    request.fill(Uint8Array.of(0));
    request.complete(undefined, 1);
  };
  for (const id of [0, 4095]) await net.addVlan(id);
  for (const id of [-1, 0.5, NaN, 4096]) {
    await assertRejects(() => net.addVlan(id), RangeError, "expected 0 to 4095");
    await assertRejects(() => net.removeVlan(id), RangeError, "expected 0 to 4095");
  }
});

Deno.test("net: a card that was removed says so of its commands too", async () => {
  const { net } = await rig([F.CTRL_VQ, F.CTRL_VLAN]);
  await net.remove();
  assertEquals(await code(() => net.addVlan(1)), "DEVICE_REMOVED");
});

Deno.test("net: a card that hashes less than it agreed on is refused", async () => {
  for (const [key, table, fits] of [[40, 128, true], [39, 128, false], [40, 127, false]] as const) {
    const made = () =>
      rig([F.CTRL_VQ, F.RSS], (config) => {
        config.setUint16(NET_CONFIG.max_virtqueue_pairs.offset, 1, true);
        config.setUint8(NET_CONFIG.rss_max_key_size.offset, key);
        config.setUint16(NET_CONFIG.rss_max_indirection_table_length.offset, table, true);
      });
    if (fits) await made();
    else assertEquals(await code(made), "OUT_OF_RANGE");
  }
});

/** A card whose four places for frames are full, and what its device has of them. */
async function full() {
  const { fake, net } = await rig();
  const frame = (i: number): Uint8Array => new Uint8Array(60).fill(i);
  for (let i = 0; i < 4; i++) net.trySend(frame(i));
  await turn();
  const [, queue] = fake.queues;
  const frames = () => fake.pending.filter((request) => request.queue === queue);
  return {
    fake,
    net,
    queue: queue!,
    frame,
    sent: () => frames().map(({ readable }) => readable.at(-1)),
    /** The device sends the oldest frame. */
    done: () => frames()[0]!.complete(undefined, 0),
  };
}

Deno.test("net: frames wait for room in their order, and none overtakes those that wait", async () => {
  const { net, queue, frame, sent, done } = await full();
  assertEquals([sent(), queue.callbacks], [[0, 1, 2, 3], false]);
  const over: number[] = [];
  const send = (i: number) => void net.send(frame(i)).then(() => over.push(i));
  send(4);
  send(5);
  assertEquals(queue.callbacks, true);
  // Room that the device has not reported yet is the first one's.
  done();
  send(6);
  await turn();
  assertEquals([over, sent()], [[4], [1, 2, 3, 4]]);
  done();
  done();
  queue.interrupt();
  await turn();
  assertEquals([over, sent(), queue.callbacks], [[4, 5, 6], [3, 4, 5, 6], false]);
  await net.remove();
});

Deno.test("net: room that someone waits for is there for the next frame", async () => {
  const { net, queue, frame, sent, done } = await full();
  let room = false;
  const waiting = net.writable().then(() => room = true);
  await turn();
  assertEquals([room, net.trySend(frame(9))], [false, false]);
  done();
  queue.interrupt();
  await waiting;
  assertEquals(net.trySend(frame(4)), true);
  await turn();
  assertEquals(sent(), [1, 2, 3, 4]);
  // Nor is an interrupt needed where the room is seen.
  done();
  await net.writable();
  await net.remove();
});

Deno.test("net: a frame that cannot be sent ends when it is its turn, and the next ones go on", async () => {
  const { net, queue, frame, sent, done } = await full();
  const first = net.send(frame(8));
  const bad = assertRejects(
    () => net.send(frame(4), { csum: { start: 14, offset: 0 } }),
    TypeError,
    "CSUM must be negotiated",
  );
  const good = net.send(frame(5));
  done();
  done();
  queue.interrupt();
  await Promise.all([first, bad, good]);
  assertEquals(sent(), [2, 3, 8, 5]);
  await net.remove();
});

Deno.test("net: a device that sends at once need not report each frame that waited", async () => {
  const { fake, net, queue, frame, done } = await full();
  const waits = [4, 5, 6, 7, 8, 9].map((i) => net.send(frame(i)));
  fake.script = (request) => request.complete(undefined, 0);
  done();
  queue.interrupt();
  await Promise.all(waits);
  net.failed(GONE);
});

Deno.test("net: a failure ends those that wait for room", async () => {
  const { net, frame } = await full();
  const waits = [code(() => net.send(frame(4))), code(() => net.writable())];
  await turn();
  net.failed(GONE);
  assertEquals(await Promise.all(waits), ["DEVICE_STATE", "DEVICE_STATE"]);
});

Deno.test("net: a card with one pair of queues is not asked for it", async () => {
  const { fake } = await rig([F.CTRL_VQ, F.MQ], (config) => {
    config.setUint16(NET_CONFIG.max_virtqueue_pairs.offset, 1, true);
  });
  assertEquals(fake.queues.map(({ name }) => name), ["input.0", "output.0", "control"]);
  assertEquals(fake.pending.filter(({ queue }) => queue.name === "control"), []);
});

Deno.test("net: a card that wants to be announced after a reset is answered", async () => {
  const { fake, net } = await rig([F.STATUS, F.CTRL_VQ, F.GUEST_ANNOUNCE]);
  net.freeze();
  fake.config.setUint16(NET_CONFIG.status.offset, 3, true);
  await net.restore();
  await turn();
  const commands = fake.pending.filter(({ queue }) => queue.name === "control");
  assertEquals(commands.map(({ readable }) => [...readable]), [[3, 0]]);
  net.failed(GONE);
});
