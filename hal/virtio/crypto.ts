import { type Layout, layout } from "../layout.ts";

/** Feature bits of the crypto device (virtio 1.4 §5.9.3). */
export const CryptoFeature = {
  REVISION_1: 0,
  CIPHER_STATELESS_MODE: 1,
  HASH_STATELESS_MODE: 2,
  MAC_STATELESS_MODE: 3,
  AEAD_STATELESS_MODE: 4,
  AKCIPHER_STATELESS_MODE: 5,
} as const;
/** A feature bit of the crypto device. */
export type CryptoFeature = typeof CryptoFeature[keyof typeof CryptoFeature];

/** `struct virtio_crypto_config` (virtio 1.4 §5.9.5). */
export const CRYPTO_CONFIG: Layout<
  | "status"
  | "max_dataqueues"
  | "crypto_services"
  | "cipher_algo_l"
  | "cipher_algo_h"
  | "hash_algo"
  | "mac_algo_l"
  | "mac_algo_h"
  | "aead_algo"
  | "max_cipher_key_len"
  | "max_auth_key_len"
  | "akcipher_algo"
  | "max_size"
> = layout({
  status: "u32",
  max_dataqueues: "u32",
  crypto_services: "u32",
  cipher_algo_l: "u32",
  cipher_algo_h: "u32",
  hash_algo: "u32",
  mac_algo_l: "u32",
  mac_algo_h: "u32",
  aead_algo: "u32",
  max_cipher_key_len: "u32",
  max_auth_key_len: "u32",
  akcipher_algo: "u32",
  max_size: "u64",
}, 56);

/** `status`: the device takes requests. */
export const CRYPTO_HW_READY = 1;

/** Services: bits of `services`, and the high byte of opcodes. */
export const CryptoService = { CIPHER: 0, HASH: 1, MAC: 2, AEAD: 3, AKCIPHER: 4 } as const;
/** A service. */
export type CryptoService = typeof CryptoService[keyof typeof CryptoService];

/** Cipher algorithms (virtio 1.4 §5.9.5.1). */
export const CryptoCipher = {
  ARC4: 1,
  AES_ECB: 2,
  AES_CBC: 3,
  AES_CTR: 4,
  DES_ECB: 5,
  DES_CBC: 6,
  TDES_ECB: 7,
  TDES_CBC: 8,
  TDES_CTR: 9,
  AES_XTS: 13,
} as const;
/** A cipher algorithm. */
export type CryptoCipher = typeof CryptoCipher[keyof typeof CryptoCipher];

/** Hash algorithms (virtio 1.4 §5.9.5.2). */
export const CryptoHash = {
  MD5: 1,
  SHA1: 2,
  SHA_224: 3,
  SHA_256: 4,
  SHA_384: 5,
  SHA_512: 6,
  SHA3_224: 7,
  SHA3_256: 8,
  SHA3_384: 9,
  SHA3_512: 10,
} as const;
/** A hash algorithm. */
export type CryptoHash = typeof CryptoHash[keyof typeof CryptoHash];

/** MAC algorithms (virtio 1.4 §5.9.5.3). */
export const CryptoMac = {
  HMAC_MD5: 1,
  HMAC_SHA1: 2,
  HMAC_SHA_224: 3,
  HMAC_SHA_256: 4,
  HMAC_SHA_384: 5,
  HMAC_SHA_512: 6,
} as const;
/** A MAC algorithm. */
export type CryptoMac = typeof CryptoMac[keyof typeof CryptoMac];

/** AEAD algorithms (virtio 1.4 §5.9.5.4). */
export const CryptoAead = { GCM: 1, CCM: 2, CHACHA20_POLY1305: 3 } as const;
/** An AEAD algorithm. */
export type CryptoAead = typeof CryptoAead[keyof typeof CryptoAead];

/** Asymmetric algorithms (virtio 1.4 §5.9.5.5). */
export const CryptoAkcipher = { RSA: 1, ECDSA: 2 } as const;
/** An asymmetric algorithm. */
export type CryptoAkcipher = typeof CryptoAkcipher[keyof typeof CryptoAkcipher];

/** The padding of RSA. */
export const CryptoRsaPadding = { RAW: 0, PKCS1: 1 } as const;
/** The padding of RSA. */
export type CryptoRsaPadding = typeof CryptoRsaPadding[keyof typeof CryptoRsaPadding];

/** The hash of an RSA signature (virtio 1.4 §5.9.7.2.5). */
export const CryptoRsaHash = {
  NONE: 0,
  MD2: 1,
  MD3: 2,
  MD4: 3,
  MD5: 4,
  SHA1: 5,
  SHA256: 6,
  SHA384: 7,
  SHA512: 8,
  SHA224: 9,
} as const;
/** The hash of an RSA signature. */
export type CryptoRsaHash = typeof CryptoRsaHash[keyof typeof CryptoRsaHash];

/** Curves of ECDSA (virtio 1.4 §5.9.7.2.5). */
export const CryptoCurve = {
  NIST_P192: 1,
  NIST_P224: 2,
  NIST_P256: 3,
  NIST_P384: 4,
  NIST_P521: 5,
} as const;
/** A curve of ECDSA. */
export type CryptoCurve = typeof CryptoCurve[keyof typeof CryptoCurve];

/** Bytes of a coordinate by curve. */
export const CRYPTO_CURVE_SIZE: Readonly<Record<CryptoCurve, number>> = {
  [CryptoCurve.NIST_P192]: 24,
  [CryptoCurve.NIST_P224]: 28,
  [CryptoCurve.NIST_P256]: 32,
  [CryptoCurve.NIST_P384]: 48,
  [CryptoCurve.NIST_P521]: 66,
};

