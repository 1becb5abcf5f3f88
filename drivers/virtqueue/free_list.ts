/**
 * Keeps free objects for reuse, last in, first out. A plain array loses its memory each time that `pop` empties it, so
 * that the next `push` allocates 150 bytes (tests/machine/allocations_test.ts).
 */
export class FreeList<T> {
  readonly #items: T[] = [];
  #length = 0;

  /** How many there are. */
  get length(): number {
    return this.#length;
  }

  /** Puts one there. */
  push(item: T): void {
    this.#items[this.#length++] = item;
  }

  /** Takes the last one. */
  pop(): T | undefined {
    return this.#length === 0 ? undefined : this.#items[--this.#length];
  }

  /** Takes all. */
  drain(): T[] {
    const all = this.#items.slice(0, this.#length);
    this.#items.length = this.#length = 0;
    return all;
  }
}
