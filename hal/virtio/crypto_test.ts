import { assertEquals } from "@std/assert";
import {
  CRYPTO_CONFIG,
  CRYPTO_CTRL_HEADER,
  CRYPTO_OP_HEADER,
  CRYPTO_SESSION_INPUT,
  CryptoMac,
  CryptoStatus,
} from "./crypto.ts";

Deno.test("crypto: the numbers of virtio 1.4 §5.9", () => {
  assertEquals([CRYPTO_CONFIG.crypto_services.offset, CRYPTO_CONFIG.hash_algo.offset], [8, 20]);
  assertEquals([CRYPTO_CONFIG.max_cipher_key_len.offset, CRYPTO_CONFIG.akcipher_algo.offset], [
    36,
    44,
  ]);
  assertEquals([CRYPTO_CONFIG.max_size.offset, CRYPTO_CTRL_HEADER.SIZE], [48, 16]);
  assertEquals([CRYPTO_OP_HEADER.session_id.offset, CRYPTO_OP_HEADER.flag.offset], [8, 16]);
  assertEquals([CRYPTO_SESSION_INPUT.status.offset, CRYPTO_OP_HEADER.SIZE], [8, 24]);
  assertEquals([CryptoStatus.INVSESS, CryptoStatus.KEY_REJECTED], [4, 6]);
  assertEquals(CryptoMac.HMAC_SHA_256, 4);
});
