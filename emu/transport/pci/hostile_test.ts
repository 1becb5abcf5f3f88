// Numbers are typed again from virtio 1.4 §4.1 and PCI Local Bus 3.0 §6.
import { assert, assertEquals, assertThrows } from "@std/assert";
import { type Mmio, VireoError } from "@vireo/hal";
import type { DeviceModel } from "../../device.ts";
import { RngDevice } from "../../devices/rng/mod.ts";
import { EmulatedMachine } from "../../machine.ts";
import { EchoModel } from "../../testing/mod.ts";
import type { PciDevice } from "./pci_device.ts";

const COMMAND = 4;
const MASTER = 7;
const NO_MASTER = 3;

interface Rig {
  readonly machine: EmulatedMachine;
  readonly fn: PciDevice;
  readonly config: Mmio;
  readonly common: Mmio;
  /** Bytes of RAM that the device gets as its buffer. */
  readonly buffer: Uint8Array;
  /** The used index of the queue. */
  used(): number;
  /** Makes the buffer available once more, and notifies. */
  request(): void;
}

/** Offset of MSI-X message control. */
function controlOf(config: Mmio): number {
  let at = config.read8(0x34);
  while (config.read8(at) !== 0x11) at = config.read8(at + 1);
  return at + 2;
}

function rig(model: DeviceModel = new RngDevice({ random: (into) => void into.fill(0xa5) })): Rig {
  const machine = EmulatedMachine.create({ bus: "pci", devices: [model], memorySize: 1 << 20 });
  const fn = machine.functions[0]!;
  const lease = fn.open();
  const { config } = lease;
  const { base, bytes } = machine.memory;
  const view = new DataView(bytes.buffer);
  let available = 0;
  config.write16(COMMAND, NO_MASTER);
  const common = lease.openBar(4);
  return {
    machine,
    fn,
    config,
    common,
    buffer: bytes.subarray(8192, 8256),
    used: () => view.getUint16(4098, true),
    request() {
      if (available === 0) {
        view.setBigUint64(0, BigInt(base + 8192), true);
        view.setUint32(8, 64, true);
        view.setUint16(12, 2, true);
        common.write8(20, 3);
        common.write32(8, 1);
        common.write32(12, 1);
        common.write8(20, 0xb);
        common.write16(24, 8);
        common.write32(32, base);
        common.write32(40, base + 128);
        common.write32(48, base + 4096);
        common.write16(26, 0);
        common.write16(28, 1);
        common.write8(20, 0xf);
      }
      view.setUint16(130, ++available, true);
      common.write16(0x3000, 0);
    },
  };
}

Deno.test("pci: nothing is read or written in memory while BUS_MASTER is off (PCI 3.0 §6.2.2)", () => {
  const it = rig();
  it.request();
  assertEquals([it.used(), it.buffer[0]], [0, 0]);
  assertEquals(it.machine.violations().map(({ reason }) => reason), ["while bus mastering is off"]);
  // What was available meanwhile is served once the function may.
  it.config.write16(COMMAND, MASTER);
  assertEquals([it.used(), it.buffer[0]], [1, 0xa5]);
  it.buffer.fill(0);
  it.config.write16(COMMAND, NO_MASTER);
  it.request();
  assertEquals([it.used(), it.buffer[0]], [1, 0]);
  it.config.write8(COMMAND, MASTER);
  assertEquals([it.used(), it.buffer[0]], [2, 0xa5]);
});

Deno.test("pci: a chain that the device holds when BUS_MASTER goes off is taken again, not written meanwhile", () => {
  const model = new EchoModel({ hold: true });
  const it = rig(model);
  it.config.write16(COMMAND, MASTER);
  it.request();
  const [old] = model.held;
  assertEquals(model.held.length, 1);
  it.config.write16(COMMAND, NO_MASTER);
  model.context!.queue(0)?.push(old!.chain);
  assertEquals([it.used(), model.context!.memory(it.machine.memory.base, 1)], [0, undefined]);
  model.hold = false;
  it.config.write16(COMMAND, MASTER);
  assertEquals(it.used(), 1);
});

