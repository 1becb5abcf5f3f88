import { assertEquals, assertThrows } from "@std/assert";
import { PcapWriter } from "./pcap.ts";

Deno.test("pcap: the header and a record are literal", () => {
  const pcap = new PcapWriter();
  assertEquals(
    pcap.header(),
    // deno-fmt-ignore
    Uint8Array.of(
      0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0,
    ),
  );
  assertEquals(
    pcap.record(Uint8Array.of(0xaa, 0xbb, 0xcc), 1_700_000_000_123.5),
    // deno-fmt-ignore
    Uint8Array.of(
      0x00, 0xf1, 0x53, 0x65, 0x6c, 0xe2, 0x01, 0x00, 3, 0, 0, 0, 3, 0, 0, 0, 0xaa, 0xbb, 0xcc,
    ),
  );
});

Deno.test("pcap: a long frame is cut and its length kept", () => {
  const record = new PcapWriter(2).record(Uint8Array.of(1, 2, 3), 0);
  assertEquals([...record.subarray(8)], [2, 0, 0, 0, 3, 0, 0, 0, 1, 2]);
  assertThrows(() => new PcapWriter(0), RangeError, "positive");
});
