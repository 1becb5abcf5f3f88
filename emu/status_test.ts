import { assertEquals } from "@std/assert";
import { statusStep } from "./status.ts";

// Bits, typed from virtio 1.4 §2.1.
const ACK = 1;
const DRIVER = 2;
const DRIVER_OK = 4;
const FEATURES_OK = 8;
const SUSPEND = 16;
const NEEDS_RESET = 64;
const FAILED = 128;

Deno.test("status: the steps of §3.1.1 one by one", () => {
  const steps = [
    [0, ACK, []],
    [ACK, ACK | DRIVER, []],
    [ACK | DRIVER, ACK | DRIVER | FEATURES_OK, ["features"]],
    [ACK | DRIVER | FEATURES_OK, ACK | DRIVER | FEATURES_OK | DRIVER_OK, ["activate"]],
  ] as const;
  for (const [from, to, actions] of steps) {
    assertEquals(statusStep(from, to, false), {
      actions: [...actions],
      status: to,
      violation: undefined,
    });
  }
});

Deno.test("status: steps may come in one write, the actions stay in order", () => {
  const all = ACK | DRIVER | FEATURES_OK | DRIVER_OK;
  assertEquals(statusStep(0, all, false), {
    actions: ["features", "activate"],
    status: all,
    violation: undefined,
  });
});

Deno.test("status: every write to every status keeps the order of bits", () => {
  const valid = new Set([0, ACK, ACK | DRIVER, ACK | DRIVER | FEATURES_OK, 15]);
  for (const from of valid) {
    for (let written = 0; written < 256; written++) {
      const { actions, status, violation } = statusStep(from, written, false);
      assertEquals(valid.has(status & ~FAILED), true, `${from} by ${written} gives ${status}`);
      if (written === 0) {
        assertEquals([actions, status], [["reset"], 0]);
        continue;
      }
      assertEquals(status & from, from, "no bit is lost but by reset");
      assertEquals(status & (NEEDS_RESET | SUSPEND), 0, "not the driver's to set");
      const taken = (status | NEEDS_RESET) & written;
      const clean = taken === written && (from & ~written) === 0;
      assertEquals(violation === undefined, clean, `${from} by ${written}: ${violation}`);
    }
  }
});

Deno.test("status: FAILED is allowed at any time", () => {
  for (const from of [0, ACK, ACK | DRIVER, 15]) {
    assertEquals(statusStep(from, from | FAILED, false), {
      actions: [],
      status: from | FAILED,
      violation: undefined,
    });
  }
});

Deno.test("status: NEEDS_RESET stays whatever the driver writes but 0", () => {
  assertEquals(statusStep(15 | NEEDS_RESET, 15 | NEEDS_RESET, false).status, 15 | NEEDS_RESET);
  assertEquals(statusStep(15 | NEEDS_RESET, 15, false).status, 15 | NEEDS_RESET);
  assertEquals(statusStep(15 | NEEDS_RESET, 0, false).status, 0);
});

Deno.test("status: a legacy driver may leave steps out", () => {
  assertEquals(statusStep(0, DRIVER_OK, true), {
    actions: ["activate"],
    status: DRIVER_OK,
    violation: undefined,
  });
});
