// Needs qemu-system-x86_64, qemu-system-aarch64 and qemu-system-riscv64.
//
// Devices of QEMU that its monitor plugs, unplugs and resets while drivers have them.
import { assertEquals, assertRejects } from "@std/assert";
import { balloonDriver, blkDriver, rngDriver } from "@vireo/drivers";
import { openVireo, type Vireo } from "@vireo/firmware";
import { MMIO_BOARDS, PCI_BOARDS } from "@vireo/firmware/boards";
import { type PciNode, VireoError } from "@vireo/hal";
import { QtestPlatform } from "@vireo/hal/qtest";

/** Milliseconds that a request may take on a busy machine. */
const SOON = { deadline: 10_000 };

/** Resolves when each device was recovered once more. */
function recovered(vireo: Vireo): Promise<unknown> {
  return Promise.all(vireo.bus.devices.map((device) => device.recovered(SOON)));
}

/** Every device of the board does what it is for. */
async function works({ bus, blk, console, net, hostPort }: Vireo): Promise<void> {
  for (const rng of bus.all(rngDriver)) assertEquals((await rng.read(16, SOON)).length, 16);
  assertEquals((await blk.read(0, 4096, SOON)).length, 4096);
  assertEquals(net.mac?.length, 6);
  using port = (await console.port("host", SOON)).open();
  await port.hostOpened(SOON);
  await port.writeText("x", SOON);
  const { value } = await hostPort!.readable.getReader().read();
  assertEquals(new TextDecoder().decode(value), "x");
}

for (const board of PCI_BOARDS) {
  Deno.test(`hot plug, qtest:${board.name}: plugged, unplugged and reset by the monitor`, async () => {
    await using vireo = await openVireo({
      target: `qtest:${board.name}`,
      devices: [
        "pcie-root-port,id=port1,chassis=1",
        "pcie-root-port,id=port2,chassis=2",
        "virtio-rng-pci,bus=port2,id=rng2",
      ],
    });
    const { bus } = vireo;
    const qmp = vireo.qmp!;
    const count = bus.devices.length;
    const entropy = bus.all(rngDriver);
    assertEquals([count, entropy.length], [5, 2]);

    // A device whose driver was not imported yet.
    await qmp.execute("device_add", { driver: "virtio-balloon-pci", bus: "port1", id: "balloon1" });
    const { added } = await vireo.rescan();
    assertEquals(added.map(({ driver }) => driver), [balloonDriver]);
    assertEquals([bus.devices.length, bus.slotErrors], [count + 1, []]);
    assertEquals(await vireo.rescan(), { added: [], removed: [], recovered: [] });
    assertEquals(await bus.addPlatform(vireo.platform), []);

    // QEMU asks first: the driver leaves the device in order, and the slot lets it go.
    const deleted = qmp.events("DEVICE_DELETED");
    const old = bus.devices.find(({ instance }) => instance === entropy[1])!;
    await qmp.execute("device_del", { id: "rng2" });
    // The machine keeps it as long as a driver has it.
    vireo.platform.rescan!();
    assertEquals((await entropy[1]!.read(16, SOON)).length, 16);
    assertEquals((await vireo.rescan()).removed, [old]);
    for await (const { data } of deleted) if (data.device === "rng2") break;
    assertEquals([bus.all(rngDriver), bus.devices.includes(old)], [[entropy[0]!], false]);

    // Another one in the same slot.
    await qmp.execute("blockdev-add", { driver: "null-co", "node-name": "late", size: 1 << 20 });
    await qmp.execute("device_add", { driver: "virtio-blk-pci", bus: "port2", drive: "late" });
    assertEquals((await vireo.rescan()).added.map(({ driver }) => driver), [blkDriver]);
    const late = bus.all(blkDriver)[1]!;
    assertEquals(late.capacity, 1 << 20);

    // All of them lose their state, and their bus its numbers and addresses.
    const devices = [...bus.devices];
    const back = recovered(vireo);
    await qmp.execute("system_reset");
    await back;
    assertEquals(bus.devices, devices);
    assertEquals(
      devices.map(({ error, recoveries }) => [error, recoveries]),
      devices.map(() => [undefined, 1]),
    );
    assertEquals((await late.read(0, 512, SOON)).length, 512);
    await works(vireo);
    assertEquals(await vireo.rescan(), { added: [], removed: [], recovered: [] });
  });
}

for (const board of PCI_BOARDS) {
  Deno.test(`hot plug, qtest:${board.name}: a bridge is plugged, devices behind it, and all leave with it`, async () => {
    await using vireo = await openVireo({
      target: `qtest:${board.name}`,
      devices: [
        "pcie-root-port,id=port1,chassis=1",
        "pcie-root-port,id=port2,chassis=2",
        "virtio-rng-pci,bus=port2",
      ],
    });
    const { bus } = vireo;
    const qmp = vireo.qmp!;
    const plugged = async (properties: Record<string, string>) => {
      await qmp.execute("device_add", properties);
      return (await vireo.rescan()).added.map(({ transport }) => transport.name);
    };
    const work = async (count: number) => {
      const all = bus.all(rngDriver);
      assertEquals([all.length, bus.slotErrors], [count, []]);
      for (const rng of all) assertEquals((await rng.read(16, SOON)).length, 16);
    };
    assertEquals(await plugged({ driver: "pcie-pci-bridge", bus: "port1", id: "bridge" }), []);
    const rng = { driver: "virtio-rng-pci", bus: "bridge" };
    // The bridge has the number behind its port's; the other port's device keeps its own.
    assertEquals(await plugged({ ...rng, id: "rng1", addr: "2" }), ["0000:02:02.0"]);
    await work(3);
    await qmp.execute("device_del", { id: "rng1" });
    assertEquals((await vireo.rescan()).removed.length, 1);
    assertEquals(await plugged({ ...rng, id: "rng2", addr: "3" }), ["0000:02:03.0"]);
    const back = recovered(vireo);
    await qmp.execute("system_reset");
    await back;
    await work(3);
    const deleted = qmp.events("DEVICE_DELETED");
    await qmp.execute("device_del", { id: "bridge" });
    const { removed } = await vireo.rescan();
    assertEquals(removed.map(({ transport }) => transport.name), ["0000:02:03.0"]);
    for await (const { data } of deleted) if (data.device === "bridge") break;
    await work(2);
  });
}

