import { FeatureSet, VireoError } from "@vireo/hal";
import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { STACKS_VARIABLE } from "./environment.ts";
import { hideInnerFrames, shownFrames } from "./frames.ts";

const ROOT = new URL("../../", import.meta.url).href;
const MINE = "    at mine (file:///home/me/script.ts:3:5)";
const OURS = `    at Rng.read (${ROOT}drivers/rng/driver.ts:62:15)`;
const FRAMES: readonly string[] = [
  OURS,
  MINE,
  "    at async Promise.all (index 0)",
  "    at eventLoopTick (ext:core/01_core.js:255:9)",
  "    at new Command (file:///root/.cache/deno/npm/registry.example/commander/15.1.0/lib/x.js:1:2)",
  `    at eval (eval at evaluate (${ROOT}firmware/repl/evaluate.ts:37:15), <anonymous>:4:7)`,
  `    at default (${ROOT}examples/net.ts:9:1)`,
];
const OWN: readonly string[] = [
  MINE,
  "    at <repl>:2",
  `    at default (${ROOT}examples/net.ts:9:1)`,
];

Deno.test("of an error, only the frames of the user's files are shown", () => {
  assertEquals(shownFrames(new TypeError("x is not a function"), FRAMES), OWN);
  assertEquals(shownFrames(new VireoError("TIMEOUT", "late"), FRAMES), OWN);
});

Deno.test("an error without frames of the user has all, unless its message says all", () => {
  assertEquals(shownFrames(new TypeError("x is not a function"), [OURS]), [OURS]);
  const meant = [
    new VireoError("TIMEOUT", "late"),
    new RangeError("Cannot read -1 bytes: expected an integer of at least 0"),
    new DOMException("stop", "AbortError"),
    new Deno.errors.NotFound("no file"),
  ];
  for (const error of meant) assertEquals(shownFrames(error, [OURS]), [], String(error));
});

Deno.test("VIREO_STACKS shows all frames", () => {
  const before = Deno.env.get(STACKS_VARIABLE);
  Deno.env.set(STACKS_VARIABLE, "1");
  try {
    assertEquals(shownFrames(new VireoError("TIMEOUT", "late"), FRAMES), FRAMES);
  } finally {
    if (before === undefined) Deno.env.delete(STACKS_VARIABLE);
    else Deno.env.set(STACKS_VARIABLE, before);
  }
});

Deno.test("errors printed as values hide inner frames too, until that is disposed", () => {
  const fail = () => FeatureSet.of(-1);
  const hal = `(${ROOT}hal/`;
  {
    using _frames = hideInnerFrames();
    const error = assertThrows(fail, RangeError);
    const typed = assertThrows(
      () => new Function("fail", "return fail()")(() => FeatureSet.of(-1)),
      RangeError,
    );
    for (const text of [Deno.inspect(error), Deno.inspect({ typed: [typed] })]) {
      assertStringIncludes(text, "RangeError: ");
      assertEquals(text.includes(hal), false, text);
    }
    const both = new Error("of mine", { cause: error });
    assertStringIncludes(Deno.inspect(both), `[cause]: ${error.name}: ${error.message}`);
  }
  assertStringIncludes(assertThrows(fail, RangeError).stack!, hal);
});
