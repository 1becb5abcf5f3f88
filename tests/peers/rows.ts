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
import { checkIntegrity } from "../blk_integrity.ts";
import { noise } from "../noise.ts";
import { startDaemon, storageDaemon, temporaryFolder } from "../vhost_user/daemon.ts";
import { LinuxRig } from "../vhost_user/linux_rig.ts";
import {
  type Found,
  guestTools,
  newerKernel,
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

/** A device of another process with a driver of ours. */
async function withDevice<T extends DriverInstance>(
  driver: VirtioDriver<T>,
  path: string,
  use: (instance: T, device: VirtioDevice) => Promise<string>,
  filter: FeatureSet = FeatureSet.NONE,
): Promise<string> {
  const deviceId = driver.ids[0]!.device as number;
  await using platform = new VhostUserPlatform({ devices: [{ deviceId, path }] });
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

/** Frames to testpmd, which swaps their addresses: each comes back once, with its contents. */
async function macswap(net: Net, count: number): Promise<string> {
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
    while (sent < count && sent - back < 64) await net.send(frame(sent++), { deadline });
    const { bytes } = await net.receive({ deadline });
    if (bytes[12] !== 0x88 || bytes[13] !== 0xb5) continue;
    const i = new DataView(bytes.buffer, bytes.byteOffset).getUint32(14);
    const expected = frame(i);
    expected.set(net.mac, 0);
    expected.set(peer, 6);
    assertEquals(bytes, expected);
    assertEquals(seen[i]!++, 0);
    back++;
  }
  return `${count} frames back, ${Math.round(count / (performance.now() - began))} thousand/s`;
}

function dpdkRow([ring, withheld]: typeof RINGS[number]): Row {
  return {
    name: `DPDK testpmd, macswap: our net, ${ring}`,
    async run() {
      const program = await testpmd();
      if ("absent" in program) return program;
      await using folder = temporaryFolder();
      const socket = `${folder.path}/net`;
      await using _daemon = await startDaemon(
        program.path,
        [
          ...["--no-huge", "-m", "256", "--no-pci", "--no-shconf", "--no-telemetry", "-l", "0,1"],
          ...["--vdev", `net_vhost0,iface=${socket},queues=1`, "--", "--total-num-mbufs=4096"],
          ...["--no-mlockall", "--forward-mode=macswap", "--auto-start"],
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
        return await macswap(net, 50_000);
      }, FeatureSet.of(...withheld));
    },
  };
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

/** Frames that DPDK's driver sends and gets back. */
const FRAMES = 10_000_000;

/** DPDK's own driver on our network device, whose wire says each frame back: they go round and round. */
function virtioUserRow([ring, withheld]: typeof RINGS[number], pairs = 1): Row {
  const several = pairs === 1 ? "" : `, ${pairs} queue pairs`;
  return {
    name: `DPDK virtio-user on our served net, ${ring}${several}`,
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
          ...["--no-huge", "-m", "256", "--no-pci", "--no-shconf", "--no-telemetry", "-l", "0,1"],
          ...["--vdev", `net_virtio_user0,path=${path},queues=${pairs},${rings}`, "--"],
          ...["--total-num-mbufs=8192", "--no-mlockall", "--forward-mode=io", "--tx-first"],
          ...[`--rxq=${pairs}`, `--txq=${pairs}`],
        ],
        path,
        { env: program.env ?? {}, quiet: true },
      );
      const { hosted } = server.device;
      const { stats } = model;
      let began: number | undefined;
      while (stats.rxFrames < FRAMES) {
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
      const rate = Math.round(FRAMES / (performance.now() - began!));
      return `${FRAMES} frames there and back, ${rate} thousand/s each way`;
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
      await echoed(connection, i);
    }));
    return rate(began, 2 * STREAMS * STREAM_SIZE);
  });
}

