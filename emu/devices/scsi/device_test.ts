// A SCSI host by the bytes of its queues; every number is typed again from virtio 1.4 §5.6.
import { assert, assertEquals } from "@std/assert";
import { FeatureSet } from "@vireo/hal";
import { MemoryDisk } from "../../backends/memory_disk.ts";
import { FakeChain, FakeHost } from "../../testing/fake_host.ts";
import { ScsiDevice, type ScsiDeviceOptions } from "./device.ts";

const [CONTROL, EVENT, REQUEST] = [0, 1, 2];
const [HOTPLUG, CHANGE] = [1, 2];
const [OK, OVERRUN, ABORTED, BAD_TARGET, RESET, FAILURE, SUCCEEDED, REJECTED, BAD_LUN] = [
  ...[0, 1, 2, 3, 4],
  ...[9, 10, 11, 12],
] as [number, number, number, number, number, number, number, number, number];
const NONE = new Uint8Array(0);
const disk = (): MemoryDisk => new MemoryDisk(1 << 16);

class Rig {
  readonly device: ScsiDevice;
  readonly host: FakeHost;

  constructor(options: Partial<ScsiDeviceOptions> = {}, features = [HOTPLUG, CHANGE]) {
    this.device = new ScsiDevice({
      units: [
        { target: 1, disk: disk() },
        { target: 1, lun: 300, disk: disk() },
        { target: 2, lun: 5, disk: disk(), kind: "cdrom" },
      ],
      ...options,
    });
    this.host = new FakeHost(this.device, FeatureSet.of(...features));
  }

  /** A command; its chain. */
  send(lun: readonly number[], cdb: readonly number[], room = 0, id = 1, write = NONE): FakeChain {
    const bytes = new Uint8Array(51);
    bytes.set(lun);
    bytes[8] = id;
    bytes.set(cdb, 19);
    const chain = new FakeChain(bytes, write, 108 + room);
    this.host.send(REQUEST, chain);
    return chain;
  }

  /** A task management function; its response. */
  manage(kind: number, lun: readonly number[], id = 1): number {
    const bytes = new Uint8Array(24);
    bytes[4] = kind;
    bytes.set(lun, 8);
    bytes[16] = id;
    const chain = new FakeChain(bytes, NONE, 1);
    this.host.send(CONTROL, chain);
    assertEquals(chain.used, 1);
    return chain.writable[0]!;
  }
}

/** sense_len, residual, status and response of a request that came back, with all of its sense data. */
function response({ writable, used }: FakeChain): number[] {
  assert(used !== undefined && used >= 12, `${used} bytes`);
  const view = new DataView(writable.buffer);
  return [view.getUint32(0, true), view.getUint32(4, true), writable[10]!, writable[11]!];
}

Deno.test("scsi device: a lun is 1, a target and a number of one level", () => {
  const rig = new Rig();
  const rows: readonly (readonly [readonly number[], number, number])[] = [
    [[1, 1, 0, 0], OK, 0],
    [[1, 1, 0x40, 0], OK, 0],
    [[1, 1, 0x41, 44], OK, 0],
    [[1, 2, 0x40, 5], OK, 0],
    [[1, 2, 0, 5], OK, 0],
    // The target answers for a unit that it lacks: CHECK CONDITION.
    [[1, 1, 0x40, 1], OK, 2],
    [[1, 2, 0, 0], OK, 2],
    [[1, 0, 0, 0], BAD_TARGET, 0],
    [[1, 3, 0, 0], BAD_TARGET, 0],
    [[0, 1, 0, 0], BAD_TARGET, 0],
    [[1, 1, 1, 0], BAD_TARGET, 0],
    [[1, 1, 0x80, 0], BAD_TARGET, 0],
  ];
  for (const [lun, expected, status] of rows) {
    const [, , got, answer] = response(rig.send(lun, [0]));
    assertEquals([answer, got], [expected, status], `${lun}`);
  }
});

