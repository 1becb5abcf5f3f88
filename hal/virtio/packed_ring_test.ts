import { assertEquals } from "@std/assert";
import { EVENT_SUPPRESS, PACKED_DESC, PackedDescFlag, RingEvent } from "./packed_ring.ts";

Deno.test("packed ring: the numbers of virtio 1.4 §2.8", () => {
  assertEquals(PACKED_DESC.SIZE, 16);
  assertEquals(
    [PACKED_DESC.addr.offset, PACKED_DESC.len.offset, PACKED_DESC.id.offset],
    [0, 8, 12],
  );
  assertEquals(PACKED_DESC.flags, { offset: 14, size: 2 });
  assertEquals([EVENT_SUPPRESS.desc.offset, EVENT_SUPPRESS.flags.offset], [0, 2]);
  assertEquals([PackedDescFlag.AVAIL, PackedDescFlag.USED], [1 << 7, 1 << 15]);
  assertEquals([RingEvent.ENABLE, RingEvent.DISABLE, RingEvent.DESC], [0, 1, 2]);
});
