import { cryptoDriver, type CryptoOffer } from "@vireo/drivers/crypto";
import {
  CryptoAead,
  CryptoAkcipher,
  CryptoCipher,
  CryptoHash,
  CryptoMac,
  CryptoService,
  nameIn,
} from "@vireo/hal";
import { parseHexBytes, UsageError } from "../terminal/usage.ts";
import type { JsonFlag } from "./command.ts";
import type { Vireo } from "../vireo.ts";

const names = (table: Readonly<Record<string, number>>, set: ReadonlySet<number>): string[] =>
  [...set].map((bit) => nameIn(table, bit) ?? `${bit}`);

/** Services that a device offers, by name. */
function describe(offer: CryptoOffer): Record<string, unknown> {
  const { ready, queues, maxCipherKey, maxAuthKey, maxSize } = offer;
  return {
    ready,
    queues,
    services: names(CryptoService, offer.services),
    ciphers: names(CryptoCipher, offer.ciphers),
    hashes: names(CryptoHash, offer.hashes),
    macs: names(CryptoMac, offer.macs),
    aeads: names(CryptoAead, offer.aeads),
    akciphers: names(CryptoAkcipher, offer.akciphers),
    maxCipherKey,
    maxAuthKey,
    maxSize,
  };
}

/** `vireo crypto info`. */
export function info(vireo: Vireo, flags: JsonFlag): void {
  const offer = describe(vireo.get(cryptoDriver).offer);
  if (flags.json) console.log(JSON.stringify(offer));
  else for (const [name, value] of Object.entries(offer)) console.log(`${name} ${value}`);
}

/** Flags of `vireo crypto aes-cbc`. */
interface CipherFlags extends JsonFlag {
  readonly key: string;
  readonly iv: string;
  readonly decrypt?: true;
}

function checkLength(what: string, { length }: Uint8Array, fits: boolean, expected: string): void {
  if (!fits) throw new UsageError(`${what}: expected ${expected} bytes, got ${length}`);
}

/** `vireo crypto aes-cbc`. */
export async function aesCbc(vireo: Vireo, text: string, flags: CipherFlags): Promise<void> {
  const [data, key, iv] = [
    parseHexBytes(text, "data"),
    parseHexBytes(flags.key, "--key"),
    parseHexBytes(flags.iv, "--iv"),
  ];
  checkLength("data", data, data.length % 16 === 0, "a multiple of 16");
  checkLength("--key", key, [16, 24, 32].includes(key.length), "16, 24 or 32");
  checkLength("--iv", iv, iv.length === 16, "16");
  await using cipher = await vireo.get(cryptoDriver).cipher(CryptoCipher.AES_CBC, key);
  const options = { signal: vireo.signal };
  const result = flags.decrypt
    ? await cipher.decrypt(iv, data, options)
    : await cipher.encrypt(iv, data, options);
  const hex = [...result].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  console.log(flags.json ? JSON.stringify({ result: hex }) : hex);
}
