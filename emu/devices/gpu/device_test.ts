// Commands of a GPU by their words; every number is typed again from virtio 1.4 §5.7.6.
import { assertEquals } from "@std/assert";
import { FeatureSet } from "@vireo/hal";
import { FakeChain, FakeHost } from "../../testing/fake_host.ts";
import { GpuDevice, type GpuDeviceOptions } from "./device.ts";

const [DISPLAY_INFO, CREATE, UNREF, SCANOUT, FLUSH, TRANSFER, ATTACH, DETACH] = [
  ...[0x100, 0x101, 0x102, 0x103],
  ...[0x104, 0x105, 0x106, 0x107],
] as [number, number, number, number, number, number, number, number];
const [EDID, UUID, CREATE_BLOB, SCANOUT_BLOB, UPDATE_CURSOR, MOVE_CURSOR] = [
  ...[0x10a, 0x10b, 0x10c],
  ...[0x10d, 0x300, 0x301],
] as [number, number, number, number, number, number];
const [OK, UNSPEC, NO_MEMORY, NO_SCANOUT, NO_RESOURCE, PARAMETER] = [
  ...[0x1100, 0x1200, 0x1201],
  ...[0x1202, 0x1203, 0x1205],
] as [number, number, number, number, number, number];
/** Guest memory: bytes at 0x1000, of which byte n is n. */
const MEMORY = 0x10000;
const B8G8R8A8 = 1;

class Rig {
  readonly device: GpuDevice;
  readonly host: FakeHost;
  readonly memory = Uint8Array.from({ length: MEMORY }, (_, i) => i);

  constructor(options: GpuDeviceOptions = {}, without: readonly number[] = []) {
    this.device = new GpuDevice({
      displays: [{ width: 8, height: 4 }, { width: 0, height: 4 }],
      blob: true,
      ...options,
    });
    this.host = new FakeHost(this.device, this.device.features.without(...without));
    Object.assign(this.host.context, {
      memory: (at: number, length: number) =>
        at >= 0x1000 && at + length <= 0x1000 + MEMORY
          ? this.memory.subarray(at - 0x1000, at - 0x1000 + length)
          : undefined,
    });
  }

  /** A command; the words of its response behind the header, and the type before them. */
  send(
    type: number,
    words: readonly number[],
    room = 24,
    header: readonly number[] = [],
  ): number[] {
    const head = Uint32Array.from({ length: 6 }, (_, i) => [type, ...header][i] ?? 0);
    const chain = new FakeChain(
      new Uint8Array(head.buffer),
      new Uint8Array(Uint32Array.from(words).buffer),
      room,
    );
    this.host.send(type >= UPDATE_CURSOR ? 1 : 0, chain);
    assertEquals(this.host.done.at(-1), chain);
    const view = new DataView(chain.writable.buffer);
    return Array.from(
      { length: Math.floor(chain.used! / 4) },
      (_, i) => view.getUint32(4 * i, true),
    );
  }

  /** The type of a command's response. */
  type(type: number, ...words: number[]): number {
    return this.send(type, words)[0]!;
  }

  /** A picture of 4 by 4 pixels in the first 64 bytes of memory. */
  picture(id = 1): this {
    assertEquals(this.type(CREATE, id, B8G8R8A8, 4, 4), OK);
    assertEquals(this.type(ATTACH, id, 1, 0x1000, 0, 64, 0), OK);
    return this;
  }
}

type Row = readonly [expected: number, type: number, ...words: number[]];

