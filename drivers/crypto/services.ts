import { CryptoOperation } from "@vireo/hal";
import type { WaitOptions } from "../wait/mod.ts";
import { VireoError } from "@vireo/hal";
import type { ChainPart } from "./codec.ts";
import { type CryptoHost, CryptoSession, type HeldSession } from "./session.ts";

const { ENCRYPT, DECRYPT, SIGN, VERIFY } = CryptoOperation;

/**
 * A cipher with its key.
 *
 * @example
 * ```ts
 * import { Bus } from "@vireo/drivers/bus";
 * import { cryptoDriver } from "@vireo/drivers/crypto";
 * import { EmulatedMachine } from "@vireo/emu/core";
 * import { CryptoDevice } from "@vireo/emu/crypto";
 * import { CryptoCipher } from "@vireo/hal";
 * import { assertEquals } from "@std/assert";
 *
 * await using machine = EmulatedMachine.create({ devices: [new CryptoDevice()] });
 * await using bus = new Bus();
 * await bus.registerDriver(cryptoDriver);
 * await bus.addPlatform(machine);
 * const key = new Uint8Array(16).fill(1);
 * await using cipher = await bus.get(cryptoDriver)!.cipher(CryptoCipher.AES_CBC, key);
 * const iv = new Uint8Array(16);
 * const text = new TextEncoder().encode("attack at dawn..");
 * const secret = await cipher.encrypt(iv, text);
 * assertEquals(await cipher.decrypt(iv, secret), text);
 * ```
 */
export class Cipher extends CryptoSession {
  /**
   * Encrypts; nothing is padded.
   *
   * @throws {VireoError} `BAD_STATUS` If the device refuses; `OUT_OF_RANGE` If it is over `maxSize`.
   */
  encrypt(iv: Uint8Array, data: Uint8Array, options: WaitOptions = {}): Promise<Uint8Array> {
    return this.run(0, ENCRYPT, { iv, src: data, dst: data.length }, options);
  }

  /** Decrypts. @throws As {@linkcode Cipher.encrypt}. */
  decrypt(iv: Uint8Array, data: Uint8Array, options: WaitOptions = {}): Promise<Uint8Array> {
    return this.run(1, DECRYPT, { iv, src: data, dst: data.length }, options);
  }
}

/**
 * A hash, or a MAC with its key.
 *
 * @example
 * ```ts
 * import { Bus } from "@vireo/drivers/bus";
 * import { cryptoDriver } from "@vireo/drivers/crypto";
 * import { EmulatedMachine } from "@vireo/emu/core";
 * import { CryptoDevice } from "@vireo/emu/crypto";
 * import { CryptoHash } from "@vireo/hal";
 * import { assertEquals } from "@std/assert";
 *
 * await using machine = EmulatedMachine.create({ devices: [new CryptoDevice()] });
 * await using bus = new Bus();
 * await bus.registerDriver(cryptoDriver);
 * await bus.addPlatform(machine);
 * await using hash = await bus.get(cryptoDriver)!.hash(CryptoHash.SHA_256);
 * const text = new TextEncoder().encode("abc");
 * const expected = new Uint8Array(await crypto.subtle.digest("SHA-256", text));
 * assertEquals([hash.size, await hash.digest(text)], [32, expected]);
 * ```
 */
export class Digest extends CryptoSession {
  /** Bytes that come out. */
  readonly size: number;

  /** Wraps a session; the device does it. */
  constructor(host: CryptoHost, sessions: readonly HeldSession[], size: number) {
    super(host, sessions);
    this.size = size;
  }

  /**
   * The digest of some bytes.
   *
   * @throws {VireoError} `BAD_STATUS` If the device refuses; `OUT_OF_RANGE` If it is over `maxSize`.
   */
  digest(data: Uint8Array, options: WaitOptions = {}): Promise<Uint8Array> {
    return this.run(0, ENCRYPT, { src: data, dst: this.size }, options);
  }
}

