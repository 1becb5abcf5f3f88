import { assertEquals } from "@std/assert";
import {
  CRYPTO_CONFIG,
  CRYPTO_CTRL_HEADER,
  CRYPTO_CURVE_SIZE,
  CRYPTO_OP_HEADER,
  CRYPTO_SESSION_INPUT,
  CRYPTO_SYM_CHAIN,
  CryptoChainOrder,
  CryptoCurve,
  CryptoHashMode,
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
  assertEquals([CRYPTO_SYM_CHAIN, Object.values(CryptoChainOrder), Object.values(CryptoHashMode)], [
    2,
    [1, 2],
    [1, 2, 3],
  ]);
  assertEquals([CryptoCurve.NIST_P192, CryptoCurve.NIST_P256, CryptoCurve.NIST_P521], [1, 3, 5]);
  assertEquals(Object.values(CRYPTO_CURVE_SIZE), [24, 28, 32, 48, 66]);
});
