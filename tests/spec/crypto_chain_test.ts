// Chains of a cipher and a hash or MAC: what the driver sends, and what the device does with raw requests. Every number
// is typed from virtio 1.4 §5.9, and what comes out is compared with node:crypto.
import { assertEquals, assertRejects } from "@std/assert";
import { CryptoDevice } from "@vireo/emu";
import { CryptoCipher, CryptoFeature, CryptoHash, CryptoMac, type VireoError } from "@vireo/hal";
import { createCipheriv, createHash, createHmac } from "node:crypto";
import { type ChainAlgorithms, type Crypto, cryptoDriver } from "../../drivers/crypto/mod.ts";
import { bootRecorded, type RecordedRig } from "./boot.ts";
import { bytes, CryptoRig, padded } from "./crypto_rig.ts";
import { at, le } from "./recorder.ts";

const SOON = { deadline: 5000 };
const [OK, ERR, NOTSUPP, INVSESS] = [0, 1, 3, 4];
const SESSION_MODE = 1;
const [HASH_FIRST, CIPHER_FIRST] = [1, 2];
const [PLAIN, AUTH, NESTED] = [1, 2, 3];
const [AES_CBC, SHA1, SHA256] = [3, 2, 4];

const KEY = bytes(16, 0x40);
const MAC_KEY = bytes(20, 0x10);
const IV = bytes(16, 0x80);
const AAD = bytes(5, 0xa0);
const DATA = bytes(96);

/** The data with 32 to 79 ciphered, by node:crypto. */
function text(): Uint8Array {
  const engine = createCipheriv("aes-128-cbc", KEY, IV).setAutoPadding(false);
  const whole = DATA.slice();
  whole.set(engine.update(DATA.subarray(32, 80)), 32);
  engine.final();
  return whole;
}
const TEXT = text();
const mac = (...parts: readonly Uint8Array[]): Uint8Array =>
  new Uint8Array(createHmac("sha256", MAC_KEY).update(le(...parts)).digest());

/** A device with one data queue, driven by raw requests. */
class Rig extends CryptoRig {
  /** Creates a session of a chain: its status and id. */
  chain(words: Uint8Array, keys: Uint8Array, opcode = 0x0002) {
    return this.create(opcode, AES_CBC, le(padded(48, words), 2, 0), keys);
  }

  /** A data request: its status, and the results. */
  run(
    opcode: number,
    id: number,
    flag: number,
    fixed: Uint8Array,
    rest: Uint8Array,
    rooms: readonly number[],
  ) {
    return this.ask({ opcode, algo: AES_CBC, id, flag, fixed, rest, rooms });
  }
}

/** Words of a session: order, mode, cipher (algo, key_len, op), hash (algo, result_len, auth_key_len), aad_len. */
const session = (order: number, mode: number, op: number, auth = MAC_KEY.length, algo = SHA256) =>
  le(order, mode, AES_CBC, 16, op, 0, algo, 32, auth, 0, 0, 0);
/** Words of a request: 32 to 79 are ciphered, 16 to 90 hashed. */
const request = (aad = 0, digest = 32, dst = 96, from = 32, length = 48, hashed = 75) =>
  le(16, 96, dst, from, length, 16, hashed, aad, digest, 0);
const data = (words: Uint8Array): Uint8Array => le(words, 2, 0);

