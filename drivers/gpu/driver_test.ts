import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { GpuCommand, GpuFeature, GpuResponse, VireoError } from "@vireo/hal";
import { code, turn } from "../async_test_util.ts";
import { FakeDevice } from "../testing/fake_blk.ts";
import { Gpu } from "./driver.ts";

const C = GpuCommand;
const R = GpuResponse;
const GONE = new VireoError("DEVICE_STATE", "As the test wants");

/** A device's answer: a header of 24 bytes with the fence that was asked for, and what follows. */
interface Answer {
  readonly type?: number;
  readonly fence?: number;
  readonly body?: readonly number[];
  /** Bytes that it says it wrote; all by default. */
  readonly used?: number;
}

/** A GPU whose device answers OK without data unless the test says otherwise. */
function rig(
  features: readonly number[] = [],
  answer: (type: number, words: readonly number[]) => Answer = () => ({}),
  alignment = 0,
) {
  const fake = new FakeDevice(...features);
  const sent: [type: number, words: readonly number[]][] = [];
  const flags = new Set<number>();
  fake.script = (request) => {
    const words = [...new Uint32Array(request.readable.buffer)];
    const [type, flag, fence] = words;
    flags.add(flag!);
    sent.push([type!, words.slice(6)]);
    const said = answer(type!, words.slice(6));
    const { body = [] } = said;
    const bytes = new Uint8Array(24 + body.length);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, said.type ?? R.OK_NODATA, true);
    view.setUint32(8, said.fence ?? fence!, true);
    bytes.set(body, 24);
    request.fill(bytes);
    request.complete(undefined, said.used ?? bytes.length);
    request.queue.interrupt();
  };
  fake.config.setUint32(8, 2, true);
  fake.config.setUint32(16, alignment, true);
  const device = Object.assign(fake.device, { queues: fake.queues, ready() {} });
  const gpu = new Gpu(device);
  gpu.scan();
  const memory = () => fake.regions.size;
  return { fake, gpu, memory, sent, flags, taken: () => sent.splice(0), alloc: device.dma };
}

/** All that answers at once has been heard. */

const part = { x: 1, y: 2, width: 3, height: 4 };

Deno.test("gpu: a picture has positive sizes, and memory in pieces that the device hears of", async () => {
  for (const [width, height] of [[0, 1], [1, 0], [-1, 1], [-1, -1], [0.5, 1], [NaN, 1]] as const) {
    const { gpu, sent } = rig();
    const what = `${width} by ${height} pixels`;
    await assertRejects(() => gpu.create(width, height), RangeError, what);
    assertEquals(sent, []);
  }
  const { gpu, taken, memory } = rig();
  const small = await gpu.create(1, 1);
  const [[, [id]], [, [, , address]]] = taken() as [[number, number[]], [number, number[]]];
  assertEquals([id, address! % 4096, small.pixels.length, memory()], [1, 0, 4, 1]);
  // Of 1 MiB, 1 MiB and the 2 KiB that are left.
  const large = await gpu.create(512, 1025, { format: 67 });
  const [create, [attach, words]] = taken() as [[number, number[]], [number, number[]]];
  assertEquals(create, [C.RESOURCE_CREATE_2D, [2, 67, 512, 1025]]);
  const entries = words.slice(2);
  assertEquals([attach, words.slice(0, 2)], [C.RESOURCE_ATTACH_BACKING, [2, 3]]);
  assertEquals([2, 6, 10].map((at) => entries[at]), [1 << 20, 1 << 20, 2048]);
  assertEquals([1, 3, 5, 7, 9, 11].map((at) => entries[at]), [0, 0, 0, 0, 0, 0]);
  assertEquals([large.pixels.length, memory()], [512 * 1025 * 4, 4]);
});

Deno.test("gpu: pixels of a picture in pieces are copied to each when they are shown", async () => {
  const { gpu, taken, fake, alloc } = rig();
  const copied: number[] = [];
  const all = alloc.alloc;
  alloc.alloc = (...args) =>
    Object.assign(
      all(...args),
      args[1]?.coherent ? { copied: (bytes: number) => copied.push(bytes) } : {},
    );
  const small = await gpu.create(4, 4);
  await small.flush();
  await gpu.unref(small);
  assertEquals(copied, []);
  const picture = await gpu.create(512, 1025);
  taken();
  for (const [i, byte] of [1, 2, 3].entries()) picture.pixels[i << 20] = byte;
  await picture.flush();
  assertEquals([...fake.regions].map(({ bytes }) => bytes[0]), [1, 2, 3]);
  assertEquals(copied, [1 << 20, 1 << 20, 2048]);
  assertEquals(taken(), [
    [C.TRANSFER_TO_HOST_2D, [0, 0, 512, 1025, 0, 0, 2, 0]],
    [C.RESOURCE_FLUSH, [0, 0, 512, 1025, 2, 0]],
  ]);
  await picture.flush(part);
  // Row 2, pixel 1.
  assertEquals(taken()[0], [C.TRANSFER_TO_HOST_2D, [1, 2, 3, 4, (2 * 512 + 1) * 4, 0, 2, 0]]);
});

