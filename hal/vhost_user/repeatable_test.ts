import { assertEquals } from "@std/assert";
import { FeatureSet } from "../bits.ts";
import { isRepeatable } from "./repeatable.ts";

Deno.test("requests of disks and entropy may be done twice, but not those of a disk with zones", () => {
  // Numbers of virtio 1.4 §5: 1 is a network device, 2 a disk, 4 entropy, and feature 17 of a disk its zones.
  const answers = [1, 2, 4].map((id) => isRepeatable(id, FeatureSet.NONE));
  assertEquals([...answers, isRepeatable(2, FeatureSet.of(17))], [false, true, true, false]);
});
