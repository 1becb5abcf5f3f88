// What the crypto device does with raw requests: every number is typed from virtio 1.4 §5.9.
import { assert, assertEquals } from "@std/assert";
import type { Buffer } from "node:buffer";
import { createSign, generateKeyPairSync } from "node:crypto";
import { bytes, CryptoRig, padded } from "./crypto_rig.ts";
import { at, le } from "./recorder.ts";

const OK = 0;
const ERR = 1;
const BADMSG = 2;
const NOTSUPP = 3;
const INVSESS = 4;
const KEY_REJECTED = 6;
const SESSION_MODE = 1;
/** An id that no session has. */
const NOBODY = 0x7777;

const KEY = bytes(16, 0x40);
const IV = bytes(16, 0x80);
const NONCE = bytes(12, 0x60);
const AAD = bytes(5, 0xa0);
const DATA = bytes(32);

const subtle = crypto.subtle;
const web = (buffer: ArrayBuffer): Uint8Array => new Uint8Array(buffer);

/** A symmetric form, whose `op_type` is at an offset. */
const sym = (size: number, at: number, type: number, ...words: number[]): Uint8Array => {
  const part = padded(size, ...words);
  part.set(le(type), at);
  return part;
};

/** A device with one data queue, driven by raw requests. */
class Rig extends CryptoRig {
  /** The id of a session that must come to be. */
  async session(...args: Parameters<Rig["create"]>): Promise<number> {
    const { id, status } = await this.create(...args);
    assertEquals(status, OK);
    return id;
  }

  /** A data request: its status, and its result if there is one. */
  async run(
    opcode: number,
    { id = 0, flag = SESSION_MODE, algo = 0, fixed, rest, room }: {
      readonly id?: number;
      readonly flag?: number;
      readonly algo?: number;
      readonly fixed: Uint8Array;
      readonly rest: Uint8Array;
      readonly room: number;
    },
  ): Promise<{ status: number; result: Uint8Array }> {
    const asked = { opcode, algo, id, flag, fixed, rest, rooms: [room] };
    const { status, results } = await this.ask(asked);
    return { status, result: results[0]! };
  }
}

const pair = generateKeyPairSync("rsa", { modulusLength: 1024 });
const der = (key: typeof pair.privateKey): Uint8Array =>
  new Uint8Array(key.export({ format: "der", type: "pkcs1" }) as Buffer);

Deno.test("spec crypto: the opcode says what a session is made of, and its key is taken out (dev.crypto.session-create.1, .2)", async () => {
  await using rig = new Rig();
  const rsa = der(pair.publicKey);
  const forms: [number, number, Uint8Array, Uint8Array][] = [
    [0x0002, 3, sym(56, 48, 1, 3, 16, 1), KEY],
    [0x0102, 4, le(4, 32), le()],
    [0x0202, 4, le(4, 32, 16, 0), KEY],
    [0x0302, 1, le(1, 16, 16, 5, 1, 0), KEY],
    [0x0404, 1, padded(56, 1, 1, rsa.length, 1, 6), rsa],
  ];
  for (const [opcode, algo, fixed, key] of forms) {
    const { id, status } = await rig.create(opcode, algo, fixed, key);
    assertEquals(status, OK, `0x${opcode.toString(16)}`);
    assert(id > 0);
    if (key.length === 0) continue;
    const short = await rig.create(opcode, algo, fixed, key.subarray(1));
    assertEquals(short.status, ERR, `0x${opcode.toString(16)} lacks a byte of its key`);
  }
  assertEquals((await rig.create(0x0902, 1, le(1, 1))).status, NOTSUPP);
});

Deno.test("spec crypto: requests are taken from HW_READY on (dev.crypto.config.4)", async () => {
  await using rig = new Rig();
  assertEquals(at(rig.driver.config(0, 4), 0) & 1, 1);
  const id = await rig.session(0x0102, 4, le(4, 32));
  const asked = { id, fixed: le(32, 32), rest: DATA, room: 32 };
  assertEquals((await rig.run(0x0100, asked)).status, OK);
});

