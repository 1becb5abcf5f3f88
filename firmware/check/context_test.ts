// The tools of checks, on a slot that only answers: what each writes, waits for and says.
import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { type DeviceScript, ScriptedDevice, ScriptedPci, TestDma } from "@vireo/drivers/testing";
import { FeatureSet } from "@vireo/hal";
import { CheckContext } from "./context.ts";
import { CheckFailure, CheckSkip } from "./failure.ts";
import { Random } from "./random.ts";
import { Arena } from "./raw/arena.ts";
import { NotedLease } from "./raw/lease_test_util.ts";
import { Log } from "./raw/log.ts";
import { RawMmio } from "./raw/mmio.ts";
import { RawPci } from "./raw/pci.ts";
import { RawPacked, RawSplit } from "./raw/ring.ts";
import { RawVhostUser } from "./raw/vhost_user.ts";
import type { RawDevice } from "./raw/device.ts";

const BASE = 0x4000_0000;

interface Rig {
  readonly c: CheckContext;
  readonly slot: ScriptedDevice;
  readonly memory: DataView;
}

function contextOf(device: RawDevice, log: Log, quiet = 0, deadline = 5): [CheckContext, DataView] {
  const region = new TestDma({ size: 1 << 16, base: BASE }).alloc(1 << 16, { align: 4096 });
  const context = new CheckContext(device, new Arena(region, log), log, new Random(1), {
    ...{ deadline, quiet },
  });
  return [context, new DataView(region.bytes.buffer, region.bytes.byteOffset)];
}

/** A context of an entropy device, or as its script says. */
function rig(script: DeviceScript = {}, quiet = 0, deadline = 5): Rig {
  const slot = new ScriptedDevice({ deviceId: 4, ...script });
  const log = new Log();
  const [c, memory] = contextOf(RawMmio.open(slot, log)!, log, quiet, deadline);
  slot.takeLog();
  return { c, slot, memory };
}

/** The writes of a slot since the last look. */
const writes = (slot: ScriptedDevice): string[] =>
  slot.takeLog().filter((line) => line.startsWith("w "));

/** A device that returns each buffer of a split ring when it is notified, so many bytes written. */
function answering(length: number, script: DeviceScript = {}, id = 0): Rig {
  let used = 0;
  const made: Rig = rig({
    ...script,
    writes: {
      QueueNotify: () => {
        const at = made.c.split(0).parts.device;
        made.memory.setUint32(at + 4 + 8 * (used % 8), id, true);
        made.memory.setUint32(at + 8 + 8 * (used % 8), length, true);
        made.memory.setUint16(at + 2, ++used, true);
      },
    },
  });
  return made;
}

Deno.test("context: a device is brought up step by step, as far as is asked", async () => {
  const upTo = async (
    until: "driver" | "features" | "queues" | "running",
    script: DeviceScript = {},
  ): Promise<string[]> => {
    const { c, slot } = rig(script);
    await c.init({ until });
    return writes(slot);
  };
  const features = [
    ...["w Status 0x0", "w Status 0x1", "w Status 0x3", "w DeviceFeaturesSel 0x0"],
    ...["w DeviceFeaturesSel 0x1", "w DeviceFeaturesSel 0x2", "w DeviceFeaturesSel 0x3"],
    ...["w DriverFeaturesSel 0x0", "w DriverFeatures 0x0"],
    ...["w DriverFeaturesSel 0x1", "w DriverFeatures 0x1", "w Status 0xb"],
  ];
  const queue = [
    ...["w QueueSel 0x0", "w QueueSize 0x8", "w QueueDescLow 0x40001000", "w QueueDescHigh 0x0"],
    ...["w QueueDriverLow 0x40001080", "w QueueDriverHigh 0x0"],
    ...["w QueueDeviceLow 0x40002000", "w QueueDeviceHigh 0x0", "w QueueReady 0x1"],
  ];
  assertEquals(await upTo("driver"), features.slice(0, 3));
  assertEquals(await upTo("features"), features);
  assertEquals(await upTo("queues"), [...features, ...queue]);
  assertEquals(await upTo("running"), [...features, ...queue, "w Status 0xf"]);
  // Version 1: one word of features, no FEATURES_OK, a page.
  assertEquals(await upTo("running", { version: 1 }), [
    ...features.slice(0, 4),
    ...["w DriverFeaturesSel 0x0", "w DriverFeatures 0x0", "w QueueSel 0x0", "w QueueSize 0x8"],
    ...["w GuestPageSize 0x1000", "w QueueAlign 0x1000", "w QueuePFN 0x40001", "w Status 0x7"],
  ]);
  const refusing = rig({ reads: { Status: (honest) => honest & ~8 } }).c;
  const error = await assertRejects(() => refusing.init(), CheckFailure);
  assertEquals(error.message, "FEATURES_OK after it was written: saw 0x3, expected bit 3 set");
  const stuck = rig({ reads: { Status: 1 } }).c;
  assertEquals(
    (await assertRejects(() => stuck.reset(), CheckFailure)).message,
    "Status after a reset: saw 0x1, expected 0x0",
  );
});

