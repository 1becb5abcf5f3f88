/**
 * The program in a guest whose Linux drives served devices with its own drivers: works on what the kernel
 * made of each device, and prints what it saw, a line of JSON for each step. Its argument is a
 * {@linkcode LinuxGuestPlan} as JSON.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { noise } from "../noise.ts";
import { FIO_WORKS, type LinuxGuestPlan, MIB, picture, stamp } from "./linux_plan.ts";

/** The end of the first part: what a guest leaves there for its next boot. */
const MARK = 4096;

const { symbols: libc } = Deno.dlopen("libc.so.6", {
  mount: { parameters: ["buffer", "buffer", "buffer", "u64", "buffer"], result: "i32" },
  umount2: { parameters: ["buffer", "i32"], result: "i32" },
  reboot: { parameters: ["i32"], result: "i32" },
  sync: { parameters: [], result: "void" },
  socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
  connect: { parameters: ["i32", "buffer", "u32"], result: "i32", nonblocking: true },
  read: { parameters: ["i32", "buffer", "usize"], result: "isize", nonblocking: true },
  write: { parameters: ["i32", "buffer", "usize"], result: "isize", nonblocking: true },
  ioctl: { parameters: ["i32", "u64", "buffer"], result: "i32" },
  close: { parameters: ["i32"], result: "i32" },
});
const { symbols: shim } = Deno.dlopen("/vireo/libvireo.so", {
  vireo_load_module: { parameters: ["buffer"], result: "i32" },
});
const BLKDISCARD = 0x1277n;
const RB_AUTOBOOT = 0x01234567;
const AF_VSOCK = 40;
const EV_KEY = 1;
const AF_INET = 2;
const SOCK_STREAM = 1;
const SOCK_DGRAM = 2;
const SIOCETHTOOL = 0x8946n;
const ETHTOOL_GRINGPARAM = 0x10;
const ETHTOOL_GCHANNELS = 0x3c;
const ETHTOOL_SCHANNELS = 0x3d;

/** Runs the plan. */
export default async function main([text]: readonly string[]): Promise<number> {
  const plan: LinuxGuestPlan = JSON.parse(text!);
  for (const name of plan.modules) {
    check(`load ${name}`, shim.vireo_load_module(c(`/vireo/${name}`)));
  }
  say("kernel", { release: Deno.osRelease() });
  await until("the disk", () => exists("/dev/vda"));
  say("devices", { found: devices() });
  const rawAt = plan.rawAt * MIB;
  const second = plan.reboot && readAt("/dev/vda", rawAt - MARK, 4)[0] === 0x42;
  if (second) say("second boot", {});
  await rng();
  raw(rawAt, plan.raw);
  await files(plan);
  if (plan.fio > 0) await fio(plan);
  if (plan.measure > 0) await measure(plan.measure);
  if (plan.tcp !== undefined) await tcp(plan.tcp);
  if (plan.scsi) await scsi();
  if (plan.gpu) await gpu();
  if (plan.input) await input();
  if (plan.vsock > 0) await vsock(plan.vsock);
  if (plan.rebind) await rebind(rawAt);
  if (plan.unplug) await unplug(rawAt);
  discard(rawAt + MIB);
  say("done", {});
  if (plan.reboot && !second) {
    writeAt("/dev/vda", rawAt - MARK, new Uint8Array(512).fill(0x42));
    libc.sync();
    libc.reboot(RB_AUTOBOOT);
    await new Promise((resolve) => setTimeout(resolve, 1_000_000));
  }
  return 0;
}

