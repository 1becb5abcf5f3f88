import { VireoError } from "@vireo/hal";
import {
  Accept,
  type FrameSink,
  type NetBackend,
  NO_OFFLOAD,
  type Offload,
} from "./net_backend.ts";

const TUNSETIFF = 0x400454ca;
const IFF_TAP = 0x0002;
const IFF_NO_PI = 0x1000;
const O_RDWR = 2;
const O_NONBLOCK = 0o4000;
const IFREQ_SIZE = 40;
const IFNAMSIZ = 16;
const MAX_FRAME = 65554;
/** The most frames to read in one turn of the event loop. */
const BATCH = 64;
/** Milliseconds between polls of an idle interface; a busy one is polled every turn. */
const IDLE_POLL = 1;
const EAGAIN = 11;
const EINTR = 4;

/** The Linux error numbers that can occur here; they are the same on all 64-bit machines. */
const ERRNO: Readonly<Record<number, string>> = {
  1: "EPERM",
  2: "ENOENT",
  4: "EINTR",
  5: "EIO",
  6: "ENXIO",
  9: "EBADF",
  11: "EAGAIN",
  12: "ENOMEM",
  13: "EACCES",
  14: "EFAULT",
  16: "EBUSY",
  19: "ENODEV",
  22: "EINVAL",
  23: "ENFILE",
  24: "EMFILE",
  25: "ENOTTY",
  77: "EBADFD",
  100: "ENETDOWN",
  105: "ENOBUFS",
};

/** Remedies, by the error with which the kernel refused. */
const ADVICE: Readonly<Record<string, string>> = {
  ENOENT: "Linux's module tun: run modprobe tun as root",
  ENODEV: "Linux's module tun: run modprobe tun as root",
  EACCES: "root, or the right to open it",
  EPERM: "root, or an interface of this user's: ip tuntap add NAME mode tap user USER",
  EBUSY: "an interface that no other process has open",
};

const SYMBOLS = {
  open: { parameters: ["buffer", "i32"], result: "i32" },
  ioctl: { parameters: ["i32", "u64", "buffer"], result: "i32" },
  read: { parameters: ["i32", "buffer", "usize"], result: "isize" },
  write: { parameters: ["i32", "pointer", "usize"], result: "isize" },
  close: { parameters: ["i32"], result: "i32" },
  __errno_location: { parameters: [], result: "pointer" },
} as const;
type LibC = Deno.DynamicLibrary<typeof SYMBOLS>;

/** Counters of a {@linkcode Tap}. */
export interface TapStats {
  /** Frames from the host's kernel. */
  received: number;
  /** Frames to the host's kernel. */
  sent: number;
  /** Frames that the kernel refused, for example because the interface is down. */
  dropped: number;
}

/**
 * A tap interface of the host's Linux kernel: frames that the device sends arrive in the kernel, and the
 * other way round. Needs the right to open `/dev/net/tun` and Deno's `--allow-ffi`.
 *
 * @example
 * ```ts
 * import { Tap } from "@vireo/emu/backends";
 * import { NetDevice } from "@vireo/emu/net";
 *
 * // Makes a network device whose wire is an interface of this host; it needs the right to open one.
 * export function tapDevice(interfaceName: string): NetDevice {
 *   return new NetDevice({ backend: Tap.open(interfaceName) });
 * }
 * ```
 */
export class Tap implements NetBackend {
  /** `tap:` and the interface's name. */
  readonly name: string;
  /** None: the kernel gets finished frames. */
  readonly accepts: number = Accept.NONE;
  /** The counters. */
  readonly stats: TapStats = { received: 0, sent: 0, dropped: 0 };
  /** Name of the interface. */
  readonly interfaceName: string;
  readonly #libc: LibC;
  readonly #fd: number;
  readonly #in = new Uint8Array(MAX_FRAME);
  #sink: FrameSink | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #closed = false;

  private constructor(libc: LibC, fd: number, interfaceName: string) {
    this.#libc = libc;
    this.#fd = fd;
    this.interfaceName = interfaceName;
    this.name = `tap:${interfaceName}`;
  }

