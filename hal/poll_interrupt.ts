import { clearImmediate, setImmediate } from "node:timers";
import type { Interrupt, InterruptWait } from "./interrupt.ts";
import { LookLuck } from "./look_luck.ts";

/** The parts of its machine that a poller uses; tests pass their own. */
export interface PollClock {
  /** Milliseconds since some start, with fractions. */
  now(): number;
  /** Calls back after the running task's promises have settled, before any timer or input. */
  soon(callback: () => void): void;
  /** Calls back after one turn of the event loop, in which timers and input run. */
  turn(callback: () => void): void;
  /**
   * Calls back after at least `ms` milliseconds.
   *
   * @returns Cancels the call.
   */
  sleep(ms: number, callback: () => void): () => void;
  /** Releases what the clock holds. */
  close(): void;
}

/** How a poller spends its time. Each default is based on a measurement, which its comment names. */
export interface PollPolicy {
  /**
   * Milliseconds for which the poller keeps spinning after the last activity; 20 by default. A timer
   * fires 2 to 4 ms late, so a wait that ends with a timer has already lasted at least five times as long.
   */
  readonly spinMs?: number;
  /** The longest sleep in milliseconds while nothing happens; 20 by default, which is 50 looks a second. */
  readonly idleMs?: number;
  /** Milliseconds after which timers and input get a turn, however busy the device is; 4 by default. */
  readonly fairMs?: number;
  /**
   * Yields the processor for about 50 us; undefined by default. When emulator threads share processors
   * with the poller, polling without a pause keeps them from answering.
   */
  readonly relax?: (() => void) | undefined;
}

/** Bounds in milliseconds for one burst of polls. */
const BURST = { MIN: 0.02, MAX: 1 } as const;

/** A burst lasts at most this fraction of a turn of the event loop, because other work waits for it. */
const TURN_PART = 4;

/**
 * A burst after a kick lasts this many turns, which is about what giving up too early costs. The length
 * must not shrink with the bursts that failed: a few failures in a row then made it too short to ever
 * succeed again, and a disk that answers within 15 to 40 us under TCG was seen 100 us late, at the next turn.
 */
const KICK_TURNS = 2;

/** After a burst that found nothing, a poller that can relax keeps looking for this many milliseconds. */
const RELAXED_MS = 1;

/** Polls between two reads of the clock, each of which costs 3 us under TCG. */
const POLLS_PER_LOOK = 4;

/** A sleep lasts this fraction of the time since the last activity, which bounds how late a wait ends. */
const SLEEP_PART = 8;

/**
 * Milliseconds between two register reads while spinning. A read costs 4 us under TCG and takes QEMU's
 * big lock, which QEMU's I/O needs: when only registers were polled, a request took 2 to 11 ms.
 */
const REGISTERS_MS = 2;

interface Waiter extends Required<Omit<InterruptWait, "repeated" | "serve">> {
  readonly line: PollLine;
  readonly resolve: () => void;
  readonly reject: (reason: unknown) => void;
}

/** The stand-in for one device's interrupt line. */
export interface PollLine extends Interrupt {
  /** Reports that the driver notified this device, so an answer may come at once. Costs a few loads. */
  kicked(): void;
}

/**
 * Stands in for the interrupt lines of all devices of a machine that has no lines.
 *
 * After a kick it polls in a burst, because many devices answer at once; the more often bursts find
 * something, the longer they are. Then it polls once in every turn of the event loop, and while nothing
 * happens it sleeps a little longer each time. A turn costs 1 us natively and 15 to 35 us in a guest
 * under TCG, where a device answers a kick within 30 to 100 us.
 *
 * @example
 * ```ts
 * import { Poller } from "@vireo/hal";
 * import { assertEquals } from "@std/assert";
 *
 * using poller = new Poller();
 * const line = poller.line();
 * let answered = false;
 * setTimeout(() => answered = true, 1);
 * const { signal } = new AbortController();
 * await line.wait({ signal, ready: () => answered });
 * assertEquals(answered, true);
 * ```
 */
