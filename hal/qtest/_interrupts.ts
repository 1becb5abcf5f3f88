import { setImmediate } from "node:timers";
import type { Interrupt, InterruptWait } from "../interrupt.ts";
import { LookLuck } from "../look_luck.ts";
import { type Libc, POLLIN } from "../unix/libc.ts";
import type { QtestChannel } from "./_channel.ts";

/** Milliseconds in which a disk of QEMU's answers; a parked poll takes about 0.04 to start and to end. */
const SOON = 0.1;

/**
 * The intercepted interrupt lines of a board.
 *
 * Their changes arrive on the same socket as the answers to register accesses, so an access sees most of
 * them. While there are waiters and no accesses, one `poll` is parked on a thread; it ends when the
 * socket has data or the last waiter gives up. After an access this thread itself looks for 100 us, as long as
 * that often finds something.
 */
export class InterruptLines {
  readonly #libc: Libc;
  readonly #fd: number;
  readonly #wakeFd: number;
  readonly #channel: QtestChannel;
  readonly #levels = new Map<number, boolean>();
  /** The pulsed inputs, and whether each has a pulse that no waiter has seen. */
  readonly #pulses = new Map<number, boolean>();
  readonly #watchers = new Map<number, () => void>();
  readonly #waiters = new Map<number, Set<PromiseWithResolvers<void>>>();
  #waiting = 0;
  /** The loop that looks for changes. */
  #watching: Promise<void> | undefined;
  /** Whether its poll is parked on a thread. */
  #polling = false;
  /** The commands of the channel when this thread last looked. */
  #sent = 0;
  /** Of looks after a register access. */
  readonly #luck = new LookLuck();
  #error: Error | undefined;

  /** Watches a channel over a socket. */
  constructor(libc: Libc, fd: number, channel: QtestChannel) {
    this.#libc = libc;
    this.#fd = fd;
    this.#channel = channel;
    this.#wakeFd = libc.eventFd();
  }

  /** The interrupt of one input of the controller. */
  line(input: number): Interrupt {
    return { polled: false, wait: (options) => this.#wait(input, options) };
  }

  /**
   * A pulsed interrupt: a pulse without a waiter is kept for the next one. It need not be an input of the
   * controller: see {@linkcode InterruptLines.pulse}.
   */
  openPulsed(input: number): Interrupt {
    this.#pulses.set(input, false);
    return this.line(input);
  }

  /** Forgets a pulsed interrupt. */
  closePulsed(input: number): void {
    this.#pulses.delete(input);
  }

  /** Pulses an interrupt. */
  pulse(input: number): void {
    if (!this.#pulses.has(input)) return;
    const waited = (this.#waiters.get(input)?.size ?? 0) > 0;
    if (!waited) this.#pulses.set(input, true);
    this.#settle(input, (waiter) => waiter.resolve());
  }

  /** Calls back after an input was raised, as soon as registers can be accessed. */
  watch(input: number, callback: () => void): void {
    this.#watchers.set(input, callback);
  }

  /** Sets a line's level; raising it wakes its waiters. */
  set(input: number, level: boolean): void {
    if (this.#pulses.has(input)) {
      if (level) this.pulse(input);
      return;
    }
    this.#levels.set(input, level);
    if (!level) return;
    const watcher = this.#watchers.get(input);
    // The running register access must end first.
    if (watcher !== undefined) queueMicrotask(watcher);
    this.#settle(input, (waiter) => waiter.resolve());
  }

  /** Ends every wait, now and from now on, with this error. */
  fail(error: Error): void {
    this.#error ??= error;
    for (const input of this.#waiters.keys()) {
      this.#settle(input, (waiter) => waiter.reject(this.#error));
    }
  }

  /** Waits for the end of the parked poll and frees what it used; after {@linkcode InterruptLines.fail}. */
  async dispose(): Promise<void> {
    await this.#watching;
    this.#libc.close(this.#wakeFd);
  }

  async #wait(input: number, { signal }: InterruptWait): Promise<void> {
    if (signal.aborted) throw signal.reason;
    if (this.#error !== undefined) throw this.#error;
    if (this.#pulses.get(input)) {
      this.#pulses.set(input, false);
      return;
    }
    if (this.#levels.get(input)) return;
    const waiter = Promise.withResolvers<void>();
    const waiters = this.#waiters.get(input) ?? new Set();
    this.#waiters.set(input, waiters.add(waiter));
    this.#waiting++;
    const abort = () => {
      if (!waiters.delete(waiter)) return;
      if (--this.#waiting === 0) this.#wake();
      waiter.reject(signal.reason);
    };
    signal.addEventListener("abort", abort);
    this.#watching ??= this.#watch();
    try {
      await waiter.promise;
    } finally {
      signal.removeEventListener("abort", abort);
    }
  }

  #settle(input: number, settle: (waiter: PromiseWithResolvers<void>) => void): void {
    const waiters = this.#waiters.get(input);
    if (waiters === undefined || waiters.size === 0) return;
    this.#waiting -= waiters.size;
    waiters.forEach(settle);
    waiters.clear();
    if (this.#waiting === 0) this.#wake();
  }

  /** Ends the parked poll. */
  #wake(): void {
    if (this.#polling) this.#libc.signalEvent(this.#wakeFd);
  }

  async #watch(): Promise<void> {
    while (this.#isWanted()) {
      const soon = await this.#comesSoon();
      // The waiters may have given up in the meantime.
      if (!this.#isWanted()) break;
      if (!soon) await this.#park();
      this.#channel.drain();
    }
    this.#watching = undefined;
  }

  #isWanted(): boolean {
    return this.#waiting > 0 && this.#error === undefined;
  }

  async #park(): Promise<void> {
    this.#polling = true;
    await this.#libc.readable(this.#fd, this.#wakeFd);
    this.#polling = false;
    this.#libc.clearEvent(this.#wakeFd);
  }

  /** Lets drivers do what they have to, and then waits shortly for an answer to that; false if there was none. */
  async #comesSoon(): Promise<boolean> {
    await new Promise<void>((resolve) => setImmediate(resolve));
    const { sent } = this.#channel;
    if (sent === this.#sent) return false;
    this.#sent = sent;
    const found = this.#luck.pays && this.#libc.poll(new Int32Array([this.#fd, POLLIN]), SOON);
    this.#luck.count(found);
    return found;
  }
}