for (const withhold of [[], Object.values(CryptoFeature)]) {
  const revision = withhold.length === 0 ? 1 : 0;
  Deno.test(`spec crypto: a chain's parts are parsed, and both results written (dev.crypto.sym.4, .5, .7; revision ${revision})`, async () => {
    await using rig = new Rig({ withhold });
    const { id, status } = await rig.chain(session(CIPHER_FIRST, AUTH, 1), le(KEY, MAC_KEY));
    assertEquals(status, OK);
    const run = (fixed: Uint8Array, rest = le(IV, DATA), rooms = [96, 32]) =>
      rig.run(0, id, SESSION_MODE, data(fixed), rest, rooms);
    assertEquals(await run(request()), {
      status: OK,
      results: [TEXT, mac(TEXT.subarray(16, 91))],
    });
    // A shorter digest is the first bytes of it.
    assertEquals(
      (await run(request(0, 12), undefined, [96, 12])).results[1],
      mac(TEXT.subarray(16, 91)).slice(0, 12),
    );
    // Room behind the text stays zero, and the digest follows it.
    const wide = await run(request(0, 32, 100), undefined, [100, 32]);
    assertEquals(wide.results, [padded(100, TEXT), mac(TEXT.subarray(16, 91))]);
    const other = await rig.chain(session(HASH_FIRST, AUTH, 1), le(KEY, MAC_KEY));
    const before = await rig.run(0, other.id, SESSION_MODE, data(request()), le(IV, DATA), [
      96,
      32,
    ]);
    assertEquals(before.results, [TEXT, mac(DATA.subarray(16, 91))]);
    // Decrypting what was encrypted first and hashed then: the text is hashed, and decrypted.
    const back = await rig.chain(session(HASH_FIRST, AUTH, 2), le(KEY, MAC_KEY));
    const opened = await rig.run(1, back.id, SESSION_MODE, data(request()), le(IV, TEXT), [96, 32]);
    assertEquals(opened, { status: OK, results: [DATA, mac(TEXT.subarray(16, 91))] });
    const plain = await rig.chain(session(CIPHER_FIRST, PLAIN, 1, 0), KEY);
    const hashed = await rig.run(0, plain.id, SESSION_MODE, data(request()), le(IV, DATA), [
      96,
      32,
    ]);
    const sha = createHash("sha256").update(TEXT.subarray(16, 91)).digest();
    assertEquals(hashed.results, [TEXT, new Uint8Array(sha)]);
  });
}

Deno.test("spec crypto: additional data are read if there are any (dev.crypto.sym.6)", async () => {
  await using rig = new Rig();
  const { id } = await rig.chain(session(CIPHER_FIRST, AUTH, 1), le(KEY, MAC_KEY));
  const run = (fixed: Uint8Array, rest: Uint8Array) =>
    rig.run(0, id, SESSION_MODE, data(fixed), rest, [96, 32]);
  const hashed = TEXT.subarray(16, 91);
  assertEquals((await run(request(5), le(IV, DATA, AAD))).results[1], mac(AAD, hashed));
  // Bytes behind the source are none of the request.
  assertEquals((await run(request(0), le(IV, DATA, AAD))).results[1], mac(hashed));
});

Deno.test("spec crypto: a chain without a session has its parameters and keys with it (dev.crypto.sym.1, .4)", async () => {
  await using rig = new Rig();
  // order, aad_len; cipher: algo, key_len, op; hash: algo, auth_key_len, hash_mode.
  const para = (order: number, mode = AUTH, auth = 20, algo = SHA256) =>
    le(order, 5, AES_CBC, 16, 1, algo, auth, mode);
  const run = (words: Uint8Array, fixed = request(5)) =>
    rig.run(0, 0, 0, le(words, fixed, 2), le(KEY, MAC_KEY, IV, AAD, DATA), [96, 32]);
  const hashed = mac(AAD, TEXT.subarray(16, 91));
  assertEquals(await run(para(CIPHER_FIRST)), { status: OK, results: [TEXT, hashed] });
  const first = mac(AAD, DATA.subarray(16, 91));
  assertEquals((await run(para(HASH_FIRST))).results, [TEXT, first]);
  assertEquals((await run(para(0))).status, ERR);
  assertEquals([(await run(para(1, NESTED))).status, (await run(para(1, AUTH, 20, 9))).status], [
    NOTSUPP,
    NOTSUPP,
  ]);
});

