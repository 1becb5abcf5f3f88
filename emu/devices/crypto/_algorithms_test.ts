// Sessions and what they compute, without a ring; numbers are typed again from virtio 1.4 §5.9.
import { createHash, createHmac, generateKeyPairSync, type KeyObject } from "node:crypto";
import type { Buffer } from "node:buffer";
import { assertEquals } from "@std/assert";
import { checkSession, compute, type Operation, type Session } from "./_algorithms.ts";

const [OK, ERR, BADMSG, NOTSUPP, REJECTED] = [0, 1, 2, 3, 6];
const [CIPHER, HASH, MAC, AEAD, AKCIPHER] = [0, 1, 2, 3, 4];
const [ECB, CBC, CTR, GCM, RSA, ECDSA] = [2, 3, 4, 1, 1, 2];
/** Hashes of sessions, and their names here. */
const HASHES = [
  [1, "md5"],
  [2, "sha1"],
  [3, "sha224"],
  [4, "sha256"],
  [5, "sha384"],
  [6, "sha512"],
] as const;
const SHA1 = 2;
const NONE = new Uint8Array(0);
const bytes = (length: number, from = 1): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => from + i);

const session = (service: number, algo: number, more: Partial<Session> = {}): Session => ({
  ...{
    service,
    algo,
    key: NONE,
    encrypt: true,
    tagSize: 16,
    resultSize: 0,
    keyType: 1,
    padding: 1,
  },
  ...{ hash: 0, curve: 0, chained: false, order: 1, hashMode: 1, hashAlgo: SHA1, authKey: NONE },
  ...more,
});
const operation = (src: Uint8Array, more: Partial<Operation> = {}): Operation => ({
  ...{ operation: 0, iv: bytes(16), src, aad: NONE, digest: NONE },
  ...more,
});
/** The bytes of a result that is OK. */
function computed(of: Session, what: Operation): Uint8Array {
  const { status, bytes } = compute(of, what);
  assertEquals(status, OK);
  return new Uint8Array(bytes);
}

Deno.test("crypto algorithms: a session has what its service asks for", () => {
  const chain = (more: Partial<Session> = {}): Session =>
    session(CIPHER, CBC, { key: bytes(16), chained: true, resultSize: 20, ...more });
  const rows: readonly (readonly [Session, number])[] = [
    ...[16, 24, 32].map((length) => [session(CIPHER, CBC, { key: bytes(length) }), OK] as const),
    ...[0, 15, 17, 33].map((length) =>
      [session(CIPHER, CBC, { key: bytes(length) }), ERR] as const
    ),
    [session(CIPHER, 5, { key: bytes(16) }), NOTSUPP],
    [session(5, 1), NOTSUPP],
    [session(HASH, 6), OK],
    [session(HASH, 7), NOTSUPP],
    [session(MAC, 6, { key: bytes(128) }), OK],
    [session(MAC, 6, { key: bytes(129) }), ERR],
    [session(HASH, 6, { key: bytes(129) }), OK],
    ...[16, 32].map((length) => [session(AEAD, GCM, { key: bytes(length) }), OK] as const),
    [session(AEAD, GCM, { key: bytes(24) }), NOTSUPP],
    [session(AEAD, GCM, { key: bytes(20) }), ERR],
    ...[4, 8, 12, 13, 14, 15, 16].map((tagSize) =>
      [session(AEAD, GCM, { key: bytes(16), tagSize }), OK] as const
    ),
    ...[0, 5, 17].map((tagSize) => [session(AEAD, GCM, { key: bytes(16), tagSize }), ERR] as const),
    [chain(), OK],
    [chain({ order: 2 }), OK],
    [chain({ order: 0 }), ERR],
    [chain({ order: 3 }), ERR],
    [chain({ hashMode: 2 }), OK],
    [chain({ hashMode: 3 }), NOTSUPP],
    [chain({ hashMode: 0 }), NOTSUPP],
    [chain({ hashAlgo: 7 }), NOTSUPP],
    [chain({ resultSize: 21 }), ERR],
    [chain({ hashMode: 2, authKey: bytes(128) }), OK],
    [chain({ hashMode: 2, authKey: bytes(129) }), ERR],
    [session(AKCIPHER, ECDSA, { curve: 6 }), NOTSUPP],
    [session(AKCIPHER, ECDSA, { curve: 3 }), ERR],
    [session(AKCIPHER, RSA, { padding: 0 }), NOTSUPP],
    [session(AKCIPHER, RSA), ERR],
  ];
  for (const [of, status] of rows) assertEquals(checkSession(of), status, JSON.stringify(of));
});

