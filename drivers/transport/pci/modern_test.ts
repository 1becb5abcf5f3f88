import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { FeatureSet, VireoError } from "@vireo/hal";
import { le32, standardCapabilities, virtioCapability } from "../../testing/pci_config_script.ts";
import { dma, fields, modern, RING } from "./test_util.ts";
import { probePci } from "./probe.ts";
import { ScriptedPci } from "../../testing/scripted_pci.ts";

Deno.test("pci modern reads and writes four feature words, the selector before each", () => {
  const [fn, transport] = modern({ features: FeatureSet.of(5, 32, 65, 127) });
  assertEquals([...transport.readFeatures()], [5, 32, 65, 127]);
  assertEquals(fn.takeLog(), [
    "w common.device_feature_select:4 0x0",
    "r common.device_feature:4 0x20",
    "w common.device_feature_select:4 0x1",
    "r common.device_feature:4 0x1",
    "w common.device_feature_select:4 0x2",
    "r common.device_feature:4 0x2",
    "w common.device_feature_select:4 0x3",
    "r common.device_feature:4 0x80000000",
  ]);
  transport.writeFeatures(FeatureSet.of(5, 32, 65));
  assertEquals(fn.takeLog(), [
    "w common.driver_feature_select:4 0x0",
    "w common.driver_feature:4 0x20",
    "w common.driver_feature_select:4 0x1",
    "w common.driver_feature:4 0x1",
    "w common.driver_feature_select:4 0x2",
    "w common.driver_feature:4 0x2",
    "w common.driver_feature_select:4 0x3",
    "w common.driver_feature:4 0x0",
  ]);
  assertEquals([...fn.accepted], [5, 32, 65]);
});

Deno.test("pci modern demands VERSION_1 before it writes a register", () => {
  const [fn, transport] = modern();
  const error = assertThrows(() => transport.writeFeatures(FeatureSet.of(5)), VireoError);
  assertEquals(error.code, "VERSION_1_REQUIRED");
  assertEquals(fn.log, []);
});

for (
  const [feature, length, bytes] of [[39, 56, 58], [39, 57, 58], [40, 58, 60]] as const
) {
  Deno.test(`pci modern refuses feature ${feature} with ${length} bytes of COMMON`, () => {
    const [, ...rest] = standardCapabilities();
    const short = virtioCapability({ type: 1, length });
    const [fn, transport] = modern({ capabilities: [short, ...rest] });
    const error = assertThrows(
      () => transport.writeFeatures(FeatureSet.of(32, feature)),
      VireoError,
    );
    assertEquals([error.code, error.seen, error.expected], [
      "BAD_CAPABILITY",
      length,
      `at least ${bytes} bytes`,
    ]);
    assertEquals(fn.log, []);
    const [, whole] = modern({
      capabilities: [virtioCapability({ type: 1, length: bytes }), ...rest],
    });
    whole.writeFeatures(FeatureSet.of(32, feature));
  });
}

Deno.test("pci modern sets queues up with accesses of each field's width, and enables them last (drv.pci.layout.1, drv.pci.common-cfg.4)", () => {
  const [fn, transport] = modern({ queues: [16, 8] });
  transport.enableQueue(1, RING);
  assertEquals(fn.takeLog(), [
    "r common.num_queues:2 0x2",
    "w common.queue_select:2 0x1",
    "r common.queue_size:2 0x8",
    "r common.queue_enable:2 0x0",
    "r common.queue_notify_off:2 0x1",
    "w common.queue_size:2 0x8",
    "w common.queue_desc:4 0x1000",
    "w common.queue_desc_hi:4 0x1",
    "w common.queue_driver:4 0x2000",
    "w common.queue_driver_hi:4 0x1",
    "w common.queue_device:4 0x3000",
    "w common.queue_device_hi:4 0x1",
  ]);
  transport.enableQueue(0, RING);
  assertEquals(fn.queues.map(({ enabled }) => enabled), [0, 0]);
  fn.takeLog();
  transport.startQueues();
  assertEquals(fn.takeLog(), [
    "w common.queue_select:2 0x1",
    "w common.queue_enable:2 0x1",
    "w common.queue_select:2 0x0",
    "w common.queue_enable:2 0x1",
  ]);
  transport.startQueues();
  assertEquals(fn.log, []);
});

