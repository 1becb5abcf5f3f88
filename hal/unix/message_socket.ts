import { type Libc, Received } from "./libc.ts";

/** Most descriptors that one call may bring; more are a broken promise of the other side. */
const MAX_FDS = 32;
/** Offsets in `struct msghdr` (56 bytes) and `struct iovec` (16), by 64-bit words. */
const HEADER_WORDS = 7;
const HEADER = { IOV: 2, IOV_COUNT: 3, CONTROL: 4, CONTROL_LENGTH: 5, FLAGS: 6 } as const;
const IOV_WORDS = 2;
/** `struct cmsghdr`: length (64 bits), level and type (32 each), then the descriptors. */
const CMSG_HEADER = 16;
const CMSG_ALIGN = 8;
const CONTROL_BYTES = CMSG_HEADER + 4 * MAX_FDS;
const SOL_SOCKET = 1;
const SCM_RIGHTS = 1;
const MSG_CTRUNC = 8;

/**
 * Bytes of a unix socket that come with descriptors; the buffers of the system's calls are made once.
 *
 * @example
 * ```ts
 * import { Libc, MessageSocket } from "@vireo/hal/vhost-user";
 * import { assertEquals } from "@std/assert";
 *
 * const libc = new Libc();
 * const [left, right] = libc.socketPair();
 * assertEquals(new MessageSocket(libc, left, 64).send(Uint8Array.of(1, 2), [left]), 2);
 * const [bytes, fds] = [new Uint8Array(2), [] as number[]];
 * assertEquals(new MessageSocket(libc, right, 64).receive(bytes, fds), 2);
 * assertEquals([[...bytes], fds.length], [[1, 2], 1]);
 * for (const fd of [left, right, ...fds]) libc.close(fd);
 * libc.dispose();
 * ```
 */
export class MessageSocket {
  readonly #libc: Libc;
  readonly #fd: number;
  readonly #words: BigUint64Array<ArrayBuffer>;
  readonly #header: Uint8Array<ArrayBuffer>;
  readonly #control: DataView<ArrayBuffer>;
  readonly #data: Uint8Array<ArrayBuffer>;
  readonly #dataAddress: bigint;
  readonly #controlAddress: bigint;

  /**
   * Wraps a connected socket, which stays the caller's to close.
   *
   * @param capacity The most bytes of one call.
   */
  constructor(libc: Libc, fd: number, capacity: number) {
    this.#libc = libc;
    this.#fd = fd;
    // One block, whose address never changes: small typed arrays move.
    const words = 8 * (HEADER_WORDS + IOV_WORDS);
    const block = new ArrayBuffer(words + CONTROL_BYTES + capacity);
    this.#words = new BigUint64Array(block, 0, HEADER_WORDS + IOV_WORDS);
    this.#header = new Uint8Array(block, 0, 8 * HEADER_WORDS);
    this.#control = new DataView(block, words, CONTROL_BYTES);
    this.#data = new Uint8Array(block, words + CONTROL_BYTES);
    const base = BigInt(
      Deno.UnsafePointer.value(Deno.UnsafePointer.of(new Uint8Array(block))),
    );
    this.#words[HEADER.IOV] = base + BigInt(8 * HEADER_WORDS);
    this.#words[HEADER.IOV_COUNT] = 1n;
    this.#controlAddress = base + BigInt(words);
    this.#dataAddress = this.#controlAddress + BigInt(CONTROL_BYTES);
  }

  /**
   * Sends bytes without waiting, the descriptors with the first of them.
   *
   * @returns How many were sent, or one of {@linkcode Received}.
   */
  send(bytes: Uint8Array, fds: readonly number[] = []): number {
    if (fds.length > MAX_FDS) {
      throw new RangeError(`Cannot send ${fds.length} descriptors: at most ${MAX_FDS} go at once`);
    }
    this.#data.set(bytes);
    let control = 0;
    if (fds.length > 0) {
      const length = CMSG_HEADER + 4 * fds.length;
      control = Math.ceil(length / CMSG_ALIGN) * CMSG_ALIGN;
      this.#control.setBigUint64(0, BigInt(length), true);
      this.#control.setInt32(8, SOL_SOCKET, true);
      this.#control.setInt32(12, SCM_RIGHTS, true);
      fds.forEach((fd, i) => this.#control.setInt32(CMSG_HEADER + 4 * i, fd, true));
    }
    this.#describe(bytes.length, control);
    return this.#libc.sendMessage(this.#fd, this.#header);
  }

  /**
   * Receives bytes without waiting.
   *
   * @param into Where they go; no more than its length is taken from the socket.
   * @param fds Takes the descriptors that came with them, which are the caller's then.
   * @returns How many there were, or one of {@linkcode Received}: `FAILED` also if descriptors were lost.
   */
  receive(into: Uint8Array, fds: number[]): number {
    this.#describe(into.length, CONTROL_BYTES);
    const got = this.#libc.receiveMessage(this.#fd, this.#header);
    if (got < 0) return got;
    this.#takeDescriptors(fds);
    if ((Number(this.#words[HEADER.FLAGS]! & 0xffffffffn) & MSG_CTRUNC) !== 0) {
      return Received.FAILED;
    }
    into.set(this.#data.subarray(0, got));
    return got;
  }

  #describe(bytes: number, control: number): void {
    const words = this.#words;
    words[HEADER_WORDS] = this.#dataAddress;
    words[HEADER_WORDS + 1] = BigInt(bytes);
    words[HEADER.CONTROL] = control === 0 ? 0n : this.#controlAddress;
    words[HEADER.CONTROL_LENGTH] = BigInt(control);
    words[HEADER.FLAGS] = 0n;
  }

  #takeDescriptors(fds: number[]): void {
    const end = Number(this.#words[HEADER.CONTROL_LENGTH]!);
    for (let at = 0; at + CMSG_HEADER <= end;) {
      const length = Number(this.#control.getBigUint64(at, true));
      if (length < CMSG_HEADER) return;
      const rights = this.#control.getInt32(at + 8, true) === SOL_SOCKET &&
        this.#control.getInt32(at + 12, true) === SCM_RIGHTS;
      for (let i = at + CMSG_HEADER; rights && i + 4 <= Math.min(at + length, end); i += 4) {
        fds.push(this.#control.getInt32(i, true));
      }
      at += Math.ceil(length / CMSG_ALIGN) * CMSG_ALIGN;
    }
  }
}
