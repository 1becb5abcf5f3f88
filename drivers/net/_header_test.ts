import { assertEquals, assertThrows } from "@std/assert";
import { Feature, FeatureSet, NetFeature } from "@vireo/hal";
import { writeTxHeader } from "./_header.ts";

const FEATURES = FeatureSet.of(Feature.VERSION_1, NetFeature.CSUM, NetFeature.HOST_TSO4);
const FRAME = new Uint8Array(100);

Deno.test("net header: nothing of an earlier frame is left in the next one's", () => {
  const header = new Uint8Array(12);
  const gso = { type: "tcpv4", size: 1000, headerLength: 54 } as const;
  writeTxHeader(header, FRAME, { csum: { start: 34, offset: 16 }, gso }, FEATURES);
  assertEquals([...header], [1, 1, 54, 0, 0xe8, 3, 34, 0, 16, 0, 0, 0]);
  writeTxHeader(header, FRAME, { csum: { start: 34, offset: 6 } }, FEATURES);
  assertEquals([...header], [1, 0, 0, 0, 0, 0, 34, 0, 6, 0, 0, 0]);
});

Deno.test("net header: a checksum begins behind the Ethernet header and lies in the frame", () => {
  for (
    const [start, offset, fits] of [
      [14, 0, true],
      [13, 0, false],
      [14, -1, false],
      [14, 84, true],
      [14, 85, false],
      [14.5, 0, false],
      [14, 0.5, false],
    ] as const
  ) {
    const write = () =>
      writeTxHeader(new Uint8Array(12), FRAME, { csum: { start, offset } }, FEATURES);
    if (fits) write();
    else assertThrows(write, RangeError, `start ${start} and offset ${offset}`);
  }
});