Deno.test("pci modern knows which queues there are", () => {
  const [fn, transport] = modern({ queues: [8, 0] });
  assertEquals([transport.queueMaxSize(0), transport.queueMaxSize(1), transport.queueMaxSize(2)], [
    8,
    0,
    0,
  ]);
  // Queues past the last one are not even selected.
  fn.takeLog();
  transport.queueMaxSize(2);
  assertEquals(fn.takeLog().filter((line) => line.includes("queue_select")), []);
  fn.queues[0]!.enabled = 1;
  const used = assertThrows(() => transport.queueMaxSize(0), VireoError);
  assertEquals(fields(used), {
    code: "QUEUE_IN_USE",
    register: "queue_enable",
    queue: 0,
    seen: 1,
    expected: 0,
  });
  const none = assertThrows(() => transport.enableQueue(2, RING), VireoError);
  assertEquals(none.code, "QUEUE_UNAVAILABLE");
});

Deno.test("pci modern sets up a queue of one descriptor", () => {
  const [fn, transport] = modern();
  transport.enableQueue(0, { ...RING, size: 1 });
  transport.startQueues();
  assertEquals(fn.queues[0]!.enabled, 1);
});

Deno.test("pci modern refuses a queue whose own reset has not ended", () => {
  const [fn, transport] = modern();
  fn.queues[0]!.reset = 1;
  assertEquals(transport.queueMaxSize(0), 8);
  transport.writeFeatures(FeatureSet.of(32, 40));
  const error = assertThrows(() => transport.queueMaxSize(0), VireoError);
  assertEquals([error.code, error.register], ["QUEUE_IN_USE", "queue_reset"]);
});

for (
  const [what, ring, code] of [
    ["size 0", { ...RING, size: 0 }, "QUEUE_SIZE"],
    ["size 9 of 8", { ...RING, size: 9 }, "QUEUE_SIZE"],
    ["size 4.5", { ...RING, size: 4.5 }, "QUEUE_SIZE"],
    ["a misaligned table", { ...RING, desc: 0x1008 }, "QUEUE_ADDRESS"],
    ["a misaligned driver area", { ...RING, driver: 0x1001 }, "QUEUE_ADDRESS"],
    ["a misaligned device area", { ...RING, device: 0x1002 }, "QUEUE_ADDRESS"],
    ["an address over 2^53", { ...RING, desc: 2 ** 53 }, "QUEUE_ADDRESS"],
  ] as const
) {
  Deno.test(`pci modern refuses a queue with ${what}`, () => {
    const [fn, transport] = modern();
    assertEquals(assertThrows(() => transport.enableQueue(0, ring), VireoError).code, code);
    transport.startQueues();
    assertEquals(fn.queues[0]!.enabled, 0);
  });
}

Deno.test("pci modern notifies by a 16-bit write of the index, or 32 bits with data (drv.pci.avail-notify.1 to .4)", () => {
  const [fn, transport] = modern({ queues: [8, 8], notifyOff: (queue) => queue + 3 });
  transport.enableQueue(1, RING);
  fn.takeLog();
  transport.notify(1, -1);
  assertEquals(fn.takeLog(), ["w notify+0x10:2 0x1"]);
  transport.notify(1, 0x8123);
  assertEquals(fn.takeLog(), ["w notify+0x10:4 0x81230001"]);
  assertThrows(
    () => transport.notify(0, -1),
    TypeError,
    "Cannot notify queue 0: it must be set up",
  );
});

Deno.test("pci modern notifies by queue_notif_config_data (drv.pci.avail-notify.5, .6)", () => {
  const [fn, transport] = modern({ queues: [8, 8], notifId: (queue) => 0xabc0 + queue });
  transport.writeFeatures(FeatureSet.of(32, 39));
  transport.enableQueue(1, RING);
  fn.takeLog();
  transport.notify(1, -1);
  transport.notify(1, 7);
  assertEquals(fn.takeLog(), ["w notify+0x4:2 0xabc1", "w notify+0x4:4 0x7abc1"]);
});

