import { get, join, u32, zeroes } from "../bytes.ts";
import type { Check } from "../check.ts";
import type { CheckContext } from "../context.ts";
import { cryptoControl, TYPE } from "../requests.ts";

const SCOPE = { devices: [TYPE.CRYPTO] } as const;
const AES_CBC = 3;
const SHA_256 = 4;
const ECDSA = 2;
const P256 = 3;
const [HASH_FIRST, CIPHER_FIRST] = [1, 2];
const [OK, BADMSG, KEY_REJECTED] = [0, 2, 6];

const bytes = (length: number, from: number): Uint8Array<ArrayBuffer> =>
  Uint8Array.from({ length }, (_, i) => from + i);
const KEY = bytes(16, 0x40);
const AUTH = bytes(20, 0x10);
const IV = bytes(16, 0x80);
const AAD = bytes(5, 0xa0);
const DATA = bytes(64, 1);
/** Part of the data that is ciphered, and the one that is hashed: from, to. */
const CIPHERED = [16, 48] as const;
const HASHED = [8, 60] as const;

/** The key of RFC 6979 §A.2.5, and its signature of "sample". */
const PRIVATE = Uint8Array.fromHex(
  "30310201010420c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721a00a06082a8648ce3d030107",
);
const PUBLIC = Uint8Array.fromHex(
  "0460fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6" +
    "7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299",
);
const SIGNATURE = Uint8Array.fromHex(
  "3046022100efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716" +
    "022100f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8",
);
const SAMPLE = new TextEncoder().encode("sample");

/** The text that the data become, by WebCrypto. */
async function text(): Promise<Uint8Array<ArrayBuffer>> {
  const { subtle } = crypto;
  const key = await subtle.importKey("raw", KEY, "AES-CBC", false, ["encrypt"]);
  const part = DATA.slice(...CIPHERED);
  // WebCrypto pads: a block more than what came in.
  const out = await subtle.encrypt({ name: "AES-CBC", iv: IV }, key, part);
  const whole = DATA.slice();
  whole.set(new Uint8Array(out).subarray(0, part.length), CIPHERED[0]);
  return whole;
}

/** HMAC-SHA-256 of some bytes, by WebCrypto. */
async function mac(...parts: readonly Uint8Array[]): Promise<Uint8Array> {
  const algorithm = { name: "HMAC", hash: "SHA-256" };
  const key = await crypto.subtle.importKey("raw", AUTH, algorithm, false, ["sign"]);
  const whole = join(...parts) as Uint8Array<ArrayBuffer>;
  return new Uint8Array(await crypto.subtle.sign("HMAC", key, whole));
}

/** Asks for a session: its id, or nothing if the device has none. */
async function session(c: CheckContext, request: Uint8Array): Promise<Uint8Array | undefined> {
  const { bytes } = await c.ask(cryptoControl(c), [request], [16]);
  return get(bytes, 8, 4) === OK ? bytes.slice(0, 8) : undefined;
}

/** Brings a device up, and makes a session of a chain; skips a device that makes none. */
async function chain(c: CheckContext, order: number): Promise<Uint8Array> {
  const services = c.device.config(8, 4);
  const both = (services & 1) !== 0 && (services & 4) !== 0;
  if (!both || (c.device.config(24, 4) >>> SHA_256 & 1) === 0) {
    return c.skip("the device has not both AES-CBC and HMAC-SHA-256");
  }
  await c.init();
  const fixed = u32(order, 2, AES_CBC, 16, 1, 0, SHA_256, 32, AUTH.length, 0, 0, 0);
  const id = await session(c, join(u32(0x0002, AES_CBC, 0, 0), fixed, u32(2, 0), KEY, AUTH));
  return id ?? c.skip("the device chains no algorithms");
}

/** Runs a chain on the data: its status, text and digest. */
async function run(
  c: CheckContext,
  id: Uint8Array,
  { aad = new Uint8Array(0), ciphered = CIPHERED as readonly [number, number] } = {},
) {
  const fixed = u32(
    ...[IV.length, DATA.length, DATA.length, ciphered[0], ciphered[1] - ciphered[0]],
    ...[HASHED[0], HASHED[1] - HASHED[0], aad.length, 32, 0],
  );
  const request = join(u32(0, AES_CBC), id, u32(0, 0), fixed, u32(2, 0));
  const { bytes } = await c.ask(0, [request, IV, DATA, ...aad.length > 0 ? [aad] : []], [
    DATA.length,
    32,
    1,
  ]);
  return { status: bytes[96], text: bytes.slice(0, 64), digest: bytes.slice(64, 96) };
}

/** Brings a device up, and makes a session of ECDSA on P-256; skips a device that makes none. */
async function ecdsa(c: CheckContext, type: 1 | 2): Promise<Uint8Array> {
  const has = (c.device.config(8, 4) & 16) !== 0 && (c.device.config(44, 4) >>> ECDSA & 1) !== 0;
  if (!has) return c.skip("the device has no ECDSA");
  await c.init();
  const key = type === 1 ? PUBLIC : PRIVATE;
  const fixed = join(u32(ECDSA, type, key.length, P256), zeroes(40));
  const id = await session(c, join(u32(0x0404, ECDSA, 0, 0), fixed, key));
  c.expect("session of the key of RFC 6979 §A.2.5", id !== undefined, "none", "one");
  return id!;
}

