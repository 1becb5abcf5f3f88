// Each kind of request of each driver, as the trace tells it: in the device's words, none as numbers or bytes.
import { assert, assertEquals } from "@std/assert";
import {
  balloonDriver,
  blkDriver,
  Bus,
  type BusOptions,
  caifDriver,
  createNetDriver,
  cryptoDriver,
  type DriverInstance,
  gpuDriver,
  inputDriver,
  p9Driver,
  rpmsgDriver,
  rprocSerialDriver,
  scsiDriver,
  type VirtioDriver,
  vsockDriver,
} from "@vireo/drivers";
import { Tracer } from "@vireo/drivers/trace";
import {
  BalloonDevice,
  BlkDevice,
  CaifDevice,
  CryptoDevice,
  type DeviceModel,
  EmulatedMachine,
  GpuDevice,
  Hub,
  INPUT_PRESETS,
  InputDevice,
  MemoryDisk,
  MemoryTree,
  NetDevice,
  P9Device,
  RpmsgDevice,
  RprocSerialDevice,
  ScsiDevice,
  VsockDevice,
} from "@vireo/emu";
import { loopbackPort, type NetBackend, NO_OFFLOAD } from "@vireo/emu/backends";
import {
  CryptoAead,
  CryptoCipher,
  CryptoHash,
  CryptoKeyType,
  CryptoMac,
  CryptoRsaHash,
  CryptoRsaPadding,
  InputType,
  NetFeature,
  P9OpenFlag,
  ScsiTaskManagement,
  type TraceEvent,
  VsockRecord,
  VsockType,
} from "@vireo/hal";
import { generateKeyPairSync } from "node:crypto";

const SOON = { deadline: 5000 };

/** A request or an answer that says how many bytes, or which number, where the device has a word. */
const NUMBERS = /^\d+ bytes? to the device|\b\d+ bytes? back$|\bcommand \d|\bundefined\b|: -1\b/;

/** A machine of a device, its driver, and what the trace says about requests. */
class Rig<D extends DriverInstance> implements AsyncDisposable {
  readonly machine: EmulatedMachine;
  readonly bus: Bus;
  readonly driver: D;

  private constructor(machine: EmulatedMachine, bus: Bus, driver: D) {
    this.machine = machine;
    this.bus = bus;
    this.driver = driver;
  }

  static async open<D extends DriverInstance>(
    model: DeviceModel,
    driver: VirtioDriver<D>,
    options: BusOptions = {},
  ): Promise<Rig<D>> {
    const machine = EmulatedMachine.create({ devices: [model], memorySize: 32 << 20 });
    const events: TraceEvent[] = [];
    const tracer = new Tracer((event) => events.push(event));
    const bus = new Bus({ ...options, tracer });
    await bus.registerDriver(driver);
    await bus.addPlatform(machine);
    const rig = new Rig(machine, bus, bus.get(driver)!);
    rig.#events = events;
    return rig;
  }

  #events: TraceEvent[] = [];

  /** Checks that requests were told so, in this order among others, and none by numbers. */
  told(...wanted: readonly string[]): void {
    const words = this.#events.flatMap((event) => {
      const buffer = event.kind === "add" || event.kind === "used";
      return buffer && event.request !== undefined ? [event.request] : [];
    });
    let at = -1;
    for (const line of wanted) {
      const next = words.indexOf(line, at + 1);
      assert(next > at, `no '${line}' after line ${at} of\n${words.join("\n")}`);
      at = next;
    }
    assertEquals(words.filter((line) => NUMBERS.test(line)), []);
    this.#events.length = 0;
  }

  /** The frames of the trace. */
  get traced(): Uint8Array[] {
    return this.#events.flatMap((event) =>
      event.kind === "used" && event.frame !== undefined ? [event.frame] : []
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.bus[Symbol.asyncDispose]();
    await this.machine[Symbol.asyncDispose]();
  }
}

