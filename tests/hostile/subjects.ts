/**
 * Every driver, with a device for it, a use of all that it does, and each kind of request that a device
 * may keep.
 *
 * @module
 */
import {
  BalloonDevice,
  BlkDevice,
  CaifDevice,
  ConsoleDevice,
  CryptoDevice,
  type DeviceModel,
  GpuDevice,
  HostPeer,
  Hub,
  INPUT_PRESETS,
  InputDevice,
  loopbackPort,
  MemoryDisk,
  MemoryTree,
  NetDevice,
  P9Device,
  RngDevice,
  RpmsgDevice,
  RprocSerialDevice,
  ScsiDevice,
  seededRandom,
  VsockDevice,
} from "@vireo/emu";
import { CryptoCipher, CryptoHash, InputType, P9OpenFlag } from "@vireo/hal";
import { createBalloonDriver } from "../../drivers/balloon/mod.ts";
import { blkDriver } from "../../drivers/blk/mod.ts";
import { caifDriver } from "../../drivers/caif/mod.ts";
import { consoleDriver } from "../../drivers/console/mod.ts";
import { cryptoDriver } from "../../drivers/crypto/mod.ts";
import type { DriverInstance, VirtioDriver } from "../../drivers/driver.ts";
import { gpuDriver } from "../../drivers/gpu/mod.ts";
import { inputDriver } from "../../drivers/input/mod.ts";
import { createNetDriver, formatMac } from "../../drivers/net/mod.ts";
import { p9Driver } from "../../drivers/p9/mod.ts";
import { rngDriver } from "../../drivers/rng/mod.ts";
import { rpmsgDriver } from "../../drivers/rpmsg/mod.ts";
import { rprocSerialDriver } from "../../drivers/rproc_serial/mod.ts";
import { scsiDriver } from "../../drivers/scsi/mod.ts";
import { vsockDriver } from "../../drivers/vsock/mod.ts";
import { timedOut, waitOn, type WaitOptions } from "../../drivers/wait/mod.ts";
import { arpRequest } from "../../firmware/ip/ethernet.ts";
import type { Rig } from "./rig.ts";

/** A call of a device's owner: ends with the signal or the deadline. */
export type Ask = (limits: WaitOptions) => Promise<unknown>;

/** One driver and its device. */
export interface Subject<T extends DriverInstance = DriverInstance> {
  readonly name: string;
  readonly driver: VirtioDriver<T>;
  /** Makes the device. */
  model(): DeviceModel;
  /** Uses what the driver does; throws if an answer is wrong. */
  use(instance: T, limits: WaitOptions, rig: Rig<T>): Promise<void>;
  /** Gets ready for each kind of request that the device may keep. */
  asks(instance: T, limits: WaitOptions, rig: Rig<T>): Promise<Readonly<Record<string, Ask>>>;
}

/** A device answered, but not what it should have. */
export class WrongAnswer extends Error {}

/** Expects an answer to be the right one. */
export function check(good: boolean, what: string): void {
  if (!good) throw new WrongAnswer(`Wrong answer: ${what}`);
}

/** Whether the bytes are the same. */
export const same = (a: Uint8Array, b: Uint8Array): boolean =>
  a.length === b.length && a.every((byte, i) => byte === b[i]);
/** Bytes that differ, and differ by seed. */
// A loop: `Uint8Array.from` takes 20 times as long for the 50 KiB that the disk is written.
export function pattern(length: number, seed = 1): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) bytes[i] = i * 31 + (i >> 8) * 7 + seed;
  return bytes;
}
/** Keeps the types of one row together. */
export const subject = <T extends DriverInstance>(row: Subject<T>): Subject =>
  row as unknown as Subject;

const IP = { here: "10.0.2.15", there: "10.0.2.2" };
const KEY = pattern(16);
/** Ports that were listened at stay so. */
let lastPort = 9;
const IV = pattern(16, 9);

