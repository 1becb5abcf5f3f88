/** What to wait for. */
export interface InterruptWait {
  /** Ends the wait with the signal's reason. */
  readonly signal: AbortSignal;
  /**
   * Whether the device has something for the driver. A machine without interrupt lines asks this
   * again and again (spinning a little, then backing off); one with lines never calls it.
   */
  readonly ready: () => boolean;
  /**
   * The same by looking at memory alone, if that says most of it: a register access stops the machine
   * that emulates it, so a poller asks this while it spins and `ready` now and then.
   */
  readonly readyInMemory?: () => boolean;
  /**
   * Whether the device still owes an answer to what it was notified of; true by default. Often a
   * device answers before the notification returns, and then a poller need not look for more.
   */
  readonly expected?: () => boolean;
}

/** The interrupt line of one device, or what stands in for it. */
export interface Interrupt {
  /** Whether {@linkcode Interrupt.wait} polls because the machine delivers no interrupts. */
  readonly polled: boolean;
  /**
   * Resolves when the line is, or becomes, active; at once if it already is. Spurious wake-ups are
   * allowed.
   *
   * @throws The signal's reason if it is aborted.
   */
  wait(options: InterruptWait): Promise<void>;
}
