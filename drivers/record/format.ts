import { VireoError } from "@vireo/hal";
import { checkVersion, isDiagnosis, isHeader, isMeta } from "./_checked.ts";

/** Version of the format; a reader refuses any other. */
export const RECORDING_VERSION = 1;

const MAGIC = new TextEncoder().encode("VIREOREC");
/** Magic, version and reserved (16 bits each), length of the JSON header (32 bits). */
const FIXED = MAGIC.length + 8;
/** Bytes that are kept before they are handed out. */
const CHUNK = 1 << 16;
const utf8 = new TextEncoder();

/** Kinds of records. Numbers are LEB128 unless a width is given; addresses have up to 53 bits. */
export const RecordKind = {
  /** Register reads of 1, 2 and 4 bytes: window, offset, value. */
  READ8: 1,
  /** See READ8. */
  READ16: 2,
  /** See READ8. */
  READ32: 3,
  /** Register writes: as reads. */
  WRITE8: 4,
  /** See WRITE8. */
  WRITE16: 5,
  /** See WRITE8. */
  WRITE32: 6,
  /** Memory that a device wrote: ring, address, length, bytes. */
  MEMORY: 7,
  /** An interrupt reached the driver: source; 1 if a poll of memory found it, 2 if one of registers did. */
  INTERRUPT: 8,
  /** The driver allocated memory: size, alignment, address. */
  ALLOC: 9,
  /** A buffer: ring, token, readable elements, all elements, address and length of each, checksum (u32). */
  ADD: 10,
  /** The driver kicked a ring: ring; 1 for a kick in any case. */
  KICK: 11,
  /** The driver took a buffer: ring, token + 1. */
  POP: 12,
  /** The driver looked for a used buffer: ring, answer. */
  LOOK: 13,
  /** Callbacks: ring; 0 off, 1 on, 2 delayed; answer. */
  CALLBACKS: 14,
  /** Something rare, as JSON: length, text. */
  META: 15,
  /** The machine's diagnosis of a device from now on, as JSON: length, text. */
  DIAGNOSIS: 16,
  /** The recording ended in order. */
  END: 17,
  /** Something happened at the host's end of a port: one of {@linkcode HostStepKind}, bytes after their length. */
  HOST: 18,
} as const;

/** Kinds of HOST records. */
export const HostStepKind = {
  /** The program read these bytes. */
  READ: 0,
  /** The port took a write of the program, or its close. */
  WRITTEN: 1,
  /** There was nothing more to read. */
  ENDED: 2,
  /** A read failed, with this message. */
  READ_FAILED: 3,
  /** A write failed, with this message. */
  WRITE_FAILED: 4,
} as const;

/** Something that happened at the host's end of a port. */
export interface HostStep {
  /** One of {@linkcode HostStepKind}. */
  readonly kind: number;
  /** The bytes that were read, or a message in UTF-8. */
  readonly bytes: Uint8Array;
}

/** Description of the machine that was recorded. */
export interface RecordingHeader {
  /** Name of the platform. */
  readonly platform: string;
  /** The nodes, as data. */
  readonly nodes: readonly Readonly<Record<string, unknown>>[];
  /** How devices take addresses. */
  readonly access?: string | undefined;
  /** Data of the program that made it: how the bus was set up, the command, the script. */
  readonly program: unknown;
}

/**
 * Makes the bytes of a recording, and hands them out in chunks.
 *
 * @example
 * ```ts
 * import { RecordKind, RecordReader, RecordWriter } from "@vireo/drivers/record";
 * import { assertEquals } from "@std/assert";
 *
 * const parts: Uint8Array[] = [];
 * const writer = new RecordWriter((bytes) => parts.push(bytes.slice()), {
 *   platform: "emu",
 *   nodes: [],
 *   program: "by hand",
 * });
 * // Token 7 was taken from ring 0.
 * writer.begin(RecordKind.POP);
 * writer.number(0);
 * writer.number(7 + 1);
 * writer.close();
 * const reader = new RecordReader(new Uint8Array(await new Blob(parts as BlobPart[]).arrayBuffer()));
 * assertEquals([reader.header.program, reader.next(), reader.a, reader.b], ["by hand", true, 0, 8]);
 * ```
 */