/**
 * An authenticated cipher with its key.
 *
 * @example
 * ```ts
 * import { Bus } from "@vireo/drivers/bus";
 * import { cryptoDriver } from "@vireo/drivers/crypto";
 * import { EmulatedMachine } from "@vireo/emu/core";
 * import { CryptoDevice } from "@vireo/emu/crypto";
 * import { CryptoAead } from "@vireo/hal";
 * import { assertEquals, assertRejects } from "@std/assert";
 *
 * await using machine = EmulatedMachine.create({ devices: [new CryptoDevice()] });
 * await using bus = new Bus();
 * await bus.registerDriver(cryptoDriver);
 * await bus.addPlatform(machine);
 * const key = new Uint8Array(16).fill(1);
 * await using aead = await bus.get(cryptoDriver)!.aead(CryptoAead.GCM, key);
 * const iv = new Uint8Array(12);
 * const sealed = await aead.encrypt(iv, Uint8Array.of(1, 2, 3));
 * assertEquals([...await aead.decrypt(iv, sealed)], [1, 2, 3]);
 * sealed[0]! ^= 1;
 * await assertRejects(() => aead.decrypt(iv, sealed), Error, "BADMSG");
 * ```
 */
export class Aead extends CryptoSession {
  /** Bytes of the tag. */
  readonly tagSize: number;

  /** Wraps sessions; the device does it. */
  constructor(host: CryptoHost, sessions: readonly HeldSession[], tagSize: number) {
    super(host, sessions);
    this.tagSize = tagSize;
  }

  /**
   * Encrypts; the tag follows the text.
   *
   * @param aad What is authenticated and not encrypted.
   */
  encrypt(
    iv: Uint8Array,
    data: Uint8Array,
    aad: Uint8Array = new Uint8Array(0),
    options: WaitOptions = {},
  ): Promise<Uint8Array> {
    const dst = data.length + this.tagSize;
    return this.run(0, ENCRYPT, { iv, src: data, aad, dst, tag: this.tagSize }, options);
  }

  /**
   * Checks the tag at the end and decrypts what is before it.
   *
   * @throws {VireoError} `BAD_STATUS` If the tag is wrong (BADMSG), or the device refuses.
   */
  decrypt(
    iv: Uint8Array,
    data: Uint8Array,
    aad: Uint8Array = new Uint8Array(0),
    options: WaitOptions = {},
  ): Promise<Uint8Array> {
    const dst = Math.max(0, data.length - this.tagSize);
    return this.run(1, DECRYPT, { iv, src: data, aad, dst, tag: this.tagSize }, options);
  }
}

/** A request to a {@linkcode CipherChain}. */
export interface ChainOptions extends WaitOptions {
  /** The part of the text that is ciphered; all of it by default. The other bytes stay as they are. */
  readonly ciphered?: ChainPart;
  /** The part of the text that is hashed; all of it by default. */
  readonly hashed?: ChainPart;
  /** Additional data, which are hashed before the text; as many bytes as the chain was made for. */
  readonly aad?: Uint8Array;
}

/**
 * A cipher and a hash or MAC, which the device does in one request (virtio 1.4 §5.9.7.5).
 *
 * @example
 * ```ts
 * import { Bus } from "@vireo/drivers/bus";
 * import { cryptoDriver } from "@vireo/drivers/crypto";
 * import { EmulatedMachine } from "@vireo/emu/core";
 * import { CryptoDevice } from "@vireo/emu/crypto";
 * import { CryptoCipher, CryptoMac } from "@vireo/hal";
 * import { assertEquals } from "@std/assert";
 *
 * await using machine = EmulatedMachine.create({ devices: [new CryptoDevice()] });
 * await using bus = new Bus();
 * await bus.registerDriver(cryptoDriver);
 * await bus.addPlatform(machine);
 * const key = new Uint8Array(16).fill(1);
 * await using chain = await bus.get(cryptoDriver)!.chain({
 *   cipher: { algo: CryptoCipher.AES_CBC, key },
 *   mac: { algo: CryptoMac.HMAC_SHA_256, key },
 * });
 * const iv = new Uint8Array(16);
 * const data = new Uint8Array(32).fill(7);
 * const { text, digest } = await chain.encrypt(iv, data);
 * assertEquals(digest.length, 32);
 * assertEquals(await chain.decrypt(iv, text, digest), data);
 * ```
 */
