import { assertEquals, assertThrows } from "@std/assert";
import { Libc } from "./libc.ts";
import { Poller } from "./poller.ts";

/** A C library that counts the polls on a thread, and two eventfds. */
class Rig implements Disposable {
  parks = 0;
  readonly libc = new Libc();
  readonly fds = [this.libc.eventFd(), this.libc.eventFd()] as const;

  constructor() {
    const { parked } = this.libc;
    this.libc.parked = (list) => {
      this.parks++;
      return parked.call(this.libc, list);
    };
  }

  [Symbol.dispose](): void {
    for (const fd of this.fds) this.libc.close(fd);
    this.libc.dispose();
  }
}

const descriptors = (): number => [...Deno.readDirSync("/proc/self/fd")].length;

Deno.test("poller: what is ready is called while it is watched; a closed one watches nothing", async () => {
  using rig = new Rig();
  const { libc, fds } = rig;
  const before = descriptors();
  const poller = new Poller(libc);
  const calls: number[] = [];
  let wake: () => void = () => {};
  const next = (): Promise<void> => new Promise((resolve) => wake = resolve);
  const watches = fds.map((fd, i) =>
    poller.watch(fd, () => {
      libc.clearEvent(fd);
      calls.push(i);
      wake();
    })
  );
  for (const i of [1, 0, 1]) {
    const called = next();
    libc.signalEvent(fds[i]!);
    await called;
  }
  assertEquals(calls, [1, 0, 1]);
  watches[1]![Symbol.dispose]();
  watches[1]![Symbol.dispose]();
  libc.signalEvent(fds[1]!);
  const called = next();
  libc.signalEvent(fds[0]!);
  await called;
  assertEquals([calls.at(-1), libc.clearEvent(fds[1]!)], [0, true]);
  // It ends when nothing is watched, and begins again.
  watches[0]![Symbol.dispose]();
  await new Promise((resolve) => setTimeout(resolve, 5));
  const again = next();
  using _watch = poller.watch(fds[1]!, () => {
    libc.clearEvent(fds[1]!);
    wake();
  });
  libc.signalEvent(fds[1]!);
  await again;
  await poller[Symbol.asyncDispose]();
  await poller[Symbol.asyncDispose]();
  assertEquals(descriptors(), before);
  assertThrows(
    () => poller.watch(fds[0]!, () => {}),
    TypeError,
    "Cannot watch a descriptor: the poller is closed",
  );
});

Deno.test("poller: it polls again for what changed, and not for what has been taken", async () => {
  using rig = new Rig();
  const { libc, fds } = rig;
  await using poller = new Poller(libc);
  /** Waits for so many polls, and some turns in which there might be more. */
  const parked = async (polls: number): Promise<void> => {
    const end = performance.now() + 20_000;
    const turn = () => new Promise((resolve) => setTimeout(resolve, 1));
    while (rig.parks < polls && performance.now() < end) await turn();
    for (let i = 0; i < 5; i++) await turn();
    assertEquals(rig.parks, polls);
  };
  const called: number[] = [];
  const watch = (i: 0 | 1) =>
    poller.watch(fds[i], () => {
      libc.clearEvent(fds[i]);
      called.push(i);
    });
  using _first = watch(0);
  await parked(1);
  // Another one wakes the thread, which is then parked for both.
  const second = watch(1);
  await parked(2);
  assertEquals(called, []);
  libc.signalEvent(fds[1]);
  await parked(3);
  assertEquals(called, [1]);
  // One that is watched no more wakes the thread too.
  second[Symbol.dispose]();
  libc.signalEvent(fds[1]);
  await parked(4);
  assertEquals(called, [1]);
  assertEquals(libc.clearEvent(fds[1]), true);
});
