import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  blkDriver,
  Bus,
  consoleDriver,
  type DriverInstance,
  type Net,
  netDriver,
  rngDriver,
  scsiDriver,
  type VirtioDevice,
  type VirtioDriver,
  vsockDriver,
} from "@vireo/drivers";
import { DeviceId, Feature, FeatureSet, VireoError } from "@vireo/hal";
import { VhostUserPlatform } from "@vireo/hal/vhost-user";
import { NetDevice } from "@vireo/emu/net";
import { Accept, type FrameSink, type NetBackend, type Offload } from "@vireo/emu/backends";
import { type ServerEvent, VhostUserServer } from "@vireo/emu/vhost-user";
import { QEMU_DIFFERENCES, qemuVersion } from "../qemu/mod.ts";
import { ping } from "../../firmware/ip/ping.ts";
import { checkIntegrity } from "../blk/random_io.ts";
import { noise } from "../noise.ts";
import { startDaemon, storageDaemon, temporaryFolder } from "../vhost_user/daemon.ts";
import { LinuxRig } from "../vhost_user/linux_rig.ts";
import { compareByFio } from "./fio.ts";
import {
  debianKernel,
  type Found,
  guestTools,
  isFile,
  type Program,
  rustDaemon,
  testpmd,
} from "./install.ts";

/** Milliseconds that an answer may take. */
const deadline = 30_000;
const MIB = 1024 * 1024;

/** Something that is shown with a peer. */
interface Row {
  /** The peer, and what is shown. */
  readonly name: string;
  /** Shows it. @returns Figures; or why it cannot be had. */
  run(): Promise<Found<string>>;
}

/** How to drive a device of another process. */
interface DeviceOptions {
  /** Features that are not accepted. */
  readonly filter?: FeatureSet;
  /** Queue pairs of a network device. */
  readonly pairs?: number;
}

/** A device of another process with a driver of ours. */
async function withDevice<T extends DriverInstance>(
  driver: VirtioDriver<T>,
  path: string,
  use: (instance: T, device: VirtioDevice) => Promise<string>,
  { filter = FeatureSet.NONE, pairs }: DeviceOptions = {},
): Promise<string> {
  const deviceId = driver.ids[0]!.device as number;
  await using platform = new VhostUserPlatform({ devices: [{ deviceId, path }], pairs });
  await using bus = new Bus({ filter });
  await bus.registerDriver(driver);
  const [device] = await bus.addPlatform(platform);
  assertEquals(bus.slotErrors, []);
  if (device!.error !== undefined) throw device!.error;
  return await use(device!.instance as T, device!);
}

const RINGS: readonly (readonly [string, readonly number[]])[] = [
  ["split", [Feature.RING_PACKED, Feature.IN_ORDER]],
  ["split, in order", [Feature.RING_PACKED]],
  ["packed", [Feature.IN_ORDER]],
  ["packed, in order", []],
];

/** Frames to testpmd, which swaps their addresses: each comes back once, with its contents, on its queue pair. */
async function macswap(net: Net, count: number): Promise<string> {
  const pairs = net.queuePairs;
  const peer = [2, 0, 0, 0, 0, 9];
  const seen = new Uint8Array(count);
  const began = performance.now();
  let sent = 0;
  let back = 0;
  const frame = (i: number): Uint8Array => {
    const bytes = new Uint8Array(60 + i * 13 % 1440).fill(i);
    bytes.set(peer, 0);
    bytes.set(net.mac, 6);
    bytes.set([0x88, 0xb5], 12);
    new DataView(bytes.buffer).setUint32(14, i);
    return bytes;
  };
  while (back < count) {
    while (sent < count && sent - back < 64) {
      await net.send(frame(sent), { deadline, queue: sent % pairs });
      sent++;
    }
    const { bytes, queue } = await net.receive({ deadline });
    if (bytes[12] !== 0x88 || bytes[13] !== 0xb5) continue;
    const i = new DataView(bytes.buffer, bytes.byteOffset).getUint32(14);
    const expected = frame(i);
    expected.set(net.mac, 0);
    expected.set(peer, 6);
    assertEquals(bytes, expected);
    assertEquals([seen[i]!++, queue], [0, i % pairs]);
    back++;
  }
  return `${count} frames back, ${Math.round(count / (performance.now() - began))} thousand/s`;
}