Deno.test("spec crypto: HASH, with a session and without (dev.crypto.hash.1-4)", async () => {
  await using rig = new Rig();
  const id = await rig.session(0x0102, 4, le(4, 32));
  const digest = web(await subtle.digest("SHA-256", DATA));
  const asked = { id, fixed: le(32, 32), rest: DATA, room: 32 };
  const form = { flag: 0, fixed: le(4, 32, 32, 0), rest: DATA, room: 32 };
  assertEquals(await rig.run(0x0100, asked), { status: OK, result: digest });
  assertEquals(await rig.run(0x0100, form), { status: OK, result: digest });
  assertEquals((await rig.run(0x0100, { ...asked, id: NOBODY })).status, INVSESS);
  assertEquals((await rig.run(0x0100, { ...form, id: NOBODY })).status, OK, "no session is meant");
  assertEquals((await rig.run(0x0100, { ...form, fixed: le(9, 32, 32, 0) })).status, NOTSUPP);
  assertEquals((await rig.run(0x0100, { ...asked, fixed: le(33, 32) })).status, ERR);
  // The session is one of HASH, whatever else the opcode says.
  assertEquals((await rig.run(0x0200, asked)).status, INVSESS);
});

Deno.test("spec crypto: MAC, with a session and without (dev.crypto.mac.1-3)", async () => {
  await using rig = new Rig();
  const algorithm = { name: "HMAC", hash: "SHA-256" };
  const key = await subtle.importKey("raw", KEY, algorithm, false, ["sign"]);
  const result = web(await subtle.sign("HMAC", key, DATA));
  const id = await rig.session(0x0202, 4, le(4, 32, 16, 0), KEY);
  const asked = { id, fixed: le(32, 32), rest: DATA, room: 32 };
  const form = { flag: 0, fixed: le(4, 16, 32, 32), rest: le(KEY, DATA), room: 32 };
  assertEquals(await rig.run(0x0200, asked), { status: OK, result });
  assertEquals(await rig.run(0x0200, form), { status: OK, result });
  assertEquals((await rig.run(0x0200, { ...asked, id: NOBODY })).status, INVSESS);
  assertEquals((await rig.run(0x0200, { ...form, fixed: le(9, 16, 32, 32) })).status, NOTSUPP);
  assertEquals((await rig.run(0x0200, { ...form, rest: KEY })).status, ERR);
});

Deno.test("spec crypto: CIPHER, with a session and without (dev.crypto.sym.1-3, .5)", async () => {
  await using rig = new Rig();
  const key = await subtle.importKey("raw", KEY, "AES-CBC", false, ["encrypt"]);
  const result = web(await subtle.encrypt({ name: "AES-CBC", iv: IV }, key, DATA)).slice(0, 32);
  const session = (op: number) => rig.session(0x0002, 3, sym(56, 48, 1, 3, 16, op), KEY);
  const asked = { id: await session(1), fixed: sym(48, 40, 1, 16, 32, 32), room: 32 };
  const form = { flag: 0, fixed: sym(76, 72, 1, 3, 16, 1, 16, 32, 32), room: 32 };
  const rest = le(IV, DATA);
  assertEquals(await rig.run(0x0000, { ...asked, rest }), { status: OK, result });
  assertEquals(await rig.run(0x0000, { ...form, rest: le(KEY, rest) }), { status: OK, result });
  const back = { ...asked, id: await session(2), rest: le(IV, result) };
  assertEquals(await rig.run(0x0001, back), { status: OK, result: DATA });
  // The other direction is another opcode, and another session.
  assertEquals((await rig.run(0x0000, back)).status, ERR);
  assertEquals((await rig.run(0x0000, { ...asked, id: NOBODY, rest })).status, INVSESS);
  // A nested hash is refused, by name; so is another kind of request than there is.
  assertEquals((await rig.create(0x0002, 3, sym(56, 48, 2, 1, 3, 3, 16, 1), KEY)).status, NOTSUPP);
  const other = { ...asked, fixed: sym(48, 40, 3, 16, 32, 32), rest };
  assertEquals((await rig.run(0x0000, other)).status, NOTSUPP);
});

