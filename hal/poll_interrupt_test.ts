import { assert, assertEquals, assertRejects } from "@std/assert";
import { type PollClock, Poller, type PollLine, type PollPolicy } from "./poll_interrupt.ts";

/** A clock whose time passes only where a test lets it: each callback is an event in a list. */
class FakeClock implements PollClock {
  time = 0;
  /** How often it was looked at. */
  looks = 0;
  /** Milliseconds that one look at the clock and one turn of the event loop cost. */
  lookMs = 0.001;
  turnMs = 0.01;
  turns = 0;
  /** How many microtasks pass before a turn; a real event loop lets all of them run first. */
  microtasks = 5;
  sleeps: number[] = [];
  closed = false;
  #soon: (() => void)[] = [];
  #turn: (() => void)[] = [];
  #sleep: { at: number; callback: () => void }[] = [];

  now(): number {
    this.looks++;
    return this.time += this.lookMs;
  }
  soon(callback: () => void): void {
    this.#soon.push(callback);
  }
  turn(callback: () => void): void {
    this.#turn.push(callback);
  }
  sleep(ms: number, callback: () => void): () => void {
    const entry = { at: this.time + ms, callback };
    this.#sleep.push(entry);
    this.sleeps.push(ms);
    return () => void this.#sleep.splice(this.#sleep.indexOf(entry), 1);
  }
  close(): void {
    this.closed = true;
  }
  /** Sleeps that are under way. */
  get asleep(): number {
    return this.#sleep.length;
  }

  /** Runs what an event loop would until `time`, or until nothing is due. */
  async runUntil(time: number): Promise<void> {
    for (;;) {
      await settle(this.microtasks);
      const soon = this.#soon.shift();
      if (soon !== undefined) {
        soon();
        continue;
      }
      if (this.time >= time) return;
      const turn = this.#turn.shift();
      if (turn !== undefined) {
        this.time += this.turnMs;
        this.turns++;
        turn();
        continue;
      }
      const next = this.#sleep.toSorted((a, b) => a.at - b.at)[0];
      if (next === undefined || next.at > time) return;
      this.#sleep.splice(this.#sleep.indexOf(next), 1);
      this.time = Math.max(this.time, next.at);
      next.callback();
    }
  }
}

async function settle(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await Promise.resolve();
}

const NEVER = new AbortController().signal;

Deno.test("Poller resolves a wait that is ready without a turn", async () => {
  const clock = new FakeClock();
  const poller = new Poller({}, clock);
  await poller.line().wait({ signal: NEVER, ready: () => true });
  assertEquals(clock.turns, 0);
  assertEquals(clock.sleeps, []);
});

Deno.test("Poller rejects a wait whose signal is or becomes aborted", async () => {
  const clock = new FakeClock();
  const line = new Poller({}, clock).line();
  const reason = new Error("enough");
  await assertRejects(
    () => line.wait({ signal: AbortSignal.abort(reason), ready: () => true }),
    Error,
    "enough",
  );
  const abort = new AbortController();
  const wait = line.wait({ signal: abort.signal, ready: () => false });
  await clock.runUntil(1);
  abort.abort(reason);
  await assertRejects(() => wait, Error, "enough");
  // Nothing is left to poll, so time can pass without a look.
  const before = clock.turns;
  await clock.runUntil(1000);
  assert(clock.turns <= before + 1);
});

Deno.test("Poller listens to a signal once for all its waits, and ends them all", async () => {
  const clock = new FakeClock();
  const poller = new Poller({}, clock);
  const [line, other] = [poller.line(), poller.line()];
  const abort = new AbortController();
  let listeners = 0;
  const listen = abort.signal.addEventListener.bind(abort.signal);
  abort.signal.addEventListener = (...args: Parameters<typeof listen>) => {
    listeners++;
    listen(...args);
  };
  let ready = false;
  const { signal } = abort;
  const first = line.wait({ signal, ready: () => ready });
  ready = true;
  await clock.runUntil(1);
  await first;
  const waits = [line, line, other].map((line) => line.wait({ signal, ready: () => false }));
  const kept = line.wait({ signal: NEVER, ready: () => clock.time > 50 });
  abort.abort(new Error("enough"));
  for (const wait of waits) await assertRejects(() => wait, Error, "enough");
  assertEquals(listeners, 1);
  await clock.runUntil(1000);
  await kept;
});