Deno.test("pci: a message is a memory write: without BUS_MASTER it waits as pending", () => {
  const it = rig();
  const lease = it.fn.open();
  const [message] = lease.messages(1)!;
  it.config.write16(controlOf(it.config), 0x8000);
  const table = lease.openBar(1);
  table.write32(0, message!.address);
  table.write32(8, message!.data);
  table.write32(12, 0);
  it.common.write16(16, 0);
  it.fn.msix.fire(0);
  assertEquals(table.read8(0x800) & 1, 1);
  it.config.write16(COMMAND, MASTER);
  assertEquals(table.read8(0x800) & 1, 0);
});

Deno.test("pci: MSI-X message control takes writes of 8, 16 and 32 bits, and no other bits", () => {
  const { config, fn } = rig();
  const at = controlOf(config);
  const size = config.read16(at);
  config.write32(at - 2, 0x8000_0000);
  assertEquals([fn.msix.enabled, config.read16(at)], [true, size | 0x8000]);
  config.write8(at + 1, 0x40);
  assertEquals([fn.msix.enabled, config.read16(at)], [false, size | 0x4000]);
  config.write8(at + 1, 0xff);
  config.write8(at, 0xff);
  assertEquals([fn.msix.enabled, config.read16(at)], [true, size | 0xc000]);
  config.write16(at, 0);
  assertEquals([fn.msix.enabled, config.read16(at)], [false, size]);
});

Deno.test("pci: Interrupt Status is the OR of the ISR bits while MSI-X is off [dev.pci.isr.4]", () => {
  const { config, fn, common } = rig();
  const at = controlOf(config);
  const bit = (): number => config.read16(6) & 8;
  assertEquals(bit(), 0);
  fn.hosted.raise(1);
  assertEquals([bit(), config.read8(6) & 8, config.read32(4) >>> 16 & 8], [8, 8, 8]);
  // INTX_DISABLE keeps the line down, not the bit (PCI 3.0 §6.2.3).
  config.write16(COMMAND, 0x400 | MASTER);
  assertEquals([bit(), fn.lineActive], [8, false]);
  config.write16(at, 0x8000);
  assertEquals(bit(), 0);
  config.write16(at, 0);
  fn.hosted.raise(2);
  assertEquals([bit(), common.read8(0x1000), bit()], [8, 3, 0]);
});

Deno.test("pci: driver_feature reads back what was accepted of what is offered [dev.pci.common-cfg.4]", () => {
  const { common } = rig();
  common.write8(20, 3);
  for (const word of [0, 1]) {
    common.write32(0, word);
    common.write32(8, word);
    const offered = common.read32(4);
    common.write32(12, 0xffffffff);
    assertEquals(common.read32(12), offered, `word ${word}`);
    assert(offered !== 0xffffffff);
  }
  common.write32(8, 0);
  assertEquals(common.read32(12), (common.write32(0, 0), common.read32(4)));
  // It is still held against the driver.
  common.write8(20, 0xb);
  assertEquals(common.read8(20), 3);
});

Deno.test("pci: config_generation moves on whenever the configuration is not what was read [dev.pci.common-cfg.5]", () => {
  const model = new EchoModel({ configSize: 16 });
  const { common } = rig(model);
  const generation = (): number => common.read8(21);
  const first = generation();
  assertEquals([common.read32(0x2000), generation()], [0, first]);
  // The model did not say a word of it.
  model.config[8] = 1;
  const second = generation();
  assert(second !== first);
  assertEquals(generation(), second);
  // An 8-bit counter does not come round however often it changes between two looks.
  for (let i = 0; i < 256; i++) {
    model.config[8] = i;
    model.context!.configChanged();
  }
  assert(generation() !== second);
});

Deno.test("pci: a BAR that a function lacks, or whose registers are not mapped, cannot be opened", () => {
  const { fn } = rig();
  const { bars, openBar } = fn.open();
  for (const { index } of bars) openBar(index);
  for (let index = -1; index < 7; index++) {
    if (bars.some((bar) => bar.index === index)) continue;
    const error = assertThrows(() => openBar(index), VireoError, "Cannot map a BAR");
    assertEquals([error.code, error.seen], ["BAD_ACCESS", index]);
  }
  const random = (into: Uint8Array): void => void into.fill(1);
  const device = { model: new RngDevice({ random }), unmapped: [1] };
  const machine = EmulatedMachine.create({ bus: "pci", devices: [device] });
  const lease = machine.functions[0]!.open();
  lease.openBar(4);
  assertThrows(() => lease.openBar(1), VireoError, "Cannot map a BAR");
});
