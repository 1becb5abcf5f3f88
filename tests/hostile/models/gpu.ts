import { assert, assertEquals } from "@std/assert";
import { GpuDevice, type GpuDeviceOptions } from "@vireo/emu";
import { bytesOf, concat, type HostileSuite, Rig, type RigOptions } from "./rig.ts";

// Typed again from virtio 1.4 §5.7.6.
const [CREATE, UNREF, SCANOUT, FLUSH, TRANSFER, ATTACH, DETACH, BLOB, SCANOUT_BLOB] = [
  ...[0x101, 0x102, 0x103, 0x104, 0x105, 0x106, 0x107, 0x10c, 0x10d],
] as const;
const [OK, UNSPEC, OUT_OF_MEMORY, INVALID_ID] = [0x1100, 0x1200, 0x1201, 0x1203] as const;
const BGRA = 1;

const rig = (options: GpuDeviceOptions = {}, how: RigOptions = {}) =>
  new Rig(new GpuDevice(options), { memorySize: 8 << 20, ...how });

const NONE = new Uint8Array(0);
type Words = readonly number[];

/** A command: what the device answers. */
async function ask(it: Rig<GpuDevice>, type: number, words: Words, more: Uint8Array = NONE) {
  const body = concat(
    bytesOf([4, type], [4, 0], [8, 0], [8, 0]),
    bytesOf(...words.map((word) => [4, word] as const)),
    more,
  );
  const answer = await it.send(0, body, 24);
  return new DataView(answer.buffer).getUint32(0, true);
}

/** A list of so many pieces of the same memory. */
function pieces(it: Rig<GpuDevice>, count: number, length: number): Uint8Array {
  const { address } = it.scratch(Math.max(length, 1));
  const one = bytesOf([8, address], [4, length], [4, 0]);
  return concat(...Array.from({ length: count }, () => one));
}

