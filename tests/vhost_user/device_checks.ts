import { assertEquals } from "@std/assert";
import {
  balloonDriver,
  cryptoDriver,
  gpuDriver,
  inputDriver,
  p9Driver,
  rngDriver,
  scsiDriver,
  vsockDriver,
} from "@vireo/drivers";
import { CryptoCipher } from "@vireo/hal";
import { ping } from "../../firmware/ip/ping.ts";
import type { Vireo } from "../../firmware/vireo.ts";
import { noise } from "../noise.ts";
import type { Served } from "./served.ts";
import { wait } from "./wait.ts";

/** Milliseconds that an answer may take on a busy machine. */
export const deadline = 20_000;
const text = new TextEncoder();

/** Has our net use more and fewer pairs by turns; each time the model has them, and frames pass. */
export async function checkPairs(vireo: Vireo, served: Served): Promise<void> {
  const pairs = async () => (await served.call("snapshot") as { pairs: number }).pairs;
  assertEquals(vireo.net.maxQueuePairs, 3);
  for (const wanted of [1, 3, 2, 3, 1]) {
    await vireo.net.setPairs(wanted, { deadline });
    // A front end stops and starts all of them in between, and QEMU's does not wait for the last messages.
    while (await pairs() !== wanted);
    await DEVICES["net"]!(vireo, served);
    assertEquals(await pairs(), wanted);
  }
}

/** A check of each device that can be served. */
export const DEVICES: Readonly<Record<string, (vireo: Vireo, served: Served) => Promise<void>>> = {
  async blk({ blk }) {
    const data = noise(300_032, 3);
    await blk.write(5, data, { deadline });
    await blk.flush({ deadline });
    assertEquals(await blk.read(5, data.length, { deadline }), data);
    await blk.writeZeroes([{ sector: 5, sectors: 3 }], { deadline });
    assertEquals(await blk.read(5, 1536, { deadline }), new Uint8Array(1536));
    assertEquals(await blk.getId({ deadline }), "vireo-emu");
  },
  async rng(vireo) {
    // A QEMU board has one of its own besides.
    for (const rng of vireo.bus.all(rngDriver)) {
      assertEquals(new Set(await rng.read(10_000, { deadline })).size, 256);
    }
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