/** Arguments of testpmd besides its device. */
function testpmdArgs(device: string, mode: string, pairs: number, mbufs: number): string[] {
  return [
    ...["--no-huge", "-m", "256", "--no-pci", "--no-shconf", "--no-telemetry", "-l", "0,1"],
    ...["--vdev", device, "--", `--total-num-mbufs=${mbufs}`, "--no-mlockall"],
    ...[`--forward-mode=${mode}`, `--rxq=${pairs}`, `--txq=${pairs}`],
  ];
}

/** Modes of testpmd, and how each is shown. */
const MODES = {
  macswap: (net: Net) => macswap(net, 50_000),
  async icmpecho(net: Net): Promise<string> {
    const target = { source: "10.0.2.15", target: "10.0.2.2", deadline };
    const { replies } = await ping(net, { ...target, count: 100, size: 1400 });
    assertEquals(replies.length, 100);
    return "ARP answered, 100 pings of 1400 bytes";
  },
} as const;

function dpdkRow(
  [ring, withheld]: typeof RINGS[number],
  pairs = 1,
  mode: keyof typeof MODES = "macswap",
): Row {
  return {
    name: `DPDK testpmd, ${mode}: our net, ${ring}${severalPairs(pairs)}`,
    async run() {
      const program = await testpmd();
      if ("absent" in program) return program;
      await using folder = temporaryFolder();
      const socket = `${folder.path}/net`;
      await using _daemon = await startDaemon(
        program.path,
        [
          ...testpmdArgs(`net_vhost0,iface=${socket},queues=${pairs}`, mode, pairs, 4096),
          "--auto-start",
        ],
        socket,
        { env: program.env ?? {}, quiet: true },
      );
      const packed = !withheld.includes(Feature.RING_PACKED);
      const inOrder = !withheld.includes(Feature.IN_ORDER);
      return await withDevice(netDriver, socket, async (net, device) => {
        assertEquals([device.has(Feature.RING_PACKED), device.has(Feature.IN_ORDER)], [
          packed,
          inOrder,
        ]);
        assertEquals(net.queuePairs, pairs);
        return await MODES[mode](net);
      }, { filter: FeatureSet.of(...withheld), pairs });
    },
  };
}

function severalPairs(pairs: number): string {
  return pairs === 1 ? "" : `, ${pairs} queue pairs`;
}

/** A wire that says every frame back. */
class Echo implements NetBackend {
  readonly name = "echo";
  readonly accepts = Accept.NONE;
  #sink: FrameSink | undefined;

  connect(sink: FrameSink | undefined): void {
    this.#sink = sink;
  }

  send(bytes: Uint8Array, offset: number, length: number, offload: Offload): void {
    this.#sink?.receive(bytes, offset, length, offload);
  }

  flush(): void {
    this.#sink?.flush();
  }

  [Symbol.dispose](): void {}
}

/** Frames that DPDK's driver sends and gets back; packed and in order, which only it does, so many. */
const FRAMES = 1_000_000;
const MANY_FRAMES = 10_000_000;

