// Encrypts on a crypto device and decrypts with WebCrypto.
//
//   vireo run --with crypto examples/crypto.ts
import { cryptoDriver } from "@vireo/drivers/crypto";
import { CryptoCipher } from "@vireo/hal";
import type { Vireo } from "@vireo/firmware";

/** The function that `vireo run` calls. */
export default async function main(vireo: Vireo): Promise<void> {
  const device = vireo.get(cryptoDriver);
  const key = crypto.getRandomValues(new Uint8Array(32));
  const iv = crypto.getRandomValues(new Uint8Array(16));
  // AES-CBC works on blocks of 16 bytes: PKCS #7 fills the last one.
  const text = new TextEncoder().encode("attack at dawn");
  const block = new Uint8Array(16).fill(16 - text.length);
  block.set(text);

  await using cipher = await device.cipher(CryptoCipher.AES_CBC, key, { signal: vireo.signal });
  const secret = await cipher.encrypt(iv, block, { signal: vireo.signal });
  const webKey = await crypto.subtle.importKey("raw", key, "AES-CBC", false, ["decrypt"]);
  const plain = await crypto.subtle.decrypt({ name: "AES-CBC", iv }, webKey, secret.slice());
  console.log(`the device's secret says '${new TextDecoder().decode(plain)}'`);
}
