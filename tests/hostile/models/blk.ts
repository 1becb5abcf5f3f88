import { assert, assertEquals } from "@std/assert";
import { BlkDevice, type BlkDeviceOptions, MemoryDisk } from "@vireo/emu";
import { bytesOf, concat, type HostileSuite, Rig, type RigOptions } from "./rig.ts";

// Typed again from virtio 1.4 §5.2.6.
const [IN, OUT, FLUSH, GET_ID, DISCARD, WRITE_ZEROES] = [0, 1, 4, 8, 11, 13] as const;
const [OK, IOERR, UNSUPP] = [0, 1, 2] as const;
const DISK = 64 << 20;

/** A disk without memory to be looked at, which counts what is cleared. */
class SlowDisk {
  readonly size = DISK;
  readonly readOnly = false;
  readonly memory = undefined;
  cleared = 0;
  written = 0;
  read(_offset: number, into: Uint8Array, start: number, length: number): void {
    into.fill(0x5a, start, start + length);
  }
  write(_offset: number, _from: Uint8Array, _start: number, length: number): void {
    this.written += length;
  }
  flush(): void {}
  zero(_offset: number, length: number): void {
    this.cleared += length;
  }
  resize(): void {}
  [Symbol.dispose](): void {}
}

const rig = (options: Partial<BlkDeviceOptions> = {}, how: RigOptions = {}) =>
  new Rig(new BlkDevice({ disk: new MemoryDisk(DISK), ...options }), {
    memorySize: 32 << 20,
    ...how,
  });

const header = (type: number, sector = 0): Uint8Array => bytesOf([4, type], [4, 0], [8, sector]);
const range = (sector: number, sectors: number): Uint8Array =>
  bytesOf([8, sector], [4, sectors], [4, 0]);

/** A raw request whose data is the same memory over and over, so many times a megabyte. */
function huge(it: Rig<BlkDevice>, type: number, megabytes: number, write: boolean, sector = 0) {
  const data = it.scratch(1 << 20);
  const head = it.scratch(16);
  head.bytes.set(header(type, sector));
  const status = it.scratch(1);
  status.bytes[0] = 0xee;
  it.raw(
    0,
    [
      { address: head.address, length: 16 },
      ...Array.from(
        { length: megabytes },
        () => ({ address: data.address, length: 1 << 20, write }),
      ),
      { address: status.address, length: 1, write: true },
    ],
    true,
    4,
  );
  return { data: data.bytes, status: () => status.bytes[0] };
}

/** Hostile drivers of the block device. */
export const BLK: HostileSuite = {
  model: "blk",
  cases: [
    {
      name: "buffers of the wrong direction are an error, not a request without data",
      async run() {
        const disk = new MemoryDisk(DISK);
        await using it = rig({ disk });
        const data = new Uint8Array(512).fill(1);
        const status = async (bytes: Uint8Array, write: number) =>
          (await it.send(0, bytes, write)).at(-1);
        assertEquals(await status(concat(header(IN), data), 1), IOERR, "a read of readable data");
        assertEquals(await status(header(OUT), 513), IOERR, "a write of writable data");
        assertEquals(await status(concat(header(OUT), data), 513), IOERR, "a write of both");
        assertEquals(await status(concat(header(GET_ID), data), 21), IOERR);
        for (const type of [DISCARD, WRITE_ZEROES]) {
          assertEquals(await status(concat(header(type), range(0, 1)), 513), IOERR);
        }
        assertEquals(disk.memory.subarray(0, 512), new Uint8Array(512));
        assertEquals(await status(concat(header(OUT), data), 1), OK);
        assertEquals(await status(header(FLUSH), 1), OK);
        assertEquals(await status(header(99), 1), UNSUPP);
      },
    },
    {
      name: "a request that fails is cleared in turns, however large it is",
      async run() {
        await using it = rig();
        const { data, status } = huge(it, IN, 250, true, 2 ** 40);
        data.fill(0x77);
        assertEquals([it.queue(0).usedIndex, status()], [0, 0xee], "more than a turn");
        assertEquals((await it.send(0, header(FLUSH), 1))[0], OK, "others are served meanwhile");
        await it.until(0, 2);
        assertEquals([status(), data[0], it.model.stats.ioErrors], [IOERR, 0, 1]);
        it.check();
      },
    },
    {
      name: "reads and writes of more than a turn are done in pieces, and a reset ends them",
      async run() {
        for (const disk of [new MemoryDisk(DISK), new SlowDisk()]) {
          await using it = rig({ disk });
          const read = huge(it, IN, 60, true);
          await it.until(0, 1);
          assertEquals(read.status(), OK);
          const write = huge(it, OUT, 60, false);
          await it.until(0, 2);
          assertEquals(write.status(), OK);
          it.check();
          const last = huge(it, IN, 60, true);
          it.device.reset();
          last.data.fill(0x33);
          const { bytes } = it.device.work.counters;
          await it.turn();
          await it.turn();
          assertEquals(it.device.work.counters.bytes, bytes);
          assertEquals([last.data[0], last.status()], [0x33, 0xee]);
        }
      },
    },
    {
      name: "ranges that take gigabytes to clear are cleared in turns, and a reset ends them",
      async run() {
        const disk = new SlowDisk();
        await using it = rig({ disk });
        const ranges = Array.from({ length: 16 }, () => range(0, 1 << 15));
        const request = concat(header(WRITE_ZEROES), ...ranges);
        const { bytes: memory, address } = it.scratch(request.length);
        memory.set(request);
        const status = it.scratch(1);
        const send = (count: number): void => {
          for (let i = 0; i < count; i++) {
            it.raw(
              0,
              [
                { address, length: request.length },
                { address: status.address, length: 1, write: true },
              ],
              i + 1 === count,
              2 * i,
            );
          }
        };
        send(4);
        assert(disk.cleared <= 32 << 20, `${disk.cleared} bytes are cleared in a turn`);
        await it.until(0, 4);
        assertEquals([disk.cleared, it.model.stats.ranges], [4 * 256 << 20, 4]);
        it.check();
        send(4);
        it.device.reset();
        const { cleared } = disk;
        await it.turn();
        await it.turn();
        assertEquals(disk.cleared, cleared);
      },
    },
    {
      name: "sectors that are far outside, or come round, touch nothing",
      async run(random) {
        await using it = rig();
        for (let i = 0; i < 50; i++) {
          const sector = 2 ** 23 * (1 + random() % 2 ** 30) + random();
          const read = await it.send(0, header(IN, sector), 513);
          assertEquals([read.at(-1), read[0]], [IOERR, 0]);
          const far = Uint8Array.from(range(sector, 1));
          const erase = concat(header(DISCARD), range(0, 8), far);
          assertEquals((await it.send(0, erase, 1))[0], IOERR);
        }
        assertEquals(it.model.stats.ranges, 0);
        it.check();
      },
    },
    {
      name: "a header or a status byte that is not there is a fault",
      async run() {
        for (const [read, write] of [[15, 1], [16, 0], [0, 1]] as const) {
          await using it = rig();
          it.raw(0, [
            { address: it.scratch(16).address, length: read },
            ...write > 0 ? [{ address: it.scratch(16).address, length: write, write: true }] : [],
          ]);
          assertEquals([it.driver.needsReset, it.log.length], [true, 1]);
          it.init();
          assertEquals((await it.send(0, header(FLUSH), 1))[0], OK);
        }
      },
    },
  ],
};
