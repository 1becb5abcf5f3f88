import { assertEquals, assertRejects } from "@std/assert";
import { Condition } from "./condition.ts";

/** A condition of some tokens, each of which ends one wait, and how often its waits were asked. */
function rig() {
  const state = { tokens: 0, asked: 0 };
  const condition = new Condition();
  const take = (): true | undefined => {
    state.asked++;
    return state.tokens > 0 ? (state.tokens--, true) : undefined;
  };
  const wait = (options = {}) => condition.until("a token", take, options);
  /** How many waits are asked again. */
  const waiting = (): number => {
    const before = state.asked;
    condition.notify();
    return state.asked - before;
  };
  return { state, condition, wait, waiting };
}

Deno.test("condition: a wait that is over is asked no more, however it ended", async () => {
  const { state, condition, wait, waiting } = rig();
  // At once, which is no wait.
  state.tokens = 1;
  await wait();
  assertEquals([state.tokens, waiting()], [0, 0]);
  // By its test.
  const well = [wait(), wait()];
  assertEquals(waiting(), 2);
  state.tokens = 2;
  assertEquals([waiting(), waiting(), state.tokens], [2, 0, 0]);
  await Promise.all(well);
  // By its signal, its deadline, and a failure.
  const stop = new AbortController();
  const aborted = assertRejects(() => wait({ signal: stop.signal }), Error, "enough");
  const failed = assertRejects(() => wait(), Error, "gone");
  const late = assertRejects(() => wait({ deadline: 1 }), Error, "waiting for a token");
  assertEquals(waiting(), 3);
  stop.abort(new Error("enough"));
  assertEquals(waiting(), 2);
  await Promise.all([aborted, late]);
  assertEquals(waiting(), 1);
  condition.fail(new Error("gone"));
  assertEquals(waiting(), 0);
  await failed;
  // By a signal that was aborted before, which is not asked at all; or by options that are none.
  const before = state.asked;
  await assertRejects(() => wait({ signal: stop.signal }), Error, "enough");
  assertEquals(state.asked, before);
  await assertRejects(() => wait({ deadline: -1 }), RangeError);
  assertEquals(waiting(), 0);
});

Deno.test("condition: what a test throws ends its wait only, at once or later", async () => {
  const condition = new Condition();
  const broken = (): never => {
    throw new Error("broken");
  };
  await assertRejects(() => condition.until("it", broken), Error, "broken");
  let test: () => number | undefined = () => undefined;
  const first = assertRejects(() => condition.until("it", () => test()), Error, "broken");
  const values: number[] = [];
  const second = condition.until("it", () => values[0]);
  test = broken;
  condition.notify();
  await first;
  values.push(0);
  condition.notify();
  assertEquals(await second, 0);
});

Deno.test("condition: a test may end other waits, of which those that are left are asked", async () => {
  const condition = new Condition();
  const stop = new AbortController();
  const asked: string[] = [];
  const first = condition.until("it", () => {
    if (asked.push("first") > 1) stop.abort(new Error("enough"));
    return asked.length > 1 ? true : undefined;
  });
  const gone = condition.until("it", () => void asked.push("second"), { signal: stop.signal });
  const rejected = assertRejects(() => gone, Error, "enough");
  const values: number[] = [];
  const third = condition.until("it", () => (asked.push("third"), values[0]));
  asked.length = 1;
  values.push(3);
  condition.notify();
  await first;
  await rejected;
  assertEquals([await third, asked], [3, ["first", "first", "third"]]);
});

Deno.test("condition: a last look may find what the test waits for", async () => {
  let found: number | undefined;
  const condition = new Condition({ look: () => void (found = 7) });
  assertEquals(await condition.until("it", () => found, { deadline: 1 }), 7);
});
