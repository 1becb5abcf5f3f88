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

/** What can end waits, and those that listen to it. */
function counted() {
  const stop = new AbortController();
  const { signal } = stop;
  const listeners = new Set<unknown>();
  const [add, remove] = [signal.addEventListener, signal.removeEventListener];
  signal.addEventListener = (...args: Parameters<typeof add>) => {
    listeners.add(args[1]);
    add.apply(signal, args);
  };
  signal.removeEventListener = (...args: Parameters<typeof remove>) => {
    listeners.delete(args[1]);
    remove.apply(signal, args);
  };
  return { stop, signal, listeners };
}

Deno.test("interrupt: a wait leaves no listener on its signal, unless it will wait again", async () => {
  const interrupt = new EmuInterrupt(() => false);
  const ready = (): boolean => false;
  const { stop, signal, listeners } = counted();
  for (let i = 0; i < 3; i++) {
    const waits = [0, 1].map(() => interrupt.wait({ signal, ready }));
    assertEquals([listeners.size, interrupt.waiting], [1, 2]);
    interrupt.raised();
    await Promise.all(waits);
    assertEquals([listeners.size, interrupt.waiting], [0, 0]);
  }
  for (let i = 0; i < 3; i++) {
    const wait = interrupt.wait({ signal, ready, repeated: true });
    interrupt.raised();
    await wait;
    assertEquals(listeners.size, 1);
  }
  const wait = interrupt.wait({ signal, ready, repeated: true });
  stop.abort(new Error("enough"));
  await assertRejects(() => wait, Error, "enough");
  assertEquals([listeners.size, interrupt.waiting], [0, 0]);
});

Deno.test("interrupt: a wait ends with its own signal, and those of others go on in their order", async () => {
  const interrupt = new EmuInterrupt(() => false);
  const [one, other] = [counted(), counted()];
  const ended: string[] = [];
  const wait = async (name: string, { signal }: typeof one, repeated = false): Promise<void> => {
    const waiting = interrupt.wait({ signal, repeated, ready: () => false });
    await waiting.then(() => ended.push(name), () => ended.push(`${name} aborted`));
  };
  const all = [
    wait("a", other),
    wait("b", one),
    wait("c", other, true),
    wait("d", one, true),
    wait("e", other),
  ];
  assertEquals(interrupt.waiting, 5);
  one.stop.abort(new Error("enough"));
  assertEquals([interrupt.waiting, one.listeners.size], [3, 0]);
  interrupt.raised();
  assertEquals(interrupt.waiting, 0);
  await Promise.all(all);
  assertEquals(ended, ["b aborted", "d aborted", "a", "c", "e"]);
});
