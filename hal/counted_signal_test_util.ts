/** A signal that counts those that listen to it, for tests of what a wait leaves behind. */
export class CountedSignal {
  readonly #controller = new AbortController();
  /** How many listen now. */
  listeners = 0;

  /** The signal. */
  readonly signal: AbortSignal = this.#controller.signal;

  constructor() {
    const { signal } = this;
    const [add, remove] = [signal.addEventListener, signal.removeEventListener];
    signal.addEventListener = (...args: Parameters<typeof add>) => {
      this.listeners++;
      add.apply(signal, args);
    };
    signal.removeEventListener = (...args: Parameters<typeof remove>) => {
      this.listeners--;
      remove.apply(signal, args);
    };
  }

  /** Ends what listens. */
  abort(reason: Error): void {
    this.#controller.abort(reason);
  }
}
