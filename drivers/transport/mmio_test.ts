import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { type Dma, FeatureSet, VireoError } from "@vireo/hal";
import { type DeviceScript, ScriptedDevice } from "../testing/scripted_device.ts";
import { MmioTransport } from "./mmio.ts";

/** The transport allocates nothing itself. */
const dma: Dma = {
  alloc() {
    throw new Error("Not expected");
  },
};

function open(script: DeviceScript = {}): [ScriptedDevice, MmioTransport] {
  const device = new ScriptedDevice(script);
  const transport = MmioTransport.probe(device, dma);
  assert(transport !== undefined);
  device.takeLog();
  return [device, transport];
}

/** The fields of an error that scripts match on. */
function fields(error: VireoError): Record<string, unknown> {
  const { code, device, register, queue, seen, expected } = error;
  return { code, device, register, queue, seen, expected };
}

const SPLIT = { size: 8, desc: 0x1_0000_1000, driver: 0x1_0000_2000, device: 0x1_0000_3000 };
/** 8 descriptors from 0x5000: avail at 0x5080, used on the next page. */
const LEGACY = { size: 8, desc: 0x5000, driver: 0x5080, device: 0x6000 };

Deno.test("mmio probe reads magic, version, device id, vendor id (drv.mmio.init.1, .2)", () => {
  const device = new ScriptedDevice({ deviceId: 2, vendorId: 0x1af4 });
  const transport = MmioTransport.probe(device, dma)!;
  assertEquals(device.log, [
    "r MagicValue 0x74726976",
    "r Version 0x2",
    "r DeviceID 0x2",
    "r VendorID 0x1af4",
  ]);
  assertEquals(
    [transport.kind, transport.legacy, transport.deviceId, transport.vendorId, transport.name],
    ["mmio-2", false, 2, 0x1af4, "virtio-mmio@a000000"],
  );
  assertEquals(transport.legacyQueueAlign, undefined);
  assert(transport.dma === dma && transport.interrupt === device.interrupt);
  transport[Symbol.dispose]();
  assertEquals(device.leases, 0);
});

Deno.test("mmio device id 0 is no device, no error, and no further access (drv.mmio.layout.6, .7, drv.mmio.init.3)", () => {
  const device = new ScriptedDevice({ deviceId: 0 });
  assertEquals(MmioTransport.probe(device, dma), undefined);
  assertEquals(device.log, ["r MagicValue 0x74726976", "r Version 0x2", "r DeviceID 0x0"]);
  assertEquals(device.leases, 0);
});

Deno.test("mmio refuses a wrong magic (drv.mmio.layout.4)", () => {
  const device = new ScriptedDevice({ reads: { MagicValue: 0x12345678 } });
  const error = assertThrows(() => MmioTransport.probe(device, dma), VireoError);
  assertEquals(fields(error), {
    code: "BAD_MAGIC",
    device: "virtio-mmio@a000000",
    register: "MagicValue",
    queue: undefined,
    seen: 0x12345678,
    expected: 0x74726976,
  });
  assertEquals(device.log, ["r MagicValue 0x12345678"]);
  assertEquals(device.leases, 0);
});

for (const version of [0, 3]) {
  Deno.test(`mmio refuses version ${version} (drv.mmio.layout.5)`, () => {
    const device = new ScriptedDevice({ version });
    const error = assertThrows(() => MmioTransport.probe(device, dma), VireoError);
    assertEquals(fields(error), {
      code: "BAD_VERSION",
      device: "virtio-mmio@a000000",
      register: "Version",
      queue: undefined,
      seen: version,
      expected: "0x1 or 0x2",
    });
    assertEquals(device.log, ["r MagicValue 0x74726976", `r Version 0x${version}`]);
    assertEquals(device.leases, 0);
  });
}

Deno.test("mmio reads features high word first, selector before each (drv.mmio.layout.8)", () => {
  const [device, transport] = open({ features: FeatureSet.of(5, 28, 32, 40) });
  assertEquals([...transport.readFeatures()], [5, 28, 32, 40]);
  assertEquals(device.log, [
    "w DeviceFeaturesSel 0x1",
    "r DeviceFeatures 0x101",
    "w DeviceFeaturesSel 0x0",
    "r DeviceFeatures 0x10000020",
  ]);
});

