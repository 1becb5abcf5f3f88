// A driver for virtio-rng on PCI written by hand, for tests: numbers are the specification's, typed again.
import { assert, assertEquals, assertRejects } from "@std/assert";
import type { Dma, Interrupt, Mmio, PciLease } from "@vireo/hal";
import { pciCapabilities } from "@vireo/hal/discover";

/** Which interfaces a device has. */
export type Kind = "legacy" | "transitional" | "modern";

/** Where a modern device's structure of a type is (virtio 1.4 §4.1.4). */
export function structure(
  lease: PciLease,
  type: number,
): { bar: Mmio; offset: number; length: number } {
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
async function silent(lines: readonly Interrupt[]): Promise<void> {
  for (const line of lines) {
    const stop = new AbortController();
    const wait = line.wait({ signal: stop.signal, ready: () => false });
    stop.abort(new Error("silent"));
    await assertRejects(() => wait, Error, "silent");
  }
}

/** Entropy from virtio-rng by a hand-written driver with one buffer in a ring. */
export async function entropy(
  dma: Dma,
  lease: PciLease,
  how: { kind: Kind; msix: boolean },
): Promise<Uint8Array> {
  const { config } = lease;
  using ring = dma.alloc(32768, { align: 4096 });
  using buffer = dma.alloc(64);
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
    // QEMU 10.0.13 offers 1024 where earlier ones offer 8.
    assert(bar.read16(at + 24) >= 8, "virtio-rng's queue size");
    bar.write16(at + 24, 8);
    assertEquals(bar.read16(at + 24), 8);
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
  const wait = {
    signal: AbortSignal.timeout(30_000),
    ready: () => view.getUint16(used + 2, true) === 1, // asked by machines that poll only
  };
  const fired = interrupt.wait(wait);
  notify();
  await fired;
  assertEquals(view.getUint16(used + 2, true), 1, "used.idx");
  assertEquals(view.getUint32(used + 8, true), 64, "used.ring[0].len");
  if (how.msix) await silent([lease.line!]);
  else await interrupt.wait(wait); // the line is still raised
  assertEquals(cause(), 1); // QEMU sets it with MSI-X too
  await silent([interrupt, ...messages.map((message) => message.interrupt)]);
  reset();
  return buffer.bytes.slice();
}
