import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { FeatureSet, VireoError } from "@vireo/hal";
import { PCI_PLACE } from "../../testing/pci_config_script.ts";
import { ScriptedPci } from "../../testing/scripted_pci.ts";
import { PciFunction } from "./function.ts";
import { PciLegacyTransport } from "./legacy.ts";
import { BLOCK, dma, fields, legacy } from "./test_util.ts";

Deno.test("pci legacy: one word of features, status, and a reset that is waited for", async () => {
  const [fn, transport] = legacy({ features: FeatureSet.of(5, 28) });
  assertEquals([...transport.readFeatures()], [5, 28]);
  transport.writeFeatures(FeatureSet.of(5));
  transport.writeStatus(3);
  assertEquals(transport.readStatus(), 3);
  await transport.reset();
  assertEquals(fn.log, [
    "r legacy.device_features:4 0x10000020",
    "w legacy.driver_features:4 0x20",
    "w legacy.device_status:1 0x3",
    "r legacy.device_status:1 0x3",
    "w legacy.device_status:1 0x0",
    "r legacy.device_status:1 0x0",
  ]);
  assertThrows(
    () => transport.writeFeatures(FeatureSet.of(32)),
    RangeError,
    "feature bit 32: expected at most 31",
  );
  assertEquals([transport.legacy, transport.fixedQueueSize, transport.legacyQueueAlign], [
    true,
    true,
    4096,
  ]);
});

Deno.test("pci legacy sets a queue up by its page number, in the device's size only", () => {
  const [fn, transport] = legacy({ queues: [8, 8] });
  transport.enableQueue(1, BLOCK);
  assertEquals(fn.takeLog(), [
    "w legacy.queue_select:2 0x1",
    "r legacy.queue_size:2 0x8",
    "r legacy.queue_address:4 0x0",
    "w legacy.queue_address:4 0x5",
  ]);
  const used = assertThrows(() => transport.queueMaxSize(1), VireoError);
  assertEquals([used.code, used.seen], ["QUEUE_IN_USE", 5]);
  assertEquals(transport.queueMaxSize(2), 0);
  transport.disableQueue(1);
  assertEquals(fn.queues[1]!.enabled, 0);
});

for (
  const [what, ring, code, seen] of [
    ["a smaller size", { ...BLOCK, size: 4 }, "QUEUE_SIZE", 4],
    ["a misaligned address", { ...BLOCK, desc: 0x5010 }, "QUEUE_ADDRESS", 0x5010],
    [
      "the page number that stands for none",
      {
        size: 8,
        desc: 0,
        driver: 0x80,
        device: 0x1000,
      },
      "QUEUE_ADDRESS",
      0,
    ],
    ["parts that are apart", { ...BLOCK, device: 0x7000 }, "QUEUE_ADDRESS", 0x7000],
    [
      "a page number over 32 bits",
      { size: 8, desc: 2 ** 44, driver: 2 ** 44 + 0x80, device: 2 ** 44 + 0x1000 },
      "QUEUE_ADDRESS",
      2 ** 32,
    ],
  ] as const
) {
  Deno.test(`pci legacy refuses a queue with ${what}`, () => {
    const [fn, transport] = legacy();
    const error = assertThrows(() => transport.enableQueue(0, ring), VireoError);
    assertEquals([error.code, error.seen, error.queue], [code, seen, 0]);
    assertEquals(fn.queues[0]!.enabled, 0);
  });
}

Deno.test("pci legacy takes the last page number of 32 bits", () => {
  const [fn, transport] = legacy();
  const desc = 0xffffffff * 4096;
  transport.enableQueue(0, { size: 8, desc, driver: desc + 0x80, device: desc + 0x1000 });
  assertEquals(fn.queues[0]!.enabled, 0xffffffff);
});

Deno.test("pci legacy notifies by the index, without data", () => {
  const [fn, transport] = legacy();
  transport.notify(0, -1);
  transport.notify(1, 5);
  assertEquals(fn.log, ["w legacy.queue_notify:2 0x0", "w legacy.queue_notify:2 0x1"]);
});

Deno.test("pci legacy accesses configuration by bytes, after the vectors while MSI-X is on (drv.pci.legacy-layout.2)", () => {
  const [fn, transport] = legacy({ vectors: 4, messages: 4 });
  fn.deviceConfig.set([0x11, 0x22, 0x33, 0x44, 0x55]);
  assertEquals([transport.readConfig(0, 4), transport.readConfig(1, 4)], [0x44332211, 0x55443322]);
  transport.writeConfig(0, 2, 0x1a2b);
  assertEquals(fn.takeLog().slice(-2), ["w config+0:1 0x2b", "w config+1:1 0x1a"]);
  assertEquals(transport.configGeneration(), 0);
  assertEquals(transport.routeInterrupts([{ index: 0, wanted: true }]).policy, "msix-per-queue");
  fn.takeLog();
  assertEquals(transport.readConfig(0, 1), 0x2b);
  assertEquals(fn.takeLog(), ["r config+0:1 0x2b"]);
  const error = assertThrows(() => transport.readConfig(0x40 - 24, 1), VireoError);
  assertEquals(fields(error), {
    code: "CONFIG_ACCESS",
    register: "Config+40",
    queue: undefined,
    seen: 0x41,
    expected: "at most 0x40",
  });
  transport[Symbol.dispose]();
  assertEquals(fn.msix, false);
});

