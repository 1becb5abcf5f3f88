// The emulated transports as a raw driver finds them: every number is typed from virtio 1.4 §4.1 and §4.2.
import { assert, assertEquals } from "@std/assert";
import {
  BlkDevice,
  CryptoDevice,
  type DeviceModel,
  EmulatedMachine,
  MemoryDisk,
  NetDevice,
} from "@vireo/emu";
import { EchoModel } from "@vireo/emu/testing";
import type { Interrupt } from "@vireo/hal";
import { Hub } from "../../emu/backends/hub.ts";

const NO_VECTOR = 0xffff;
const CONFIG_CHANGE = 2;
const [STATUS, GENERATION] = [0x70, 0xfc];

/** Whether a message has come since the last look. */
function fired(interrupt: Interrupt): Promise<boolean> {
  const stop = new AbortController();
  const wait = interrupt.wait({ signal: stop.signal, ready: () => false });
  stop.abort();
  return wait.then(() => true, () => false);
}

/** A function with MSI-X on, up to DRIVER_OK, with a queue whose buffers the model keeps. */
function rig(vectors: { readonly config: number; readonly queue: number }) {
  const model = new EchoModel({ hold: true });
  const machine = EmulatedMachine.create({ bus: "pci", devices: [model], memorySize: 1 << 20 });
  const fn = machine.functions[0]!;
  const lease = fn.open();
  const { config } = lease;
  config.write16(4, 7);
  const messages = lease.messages(2)!;
  let cap = config.read8(0x34);
  while (config.read8(cap) !== 0x11) cap = config.read8(cap + 1);
  const where = config.read32(cap + 4);
  const table = lease.openBar(where & 7);
  for (const [i, { address, data }] of messages.entries()) {
    const entry = (where & ~7) + 16 * i;
    table.write32(entry, address);
    table.write32(entry + 8, data);
    table.write32(entry + 12, 0);
  }
  config.write16(cap + 2, 0x8000);
  const common = lease.openBar(4);
  common.write8(20, 3);
  common.write32(8, 1);
  common.write32(12, 1);
  common.write8(20, 0xb);
  common.write16(16, vectors.config);
  common.write16(24, 8);
  const { base } = machine.memory;
  common.write32(32, base);
  common.write32(40, base + 1024);
  common.write32(48, base + 2048);
  common.write16(26, vectors.queue);
  common.write16(28, 1);
  common.write8(20, 0xf);
  const view = new DataView(machine.memory.bytes.buffer);
  // A buffer of 8 bytes, device-writable, at 4096.
  view.setBigUint64(0, BigInt(base + 4096), true);
  view.setUint32(8, 8, true);
  view.setUint16(12, 2, true);
  view.setUint16(1024 + 2, 1, true);
  common.write16(0x3000, 0);
  assertEquals(model.held.length, 1);
  return {
    model,
    machine,
    fn,
    messages,
    isr: () => common.read8(0x1000),
    use() {
      model.release();
      assertEquals(view.getUint16(2048 + 2, true), 1);
    },
  };
}

Deno.test("spec pci: with MSI-X nothing is sent for a queue without a vector, nor for changes without one (dev.pci.used-notify.1, dev.pci.config-change.1)", async () => {
  for (
    const [config, queue] of [[0, 1], [NO_VECTOR, 1], [0, NO_VECTOR], [
      NO_VECTOR,
      NO_VECTOR,
    ]] as const
  ) {
    const { model, messages, use } = rig({ config, queue });
    const both = async () => [
      await fired(messages[0]!.interrupt),
      await fired(messages[1]!.interrupt),
    ];
    assertEquals(await both(), [false, false]);
    model.context!.configChanged();
    assertEquals(await both(), [config === 0, false]);
    use();
    assertEquals(await both(), [false, queue === 1]);
  }
});

Deno.test("spec pci: the ISR has the change's bit before its message goes out (dev.pci.isr.2)", async () => {
  const { model, machine, fn, messages, isr } = rig({ config: 0, queue: 1 });
  const seen: number[] = [];
  const fire = fn.msix.fire.bind(fn.msix);
  fn.msix.fire = (vector) => {
    seen.push(machine.device(0).interruptStatus);
    fire(vector);
  };
  model.context!.configChanged();
  assertEquals([seen, await fired(messages[0]!.interrupt)], [[CONFIG_CHANGE], true]);
  assertEquals([isr(), isr()], [CONFIG_CHANGE, 0]);
});

