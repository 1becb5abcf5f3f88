import { assertEquals } from "@std/assert";
import { RecordKind } from "./format.ts";
import { stepOf, stepText } from "./_steps.ts";

const NAMES = {
  window: (id: number) => ({ name: `window ${id}`, mmio: id === 1 }),
  ringName: (id: number): string => `ring ${id}`,
};

/** The words of a record. */
function words(
  kind: number,
  [a = 0, b = 0, c = 0]: readonly number[],
  { elements = [], json }: { readonly elements?: readonly number[]; readonly json?: unknown } = {},
): string {
  return stepText(stepOf({ kind, a, b, c, elements, json: () => json }), NAMES);
}

Deno.test("steps: each kind of record in words", () => {
  for (const kind of [RecordKind.READ8, RecordKind.READ16, RecordKind.READ32]) {
    assertEquals(words(kind, [1, 0x70, 5]), "read Status of window 1");
    assertEquals(words(kind, [2, 0x70, 5]), "read 0x70 of window 2");
    assertEquals(words(kind, [1, 0x71, 5]), "read 0x071 of window 1");
  }
  for (const kind of [RecordKind.WRITE8, RecordKind.WRITE16, RecordKind.WRITE32]) {
    assertEquals(words(kind, [1, 0x50, 16]), "write QueueNotify of window 1 <- 0x10");
  }
  assertEquals(words(RecordKind.ALLOC, [4096, 64]), "allocate 4096 bytes aligned to 64");
  assertEquals(words(RecordKind.KICK, [2, 0]), "ring 2 kick");
  assertEquals(words(RecordKind.KICK, [2, 1]), "ring 2 kick again");
  assertEquals(words(RecordKind.POP, [2, 1]), "ring 2 take a buffer");
  assertEquals(words(RecordKind.LOOK, [2, 1]), "ring 2 look for a used buffer");
  assertEquals(
    [0, 1, 2].map((mode) => words(RecordKind.CALLBACKS, [2, mode, 1])),
    ["ring 2 callbacks off", "ring 2 callbacks on", "ring 2 callbacks delayed"],
  );
  assertEquals(words(RecordKind.INTERRUPT, [3, 1]), "wait for interrupt 3");
  assertEquals(words(RecordKind.END, []), "end");
});

Deno.test("steps: a buffer with its readable and writable elements", () => {
  const elements = [0x1000, 16, 0x2000, 512, 0x3000, 1];
  assertEquals(
    [0, 1, 3].map((readable) => words(RecordKind.ADD, [2, 7, readable], { elements })),
    [
      "ring 2 add 7 [w 0x1000+16, w 0x2000+512, w 0x3000+1]",
      "ring 2 add 7 [r 0x1000+16, w 0x2000+512, w 0x3000+1]",
      "ring 2 add 7 [r 0x1000+16, r 0x2000+512, r 0x3000+1]",
    ],
  );
  assertEquals(words(RecordKind.ADD, [2, 7, 0]), "ring 2 add 7 []");
});

Deno.test("steps: what is rare in words of its own", () => {
  const meta = (json: object): string => words(RecordKind.META, [], { json });
  assertEquals(meta({ op: "open", node: "x" }), "open x");
  assertEquals(meta({ op: "bar", node: "x", index: 4 }), "open BAR 4 of x");
  assertEquals(meta({ op: "messages", node: "x", count: 2 }), "ask for 2 messages of x");
  assertEquals(
    meta({ op: "ring", slot: "x", queue: 1, name: "y", size: 8 }),
    "set up queue 1 'y' of x with 8 descriptors",
  );
});
