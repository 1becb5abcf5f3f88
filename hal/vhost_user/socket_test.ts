import { assertEquals, assertThrows } from "@std/assert";
import { VireoError } from "../errors.ts";
import { Libc } from "../unix/libc.ts";
import { MessageSocket } from "../unix/message_socket.ts";
import { joinBytes, u32s } from "./bits64.ts";
import { VhostUserSocket } from "./socket.ts";

/** Version 1, typed again. */
const VERSION = 1;

/** A socket, and its other end, which sends any bytes. */
class Rig implements Disposable {
  readonly socket: VhostUserSocket;
  readonly peer: MessageSocket;
  readonly libc = new Libc();
  readonly #peerFd: number;
  #peerOpen = true;

  constructor() {
    const [own, peer] = this.libc.socketPair();
    const rule = { name: "TEST", min: 0, max: 64, minFds: 0, maxFds: 2 };
    this.socket = new VhostUserSocket(this.libc, own, "peer", () => rule);
    this.peer = new MessageSocket(this.libc, peer, 4096);
    this.#peerFd = peer;
  }

  closePeer(): void {
    if (this.#peerOpen) this.libc.close(this.#peerFd);
    this.#peerOpen = false;
  }

  /** What `take` says that it saw, and expected. */
  failure(): unknown[] {
    const { code, seen, expected } = assertThrows(() => this.socket.take(), VireoError);
    return [code, seen, expected];
  }

  [Symbol.dispose](): void {
    this.socket[Symbol.dispose]();
    this.closePeer();
    this.libc.dispose();
  }
}

Deno.test("vhost-user sockets: an end between two messages is told from one within a message", () => {
  using between = new Rig();
  between.peer.send(u32s(3, VERSION, 0), []);
  assertEquals(between.socket.take()?.request, 3);
  between.closePeer();
  assertEquals(between.failure(), ["DEVICE_REMOVED", "the end of the connection", "a message"]);
  assertThrows(() => between.socket.take(), VireoError, "The peer is gone");

  using header = new Rig();
  header.peer.send(Uint8Array.of(3, 0, 0, 0, 1), []);
  assertEquals(header.socket.take(), undefined);
  header.closePeer();
  assertEquals(header.failure(), ["DEVICE_REMOVED", "a failure after 5 bytes", "a message"]);

  using reset = new Rig();
  reset.socket.send(3);
  reset.closePeer();
  assertEquals(reset.failure(), [
    ...["DEVICE_REMOVED", "a failure (Connection reset by peer) after 0 bytes", "a message"],
  ]);

  using closed = new Rig();
  closed.socket[Symbol.dispose]();
  assertEquals(closed.failure(), ["DEVICE_REMOVED", "a failure after 0 bytes", "a message"]);
});

Deno.test("vhost-user sockets: a message comes whole, and the next one begins behind it", () => {
  using rig = new Rig();
  const { socket, peer } = rig;
  const bytes = joinBytes(u32s(7, VERSION, 4), u32s(0x11223344));
  for (const part of [bytes.subarray(0, 12), bytes.subarray(12, 15)]) {
    peer.send(part, []);
    assertEquals(socket.take(), undefined);
  }
  peer.send(joinBytes(bytes.subarray(15), u32s(8, VERSION, 0)), []);
  const first = socket.take()!;
  assertEquals([first.request, [...first.payload]], [7, [0x44, 0x33, 0x22, 0x11]]);
  const second = socket.take()!;
  assertEquals([second.request, second.payload.length], [8, 0]);
  assertEquals(socket.take(), undefined);
});

Deno.test("vhost-user sockets: sizes and descriptors at the limits of a rule are taken, others not", () => {
  for (
    const [size, fds, seen, expected] of [
      [64, 2],
      [65, 0, "65 bytes", "0 to 64"],
      [0, 3, "3 descriptors", "0 to 2"],
      [0, 8, "8 descriptors", "0 to 2"],
      [0, 9, "9 descriptors", "at most 8"],
    ] as const
  ) {
    using rig = new Rig();
    const event = rig.libc.eventFd();
    try {
      rig.peer.send(
        joinBytes(u32s(1, VERSION, size), new Uint8Array(size)),
        Array<number>(fds).fill(event),
      );
      if (seen !== undefined) {
        assertEquals(rig.failure(), ["BAD_MESSAGE", seen, expected]);
        continue;
      }
      const message = rig.socket.take()!;
      assertEquals([message.payload.length, message.fds.length], [size, fds]);
      for (const fd of message.fds) rig.libc.close(fd);
    } finally {
      rig.libc.close(event);
    }
  }
});

Deno.test("vhost-user sockets: a peer that takes nothing is told from one that is gone", () => {
  using rig = new Rig();
  const send = (): void => rig.socket.send(1, 0, new Uint8Array(2048));
  const error = assertThrows(() => {
    // More than a socket buffers.
    for (let sent = 0; sent < 1 << 14; sent++) send();
  }, VireoError);
  assertEquals(error.code, "DEVICE_REMOVED");
  assertEquals(error.message.includes("it takes no more messages"), true, error.message);
  rig.closePeer();
  assertThrows(send, VireoError, "it is gone");
  rig.socket[Symbol.dispose]();
  assertThrows(send, VireoError, "it is gone");
});

Deno.test("vhost-user sockets: closing closes the socket and what nobody took, once", () => {
  using rig = new Rig();
  const { libc, socket, peer } = rig;
  const open = (): number => [...Deno.readDirSync("/proc/self/fd")].length;
  const event = libc.eventFd();
  const before = open();
  peer.send(u32s(1, VERSION, 4), [event, event]);
  assertEquals([socket.take(), open() - before], [undefined, 2]);
  socket[Symbol.dispose]();
  assertEquals(open() - before, -1);
  // It has the number that the socket had.
  const next = libc.eventFd();
  socket[Symbol.dispose]();
  assertEquals(open() - before, 0);
  for (const fd of [event, next]) libc.close(fd);
});
