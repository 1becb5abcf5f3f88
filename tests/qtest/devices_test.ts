// Needs qemu-system-x86_64, qemu-system-aarch64 and qemu-system-riscv64.
//
// Corners of QEMU's devices that the bundled drivers must get right, with QEMU's monitor as the
// witness.
import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  Blk,
  blkDriver,
  Bus,
  type BusOptions,
  Console,
  consoleDriver,
  Net,
  netDriver,
  type Port,
  rngDriver,
  RxMode,
  type VirtioDevice,
} from "@vireo/drivers";
import { ping } from "@vireo/firmware/ip";
import { findBoard } from "@vireo/firmware/boards";
import { VireoError } from "@vireo/hal";
import { QtestPlatform } from "@vireo/hal/qtest";
import { isNewer } from "../qemu/mod.ts";
import { TempFolder } from "../temp_folder.ts";

const deadline = 5000;

interface Setup {
  readonly devices: readonly string[];
  readonly extraArgs?: readonly string[];
  readonly legacy?: boolean;
  readonly bus?: BusOptions;
  readonly board?: string;
  readonly memory?: number;
}

/** A board and a bus with all drivers. */
class Rig implements AsyncDisposable {
  readonly platform: QtestPlatform;
  readonly bus: Bus;

  private constructor(platform: QtestPlatform, bus: Bus) {
    this.platform = platform;
    this.bus = bus;
  }

  static async start(setup: Setup): Promise<Rig> {
    const { bus: options, board = "riscv64-virt", ...rest } = setup;
    const platform = await QtestPlatform.start({ ...rest, board: findBoard(board) });
    const bus = new Bus(options);
    for (const driver of [rngDriver, blkDriver, netDriver, consoleDriver]) {
      await bus.registerDriver(driver);
    }
    await bus.addPlatform(platform);
    assertEquals(bus.slotErrors, []);
    return new Rig(platform, bus);
  }

  device(): VirtioDevice {
    return this.bus.devices[0]!;
  }

  get blk(): Blk {
    const { instance } = this.device();
    assert(instance instanceof Blk);
    return instance;
  }

  get net(): Net {
    const { instance } = this.device();
    assert(instance instanceof Net);
    return instance;
  }

  get console(): Console {
    const { instance } = this.device();
    assert(instance instanceof Console);
    return instance;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.bus[Symbol.asyncDispose]();
    await this.platform[Symbol.asyncDispose]();
  }
}

const MEMORY_DISK = ["-blockdev", "driver=null-co,node-name=disk,size=8388608,read-zeroes=on"];

Deno.test("blk on QEMU: four queues with blocks of 4096 bytes", async () => {
  await using rig = await Rig.start({
    extraArgs: MEMORY_DISK,
    devices: [
      "virtio-blk-device,drive=disk,num-queues=4,logical_block_size=4096,physical_block_size=4096",
    ],
  });
  const { blk } = rig;
  assertEquals([blk.queues, blk.blockSize, blk.capacity], [4, 4096, 8 << 20]);
  const reads = Array.from({ length: 200 }, (_, i) => blk.read(i * 8, 4096, { deadline }));
  for (const bytes of await Promise.all(reads)) assert(bytes.every((byte) => byte === 0));
  await assertRejects(() => blk.read(1, 4096), RangeError);
});

for (const queueSize of [4, 8]) {
  Deno.test(`blk on QEMU: rings of at most ${queueSize}`, async () => {
    await using rig = await Rig.start({
      board: "aarch64-virt",
      extraArgs: MEMORY_DISK,
      devices: ["virtio-blk-device,drive=disk"],
      bus: { queueSize },
    });
    assertEquals(rig.device().queues[0]!.size, queueSize);
    // Long enough that the ring's index wraps many times.
    const reads = Array.from({ length: 500 }, (_, i) => rig.blk.read(i, 512, { deadline }));
    assertEquals((await Promise.all(reads)).length, 500);
  });
}

Deno.test("blk on QEMU: an I/O error of the host is one of the guest, and no more than that", async () => {
  await using rig = await Rig.start({
    extraArgs: [
      "-blockdev",
      "driver=blkdebug,node-name=disk,image.driver=null-co,image.size=1048576," +
      "inject-error.0.event=none,inject-error.0.iotype=read,inject-error.0.errno=5," +
      "inject-error.0.sector=100",
    ],
    devices: ["virtio-blk-device,drive=disk,rerror=report"],
  });
  const error = await assertRejects(() => rig.blk.read(100, 512, { deadline }), VireoError);
  assert(error instanceof VireoError && error.code === "IO_ERROR");
  await rig.blk.read(101, 512, { deadline });
  await rig.blk.write(100, new Uint8Array(512), { deadline });
});