Deno.test("crypto algorithms: ciphers of all keys give back what they took, and need whole blocks and vectors", () => {
  for (const algo of [ECB, CBC, CTR]) {
    for (const length of [16, 24, 32]) {
      const of = (encrypt: boolean): Session =>
        session(CIPHER, algo, { key: bytes(length), encrypt });
      const secret = computed(of(true), operation(bytes(48)));
      assertEquals([secret.length, computed(of(false), operation(secret))], [48, bytes(48)]);
      const status = (what: Operation): number => compute(of(true), what).status;
      assertEquals(status(operation(bytes(47))), algo === CTR ? OK : ERR);
      assertEquals(status(operation(bytes(48), { iv: bytes(15) })), algo === ECB ? OK : ERR);
      // Blocks that are the same are seen in ECB alone.
      const same = computed(of(true), operation(new Uint8Array(32)));
      assertEquals(same.subarray(0, 16).every((byte, i) => byte === same[16 + i]), algo === ECB);
    }
  }
});

Deno.test("crypto algorithms: CBC of 192 bits is that of NIST SP 800-38A", () => {
  const key = Uint8Array.fromHex("8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b");
  const text = Uint8Array.fromHex(
    "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51",
  );
  const secret = computed(session(CIPHER, CBC, { key }), operation(text, { iv: bytes(16, 0) }));
  assertEquals(secret.toHex(), "4f021db243bc633d7178183a9fa071e8b4d9ada9ad7dedf4e5e738763f69145a");
});

Deno.test("crypto algorithms: hashes and MACs are those of their names", () => {
  for (const [algo, name] of HASHES) {
    assertEquals(
      computed(session(HASH, algo), operation(bytes(9))).toHex(),
      createHash(name).update(bytes(9)).digest("hex"),
    );
    assertEquals(
      computed(session(MAC, algo, { key: bytes(5) }), operation(bytes(9))).toHex(),
      createHmac(name, bytes(5)).update(bytes(9)).digest("hex"),
    );
  }
});

Deno.test("crypto algorithms: GCM has a tag behind the text, over the additional data, too", () => {
  for (const tagSize of [12, 16]) {
    const of = (encrypt: boolean): Session =>
      session(AEAD, GCM, { key: bytes(16), tagSize, encrypt });
    const more = { iv: bytes(12), aad: bytes(3) };
    const secret = computed(of(true), operation(bytes(5), more));
    assertEquals(secret.length, 5 + tagSize);
    assertEquals(computed(of(false), operation(secret, more)), bytes(5));
    const status = (src: Uint8Array, with_: Partial<Operation> = more): number =>
      compute(of(false), operation(src, with_)).status;
    assertEquals(status(secret.with(0, secret[0]! ^ 1)), BADMSG);
    assertEquals(status(secret, { ...more, aad: bytes(4) }), BADMSG);
    const empty = computed(of(true), operation(NONE, more));
    assertEquals([status(empty), status(empty.subarray(1))], [OK, ERR]);
  }
});

