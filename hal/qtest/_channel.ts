import { hi32, lo32 } from "../bits.ts";
import { VireoError } from "../errors.ts";
import { type Libc, Received } from "../unix/libc.ts";

const NEWLINE = 0x0a;
const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** A register command's text before the digits of its address. */
function prefix(command: string): Uint8Array<ArrayBuffer> {
  return encoder.encode(`${command} 0x`);
}

/** The register commands of the protocol, by width in bytes. */
const READ = { 1: prefix("readb"), 2: prefix("readw"), 4: prefix("readl") } as const;
const WRITE = { 1: prefix("writeb"), 2: prefix("writew"), 4: prefix("writel") } as const;
const IN = { 1: prefix("inb"), 2: prefix("inw"), 4: prefix("inl") } as const;
const OUT = { 1: prefix("outb"), 2: prefix("outw"), 4: prefix("outl") } as const;

const VALUE = encoder.encode(" 0x");
const HEX = encoder.encode("0123456789abcdef");

/** The value of a lower-case hex digit, or NaN. */
function digit(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  return byte >= 0x61 && byte <= 0x66 ? byte - 0x57 : NaN;
}

/** Receives what a channel reports without a request. */
interface ChannelEvents {
  /** A line of the intercepted interrupt controller changed. */
  interrupt(line: number, level: boolean): void;
  /** Returns the text that QEMU has written to its standard error so far. */
  stderr(): string;
  /** The connection is broken for good; called once. */
  broken(error: VireoError): void;
  /** Whether to wait on, after so many times the socket's deadline without an answer; once is enough by default. */
  lasts?(slices: number): boolean;
}

/**
 * QEMU's qtest protocol over a socket, synchronous: one line out, one line back. Interrupt lines that
 * arrive in between are passed to their handler. A register access allocates nothing.
 */
export class QtestChannel {
  readonly #libc: Libc;
  readonly #fd: number;
  readonly #events: ChannelEvents;
  readonly #out = new Uint8Array(256);
  #outLength = 0;
  readonly #in = new Uint8Array(4096);
  readonly #capacity = BigInt(this.#in.length);
  /** The bytes that were received and are not yet read: from start to end. */
  #start = 0;
  #end = 0;
  #error: VireoError | undefined;
  /** How many commands were sent. */
  sent = 0;

  /** Speaks over a connected socket, which the caller closes. */
  constructor(libc: Libc, fd: number, events: ChannelEvents) {
    this.#libc = libc;
    this.#fd = fd;
    this.#events = events;
  }

  /** The error that broke the channel, if any. */
  get error(): VireoError | undefined {
    return this.#error;
  }

  /** Reads a register. */
  read(width: 1 | 2 | 4, address: number): number {
    return this.#get(READ[width], address);
  }

  /** Writes a register. */
  write(width: 1 | 2 | 4, address: number, value: number): void {
    this.#put(WRITE[width], address, value);
  }

  /** Reads an I/O port. */
  readPort(width: 1 | 2 | 4, port: number): number {
    return this.#get(IN[width], port);
  }

  /** Writes an I/O port. */
  writePort(width: 1 | 2 | 4, port: number, value: number): void {
    this.#put(OUT[width], port, value);
  }

  #get(command: Uint8Array, address: number): number {
    this.#begin(command);
    this.#hex(address);
    const length = this.#exchange();
    // "OK 0x" and digits: 16 for a register, from 4 up for a port. The last 8 hold every width.
    const start = this.#start + Math.max(5, length - 8);
    let value = length >= 9 && length <= 21 ? 0 : NaN;
    for (let i = start; i < this.#start + length; i++) value = value * 16 + digit(this.#in[i]!);
    if (Number.isNaN(value)) throw this.#refused(length, "OK and a value");
    this.#finish(length);
    return value;
  }