/** Lists the virtio devices as the kernel reports them. */
function devices(): unknown[] {
  const root = "/sys/bus/virtio/devices";
  return [...Deno.readDirSync(root)].map(({ name }) => {
    const read = (file: string): string => Deno.readTextFileSync(`${root}/${name}/${file}`).trim();
    let driver: string | null;
    try {
      driver = Deno.readLinkSync(`${root}/${name}/driver`).replace(/.*\//, "");
    } catch {
      driver = null;
    }
    return { id: Number(read("device")), driver, status: Number(read("status")) };
  }).sort((a, b) => a.id - b.id);
}

async function rng(): Promise<void> {
  const current = "/sys/class/misc/hw_random/rng_current";
  if (!exists("/dev/hwrng") || !Deno.readTextFileSync(current).startsWith("virtio")) return;
  const file = await Deno.open("/dev/hwrng");
  const bytes = new Uint8Array(4096);
  for (let at = 0; at < bytes.length;) at += await file.read(bytes.subarray(at)) ?? 0;
  file.close();
  say("rng", { distinct: new Set(bytes).size });
}

/** Writes noise past the file system, and reads it from the device again. */
function raw(rawAt: number, size: number): void {
  const block = noise(MIB, 7);
  const disk = Deno.openSync("/dev/vda", { read: true, write: true });
  const began = performance.now();
  disk.seekSync(rawAt, Deno.SeekMode.Start);
  for (let i = 0; i < size; i++) {
    stamp(block, i);
    writeAll(disk, block);
  }
  disk.syncDataSync();
  const wrote = performance.now();
  dropCaches();
  const got = new Uint8Array(MIB);
  let wrong = 0;
  disk.seekSync(rawAt, Deno.SeekMode.Start);
  for (let i = 0; i < size; i++) {
    stamp(block, i);
    readAll(disk, got);
    if (!Buffer.from(got.buffer).equals(Buffer.from(block.buffer))) wrong++;
  }
  disk.close();
  say("raw", {
    size,
    wrong,
    write: rate(size, wrote - began),
    read: rate(size, performance.now() - wrote),
  });
}

/** Makes a file system on the disk, fills it, reads it again and has it checked. */
async function files({ files: size, rawAt, resize }: LinuxGuestPlan): Promise<void> {
  if (size === 0) return;
  await run("mke2fs", "-q", "-F", "-t", "ext4", "/dev/vda", `${rawAt - 1}M`);
  Deno.mkdirSync("/mnt", { recursive: true });
  const mount = (): void =>
    check("mount", libc.mount(c("/dev/vda"), c("/mnt"), c("ext4"), 0n, c("")));
  mount();
  const block = noise(MIB, 11);
  for (let i = 0; i < size; i++) {
    stamp(block, i);
    Deno.writeFileSync(`/mnt/${i}`, block);
  }
  check("unmount", libc.umount2(c("/mnt"), 0));
  dropCaches();
  mount();
  let wrong = 0;
  for (let i = 0; i < size; i++) {
    stamp(block, i);
    if (!Buffer.from(Deno.readFileSync(`/mnt/${i}`).buffer).equals(Buffer.from(block.buffer))) {
      wrong++;
    }
  }
  if (resize) {
    const sectors = (): string => Deno.readTextFileSync("/sys/block/vda/size").trim();
    const before = sectors();
    say("resize", { before: Number(before) });
    await until("the disk to have another size", () => sectors() !== before);
    say("resized", { now: Number(sectors()) });
  }
  check("unmount", libc.umount2(c("/mnt"), 0));
  await run("e2fsck", "-f", "-n", "/dev/vda");
  libc.sync();
  say("files", { size, wrong });
}

/** Has fio write blocks with checksums at random, and read them again. */
async function fio({ fio: size, rawAt, raw }: LinuxGuestPlan): Promise<void> {
  await run(
    ...["fio", "--name=v", "--filename=/dev/vda", "--direct=1", "--ioengine=libaio"] as const,
    ...["--iodepth=16", `--offset=${rawAt + raw}M`, `--size=${size}M`, "--rw=randwrite"],
    ...["--bsrange=4k-64k", "--verify=crc32c", "--verify_fatal=1", "--do_verify=1"],
  );
  say("fio", { size });
}

/** Has fio read every disk at random, one after the other in each round. */
async function measure(rounds: number): Promise<void> {
  const disks = [...Deno.readDirSync("/sys/block")].map(({ name }) => name).filter((name) =>
    name.startsWith("vd")
  ).sort();
  for (let round = 0; round < rounds; round++) {
    for (const [block, depth] of FIO_WORKS) {
      for (const disk of disks) {
        const text = await run(
          ...[
            "fio",
            "--name=m",
            `--filename=/dev/${disk}`,
            "--direct=1",
            "--ioengine=libaio",
          ] as const,
          ...[`--bs=${block}k`, `--iodepth=${depth}`, "--rw=randread", "--time_based"],
          ...["--runtime=2", "--ramp_time=0.3", "--output-format=json"],
        );
        const { jobs: [{ read }] } = JSON.parse(text.slice(text.indexOf("{")));
        const sectors = Number(Deno.readTextFileSync(`/sys/block/${disk}/size`));
        say("measured", { round, block, depth, sectors, perSecond: read.iops });
      }
    }
  }
}

/** Sends noise to the host by some connections, each of which says it back. */
async function tcp(plan: NonNullable<LinuxGuestPlan["tcp"]>): Promise<void> {
  const { own, host, port, size, streams } = plan;
  const name = [...Deno.readDirSync("/sys/class/net")].map(({ name }) => name).find((name) =>
    name !== "lo" && exists(`/sys/class/net/${name}/device`)
  );
  if (name === undefined) throw new Error("no network interface");
  await run("ip", "link", "set", name, "up");
  if (plan.dhcp) {
    const how = ["-f", "-n", "-q", "-t", "30", "-T", "1", "-s", "/bin/lease"];
    await run("busybox", "udhcpc", ...how, "-i", name);
    say("dhcp", { address: Deno.readTextFileSync("/lease").trim() });
  }
  if (plan.pairs > 1) setPairs(name, plan.pairs);
  if (plan.ring) rings(name);
  await run("ip", "addr", "add", `${own}/24`, "dev", name);
  const began = performance.now();
  const all = await Promise.all(
    Array.from({ length: streams }, () => tcpStream(host, port, size / streams)),
  );
  const mac = Deno.readTextFileSync(`/sys/class/net/${name}/address`).trim();
  const received = all.reduce((sum, { received }) => sum + received, 0);
  const wrong = all.reduce((sum, { wrong }) => sum + wrong, 0);
  const busy = plan.pairs > 1 ? inputInterrupts().filter((count) => count > 0).length : 1;
  const pairs = [...Deno.readDirSync(`/sys/class/net/${name}/queues`)].length / 2;
  say("tcp", {
    mac,
    received,
    wrong,
    pairs,
    busy,
    rate: rate(2 * size, performance.now() - began),
  });
}

async function tcpStream(
  hostname: string,
  port: number,
  size: number,
): Promise<{ readonly received: number; readonly wrong: number }> {
  using connection = await Deno.connect({ hostname, port });
  const block = noise(MIB, 13);
  const sending = (async () => {
    for (let i = 0; i < size; i++) {
      for (let at = 0; at < MIB;) at += await connection.write(block.subarray(at));
    }
    await connection.closeWrite();
  })();
  let received = 0;
  let wrong = 0;
  const got = new Uint8Array(65536);
  for (let n; (n = await connection.read(got)) !== null;) {
    for (let at = 0; at < n;) {
      const place = (received + at) % MIB;
      const length = Math.min(n - at, MIB - place);
      if (
        Buffer.compare(got.subarray(at, at + length), block.subarray(place, place + length)) !== 0
      ) wrong++;
      at += length;
    }
    received += n;
  }
  await sending;
  return { received, wrong };
}

/** Calls `ioctl` SIOCETHTOOL of an interface with a structure of 32-bit numbers, which it may change. */
function ethtool(name: string, ...commands: readonly Uint32Array<ArrayBuffer>[]): void {
  const fd = libc.socket(AF_INET, SOCK_DGRAM, 0);
  check("make a socket", fd);
  for (const command of commands) {
    const request = new Uint8Array(40);
    request.set(new TextEncoder().encode(name));
    const address = Deno.UnsafePointer.value(Deno.UnsafePointer.of(command));
    new DataView(request.buffer).setBigUint64(16, BigInt(address), true);
    check(`use command ${command[0]} of ethtool`, libc.ioctl(fd, SIOCETHTOOL, request));
  }
  libc.close(fd);
}

/** Sets the queue pairs in use, as `ethtool -L NAME combined COUNT` does. */
function setPairs(name: string, count: number): void {
  // struct ethtool_channels: the command, four largest counts, and four counts, the combined one last.
  const channels = (command: number): Uint32Array<ArrayBuffer> =>
    Uint32Array.of(command, 0, 0, 0, 0, 0, 0, 0, count);
  const [before, set, after] = [ETHTOOL_GCHANNELS, ETHTOOL_SCHANNELS, ETHTOOL_GCHANNELS].map(
    channels,
  );
  ethtool(name, before!, set!, after!);
  say("channels", { most: before![4], combined: after![8] });
}

/** Says how many entries the queues have, as `ethtool -g` does. */
function rings(name: string): void {
  // struct ethtool_ringparam: the command, four largest sizes, and four sizes, of which the first receives.
  const sizes = Uint32Array.of(ETHTOOL_GRINGPARAM, 0, 0, 0, 0, 0, 0, 0, 0);
  ethtool(name, sizes);
  say("rings", { receive: sizes[5], send: sizes[8] });
}

/** Interrupts of the receive queues so far; all of them are zero without vectors. */
function inputInterrupts(): number[] {
  return [...Deno.readTextFileSync("/proc/interrupts").matchAll(/^.*-input\.\d+$/gm)].map((
    [line],
  ) => Number(/:\s+(\d+)/.exec(line)![1]));
}

async function scsi(): Promise<void> {
  await until("the SCSI disk", () => exists("/dev/sda"));
  const block = noise(MIB, 17);
  writeAt("/dev/sda", MIB, block);
  dropCaches();
  const equal = Buffer.from(readAt("/dev/sda", MIB, MIB)).equals(Buffer.from(block));
  say("scsi", { equal, model: Deno.readTextFileSync("/sys/block/sda/device/model").trim() });
}

/** Draws by the frame buffer of the kernel; the first rows are its text's, whose cursor blinks. */
async function gpu(): Promise<void> {
  const folder = "/sys/class/graphics/fb0";
  await until("the screen", () => exists("/dev/fb0"));
  const read = (name: string): number[] =>
    Deno.readTextFileSync(`${folder}/${name}`).trim().split(",").map(Number);
  const [width, height] = read("virtual_size");
  const [[bits], [stride]] = [read("bits_per_pixel"), read("stride")];
  if (bits !== 32 || stride !== 4 * width!) throw new Error(`${bits} bits, ${stride} bytes a row`);
  using screen = Deno.openSync("/dev/fb0", { write: true });
  writeAll(screen, picture(width! * height!));
  say("drawn", { name: Deno.readTextFileSync(`${folder}/name`).trim(), width, height });
}

/** Waits for a key that the host presses and lets go of. */
async function input(): Promise<void> {
  const path = "/dev/input/event0";
  await until("the keyboard", () => exists(path));
  using events = await Deno.open(path);
  say("input", {});
  // struct input_event: the time, and the type, code and value.
  const keys: number[][] = [];
  const bytes = new Uint8Array(24 * 16);
  while (keys.length < 2) {
    const view = new DataView(bytes.buffer, 0, await events.read(bytes) ?? 0);
    for (let at = 0; at < view.byteLength; at += 24) {
      if (view.getUint16(at + 16, true) !== EV_KEY) continue;
      keys.push([view.getUint16(at + 18, true), view.getInt32(at + 20, true)]);
    }
  }
  say("keys", { keys });
}

/** An echo by a stream socket of vsock. */
async function vsock(size: number): Promise<void> {
  const fd = libc.socket(AF_VSOCK, SOCK_STREAM, 0);
  check("make a vsock socket", fd);
  const address = new DataView(new ArrayBuffer(16));
  address.setUint16(0, AF_VSOCK, true);
  address.setUint32(4, 7, true); // port
  address.setUint32(8, 2, true); // the host
  check("connect by vsock", await libc.connect(fd, new Uint8Array(address.buffer), 16));
  const sent = noise(size * 1024, 19);
  const got = new Uint8Array(sent.length);
  const sending = (async () => {
    for (let at = 0; at < sent.length;) {
      const piece = sent.slice(at, at + 16_384);
      const n = Number(await libc.write(fd, piece, BigInt(piece.length)));
      check("write by vsock", n);
      at += n;
    }
  })();
  const piece = new Uint8Array(16_384);
  let received = 0;
  while (received < got.length) {
    const n = Number(await libc.read(fd, piece, BigInt(piece.length)));
    check("read by vsock", n);
    if (n === 0) break;
    got.set(piece.subarray(0, n), received);
    received += n;
  }
  await sending;
  libc.close(fd);
  say("vsock", { received, equal: Buffer.from(got).equals(Buffer.from(sent)) });
}

/** Takes the disk's driver from it and gives it back: the device is reset, and set up once more. */
async function rebind(rawAt: number): Promise<void> {
  const folder = "/sys/bus/virtio/drivers/virtio_blk";
  const name = [...Deno.readDirSync(folder)].map(({ name }) => name).find((name) =>
    /^virtio\d/.test(name)
  )!;
  Deno.writeTextFileSync(`${folder}/unbind`, name);
  const gone = !exists("/dev/vda");
  Deno.writeTextFileSync(`${folder}/bind`, name);
  await until("the disk again", () => exists("/dev/vda"));
  say("rebind", { gone, equal: holdsNoise(rawAt) });
}

/** Has the host unplug the disk, and plug it again. */
async function unplug(rawAt: number): Promise<void> {
  say("unplug", {});
  await until("the disk to leave", () => !exists("/dev/vda"));
  say("unplugged", {});
  await until("the disk to come back", () => exists("/dev/vda"));
  say("plugged", { equal: holdsNoise(rawAt) });
}

/** Whether the first block that was written raw is still there. */
function holdsNoise(rawAt: number): boolean {
  const block = noise(MIB, 7);
  stamp(block, 0);
  return Buffer.from(readAt("/dev/vda", rawAt, MIB)).equals(Buffer.from(block));
}

/** Discards a MiB. */
function discard(at: number): void {
  using disk = Deno.openSync("/dev/vda", { write: true });
  const range = new BigUint64Array([BigInt(at), BigInt(MIB)]);
  const fd = [...Deno.readDirSync("/proc/self/fd")].map(({ name }) => name).find((name) => {
    try {
      return Deno.readLinkSync(`/proc/self/fd/${name}`) === "/dev/vda";
    } catch {
      return false;
    }
  });
  check("discard", libc.ioctl(Number(fd), BLKDISCARD, range));
  disk.syncSync();
  say("discard", {});
}

function dropCaches(): void {
  libc.sync();
  Deno.writeTextFileSync("/proc/sys/vm/drop_caches", "3");
}

function readAt(path: string, offset: number, length: number): Uint8Array<ArrayBuffer> {
  using file = Deno.openSync(path);
  file.seekSync(offset, Deno.SeekMode.Start);
  const bytes = new Uint8Array(length);
  readAll(file, bytes);
  return bytes;
}

function writeAt(path: string, offset: number, bytes: Uint8Array): void {
  using file = Deno.openSync(path, { write: true });
  file.seekSync(offset, Deno.SeekMode.Start);
  writeAll(file, bytes);
  file.syncSync();
}

function readAll(file: Deno.FsFile, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length;) {
    const n = file.readSync(bytes.subarray(at));
    if (n === null) throw new Error(`only ${at} of ${bytes.length} bytes`);
    at += n;
  }
}

function writeAll(file: Deno.FsFile, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length;) at += file.writeSync(bytes.subarray(at));
}

async function run(program: string, ...args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await new Deno.Command(`/bin/${program}`, { args: [...args] })
    .output();
  if (code === 0) return new TextDecoder().decode(stdout);
  const words = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes)).join("");
  throw new Error(`${program} ${args.join(" ")}: exit code ${code}: ${words}`);
}

async function until(what: string, ready: () => boolean): Promise<void> {
  for (const end = performance.now() + 120_000; !ready();) {
    if (performance.now() > end) throw new Error(`waited 120 s for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

function say(step: string, what: object): void {
  const bytes = new TextEncoder().encode(`${JSON.stringify({ step, ...what })}\n`);
  for (let at = 0; at < bytes.length;) at += Deno.stdout.writeSync(bytes.subarray(at));
}

function check(what: string, result: number): void {
  if (result < 0) throw new Error(`Cannot ${what}: ${result}`);
}

/** MiB/s. */
function rate(size: number, milliseconds: number): number {
  return Math.round(size / milliseconds * 10_000) / 10;
}

function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}

function c(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(`${text}\0`);
}
