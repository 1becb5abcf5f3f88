import { assertEquals, assertRejects } from "@std/assert";
import { NET_CONFIG, NetFeature as F, VireoError } from "@vireo/hal";
import { code } from "../async_test_util.ts";
import { FakeDevice } from "../testing/fake_blk.ts";
import { Net } from "./net.ts";

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
