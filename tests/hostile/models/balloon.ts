import { assertEquals } from "@std/assert";
import { BalloonDevice } from "@vireo/emu";
import { bytesOf, type HostileSuite, Rig, type RigOptions } from "./rig.ts";

// Queues of virtio 1.4 §5.5.2 when all are there.
const [INFLATE, DEFLATE, STATS, HINTS, REPORTS] = [0, 1, 2, 3, 4] as const;
const PAGE = 4096;
/** `free_page_hint_cmd_id` of the configuration. */
const COMMAND = 0x100 + 8;
const POISON = 0x100 + 12;

const rig = (options: RigOptions = {}) => new Rig(new BalloonDevice(), options);

/** A hint of a page that holds 0x11: what it holds afterwards. */
async function hint(it: Rig<BalloonDevice>): Promise<number> {
  const page = it.scratch(PAGE);
  page.bytes.fill(0x11);
  it.raw(HINTS, [{ address: page.address, length: PAGE, write: true }]);
  await it.turn();
  return page.bytes[0]!;
}

const command = (it: Rig<BalloonDevice>, id: number) => it.send(HINTS, bytesOf([4, id]));

/** Hostile drivers of the balloon. */
export const BALLOON: HostileSuite = {
  model: "balloon",
  cases: [
    {
      name:
        "hints of another command are ignored, as are those from before it [dev.balloon.free-page-hint.3]",
      async run() {
        await using it = rig();
        assertEquals(await hint(it), 0x11, "no command at all");
        it.model.startHinting();
        const id = it.driver.slot.read32(COMMAND);
        await command(it, id + 1);
        assertEquals([await hint(it), it.model.hinting], [0x11, false], "of another");
        await command(it, id);
        assertEquals([await hint(it), it.model.hinting], [0, true], "of the current one");
        it.model.startHinting();
        assertEquals([await hint(it), it.model.hinting], [0x11, false], "of the one before");
        assertEquals(it.model.reported, PAGE);
      },
    },
    {
      name:
        "hints after DONE change nothing, whatever id the driver claims [dev.balloon.free-page-hint.4]",
      async run() {
        await using it = rig();
        it.model.startHinting();
        const id = it.driver.slot.read32(COMMAND);
        await command(it, id);
        assertEquals(await hint(it), 0);
        it.model.finishHinting();
        assertEquals([await hint(it), it.model.hinting], [0x11, false]);
        await command(it, id);
        assertEquals([await hint(it), it.model.hinting], [0x11, false], "says it again");
        for (const claimed of [0, 1]) {
          await command(it, claimed);
          assertEquals([await hint(it), it.model.hinting], [0x11, false], `claims ${claimed}`);
        }
      },
    },
    {
      name: "a list of a million pages is taken in turns, and another queue is served meanwhile",
      async run() {
        await using it = rig({ memorySize: 16 << 20 });
        const list = it.scratch(1 << 20);
        const pages = new Uint32Array(
          list.bytes.buffer,
          list.bytes.byteOffset,
          list.bytes.length / 4,
        );
        pages.fill((it.machine.memory.base + (8 << 20)) / PAGE);
        // The same list four times: 2^20 pages, which are 4 GiB to clear.
        it.raw(
          INFLATE,
          Array.from({ length: 4 }, () => ({ address: list.address, length: 1 << 20 })),
        );
        assertEquals(it.queue(INFLATE).usedIndex, 0, "there is more than a turn has");
        await it.send(DEFLATE, bytesOf([4, 1]));
        assertEquals([it.model.unknown, it.queue(INFLATE).usedIndex], [1, 0]);
        await it.until(INFLATE, 1);
        assertEquals(it.model.held.size, 1);
        assertEquals(it.device.work.counters.bytes >= 2 ** 32, true);
        it.check();
      },
    },
    {
      name: "gigabytes of free memory are poisoned in turns, and a queue reset ends it",
      async run() {
        await using it = rig({ memorySize: 16 << 20, ring: { ringReset: true } });
        it.driver.slot.write32(POISON, 0x04030201);
        const page = it.scratch(4 << 20);
        const elements = Array.from(
          { length: 128 },
          () => ({ address: page.address, length: 4 << 20, write: true }),
        );
        it.raw(REPORTS, elements.slice(0, 64));
        assertEquals(it.queue(REPORTS).usedIndex, 0);
        await it.until(REPORTS, 1);
        assertEquals([...page.bytes.subarray(0, 4), page.bytes.at(-1)], [1, 2, 3, 4, 4]);
        it.check();
        it.raw(REPORTS, elements);
        it.driver.slot.write32(0x30, REPORTS);
        it.driver.slot.write32(0xc0, 1);
        const { bytes } = it.device.work.counters;
        await it.turn();
        await it.turn();
        assertEquals(it.device.work.counters.bytes, bytes, "nothing is written any more");
      },
    },
    {
      name:
        "lists that are empty, odd or of no memory, and a second buffer of statistics, are faults",
      async run(random) {
        const bad: ((it: Rig<BalloonDevice>) => void)[] = [
          (it) => it.raw(INFLATE, [{ address: it.scratch(8).address, length: 0 }]),
          (it) => it.raw(DEFLATE, [{ address: it.scratch(8).address, length: 3 }]),
          (it) => {
            const { address, bytes } = it.scratch(4);
            new DataView(bytes.buffer, bytes.byteOffset).setUint32(0, random() >>> 12, true);
            it.raw(INFLATE, [{ address, length: 4 }]);
          },
          (it) => {
            it.raw(STATS, [{ address: it.scratch(10).address, length: 10 }]);
            it.raw(STATS, [{ address: it.scratch(10).address, length: 10 }], true, 1);
          },
          (it) => it.raw(HINTS, [{ address: it.scratch(8).address, length: 8 }]),
        ];
        for (const act of bad) {
          await using it = rig();
          act(it);
          assertEquals([it.driver.needsReset, it.log.length], [true, 1]);
          it.check();
          it.init();
          await it.send(DEFLATE, bytesOf([4, 1]));
        }
      },
    },
    {
      name: "statistics that are wanted before there is a buffer, or after it went, wait for one",
      async run() {
        await using it = rig({ ring: { ringReset: true } });
        let told: ReadonlyMap<number, number> | undefined;
        const ask = (): void => void it.model.refresh().then((values) => told = values);
        ask();
        const report = it.scratch(10);
        report.bytes.set(bytesOf([2, 1], [8, 77]));
        it.raw(STATS, [{ address: report.address, length: 10 }]);
        await it.turn();
        assertEquals([[...told ?? []], it.queue(STATS).usedIndex], [[[1, 77]], 0]);
        it.driver.slot.write32(0x30, STATS);
        it.driver.slot.write32(0xc0, 1);
        told = undefined;
        ask();
        await it.turn();
        assertEquals([told, it.log], [undefined, []]);
      },
    },
    {
      name: "pages, poison and the round of hints are in a snapshot",
      async run() {
        await using it = rig();
        it.model.target = 7;
        it.driver.slot.write32(POISON, 0x55555555);
        const page = it.scratch(PAGE);
        await it.send(INFLATE, bytesOf([4, page.address / PAGE]));
        it.model.startHinting();
        await command(it, it.driver.slot.read32(COMMAND));
        await using next = it.moveTo(rig(it.memory));
        const { target, held, hinting } = next.model;
        assertEquals([target, [...held], hinting], [7, [page.address / PAGE], true]);
        assertEquals(it.driver.slot.read32(POISON), 0x55555555);
      },
    },
  ],
};
