// JSON of a recording is a claim: what a recorder writes passes, and with any field of another kind it does not.
import { assertEquals, assertThrows } from "@std/assert";
import { VireoError } from "@vireo/hal";
import { checkVersion, isDiagnosis, isHeader, isMeta } from "./_checked.ts";

type Json = Readonly<Record<string, unknown>>;

/** Values of each kind, one of which a field of that kind takes. */
const KINDS = {
  text: "x",
  count: 1,
  flag: true,
  nothing: null,
  list: [1],
  object: { x: 1 },
  fraction: 1.5,
  negative: -1,
  large: 2 ** 53,
} as const;
type Kind = keyof typeof KINDS | "index" | "maybe";

/** Checks that a field takes its kinds of values alone; `maybe` is a field that may be absent. */
function takes(
  passes: (value: unknown) => boolean,
  whole: Json,
  field: string,
  ...kinds: readonly Kind[]
): void {
  assertEquals([whole, passes(whole)], [whole, true]);
  const { [field]: _, ...without } = whole;
  assertEquals([`without ${field}`, passes(without)], [
    `without ${field}`,
    kinds.includes("maybe"),
  ]);
  for (const [kind, value] of Object.entries(KINDS)) {
    const may = kinds.includes(kind as Kind) || kind === "count" && kinds.includes("index");
    assertEquals([field, kind, passes({ ...whole, [field]: value })], [field, kind, may]);
  }
  if (!kinds.includes("index")) return;
  for (const [value, may] of [[2 ** 20 - 1, true], [2 ** 20, false]] as const) {
    assertEquals([field, value, passes({ ...whole, [field]: value })], [field, value, may]);
  }
}

/** Values of JSON that are no object. */
const OTHERS = [null, undefined, "x", 1, true, [], [{}]];

Deno.test("recordings: a header has a machine, its nodes and a program", () => {
  const header = { platform: "emu", nodes: [], program: null, access: "x" };
  takes(isHeader, header, "platform", "text");
  takes(isHeader, header, "access", "text", "maybe");
  takes(isHeader, header, "nodes");
  takes(isHeader, header, "program", ...Object.keys(KINDS) as Kind[]);
  assertEquals(OTHERS.filter(isHeader), []);
});

Deno.test("recordings: nodes are slots of virtio-mmio, or functions with their address", () => {
  const isNode = (node: unknown): boolean =>
    isHeader({ platform: "emu", nodes: [{ kind: "mmio", name: "a", size: 1 }, node], program: 1 });
  const slot = { kind: "mmio", name: "x", size: 512 };
  takes(isNode, slot, "name", "text");
  takes(isNode, slot, "size", "count");
  takes(isNode, slot, "kind");
  const address = { segment: 0, bus: 1, device: 2, function: 3 };
  const fn = { kind: "pci", name: "x", vendor: 0x1af4, device: 0x1041, address };
  for (const field of ["vendor", "device"]) takes(isNode, fn, field, "count");
  takes(isNode, fn, "name", "text");
  takes(isNode, fn, "address");
  for (const field of Object.keys(address)) {
    takes((at) => isNode({ ...fn, address: at }), address, field, "count");
  }
  assertEquals(OTHERS.filter(isNode), []);
});

Deno.test("recordings: a rare step has what its kind needs", () => {
  const slot = { op: "open", node: "x", window: 1, source: 2, polled: false };
  takes(isMeta, slot, "node", "text");
  takes(isMeta, slot, "window", "index");
  takes(isMeta, slot, "source", "index");
  takes(isMeta, slot, "polled", "flag", "maybe");
  takes(isMeta, slot, "op");
  const window = { name: "x", size: 256 };
  const fn = { op: "open", node: "x", window: 1, source: 2, bars: [{}], config: window };
  takes(isMeta, fn, "source", "index", "maybe");
  takes(isMeta, fn, "config");
  takes(isMeta, fn, "bars");
  assertEquals(isMeta({ ...fn, bars: [{}, 1] }), false);
  const { config: _config, ...bars } = fn;
  assertEquals([isMeta(bars), isMeta({ ...slot, config: window })], [false, false]);
  for (const [field, kind] of [["name", "text"], ["size", "count"]] as const) {
    takes((config) => isMeta({ ...fn, config }), window, field, kind);
  }
  const bar = { op: "bar", node: "x", window: 1, index: 4, ...window };
  takes(isMeta, bar, "node", "text");
  takes(isMeta, bar, "window", "index");
  takes(isMeta, bar, "index", "count");
  takes(isMeta, bar, "name", "text");
  takes(isMeta, bar, "size", "count");
  const ring = { op: "ring", slot: "x", queue: 1, ring: 2, name: "y", size: 8 };
  takes(isMeta, ring, "slot", "text");
  takes(isMeta, ring, "queue", "count");
  takes(isMeta, ring, "ring", "index");
  takes(isMeta, ring, "name", "text");
  takes(isMeta, ring, "size", "count");
  assertEquals(OTHERS.filter(isMeta), []);
});

Deno.test("recordings: messages are given whole, or not at all", () => {
  const message = { address: 0xfee00000, data: 1, polled: false, source: 3 };
  const given = { op: "messages", node: "x", count: 1, given: [message] };
  takes(isMeta, given, "node", "text");
  takes(isMeta, given, "count", "count");
  takes(isMeta, given, "given", "nothing");
  const isMessage = (value: unknown): boolean => isMeta({ ...given, given: [message, value] });
  takes(isMessage, message, "address", "count");
  takes(isMessage, message, "data", "count");
  takes(isMessage, message, "polled", "flag");
  takes(isMessage, message, "source", "index");
  assertEquals(OTHERS.filter(isMessage), []);
});

Deno.test("recordings: a diagnosis is of a node, with a message or the end of one", () => {
  const diagnosis = { node: "x", code: "QUEUE_BROKEN", message: "It broke" };
  takes(isDiagnosis, diagnosis, "node", "text");
  takes(isDiagnosis, diagnosis, "code", "text", "maybe");
  takes(isDiagnosis, diagnosis, "message", "text", "nothing");
  assertEquals(OTHERS.filter(isDiagnosis), []);
});

Deno.test("recordings: of another version they are refused", () => {
  checkVersion(1, 1);
  for (const seen of [0, 2, "1", undefined]) {
    const error = assertThrows(() => checkVersion(seen, 1), VireoError);
    assertEquals([error.code, error.seen, error.expected], ["BAD_MESSAGE", `${seen}`, 1]);
  }
});
