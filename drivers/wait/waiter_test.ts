import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { VireoError } from "@vireo/hal";
import { Condition } from "./condition.ts";
import { MessageStream } from "./message_stream.ts";
import { LONGEST_TIMER, timeLeft, timeOf, type WaitOptions, within } from "./options.ts";
import { pause, pollUntil } from "./poll.ts";
import { WaitList } from "./wait_list.ts";
import { timedOut, Waiter, waitFor, waitOn, type WaitSubject } from "./waiter.ts";

/** A signal that counts its listeners. */
class CountedSignal {
  readonly controller = new AbortController();
  listeners = 0;
  /** The most there were. */
  most = 0;

  constructor() {
    const { signal } = this.controller;
    const { addEventListener: add, removeEventListener: remove } = signal;
    const own = new Set<unknown>();
    const count = (): void => {
      this.listeners = own.size;
      this.most = Math.max(this.most, own.size);
    };
    signal.addEventListener = ((...args: Parameters<typeof add>): void => {
      own.add(args[1]);
      count();
      add.apply(signal, args);
    }) as typeof add;
    signal.removeEventListener = ((...args: Parameters<typeof remove>): void => {
      own.delete(args[1]);
      count();
      remove.apply(signal, args);
    }) as typeof remove;
  }

  get signal(): AbortSignal {
    return this.controller.signal;
  }
}

/** One way to wait for a number; `give` is the news, if there ever is any. */
interface Way {
  readonly name: string;
  /** Begins to wait. */
  wait(options: WaitOptions): Promise<number>;
  /** The news. */
  give(value: number): void;
  /** How many wait. */
  readonly waiting?: () => number;
  /** Takes away the timer that many waits share. */
  readonly end?: () => void;
}

/** Every way to wait, with a last look that finds what `found` has. */
function ways(found: { value: number | undefined }): Way[] {
  let resolve: ((value: number) => void) | undefined;
  const subject: WaitSubject<number> = { what: "a number", look: () => found.value };
  const list: WaitList<undefined, number> = new WaitList("a number", {
    look: () => found.value !== undefined && list.resolveFirst(found.value),
  });
  const condition = new Condition();
  const stream: MessageStream<number> = new MessageStream({
    device: "virtio0",
    what: "number",
    limit: 4,
    last: { look: () => found.value !== undefined && stream.push(found.value) },
  });
  let given: number | undefined;
  return [
    {
      name: "waitFor",
      wait: (options) =>
        waitFor(subject, options, (waiter) => {
          resolve = (value) => waiter.resolve(value);
          return () => resolve = undefined;
        }),
      give: (value) => resolve?.(value),
      waiting: () => resolve === undefined ? 0 : 1,
    },
    {
      name: "waitOn",
      wait: (options) => waitOn(new Promise<number>((done) => resolve = done), subject, options),
      give: (value) => resolve?.(value),
    },
    {
      name: "WaitList",
      wait: (options) => list.wait(undefined, options),
      give: (value) => void list.resolveFirst(value),
      waiting: () => list.length,
      end: () => list.rejectAll(new Error("over")),
    },
    {
      name: "Condition",
      wait: (options) => condition.until("a number", () => given ?? found.value, options),
      give: (value) => {
        given = value;
        condition.notify();
        given = undefined;
      },
    },
    {
      name: "MessageStream",
      wait: (options) => stream.take(options),
      give: (value) => stream.push(value),
    },
  ];
}

/** Runs a test of every way. */
function each(
  title: string,
  test: (way: Way, found: { value: number | undefined }) => Promise<void>,
): void {
  for (const { name } of ways({ value: undefined })) {
    Deno.test(`wait: ${name}: ${title}`, async () => {
      const found = { value: undefined };
      const way = ways(found).find((way) => way.name === name)!;
      await test(way, found);
      way.end?.();
    });
  }
}

each("the news ends it, with nothing left behind", async (way) => {
  const counted = new CountedSignal();
  const wait = way.wait({ signal: counted.signal, deadline: 60_000 });
  assertEquals(counted.listeners, 1);
  way.give(7);
  assertEquals([await wait, counted.listeners, way.waiting?.() ?? 0], [7, 0, 0]);
});

each("deadline 0 takes what comes in the same turn, else it is over", async (way) => {
  const wait = way.wait({ deadline: 0 });
  way.give(7);
  assertEquals(await wait, 7);
  const error = await assertRejects(() => way.wait({ deadline: 0 }), VireoError);
  assertEquals(error.code, "TIMEOUT");
  assertEquals(error.message.startsWith("Timed out after 0 ms waiting for "), true);
});