/** What QEMU says of a network device's filter. */
interface RxFilter {
  readonly promiscuous: boolean;
  readonly multicast: string;
  readonly "main-mac": string;
  readonly "unicast-table": readonly string[];
  readonly "multicast-table": readonly string[];
  readonly "vlan-table": readonly number[];
}

for (const legacy of [false, true]) {
  Deno.test(`net on QEMU v${legacy ? 1 : 2}: the filter is what was asked for`, async () => {
    await using rig = await Rig.start({
      legacy,
      board: "x86_64-microvm",
      extraArgs: ["-netdev", "user,id=wire"],
      devices: ["virtio-net-device,id=nic,netdev=wire,mac=52:54:00:12:34:56"],
    });
    const { net } = rig;
    const filter = async (): Promise<RxFilter> => {
      const all = await rig.platform.qmp.execute("query-rx-filter", { name: "nic" });
      return (all as RxFilter[])[0]!;
    };
    const vlans = async () => (await filter())["vlan-table"].toSorted((a, b) => a - b);
    const mac = (last: number, first = 2) => Uint8Array.of(first, 0, 0, 0, 0, last);
    await net.setPromiscuous(true);
    assertEquals((await filter()).promiscuous, true);
    await net.setPromiscuous(false);
    assertEquals((await filter()).promiscuous, false);
    await net.setRxMode(RxMode.ALL_MULTICAST, true);
    assertEquals((await filter()).multicast, "all");
    await net.setRxMode(RxMode.ALL_MULTICAST, false);
    await net.setMacTable([mac(1), mac(2)], [mac(3, 3)]);
    const tables = await filter();
    const unicast = ["02:00:00:00:00:01", "02:00:00:00:00:02"];
    assertEquals(tables["unicast-table"].toSorted(), unicast);
    assertEquals(tables["multicast-table"], ["03:00:00:00:00:03"]);
    const atFirst = isNewer("VLANS") ? Array.from({ length: 4096 }, (_, vlan) => vlan) : [];
    const only = (...added: number[]) =>
      [...new Set([...atFirst, ...added])].toSorted((a, b) => a - b);
    await net.addVlan(5);
    await net.addVlan(4095);
    assertEquals(await vlans(), only(5, 4095));
    await net.removeVlan(5);
    assertEquals(await vlans(), only(4095).filter((vlan) => vlan !== 5));
    await net.setMac(mac(9));
    assertEquals((await filter())["main-mac"], "02:00:00:00:00:09");
    const { replies } = await ping(net, { source: "10.0.2.15", target: "10.0.2.2", deadline });
    assertEquals(replies.length, 4);

    // A reset takes all of it from QEMU; the driver gives it back.
    await rig.bus.freeze();
    assertEquals((await vlans()).length, 4096); // without negotiation all pass
    await rig.bus.restore();
    const after = await filter();
    assertEquals(await vlans(), only(4095));
    assertEquals(after["unicast-table"].toSorted(), unicast);
    assertEquals(after["main-mac"], "02:00:00:00:00:09");
  });
}