Deno.test("Poller finds an answer to a kick within a turn, out of the deepest sleep", async () => {
  const clock = new FakeClock();
  const poller = new Poller({}, clock);
  let ready = false;
  let done = -1;
  const line = poller.line();
  const wait = line.wait({ signal: NEVER, ready: () => ready })
    .then(() => done = clock.time);
  await clock.runUntil(5000);
  assertEquals(clock.sleeps.at(-1), 20);
  const kicked = clock.time;
  ready = true;
  line.kicked();
  await clock.runUntil(kicked + 1);
  await wait;
  assert(done - kicked < 0.1, `added ${done - kicked} ms`);
});

Deno.test("Poller sleeps at most a part of the time that a wait has lasted", async () => {
  const clock = new FakeClock();
  const poller = new Poller({}, clock);
  let ready = false;
  let done = -1;
  void poller.line().wait({ signal: NEVER, ready: () => ready }).then(() => done = clock.time);
  await clock.runUntil(19.9);
  assertEquals(clock.sleeps, [], "no timer while it is busy");
  await clock.runUntil(41);
  assert(clock.sleeps.length > 0);
  ready = true;
  await clock.runUntil(60);
  assert(done >= 41 && done < 41 * 1.2, `done at ${done}`);
});

for (const where of ["memory", "registers"] as const) {
  Deno.test(`Poller is busy again after an answer that it found in ${where} while idle`, async () => {
    const clock = new FakeClock();
    const line = new Poller({}, clock).line();
    let answered = false;
    const ready = (): boolean => answered;
    const first = line.wait({
      signal: NEVER,
      ready,
      ...where === "registers" ? { readyInMemory: () => false } : {},
    });
    await clock.runUntil(500);
    answered = true;
    await clock.runUntil(530);
    await first;
    const [sleeps, turns] = [clock.sleeps.length, clock.turns];
    void line.wait({ signal: NEVER, ready: () => false });
    // Within 20 ms after the answer, which was found at a wake after 500.
    await clock.runUntil(clock.time + 5);
    assert(clock.turns > turns + 10, `${clock.turns - turns} turns`);
    assertEquals(clock.sleeps.length, sleeps);
  });
}

Deno.test("Poller looks at most 50 times a second while idle", async () => {
  const clock = new FakeClock();
  const poller = new Poller({}, clock);
  let looks = 0;
  void poller.line().wait({
    signal: NEVER,
    ready: () => {
      looks++;
      return false;
    },
  });
  await clock.runUntil(1000);
  looks = 0;
  const turns = clock.turns;
  await clock.runUntil(3000);
  assert(looks <= 101, `${looks} looks in 2 s`);
  assertEquals(clock.turns, turns);
});

Deno.test("Poller gives the event loop its turn though a device always answers at once", async () => {
  const clock = new FakeClock();
  clock.microtasks = 40_000;
  const poller = new Poller({ fairMs: 4 }, clock);
  const line = poller.line();
  let waits = 0;
  const loop = (async () => {
    for (; waits < 20_000; waits++) await line.wait({ signal: NEVER, ready: () => true });
  })();
  await clock.runUntil(60);
  await loop;
  // 20 000 waits of one look each are 20 ms: with a turn due every 4 ms.
  assertEquals(clock.turns, 5);
});

Deno.test("Poller polls at once after a kick though it has spun for longer than a turn may be late", async () => {
  const clock = new FakeClock();
  const poller = new Poller({ fairMs: 4 }, clock);
  const line = poller.line();
  let answerAt = Infinity;
  const wait = line.wait({ signal: NEVER, ready: () => clock.now() >= answerAt });
  // The first kick asks for a turn, and each turn for the next one.
  line.kicked();
  await clock.runUntil(10);
  const turns = clock.turns;
  let at = -1;
  void wait.then(() => at = clock.turns);
  answerAt = clock.time + 0.02;
  line.kicked();
  await clock.runUntil(12);
  await wait;
  assert(turns > 1, "it spun");
  assertEquals(at, turns);
});