/** Sends noise, and takes as much back. */
async function echoed(
  { readable, writable }: {
    readonly readable: ReadableStream<Uint8Array>;
    readonly writable: WritableStream<Uint8Array>;
  },
  seed: number,
): Promise<void> {
  const block = noise(MIB, seed + 1);
  const writer = writable.getWriter();
  const sending = (async () => {
    for (let i = 0; i < STREAM_SIZE; i++) await writer.write(block.slice());
  })();
  const reader = readable.getReader();
  for (let got = 0; got < STREAM_SIZE * MIB;) {
    const { value, done } = await reader.read();
    assert(!done, `the stream ended after ${got} bytes`);
    for (let at = 0; at < value.length;) {
      const place = (got + at) % MIB;
      const length = Math.min(value.length - at, MIB - place);
      assert(same(value.subarray(at, at + length), block.subarray(place, place + length)));
      at += length;
    }
    got += value.length;
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

/** Debian's kernel in QEMU with its own drivers on our served devices. */
function linuxRow(name: string, qemu: string): Row {
  return {
    name: `Linux 6.1 in ${name}: our served blk, net, rng, scsi, vsock; two boots and a reboot`,
    async run() {
      await using rig = await LinuxRig.start(512);
      const work = { files: 96, rawAt: 192, raw: 64, tcp: 16, vsock: 4096 };
      const first = await rig.boot({ ...work, reboot: true }, qemu);
      await rig.boot({ ...work, files: 16, raw: 8, reboot: false }, qemu);
      const raw = first.find(({ step }) => step === "raw")!;
      const tcp = first.find(({ step }) => step === "tcp")!;
      return `disk ${raw["write"]} MiB/s written, ${raw["read"]} read, TCP ${tcp["rate"]}`;
    },
  };
}

/** Programs of others in the guest: fio's checksums, DHCP at both ends, and several queue pairs. */
function toolsRow(name: string, qemu: string): Row {
  return {
    name:
      `Linux 6.1 in ${name}: fio --verify on our served blk, udhcpc and 4 queue pairs on our net`,
    async run() {
      const tools = await guestTools();
      if ("absent" in tools) return tools;
      const pairs = 4;
      await using rig = await LinuxRig.start(512, { pairs, tools });
      const work = { files: 16, rawAt: 192, raw: 8, tcp: 32, streams: 8, vsock: 4096 };
      const steps = await rig.boot({ ...work, fio: 64, reboot: false }, qemu);
      const tcp = steps.find(({ step }) => step === "tcp")!;
      const { address } = steps.find(({ step }) => step === "dhcp")!;
      // Without vectors nobody can tell which queue an interrupt is of.
      const vectors = (qemuVersion(qemu)?.major ?? 0) >= QEMU_DIFFERENCES.FRONT_END_VECTORS.major;
      if (vectors) assertEquals(tcp["busy"], pairs);
      return `${work.streams} streams by TCP over ${pairs} pairs ${
        tcp["rate"]
      } MiB/s, lease of ${address}`;
    },
  };
}

/** The same with the kernel of Debian 13. */
function newerLinuxRow(name: string, qemu: string): Row {
  return {
    name: `Linux 6.12 in ${name}: our served blk, net, rng, scsi, vsock, input`,
    async run() {
      // It panics in the TCG of 7.2 while it boots, each time somewhere else, before a device is used.
      if ((qemuVersion(qemu)?.major ?? 0) < 10) {
        return { absent: "it panics in this TCG as it boots" };
      }
      const kernel = await newerKernel();
      if ("absent" in kernel) return kernel;
      await using rig = await LinuxRig.start(512, { input: true });
      const work = { files: 96, rawAt: 192, raw: 64, tcp: 16, vsock: 4096, reboot: false };
      const steps = await rig.boot(work, qemu, kernel);
      const { release } = steps.find(({ step }) => step === "kernel")!;
      const raw = steps.find(({ step }) => step === "raw")!;
      return `${release}, disk ${raw["write"]} MiB/s written, ${raw["read"]} read`;
    },
  };
}

/** Rows that are shown, the quickest first. */
export function rows(qemus: readonly (readonly [string, string])[]): Row[] {
  return [
    ...qemus.map(([name, folder]) =>
      storageRow(`qemu-storage-daemon ${name}`, `${folder}qemu-storage-daemon`)
    ),
    ...RINGS.map(dpdkRow),
    ...RINGS.map((ring) => virtioUserRow(ring)),
    virtioUserRow(RINGS[0]!, 2),
    {
      name: "DPDK testpmd: our net, several queue pairs",
      run: () =>
        Promise.resolve({
          absent: "a pair is chosen by the control queue, which no vhost-user back end has; the " +
            "front end would have to be the device's control queue, as QEMU is",
        }),
    },
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
          // Of several bytes at once it returns the same buffer once for each.
          const lie = assertRejects(
            async () => {
              for (;;) await port.read({ deadline });
            },
            VireoError,
            "in flight",
          );
          await host.write(new TextEncoder().encode("to the guest"));
          await lie;
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
    ...qemus.map(([name, folder]) => linuxRow(`QEMU ${name}`, `${folder}qemu-system-x86_64`)),
    ...qemus.map(([name, folder]) => toolsRow(`QEMU ${name}`, `${folder}qemu-system-x86_64`)),
    ...qemus.map(([name, folder]) => newerLinuxRow(`QEMU ${name}`, `${folder}qemu-system-x86_64`)),
  ];
}
