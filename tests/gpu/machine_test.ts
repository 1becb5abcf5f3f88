import { assert, assertEquals, assertRejects } from "@std/assert";
import { Feature, GpuFormat, VireoError } from "@vireo/hal";
import { encodePng, GpuDevice, type GpuDeviceOptions } from "@vireo/emu";
import { inflateSync } from "node:zlib";
import { bootMachine, type MachineRig } from "../machine/machine_rig.ts";
import { decodeEdid, type Gpu, gpuDriver, type GpuResource } from "../../drivers/gpu/mod.ts";
import { turn } from "../turn.ts";

const SOON = { deadline: 5000 };

type Rig = MachineRig<"gpu", GpuDevice, Gpu>;

function boot(
  options: GpuDeviceOptions = {},
  without: readonly number[] = [],
): Promise<Rig> {
  const model = new GpuDevice(options);
  return bootMachine("gpu", model, gpuDriver, { without });
}

/** Compares a display with what was drawn, pixel by pixel. */
function compare(model: GpuDevice, picture: GpuResource): void {
  const screen = model.screen()!;
  assertEquals([screen.width, screen.height], [picture.width, picture.height]);
  const canvas = picture.canvas();
  for (let i = 0; i < screen.width * screen.height; i++) {
    const [r, g, b] = canvas.at(i % screen.width, Math.floor(i / screen.width));
    const at = i * 4;
    const same = screen.rgba[at] === r && screen.rgba[at + 1] === g && screen.rgba[at + 2] === b;
    assert(same, `pixel ${i}`);
  }
}

const KINDS: readonly (readonly [without: readonly number[], blob: boolean])[] = [
  [[], false],
  [[Feature.INDIRECT_DESC], false],
  [[Feature.EVENT_IDX], false],
  [[], true],
];

for (const [without, blob] of KINDS) {
  const name = blob ? "read from the guest's memory" : `without [${without}]`;
  Deno.test(`gpu: a test card is on the display, in every format (${name})`, async () => {
    await using rig = await boot({ displays: [{ width: 800, height: 600 }], blob }, without);
    const [display] = await rig.gpu.displays(SOON);
    assertEquals(display, { id: 0, x: 0, y: 0, width: 800, height: 600, enabled: true });
    for (const format of Object.values(GpuFormat)) {
      // 1.9 MB: its memory is in two pieces.
      await using picture = await rig.gpu.create(800, 600, { ...SOON, format });
      assertEquals(picture.blob, blob);
      picture.canvas().testCard("VIREO 0123");
      await rig.gpu.setScanout(0, picture);
      await picture.flush();
      compare(rig.model, picture);
    }
    assertEquals([rig.model.used, rig.machine.violations()], [0, []]);
  });
}

Deno.test("gpu: only what was flushed changes, and a part of a picture may be shown", async () => {
  await using rig = await boot();
  await using picture = await rig.gpu.create(100, 80, SOON);
  const canvas = picture.canvas().fill(0, 0, 100, 80, [10, 20, 30]);
  await rig.gpu.setScanout(0, picture, { x: 50, y: 40, width: 50, height: 40 });
  await picture.flush();
  canvas.fill(0, 0, 100, 80, [200, 100, 50]);
  await picture.flush({ x: 60, y: 50, width: 10, height: 5 });
  const { width, rgba } = rig.model.screen()!;
  const at = (
    x: number,
    y: number,
  ): number[] => [...rgba.subarray((y * width + x) * 4).subarray(0, 3)];
  assertEquals([width, at(9, 10), at(10, 10), at(19, 14), at(20, 14)], [
    50,
    [10, 20, 30],
    [200, 100, 50],
    [200, 100, 50],
    [10, 20, 30],
  ]);
});