Deno.test("gpu: a blob has whole units of memory, is named where it can be, and is not transferred", async () => {
  const BLOB = GpuFeature.RESOURCE_BLOB;
  const { gpu, taken } = rig([BLOB]);
  assertEquals([gpu.blobAlignment, (await gpu.create(10, 10)).blob], [1, true]);
  const [, [, , , , , , size]] = taken()[0]!;
  assertEquals(size, 400);
  assertEquals((await gpu.create(10, 10, { blob: false })).blob, false);
  const without = rig();
  assertEquals(await code(() => without.gpu.create(10, 10, { blob: true })), "UNSUPPORTED");
  assertEquals((await without.gpu.create(10, 10)).blob, false);
});

Deno.test("gpu: the memory of a blob is a multiple of the alignment, which is a power of two", async () => {
  const { RESOURCE_BLOB, BLOB_ALIGNMENT } = GpuFeature;
  for (
    const [alignment, pixels, size] of [
      [4096, 1, 4096],
      [4096, 1024, 4096],
      [4096, 1025, 8192],
      [1, 1025, 4100],
    ] as const
  ) {
    const { gpu, fake, taken } = rig([RESOURCE_BLOB, BLOB_ALIGNMENT], undefined, alignment);
    const picture = await gpu.create(pixels, 1);
    assertEquals(taken(), [[
      C.RESOURCE_CREATE_BLOB,
      [1, 1, 0, 1, 0, 0, size, 0, [...fake.regions][0]!.address, 0, size, 0],
    ]]);
    await picture.flush();
    assertEquals(taken(), [[C.RESOURCE_FLUSH, [0, 0, pixels, 1, 1, 0]]]);
    await gpu.setScanout(0, picture);
    assertEquals(taken(), [[
      C.SET_SCANOUT_BLOB,
      [0, 0, pixels, 1, 0, 1, pixels, 1, 2, 0, pixels * 4, 0, 0, 0, 0, 0, 0, 0],
    ]]);
  }
  const error = assertThrows(() => rig([RESOURCE_BLOB, BLOB_ALIGNMENT]), VireoError);
  assertEquals([error.code, error.register, error.seen], ["CONFIG_INVALID", "blob_alignment", 0]);
});

Deno.test("gpu: an answer is checked by its type, its fence and its length", async () => {
  const UUID = Array.from({ length: 16 }, (_, i) => i);
  const name = { type: R.OK_RESOURCE_UUID, body: UUID };
  const cases = [
    [name, undefined],
    [{ ...name, used: 23 }, "BAD_LENGTH", "23 bytes", "at least 24 bytes"],
    [{ ...name, used: 39 }, "BAD_LENGTH", "39 bytes", "at least 40 bytes"],
    [{ ...name, fence: 99 }, "BAD_STATUS", 99, 3],
    [{ ...name, type: R.OK_NODATA }, "COMMAND_REFUSED", "OK_NODATA", "OK_RESOURCE_UUID"],
    [{ type: R.ERR_OUT_OF_MEMORY }, "OUT_OF_MEMORY", "ERR_OUT_OF_MEMORY", "OK_RESOURCE_UUID"],
    [{ type: 0x9999 }, "COMMAND_REFUSED", 0x9999, "OK_RESOURCE_UUID"],
  ] as const;
  for (const [answer, expected, seen, wanted] of cases) {
    const { gpu } = rig(
      [GpuFeature.RESOURCE_UUID],
      (type) => type === C.RESOURCE_ASSIGN_UUID ? answer : {},
    );
    const picture = await gpu.create(4, 4);
    const asked = gpu.uuid(picture);
    if (expected === undefined) {
      assertEquals(await asked, "00010203-0405-0607-0809-0a0b0c0d0e0f");
      continue;
    }
    const error = await assertRejects(() => asked, VireoError);
    assertEquals([error.code, error.seen, error.expected], [expected, seen, wanted]);
  }
  const { gpu } = rig();
  const picture = await gpu.create(4, 4);
  assertEquals(await code(() => gpu.uuid(picture)), "UNSUPPORTED");
});

