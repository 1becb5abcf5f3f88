import {
  ANY_ID,
  CRYPTO_CONFIG,
  CRYPTO_CURVE_SIZE,
  CRYPTO_DIGEST_SIZE,
  CRYPTO_HW_READY,
  CRYPTO_SESSION_INPUT,
  CRYPTO_SESSION_MODE,
  CryptoAkcipher,
  CryptoChainOrder,
  CryptoControl,
  type CryptoCurve,
  CryptoDirection,
  CryptoFeature,
  type CryptoHash,
  CryptoHashMode,
  type CryptoKeyType,
  type CryptoMac,
  CryptoOperation,
  type CryptoRsaHash,
  CryptoRsaPadding,
  CryptoService,
  CryptoStatus,
  DeviceId,
  FeatureSet,
  nameIn,
} from "@vireo/hal";
import type { VirtioDevice } from "../device.ts";
import type { VirtioDriver } from "../driver.ts";
import { requireModern } from "../modern_only.ts";
import { QueueDriver } from "../queue_driver.ts";
import { NOT_WRITTEN } from "../virtqueue/exchange.ts";
import type { RequestQueue } from "../virtqueue/request_queue.ts";
import { type WaitOptions, within } from "../wait/mod.ts";
import { encodeCreate, encodeData, encodeDestroy, type SessionParameters } from "./codec.ts";
import { Aead, Akcipher, Cipher, CipherChain, Digest, Ecdsa } from "./services.ts";
import {
  type CryptoHost,
  type CryptoParts,
  type HeldSession,
  lengthsOf,
  type SessionId,
} from "./session.ts";

/** Milliseconds that the device may take for one request. */
const DEADLINE = 10_000;
/** Most data queues that are set up, as many as QEMU has at most: the device's word alone sizes nothing. */
const MAX_QUEUES = 64;
/** The largest index of a queue. */
const MAX_INDEX = 0xffff;

/** Services and limits of a crypto device. */
export interface CryptoOffer {
  /** Whether it takes requests. */
  readonly ready: boolean;
  /** Data queues. */
  readonly queues: number;
  /** Values of `CryptoService`. */
  readonly services: ReadonlySet<number>;
  /** Values of `CryptoCipher`. */
  readonly ciphers: ReadonlySet<number>;
  /** Values of `CryptoHash`. */
  readonly hashes: ReadonlySet<number>;
  /** Values of `CryptoMac`. */
  readonly macs: ReadonlySet<number>;
  /** Values of `CryptoAead`. */
  readonly aeads: ReadonlySet<number>;
  /** Values of `CryptoAkcipher`. */
  readonly akciphers: ReadonlySet<number>;
  /** Longest cipher or AEAD key in bytes. */
  readonly maxCipherKey: number;
  /** Longest MAC key in bytes. */
  readonly maxAuthKey: number;
  /** Most bytes of one request's content. */
  readonly maxSize: number;
}

/** How a session is made. */
export interface SessionOptions extends WaitOptions {
  /** Sends the key with each request instead; needs the service's stateless feature. */
  readonly stateless?: boolean;
}

/** A key of RSA. */
export interface RsaKey {
  /** Public or private. */
  readonly type: CryptoKeyType;
  /** PKCS #1 in DER: `RSAPublicKey` or `RSAPrivateKey`. */
  readonly der: Uint8Array;
  /** Bytes of the modulus. */
  readonly size: number;
}

/** A key of ECDSA. */
export interface EcdsaKey {
  /** Public or private. */
  readonly type: CryptoKeyType;
  /** The curve. */
  readonly curve: CryptoCurve;
  /** A private key is an `ECPrivateKey` in DER (RFC 5915), a public one its point (SEC 1 §2.3.3), not compressed. */
  readonly bytes: Uint8Array;
}