Deno.test("scsi device: a request has its response, sense and data, with what was left over", () => {
  const rig = new Rig();
  const LUN = [1, 1, 0, 0];
  const inquiry = rig.send(LUN, [0x12, 0, 0, 0, 36], 40);
  assertEquals([...response(inquiry), inquiry.used], [0, 4, 0, OK, 144]);
  assertEquals([...inquiry.writable.subarray(108, 113)], [0, 0, 5, 2, 31]);
  assertEquals([...inquiry.writable.subarray(144)], [238, 238, 238, 238], "left alone");
  assertEquals(response(rig.send(LUN, [0x12, 0, 0, 0, 36], 36)), [0, 0, 0, OK]);
  assertEquals(response(rig.send(LUN, [0x12, 0, 0, 0, 36], 35)), [0, 0, 0, OVERRUN]);
  // Without any room, the residual is of what was written: this command takes nothing.
  assertEquals(response(rig.send(LUN, [0x12, 0, 0, 0, 36])), [0, 0, 0, OK]);
  assertEquals(response(rig.send(LUN, [0], 0, 1, new Uint8Array(7))), [0, 7, 0, OK]);
  const write = [0x0a, 0, 0, 3, 1];
  assertEquals(response(rig.send(LUN, write, 0, 1, new Uint8Array(520))), [0, 8, 0, OK]);
  const wrong = rig.send(LUN, [0xff]);
  assertEquals([...response(wrong), wrong.writable[12], wrong.writable[14]], [
    18,
    0,
    2,
    OK,
    0x70,
    5,
  ]);
  assertEquals(wrong.writable.subarray(30).every((byte) => byte === 0), true);
  assertEquals([rig.host.signals, rig.host.faults], [7, []]);
});

Deno.test("scsi device: REPORT LUNS lists a target's units, small numbers by peripheral addressing", () => {
  const rig = new Rig({
    units: [300, 255, 256, 0].map((lun) => ({ target: 1, lun, disk: disk() })),
  });
  const chain = rig.send([1, 1, 0, 0], [0xa0], 48);
  assertEquals(response(chain), [0, 8, 0, OK]);
  const luns = Array.from(
    { length: 5 },
    (_, i) => [...chain.writable.subarray(108 + 8 * i, 112 + 8 * i)],
  );
  assertEquals(luns, [[0, 0, 0, 32], [0, 0, 0, 0], [0, 255, 0, 0], [0x41, 0, 0, 0], [
    0x41,
    44,
    0,
    0,
  ]]);
});

Deno.test("scsi device: the sizes of sense data and command blocks are the driver's, up to 255", () => {
  const rig = new Rig();
  const { device } = rig;
  assertEquals([device.readConfig(20, 4), device.readConfig(24, 4)], [96, 32]);
  device.writeConfig(20, 4, 4);
  device.writeConfig(24, 4, 256);
  for (const at of [0, 4, 28, 32]) device.writeConfig(at, 4, 9);
  device.writeConfig(20, 2, 1);
  assertEquals([device.readConfig(20, 4), device.readConfig(24, 4), device.readConfig(0, 4)], [
    4,
    255,
    1,
  ]);
  const send = (readable: number, writable: number): FakeChain => {
    const bytes = new Uint8Array(readable);
    bytes.set([1, 1, 0, 0]);
    bytes[19] = 0xff;
    const chain = new FakeChain(bytes, NONE, writable);
    rig.host.send(REQUEST, chain);
    return chain;
  };
  const chain = send(19 + 255, 12 + 4);
  assertEquals(response(chain), [4, 0, 2, OK]);
  assertEquals([...chain.writable.subarray(12)], [0x70, 0, 5, 0]);
  send(19 + 254, 12 + 4);
  send(19 + 255, 12 + 3);
  assertEquals([rig.host.faults, rig.host.done.length], [[
    "SCSI request of 273 and 16 bytes, expected at least 274 and 16",
    "SCSI request of 274 and 15 bytes, expected at least 274 and 16",
  ], 1]);
});

