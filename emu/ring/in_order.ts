/** State of a place: nothing completed there, completed, or completed and wholly written. */
const State = { NONE: 0, DONE: 1, FULL: 2 } as const;

/** A completed chain that waits for older ones, as plain data. */
export interface CompletedChain {
  /** Place of its first descriptor in the ring (packed), or of its entry in the available ring. */
  readonly at: number;
  /** Head of the chain, or buffer id. */
  readonly id: number;
  /** Places that it takes. */
  readonly places: number;
  /** Bytes written. */
  readonly written: number;
  /** Whether all that is writable was. */
  readonly full: boolean;
}

/**
 * The chains that a device model completed under IN_ORDER and that the driver was not told of, by the
 * place in the ring where each starts (virtio 1.4 §2.7.9, §2.8.9).
 *
 * A ring looks from its used position on: what is complete there may be used, the rest waits.
 */
export class InOrder {
  readonly #size: number;
  /** Whether one used entry may stand for several chains. */
  readonly batch: boolean;
  readonly #state: Uint8Array;
  readonly #ids: Uint16Array;
  readonly #places: Uint16Array;
  readonly #written: Uint32Array;
  /** The id and the length of the used entry for what {@linkcode InOrder.take} took. */
  id = 0;
  /** Bytes written, of the used entry. */
  written = 0;

  /** Starts with nothing completed, for a ring of `size` places. */
  constructor(size: number, batch: boolean) {
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
   * Takes the chains from a place on that one used entry tells of: one, or as many as follow each
   * other if all but the last were used wholly, which is what the driver takes skipped ones for.
   *
   * @param at The used position.
   * @param taken Told the id of each chain.
   * @returns Places that they take; 0 if nothing is complete there.
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

  /** What waits, for snapshots. */
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