Deno.test("gpu: of a blob only what was flushed changes, and it takes no memory of the host before", async () => {
  await using rig = await boot({ blob: true, memory: 1 << 20 });
  const { gpu, model } = rig;
  await using picture = await gpu.create(100, 80, SOON);
  assertEquals(model.used, 0);
  const canvas = picture.canvas().fill(0, 0, 100, 80, [10, 20, 30]);
  await gpu.setScanout(0, picture, { x: 50, y: 40, width: 50, height: 40 });
  assertEquals(model.used, 32_000);
  await picture.flush();
  canvas.fill(0, 0, 100, 80, [200, 100, 50]);
  await picture.flush({ x: 60, y: 50, width: 10, height: 5 });
  const { width, rgba } = model.screen()!;
  const red = (x: number, y: number): number => rgba[(y * width + x) * 4]!;
  assertEquals([red(9, 10), red(10, 10), red(19, 14), red(20, 14)], [10, 200, 200, 10]);

  const code = async (run: () => Promise<unknown>): Promise<string> =>
    (await assertRejects(run, VireoError)).code;
  const big = await gpu.create(1000, 1000, SOON);
  assertEquals(await code(() => gpu.setScanout(0, big)), "OUT_OF_MEMORY");
  const outside = { x: 90, y: 0, width: 11, height: 1 };
  assertEquals(await code(() => gpu.setScanout(0, picture, outside)), "COMMAND_REFUSED");
  await using cursor = await gpu.create(64, 64, SOON);
  await assertRejects(() => gpu.setCursor(0, { x: 0, y: 0 }, cursor), RangeError, "blob");
  // The other kind is still there, and pointers need it.
  await using image = await gpu.create(64, 64, { ...SOON, blob: false });
  await image.flush();
  await gpu.setCursor(0, { x: 0, y: 0 }, image);
  await big[Symbol.asyncDispose]();
  await using plain = await boot();
  assertEquals(await code(() => plain.gpu.create(8, 8, { blob: true })), "UNSUPPORTED");
  assertEquals(rig.machine.violations(), []);
});

Deno.test("gpu: a pointer is laid over, moved and hidden", async () => {
  await using rig = await boot();
  await using picture = await rig.gpu.create(200, 100, SOON);
  picture.canvas().fill(0, 0, 200, 100, [0, 0, 0]);
  await rig.gpu.setScanout(0, picture);
  await picture.flush();
  await using image = await rig.gpu.create(64, 64, { format: GpuFormat.B8G8R8A8 });
  image.canvas().fill(0, 0, 2, 2, [255, 255, 255]);
  await image.flush();
  const lit = (): number =>
    rig.model.screen()!.rgba.filter((byte, i) => i % 4 === 0 && byte > 0).length;
  await rig.gpu.setCursor(0, { x: 10, y: 10 }, image);
  assertEquals(lit(), 4);
  await rig.gpu.moveCursor(0, { x: 199, y: 99 });
  assertEquals(lit(), 1);
  await rig.gpu.setCursor(0, { x: 0, y: 0 }, undefined);
  assertEquals(lit(), 0);
  await assertRejects(() => rig.gpu.setCursor(0, { x: 0, y: 0 }, picture), RangeError, "64 by 64");
  for (const [width, height] of [[64, 63], [63, 64]] as const) {
    await using other = await rig.gpu.create(width, height, SOON);
    await assertRejects(() => rig.gpu.setCursor(0, { x: 0, y: 0 }, other), RangeError, "64 by 64");
  }
});

Deno.test("gpu: displays say what they are, and report changes", async () => {
  await using rig = await boot({
    displays: [{ width: 1280, height: 720 }, { width: 0, height: 0 }],
  });
  assertEquals(await rig.gpu.edid(0, SOON), {
    manufacturer: "VIR",
    name: "Vireo",
    preferred: { width: 1280, height: 720 },
  });
  using changes = rig.gpu.changes(SOON);
  rig.model.resize(1, 320, 200);
  const { value } = await changes.next();
  assertEquals(
    value.map(({ width, enabled }: { width: number; enabled: boolean }) => [width, enabled]),
    [
      [1280, true],
      [320, true],
    ],
  );
  // The event has been taken (virtio 1.4 §5.7.4): events_read is 0.
  assertEquals(rig.model.readConfig(0, 4), 0);
  assertEquals([decodeEdid(new Uint8Array(127)), decodeEdid(new Uint8Array(128))], [
    undefined,
    undefined,
  ]);
});

Deno.test("gpu: a picture has a UUID, the same each time, while it is there", async () => {
  let next = 0;
  await using rig = await boot({ random: (into) => void into.fill(++next * 0x11) });
  const [one, two] = [await rig.gpu.create(8, 8, SOON), await rig.gpu.create(8, 8, SOON)];
  const names = [await rig.gpu.uuid(one, SOON), await rig.gpu.uuid(two, SOON)];
  assertEquals(names, [
    "11111111-1111-4111-9111-111111111111",
    "22222222-2222-4222-a222-222222222222",
  ]);
  assertEquals(await rig.gpu.uuid(one, SOON), names[0]);
  // It goes with a snapshot.
  const { resources } = rig.model.snapshot() as { resources: { uuid: number[] }[] };
  assertEquals(resources.map(({ uuid }) => uuid[0]), [0x11, 0x22]);
  rig.model.restore(rig.model.snapshot());
  assertEquals(await rig.gpu.uuid(two, SOON), names[1]);
  await one[Symbol.asyncDispose]();
  const gone = await assertRejects(() => rig.gpu.uuid(one, SOON), VireoError);
  assertEquals(gone.code, "DEVICE_STATE");
  await two[Symbol.asyncDispose]();
  assertEquals(rig.machine.violations(), []);
});