Deno.test("scsi device: task management finds the tasks of a unit, or of all of a target", () => {
  const UNIT = [1, 1, 0, 0];
  const OTHER = [1, 1, 0x41, 44];
  const CD = [1, 2, 0, 5];
  const [ABORT_TASK, ABORT_SET, CLEAR_ACA, CLEAR_SET, NEXUS, LOGICAL, QUERY, QUERY_SET] = [
    ...[0, 1, 2, 3],
    ...[4, 5, 6, 7],
  ] as [number, number, number, number, number, number, number, number];
  // Function, unit, its response; what became of three tasks: two of a unit, and one each of the others.
  const rows:
    readonly (readonly [number, readonly number[], number, readonly (number | undefined)[]])[] = [
      [ABORT_TASK, UNIT, OK, [ABORTED, undefined, undefined, undefined]],
      [ABORT_SET, UNIT, OK, [ABORTED, ABORTED, undefined, undefined]],
      [CLEAR_SET, OTHER, OK, [undefined, undefined, ABORTED, undefined]],
      [LOGICAL, UNIT, OK, [RESET, RESET, undefined, undefined]],
      [NEXUS, UNIT, OK, [RESET, RESET, RESET, undefined]],
      [NEXUS, [1, 1, 0x40, 9], OK, [RESET, RESET, RESET, undefined]],
      [QUERY, UNIT, SUCCEEDED, []],
      [QUERY, CD, OK, []],
      [QUERY_SET, CD, SUCCEEDED, []],
      [CLEAR_ACA, UNIT, REJECTED, []],
      [8, UNIT, REJECTED, []],
      [ABORT_SET, [1, 1, 0x40, 9], BAD_LUN, []],
      [ABORT_SET, [1, 3, 0, 0], BAD_TARGET, []],
      [ABORT_SET, [0, 1, 0, 0], BAD_TARGET, []],
    ];
  for (const [kind, lun, expected, fates] of rows) {
    const rig = new Rig({ hold: true });
    const tasks = [
      rig.send(UNIT, [0], 0, 1),
      rig.send(UNIT, [0], 0, 2),
      rig.send(OTHER, [0], 0, 3),
    ];
    tasks.push(rig.send(CD, [0], 0, 4));
    assertEquals(rig.device.usage(), { items: 4, bytes: 0 });
    assertEquals(rig.manage(kind, lun), expected, `function ${kind}, ${lun}`);
    const got = tasks.map((task) => task.used === undefined ? undefined : response(task)[3]);
    assertEquals(got, tasks.map((_, i) => fates[i]), `function ${kind}, ${lun}`);
    assertEquals(rig.device.held, got.filter((fate) => fate === undefined).length);
    rig.device.release();
    assertEquals([rig.device.held, rig.host.done.length], [0, 5]);
    // A unit that was reset says so once.
    const attention = kind === NEXUS || kind === LOGICAL ? 2 : 0;
    const statuses = [0, 1].map(() => {
      const chain = rig.send(UNIT, [0]);
      rig.device.release();
      return response(chain)[2];
    });
    assertEquals(statuses, [attention, 0]);
  }
  const idle = new Rig({ hold: true });
  assertEquals([idle.manage(QUERY_SET, UNIT), idle.manage(QUERY, UNIT)], [OK, OK]);
});

Deno.test("scsi device: control requests are whole, and there are no asynchronous notifications", () => {
  const rig = new Rig();
  const send = (type: number, readable: number, writable: number): number[] => {
    const bytes = new Uint8Array(readable);
    bytes[0] = type;
    bytes.set([1, 1].slice(0, Math.max(0, readable - 8)), Math.min(8, readable));
    const chain = new FakeChain(bytes, NONE, writable);
    rig.host.send(CONTROL, chain);
    return [...chain.writable.subarray(0, chain.used ?? 0)];
  };
  assertEquals(send(1, 16, 5), [0, 0, 0, 0, OK]);
  assertEquals(send(2, 16, 6), [0, 0, 0, 0, OK]);
  assertEquals(send(0, 24, 1), [OK]);
  assertEquals([rig.host.faults, rig.host.signals], [[], 3]);
  for (
    const [type, readable, writable] of [[1, 15, 5], [1, 16, 4], [0, 23, 1], [0, 24, 0]] as const
  ) {
    send(type, readable, writable);
    const least = type === 0 ? "24 and 1" : "16 and 5";
    assertEquals(rig.host.faults.splice(0), [
      `SCSI control request of ${readable} and ${writable} bytes, expected at least ${least}`,
    ]);
  }
  assertEquals([rig.host.done.length, rig.host.signals], [3, 3]);
});

Deno.test("scsi device: a queue that is given up takes its requests with it", () => {
  const rig = new Rig({ hold: true, queues: 2 });
  const chain = (): FakeChain => {
    const bytes = new Uint8Array(51);
    bytes.set([1, 1]);
    return new FakeChain(bytes, NONE, 108);
  };
  const [first, second] = [chain(), chain()];
  rig.host.send(REQUEST, first);
  rig.host.send(REQUEST + 1, second);
  rig.device.resetQueue(REQUEST);
  assertEquals(rig.device.held, 1);
  rig.device.release();
  assertEquals([first.used, second.used], [undefined, 108]);
});