/** A cipher and a hash or MAC for {@linkcode Crypto.chain}. */
export interface ChainAlgorithms {
  /** The cipher: a value of `CryptoCipher`, and its key. */
  readonly cipher: { readonly algo: number; readonly key: Uint8Array };
  /** The MAC and its key; a chain has a MAC or a hash. */
  readonly mac?: { readonly algo: CryptoMac; readonly key: Uint8Array };
  /** The hash. */
  readonly hash?: CryptoHash;
  /** Says what comes first when it encrypts; decrypting has the other order. The cipher by default. */
  readonly first?: "cipher" | "hash";
  /** Bytes of the digest, from its first one; all by default. */
  readonly digestSize?: number;
  /** Bytes of additional data; none by default. */
  readonly aadSize?: number;
}

/**
 * A crypto device (virtio 1.4 §5.9).
 *
 * @example
 * ```ts
 * import type { Crypto } from "@vireo/drivers/crypto";
 * import { CryptoCipher } from "@vireo/hal";
 *
 * // Encrypts one block with a session of its own.
 * async function encrypt(device: Crypto, key: Uint8Array, iv: Uint8Array, block: Uint8Array) {
 *   await using cipher = await device.cipher(CryptoCipher.AES_CBC, key);
 *   return await cipher.encrypt(iv, block);
 * }
 * ```
 */
export class Crypto extends QueueDriver {
  readonly #host: CryptoHost;
  #offer!: CryptoOffer;
  #data: RequestQueue[] = [];
  #control!: RequestQueue;
  #next = 0;
  /** How often it was set up: a reset ends all sessions, and a device may use their ids again. */
  #life = 0;