Deno.test("mmio writes features high word first, selector before each (drv.mmio.layout.9)", () => {
  const [device, transport] = open();
  transport.writeFeatures(FeatureSet.of(5, 32));
  assertEquals(device.log, [
    "w DriverFeaturesSel 0x1",
    "w DriverFeatures 0x1",
    "w DriverFeaturesSel 0x0",
    "w DriverFeatures 0x20",
  ]);
  assert(device.accepted.equals(FeatureSet.of(5, 32)));
});

Deno.test("mmio version 2 without VERSION_1 is refused before a register is written", () => {
  const [device, transport] = open();
  const error = assertThrows(() => transport.writeFeatures(FeatureSet.of(5)), VireoError);
  assertEquals(fields(error), {
    code: "VERSION_1_REQUIRED",
    device: "virtio-mmio@a000000",
    register: "DriverFeatures",
    queue: undefined,
    seen: 0,
    expected: "bit 0 of word 1",
  });
  assertEquals(device.log, []);
});

Deno.test("mmio version 1 writes both words without VERSION_1", () => {
  const [device, transport] = open({ version: 1 });
  transport.writeFeatures(FeatureSet.of(28));
  assertEquals(device.log.length, 4);
  assertEquals([...device.accepted], [28]);
});

Deno.test("mmio reset waits until the status reads 0 (drv.basic.reset.1)", async () => {
  const [device, transport] = open({ reads: { Status: [7, 7, 0] } });
  await transport.reset();
  assertEquals(device.log, ["w Status 0x0", "r Status 0x7", "r Status 0x7", "r Status 0x0"]);
});

Deno.test("mmio reset pauses between later reads and then succeeds", async () => {
  const reads = Array.from({ length: 18 }, () => 4).concat(0);
  const [device, transport] = open({ reads: { Status: reads } });
  await transport.reset();
  assertEquals(device.log.length, 20);
});

Deno.test("mmio reset gives up at the deadline", async () => {
  const [, transport] = open({ reads: { Status: 0x44 } });
  const error = await assertRejects(() => transport.reset({ deadline: 5 }), VireoError);
  assertEquals(fields(error), {
    code: "RESET_TIMEOUT",
    device: "virtio-mmio@a000000",
    register: "Status",
    queue: undefined,
    seen: 0x44,
    expected: 0,
  });
});

Deno.test("mmio reset ends with the reason of an abort", async () => {
  const [, transport] = open({ reads: { Status: 1 } });
  const controller = new AbortController();
  const reset = transport.reset({ signal: controller.signal, deadline: 60_000 });
  controller.abort(new Error("enough"));
  await assertRejects(() => reset, Error, "enough");
});

Deno.test("mmio version 1 writes GuestPageSize ahead of the reset", async () => {
  const [device, transport] = open({ version: 1 });
  await transport.reset();
  assertEquals(device.log, ["w GuestPageSize 0x1000", "w Status 0x0", "r Status 0x0"]);
  assertEquals([transport.kind, transport.legacyQueueAlign], ["mmio-1", 4096]);
});

Deno.test("mmio status is masked to 8 bits and 0 is only written by a reset", () => {
  const [device, transport] = open({ reads: { Status: 0xffffff0b } });
  assertEquals(transport.readStatus(), 0x0b);
  assertThrows(() => transport.writeStatus(0), RangeError, "Cannot write status 0");
  transport.writeStatus(3);
  assertEquals(device.log, ["r Status 0xffffff0b", "w Status 0x3"]);
});

Deno.test("mmio version 2 queue set-up in order (drv.mmio.layout.2, .10, .11)", () => {
  const [device, transport] = open({ queues: [4, 8] });
  assertEquals(transport.queueMaxSize(1), 8);
  transport.enableQueue(1, SPLIT);
  assertEquals(device.log, [
    "w QueueSel 0x1",
    "r QueueReady 0x0",
    "r QueueSizeMax 0x8",
    "w QueueSize 0x8",
    "w QueueDescLow 0x1000",
    "w QueueDescHigh 0x1",
    "w QueueDriverLow 0x2000",
    "w QueueDriverHigh 0x1",
    "w QueueDeviceLow 0x3000",
    "w QueueDeviceHigh 0x1",
    "w QueueReady 0x1",
  ]);
});

