import type { Chain, DeviceQueue } from "../../device.ts";
import type { BlkOrder } from "./config.ts";

interface Held {
  readonly queue: DeviceQueue;
  readonly chain: Chain;
}

/** Serves one request; true if the queue must be signalled. */
type Serve = (queue: DeviceQueue, chain: Chain) => boolean;

/** Keeps requests back and serves them in another order or later, as a real disk may. */
export class CompletionOrder {
  /** Whether requests are served as they come, so that nothing is ever kept here. */
  readonly immediate: boolean;
  readonly #order: BlkOrder;
  readonly #serve: Serve;
  #list: Held[] = [];
  #random: number;
  #scheduled = false;

  /** Makes an order; `serve` is called for each request in its turn. */
  constructor(order: BlkOrder, seed: number, serve: Serve) {
    this.#order = order;
    this.immediate = order === "in-order";
    this.#serve = serve;
    this.#random = seed >>> 0 || 1;
  }

  /** Requests kept. */
  get held(): number {
    return this.#list.length;
  }

  /** Keeps a request. */
  add(queue: DeviceQueue, chain: Chain): void {
    this.#list.push({ queue, chain });
  }

  /** The queue ran empty: serves what the order says is due. */
  endBatch(): void {
    if (this.#order === "held" || this.#list.length === 0) return;
    if (this.#order === "deferred") return this.#schedule();
    if (this.#order === "reverse") this.#list.reverse();
    if (this.#order === "random") this.#shuffle();
    this.release(this.#list.length);
  }

  /** Serves some of what is kept in a later turn, and the rest in turns after that. */
  #schedule(): void {
    if (this.#scheduled || this.#list.length === 0) return;
    this.#scheduled = true;
    // Two turns: the driver's own turn that kicked must have ended.
    queueMicrotask(() =>
      queueMicrotask(() => {
        this.#scheduled = false;
        this.#shuffle();
        if (this.#list.length > 0) this.release(1 + this.#next() % this.#list.length);
        this.#schedule();
      })
    );
  }

  /** Serves up to `count` kept requests, first ones first. */
  release(count: number): void {
    const due = this.#list.splice(0, count);
    for (const { queue, chain } of due) if (this.#serve(queue, chain)) queue.signal();
  }

  /** Forgets what is kept, of one queue or of all. */
  drop(queue: number | undefined): void {
    this.#list = queue === undefined ? [] : this.#list.filter((held) => held.queue.index !== queue);
  }

  /** xorshift32: seeded, so that a failing order can be played again. */
  #next(): number {
    let x = this.#random;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return this.#random = x >>> 0;
  }

  #shuffle(): void {
    for (let i = this.#list.length - 1; i > 0; i--) {
      const j = this.#next() % (i + 1);
      [this.#list[i], this.#list[j]] = [this.#list[j]!, this.#list[i]!];
    }
  }
}
