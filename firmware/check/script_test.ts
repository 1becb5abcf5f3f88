import { assertEquals } from "@std/assert";
import { CHECKS } from "./checks/table.ts";
import type { LogEntry } from "./raw/log.ts";
import type { CheckResult } from "./run_checks.ts";
import { reproduction } from "./script.ts";

const check = CHECKS.find(({ id }) => id === "mmio.magic")!;

/** The lines of a script that are not the same for all, and its first ones. */
function script(bus: "mmio" | "pci" | "vhost-user", history: readonly LogEntry[]): string[] {
  const device = { name: 'slot "1"', id: 4, bus, face: "modern" } as const;
  const result: CheckResult = {
    ...{ check, device, verdict: "fail", reason: "x", seen: "what was seen", history, ms: 1 },
  };
  const lines = reproduction(result, "emu").split("\n");
  assertEquals(lines.slice(0, 8), [
    `// mmio.magic on slot "1" (device 4): ${check.clauses.join(", ")}`,
    `// ${check.done}; expected: ${check.expected}`,
    ...["// what was seen", "// vireo run --target emu repro.ts"],
    ...['import type { Vireo } from "@vireo/firmware";', ""],
    ...[
      "export default async function (vireo: Vireo): Promise<void> {",
      '  const slot = "slot \\"1\\"";',
    ],
  ]);
  assertEquals(lines.slice(-3), ["  await pause();", "}", ""]);
  const from = lines.findIndex((line) => line.startsWith("  const pause"));
  return lines.slice(from + 1, -3);
}

const SLOT = [
  '  if (!("mmio" in lease)) throw new TypeError("Cannot use a function as a slot");',
  "  const mmio = lease.mmio;",
];
const access = (op: "read" | "write", window: string, offset: number): LogEntry => ({
  ...{ op, window, offset, width: 4, value: 10 },
});

Deno.test("script: each entry of the log is a line that does the same", () => {
  const bytes = (...list: readonly number[]): LogEntry => ({
    ...{ op: "bytes", at: 16, bytes: Uint8Array.from(list) },
  });
  assertEquals(
    script("mmio", [
      access("read", "mmio", 0x70),
      { op: "read", window: "mmio", offset: 1, width: 2, value: 3 },
      access("write", "mmio", 0x14),
      { ...access("write", "mmio", 0x80), width: 1, place: { at: 32, part: "high" } } as LogEntry,
      { op: "pointer", at: 16, to: 4096 },
      { op: "call", code: "kick(0)" },
      { op: "note", text: "refused" },
      bytes(1, 2),
      // Eight bytes that are the same, nine, and nine that are not.
      bytes(...new Array(8).fill(0)),
      bytes(...new Array(9).fill(7)),
      bytes(...new Array(8).fill(7), 8),
    ]),
    [
      ...SLOT,
      ...[
        "  mmio.read32(0x70); // 0xa",
        "  mmio.read16(0x1); // 0x3",
        "  mmio.write32(0x14, 0xa);",
      ],
      ...["  mmio.write8(0x80, high(0x20));", "  pointer(0x10, 0x1000);", "  lease.kick(0);"],
      ...["  // refused", '  put(0x10, "0102");', '  put(0x10, "0000000000000000");'],
      ...["  fill(0x10, 9, 0x7);", '  put(0x10, "070707070707070708");'],
    ],
  );
});

Deno.test("script: the windows are those that the bus has, and that the log names", () => {
  assertEquals(script("mmio", []), SLOT);
  assertEquals(
    script("pci", [
      access("read", "bar4", 0),
      access("write", "bar0", 0),
      access("read", "config", 0),
      { op: "note", text: "x" },
    ]).slice(0, 5),
    [
      '  if (!("bars" in lease)) throw new TypeError("Cannot use a slot as a function");',
      ...["  const config = lease.config;", "  config.write16(4, 7);"],
      ...["  const bar4 = lease.openBar(4);", "  const bar0 = lease.openBar(0);"],
    ],
  );
  assertEquals(script("vhost-user", []), [
    '  if (!("kick" in lease)) throw new TypeError("Cannot use registers as a socket");',
    "  const offered = lease.readFeatures();",
    "  const features = (...bits: number[]) => offered.minus(offered).with(...bits);",
  ]);
});

Deno.test("script: the last 400 entries are kept, and how many came before is said", () => {
  const notes = (count: number): LogEntry[] =>
    Array.from({ length: count }, (_, i) => ({ op: "note", text: String(i) }));
  assertEquals(script("mmio", notes(400)).slice(2, 4), ["  // 0", "  // 1"]);
  const more = script("mmio", notes(403));
  assertEquals([more.length, ...more.slice(2, 4)], [
    ...[403, "  // 3 accesses before these are left out.", "  // 3"],
  ]);
});