  /** Sets up the queues of a device whose features are negotiated. */
  constructor(device: VirtioDevice) {
    super(device, "Crypto device");
    this.setUp();
    this.#host = {
      create: (parameters, options) => this.#create(parameters, options),
      destroy: (parameters, session, options) => this.#destroy(parameters, session, options),
      run: (parameters, session, operation, parts, options) =>
        this.#run(parameters, session, operation, parts, options),
    };
  }

  /** Services and limits of the device, as it reported them last. */
  get offer(): CryptoOffer {
    return this.#offer;
  }

  /**
   * Makes a cipher of a key.
   *
   * @param algo A value of `CryptoCipher`.
   * @throws {VireoError} `UNSUPPORTED` If the device has no such algorithm, key length or mode;
   * `BAD_STATUS` If it refuses.
   */
  async cipher(algo: number, key: Uint8Array, options: SessionOptions = {}): Promise<Cipher> {
    this.#need(CryptoService.CIPHER, this.#offer.ciphers, algo);
    this.#checkKey(key, this.#offer.maxCipherKey);
    const of = (op: number): SessionParameters => ({
      service: CryptoService.CIPHER,
      algo,
      words: [algo, key.length, op],
      stateless: [algo, key.length, op],
      key: key.slice(),
    });
    const both = [of(CryptoDirection.ENCRYPT), of(CryptoDirection.DECRYPT)];
    return new Cipher(this.#host, await this.#sessions(both, options));
  }

  /**
   * Makes a hash.
   *
   * @throws {VireoError} As {@linkcode Crypto.cipher}.
   */
  async hash(algo: CryptoHash, options: SessionOptions = {}): Promise<Digest> {
    this.#need(CryptoService.HASH, this.#offer.hashes, algo);
    const size = CRYPTO_DIGEST_SIZE[algo]!;
    const parameters = {
      service: CryptoService.HASH,
      algo,
      words: [algo, size],
      stateless: [algo],
      key: new Uint8Array(0),
    };
    return new Digest(this.#host, await this.#sessions([parameters], options), size);
  }

  /**
   * Makes a MAC of a key.
   *
   * @throws {VireoError} As {@linkcode Crypto.cipher}.
   */
  async mac(algo: CryptoMac, key: Uint8Array, options: SessionOptions = {}): Promise<Digest> {
    this.#need(CryptoService.MAC, this.#offer.macs, algo);
    this.#checkKey(key, this.#offer.maxAuthKey);
    const size = CRYPTO_DIGEST_SIZE[algo]!;
    const parameters = {
      service: CryptoService.MAC,
      algo,
      words: [algo, size, key.length],
      stateless: [algo, key.length],
      key: key.slice(),
    };
    return new Digest(this.#host, await this.#sessions([parameters], options), size);
  }

  /**
   * Makes an authenticated cipher of a key.
   *
   * @param sizes Bytes of the tag (16 by default) and of the additional data that sessions are for.
   * @throws {VireoError} As {@linkcode Crypto.cipher}.
   */
  async aead(
    algo: number,
    key: Uint8Array,
    options: SessionOptions & { readonly tagSize?: number; readonly aadSize?: number } = {},
  ): Promise<Aead> {
    this.#need(CryptoService.AEAD, this.#offer.aeads, algo);
    this.#checkKey(key, this.#offer.maxCipherKey);
    const { tagSize = 16, aadSize = 0 } = options;
    const of = (op: number): SessionParameters => ({
      service: CryptoService.AEAD,
      algo,
      words: [algo, key.length, tagSize, aadSize, op],
      stateless: [algo, key.length, op],
      key: key.slice(),
    });
    const both = [of(CryptoDirection.ENCRYPT), of(CryptoDirection.DECRYPT)];
    return new Aead(this.#host, await this.#sessions(both, options), tagSize);
  }

  /**
   * Makes RSA of a key.
   *
   * @throws {VireoError} As {@linkcode Crypto.cipher}.
   */
  async rsa(
    key: RsaKey,
    options: SessionOptions & {
      readonly padding?: CryptoRsaPadding;
      /** The hash that is signed, with PKCS #1 padding. */
      readonly hash?: CryptoRsaHash;
    } = {},
  ): Promise<Akcipher> {
    this.#need(CryptoService.AKCIPHER, this.#offer.akciphers, CryptoAkcipher.RSA);
    const { padding = CryptoRsaPadding.RAW, hash = 0 } = options;
    const words = [CryptoAkcipher.RSA, key.type, key.der.length, padding, hash];
    const parameters = {
      service: CryptoService.AKCIPHER,
      algo: CryptoAkcipher.RSA,
      words,
      stateless: words,
      key: key.der.slice(),
    };
    const sessions = await this.#sessions([parameters], options);
    return new Akcipher(this.#host, sessions, key.size, padding !== CryptoRsaPadding.RAW);
  }

  /**
   * Makes a chain of a cipher and a hash or MAC, which the device does in one request.
   *
   * @throws {RangeError} If there is no hash or MAC or both, or a digest has no such size.
   * @throws {VireoError} As {@linkcode Crypto.cipher}.
   */
  async chain(algorithms: ChainAlgorithms, options: SessionOptions = {}): Promise<CipherChain> {
    const { cipher, mac, hash, first = "cipher", aadSize = 0 } = algorithms;
    const algo = mac?.algo ?? hash;
    if (algo === undefined || mac !== undefined && hash !== undefined) {
      throw new RangeError("Cannot make the chain: expected either a hash or a MAC");
    }
    this.#need(CryptoService.CIPHER, this.#offer.ciphers, cipher.algo);
    if (mac === undefined) this.#need(CryptoService.HASH, this.#offer.hashes, algo);
    else this.#need(CryptoService.MAC, this.#offer.macs, algo);
    const authKey = mac?.key ?? new Uint8Array(0);
    this.#checkKey(cipher.key, this.#offer.maxCipherKey);
    this.#checkKey(authKey, this.#offer.maxAuthKey);
    const whole = CRYPTO_DIGEST_SIZE[algo]!;
    const { digestSize = whole } = algorithms;
    if (!Number.isInteger(digestSize) || digestSize < 1 || digestSize > whole) {
      throw new RangeError(`Cannot make a digest of ${digestSize} bytes: expected 1 to ${whole}`);
    }
    const mode = mac === undefined ? CryptoHashMode.PLAIN : CryptoHashMode.AUTH;
    const key = new Uint8Array([...cipher.key, ...authKey]);
    const of = (op: CryptoDirection): SessionParameters => {
      const cipherFirst = (op === CryptoDirection.ENCRYPT) === (first === "cipher");
      const order = cipherFirst
        ? CryptoChainOrder.CIPHER_THEN_HASH
        : CryptoChainOrder.HASH_THEN_CIPHER;
      const lengths = [cipher.key.length, authKey.length] as const;
      return {
        service: CryptoService.CIPHER,
        algo: cipher.algo,
        words: [
          ...[order, mode, cipher.algo, lengths[0], op, 0],
          ...[algo, digestSize, lengths[1], 0, aadSize, 0],
        ],
        stateless: [order, aadSize, cipher.algo, lengths[0], op, algo, lengths[1], mode],
        key: key.slice(),
        chained: true,
      };
    };
    const both = [of(CryptoDirection.ENCRYPT), of(CryptoDirection.DECRYPT)];
    key.fill(0);
    const sessions = await this.#sessions(both, options);
    return new CipherChain(this.#host, sessions, { digest: digestSize, aad: aadSize });
  }

  /**
   * Makes ECDSA of a key.
   *
   * @throws {VireoError} As {@linkcode Crypto.cipher}.
   */
  async ecdsa(key: EcdsaKey, options: SessionOptions = {}): Promise<Ecdsa> {
    this.#need(CryptoService.AKCIPHER, this.#offer.akciphers, CryptoAkcipher.ECDSA);
    const words = [CryptoAkcipher.ECDSA, key.type, key.bytes.length, key.curve, 0];
    const parameters = {
      service: CryptoService.AKCIPHER,
      algo: CryptoAkcipher.ECDSA,
      words,
      stateless: words,
      key: key.bytes.slice(),
    };
    const sessions = await this.#sessions([parameters], options);
    // Two numbers with a byte for their sign, and three headers.
    const longest = 2 * (CRYPTO_CURVE_SIZE[key.curve] + 1) + 9;
    return new Ecdsa(this.#host, sessions, longest);
  }

  /** The device came to be ready, or ceased to be. */
  configChanged(): void {
    this.#offer = readOffer(this.device);
  }

  #revision1(): boolean {
    return this.device.has(CryptoFeature.REVISION_1);
  }

  /** Reads what the device can do, and opens its queues. */
  protected override setUp(): void {
    this.#life++;
    this.#offer = readOffer(this.device);
    const { queues } = this.#offer;
    if (queues < 1 || queues > MAX_INDEX) {
      throw this.error("CONFIG_INVALID", "Cannot use the crypto device's number of queues", {
        register: "max_dataqueues",
        seen: queues,
        base: 10,
        expected: `1 to ${MAX_INDEX}`,
      });
    }
    // The control queue's place depends on what the device has, not on what is used (virtio 1.4 §5.9.2).
    [this.#control, ...this.#data] = this.openQueues(
      { name: "controlq", index: queues },
      ...Array.from(
        { length: Math.min(queues, MAX_QUEUES) },
        (_, index) => ({ name: `dataq.${index}`, index }),
      ),
    );
  }

  /** @throws {VireoError} If the device takes no requests now (drv.crypto.config.2). */
  #checkReady(): void {
    if (this.failure !== undefined) throw this.failure;
    if (!this.#offer.ready) throw this.error("UNSUPPORTED", "Crypto device is not ready");
  }

  #need(service: CryptoService, algorithms: ReadonlySet<number>, algo: number): void {
    this.#checkReady();
    if (this.#offer.services.has(service) && algorithms.has(algo)) return;
    throw this.error(
      "UNSUPPORTED",
      `Crypto device has no algorithm ${algo} of service ${service}`,
    );
  }

  #checkKey(key: Uint8Array, max: number): void {
    if (key.length <= max) return;
    throw this.error(
      "UNSUPPORTED",
      `Key of ${key.length} bytes is longer than the device's ${max}`,
    );
  }

  async #sessions(
    all: readonly SessionParameters[],
    options: SessionOptions,
  ): Promise<HeldSession[]> {
    if (options.stateless) {
      const bit = CryptoFeature.CIPHER_STATELESS_MODE + all[0]!.service;
      if (!this.device.has(bit)) {
        throw this.error("UNSUPPORTED", "Crypto device keeps sessions: no stateless mode");
      }
      return all.map((parameters) => ({ parameters, id: undefined }));
    }
    const call = within(options, DEADLINE);
    const made: { parameters: SessionParameters; id: SessionId }[] = [];
    try {
      for (const parameters of all) {
        made.push({ parameters, id: await this.#create(parameters, call) });
      }
    } catch (error) {
      for (const { key } of all) key.fill(0);
      for (const { parameters, id } of made) this.#discard(parameters, id);
      throw error;
    }
    return made;
  }

  async #create(parameters: SessionParameters, options: WaitOptions): Promise<SessionId> {
    this.#checkReady();
    const { service, key } = parameters;
    const opcode = service << 8 |
      (service === CryptoService.AKCIPHER ? CryptoControl.AKCIPHER_CREATE : CryptoControl.CREATE);
    const request = encodeCreate(parameters, opcode, this.#revision1());
    const life = this.#life;
    const least = CRYPTO_SESSION_INPUT.SIZE;
    const read = (answer: Uint8Array): { status: number; id: SessionId } => {
      const view = new DataView(answer.buffer);
      const low = view.getUint32(CRYPTO_SESSION_INPUT.session_id.offset, true);
      const high = view.getUint32(CRYPTO_SESSION_INPUT.session_id.offset + 4, true);
      const status = view.getUint32(CRYPTO_SESSION_INPUT.status.offset, true);
      return { status, id: { low, high, life } };
    };
    const { bytes } = await this.ask(this.#control, [request, key], least, {
      ...within(options, DEADLINE),
      least,
      onFailed: (late) => {
        if (late === undefined || late.bytes.length < least) return;
        const { status, id } = read(late.bytes);
        if (status === CryptoStatus.OK) this.#discard(parameters, id);
      },
    });
    const { status, id } = read(bytes);
    this.#check(status, "create a session");
    return id;
  }

  async #destroy(
    { service }: SessionParameters,
    id: SessionId,
    options: WaitOptions,
  ): Promise<void> {
    if (this.failure !== undefined || id.life !== this.#life) return;
    this.#checkReady();
    const akcipher = service === CryptoService.AKCIPHER;
    const opcode = service << 8 |
      (akcipher ? CryptoControl.AKCIPHER_DESTROY : CryptoControl.DESTROY);
    const request = encodeDestroy(opcode, id, this.#revision1());
    const { bytes } = await this.ask(this.#control, [request], 1, {
      ...within(options, DEADLINE),
      least: 1,
    });
    this.#check(bytes[0]!, "destroy a session");
  }

  /** Destroys a session that nobody got; its caller's time may be over, so nobody waits for it. */
  #discard(parameters: SessionParameters, id: SessionId): void {
    this.#destroy(parameters, id, {}).catch(() => {});
  }

  async #run(
    parameters: SessionParameters,
    session: SessionId | undefined,
    operation: number,
    parts: CryptoParts,
    options: WaitOptions,
  ): Promise<Uint8Array> {
    this.#checkReady();
    const { iv, src, aad, dst, chain } = parts;
    const lengths = lengthsOf(parts);
    const results = dst + (chain?.digest ?? 0);
    const size = lengths.iv + lengths.src + lengths.aad + results + 1;
    if (size > this.#offer.maxSize) {
      throw this.error("OUT_OF_RANGE", `Request of ${size} bytes, at most ${this.#offer.maxSize}`);
    }
    if (session !== undefined && session.life !== this.#life && this.failure === undefined) {
      this.#check(CryptoStatus.INVSESS, "run a crypto request");
    }
    const flag = session !== undefined && this.#modeNegotiated(parameters.service)
      ? CRYPTO_SESSION_MODE
      : 0;
    const revision1 = this.#revision1();
    const header = encodeData({ parameters, operation, session, flag, lengths, revision1 });
    const none = new Uint8Array(0);
    const key = session === undefined ? parameters.key : none;
    const verify = parameters.service === CryptoService.AKCIPHER &&
      operation === CryptoOperation.VERIFY;
    const queue = this.#data[this.#next++ % this.#data.length]!;
    const room = verify ? 0 : results;
    // A chain without a session has its additional data first (virtio 1.4 §5.9.7.5).
    const aadFirst = chain !== undefined && session === undefined;
    const data = aadFirst ? [aad ?? none, src] : [src, aad ?? none];
    const out = [header, key, iv ?? none, ...data];
    // The status follows the room for the result, not the result (virtio 1.4 §5.9.7.4 to §5.9.7.8). QEMU
    // and Linux count it behind the result's last byte: 31 for a result of 30 bytes in a room of 128.
    const wait = { ...within(options, DEADLINE), trailer: 1 };
    const { bytes, trailer, length } = await this.ask(queue, out, room, wait);
    if (length < 1 || trailer[0] === NOT_WRITTEN) throw this.tooShort(length, room + 1);
    this.#check(trailer[0]!, "run a crypto request");
    const least = parts.least ?? room;
    if (bytes.length < least) throw this.tooShort(length, least + 1);
    return bytes;
  }

  /** Whether a data request must say that it has a session. */
  #modeNegotiated(service: CryptoService): boolean {
    return this.device.has(CryptoFeature.CIPHER_STATELESS_MODE + service);
  }

  #check(status: number, what: string): void {
    if (status === CryptoStatus.OK) return;
    throw this.error("BAD_STATUS", `Crypto device refuses to ${what}`, {
      seen: nameIn(CryptoStatus, status) ?? status,
      expected: "OK",
    });
  }
}

