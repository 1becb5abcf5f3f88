/** After so many looks in a row that found nothing, only one in PROBE is made. */
const MISSES = 8;
const PROBE = 32;

/** Whether to look at once for what may come soon: as long as that often finds something. */
export class LookLuck {
  /** Looks that found nothing, in a row; those that were not made count too. */
  #misses = 0;

  /** Whether the next look is worth its time. */
  get pays(): boolean {
    return this.#misses < MISSES || this.#misses % PROBE === 0;
  }

  /** Counts a look. */
  count(found: boolean): void {
    this.#misses = found ? 0 : this.#misses + 1;
  }
}
