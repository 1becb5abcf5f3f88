// Needs qemu-system-x86_64, qemu-system-aarch64 and qemu-system-riscv64.
//
// The drivers on QEMU's own devices, on every board, versions 1 and 2, with each of indirect
// descriptors and event idx on and off.
import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  Blk,
  blkDriver,
  Bus,
  Console,
  consoleDriver,
  Net,
  netDriver,
  ping,
  type Port,
  Rng,
  rngDriver,
  type VirtioDevice,
} from "@vireo/drivers";
import { type Board, findBoard, MMIO_BOARDS } from "@vireo/firmware/boards";
import { Feature, FeatureSet, VireoError } from "@vireo/hal";
import { QtestPlatform } from "@vireo/hal/qtest";

const DISK_BYTES = 2 << 20;
const SECTOR = 512;
const deadline = 5000;

interface Variant {
  readonly board: Board;
  readonly legacy: boolean;
  readonly indirect: boolean;
  readonly eventIdx: boolean;
}

const VARIANTS: readonly Variant[] = MMIO_BOARDS.flatMap((board) =>
  [false, true].flatMap((legacy) =>
    [true, false].flatMap((indirect) =>
      [true, false].map((eventIdx) => ({ board, legacy, indirect, eventIdx }))
    )
  )
);

/** Bytes that no pattern of zeroes or addresses looks like. */
function noise(length: number, seed: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  let state = seed >>> 0 || 1;
  for (let i = 0; i < length; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    bytes[i] = state;
  }
  return bytes;
}

async function sha256(bytes: Uint8Array): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", bytes as Uint8Array<ArrayBuffer>);
  return new Uint8Array(digest).toHex();
}

/** A board with every device that there is a driver for, and the host's ends of them. */
class Bench implements AsyncDisposable {
  readonly dir: string;
  readonly platform: QtestPlatform;
  readonly bus: Bus;
  readonly errors: Error[];

  private constructor(dir: string, platform: QtestPlatform, bus: Bus, errors: Error[]) {
    this.dir = dir;
    this.platform = platform;
    this.bus = bus;
    this.errors = errors;
  }

  static async start(variant: Variant): Promise<Bench> {
    const dir = await Deno.makeTempDir({ prefix: "vireo-" });
    await Deno.writeFile(`${dir}/disk`, noise(DISK_BYTES, 1));
    await Deno.writeFile(`${dir}/fixed`, noise(64 << 10, 2));
    const port = (id: string) => `socket,id=${id},path=${dir}/${id},server=on,wait=off`;
    const platform = await QtestPlatform.start({
      board: variant.board,
      legacy: variant.legacy,
      extraArgs: [
        ...["-drive", `if=none,id=disk,file=${dir}/disk,format=raw,discard=unmap`],
        ...["-drive", `if=none,id=fixed,file=${dir}/fixed,format=raw,readonly=on`],
        ...["-netdev", "user,id=net", "-chardev", port("tty"), "-chardev", port("agent")],
      ],
      devices: [
        "virtio-rng-device",
        "virtio-blk-device,id=blk0,drive=disk,serial=VIREO-1,discard=on,write-zeroes=on",
        "virtio-blk-device,drive=fixed",
        "virtio-net-device,id=nic,netdev=net,mac=52:54:00:12:34:56",
        "virtio-serial-device",
        "virtconsole,chardev=tty",
        "virtserialport,chardev=agent,name=agent",
      ],
    });
    const filter: number[] = [];
    if (!variant.indirect) filter.push(Feature.INDIRECT_DESC);
    if (!variant.eventIdx) filter.push(Feature.EVENT_IDX);
    const errors: Error[] = [];
    const onError = (error: Error) => errors.push(error);
    const bus = new Bus({ filter: FeatureSet.of(...filter), onError });
    for (const driver of [rngDriver, blkDriver, netDriver, consoleDriver]) {
      await bus.registerDriver(driver);
    }
    await bus.addPlatform(platform);
    return new Bench(dir, platform, bus, errors);
  }

  get blks(): Blk[] {
    return this.#all(Blk);
  }

  get disk(): Blk {
    return this.blks.find((blk) => !blk.readOnly)!;
  }

  get net(): Net {
    return this.#all(Net)[0]!;
  }

  get console(): Console {
    return this.#all(Console)[0]!;
  }

  get rng(): Rng {
    return this.#all(Rng)[0]!;
  }