Deno.test("spec crypto: AEAD, with a session and without (dev.crypto.aead.1-5)", async () => {
  await using rig = new Rig();
  const key = await subtle.importKey("raw", KEY, "AES-GCM", false, ["encrypt"]);
  const algorithm = { name: "AES-GCM", iv: NONCE, additionalData: AAD };
  // WebCrypto appends the tag of 16 bytes, as the device must.
  const result = web(await subtle.encrypt(algorithm, key, DATA));
  assertEquals(result.length, 48);
  const session = (op: number) => rig.session(0x0302, 1, le(1, 16, 16, 5, op, 0), KEY);
  const id = await session(1);
  const asked = { id, fixed: le(12, 5, 32, 48, 16, 0), rest: le(NONCE, DATA, AAD), room: 48 };
  const form = {
    flag: 0,
    fixed: le(1, 16, 1, 12, 16, 5, 32, 48),
    rest: le(KEY, NONCE, DATA, AAD),
    room: 48,
  };
  assertEquals(await rig.run(0x0300, asked), { status: OK, result });
  assertEquals(await rig.run(0x0300, form), { status: OK, result });
  const open = (sealed: Uint8Array) => ({
    id: back,
    fixed: le(12, 5, 48, 32, 16, 0),
    rest: le(NONCE, sealed, AAD),
    room: 32,
  });
  const back = await session(2);
  assertEquals(await rig.run(0x0301, open(result)), { status: OK, result: DATA });
  for (const place of [0, 47]) {
    const broken = result.slice();
    broken[place]! ^= 1;
    assertEquals((await rig.run(0x0301, open(broken))).status, BADMSG, `byte ${place}`);
  }
  assertEquals((await rig.run(0x0300, { ...asked, id: NOBODY })).status, INVSESS);
  assertEquals(
    (await rig.run(0x0300, { ...form, fixed: le(2, 16, 1, 12, 16, 5, 32, 48) })).status,
    NOTSUPP,
  );
  assertEquals((await rig.run(0x0300, { ...asked, rest: le(NONCE, DATA) })).status, ERR);
});

Deno.test("spec crypto: AKCIPHER, with a session and without (dev.crypto.akcipher.1-3)", async () => {
  await using rig = new Rig();
  const digest = web(await subtle.digest("SHA-256", DATA));
  const signature = new Uint8Array(createSign("sha256").update(DATA).sign(pair.privateKey));
  const keys = { 2: der(pair.privateKey), 1: der(pair.publicKey) };
  const session = (type: 1 | 2) => {
    const key = keys[type];
    return rig.session(0x0404, 1, padded(56, 1, type, key.length, 1, 6), key);
  };
  const [own, open] = [await session(2), await session(1)];
  const sign = { id: own, fixed: le(32, 128), rest: digest, room: 128 };
  assertEquals(await rig.run(0x0402, sign), { status: OK, result: signature });
  const form = {
    flag: 0,
    fixed: le(1, 2, keys[2].length, 1, 6, 32, 128),
    rest: le(keys[2], digest),
    room: 128,
  };
  assertEquals(await rig.run(0x0402, form), { status: OK, result: signature });
  const verify = (of: Uint8Array) => ({
    id: open,
    fixed: le(128, 32),
    rest: le(signature, of),
    room: 0,
  });
  assertEquals((await rig.run(0x0403, verify(digest))).status, OK);
  assertEquals((await rig.run(0x0403, verify(DATA))).status, KEY_REJECTED);
  assertEquals((await rig.run(0x0402, { ...sign, id: NOBODY })).status, INVSESS);
  const unknown = { ...form, fixed: le(3, 2, keys[2].length, 1, 6, 32, 128) };
  assertEquals((await rig.run(0x0402, unknown)).status, NOTSUPP);
  // The key of RSA is none of ECDSA.
  const ecdsa = { ...form, fixed: le(2, 2, keys[2].length, 1, 0, 32, 128) };
  assertEquals((await rig.run(0x0402, ecdsa)).status, ERR);
  assertEquals((await rig.run(0x0402, { ...sign, rest: le() })).status, ERR);
});
