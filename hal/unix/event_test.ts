import { assertEquals, assertRejects } from "@std/assert";
import { EventInterrupt } from "./event.ts";
import { Libc } from "./libc.ts";
import { Poller } from "./poller.ts";
import { CountedSettles } from "../counted_settles_test_util.ts";
import { CountedSignal } from "../counted_signal_test_util.ts";

Deno.test("an eventfd's waits end with a write or their signal, and leave no listener there", async () => {
  const libc = new Libc();
  {
    await using poller = new Poller(libc);
    using interrupt = new EventInterrupt(libc, poller);
    const abort = new CountedSignal();
    const { signal } = abort;
    const written = interrupt.wait({ signal, ready: () => false });
    assertEquals(abort.listeners, 1);
    libc.signalEvent(interrupt.fd);
    await written;
    assertEquals(abort.listeners, 0);
    const aborted = interrupt.wait({ signal, ready: () => false });
    abort.abort(new Error("enough"));
    await assertRejects(() => aborted, Error, "enough");
    assertEquals(abort.listeners, 0);
  }
  libc.dispose();
});

Deno.test("an eventfd that is disposed twice is closed once", async () => {
  const libc = new Libc();
  {
    await using poller = new Poller(libc);
    const interrupt = new EventInterrupt(libc, poller);
    const { fd } = interrupt;
    interrupt[Symbol.dispose]();
    // The lowest number that is free: it is another one's now.
    const other = libc.eventFd();
    assertEquals(other, fd);
    interrupt[Symbol.dispose]();
    libc.signalEvent(other);
    assertEquals(libc.clearEvent(other), true);
    libc.close(other);
  }
  libc.dispose();
});

Deno.test("an interrupt that nobody waited for is kept for one wait or one question", async () => {
  const libc = new Libc();
  {
    await using poller = new Poller(libc);
    using interrupt = new EventInterrupt(libc, poller);
    const { signal } = new AbortController();
    const wait = () => interrupt.wait({ signal, ready: () => false });
    const open = async (promise: Promise<void>): Promise<boolean> => {
      const nothing = Promise.resolve().then(() => {}).then(() => true);
      return await Promise.race([promise.then(() => false), nothing]);
    };
    assertEquals(interrupt.take(), false);
    interrupt.raise();
    interrupt.raise();
    assertEquals([interrupt.take(), interrupt.take()], [true, false]);
    libc.signalEvent(interrupt.fd);
    assertEquals([interrupt.take(), interrupt.take()], [true, false]);
    interrupt.raise();
    await wait();
    const waits = [wait(), wait()];
    assertEquals(await open(waits[0]!), true);
    // It wakes all that wait, and is kept for none of the next ones.
    interrupt.raise();
    await Promise.all(waits);
    const next = wait();
    assertEquals(await open(next), true);
    interrupt.raise();
    await next;
    // A signal that is aborted ends a wait at once, and the interrupt is another's.
    interrupt.raise();
    const aborted = AbortSignal.abort(new Error("enough"));
    await assertRejects(
      () => interrupt.wait({ signal: aborted, ready: () => false }),
      Error,
      "enough",
    );
    await wait();
  }
  libc.dispose();
});

Deno.test("an eventfd forgets waits that are over", async () => {
  const libc = new Libc();
  {
    await using poller = new Poller(libc);
    using interrupt = new EventInterrupt(libc, poller);
    using settles = new CountedSettles();
    for (let i = 1; i <= 3; i++) {
      const waiting = interrupt.wait({ signal: new AbortController().signal, ready: () => false });
      interrupt.raise();
      await waiting;
      assertEquals(settles.count, i);
    }
  }
  libc.dispose();
});
