import { VireoError } from "../errors.ts";

const SYMBOLS = {
  __errno_location: { parameters: [], result: "pointer" },
  strerror: { parameters: ["i32"], result: "pointer" },
  accept4: { parameters: ["i32", "pointer", "pointer", "i32"], result: "i32" },
  bind: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  close: { parameters: ["i32"], result: "i32" },
  connect: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  dup: { parameters: ["i32"], result: "i32" },
  eventfd: { parameters: ["u32", "i32"], result: "i32" },
  // Variadic in C; an integer is passed the same way on both processors.
  fcntl: { parameters: ["i32", "i32", "i32"], result: "i32" },
  ftruncate: { parameters: ["i32", "i64"], result: "i32" },
  getpeername: { parameters: ["i32", "buffer", "buffer"], result: "i32" },
  listen: { parameters: ["i32", "i32"], result: "i32" },
  lseek: { parameters: ["i32", "i64", "i32"], result: "i64" },
  memfd_create: { parameters: ["buffer", "u32"], result: "i32" },
  mmap: { parameters: ["pointer", "usize", "i32", "i32", "i32", "i64"], result: "pointer" },
  munmap: { parameters: ["pointer", "usize"], result: "i32" },
  parkedPoll: {
    name: "poll",
    parameters: ["buffer", "u64", "i32"],
    result: "i32",
    nonblocking: true,
  },
  ppoll: { parameters: ["buffer", "u64", "buffer", "pointer"], result: "i32" },
  pread: { parameters: ["i32", "buffer", "usize", "i64"], result: "isize" },
  pwrite: { parameters: ["i32", "buffer", "usize", "i64"], result: "isize" },
  read: { parameters: ["i32", "buffer", "usize"], result: "isize" },
  recv: { parameters: ["i32", "buffer", "usize", "i32"], result: "isize" },
  recvmsg: { parameters: ["i32", "buffer", "i32"], result: "isize" },
  send: { parameters: ["i32", "buffer", "usize", "i32"], result: "isize" },
  sendmsg: { parameters: ["i32", "buffer", "i32"], result: "isize" },
  setsockopt: { parameters: ["i32", "i32", "i32", "buffer", "u32"], result: "i32" },
  socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
  socketpair: { parameters: ["i32", "i32", "i32", "buffer"], result: "i32" },
  write: { parameters: ["i32", "buffer", "usize"], result: "isize" },
} as const satisfies Deno.ForeignLibraryInterface;

const CLOEXEC = 0x80000;
const NONBLOCK = 0x800;
const AF_UNIX = 1;
/** Bytes of `struct sockaddr_un`, and of its path with the NUL at its end. */
const SOCKADDR_SIZE = 110;
const SOCKET_PATH = 108;
const F_GETFL = 3;
const F_SETFL = 4;
const F_ADD_SEALS = 1033;
const F_GET_SEALS = 1034;
/** `F_SEAL_SHRINK`. */
const NO_SHRINKING = 2;
/** F_SEAL_SEAL, F_SEAL_SHRINK and F_SEAL_GROW. */
const FIXED_SIZE = 7;
const SEEK_END = 2;
const SOCK_STREAM = 1;
const SOL_SOCKET = 1;
const SO_RCVTIMEO = 20;
const SO_SNDTIMEO = 21;
/** MFD_CLOEXEC and MFD_ALLOW_SEALING. */
const MFD_FLAGS = 3;
const MSG_DONTWAIT = 0x40;
const MSG_CMSG_CLOEXEC = 0x40000000;
const MSG_NOSIGNAL = 0x4000;
/** The longest wait of {@linkcode Libc.poll} in milliseconds, 11 days: one for ever is no `struct timespec`. */
const LONGEST_POLL = 1e9;
/** Of `poll`: something can be read. */
export const POLLIN = 1;
const EINTR = 4;
const EAGAIN = 11;
const PROT_READ_WRITE = 3;
const MAP_SHARED = 1;
/** MAP_PRIVATE, MAP_ANONYMOUS and MAP_NORESERVE: addresses that cost no memory until they are used. */
const MAP_NOTHING = 0x4022;
const MAP_FIXED = 0x10;
const MAP_FAILED = 0xffff_ffff_ffff_ffffn;

/** Results of a receive call other than a number of bytes. */
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