/** Hostile drivers of the GPU. */
export const GPU: HostileSuite = {
  model: "gpu",
  cases: [
    {
      name: "a transfer costs its rows and its pieces, not one times the other",
      async run() {
        await using it = rig();
        assertEquals(await ask(it, CREATE, [1, BGRA, 1, 16384]), OK);
        // Empty pieces before, between and after.
        const list = concat(pieces(it, 8000, 0), pieces(it, 1, 65536), pieces(it, 8383, 0));
        assertEquals(await ask(it, ATTACH, [1, 16384], list), OK);
        const { steps } = it.device.work.counters;
        assertEquals(await ask(it, TRANSFER, [0, 0, 1, 16384, 0, 0, 1, 0]), OK);
        const spent = it.device.work.counters.steps - steps;
        assert(spent <= 2 * 16384 + 8, `${spent} steps for 16384 rows of one piece`);
        assertEquals(await ask(it, UNREF, [1, 0]), OK);
        // Pieces of a byte each.
        assertEquals(await ask(it, CREATE, [1, BGRA, 1, 4096]), OK);
        assertEquals(await ask(it, ATTACH, [1, 16384], pieces(it, 16384, 1)), OK);
        assertEquals(await ask(it, TRANSFER, [0, 0, 1, 4096, 0, 0, 1, 0]), OK);
        it.check();
      },
    },
    {
      name: "pictures, lists, blobs and what displays show have one limit together",
      async run() {
        const displays = Array.from({ length: 16 }, () => ({ width: 64, height: 64 }));
        await using it = rig({ memory: 1 << 20, displays, blob: true });
        assertEquals(await ask(it, CREATE, [1, BGRA, 256, 512]), OK);
        const shown: number[] = [];
        for (let i = 0; i < 16; i++) shown.push(await ask(it, SCANOUT, [0, 0, 256, 256, i, 1]));
        assertEquals(shown, [OK, ...new Array(15).fill(OUT_OF_MEMORY)], "512 KiB are left");
        let made = 0;
        while (
          await ask(it, BLOB, [2 + made, 1, 1, 1000, 0, 0, 4096, 0], pieces(it, 1000, 64)) === OK
        ) {
          made++;
        }
        assert(made > 0 && made < 32, `${made} blobs with lists of 16000 bytes in 256 KiB`);
        assertEquals(await ask(it, ATTACH, [1, 16384], pieces(it, 16384, 64)), OUT_OF_MEMORY);
        assertEquals(it.model.usage().bytes <= 1 << 20, true);
        it.check();
        for (let id = 1; id < 2 + made; id++) assertEquals(await ask(it, UNREF, [id, 0]), OK);
        assertEquals(it.model.usage().bytes, 0, "all is given back");
      },
    },
    {
      name: "pictures of one pixel are no more than 4096",
      async run() {
        await using it = rig();
        const { bytes } = it.device.work.counters;
        assertEquals(await ask(it, CREATE, [5000, BGRA, 1024, 1024]), OK);
        assert(it.device.work.counters.bytes - bytes >= 1024 * 1024 * 4, "a large one is work");
        assertEquals(await ask(it, UNREF, [5000, 0]), OK);
        let made = 0;
        while (made < 5000 && await ask(it, CREATE, [1 + made, BGRA, 1, 1]) === OK) made++;
        assertEquals(made, 4096);
        it.check();
      },
    },
    {
      name: "what a display showed is given back when it shows something else, or nothing",
      async run() {
        await using it = rig({ memory: 1 << 20 });
        assertEquals(await ask(it, CREATE, [1, BGRA, 256, 256]), OK);
        const used = it.model.usage().bytes;
        for (let i = 0; i < 8; i++) {
          assertEquals(await ask(it, SCANOUT, [0, 0, 256, 256, 0, 1]), OK);
          assertEquals(it.model.usage().bytes, used + 256 * 256 * 4);
        }
        assertEquals(await ask(it, SCANOUT, [0, 0, 8, 8, 0, 1]), OK);
        assertEquals(it.model.usage().bytes, used + 256);
        assertEquals(await ask(it, SCANOUT, [0, 0, 0, 0, 0, 0]), OK);
        assertEquals(it.model.usage().bytes, used);
      },
    },
    {
      name: "a blob whose size grows at each scanout counts each time",
      async run() {
        await using it = rig({ memory: 1 << 20, blob: true });
        const list = concat(bytesOf([8, it.scratch(2 << 20).address], [4, 2 << 20], [4, 0]));
        assertEquals(await ask(it, BLOB, [1, 1, 1, 1, 0, 0, 2 << 20, 0], list), OK);
        const scanout = (side: number) =>
          ask(it, SCANOUT_BLOB, [
            0,
            0,
            side,
            side,
            0,
            1,
            side,
            side,
            BGRA,
            0,
            side * 4,
            0,
            0,
            0,
            0,
            0,
          ]);
        const { bytes } = it.device.work.counters;
        assertEquals([await scanout(64), await scanout(256), await scanout(600)], [
          OK,
          OK,
          OUT_OF_MEMORY,
        ]);
        const worked = it.device.work.counters.bytes - bytes;
        assert(
          worked > 2 * 4 * (64 * 64 + 256 * 256),
          "twice: the blob's and the display's pixels",
        );
        assertEquals(await ask(it, FLUSH, [0, 0, 256, 256, 1, 0]), OK);
        // A command that is refused leaves the blob as it was: no such display, and a part that is outside.
        for (const [part, display] of [[8, 1], [9, 0]] as const) {
          const words = [0, 0, part, part, display, 1, 8, 8, BGRA, 0, 32, 0, 0, 0, 0, 0];
          assert(await ask(it, SCANOUT_BLOB, words) !== OK);
        }
        assertEquals(await ask(it, FLUSH, [0, 0, 256, 256, 1, 0]), OK);
        it.check();
      },
    },
    {
      name: "rectangles, ids and lists that cannot be are refused, whatever they are",
      async run(random) {
        await using it = rig({ blob: true });
        assertEquals(await ask(it, CREATE, [1, BGRA, 16, 16]), OK);
        assertEquals(
          await ask(it, TRANSFER, [0, 0, 16, 16, 0, 0, 1, 0]) === OK,
          false,
          "no memory",
        );
        assertEquals(await ask(it, ATTACH, [1, 0xffffffff]), UNSPEC);
        assertEquals(await ask(it, DETACH, [9, 0]), INVALID_ID);
        for (let i = 0; i < 300; i++) {
          const type = 0x100 + random() % 16;
          const words = Array.from({ length: 18 }, () => random() >>> random() % 32);
          const answer = await ask(it, type, words);
          assert(answer >= 0x1100 && answer <= 0x1205, answer.toString(16));
        }
        it.check();
      },
    },
    {
      name: "pictures and displays are in a snapshot",
      async run() {
        await using it = rig();
        const { address, bytes } = it.scratch(1024);
        bytes.fill(0x40);
        assertEquals(await ask(it, CREATE, [1, BGRA, 16, 16]), OK);
        const entry = bytesOf([8, address], [4, 1024], [4, 0]);
        assertEquals(await ask(it, ATTACH, [1, 1], entry), OK);
        assertEquals(await ask(it, SCANOUT, [0, 0, 16, 16, 0, 1]), OK);
        assertEquals(await ask(it, TRANSFER, [0, 0, 16, 16, 0, 0, 1, 0]), OK);
        assertEquals(await ask(it, FLUSH, [0, 0, 16, 16, 1, 0]), OK);
        await using next = it.moveTo(rig({}, it.memory));
        assertEquals([next.model.screen()?.rgba[0], next.model.usage().bytes], [
          0x40,
          it.model.usage().bytes,
        ]);
      },
    },
  ],
};