Deno.test("pci legacy reads the ISR once, which clears it", () => {
  const [fn, transport] = legacy();
  fn.isr = 3;
  assertEquals(transport.peekInterruptCause(), 3);
  assertEquals(fn.isr, 0);
  fn.isr = 1;
  assertEquals(transport.takeInterruptCause(), 3);
  assertEquals(transport.takeInterruptCause(), 0);
});

Deno.test("pci legacy has no queue reset and no shared memory", async () => {
  const [, transport] = legacy();
  const error = await assertRejects(() => transport.resetQueue(0), VireoError);
  assertEquals(error.code, "QUEUE_RESET_UNSUPPORTED");
  assertEquals(transport.sharedMemory(0), undefined);
});

Deno.test("pci legacy: what a function that was unplugged reads is DEVICE_REMOVED", async () => {
  const [fn, transport] = legacy();
  fn.unplug();
  const code = (error: VireoError): string => error.code;
  assertEquals(code(assertThrows(() => transport.readStatus(), VireoError)), "DEVICE_REMOVED");
  assertEquals(code(assertThrows(() => transport.queueMaxSize(0), VireoError)), "DEVICE_REMOVED");
  const reset = (): Promise<void> => transport.reset({ deadline: 60_000 });
  assertEquals(code(await assertRejects(reset, VireoError)), "DEVICE_REMOVED");
});

Deno.test("pci legacy forgets at a reset which interrupts it had looked at", async () => {
  const [fn, transport] = legacy();
  fn.isr = 3;
  assertEquals([transport.peekInterruptCause(), fn.isr], [3, 0]);
  await transport.reset();
  assertEquals(transport.takeInterruptCause(), 0);
});

Deno.test("pci legacy writes an aligned word of configuration at once, others by bytes", () => {
  const [fn, transport] = legacy();
  transport.writeConfig(4, 4, 0x87654321);
  assertEquals(fn.takeLog(), ["w config+4:4 0x87654321"]);
  transport.writeConfig(2, 4, 0x87654321);
  assertEquals(fn.takeLog(), [
    ...["w config+2:1 0x21", "w config+3:1 0x43", "w config+4:1 0x65", "w config+5:1 0x87"],
  ]);
});

Deno.test("pci legacy says where the used ring of one block must be", () => {
  const [, transport] = legacy();
  const apart = { ...BLOCK, device: 0x7000 };
  const error = assertThrows(() => transport.enableQueue(0, apart), VireoError);
  assertEquals(error.expected, 0x6000);
});

Deno.test("pci legacy takes a queue's vector from it, and reads that back (drv.pci.msix.2)", () => {
  const [fn, transport] = legacy({ queues: [8, 8], vectors: 4, messages: 4 });
  transport.routeInterrupts([{ index: 0, wanted: true }]);
  fn.takeLog();
  transport.disableQueue(0);
  assertEquals(fn.takeLog(), [
    "w legacy.queue_select:2 0x0",
    "w legacy.queue_msix_vector:2 0xffff",
    "r legacy.queue_msix_vector:2 0xffff",
    "w legacy.queue_address:4 0x0",
  ]);
  // One without a vector has none to lose.
  transport.disableQueue(1);
  assertEquals(fn.takeLog(), ["w legacy.queue_select:2 0x1", "w legacy.queue_address:4 0x0"]);
});

Deno.test("pci legacy has feature bits 0 to 31, and configuration to the last byte of its BAR", () => {
  const [fn, transport] = legacy();
  transport.writeFeatures(FeatureSet.of(31));
  assertEquals([...fn.accepted], [31]);
  // 64 bytes, 20 of which are the header.
  fn.deviceConfig[43] = 9;
  assertEquals(transport.readConfig(43, 1), 9);
  assertThrows(() => transport.readConfig(44, 1), VireoError, "it must lie in BAR0");
  for (const offset of [-1, 0.5]) {
    assertThrows(() => transport.readConfig(offset, 1), RangeError, `offset ${offset}`);
  }
});

Deno.test("pci legacy is for ids below 0x1040, and needs the header alone of its BAR", () => {
  const open = (fn: ScriptedPci) => PciLegacyTransport.probe(PciFunction.open(fn), dma);
  const bar = (size: number) => ({ ...PCI_PLACE.BARS[0]!, size });
  const made = (device: number, size: number) =>
    new ScriptedPci({ device, revision: 0, capabilities: [], bars: [bar(size)] });
  assertEquals(open(made(0x103f, 20)).kind, "pci-legacy");
  const modern = assertThrows(() => open(made(0x1040, 20)), VireoError);
  assertEquals([modern.code, modern.seen], ["NO_DEVICE", 0x1040]);
  const short = assertThrows(() => open(made(0x103f, 19)), VireoError);
  assertEquals([short.code, short.seen], ["OUT_OF_MEMORY", 19]);
});

Deno.test("pci legacy says what the machine said of a BAR, unless that cannot be mapped", () => {
  for (const code of ["BAD_ACCESS", "HOST_ERROR"] as const) {
    const fn = new ScriptedPci({ device: 0x1000, capabilities: [] });
    const reason = new VireoError(code, "As the test wants");
    fn.openBar = () => {
      throw reason;
    };
    const error = assertThrows(
      () => PciLegacyTransport.probe(PciFunction.open(fn), dma),
      VireoError,
    );
    if (code === "HOST_ERROR") assertEquals(error, reason);
    else assertEquals([error.code, error.cause], ["OUT_OF_MEMORY", reason]);
  }
});