Deno.test("trace words: crypto: sessions, algorithms and statuses by name", async () => {
  await using rig = await Rig.open(new CryptoDevice(), cryptoDriver);
  const { driver } = rig;
  const [key, iv, block] = [new Uint8Array(32), new Uint8Array(16), new Uint8Array(32)];
  {
    await using cipher = await driver.cipher(CryptoCipher.AES_CBC, key, SOON);
    await cipher.encrypt(iv, block, SOON);
    await cipher.decrypt(iv, block, SOON);
  }
  rig.told(
    "crypto CIPHER CREATE AES_CBC",
    "crypto CIPHER CREATE AES_CBC: OK, session 1",
    "crypto CIPHER ENCRYPT session 1, 120 bytes",
    "crypto CIPHER ENCRYPT session 1, 120 bytes: OK",
    "crypto CIPHER DECRYPT session 2, 120 bytes: OK",
    "crypto CIPHER DESTROY session 1: OK",
  );
  await using hash = await driver.hash(CryptoHash.SHA_256, SOON);
  await hash.digest(block, SOON);
  await using mac = await driver.mac(CryptoMac.HMAC_SHA_256, key, SOON);
  await mac.digest(block, SOON);
  await using aead = await driver.aead(CryptoAead.GCM, key, { ...SOON, stateless: true });
  await aead.encrypt(new Uint8Array(12), block, new Uint8Array(0), SOON);
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 1024 });
  const der = privateKey.export({ format: "der", type: "pkcs1" }) as Uint8Array<ArrayBuffer>;
  const rsa = { type: CryptoKeyType.PRIVATE, der, size: 128 };
  const signing = { padding: CryptoRsaPadding.PKCS1, hash: CryptoRsaHash.SHA256 };
  await using signer = await driver.rsa(rsa, { ...SOON, ...signing });
  await signer.sign(block, SOON);
  rig.told(
    "crypto HASH CREATE SHA_256",
    "crypto HASH session 3, 64 bytes: OK",
    "crypto MAC CREATE HMAC_SHA_256: OK, session 4",
    "crypto AEAD ENCRYPT GCM without a session, 132 bytes: OK",
    "crypto AKCIPHER CREATE RSA: OK, session 5",
    "crypto AKCIPHER SIGN session 5, 64 bytes: OK",
  );
  const chain = {
    cipher: { algo: CryptoCipher.AES_CBC, key },
    mac: { algo: CryptoMac.HMAC_SHA_256, key },
  };
  await using chained = await driver.chain(chain, SOON);
  await chained.encrypt(iv, block, SOON);
  rig.told(
    "crypto CIPHER CREATE AES_CBC chained with a hash: OK, session 6",
    "crypto CIPHER ENCRYPT session 6, 120 bytes: OK",
  );
});

Deno.test("trace words: gpu: resources, displays, blobs and pointers", async () => {
  const model = new GpuDevice({ displays: [{ width: 800, height: 600 }], blob: true });
  await using rig = await Rig.open(model, gpuDriver);
  const { driver } = rig;
  await driver.displays(SOON);
  await driver.edid(0, SOON);
  {
    await using picture = await driver.create(800, 600, SOON);
    await driver.setScanout(0, picture, undefined, SOON);
    await driver.uuid(picture, SOON);
  }
  {
    await using pointer = await driver.create(64, 64, { ...SOON, blob: false });
    await pointer.flush(undefined, SOON);
    await driver.setCursor(0, { x: 5, y: 6 }, pointer, { x: 1, y: 2 }, SOON);
    await driver.moveCursor(0, { x: 7, y: 8 }, SOON);
  }
  rig.told(
    "gpu GET_DISPLAY_INFO fence 1: OK_DISPLAY_INFO",
    "gpu GET_EDID scanout 0 fence 2: OK_EDID",
    "gpu RESOURCE_CREATE_BLOB resource 1 GUEST 2 ranges, 1920000 bytes fence 3: OK_NODATA",
    "gpu SET_SCANOUT_BLOB scanout 0 resource 1 B8G8R8X8 800x600 fence 4: OK_NODATA",
    "gpu RESOURCE_ASSIGN_UUID resource 1 fence 5: OK_RESOURCE_UUID",
    "gpu RESOURCE_UNREF resource 1 fence 6: OK_NODATA",
    "gpu RESOURCE_CREATE_2D resource 2 B8G8R8X8 64x64 fence 7: OK_NODATA",
    "gpu RESOURCE_ATTACH_BACKING resource 2 1 range fence 8: OK_NODATA",
    "gpu TRANSFER_TO_HOST_2D resource 2 64x64+0+0 from byte 0 fence 9: OK_NODATA",
    "gpu RESOURCE_FLUSH resource 2 64x64+0+0 fence 10: OK_NODATA",
    "gpu UPDATE_CURSOR scanout 0 resource 2 at 5,6 hot spot 1,2",
    "gpu MOVE_CURSOR scanout 0 at 7,8",
  );
});