export class CipherChain extends CryptoSession {
  /** Bytes of the digest. */
  readonly digestSize: number;
  readonly #aadSize: number;

  /** Wraps sessions; the device does it. */
  constructor(
    host: CryptoHost,
    sessions: readonly HeldSession[],
    sizes: { readonly digest: number; readonly aad: number },
  ) {
    super(host, sessions);
    this.digestSize = sizes.digest;
    this.#aadSize = sizes.aad;
  }

  /**
   * Encrypts, and hashes the text before or after that, as the chain was made.
   *
   * @returns The text, as long as the data, and the digest.
   * @throws {RangeError} If a part is not one of the data, or there are more or fewer additional data.
   * @throws {VireoError} `BAD_STATUS` If the device refuses; `OUT_OF_RANGE` If it is over `maxSize`.
   */
  async encrypt(
    iv: Uint8Array,
    data: Uint8Array,
    options: ChainOptions = {},
  ): Promise<{ readonly text: Uint8Array; readonly digest: Uint8Array }> {
    const result = await this.#ask(0, iv, data, options);
    return { text: result.subarray(0, data.length), digest: result.subarray(data.length) };
  }

  /**
   * Checks the digest and decrypts.
   *
   * @param digest The digest that came with the text.
   * @returns The data.
   * @throws {VireoError} `BAD_STATUS` If the text has another digest; otherwise as {@linkcode CipherChain.encrypt}.
   */
  async decrypt(
    iv: Uint8Array,
    text: Uint8Array,
    digest: Uint8Array,
    options: ChainOptions = {},
  ): Promise<Uint8Array> {
    const result = await this.#ask(1, iv, text, options);
    const found = result.subarray(text.length);
    // All bytes are looked at, so that the time tells nothing of them.
    let differs = found.length ^ digest.length;
    for (let i = 0; i < found.length; i++) differs |= found[i]! ^ (digest[i] ?? 0);
    if (differs !== 0) {
      throw new VireoError("BAD_STATUS", "Cannot decrypt the text: it has another digest");
    }
    return result.subarray(0, text.length);
  }

  #ask(
    index: 0 | 1,
    iv: Uint8Array,
    src: Uint8Array,
    options: ChainOptions,
  ): Promise<Uint8Array> {
    const whole = { start: 0, length: src.length };
    const { ciphered = whole, hashed = whole, aad = new Uint8Array(0), ...wait } = options;
    for (const { start, length } of [ciphered, hashed]) {
      const fits = Number.isInteger(start) && Number.isInteger(length) && start >= 0 &&
        length >= 0 && start + length <= src.length;
      if (!fits) {
        throw new RangeError(
          `Cannot use ${length} bytes from ${start} on: the text has ${src.length} bytes`,
        );
      }
    }
    if (aad.length !== this.#aadSize) {
      throw new RangeError(
        `Cannot hash ${aad.length} additional bytes: the chain was made for ${this.#aadSize}`,
      );
    }
    const chain = { ciphered, hashed, digest: this.digestSize };
    const operation = index === 0 ? ENCRYPT : DECRYPT;
    return this.run(index, operation, { iv, src, aad, dst: src.length, chain }, wait);
  }
}

/**
 * A session with an asymmetric key, public or private, that verifies signatures.
 *
 * @example
 * ```ts
 * import type { SignatureSession } from "@vireo/drivers/crypto";
 * import { VireoError } from "@vireo/hal";
 *
 * // Tells whether a signature is of a digest, by RSA or by ECDSA.
 * export async function isSigned(
 *   key: SignatureSession,
 *   signature: Uint8Array,
 *   digest: Uint8Array,
 * ): Promise<boolean> {
 *   try {
 *     await key.verify(signature, digest, { deadline: 1000 });
 *     return true;
 *   } catch (error) {
 *     if (error instanceof VireoError && error.seen === "KEY_REJECTED") return false;
 *     throw error;
 *   }
 * }
 * ```
 */
