// Needs QEMU: what its cryptodev backend computes must be what WebCrypto and node:crypto compute.
import { assert, assertEquals } from "@std/assert";
import type { Buffer } from "node:buffer";
import {
  constants,
  createSign,
  generateKeyPairSync,
  privateDecrypt,
  publicEncrypt,
} from "node:crypto";
import { type Akcipher, cryptoDriver, type RsaKey } from "@vireo/drivers";
import {
  CryptoCipher,
  CryptoKeyType,
  CryptoRsaHash,
  CryptoRsaPadding,
  CryptoService,
  VireoError,
} from "@vireo/hal";
import { BOARDS } from "../../firmware/boards/mod.ts";
import { openVireo } from "../../firmware/session.ts";
import { isNewer } from "../qemu/mod.ts";

const SOON = { deadline: 10_000 };
const subtle = globalThis.crypto.subtle;
const random = (length: number): Uint8Array<ArrayBuffer> =>
  globalThis.crypto.getRandomValues(new Uint8Array(length));

for (const { name: board } of BOARDS) {
  Deno.test(`crypto on ${board}: AES-CBC is WebCrypto's, 200 requests at once`, async () => {
    await using vireo = await openVireo({
      target: `qtest:${board}`,
      blk: [],
      net: { kind: "none" },
      with: [{ name: "crypto", value: undefined }],
    });
    const crypto = vireo.get(cryptoDriver);
    assert(crypto.offer.ready && crypto.offer.services.has(CryptoService.CIPHER));
    for (const size of [16, 24, 32]) {
      const key = random(size);
      const webKey = await subtle.importKey("raw", key, "AES-CBC", false, ["encrypt"]);
      await using cipher = await crypto.cipher(CryptoCipher.AES_CBC, key, SOON);
      await Promise.all(Array.from({ length: 200 }, async (_, i) => {
        const iv = random(16);
        const data = random(16 * (i % 50 + 1));
        const padded = await subtle.encrypt({ name: "AES-CBC", iv }, webKey, data);
        const expected = new Uint8Array(padded).subarray(0, data.length);
        assertEquals(await cipher.encrypt(iv, data, SOON), expected);
        assertEquals(await cipher.decrypt(iv, expected, SOON), data);
      }));
    }
  });
}

/** Bytes of a modulus. */
const SIZE = 128;
/** RSA operations of the test below; 3000 show some six results that begin with a zero. */
const OPERATIONS = Number(Deno.env.get("VIREO_RSA_OPERATIONS") ?? 60);

const equals = (a: Uint8Array, b: Uint8Array): boolean =>
  a.length === b.length && a.every((byte, i) => byte === b[i]);

/** One operation: what QEMU makes of it, and whether that is right. */
interface RsaOperation {
  readonly name: string;
  readonly key: RsaKey;
  readonly run: (rsa: Akcipher) => Promise<Uint8Array>;
  /** Says whether a result is right. */
  readonly right: (result: Uint8Array) => boolean;
  /** Whether the right result begins with a zero, or may do so. */
  readonly zero: boolean;
}

/** All operations with one random key. */
async function operations(): Promise<RsaOperation[]> {
  const pair = generateKeyPairSync("rsa", { modulusLength: 8 * SIZE });
  const der = (key: typeof pair.privateKey): Uint8Array<ArrayBuffer> =>
    new Uint8Array(key.export({ format: "der", type: "pkcs1" }) as Buffer);
  const priv = { type: CryptoKeyType.PRIVATE, der: der(pair.privateKey), size: SIZE };
  const pub = { type: CryptoKeyType.PUBLIC, der: der(pair.publicKey), size: SIZE };
  const secret = random(1 + random(1)[0]! % 100);
  if (secret.length % 2 === 0) secret[0] = 0;
  const nodeKey = { key: pair.privateKey, padding: constants.RSA_PKCS1_PADDING };
  const nodePublic = { key: pair.publicKey, padding: constants.RSA_PKCS1_PADDING };
  const sealed = new Uint8Array(publicEncrypt(nodePublic, secret));
  const data = random(50);
  const digest = new Uint8Array(await subtle.digest("SHA-256", data));
  const signature = new Uint8Array(createSign("sha256").update(data).sign(pair.privateKey));
  const same = (expected: Uint8Array) => (result: Uint8Array): boolean => equals(result, expected);
  return [
    {
      name: "encrypt",
      key: pub,
      run: (rsa) => rsa.encrypt(secret, SOON),
      right: (result) => equals(new Uint8Array(privateDecrypt(nodeKey, result)), secret),
      zero: true,
    },
    {
      name: "decrypt",
      key: priv,
      run: (rsa) => rsa.decrypt(sealed, SOON),
      right: same(secret),
      zero: false,
    },
    {
      name: "sign",
      key: priv,
      run: (rsa) => rsa.sign(digest, SOON),
      right: same(signature),
      zero: signature[0] === 0,
    },
    {
      name: "verify",
      key: pub,
      run: async (rsa) => {
        await rsa.verify(signature, digest, SOON);
        return new Uint8Array(0);
      },
      right: () => true,
      zero: false,
    },
  ];
}

// QEMU 7.2 drops the zeroes that a result begins with; that must be an error, not another result.
Deno.test(`crypto on QEMU: ${OPERATIONS} RSA operations are right, or BAD_LENGTH where QEMU drops a zero`, async () => {
  await using vireo = await openVireo({
    target: "qtest:aarch64-virt",
    blk: [],
    net: { kind: "none" },
    with: [{ name: "crypto", value: undefined }],
  });
  const crypto = vireo.get(cryptoDriver);
  const offered = !isNewer("NO_AKCIPHER");
  assertEquals(crypto.offer.services.has(CryptoService.AKCIPHER), offered);
  if (!offered) return;
  const padding = CryptoRsaPadding.PKCS1;
  const options = { padding, hash: CryptoRsaHash.SHA256, ...SOON };
  const tally = { right: 0, refused: 0, wrong: 0 };
  const waiting: RsaOperation[] = [];
  for (let i = 0; i < OPERATIONS; i++) {
    if (waiting.length === 0) waiting.push(...await operations());
    const { name, key, run, right, zero } = waiting.shift()!;
    await using rsa = await crypto.rsa(key, options);
    try {
      if (right(await run(rsa))) tally.right++;
      else tally.wrong++;
    } catch (error) {
      if (!(error instanceof VireoError)) throw error;
      assertEquals(
        [error.code, error.expected],
        ["BAD_LENGTH", `at least ${SIZE + 1} bytes`],
        name,
      );
      assert(zero, `${name} is refused, but its result begins with no zero`);
      tally.refused++;
    }
  }
  if (Deno.env.has("VIREO_RSA_OPERATIONS")) console.log(tally);
  assertEquals([tally.wrong, tally.right + tally.refused], [0, OPERATIONS]);
});
