import { type Libc, POLLIN } from "./libc.ts";

/** 32-bit words of `struct pollfd`. */
const ENTRY = 2;

/** A descriptor that is watched. */
interface Watch {
  readonly fd: number;
  readonly ready: () => void;
}

/**
 * Watches descriptors, all of them by one call that is parked on one thread of the pool: nothing runs
 * while nothing comes.
 *
 * @example
 * ```ts
 * import { Libc, Poller } from "@vireo/hal/vhost-user";
 *
 * const libc = new Libc();
 * const event = libc.eventFd();
 * {
 *   await using poller = new Poller(libc);
 *   const { promise, resolve } = Promise.withResolvers<void>();
 *   using _watch = poller.watch(event, resolve);
 *   libc.signalEvent(event);
 *   await promise;
 * }
 * libc.close(event);
 * libc.dispose();
 * ```
 */
export class Poller implements AsyncDisposable {
  readonly #libc: Libc;
  readonly #wakeFd: number;
  readonly #watches = new Set<Watch>();
  #list = new Int32Array(ENTRY);
  #listed: readonly Watch[] = [];
  #stale = true;
  #parked = false;
  #closed = false;
  #loop: Promise<void> | undefined;

  /** Makes a poller that watches nothing. */
  constructor(libc: Libc) {
    this.#libc = libc;
    this.#wakeFd = libc.eventFd();
  }

  /**
   * Watches a descriptor until the watch is disposed, which comes before the descriptor is closed.
   *
   * @param ready Called in a turn of its own while there is something to read, or the other side is
   * gone; it takes what there is, and does not throw.
   */
  watch(fd: number, ready: () => void): Disposable {
    if (this.#closed) throw new TypeError("Cannot watch a descriptor: the poller is closed");
    const watch: Watch = { fd, ready };
    this.#watches.add(watch);
    this.#changed();
    this.#loop ??= this.#run();
    return {
      [Symbol.dispose]: () => {
        if (this.#watches.delete(watch)) this.#changed();
      },
    };
  }

  /** Ends the thread's call and waits for it; at once if nothing was ever watched. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#watches.clear();
    this.#changed();
    if (this.#loop !== undefined) await this.#loop;
    this.#libc.close(this.#wakeFd);
  }

  #changed(): void {
    this.#stale = true;
    if (this.#parked) this.#libc.signalEvent(this.#wakeFd);
  }

  async #run(): Promise<void> {
    while (this.#watches.size > 0) {
      if (this.#stale) this.#relist();
      this.#parked = true;
      await this.#libc.parked(this.#list);
      this.#parked = false;
      const list = this.#list;
      if (list[1]! >>> 16 !== 0) this.#libc.clearEvent(this.#wakeFd);
      for (const [i, watch] of this.#listed.entries()) {
        if (list[ENTRY * (i + 1) + 1]! >>> 16 !== 0 && this.#watches.has(watch)) watch.ready();
      }
    }
    this.#loop = undefined;
  }

  #relist(): void {
    this.#stale = false;
    this.#listed = [...this.#watches];
    const fds = [this.#wakeFd, ...this.#listed.map(({ fd }) => fd)];
    this.#list = Int32Array.from(fds.flatMap((fd) => [fd, POLLIN]));
  }
}
