import { assertEquals } from "@std/assert";
import { VireoError, type VireoErrorDetails } from "./errors.ts";

function messageOf(details: VireoErrorDetails): string {
  return new VireoError("QUEUE_SIZE", "Cannot set up a queue", details).message;
}

Deno.test("errors: counts are printed in decimal, what a register holds in hex", () => {
  const cases: readonly (readonly [VireoErrorDetails, string])[] = [
    [{ seen: 32776, expected: 32768 }, ": saw 32776, expected 32768"],
    [{ register: "Status", seen: 64, expected: 0 }, " (register Status): saw 0x40, expected 0x0"],
    [{ seen: 0x4000_0000, base: 16 }, ": saw 0x40000000"],
    [
      { register: "QueueSize", queue: 10, seen: 32776, expected: "at most 32768", base: 10 },
      " (register QueueSize, queue 10): saw 32776, expected at most 32768",
    ],
    [{ device: "virtio0", index: 12, expected: 3 }, " (virtio0, index 12): expected 3"],
  ];
  for (const [details, text] of cases) {
    assertEquals(messageOf(details), `Cannot set up a queue${text}`);
  }
});

Deno.test("errors: each detail is a field, and the cause the error's", () => {
  const cause = new Error("the cable is out");
  const details = {
    device: "virtio0",
    register: "Status",
    queue: 1,
    index: 2,
    seen: 3,
    expected: 4,
  };
  const error = new VireoError("QUEUE_SIZE", "Cannot set up a queue", { ...details, cause });
  const { device, register, queue, index, seen, expected } = error;
  assertEquals({ device, register, queue, index, seen, expected }, details);
  assertEquals([error.name, error.code, error.cause], ["VireoError", "QUEUE_SIZE", cause]);
  assertEquals("cause" in new VireoError("QUEUE_SIZE", "Cannot set up a queue"), false);
});