Deno.test("pci modern refuses a notification address outside NOTIFY or not aligned", () => {
  const [common, isr, device] = standardCapabilities() as [number[], number[], number[]];
  const notify = (length: number, multiplier: number): number[] =>
    virtioCapability({ type: 2, offset: 0x3000, length, more: le32(multiplier) });
  const attempt = (data: boolean, off: number, length: number, multiplier: number): string => {
    const [, transport] = modern({
      capabilities: [common, isr, device, notify(length, multiplier)],
      notifyOff: () => off,
    });
    transport.writeFeatures(data ? FeatureSet.of(32, 38) : FeatureSet.of(32));
    try {
      transport.enableQueue(0, RING);
      return "set up";
    } catch (error) {
      return `${(error as VireoError).code} ${(error as VireoError).register}`;
    }
  };
  const refused = "BAD_CAPABILITY queue_notify_off";
  assertEquals(attempt(false, 1, 6, 4), "set up");
  assertEquals(attempt(false, 1, 5, 4), refused);
  assertEquals(attempt(false, 0xffff, 0x1000, 0xffffffff), refused);
  assertEquals(attempt(false, 9, 2, 0), "set up");
  assertEquals(attempt(false, 1, 0x1000, 1), refused);
  assertEquals(attempt(true, 1, 8, 4), "set up");
  assertEquals(attempt(true, 1, 7, 4), refused);
  assertEquals(attempt(true, 1, 0x1000, 2), refused);
});

Deno.test("pci modern resets by status 0 and waits until it reads 0 (drv.pci.common-cfg.5)", async () => {
  let reads = 0;
  const [fn, transport] = modern({ reads: { "common.device_status": () => ++reads < 3 ? 4 : 0 } });
  await transport.reset();
  assertEquals(fn.log, [
    "w common.device_status:1 0x0",
    "r common.device_status:1 0x4",
    "r common.device_status:1 0x4",
    "r common.device_status:1 0x0",
  ]);
  const [, stuck] = modern({ reads: { "common.device_status": () => 4 } });
  const error = await assertRejects(() => stuck.reset({ deadline: 5 }), VireoError);
  assertEquals(fields(error), {
    code: "RESET_TIMEOUT",
    register: "device_status",
    queue: undefined,
    seen: 4,
    expected: 0,
  });
  assertThrows(() => stuck.writeStatus(0), RangeError);
});

Deno.test("pci modern resets one queue; done when both registers read 0 (drv.pci.common-cfg.7)", async () => {
  let resets = 2;
  let enables = 2;
  const [fn, transport] = modern({
    reads: {
      "common.queue_reset": () => Math.max(0, --resets),
      "common.queue_enable": (honest) => resets > 0 ? honest : Math.max(0, --enables),
    },
  });
  await transport.resetQueue(0);
  assertEquals(fn.log, [
    "w common.queue_select:2 0x0",
    "w common.queue_reset:2 0x1",
    "w common.queue_select:2 0x0",
    "r common.queue_reset:2 0x1",
    "w common.queue_select:2 0x0",
    "r common.queue_reset:2 0x0",
    "w common.queue_select:2 0x0",
    "r common.queue_enable:2 0x1",
    "w common.queue_select:2 0x0",
    "r common.queue_enable:2 0x0",
  ]);
  for (
    const [register, name] of [["queue_reset", "queue_reset"], ["queue_enable", "queue_enable"]]
  ) {
    const [, stuck] = modern({ reads: { [`common.${register}`]: () => 1 } });
    const error = await assertRejects(() => stuck.resetQueue(0, { deadline: 5 }), VireoError);
    assertEquals([error.code, error.register, error.queue], ["RESET_TIMEOUT", name, 0]);
  }
});

Deno.test("pci modern without a queue_reset register does not reset queues", async () => {
  const [, ...rest] = standardCapabilities();
  const short = virtioCapability({ type: 1, length: 58 });
  const [, transport] = modern({ capabilities: [short, ...rest] });
  const error = await assertRejects(() => transport.resetQueue(0), VireoError);
  assertEquals(error.code, "QUEUE_RESET_UNSUPPORTED");
});

