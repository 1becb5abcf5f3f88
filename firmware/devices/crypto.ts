import { cryptoDriver, type CryptoOffer } from "@vireo/drivers";
import {
  CryptoAead,
  CryptoAkcipher,
  CryptoCipher,
  CryptoHash,
  CryptoMac,
  CryptoService,
  DeviceId,
} from "@vireo/hal";
import { parseCount, parseHexBytes, UsageError } from "../terminal/usage.ts";
import type { BoardDevice } from "./board_device.ts";

const names = (table: Readonly<Record<string, number>>, set: ReadonlySet<number>): string[] =>
  [...set].map((bit) => Object.entries(table).find(([, value]) => value === bit)?.[0] ?? `${bit}`);

/** What a device offers, by name. */
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

/** Ciphers, hashes and the like. */
export const CRYPTO: BoardDevice = {
  name: "crypto",
  deviceId: DeviceId.CRYPTO,
  summary: "ciphers, hashes, MACs and RSA on a device",
  driver: () => Promise.resolve(cryptoDriver),
  async emulate(value) {
    if (value !== undefined) throw new UsageError(`--with crypto: takes no value, got '${value}'`);
    const { CryptoDevice } = await import("@vireo/emu");
    return new CryptoDevice({ queues: 2 });
  },
  qemu: (_, id) => ({
    backends: ["-object", `cryptodev-backend-builtin,id=${id}`],
    devices: [`virtio-crypto-device,cryptodev=${id}`],
  }),
  commands: [
    {
      name: "info",
      summary: "say what the device can do",
      example: "vireo crypto info --target qtest:aarch64-virt",
      run(vireo, { flags }) {
        const offer = describe(vireo.get(cryptoDriver).offer);
        if (flags["json"]) console.log(JSON.stringify(offer));
        else for (const [name, value] of Object.entries(offer)) console.log(`${name} ${value}`);
        return Promise.resolve();
      },
    },
    {
      name: "aes-cbc",
      summary: "encrypt or decrypt with AES-CBC, without padding",
      arguments: [["<data>", "in hex, a multiple of 16 bytes"]],
      options: [
        ["--key <hex>", "16, 24 or 32 bytes", "00".repeat(16)],
        ["--iv <hex>", "16 bytes", "00".repeat(16)],
        ["--decrypt", "decrypt instead"],
      ],
      example: "vireo crypto aes-cbc 00112233445566778899aabbccddeeff --key " + "2b".repeat(16),
      async run(vireo, { args, flags }) {
        const [data, key, iv] = [
          parseHexBytes(args[0]!, "data"),
          parseHexBytes(String(flags["key"]), "--key"),
          parseHexBytes(String(flags["iv"]), "--iv"),
        ];
        parseCount(String(iv.length), "--iv length", 16, 16);
        await using cipher = await vireo.get(cryptoDriver).cipher(CryptoCipher.AES_CBC, key);
        const options = { signal: vireo.signal };
        const result = flags["decrypt"]
          ? await cipher.decrypt(iv, data, options)
          : await cipher.encrypt(iv, data, options);
        const hex = [...result].map((byte) => byte.toString(16).padStart(2, "0")).join("");
        console.log(flags["json"] ? JSON.stringify({ result: hex }) : hex);
      },
    },
  ],
};