export class SignatureSession extends CryptoSession {
  /**
   * Verifies a signature of a digest with a public key.
   *
   * @param signature As `sign` makes it.
   * @throws {VireoError} `BAD_STATUS` If it is wrong (KEY_REJECTED), or the device refuses.
   */
  async verify(
    signature: Uint8Array,
    digest: Uint8Array,
    options: WaitOptions = {},
  ): Promise<void> {
    // The device reads both: the signature, and what it is of in the place of the result.
    await this.run(0, VERIFY, { src: signature, aad: digest, dst: digest.length }, options);
  }
}

/**
 * ECDSA with a key: public or private.
 *
 * @example
 * ```ts
 * import type { Crypto, EcdsaKey } from "@vireo/drivers/crypto";
 *
 * // Signs a digest with a session of its own.
 * export async function sign(
 *   device: Crypto,
 *   key: EcdsaKey,
 *   digest: Uint8Array,
 * ): Promise<Uint8Array> {
 *   await using ecdsa = await device.ecdsa(key);
 *   return await ecdsa.sign(digest, { deadline: 1000 });
 * }
 * ```
 */
export class Ecdsa extends SignatureSession {
  readonly #size: number;

  /** Wraps a session; the device does it. @param size Bytes of the longest signature. */
  constructor(host: CryptoHost, sessions: readonly HeldSession[], size: number) {
    super(host, sessions);
    this.#size = size;
  }

  /**
   * Signs a digest with a private key.
   *
   * @returns `Ecdsa-Sig-Value` in DER (RFC 3279 §2.2.3).
   * @throws {VireoError} `BAD_STATUS` If the device refuses.
   */
  sign(digest: Uint8Array, options: WaitOptions = {}): Promise<Uint8Array> {
    // The shortest one has two numbers of a byte.
    return this.run(0, SIGN, { src: digest, dst: this.#size, least: 8 }, options);
  }
}

/**
 * An asymmetric algorithm with a key: public or private.
 *
 * @example
 * ```ts
 * import type { Akcipher, Crypto, RsaKey } from "@vireo/drivers/crypto";
 * import { CryptoRsaPadding } from "@vireo/hal";
 *
 * // Sends a secret that the owner of the private key alone can read.
 * export async function seal(device: Crypto, key: RsaKey, secret: Uint8Array): Promise<Uint8Array> {
 *   await using rsa: Akcipher = await device.rsa(key, { padding: CryptoRsaPadding.PKCS1 });
 *   return await rsa.encrypt(secret, { deadline: 1000 });
 * }
 * ```
 */
export class Akcipher extends SignatureSession {
  /** Bytes of a result: those of the modulus. */
  readonly size: number;

  readonly #padded: boolean;

  /** Wraps a session; the device does it. @param padded Whether a decrypted text may be short. */
  constructor(host: CryptoHost, sessions: readonly HeldSession[], size: number, padded: boolean) {
    super(host, sessions);
    this.size = size;
    this.#padded = padded;
  }

  /**
   * Encrypts with a public key.
   *
   * @throws {VireoError} `BAD_STATUS` If the device refuses; `BAD_LENGTH` If it drops a byte: QEMU 7.2
   * drops the zeroes that a result begins with.
   */
  encrypt(data: Uint8Array, options: WaitOptions = {}): Promise<Uint8Array> {
    return this.run(0, ENCRYPT, { src: data, dst: this.size }, options);
  }

  /**
   * Decrypts with a private key.
   *
   * @returns With padding, as many bytes as were encrypted; without, those of the modulus.
   * @throws As {@linkcode Akcipher.encrypt}.
   */
  decrypt(data: Uint8Array, options: WaitOptions = {}): Promise<Uint8Array> {
    const least = this.#padded ? 0 : this.size;
    return this.run(0, DECRYPT, { src: data, dst: this.size, least }, options);
  }

  /** Signs a digest with a private key. @throws As {@linkcode Akcipher.encrypt}. */
  sign(digest: Uint8Array, options: WaitOptions = {}): Promise<Uint8Array> {
    return this.run(0, SIGN, { src: digest, dst: this.size }, options);
  }
}