Deno.test("Poller leaves most of the time to others while it spins, whatever a turn costs", async () => {
  for (const turnMs of [0.009, 0.3]) {
    const clock = new FakeClock();
    clock.turnMs = turnMs;
    const poller = new Poller({}, clock);
    const line = poller.line();
    void line.wait({ signal: NEVER, ready: () => false });
    line.kicked();
    await clock.runUntil(19);
    const share = clock.turns * turnMs / clock.time;
    assert(share > 0.5, `turns of ${turnMs} ms take ${share} of the time`);
  }
});

Deno.test("Poller polls longer after a kick when that finds answers, and shorter when not", async () => {
  const clock = new FakeClock();
  clock.turnMs = 0.3;
  const poller = new Poller({}, clock);
  const line = poller.line();
  let answerAt = Infinity;
  const ready = (): boolean => clock.now() >= answerAt;
  const kick = async (delay: number): Promise<boolean> => {
    const abort = new AbortController();
    const wait = line.wait({ signal: abort.signal, ready }).catch(() => {});
    await clock.runUntil(clock.time + 1);
    const turns = clock.turns;
    answerAt = clock.time + delay;
    let atOnce = false;
    void wait.then(() => atOnce = clock.turns === turns);
    line.kicked();
    await clock.runUntil(clock.time + 3);
    abort.abort(new Error("next"));
    await wait;
    return atOnce;
  };
  for (let i = 0; i < 3; i++) assert(await kick(0.1), "an answer after 100 us is found at once");
  for (let i = 0; i < 9; i++) await kick(1000);
  assert(!await kick(0.1), "bursts that find nothing get short");
  for (let i = 0; i < 10; i++) await kick(0.01);
  assert(await kick(0.1), "and long again when they do");
  for (let i = 0; i < 10; i++) await kick(1000);
  let inRegisters = false;
  void line.wait({ signal: NEVER, ready: () => inRegisters, readyInMemory: () => false });
  await clock.runUntil(clock.time + 1000);
  // In the midst of a sleep.
  clock.time += 10;
  inRegisters = true;
  line.kicked();
  await clock.runUntil(clock.time + 1);
  assert(await kick(0.1), "and when an answer was in registers");
});

Deno.test("Poller that can relax looks on after a burst, with pauses, and gives up", async () => {
  const clock = new FakeClock();
  let pauses = 0;
  const relax = (): void => {
    pauses++;
    clock.time += 0.05;
  };
  const poller = new Poller({ relax }, clock);
  const line = poller.line();
  let answerAt = Infinity;
  const ready = (): boolean => clock.time >= answerAt;
  const kick = async (delay: number): Promise<number> => {
    const wait = line.wait({ signal: NEVER, ready });
    await clock.runUntil(clock.time + 1);
    pauses = 0;
    const { turns } = clock;
    answerAt = clock.time + delay;
    let turn = NaN;
    void wait.then(() => turn = clock.turns - turns);
    line.kicked();
    await clock.runUntil(clock.time + delay + 1);
    answerAt = Infinity;
    return turn;
  };
  assertEquals(await kick(0.6), 0, "no turn of the event loop before the answer");
  assert(pauses >= 8 && pauses <= 12, `${pauses} pauses`);
  assert(await kick(3) > 0);
  assert(pauses <= 20, `${pauses} pauses`);
});

Deno.test("Poller polls after a kick for the kicked device only, if that owes an answer", async () => {
  const clock = new FakeClock();
  clock.turnMs = 0.3;
  const poller = new Poller({}, clock);
  const [disk, net] = [poller.line(), poller.line()];
  let owed = false;
  let looks = 0;
  const ready = (): boolean => (looks++, false);
  void disk.wait({ signal: NEVER, ready, expected: () => owed });
  void net.wait({ signal: NEVER, ready: () => false });
  await clock.runUntil(5000);
  const looksOfKick = async (line = disk): Promise<number> => {
    looks = 0;
    const { time } = clock;
    line.kicked();
    // Without a burst time does not pass, but for the first looks at the clock.
    await clock.runUntil(time + 0.01);
    return looks;
  };
  assertEquals(await looksOfKick(), 0, "it has answered before the kick returned");
  owed = true;
  assert(await looksOfKick() > 100);
  owed = false;
  assert(await looksOfKick(net) > 100, "another device's kick");
});

