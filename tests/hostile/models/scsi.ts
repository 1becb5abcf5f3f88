import { assert, assertEquals } from "@std/assert";
import { MemoryDisk, ScsiDevice, type ScsiDeviceOptions } from "@vireo/emu";
import { bytesOf, concat, type HostileSuite, Rig, type RigOptions } from "./rig.ts";

// Typed again from virtio 1.4 §5.6.6, SPC-4 and SBC-3.
const REQUEST = 2;
const CONTROL = 0;
const SENSE = 96;
const RESPONSE = 12;

/** A disk that counts, and has no memory to be looked at. */
class CountingDisk {
  readonly size = 1 << 30;
  readonly readOnly = false;
  readonly memory = undefined;
  zeroed: number[][] = [];
  largest = 0;
  flushes = 0;
  read(_offset: number, into: Uint8Array, start: number, length: number): void {
    this.largest = Math.max(this.largest, into.length);
    into.fill(0x5a, start, start + length);
  }
  write(_offset: number, from: Uint8Array): void {
    this.largest = Math.max(this.largest, from.length);
  }
  flush(): void {
    this.flushes++;
  }
  zero(offset: number, length: number): void {
    this.zeroed.push([offset, length]);
  }
  resize(): void {}
  [Symbol.dispose](): void {}
}

function rig(options: Partial<ScsiDeviceOptions> = {}, how: RigOptions = {}) {
  const disk = new CountingDisk();
  const model = new ScsiDevice({
    units: [
      { target: 0, disk },
      { target: 3, disk: new MemoryDisk(64 * 2048), kind: "cdrom" },
    ],
    ...options,
  });
  return Object.assign(new Rig(model, how), { disk });
}

const lunOf = (target: number, lun: number, first = 1): number[] => [
  first,
  target,
  0x40 | lun >> 8,
  lun & 0xff,
  0,
  0,
  0,
  0,
];

/** A request of the request queue. */
function request(lun: readonly number[], cdb: readonly number[], id = 1): Uint8Array {
  const bytes = new Uint8Array(19 + 32);
  bytes.set(lun);
  bytes.set(bytesOf([8, id]), 8);
  bytes.set(cdb, 19);
  return bytes;
}

/** Takes a response apart: response code, status, sense key and additional codes. */
function told(bytes: Uint8Array): { response: number; status: number; sense: number[] } {
  const sense = bytes.subarray(RESPONSE);
  return { response: bytes[11]!, status: bytes[10]!, sense: [sense[2]!, sense[12]!, sense[13]!] };
}

const tmf = (subtype: number, lun: readonly number[], id = 1): Uint8Array =>
  concat(bytesOf([4, 0], [4, subtype]), Uint8Array.from(lun), bytesOf([8, id]));

const unmap = (ranges: readonly (readonly [number, number])[]): Uint8Array => {
  const bytes = new Uint8Array(8 + 16 * ranges.length);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, bytes.length - 2);
  view.setUint16(2, bytes.length - 8);
  ranges.forEach(([block, count], i) => {
    view.setUint32(8 + 16 * i + 4, block);
    view.setUint32(8 + 16 * i + 8, count);
  });
  return bytes;
};
const unmapCdb = (length: number): number[] => [0x42, 0, 0, 0, 0, 0, 0, length >> 8, length & 0xff];