Deno.test("hot plug: a port has no room for what is too large, which hinders nothing else", async () => {
  await using vireo = await openVireo({
    target: "qtest:aarch64-virt-pci",
    devices: ["pcie-root-port,id=port1,chassis=1"],
  });
  const { bus } = vireo;
  const qmp = vireo.qmp!;
  // Its shared memory is a BAR of 16 MiB; the port has a window of 2 MiB.
  await qmp.execute("object-add", { "qom-type": "memory-backend-ram", id: "m", size: 16 << 20 });
  await qmp.execute("device_add", {
    driver: "ivshmem-plain",
    bus: "port1",
    id: "big",
    memdev: "m",
  });
  const before = bus.devices.length;
  await vireo.rescan();
  assertEquals(bus.devices.length, before);
  await qmp.execute("device_del", { id: "big" });
  await vireo.rescan();
  await qmp.execute("device_add", { driver: "virtio-rng-pci", bus: "port1", id: "small" });
  assertEquals((await vireo.rescan()).added.length, 1);
  for (const rng of bus.all(rngDriver)) assertEquals((await rng.read(16, SOON)).length, 16);
});

Deno.test("hot plug: a lease leaves a card as it found it, and ends after its machine", async () => {
  const [board] = PCI_BOARDS;
  await using platform = await QtestPlatform.start({
    board: board!,
    devices: ["virtio-rng-pci"],
  });
  const node = platform.nodes().find((node): node is PciNode =>
    node.kind === "pci" && node.vendor === 0x1af4
  )!;
  // PCI 3.0: the command register is at 4, the first capability's offset at 0x34, MSI-X is id 0x11.
  const COMMAND = 4;
  const BUS_MASTER = 4;
  const MASK_ALL = 0x4000;
  const msixOf = (config: ReturnType<PciNode["open"]>["config"]): number => {
    let at = config.read8(0x34);
    while (config.read8(at) !== 0x11) at = config.read8(at + 1);
    return at + 2;
  };
  const read = (): readonly number[] => {
    using lease = node.open();
    return [lease.config.read16(COMMAND), lease.config.read16(msixOf(lease.config))];
  };
  const before = read();
  {
    using lease = node.open();
    const { config } = lease;
    config.write16(COMMAND, before[0]! ^ BUS_MASTER);
    config.write16(msixOf(config), before[1]! ^ MASK_ALL);
    assertEquals([config.read16(COMMAND), config.read16(msixOf(config))], [
      before[0]! ^ BUS_MASTER,
      before[1]! ^ MASK_ALL,
    ]);
  }
  assertEquals(read(), before);
  const last = node.open();
  await platform[Symbol.asyncDispose]();
  last[Symbol.dispose]();
});

for (const board of MMIO_BOARDS) {
  Deno.test(`hot plug, qtest:${board.name}: QEMU plugs nothing into a slot, a reset is recovered`, async () => {
    await using vireo = await openVireo({ target: `qtest:${board.name}` });
    const { bus } = vireo;
    const qmp = vireo.qmp!;
    const refused = await assertRejects(
      () => qmp.execute("device_add", { driver: "virtio-rng-device" }),
      VireoError,
      "does not support hotplugging",
    );
    assertEquals(refused.code, "COMMAND_REFUSED");
    assertEquals(await vireo.rescan(), { added: [], removed: [], recovered: [] });
    const devices = [...bus.devices];
    const back = recovered(vireo);
    await qmp.execute("system_reset");
    await back;
    assertEquals(bus.devices, devices);
    await works(vireo);
  });
}

Deno.test("hot plug: a request that a reset lost fails with the reason", async () => {
  await using vireo = await openVireo({
    target: "qtest:aarch64-virt",
    // Entropy that never comes.
    qemuArgs: ["-chardev", "null,id=none", "-object", "rng-egd,chardev=none,id=never"],
    devices: ["virtio-rng-device,rng=never"],
  });
  // QEMU fills the slots from the last one.
  const device = vireo.bus.devices.find(({ driver }) => driver === rngDriver)!;
  const silent = vireo.bus.get(rngDriver)!;
  await assertRejects(() => silent.read(8, { deadline: 20 }), VireoError, "Timed out");
  const pending = assertRejects(() => silent.read(8, SOON), VireoError);
  const back = recovered(vireo);
  await vireo.qmp!.execute("system_reset");
  const { code, message } = await pending;
  assertEquals([code, message], [
    "DEVICE_NEEDS_RESET",
    `The machine reset the device (${device.name})`,
  ]);
  await back;
});