Deno.test("Poller looks at registers every 2 ms while it spins on memory", async () => {
  const clock = new FakeClock();
  const poller = new Poller({}, clock);
  let registers = 0;
  let memory = 0;
  const line = poller.line();
  void line.wait({
    signal: NEVER,
    ready: () => (registers++, false),
    readyInMemory: () => (memory++, false),
  });
  line.kicked();
  await clock.runUntil(18);
  assert(registers >= 5 && registers <= 10, `${registers} looks at registers`);
  assert(memory > 500, `${memory} looks at memory`);
});

Deno.test("Poller ends the wait whose device is ready and keeps the others", async () => {
  const clock = new FakeClock();
  const poller = new Poller({}, clock);
  const ready = [false, false, false];
  const done: number[] = [];
  ready.forEach((_, i) =>
    void poller.line().wait({ signal: NEVER, ready: () => ready[i]! }).then(() => done.push(i))
  );
  await clock.runUntil(1);
  ready[1] = true;
  await clock.runUntil(2);
  assertEquals(done, [1]);
  ready[0] = ready[2] = true;
  await clock.runUntil(3);
  assertEquals(done.toSorted(), [0, 1, 2]);
});

Deno.test("Poller's own clock wakes, and lets go of everything on dispose", async () => {
  let ready = false;
  {
    using poller = new Poller({ spinMs: 1 });
    const line = poller.line();
    const timer = setTimeout(() => ready = true, 5);
    await line.wait({ signal: AbortSignal.timeout(5000), ready: () => ready });
    clearTimeout(timer);
    const abort = new AbortController();
    const pending = line.wait({ signal: abort.signal, ready: () => false });
    abort.abort(new Error("done"));
    await assertRejects(() => pending, Error, "done");
  }
});

Deno.test("Poller's own clock goes on by turns of the event loop", async () => {
  using poller = new Poller({ spinMs: Infinity });
  let looks = 0;
  const options = { signal: AbortSignal.timeout(5000), ready: () => ++looks > 5 };
  await poller.line().wait(options);
  assertEquals(looks, 6);
});

Deno.test("Poller spends no time on waits that are over, and nothing after it was disposed of", async () => {
  const clock = new FakeClock();
  const poller = new Poller({}, clock);
  const line = poller.line();
  assertEquals(line.polled, true);
  const stop = new AbortController();
  const aborted = assertRejects(() => line.wait({ signal: stop.signal, ready: () => false }));
  // It sleeps, and then has a turn that nobody waits for.
  await clock.runUntil(100);
  line.kicked();
  stop.abort();
  await aborted;
  const before = clock.time;
  await clock.runUntil(101);
  assertEquals(clock.time - before < 0.2, true, `${clock.time - before}`);
  let asked = 0;
  void line.wait({ signal: NEVER, ready: () => (asked++, false) });
  await clock.runUntil(300);
  const sleeps = clock.sleeps.length;
  poller[Symbol.dispose]();
  asked = 0;
  await clock.runUntil(1000);
  assertEquals([asked, clock.sleeps.length, clock.closed], [0, sleeps, true]);
});

Deno.test("Poller looks once after kicks of a turn, at the lines that were kicked", async () => {
  const clock = new FakeClock();
  let soon = 0;
  const { soon: later } = clock;
  clock.soon = (callback) => {
    soon++;
    later.call(clock, callback);
  };
  const poller = new Poller({}, clock);
  const asked: string[] = [];
  const lines = ["a", "b", "c"].map((name) => {
    const line = poller.line();
    const expected = (): boolean => (asked.push(name), false);
    void line.wait({ signal: NEVER, ready: () => false, expected });
    return line;
  });
  await clock.runUntil(500);
  const cases = [[[0], ["a"]], [[1, 1], ["b"]], [[2, 0], ["a", "b", "c"]], [[0, 1, 0], [
    "a",
    "b",
    "c",
  ]]] as const;
  for (const [kicks, expected] of cases) {
    asked.length = soon = 0;
    for (const i of kicks) lines[i]!.kicked();
    assertEquals(soon, 1);
    await clock.runUntil(clock.time);
    // Of several lines all are asked: which of them were kicked is not kept.
    assertEquals(asked, [...expected]);
  }
  poller[Symbol.dispose]();
});