Deno.test("gpu: displays are as many as there are, at most 16, each with its place", async () => {
  const body = Array<number>(16 * 24).fill(0);
  [5, 6, 7, 8, 1].forEach((word, i) => body[24 + 4 * i] = word);
  const { gpu, fake, sent } = rig([], () => ({ type: R.OK_DISPLAY_INFO, body }));
  assertEquals(await gpu.displays(), [
    { id: 0, x: 0, y: 0, width: 0, height: 0, enabled: false },
    { id: 1, x: 5, y: 6, width: 7, height: 8, enabled: true },
  ]);
  fake.config.setUint32(8, 17, true);
  assertEquals([gpu.maxDisplays, (await gpu.displays()).length], [16, 16]);
  // A change is told once, and only what says that it is one.
  const changes = gpu.changes();
  sent.length = 0;
  gpu.configChanged();
  await turn();
  assertEquals(sent, []);
  fake.config.setUint32(0, 3, true);
  gpu.configChanged();
  assertEquals((await changes.next()).value.length, 16);
  assertEquals([sent.length, fake.config.getUint32(4, true)], [1, 1]);
});

Deno.test("gpu: an EDID is as long as it says, and as its answer has room", async () => {
  const edid = new Uint8Array(1024);
  edid.set([0, 255, 255, 255, 255, 255, 255, 0, 0x59, 0x32]);
  edid[127] = -edid.reduce((sum, byte) => sum + byte, 0) & 0xff;
  for (const [size, made] of [[128, "VIR"], [127, undefined], [2 ** 24, "VIR"]] as const) {
    const words = [0, 8, 16, 24].map((bit) => size >>> bit & 255);
    const body = [...words, 0, 0, 0, 0, ...edid];
    const { gpu, taken } = rig([GpuFeature.EDID], () => ({ type: R.OK_EDID, body }));
    assertEquals((await gpu.edid())?.manufacturer, made);
    assertEquals(taken(), [[C.GET_EDID, [0, 0]]]);
  }
  assertEquals(await code(() => rig().gpu.edid()), "UNSUPPORTED");
});

Deno.test("gpu: a display has a picture, a part of it, or nothing", async () => {
  const { gpu, taken } = rig();
  const picture = await gpu.create(8, 4);
  taken();
  await gpu.setScanout(1, picture);
  await gpu.setScanout(1, picture, part);
  await gpu.setScanout(1, undefined);
  assertEquals(taken(), [
    [C.SET_SCANOUT, [0, 0, 8, 4, 1, 1]],
    [C.SET_SCANOUT, [1, 2, 3, 4, 1, 1]],
    [C.SET_SCANOUT, [0, 0, 0, 0, 1, 0]],
  ]);
});

Deno.test("gpu: a pointer's image is 64 by 64, is no blob, and need not be answered", async () => {
  const at = { x: 3, y: 4 };
  let answer: Answer = {};
  const { gpu, taken, flags } = rig(
    [GpuFeature.RESOURCE_BLOB],
    (type) => type >= 0x300 ? answer : {},
  );
  for (const [width, height] of [[64, 63], [63, 64], [128, 64]] as const) {
    const image = await gpu.create(width, height, { blob: false });
    const wrong = `${width} by ${height}`;
    await assertRejects(() => gpu.setCursor(0, at, image), RangeError, wrong);
  }
  const blob = await gpu.create(64, 64);
  await assertRejects(() => gpu.setCursor(0, at, blob), RangeError, "from a blob");
  const image = await gpu.create(64, 64, { blob: false });
  taken();
  // Commands have a fence, pointers none.
  assertEquals([...flags], [1]);
  flags.clear();
  await gpu.setCursor(1, at, image, { x: 5, y: 6 });
  await gpu.setCursor(1, at, undefined);
  await gpu.moveCursor(1, at);
  assertEquals(taken(), [
    [C.UPDATE_CURSOR, [1, 3, 4, 0, image.id, 5, 6, 0]],
    [C.UPDATE_CURSOR, [1, 3, 4, 0, 0, 0, 0, 0]],
    [C.MOVE_CURSOR, [1, 3, 4, 0, 0, 0, 0, 0]],
  ]);
  assertEquals([...flags], [0]);
  for (const [used, refused] of [[24, true], [4, true], [3, false], [0, false]] as const) {
    answer = { type: R.ERR_UNSPEC, used };
    const moved = () => gpu.moveCursor(1, at);
    if (refused) assertEquals(await code(moved), "COMMAND_REFUSED");
    else await moved();
  }
  await gpu.unref(image);
  assertEquals(await code(() => gpu.setCursor(0, at, image)), "DEVICE_STATE");
});

