import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  balloonDriver,
  cryptoDriver,
  gpuDriver,
  inputDriver,
  p9Driver,
  scsiDriver,
  vsockDriver,
} from "@vireo/drivers";
import type { TransportOffer } from "@vireo/emu";
import { CryptoCipher, DeviceId, Feature, VireoError } from "@vireo/hal";
import { VhostUserPlatform } from "@vireo/hal/vhost-user";
import { ping } from "../../firmware/ip/ping.ts";
import { openVireo } from "../../firmware/session.ts";
import type { Vireo } from "../../firmware/vireo.ts";
import { checkIntegrity } from "../blk_integrity.ts";
import { noise } from "../driver_checks.ts";
import { temporaryFolder } from "./daemon.ts";
import { Served } from "./served.ts";
import { openDescriptors, wait } from "./wait.ts";

const deadline = 20_000;
const text = new TextEncoder();

/** The rings that a device is driven with. */
const RINGS: readonly (readonly [string, TransportOffer])[] = [
  ["split", {}],
  ["split without EVENT_IDX and INDIRECT_DESC", { eventIdx: false, indirect: false }],
  ["split, in order", { inOrder: true }],
  ["packed", { packed: true }],
  ["packed, in order", { packed: true, inOrder: true }],
];

/** What is done with each device that can be served. */
const DEVICES: Readonly<Record<string, (vireo: Vireo, served: Served) => Promise<void>>> = {
  async blk({ blk }) {
    const data = noise(300_032, 3);
    await blk.write(5, data, { deadline });
    await blk.flush({ deadline });
    assertEquals(await blk.read(5, data.length, { deadline }), data);
    await blk.writeZeroes([{ sector: 5, sectors: 3 }], { deadline });
    assertEquals(await blk.read(5, 1536, { deadline }), new Uint8Array(1536));
    assertEquals(await blk.getId({ deadline }), "vireo-emu");
  },
  async rng({ rng }) {
    assertEquals(new Set(await rng.read(10_000, { deadline })).size, 256);
  },
  async net({ net }) {
    const target = { source: "10.0.2.15", target: "10.0.2.2", deadline };
    const { mac, replies } = await ping(net, { ...target, count: 3, size: 1400 });
    assertEquals([mac, replies.length], ["52:55:0a:00:02:02", 3]);
  },
  async console({ console }) {
    using port = (await console.port("echo", { deadline })).open();
    await port.hostOpened({ deadline });
    const sent = noise(20_000, 9);
    const got: number[] = [];
    const writing = port.write(sent, { deadline });
    while (got.length < sent.length) got.push(...(await port.read({ deadline }))!);
    await writing;
    assertEquals(Uint8Array.from(got), sent);
  },
  async scsi(vireo) {
    const [unit] = await vireo.get(scsiDriver).units({ deadline });
    const data = noise(4096, 4);
    await unit!.write(7, data, { deadline });
    assertEquals(await unit!.read(7, 8, { deadline }), data);
  },
  async input(vireo, served) {
    using events = vireo.get(inputDriver).events({ deadline });
    const next = events.next();
    await served.call("tap", 30);
    const { type, code, value } = (await next).value;
    assertEquals([type, code, value], [1, 30, 1]);
  },
  async gpu(vireo) {
    const gpu = vireo.get(gpuDriver);
    const [display] = await gpu.displays({ deadline });
    assertEquals([display!.width, display!.height], [640, 480]);
    await using picture = await gpu.create(640, 480, { deadline });
    picture.canvas().testCard("SERVED");
    await gpu.setScanout(0, picture, undefined, { deadline });
    await picture.flush(undefined, { deadline });
  },
  async vsock(vireo) {
    await using connection = await vireo.get(vsockDriver).connect(7, { deadline });
    const writer = connection.writable.getWriter();
    const sent = noise(200_000, 5);
    const sending = writer.write(sent).then(() => writer.close());
    const got: Uint8Array[] = [];
    for await (const bytes of connection.readable) got.push(bytes);
    await sending;
    assertEquals(new Uint8Array(await new Blob(got as BlobPart[]).arrayBuffer()), sent);
  },
  async "9p"(vireo) {
    await using tree = await vireo.get(p9Driver).attach({ deadline });
    await tree.writeFile("/a.txt", text.encode("served"), { deadline });
    assertEquals(await tree.readFile("/a.txt", { deadline }), text.encode("served"));
  },
  async crypto(vireo) {
    await using cipher = await vireo.get(cryptoDriver).cipher(
      CryptoCipher.AES_CBC,
      new Uint8Array(16),
    );
    const [iv, data] = [new Uint8Array(16), new Uint8Array(64).fill(3)];
    const secret = await cipher.encrypt(iv, data, { deadline });
    assertEquals(await cipher.decrypt(iv, secret, { deadline }), data);
  },
  async balloon(vireo, served) {
    await served.set("target", 8);
    const balloon = vireo.get(balloonDriver);
    await wait("the balloon to grow", () => balloon.size === 8);
  },
};

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
