// How many receive buffers a driver posts, and that a recovery leaves it with its own queues.
import { assertEquals, assertRejects } from "@std/assert";
import { Hub, NetDevice } from "@vireo/emu";
import { Feature, NetFeature } from "@vireo/hal";
import { createNetDriver } from "../../drivers/net/mod.ts";
import { Rig, type RigOptions } from "../hostile/rig.ts";
import { turn } from "../turn.ts";

const SOON = { deadline: 5000 };
const { MRG_RXBUF, GUEST_TSO4, GUEST_TSO6, GUEST_UFO, GUEST_USO4, GUEST_USO6 } = NetFeature;
/** Receive offloads, with which buffers are large. */
const OFFLOADS = [GUEST_TSO4, GUEST_TSO6, GUEST_UFO, GUEST_USO4, GUEST_USO6];

const CASES: readonly [what: string, options: RigOptions, posted: number][] = [
  ["merged buffers", {}, 64],
  ["legacy, merged buffers", { version: 1, without: [Feature.ANY_LAYOUT] }, 64],
  ["one buffer a frame", { without: [MRG_RXBUF, ...OFFLOADS] }, 64],
  ["legacy, any layout", { version: 1, without: [MRG_RXBUF, ...OFFLOADS] }, 64],
  [
    "legacy, headers of their own",
    { version: 1, without: [MRG_RXBUF, Feature.ANY_LAYOUT, ...OFFLOADS] },
    32,
  ],
];

for (const [what, options, posted] of CASES) {
  Deno.test(`net: a ring of 64 is filled with receive buffers (${what})`, async () => {
    const hub = new Hub();
    const model = new NetDevice({ backend: hub.port(), queueSize: 64 });
    await using rig = await Rig.open(createNetDriver(), model, options);
    assertEquals(rig.device.queues[0]!.inFlight, posted);
    const frame = new Uint8Array(100).fill(7);
    frame.set(rig.instance.mac);
    const peer = hub.port();
    for (let i = 0; i < 100; i++) {
      const got = rig.instance.receive(SOON);
      peer.send(frame, 0, frame.length, { gsoType: 0, needsCsum: false } as never);
      peer.flush();
      assertEquals((await got).bytes, frame);
    }
    assertEquals(rig.device.queues[0]!.inFlight, posted);
  });
}

Deno.test("net: after a recovery and a suspend it has as many pairs as before, and no more", async () => {
  const hub = new Hub();
  const model = new NetDevice({ backend: hub.port(), queuePairs: 2, queueSize: 16 });
  await using rig = await Rig.open(createNetDriver({ pairs: 2 }), model);
  const net = rig.instance;
  const check = async (): Promise<void> => {
    await assertRejects(() => net.setPairs(3, SOON), RangeError, "expected 1 to 2");
    for (const queue of [0, 1]) await net.send(new Uint8Array(60), { queue, ...SOON });
    while (model.pairs !== 2) await turn();
  };
  await check();
  await rig.fail(SOON);
  await check();
  await rig.bus.freeze();
  await rig.bus.restore();
  await check();
});

Deno.test("net: a speed over 2^31 - 1 Mbit/s is none that is known", async () => {
  for (const [speed, known] of [[1, 1], [0x7fffffff, 0x7fffffff], [0x80000000, undefined]]) {
    const model = new NetDevice({ backend: new Hub().port(), speed: speed! });
    await using rig = await Rig.open(createNetDriver(), model);
    assertEquals(rig.instance.speed, known);
  }
});

for (
  const [what, options, slots] of [
    ["legacy: header, command and answer are a descriptor each", { version: 1 }, 3],
    ["header and command are one descriptor", { version: 2 }, 2],
  ] as const
) {
  Deno.test(`net: a command's buffers (${what})`, async () => {
    const without = [Feature.ANY_LAYOUT, Feature.INDIRECT_DESC];
    const model = new NetDevice({ backend: new Hub().port() });
    await using rig = await Rig.open(createNetDriver(), model, { ...options, without });
    const control = rig.device.queues.find(({ name }) => name === "control")!;
    const before = control.freeSlots;
    rig.hold();
    const done = rig.instance.setPromiscuous(true, SOON);
    await turn();
    assertEquals(before - control.freeSlots, slots);
    rig.release();
    await done;
  });
}
