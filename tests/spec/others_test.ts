// SCSI hosts, GPUs, input devices and consoles: every number is typed from virtio 1.4 §5.3, §5.6 to §5.8.
import { assert, assertEquals } from "@std/assert";
import {
  ConsoleDevice,
  type DeviceModel,
  type EmulatedMachine,
  GpuDevice,
  INPUT_PRESETS,
  InputDevice,
  loopbackPort,
  MemoryDisk,
  ScsiDevice,
} from "@vireo/emu";
import { FeatureSet } from "@vireo/hal";
import { consoleDriver } from "../../drivers/console/mod.ts";
import type { DriverInstance, VirtioDriver } from "../../drivers/driver.ts";
import { inputDriver } from "../../drivers/input/mod.ts";
import { scsiDriver } from "../../drivers/scsi/mod.ts";
import { bootRecorded, type RecordedRig } from "./boot.ts";
import { RawRig } from "./raw_rig.ts";
import { at, le } from "./recorder.ts";
import { turn } from "../turn.ts";

const SOON = { deadline: 5000 };
const VERSION_1 = 32;
const ANY_LAYOUT = 27;

const boot = <M extends DeviceModel, T extends DriverInstance>(
  driver: VirtioDriver<T>,
  model: M,
  { version = 2, filter = [] }: { version?: 1 | 2; filter?: readonly number[] } = {},
): Promise<RecordedRig<"instance", M, T>> =>
  bootRecorded("instance", model, driver, { version, without: filter });

/** The buffers that wait in a queue of a device: bytes that are readable, and writable. */
function waiting(machine: EmulatedMachine, index: number): (readonly [number, number])[] {
  const queue = machine.device(0).queue(index)!;
  const found: (readonly [number, number])[] = [];
  for (let chain = queue.pop(); chain !== undefined; chain = queue.pop()) {
    found.push([chain.readableLength, chain.writableLength]);
  }
  return found;
}

const scsi = (hold = false): ScsiDevice =>
  new ScsiDevice({
    hold,
    units: [
      { target: 0, disk: new MemoryDisk(1 << 20) },
      { target: 7, disk: new MemoryDisk(1 << 20), kind: "cdrom" },
    ],
  });
const [CONTROLQ, EVENTQ, REQUESTQ] = [0, 1, 2];

Deno.test("spec scsi: the driver writes sense_size and cdb_size alone, and its event buffers hold an event (drv.scsi.config.1, .eventq.2)", async () => {
  const model = scsi();
  const read = model.readConfig.bind(model);
  // Where the sizes are the driver's own already, it has nothing to write.
  model.readConfig = (offset, width) => offset === 20 || offset === 24 ? 8 : read(offset, width);
  await using rig = await boot(scsiDriver, model);
  await rig.instance.units(SOON);
  const writes = rig.seen.config.filter((access) => access.startsWith("w"));
  // sense_size is at offset 20, cdb_size at 24.
  assertEquals(writes.length, 2);
  assertEquals(writes.filter((access) => !/^w4@(20|24)=/.test(access)), []);
  const buffers = waiting(rig.machine, EVENTQ);
  assert(buffers.length > 0 && buffers.every(([read, room]) => read === 0 && room >= 16));
});

Deno.test("spec scsi: a legacy device without ANY_LAYOUT gets request and response in descriptors of their own (drv.scsi.legacy-framing.1)", async () => {
  await using rig = await boot(scsiDriver, scsi(), { version: 1, filter: [ANY_LAYOUT] });
  const unit = rig.instance.unit(0);
  await unit.write(0, new Uint8Array(1024), SOON);
  await unit.read(0, 2, SOON);
  const requests = rig.seen.chains.filter(({ queue }) => queue === REQUESTQ);
  assert(requests.length >= 2);
  for (const { readable, writable } of requests) {
    // lun, id, task_attr, prio, crn and cdb: 51 bytes; the response has 12 and 96 of sense.
    assertEquals([readable[0], writable[0]], [51, 108]);
  }
  assert(requests.some(({ readable }) => readable.length > 1));
  assert(requests.some(({ writable }) => writable.length > 1));
});

/** A request to a unit: lun, id and a CDB that is TEST UNIT READY. */
const request = (target: number, id: number): Uint8Array => {
  const bytes = new Uint8Array(51);
  bytes.set([1, target, 0x40, 0]);
  bytes.set(le([id, 8]), 8);
  return bytes;
};

