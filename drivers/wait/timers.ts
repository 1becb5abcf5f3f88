/** Time, so that tests need not wait for it. */
export interface Timers {
  /** Milliseconds since any fixed point. */
  now(): number;
  /**
   * Calls back after some milliseconds.
   *
   * @returns Cancels it.
   */
  after(milliseconds: number, callback: () => void): () => void;
}

/** The machine's own time. */
export const SYSTEM_TIMERS: Timers = {
  now: () => performance.now(),
  after(milliseconds, callback) {
    const timer = setTimeout(callback, milliseconds);
    return () => clearTimeout(timer);
  },
};