Deno.test("spec pci: on the legacy interface the configuration follows the header, with any width (dev.pci.legacy-layout.2, .3)", () => {
  for (const msix of [false, true]) {
    const model = new BlkDevice({ disk: new MemoryDisk(0x123 * 512) });
    const machine = EmulatedMachine.create({ bus: "pci", devices: [{ model, version: 1 }] });
    const lease = machine.functions[0]!.open();
    lease.config.write16(4, 7);
    if (msix) {
      let cap = lease.config.read8(0x34);
      while (lease.config.read8(cap) !== 0x11) cap = lease.config.read8(cap + 1);
      lease.config.write16(cap + 2, 0x8000);
    }
    const io = lease.openBar(0);
    // 20 bytes of header, and two vectors of 16 bits while MSI-X is on.
    const at = msix ? 24 : 20;
    const expected = Array.from({ length: 60 }, (_, i) => model.readConfig(i, 1));
    assertEquals(expected.slice(0, 4), [0x23, 0x01, 0, 0]);
    assertEquals(expected.map((_, i) => io.read8(at + i)), expected);
    for (let i = 0; i + 4 <= 60; i += 4) {
      const word = io.read32(at + i);
      const halves = io.read16(at + i) | io.read16(at + i + 2) << 16;
      const bytes = expected.slice(i, i + 4).reduceRight((sum, byte) => sum * 256 + byte, 0);
      assertEquals([word, halves >>> 0], [bytes, bytes], `offset ${i}`);
    }
  }
});

Deno.test("spec pci: on the legacy interface bits from 32 on are not acknowledged (dev.pci.legacy-layout.4)", () => {
  for (const device of [{ version: 1 }, { transitional: true }] as const) {
    const model = new NetDevice({ backend: new Hub().port() });
    const machine = EmulatedMachine.create({ bus: "pci", devices: [{ model, ...device }] });
    const lease = machine.functions[0]!.open();
    lease.config.write16(4, 7);
    const io = lease.openBar(0);
    io.write8(18, 0);
    io.write8(18, 3);
    io.write32(4, io.read32(0));
    io.write8(18, 7);
    const { features, status, legacy } = machine.device(0);
    assertEquals([status, legacy], [7, true]);
    assert(features.has(0));
    assertEquals([...features].filter((bit) => bit >= 32), []);
  }
});

Deno.test("spec mmio: ConfigGeneration moves on with whatever a driver could see in part (dev.mmio.layout.6)", () => {
  const model = new EchoModel({ configSize: 16 });
  const machine = EmulatedMachine.create({ devices: [model] });
  const slot = machine.slots[0]!;
  for (const status of [1, 3]) slot.write32(STATUS, status);
  const generation = (): number => slot.read32(GENERATION);
  /** As drivers read a field of 8 bytes: until the generation stood still. */
  const read = (during: () => void): [number, number, number] => {
    for (let tries = 1;; tries++) {
      const before = generation();
      const low = slot.read32(0x100);
      if (tries === 1) during();
      const high = slot.read32(0x104);
      if (generation() === before) return [low, high, tries];
    }
  };
  assertEquals(read(() => {}), [0, 0, 1]);
  // With a word of the model's and without, and 2^16 times, which no counter comes round by.
  const fill = (value: number): void => void model.config.fill(value, 0, 8);
  assertEquals(read(() => fill(1)), [0x01010101, 0x01010101, 2]);
  assertEquals(
    read(() => {
      fill(2);
      model.context!.configChanged();
    }),
    [0x02020202, 0x02020202, 2],
  );
  // What came and went again was there.
  assertEquals(
    read(() => {
      fill(3);
      model.context!.configChanged();
      fill(2);
    }),
    [0x02020202, 0x02020202, 2],
  );
  const before = generation();
  for (let i = 0; i < 65536; i++) {
    fill(i & 0xff);
    model.context!.configChanged();
  }
  assert(generation() !== before);
  assertEquals(generation(), generation());
});

/** Features that need others, by device type: §5.1.3.1, §5.2.3, §5.9.3.1. */
const NEEDS: Readonly<Record<string, readonly (readonly [bit: number, any: readonly number[]])[]>> =
  {
    net: [
      ...[7, 8, 10].map((bit) => [bit, [1]] as const),
      [9, [7, 8]],
      ...[11, 12, 14].map((bit) => [bit, [0]] as const),
      [13, [11, 12]],
      ...[18, 19, 20, 21, 22, 23].map((bit) => [bit, [17]] as const),
    ],
    blk: [[11, [9]]],
    crypto: [1, 2, 3, 4, 5].map((bit) => [bit, [0]] as const),
  };

const MODELS: readonly ((withhold: readonly number[]) => DeviceModel)[] = [
  (without) => new NetDevice({ backend: new Hub().port(), queuePairs: 2, without }),
  (withhold) => new BlkDevice({ disk: new MemoryDisk(1 << 16), withhold }),
  (withhold) => new CryptoDevice({ withhold }),
];

Deno.test("spec basic: a feature is offered only with those that it needs, whatever is withheld (dev.basic.features.1)", () => {
  for (const make of MODELS) {
    const { name, features } = make([]);
    const needs = NEEDS[name]!;
    const sets = [[], ...[...features].map((bit) => [bit]), ...needs.map(([, any]) => any)];
    for (const withheld of sets) {
      const offered = make(withheld).features;
      for (const [bit, any] of needs) {
        if (!offered.has(bit)) continue;
        assert(any.some((need) => offered.has(need)), `${name}: bit ${bit} without ${any}`);
      }
    }
  }
});
