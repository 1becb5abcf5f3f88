import { Buffer } from "node:buffer";
import {
  constants,
  createCipheriv,
  createDecipheriv,
  createHash,
  createHmac,
  createPrivateKey,
  createPublicKey,
  privateDecrypt,
  privateEncrypt,
  publicDecrypt,
  publicEncrypt,
} from "node:crypto";
import {
  CRYPTO_DIGEST_SIZE,
  CryptoAead,
  CryptoAkcipher,
  CryptoChainOrder,
  CryptoCipher,
  CryptoHash,
  CryptoHashMode,
  CryptoKeyType,
  CryptoOperation,
  CryptoRsaPadding,
  CryptoService,
  CryptoStatus,
} from "@vireo/hal";
import { type EcKey, hasCurve, readPrivateKey, readPublicKey, sign, verify } from "./_ecdsa.ts";

/** A session's parameters, as the driver gave them. */
export interface Session {
  readonly service: number;
  readonly algo: number;
  readonly key: Uint8Array;
  /** Encrypts; for ciphers. */
  readonly encrypt: boolean;
  readonly tagSize: number;
  readonly resultSize: number;
  readonly keyType: number;
  readonly padding: number;
  readonly hash: number;
  /** Curve of an ECDSA key. */
  readonly curve: number;
  /** Whether a hash or MAC is chained to the cipher. */
  readonly chained: boolean;
  /** A value of `CryptoChainOrder`. */
  readonly order: number;
  /** A value of `CryptoHashMode`, and the algorithm of it. */
  readonly hashMode: number;
  readonly hashAlgo: number;
  readonly authKey: Uint8Array;
}

/** A part of the source. */
interface Part {
  readonly start: number;
  readonly length: number;
}

/** One operation. */
export interface Operation {
  readonly operation: number;
  readonly iv: Uint8Array;
  readonly src: Uint8Array;
  readonly aad: Uint8Array;
  /** The digest to verify. */
  readonly digest: Uint8Array;
  /** In a chain: what is ciphered, what is hashed, and the bytes of the results. */
  readonly ciphered?: Part;
  readonly hashed?: Part;
  readonly textSize?: number;
  readonly digestSize?: number;
}

/** Outcome of a request: a status, and the result if it is OK. */
interface Result {
  readonly status: number;
  readonly bytes: Uint8Array;
}

/** Bytes of an AES block. */
const BLOCK = 16;
const NONE = new Uint8Array(0);
const fails = (status: number): Result => ({ status, bytes: NONE });

const CIPHERS: Readonly<Record<number, string>> = {
  [CryptoCipher.AES_ECB]: "ecb",
  [CryptoCipher.AES_CBC]: "cbc",
  [CryptoCipher.AES_CTR]: "ctr",
};
const HASHES: Readonly<Record<number, string>> = {
  [CryptoHash.MD5]: "md5",
  [CryptoHash.SHA1]: "sha1",
  [CryptoHash.SHA_224]: "sha224",
  [CryptoHash.SHA_256]: "sha256",
  [CryptoHash.SHA_384]: "sha384",
  [CryptoHash.SHA_512]: "sha512",
};

/** Algorithms by service, as bits of the configuration. */
export const OFFERED: Readonly<Record<number, readonly number[]>> = {
  [CryptoService.CIPHER]: Object.keys(CIPHERS).map(Number),
  [CryptoService.HASH]: Object.keys(HASHES).map(Number),
  [CryptoService.MAC]: Object.keys(HASHES).map(Number),
  [CryptoService.AEAD]: [CryptoAead.GCM],
  [CryptoService.AKCIPHER]: [CryptoAkcipher.RSA, CryptoAkcipher.ECDSA],
};

/** Bytes that the tag of GCM may have (NIST SP 800-38D §5.2.1.2). */
const GCM_TAGS: readonly number[] = [4, 8, 12, 13, 14, 15, 16];
/** `max_auth_key_len` of the configuration, in bytes. */
export const MAX_AUTH_KEY = 128;
/** Bits of the largest modulus: twice as many take eight times as long. */
const MAX_MODULUS = 4096;

/**
 * Says why a session cannot be had, or OK: NOTSUPP or ERR, as those are what creating one may answer
 * (dev.crypto.session-create.3).
 */