Deno.test("spec scsi: commands that are pending when their unit goes fail, and those that are aborted say so (dev.scsi.requestq.3)", async () => {
  const model = scsi(true);
  await using rig = new RawRig(model, [1, 2]);
  const { driver } = rig;
  const queue = driver.queues[REQUESTQ]!;
  const send = (target: number, id: number) =>
    queue.add([{ read: request(target, id) }, { write: 108 }]);
  const [first, second, other] = [send(0, 1), send(0, 2), send(7, 3)];
  queue.kick();
  assertEquals(model.held, 3);
  // type TMF, subtype ABORT_TASK, lun and id.
  const abort = le(0, 0, request(0, 1).subarray(0, 8), [1, 8]);
  await driver.request(CONTROLQ, [{ read: abort }, { write: 1 }]);
  const response = async (used: ReturnType<typeof send>): Promise<number> =>
    (await driver.until(used)).bytes[0]![11]!;
  assertEquals(await response(first), 2, "ABORTED");
  model.unplug(0);
  assertEquals(await response(second), 9, "FAILURE");
  model.release();
  assertEquals(await response(other), 0);
  // After a reset nothing of the driver's is returned any more.
  void driver.queues[REQUESTQ]!.add([{ read: request(7, 4) }, { write: 108 }]);
  driver.queues[REQUESTQ]!.kick();
  assertEquals(model.held, 1);
  driver.init(FeatureSet.of(VERSION_1));
  assertEquals([model.held, driver.queues[REQUESTQ]!.usedIndex], [0, 0]);
});

Deno.test("spec scsi: lost events are told, and events are for drivers that asked and for disks (dev.scsi.eventq.1-3)", async () => {
  const EVENTS_MISSED = 0x80000000;
  const [TRANSPORT_RESET, PARAM_CHANGE] = [1, 3];
  const run = async (features: readonly number[], act: (model: ScsiDevice) => void) => {
    const model = scsi();
    await using rig = new RawRig(model, features);
    const { driver } = rig;
    const queue = driver.queues[EVENTQ]!;
    act(model);
    const buffers = Array.from({ length: 60 }, () => queue.add([{ write: 16 }]));
    queue.kick();
    const used = await driver.until(Promise.all(buffers.slice(0, queue.usedIndex)));
    return used.map(({ bytes }) => at(bytes[0]!, 0));
  };
  const [HOTPLUG, CHANGE] = [1, 2];
  const plug = (model: ScsiDevice): void => {
    model.plug({ target: 9, disk: new MemoryDisk(1 << 20) });
    model.unplug(9);
  };
  assertEquals(await run([HOTPLUG], plug), [TRANSPORT_RESET, TRANSPORT_RESET]);
  assertEquals(await run([CHANGE], plug), []);
  assertEquals(await run([HOTPLUG, CHANGE], (model) => model.resize(0, 0, 2 << 20)), [
    PARAM_CHANGE,
  ]);
  assertEquals(await run([HOTPLUG, CHANGE], (model) => model.resize(7, 0, 2 << 20)), [], "a CD");
  const many = await run([HOTPLUG], (model) => {
    for (let i = 0; i < 50; i++) plug(model);
  });
  assertEquals(many.length, 60, "of 100");
  assertEquals(many.filter((event) => (event & EVENTS_MISSED) !== 0).length, 1);
});