Deno.test("trace words: scsi: commands with their blocks, sense data, task management, events", async () => {
  const units = [{ target: 0, disk: new MemoryDisk(4096 * 512) }];
  const model = new ScsiDevice({ units });
  await using rig = await Rig.open(model, scsiDriver);
  const unit = rig.driver.unit(0);
  await unit.serial(SOON);
  await unit.capacity(SOON);
  await unit.read(8, 4, SOON);
  await unit.writeSame(16, 64, new Uint8Array(512), SOON);
  await unit.unmap([{ block: 32, count: 8 }], SOON);
  await unit.writeProtected(SOON);
  await unit.read(4096, 1, SOON).catch(() => {});
  await rig.driver.manage(ScsiTaskManagement.LOGICAL_UNIT_RESET, unit, 0, SOON);
  rig.told(
    "scsi INQUIRY lun 0:0 page 0x80",
    "scsi READ_CAPACITY_10 lun 0:0: OK, GOOD",
    "scsi READ_10 lun 0:0 block 8 4 blocks: OK, GOOD",
    "scsi WRITE_SAME_10 lun 0:0 block 16 64 blocks: OK, GOOD",
    "scsi UNMAP lun 0:0 block 32 8 blocks: OK, GOOD",
    "scsi MODE_SENSE_10 lun 0:0 page 0x3f: OK, GOOD",
    "scsi READ_10 lun 0:0 block 4096 1 block: OK, CHECK_CONDITION ILLEGAL REQUEST 0x21/0x00",
    "scsi LOGICAL_UNIT_RESET lun 0:0: OK",
  );
});

Deno.test("trace words: 9p: names, fids, extended attributes, locks and errors", async () => {
  const tree = new MemoryTree({ "a": "one", "d/b": "two" });
  await using rig = await Rig.open(new P9Device({ tree, messageSize: 8192 }), p9Driver);
  await using root = await rig.driver.attach(SOON);
  await root.setXattr("a", "user.v", new Uint8Array(3), SOON);
  await root.getXattr("a", "user.v", SOON);
  await root.link("a", "c", SOON);
  await root.mkdir("e'\n", SOON);
  {
    await using file = await root.open("d/b", P9OpenFlag.READ_WRITE, SOON);
    await file.lock({ type: "write", length: 8 }, SOON);
    await file.getLock({ type: "read", owner: 2 }, SOON);
  }
  await root.stat("none", SOON).catch(() => {});
  rig.told(
    "9p Tversion tag 65535 msize 262168 '9P2000.L'",
    "9p Rversion tag 65535 msize 8192 '9P2000.L'",
    "9p Tattach tag 0 fid 1 afid none user '' tree ''",
    "9p Txattrcreate tag 0 fid 2 'user.v' size 3",
    "9p Twrite tag 0 fid 2 offset 0 count 3",
    "9p Rwrite tag 0 count 3",
    "9p Txattrwalk tag 0 fid 2 to fid 3 'user.v'",
    "9p Rxattrwalk tag 0 size 3",
    "9p Tlink tag 0 directory fid 3 fid 2 'c'",
    "9p Tmkdir tag 0 fid 2 'e\\u0027\\u000a' mode 0o755 gid none",
    "9p Twalk tag 0 fid 1 to fid 2 'd'/'b'",
    "9p Rwalk tag 0 qids 2",
    "9p Tlopen tag 0 fid 2 READ_WRITE",
    "9p Tlock tag 0 fid 2 WRITE start 0 length 8 process 0 client 'vireo'",
    "9p Rlock tag 0 SUCCESS",
    "9p Tgetlock tag 0 fid 2 READ start 0 length 0 process 2 client 'vireo'",
    "9p Rgetlock tag 0 WRITE start 0 length 8 process 0 client 'vireo'",
    "9p Rlerror tag 0 ENOENT",
  );
});