export class Poller implements Disposable {
  readonly #clock: PollClock;
  readonly #spinMs: number;
  readonly #idleMs: number;
  readonly #fairMs: number;
  readonly #relax: (() => void) | undefined;
  readonly #waiters: Waiter[] = [];
  /** The signals that the poller listens to. */
  readonly #signals = new WeakSet<AbortSignal>();
  /** Milliseconds that a turn takes when it has no other work. */
  #turnMs: number = BURST.MAX / KICK_TURNS;
  /** Whether no kick came since the turn was requested; a kick would make the turn longer. */
  #turnClean = false;
  /** Of bursts after kicks: a whole one must be worth its time. */
  readonly #luck = new LookLuck();
  #lastActivity = 0;
  #lastTurn = 0;
  #lastAsked = 0;
  #lastRegisters = 0;
  #soonPending = false;
  /** The line that was kicked; undefined if there were several. */
  #kickedLine: PollLine | undefined;
  #turnPending = false;
  #cancelSleep: (() => void) | undefined;

  /**
   * Makes a poller; it does nothing until the first wait.
   *
   * @param policy How to spend time.
   * @param clock Time and the event loop.
   */
  constructor(policy: PollPolicy = {}, clock: PollClock = new EventLoopClock()) {
    this.#clock = clock;
    this.#spinMs = policy.spinMs ?? 20;
    this.#idleMs = policy.idleMs ?? 20;
    this.#fairMs = policy.fairMs ?? 4;
    this.#relax = policy.relax;
  }

  /** Makes the line of one device; any number of waits may be pending on it. */
  line(): PollLine {
    const line: PollLine = {
      polled: true,
      wait: (options) => this.#wait(line, options),
      kicked: () => this.#kicked(line),
    };
    return line;
  }

