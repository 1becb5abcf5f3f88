/** Milliseconds between two looks at how long an answer has been due. */
const LOOK = 50;

/**
 * How long the answer to an access is waited for. What loops in QEMU is known by the processor time that it spends, which
 * a busy machine does not change; what is stopped only by the clock.
 */
export class Patience {
  /** Milliseconds of a piece of the wait, for the socket. */
  readonly slice: number;
  readonly #deadline: number;
  readonly #busyDeadline: number;
  readonly #busy: () => number;
  #from = 0;

  /**
   * @param deadline Milliseconds in all.
   * @param busyDeadline Milliseconds of QEMU's processor time, from the end of the first slice on.
   * @param busy The processor time that QEMU has spent, in milliseconds.
   */
  constructor(deadline: number, busyDeadline: number, busy: () => number) {
    this.slice = Math.min(LOOK, deadline);
    this.#deadline = deadline;
    this.#busyDeadline = busyDeadline;
    this.#busy = busy;
  }

  /** Whether to wait for another slice, after so many without an answer: 1 after the first. */
  lasts(slices: number): boolean {
    if (slices * this.slice >= this.#deadline) return false;
    if (this.#busyDeadline === Infinity) return true;
    if (slices === 1) this.#from = this.#busy();
    return this.#busy() - this.#from < this.#busyDeadline;
  }
}

/** Milliseconds of a clock tick in `/proc/PID/stat` (Linux's `USER_HZ`). */
const TICK = 10;

/**
 * The processor time that a process has spent, in milliseconds; 0 if there is none of that id.
 *
 * @param stat Its `/proc/PID/stat` (proc_pid_stat(5)): fields 14 and 15 are ticks in user and kernel mode.
 */
export function processorTime(stat: string): number {
  // The name in parentheses may have any character.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11] ?? 0) + Number(fields[12] ?? 0)) * TICK;
}