Deno.test("net on QEMU: two boards on one wire", async () => {
  const dir = await Deno.makeTempDir({ prefix: "vireo-" });
  const board = (name: string, own: string, other: string, last: number) =>
    Rig.start({
      board: name,
      extraArgs: [
        "-netdev",
        `dgram,id=wire,local.type=unix,local.path=${dir}/${own},` +
        `remote.type=unix,remote.path=${dir}/${other}`,
      ],
      devices: [`virtio-net-device,netdev=wire,mac=52:54:00:00:00:0${last}`],
    });
  try {
    await using a = await board("aarch64-virt", "a", "b", 1);
    await using b = await board("riscv64-virt", "b", "a", 2);
    for (const [from, to] of [[a.net, b.net], [b.net, a.net]] as const) {
      for (const length of [60, 577, 1514]) {
        const frame = new Uint8Array(length).map((_, i) => i * 7);
        frame.set(to.mac, 0);
        frame.set(from.mac, 6);
        frame.set([0x88, 0xb5], 12);
        await from.send(frame, { deadline });
        assertEquals((await to.receive({ deadline })).bytes, frame);
      }
    }
    // More frames than a ring holds.
    const frame = new Uint8Array(1000);
    frame.set(b.net.mac, 0);
    frame.set([0x88, 0xb5], 12);
    for (let i = 0; i < 600; i++) {
      frame[14] = i;
      frame[15] = i >> 8;
      await a.net.send(frame, { deadline });
      const { bytes } = await b.net.receive({ deadline });
      assertEquals(bytes[14]! | bytes[15]! << 8, i);
    }
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("console on QEMU: without MULTIPORT there is one port", async () => {
  using folder = new TempFolder();
  const dir = folder.path;
  await using rig = await Rig.start({
    extraArgs: ["-chardev", `socket,id=tty,path=${dir}/tty,server=on,wait=off`],
    devices: ["virtio-serial-device,max_ports=1", "virtconsole,chardev=tty"],
  });
  using host = await Deno.connect({ transport: "unix", path: `${dir}/tty` });
  assertEquals(rig.console.multiport, false);
  using port = (await rig.console.port(0, { deadline })).open();
  await host.write(new TextEncoder().encode("down"));
  assertEquals(new TextDecoder().decode((await port.read({ deadline }))!), "down");
  await port.writeText("up", { deadline });
  const bytes = new Uint8Array(8);
  assertEquals(await host.read(bytes), 2);
});

for (
  const [board, on, sizes] of [
    ["riscv64-virt", "device", [31]],
    ["x86_64-q35", "pci", [...new Array(16).fill(31), 15]],
  ] as const
) {
  const total = sizes.reduce((sum, size) => sum + size, 0);
  Deno.test(`console on QEMU: ${total} ports (${sizes.length} devices) are there whole, with names`, async () => {
    const extraArgs: string[] = [];
    const devices: string[] = [];
    const expected: string[] = [];
    for (const [bus, ports] of sizes.entries()) {
      devices.push(`virtio-serial-${on},id=bus${bus},max_ports=${ports}`);
      for (let port = 0; port < ports; port++) {
        const name = `port ${bus}.${port}`;
        expected.push(name);
        extraArgs.push("-chardev", `null,id=c${bus}.${port}`);
        // Port 0 is for a text console.
        const type = port === 0 ? "virtconsole" : "virtserialport";
        devices.push(`${type},bus=bus${bus}.0,nr=${port},chardev=c${bus}.${port},name=${name}`);
      }
    }
    await using rig = await Rig.start({ board, devices, extraArgs, memory: 256 << 20 });
    const seen: string[] = [];
    for (const device of rig.bus.devices) {
      const { instance } = device;
      assert(instance instanceof Console);
      for (let id = 0; id < instance.maxPorts; id++) {
        const port = await instance.port(id, { deadline });
        seen.push(port.name);
        assertEquals(port.isConsole, id === 0, port.name);
      }
    }
    // Devices may come in another order than on the command line.
    assertEquals(seen.toSorted(), expected.toSorted());
  });
}

Deno.test("console on QEMU: ports come and go while the board runs", async () => {
  await using rig = await Rig.start({
    board: "aarch64-virt",
    // One for each round: QEMU lets go of a removed port's with a delay.
    extraArgs: [0, 1, 2].flatMap((round) => ["-chardev", `null,id=nothing${round}`]),
    devices: ["virtio-serial-device,id=serial"],
  });
  const { qmp } = rig.platform;
  for (let round = 0; round < 3; round++) {
    const name = `hot-${round}`;
    const chardev = `nothing${round}`;
    await qmp.execute("device_add", { driver: "virtserialport", id: name, chardev, name });
    const port = await rig.console.port(name, { deadline });
    const removed = new Promise<Port>((resolve) => {
      const stop = rig.console.onPort((gone, event) => {
        if (event !== "removed") return;
        stop();
        resolve(gone);
      });
    });
    port.open();
    await qmp.execute("device_del", { id: name });
    assertEquals(await removed, port);
    assertEquals(port.removed, true);
    const gone = await assertRejects(() => port.read({ deadline }), VireoError);
    assert(gone instanceof VireoError && gone.code === "PORT_CLOSED");
  }
});

Deno.test("bus on QEMU: devices are recovered while they are in use", async () => {
  await using rig = await Rig.start({
    extraArgs: MEMORY_DISK,
    devices: ["virtio-blk-device,drive=disk"],
  });
  const { blk } = rig;
  for (let round = 0; round < 5; round++) {
    const reads = Array.from({ length: 40 }, (_, i) => blk.read(i, 512, { deadline }));
    const settled = Promise.allSettled(reads);
    await rig.bus.recover(rig.device());
    // Each read ends, one way or the other, and what comes after works.
    for (const result of await settled) {
      if (result.status === "rejected") assert(result.reason instanceof VireoError);
    }
    assertEquals((await blk.read(0, 4096, { deadline })).length, 4096);
  }
});
