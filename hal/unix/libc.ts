import { VireoError } from "../errors.ts";

const SYMBOLS = {
  __errno_location: { parameters: [], result: "pointer" },
  close: { parameters: ["i32"], result: "i32" },
  dup: { parameters: ["i32"], result: "i32" },
  eventfd: { parameters: ["u32", "i32"], result: "i32" },
  ftruncate: { parameters: ["i32", "i64"], result: "i32" },
  memfd_create: { parameters: ["buffer", "u32"], result: "i32" },
  mmap: { parameters: ["pointer", "usize", "i32", "i32", "i32", "i64"], result: "pointer" },
  munmap: { parameters: ["pointer", "usize"], result: "i32" },
  parkedPoll: {
    name: "poll",
    parameters: ["buffer", "u64", "i32"],
    result: "i32",
    nonblocking: true,
  },
  pread: { parameters: ["i32", "buffer", "usize", "i64"], result: "isize" },
  pwrite: { parameters: ["i32", "buffer", "usize", "i64"], result: "isize" },
  read: { parameters: ["i32", "buffer", "usize"], result: "isize" },
  recv: { parameters: ["i32", "buffer", "usize", "i32"], result: "isize" },
  send: { parameters: ["i32", "buffer", "usize", "i32"], result: "isize" },
  setsockopt: { parameters: ["i32", "i32", "i32", "buffer", "u32"], result: "i32" },
  socketpair: { parameters: ["i32", "i32", "i32", "buffer"], result: "i32" },
  write: { parameters: ["i32", "buffer", "usize"], result: "isize" },
} as const satisfies Deno.ForeignLibraryInterface;

const CLOEXEC = 0x80000;
const AF_UNIX = 1;
const SOCK_STREAM = 1;
const SOL_SOCKET = 1;
const SO_RCVTIMEO = 20;
const SO_SNDTIMEO = 21;
const EFD_NONBLOCK = 0x800;
const MFD_CLOEXEC = 1;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
const POLLIN = 1;
const EINTR = 4;
const EAGAIN = 11;
const PROT_READ_WRITE = 3;
const MAP_SHARED = 1;
const MAP_FAILED = 0xffff_ffff_ffff_ffffn;

/** What a receive call can end with besides a number of bytes. */
export const Received = {
  /** The other side closed the socket. */
  END: 0,
  /** Nothing came in time. */
  NOTHING: -1,
  /** The connection failed. */
  FAILED: -2,
} as const;

/** Memory of a file, mapped into this process. */
export interface Mapping {
  /** Where it is mapped, for {@linkcode Libc.unmap}. */
  readonly pointer: Deno.PointerObject;
  /** The mapped bytes; valid until {@linkcode Libc.unmap}. */
  readonly buffer: ArrayBuffer;
}

/** The few functions of the C library that the qtest target needs; each instance is one handle. */
export class Libc {
  readonly #library: Deno.DynamicLibrary<typeof SYMBOLS>;
  readonly #c: Deno.DynamicLibrary<typeof SYMBOLS>["symbols"];

  /**
   * Opens the C library.
   *
   * @throws {VireoError} `HOST_ERROR` If the processor is not known.
   */
  constructor() {
    const { arch, os } = Deno.build;
    if (os !== "linux") {
      throw new VireoError("HOST_ERROR", "Cannot open the C library", {
        seen: os,
        expected: "linux",
      });
    }
    this.#library = Deno.dlopen(`/lib/${arch}-linux-gnu/libc.so.6`, SYMBOLS);
    this.#c = this.#library.symbols;
  }

  /** Gives the handle back. */
  dispose(): void {
    this.#library.close();
  }

  /** Makes a file that lives in memory, has no name and is not inherited by children. */
  memoryFile(name: string, size: number): number {
    const text = new TextEncoder().encode(`${name}\0`);
    const fd = this.#check("memfd_create", this.#c.memfd_create(text, MFD_CLOEXEC));
    this.#check("ftruncate", this.#c.ftruncate(fd, BigInt(size)));
    return fd;
  }

  /** Writes to a file at an offset. */
  writeAt(fd: number, bytes: Uint8Array<ArrayBuffer>, offset: number): void {
    const length = BigInt(bytes.length);
    this.#check("pwrite", Number(this.#c.pwrite(fd, bytes, length, BigInt(offset))));
  }

  /** Reads up to the length of `bytes` from a file at an offset. */
  readAt(fd: number, bytes: Uint8Array<ArrayBuffer>, offset: number): number {
    const length = BigInt(bytes.length);
    return this.#check("pread", Number(this.#c.pread(fd, bytes, length, BigInt(offset))));
  }

