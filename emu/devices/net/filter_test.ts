import { assertEquals } from "@std/assert";
import { RxFilter } from "./filter.ts";

/** To a unicast address, with the id of a VLAN. */
const TAGGED = new Uint8Array(18);
TAGGED.set([0x02, 0, 0, 0, 0, 1, 0x02, 0, 0, 0, 0, 2, 0x81, 0x00, 0x00, 0x05]);

Deno.test("net filter: frames of a VLAN pass until VLANs are filtered, and then those of the table", () => {
  const filter = new RxFilter();
  const passes = (): boolean => filter.passes(TAGGED, 0, TAGGED.length);
  assertEquals(passes(), true);
  filter.vlanEnabled = true;
  assertEquals(passes(), false);
  filter.setVlan(5, true);
  assertEquals(passes(), true);
  filter.reset();
  assertEquals(passes(), true);
  filter.vlanEnabled = true;
  assertEquals(passes(), false);
});