Deno.test("pci modern never writes 0 to queue_enable to take a queue down (drv.pci.common-cfg.6)", () => {
  const [fn, transport] = modern();
  transport.enableQueue(0, RING);
  transport.disableQueue(0);
  transport.startQueues();
  assertEquals(fn.queues[0]!.enabled, 0);
  assertEquals(fn.log.filter((line) => line.startsWith("w common.queue_enable")), []);
  fn.queues[0]!.enabled = 1;
  const error = assertThrows(() => transport.disableQueue(0), VireoError);
  assertEquals([error.code, error.register], ["QUEUE_IN_USE", "queue_enable"]);
});

Deno.test("pci modern reads configuration with one access of the field's width", () => {
  const [fn, transport] = modern();
  transport.writeConfig(0, 4, 0x44332211);
  transport.writeConfig(4, 2, 0x16655);
  transport.writeConfig(6, 1, 0x77);
  assertEquals([1, 2, 4].map((width) => transport.readConfig(4, width as 1 | 2 | 4)), [
    0x55,
    0x6655,
    0x776655,
  ]);
  fn.generation = 9;
  assertEquals(transport.configGeneration(), 9);
  assertEquals(fn.log, [
    "w config+0:4 0x44332211",
    "w config+4:2 0x6655",
    "w config+6:1 0x77",
    "r config+4:1 0x55",
    "r config+4:2 0x6655",
    "r config+4:4 0x776655",
    "r common.config_generation:1 0x9",
  ]);
  assertThrows(() => transport.readConfig(2, 4), RangeError);
  const error = assertThrows(() => transport.readConfig(0x1000, 4), VireoError);
  assertEquals([error.code, error.expected], ["CONFIG_ACCESS", "at most 0x1000"]);
});

Deno.test("pci modern: what a function that was unplugged reads is DEVICE_REMOVED, at once", async () => {
  const [fn, transport] = modern({ line: "polled" });
  transport.writeFeatures(FeatureSet.of(32, 40));
  transport.enableQueue(0, RING);
  assertEquals(transport.isPresent(), true);
  fn.unplug();
  assertEquals(transport.isPresent(), false);
  const code = (error: VireoError): string => error.code;
  assertEquals(code(assertThrows(() => transport.readStatus(), VireoError)), "DEVICE_REMOVED");
  assertEquals(transport.peekInterruptCause(), 3);
  assertEquals(
    code(assertThrows(() => transport.takeInterruptCause(), VireoError)),
    "DEVICE_REMOVED",
  );
  const deadline = { deadline: 60_000 };
  assertEquals(
    code(await assertRejects(() => transport.reset(deadline), VireoError)),
    "DEVICE_REMOVED",
  );
  assertEquals(
    code(await assertRejects(() => transport.resetQueue(0, deadline), VireoError)),
    "DEVICE_REMOVED",
  );
  assertEquals(code(assertThrows(() => transport.queueMaxSize(0), VireoError)), "DEVICE_REMOVED");
  transport.disableQueue(0);
  transport[Symbol.dispose]();
  assertEquals(fn.leases, 0);
  assertEquals(code(assertThrows(() => probePci(fn, dma), VireoError)), "DEVICE_REMOVED");
});

Deno.test("pci modern takes a status of all ones from a function that is there", () => {
  const [, transport] = modern({ reads: { "common.device_status": () => 0xff } });
  assertEquals(transport.readStatus(), 0xff);
});

Deno.test("pci modern frees nothing twice and keeps no lease of a function it cannot use", () => {
  const fn = new ScriptedPci({ device: 0x1040 + 42, capabilities: [] });
  assertThrows(() => probePci(fn, dma), VireoError);
  assertEquals(fn.leases, 0);
});

Deno.test("pci modern: a reset takes from the transport what it knew of the queues", async () => {
  const [fn, transport] = modern({ queues: [8, 8] });
  transport.enableQueue(0, RING);
  transport.startQueues();
  transport.enableQueue(1, RING);
  await transport.reset();
  fn.takeLog();
  // The one that was set up is not enabled now.
  transport.startQueues();
  assertThrows(() => transport.notify(0, -1), TypeError, "it must be set up");
  assertEquals(fn.takeLog(), []);
});