/**
 * The few functions of the C library that sockets and shared memory need; each instance is one handle.
 *
 * @example
 * ```ts
 * import { Libc } from "@vireo/hal/vhost-user";
 * import { assertEquals } from "@std/assert";
 *
 * const libc = new Libc();
 * const file = libc.memoryFile("example", 4096);
 * libc.writeAt(file, Uint8Array.of(7), 8);
 * const bytes = new Uint8Array(1);
 * assertEquals([libc.readAt(file, bytes, 8), bytes[0]], [1, 7]);
 * libc.close(file);
 * libc.dispose();
 * ```
 */
export class Libc {
  readonly #library: Deno.DynamicLibrary<typeof SYMBOLS>;
  readonly #c: Deno.DynamicLibrary<typeof SYMBOLS>["symbols"];
  #failure: number | undefined;

  /**
   * Opens the C library.
   *
   * @throws {VireoError} `HOST_ERROR` If the host is not Linux.
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

  /** Closes the handle. */
  dispose(): void {
    this.#library.close();
  }

  /** Makes a file in memory that has no name and that children do not inherit. */
  memoryFile(name: string, size: number): number {
    const text = new TextEncoder().encode(`${name}\0`);
    const fd = this.#check("memfd_create", this.#c.memfd_create(text, MFD_FLAGS));
    try {
      this.#check("ftruncate", this.#c.ftruncate(fd, BigInt(size)));
      return fd;
    } catch (error) {
      this.close(fd);
      throw error;
    }
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

  /** Fixes the size of a memory file for good, so that no process with the file can take pages away. */
  fixSize(fd: number): void {
    this.#check("fcntl", this.#c.fcntl(fd, F_ADD_SEALS, FIXED_SIZE));
  }

  /** Whether no process can make a file shorter: touching its pages never ends this process. */
  keepsSize(fd: number): boolean {
    const seals = this.#c.fcntl(fd, F_GET_SEALS, 0);
    return seals !== -1 && (seals & NO_SHRINKING) !== 0;
  }

  /**
   * Length of a file in bytes.
   *
   * @throws {VireoError} `HOST_ERROR` If the descriptor has none, as a socket.
   */
  fileSize(fd: number): number {
    return this.#check("lseek", Number(this.#c.lseek(fd, 0n, SEEK_END)));
  }

  /** Makes reads and writes of a descriptor return at once, also for the other processes that have it. */
  setNonBlocking(fd: number): void {
    const flags = this.#check("fcntl", this.#c.fcntl(fd, F_GETFL, 0));
    this.#check("fcntl", this.#c.fcntl(fd, F_SETFL, flags | NONBLOCK));
  }

  /**
   * Connects to a unix socket.
   *
   * @throws {VireoError} `HOST_ERROR` If nobody listens there.
   * @throws {RangeError} If the path is empty or longer than 107 bytes.
   */
  connect(path: string): number {
    return this.#unixSocket(path, (fd, address) => {
      this.#check(`connect to ${path}`, this.#c.connect(fd, address, SOCKADDR_SIZE));
    });
  }

  /**
   * Makes a unix socket that listens; {@linkcode Libc.accept} takes the connections.
   *
   * @throws {VireoError} `HOST_ERROR` If the path cannot be made, for example because it exists.
   * @throws {RangeError} If the path is empty or longer than 107 bytes.
   */
  listen(path: string): number {
    return this.#unixSocket(path, (fd, address) => {
      this.#check(`bind to ${path}`, this.#c.bind(fd, address, SOCKADDR_SIZE));
      this.#check("listen", this.#c.listen(fd, 1));
    });
  }

  /** Path of the socket at the other end: empty if it has none, undefined if this is no connected socket. */
  peerPath(fd: number): string | undefined {
    const address = new Uint8Array(SOCKADDR_SIZE);
    if (this.#c.getpeername(fd, address, Uint32Array.of(SOCKADDR_SIZE)) < 0) return undefined;
    const path = address.subarray(2);
    const end = path.indexOf(0);
    return new TextDecoder().decode(end < 0 ? path : path.subarray(0, end));
  }

  /** Takes a connection; undefined if none waits. */
  accept(fd: number): number | undefined {
    const connection = this.#c.accept4(fd, null, null, CLOEXEC | NONBLOCK);
    return connection === -1 ? undefined : connection;
  }

  /** Sends what a `struct msghdr` describes, without waiting: bytes, or one of {@linkcode Received}. */
  sendMessage(fd: number, header: Uint8Array<ArrayBuffer>): number {
    return this.#retried(() => this.#c.sendmsg(fd, header, MSG_NOSIGNAL | MSG_DONTWAIT));
  }

  /** The C library's words for why the last call that sends or receives failed; undefined if it did not. */
  get failure(): string | undefined {
    return this.#failure === undefined ? undefined : this.#words(this.#failure);
  }

  /** Receives into what a `struct msghdr` describes, without waiting: bytes, or one of {@linkcode Received}. */
  receiveMessage(fd: number, header: Uint8Array<ArrayBuffer>): number {
    return this.#retried(() => this.#c.recvmsg(fd, header, MSG_CMSG_CLOEXEC | MSG_DONTWAIT));
  }

  /** Makes a pair of connected sockets that children do not inherit. */
  socketPair(): [number, number] {
    const pair = new Int32Array(2);
    this.#check("socketpair", this.#c.socketpair(AF_UNIX, SOCK_STREAM | CLOEXEC, 0, pair));
    return [pair[0]!, pair[1]!];
  }

  /** Copies a descriptor; children that start later inherit the copy. */
  inheritable(fd: number): number {
    return this.#check("dup", this.#c.dup(fd));
  }

  /** Makes an eventfd. */
  eventFd(): number {
    return this.#check("eventfd", this.#c.eventfd(0, CLOEXEC | NONBLOCK));
  }

  /** Wakes the threads that poll an eventfd. */
  signalEvent(fd: number): void {
    this.#c.write(fd, new BigUint64Array([1n]), 8n);
  }

  /** Resets an eventfd's count. @returns Whether it was not 0. */
  clearEvent(fd: number): boolean {
    return Number(this.#c.read(fd, new BigUint64Array(1), 8n)) === 8;
  }

  /** Limits how long `send` and `receive` on a socket may take. */
  setSocketDeadline(fd: number, milliseconds: number): void {
    const seconds = Math.floor(milliseconds / 1000);
    const micros = Math.max(Math.round((milliseconds - seconds * 1000) * 1000), 1);
    const time = new BigInt64Array([BigInt(seconds), BigInt(micros)]);
    for (const option of [SO_RCVTIMEO, SO_SNDTIMEO]) {
      this.#check("setsockopt", this.#c.setsockopt(fd, SOL_SOCKET, option, time, 16));
    }
  }

  /** Sends all bytes; false if the other side is gone or too slow. */
  send(fd: number, bytes: Uint8Array<ArrayBuffer>, length: number): boolean {
    let rest = bytes;
    let left = length;
    for (;;) {
      const sent = Number(this.#c.send(fd, rest, BigInt(left), MSG_NOSIGNAL));
      if (sent === left) return true;
      if (sent >= 0) {
        rest = rest.subarray(sent);
        left -= sent;
      } else if (this.#errno() !== EINTR) return false;
    }
  }

  /**
   * Receives the bytes that have arrived, up to `capacity`.
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
    return this.#retried(() => this.#c.recv(fd, bytes, capacity, block ? 0 : MSG_DONTWAIT));
  }

  /** Resolves when one of two descriptors is readable or closed; waits on a thread of the pool. */
  async readable(a: number, b: number): Promise<void> {
    const list = new Int32Array([a, POLLIN, b, POLLIN]); // struct pollfd: fd, events, revents
    await this.#c.parkedPoll(list, 2n, -1);
  }

  /**
   * Waits on a thread of the pool until one of several descriptors has something.
   *
   * @param list An array of `struct pollfd`: descriptor, then events and what came of them in 16 bits each.
   */
  async parked(list: Int32Array<ArrayBuffer>): Promise<void> {
    await this.#c.parkedPoll(list, BigInt(list.length / 2), -1);
  }

  /**
   * The same in this thread.
   *
   * @param milliseconds How long to wait at most, parts of one included.
   * @returns Whether one has something.
   */
  poll(list: Int32Array<ArrayBuffer>, milliseconds: number): boolean {
    const limit = Math.min(milliseconds, LONGEST_POLL);
    const seconds = Math.floor(limit / 1000);
    const nanoseconds = Math.ceil((limit - seconds * 1000) * 1e6);
    const time = new BigInt64Array([BigInt(seconds), BigInt(nanoseconds)]); // struct timespec
    return this.#c.ppoll(list, BigInt(list.length / 2), time, null) > 0;
  }

  /**
   * Takes a range of addresses in which {@linkcode Libc.mapAt} puts files. What is not a file there
   * reads 0 and takes writes.
   *
   * @param size Bytes, a multiple of a page.
   * @param align What the first address is a multiple of, a power of two of at least a page.
   */
  reserve(size: number, align: number): Mapping {
    const whole = this.#map(null, size + align, MAP_NOTHING, -1, 0);
    const start = Number(Deno.UnsafePointer.value(whole));
    const before = (align - start % align) % align;
    const pointer = this.#inside(whole, before)!;
    if (before > 0) this.#check("munmap", this.#c.munmap(whole, BigInt(before)));
    const rest = this.#inside(whole, before + size);
    this.#check("munmap", this.#c.munmap(rest, BigInt(align - before)));
    return mapping(pointer, size);
  }

  /** Maps a file over a part of a range that was reserved; all three numbers are multiples of a page. */
  mapAt(range: Mapping, offset: number, size: number, fd: number, fileOffset: number): void {
    this.#map(this.#inside(range.pointer, offset), size, MAP_SHARED | MAP_FIXED, fd, fileOffset);
  }

  /** Puts nothing over a part of a range that was reserved, as at first. */
  clearAt(range: Mapping, offset: number, size: number): void {
    this.#map(this.#inside(range.pointer, offset), size, MAP_NOTHING | MAP_FIXED, -1, 0);
  }

  /** Maps a file, shared with other processes that map it. */
  map(fd: number, size: number): Mapping {
    return mapping(this.#map(null, size, MAP_SHARED, fd, 0), size);
  }

  /** Detaches every view of a mapping, then unmaps it, so that a stale view is empty. */
  unmap(mapping: Mapping): void {
    const size = BigInt(mapping.buffer.byteLength);
    mapping.buffer.transfer(0);
    this.#check("munmap", this.#c.munmap(mapping.pointer, size));
  }

  /** Closes a descriptor. */
  close(fd: number): void {
    this.#c.close(fd);
  }

  #map(
    at: Deno.PointerValue,
    size: number,
    flags: number,
    fd: number,
    fileOffset: number,
  ): Deno.PointerObject {
    const offset = BigInt(fileOffset);
    const pointer = this.#c.mmap(at, BigInt(size), PROT_READ_WRITE, flags, fd, offset);
    if (pointer === null || Deno.UnsafePointer.value(pointer) === MAP_FAILED) {
      throw this.#error("mmap");
    }
    return pointer;
  }

  #inside(start: Deno.PointerObject, offset: number): Deno.PointerValue {
    // Not UnsafePointer.offset: that takes 32 bits.
    return Deno.UnsafePointer.create(Deno.UnsafePointer.value(start) + BigInt(offset));
  }

  #unixSocket(
    path: string,
    use: (fd: number, address: Uint8Array<ArrayBuffer>) => void,
  ): number {
    const text = new TextEncoder().encode(path);
    if (text.length === 0 || text.length >= SOCKET_PATH) {
      throw new RangeError(
        `Cannot use a socket path of ${text.length} bytes: expected 1 to ${SOCKET_PATH - 1}`,
      );
    }
    const address = new Uint8Array(SOCKADDR_SIZE);
    address[0] = AF_UNIX;
    address.set(text, 2);
    const fd = this.#check("socket", this.#c.socket(AF_UNIX, SOCK_STREAM | CLOEXEC, 0));
    try {
      use(fd, address);
      this.setNonBlocking(fd);
    } catch (error) {
      this.close(fd);
      throw error;
    }
    return fd;
  }

  /** Calls again what a signal interrupted. */
  /**
   * Calls again what a signal interrupted, and once more what failed: `errno` is looked at by a call of its own, and what
   * the runtime has called between the two may have set it.
   */
  #retried(call: () => number | bigint): number {
    this.#failure = undefined;
    let first: number | undefined;
    for (;;) {
      const got = Number(call());
      if (got > 0 || got === 0 && first === undefined) return got;
      const errno = got === 0 ? 0 : this.#errno();
      if (errno === EAGAIN) return Received.NOTHING;
      if (errno === EINTR) continue;
      if (first !== undefined) {
        this.#failure = first;
        return Received.FAILED;
      }
      first = errno;
    }
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
    return new VireoError("HOST_ERROR", `Cannot call ${call}: the host refused`, {
      seen: this.#words(this.#errno()),
    });
  }

  #words(errno: number): string {
    const words = this.#c.strerror(errno);
    return words === null ? `errno ${errno}` : Deno.UnsafePointerView.getCString(words);
  }
}

/** The one buffer of a range: a second one over a part of it would outlive the first. */
function mapping(pointer: Deno.PointerObject, size: number): Mapping {
  return { pointer, buffer: Deno.UnsafePointerView.getArrayBuffer(pointer, size) };
}
