// One way to wait: what waits on a device or a peer does so by drivers/wait, which alone listens to
// signals and makes errors of time-outs.
import { assertEquals } from "@std/assert";
import { codeOf, SOURCES } from "./sources.ts";

/** What only drivers/wait may do, and what it looks like. */
const KINDS = {
  listener: /\.addEventListener\(\s*["']abort["']|\.onabort\s*=/g,
  timeout: /\bnew VireoError\(\s*["'](?:RESET_)?TIMEOUT["']/g,
} as const;
type Kind = keyof typeof KINDS;

const BELOW = "lies below the drivers and imports no other room";
const OTHER_SIDE = "is the other side, which never imports the drivers";

/** Where it is done all the same: how often, and why. */
const EXCEPTIONS: readonly (readonly [path: string, kind: Kind, count: number, why: string])[] = [
  ["hal/poll_interrupt.ts", "listener", 1, BELOW],
  ["hal/devmem/_uio.ts", "listener", 1, BELOW],
  ["hal/qtest/_interrupts.ts", "listener", 1, BELOW],
  ["hal/qtest/qmp.ts", "listener", 1, BELOW],
  ["hal/qtest/qmp.ts", "timeout", 1, BELOW],
  ["hal/unix/event.ts", "listener", 1, BELOW],
  ["hal/vhost_user/back_end_link.ts", "timeout", 1, BELOW],
  ["drivers/record/replay.ts", "listener", 1, OTHER_SIDE],
  ["emu/interrupt.ts", "listener", 1, OTHER_SIDE],
  ["emu/worker/machine.ts", "listener", 2, OTHER_SIDE],
  ["emu/worker/machine.ts", "timeout", 2, OTHER_SIDE],
];

/** How often a text does each. */
function countIn(code: string): Record<Kind, number> {
  return {
    listener: code.match(KINDS.listener)?.length ?? 0,
    timeout: code.match(KINDS.timeout)?.length ?? 0,
  };
}

Deno.test("one way: the search knows each form of both kinds", () => {
  assertEquals(
    countIn(
      `signal?.addEventListener("abort", f); signal.addEventListener(\n  'abort',\n g);\n` +
        `signal.onabort = f; target.addEventListener("link", f);\n` +
        `throw new VireoError("TIMEOUT", "x"); new VireoError(\n "RESET_TIMEOUT", "y");\n` +
        `if (error.code === "TIMEOUT") throw new VireoError("IO_ERROR", "TIMEOUT");`,
    ),
    { listener: 3, timeout: 2 },
  );
});

Deno.test("one way: drivers/wait alone listens to signals and makes time-outs", () => {
  const found: (readonly [string, Kind, number])[] = [];
  for (const source of SOURCES) {
    const { path, room } = source;
    // Tests and their stand-ins are what waits are tested by.
    if (room === "tests" || path.endsWith("_test.ts") || path.startsWith("drivers/wait/")) continue;
    const counts = countIn(codeOf(source));
    for (const kind of ["listener", "timeout"] as const) {
      if (counts[kind] > 0) found.push([path, kind, counts[kind]]);
    }
  }
  assertEquals(
    found.map((entry) => entry.join(" ")).sort(),
    EXCEPTIONS.map(([path, kind, count]) => `${path} ${kind} ${count}`).sort(),
  );
});
