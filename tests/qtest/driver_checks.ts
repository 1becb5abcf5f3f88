// What the tests of drivers on QEMU's devices have in common: the board, and the checks of each driver.
import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  Blk,
  blkDriver,
  Bus,
  Console,
  consoleDriver,
  Net,
  netDriver,
  type Port,
  Rng,
  rngDriver,
  type VirtioDevice,
} from "@vireo/drivers";
import { ping } from "@vireo/firmware/ip";
import type { Board } from "@vireo/firmware/boards";
import { noise } from "../noise.ts";
import {
  type DeviceNode,
  Feature,
  FeatureSet,
  type Platform,
  type Poller,
  VireoError,
} from "@vireo/hal";
import { QtestPlatform } from "@vireo/hal/qtest";

export const DISK_BYTES: number = 2 << 20;
export const SECTOR = 512;
export const deadline = 5000;

interface Variant {
  readonly board: Board;
  readonly legacy: boolean;
  readonly indirect: boolean;
  readonly eventIdx: boolean;
  /** On PCI: whether devices have both interfaces. */
  readonly transitional?: boolean;
  /** On PCI: whether the legacy interface is tried first. */
  readonly forceLegacy?: boolean;
  /** Whether devices offer RING_PACKED. */
  readonly packed?: boolean;
  /** Shows the bus another machine than the board is. */
  readonly disguise?: (platform: Platform) => Platform;
}

/** How interrupts come: on PCI by message or line, on virtio-mmio by line, or not at all. */
type Way = "MSI-X" | "INTx" | "interrupt" | "poll";

/** The same machine, as one without messages, or without any interrupt. */
export function without(platform: Platform, way: Way, poller: Poller): Platform {
  if (way === "MSI-X" || way === "interrupt") return platform;
  const nodes = platform.nodes().map((node): DeviceNode => {
    if (node.kind === "mmio") {
      return {
        ...node,
        open: () => {
          const lease = node.open();
          return {
            mmio: lease.mmio,
            interrupt: poller.line(),
            [Symbol.dispose]: () => lease[Symbol.dispose](),
          };
        },
      };
    }
    if (node.kind !== "pci") return node;
    return {
      ...node,
      open: () => {
        const lease = node.open();
        return {
          config: lease.config,
          bars: lease.bars,
          openBar: (index: number) => lease.openBar(index),
          line: way === "INTx" ? lease.line : poller.line(),
          messages: () => undefined,
          [Symbol.dispose]: () => lease[Symbol.dispose](),
        };
      },
    };
  });
  return {
    name: platform.name,
    dma: platform.dma,
    nodes: () => nodes,
    openMemory: (address, length) => platform.openMemory(address, length),
    [Symbol.asyncDispose]: () => platform[Symbol.asyncDispose](),
  };
}

/** How a row of the matrix is called, which the test report makes a table of (.ci/test_report.ts). */
export function matrixName(
  target: string,
  transport: string,
  ring: "split" | "packed",
  way: Way,
): string {
  return `matrix: ${target} | ${transport} | ${ring} | ${way}`;
}

/** Name of a board in the matrix. */
export function qtestName(board: Board): string {
  return `qtest ${board.name.replace(/-.*/, "")}`;
}

async function sha256(bytes: Uint8Array): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", bytes as Uint8Array<ArrayBuffer>);
  return new Uint8Array(digest).toHex();
}

/** A board with every device that there is a driver for, and the host's ends of them. */
export class Bench implements AsyncDisposable {
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
    const suffix = variant.board.pci === undefined ? "device" : "pci";
    const platform = await QtestPlatform.start({
      board: variant.board,
      legacy: variant.legacy,
      transitional: variant.transitional ?? false,
      packed: variant.packed ?? false,
      extraArgs: [
        ...["-drive", `if=none,id=disk,file=${dir}/disk,format=raw,discard=unmap`],
        ...["-drive", `if=none,id=fixed,file=${dir}/fixed,format=raw,readonly=on`],
        ...["-netdev", "user,id=net", "-chardev", port("tty"), "-chardev", port("agent")],
      ],
      devices: [
        `virtio-rng-${suffix}`,
        `virtio-blk-${suffix},id=blk0,drive=disk,serial=VIREO-1,discard=on,write-zeroes=on`,
        `virtio-blk-${suffix},drive=fixed`,
        `virtio-net-${suffix},id=nic,netdev=net,mac=52:54:00:12:34:56`,
        `virtio-serial-${suffix}`,
        "virtconsole,chardev=tty",
        "virtserialport,chardev=agent,name=agent",
      ],
    });
    const filter: number[] = [];
    if (!variant.indirect) filter.push(Feature.INDIRECT_DESC);
    if (!variant.eventIdx) filter.push(Feature.EVENT_IDX);
    const errors: Error[] = [];
    const onError = (error: Error) => errors.push(error);
    const bus = new Bus({
      filter: FeatureSet.of(...filter),
      forceLegacy: variant.forceLegacy,
      onError,
    });
    for (const driver of [rngDriver, blkDriver, netDriver, consoleDriver]) {
      await bus.registerDriver(driver);
    }
    await bus.addPlatform(variant.disguise?.(platform) ?? platform);
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

/** Checks which transport the devices have, and what was negotiated. */
export function checkNegotiation(
  devices: readonly VirtioDevice[],
  variant: Variant,
  kind: VirtioDevice["transport"]["kind"],
): void {
  assertEquals(devices.length, 5);
  for (const device of devices) {
    assert(device.instance !== undefined, `${device.name} has no driver`);
    assertEquals(device.transport.kind, kind);
    assertEquals(device.has(Feature.VERSION_1), !device.transport.legacy);
    assertEquals(device.has(Feature.INDIRECT_DESC), variant.indirect);
    assertEquals(device.has(Feature.EVENT_IDX), variant.eventIdx);
  }
}

export async function checkRng(rng: Rng): Promise<void> {
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

export async function checkNet(net: Net): Promise<void> {
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

/** Every step of the acceptance of the four drivers. */
export async function checkDrivers(bench: Bench, t: Deno.TestContext): Promise<void> {
  await t.step("rng", () => checkRng(bench.rng));
  await t.step("blk", () => checkBlk(bench));
  await t.step("net", () => checkNet(bench.net));
  await t.step("console", () => checkConsole(bench));
}

/** A legacy device that is told to offer packed rings does not: the bit is not in 32 bits. */
export async function checkNoLegacyPacked(board: Board): Promise<void> {
  await using bench = await Bench.start({
    board,
    legacy: true,
    packed: true,
    indirect: true,
    eventIdx: true,
  });
  for (const device of bench.bus.devices) {
    assertEquals(device.transport.readFeatures().has(Feature.RING_PACKED), false);
  }
  await checkRng(bench.rng);
}