/** All drivers. */
export const SUBJECTS: readonly Subject[] = [
  subject({
    name: "blk",
    driver: blkDriver,
    model: () => new BlkDevice({ disk: new MemoryDisk(1 << 20) }),
    async use(blk, limits) {
      const data = pattern(100 * 512);
      await blk.write(3, data, limits);
      check(same(await blk.read(3, data.length, limits), data), "what was written");
      await blk.flush(limits);
      await blk.getId(limits);
    },
    asks: (blk) =>
      Promise.resolve({
        read: (limits) => blk.read(0, 4096, limits),
        write: (limits) => blk.write(0, pattern(4096), limits),
        flush: (limits) => blk.flush(limits),
      }),
  }),
  subject({
    name: "net",
    driver: createNetDriver({ pairs: 2 }),
    model() {
      const hub = new Hub();
      new HostPeer(hub.port(), { ip: IP.there });
      return new NetDevice({ backend: hub.port(), queuePairs: 2, queueSize: 16 });
    },
    async use(net, limits) {
      const { mac } = net;
      await net.send(arpRequest({ mac, source: IP.here, target: IP.there }), limits);
      const { bytes } = await net.receive(limits);
      check(formatMac(bytes.subarray(0, 6)) === net.macText, "an ARP reply");
      await net.setPromiscuous(true, limits);
      await net.addVlan(7, limits);
    },
    asks(net) {
      const frame = arpRequest({ mac: net.mac, source: IP.here, target: IP.there });
      const many = async (limits: WaitOptions): Promise<void> => {
        for (let i = 0; i < 20; i++) await net.send(frame, limits);
      };
      return Promise.resolve({
        send: many,
        receive: (limits) => net.receive(limits),
        command: (limits) => net.setPromiscuous(true, limits),
      });
    },
  }),
  subject({
    name: "console",
    driver: consoleDriver,
    model: () =>
      new ConsoleDevice({
        ports: [{ name: "one", backend: loopbackPort() }, { name: "two", backend: loopbackPort() }],
      }),
    async use(console, limits) {
      using port = (await console.port("two", limits)).open();
      await port.write(pattern(5000), limits);
      let at = 0;
      while (at < 5000) {
        const bytes = (await port.read(limits))!;
        check(same(bytes, pattern(5000).subarray(at, at += bytes.length)), "the echo");
      }
    },
    async asks(console, limits) {
      const port = (await console.port("one", limits)).open();
      await port.hostOpened(limits);
      return {
        write: (limits) => port.write(pattern(100_000), limits),
        read: (limits) => port.read(limits),
        flush: (limits) => {
          port.write(pattern(10), limits).catch(() => {});
          return port.flush(limits);
        },
        port: (limits) => console.port("none", limits),
      };
    },
  }),
  subject({
    name: "rng",
    driver: rngDriver,
    model: () => new RngDevice({ random: seededRandom(1) }),
    async use(rng, limits) {
      check((await rng.read(10_000, limits)).some((byte) => byte !== 0), "random bytes");
    },
    asks: (rng) => Promise.resolve({ read: (limits) => rng.read(100_000, limits) }),
  }),
  subject({
    name: "balloon",
    driver: createBalloonDriver({ statistics: () => ({ 4: 1234 }) }),
    model: () => new BalloonDevice(),
    async use(balloon, limits, { dma }) {
      check(await balloon.resize(600, limits) === 600, "the size");
      check(await balloon.resize(3, limits) === 3, "the size");
      using region = dma.alloc(4096, { align: 4096 });
      await balloon.report([region], limits);
    },
    async asks(balloon, limits, { dma }) {
      await balloon.resize(5, limits);
      return {
        inflate: (limits) => balloon.resize(10, limits),
        deflate: (limits) => balloon.resize(0, limits),
        report: async (limits) => {
          const region = dma.alloc(4096, { align: 4096 });
          const onReturned = (): void => region[Symbol.dispose]();
          await balloon.report([region], { ...limits, onReturned });
        },
        settled: (limits) => balloon.settled(limits),
      };
    },
  }),
  subject({
    name: "rpmsg",
    driver: rpmsgDriver,
    model: () =>
      new RpmsgDevice({
        services: [{ name: "echo", address: 0x400, handle: (_, bytes, reply) => reply(bytes) }],
      }),
    async use(rpmsg, limits) {
      const { address: remote } = await rpmsg.channel("echo", limits);
      using endpoint = rpmsg.endpoint({ remote });
      await endpoint.send(pattern(400), limits);
      check(same((await endpoint.receive(limits)).bytes, pattern(400)), "the echo");
    },
    async asks(rpmsg, limits) {
      const { address: remote } = await rpmsg.channel("echo", limits);
      const endpoint = rpmsg.endpoint({ remote });
      return {
        send: (limits) => endpoint.send(pattern(400), limits),
        receive: (limits) => endpoint.receive(limits),
        channel: (limits) => rpmsg.channel("none", limits),
      };
    },
  }),
  subject({
    name: "scsi",
    driver: scsiDriver,
    model: () =>
      new ScsiDevice({ units: [{ target: 0, disk: new MemoryDisk(1 << 20) }], queues: 2 }),
    async use(host, limits) {
      const unit = host.unit(0);
      await unit.ready(limits);
      await unit.write(5, pattern(4096), limits);
      check(same(await unit.read(5, 8, limits), pattern(4096)), "what was written");
      await host.resetUnit(unit, limits);
      await unit.ready(limits);
    },
    async asks(host, limits) {
      const unit = host.unit(0);
      await unit.ready(limits);
      await unit.capacity(limits);
      return {
        read: (limits) => unit.read(0, 8, limits),
        write: (limits) => unit.write(0, pattern(4096), limits),
        reset: (limits) => host.resetUnit(unit, limits),
      };
    },
  }),
  subject({
    name: "p9",
    driver: p9Driver,
    model: () => new P9Device({ tree: new MemoryTree({ "a.txt": "see" }) }),
    async use(p9, limits) {
      await using tree = await p9.attach(limits);
      const file = await tree.open("b", P9OpenFlag.READ_WRITE | P9OpenFlag.CREATE, limits);
      await file.write(0, pattern(10_000), limits);
      check(same(await file.read(0, 10_000, limits), pattern(10_000)), "what was written");
      await file.close(limits);
      check((await tree.readFile("a.txt", limits)).length === 3, "a file");
    },
    async asks(p9, limits) {
      const tree = await p9.attach(limits);
      const file = await tree.open("c", P9OpenFlag.READ_WRITE | P9OpenFlag.CREATE, limits);
      return {
        attach: (limits) => p9.attach(limits),
        list: (limits) => tree.list("", limits),
        read: (limits) => file.read(0, 5000, limits),
        write: (limits) => file.write(0, pattern(5000), limits),
        readFile: (limits) => tree.readFile("c", limits),
      };
    },
  }),
  subject({
    name: "rproc-serial",
    driver: rprocSerialDriver,
    model: () => new RprocSerialDevice(loopbackPort()),
    async use(serial, limits) {
      const only = await serial.port(0, limits);
      only.close();
      using port = only.open();
      await port.write(pattern(100), limits);
      check((await port.read(limits))!.length > 0, "the echo");
    },
    async asks(serial, limits) {
      const port = (await serial.port(0, limits)).open();
      return { write: (limits) => port.write(pattern(100_000), limits) };
    },
  }),
  subject({
    name: "caif",
    driver: caifDriver,
    model: () => new CaifDevice({ onFrame: (frame, self) => self.send(frame) }),
    async use(caif, limits) {
      await caif.send(pattern(900), limits);
      check(same(await caif.receive(limits), pattern(900)), "the echo");
    },
    asks: (caif) =>
      Promise.resolve({
        send: (limits) => caif.send(pattern(900), limits),
        receive: (limits) => caif.receive(limits),
      }),
  }),
  subject({
    name: "gpu",
    driver: gpuDriver,
    model: () => new GpuDevice({ displays: [{ width: 64, height: 64 }] }),
    async use(gpu, limits, rig) {
      check((await gpu.displays(limits))[0]?.width === 64, "a display");
      const picture = await gpu.create(64, 64, limits);
      // A picture is its owner's until he lets it go, whatever becomes of the device.
      rig.atEnd(() => gpu.unref(picture));
      picture.canvas().testCard("A");
      await gpu.setScanout(0, picture, undefined, limits);
      await picture.flush(undefined, limits);
      await gpu.setCursor(0, { x: 1, y: 1 }, picture, undefined, limits);
      await gpu.setScanout(0, undefined, undefined, limits);
      await gpu.unref(picture, limits);
    },
    async asks(gpu, limits, rig) {
      const picture = await gpu.create(64, 64, limits);
      rig.atEnd(() => gpu.unref(picture));
      return {
        displays: (limits) => gpu.displays(limits),
        create: async (limits) => {
          const made = await gpu.create(300, 300, limits);
          rig.atEnd(() => gpu.unref(made));
        },
        flush: (limits) => picture.flush(undefined, limits),
        cursor: (limits) => gpu.moveCursor(0, { x: 1, y: 2 }, limits),
        unref: (limits) => gpu.unref(picture, limits),
      };
    },
  }),
  subject({
    name: "input",
    driver: inputDriver,
    model: () => new InputDevice(INPUT_PRESETS.keyboard),
    async use(input, limits, { model }) {
      using events = input.events(limits);
      (model as InputDevice).send(InputType.KEY, 30, 1).sync();
      const { value } = await events.next();
      check(value.code === 30, "a key");
      check(input.codes.get(InputType.LED)?.has(0) === true, "an LED");
      await input.send(InputType.LED, 0, 1, limits);
    },
    asks: (input) =>
      Promise.resolve({
        send: async (limits) => {
          check(input.codes.get(InputType.LED)?.has(0) === true, "an LED");
          await input.send(InputType.LED, 0, 1, limits);
        },
        events: async (limits) => {
          using events = input.events(limits);
          await events.next();
        },
      }),
  }),
  subject({
    name: "vsock",
    driver: vsockDriver,
    model: () =>
      new VsockDevice({
        cid: 42,
        host: { connect: () => new TransformStream<Uint8Array, Uint8Array>() },
      }),
    async use(vsock, limits) {
      const connection = await vsock.connect(7, limits);
      const writer = connection.writable.getWriter();
      const reader = connection.readable.getReader();
      const echo = writer.write(pattern(1000)).then(() => reader.read());
      try {
        const { value } = await waitOn(echo, { what: "the echo" }, limits);
        check((value?.length ?? 0) > 0, "the echo");
      } finally {
        connection.reset();
      }
    },
    async asks(vsock, limits) {
      const connection = await vsock.connect(7, limits);
      const listener = vsock.listen(lastPort++);
      return {
        connect: (limits) => vsock.connect(7, limits),
        accept: (limits) => listener.accept(limits),
        // One that does not end in time is reset, which is an end in order.
        close: async (limits) => {
          await connection.close(limits);
          limits.signal!.throwIfAborted();
          throw timedOut("the peer", limits.deadline);
        },
      };
    },
  }),
  subject({
    name: "crypto",
    driver: cryptoDriver,
    model: () => new CryptoDevice({ queues: 2 }),
    async use(crypto, limits) {
      const cipher = await crypto.cipher(CryptoCipher.AES_CBC, KEY, limits);
      try {
        const text = await cipher.encrypt(IV, pattern(64), limits);
        check(same(await cipher.decrypt(IV, text, limits), pattern(64)), "the text");
        const hash = await crypto.hash(CryptoHash.SHA_256, limits);
        check((await hash.digest(pattern(10), limits)).length === 32, "a digest");
        await hash.close(limits);
      } finally {
        await cipher.close(limits);
      }
    },
    async asks(crypto, limits) {
      const cipher = await crypto.cipher(CryptoCipher.AES_CBC, KEY, limits);
      return {
        session: (limits) => crypto.cipher(CryptoCipher.AES_CBC, KEY, limits),
        encrypt: (limits) => cipher.encrypt(IV, pattern(64), limits),
        close: (limits) => cipher.close(limits),
      };
    },
  }),
];