async function digest(): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", SAMPLE));
}

/** Verifies a signature of "sample": the status. */
async function verify(
  c: CheckContext,
  id: Uint8Array,
  signature: Uint8Array,
): Promise<number | undefined> {
  const fixed = join(u32(signature.length, 32), zeroes(40));
  const request = join(u32(0x0403, ECDSA), id, u32(0, 0), fixed);
  return (await c.ask(0, [request, signature, await digest()], [1])).bytes[0];
}

/** Chains of algorithms, and ECDSA (virtio 1.4 §5.9); what comes out is compared with WebCrypto. */
export const CRYPTO_CHAIN_CHECKS: readonly Check[] = [
  ...([["cipher-first", CIPHER_FIRST], ["hash-first", HASH_FIRST]] as const).map((
    [name, order],
  ): Check => ({
    id: `crypto.chain.${name}`,
    clauses: ["dev.crypto.sym.4", "dev.crypto.sym.5", "dev.crypto.sym.7"],
    done: `a part of some data is ciphered by AES-CBC and another hashed, ${name}`,
    expected: "OK, and text and digest of WebCrypto",
    scope: SCOPE,
    async run(c) {
      const seen = await run(c, await chain(c, order));
      const whole = await text();
      c.equal("status", seen.status, OK);
      c.equal("text", seen.text.toHex(), whole.toHex());
      const hashed = (order === CIPHER_FIRST ? whole : DATA).subarray(...HASHED);
      c.equal("digest", seen.digest.toHex(), (await mac(hashed)).toHex());
    },
  })),
  {
    id: "crypto.chain.additional-data",
    clauses: ["dev.crypto.sym.6"],
    done: "a chain has no additional data, and then 5 bytes of them",
    expected: "OK, and another digest with them",
    scope: SCOPE,
    async run(c) {
      const id = await chain(c, CIPHER_FIRST);
      const [without, with5] = [await run(c, id), await run(c, id, { aad: AAD })];
      c.equal("statuses", `${without.status}, ${with5.status}`, "0, 0");
      c.equal(
        "digest",
        without.digest.toHex(),
        (await mac((await text()).subarray(...HASHED))).toHex(),
      );
      const same = with5.digest.toHex() === without.digest.toHex();
      c.equal("the digests are the same", same, false);
    },
  },
  {
    id: "crypto.hostile.chain-outside",
    clauses: ["dev.crypto.sym.8"],
    done: "a chain ciphers bytes behind the source",
    expected: "NOTSUPP, INVSESS or ERR",
    hostile: true,
    scope: SCOPE,
    async run(c) {
      const id = await chain(c, CIPHER_FIRST);
      const { status } = await run(c, id, { ciphered: [48, 80] });
      c.expect("status", [1, 3, 4].includes(status!), status, "1, 3 or 4");
    },
  },
  {
    id: "crypto.ecdsa.sign",
    clauses: ["dev.crypto.akcipher.2", "dev.crypto.akcipher.3"],
    done: "a digest is signed by a key on P-256",
    expected: "OK, and a signature that WebCrypto verifies",
    scope: SCOPE,
    async run(c) {
      const id = await ecdsa(c, 2);
      const fixed = join(u32(32, 72), zeroes(40));
      const request = join(u32(0x0402, ECDSA), id, u32(0, 0), fixed);
      const { bytes } = await c.ask(0, [request, await digest()], [72, 1]);
      c.equal("status", bytes[72], OK);
      const algorithm = { name: "ECDSA", namedCurve: "P-256" };
      const key = await crypto.subtle.importKey("raw", PUBLIC, algorithm, false, ["verify"]);
      const how = { name: "ECDSA", hash: "SHA-256" };
      const good = await crypto.subtle.verify(how, key, plain(bytes), SAMPLE);
      c.equal("the signature is good", good, true);
    },
  },
  {
    id: "crypto.ecdsa.verify",
    clauses: ["dev.crypto.akcipher.3"],
    done: "the signature of RFC 6979 §A.2.5 is verified, and then another one",
    expected: "OK, and KEY_REJECTED, BADMSG or ERR",
    scope: SCOPE,
    async run(c) {
      const id = await ecdsa(c, 1);
      c.equal("status of the signature", await verify(c, id, SIGNATURE), OK);
      const other = SIGNATURE.slice();
      other[10]! ^= 1;
      const status = await verify(c, id, other);
      const refused = [KEY_REJECTED, BADMSG, 1].includes(status!);
      c.expect("status of another one", refused, status, "1, 2 or 6");
    },
  },
];

/** The two numbers of a signature in DER, as WebCrypto has them: 32 bytes each. */
function plain(der: Uint8Array): Uint8Array<ArrayBuffer> {
  const both = new Uint8Array(64);
  let at = 2;
  for (const end of [32, 64]) {
    const length = Math.min(der[at + 1]!, 33);
    const number = der.subarray(at + 2, at + 2 + length);
    const some = number.subarray(Math.max(0, length - 32));
    both.set(some, end - some.length);
    at += 2 + length;
  }
  return both;
}