Deno.test("spec crypto: chains that cannot be are refused", async () => {
  await using rig = new Rig();
  const keys = le(KEY, MAC_KEY);
  const refused = async (words: Uint8Array, keys: Uint8Array) =>
    (await rig.chain(words, keys)).status;
  assertEquals(await refused(session(0, AUTH, 1), keys), ERR, "no order");
  assertEquals(await refused(session(3, AUTH, 1), keys), ERR, "no such order");
  assertEquals(await refused(session(1, NESTED, 1), keys), NOTSUPP);
  assertEquals(await refused(session(1, AUTH, 1, 20, 77), keys), NOTSUPP, "no such MAC");
  assertEquals(await refused(session(1, AUTH, 1, 129), le(KEY, bytes(129))), ERR, "a long key");
  assertEquals(await refused(session(1, AUTH, 1, 21), keys), ERR, "a key that is cut off");
  assertEquals(await refused(session(1, AUTH, 1, 20, SHA1), keys), ERR, "32 bytes of SHA-1");
  const { id } = await rig.chain(session(CIPHER_FIRST, AUTH, 1), keys);
  const run = async (fixed: Uint8Array, operation = 0, type = 2): Promise<number> => {
    const rest = le(IV, DATA);
    const whole = le(fixed, type, 0);
    return (await rig.run(operation, id, SESSION_MODE, whole, rest, [96, 32])).status;
  };
  assertEquals(await run(request(0, 32, 96, 64, 48)), ERR, "ciphers past the source");
  assertEquals(await run(request(0, 32, 96, 0xffffffff, 16)), ERR);
  assertEquals(await run(request(0, 32, 96, 32, 48, 81)), ERR, "hashes past the source");
  assertEquals(await run(request(0, 32, 96, 32, 47)), ERR, "part of a block");
  assertEquals(await run(request(0, 32, 95)), ERR, "no room for the text");
  assertEquals(await run(request(0, 33)), ERR, "more than a digest has");
  assertEquals(await run(request(6)), ERR, "additional data that are not there");
  assertEquals(await run(request(), 1), ERR, "a session for encrypting");
  assertEquals([await run(request(), 0, 3), await run(request(), 0, 1)], [NOTSUPP, INVSESS]);
  // A session of a cipher alone is none of a chain.
  const sole = le(padded(48, AES_CBC, 16, 1), 1, 0);
  const { id: cipher } = await rig.create(0x0002, AES_CBC, sole, KEY);
  const asked = await rig.run(0, cipher, SESSION_MODE, data(request()), le(IV, DATA), [96, 32]);
  assertEquals(asked.status, INVSESS);
  assertEquals(await run(request()), OK);
});

Deno.test("spec crypto: keys of chains go with a snapshot, and with a reset", async () => {
  await using rig = new Rig();
  const { model } = rig;
  await rig.chain(session(CIPHER_FIRST, AUTH, 1), le(KEY, MAC_KEY));
  assertEquals(model.usage(), { items: 1, bytes: 36 });
  const other = new CryptoDevice();
  other.restore(structuredClone(model.snapshot()));
  assertEquals(other.snapshot(), model.snapshot());
  model.reset();
  assertEquals(model.usage(), { items: 0, bytes: 0 });
});

type DriverRig = RecordedRig<"crypto", CryptoDevice, Crypto>;
const boot = (withhold: readonly number[] = []): Promise<DriverRig> =>
  bootRecorded("crypto", new CryptoDevice({ withhold }), cryptoDriver);
const CHAIN: ChainAlgorithms = {
  cipher: { algo: CryptoCipher.AES_CBC, key: KEY },
  mac: { algo: CryptoMac.HMAC_SHA_256, key: MAC_KEY },
  aadSize: 5,
};
const PARTS = {
  ...SOON,
  aad: AAD,
  ciphered: { start: 32, length: 48 },
  hashed: { start: 16, length: 75 },
};

