/** State of a place: no completed chain, a completed one, or one that was also written to its end. */
const State = { NONE: 0, DONE: 1, FULL: 2 } as const;

/** A completed chain that waits for older ones, as plain data. */
export interface CompletedChain {
  /** Place of its first descriptor in the ring (packed), or of its entry in the available ring. */
  readonly at: number;
  /** Head of the chain, or buffer id. */
  readonly id: number;
  /** Number of places that it occupies. */
  readonly places: number;
  /** Bytes written. */
  readonly written: number;
  /** Whether the device wrote the whole writable part. */
  readonly full: boolean;
}

/**
 * The chains that a device model completed under IN_ORDER and that the driver has not seen yet, by the
 * place in the ring where each starts (virtio 1.4 §2.7.9, §2.8.9).
 *
 * The ring uses completed chains from its used position on; the others wait for older chains.
 */
export class InOrder {
  readonly #size: number;
  /** Whether one used entry may stand for several chains. */
  readonly batch: boolean;
  readonly #state: Uint8Array;
  readonly #ids: Uint16Array;
  readonly #places: Uint16Array;
  readonly #written: Uint32Array;
  /** The id in the used entry for the chains that {@linkcode InOrder.take} took. */
  id = 0;
  /** Bytes written, as in that used entry. */
  written = 0;

  /** Starts with nothing completed, for a ring of `size` places. */
  constructor(size: number, batch = false) {
    this.#size = size;
    this.batch = batch;
    this.#state = new Uint8Array(size);
    this.#ids = new Uint16Array(size);
    this.#places = new Uint16Array(size);
    this.#written = new Uint32Array(size);
  }

  /** Notes a chain that is complete. */
  complete(at: number, id: number, places: number, written: number, full: boolean): void {
    this.#state[at] = full ? State.FULL : State.DONE;
    this.#ids[at] = id;
    this.#places[at] = places;
    this.#written[at] = written;
  }

  /**
   * Takes the chains that one used entry can stand for: one chain, or several consecutive ones if all but
   * the last were written to their end, which the driver assumes of chains without an entry.
   *
   * @param at The used position.
   * @param taken Receives the id of each chain.
   * @returns Number of places that the chains occupy; 0 if the chain at the position is not complete.
   */
  take(at: number, taken: (id: number) => void): number {
    const state = this.#state;
    let places = 0;
    let now: number = state[at]!;
    while (now !== State.NONE) {
      state[at] = State.NONE;
      this.id = this.#ids[at]!;
      this.written = this.#written[at]!;
      taken(this.id);
      const step = this.#places[at]!;
      places += step;
      if (!this.batch || now !== State.FULL) break;
      at += step;
      if (at >= this.#size) at -= this.#size;
      now = state[at]!;
    }
    return places;
  }

  /** Whether a chain that starts at a place is complete. */
  has(at: number): boolean {
    return this.#state[at] !== State.NONE;
  }

  /** The waiting chains, for snapshots. */
  waiting(): CompletedChain[] {
    const found: CompletedChain[] = [];
    for (let at = 0; at < this.#size; at++) {
      if (this.#state[at] === State.NONE) continue;
      found.push({
        at,
        id: this.#ids[at]!,
        places: this.#places[at]!,
        written: this.#written[at]!,
        full: this.#state[at] === State.FULL,
      });
    }
    return found;
  }
}
