// What a device may do to a driver, kind by kind: numbers, bounds on items, and state over a reset.
import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  BlkDevice,
  ConsoleDevice,
  CryptoDevice,
  type DeviceModel,
  GpuDevice,
  HostPeer,
  Hub,
  loopbackPort,
  MemoryDisk,
  NetDevice,
  RpmsgDevice,
  ScsiDevice,
} from "@vireo/emu";
import {
  CONSOLE_CONFIG,
  CRYPTO_CONFIG,
  CryptoCipher,
  Feature,
  NET_CONFIG,
  NetFeature,
  SCSI_CONFIG,
  VireoError,
  VsockOp,
  VsockRw,
  VsockType,
} from "@vireo/hal";
import { blkDriver, createBlkDriver } from "../../drivers/blk/mod.ts";
import { consoleDriver } from "../../drivers/console/mod.ts";
import { cryptoDriver } from "../../drivers/crypto/mod.ts";
import { gpuDriver } from "../../drivers/gpu/mod.ts";
import { createNetDriver } from "../../drivers/net/mod.ts";
import { rpmsgDriver } from "../../drivers/rpmsg/mod.ts";
import { scsiDriver } from "../../drivers/scsi/mod.ts";
import { connection, packet } from "../../drivers/vsock/connection_test_util.ts";
import { LIES } from "./liar.ts";
import { Rig } from "./rig.ts";
import { turn } from "../turn.ts";

/** Status and QueueReset of virtio-mmio. */
const STATUS = 0x70;
const QUEUE_RESET = 0xc0;
const SOON = { deadline: 5000 };
const code = async (run: () => Promise<unknown>): Promise<string> =>
  (await assertRejects(run, VireoError)).code;

/** Makes a model tell another number in a field of its configuration. */
function told<T extends DeviceModel>(model: T, { offset }: { offset: number }, value: number): T {
  const read = model.readConfig.bind(model);
  model.readConfig = (at, width) => at === offset && width === 4 ? value >>> 0 : read(at, width);
  return model;
}

/** Disk of a unit, in a host. */
const scsiHost = (): ScsiDevice =>
  new ScsiDevice({ units: [{ target: 0, disk: new MemoryDisk(1 << 20) }], queues: 2 });

Deno.test("hostile: scsi: 2^32 - 1 request queues are 8", async () => {
  const model = told(scsiHost(), SCSI_CONFIG.num_queues, 2 ** 32 - 1);
  const queues = Array.from({ length: 20 }, (_, i) => ({ name: `${i}`, maxSize: 8 }));
  Object.defineProperty(model, "queues", { value: queues });
  await using rig = await Rig.open(scsiDriver, model);
  assertEquals([rig.device.error, rig.device.queues.length], [undefined, 10]);
});

Deno.test("hostile: crypto: 2^32 - 1 data queues are refused, and of many 64 are used", async () => {
  for (const queues of [0, 65536, 2 ** 32 - 1]) {
    const model = told(new CryptoDevice(), CRYPTO_CONFIG.max_dataqueues, queues);
    await using rig = await Rig.open(cryptoDriver, model);
    assertEquals(
      rig.device.error?.message,
      "Cannot use the crypto device's number of queues (virtio0, register max_dataqueues): " +
        `saw ${queues}, expected 1 to 65535`,
    );
  }
  await using rig = await Rig.open(cryptoDriver, new CryptoDevice({ queues: 20 }));
  await using cipher = await rig.instance.cipher(CryptoCipher.AES_CBC, new Uint8Array(16), SOON);
  const all = Array.from({ length: 20 }, (_, i) => i);
  assertEquals(rig.device.queues.map(({ index }) => index), [20, ...all]);
  assertEquals((await cipher.encrypt(new Uint8Array(16), new Uint8Array(16), SOON)).length, 16);
  const many = told(new CryptoDevice(), CRYPTO_CONFIG.max_dataqueues, 1000);
  const queues = Array.from({ length: 1001 }, (_, i) => ({ name: `${i}`, maxSize: 8 }));
  Object.defineProperty(many, "queues", { value: queues });
  await using bound = await Rig.open(cryptoDriver, many);
  assertEquals([bound.device.error, bound.device.queues.length], [undefined, 65]);
});

