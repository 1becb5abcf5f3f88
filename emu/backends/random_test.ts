import { assert, assertEquals } from "@std/assert";
import { seededRandom, systemRandom } from "./random.ts";

Deno.test("seeded randomness is the same for a seed, however it is cut", () => {
  const whole = new Uint8Array(1000);
  seededRandom(7)(whole);
  const parts = new Uint8Array(1000);
  const source = seededRandom(7);
  for (let at = 0; at < 1000; at += at + 1) source(parts.subarray(at, 2 * at + 1));
  assertEquals(parts, whole);
  const other = new Uint8Array(1000);
  seededRandom(8)(other);
  assert(other.some((byte, i) => byte !== whole[i]));
});

Deno.test("seeded randomness stays what it is, so that recorded runs stay valid", () => {
  const bytes = new Uint8Array(8);
  seededRandom(1)(bytes);
  assertEquals([...bytes], [220, 24, 27, 3, 8, 184, 53, 0]);
});

Deno.test("system randomness fills more than the platform gives at once, and shared memory", () => {
  const bytes = new Uint8Array(new SharedArrayBuffer(200_000));
  systemRandom()(bytes);
  for (let at = 0; at < bytes.length; at += 1000) {
    assert(bytes.subarray(at, at + 1000).some((byte) => byte !== 0));
  }
});