/** DPDK's own driver on our network device, whose wire says each frame back: they go round and round. */
function virtioUserRow([ring, withheld]: typeof RINGS[number], pairs = 1): Row {
  return {
    name: `DPDK virtio-user on our served net, ${ring}${severalPairs(pairs)}`,
    async run() {
      const program = await testpmd();
      if ("absent" in program) return program;
      await using folder = temporaryFolder();
      const path = `${folder.path}/net`;
      using model = new NetDevice({ backend: new Echo(), queuePairs: pairs });
      const wrong: ServerEvent[] = [];
      const packed = !withheld.includes(Feature.RING_PACKED);
      const inOrder = !withheld.includes(Feature.IN_ORDER);
      await using server = new VhostUserServer({
        model,
        path,
        offer: { packed, inOrder },
        event: (event) =>
          void (event.kind === "refused" || event.kind === "violation" ? wrong.push(event) : 0),
      });
      const rings = `packed_vq=${packed ? 1 : 0},in_order=${inOrder ? 1 : 0}`;
      await using _daemon = await startDaemon(
        program.path,
        [
          ...testpmdArgs(
            `net_virtio_user0,path=${path},queues=${pairs},${rings}`,
            "io",
            pairs,
            8192,
          ),
          "--tx-first",
        ],
        path,
        { env: program.env ?? {}, quiet: true },
      );
      const { hosted } = server.device;
      const { stats } = model;
      const frames = packed && inOrder ? MANY_FRAMES : FRAMES;
      let began: number | undefined;
      while (stats.rxFrames < frames) {
        if (stats.rxFrames > 0) began ??= performance.now();
        await new Promise((resolve) => setTimeout(resolve, 20));
        if (wrong.length > 0) throw new Error(JSON.stringify(wrong));
      }
      assertEquals([
        hosted.features.has(Feature.RING_PACKED),
        hosted.features.has(Feature.IN_ORDER),
      ], [
        packed,
        inOrder,
      ]);
      assertEquals((model.snapshot() as { readonly pairs: number }).pairs, pairs);
      const rate = Math.round(frames / (performance.now() - began!));
      return `${frames} frames there and back, ${rate} thousand/s each way`;
    },
  };
}

/** Virtio device ids for which there is no driver. */
const SOUND = 25;
const FS = 26;

/** A device for which there is no driver: its back end is greeted, and says what it offers. */
async function greet(
  deviceId: number,
  path: string,
  look: (device: VirtioDevice) => string = () => "",
): Promise<string> {
  await using platform = new VhostUserPlatform({ devices: [{ deviceId, path }] });
  await using bus = new Bus();
  const [device] = await bus.addPlatform(platform);
  assertEquals(bus.slotErrors, []);
  const offered = device!.transport.readFeatures();
  assert(offered.has(Feature.VERSION_1));
  return `features ${[...offered].join(" ")}${look(device!)}`;
}

/** The daemon of shared folders: QEMU's own before 8, a program of its own since. */
function virtiofsdRow(): Row {
  return {
    name: "virtiofsd: a greeting",
    async run() {
      const old = "/usr/lib/qemu/virtiofsd";
      const path = [old, "/usr/libexec/virtiofsd"].find(isFile);
      if (path === undefined) return { absent: "neither QEMU nor Debian's virtiofsd has it here" };
      await using folder = temporaryFolder();
      const socket = `${folder.path}/fs`;
      const shared = path === old ? ["-o", `source=${folder.path}`] : ["--shared-dir", folder.path];
      const args = [`--socket-path=${socket}`, ...shared];
      await using _daemon = await startDaemon(path, args, socket, { quiet: true });
      return await greet(FS, socket);
    },
  };
}

/** A row of a daemon that is compiled; its socket has `0` behind its name where it says so. */
function rustRow(
  name: string,
  what: string,
  args: (folder: string, socket: string) => readonly string[],
  use: (folder: string, socket: string) => Promise<string>,
  suffix = "",
): Row {
  return {
    name: `${name}: ${what}`,
    async run() {
      const program: Found<Program> = await rustDaemon(name);
      if ("absent" in program) return program;
      await using folder = temporaryFolder();
      const socket = `${folder.path}/device`;
      await using _daemon = await startDaemon(
        program.path,
        args(folder.path, socket),
        `${socket}${suffix}`,
        { quiet: true },
      );
      return await use(folder.path, `${socket}${suffix}`);
    },
  };
}