each("a look at the last moment ends it well", async (way, found) => {
  const wait = way.wait({ deadline: 5 });
  found.value = 9;
  assertEquals(await wait, 9);
  assertEquals(way.waiting?.() ?? 0, 0);
});

each("a signal aborted before it begins", async (way) => {
  const counted = new CountedSignal();
  counted.controller.abort(new Error("before"));
  await assertRejects(() => way.wait({ signal: counted.signal }), Error, "before");
  assertEquals([counted.most, way.waiting?.() ?? 0], [0, 0]);
});

each("a signal aborted while it waits", async (way) => {
  const counted = new CountedSignal();
  const wait = way.wait({ signal: counted.signal, deadline: 60_000 });
  assertEquals(counted.listeners, 1);
  counted.controller.abort(new Error("during"));
  await assertRejects(() => wait, Error, "during");
  assertEquals([counted.listeners, way.waiting?.() ?? 0], [0, 0]);
});

each("a signal aborted after it ended", async (way) => {
  const counted = new CountedSignal();
  const wait = way.wait({ signal: counted.signal, deadline: 60_000 });
  way.give(3);
  assertEquals([await wait, counted.listeners, counted.most], [3, 0, 1]);
  counted.controller.abort(new Error("after"));
  const late = way.wait({ deadline: 0 });
  assertEquals((await assertRejects(() => late, VireoError)).code, "TIMEOUT");
});

each("the deadline takes the listener away", async (way) => {
  const counted = new CountedSignal();
  const begin = performance.now();
  const error = await assertRejects(
    () => way.wait({ signal: counted.signal, deadline: 5 }),
    VireoError,
  );
  assert(performance.now() - begin >= 5);
  assertEquals([error.code, counted.listeners, counted.most], ["TIMEOUT", 0, 1]);
});

each("a call's later step has only what is left of it", async (way) => {
  const call = within({ deadline: 60_000 });
  const begin = performance.now();
  const rest = { ...call, until: begin + 5 };
  const error = await assertRejects(() => way.wait(rest), VireoError);
  assert(performance.now() - begin < 59_000, "the step began the deadline again");
  assertEquals(error.message.startsWith("Timed out after 60000 ms waiting for "), true);
});

each("a deadline that is not a number of milliseconds is refused", async (way) => {
  for (const deadline of [-1, NaN]) {
    await assertRejects(
      () => way.wait({ deadline }),
      RangeError,
      `Cannot wait for ${deadline} ms: the deadline must be a number >= 0`,
    );
  }
  assertEquals(way.waiting?.() ?? 0, 0);
});

Deno.test("wait: the error says how long, for what, where, and what was seen", async () => {
  const subject: WaitSubject<number> = {
    what: "the device to return the buffer",
    details: () => ({ device: "virtio0", queue: 1, seen: "2 of 3" }),
  };
  const error = await assertRejects(() => waitFor(subject, { deadline: 5 }, () => {}), VireoError);
  assertEquals(
    error.message,
    "Timed out after 5 ms waiting for the device to return the buffer (virtio0, queue 1): saw 2 of 3",
  );
  assertEquals(timedOut("x", 1.23456789).message, "Timed out after 1.235 ms waiting for x");
});

Deno.test("wait: what a look or a beginning throws rejects the wait", async () => {
  const broken = (): never => {
    throw new Error("broken");
  };
  const ended: string[] = [];
  await assertRejects(
    () => waitFor({ what: "x", look: broken }, { deadline: 1 }, () => () => ended.push("look")),
    Error,
    "broken",
  );
  await assertRejects(() => waitFor({ what: "x" }, { deadline: 60_000 }, broken), Error, "broken");
  assertEquals(ended, ["look"]);
});

Deno.test("wait: within keeps the earlier end, and no limit is none", () => {
  const timers = { now: () => 100, after: () => () => {} };
  assertEquals(within({}, 50, timers), { signal: undefined, deadline: 50, until: 150 });
  assertEquals(within({ deadline: 10 }, 50, timers).until, 110);
  assertEquals(within(within({ deadline: 10 }, 50, timers), 5, timers).until, 110);
  assertEquals(within({ deadline: 80, until: 120 }, 50, timers).until, 120);
  assertEquals(within({ deadline: 5, until: 120 }, 50, timers).until, 105);
  assertEquals(timeLeft(within({ deadline: 10 }, 50, timers), timers), 10);
  assertEquals(timeLeft({ signal: undefined, deadline: 1, until: 99 }, timers), 0);
  for (const deadline of [undefined, Infinity, 2 ** 31]) {
    assertEquals(within({ deadline }, undefined, timers).until, Infinity);
  }
  assertEquals(within({ deadline: LONGEST_TIMER }, undefined, timers).until, 100 + LONGEST_TIMER);
  assertThrows(() => within({ deadline: -1 }), RangeError);
});