Deno.test("gpu: a picture is used while it is there, and taken away once", async () => {
  const { gpu, taken, memory } = rig([GpuFeature.RESOURCE_UUID]);
  const picture = await gpu.create(4, 4);
  taken();
  await gpu.unref(picture);
  await gpu.unref(picture);
  assertEquals(taken(), [[C.RESOURCE_DETACH_BACKING, [1, 0]], [C.RESOURCE_UNREF, [1, 0]]]);
  assertEquals(memory(), 0);
  for (
    const use of [
      () => gpu.setScanout(0, picture),
      () => gpu.transfer(picture, part),
      () => gpu.flush(picture, part),
      () => gpu.uuid(picture),
    ]
  ) assertEquals(await code(use), "DEVICE_STATE");
  assertEquals(taken(), []);
});

Deno.test("gpu: the memory of a picture that could not be made is free when the host has none of it", async () => {
  const { RESOURCE_ATTACH_BACKING, RESOURCE_DETACH_BACKING, RESOURCE_UNREF } = C;
  const UNKNOWN = R.ERR_INVALID_RESOURCE_ID;
  for (
    const [detach, unref, freed] of [
      [R.OK_NODATA, R.OK_NODATA, true],
      [R.ERR_UNSPEC, R.OK_NODATA, true],
      [UNKNOWN, UNKNOWN, true],
      [R.OK_NODATA, R.ERR_UNSPEC, false],
      // Not a refusal: who knows what it still has.
      [R.ERR_OUT_OF_MEMORY, R.OK_NODATA, false],
    ] as const
  ) {
    const { gpu, sent, memory } = rig([], (type) => ({
      type: type === RESOURCE_ATTACH_BACKING
        ? R.ERR_UNSPEC
        : type === RESOURCE_DETACH_BACKING
        ? detach
        : type === RESOURCE_UNREF
        ? unref
        : R.OK_NODATA,
    }));
    assertEquals(await code(() => gpu.create(4, 4)), "COMMAND_REFUSED");
    await turn();
    const both = [RESOURCE_DETACH_BACKING, RESOURCE_UNREF];
    assertEquals(
      sent.slice(2).map(([type]) => type),
      detach === R.ERR_OUT_OF_MEMORY ? both.slice(0, 1) : both,
    );
    assertEquals(memory(), freed ? 0 : 1);
    await gpu.remove();
    assertEquals(memory(), 0);
  }
});

Deno.test("gpu: a picture that finds no memory leaves none behind", async () => {
  const { gpu, memory, alloc, sent } = rig();
  const all = alloc.alloc;
  let left = 3;
  alloc.alloc = (...args) => {
    // A picture, which the host reads where it is, and no command.
    if (args[1] === undefined) return all(...args);
    assertEquals(args[1], { align: 4096, coherent: true });
    if (left-- > 0) return all(...args);
    throw new VireoError("OUT_OF_MEMORY", "As the test wants");
  };
  const whole = await gpu.create(512, 512);
  assertEquals([memory(), sent.length], [1, 2]);
  await gpu.unref(whole);
  sent.length = 0;
  assertEquals(await code(() => gpu.create(512, 1025)), "OUT_OF_MEMORY");
  assertEquals([memory(), sent], [0, []]);
});

Deno.test("gpu: after a failure pictures keep their memory for their owners, and are gone", async () => {
  const { gpu, memory, taken, sent } = rig();
  const [kept, given] = [await gpu.create(4, 4), await gpu.create(4, 4)];
  gpu.failed(GONE);
  taken();
  // The host may still read it until the reset.
  await gpu.unref(given);
  assertEquals([memory(), sent], [2, []]);
  await assertRejects(() => gpu.flush(kept, part), VireoError, "As the test wants");
  await gpu.restore();
  assertEquals([memory(), kept.pixels.length], [1, 64]);
  assertEquals(await code(() => gpu.flush(kept, part)), "DEVICE_STATE");
  await gpu.unref(kept);
  assertEquals([memory(), sent], [0, []]);
});