/** The kind of key of an asymmetric session. */
export const CryptoKeyType = { PUBLIC: 1, PRIVATE: 2 } as const;
/** The kind of key of an asymmetric session. */
export type CryptoKeyType = typeof CryptoKeyType[keyof typeof CryptoKeyType];

/** Values of a request's status (virtio 1.4 §5.9.7). */
export const CryptoStatus = {
  OK: 0,
  ERR: 1,
  BADMSG: 2,
  NOTSUPP: 3,
  INVSESS: 4,
  NOSPC: 5,
  KEY_REJECTED: 6,
} as const;
/** A value of a request's status. */
export type CryptoStatus = typeof CryptoStatus[keyof typeof CryptoStatus];

/** Operations of sessions on the control queue: the low byte of opcodes. */
export const CryptoControl = {
  CREATE: 0x02,
  DESTROY: 0x03,
  AKCIPHER_CREATE: 0x04,
  AKCIPHER_DESTROY: 0x05,
} as const;
/** An operation of sessions. */
export type CryptoControl = typeof CryptoControl[keyof typeof CryptoControl];

/** Operations on data: the low byte of opcodes; HASH and MAC have 0 only. */
export const CryptoOperation = { ENCRYPT: 0, DECRYPT: 1, SIGN: 2, VERIFY: 3 } as const;
/** An operation on data. */
export type CryptoOperation = typeof CryptoOperation[keyof typeof CryptoOperation];

/** The direction of a cipher or AEAD session. */
export const CryptoDirection = { ENCRYPT: 1, DECRYPT: 2 } as const;
/** The direction of a cipher or AEAD session. */
export type CryptoDirection = typeof CryptoDirection[keyof typeof CryptoDirection];

/** `op_type` of symmetric requests: a cipher alone. */
export const CRYPTO_SYM_CIPHER = 1;
/** `op_type` of symmetric requests: a cipher and a hash or MAC (virtio 1.4 §5.9.7.2.3). */
export const CRYPTO_SYM_CHAIN = 2;

/** `alg_chain_order`: what is done first. */
export const CryptoChainOrder = { HASH_THEN_CIPHER: 1, CIPHER_THEN_HASH: 2 } as const;
/** An order of a chain. */
export type CryptoChainOrder = typeof CryptoChainOrder[keyof typeof CryptoChainOrder];

/** `hash_mode` of a chain: a hash, or a MAC. */
export const CryptoHashMode = { PLAIN: 1, AUTH: 2, NESTED: 3 } as const;
/** A kind of hash in a chain. */
export type CryptoHashMode = typeof CryptoHashMode[keyof typeof CryptoHashMode];

/** `flag` of a data request, with stateless mode negotiated: it names a session. */
export const CRYPTO_SESSION_MODE = 1;

/** `struct virtio_crypto_ctrl_header`. */
export const CRYPTO_CTRL_HEADER: Layout<"opcode" | "algo" | "flag" | "reserved"> = layout({
  opcode: "u32",
  algo: "u32",
  flag: "u32",
  reserved: "u32",
}, 16);
/** Bytes of what follows the control header without REVISION_1, whatever the service. */
export const CRYPTO_CTRL_BODY = 56;
/** `struct virtio_crypto_create_session_input`. */
export const CRYPTO_SESSION_INPUT: Layout<"session_id" | "status" | "padding"> = layout({
  session_id: "u64",
  status: "u32",
  padding: "u32",
}, 16);
/** `struct virtio_crypto_op_header`. */
export const CRYPTO_OP_HEADER: Layout<"opcode" | "algo" | "session_id" | "flag" | "padding"> =
  layout({
    opcode: "u32",
    algo: "u32",
    session_id: "u64",
    flag: "u32",
    padding: "u32",
  }, 24);
/** Bytes of what follows the data header without REVISION_1, whatever the service. */
export const CRYPTO_OP_BODY = 48;

/** Bytes of a session's fixed part by service, with REVISION_1 (virtio 1.4 §5.9.7.2). */
export const CRYPTO_SESSION_BODY: Readonly<Record<CryptoService, number>> = {
  [CryptoService.CIPHER]: 56,
  [CryptoService.HASH]: 8,
  [CryptoService.MAC]: 16,
  [CryptoService.AEAD]: 24,
  [CryptoService.AKCIPHER]: 56,
};
/** Bytes of a data request's fixed part by service, with REVISION_1: with a session, and without. */
export const CRYPTO_DATA_BODY: Readonly<Record<CryptoService, readonly [number, number]>> = {
  [CryptoService.CIPHER]: [48, 76],
  [CryptoService.HASH]: [8, 16],
  [CryptoService.MAC]: [8, 16],
  [CryptoService.AEAD]: [24, 32],
  [CryptoService.AKCIPHER]: [8, 28],
};
/** Offset of `op_type` in the fixed part of symmetric requests: session, data, stateless data. */
export const CRYPTO_SYM_OP_TYPE = { SESSION: 48, DATA: 40, STATELESS: 72 } as const;

/** Bytes of a digest by hash algorithm; HMAC algorithms have the same numbers. */
export const CRYPTO_DIGEST_SIZE: Readonly<Record<number, number>> = {
  [CryptoHash.MD5]: 16,
  [CryptoHash.SHA1]: 20,
  [CryptoHash.SHA_224]: 28,
  [CryptoHash.SHA_256]: 32,
  [CryptoHash.SHA_384]: 48,
  [CryptoHash.SHA_512]: 64,
  [CryptoHash.SHA3_224]: 28,
  [CryptoHash.SHA3_256]: 32,
  [CryptoHash.SHA3_384]: 48,
  [CryptoHash.SHA3_512]: 64,
};