/** Streams at a time, and MiB of each, both ways. */
const STREAMS = 8;
const STREAM_SIZE = 64;

/** Guest to host: each stream goes to a socket of the host that says it back. */
async function vsockOut(folder: string, socket: string): Promise<string> {
  using listener = Deno.listen({ transport: "unix", path: `${folder}/uds_7` });
  void (async () => {
    for await (const { readable, writable } of listener) {
      void readable.pipeTo(writable).catch(() => {});
    }
  })();
  return await withDevice(vsockDriver, socket, async (vsock) => {
    const began = performance.now();
    await Promise.all(Array.from({ length: STREAMS }, async (_, i) => {
      await using connection = await vsock.connect(7, { deadline });
      await echoed(connection, i);
    }));
    return rate(began, 2 * STREAMS * STREAM_SIZE);
  });
}

/** Host to guest: a listener of our driver says everything back. */
async function vsockIn(folder: string, socket: string): Promise<string> {
  return await withDevice(vsockDriver, socket, async (vsock) => {
    using listener = vsock.listen(9);
    void (async () => {
      for await (const { readable, writable } of listener) {
        void readable.pipeTo(writable).catch(() => {});
      }
    })();
    const began = performance.now();
    await Promise.all(Array.from({ length: STREAMS }, async (_, i) => {
      using connection = await Deno.connect({ transport: "unix", path: `${folder}/uds` });
      await connection.write(new TextEncoder().encode("CONNECT 9\n"));
      const answer = new Uint8Array(64);
      const length = await connection.read(answer) ?? 0;
      assert(new TextDecoder().decode(answer.subarray(0, length)).startsWith("OK "));
      await echoed(connection, i, AHEAD);
    }));
    return rate(began, 2 * STREAMS * STREAM_SIZE);
  });
}

/**
 * Bytes that the host may be ahead of what came back, below the room that our driver has. vhost-device-vsock 0.3.0
 * flushes what a guest sent only when its socket has nothing to read (`handle_event`: `evset` is EPOLLOUT alone). If
 * the host always has more, and the guest no room because its answers wait there, both ask for credit for ever.
 */
const AHEAD = 128 << 10;

/** Sends noise, and takes as much back; sends at most so many bytes ahead of what came back. */
async function echoed(
  { readable, writable }: {
    readonly readable: ReadableStream<Uint8Array>;
    readonly writable: WritableStream<Uint8Array>;
  },
  seed: number,
  ahead = Infinity,
): Promise<void> {
  const block = noise(MIB, seed + 1);
  const writer = writable.getWriter();
  const chunk = Math.min(MIB, ahead / 2);
  let got = 0;
  let came = Promise.withResolvers<void>();
  const sending = (async () => {
    for (let sent = 0; sent < STREAM_SIZE * MIB; sent += chunk) {
      while (sent + chunk > got + ahead) await came.promise;
      await writer.write(block.slice(sent % MIB, sent % MIB + chunk));
    }
  })();
  const reader = readable.getReader();
  while (got < STREAM_SIZE * MIB) {
    const { value, done } = await reader.read();
    assert(!done, `the stream ended after ${got} bytes`);
    for (let at = 0; at < value.length;) {
      const place = (got + at) % MIB;
      const length = Math.min(value.length - at, MIB - place);
      assert(same(value.subarray(at, at + length), block.subarray(place, place + length)));
      at += length;
    }
    got += value.length;
    came.resolve();
    came = Promise.withResolvers();
  }
  await sending;
  reader.releaseLock();
  writer.releaseLock();
}

function same(a: Uint8Array, b: Uint8Array): boolean {
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return a.length === b.length;
}

function rate(began: number, size: number): string {
  const seconds = (performance.now() - began) / 1000;
  return `${size} MiB in ${STREAMS} streams, ${Math.round(size / seconds)} MiB/s`;
}