Deno.test("mmio version 1 queue set-up in order", () => {
  const [device, transport] = open({ version: 1 });
  assertEquals(transport.queueMaxSize(0), 8);
  transport.enableQueue(0, LEGACY);
  assertEquals(device.log, [
    "w QueueSel 0x0",
    "r QueuePFN 0x0",
    "r QueueSizeMax 0x8",
    "w QueueSize 0x8",
    "w QueueAlign 0x1000",
    "w QueuePFN 0x5",
  ]);
});

Deno.test("mmio enableQueue selects for itself when another queue was looked at", () => {
  const [device, transport] = open({ queues: [8, 8] });
  transport.queueMaxSize(0);
  transport.queueMaxSize(1);
  device.takeLog();
  transport.enableQueue(0, SPLIT);
  assertEquals(device.log.slice(0, 3), [
    "w QueueSel 0x0",
    "r QueueReady 0x0",
    "r QueueSizeMax 0x8",
  ]);
});

for (const [version, register] of [[1, "QueuePFN"], [2, "QueueReady"]] as const) {
  Deno.test(`mmio version ${version} refuses a queue in use (drv.mmio.layout.11)`, () => {
    const [device, transport] = open({ version, reads: { [register]: 0x77 } });
    const error = assertThrows(() => transport.queueMaxSize(0), VireoError);
    assertEquals(fields(error), {
      code: "QUEUE_IN_USE",
      device: "virtio-mmio@a000000",
      register,
      queue: 0,
      seen: 0x77,
      expected: 0,
    });
    assertEquals(device.log, ["w QueueSel 0x0", `r ${register} 0x77`]);
  });
}

Deno.test("mmio a queue of maximum size 0 is not there", () => {
  const [device, transport] = open({ queues: [8] });
  assertEquals(transport.queueMaxSize(3), 0);
  device.takeLog();
  const error = assertThrows(() => transport.enableQueue(3, SPLIT), VireoError);
  assertEquals(fields(error), {
    code: "QUEUE_UNAVAILABLE",
    device: "virtio-mmio@a000000",
    register: "QueueSizeMax",
    queue: 3,
    seen: 0,
    expected: undefined,
  });
  assertEquals(device.log, []);
});

for (const size of [0, 16, 2.5]) {
  Deno.test(`mmio refuses queue size ${size} (drv.mmio.layout.10)`, () => {
    const [device, transport] = open({ queues: [8] });
    const error = assertThrows(() => transport.enableQueue(0, { ...SPLIT, size }), VireoError);
    assertEquals(fields(error), {
      code: "QUEUE_SIZE",
      device: "virtio-mmio@a000000",
      register: "QueueSize",
      queue: 0,
      seen: size,
      expected: "at most 8",
    });
    assert(!device.log.some((line) => line.startsWith("w QueueSize")));
  });
}

Deno.test("mmio version 1 refuses a page number over 32 bits and takes the queue back", () => {
  const [device, transport] = open({ version: 1 });
  const base = 2 ** 44;
  const queue = { size: 8, desc: base, driver: base + 0x80, device: base + 0x1000 };
  const error = assertThrows(() => transport.enableQueue(0, queue), VireoError);
  assertEquals(fields(error), {
    code: "QUEUE_ADDRESS",
    device: "virtio-mmio@a000000",
    register: "QueuePFN",
    queue: 0,
    seen: 2 ** 32,
    expected: "at most 0xffffffff",
  });
  assertEquals(device.log.slice(3), ["w QueueSize 0x8", "w QueuePFN 0x0"]);
});

Deno.test("mmio version 1 takes the last page number of 32 bits", () => {
  const [device, transport] = open({ version: 1 });
  const base = 2 ** 44 - 4096;
  transport.enableQueue(0, { size: 8, desc: base, driver: base + 0x80, device: base + 0x1000 });
  assertEquals(device.log.at(-1), "w QueuePFN 0xffffffff");
});

