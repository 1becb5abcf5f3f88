import { assert, assertEquals } from "@std/assert";
import { deviceFeatureNames } from "./feature_names.ts";
import { featureName } from "./features.ts";
import { deviceName } from "./ids.ts";

Deno.test("features: the bits of virtio 1.4 §5 have names, for types without a driver too", () => {
  const name = (id: number, ...bits: number[]): string[] =>
    bits.map((bit) => featureName(bit, deviceFeatureNames(id)));
  assertEquals(name(1, 41, 42, 50, 64, 70), [
    ...["ADMIN_VQ", "GUEST_RSC6", "DEVICE_STATS", "RSS_CONTEXT", "IPSEC"],
  ]);
  assertEquals(name(16, 4, 5, 6), ["CONTEXT_INIT", "BLOB_ALIGNMENT", "bit 6"]);
  assertEquals(name(23, 0, 6), ["INPUT_RANGE", "BYPASS_CONFIG"]);
  assertEquals([name(27, 0), name(36, 3), name(41, 0)], [["SHMEM_REGION"], ["LATE_TX_ACK"], [
    "IRQ",
  ]]);
  assertEquals(name(63, 0, 32), ["bit 0", "VERSION_1"]);
  for (let id = 0; id < 64; id++) {
    const bits = Object.values(deviceFeatureNames(id));
    assertEquals(new Set(bits).size, bits.length, `device ${id}`);
    assert(bits.every((bit) => bit < 24 || bit === 42 || bit >= 50), `device ${id}`);
  }
});

Deno.test("ids: every device of virtio 1.4 §5 has a name", () => {
  const without = Array.from({ length: 50 }, (_, id) => id)
    .filter((id) => deviceName(id) === `device ${id}`);
  assertEquals(without, [0, 14, 15, 37]);
});
