// Needs QEMU: what its cryptodev backend computes must be what WebCrypto and node:crypto compute.
import { assert, assertEquals } from "@std/assert";
import type { Buffer } from "node:buffer";
import { constants, createSign, generateKeyPairSync, privateDecrypt } from "node:crypto";
import { cryptoDriver } from "@vireo/drivers";
import {
  CryptoCipher,
  CryptoKeyType,
  CryptoRsaHash,
  CryptoRsaPadding,
  CryptoService,
} from "@vireo/hal";
import { BOARDS } from "../../firmware/boards/mod.ts";
import { openVireo } from "../../firmware/session.ts";

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
    for (const size of [16, 32]) {
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

Deno.test("crypto on QEMU: RSA encrypts, decrypts, signs and verifies as node:crypto does", async () => {
  await using vireo = await openVireo({
    target: "qtest:aarch64-virt",
    blk: [],
    net: { kind: "none" },
    with: [{ name: "crypto", value: undefined }],
  });
  const crypto = vireo.get(cryptoDriver);
  assert(crypto.offer.services.has(CryptoService.AKCIPHER));
  const pair = generateKeyPairSync("rsa", { modulusLength: 1024 });
  const der = (key: typeof pair.privateKey): Uint8Array<ArrayBuffer> =>
    new Uint8Array(key.export({ format: "der", type: "pkcs1" }) as Buffer);
  const priv = { type: CryptoKeyType.PRIVATE, der: der(pair.privateKey), size: 128 };
  const pub = { type: CryptoKeyType.PUBLIC, der: der(pair.publicKey), size: 128 };
  const padding = CryptoRsaPadding.PKCS1;
  const options = { padding, hash: CryptoRsaHash.SHA256, ...SOON };
  const secret = random(30);
  {
    await using encrypting = await crypto.rsa(pub, options);
    const sealed = await encrypting.encrypt(secret, SOON);
    const key = { key: pair.privateKey, padding: constants.RSA_PKCS1_PADDING };
    assertEquals(new Uint8Array(privateDecrypt(key, sealed)), secret);
    await using decrypting = await crypto.rsa(priv, options);
    assertEquals((await decrypting.decrypt(sealed, SOON)).subarray(0, 30), secret);
  }
  const data = random(100);
  const digest = new Uint8Array(await subtle.digest("SHA-256", data));
  const expected = new Uint8Array(createSign("sha256").update(data).sign(pair.privateKey));
  await using signing = await crypto.rsa(priv, options);
  assertEquals(await signing.sign(digest, SOON), expected);
  await using verifying = await crypto.rsa(pub, options);
  await verifying.verify(expected, digest, SOON);
});
