/**
 * A front end and the other side of its connection, which answers before it is asked.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { Libc, MessageSocket, Poller, u64s, VhostUserFrontEnd } from "@vireo/hal/vhost-user";
import { answer, PROTOCOL, R, RawPeer, VERSION_1 } from "./raw_peer.ts";
import { openDescriptors } from "./wait.ts";

/** Protocol features, typed again from the specification. */
export const F = {
  MQ: 1,
  REPLY_ACK: 8,
  BACKEND_REQ: 0x20,
  CONFIG: 0x200,
  INFLIGHT: 0x1000,
  RESET_DEVICE: 0x2000,
  MEM_SLOTS: 0x8000,
  STATUS: 0x1_0000,
} as const;
/** `VIRTIO_NET_F_MQ`. */
export const NET_MQ: number = 1 << 22;
/** A queue at the start of the memory. */
export const QUEUE = {
  size: 8,
  desc: 0,
  driver: 0x1000,
  device: 0x2000,
  packed: false,
} as const;
/** Requests that a back end without any queues to count gets first. */
export const GREETING: readonly number[] = [
  R.GET_FEATURES,
  R.GET_PROTOCOL_FEATURES,
  R.SET_PROTOCOL_FEATURES,
  R.SET_OWNER,
];

export type FrontEndOptions = ConstructorParameters<typeof VhostUserFrontEnd>[2];

/** A C library whose next connections a test makes. */
export class LibcWithPeers extends Libc {
  /** Each connects, or throws. */
  readonly connections: (() => number)[] = [];
  /** Called when a front end begins to wait for an answer in its own thread, with the descriptors. */
  waiting: (fds: readonly number[], milliseconds: number) => void = () => {};
  /** How often the poller has begun to wait, and for how many descriptors it did last. */
  parks = 0;
  watched = 0;

  override connect(path: string): number {
    return (this.connections.shift() ?? (() => super.connect(path)))();
  }

  override poll(list: Int32Array<ArrayBuffer>, milliseconds: number): boolean {
    this.waiting([...list].filter((_, i) => i % 2 === 0), milliseconds);
    return super.poll(list, milliseconds);
  }

  override parked(list: Int32Array<ArrayBuffer>): Promise<void> {
    this.parks++;
    // The poller's own is one of them.
    this.watched = list.length / 2 - 1;
    return super.parked(list);
  }
}

/** Answers the beginning of a greeting before it comes. */
export function greet(peer: RawPeer, protocol: number, features = 0): void {
  peer.send(answer(R.GET_FEATURES, u64s(VERSION_1 + PROTOCOL + features)));
  peer.send(answer(R.GET_PROTOCOL_FEATURES, u64s(protocol)));
}

/**
 * A back end that answered the greeting before it was asked, and its front end.
 *
 * @param queues What it has: queues, or pairs of them if it is a network device.
 * @param run Gets the descriptor of the memory last.
 */
export async function withPeer(
  options: Pick<FrontEndOptions, "deviceId"> & Partial<FrontEndOptions>,
  { protocol, features = 0, queues }: { protocol: number; features?: number; queues: number },
  run: (
    frontEnd: VhostUserFrontEnd,
    peer: RawPeer,
    libc: LibcWithPeers,
    memory: number,
  ) => void | Promise<void>,
): Promise<void> {
  const libc = new LibcWithPeers();
  const before = openDescriptors();
  {
    await using poller = new Poller(libc);
    const [fd, theirs] = libc.socketPair();
    using peer = new RawPeer(libc, theirs);
    greet(peer, protocol, features);
    if ((protocol & F.REPLY_ACK) !== 0) peer.send(answer(R.SET_OWNER, u64s(0)));
    if ((protocol & F.MQ) !== 0) peer.send(answer(R.GET_QUEUE_NUM, u64s(queues)));
    using cleanup = new DisposableStack();
    const file = libc.memoryFile("vireo-memory", 1 << 20);
    cleanup.defer(() => libc.close(file));
    const memory = { fd: file, guest: 0, user: 0x1000, size: 1 << 20 };
    using frontEnd = new VhostUserFrontEnd(libc, poller, {
      fd,
      path: "/peer",
      deadline: 1000,
      memory,
      ...options,
    });
    await run(frontEnd, peer, libc, file);
  }
  assertEquals(openDescriptors(), before);
  libc.dispose();
}

/** The requests in bytes of a front end, each with its payload in words of 32 bits. */
export function requestsIn(bytes: Uint8Array): number[][] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const found: number[][] = [];
  for (let at = 0; at < bytes.length;) {
    const size = view.getUint32(at + 8, true);
    const words = Array.from({ length: size / 4 }, (_, i) => view.getUint32(at + 12 + 4 * i, true));
    found.push([view.getUint32(at, true), ...words]);
    at += 12 + size;
  }
  return found;
}

/**
 * The requests that the back end got since the last look, each with its words.
 *
 * @param take Takes the descriptors that came with them instead of closing them.
 */
export function told(peer: RawPeer, take?: number[]): number[][] {
  const bytes = new Uint8Array(1 << 16);
  const found: number[][] = [];
  const socket = new MessageSocket(peer.libc, peer.fd, bytes.length);
  for (const fds: number[] = [];;) {
    const got = socket.receive(bytes, fds);
    if (take !== undefined) take.push(...fds.splice(0));
    for (const fd of fds.splice(0)) peer.libc.close(fd);
    if (got <= 0) return found;
    found.push(...requestsIn(bytes.subarray(0, got)));
  }
}

/** The same as text: those that enable a queue or place it with their words, others by their number. */
export function requests(peer: RawPeer): string[] {
  return told(peer).map(([request, index, value]) =>
    request === R.SET_VRING_ENABLE
      ? `enable ${index} ${value}`
      : request === R.SET_VRING_BASE
      ? `base ${index} ${value}`
      : String(request)
  );
}
