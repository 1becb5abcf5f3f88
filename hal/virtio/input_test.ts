import { assertEquals } from "@std/assert";
import {
  INPUT_ABS_INFO,
  INPUT_CONFIG,
  INPUT_DEVICE_IDS,
  INPUT_EVENT,
  InputSelect,
} from "./input.ts";

Deno.test("input: the numbers of virtio 1.4 §5.8", () => {
  assertEquals([INPUT_CONFIG.subsel.offset, INPUT_CONFIG.size.offset], [1, 2]);
  assertEquals([INPUT_CONFIG.u.offset, INPUT_CONFIG.SIZE], [8, 136]);
  assertEquals(Object.values(InputSelect), [0, 1, 2, 3, 16, 17, 18]);
  assertEquals([INPUT_ABS_INFO.max.offset, INPUT_ABS_INFO.res.offset], [4, 16]);
  assertEquals([INPUT_DEVICE_IDS.product.offset, INPUT_DEVICE_IDS.version.offset], [4, 6]);
  assertEquals([INPUT_EVENT.code.offset, INPUT_EVENT.value.offset, INPUT_EVENT.SIZE], [2, 4, 8]);
});