export function checkSession(session: Session): number {
  const { service, algo, key } = session;
  if (!OFFERED[service]?.includes(algo)) return CryptoStatus.NOTSUPP;
  if (service === CryptoService.MAC && key.length > MAX_AUTH_KEY) return CryptoStatus.ERR;
  const aes = service === CryptoService.CIPHER || service === CryptoService.AEAD;
  if (aes && ![16, 24, 32].includes(key.length)) return CryptoStatus.ERR;
  // The library that computes has no GCM of 192 bits; raw RSA is a power without padding, and insecure.
  if (service === CryptoService.AEAD && key.length === 24) return CryptoStatus.NOTSUPP;
  if (service === CryptoService.AEAD && !GCM_TAGS.includes(session.tagSize)) {
    return CryptoStatus.ERR;
  }
  if (session.chained) return checkChain(session);
  if (service === CryptoService.AKCIPHER && algo === CryptoAkcipher.ECDSA) {
    if (!hasCurve(session.curve)) return CryptoStatus.NOTSUPP;
    return ecKey(session) === undefined ? CryptoStatus.ERR : CryptoStatus.OK;
  }
  const raw = service === CryptoService.AKCIPHER && session.padding !== CryptoRsaPadding.PKCS1;
  if (raw) return CryptoStatus.NOTSUPP;
  if (service !== CryptoService.AKCIPHER) return CryptoStatus.OK;
  try {
    const bits = rsaKey(session).asymmetricKeyDetails?.modulusLength ?? 0;
    return bits <= MAX_MODULUS ? CryptoStatus.OK : CryptoStatus.NOTSUPP;
  } catch {
    return CryptoStatus.ERR;
  }
}

/** Says why a cipher cannot be chained, or OK. */
function checkChain({ order, hashMode, hashAlgo, authKey, resultSize }: Session): number {
  const mac = hashMode === CryptoHashMode.AUTH;
  if (!mac && hashMode !== CryptoHashMode.PLAIN) return CryptoStatus.NOTSUPP;
  const service = mac ? CryptoService.MAC : CryptoService.HASH;
  if (!OFFERED[service]!.includes(hashAlgo)) return CryptoStatus.NOTSUPP;
  const known = order === CryptoChainOrder.HASH_THEN_CIPHER ||
    order === CryptoChainOrder.CIPHER_THEN_HASH;
  const fits = authKey.length <= MAX_AUTH_KEY && resultSize <= CRYPTO_DIGEST_SIZE[hashAlgo]!;
  return known && fits ? CryptoStatus.OK : CryptoStatus.ERR;
}

/** Computes; never throws. */
export function compute(session: Session, operation: Operation): Result {
  try {
    switch (session.service) {
      case CryptoService.CIPHER:
        return session.chained ? chain(session, operation) : cipher(session, operation);
      case CryptoService.HASH:
        return ok(createHash(HASHES[session.algo]!).update(operation.src).digest());
      case CryptoService.MAC:
        return ok(createHmac(HASHES[session.algo]!, session.key).update(operation.src).digest());
      case CryptoService.AEAD:
        return gcm(session, operation);
      default:
        return session.algo === CryptoAkcipher.ECDSA
          ? ecdsa(session, operation)
          : rsa(session, operation);
    }
  } catch {
    return fails(CryptoStatus.ERR);
  }
}

const ok = (bytes: Uint8Array): Result => ({ status: CryptoStatus.OK, bytes });

/** Checks that a part is one of so many bytes. */
const within = ({ start, length }: Part, size: number): boolean => start + length <= size;

/**
 * A cipher and a hash or MAC of a part of the source each (virtio 1.4 §5.9.7.5). The text has the source's other bytes
 * as they are; what is ciphered first is hashed as it came out, and additional data are hashed before it.
 */
function chain(session: Session, operation: Operation): Result {
  const { src, aad, ciphered, hashed, textSize, digestSize } = operation;
  const { order, hashMode, hashAlgo, authKey } = session;
  const size = CRYPTO_DIGEST_SIZE[hashAlgo]!;
  const fits = within(ciphered!, src.length) && within(hashed!, src.length) &&
    textSize! >= src.length && digestSize! <= size;
  if (!fits) return fails(CryptoStatus.ERR);
  const part = src.subarray(ciphered!.start, ciphered!.start + ciphered!.length);
  const { status, bytes } = cipher(session, { ...operation, src: part });
  if (status !== CryptoStatus.OK) return fails(status);
  const text = new Uint8Array(textSize!);
  text.set(src);
  text.set(bytes, ciphered!.start);
  const from = order === CryptoChainOrder.CIPHER_THEN_HASH ? text : src;
  const engine = hashMode === CryptoHashMode.AUTH
    ? createHmac(HASHES[hashAlgo]!, authKey)
    : createHash(HASHES[hashAlgo]!);
  // dev.crypto.sym.6
  engine.update(aad);
  engine.update(from.subarray(hashed!.start, hashed!.start + hashed!.length));
  return ok(Buffer.concat([text, engine.digest().subarray(0, digestSize)]));
}

function ecKey({ keyType, curve, key }: Session): EcKey | undefined {
  return keyType === CryptoKeyType.PRIVATE ? readPrivateKey(curve, key) : readPublicKey(curve, key);
}