Deno.test("hostile: console: 32766 ports are 511, and those above are refused", async () => {
  const model = told(
    new ConsoleDevice({ ports: [{ backend: loopbackPort() }], multiport: true }),
    CONSOLE_CONFIG.max_nr_ports,
    32766,
  );
  const queues = Array.from({ length: 65536 }, (_, i) => ({ name: `${i}`, maxSize: 2 }));
  Object.defineProperty(model, "queues", { value: queues });
  await using rig = await Rig.open(consoleDriver, model, { without: [Feature.RING_RESET] });
  assertEquals([rig.instance.maxPorts, rig.device.queues.length], [511, 1024]);
});

Deno.test("hostile: console: ports that are not there have no queues if the device can start them later", async () => {
  const ports = [{ backend: loopbackPort() }, { id: 300, backend: loopbackPort() }];
  await using rig = await Rig.open(consoleDriver, new ConsoleDevice({ ports, maxPorts: 511 }));
  await rig.instance.port(300, SOON);
  assertEquals(rig.device.queues.map(({ index }) => index), [0, 1, 2, 3, 602, 603]);
  await rig.fail(SOON);
  assertEquals(rig.device.queues.map(({ index }) => index), [0, 1, 2, 3, 602, 603]);
  using port = rig.instance.ports[1]!.open();
  await port.write(Uint8Array.of(7), SOON);
  assertEquals(await port.read(SOON), Uint8Array.of(7));
});

Deno.test("hostile: a queue of 32768 is one of 1024, unless the caller asks for more", async () => {
  const model = new BlkDevice({ disk: new MemoryDisk(1 << 20), queueSize: 32768 });
  await using rig = await Rig.open(blkDriver, model);
  assertEquals(rig.device.queues.map(({ size }) => size), [1024]);
});

Deno.test("hostile: blk: the write cache stays off over a recovery and a suspend", async () => {
  const model = new BlkDevice({ disk: new MemoryDisk(1 << 20) });
  await using rig = await Rig.open(blkDriver, model);
  assertEquals(rig.instance.writeCache, true);
  await rig.fail(SOON);
  assertEquals(rig.instance.writeCache, true, "what was not set is the device's");
  rig.instance.writeCache = false;
  await rig.fail(SOON);
  assertEquals(rig.instance.writeCache, false);
  await rig.bus.freeze();
  await rig.bus.restore();
  assertEquals([rig.instance.writeCache, model.readConfig(32, 1)], [false, 0]);
  await rig.instance.write(0, new Uint8Array(512), SOON);
});

Deno.test("[drv.basic.vq-reset.1] blk: a queue that is reset fails what the device had, and goes on with the rest", async () => {
  const model = new BlkDevice({ disk: new MemoryDisk(1 << 20) });
  const driver = createBlkDriver({ depth: 2 });
  await using rig = await Rig.open(driver, model);
  const blk = rig.instance;
  rig.hold();
  const data = new Uint8Array(512).fill(7);
  const had = [code(() => blk.write(0, data, SOON)), code(() => blk.read(1, 512, SOON))];
  const waits = blk.write(2, data, SOON);
  await turn();
  assertEquals(blk.inFlight, 2);
  const reset = blk.resetQueue(0, SOON);
  assertEquals(await code(() => blk.read(0, 512, SOON)), "DEVICE_STATE", "while it is reset");
  await reset;
  assertEquals(await Promise.all(had), ["DEVICE_STATE", "DEVICE_STATE"]);
  rig.release();
  await waits;
  assertEquals([await blk.read(2, 512, SOON), blk.inFlight], [data, 0]);
  await assertRejects(() => blk.resetQueue(1), RangeError, "1");
  await using plain = await Rig.open(blkDriver, new BlkDevice({ disk: new MemoryDisk(1 << 20) }), {
    without: [Feature.RING_RESET],
  });
  assertEquals(await code(() => plain.instance.resetQueue()), "QUEUE_RESET_UNSUPPORTED");
  assertEquals((await plain.instance.read(0, 512, SOON)).length, 512, "nothing was done to it");
});

Deno.test("hostile: blk: a queue that is not reset in time keeps the memory, and its requests fail", async () => {
  const lie = {
    name: "a queue reset that never ends",
    register: (honest: number, offset: number) => offset === QUEUE_RESET ? 1 : honest,
  };
  const model = new BlkDevice({ disk: new MemoryDisk(1 << 20) });
  await using rig = await Rig.open(blkDriver, model, { lies: true, lie });
  rig.hold();
  const had = code(() => rig.instance.read(0, 512, SOON));
  await turn();
  assertEquals(await code(() => rig.instance.resetQueue(0, { deadline: 5 })), "RESET_TIMEOUT");
  assertEquals([await had, rig.instance.inFlight], ["RESET_TIMEOUT", 1]);
  await rig.fail(SOON);
  assertEquals((await rig.instance.read(0, 512, SOON)).length, 512);
});

