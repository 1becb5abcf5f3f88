import { VireoError } from "@vireo/hal";
import type { WaitOptions } from "../transport/transport.ts";

interface Entry<I, T> {
  readonly item: I;
  readonly resolve: (value: T) => void;
  readonly reject: (error: unknown) => void;
  readonly release: () => void;
}

/** Promises that wait in a row, each with what it waits for, a signal and a deadline. */
export class WaitList<I, T> {
  readonly #entries: Entry<I, T>[] = [];
  readonly #what: string;

  /** Makes an empty row; `what` says in a timeout's message what was waited for. */
  constructor(what: string) {
    this.#what = what;
  }

  /** How many wait. */
  get length(): number {
    return this.#entries.length;
  }

  /** What the first one waits for. */
  get first(): I | undefined {
    return this.#entries[0]?.item;
  }

  /** Waits in the row. */
  wait(item: I, options: WaitOptions): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const { signal, deadline } = options;
    if (signal?.aborted) return Promise.reject(signal.reason);
    let timer: ReturnType<typeof setTimeout> | undefined;
    const leave = (error: unknown): void => {
      const at = this.#entries.indexOf(entry);
      if (at >= 0) this.#entries.splice(at, 1);
      entry.release();
      reject(error);
    };
    const aborted = (): void => leave(signal?.reason);
    const entry: Entry<I, T> = {
      item,
      resolve,
      reject,
      release: () => {
        signal?.removeEventListener("abort", aborted);
        clearTimeout(timer);
      },
    };
    signal?.addEventListener("abort", aborted);
    if (deadline !== undefined) {
      timer = setTimeout(() =>
        leave(
          new VireoError("TIMEOUT", `Cannot wait longer for ${this.#what}`, {
            expected: `within ${deadline} ms`,
          }),
        ), deadline);
    }
    this.#entries.push(entry);
    return promise;
  }

  /** Lets the first one go; false if there is none. */
  resolveFirst(value: T): boolean {
    const entry = this.#entries.shift();
    entry?.release();
    entry?.resolve(value);
    return entry !== undefined;
  }

  /** Rejects the first one. */
  rejectFirst(error: unknown): void {
    const entry = this.#entries.shift();
    entry?.release();
    entry?.reject(error);
  }

  /** Rejects all. */
  rejectAll(error: unknown): void {
    while (this.#entries.length > 0) this.rejectFirst(error);
  }
}