Deno.test("Poller that is kicked while it sleeps does not wake a second time for that sleep", async () => {
  const clock = new FakeClock();
  const poller = new Poller({ spinMs: 1, idleMs: 20 }, clock);
  const line = poller.line();
  let looks = 0;
  void line.wait({
    signal: NEVER,
    ready: () => (looks++, false),
    readyInMemory: () => false,
  });
  await clock.runUntil(200);
  line.kicked();
  await clock.runUntil(clock.time);
  // The kick began a new spin: the sleep that was under way is none any more, and one follows the spin.
  const sleeps = clock.sleeps.length;
  looks = 0;
  await clock.runUntil(clock.time + 1.5);
  assertEquals([clock.sleeps.length - sleeps, looks <= 2], [1, true]);
  poller[Symbol.dispose]();
});

/** A poller on a clock whose looks are an eighth of a millisecond, which sums are exact of, and what it asks. */
class Exact {
  readonly clock = new FakeClock();
  readonly poller: Poller;
  readonly line: PollLine;
  memory = 0;
  registers = 0;
  answered: "memory" | "registers" | undefined;

  constructor(policy: PollPolicy = {}) {
    this.clock.lookMs = 0.125;
    this.poller = new Poller(policy, this.clock);
    this.line = this.poller.line();
  }

  wait(signal = NEVER): Promise<void> {
    return this.line.wait({
      signal,
      ready: () => (this.registers++, this.answered !== undefined),
      readyInMemory: () => (this.memory++, this.answered === "memory"),
    });
  }

  /** What a kick has looked for in memory and in registers, before any turn. */
  async kick(): Promise<[memory: number, registers: number]> {
    this.memory = this.registers = 0;
    this.line.kicked();
    await this.clock.runUntil(this.clock.time);
    return [this.memory, this.registers];
  }
}

/** Looks of a whole burst, of a millisecond at first: at each fourth the clock is asked; and of the shortest. */
const [WHOLE, SHORT] = [33, 5];

Deno.test("Poller polls for a millisecond after a kick, asks the clock at each fourth look, and looks once more", async () => {
  const exact = new Exact();
  void exact.wait();
  assertEquals(await exact.kick(), [WHOLE, 0]);
  // The wait's look at the clock, the kick's, and eight for the burst.
  assertEquals(exact.clock.looks, 10);
});

Deno.test("Poller looks at registers 2 ms after it did, and no sooner", async () => {
  for (const [at, registers] of [[1.875, 0], [2, 1]] as const) {
    const exact = new Exact();
    void exact.wait();
    exact.clock.time = at - 0.125;
    assertEquals(await exact.kick(), [WHOLE, registers], `${at} ms`);
  }
});

Deno.test("Poller ends a wait at once until a turn is due", async () => {
  for (const [at, atOnce] of [[0.875, true], [1, false]] as const) {
    const exact = new Exact({ fairMs: 1 });
    void exact.wait();
    exact.answered = "memory";
    exact.clock.time = at - 0.125;
    let done = false;
    void exact.line.wait({ signal: NEVER, ready: () => true }).then(() => done = true);
    await settle(3);
    assertEquals(done, atOnce, `${at} ms`);
  }
});

Deno.test("Poller sleeps once nothing has happened for the time that it spins", () => {
  for (const [at, sleeps] of [[0.875, []], [1, [1]]] as const) {
    const exact = new Exact({ spinMs: 1 });
    exact.clock.time = at - 0.125;
    void exact.wait();
    assertEquals(exact.clock.sleeps, [...sleeps], `${at} ms`);
  }
});

for (const where of ["memory", "registers"] as const) {
  Deno.test(`Poller's bursts stay whole as long as they find an answer in ${where}, and get short after eight`, async () => {
    const exact = new Exact();
    const round = async (found: boolean): Promise<number> => {
      const stop = new AbortController();
      const wait = exact.wait(stop.signal);
      exact.clock.time += 2;
      exact.answered = found ? where : undefined;
      const [memory] = await exact.kick();
      exact.answered = undefined;
      if (found) await wait;
      else {
        stop.abort();
        await wait.catch(() => {});
      }
      // A turn that nobody waits for, so that the next kick is not one too many.
      await exact.clock.runUntil(exact.clock.time + 0.01);
      return memory;
    };
    for (let i = 0; i < 10; i++) await round(true);
    for (let i = 0; i < 8; i++) assertEquals(await round(false), WHOLE);
    assertEquals(await round(false), SHORT);
  });
}

