/**
 * A host's end of a byte stream by calls instead of Web Streams: no promise and no object a chunk. It may
 * stand wherever a console takes a {@linkcode StreamPort}.
 */
export interface BytePort {
  /** Bytes that the host takes now; 0 holds the guest back until {@linkcode BytePort.onChange}. */
  readonly room: number;
  /**
   * Takes bytes from the guest, at most {@linkcode BytePort.room}. They are the caller's again afterwards, so
   * the host copies what it keeps.
   *
   * @throws If the host's end is broken; what the guest sends from then on is thrown away.
   */
  write(bytes: Uint8Array): void;
  /**
   * Gives the next bytes for the guest, which stay unchanged until the next call.
   *
   * @returns Undefined if there are none now; null after the host closed its end.
   */
  read(): Uint8Array | undefined | null;
  /** Called when there is room again, when there are bytes again, and when the host closed its end. */
  onChange: (() => void) | undefined;
  /** The guest's side is gone for good. */
  close(): void;
}

/**
 * A port that sends the guest's bytes back to the guest, as `loopbackPort` does, and allocates nothing.
 *
 * @param capacity Bytes that may wait for the guest before it must wait itself.
 *
 * @example
 * ```ts
 * import { loopbackBytes } from "@vireo/emu/backends";
 * import { assertEquals } from "@std/assert";
 *
 * const port = loopbackBytes(4);
 * port.write(Uint8Array.of(1, 2, 3));
 * assertEquals([port.room, port.read(), port.read()], [1, Uint8Array.of(1, 2, 3), undefined]);
 * ```
 */
export function loopbackBytes(capacity = 65_536): BytePort {
  return new Loopback(capacity);
}

/** A buffer, and the part of it that was read last: most reads have one length, and a view costs more than they do. */
class Half {
  readonly bytes: Uint8Array;
  view: Uint8Array;

  constructor(capacity: number) {
    this.view = this.bytes = new Uint8Array(capacity);
  }

  first(length: number): Uint8Array {
    if (this.view.length !== length) this.view = this.bytes.subarray(0, length);
    return this.view;
  }
}

/** Two buffers: the guest fills one while it reads the other one. */
class Loopback implements BytePort {
  onChange: (() => void) | undefined;
  #filling: Half;
  #reading: Half;
  #filled = 0;

  constructor(capacity: number) {
    this.#filling = new Half(capacity);
    this.#reading = new Half(capacity);
  }

  get room(): number {
    return this.#filling.bytes.length - this.#filled;
  }

  write(bytes: Uint8Array): void {
    const at = this.#filled;
    this.#filling.bytes.set(bytes, at);
    this.#filled = at + bytes.length;
    if (at === 0) this.onChange?.();
  }

  read(): Uint8Array | undefined {
    const length = this.#filled;
    if (length === 0) return undefined;
    const full = this.#filling;
    this.#filling = this.#reading;
    this.#reading = full;
    this.#filled = 0;
    // It was full, so the guest may be waiting.
    if (length === full.bytes.length) this.onChange?.();
    return full.first(length);
  }

  close(): void {}
}
