import type { Mmio } from "@vireo/hal";

/** Something that the raw driver did, as plain data: enough to do it again. */
export type LogEntry =
  | {
    readonly op: "read" | "write";
    /** Name of the window: `mmio`, `config`, `bar0` to `bar5`. */
    readonly window: string;
    readonly offset: number;
    readonly width: 1 | 2 | 4;
    readonly value: number;
    /** The place in the arena that the value stands for: its low or high word, or its page. */
    readonly place?: { readonly at: number; readonly part: PlacePart };
  }
  /** A message to a back end, as a call of the lease; addresses are sums with `A`, the arena's. */
  | { readonly op: "call"; readonly code: string }
  | { readonly op: "bytes"; readonly at: number; readonly bytes: Uint8Array }
  /** Eight bytes of memory that hold an address in the arena. */
  | { readonly op: "pointer"; readonly at: number; readonly to: number }
  | { readonly op: "note"; readonly text: string };

/** Which part of an address a register takes. */
export type PlacePart = "low" | "high" | "page";

/** Entries kept; a check that makes more has said enough by then. */
const LENGTH = 4000;

/** Actions of the raw driver since the check began. */
export class Log {
  readonly #entries: LogEntry[] = [];

  /** The entries, oldest first. */
  get entries(): readonly LogEntry[] {
    return this.#entries;
  }

  /** Adds an entry. */
  add(entry: LogEntry): void {
    if (this.#entries.length < LENGTH) this.#entries.push(entry);
  }

  /** Forgets all. */
  clear(): void {
    this.#entries.length = 0;
  }
}

/** A register window that notes each access. */
export class LoggedWindow {
  /** Name of it in the log. */
  readonly name: string;
  readonly #window: Mmio;
  readonly #log: Log;

  /** Notes accesses of a window in a log. */
  constructor(name: string, window: Mmio, log: Log) {
    this.name = name;
    this.#window = window;
    this.#log = log;
  }

  /** Bytes of the window. */
  get size(): number {
    return this.#window.size;
  }

  /** Reads 1, 2 or 4 bytes. */
  read(offset: number, width: 1 | 2 | 4): number {
    const value = width === 1
      ? this.#window.read8(offset)
      : width === 2
      ? this.#window.read16(offset)
      : this.#window.read32(offset);
    this.#log.add({ op: "read", window: this.name, offset, width, value });
    return value;
  }

  /** Writes 1, 2 or 4 bytes; `place` tells which address the value is a part of. */
  write(
    offset: number,
    width: 1 | 2 | 4,
    value: number,
    place?: { readonly at: number; readonly part: PlacePart },
  ): void {
    this.#log.add({
      op: "write",
      window: this.name,
      offset,
      width,
      value,
      ...(place === undefined ? {} : { place }),
    });
    if (width === 1) this.#window.write8(offset, value & 0xff);
    else if (width === 2) this.#window.write16(offset, value & 0xffff);
    else this.#window.write32(offset, value >>> 0);
  }
}
