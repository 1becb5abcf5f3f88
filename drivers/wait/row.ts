/** An object that can stand in a {@linkcode Row}, linked with its neighbours. */
export interface Linked<E> {
  /** Whether it is in a row. */
  inRow: boolean;
  previous: E | undefined;
  next: E | undefined;
}

/** Objects one behind the other, in the order of arrival: an array that becomes empty loses its memory each time. */
export class Row<E extends Linked<E>> {
  #first: E | undefined;
  #last: E | undefined;
  #length = 0;

  /** How many there are. */
  get length(): number {
    return this.#length;
  }

  /** The one that has been there longest. */
  get first(): E | undefined {
    return this.#first;
  }

  /** Puts one at the end. */
  append(entry: E): void {
    entry.inRow = true;
    entry.previous = this.#last;
    entry.next = undefined;
    if (this.#last === undefined) this.#first = entry;
    else this.#last.next = entry;
    this.#last = entry;
    this.#length++;
  }

  /** Takes one out if it is in the row. It still links those behind it, for whoever walks along the row. */
  remove(entry: E): void {
    if (!entry.inRow) return;
    entry.inRow = false;
    const { previous, next } = entry;
    if (previous === undefined) this.#first = next;
    else previous.next = next;
    if (next === undefined) this.#last = previous;
    else next.previous = previous;
    this.#length--;
  }
}