Deno.test("mmio version 1 refuses a queue off the page or not in one block", () => {
  for (
    const [change, seen, expected] of [
      [{ desc: 0x5010 }, 0x5010, "a multiple of 0x1000"],
      [{ device: 0x7000 }, 0x7000, 0x6000],
    ] as const
  ) {
    const [device, transport] = open({ version: 1 });
    const error = assertThrows(
      () => transport.enableQueue(0, { ...LEGACY, ...change }),
      VireoError,
    );
    assertEquals([error.code, error.register, error.seen, error.expected], [
      "QUEUE_ADDRESS",
      "QueuePFN",
      seen,
      expected,
    ]);
    assertEquals(device.log.at(-1), "w QueuePFN 0x0");
  }
});

Deno.test("mmio version 2 refuses misaligned parts", () => {
  for (
    const [part, register, align] of [
      ["desc", "QueueDescLow", 16],
      ["driver", "QueueDriverLow", 2],
      ["device", "QueueDeviceLow", 4],
    ] as const
  ) {
    const [device, transport] = open();
    const queue = { ...SPLIT, [part]: SPLIT[part] + align / 2 };
    const error = assertThrows(() => transport.enableQueue(0, queue), VireoError);
    assertEquals([error.code, error.register, error.queue, error.seen, error.expected], [
      "QUEUE_ADDRESS",
      register,
      0,
      SPLIT[part] + align / 2,
      `a multiple of 0x${align.toString(16)}`,
    ]);
    assertEquals(device.log.at(-1), "w QueueReady 0x0");
  }
});

Deno.test("mmio takes a queue down and reads it back (drv.mmio.layout.12)", () => {
  const [device, transport] = open();
  transport.disableQueue(0);
  assertEquals(device.log, ["w QueueSel 0x0", "w QueueReady 0x0", "r QueueReady 0x0"]);
  const [legacy, old] = open({ version: 1 });
  old.disableQueue(0);
  assertEquals(legacy.log, ["w QueueSel 0x0", "w QueuePFN 0x0"]);
});

Deno.test("mmio selects a queue again whatever was done since it was looked at", async () => {
  const between: readonly ((transport: MmioTransport) => void | Promise<void>)[] = [
    (transport) => transport.disableQueue(1),
    (transport) => void transport.queueMaxSize(1),
    (transport) => transport.enableQueue(1, SPLIT),
    (transport) => transport.reset(),
    (transport) => transport.resetQueue(1),
    (transport) => transport.disableQueue(0),
    // Even if it failed.
    (transport) => void assertThrows(() => transport.queueMaxSize(2), VireoError, "in use"),
    async (transport) => {
      const signal = AbortSignal.abort(new Error("enough"));
      await assertRejects(() => transport.resetQueue(1, { signal }), Error, "enough");
    },
  ];
  for (const [i, act] of between.entries()) {
    const [device, transport] = open({ queues: [8, 8, 8] });
    device.queues[2]!.ready = 1;
    transport.queueMaxSize(0);
    await act(transport);
    device.log.length = 0;
    transport.enableQueue(0, SPLIT);
    assertEquals(device.log[0], "w QueueSel 0x0", `after act ${i}`);
  }
  // Nothing in between: it is still selected.
  const [device, transport] = open({ queues: [8, 8] });
  transport.queueMaxSize(0);
  device.log.length = 0;
  transport.enableQueue(0, SPLIT);
  assertEquals(device.log[0], "w QueueSize 0x8");
  // And what was enabled is in use.
  assertThrows(() => transport.enableQueue(0, SPLIT), VireoError, "it is already in use");
});

Deno.test("mmio reports a queue that the device keeps", () => {
  const [, transport] = open({ reads: { QueueReady: 1 } });
  const error = assertThrows(() => transport.disableQueue(0), VireoError);
  assertEquals(fields(error), {
    code: "QUEUE_IN_USE",
    device: "virtio-mmio@a000000",
    register: "QueueReady",
    queue: 0,
    seen: 1,
    expected: 0,
  });
});

Deno.test("mmio queue reset ends when QueueReset reads 0 again (drv.mmio.layout.16, drv.basic.vq-reset.1)", async () => {
  const [device, transport] = open({ reads: { QueueReset: [1, 0] } });
  await transport.resetQueue(0);
  assertEquals(device.log, [
    "w QueueSel 0x0",
    "w QueueReset 0x1",
    "w QueueSel 0x0",
    "r QueueReset 0x1",
    "w QueueSel 0x0",
    "r QueueReset 0x0",
    "w QueueSel 0x0",
    "r QueueReady 0x0",
  ]);
});