/** Hostile drivers of the SCSI host. */
export const SCSI: HostileSuite = {
  model: "scsi",
  cases: [
    {
      name:
        "a missing unit answers by sense data, as no response after FAILURE exists [dev.scsi.requestq.2]",
      async run() {
        await using it = rig();
        const missing = lunOf(0, 5);
        const ready = told(await it.send(REQUEST, request(missing, [0]), RESPONSE + SENSE));
        assertEquals(ready, { response: 0, status: 2, sense: [5, 0x25, 0] });
        const bytes = await it.send(
          REQUEST,
          request(missing, [0x12, 0, 0, 0, 36]),
          RESPONSE + SENSE + 36,
        );
        assertEquals([told(bytes).response, told(bytes).status], [0, 0]);
        assertEquals(bytes[RESPONSE + SENSE], 0x7f);
        const target = told(await it.send(REQUEST, request(lunOf(9, 0), [0]), RESPONSE + SENSE));
        assertEquals(target.response, 3);
        it.check();
      },
    },
    {
      name: "a lun field that is not of the device's form names no unit",
      async run() {
        await using it = rig();
        for (
          const lun of [lunOf(0, 0, 0), lunOf(0, 0, 2), [1, 0, 0x80, 0, 0, 0, 0, 0], [
            1,
            0,
            1,
            0,
            0,
            0,
            0,
            0,
          ]]
        ) {
          const bytes = await it.send(REQUEST, request(lun, [0]), RESPONSE + SENSE);
          assertEquals(told(bytes).response, 3, `${lun}`);
          assertEquals([...await it.send(CONTROL, tmf(5, lun), 1)], [3], `TMF, ${lun}`);
        }
        assertEquals([...await it.send(CONTROL, tmf(5, lunOf(0, 9)), 1)], [12], "INCORRECT_LUN");
      },
    },
    {
      name: "data that comes with a command is looked at only as far as the command takes it",
      async run() {
        await using it = rig({}, { memorySize: 64 << 20 });
        const data = new Uint8Array(8 << 20);
        const bytes = await it.send(
          REQUEST,
          concat(request(lunOf(0, 0), [0]), data),
          RESPONSE + SENSE,
        );
        assertEquals([told(bytes).status, new DataView(bytes.buffer).getUint32(4, true)], [
          0,
          8 << 20,
        ]);
        // TEST UNIT READY carried nothing: the request's 51 bytes and the answer's.
        assertEquals(
          it.device.work.counters.bytes < 1024,
          true,
          `${it.device.work.counters.bytes}`,
        );
        const write = [0x2a, 0, 0, 0, 0, 0, 0, 0, 2];
        await it.send(REQUEST, concat(request(lunOf(0, 0), write), data), RESPONSE + SENSE);
        assertEquals(it.disk.largest, 1024);
        it.check();
      },
    },
    {
      name: "a read takes no more memory than the driver has room",
      async run() {
        await using it = rig();
        const read = [0x28, 0, 0, 0, 0, 0, 0, 0x7f, 0xff];
        const bytes = await it.send(REQUEST, request(lunOf(0, 0), read), RESPONSE + SENSE + 700);
        assertEquals([it.disk.largest, told(bytes).response], [700, 1], "OVERRUN");
        assertEquals(bytes.subarray(RESPONSE + SENSE), new Uint8Array(700).fill(0x5a));
      },
    },
    {
      name: "UNMAP checks its whole list, and its own limits, before it changes anything",
      async run() {
        await using it = rig();
        const send = async (ranges: readonly (readonly [number, number])[]) => {
          const list = unmap(ranges);
          const cdb = unmapCdb(list.length);
          const data = concat(request(lunOf(0, 0), cdb), list);
          return told(await it.send(REQUEST, data, RESPONSE + SENSE));
        };
        assertEquals((await send([[0, 8], [1 << 21, 1]])).sense, [5, 0x21, 0], "second outside");
        assertEquals((await send([[0, 0x10001]])).sense, [5, 0x26, 0], "too many blocks");
        assertEquals((await send([[0, 0x8000], [0, 0x8001]])).sense, [5, 0x26, 0], "in sum");
        const many = Array.from({ length: 256 }, () => [0, 1] as const);
        assertEquals((await send(many)).sense, [5, 0x26, 0], "too many ranges");
        assertEquals(it.disk.zeroed, []);
        const { bytes } = it.device.work.counters;
        assertEquals((await send([[0, 0x8000], [9, 0x8000]])).status, 0);
        assert(it.device.work.counters.bytes - bytes > 0x10000 * 512, "it counts as work");
        assertEquals(it.disk.zeroed, [[0, 0x8000 * 512], [9 * 512, 0x8000 * 512]]);
        const limits = await it.send(
          REQUEST,
          request(lunOf(0, 0), [0x12, 1, 0xb0, 0, 64]),
          RESPONSE + SENSE + 64,
        );
        const page = new DataView(limits.buffer, RESPONSE + SENSE);
        assertEquals([page.getUint32(20), page.getUint32(24)], [0x10000, 255]);
      },
    },
    {
      name: "a task management request that is cut off is a fault, not one of unit 0",
      async run() {
        const short = [
          tmf(5, lunOf(0, 0)).subarray(0, 12),
          bytesOf([4, 0]),
          bytesOf([4, 1], [4, 0]),
        ];
        for (const bytes of short) {
          await using it = rig({ hold: true });
          it.raw(REQUEST, [
            { ...pick(it, request(lunOf(0, 0), [0])) },
            {
              address: it.scratch(RESPONSE + SENSE).address,
              length: RESPONSE + SENSE,
              write: true,
            },
          ]);
          assertEquals(it.model.held, 1);
          it.raw(CONTROL, [pick(it, bytes), { ...pick(it, new Uint8Array(5)), write: true }]);
          assertEquals([it.driver.needsReset, it.model.held], [true, 1]);
        }
      },
    },
    {
      name: "a task management request with bytes behind it, or more room, does what it says",
      async run() {
        await using it = rig({ hold: true });
        for (const id of [1, 2]) {
          void it.queue(REQUEST).add([{ read: request(lunOf(0, 0), [0], id) }, { write: 108 }]);
        }
        it.queue(REQUEST).kick();
        assertEquals(it.model.held, 2);
        // ABORT_TASK of the one, then LOGICAL_UNIT_RESET: FUNCTION_COMPLETE, and one byte of the answer.
        for (const [kind, left] of [[0, 1], [5, 0]] as const) {
          const padded = concat(tmf(kind, lunOf(0, 0), 1), new Uint8Array(40).fill(0xff));
          const { bytes, written } = await it.driver.request(CONTROL, [
            { read: padded },
            { write: 64 },
          ]);
          assertEquals([bytes[0]![0], written, it.model.held], [0, 1, left], `subtype ${kind}`);
        }
        assertEquals(it.log, []);
      },
    },
    {
      name: "a CD that changes its size sends no event, a disk does [dev.scsi.eventq.3]",
      async run() {
        await using it = rig();
        const event = it.queue(1).add([{ write: 16 }]);
        it.queue(1).kick();
        it.model.resize(3, 0, 32 * 2048);
        it.driver.interrupt();
        assertEquals(it.queue(1).usedIndex, 0);
        const cd = told(await it.send(REQUEST, request(lunOf(3, 0), [0]), RESPONSE + SENSE));
        assertEquals(cd.sense, [6, 0x2a, 9], "its next command is told");
        it.model.resize(0, 0, 1 << 29);
        assertEquals((await it.driver.until(event)).bytes[0]![0], 3);
      },
    },
    {
      name: "a request that is held when its unit goes fails [dev.scsi.requestq.3]",
      async run() {
        await using it = rig({ hold: true });
        const done = it.queue(REQUEST).add([
          { read: request(lunOf(0, 0), [0]) },
          { write: RESPONSE + SENSE },
        ]);
        it.queue(REQUEST).kick();
        it.model.unplug(0);
        assertEquals(told((await it.driver.until(done)).bytes[0]!).response, 9);
        assertEquals(it.model.held, 0);
      },
    },
    {
      name: "tasks whose ids differ above 2^53 are two",
      async run() {
        await using it = rig({ hold: true });
        const id = (low: number): Uint8Array => {
          const bytes = request(lunOf(0, 0), [0]);
          bytes.set(bytesOf([4, low], [4, 0xffffffff]), 8);
          return bytes;
        };
        for (const low of [1, 2]) {
          void it.queue(REQUEST).add([{ read: id(low) }, { write: RESPONSE + SENSE }]);
        }
        it.queue(REQUEST).kick();
        const abort = tmf(0, lunOf(0, 0));
        abort.set(bytesOf([4, 1], [4, 0xffffffff]), 16);
        await it.send(CONTROL, abort, 1);
        assertEquals(it.model.held, 1);
      },
    },
    {
      name: "WRITE SAME clears for a block of zeroes alone, and repeats any other",
      async run() {
        await using it = rig();
        const same = [0x41, 0, 0, 0, 0, 3, 0, 0, 2];
        const blocks = [
          new Uint8Array(512).fill(0x5a),
          new Uint8Array(512).fill(0x5a, 1),
          new Uint8Array(512).fill(0x5a, 0, 511),
        ];
        for (const block of blocks) {
          it.disk.largest = 0;
          const data = concat(request(lunOf(0, 0), same), block);
          assertEquals(told(await it.send(REQUEST, data, RESPONSE + SENSE)).status, 0);
          assertEquals([it.disk.zeroed, it.disk.largest > 0], [[], true]);
        }
        const zeroes = concat(request(lunOf(0, 0), same), new Uint8Array(512));
        await it.send(REQUEST, zeroes, RESPONSE + SENSE);
        assertEquals(it.disk.zeroed, [[3 * 512, 2 * 512]]);
      },
    },
    {
      name: "a query for notifications is answered whole: none, and OK",
      async run() {
        await using it = rig();
        const query = concat(bytesOf([4, 1]), Uint8Array.from(lunOf(0, 0)), bytesOf([4, 0xff]));
        const { bytes, written } = await it.driver.request(CONTROL, [
          { read: query },
          { write: 9 },
        ]);
        assertEquals([[...bytes[0]!.subarray(0, 5)], written], [[0, 0, 0, 0, 0], 5]);
      },
    },
    {
      name: "SYNCHRONIZE CACHE of either length flushes the disk",
      async run() {
        await using it = rig();
        for (const [cdb, flushes] of [[[0x35], 1], [[0x91], 2], [[0], 2]] as const) {
          await it.send(REQUEST, request(lunOf(0, 0), cdb), RESPONSE + SENSE);
          assertEquals(it.disk.flushes, flushes);
        }
      },
    },
    {
      name: "limits are in the configuration before the first reset",
      async run() {
        await using it = rig({ queues: 3 }, { init: false });
        const { slot } = it.driver;
        const words = [0, 4, 8, 12, 16, 20, 24].map((offset) => slot.read32(0x100 + offset));
        assertEquals(words, [3, 254, 0xffff, 128, 16, 96, 32]);
        assertEquals([slot.read16(0x100 + 30), slot.read32(0x100 + 32)], [255, 16383]);
      },
    },
    {
      name: "what a driver chose and what units have to tell is in a snapshot",
      async run() {
        await using it = rig();
        it.driver.slot.write32(0x100 + 20, 64);
        it.model.resize(0, 0, 1 << 29);
        await using _next = it.moveTo(rig({}, it.memory));
        assertEquals(it.driver.slot.read32(0x100 + 20), 64);
        const used = await it.driver.request(REQUEST, [
          { read: request(lunOf(0, 0), [0]) },
          { write: RESPONSE + 64 },
        ]);
        assertEquals(told(used.bytes[0]!).sense, [6, 0x2a, 9]);
      },
    },
  ],
};

function pick(it: Rig<ScsiDevice>, bytes: Uint8Array): { address: number; length: number } {
  const { address, bytes: memory } = it.scratch(bytes.length);
  memory.set(bytes);
  return { address, length: bytes.length };
}
