import process from "node:process";
import { assert, assertEquals } from "@std/assert";
import { Patience, processorTime } from "./_patience.ts";

/** After how many slices a wait is given up, where QEMU spends so many milliseconds in each. */
function given(deadline: number, busyDeadline: number, spends: number): number {
  let spent = 12_345;
  const patience = new Patience(deadline, busyDeadline, () => spent);
  for (let slices = 1;; slices++) {
    spent += spends;
    if (!patience.lasts(slices)) return slices;
  }
}

Deno.test("patience: an answer is waited for until the deadline, or until QEMU has computed for long", () => {
  assertEquals(new Patience(1000, 300, () => 0).slice, 50);
  assertEquals(new Patience(20, 300, () => 0).slice, 20);
  for (
    const [deadline, busyDeadline, spends, slices] of [
      [1000, Infinity, 50, 20],
      [1001, Infinity, 50, 21],
      [1000, 300, 0, 20],
      // It counts from the end of the first slice.
      [1000, 300, 50, 7],
      [1000, 300, 30, 11],
      [1000, 300, 10, 20],
      [20, 300, 50, 1],
    ] as const
  ) {
    assertEquals([deadline, busyDeadline, spends, given(deadline, busyDeadline, spends)], [
      ...[deadline, busyDeadline, spends, slices],
    ]);
  }
});

Deno.test("patience: each wait counts the processor's time from its own beginning", () => {
  let spent = 0;
  const patience = new Patience(1000, 100, () => spent);
  for (let wait = 0; wait < 3; wait++) {
    assert(patience.lasts(1));
    spent += 90;
    assert(patience.lasts(2));
  }
});

Deno.test("processorTime() adds the ticks in user and kernel mode, whatever a process is called", () => {
  const fields = Array.from({ length: 52 }, (_, i) => i + 1);
  const stat = (name: string): string => [7, `(${name})`, "S", ...fields.slice(3)].join(" ");
  for (const name of ["qemu", "a) S 1 2 (b c"]) assertEquals(processorTime(stat(name)), 290);
  assertEquals(processorTime(""), 0);
  const own = processorTime(Deno.readTextFileSync("/proc/self/stat"));
  const { user, system } = process.cpuUsage();
  assert(own > 0 && own <= (user + system) / 1000 + 20, `${own} ms`);
});