for (const first of ["cipher", "hash"] as const) {
  for (
    const [name, withhold, stateless] of [
      ["sessions", [], false],
      ["no sessions", [], true],
      ["revision 0", Object.values(CryptoFeature), false],
    ] as const
  ) {
    Deno.test(`spec crypto: what the driver sends of a chain, ${first} first (drv.crypto.sym.2, .5; ${name})`, async () => {
      await using rig = await boot(withhold);
      {
        const options = { ...SOON, stateless };
        await using chain = await rig.crypto.chain({ ...CHAIN, first }, options);
        const { text, digest } = await chain.encrypt(IV, DATA, PARTS);
        assertEquals(text, TEXT);
        assertEquals(digest, mac(AAD, (first === "cipher" ? TEXT : DATA).subarray(16, 91)));
        assertEquals(await chain.decrypt(IV, text, digest, PARTS), DATA);
        digest[31]! ^= 1;
        for (const wrong of [digest, digest.subarray(0, 31), new Uint8Array(0)]) {
          const error = await assertRejects(() =>
            chain.decrypt(IV, text, wrong, PARTS)
          ) as VireoError;
          assertEquals(error.code, "BAD_STATUS");
        }
      }
      const orders = first === "cipher" ? [CIPHER_FIRST, HASH_FIRST] : [HASH_FIRST, CIPHER_FIRST];
      const made = rig.seen.chains.filter(({ queue, read }) => queue === 1 && at(read, 0) === 2);
      assertEquals(
        made.map(({ read }) => read),
        stateless ? [] : orders.map((order, i) => {
          const words = le(order, AUTH, AES_CBC, 16, i + 1, 0, SHA256, 32, 20, 0, 5, 0);
          return le(2, AES_CBC, 0, 0, words, 2, 0, KEY, MAC_KEY);
        }),
      );
      const asked = rig.seen.chains.filter(({ queue }) => queue === 0).slice(0, 2);
      assertEquals(
        asked.map(({ read }) => le(read.subarray(0, 8), read.subarray(16))),
        [DATA, TEXT].map((src, i) => {
          const flag = !stateless && withhold.length === 0 ? SESSION_MODE : 0;
          const header = le(i, AES_CBC, flag, 0);
          if (!stateless) return le(header, request(5), 2, 0, IV, src, AAD);
          const para = le(orders[i]!, 5, AES_CBC, 16, i + 1, SHA256, 20, AUTH);
          return le(header, para, request(5), 2, KEY, MAC_KEY, IV, AAD, src);
        }),
      );
      const rooms = asked.map(({ writable }) => writable.reduce((sum, length) => sum + length));
      assertEquals(rooms, [96 + 32 + 1, 96 + 32 + 1]);
    });
  }
}

Deno.test("crypto: a chain with a hash, with part of a digest, and over all of the text by default", async () => {
  await using rig = await boot();
  const { cipher } = CHAIN;
  await using chain = await rig.crypto.chain({ cipher, hash: CryptoHash.SHA1, digestSize: 12 });
  assertEquals(chain.digestSize, 12);
  const { text, digest } = await chain.encrypt(IV, DATA, SOON);
  const engine = createCipheriv("aes-128-cbc", KEY, IV).setAutoPadding(false);
  assertEquals(text, new Uint8Array([...engine.update(DATA), ...engine.final()]));
  assertEquals(digest, new Uint8Array(createHash("sha1").update(text).digest()).slice(0, 12));
  assertEquals(await chain.decrypt(IV, text, digest, SOON), DATA);
});

Deno.test("crypto: a chain that makes no sense is refused before anything is sent", async () => {
  await using rig = await boot();
  const { crypto, seen } = rig;
  const { cipher, mac } = CHAIN;
  await assertRejects(() => crypto.chain({ cipher }), RangeError, "either a hash or a MAC");
  await assertRejects(() => crypto.chain({ cipher, mac: mac!, hash: 2 }), RangeError, "either");
  for (const digestSize of [0, 33, 1.5]) {
    await assertRejects(
      () => crypto.chain({ cipher, mac: mac!, digestSize }),
      RangeError,
      "1 to 32",
    );
  }
  const code = async (run: () => Promise<unknown>): Promise<string> =>
    (await assertRejects(run) as VireoError).code;
  const long = { algo: CryptoMac.HMAC_SHA_256, key: bytes(129) };
  assertEquals(await code(() => crypto.chain({ cipher, mac: long })), "UNSUPPORTED");
  assertEquals(
    await code(() => crypto.chain({ cipher, hash: CryptoHash.SHA3_256 })),
    "UNSUPPORTED",
  );
  assertEquals(seen.chains, []);
  await using chain = await crypto.chain(CHAIN, SOON);
  const before = seen.chains.length;
  for (
    const part of [{ start: -1, length: 2 }, { start: 90, length: 7 }, { start: 0, length: 0.5 }]
  ) {
    for (const name of ["ciphered", "hashed"]) {
      await assertRejects(
        () => chain.encrypt(IV, DATA, { ...PARTS, [name]: part }),
        RangeError,
        "96",
      );
    }
  }
  await assertRejects(() => chain.encrypt(IV, DATA, { aad: bytes(4) }), RangeError, "made for 5");
  assertEquals(seen.chains.length, before);
});