function storageRow(name: string, program: string): Row {
  return {
    name: `${name}: our blk, random requests against a model of the disk, then its image`,
    async run() {
      await using folder = temporaryFolder();
      const image = `${folder.path}/disk.img`;
      await Deno.writeFile(image, new Uint8Array(8 * MIB));
      await using daemon = await storageDaemon(image, `${folder.path}/blk`, 2, program);
      const devices = [{ deviceId: DeviceId.BLOCK, path: daemon.socket }];
      const { bytes, reads, writes, resets } = await checkIntegrity({
        platform: () => new VhostUserPlatform({ devices }),
        total: 256 * MIB,
        seed: 5,
        upsets: 8,
        // It ends when a reset comes while a request is under way.
        resetsIdle: true,
      });
      const whole = await withDevice(blkDriver, daemon.socket, async (blk) => {
        await blk.flush({ deadline });
        assertEquals(await blk.read(0, 8 * MIB, { deadline }), await Deno.readFile(image));
        return "the image is what the driver reads";
      });
      return `${
        bytes / MIB | 0
      } MiB by ${reads} reads and ${writes} writes, ${resets} resets; ${whole}`;
    },
  };
}

/** Nothing waits for these guests. */
const patient = true;

/** A QEMU by its version, and its program. */
type Qemu = readonly [name: string, program: string];

/** Debian's kernel in QEMU with its own drivers on our served devices. */
function linuxRow([name, qemu]: Qemu): Row {
  return {
    name: `Linux 6.1 in ${name}: our served blk, net, rng, scsi, vsock; two boots and a reboot`,
    async run() {
      await using rig = await LinuxRig.start(512);
      const work = { files: 32, rawAt: 192, raw: 64, tcp: 16, vsock: 4096 };
      const first = await rig.boot({ ...work, reboot: true }, { qemu, patient });
      await rig.boot({ ...work, files: 16, raw: 8, reboot: false }, { qemu, patient });
      const raw = first.find(({ step }) => step === "raw")!;
      const tcp = first.find(({ step }) => step === "tcp")!;
      return `disk ${raw["write"]} MiB/s written, ${raw["read"]} read, TCP ${tcp["rate"]}`;
    },
  };
}

/** A file system that is as large as one in use. */
function filesRow([name, qemu]: Qemu): Row {
  return {
    name:
      `Linux 6.1 in ${name}: 1 GiB of files on ext4 on our served blk, resize, fsck, device_del`,
    async run() {
      await using rig = await LinuxRig.start(1536);
      const work = { files: 1024, rawAt: 1280, raw: 8, tcp: 1, vsock: 64 };
      const steps = await rig.boot({ ...work, unplug: true, reboot: false }, { qemu, patient });
      const { size } = steps.find(({ step }) => step === "files")!;
      return `${size} MiB written and read, a clean file system, the disk unplugged and plugged`;
    },
  };
}

/** Programs of others in the guest: fio's checksums, DHCP at both ends, and several queue pairs. */
function toolsRow([name, qemu]: Qemu): Row {
  return {
    name:
      `Linux 6.1 in ${name}: fio --verify on our served blk, udhcpc and 4 queue pairs on our net`,
    async run() {
      const tools = await guestTools();
      if ("absent" in tools) return tools;
      const pairs = 4;
      await using rig = await LinuxRig.start(512, { pairs, tools, ring: 1024 });
      const work = { files: 16, rawAt: 192, raw: 8, tcp: 32, streams: 8, vsock: 4096 };
      const steps = await rig.boot({ ...work, fio: 64, reboot: false }, { qemu, patient });
      const tcp = steps.find(({ step }) => step === "tcp")!;
      const { address } = steps.find(({ step }) => step === "dhcp")!;
      // Without vectors nobody can tell which queue an interrupt is of.
      const vectors = majorOf(qemu) >= QEMU_DIFFERENCES.FRONT_END_VECTORS.major;
      if (vectors) assertEquals(tcp["busy"], pairs);
      return `${work.streams} streams by TCP over ${pairs} pairs of 1024 entries ${
        tcp["rate"]
      } MiB/s, lease of ${address}`;
    },
  };
}