Deno.test("scsi device: events wait for buffers, up to 64, and say that others were lost", () => {
  const rig = new Rig();
  const { device, host } = rig;
  const event = (): number[] | undefined => {
    const chain = new FakeChain(NONE, NONE, 16);
    host.send(EVENT, chain);
    if (chain.used === undefined) return undefined;
    const view = new DataView(chain.writable.buffer);
    return [view.getUint32(0, true), ...chain.writable.subarray(4, 8), view.getUint32(12, true)];
  };
  device.plug({ target: 7, lun: 300, disk: disk() });
  device.unplug(7, 300);
  device.resize(1, 0, 1 << 15);
  // There is none for a CD.
  device.resize(2, 5, 1 << 15);
  assertEquals([event(), event(), event()], [
    [1, 1, 7, 0x41, 44, 1],
    [1, 1, 7, 0x41, 44, 2],
    [3, 1, 1, 0x40, 0, 0x092a],
  ]);
  // The buffer that was left takes the next one.
  assertEquals([event(), host.done.length, host.signals], [undefined, 3, 3]);
  device.plug({ target: 8, disk: disk() });
  assertEquals([host.done.length, host.signals, device.usage().items], [4, 4, 0]);
  for (let i = 0; i < 66; i++) device.plug({ target: 9, lun: i, disk: disk() });
  assertEquals(device.usage(), { items: 64, bytes: 1024 });
  assertEquals(event(), [0x80000001, 1, 9, 0x40, 0, 1]);
  for (let i = 1; i < 64; i++) assertEquals(event()?.[0], 1);
  assertEquals([event(), device.usage().items], [undefined, 0]);
  host.send(EVENT, new FakeChain(NONE, NONE, 15));
  device.plug({ target: 10, disk: disk() });
  device.plug({ target: 11, disk: disk() });
  assertEquals(host.faults, ["SCSI event buffer of 15 bytes, expected 16"]);
});

Deno.test("scsi device: events are for drivers that asked for them, and requests of units that go fail", () => {
  for (const [features, expected] of [[[], 0], [[HOTPLUG], 2], [[CHANGE], 1]] as const) {
    const rig = new Rig({}, [...features]);
    rig.device.plug({ target: 7, disk: disk() });
    rig.device.unplug(7);
    rig.device.resize(1, 0, 512);
    assertEquals(rig.device.usage().items, expected, `${features}`);
  }
  const rig = new Rig({ hold: true });
  const [gone, kept] = [rig.send([1, 1, 0, 0], [0]), rig.send([1, 1, 0x41, 44], [0])];
  rig.device.unplug(1);
  assertEquals([response(gone)[3], kept.used], [FAILURE, undefined]);
  rig.device.unplug(1, 300);
  assertEquals([response(kept)[3], response(new Rig().send([1, 9], [0]))[3]], [
    FAILURE,
    BAD_TARGET,
  ]);
});

Deno.test("scsi device: a disk that fails is the host's failure, and the request's", () => {
  const broken = Object.assign(disk(), {
    flush: () => {
      throw new Error("gone");
    },
  });
  const rig = new Rig({ units: [{ target: 1, disk: broken }] });
  assertEquals(response(rig.send([1, 1, 0, 0], [0x35])), [0, 0, 0, FAILURE]);
  assertEquals([`${rig.host.hostFailures}`, rig.host.faults], ["Error: gone", []]);
});

Deno.test("scsi device: work is counted by commands and by what they write", () => {
  const rig = new Rig();
  const counted = (cdb: readonly number[], write = NONE): number[] => {
    const { steps, bytes } = rig.host.context.work.counters;
    rig.send([1, 1, 0, 0], cdb, 0, 1, write);
    const after = rig.host.context.work.counters;
    // Looks at the queue are two.
    return [after.steps - steps - 2, after.bytes - bytes];
  };
  assertEquals(counted([0]), [1, 0]);
  // WRITE SAME of three blocks.
  assertEquals(counted([0x41, 0, 0, 0, 0, 0, 0, 0, 3], new Uint8Array(512)), [1, 1536]);
});