  /** Makes a pair of connected sockets that children do not inherit. */
  socketPair(): [number, number] {
    const pair = new Int32Array(2);
    this.#check("socketpair", this.#c.socketpair(AF_UNIX, SOCK_STREAM | CLOEXEC, 0, pair));
    return [pair[0]!, pair[1]!];
  }

  /** Makes a copy of a descriptor that children started from now on inherit. */
  inheritable(fd: number): number {
    return this.#check("dup", this.#c.dup(fd));
  }

  /** Makes an eventfd. */
  eventFd(): number {
    return this.#check("eventfd", this.#c.eventfd(0, CLOEXEC | EFD_NONBLOCK));
  }

  /** Wakes whoever polls an eventfd. */
  signalEvent(fd: number): void {
    this.#c.write(fd, new BigUint64Array([1n]), 8n);
  }

  /** Takes what an eventfd counted. */
  clearEvent(fd: number): void {
    this.#c.read(fd, new BigUint64Array(1), 8n);
  }

  /** Bounds how long `send` and `receive` on a socket may take. */
  setSocketDeadline(fd: number, milliseconds: number): void {
    const seconds = Math.floor(milliseconds / 1000);
    const micros = Math.max(Math.round((milliseconds - seconds * 1000) * 1000), 1);
    const time = new BigInt64Array([BigInt(seconds), BigInt(micros)]);
    for (const option of [SO_RCVTIMEO, SO_SNDTIMEO]) {
      this.#check("setsockopt", this.#c.setsockopt(fd, SOL_SOCKET, option, time, 16));
    }
  }

  /** Sends all bytes; false if the other side is gone or does not take them in time. */
  send(fd: number, bytes: Uint8Array<ArrayBuffer>, length: number): boolean {
    let rest = bytes;
    let left = length;
    for (;;) {
      const sent = Number(this.#c.send(fd, rest, BigInt(left), MSG_NOSIGNAL));
      if (sent === left) return true;
      if (sent < 0 && this.#errno() !== EINTR) return false;
      if (sent > 0) {
        rest = rest.subarray(sent);
        left -= sent;
      }
    }
  }

  /**
   * Receives what there is, up to `capacity` bytes.
   *
   * @param fd The socket.
   * @param bytes Where to put it.
   * @param capacity The length of `bytes`, as the C library wants it.
   * @param block Whether to wait for the first byte until the socket's deadline.
   * @returns The number of bytes, or one of {@linkcode Received}.
   */
  receive(
    fd: number,
    bytes: Uint8Array<ArrayBuffer>,
    capacity: bigint,
    block: boolean,
  ): number {
    for (;;) {
      const got = Number(this.#c.recv(fd, bytes, capacity, block ? 0 : MSG_DONTWAIT));
      if (got >= 0) return got;
      const errno = this.#errno();
      if (errno === EAGAIN) return Received.NOTHING;
      if (errno !== EINTR) return Received.FAILED;
    }
  }

  /** Resolves when one of two descriptors is readable or closed; waits on a thread of the pool. */
  async readable(a: number, b: number): Promise<void> {
    const list = new Int32Array([a, POLLIN, b, POLLIN]); // struct pollfd: fd, events, revents
    await this.#c.parkedPoll(list, 2n, -1);
  }

  /** Maps a file, shared with whoever else maps it. */
  map(fd: number, size: number): Mapping {
    const pointer = this.#c.mmap(null, BigInt(size), PROT_READ_WRITE, MAP_SHARED, fd, 0n);
    if (pointer === null || Deno.UnsafePointer.value(pointer) === MAP_FAILED) {
      throw this.#error("mmap");
    }
    return { pointer, buffer: Deno.UnsafePointerView.getArrayBuffer(pointer, size) };
  }

  /** Detaches every view of a mapping, then unmaps it: a stale view reads nothing, not freed memory. */
  unmap(mapping: Mapping): void {
    const size = BigInt(mapping.buffer.byteLength);
    mapping.buffer.transfer(0);
    this.#check("munmap", this.#c.munmap(mapping.pointer, size));
  }

  /** Closes a descriptor. */
  close(fd: number): void {
    this.#c.close(fd);
  }

  #errno(): number {
    const pointer = this.#c.__errno_location();
    return pointer === null ? 0 : new Deno.UnsafePointerView(pointer).getInt32();
  }

  #check(call: string, result: number): number {
    if (result < 0) throw this.#error(call);
    return result;
  }

  #error(call: string): VireoError {
    return new VireoError("HOST_ERROR", `The host refused ${call}`, {
      seen: `errno ${this.#errno()}`,
    });
  }
}