/** The speed of disks, in one guest. */
function speedRow([name, qemu]: Qemu): Row {
  return {
    name:
      `Linux 6.1 in ${name}: fio on our served blk, qemu-storage-daemon and QEMU's own, by turns`,
    async run() {
      const tools = await guestTools();
      if ("absent" in tools) return tools;
      return await compareByFio(tools, qemu, qemu.replace(/system-x86_64$/, "storage-daemon"));
    },
  };
}

/** A processor without CMPXCHG16B: in the TCG of 7.2 the newer kernel panics by it, each time somewhere else. */
const WITHOUT_CX16 = "max,-erms,-fsrm,-cx16";

/** The same with the kernel of Debian 13. */
function newerLinuxRow([name, qemu]: Qemu): Row {
  return {
    name: `Linux 6.12 in ${name}: our served blk, net, rng, scsi, vsock`,
    async run() {
      const kernel = await debianKernel("6.12");
      if ("absent" in kernel) return kernel;
      await using rig = await LinuxRig.start(512);
      const work = { files: 96, rawAt: 192, raw: 64, tcp: 16, vsock: 4096, reboot: false };
      const cpu = majorOf(qemu) < 10 ? WITHOUT_CX16 : undefined;
      const steps = await rig.boot(work, { qemu, kernel, cpu, patient });
      const { release } = steps.find(({ step }) => step === "kernel")!;
      const raw = steps.find(({ step }) => step === "raw")!;
      return `${release}, disk ${raw["write"]} MiB/s written, ${raw["read"]} read`;
    },
  };
}

/** A picture and a key, with the kernels that have the drivers of a desktop. */
function desktopRow(release: "6.1" | "6.12", [name, qemu]: Qemu): Row {
  return {
    name: `Linux ${release} in ${name}: a picture on our served gpu, a key of our input`,
    async run() {
      if (majorOf(qemu) < 10) {
        return { absent: "its front ends of gpu and input start with KVM only" };
      }
      const kernel = await debianKernel(`${release} full`);
      if ("absent" in kernel) return kernel;
      await using rig = await LinuxRig.start(128, { desktop: true });
      const work = { files: 8, rawAt: 64, raw: 8, tcp: 1, vsock: 64, reboot: false };
      const steps = await rig.boot(work, { qemu, kernel, patient });
      const { width, height, name } = steps.find(({ step }) => step === "drawn")!;
      return `${width} by ${height} pixels of ${name} are what was drawn`;
    },
  };
}

function majorOf(qemu: string): number {
  return qemuVersion(qemu)?.major ?? 0;
}