Deno.test("trace words: blk: zones, where data was appended, and how many were reported", async () => {
  const disk = new MemoryDisk(8 * 64 * 512);
  const model = new BlkDevice({ disk, zoned: { zoneSectors: 64, conventional: 1 } });
  await using rig = await Rig.open(model, blkDriver);
  const zones = rig.driver.zones!;
  await zones.open(64, SOON);
  await zones.append(64, new Uint8Array(1024), SOON);
  await zones.append(64, new Uint8Array(512), SOON);
  await zones.report(0, SOON);
  await zones.finish(64, SOON);
  await zones.reset(64, SOON);
  await zones.resetAll(SOON);
  rig.told(
    "blk ZONE_OPEN zone at 64: OK",
    "blk ZONE_APPEND zone at 64 2 sectors: OK, at sector 64",
    "blk ZONE_APPEND zone at 64 1 sectors: OK, at sector 66",
    "blk ZONE_REPORT zone at 0: OK, 8 zones",
    "blk ZONE_FINISH zone at 64: OK",
    "blk ZONE_RESET zone at 64: OK",
    "blk ZONE_RESET_ALL: OK",
  );
});

/** The kernel's end of a wire, which the test has in its hand. */
function frame(length: number): Uint8Array {
  const bytes = new Uint8Array(length).fill(7);
  bytes.set([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5]);
  return bytes;
}

Deno.test("trace words: net: control commands with what they set; a frame in several buffers is one", async () => {
  const hub = new Hub();
  const peer = hub.port();
  // Interrupts that are held back come at once.
  const timer = (_: number, fire: () => void): () => void => {
    queueMicrotask(fire);
    return () => {};
  };
  const options = { hashReport: true, queuePairs: 2, mtu: 9000, mac: "02:00:00:00:00:01", timer };
  const model = new NetDevice({ backend: hub.port() as NetBackend, ...options });
  await using rig = await Rig.open(model, createNetDriver({ pairs: 2 }));
  const net = rig.driver;
  await net.setPromiscuous(true, SOON);
  await net.setMac(Uint8Array.of(2, 0, 0, 0, 0, 1), SOON);
  await net.setMacTable([Uint8Array.of(2, 0, 0, 0, 0, 3)], [], SOON);
  await net.addVlan(5, SOON);
  await net.setPairs(1, SOON);
  await net.setRss({ ...SOON, types: 3, table: [0, 1], key: new Uint8Array(40) });
  await net.setHash({ ...SOON, types: 1, key: new Uint8Array(40) });
  await net.setGuestOffloads([NetFeature.GUEST_CSUM, NetFeature.GUEST_TSO4], SOON);
  await net.setCoalescing("rx", { ...SOON, maxPackets: 16, maxUsecs: 50 });
  await net.setCoalescing("tx", { ...SOON, queue: 1, maxPackets: 1, maxUsecs: 0 });
  await net.coalescing("tx", 1, SOON);
  rig.told(
    "net control RX PROMISC on: OK",
    "net control MAC ADDR_SET 02:00:00:00:00:01: OK",
    "net control MAC TABLE_SET 1 unicast and 0 multicast: OK",
    "net control VLAN ADD 5: OK",
    "net control MQ VQ_PAIRS_SET 1: OK",
    "net control MQ RSS_CONFIG IPV4|TCPV4, table of 2, else queue 0, 2 transmit queues: OK",
    "net control MQ HASH_CONFIG IPV4: OK",
    "net control GUEST_OFFLOADS SET GUEST_CSUM|GUEST_TSO4: OK",
    "net control NOTF_COAL RX_SET 16 packets 50 us: OK",
    "net control NOTF_COAL VQ_SET queue 3 1 packet 0 us: OK",
    "net control NOTF_COAL VQ_GET queue 3: OK, 1 packet 0 us",
  );
  // With hashes the header has 20 bytes, and this frame does not fit into one buffer.
  for (const length of [60, 9000]) {
    const sent = frame(length);
    const got = net.receive(SOON);
    peer.send(sent, 0, length, NO_OFFLOAD);
    peer.flush();
    assertEquals((await got).bytes, sent);
    assertEquals(rig.traced, [sent]);
    if (length === 60) rig.told("net frame of type 0x88b5");
  }
  const buffers = "of 6 buffers";
  rig.told(`net buffer 1 ${buffers} of a frame`, `net frame of type 0x88b5, buffer 6 ${buffers}`);
});

