/** Counts how often the promises are settled that `Promise.withResolvers` makes, until it is disposed of. */
export class CountedSettles implements Disposable {
  /** Calls of `resolve` and `reject`, those that change nothing among them. */
  count = 0;
  readonly #own = Promise.withResolvers;

  constructor() {
    const own = this.#own;
    Promise.withResolvers = <T>(): PromiseWithResolvers<T> => {
      const { promise, resolve, reject } = own.call(Promise) as PromiseWithResolvers<T>;
      const counted = <A>(settle: (value: A) => void) => (value: A): void => {
        this.count++;
        settle(value);
      };
      return { promise, resolve: counted(resolve), reject: counted(reject) };
    };
  }

  [Symbol.dispose](): void {
    Promise.withResolvers = this.#own;
  }
}