Deno.test("hostile: gpu: a picture from before a reset is void, and its memory is its owner's", async () => {
  await using rig = await Rig.open(gpuDriver, new GpuDevice());
  const gpu = rig.instance;
  const picture = await gpu.create(8, 8, SOON);
  await rig.fail(SOON);
  const live = rig.dma.live;
  assertEquals(await code(() => gpu.setScanout(0, picture)), "DEVICE_STATE");
  assertEquals(await code(() => picture.flush()), "DEVICE_STATE");
  await gpu.unref(picture, SOON);
  assertEquals(rig.dma.live, live - 1);
});

Deno.test("hostile: gpu: memory of a picture that the host will not let go waits for the reset", async () => {
  const model = new GpuDevice();
  await using rig = await Rig.open(gpuDriver, model);
  const live = rig.dma.live;
  // Answers each command with ERR_UNSPEC.
  const activate = model.activate.bind(model);
  const notify = model.notify.bind(model);
  let refuse = false;
  let context: Parameters<typeof activate>[0] | undefined;
  model.activate = (given) => activate(context = given);
  model.notify = (index) => {
    const queue = context?.queue(index);
    if (!refuse || queue === undefined) return notify(index);
    for (let chain = queue.pop(); chain !== undefined; chain = queue.pop()) {
      const header = new Uint8Array(24);
      chain.read(header);
      header.set([0, 0x12, 0, 0]);
      chain.write(header);
      queue.push(chain);
    }
    queue.signal();
  };
  await rig.fail(SOON);
  refuse = true;
  assertEquals(await code(() => rig.instance.create(8, 8, SOON)), "COMMAND_REFUSED");
  await turn();
  assertEquals(rig.dma.live, live + 1, "the host may have it");
  refuse = false;
  await rig.fail(SOON);
  assertEquals(rig.dma.live, live);
});

Deno.test("hostile: gpu: memory of pictures that the host never took away is back after the reset", async () => {
  await using rig = await Rig.open(gpuDriver, new GpuDevice());
  const gpu = rig.instance;
  const live = rig.dma.live;
  // The host does not answer in time, or not at all.
  const [slow, late] = [await gpu.create(8, 8, SOON), await gpu.create(8, 8, SOON)];
  rig.hold();
  assertEquals(await code(() => gpu.unref(slow, { deadline: 20 })), "TIMEOUT");
  assertEquals(rig.dma.live > live, true);
  rig.device.queues[0]!.break(new VireoError("HOST_ERROR", "as the test wants"));
  await turn();
  assertEquals(await code(() => gpu.unref(late, SOON)), "HOST_ERROR");
  await rig.fail(SOON);
  assertEquals(rig.dma.live, live);
  await gpu.unref(await gpu.create(8, 8, SOON), SOON);
  assertEquals(rig.dma.live, live);
});

Deno.test("[drv.crypto.config.2] crypto: no request goes while the device is not ready", async () => {
  const model = new CryptoDevice();
  await using rig = await Rig.open(cryptoDriver, model);
  const cipher = await rig.instance.cipher(CryptoCipher.AES_CBC, new Uint8Array(16), SOON);
  let requests = 0;
  const notify = model.notify.bind(model);
  model.notify = (queue) => {
    requests++;
    notify(queue);
  };
  model.setReady(false);
  await turn();
  const [iv, data] = [new Uint8Array(16), new Uint8Array(16)];
  assertEquals(await code(() => cipher.encrypt(iv, data, SOON)), "UNSUPPORTED");
  assertEquals(
    await code(() => rig.instance.cipher(CryptoCipher.AES_CBC, new Uint8Array(16), SOON)),
    "UNSUPPORTED",
  );
  const unknown = await assertRejects(() => rig.instance.cipher(99, iv, SOON), VireoError);
  assertEquals(unknown.message.includes("Crypto device is not ready"), true, unknown.message);
  assertEquals(requests, 0);
  model.setReady(true);
  await turn();
  assertEquals((await cipher.encrypt(iv, data, SOON)).length, 16);
  model.setReady(false);
  await turn();
  requests = 0;
  assertEquals(await code(() => cipher.close(SOON)), "UNSUPPORTED");
  assertEquals(requests, 0);
});

