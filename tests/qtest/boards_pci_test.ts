// Needs qemu-system-x86_64, qemu-system-aarch64 and qemu-system-riscv64.
//
// PCI as QEMU has it, without our drivers: numbers are the specification's, typed again.
import { assert, assertEquals, assertThrows } from "@std/assert";
import { type PciNode, VireoError } from "@vireo/hal";
import { QtestPlatform } from "@vireo/hal/qtest";
import { entropy, type Kind, structure } from "./pci_test_driver.ts";
import { PCI_BOARDS } from "../../firmware/boards/mod.ts";

const KINDS: readonly Kind[] = ["legacy", "transitional", "modern"];

function start(board: typeof PCI_BOARDS[number], kind: Kind, devices: readonly string[]) {
  const flags = { legacy: kind === "legacy", transitional: kind === "transitional" };
  return QtestPlatform.start({ board, devices, ...flags });
}

/** The functions that are virtio's. */
const virtio = (platform: QtestPlatform): PciNode[] =>
  platform.functions.filter(({ vendor }) => vendor === 0x1af4);

for (const board of PCI_BOARDS) {
  for (const kind of KINDS) {
    Deno.test(`pci ${board.name} ${kind}: entropy by INTx and by MSI-X`, async () => {
      // Eight functions, so that each of the four lines is used, shared, and swizzled.
      const devices = [
        "virtio-rng-pci,addr=01.0,multifunction=on",
        "virtio-rng-pci,addr=01.1",
        "virtio-rng-pci,addr=02",
        "virtio-rng-pci,addr=03",
        "virtio-rng-pci,addr=08",
      ];
      await using platform = await start(board, kind, devices);
      const functions = virtio(platform);
      assertEquals(functions.map(({ name }) => name), [
        "0000:00:01.0",
        "0000:00:01.1",
        "0000:00:02.0",
        "0000:00:03.0",
        "0000:00:08.0",
      ]);
      const seen = new Set<string>();
      for (const node of functions) {
        assertEquals(node.device, kind === "modern" ? 0x1044 : 0x1005);
        for (const msix of [false, true, false]) {
          using lease = node.open();
          seen.add((await entropy(platform.dma, lease, { kind, msix })).toHex());
        }
        using again = node.open();
        assertEquals(again.config.read16(4) & 7, 0, "nothing is decoded any more");
      }
      assertEquals(seen.size, 15);
    });
  }
}

Deno.test("pci: addresses are the function's own, and what is behind bridges answers too", async () => {
  for (const board of PCI_BOARDS) {
    const devices = [
      "pcie-root-port,id=port1,chassis=1,addr=04",
      "pcie-root-port,id=port2,chassis=2,addr=05",
      "virtio-rng-pci,bus=port1",
      "x3130-upstream,id=up,bus=port2",
      "xio3130-downstream,id=down,bus=up,chassis=3,slot=3",
      "virtio-net-pci,bus=down,mac=52:54:00:0a:0b:0c",
      "virtio-blk-pci,drive=disk,addr=06",
    ];
    await using platform = await QtestPlatform.start({
      board,
      transitional: true,
      extraArgs: ["-blockdev", "null-co,node-name=disk,size=1048576"],
      devices,
    });
    const found = virtio(platform);
    assertEquals(
      found.map(({ name, device }) => [name, device]),
      [
        ["0000:01:00.0", 0x1005],
        ["0000:07:00.0", 0x1000],
        ["0000:00:06.0", 0x1001],
      ].sort(),
    );
    const ranges: [number, number, string][] = [];
    for (const node of platform.functions) {
      using lease = node.open();
      for (const { address, size, space } of lease.bars) {
        assert(address > 0 && address % size === 0, `${node.name}: ${address}`);
        ranges.push([address, address + size, space]);
      }
    }
    for (const [i, [start, , space]] of ranges.entries()) {
      for (const [j, [base, end, other]] of ranges.entries()) {
        assert(i === j || space !== other || start < base || start >= end, "they overlap");
      }
    }
    using rng = found.find(({ device }) => device === 0x1005)!.open();
    const shown = { kind: "modern", msix: false } as const;
    assertEquals((await entropy(platform.dma, rng, shown)).length, 64);
    assertEquals((await entropy(platform.dma, rng, { ...shown, msix: true })).length, 64);
    using nic = found.find(({ device }) => device === 0x1000)!.open();
    nic.config.write16(4, 7);
    const config = structure(nic, 4);
    assertEquals(config.bar.read32(config.offset), 0x0a005452);
    assertEquals(nic.openBar(0).read32(20), 0x0a005452, "the same, by the legacy registers");
    using blk = found.find(({ device }) => device === 0x1001)!.open();
    blk.config.write16(4, 3);
    assertEquals(blk.openBar(0).read32(20), 2048, "sectors");
  }
});

Deno.test("pci: messages are counted, and come back", async () => {
  for (const board of PCI_BOARDS) {
    await using platform = await start(board, "modern", ["virtio-rng-pci"]);
    const node = virtio(platform)[0]!;
    const total = board.pci!.messages.kind === "gicv2m" ? 64 : 32;
    for (let round = 0; round < 2; round++) {
      using lease = node.open();
      assertEquals(lease.messages(total + 1), undefined);
      assertEquals(lease.messages(total - 1)?.length, total - 1);
      assertEquals(lease.messages(2), undefined);
      assertEquals(lease.messages(1)?.length, 1);
    }
  }
});

Deno.test("pci: what is not there is refused", async () => {
  await using platform = await start(PCI_BOARDS[0]!, "modern", ["virtio-rng-pci"]);
  using lease = virtio(platform)[0]!.open();
  assertEquals(lease.config.size, 4096);
  assertThrows(() => lease.openBar(0), VireoError, "Cannot map a base address register");
  assertThrows(() => lease.config.read32(4096), RangeError);
  assertThrows(() => lease.config.read16(1), RangeError);
  assertEquals(platform.slots, []);
});
