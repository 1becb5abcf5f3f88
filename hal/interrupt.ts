/** Options of a wait. */
export interface InterruptWait {
  /** Ends the wait with the signal's reason. */
  readonly signal: AbortSignal;
  /**
   * Whether the caller waits with this signal again and again until it aborts it; false by default. The
   * line may then listen to the signal between the waits too, instead of once a wait.
   */
  readonly repeated?: boolean;
  /**
   * Whether the device has something for the driver. A machine without interrupt lines calls this
   * repeatedly, spinning a little and then backing off; a machine with lines never calls it.
   */
  readonly ready: () => boolean;
  /**
   * The same question answered from memory alone, if memory shows most answers. A register access stops
   * the machine that emulates it, so a poller calls this while it spins, and `ready` only now and then.
   */
  readonly readyInMemory?: () => boolean;
  /**
   * Whether the device still owes an answer to a notification; true by default. A device often answers
   * before the notification returns, and a poller then has nothing to look for.
   */
  readonly expected?: () => boolean;
  /**
   * Serves the interrupt at once, before the wait resolves. A machine that must keep the order of steps exact, such as a
   * recorder, calls this; so does one that cannot afford a promise for each interrupt. Others leave the work to the code
   * behind the wait. A machine that calls it does so each time before the wait ends.
   *
   * @returns Whether there was work: the wait may then go on instead, if the line is not active.
   */
  readonly serve?: () => boolean;
}

/** The interrupt line of one device, or a stand-in for it. */
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