Deno.test("[drv.crypto.sym.1] crypto: a session from before a reset is not used again", async () => {
  const model = new CryptoDevice();
  await using rig = await Rig.open(cryptoDriver, model);
  const make = () => rig.instance.cipher(CryptoCipher.AES_CBC, new Uint8Array(16), SOON);
  const [iv, data] = [new Uint8Array(16), new Uint8Array(16)];
  const old = await make();
  await rig.fail(SOON);
  // The device gives the same numbers again.
  await using fresh = await make();
  let requests = 0;
  const notify = model.notify.bind(model);
  model.notify = (queue) => {
    requests++;
    notify(queue);
  };
  assertEquals(await code(() => old.encrypt(iv, data, SOON)), "BAD_STATUS");
  await old.close(SOON);
  assertEquals(requests, 0, "nothing of the old session reached the device");
  assertEquals((await fresh.encrypt(iv, data, SOON)).length, 16);
});

Deno.test("[drv.crypto.sym.1] crypto: a session's number keeps its 64 bits", async () => {
  const model = new CryptoDevice();
  const activate = model.activate.bind(model);
  let context: Parameters<typeof activate>[0] | undefined;
  const seen: number[][] = [];
  model.activate = (given) => void (context = given);
  // Queue 1 is the control queue: every session is 0xfedcba9876543210 there.
  model.notify = (index) => {
    const queue = context?.queue(index);
    for (let chain = queue?.pop(); chain !== undefined; chain = queue?.pop()) {
      const head = new Uint8Array(24);
      chain.read(head);
      if (index === 0) {
        seen.push([...head.subarray(8, 16)]);
        chain.seekWrite(chain.writableLength - 1);
        chain.writeU8(0);
        queue!.push(chain, chain.writableLength);
        continue;
      }
      if (chain.writableLength === 1) {
        // Destroying one: the session's number follows the header of 16 bytes.
        seen.push([...head.subarray(16, 24)]);
        chain.writeU8(0);
        queue!.push(chain);
        continue;
      }
      chain.writeU32(0x76543210);
      chain.writeU32(0xfedcba98);
      chain.writeZeroes(8);
      queue!.push(chain);
    }
    queue?.signal();
  };
  await using rig = await Rig.open(cryptoDriver, model);
  const cipher = await rig.instance.cipher(CryptoCipher.AES_CBC, new Uint8Array(16), SOON);
  await cipher.encrypt(new Uint8Array(16), new Uint8Array(16), SOON);
  const id = [0x10, 0x32, 0x54, 0x76, 0x98, 0xba, 0xdc, 0xfe];
  assertEquals(seen, [id]);
  await cipher.close(SOON);
  assertEquals(seen, [id, id, id], "both directions are destroyed");
});

Deno.test("[drv.net.mq.4] net: nothing is sent on a transmit queue that was given up", async () => {
  const hub = new Hub();
  const model = new NetDevice({ backend: hub.port(), queuePairs: 2, queueSize: 4 });
  await using rig = await Rig.open(createNetDriver({ pairs: 2 }), model);
  const net = rig.instance;
  const sent: number[] = [];
  const notify = model.notify.bind(model);
  let full = true;
  model.notify = (queue) => {
    if (queue === 3) sent.push(queue);
    if (queue !== 3 || !full) notify(queue);
  };
  const frame = new Uint8Array(60);
  while (net.trySend(frame, { queue: 1 }));
  await turn();
  const waiting = code(() => net.send(frame, { queue: 1, ...SOON }));
  const batch = net.tx(1);
  await net.setPairs(1, SOON);
  assertEquals(await waiting, "DEVICE_STATE");
  sent.length = 0;
  full = false;
  model.notify(3);
  await turn();
  const slot = batch.reserve();
  const error = await assertRejects(
    () => Promise.resolve().then(() => batch.submit(slot, 60)),
    VireoError,
  );
  assertEquals(error.message, "Transmit queue 1 is not in use (virtio0)");
  batch.release(slot);
  await turn();
  assertEquals(sent, [3], "only what the test itself notified");
  await net.setPairs(2, SOON);
  await net.send(frame, { queue: 1, ...SOON });
});

