import { balloonDriver } from "@vireo/drivers/balloon";
import { blkDriver } from "@vireo/drivers/blk";
import { caifDriver } from "@vireo/drivers/caif";
import { consoleDriver } from "@vireo/drivers/console";
import { cryptoDriver } from "@vireo/drivers/crypto";
import { gpuDriver } from "@vireo/drivers/gpu";
import { inputDriver } from "@vireo/drivers/input";
import { netDriver } from "@vireo/drivers/net";
import { p9Driver } from "@vireo/drivers/p9";
import { rngDriver } from "@vireo/drivers/rng";
import { rpmsgDriver } from "@vireo/drivers/rpmsg";
import { rprocSerialDriver } from "@vireo/drivers/rproc-serial";
import { scsiDriver } from "@vireo/drivers/scsi";
import { vsockDriver } from "@vireo/drivers/vsock";
import type { Balloon } from "@vireo/drivers";
import type { InputDevice } from "@vireo/emu";
import { CryptoCipher, CryptoHash, DeviceId, InputType, P9OpenFlag } from "@vireo/hal";
import { arpRequest } from "../../ip/ethernet.ts";
import type { BoardOptions } from "../../target/options.ts";
import type { Vireo, VireoMain } from "../../vireo.ts";

/** A driver of Vireo's own, and a script that uses all that it does. */
interface BundledDriver {
  /** Its name, as in `vireo check driver blk`. */
  readonly name: string;
  /** Virtio id of its device. */
  readonly device: number;
  /** A board with its device, and little else. */
  readonly board: Partial<BoardOptions>;
  /** Uses it. */
  readonly main: VireoMain;
}

const LIMITS = { deadline: 3000 } as const;
const ALONE: Partial<BoardOptions> = { net: { kind: "none" }, blk: [] };
const withDevice = (name: string): Partial<BoardOptions> => ({
  ...ALONE,
  with: [{ name, value: undefined }],
});

const pattern = (length: number, seed = 1): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => i * 31 + (i >> 8) * 7 + seed);

/** A script that fails if an answer is wrong. */
function demand(good: boolean, what: string): void {
  if (!good) throw new Error(`Wrong answer: ${what}`);
}

const same = (a: Uint8Array, b: Uint8Array): boolean =>
  a.length === b.length && a.every((byte, i) => byte === b[i]);

/** Reads a stream until so many bytes were there. */
async function readAll(
  read: () => Promise<Uint8Array | undefined>,
  length: number,
): Promise<Uint8Array> {
  const all = new Uint8Array(length);
  for (let at = 0; at < length;) {
    const bytes = await read();
    demand(bytes !== undefined && at + bytes.length <= length, "as many bytes as were sent");
    all.set(bytes!, at);
    at += bytes!.length;
  }
  return all;
}