  /** The host's end of a console port. */
  connect(port: "tty" | "agent"): Promise<Deno.UnixConn> {
    return Deno.connect({ transport: "unix", path: `${this.dir}/${port}` });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await this.bus[Symbol.asyncDispose]();
    } finally {
      await this.platform[Symbol.asyncDispose]();
      await Deno.remove(this.dir, { recursive: true });
    }
    if (this.errors.length > 0) throw new AggregateError(this.errors, "the bus reported errors");
  }

  // deno-lint-ignore no-explicit-any
  #all<T extends object>(type: new (...args: any[]) => T): T[] {
    return this.bus.devices.map((device): unknown => device.instance)
      .filter((instance): instance is T => instance instanceof type);
  }
}

function checkNegotiation(devices: readonly VirtioDevice[], variant: Variant): void {
  assertEquals(devices.length, 5);
  for (const device of devices) {
    assert(device.instance !== undefined, `${device.name} has no driver`);
    assertEquals(device.transport.kind, variant.legacy ? "mmio-1" : "mmio-2");
    assertEquals(device.has(Feature.VERSION_1), !variant.legacy);
    assertEquals(device.has(Feature.INDIRECT_DESC), variant.indirect);
    assertEquals(device.has(Feature.EVENT_IDX), variant.eventIdx);
  }
}

async function checkRng(rng: Rng): Promise<void> {
  const [one, two] = await Promise.all([
    rng.read(10_000, { deadline }),
    rng.read(3, { deadline }),
  ]);
  assertEquals([one.length, two.length], [10_000, 3]);
  // 10000 random bytes miss a value with a chance of 10^-14.
  assertEquals(new Set(one).size, 256);
}

async function checkBlk(bench: Bench): Promise<void> {
  const { disk, dir } = bench;
  const image = () => Deno.readFile(`${dir}/disk`);
  assertEquals([disk.capacity, disk.readOnly, disk.blockSize], [DISK_BYTES, false, SECTOR]);
  assertEquals(await disk.getId({ deadline }), "VIREO-1");

  const whole = new Uint8Array(DISK_BYTES);
  const part = 96 << 10; // not a divisor of the size, and more than one request
  const reads: Promise<Uint8Array>[] = [];
  for (let at = 0; at < DISK_BYTES; at += part) {
    reads.push(disk.read(at / SECTOR, whole.subarray(at, at + part), { deadline }));
  }
  await Promise.all(reads);
  assertEquals(await sha256(whole), await sha256(await image()));

  const writes = [[0, SECTOR, 3], [17, 5 * SECTOR, 4], [1000, 200 << 10, 5], [4095, SECTOR, 6]];
  await Promise.all(writes.map(([sector, length, seed]) => {
    const data = noise(length!, seed!);
    whole.set(data, sector! * SECTOR);
    return disk.write(sector!, data, { deadline });
  }));
  await disk.flush({ deadline });
  assertEquals(await sha256(await image()), await sha256(whole));

  await disk.writeZeroes([{ sector: 2000, sectors: 100 }, { sector: 3000, sectors: 1 }], {
    deadline,
  });
  whole.fill(0, 2000 * SECTOR, 2100 * SECTOR).fill(0, 3000 * SECTOR, 3001 * SECTOR);
  await disk.discard([{ sector: 2048, sectors: 8 }], { deadline }); // within the zeroes
  assertEquals(await sha256(await disk.read(0, DISK_BYTES, { deadline })), await sha256(whole));
  assertEquals(await sha256(await image()), await sha256(whole));

  const past = await assertRejects(() => disk.read(4095, 2 * SECTOR), VireoError);
  assert(past instanceof VireoError && past.code === "OUT_OF_RANGE");

  const fixed = bench.blks.find((blk) => blk.readOnly)!;
  assertEquals(await fixed.read(0, 64 << 10, { deadline }), noise(64 << 10, 2));
  const refused = await assertRejects(() => fixed.write(0, new Uint8Array(SECTOR)), VireoError);
  assert(refused instanceof VireoError && refused.code === "READ_ONLY");
}

async function checkNet(net: Net): Promise<void> {
  assertEquals([net.macText, net.linkUp], ["52:54:00:12:34:56", true]);
  const target = { source: "10.0.2.15", target: "10.0.2.2", deadline };
  for (const size of [1, 56, 1400]) {
    const { mac, replies } = await ping(net, { ...target, count: 3, size });
    assertEquals(mac, "52:55:0a:00:02:02");
    assertEquals(replies.map(({ sequence }) => sequence), [0, 1, 2]);
  }
}

/** Sends in both directions at once and compares what arrived. */
async function exchange(port: Port, host: Deno.UnixConn, length: number): Promise<void> {
  const down = noise(length, 7);
  const up = noise(length, 8);
  const write = async () => {
    for (let at = 0; at < length;) at += await host.write(down.subarray(at));
  };
  const read = async () => {
    const bytes = new Uint8Array(length);
    for (let at = 0; at < length;) {
      const got = await host.read(bytes.subarray(at));
      assert(got !== null);
      at += got;
    }
    return sha256(bytes);
  };
  const receive = async () => {
    const bytes = new Uint8Array(length);
    for (let at = 0; at < length;) {
      const got = await port.read({ deadline });
      assert(got !== null);
      bytes.set(got, at);
      at += got.length;
    }
    return sha256(bytes);
  };
  const [, , seen, received] = await Promise.all([
    write(),
    port.write(up, { deadline }),
    read(),
    receive(),
  ]);
  assertEquals(seen, await sha256(up));
  assertEquals(received, await sha256(down));
}