Deno.test("context: features are the plain ones and those asked for, as far as they are offered", async () => {
  const offered = FeatureSet.of(0, 31, 32, 33, 34, 63, 96);
  const { c, slot } = rig({ features: offered });
  assertEquals([...c.offered()], [0, 31, 32, 33, 34, 63, 96]);
  assertEquals([...c.plain([0, 1])], [32, 33, 0]);
  slot.takeLog();
  await c.init({ features: [31, 63, 5], packed: true, until: "features" });
  assertEquals([...c.accepted].sort((a, b) => a - b), [31, 32, 33, 34, 63]);
  assertEquals(writes(slot).filter((line) => line.includes("DriverFeatures ")), [
    ...["w DriverFeatures 0x80000000", "w DriverFeatures 0x80000007"],
  ]);
  // They were read once.
  assertEquals(slot.log.some((line) => line.includes("DeviceFeatures")), false);
  // Bits above 31 are not those of a legacy interface.
  assertEquals([...rig({ version: 1, features: offered }).c.offered()], [0, 31]);
});

Deno.test("context: queues are those that are asked for, of the least of the sizes", async () => {
  const { c, slot } = rig({ queues: [64, 8], features: FeatureSet.of(32, 34) });
  await c.init({ queues: [1, 0], size: 32 });
  assertEquals([...c.rings.keys()], [1, 0]);
  assertEquals([c.ring(0).size, c.ring(1).size, c.split(1) instanceof RawSplit], [32, 8, true]);
  assertEquals(slot.queues.map(({ size, ready }) => [size, ready]), [[32, 1], [8, 1]]);
  assertEquals(c.queueCount(), 2);
  assertThrows(() => c.packed(0), TypeError, "Cannot use a split ring as a packed one");
  assertThrows(() => c.setUp(2), CheckSkip, "the device has no queue 2");
  // A reset forgets them.
  await c.reset();
  assertThrows(() => c.ring(0), TypeError, "Cannot use queue 0: it was not set up");
  await c.init({ packed: true });
  assertEquals([c.packed(0) instanceof RawPacked, c.ring(0).size], [true, 16]);
  assertThrows(() => c.split(0), TypeError, "Cannot use a packed ring as a split one");
  assertEquals(c.setUp(1) instanceof RawPacked, true);
  // A device with as many queues as are looked for.
  assertEquals(rig({ queues: new Array(65).fill(8) }).c.queueCount(), 64);
});

Deno.test("context: descriptors of segments, in a chain and in a table", () => {
  const { c, memory } = rig();
  const segments = [c.readable(Uint8Array.of(1, 2, 3)), c.writable(8), c.writable(1)];
  assertEquals(segments, [
    { at: 32, length: 3, write: false },
    { at: 112, length: 8, write: true },
    { at: 192, length: 1, write: true },
  ]);
  assertEquals(memory.getUint8(34), 3);
  for (const at of [112, 119, 192]) memory.setUint8(at, at);
  c.intact();
  assertEquals([...c.written(segments)], [112, ...new Array(6).fill(0xee), 119, 192]);
  memory.setUint8(120, 1);
  assertEquals(
    assertThrows(() => c.intact(), CheckFailure).message,
    "memory that the device was not given to write: " +
      "saw byte 120 of the driver's memory changed, expected no change",
  );
  assertEquals(c.chain(segments), [
    { address: BASE + 32, length: 3, flags: 1 },
    { address: BASE + 112, length: 8, flags: 3 },
    { address: BASE + 192, length: 1, flags: 2 },
  ]);
  const table = (packed: boolean): string => {
    const { address, length, flags } = c.indirect(segments, packed);
    assertEquals([length, flags], [48, 4]);
    return c.arena.get(Number(address) - BASE, 48).toHex();
  };
  assertEquals(
    table(false),
    "20000040000000000300000001000100" + "70000040000000000800000003000200" +
      "c0000040000000000100000002000000",
  );
  assertEquals(
    table(true),
    "20000040000000000300000000000000" + "70000040000000000800000000000200" +
      "c0000040000000000100000000000200",
  );
});