Deno.test("hostile: net: limits of hashing that shrink after the features were chosen fail the probe", async () => {
  const { rss_max_key_size: key, rss_max_indirection_table_length: table } = NET_CONFIG;
  for (const { offset } of [key, table]) {
    const backend = new Hub().port();
    const model = new NetDevice({ backend, queuePairs: 2, hashReport: true, queueSize: 4 });
    const read = model.readConfig.bind(model);
    let reads = 0;
    model.readConfig = (at, width) => at === offset && reads++ > 0 ? 0 : read(at, width);
    await using rig = await Rig.open(createNetDriver({ pairs: 2 }), model);
    const { error } = rig.device;
    assert(error instanceof VireoError && error.code === "OUT_OF_RANGE", `${error}`);
    assert(error.message.includes("limits of the device's hashing"), error.message);
  }
});

Deno.test("[drv.net.mac-filter.1] net: without CTRL_RX no address is told to the device", async () => {
  const hub = new Hub();
  new HostPeer(hub.port(), { ip: "10.0.2.2" });
  for (const without of [[NetFeature.CTRL_RX, NetFeature.CTRL_RX_EXTRA, NetFeature.MAC], []]) {
    const model = new NetDevice({ backend: hub.port(), without });
    await using rig = await Rig.open(createNetDriver(), model);
    let commands = 0;
    const notify = model.notify.bind(model);
    model.notify = (queue) => {
      if (queue === 2) commands++;
      notify(queue);
    };
    const mac = Uint8Array.of(2, 0, 0, 0, 0, 7);
    await rig.instance.setMac(mac, SOON);
    await rig.fail(SOON);
    assertEquals([rig.instance.mac, commands > 0], [mac, without.length === 0]);
  }
});

Deno.test("[drv.scsi.config.2] scsi: a unit has no more commands than cmd_per_lun, nor longer ones than max_sectors", async () => {
  const model = told(told(scsiHost(), SCSI_CONFIG.cmd_per_lun, 3), SCSI_CONFIG.max_sectors, 4);
  await using rig = await Rig.open(scsiDriver, model);
  const unit = rig.instance.unit(0);
  await unit.ready(SOON);
  await unit.capacity(SOON);
  assertEquals(rig.instance.maxBytes, 2048);
  const wide = { unit, cdb: new Uint8Array(6), read: 2049 };
  assertEquals(await code(() => rig.instance.command(wide, SOON)), "OUT_OF_RANGE");
  rig.hold();
  const reads = Array.from({ length: 10 }, (_, i) => unit.read(i * 8, 8, SOON));
  await turn();
  const inFlight = rig.device.queues.slice(2).reduce((sum, queue) => sum + queue.inFlight, 0);
  assertEquals(inFlight, 3);
  const late = await assertRejects(() => unit.read(0, 1, { deadline: 5 }), VireoError);
  assert(late.message.includes("waiting for unit 0:0 to end an earlier command"), late.message);
  rig.release();
  // 8 blocks are two commands each.
  for (const read of reads) assertEquals((await read).length, 4096);
});

Deno.test("hostile: scsi: empty blocks, and a good status for fewer bytes, are typed errors", async () => {
  for (const [size, expected] of [[0, "OUT_OF_RANGE"], [2 ** 32 - 1, "OUT_OF_RANGE"]] as const) {
    const model = scsiHost();
    await using rig = await Rig.open(scsiDriver, lieOfCapacity(model, size), { lies: true });
    const unit = rig.instance.unit(0);
    await unit.ready(SOON);
    assertEquals(await code(() => unit.read(0, 1, SOON)), expected);
  }
});

/** A host whose answers to READ CAPACITY name another size of blocks. */
function lieOfCapacity(model: ScsiDevice, size: number): ScsiDevice {
  const activate = model.activate.bind(model);
  model.activate = (given) => {
    activate({
      ...given,
      features: given.features,
      legacy: given.legacy,
      queue: (index) => {
        const queue = given.queue(index);
        if (queue === undefined || index < 2) return queue;
        return {
          index: queue.index,
          size: queue.size,
          pop: () => queue.pop(),
          hasAvailable: () => queue.hasAvailable(),
          push(chain, written = chain.written) {
            // The answer's header and sense data are 108 bytes; 8 of data are a capacity.
            if (written === 116) {
              chain.seekWrite(112);
              const bytes = new Uint8Array(4);
              new DataView(bytes.buffer).setUint32(0, size);
              chain.write(bytes);
            }
            queue.push(chain, written);
          },
          pushAll: (chains, written) => queue.pushAll(chains, written),
          signal: () => queue.signal(),
          setNotify: (enabled) => queue.setNotify(enabled),
        };
      },
      memory: (address, length) => given.memory(address, length),
      sharedAddress: (id) => given.sharedAddress(id),
      configChanged: () => given.configChanged(),
      fault: (reason, rule) => given.fault(reason, rule),
    });
  };
  return model;
}