  /**
   * Opens a tap interface, and creates it if it does not exist. The user brings it up, for example with
   * `ip link set NAME up`.
   *
   * @param interfaceName 1 to 15 bytes; the kernel replaces `%d` in it by a free number.
   * @throws {VireoError} `HOST_ERROR` with the errno's name in `seen` if the kernel refuses.
   * @throws {RangeError} If the name is empty or too long.
   */
  static open(interfaceName: string): Tap {
    const encoded = new TextEncoder().encode(interfaceName);
    if (encoded.length < 1 || encoded.length >= IFNAMSIZ) {
      throw new RangeError(`Cannot name an interface "${interfaceName}": expected 1 to 15 bytes`);
    }
    const libc = Deno.dlopen("libc.so.6", SYMBOLS);
    try {
      const path = new TextEncoder().encode("/dev/net/tun\0");
      const fd = libc.symbols.open(path, O_RDWR | O_NONBLOCK);
      if (fd < 0) throw hostError(libc, "Cannot open /dev/net/tun", interfaceName);
      const request = new Uint8Array(IFREQ_SIZE);
      request.set(encoded);
      new DataView(request.buffer).setUint16(IFNAMSIZ, IFF_TAP | IFF_NO_PI, true);
      if (libc.symbols.ioctl(fd, BigInt(TUNSETIFF), request) < 0) {
        const error = hostError(libc, "Cannot open a tap interface", interfaceName);
        libc.symbols.close(fd);
        throw error;
      }
      const end = request.indexOf(0);
      return new Tap(libc, fd, new TextDecoder().decode(request.subarray(0, end)));
    } catch (error) {
      libc.close();
      throw error;
    }
  }

  /** Sets the receiver of incoming frames, and starts or stops polling for them. */
  connect(sink: FrameSink | undefined): void {
    this.#sink = sink;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (sink !== undefined && !this.#closed) this.#schedule(0);
  }

  /** Sends a frame; a frame that the kernel refuses is dropped and counted. */
  send(bytes: Uint8Array, offset: number, length: number, _offload: Offload): void {
    if (this.#closed) return;
    const at = Deno.UnsafePointer.of(
      bytes.subarray(offset, offset + length) as Uint8Array<ArrayBuffer>,
    );
    const done = this.#libc.symbols.write(this.#fd, at, BigInt(length));
    if (Number(done) === length) this.stats.sent++;
    else this.stats.dropped++;
    // The kernel often answers at once.
    this.#schedule(0);
  }

  /** Does nothing: `send` sends each frame at once. */
  flush(): void {}

  /** Closes the interface; Linux removes it unless it is persistent. */
  [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#closed = true;
    this.connect(undefined);
    this.#libc.symbols.close(this.#fd);
    this.#libc.close();
  }

  #schedule(delay: number): void {
    if (this.#timer !== undefined && delay > 0) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#poll(), delay);
  }

  #poll(): void {
    this.#timer = undefined;
    const sink = this.#sink;
    if (sink === undefined || this.#closed) return;
    let count = 0;
    for (; count < BATCH; count++) {
      const length = Number(this.#libc.symbols.read(this.#fd, this.#in, BigInt(MAX_FRAME)));
      if (length <= 0) {
        const code = length < 0 ? errno(this.#libc) : 0;
        if (length < 0 && code !== EAGAIN && code !== EINTR) this.stats.dropped++;
        break;
      }
      this.stats.received++;
      sink.receive(this.#in, 0, length, NO_OFFLOAD);
    }
    if (count > 0) sink.flush();
    if (!this.#closed && this.#sink !== undefined) this.#schedule(count > 0 ? 0 : IDLE_POLL);
  }
}

function errno(libc: LibC): number {
  const at = libc.symbols.__errno_location();
  return at === null ? 0 : new Deno.UnsafePointerView(at).getInt32();
}

function hostError(libc: LibC, what: string, interfaceName: string): VireoError {
  const code = errno(libc);
  const seen = ERRNO[code] ?? `errno ${code}`;
  return new VireoError("HOST_ERROR", what, {
    device: `tap:${interfaceName}`,
    seen,
    expected: ADVICE[seen],
  });
}