Deno.test("spec gpu: a fenced command is returned when its work is done; no region has an id that is not the GPU's (dev.gpu.fencing.1, .init.4)", async () => {
  const model = new GpuDevice({ displays: [{ width: 8, height: 8 }] });
  await using rig = new RawRig(model, []);
  const { machine, driver } = rig;
  const [CREATE_2D, SET_SCANOUT, FLUSH, TRANSFER, ATTACH] = [0x101, 0x103, 0x104, 0x105, 0x106];
  const memory = machine.dma.alloc(256, { align: 4096 });
  memory.bytes.fill(0xff);
  let fence = 0;
  /** What is on the display when the used index moves. */
  let shown: number | undefined;
  const command = async (type: number, body: Uint8Array): Promise<void> => {
    const queue = driver.queues[0]!;
    const before = queue.usedIndex;
    const { store } = Atomics;
    Atomics.store = ((array: Uint16Array, index: number, value: number) => {
      if (queue.usedIndex === before) shown = model.screen()?.rgba[0];
      return store(array, index, value);
    }) as typeof Atomics.store;
    try {
      // type, flags FENCE, fence_id, ctx_id, ring_idx and padding.
      const read = le(type, 1, [++fence, 8], 0, 0, body);
      const { bytes } = await driver.request(0, [{ read }, { write: 24 }]);
      assertEquals([at(bytes[0]!, 0), at(bytes[0]!, 4), at(bytes[0]!, 8, 8)], [0x1100, 1, fence]);
    } finally {
      Atomics.store = store;
    }
  };
  const whole = le(0, 0, 8, 8);
  await command(CREATE_2D, le(1, 2, 8, 8));
  await command(ATTACH, le(1, 1, [memory.address, 8], 256, 0));
  await command(SET_SCANOUT, le(whole, 0, 1));
  await command(TRANSFER, le(whole, [0, 8], 1, 0));
  assert(shown !== 0xff);
  await command(FLUSH, le(whole, 1, 0));
  assertEquals(shown, 0xff);
  // SHMSel, and SHMLen that is all ones for a region that is not there: ids 0 and 1 are the GPU's.
  for (let id = 0; id < 256; id++) {
    driver.slot.write32(0xac, id);
    const there = driver.slot.read32(0xb0) !== 0xffffffff;
    assert(!there || id <= 1, `region ${id}`);
  }
  memory[Symbol.dispose]();
});

Deno.test("spec input: a query writes select and subsel, and no field but those (drv.input.init.1, .init.2)", async () => {
  await using rig = await boot(inputDriver, new InputDevice(INPUT_PRESETS.keyboard));
  const writes = rig.seen.config.filter((access) => access.startsWith("w"));
  assertEquals(writes.filter((access) => !/^w1@[01]=/.test(access)), []);
  // Before the size at offset 2 is read, both were written, in either order.
  const all = rig.seen.config.filter((access) => /^(w1@[01]=|r1@2$)/.test(access));
  let pending = new Set<string>();
  let queries = 0;
  for (const access of all) {
    if (access.startsWith("w")) {
      if (pending.size === 2) pending = new Set();
      pending.add(access.slice(0, 4));
    } else if (pending.size > 0) {
      assertEquals(pending.size, 2);
      queries++;
    }
  }
  assert(queries > 5);
  assertEquals(rig.instance.name, INPUT_PRESETS.keyboard.name);
});

Deno.test("spec input: event buffers are writable and status buffers readable, of 8 bytes at least (drv.input.operation.2, .3)", async () => {
  const model = new InputDevice(INPUT_PRESETS.keyboard);
  await using rig = await boot(inputDriver, model);
  const [type, code] = [0x11, [...rig.instance.codes.get(0x11)!][0]!];
  await rig.instance.send(type, code, 1, SOON);
  const status = rig.seen.chains.filter(({ queue }) => queue === 1);
  assertEquals(status.map(({ read, writable }) => [read, writable]), [
    [le([type, 2], [code, 2], 1), []],
  ]);
  const buffers = waiting(rig.machine, 0);
  assert(buffers.length > 0 && buffers.every(([read, room]) => read === 0 && room >= 8));
});

Deno.test("spec console: a legacy device without ANY_LAYOUT gets each control message in one descriptor (drv.console.legacy-framing.1)", async () => {
  const model = new ConsoleDevice({
    ports: [{ backend: loopbackPort() }, { backend: loopbackPort(), name: "a" }],
    multiport: true,
  });
  await using rig = await boot(consoleDriver, model, { version: 1, filter: [ANY_LAYOUT] });
  for (let i = 0; i < 20 && rig.seen.chains.filter(({ queue }) => queue === 3).length < 3; i++) {
    await turn();
  }
  const control = rig.seen.chains.filter(({ queue }) => queue === 2 || queue === 3);
  assert(control.some(({ queue }) => queue === 2) && control.some(({ queue }) => queue === 3));
  for (const { readable, writable, read, queue } of control) {
    assertEquals(readable.length + writable.length, 1);
    if (queue === 3) assertEquals(read.length, 8);
  }
});
