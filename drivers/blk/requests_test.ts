import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { VireoError, type VireoErrorCode } from "@vireo/hal";
import { turn } from "../async_test_util.ts";
import { checkRange, packRanges, sendAll, statusError } from "./requests.ts";

Deno.test("blk requests: an I/O error has the cause that the host gave, and no other", () => {
  const where = { device: "virtio0", queue: 0, zoned: false };
  for (const [code, told] of [["HOST_ERROR", true], ["CHAIN_SHAPE", false]] as const) {
    const cause = new VireoError(code as VireoErrorCode, "As the test wants");
    assertEquals(statusError(where, 0, 5, 1, () => cause).cause, told ? cause : undefined);
  }
});

Deno.test("blk requests: only a zoned disk has statuses of zones, and it none that are unknown", () => {
  const code = (zoned: boolean, status: number): [string, unknown] => {
    const where = { device: "virtio0", queue: 0, zoned };
    const error = statusError(where, 1, 5, status, () => undefined);
    return [error.code, error.expected];
  };
  assertEquals(code(true, 3), ["ZONE_REFUSED", "OK"]);
  assertEquals(code(true, 9), ["BAD_STATUS", "0 to 6"]);
  assertEquals(code(false, 3), ["BAD_STATUS", "0, 1 or 2"]);
});

Deno.test("blk requests: a range may end where the disk does", () => {
  checkRange("virtio0", 8, 2, 10, 1);
  checkRange("virtio0", 10, 0, 10, 1);
  const error = assertThrows(() => checkRange("virtio0", 8, 3, 10, 1), VireoError);
  assertEquals([error.code, error.seen], ["OUT_OF_RANGE", 11]);
});

Deno.test("blk requests: ranges of whole steps have no empty one behind them, and empty ones are left out", () => {
  const limits = { maxSectors: 10, maxSegments: 8, alignment: 1 };
  const ranges = [{ sector: 100, sectors: 20 }, { sector: 7, sectors: 0 }];
  const [payload, ...more] = [...packRanges(ranges, limits, 1, 4096, false)];
  const view = new DataView(payload!.buffer);
  const seen = Array.from(
    { length: payload!.length / 16 },
    (_, i) => [Number(view.getBigUint64(16 * i, true)), view.getUint32(16 * i + 8, true)],
  );
  assertEquals([seen, more.length], [[[100, 10], [110, 10]], 0]);
});

Deno.test("blk requests: 16 payloads are on their way at once, and each that ends lets another go", async () => {
  const ends: PromiseWithResolvers<void>[] = [];
  const payloads = Array.from({ length: 20 }, () => new Uint8Array(16));
  const sent = sendAll(payloads, () => {
    ends.push(Promise.withResolvers<void>());
    return ends.at(-1)!.promise;
  });
  await turn();
  assertEquals(ends.length, 16);
  for (const ended of [1, 2]) {
    ends[ended]!.resolve();
    await turn();
    assertEquals(ends.length, 16 + ended);
  }
  const failed = assertRejects(() => sent, Error, "As the test wants");
  ends[0]!.reject(new Error("As the test wants"));
  await failed;
  assertEquals(ends.length, 18);
});
