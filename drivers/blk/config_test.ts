import { assertEquals, assertThrows } from "@std/assert";
import { BLK_CONFIG, type BlkConfigField, BlkFeature, VireoError } from "@vireo/hal";
import { FakeDevice } from "../testing/fake_blk.ts";
import { readBlkConfig, requestSizes } from "./config.ts";

const F = BlkFeature;

/** A disk with these features and fields of 32 bits. */
function disk(features: readonly number[], fields: Partial<Record<BlkConfigField, number>> = {}) {
  const fake = new FakeDevice(...features);
  fake.config.setUint32(0, 1000, true);
  for (const [name, value] of Object.entries(fields)) {
    fake.config.setUint32(BLK_CONFIG[name as BlkConfigField].offset, value, true);
  }
  return fake.device;
}

/** The sizes of a disk's requests. */
function sizes(
  queue: { readonly ringSize?: number; readonly queues?: number },
  wanted: Parameters<typeof requestSizes>[3] = {},
  device = disk([F.SEG_MAX], { seg_max: 64 }),
) {
  const { ringSize = 256, queues = 1 } = queue;
  return requestSizes(device, readBlkConfig(device), { ringSize, queues }, wanted);
}

Deno.test("blk config: a bound of 0 is no bound; a disk that says nothing of alignment has none", () => {
  for (
    const [seen, expected] of [
      [{ max_discard_sectors: 7, max_discard_seg: 3, discard_sector_alignment: 8 }, [7, 3, 8]],
      [{}, [0xffffffff, 5, 1]],
    ] as const
  ) {
    const device = disk([F.DISCARD, F.SEG_MAX], { seg_max: 5, ...seen });
    const { maxSectors, maxSegments, alignment } = readBlkConfig(device).discard!;
    assertEquals([maxSectors, maxSegments, alignment], [...expected]);
  }
});

Deno.test("blk config: physical blocks are at most 2^31 logical ones", () => {
  const exponent = (value: number) =>
    readBlkConfig(disk([F.TOPOLOGY], { physical_block_exp: value }));
  assertEquals(exponent(31).topology?.physicalBlockSize, 512 * 2 ** 31);
  const error = assertThrows(() => exponent(32), VireoError);
  assertEquals([error.code, error.register], ["CONFIG_INVALID", "physical_block_exp"]);
});

Deno.test("blk config: a ring of three descriptors is enough for a header, a block and a status", () => {
  assertEquals([sizes({ ringSize: 3 }).depth, sizes({ ringSize: 3 }).segment], [3, 3 * 32768]);
  assertEquals(assertThrows(() => sizes({ ringSize: 2 }), VireoError).code, "QUEUE_SIZE");
});

Deno.test("blk config: 128 requests are shared by the queues, 16 to 64 to each, and no more than its ring has", () => {
  const depths = [1, 2, 3, 8, 16].map((queues) => sizes({ queues }).depth);
  assertEquals(depths, [64, 64, 42, 16, 16]);
  assertEquals(sizes({ ringSize: 8 }).depth, 8);
  assertEquals(sizes({}, { depth: 100 }).depth, 100);
});

Deno.test("blk config: a long request has what all slots have, at most 1.25 MiB", () => {
  assertEquals(sizes({}, { depth: 4, bytesPerRequest: 4096 }).longest, 16384);
  assertEquals(sizes({}).longest, 1280 * 1024);
});