export class RecordWriter {
  readonly #sink: (bytes: Uint8Array) => void;
  #bytes = new Uint8Array(2 * CHUNK);
  #at = 0;
  #held = -1;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #closed = false;

  /** Whether it ended. */
  get closed(): boolean {
    return this.#closed;
  }

  /** Writes the header. */
  constructor(sink: (bytes: Uint8Array) => void, header: RecordingHeader) {
    this.#sink = sink;
    const json = utf8.encode(JSON.stringify(header));
    const fixed = new Uint8Array(FIXED);
    fixed.set(MAGIC);
    const view = new DataView(fixed.buffer);
    view.setUint16(MAGIC.length, RECORDING_VERSION, true);
    view.setUint32(MAGIC.length + 4, json.length, true);
    sink(fixed);
    sink(json);
  }

  /** Begins a record; only between records are chunks handed out. */
  begin(kind: number): void {
    if (this.#at >= CHUNK) this.flush();
    this.#room(64);
    this.#bytes[this.#at++] = kind;
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.flush();
    });
  }

  /** An integer from 0 to 2^53 - 1. */
  number(value: number): void {
    const bytes = this.#bytes;
    while (value > 0x7fffffff) {
      bytes[this.#at++] = value % 128 | 0x80;
      value = Math.floor(value / 128);
    }
    while (value > 0x7f) {
      bytes[this.#at++] = value & 0x7f | 0x80;
      value >>>= 7;
    }
    bytes[this.#at++] = value;
    if (this.#at + 16 > bytes.length) this.#room(64);
  }

  /** Bytes after their length. */
  blob(bytes: Uint8Array): void {
    this.number(bytes.length);
    this.#room(bytes.length + 64);
    this.#bytes.set(bytes, this.#at);
    this.#at += bytes.length;
  }

  /** A record whose payload is JSON. */
  json(kind: number, value: unknown): void {
    this.begin(kind);
    this.blob(utf8.encode(JSON.stringify(value)));
  }

  /** Holds records back until {@linkcode RecordWriter.drop}. */
  hold(): void {
    this.#held = this.#at;
  }

  /** Drops the records that were held back. */
  drop(): void {
    this.#at = this.#held;
    this.#held = -1;
  }

  /** Hands out what is kept. */
  flush(): void {
    if (this.#at === 0 || this.#closed || this.#held >= 0) return;
    this.#sink(this.#bytes.slice(0, this.#at));
    this.#at = 0;
  }

  /** Ends the recording. */
  close(): void {
    if (this.#closed) return;
    this.begin(RecordKind.END);
    this.stop();
  }

  /** Hands out what is kept, without an end. */
  stop(): void {
    this.flush();
    clearTimeout(this.#timer);
    this.#closed = true;
  }

  #room(bytes: number): void {
    if (this.#at + bytes <= this.#bytes.length) return;
    const larger = new Uint8Array(2 * (this.#at + bytes));
    larger.set(this.#bytes.subarray(0, this.#at));
    this.#bytes = larger;
  }
}

/** Most elements that one buffer can have. */
const MOST_ELEMENTS = 1 << 16;

/**
 * Reads a recording, record by record, up to its end or to where it is cut.
 *
 * @example
 * ```ts
 * import { RecordKind, RecordReader, RecordWriter } from "@vireo/drivers/record";
 * import { assertEquals } from "@std/assert";
 *
 * const bytes: number[] = [];
 * const header = { platform: "emu", nodes: [], program: 1 };
 * const writer = new RecordWriter((part) => bytes.push(...part), header);
 * writer.begin(RecordKind.KICK);
 * writer.number(3);
 * writer.number(0);
 * writer.close();
 * const reader = new RecordReader(Uint8Array.from(bytes));
 * assertEquals([reader.next(), reader.kind, reader.a], [true, RecordKind.KICK, 3]);
 * assertEquals([reader.next(), reader.cut], [false, false]);
 * ```
 */
export class RecordReader {
  /** Description of the machine. */
  readonly header: RecordingHeader;
  /** Kind of the record; 0 at the end of the bytes. */
  kind = 0;
  /** First number. */
  a = 0;
  /** Second number. */
  b = 0;
  /** Third number. */
  c = 0;
  /** Fourth number: of ADD, the checksum. */
  d = 0;
  /** Its bytes, or JSON. */
  bytes: Uint8Array = new Uint8Array(0);
  /** Of ADD: address and length of each element. */
  elements: number[] = [];
  /** Whether the bytes end without an END record. */
  cut = false;
  /** Whether they end because what follows is no record. */
  damaged = false;
  #json: unknown;
  readonly #bytes: Uint8Array;
  #at: number;

  /**
   * Reads the header; {@linkcode RecordReader.next} reads the records.
   *
   * @throws {VireoError} `BAD_MESSAGE` If it is no recording, or one of another version.
   */
  constructor(bytes: Uint8Array) {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    if (bytes.length < FIXED || MAGIC.some((byte, i) => bytes[i] !== byte)) {
      throw new VireoError("BAD_MESSAGE", "Cannot replay the file: it must be a recording");
    }
    const version = view.getUint16(MAGIC.length, true);
    checkVersion(version, RECORDING_VERSION);
    const end = FIXED + view.getUint32(MAGIC.length + 4, true);
    try {
      if (end > bytes.length) throw new RangeError("Cannot read the header: it must be whole");
      const header: unknown = JSON.parse(new TextDecoder().decode(bytes.subarray(FIXED, end)));
      if (!isHeader(header)) {
        throw new RangeError(
          "Cannot read the header: it must have a machine, its nodes and a program",
        );
      }
      this.header = header;
    } catch (cause) {
      throw new VireoError("BAD_MESSAGE", "Cannot read the header of the recording", { cause });
    }
    this.#bytes = bytes;
    this.#at = end;
  }

  /** Reads the next record; false at the end. */
  next(): boolean {
    // 0 is no record: past the end the recording is cut.
    this.kind = this.#bytes[this.#at++] ?? 0;
    if (this.kind === RecordKind.END) return false;
    if (!this.#payload()) {
      this.kind = 0;
      this.cut = true;
      this.damaged = this.#at <= this.#bytes.length;
      this.#at = this.#bytes.length;
      return false;
    }
    return true;
  }

  /** The JSON of a META or DIAGNOSIS record. */
  json(): unknown {
    return this.#json;
  }

  #payload(): boolean {
    switch (this.kind) {
      case RecordKind.READ8:
      case RecordKind.READ16:
      case RecordKind.READ32:
      case RecordKind.WRITE8:
      case RecordKind.WRITE16:
      case RecordKind.WRITE32:
      case RecordKind.ALLOC:
      case RecordKind.CALLBACKS:
        this.a = this.#number();
        this.b = this.#number();
        this.c = this.#number();
        return this.#at <= this.#bytes.length;
      case RecordKind.INTERRUPT:
      case RecordKind.KICK:
      case RecordKind.POP:
      case RecordKind.LOOK:
        this.a = this.#number();
        this.b = this.#number();
        return this.#at <= this.#bytes.length;
      case RecordKind.MEMORY:
        this.a = this.#number();
        this.b = this.#number();
        return this.#blob();
      case RecordKind.HOST:
        this.a = this.#number();
        return this.a <= HostStepKind.WRITE_FAILED && this.#blob();
      case RecordKind.META:
        return this.#blob() && this.#parse(isMeta);
      case RecordKind.DIAGNOSIS:
        return this.#blob() && this.#parse(isDiagnosis);
      case RecordKind.ADD: {
        this.a = this.#number();
        this.b = this.#number();
        this.c = this.#number();
        const count = this.#number();
        if (count > MOST_ELEMENTS) return false;
        this.elements = [];
        for (let i = 0; i < 2 * count; i++) this.elements.push(this.#number());
        this.d = this.#number();
        return this.#at <= this.#bytes.length;
      }
      default:
        return false;
    }
  }

  #parse(passes: (value: unknown) => boolean): boolean {
    try {
      this.#json = JSON.parse(new TextDecoder().decode(this.bytes));
    } catch {
      return false;
    }
    return passes(this.#json);
  }

  #blob(): boolean {
    const length = this.#number();
    const end = this.#at + length;
    if (end > this.#bytes.length) {
      this.#at = end;
      return false;
    }
    this.bytes = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return true;
  }

  /** Past the end of the bytes it reads zeroes, and the place is past the end. */
  #number(): number {
    let value = 0;
    for (let scale = 1;; scale *= 128) {
      const byte = this.#bytes[this.#at++] ?? 0;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80 || scale > 2 ** 49) return value;
    }
  }
}
