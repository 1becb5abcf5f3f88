import { assertEquals } from "@std/assert";
import { type Libc, Received } from "./libc.ts";
import { MessageSocket } from "./message_socket.ts";

/** Words of `struct msghdr`, and where the control messages are behind it and one `struct iovec`. */
const [CONTROL, LENGTH, FLAGS] = [4, 5, 6];
const CONTROL_AT = 9 * 8;
const [SOL_SOCKET, RIGHTS, CREDENTIALS] = [1, 1, 2];

/** A control message as the kernel writes it: 16 bytes of header, and words, to a multiple of 8. */
function control(level: number, type: number, words: readonly number[], length?: number): number[] {
  const bytes = new DataView(new ArrayBuffer(Math.ceil((16 + 4 * words.length) / 8) * 8));
  bytes.setUint32(0, length ?? 16 + 4 * words.length, true);
  bytes.setInt32(8, level, true);
  bytes.setInt32(12, type, true);
  words.forEach((word, i) => bytes.setInt32(16 + 4 * i, word, true));
  return [...new Uint8Array(bytes.buffer)];
}

/** A socket that receives a result with these control bytes. */
function receives(got: number, bytes: readonly number[], flags = 0) {
  const libc = {
    receiveMessage: (_fd: number, header: Uint8Array<ArrayBuffer>) => {
      const words = new BigUint64Array(header.buffer, 0, 9);
      new Uint8Array(header.buffer).set(bytes, CONTROL_AT);
      words[LENGTH] = BigInt(bytes.length);
      words[FLAGS] = BigInt(flags);
      return got;
    },
  } as unknown as Libc;
  const fds: number[] = [];
  return [new MessageSocket(libc, 0, 64).receive(new Uint8Array(4), fds), fds];
}

Deno.test("message sockets: descriptors are those of the messages that carry rights", () => {
  const rights = control(SOL_SOCKET, RIGHTS, [5, 6, 7]);
  const cases: readonly (readonly [name: string, bytes: readonly number[], fds: number[]])[] = [
    ["nothing", [], []],
    ["three", rights, [5, 6, 7]],
    ["behind another message", [...control(SOL_SOCKET, CREDENTIALS, [1, 2, 3]), ...rights], [
      ...[5, 6, 7],
    ]],
    ["behind one of another level", [...control(2, RIGHTS, [1]), ...rights], [5, 6, 7]],
    ["behind an empty one", [...control(SOL_SOCKET, RIGHTS, []), ...rights], [5, 6, 7]],
    ["of two messages", [...rights, ...control(SOL_SOCKET, RIGHTS, [8])], [5, 6, 7, 8]],
    ["behind one that is too short to be one", [
      ...control(SOL_SOCKET, CREDENTIALS, [], 15),
      ...rights,
    ], []],
    ["of a message that ends early", rights.slice(0, 24), [5, 6]],
    ["of a message whose header ends early", rights.slice(0, 15), []],
  ];
  for (const [name, bytes, fds] of cases) assertEquals(receives(3, bytes), [3, fds], name);
});

Deno.test("message sockets: what was lost is a failure, and what came then is the caller's to close", () => {
  const rights = control(SOL_SOCKET, RIGHTS, [5]);
  assertEquals(receives(3, rights, 8), [Received.FAILED, [5]]);
  assertEquals(receives(0, rights), [0, [5]]);
  for (const result of [Received.NOTHING, Received.FAILED]) {
    assertEquals(receives(result, rights), [result, []]);
  }
});

Deno.test("message sockets: without descriptors there is no control message, and with them one of their length", () => {
  const sent: unknown[] = [];
  const libc = {
    sendMessage: (_fd: number, header: Uint8Array<ArrayBuffer>) => {
      const words = new BigUint64Array(header.buffer, 0, 9);
      const length = Number(words[LENGTH]);
      const bytes = new Uint8Array(header.buffer, CONTROL_AT, length);
      sent.push([words[CONTROL] !== 0n, Number(words[8]), [...bytes]]);
      return 2;
    },
  } as unknown as Libc;
  const socket = new MessageSocket(libc, 0, 64);
  assertEquals(socket.send(Uint8Array.of(1, 2), [5, 6]), 2);
  socket.send(Uint8Array.of(1));
  socket.send(Uint8Array.of(1, 2, 3), [7]);
  assertEquals(sent, [
    [true, 2, control(SOL_SOCKET, RIGHTS, [5, 6])],
    [false, 1, []],
    // The padding keeps what was there.
    [true, 3, [...control(SOL_SOCKET, RIGHTS, [7]).slice(0, 20), 6, 0, 0, 0]],
  ]);
});