/** All of them. */
export const BUNDLED: readonly BundledDriver[] = [
  {
    name: "blk",
    device: DeviceId.BLOCK,
    board: { net: { kind: "none" } },
    async main(vireo) {
      const blk = vireo.get(blkDriver);
      const data = pattern(100 * 512);
      await blk.write(3, data, LIMITS);
      demand(same(await blk.read(3, data.length, LIMITS), data), "what was written");
      const many = Array.from({ length: 12 }, (_, i) => blk.read(8 * i, 4096, LIMITS));
      demand((await Promise.all(many)).every(({ length }) => length === 4096), "many reads");
      await blk.flush(LIMITS);
      demand(await blk.getId(LIMITS) === "vireo-emu", "the id");
    },
  },
  {
    name: "net",
    device: DeviceId.NET,
    board: { blk: [] },
    async main(vireo) {
      const net = vireo.get(netDriver);
      const frame = arpRequest({ mac: net.mac, source: "10.0.2.15", target: "10.0.2.2" });
      for (let i = 0; i < 10; i++) {
        await net.send(frame, LIMITS);
        demand((await net.receive(LIMITS)).bytes.length === 42, "an ARP reply");
      }
    },
  },
  {
    name: "console",
    device: DeviceId.CONSOLE,
    board: ALONE,
    async main(vireo) {
      using port = (await vireo.get(consoleDriver).port("echo", LIMITS)).open();
      await port.hostOpened(LIMITS);
      await port.write(pattern(5000), LIMITS);
      const echo = await readAll(async () => await port.read(LIMITS) ?? undefined, 5000);
      demand(same(echo, pattern(5000)), "the echo");
    },
  },
  {
    name: "rng",
    device: DeviceId.RNG,
    board: ALONE,
    async main(vireo) {
      const bytes = await vireo.get(rngDriver).read(2000, LIMITS);
      demand(bytes.length === 2000 && bytes.some((byte) => byte !== 0), "random bytes");
    },
  },
  {
    name: "balloon",
    device: DeviceId.BALLOON,
    board: withDevice("balloon"),
    async main(vireo) {
      const balloon: Balloon = vireo.get(balloonDriver);
      demand(await balloon.resize(600, LIMITS) === 600, "the size");
      demand(await balloon.resize(3, LIMITS) === 3, "the size");
    },
  },
  {
    name: "rpmsg",
    device: DeviceId.RPMSG,
    board: withDevice("rpmsg"),
    async main(vireo) {
      const rpmsg = vireo.get(rpmsgDriver);
      const { address: remote } = await rpmsg.channel("rpmsg-client-sample", LIMITS);
      using endpoint = rpmsg.endpoint({ remote });
      for (let i = 0; i < 6; i++) {
        await endpoint.send(pattern(400, i), LIMITS);
        demand(same((await endpoint.receive(LIMITS)).bytes, pattern(400, i)), "the echo");
      }
    },
  },
  {
    name: "scsi",
    device: DeviceId.SCSI,
    board: withDevice("scsi"),
    async main(vireo) {
      const host = vireo.get(scsiDriver);
      const unit = host.unit(0);
      await unit.ready(LIMITS);
      await unit.write(5, pattern(4096), LIMITS);
      demand(same(await unit.read(5, 8, LIMITS), pattern(4096)), "what was written");
      await host.resetUnit(unit, LIMITS);
      await unit.ready(LIMITS);
    },
  },
  {
    name: "9p",
    device: DeviceId.NINE_P,
    board: withDevice("9p"),
    async main(vireo) {
      await using tree = await vireo.get(p9Driver).attach(LIMITS);
      const file = await tree.open("b", P9OpenFlag.READ_WRITE | P9OpenFlag.CREATE, LIMITS);
      await file.write(0, pattern(10_000), LIMITS);
      demand(same(await file.read(0, 10_000, LIMITS), pattern(10_000)), "what was written");
      await file.close(LIMITS);
      const hello = new TextDecoder().decode(await tree.readFile("hello.txt", LIMITS));
      demand(hello === "Hello from the host.\n", "the host's file");
    },
  },
  {
    name: "rproc-serial",
    device: DeviceId.RPROC_SERIAL,
    board: withDevice("rproc-serial"),
    async main(vireo) {
      using port = (await vireo.get(rprocSerialDriver).port(0, LIMITS)).open();
      await port.write(pattern(300), LIMITS);
      demand(
        same(await readAll(async () => await port.read(LIMITS) ?? undefined, 300), pattern(300)),
        "the echo",
      );
    },
  },
  {
    name: "caif",
    device: DeviceId.CAIF,
    board: withDevice("caif"),
    async main(vireo) {
      const caif = vireo.get(caifDriver);
      for (let i = 0; i < 6; i++) {
        await caif.send(pattern(900, i), LIMITS);
        demand(same(await caif.receive(LIMITS), pattern(900, i)), "the echo");
      }
    },
  },
  {
    name: "gpu",
    device: DeviceId.GPU,
    board: withDevice("gpu"),
    async main(vireo) {
      const gpu = vireo.get(gpuDriver);
      demand((await gpu.displays(LIMITS)).length === 1, "the display");
      const picture = await gpu.create(64, 64, LIMITS);
      try {
        picture.canvas().testCard("A");
        await gpu.setScanout(0, picture, undefined, LIMITS);
        await picture.flush(undefined, LIMITS);
        await gpu.setCursor(0, { x: 1, y: 1 }, picture, undefined, LIMITS);
        await gpu.setScanout(0, undefined, undefined, LIMITS);
      } finally {
        await gpu.unref(picture, LIMITS);
      }
    },
  },
  {
    name: "input",
    device: DeviceId.INPUT,
    board: withDevice("input"),
    async main(vireo) {
      const input = vireo.get(inputDriver);
      using events = input.events(LIMITS);
      const model = vireo.emulated?.extras.get("input") as InputDevice;
      for (let i = 0; i < 6; i++) {
        model.send(InputType.KEY, 30, (i + 1) % 2).sync();
        const { value } = await events.next();
        demand(value.code === 30, "a key");
        await events.next();
        await input.send(InputType.LED, 0, i % 2, LIMITS);
      }
    },
  },
  {
    name: "vsock",
    device: DeviceId.VSOCK,
    board: withDevice("vsock"),
    async main(vireo) {
      const connection = await vireo.get(vsockDriver).connect(7, LIMITS);
      const writer = connection.writable.getWriter();
      const reader = connection.readable.getReader();
      try {
        await writer.write(pattern(1000));
        const echo = await readAll(async () => (await reader.read()).value, 1000);
        demand(same(echo, pattern(1000)), "the echo");
      } finally {
        connection.reset();
      }
    },
  },
  {
    name: "crypto",
    device: DeviceId.CRYPTO,
    board: withDevice("crypto"),
    main: useCrypto,
  },
];

async function useCrypto(vireo: Vireo): Promise<void> {
  const crypto = vireo.get(cryptoDriver);
  const cipher = await crypto.cipher(CryptoCipher.AES_CBC, pattern(16), LIMITS);
  try {
    const text = await cipher.encrypt(pattern(16, 9), pattern(64), LIMITS);
    demand(same(await cipher.decrypt(pattern(16, 9), text, LIMITS), pattern(64)), "the text");
    const hash = await crypto.hash(CryptoHash.SHA_256, LIMITS);
    demand((await hash.digest(pattern(10), LIMITS)).length === 32, "a digest");
    await hash.close(LIMITS);
  } finally {
    await cipher.close(LIMITS);
  }
}