function readOffer({ config }: VirtioDevice): CryptoOffer {
  const C = CRYPTO_CONFIG;
  return config.stable(() => ({
    ready: (config.read32(C.status.offset) & CRYPTO_HW_READY) !== 0,
    queues: config.read32(C.max_dataqueues.offset),
    services: bits(config.read32(C.crypto_services.offset)),
    ciphers: bits(config.read32(C.cipher_algo_l.offset), config.read32(C.cipher_algo_h.offset)),
    hashes: bits(config.read32(C.hash_algo.offset)),
    macs: bits(config.read32(C.mac_algo_l.offset), config.read32(C.mac_algo_h.offset)),
    aeads: bits(config.read32(C.aead_algo.offset)),
    akciphers: bits(config.read32(C.akcipher_algo.offset)),
    maxCipherKey: config.read32(C.max_cipher_key_len.offset),
    maxAuthKey: config.read32(C.max_auth_key_len.offset),
    // Devices say "no bound" with all ones; a number holds 53 bits.
    maxSize: config.read32(C.max_size.offset) +
      Math.min(config.read32(C.max_size.offset + 4), 0x1fffff) * 2 ** 32,
  }));
}

function bits(...words: readonly number[]): ReadonlySet<number> {
  return new Set(FeatureSet.fromWords(...words));
}

/** Drives crypto devices; what `probe` gives is a {@linkcode Crypto}. */
export const cryptoDriver: VirtioDriver<Crypto> = {
  name: "virtio_crypto",
  ids: [{ device: DeviceId.CRYPTO, vendor: ANY_ID }],
  features: FeatureSet.of(...Object.values(CryptoFeature)),
  featureNames: CryptoFeature,
  validate(device, features) {
    requireModern(device, "Crypto devices");
    // The stateless modes need REVISION_1 (virtio 1.4 §5.9.3.1).
    if (features.has(CryptoFeature.REVISION_1)) return features;
    return features.without(...Object.values(CryptoFeature));
  },
  probe: (device) => new Crypto(device),
};
