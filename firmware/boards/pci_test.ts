// Needs qemu-system-x86_64, qemu-system-aarch64 and qemu-system-riscv64.
//
// PCI as QEMU has it, without our drivers: numbers are the specification's, typed again.
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { type Mmio, type PciLease, type PciNode, VireoError } from "@vireo/hal";
import { pciCapabilities } from "@vireo/hal/discover";
import { QtestPlatform } from "@vireo/hal/qtest";
import { PCI_BOARDS } from "./mod.ts";

const never = { signal: AbortSignal.timeout(60_000), ready: () => false };
const KINDS = ["legacy", "transitional", "modern"] as const;
type Kind = typeof KINDS[number];

function start(board: typeof PCI_BOARDS[number], kind: Kind, devices: readonly string[]) {
  const flags = { legacy: kind === "legacy", transitional: kind === "transitional" };
  return QtestPlatform.start({ board, devices, ...flags });
}

/** The functions that are virtio's. */
const virtio = (platform: QtestPlatform): PciNode[] =>
  platform.functions.filter(({ vendor }) => vendor === 0x1af4);

/** Where a modern device's structure of a type is (virtio 1.4 §4.1.4). */
function structure(lease: PciLease, type: number): { bar: Mmio; offset: number; length: number } {
  const { config } = lease;
  const found = pciCapabilities(config, 9).find(({ offset }) => config.read8(offset + 3) === type);
  assert(found !== undefined, `no structure of type ${type}`);
  return {
    bar: lease.openBar(config.read8(found.offset + 4)),
    offset: config.read32(found.offset + 8),
    length: config.read32(found.offset + 12),
  };
}

/** Waits as a driver does who knows a line to be down now. */
async function silent(lines: readonly { wait(o: typeof never): Promise<void> }[]): Promise<void> {
  for (const line of lines) {
    const stop = new AbortController();
    const wait = line.wait({ signal: stop.signal, ready: () => false });
    stop.abort(new Error("silent"));
    await assertRejects(() => wait, Error, "silent");
  }
}

/** Entropy from virtio-rng by a hand-written driver with one buffer in a ring. */
async function entropy(
  platform: QtestPlatform,
  lease: PciLease,
  how: { kind: Kind; msix: boolean },
): Promise<Uint8Array> {
  const { config } = lease;
  using ring = platform.dma.alloc(16384, { align: 4096 });
  using buffer = platform.dma.alloc(64);
  const view = new DataView(ring.bytes.buffer, ring.bytes.byteOffset, ring.bytes.byteLength);
  config.write16(4, 7); // I/O, memory, bus master
  const messages = how.msix ? lease.messages(2)! : [];
  if (how.msix) {
    const cap = pciCapabilities(config, 0x11)[0]!.offset;
    const where = config.read32(cap + 4);
    const table = lease.openBar(where & 7);
    for (const [i, { address, data }] of messages.entries()) {
      const entry = (where & ~7) + 16 * i;
      table.write32(entry, address);
      table.write32(entry + 4, 0);
      table.write32(entry + 8, data);
      table.write32(entry + 12, 0);
    }
    config.write16(cap + 2, 0x8000);
  }
  let notify: () => void;
  let used: number;
  let cause: () => number;
  let reset: () => void;
  if (how.kind === "legacy") {
    const io = lease.openBar(0);
    reset = () => io.write8(18, 0);
    reset();
    io.write8(18, 3);
    io.write32(4, 0);
    io.write16(14, 0);
    const size = io.read16(12);
    used = Math.ceil((16 * size + 6 + 2 * size) / 4096) * 4096;
    io.write32(8, ring.address / 4096);
    if (how.msix) {
      io.write16(22, 1);
      assertEquals(io.read16(22), 1);
    }
    io.write8(18, 7);
    view.setUint16(16 * size + 4, 0, true);
    view.setUint16(16 * size + 2, 1, true);
    notify = () => io.write16(16, 0);
    cause = () => io.read8(19);
  } else {
    const common = structure(lease, 1);
    const isr = structure(lease, 3);
    const bell = structure(lease, 2);
    const { bar, offset: at } = common;
    reset = () => bar.write8(at + 20, 0);
    reset();
    assertEquals(bar.read8(at + 20), 0);
    bar.write8(at + 20, 3);
    bar.write32(at + 8, 1);
    bar.write32(at + 12, 1); // VERSION_1
    bar.write8(at + 20, 0xb);
    assertEquals(bar.read8(at + 20), 0xb);
    assertEquals(bar.read16(at + 18), 1, "number of queues");
    bar.write16(at + 22, 0);
    assertEquals(bar.read16(at + 24), 8, "virtio-rng's queue size");
    used = 4096;
    bar.write32(at + 32, ring.address);
    bar.write32(at + 40, ring.address + 128);
    bar.write32(at + 48, ring.address + used);
    for (const high of [36, 44, 52]) bar.write32(at + high, 0);
    if (how.msix) {
      bar.write16(at + 26, 1);
      assertEquals(bar.read16(at + 26), 1);
    }
    bar.write16(at + 28, 1);
    bar.write8(at + 20, 0xf);
    view.setUint16(132, 0, true);
    view.setUint16(130, 1, true);
    notify = () => bell.bar.write16(bell.offset, 0); // queue_notify_off is 0
    cause = () => isr.bar.read8(isr.offset);
  }
  view.setBigUint64(0, BigInt(buffer.address), true);
  view.setUint32(8, 64, true);
  view.setUint16(12, 2, true); // WRITE
  const interrupt = how.msix ? messages[1]!.interrupt : lease.line!;
  await silent([interrupt]);
  const fired = interrupt.wait(never);
  notify();
  await fired;
  assertEquals(view.getUint16(used + 2, true), 1, "used.idx");
  assertEquals(view.getUint32(used + 8, true), 64, "used.ring[0].len");
  if (how.msix) await silent([lease.line!]);
  else await interrupt.wait(never); // the line is still raised
  assertEquals(cause(), 1); // QEMU sets it with MSI-X too
  await silent([interrupt, ...messages.map((message) => message.interrupt)]);
  reset();
  return buffer.bytes.slice();
}

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
          seen.add((await entropy(platform, lease, { kind, msix })).toHex());
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
        ["0000:04:00.0", 0x1000],
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
    assertEquals((await entropy(platform, rng, shown)).length, 64);
    assertEquals((await entropy(platform, rng, { ...shown, msix: true })).length, 64);
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
  assertThrows(() => lease.openBar(0), VireoError, "no such base address register");
  assertThrows(() => lease.config.read32(4096), RangeError);
  assertThrows(() => lease.config.read16(1), RangeError);
  assertEquals(platform.slots, []);
});