Deno.test("context: a request is put, notified of and waited for", async () => {
  const { c, slot } = answering(16);
  await c.init();
  slot.takeLog();
  const reply = await c.cleanRequest();
  assertEquals([reply.id, reply.used, reply.bytes.length], [0, { id: 0, length: 16 }, 16]);
  assertEquals(writes(slot), ["w QueueNotify 0x0"]);
  const other = await c.ask(0, [Uint8Array.of(1)], [2, 3]).catch((error) => error);
  // The second buffer begins behind the first one, and is reported as that.
  assertEquals([other.id, other.used.id, other.bytes.length], [1, 0, 5]);
  // One that need not be answered, and room for time to pass.
  const before = c.ring(0).usedCount();
  await c.tell(0, [Uint8Array.of(1)], [2]);
  assertEquals(c.ring(0).usedCount(), before + 1);
  // One that comes after some turns.
  const late = rig({}, 0, 5000);
  await late.c.init();
  setTimeout(() => late.memory.setUint16(late.c.split(0).parts.device + 2, 1, true), 3);
  assertEquals((await late.c.take(0))?.id, 0);
  const silent = rig().c;
  await silent.init();
  const none = await assertRejects(() => silent.cleanRequest(), CheckFailure);
  assertEquals(none.message, "the request: saw no answer, expected a used buffer");
  const wrong = answering(16, {}, 5).c;
  await wrong.init();
  const id = await assertRejects(() => wrong.cleanRequest(), CheckFailure);
  assertEquals(id.message, "id of the used buffer: saw 0x5, expected 0x0");
});

Deno.test("context: an exact request is held to the bytes that its type writes, and to its room", async () => {
  const exact = async (length: number, script: DeviceScript = {}): Promise<string> => {
    const { c } = answering(length, script);
    await c.init();
    return await c.exactRequest().then(({ used }) => `${used.length}`, (error) => error.message);
  };
  // Entropy of 16 bytes at most.
  assertEquals([await exact(16), await exact(17)], [
    ...["16", "length of the used buffer: saw 0x11, expected at most 16"],
  ]);
  assertEquals(await exact(17, { version: 1 }), "17");
  // A disk writes a sector and its status, which stays blank here.
  const status = "status of a read of sector 0: saw 0xee, expected 0x0";
  assertEquals(await exact(513, { deviceId: 2 }), status);
  const sound: Rig = answering(512, { deviceId: 2 });
  await sound.c.init();
  const written = sound.c.written.bind(sound.c);
  sound.c.written = (segments) => written(segments).fill(0);
  assertEquals(
    (await assertRejects(() => sound.c.exactRequest(), CheckFailure)).message,
    "length of the used buffer: saw 0x200, expected 0x201",
  );
});

Deno.test("context: values are compared as they are shown", () => {
  const { c } = rig();
  c.equal("x", 5, 5);
  c.equal("x", Uint8Array.of(1), Uint8Array.of(1));
  const differs = (seen: unknown, expected: unknown): string =>
    assertThrows(() => c.equal("x", seen, expected), CheckFailure).message;
  assertEquals([differs(5, 6), differs(-1, 1.5), differs("a", true)], [
    ...["x: saw 0x5, expected 0x6", "x: saw -1, expected 1.5", "x: saw a, expected true"],
  ]);
  const long = new Uint8Array(33);
  assertEquals(
    differs(new Uint8Array(32), long),
    `x: saw ${"00".repeat(32)}, expected ${"00".repeat(32)}... (33 bytes)`,
  );
  assertEquals(differs(new Uint8Array(0), 0), "x: saw no bytes, expected 0x0");
  c.expect("x", true, 1, "2");
  const { message } = assertThrows(() => c.expect("x", false, 1, "2"), CheckFailure);
  assertEquals(message, "x: saw 0x1, expected 2");
  assertThrows(() => c.skip("why"), CheckSkip, "why");
});

