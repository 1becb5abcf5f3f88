import { assertEquals } from "@std/assert";
import { BALLOON_CONFIG, BALLOON_STAT, BalloonFeature, BalloonStat } from "./balloon.ts";

Deno.test("balloon: the numbers of virtio 1.4 §5.5", () => {
  assertEquals(Object.values(BalloonFeature), [0, 1, 2, 3, 4, 5]);
  assertEquals([BALLOON_CONFIG.actual.offset, BALLOON_CONFIG.free_page_hint_cmd_id.offset], [4, 8]);
  assertEquals([BALLOON_CONFIG.poison_val.offset, BALLOON_CONFIG.SIZE], [12, 16]);
  assertEquals([BALLOON_STAT.val.offset, BALLOON_STAT.SIZE], [2, 10]);
  assertEquals([BalloonStat.FREE, BalloonStat.TOTAL, BalloonStat.AVAILABLE], [4, 5, 6]);
});
