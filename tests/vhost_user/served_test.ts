import { assert, assertEquals, assertRejects } from "@std/assert";
import type { TransportOffer } from "@vireo/emu";
import { DeviceId, Feature, VireoError } from "@vireo/hal";
import { VhostUserPlatform } from "@vireo/hal/vhost-user";
import { openVireo } from "../../firmware/session.ts";
import { checkIntegrity } from "../blk/random_io.ts";
import { temporaryFolder } from "./daemon.ts";
import { checkPairs, deadline, DEVICES } from "./device_checks.ts";
import { Served } from "./served.ts";
import { openDescriptors, wait } from "./wait.ts";

/** The rings that a device is driven with. */
const RINGS: readonly (readonly [string, TransportOffer])[] = [
  ["split", {}],
  ["split without EVENT_IDX and INDIRECT_DESC", { eventIdx: false, indirect: false }],
  ["split, in order", { inOrder: true }],
  ["packed", { packed: true }],
  ["packed, in order", { packed: true, inOrder: true }],
];

for (const [name, check] of Object.entries(DEVICES)) {
  Deno.test(`vhost-user: our ${name} driver on our served ${name}, with every ring`, async (t) => {
    await using served = await Served.start(name);
    for (const [ring, offer] of RINGS) {
      await t.step(ring, async () => {
        const path = await served.add(name, { offer });
        let open = 0;
        // The second front end finds the device as the first one did.
        for (let i = 0; i < 2; i++) {
          {
            await using vireo = await openVireo({ target: `vhost-user:${name}=${path}` });
            assertEquals(vireo.bus.slotErrors, []);
            const [device] = vireo.bus.devices;
            assertEquals(device!.error, undefined);
            assertEquals(device!.has(Feature.RING_PACKED), offer.packed === true);
            assertEquals(device!.has(Feature.IN_ORDER), offer.inOrder === true);
            await check(vireo, served);
            assertEquals(await served.regions(), 1);
          }
          while (await served.regions() > 0);
          // Both sides are in this process.
          if (i === 0) open = openDescriptors();
          else assertEquals(openDescriptors(), open);
        }
        const wrong = served.events.filter(({ kind }) =>
          kind === "refused" || kind === "violation"
        );
        assertEquals(wrong, []);
      });
    }
  });
}

Deno.test("vhost-user: several sockets make one board", async () => {
  await using served = await Served.start("blk");
  const blk = served.path;
  const [rng, net] = [await served.add("rng"), await served.add("net")];
  await using vireo = await openVireo({ target: `vhost-user:blk=${blk},rng=${rng},net=${net}` });
  assertEquals(vireo.bus.devices.map(({ deviceId }) => deviceId), [2, 4, 1]);
  await DEVICES["blk"]!(vireo, served);
  await DEVICES["rng"]!(vireo, served);
  await DEVICES["net"]!(vireo, served);
});

Deno.test("vhost-user: our driver uses as many pairs of our served net as it asks for", async (t) => {
  await using served = await Served.start("rng");
  for (const [ring, offer] of RINGS) {
    await t.step(ring, async () => {
      const path = await served.add("net", { pairs: 4, offer });
      {
        await using vireo = await openVireo({ target: `vhost-user:net=${path},pairs=3` });
        await checkPairs(vireo, served);
        const { net } = vireo;
        // More commands than the ring of a control queue has entries.
        for (let i = 0; i < 1100; i++) await net.setPairs(1 + i % 3, { deadline });
        await assertRejects(() => net.setPromiscuous(true, { deadline }), VireoError);
        await DEVICES["net"]!(vireo, served);
      }
      const told = served.events.filter(({ kind }) => kind === "refused" || kind === "violation");
      assertEquals(told, []);
    });
  }
});

for (const packed of [false, true]) {
  const ring = packed ? "packed" : "split";
  Deno.test(`vhost-user: random requests, aborts and resets on a served disk, ${ring}`, async () => {
    await using folder = temporaryFolder();
    const image = `${folder.path}/disk.img`;
    await Deno.writeFile(image, new Uint8Array(4 << 20));
    await using served = await Served.start("blk", { offer: { packed }, image });
    const report = await checkIntegrity({
      platform: () =>
        new VhostUserPlatform({ devices: [{ deviceId: DeviceId.BLOCK, path: served.path }] }),
      total: 32 << 20,
      seed: 23,
      upsets: 6,
    });
    assert(report.resets > 0);
    assertEquals(served.events.filter(({ kind }) => kind === "violation"), []);
  });
}

Deno.test("vhost-user: a change of the configuration reaches the driver", async () => {
  await using served = await Served.start("blk");
  await using vireo = await openVireo({ target: `vhost-user:blk=${served.path}` });
  const { blk } = vireo;
  const before = blk.capacity;
  await served.call("resize", before / 512 / 2);
  await wait("the capacity to shrink", () => blk.capacity === before / 2);
  await blk.read(0, 512, { deadline });
});

Deno.test("vhost-user: a served device that ends leaves typed errors", async () => {
  const served = await Served.start("blk");
  await using vireo = await openVireo({ target: `vhost-user:blk=${served.path}` });
  const { blk } = vireo;
  await blk.read(0, 512, { deadline });
  await served[Symbol.asyncDispose]();
  const error = await assertRejects(() => blk.read(0, 512, { deadline }), VireoError);
  assertEquals(error.code, "DEVICE_REMOVED");
});
