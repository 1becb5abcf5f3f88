// Needs qemu-system-riscv64.
//
// Each register access of a `qtest` board is a message to QEMU and its answer: how many a start takes.
import { assert } from "@std/assert";
import { openVireo } from "@vireo/firmware";
import type { TraceEvent } from "@vireo/hal";

/** Most messages of the four devices of the board, from the first register to the last one. */
const MOST = 380;

Deno.test("qtest: probing the board's devices and leaving them takes few messages", async () => {
  const counts = new Map<string, number>();
  {
    const sink = (event: TraceEvent): void => {
      if (event.kind !== "register") return;
      const name = event.register ?? "unnamed";
      counts.set(name, (counts.get(name) ?? 0) + 1);
    };
    await using vireo = await openVireo({ target: "qtest:riscv64-virt" }, { trace: sink });
    // Both ports are there whole.
    await vireo.console.port("echo");
  }
  const total = [...counts.values()].reduce((sum, count) => sum + count, 0);
  const report = JSON.stringify(Object.fromEntries(counts));
  assert(total > 200, `saw ${total} messages: ${report}`);
  assert(total <= MOST, `${total} messages, expected at most ${MOST}: ${report}`);
});