Deno.test("hostile: vsock: empty messages are bounded, and end the connection", async () => {
  const { it, ops } = connection(VsockType.SEQPACKET);
  const nothing = new Uint8Array(0);
  for (let i = 0; i < 100_000; i++) it.handle(packet(VsockOp.RW, 0), nothing);
  assertEquals(it.ended, false, "empty parts are nothing");
  for (let i = 0; i < 20_000; i++) it.handle(packet(VsockOp.RW, 0, VsockRw.EOM), nothing);
  assertEquals([it.ended, ops.at(-1)], [true, VsockOp.RST]);
  assertEquals(await code(() => it.closed), "OUT_OF_RANGE");
});

Deno.test("hostile: vsock: a stream of single bytes that waited is read whole, in one piece", async () => {
  const { it } = connection(VsockType.STREAM);
  for (let i = 0; i < 100_000; i++) it.handle(packet(VsockOp.RW, 1), Uint8Array.of(i));
  it.handle(packet(VsockOp.SHUTDOWN, 0, 2), new Uint8Array(0));
  let [pieces, at] = [0, 0];
  for await (const bytes of it.readable) {
    for (const byte of bytes) assertEquals(byte, at++ & 0xff);
    pieces++;
  }
  assertEquals([at, pieces], [100_000, 1]);
  it.reset();
});

Deno.test("hostile: rpmsg: two services of one name are two, and 1024 are remembered", async () => {
  const service = (name: string, address: number) => ({ name, address, handle() {} });
  const twins = new RpmsgDevice({ services: [service("twin", 5000), service("twin", 6000)] });
  {
    await using rig = await Rig.open(rpmsgDriver, twins);
    await rig.instance.channel("twin", SOON);
    await turn();
    assertEquals(rig.instance.channels, [
      { name: "twin", address: 5000 },
      { name: "twin", address: 6000 },
    ]);
  }
  const services = Array.from({ length: 1100 }, (_, i) => service(`s${i}`, 5000 + i));
  await using rig = await Rig.open(rpmsgDriver, new RpmsgDevice({ services }));
  while (rig.instance.counters.tooManyServices < 76) await turn();
  assertEquals([rig.instance.channels.length, rig.instance.counters.malformed], [1024, 0]);
});

Deno.test("hostile: console: a host that closed its side during a suspend is closed afterwards", async () => {
  const model = new ConsoleDevice({ ports: [{ backend: loopbackPort() }], multiport: true });
  await using rig = await Rig.open(consoleDriver, model);
  const port = (await rig.instance.port(0, SOON)).open();
  await port.hostOpened(SOON);
  await rig.bus.freeze();
  model.ports.get(0)!.closeHost();
  await rig.bus.restore();
  await turn();
  assertEquals(port.hostOpen, false);
  model.ports.get(0)!.openHost();
  await port.hostOpened(SOON);
});

Deno.test("hostile: console: a probe that fails after its buffers were made frees them", async () => {
  const size = { cols: 80, rows: 25 };
  const model = new ConsoleDevice({ ports: [{ backend: loopbackPort() }], size });
  const lie = LIES.find(({ name }) => name === "a generation that never rests")!;
  await using rig = await Rig.open(consoleDriver, model, { lies: true, lie });
  assertEquals([(rig.device.error as VireoError).code, rig.dma.live], ["CONFIG_UNSTABLE", 0]);
});

Deno.test("hostile: a device that was not reset when its driver went is reset when it gets one again", async () => {
  let stuck = false;
  const lie = {
    name: "a status that stays",
    register: (honest: number, offset: number) => stuck && offset === STATUS ? 0x11 : honest,
  };
  const model = new BlkDevice({ disk: new MemoryDisk(1 << 20) });
  await using rig = await Rig.open(blkDriver, model, { lies: true, lie });
  // What the first driver had stays the device's, which may still write.
  rig.mayKeep = true;
  stuck = true;
  const error = await assertRejects(() => rig.bus.unbind(rig.device), AggregateError);
  assertEquals(error.errors.map(({ code }) => code), ["RESET_TIMEOUT", "RESET_TIMEOUT"]);
  assertEquals(await rig.bus.bind(rig.device), false);
  stuck = false;
  assertEquals(await rig.bus.bind(rig.device), true);
  assertEquals((await rig.instance.read(0, 512, SOON)).length, 512);
});