  #kicked(line: PollLine): void {
    if (this.#waiters.length === 0) return;
    // Kicks of several devices at once are rare; the burst then looks at all of them.
    this.#kickedLine = this.#soonPending && this.#kickedLine !== line ? undefined : line;
    if (this.#soonPending) return;
    this.#soonPending = true;
    this.#clock.soon(this.#onSoon);
  }

  /** Stops polling; each pending wait lasts until its signal ends it. */
  [Symbol.dispose](): void {
    this.#waiters.length = 0;
    this.#cancelSleep?.();
    this.#clock.close();
  }

  #wait(line: PollLine, options: InterruptWait): Promise<void> {
    const { signal, ready, readyInMemory = ready, expected = always } = options;
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason);
      if (readyInMemory() && this.#isFair(this.#clock.now())) return resolve();
      this.#listen(signal);
      this.#waiters.push({ signal, ready, readyInMemory, expected, line, resolve, reject });
      this.#next(this.#clock.now());
    });
  }

  /** Listens to a signal once, however many waits use it: a device has one signal for all its waits. */
  #listen(signal: AbortSignal): void {
    if (this.#signals.has(signal)) return;
    this.#signals.add(signal);
    const onAbort = (): void => {
      for (const waiter of this.#waiters.filter((waiter) => waiter.signal === signal)) {
        this.#waiters.splice(this.#waiters.indexOf(waiter), 1);
        waiter.reject(signal.reason);
      }
    };
    signal.addEventListener("abort", onAbort);
  }

  #onSoon = (): void => {
    this.#soonPending = false;
    if (!this.#expects(this.#kickedLine)) return;
    const now = this.#clock.now();
    this.#lastActivity = now;
    this.#cancelSleep?.();
    this.#cancelSleep = undefined;
    if (!this.#isFair(now)) return;
    this.#turnClean = false;
    const whole = this.#luck.pays;
    const most = Math.min(BURST.MAX, Math.max(BURST.MIN, this.#turnMs * KICK_TURNS));
    const found = this.#burst(now, whole ? most : BURST.MIN) || (whole && this.#lookRelaxed(now));
    this.#luck.count(found);
  };

  /** Polls with pauses, in which the emulator's threads get the processor. */
  #lookRelaxed(start: number): boolean {
    const relax = this.#relax;
    if (relax === undefined) return false;
    do {
      relax();
      if (this.#resolveReady(start)) return true;
    } while (this.#clock.now() - start < RELAXED_MS);
    return false;
  }

  /** Whether a kicked device owes an answer. */
  #expects(line: PollLine | undefined): boolean {
    for (const waiter of this.#waiters) {
      if ((line === undefined || waiter.line === line) && waiter.expected()) return true;
    }
    return false;
  }

  /**
   * Whether the poller may go on before timers and input get their turn, which a device that always
   * answers at once would delay for ever. Requests the turn.
   */
  #isFair(now: number): boolean {
    if (!this.#turnPending) {
      this.#lastTurn = now;
      this.#askTurn(now);
    }
    return now - this.#lastTurn < this.#fairMs;
  }

  #askTurn(now: number): void {
    this.#turnPending = true;
    this.#turnClean = true;
    this.#lastAsked = now;
    this.#clock.turn(this.#onTurn);
  }

  /** Polls every wait until one is ready or the time is over; returns whether one was ready. */
  #burst(start: number, lengthMs: number): boolean {
    let over = false;
    for (let polls = 1; this.#waiters.length > 0; polls++) {
      if (this.#resolveReady(start)) return true;
      // Poll once more after the time is over: this thread may have been off the processor for long.
      if (over) break;
      over = polls % POLLS_PER_LOOK === 0 && this.#clock.now() - start >= lengthMs;
    }
    return start - this.#lastRegisters >= REGISTERS_MS && this.#look(start);
  }

  /** Ends the waits whose answer is visible in memory; returns whether there was one. */
  #resolveReady(now: number): boolean {
    const waiters = this.#waiters;
    let found = false;
    for (let i = waiters.length - 1; i >= 0; i--) {
      const waiter = waiters[i]!;
      if (!waiter.readyInMemory()) continue;
      waiters.splice(i, 1);
      waiter.resolve();
      found = true;
    }
    if (found) this.#lastActivity = now;
    return found;
  }

  /** Checks every wait once, registers included; returns whether one was ready. */
  #look(now: number): boolean {
    this.#lastRegisters = now;
    let found = false;
    for (let i = this.#waiters.length - 1; i >= 0; i--) {
      const waiter = this.#waiters[i]!;
      if (!waiter.ready()) continue;
      this.#waiters.splice(i, 1);
      waiter.resolve();
      this.#lastActivity = now;
      found = true;
    }
    return found;
  }

  #next(now: number): void {
    if (this.#waiters.length === 0 || this.#turnPending || this.#cancelSleep !== undefined) return;
    const quiet = now - this.#lastActivity;
    if (quiet < this.#spinMs) {
      this.#askTurn(now);
    } else {
      const ms = Math.min(this.#idleMs, Math.max(1, quiet / SLEEP_PART));
      this.#cancelSleep = this.#clock.sleep(ms, this.#onWake);
    }
  }

  #onTurn = (): void => {
    this.#turnPending = false;
    const now = this.#clock.now();
    this.#lastTurn = now;
    // A mean over about eight turns, so that one slow task changes it little.
    if (this.#turnClean) {
      this.#turnMs += (Math.min(BURST.MAX, now - this.#lastAsked) - this.#turnMs) / 8;
    }
    this.#burst(now, this.#turnMs / TURN_PART);
    this.#next(this.#clock.now());
  };

  #onWake = (): void => {
    this.#cancelSleep = undefined;
    const now = this.#clock.now();
    this.#look(now);
    this.#next(now);
  };
}

function always(): boolean {
  return true;
}

/**
 * The real clock. A turn is an immediate: in a guest under TCG it costs 15 to 35 us, a message through a
 * `MessageChannel` 55 to 150, and `setTimeout(0)` 2 to 4 ms.
 */
class EventLoopClock implements PollClock {
  #immediate: ReturnType<typeof setImmediate> | undefined;

  now(): number {
    return performance.now();
  }

  soon(callback: () => void): void {
    queueMicrotask(callback);
  }

  turn(callback: () => void): void {
    this.#immediate = setImmediate(callback);
  }

  sleep(ms: number, callback: () => void): () => void {
    const timer = setTimeout(callback, ms);
    return () => clearTimeout(timer);
  }

  close(): void {
    clearImmediate(this.#immediate);
  }
}
