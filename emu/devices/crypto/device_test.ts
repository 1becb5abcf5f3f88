// A crypto device's requests of every wrong length; numbers are typed again from virtio 1.4 §5.9.
import { assertEquals } from "@std/assert";
import { FakeChain, FakeHost } from "../../testing/fake_host.ts";
import { CryptoDevice } from "./device.ts";

const [DATA, CONTROL] = [0, 1];
const [ERR, NOTSUPP, INVSESS] = [1, 3, 4];
/** The service in the upper bits of an opcode. */
const [CIPHER, HASH, MAC, AEAD, AKCIPHER] = [0, 1 << 8, 2 << 8, 3 << 8, 4 << 8];
const [CREATE, DESTROY] = [2, 3];
const NONE = new Uint8Array(0);

/** Sends a request of an opcode, so many bytes long and with so much room: what is answered, and faults. */
function send(
  queue: number,
  opcode: number,
  length: number,
  room: number,
): [number[] | undefined, string[]] {
  const host = new FakeHost(new CryptoDevice());
  const bytes = new Uint8Array(length);
  bytes.set([opcode & 255, opcode >> 8].slice(0, length));
  // Data requests are of a session: that there is none is their answer.
  if (queue === DATA && length > 16) bytes[16] = 1;
  const chain = new FakeChain(bytes, NONE, room);
  host.send(queue, chain);
  const answer = chain.used === undefined ? undefined : [...chain.writable.subarray(0, chain.used)];
  assertEquals(host.signals, answer === undefined ? 0 : 1);
  return [answer, host.faults.map((fault) => fault.replace("crypto: ", ""))];
}

Deno.test("crypto device: control requests are whole and have room for their answer", () => {
  const session = (
    status: number,
  ): number[] => [...new Array(8).fill(0), status, ...new Array(7).fill(0)];
  const rows: readonly (readonly [number, number, number, number[] | undefined, string?])[] = [
    [99, 15, 1, undefined, "control request of 15 bytes"],
    [99, 16, 1, [NOTSUPP]],
    [99, 16, 0, undefined, "a request without room for its status"],
    [CIPHER | DESTROY, 23, 1, undefined, "a request to destroy without a session"],
    [CIPHER | DESTROY, 24, 1, [ERR]],
    [CIPHER | DESTROY, 24, 0, undefined, "a request without room for its status"],
    [CIPHER | CREATE, 16 + 56, 15, undefined, "room of 15 bytes for a session, expected 16"],
    [CIPHER | CREATE, 16 + 55, 16, undefined, "a session request that is cut off"],
    [CIPHER | CREATE, 16 + 56, 16, session(ERR)],
    [HASH | CREATE, 16 + 7, 16, undefined, "a session request that is cut off"],
    [9 << 8 | CREATE, 16, 16, session(NOTSUPP)],
  ];
  for (const [opcode, length, room, answer, fault] of rows) {
    assertEquals(send(CONTROL, opcode, length, room), [answer, fault === undefined ? [] : [fault]]);
  }
});

Deno.test("crypto device: data requests are whole and have room for their status, which is the last byte", () => {
  const rows: readonly (readonly [number, number, number, number[] | undefined, string?])[] = [
    [CIPHER, 24, 0, undefined, "a data request without room for its status"],
    [CIPHER, 23, 1, undefined, "data request of 23 bytes"],
    [CIPHER, 24, 1, [ERR]],
    [9 << 8, 24, 1, [NOTSUPP]],
    [CIPHER, 24 + 47, 1, [ERR]],
    // Neither a cipher nor a chain.
    [CIPHER, 24 + 48, 1, [NOTSUPP]],
    [HASH, 24 + 7, 1, [ERR]],
    [HASH, 24 + 8, 1, [INVSESS]],
    [MAC, 24 + 7, 1, [ERR]],
    [MAC, 24 + 8, 1, [INVSESS]],
    [AEAD, 24 + 23, 1, [ERR]],
    [AEAD, 24 + 24, 1, [INVSESS]],
    [AKCIPHER, 24 + 7, 1, [ERR]],
    [AKCIPHER, 24 + 8, 1, [INVSESS]],
  ];
  for (const [opcode, length, room, answer, fault] of rows) {
    assertEquals(
      send(DATA, opcode, length, room),
      [answer, fault === undefined ? [] : [fault]],
      `${opcode} ${length}`,
    );
  }
});