Deno.test("mmio queue reset leaves no other queue selected that was looked at meanwhile", async () => {
  const QueueReset = [...Array<number>(20).fill(1), 0];
  const [device, transport] = open({ queues: [8, 8], reads: { QueueReset } });
  const reset = transport.resetQueue(1);
  transport.queueMaxSize(0);
  await reset;
  device.takeLog();
  transport.enableQueue(0, SPLIT);
  assertEquals(device.log[0], "w QueueSel 0x0");
});

Deno.test("mmio device is present as long as its id is read", () => {
  let id = 2;
  const [, transport] = open({ reads: { DeviceID: () => id } });
  assertEquals(transport.isPresent(), true);
  id = 0;
  assertEquals(transport.isPresent(), false);
});

Deno.test("mmio queue reset gives up at the deadline", async () => {
  for (const register of ["QueueReset", "QueueReady"] as const) {
    const [, transport] = open({ reads: { [register]: 1 } });
    const error = await assertRejects(() => transport.resetQueue(0, { deadline: 3 }), VireoError);
    assertEquals(fields(error), {
      code: "RESET_TIMEOUT",
      device: "virtio-mmio@a000000",
      register,
      queue: 0,
      seen: 1,
      expected: 0,
    });
  }
});

Deno.test("mmio version 1 has no queue reset", async () => {
  const [device, transport] = open({ version: 1 });
  const error = await assertRejects(() => transport.resetQueue(2), VireoError);
  assertEquals([error.code, error.device, error.queue], [
    "QUEUE_RESET_UNSUPPORTED",
    "virtio-mmio@a000000",
    2,
  ]);
  assertEquals(device.log, []);
});

Deno.test("mmio notify writes the index, or the data above it", () => {
  const [device, transport] = open();
  transport.notify(3, -1);
  transport.notify(3, 0);
  transport.notify(3, 0xffff);
  assertEquals(device.log, [
    "w QueueNotify 0x3",
    "w QueueNotify 0x3",
    "w QueueNotify 0xffff0003",
  ]);
});

Deno.test("mmio version 2 configuration accesses have the field's width (drv.mmio.layout.3)", () => {
  const config = Uint8Array.of(1, 2, 3, 0x84, 5, 6, 7, 8);
  const [device, transport] = open({ config });
  assertEquals(transport.readConfig(1, 1), 2);
  assertEquals(transport.readConfig(2, 2), 0x8403);
  assertEquals(transport.readConfig(0, 4), 0x84030201);
  transport.writeConfig(4, 1, 0x1ff);
  transport.writeConfig(4, 2, 0x12345);
  transport.writeConfig(4, 4, -1);
  assertEquals(device.log, [
    "r Config+1:1 0x2",
    "r Config+2:2 0x8403",
    "r Config+0 0x84030201",
    "w Config+4:1 0xff",
    "w Config+4:2 0x2345",
    "w Config+4 0xffffffff",
  ]);
});

Deno.test("mmio version 1 configuration accesses are bytes, at any offset", () => {
  const [device, transport] = open({ version: 1, config: Uint8Array.of(1, 2, 3, 0x84, 5) });
  assertEquals(transport.readConfig(1, 4), 0x05840302);
  transport.writeConfig(1, 2, 0xabcd);
  assertEquals(device.log, [
    "r Config+1:1 0x2",
    "r Config+2:1 0x3",
    "r Config+3:1 0x84",
    "r Config+4:1 0x5",
    "w Config+1:1 0xcd",
    "w Config+2:1 0xab",
  ]);
  assertEquals(transport.configGeneration(), 0);
});

Deno.test("mmio refuses configuration accesses that are misaligned or past the window", () => {
  const [device, transport] = open();
  assertThrows(
    () => transport.readConfig(2, 4),
    RangeError,
    "at offset 2: expected a multiple of 4",
  );
  assertThrows(() => transport.readConfig(-4, 4), RangeError, "at offset -4");
  const error = assertThrows(() => transport.readConfig(0x100, 4), VireoError);
  assertEquals(fields(error), {
    code: "CONFIG_ACCESS",
    device: "virtio-mmio@a000000",
    register: "Config+256",
    queue: undefined,
    seen: 0x204,
    expected: "at most 0x200",
  });
  assertEquals(device.log, []);
});