Deno.test("gpu: what the device refuses is a typed error, and nothing is lost", async () => {
  await using rig = await boot({ memory: 1 << 20 });
  const code = async (run: () => Promise<unknown>): Promise<string> =>
    (await assertRejects(run, VireoError)).code;
  assertEquals(await code(() => rig.gpu.create(1000, 1000)), "OUT_OF_MEMORY");
  assertEquals(
    await code(() => rig.gpu.create(10, 10, { format: 99 as never })),
    "COMMAND_REFUSED",
  );
  await assertRejects(() => rig.gpu.create(0, 10), RangeError, "0 by 10");
  await using picture = await rig.gpu.create(10, 10);
  const refused = await assertRejects(() => rig.gpu.setScanout(5, picture), VireoError);
  assertEquals([refused.code, refused.seen, refused.expected], [
    "COMMAND_REFUSED",
    "ERR_INVALID_SCANOUT_ID",
    "OK_NODATA",
  ]);
  const outside = { x: 5, y: 5, width: 6, height: 1 };
  assertEquals(await code(() => rig.gpu.transfer(picture, outside)), "COMMAND_REFUSED");
  assertEquals(await code(() => rig.gpu.setScanout(0, picture, outside)), "COMMAND_REFUSED");
  assertEquals(rig.model.used, 400);
});

Deno.test("gpu: after a recovery there are new pictures", async () => {
  await using rig = await boot();
  const old = await rig.gpu.create(64, 64, SOON);
  const recovered = rig.bus.devices[0]!.recovered(SOON);
  rig.machine.device(0).fault("as the test wants");
  await recovered;
  // Those before it are none any more, whatever is done with them.
  const place = { x: 0, y: 0 };
  for (
    const call of [
      () => old.flush(),
      () => rig.gpu.transfer(old, { ...place, width: 1, height: 1 }),
      () => rig.gpu.flush(old, { ...place, width: 1, height: 1 }),
      () => rig.gpu.setScanout(0, old),
      () => rig.gpu.setCursor(0, place, old),
    ]
  ) assertEquals((await assertRejects(call, VireoError)).code, "DEVICE_STATE");
  await using picture = await rig.gpu.create(64, 48, SOON);
  picture.canvas().testCard("AGAIN");
  await rig.gpu.setScanout(0, picture);
  await picture.flush();
  compare(rig.model, picture);
});

Deno.test("gpu: a picture that is given up is taken away when the host answers, and its memory is free then", async () => {
  await using rig = await boot();
  const notify = rig.model.notify.bind(rig.model);
  let live = 0;
  const { dma } = rig.machine;
  const alloc = dma.alloc.bind(dma);
  dma.alloc = (size, options) => {
    const region = alloc(size, options);
    live++;
    const dispose = region[Symbol.dispose].bind(region);
    region[Symbol.dispose] = () => {
      live--;
      dispose();
    };
    return region;
  };
  const held: number[] = [];
  rig.model.notify = (queue) => void held.push(queue);
  const start = performance.now();
  const late = await assertRejects(() => rig.gpu.create(100, 100, { deadline: 20 }), VireoError);
  assertEquals(late.code, "TIMEOUT");
  assert(performance.now() - start < 2000, "the clean-up is not waited for");
  assert(live > 0, "the host may still read the picture");
  rig.model.notify = notify;
  for (const queue of held) notify(queue);
  for (let i = 0; i < 100 && (live > 0 || rig.model.used > 0); i++) {
    await turn();
  }
  assertEquals([rig.model.used, live], [0, 0]);
});

Deno.test("gpu: a PNG holds the pixels", () => {
  const rgba = Uint8Array.of(1, 2, 3, 255, 4, 5, 6, 255, 7, 8, 9, 255, 10, 11, 12, 255);
  const png = encodePng({ width: 2, height: 2, rgba });
  const at = png.findIndex((_, i) => new TextDecoder().decode(png.subarray(i, i + 4)) === "IDAT");
  const length = new DataView(png.buffer).getUint32(at - 4);
  const raw = inflateSync(png.subarray(at + 4, at + 4 + length));
  assertEquals([...raw], [0, 1, 2, 3, 4, 5, 6, 0, 7, 8, 9, 10, 11, 12]);
});