Deno.test("trace words: net: an announcement is acknowledged", async () => {
  const model = new NetDevice({ backend: new Hub().port(), mac: "02:00:00:00:00:01" });
  await using rig = await Rig.open(model, createNetDriver());
  const { promise, resolve } = Promise.withResolvers<void>();
  rig.driver.addEventListener("announce", () => resolve(), { once: true });
  assert(model.announce());
  await promise;
  await rig.driver.setPromiscuous(true, SOON);
  rig.told("net control ANNOUNCE ACK: OK");
});

Deno.test("trace words: vsock: sequenced packets, ends of messages and records, shutdown", async () => {
  const host = { connect: () => new TransformStream<Uint8Array, Uint8Array>() };
  await using rig = await Rig.open(new VsockDevice({ cid: 42, host }), vsockDriver);
  {
    const type = VsockType.SEQPACKET;
    await using connection = await rig.driver.connect(7, { ...SOON, type });
    const [writer, reader] = [connection.writable.getWriter(), connection.readable.getReader()];
    await writer.write(new VsockRecord([1, 2]));
    await reader.read();
    await writer.close();
  }
  rig.told(
    "vsock REQUEST SEQPACKET 42:1024 > 2:7 0 bytes",
    "vsock RESPONSE SEQPACKET 2:7 > 42:1024 0 bytes",
    "vsock RW SEQPACKET 42:1024 > 2:7 2 bytes EOM|EOR",
    "vsock RW SEQPACKET 2:7 > 42:1024 2 bytes EOM|EOR",
    "vsock SHUTDOWN SEQPACKET 42:1024 > 2:7 0 bytes SEND: sent",
  );
});

Deno.test("trace words: balloon, input, rpmsg, caif and serial lines have words of their own", async () => {
  {
    const model = new BalloonDevice();
    await using rig = await Rig.open(model, balloonDriver);
    await rig.driver.resize(256, SOON);
    await rig.driver.resize(0, SOON);
    rig.told("balloon inflate 256 pages: taken", "balloon deflate 256 pages: taken");
  }
  {
    const model = new InputDevice(INPUT_PRESETS.keyboard);
    await using rig = await Rig.open(model, inputDriver);
    using events = rig.driver.events(SOON);
    model.tap(47);
    await events.next();
    await rig.driver.send(InputType.LED, 0, 1, SOON);
    rig.told(
      "input KEY code 47 value 1",
      "input SYN REPORT",
      "input LED code 0 value 1: taken",
    );
  }
  {
    const service = { name: "echo", address: 0x400, handle: () => {} };
    await using rig = await Rig.open(new RpmsgDevice({ services: [service] }), rpmsgDriver);
    const { address } = await rig.driver.channel("echo", SOON);
    using endpoint = rig.driver.endpoint({ remote: address });
    await endpoint.send(Uint8Array.of(1), SOON);
    rig.told("rpmsg name CREATE 'echo' at 1024", "rpmsg message 1024 > 1024 1 byte: sent");
  }
  {
    const model = new CaifDevice({ onFrame: (frame, self) => self.send(frame) });
    await using rig = await Rig.open(model, caifDriver);
    await rig.driver.send(new Uint8Array(100), SOON);
    await rig.driver.receive(SOON);
    rig.told("caif frame in 164 bytes: sent", "caif frame in 164 bytes: received");
  }
  {
    await using rig = await Rig.open(new RprocSerialDevice(loopbackPort()), rprocSerialDriver);
    using port = (await rig.driver.port(0, SOON)).open();
    await port.writeText("hello", SOON);
    await port.read(SOON);
    rig.told("rproc serial 5 bytes", "rproc serial 5 bytes: taken");
  }
});