Deno.test("wait: the time of a wait is in whole milliseconds, to the earlier of its ends", () => {
  const now = performance.now();
  const hour = 3_600_000;
  assertEquals(
    [{}, { until: Infinity }, { deadline: 2 ** 31 }].map(timeOf),
    Array(3).fill(Infinity),
  );
  assertEquals([0, 1.2, LONGEST_TIMER].map((deadline) => timeOf({ deadline })), [
    0,
    2,
    LONGEST_TIMER,
  ]);
  assertEquals(timeOf({ until: now - 5 }), 0);
  for (const deadline of [undefined, 2 * hour, 2 ** 31]) {
    const left = timeOf({ deadline, until: now + hour });
    assert(left > hour - 60_000 && left <= hour && Number.isInteger(left), `${left}`);
  }
  assertEquals(timeOf({ deadline: 5, until: now + hour }), 5);
  assertThrows(() => timeOf({ deadline: -1 }), RangeError);
});

Deno.test("wait: a poll that is aborted before does not look, and one without time looks 16 times", async () => {
  let looks = 0;
  const look = (): boolean => ++looks < 0;
  const signal = AbortSignal.abort(new Error("before"));
  await assertRejects(() => pollUntil(look, { what: "x" }, { signal }), Error, "before");
  assertEquals(looks, 0);
  await assertRejects(() => pollUntil(look, { what: "x" }, { deadline: 0 }), VireoError);
  assertEquals(looks, 16);
});

Deno.test("wait: no limit sets no timer, and the longest one does not fire at once", async () => {
  for (const deadline of [undefined, Infinity, 2 ** 31, 2 ** 31 - 1]) {
    const condition = new Condition();
    let there: number | undefined = undefined;
    const wait = condition.until("a number", () => there, { deadline });
    await pause(3);
    there = 1;
    condition.notify();
    assertEquals(await wait, 1);
  }
});

Deno.test("wait: a condition asks those who came first first, and fails all", async () => {
  const condition = new Condition({ details: () => ({ device: "virtio0" }) });
  let tokens = 0;
  const take = (): true | undefined => tokens > 0 ? (tokens--, true) : undefined;
  const order: number[] = [];
  const waits = [1, 2, 3].map((n) =>
    condition.until("a token", take).then(() => order.push(n), () => order.push(-n))
  );
  tokens = 2;
  condition.notify();
  condition.fail(new Error("gone"));
  await Promise.all(waits);
  assertEquals(order, [1, 2, -3]);
});

Deno.test("wait: a poll looks again when its time is over, and pauses end with the signal", async () => {
  let looks = 0;
  await pollUntil(() => ++looks === 17, { what: "x" }, { deadline: 1 });
  assertEquals(looks, 17);
  const error = await assertRejects(
    () =>
      pollUntil(() => false, { what: "the device to reset", code: "RESET_TIMEOUT" }, {
        deadline: 2,
      }),
    VireoError,
    "Timed out after 2 ms waiting for the device to reset",
  );
  assertEquals(error.code, "RESET_TIMEOUT");
  const counted = new CountedSignal();
  const paused = pause(60_000, counted.signal);
  counted.controller.abort(new Error("enough"));
  await assertRejects(() => paused, Error, "enough");
  assertEquals(counted.listeners, 0);
});

Deno.test("Waiter keeps to the end of a call that has no deadline of its own", async () => {
  const asked: number[] = [];
  const timers = {
    now: () => 100,
    after: (milliseconds: number) => {
      asked.push(milliseconds);
      return () => {};
    },
  };
  for (const options of [{ until: 150 }, { until: 150, deadline: 80 }, { deadline: 50 }]) {
    const waiter = new Waiter<void>({ what: "news", timers }, options).arm();
    assertEquals(waiter.until, 150);
    waiter.resolve();
    await waiter.promise;
  }
  assertEquals(asked, [50, 50, 50]);
  const endless = new Waiter<void>({ what: "news", timers }, {}).arm();
  assertEquals([endless.until, asked.length], [Infinity, 3]);
  endless.resolve();
});

Deno.test("Waiter: one that is over stays as it ended, and its place is left once", async () => {
  let left = 0;
  const subject = { what: "news", look: () => 2, left: () => void left++ };
  const first = new Waiter<number>(subject, { deadline: 60_000 }).arm();
  first.resolve(1);
  first.reject(new Error("late"));
  first.giveUp();
  assertEquals([await first.promise, left], [1, 0]);
  const second = new Waiter<number>(subject, { deadline: 60_000 }).arm();
  second.giveUp();
  second.giveUp();
  assertEquals([await second.promise, left], [2, 1]);
});