/** Commands to a device with picture 1 and blob 9 of 64 bytes, each to a fresh one. */
const ROWS: Readonly<Record<string, readonly Row[]>> = {
  "a picture has an id of its own, a format and sides up to 16384": [
    [OK, CREATE, 2, B8G8R8A8, 1, 16384],
    [OK, CREATE, 2, B8G8R8A8, 16384, 1],
    [NO_RESOURCE, CREATE, 0, B8G8R8A8, 1, 1],
    [NO_RESOURCE, CREATE, 1, B8G8R8A8, 1, 1],
    [PARAMETER, CREATE, 2, 0, 1, 1],
    [PARAMETER, CREATE, 2, B8G8R8A8, 0, 1],
    [PARAMETER, CREATE, 2, B8G8R8A8, 1, 0],
    [PARAMETER, CREATE, 2, B8G8R8A8, 16385, 1],
    [PARAMETER, CREATE, 2, B8G8R8A8, 1, 16385],
    [NO_MEMORY, CREATE, 2, B8G8R8A8, 16384, 16384],
  ],
  "pictures are given up once": [[OK, UNREF, 1], [OK, UNREF, 9], [NO_RESOURCE, UNREF, 2]],
  "memory is given to pictures that have none, in pieces that are there": [
    [UNSPEC, ATTACH, 1, 1, 0x1000, 0, 64, 0],
    [NO_RESOURCE, ATTACH, 2, 1, 0x1000, 0, 64, 0],
    [OK, DETACH, 1],
    [NO_RESOURCE, DETACH, 2],
  ],
  "a display shows a part of a picture, or nothing": [
    [OK, SCANOUT, 0, 0, 4, 4, 0, 1],
    [OK, SCANOUT, 3, 3, 1, 1, 1, 1],
    [OK, SCANOUT, 0, 0, 0, 0, 1, 0],
    [NO_SCANOUT, SCANOUT, 0, 0, 4, 4, 2, 1],
    [NO_RESOURCE, SCANOUT, 0, 0, 4, 4, 0, 2],
    [PARAMETER, SCANOUT, 1, 0, 4, 4, 0, 1],
    [PARAMETER, SCANOUT, 0, 1, 4, 4, 0, 1],
    [PARAMETER, SCANOUT, 0, 0, 5, 4, 0, 1],
  ],
  "rows are copied from memory that has all of them": [
    [OK, TRANSFER, 0, 0, 4, 4, 0, 0, 1],
    [OK, TRANSFER, 0, 0, 4, 3, 16, 0, 1],
    [PARAMETER, TRANSFER, 0, 0, 4, 4, 1, 0, 1],
    [PARAMETER, TRANSFER, 0, 0, 4, 5, 0, 0, 1],
    [PARAMETER, TRANSFER, 0, 0, 4, 4, 0, 1, 1],
    [NO_RESOURCE, TRANSFER, 0, 0, 4, 4, 0, 0, 2],
  ],
  "what is flushed is inside the picture": [
    [OK, FLUSH, 0, 0, 4, 4, 1],
    [PARAMETER, FLUSH, 0, 0, 5, 4, 1],
    [NO_RESOURCE, FLUSH, 0, 0, 4, 4, 2],
  ],
  "a blob is guest memory with as many bytes as it says": [
    [OK, CREATE_BLOB, 2, 1, 0, 1, 0, 0, 64, 0, 0x1000, 0, 64, 0],
    [NO_RESOURCE, CREATE_BLOB, 0, 1, 0, 1, 0, 0, 64, 0, 0x1000, 0, 64, 0],
    [NO_RESOURCE, CREATE_BLOB, 1, 1, 0, 1, 0, 0, 64, 0, 0x1000, 0, 64, 0],
    [PARAMETER, CREATE_BLOB, 2, 2, 0, 1, 0, 0, 64, 0, 0x1000, 0, 64, 0],
    [PARAMETER, CREATE_BLOB, 2, 1, 0, 1, 0, 0, 65, 0, 0x1000, 0, 64, 0],
    [PARAMETER, CREATE_BLOB, 2, 1, 0, 1, 0, 0, 64, 0, 0xfff, 0, 64, 0],
    [UNSPEC, CREATE_BLOB, 2, 1, 0, 2, 0, 0, 64, 0, 0x1000, 0, 64, 0],
  ],
  "a display shows a blob whose rows are in it": [
    [OK, SCANOUT_BLOB, 0, 0, 4, 4, 0, 9, 4, 4, B8G8R8A8, 0, 16, 0, 0, 0, 0, 0, 0, 0],
    [OK, SCANOUT_BLOB, 0, 0, 2, 2, 0, 9, 2, 2, B8G8R8A8, 0, 16, 0, 0, 0, 40, 0, 0, 0],
    [OK, SCANOUT_BLOB, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    [PARAMETER, SCANOUT_BLOB, 0, 0, 2, 2, 0, 9, 2, 2, B8G8R8A8, 0, 16, 0, 0, 0, 41, 0, 0, 0],
    [PARAMETER, SCANOUT_BLOB, 0, 0, 4, 4, 0, 9, 4, 4, B8G8R8A8, 0, 15, 0, 0, 0, 0, 0, 0, 0],
    [PARAMETER, SCANOUT_BLOB, 0, 0, 4, 4, 0, 9, 4, 5, B8G8R8A8, 0, 16, 0, 0, 0, 0, 0, 0, 0],
    [PARAMETER, SCANOUT_BLOB, 0, 0, 5, 4, 0, 9, 4, 4, B8G8R8A8, 0, 16, 0, 0, 0, 0, 0, 0, 0],
    [PARAMETER, SCANOUT_BLOB, 0, 0, 4, 4, 0, 9, 0, 4, B8G8R8A8, 0, 16, 0, 0, 0, 0, 0, 0, 0],
    [PARAMETER, SCANOUT_BLOB, 0, 0, 4, 4, 0, 9, 4, 0, B8G8R8A8, 0, 16, 0, 0, 0, 0, 0, 0, 0],
    [PARAMETER, SCANOUT_BLOB, 0, 0, 4, 4, 0, 9, 4, 4, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0],
    [NO_SCANOUT, SCANOUT_BLOB, 0, 0, 4, 4, 2, 9, 4, 4, B8G8R8A8, 0, 16, 0, 0, 0, 0, 0, 0, 0],
    [NO_RESOURCE, SCANOUT_BLOB, 0, 0, 4, 4, 0, 1, 4, 4, B8G8R8A8, 0, 16, 0, 0, 0, 0, 0, 0, 0],
    [NO_RESOURCE, SCANOUT_BLOB, 0, 0, 4, 4, 0, 2, 4, 4, B8G8R8A8, 0, 16, 0, 0, 0, 0, 0, 0, 0],
  ],
  "sides of a blob's picture are up to 16384, too": [
    [OK, SCANOUT_BLOB, 0, 0, 4, 1, 0, 8, 16384, 1, B8G8R8A8, 0, 65536, 0, 0, 0, 0, 0, 0, 0],
    [OK, SCANOUT_BLOB, 0, 0, 1, 4, 0, 8, 1, 16384, B8G8R8A8, 0, 4, 0, 0, 0, 0, 0, 0, 0],
  ],
  "sides of a blob's picture are no longer than that": [
    [PARAMETER, SCANOUT_BLOB, 0, 0, 4, 1, 0, 11, 16385, 1, B8G8R8A8, 0, 65540, 0, 0, 0, 0, 0, 0, 0],
    [PARAMETER, SCANOUT_BLOB, 0, 0, 1, 4, 0, 11, 1, 16385, B8G8R8A8, 0, 4, 0, 0, 0, 0, 0, 0, 0],
  ],
  "a pointer is a picture of 64 by 64, or none": [
    [OK, UPDATE_CURSOR, 0, 1, 2, 0, 0],
    [OK, UPDATE_CURSOR, 1, 1, 2, 0, 5],
    [OK, MOVE_CURSOR, 0, 1, 2, 0, 77],
    [NO_SCANOUT, MOVE_CURSOR, 2, 1, 2, 0, 0],
    [NO_RESOURCE, UPDATE_CURSOR, 0, 1, 2, 0, 1],
    [NO_RESOURCE, UPDATE_CURSOR, 0, 1, 2, 0, 6],
    [NO_RESOURCE, UPDATE_CURSOR, 0, 1, 2, 0, 7],
    [NO_RESOURCE, UPDATE_CURSOR, 0, 1, 2, 0, 2],
  ],
  "what is no command, or of no display, is refused": [
    [UNSPEC, 0x99],
    [UNSPEC, 0x108, 0],
    [NO_SCANOUT, EDID, 2],
    [NO_RESOURCE, UUID, 2],
  ],
};

for (const [name, rows] of Object.entries(ROWS)) {
  Deno.test(`gpu device: ${name}`, () => {
    for (const [expected, type, ...words] of rows) {
      const rig = new Rig().picture();
      assertEquals(rig.type(CREATE_BLOB, 9, 1, 0, 1, 0, 0, 64, 0, 0x1000, 0, 64, 0), OK);
      rig.type(CREATE_BLOB, 8, 1, 0, 1, 0, 0, 65536, 0, 0x1000, 0, 65536, 0);
      // The same memory twice.
      const twice = [0x1000, 0, 65536, 0, 0x1000, 0, 65536, 0];
      rig.type(CREATE_BLOB, 11, 1, 0, 2, 0, 0, 131072, 0, ...twice);
      for (const [id, width, height] of [[5, 64, 64], [6, 64, 63], [7, 63, 64]] as const) {
        rig.type(CREATE, id, B8G8R8A8, width, height);
      }
      const before = rig.device.usage();
      assertEquals(rig.type(type, ...words), expected, `${type.toString(16)} ${words}`);
      if (expected !== OK) assertEquals(rig.device.usage(), before);
    }
  });
}

Deno.test("gpu device: displays have sizes, and are on if both sides are some", () => {
  const [type, ...words] = new Rig().send(DISPLAY_INFO, [], 24 + 16 * 24 + 4);
  assertEquals([type, words.length], [0x1101, 5 + 16 * 6]);
  assertEquals(words.slice(5, 17), [0, 0, 8, 4, 1, 0, 0, 0, 0, 4, 0, 0]);
  assertEquals(words.slice(17).every((word) => word === 0), true);
  const edid = new Rig().send(EDID, [0], 24 + 8 + 1024 + 4);
  assertEquals([edid[0], edid.length, edid[6]], [0x1104, 8 + 256, 128]);
});

Deno.test("gpu device: a fence comes back with its request, whatever becomes of that", () => {
  const rig = new Rig();
  // flags, fence_id, ctx_id and ring_idx.
  assertEquals(rig.send(UNREF, [2], 24, [3, 7, 8, 9, 5]), [NO_RESOURCE, 1, 7, 8, 9, 0]);
  assertEquals(rig.send(UNREF, [2], 24, [2, 7, 8, 9, 5]), [NO_RESOURCE, 0, 0, 0, 0, 0]);
});

Deno.test("gpu device: each queue has its own commands", () => {
  const { host } = new Rig();
  const types = ([[0, UPDATE_CURSOR], [0, MOVE_CURSOR], [1, CREATE]] as const).map(
    ([queue, type]) => {
      const head = new Uint8Array(Uint32Array.of(type, 0, 0, 0, 0, 0).buffer);
      const chain = new FakeChain(head, new Uint8Array(32), 24);
      host.send(queue, chain);
      return new DataView(chain.writable.buffer).getUint32(0, true);
    },
  );
  assertEquals([types, host.signals], [[UNSPEC, UNSPEC, UNSPEC], 3]);
  host.send(0, new FakeChain(new Uint8Array(23), new Uint8Array(0), 24));
  assertEquals(host.faults, ["GPU request of 23 bytes, expected at least 24"]);
  assertEquals([host.done.length, host.signals], [3, 3]);
});

Deno.test("gpu device: what was not agreed on is refused", () => {
  const rig = new Rig({ blobAlignment: 32 }, [2, 3]).picture();
  assertEquals(rig.type(UUID, 1), UNSPEC);
  assertEquals(rig.type(CREATE_BLOB, 2, 1, 0, 1, 0, 0, 64, 0, 0x1000, 0, 64, 0), UNSPEC);
  for (const [size, expected] of [[64, OK], [48, PARAMETER]] as const) {
    const aligned = new Rig({ blobAlignment: 32 });
    const made = aligned.type(CREATE_BLOB, 2, 1, 0, 1, 0, 0, size, 0, 0x1000, 0, 64, 0);
    assertEquals(made, expected);
    const without = new Rig({ blobAlignment: 32 }, [5]);
    assertEquals(without.type(CREATE_BLOB, 2, 1, 0, 1, 0, 0, size, 0, 0x1000, 0, 64, 0), OK);
  }
  const { device } = new Rig({ blobAlignment: 32 });
  assertEquals(
    [[3, 5], [5], [3], []].map((bits) => device.acceptFeatures(FeatureSet.of(...bits))),
    [
      ...[true, false],
      ...[true, true],
    ],
  );
});

Deno.test("gpu device: memory is counted to the limit, and free again once it is given up", () => {
  // A picture counts 512 bytes and its pixels, a piece of its memory 16, a display's picture its pixels.
  const rig = new Rig({ memory: 2 * (512 + 64) + 16 + 64 }).picture();
  assertEquals(rig.device.usage(), { items: 1, bytes: 512 + 64 + 16 });
  assertEquals([rig.type(CREATE, 2, 1, 4, 9), rig.type(CREATE, 2, 1, 4, 4)], [NO_MEMORY, OK]);
  assertEquals([
    rig.type(ATTACH, 2, 5, ...Array(5).fill([0x1000, 0, 4, 0]).flat()),
    rig.device.used,
  ], [
    NO_MEMORY,
    128,
  ]);
  assertEquals(rig.type(SCANOUT, 0, 0, 4, 4, 0, 1), OK);
  assertEquals(rig.type(SCANOUT, 0, 0, 1, 1, 1, 2), NO_MEMORY);
  assertEquals([rig.type(SCANOUT, 0, 0, 0, 0, 0, 0), rig.type(SCANOUT, 0, 0, 4, 4, 1, 2)], [
    OK,
    OK,
  ]);
  assertEquals([rig.type(UNREF, 1), rig.device.screen(1)?.width], [OK, 4]);
  assertEquals([rig.type(UNREF, 2), rig.device.screen(1)], [OK, undefined]);
  assertEquals(rig.device.usage(), { items: 0, bytes: 0 });
});

Deno.test("gpu device: rows land where they belong, and a screen is a copy with its pointer", () => {
  const rig = new Rig().picture();
  assertEquals(rig.device.screen(), undefined);
  assertEquals(rig.type(SCANOUT, 1, 1, 2, 2, 0, 1), OK);
  // The second and third pixels of the second and third row.
  assertEquals(rig.type(TRANSFER, 1, 1, 2, 2, 20, 0, 1), OK);
  assertEquals([rig.type(FLUSH, 0, 0, 4, 4, 1), rig.device.flushes], [OK, 1]);
  // B8G8R8A8 to R8G8B8A8.
  const expected = [22, 21, 20, 23, 26, 25, 24, 27, 38, 37, 36, 39, 42, 41, 40, 43];
  assertEquals([...rig.device.screen()!.rgba], expected);
  rig.device.screen()!.rgba.fill(0);
  assertEquals([...rig.device.screen()!.rgba], expected);
  assertEquals([rig.device.png()!.length > 0, rig.device.png(1)], [true, undefined]);
  // A pointer of white pixels at the last one.
  rig.memory.fill(255);
  assertEquals(rig.type(CREATE, 2, B8G8R8A8, 64, 64), OK);
  assertEquals(rig.type(ATTACH, 2, 1, 0x1000, 0, 16384, 0), OK);
  assertEquals(rig.type(TRANSFER, 0, 0, 64, 64, 0, 0, 2), OK);
  assertEquals(rig.type(UPDATE_CURSOR, 0, 1, 1, 0, 2), OK);
  assertEquals([...rig.device.screen()!.rgba], [...expected.slice(0, 12), 255, 255, 255, 43]);
  assertEquals(rig.type(MOVE_CURSOR, 0, 0, 1, 0, 0), OK);
  assertEquals([...rig.device.screen()!.rgba], [
    ...expected.slice(0, 8),
    ...[39, 43].flatMap((alpha) => [255, 255, 255, alpha]),
  ]);
  // What is beyond the right edge is not in the next row.
  assertEquals(rig.type(MOVE_CURSOR, 0, 1, 0, 0, 0), OK);
  const pixels = [...rig.device.screen()!.rgba];
  assertEquals([0, 4, 8, 12].map((at) => pixels[at]), [22, 255, 38, 255]);
  assertEquals(rig.type(UPDATE_CURSOR, 0, 0, 0, 0, 0), OK);
  assertEquals([...rig.device.screen()!.rgba], expected);
});

Deno.test("gpu device: a picture keeps its UUID, which is a random one (RFC 9562 §5.4)", () => {
  let next = 0;
  const rig = new Rig({ random: (into) => void into.fill([0, 255][next++ % 2]!) }).picture();
  const uuid = (id: number): number[] => rig.send(UUID, [id], 40).slice(6);
  const first = uuid(1);
  assertEquals(first, [0, 0x0040_0000, 0x80, 0]);
  assertEquals([uuid(1), next], [first, 1]);
  rig.picture(3);
  assertEquals(uuid(3), [0xffff_ffff, 0xff4f_ffff, 0xffff_ffbf, 0xffff_ffff]);
});

Deno.test("gpu device: work is counted by pixels, rows and pieces of memory", () => {
  const rig = new Rig();
  const counted = (type: number, ...words: number[]): number[] => {
    const { steps, bytes } = rig.host.context.work.counters;
    assertEquals(rig.type(type, ...words), OK);
    const after = rig.host.context.work.counters;
    // Looks at the queue are two.
    return [after.steps - steps - 2, after.bytes - bytes];
  };
  assertEquals(counted(CREATE, 1, B8G8R8A8, 4, 4), [0, 64]);
  assertEquals(counted(ATTACH, 1, 2, 0x1000, 0, 24, 0, 0x2000, 0, 40, 0), [2, 0]);
  // Four rows, of which the second lies in both pieces.
  assertEquals(counted(TRANSFER, 0, 0, 4, 4, 0, 0, 1), [4 + 5, 64]);
  assertEquals(counted(SCANOUT, 0, 0, 4, 4, 0, 1), [0, 64]);
  assertEquals(counted(FLUSH, 0, 0, 4, 4, 1), [0, 64]);
  assertEquals(counted(CREATE_BLOB, 2, 1, 0, 1, 0, 0, 64, 0, 0x1000, 0, 64, 0), [1, 0]);
  assertEquals(
    counted(SCANOUT_BLOB, 0, 0, 4, 4, 1, 2, 4, 4, B8G8R8A8, 0, 16, 0, 0, 0, 0, 0, 0, 0),
    [0, 128],
  );
});

Deno.test("gpu: its configuration is read in words and in parts of them", () => {
  const { device } = new Rig({ blobAlignment: 4096 });
  device.resize(0, 16, 16);
  const words = [1, 0, 2, 0, 4096];
  assertEquals(words.map((_, i) => device.readConfig(4 * i, 4)), words);
  const bytes = words.flatMap((word) => [word & 0xff, word >> 8, 0, 0]);
  assertEquals(bytes.map((_, i) => device.readConfig(i, 1)), bytes);
  assertEquals([16, 18].map((at) => device.readConfig(at, 2)), [4096, 0]);
});