Deno.test("pci modern: the vector of a queue is written when it is routed, and again after it was taken down", () => {
  const [fn, transport] = modern({ queues: [8, 8, 8], vectors: 4, messages: 4 });
  transport.routeInterrupts([{ index: 0, wanted: true }, { index: 1, wanted: true }]);
  fn.takeLog();
  const vectors = () => fn.takeLog().filter((line) => line.includes("queue_msix_vector"));
  transport.enableQueue(1, RING);
  assertEquals(vectors(), []);
  // Another queue is selected when this one is taken down.
  transport.queueMaxSize(2);
  transport.disableQueue(1);
  assertEquals([vectors(), fn.queues.map(({ vector }) => vector)], [
    ["w common.queue_msix_vector:2 0xffff"],
    [1, 0xffff, 0xffff],
  ]);
  transport.enableQueue(1, RING);
  assertEquals([vectors().length, fn.queues[1]!.vector], [2, 2]);
  transport.disableQueue(2);
  assertEquals(vectors(), []);
});

Deno.test("pci modern: what is at address 0, or in the last bytes of a structure, is in reach", async () => {
  const [common, ...rest] = standardCapabilities();
  // COMMON up to queue_reset.
  common![12] = 60;
  const [fn, transport] = modern({ capabilities: [common!, ...rest] });
  transport.enableQueue(0, { ...RING, desc: 0 });
  transport.startQueues();
  await transport.resetQueue(0);
  assertEquals(fn.queues[0]!.enabled, 0);
  transport.writeConfig(0xffc, 4, 0x12345678);
  assertEquals(transport.readConfig(0xffc, 4), 0x12345678);
  const { seen } = assertThrows(() => transport.readConfig(0x1000, 2), VireoError);
  assertEquals(seen, 0x1002);
  for (const offset of [-4, 0.5, NaN]) {
    assertThrows(() => transport.readConfig(offset, 4), RangeError, `offset ${offset}`);
  }
});

Deno.test("pci modern names the device whose notification address is outside NOTIFY", () => {
  const [fn, transport] = modern({ notifyOff: () => 0x1000 });
  const { code, device } = assertThrows(() => transport.enableQueue(0, RING), VireoError);
  assertEquals([code, device], ["BAD_CAPABILITY", fn.name]);
});

Deno.test("pci modern notifies with 32 bits of which the data is 0", () => {
  const [fn, transport] = modern();
  transport.writeFeatures(FeatureSet.of(32, 38));
  transport.enableQueue(0, RING);
  fn.takeLog();
  transport.notify(0, 0);
  assertEquals(fn.takeLog(), ["w notify+0x0:4 0x0"]);
});

Deno.test("pci modern: a function that a reset of the machine took decoding from is reset when it decodes again", async () => {
  const [fn, transport] = modern({
    reads: { "common.device_status": (honest) => (fn.command & 2) === 0 ? 0xff : honest },
  });
  fn.status = 0xf;
  fn.config.write16(4, 0);
  await transport.reset();
  assertEquals(fn.takeLog(), [
    "w common.device_status:1 0x0",
    "r common.device_status:1 0xff",
    "w common.device_status:1 0x0",
    "r common.device_status:1 0x0",
  ]);
  // One that decodes is not reset again, whatever it reads as.
  const [stuck, other] = modern({ reads: { "common.device_status": () => 0xff } });
  await assertRejects(() => other.reset({ deadline: 1 }), VireoError, "to reset");
  assertEquals(stuck.takeLog().filter((line) => line.startsWith("w ")), [
    "w common.device_status:1 0x0",
  ]);
});

Deno.test("pci modern maps each BAR once, and says what the machine said if it cannot", () => {
  const fn = new ScriptedPci();
  const opened: number[] = [];
  const { openBar } = fn;
  fn.openBar = (index) => (opened.push(index), openBar.call(fn, index));
  const transport = probePci(fn, dma);
  transport.readStatus();
  assertEquals([opened, transport.name, transport.dma], [[4], fn.name, dma]);
  assertEquals(transport.interrupt, fn.line);
  transport[Symbol.dispose]();
  // There is a way around a BAR that cannot be mapped, and none around another failure.
  const reason = new VireoError("HOST_ERROR", "As the test wants");
  const failing = new ScriptedPci({ access: true });
  failing.openBar = () => {
    throw reason;
  };
  assertEquals(assertThrows(() => probePci(failing, dma), VireoError), reason);
});