Deno.test("context: what is of another bus is a mistake, and of none at a socket", () => {
  const log = new Log();
  const { c } = rig();
  assertEquals(c.mmio === c.device, true);
  assertThrows(() => c.pci, TypeError, "Cannot use a slot as a PCI function");
  const [pci] = contextOf(RawPci.open(new ScriptedPci(), log)!, log);
  assertEquals(pci.pci === pci.device, true);
  assertThrows(() => pci.mmio, TypeError, "Cannot use a PCI function as a slot");
  const [socket] = contextOf(RawVhostUser.open(new NotedLease(), log), log);
  for (const ask of [() => socket.mmio, () => socket.pci]) {
    assertThrows(ask, CheckSkip, "a vhost-user device has no registers");
  }
  assertThrows(
    () => rig({ deviceId: 42 }).c.known,
    CheckSkip,
    "no request is known for devices of type 42",
  );
});

Deno.test("context: a wait ends with what it waits for, or with its time", async () => {
  const { c } = rig();
  let asked = 0;
  assertEquals([await c.until(() => ++asked === 30, 5000), asked], [true, 30]);
  // It looks once more before it gives up.
  asked = 0;
  assertEquals(await c.until(() => (asked++, false), -1), false);
  assertEquals(asked, 2);
  asked = 0;
  assertEquals(await c.until(() => ++asked === 2, -1), true);
  assertEquals(await c.until(() => false), false);
  // As long as the machine's pace has it.
  assertEquals([c.rest, rig({}, 20).c.rest, rig({}, 1).c.rest], [2, 20, 2]);
});

Deno.test("context: after rules were broken a device says that it needs a reset, and works after one", async () => {
  // A device of no known request is brought up to FEATURES_OK.
  const { c, slot } = rig({ deviceId: 42 });
  assertEquals([c.wroteNeedsReset, c.log instanceof Log, c.random instanceof Random], [
    ...[false, true, true],
  ]);
  await c.survives();
  assertEquals(writes(slot).at(-1), "w Status 0xb");
  const known = answering(16);
  await known.c.init();
  await known.c.survives();
  assertEquals(writes(known.slot).at(-1), "w QueueNotify 0x0");
  const silent = rig();
  const error = await assertRejects(() => silent.c.survives(), CheckFailure);
  assertEquals(
    error.message,
    "a clean request after a reset: the request: saw no answer, expected a used buffer",
  );
  const told = async (status: number, wrote: boolean, cause: number): Promise<unknown> => {
    const { c, slot } = rig({ deviceId: 42 });
    slot.status = status;
    slot.cause = cause;
    c.wroteNeedsReset = wrote;
    return await c.survives().then(() => "survived", (error) => error.message);
  };
  const untold =
    "interrupt after DEVICE_NEEDS_RESET (dev.basic.status.3): saw none, expected a configuration change";
  assertEquals(await told(0x4f, false, 0), untold);
  assertEquals(await told(0x4f, false, 1), untold);
  assertEquals(await told(0x4f, false, 2), "survived");
  assertEquals(await told(0x4f, true, 0), "survived");
  assertEquals(await told(0x4b, false, 0), "survived");
  assertEquals(await told(0xf, false, 0), "survived");
});

Deno.test("context: receive buffers are posted at first, and as many again as were used", async () => {
  // A console: its port's answers come to queue 0.
  let used = 0;
  const made: Rig = rig({
    ...{ deviceId: 3, queues: [4, 8] },
    writes: {
      QueueNotify: (queue) => {
        // The transmitted buffer once the first receive buffer was used and given again.
        if (queue === 0 && used++ > 0) {
          made.memory.setUint16(made.c.split(1).parts.device + 2, 1, true);
        }
        if (queue === 1) made.memory.setUint16(made.c.split(0).parts.device + 2, 1, true);
      },
    },
  });
  const { c, slot } = made;
  await c.init();
  const available = (): number => made.memory.getUint16(c.split(0).parts.driver + 2, true);
  assertEquals([available(), made.memory.getUint16(c.split(0).parts.driver, true)], [4, 1]);
  slot.takeLog();
  await c.cleanRequest();
  assertEquals([available(), writes(slot)], [5, ["w QueueNotify 0x1", "w QueueNotify 0x0"]]);
});
