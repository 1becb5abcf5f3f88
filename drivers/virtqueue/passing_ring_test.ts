import { assertEquals } from "@std/assert";
import type { Ring } from "./create_ring.ts";
import { PassingRing } from "./passing_ring.ts";

Deno.test("passing ring: each member is that of the ring behind it, with its arguments and its value", () => {
  const seen: unknown[][] = [];
  // Fields are read once; all else that is asked of it is noted.
  const fields = ["index", "name", "device", "status", "diagnose"];
  const inner = new Proxy({}, {
    get(_, key) {
      const name = String(key);
      if (fields.includes(name)) return `own ${name}`;
      if (isMethod(key)) {
        return (...given: unknown[]) => {
          seen.push([name, ...given]);
          return `value of ${name}`;
        };
      }
      seen.push([name]);
      return `value of ${name}`;
    },
    set(_, name, value) {
      seen.push([name, value]);
      return true;
    },
  });
  const ring = new PassingRing(inner as Ring) as unknown as Record<string, unknown>;
  assertEquals(fields.map((name) => ring[name]), fields.map((name) => `own ${name}`));
  const members = Reflect.ownKeys(PassingRing.prototype).filter((name) => name !== "constructor")
    .map((name) =>
      [String(name), Object.getOwnPropertyDescriptor(PassingRing.prototype, name)!] as const
    );
  assertEquals(members.length > 20, true);
  for (const [name, { value, get, set }] of members) {
    seen.length = 0;
    if (value === undefined) {
      assertEquals([get?.call(ring), seen], [`value of ${name}`, [[name]]]);
      if (set === undefined) continue;
      set.call(ring, true);
      assertEquals(seen[1], [name, true]);
      continue;
    }
    const given = Array.from({ length: value.length }, (_, i) => i);
    const returned = value.apply(ring, given);
    assertEquals(seen, [[name, ...given]]);
    if (returned !== undefined) assertEquals(returned, `value of ${name}`);
  }
  // Of those without a value no caller needs one.
  const silent = members.filter(([, { value }]) =>
    value !== undefined && value.apply(ring, []) === undefined
  );
  assertEquals(
    silent.map(([name]) => name).sort(),
    [
      "break",
      "disableCallbacks",
      "kick",
      "kickAgain",
      String(Symbol.dispose),
    ].sort(),
  );
});

function isMethod(name: PropertyKey): boolean {
  return typeof Object.getOwnPropertyDescriptor(PassingRing.prototype, name)?.value === "function";
}