/** Rows that are shown, the quickest first. */
export function rows(qemus: readonly (readonly [string, string])[]): Row[] {
  const systems = qemus.map(([name, folder]): Qemu => [
    `QEMU ${name}`,
    `${folder}qemu-system-x86_64`,
  ]);
  return [
    ...qemus.map(([name, folder]) =>
      storageRow(`qemu-storage-daemon ${name}`, `${folder}qemu-storage-daemon`)
    ),
    ...RINGS.map((ring) => dpdkRow(ring)),
    ...[RINGS[0]!, RINGS[3]!].map((ring) => dpdkRow(ring, 4)),
    ...[RINGS[0]!, RINGS[2]!, RINGS[3]!].map((ring) => dpdkRow(ring, 1, "icmpecho")),
    ...RINGS.map((ring) => virtioUserRow(ring)),
    virtioUserRow(RINGS[0]!, 2),
    rustRow(
      "vhost-device-rng",
      "our rng, 1 MiB",
      (_, socket) => ["--socket-path", socket, "--max-bytes", "1000000000"],
      (_, socket) =>
        withDevice(rngDriver, socket, async (rng) => {
          const bytes = await rng.read(MIB, { deadline });
          const counts = new Uint32Array(256);
          for (const byte of bytes) counts[byte]!++;
          // 4096 of each are expected; 6 standard deviations either way.
          assert(counts.every((count) => Math.abs(count - 4096) < 384));
          return `${bytes.length} bytes, each value ${Math.min(...counts)} to ${
            Math.max(...counts)
          } times`;
        }),
      "0",
    ),
    rustRow(
      "vhost-device-scsi",
      "our scsi, an image read whole",
      (folder, socket) => {
        Deno.writeFileSync(`${folder}/image`, noise(4 * MIB, 23));
        return ["--socket-path", socket, "--read-only", `${folder}/image`];
      },
      (folder, socket) =>
        withDevice(scsiDriver, socket, async (scsi) => {
          const [unit] = await scsi.units({ deadline });
          const image = await Deno.readFile(`${folder}/image`);
          for (let block = 0; block < image.length / 512; block += 256) {
            const data = await unit!.read(block, 256, { deadline });
            assertEquals(data, image.subarray(block * 512, (block + 256) * 512));
          }
          return `${image.length / MIB} MiB`;
        }),
    ),
    rustRow(
      "vhost-device-console",
      "our console, bytes both ways",
      (_, socket) => ["--socket-path", socket, "--backend", "network", "--tcp-port", "12399"],
      (_, socket) =>
        withDevice(consoleDriver, socket, async (console) => {
          using host = await Deno.connect({ hostname: "127.0.0.1", port: 12399 });
          using port = (await console.port(0, { deadline })).open();
          await port.write(new TextEncoder().encode("to the host"), { deadline });
          const got = new Uint8Array(64);
          const length = await host.read(got) ?? 0;
          assertEquals(new TextDecoder().decode(got.subarray(0, length)), "to the host");
          for (const byte of [0x61, 0x62, 0x63]) {
            await host.write(Uint8Array.of(byte));
            assertEquals(await port.read({ deadline }), Uint8Array.of(byte));
          }
          // Of several bytes at once it returns the same buffer once for each: which lie is seen first is its timing's.
          const lie = assertRejects(async () => {
            for (;;) await port.read({ deadline });
          }, VireoError);
          await host.write(new TextEncoder().encode("to the guest"));
          const { code } = await lie;
          assert(code === "USED_INDEX_JUMP" || code === "USED_ID_NOT_IN_FLIGHT", code);
          return "bytes one by one; it returns a buffer of several bytes once for each: a typed error";
        }),
      "0",
    ),
    ...[["guest to host", vsockOut], ["host to guest", vsockIn]].map(([way, use]) =>
      rustRow(
        "vhost-device-vsock",
        `our vsock, ${way}, ${STREAMS} streams at once`,
        (folder, socket) => ["--guest-cid", "3", "--socket", socket, "--uds-path", `${folder}/uds`],
        use as typeof vsockOut,
      )
    ),
    rustRow(
      "vhost-device-sound",
      "a greeting",
      (_, socket) => ["--socket", socket, "--backend", "null"],
      (_, socket) =>
        greet(SOUND, socket, ({ config }) => {
          const [jacks, streams, maps] = [0, 4, 8].map((offset) => config.read32(offset));
          assert(streams! > 0);
          return `, ${jacks} jacks, ${streams} streams, ${maps} channel maps`;
        }),
    ),
    virtiofsdRow(),
    ...systems.map(linuxRow),
    ...systems.map(filesRow),
    ...systems.map(toolsRow),
    ...systems.map(speedRow),
    ...systems.map(newerLinuxRow),
    ...systems.flatMap((qemu) => [desktopRow("6.1", qemu), desktopRow("6.12", qemu)]),
  ];
}