function ecdsa(session: Session, { operation, src, digest }: Operation): Result {
  const key = ecKey(session)!;
  if (operation === CryptoOperation.SIGN) {
    const { d } = key;
    return d === undefined ? fails(CryptoStatus.ERR) : ok(sign({ ...key, d }, src));
  }
  if (operation !== CryptoOperation.VERIFY) return fails(CryptoStatus.NOTSUPP);
  return verify(key, src, digest) ? ok(NONE) : fails(CryptoStatus.KEY_REJECTED);
}

function cipher({ algo, key, encrypt }: Session, { iv, src }: Operation): Result {
  const name = `aes-${key.length * 8}-${CIPHERS[algo]}`;
  const vector = algo === CryptoCipher.AES_ECB ? null : iv;
  // Checked here, because an engine that throws is not freed.
  if (vector !== null && vector.length !== BLOCK) return fails(CryptoStatus.ERR);
  if (algo !== CryptoCipher.AES_CTR && src.length % BLOCK !== 0) return fails(CryptoStatus.ERR);
  if (algo === CryptoCipher.AES_CBC && key.length === 24) return ok(chained(key, iv, src, encrypt));
  const engine = encrypt
    ? createCipheriv(name, key, vector).setAutoPadding(false)
    : createDecipheriv(name, key, vector).setAutoPadding(false);
  return ok(Buffer.concat([engine.update(src), engine.final()]));
}

/** CBC of 192 bits by ECB, block by block (NIST SP 800-38A §6.2): the library has the latter alone. */
function chained(key: Uint8Array, iv: Uint8Array, src: Uint8Array, encrypt: boolean): Uint8Array {
  const engine = encrypt
    ? createCipheriv("aes-192-ecb", key, null).setAutoPadding(false)
    : createDecipheriv("aes-192-ecb", key, null).setAutoPadding(false);
  const out = new Uint8Array(src.length);
  // Decrypting, all blocks are independent of each other; encrypting, each needs the one before.
  if (!encrypt) out.set(engine.update(src));
  let before = iv;
  for (let at = 0; at < src.length; at += BLOCK) {
    const block = src.subarray(at, at + BLOCK);
    if (encrypt) {
      out.set(engine.update(block.map((byte, i) => byte ^ before[i]!)), at);
      before = out.subarray(at, at + BLOCK);
      continue;
    }
    for (let i = 0; i < BLOCK; i++) out[at + i]! ^= before[i]!;
    before = block;
  }
  engine.final();
  return out;
}

function gcm({ key, encrypt, tagSize }: Session, { iv, src, aad }: Operation): Result {
  const name = `aes-${key.length * 8}-gcm` as "aes-128-gcm";
  if (encrypt) {
    const engine = createCipheriv(name, key, iv, { authTagLength: tagSize });
    engine.setAAD(aad);
    const text = Buffer.concat([engine.update(src), engine.final()]);
    return ok(Buffer.concat([text, engine.getAuthTag().subarray(0, tagSize)]));
  }
  if (src.length < tagSize) return fails(CryptoStatus.ERR);
  const engine = createDecipheriv(name, key, iv, { authTagLength: tagSize });
  engine.setAAD(aad);
  engine.setAuthTag(src.subarray(src.length - tagSize));
  const text = engine.update(src.subarray(0, src.length - tagSize));
  try {
    engine.final();
  } catch {
    return fails(CryptoStatus.BADMSG);
  }
  return ok(text);
}

function rsaKey({ keyType, key }: Session): ReturnType<typeof createPublicKey> {
  const der = { key: Buffer.from(key), format: "der", type: "pkcs1" } as const;
  return keyType === CryptoKeyType.PRIVATE ? createPrivateKey(der) : createPublicKey(der);
}

/** DER of DigestInfo before the digest, by hash of a signature (RFC 8017 §9.2). */
const DIGEST_INFO: Readonly<Record<number, string>> = {
  4: "3020300c06082a864886f70d020505000410",
  5: "3021300906052b0e03021a05000414",
  6: "3031300d060960864801650304020105000420",
  7: "3041300d060960864801650304020205000430",
  8: "3051300d060960864801650304020305000440",
  9: "302d300d06096086480165030402040500041c",
};

function rsa(session: Session, { operation, src, digest }: Operation): Result {
  const key = { key: rsaKey(session), padding: constants.RSA_PKCS1_PADDING } as const;
  const info = Buffer.from(DIGEST_INFO[session.hash] ?? "", "hex");
  switch (operation) {
    case CryptoOperation.ENCRYPT:
      return ok(publicEncrypt(key, src));
    case CryptoOperation.DECRYPT:
      return ok(privateDecrypt(key, src));
    case CryptoOperation.SIGN:
      return ok(privateEncrypt(key, Buffer.concat([info, src])));
    case CryptoOperation.VERIFY: {
      const found = publicDecrypt(key, src);
      const same = found.equals(Buffer.concat([info, digest]));
      return same ? ok(NONE) : fails(CryptoStatus.KEY_REJECTED);
    }
    default:
      return fails(CryptoStatus.NOTSUPP);
  }
}