async function checkConsole(bench: Bench): Promise<void> {
  const { console } = bench;
  assert(console.multiport);
  using tty = await bench.connect("tty");
  using console0 = (await console.port(undefined, { deadline })).open();
  assert(console0.isConsole);
  // QEMU drops what a console sends while it has not accepted the connection; this tells that it did.
  await tty.write(Uint8Array.of(42));
  assertEquals(await console0.read({ deadline }), Uint8Array.of(42));
  await exchange(console0, tty, 1);
  await exchange(console0, tty, 100_000);

  using agent = (await console.port("agent", { deadline })).open();
  assertEquals([agent.isConsole, agent.hostOpen], [false, false]);
  using far = await bench.connect("agent");
  await agent.hostOpened({ deadline });
  await exchange(agent, far, 50_000);
  far.close();
  assertEquals(await agent.read({ deadline }), null);
}

for (const variant of VARIANTS) {
  const { board, legacy, indirect, eventIdx } = variant;
  const features = `${indirect ? "+" : "-"}indirect ${eventIdx ? "+" : "-"}event_idx`;
  Deno.test(`drivers on QEMU: ${board.name} v${legacy ? 1 : 2} ${features}`, async (t) => {
    await using bench = await Bench.start(variant);
    assertEquals(bench.bus.slotErrors, []);
    checkNegotiation(bench.bus.devices, variant);
    await t.step("rng", () => checkRng(bench.rng));
    await t.step("blk", () => checkBlk(bench));
    await t.step("net", () => checkNet(bench.net));
    await t.step("console", () => checkConsole(bench));
  });
}

Deno.test("drivers on QEMU: the host resizes a disk and takes a link down", async () => {
  const board = findBoard("riscv64-virt");
  await using bench = await Bench.start({ board, legacy: false, indirect: true, eventIdx: true });
  const { disk, net, platform } = bench;
  const resized = new Promise<number>((resolve) => disk.onCapacityChange = resolve);
  await platform.qmp.execute("block_resize", { device: "disk", size: 2 * DISK_BYTES });
  assertEquals(await resized, 2 * DISK_BYTES / SECTOR);
  const data = noise(SECTOR, 9);
  await disk.write(2 * DISK_BYTES / SECTOR - 1, data, { deadline });
  assertEquals((await Deno.readFile(`${bench.dir}/disk`)).subarray(-SECTOR), data);

  const link = () =>
    new Promise<void>((resolve) => net.addEventListener("link", () => resolve(), { once: true }));
  const down = link();
  await platform.qmp.execute("set_link", { name: "nic", up: false });
  await down;
  assertEquals(net.linkUp, false);
  const up = link();
  await platform.qmp.execute("set_link", { name: "nic", up: true });
  await up;
  await checkNet(net);
});

Deno.test("drivers on QEMU: drivers let go of their memory and can be bound again", async () => {
  const board = findBoard("aarch64-virt");
  await using bench = await Bench.start({ board, legacy: false, indirect: true, eventIdx: true });
  const drivers = [...bench.bus.drivers];
  for (const driver of drivers) await bench.bus.unregisterDriver(driver);
  const before = bench.platform.freeBytes;
  for (let round = 0; round < 3; round++) {
    for (const driver of drivers) await bench.bus.registerDriver(driver);
    await checkRng(bench.rng);
    await checkNet(bench.net);
    for (const driver of drivers) await bench.bus.unregisterDriver(driver);
    assertEquals(bench.platform.freeBytes, before);
  }
});

Deno.test("drivers on QEMU: a QEMU that dies ends what is pending", async () => {
  const board = findBoard("riscv64-virt");
  const bench = await Bench.start({ board, legacy: false, indirect: true, eventIdx: true });
  const pending = bench.net.receive({ deadline: 10_000 });
  Deno.kill(bench.platform.pid, "SIGKILL");
  const lost = await assertRejects(() => pending, VireoError, "cannot be delivered");
  assert(lost instanceof VireoError && lost.cause instanceof VireoError);
  assert(lost.cause.message.startsWith("QEMU ended"));
  await assertRejects(() => bench.disk.read(0, SECTOR, { deadline: 2000 }), Error);
  await bench[Symbol.asyncDispose]().catch(() => {});
});
