import { assertEquals } from "@std/assert";
import { Places } from "./_places.ts";

const node = (name: string) => ({ kind: "mmio", name }) as Parameters<Places["fail"]>[1];

Deno.test("places: a second look at a machine forgets its own errors, not another's", () => {
  const places = new Places();
  const [one, other] = [{}, {}];
  places.fail(one, node("a"), new Error("1"));
  places.fail(other, node("b"), new Error("2"));
  places.fail(one, node("c"), new Error("3"));
  assertEquals(places.errors.map(({ slot }) => slot), ["a", "b", "c"]);
  places.forgetErrors(one);
  assertEquals(places.errors.map(({ slot }) => slot), ["b"]);
  places.fail(one, node("a"), new Error("4"));
  places.forgetErrors(one);
  places.forgetErrors(other);
  assertEquals(places.errors, []);
});

Deno.test("places: a node is claimed once until it is given back, and names are made unlike", () => {
  const places = new Places();
  const machine = {};
  assertEquals([places.claim(machine, "a"), places.claim(machine, "a")], [true, false]);
  assertEquals([places.claim({}, "a"), places.claim(machine, "b")], [true, true]);
  assertEquals(places.of(machine), [], "none is filled");
  places.release(machine, "a");
  assertEquals(places.claim(machine, "a"), true);
  assertEquals([...Places.keyed([node("x"), node("x"), node("x")]).keys()], ["x", "x'", "x''"]);
});
