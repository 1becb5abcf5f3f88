// The alignment of blobs, driver and model; every number is typed from virtio 1.4 §5.7.
import { assertEquals, assertThrows } from "@std/assert";
import { EmulatedMachine, GpuDevice } from "@vireo/emu";
import { MockDriver } from "@vireo/emu/testing";
import { FeatureSet, type VireoError } from "@vireo/hal";
import { Bus } from "../../drivers/bus/bus.ts";
import { gpuDriver } from "../../drivers/gpu/mod.ts";
import { bootRecorded } from "./boot.ts";
import { at, le } from "./recorder.ts";

const SOON = { deadline: 5000 };
const VERSION_1 = 32;
const RESOURCE_BLOB = 3;
const BLOB_ALIGNMENT = 5;
const CREATE_BLOB = 0x010c;
const OK_NODATA = 0x1100;
const INVALID_PARAMETER = 0x1205;

Deno.test("spec gpu: the size of a blob is a multiple of blob_alignment (drv.gpu.controlq.1)", async () => {
  const cases = [[65536, 65536], [4096, 4096], [1, 400], [1 << 20, 1 << 20]] as const;
  for (const [blobAlignment, size] of cases) {
    const model = new GpuDevice({ blob: true, blobAlignment });
    await using rig = await bootRecorded("gpu", model, gpuDriver);
    assertEquals(rig.gpu.blobAlignment, blobAlignment);
    await using picture = await rig.gpu.create(10, 10, SOON);
    picture.canvas().fill(0, 0, 10, 10, [1, 2, 3]);
    await rig.gpu.setScanout(0, picture, undefined, SOON);
    await picture.flush();
    assertEquals([...rig.model.screen()!.rgba.subarray(0, 3)], [1, 2, 3]);
    const asked = rig.seen.chains.filter(({ read }) => at(read, 0) === CREATE_BLOB);
    assertEquals(asked.map(({ read }) => at(read, 48, 8)), [size]);
    // Its pieces of memory are as long together.
    const [{ read } = { read: le() }] = asked;
    const pieces = Array.from({ length: at(read, 36) }, (_, i) => at(read, 56 + 16 * i + 8));
    assertEquals(pieces.reduce((sum, length) => sum + length, 0), size);
  }
});

Deno.test("spec gpu: without the feature blobs have the size of their pixels, and nothing reads the field", async () => {
  const model = new GpuDevice({ blob: true, blobAlignment: 4096 });
  const without = [BLOB_ALIGNMENT];
  await using rig = await bootRecorded("gpu", model, gpuDriver, { without });
  assertEquals(rig.gpu.blobAlignment, 1);
  await using _picture = await rig.gpu.create(10, 10, SOON);
  const asked = rig.seen.chains.find(({ read }) => at(read, 0) === CREATE_BLOB)!;
  assertEquals(at(asked.read, 48, 8), 400);
  assertEquals(rig.seen.config.filter((access) => access.endsWith("@16")), []);
});

Deno.test("spec gpu: a blob of another size is refused, and the field is read as it is offered", async () => {
  const model = new GpuDevice({ blob: true, blobAlignment: 4096 });
  await using machine = EmulatedMachine.create({ devices: [model] });
  const driver = new MockDriver(machine);
  using memory = machine.dma.alloc(8192, { align: 4096 });
  const create = async (id: number, size: number): Promise<number> => {
    const words = le(id, 1, 0, 1, [0, 8], [size, 8], [memory.address, 8], 8192, 0);
    const read = le(CREATE_BLOB, 0, [0, 8], 0, 0, words);
    const { bytes } = await driver.request(0, [{ read }, { write: 24 }]);
    return at(bytes[0]!, 0);
  };
  driver.init();
  assertEquals(at(driver.config(16, 4), 0), 4096);
  assertEquals([await create(1, 4096), await create(2, 8192)], [OK_NODATA, OK_NODATA]);
  assertEquals([await create(3, 4095), await create(3, 6144)], [
    INVALID_PARAMETER,
    INVALID_PARAMETER,
  ]);
  driver.init(FeatureSet.of(VERSION_1, RESOURCE_BLOB));
  assertEquals(await create(1, 6144), OK_NODATA);
  // BLOB_ALIGNMENT needs RESOURCE_BLOB.
  assertEquals(driver.init(FeatureSet.of(VERSION_1, BLOB_ALIGNMENT)) & 8, 0);
});

Deno.test("gpu: an alignment that is no power of two is refused by both sides", async () => {
  for (const blobAlignment of [0, 3, 2.5, 2 ** 32]) {
    assertThrows(() => new GpuDevice({ blob: true, blobAlignment }), RangeError, "power of two");
  }
  assertThrows(() => new GpuDevice({ blobAlignment: 4096 }), RangeError, "expected 'blob'");
  const model = new GpuDevice({ blob: true, blobAlignment: 4096 });
  const read = model.readConfig.bind(model);
  model.readConfig = (offset, width) => offset === 16 ? 3 : read(offset, width);
  await using machine = EmulatedMachine.create({ devices: [model] });
  await using bus = new Bus();
  await bus.registerDriver(gpuDriver);
  await bus.addPlatform(machine);
  const error = bus.devices[0]!.error as VireoError;
  assertEquals([error.code, error.register, error.seen], ["CONFIG_INVALID", "blob_alignment", 3]);
});