Deno.test("mmio version 1 writes an aligned word of configuration at once, others by bytes", () => {
  const [device, transport] = open({ version: 1 });
  transport.writeConfig(4, 4, 0x87654321);
  assertEquals(device.takeLog(), ["w Config+4 0x87654321"]);
  transport.writeConfig(2, 4, 0x87654321);
  transport.writeConfig(4, 2, 0x1234);
  assertEquals(device.takeLog(), [
    ...["w Config+2:1 0x21", "w Config+3:1 0x43", "w Config+4:1 0x65", "w Config+5:1 0x87"],
    ...["w Config+4:1 0x34", "w Config+5:1 0x12"],
  ]);
});

Deno.test("mmio takes a queue of one descriptor at address 0, and configuration to the window's end", () => {
  const [device, transport] = open();
  transport.enableQueue(0, { ...SPLIT, size: 1, desc: 0 });
  assertEquals([device.queues[0]!.size, device.queues[0]!.ready], [1, 1]);
  device.config[0xff] = 7;
  assertEquals([transport.readConfig(0xff, 1), transport.readConfig(0xfc, 4)], [7, 0x700_0000]);
});

Deno.test("mmio finds a shared memory region whose length ends in ones", () => {
  for (const [low, high, length] of [[0xffff_ffff, 0, 0xffff_ffff], [0, 1, 2 ** 32]] as const) {
    const reads = { SHMLenLow: low, SHMLenHigh: high, SHMBaseLow: 0x2000, SHMBaseHigh: 0 };
    assertEquals(open({ reads })[1].sharedMemory(7), { address: 0x2000, length });
  }
});

Deno.test("mmio finds a shared memory region", () => {
  const reads = { SHMLenLow: 0x1000, SHMLenHigh: 1, SHMBaseLow: 0x2000, SHMBaseHigh: 2 };
  const [device, transport] = open({ reads });
  assertEquals(transport.sharedMemory(7), { address: 0x2_0000_2000, length: 0x1_0000_1000 });
  assertEquals(device.log.map((line) => line.split(" ")[1]), [
    "SHMSel",
    "SHMLenLow",
    "SHMLenHigh",
    "SHMBaseLow",
    "SHMBaseHigh",
  ]);
});

Deno.test("mmio an absent shared memory region is undefined", () => {
  const [device, transport] = open();
  assertEquals(transport.sharedMemory(1), undefined);
  assertEquals(device.log, ["w SHMSel 0x1", "r SHMLenLow 0xffffffff", "r SHMLenHigh 0xffffffff"]);
  const [, empty] = open({ reads: { SHMLenLow: 0, SHMLenHigh: 0 } });
  assertEquals(empty.sharedMemory(1), undefined);
  const [old, legacy] = open({ version: 1 });
  assertEquals(legacy.sharedMemory(1), undefined);
  assertEquals(old.log, []);
});

Deno.test("mmio refuses a shared memory region past 2^53", () => {
  const reads = { SHMLenLow: 0x1000, SHMLenHigh: 0, SHMBaseLow: 0, SHMBaseHigh: 0x80000000 };
  const [, transport] = open({ reads });
  const error = assertThrows(() => transport.sharedMemory(1), VireoError);
  assertEquals([error.code, error.register], ["CONFIG_INVALID", "SHMBaseLow"]);
});

Deno.test("mmio reads the cause, then acknowledges the same, defined bits only (drv.mmio.layout.13, .14, .15, drv.mmio.notify.1, .3)", () => {
  const [device, transport] = open({ reads: { InterruptStatus: [0xf1, 0xff, 0xf0, 3] } });
  assertEquals(transport.takeInterruptCause(), 1);
  assertEquals(transport.takeInterruptCause(), 3);
  assertEquals(transport.takeInterruptCause(), 0);
  assertEquals(transport.peekInterruptCause(), 3);
  assertEquals(device.log, [
    "r InterruptStatus 0xf1",
    "w InterruptACK 0x1",
    "r InterruptStatus 0xff",
    "w InterruptACK 0x3",
    "r InterruptStatus 0xf0",
    "r InterruptStatus 0x3",
  ]);
});