Deno.test("crypto algorithms: a chain hashes a part of the text, before or after a part is ciphered", () => {
  const key = bytes(16);
  const src = bytes(40);
  const secret = computed(session(CIPHER, CBC, { key }), operation(src.subarray(4, 20)));
  const text = src.slice();
  text.set(secret, 4);
  const parts = { ciphered: { start: 4, length: 16 }, hashed: { start: 10, length: 30 } };
  for (const order of [1, 2]) {
    for (const hashMode of [1, 2]) {
      for (const aad of [NONE, bytes(3)]) {
        const of = session(CIPHER, CBC, { key, chained: true, order, hashMode, authKey: bytes(7) });
        const what = operation(src, { ...parts, aad, textSize: 41, digestSize: 20 });
        const engine = hashMode === 1 ? createHash("sha1") : createHmac("sha1", bytes(7));
        const hashed = (order === 1 ? src : text).subarray(10, 40);
        const digest = engine.update(aad).update(hashed).digest();
        assertEquals(computed(of, what), Uint8Array.from([...text, 0, ...digest]));
        assertEquals(computed(of, { ...what, textSize: 40, digestSize: 5 }).length, 45);
        const wrong: readonly Partial<Operation>[] = [
          { textSize: 39 },
          { digestSize: 21 },
          { ciphered: { start: 25, length: 16 } },
          { ciphered: { start: 4, length: 15 } },
          { hashed: { start: 11, length: 30 } },
        ];
        for (const more of wrong) assertEquals(compute(of, { ...what, ...more }).status, ERR);
      }
    }
  }
});

Deno.test("crypto algorithms: RSA encrypts, signs and verifies with the keys that can, up to 4096 bits", () => {
  const { publicKey, privateKey } = generateKeyPairSync("rsa", { modulusLength: 1024 });
  const der = (key: KeyObject): Uint8Array =>
    new Uint8Array(key.export({ format: "der", type: "pkcs1" }) as Buffer);
  const open = session(AKCIPHER, RSA, { key: der(publicKey), hash: 7 });
  const own = session(AKCIPHER, RSA, { key: der(privateKey), keyType: 2, hash: 7 });
  assertEquals([open, own].map(checkSession), [OK, OK]);
  assertEquals(checkSession({ ...open, keyType: 2 }), ERR);
  const [ENCRYPT, DECRYPT, SIGN, VERIFY] = [0, 1, 2, 3];
  const secret = computed(open, operation(bytes(9), { operation: ENCRYPT }));
  assertEquals(computed(own, operation(secret, { operation: DECRYPT })), bytes(9));
  assertEquals(compute(open, operation(secret, { operation: DECRYPT })).status, ERR);
  const signature = computed(own, operation(bytes(48), { operation: SIGN }));
  const verified = (digest: Uint8Array): number =>
    compute(open, operation(signature, { operation: VERIFY, digest })).status;
  assertEquals([verified(bytes(48)), verified(bytes(48, 2))], [OK, REJECTED]);
  assertEquals(compute(own, operation(secret, { operation: 4 })).status, NOTSUPP);
  // A public key is two numbers: one of 4096 bits is still one.
  const modulus = (bits: number): Uint8Array => {
    const number = new Uint8Array(Math.ceil(bits / 8)).fill(0xff);
    number[0] = 0xff >> (8 - bits % 8) % 8;
    const value = number[0] > 0x7f ? [0, ...number] : [...number];
    const two = (length: number): number[] => [0x82, length >> 8, length & 255];
    const body = [2, ...two(value.length), ...value, 2, 3, 1, 0, 1];
    return Uint8Array.from([0x30, ...two(body.length), ...body]);
  };
  const large = (bits: number): number => checkSession({ ...open, key: modulus(bits) });
  assertEquals([large(4096) === OK, large(4097) === OK], [true, false]);
});

Deno.test("crypto algorithms: ECDSA signs with private keys and verifies with both", () => {
  const key = Uint8Array.fromHex(`302502010104${"20"}${"7".padStart(64, "0")}`);
  const own = session(AKCIPHER, ECDSA, { key, keyType: 2, curve: 3 });
  assertEquals([checkSession(own), checkSession({ ...own, keyType: 1 })], [OK, ERR]);
  const [SIGN, VERIFY] = [2, 3];
  const signature = computed(own, operation(bytes(32), { operation: SIGN }));
  const verified = (digest: Uint8Array): number =>
    compute(own, operation(signature, { operation: VERIFY, digest })).status;
  assertEquals([verified(bytes(32)), verified(bytes(32, 2))], [OK, REJECTED]);
  assertEquals(
    [0, 1, 4].map((kind) => compute(own, operation(bytes(32), { operation: kind })).status),
    [
      ...[NOTSUPP, NOTSUPP, NOTSUPP],
    ],
  );
});