Deno.test("Poller that can relax does so as long as that finds something, and not after eight times that did not", async () => {
  let pauses = 0;
  let answers = true;
  const exact = new Exact({
    relax: () => {
      pauses++;
      if (answers) exact.answered = "memory";
    },
  });
  const round = async (): Promise<number> => {
    const stop = new AbortController();
    const wait = exact.wait(stop.signal);
    pauses = 0;
    await exact.kick();
    if (exact.answered === undefined) stop.abort();
    await wait.catch(() => {});
    exact.answered = undefined;
    await exact.clock.runUntil(exact.clock.time + 0.01);
    return pauses;
  };
  for (let i = 0; i < 12; i++) assertEquals(await round(), 1);
  answers = false;
  for (let i = 0; i < 8; i++) assert(await round() > 0);
  assertEquals(await round(), 0);
});

Deno.test("Poller that can relax does so for a millisecond from the kick", async () => {
  let pauses = 0;
  const exact = new Exact({ relax: () => pauses++, spinMs: Infinity });
  exact.clock.turnMs = 0;
  void exact.wait();
  // A turn takes one look at the clock or more: a burst is three looks then, and the pauses begin behind it.
  await exact.clock.runUntil(100);
  await exact.kick();
  assertEquals(pauses, 5);
});

Deno.test("Poller does not ask for an answer that it has found in registers", async () => {
  const exact = new Exact({ spinMs: 1 });
  const wait = exact.wait();
  void exact.line.wait({ signal: NEVER, ready: () => false });
  await exact.clock.runUntil(100);
  exact.answered = "registers";
  await exact.clock.runUntil(200);
  await wait;
  assertEquals(exact.registers > 0, true);
  exact.registers = exact.memory = 0;
  await exact.clock.runUntil(300);
  assertEquals([exact.registers, exact.memory], [0, 0]);
});

Deno.test("Poller has one look at the clock before and one behind a turn that nobody waits for", async () => {
  const exact = new Exact();
  const stop = new AbortController();
  const wait = assertRejects(() => exact.wait(stop.signal));
  stop.abort();
  await wait;
  exact.clock.looks = 0;
  await exact.clock.runUntil(exact.clock.time + 0.01);
  assertEquals([exact.clock.turns, exact.clock.looks], [1, 2]);
});

Deno.test("Poller that is kicked, or disposed of, while it sleeps ends that sleep", async () => {
  const clock = new FakeClock();
  const poller = new Poller({}, clock);
  const line = poller.line();
  void line.wait({ signal: NEVER, ready: () => false });
  await clock.runUntil(500);
  assertEquals(clock.asleep, 1);
  line.kicked();
  await clock.runUntil(clock.time);
  assertEquals(clock.asleep, 0);
  // It spins as after an answer.
  const { turns } = clock;
  const sleeps = clock.sleeps.length;
  await clock.runUntil(clock.time + 15);
  assertEquals([clock.sleeps.length - sleeps, clock.turns > turns + 10], [0, true]);
  await clock.runUntil(clock.time + 500);
  assertEquals(clock.asleep, 1);
  poller[Symbol.dispose]();
  assertEquals(clock.asleep, 0);
});

Deno.test("Poller takes no turn with a kick in it for what a turn costs", async () => {
  const clock = new FakeClock();
  const poller = new Poller({ spinMs: Infinity, fairMs: 1000 }, clock);
  const line = poller.line();
  let memory = 0;
  void line.wait({ signal: NEVER, ready: () => (memory++, false) });
  await clock.runUntil(10);
  // Each of these turns takes 5 ms, and begins before a kick whose answer is there.
  clock.turnMs = 5;
  for (let i = 0; i < 30; i++) {
    void line.wait({ signal: NEVER, ready: () => true });
    let ready = false;
    void line.wait({ signal: NEVER, ready: () => ready });
    ready = true;
    line.kicked();
    await clock.runUntil(clock.time + 1);
  }
  memory = 0;
  line.kicked();
  await clock.runUntil(clock.time);
  assert(memory < 400, `${memory} looks, as of a burst of more than 0.1 ms`);
});
