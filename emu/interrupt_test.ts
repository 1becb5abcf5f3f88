import { assertEquals, assertRejects } from "@std/assert";
import { EmuInterrupt } from "./interrupt.ts";

/** A line that is active while there is work, and a wait that takes it. */
function rig(take: (line: { work: number }) => boolean) {
  const state = { work: 0, served: 0 };
  const interrupt = new EmuInterrupt(() => state.work > 0);
  const stop = new AbortController();
  const wait = interrupt.wait({
    signal: stop.signal,
    repeated: true,
    ready: () => false,
    serve: () => {
      state.served++;
      return take(state);
    },
  });
  return { state, interrupt, stop, wait };
}

Deno.test("interrupt: a wait that serves goes on while there is work, and ends when there is none", async () => {
  const { state, interrupt, wait } = rig((line) => line.work > 0 && (line.work = 0) === 0);
  let over = false;
  const ended = wait.then(() => over = true);
  for (let i = 1; i <= 3; i++) {
    state.work = 2;
    interrupt.raised();
    interrupt.raised();
    await Promise.resolve();
    assertEquals([state.served, over, interrupt.waiting], [i, false, 1]);
  }
  interrupt.raised();
  await ended;
  assertEquals([state.served, interrupt.waiting], [4, 0]);
});

Deno.test("interrupt: a wait that serves ends if the line stays active, and if it throws", async () => {
  const busy = rig(() => true);
  busy.state.work = 1;
  busy.interrupt.raised();
  await busy.wait;
  assertEquals([busy.state.served, busy.interrupt.waiting], [1, 0]);
  const broken = rig(() => {
    throw new Error("broken");
  });
  broken.interrupt.raised();
  await assertRejects(() => broken.wait, Error, "broken");
});

Deno.test("interrupt: a wait that serves ends with its signal and serves nothing after it", async () => {
  const { state, interrupt, stop, wait } = rig(() => true);
  interrupt.raised();
  stop.abort(new Error("enough"));
  await assertRejects(() => wait, Error, "enough");
  assertEquals([state.served, interrupt.waiting], [0, 0]);
});
