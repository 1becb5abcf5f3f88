import {
  joinBytes,
  type Libc,
  type Mapping,
  MessageSocket,
  Received,
  u32s,
  u64s,
} from "@vireo/hal/vhost-user";

/** Requests, typed again from the specification. */
export const R = {
  GET_FEATURES: 1,
  SET_FEATURES: 2,
  SET_OWNER: 3,
  SET_MEM_TABLE: 5,
  SET_LOG_BASE: 6,
  SET_VRING_NUM: 8,
  SET_VRING_ADDR: 9,
  SET_VRING_BASE: 10,
  GET_VRING_BASE: 11,
  SET_VRING_KICK: 12,
  SET_VRING_CALL: 13,
  SET_VRING_ERR: 14,
  GET_PROTOCOL_FEATURES: 15,
  SET_PROTOCOL_FEATURES: 16,
  GET_QUEUE_NUM: 17,
  SET_VRING_ENABLE: 18,
  SET_BACKEND_REQ_FD: 21,
  GET_CONFIG: 24,
  SET_CONFIG: 25,
  GET_INFLIGHT_FD: 31,
  SET_INFLIGHT_FD: 32,
  GPU_SET_SOCKET: 33,
  RESET_DEVICE: 34,
  GET_MAX_MEM_SLOTS: 36,
  ADD_MEM_REG: 37,
  REM_MEM_REG: 38,
  SET_STATUS: 39,
  GET_STATUS: 40,
} as const;
/** Feature bits as numbers. */
export const VERSION_1: number = 2 ** 32;
export const PROTOCOL: number = 2 ** 30;

/** A message as bytes, of any request, flags and size, true or not. */
export function raw(
  request: number,
  payload: Uint8Array = new Uint8Array(0),
  options: { readonly flags?: number; readonly size?: number } = {},
): Uint8Array<ArrayBuffer> {
  return joinBytes(u32s(request, options.flags ?? 1, options.size ?? payload.length), payload);
}

/** An answer of a back end, as bytes. */
export function answer(request: number, payload: Uint8Array): Uint8Array<ArrayBuffer> {
  return raw(request, payload, { flags: 5 });
}

/** The other side of a vhost-user socket, which sends what it likes; numbers are typed again here. */
export class RawPeer implements Disposable {
  readonly libc: Libc;
  readonly fd: number;
  /** A megabyte of memory, whose guest address is 0x10_0000 and whose own is 0x7000_0000. */
  readonly memoryFd: number;
  readonly memory: Mapping;
  readonly view: DataView<ArrayBuffer>;
  readonly #socket: MessageSocket;
  readonly #cleanup = new DisposableStack();

  /** Takes over a connected socket. */
  constructor(libc: Libc, fd: number) {
    this.libc = libc;
    this.fd = fd;
    this.#cleanup.defer(() => libc.close(fd));
    this.#socket = new MessageSocket(libc, fd, 1 << 16);
    this.memoryFd = libc.memoryFile("vireo-peer", 1 << 20);
    this.#cleanup.defer(() => libc.close(this.memoryFd));
    this.memory = libc.map(this.memoryFd, 1 << 20);
    this.#cleanup.defer(() => libc.unmap(this.memory));
    this.view = new DataView(this.memory.buffer);
  }

  /** An eventfd that is closed with the peer. */
  eventFd(): number {
    const fd = this.libc.eventFd();
    this.#cleanup.defer(() => this.libc.close(fd));
    return fd;
  }

  /** A descriptor of a file that is closed with the peer. */
  file(path: string): number {
    const file = Deno.openSync(path);
    this.#cleanup.defer(() => file.close());
    // The lowest descriptors that are the file's own: a new one is the lowest that was free.
    for (const { name } of Deno.readDirSync("/proc/self/fd")) {
      try {
        if (Deno.readLinkSync(`/proc/self/fd/${name}`) === path) return Number(name);
      } catch (error) {
        if (!(error instanceof Deno.errors.NotFound)) throw error;
      }
    }
    throw new Error(`Cannot find the descriptor of ${path}`);
  }

  /** Sends bytes; false if the other side is gone. */
  send(bytes: Uint8Array, fds: readonly number[] = []): boolean {
    return this.#socket.send(bytes, fds) === bytes.length;
  }

  /** Receives what comes next: bytes, or undefined when the other side closed the connection. */
  async receive(): Promise<Uint8Array | undefined> {
    const into = new Uint8Array(4096);
    for (;;) {
      const fds: number[] = [];
      const got = this.#socket.receive(into, fds);
      for (const fd of fds) this.libc.close(fd);
      if (got > 0) return into.slice(0, got);
      if (got !== Received.NOTHING) return undefined;
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
  }

  /** Resolves when the other side has closed the connection. */
  async closed(): Promise<void> {
    while (await this.receive() !== undefined);
  }

  /** A region for the memory, with any of its numbers replaced. */
  region(
    { guest = 0x10_0000, size = 1 << 20, user = 0x7000_0000, offset = 0 }: {
      guest?: number;
      size?: number;
      user?: number;
      offset?: number;
    } = {},
  ): Uint8Array<ArrayBuffer> {
    return u64s(guest, size, user, offset);
  }

  [Symbol.dispose](): void {
    this.#cleanup[Symbol.dispose]();
  }
}