  #put(command: Uint8Array, address: number, value: number): void {
    this.#begin(command);
    this.#hex(address);
    this.#out.set(VALUE, this.#outLength);
    this.#outLength += VALUE.length;
    this.#hex(value >>> 0);
    const length = this.#exchange();
    if (length !== 2) throw this.#refused(length, "OK");
    this.#finish(length);
  }

  /**
   * Sends any command of the protocol.
   *
   * @returns The text after `OK`.
   * @throws {RangeError} If the text has several lines or is too long.
   */
  command(text: string): string {
    const bytes = encoder.encode(text);
    if (bytes.length >= this.#out.length || text.includes("\n")) {
      throw new RangeError("Cannot send the command: it must be one line of at most 255 bytes");
    }
    this.#begin(bytes);
    const length = this.#exchange();
    const answer = decoder.decode(this.#in.subarray(this.#start, this.#start + length));
    this.#finish(length);
    return answer.slice(3);
  }

  /** Handles interrupt lines that have arrived; never waits. */
  drain(): void {
    if (this.#error !== undefined) return;
    const got = this.#receive(false);
    if (got === Received.END || got === Received.FAILED) {
      this.fail("QEMU ended");
      return;
    }
    this.#takeLines();
  }

  /** Breaks the channel: every later use throws this error. */
  fail(what: string, expected?: string): VireoError {
    if (this.#error === undefined) {
      const said = this.#events.stderr().trim();
      this.#error = new VireoError("HOST_ERROR", what, {
        seen: said === "" ? "nothing on its standard error" : said,
        expected,
      });
      this.#events.broken(this.#error);
    }
    return this.#error;
  }

  #begin(text: Uint8Array): void {
    if (this.#error !== undefined) throw this.#error;
    this.sent++;
    this.#out.set(text);
    this.#outLength = text.length;
  }

  #hex(value: number): void {
    const high = hi32(value);
    const low = lo32(value);
    let at = this.#outLength;
    if (high !== 0) {
      for (let shift = 28; shift >= 0; shift -= 4) this.#out[at++] = HEX[high >>> shift & 15]!;
    }
    for (let shift = 28; shift >= 0; shift -= 4) this.#out[at++] = HEX[low >>> shift & 15]!;
    this.#outLength = at;
  }

  /** Sends the command and returns the length of its answer, which starts at `#start`. */
  #exchange(): number {
    this.#out[this.#outLength] = NEWLINE;
    if (!this.#libc.send(this.#fd, this.#out, this.#outLength + 1)) {
      throw this.fail("QEMU stopped taking commands");
    }
    for (let slices = 0;;) {
      for (let length = this.#line(); length >= 0; length = this.#line()) {
        if (this.#in[this.#start] === 0x4f) return length; // O of OK
        if (!this.#takeInterrupt(length)) throw this.#refused(length, "OK");
      }
      const got = this.#receive(true);
      if (got === Received.NOTHING) {
        if (this.#events.lasts?.(++slices) === true) continue;
        throw this.fail("QEMU did not answer within its deadline");
      }
      if (got <= 0) throw this.fail("QEMU ended instead of answering");
    }
  }

  /** Drops the answer and handles the interrupts that came after it. */
  #finish(length: number): void {
    this.#start += length + 1;
    this.#takeLines();
  }

  #takeLines(): void {
    for (let length = this.#line(); length >= 0; length = this.#line()) {
      if (!this.#takeInterrupt(length)) {
        this.#refused(length, "an interrupt");
        return;
      }
    }
  }

  /** The length of the next whole line without its end, or -1. */
  #line(): number {
    if (this.#start === this.#end) return -1;
    const at = this.#in.indexOf(NEWLINE, this.#start);
    return at < 0 || at >= this.#end ? -1 : at - this.#start;
  }

  #receive(block: boolean): number {
    // Most often nothing is left: every access comes here.
    if (this.#start < this.#end) this.#in.copyWithin(0, this.#start, this.#end);
    this.#end -= this.#start;
    this.#start = 0;
    if (this.#end === this.#in.length) return Received.FAILED; // QEMU sends no line of 4 KiB
    const free = this.#end === 0 ? this.#in : this.#in.subarray(this.#end);
    const capacity = this.#end === 0 ? this.#capacity : BigInt(free.length);
    const got = this.#libc.receive(this.#fd, free, capacity, block);
    this.#end += Math.max(got, 0);
    return got;
  }

  /** Takes `IRQ raise N` or `IRQ lower N`; false if the line is something else. */
  #takeInterrupt(length: number): boolean {
    const text = decoder.decode(this.#in.subarray(this.#start, this.#start + length));
    const match = /^IRQ (raise|lower) (\d+)$/.exec(text);
    if (match === null) return false;
    this.#start += length + 1;
    this.#events.interrupt(Number(match[2]), match[1] === "raise");
    return true;
  }

  /** Breaks the channel: after an answer outside the protocol, later ones cannot be trusted. */
  #refused(length: number, expected: string): VireoError {
    const answer = decoder.decode(this.#in.subarray(this.#start, this.#start + length));
    const command = decoder.decode(this.#out.subarray(0, this.#outLength));
    return this.fail(`QEMU answered '${answer}' to '${command}'`, expected);
  }
}
