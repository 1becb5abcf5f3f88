import { RecordKind, type RecordReader } from "./format.ts";

/** A record, and whose it is. */
export class PlayedRecord {
  readonly kind: number;
  readonly a: number;
  readonly b: number;
  readonly c: number;
  readonly d: number;
  readonly bytes: Uint8Array;
  readonly elements: readonly number[];
  /** Name of the node that it is about; empty for memory that a driver allocates. */
  readonly node: string;
  /** Whether it was played. */
  done = false;
  readonly #json: unknown;

  constructor(reader: RecordReader, node: string) {
    this.kind = reader.kind;
    this.a = reader.a;
    this.b = reader.b;
    this.c = reader.c;
    this.d = reader.d;
    this.bytes = reader.bytes;
    this.elements = reader.elements;
    this.node = node;
    this.#json = reader.json();
  }

  /** The payload of META and DIAGNOSIS records. */
  json(): Record<string, unknown> {
    return this.#json as Record<string, unknown>;
  }
}

/** Stands for the host's end of a port, whose records are of no node. */
const HOST = "the host";
/** Played records at the front that are kept before they are thrown away together. */
const SLACK = 1024;

/** The records that were not played yet, in order. Those of different nodes may be played in another order. */
export class RecordQueue {
  readonly #reader: RecordReader;
  #records: PlayedRecord[] = [];
  #head = 0;
  readonly #windows: string[] = [];
  readonly #rings: string[] = [];
  readonly #sources: string[] = [];

  constructor(reader: RecordReader) {
    this.#reader = reader;
  }

  /** Whether the recording ends without its END. */
  get cut(): boolean {
    return this.#reader.cut;
  }

  /** Whether it ends because what follows is no record. */
  get damaged(): boolean {
    return this.#reader.damaged;
  }

  /** The first record that was not played. */
  front(): PlayedRecord | undefined {
    while (this.#records[this.#head]?.done) this.#head++;
    if (this.#head > SLACK) {
      this.#records.splice(0, this.#head);
      this.#head = 0;
    }
    if (this.#head === this.#records.length && !this.#read()) return undefined;
    return this.#records[this.#head];
  }

  /** The first record that was not played and is of this node, or such a one; reads on if it must. */
  find(
    node: string,
    such: (record: PlayedRecord) => boolean = () => true,
  ): PlayedRecord | undefined {
    for (let i = this.#head;; i++) {
      if (i === this.#records.length && !this.#read()) return undefined;
      const record = this.#records[i]!;
      if (!record.done && record.node === node && such(record)) return record;
    }
  }

  #read(): boolean {
    const reader = this.#reader;
    if (!reader.next()) return false;
    this.#records.push(new PlayedRecord(reader, this.#nodeOf(reader)));
    return true;
  }

  #nodeOf(reader: RecordReader): string {
    const { kind, a } = reader;
    switch (kind) {
      case RecordKind.META:
        return this.#meta(reader.json() as Record<string, never>);
      case RecordKind.DIAGNOSIS:
        return (reader.json() as { node: string }).node;
      case RecordKind.ALLOC:
        return "";
      case RecordKind.HOST:
        return HOST;
      case RecordKind.INTERRUPT:
        return this.#sources[a] ?? "";
      case RecordKind.MEMORY:
      case RecordKind.ADD:
      case RecordKind.KICK:
      case RecordKind.POP:
      case RecordKind.LOOK:
      case RecordKind.CALLBACKS:
        return this.#rings[a] ?? "";
      default:
        return this.#windows[a] ?? "";
    }
  }

  /** Learns the numbers that a node's windows, rings and interrupts have. */
  #meta(meta: Readonly<Record<string, unknown>>): string {
    const node = String(meta["node"] ?? meta["slot"]);
    const { window, ring, source, given } = meta;
    if (typeof window === "number") this.#windows[window] = node;
    if (typeof ring === "number") this.#rings[ring] = node;
    if (typeof source === "number") this.#sources[source] = node;
    for (const message of (given ?? []) as { source: number }[]) {
      this.#sources[message.source] = node;
    }
    return node;
  }
}
