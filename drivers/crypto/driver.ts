import {
  ANY_ID,
  CRYPTO_CONFIG,
  CRYPTO_DIGEST_SIZE,
  CRYPTO_HW_READY,
  CRYPTO_SESSION_INPUT,
  CRYPTO_SESSION_MODE,
  CryptoAkcipher,
  CryptoControl,
  CryptoDirection,
  CryptoFeature,
  type CryptoHash,
  type CryptoKeyType,
  type CryptoMac,
  CryptoOperation,
  type CryptoRsaHash,
  CryptoRsaPadding,
  CryptoService,
  CryptoStatus,
  DeviceId,
  FeatureSet,
  VireoError,
} from "@vireo/hal";
import type { VirtioDevice } from "../device.ts";
import type { VirtioDriver } from "../driver.ts";
import { QueueDriver } from "../queue_driver.ts";
import { NOT_WRITTEN } from "../virtqueue/exchange.ts";
import type { RequestQueue } from "../virtqueue/request_queue.ts";
import { type WaitOptions, within } from "../wait/mod.ts";
import { encodeCreate, encodeData, encodeDestroy, type SessionParameters } from "./codec.ts";
import { Aead, Akcipher, Cipher, Digest } from "./services.ts";
import {
  type CryptoHost,
  type CryptoParts,
  type HeldSession,
  lengthsOf,
  type SessionId,
} from "./session.ts";

/** Milliseconds that the device may take for one request. */
const DEADLINE = 10_000;
/** Most data queues that are used. */
const MAX_QUEUES = 8;
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

  /** The device came to be ready, or ceased to be. */
  configChanged(): void {
    this.#offer = readOffer(this.device);
  }

  get #revision1(): boolean {
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
    const request = encodeCreate(parameters, opcode, this.#revision1);
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
    const request = encodeDestroy(opcode, id, this.#revision1);
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
    const { iv, src, aad, dst } = parts;
    const lengths = lengthsOf(parts);
    const size = lengths.iv + lengths.src + lengths.aad + dst + 1;
    if (size > this.#offer.maxSize) {
      throw this.error("OUT_OF_RANGE", `Request of ${size} bytes, at most ${this.#offer.maxSize}`);
    }
    if (session !== undefined && session.life !== this.#life && this.failure === undefined) {
      this.#check(CryptoStatus.INVSESS, "run a crypto request");
    }
    const flag = session !== undefined && this.#modeNegotiated(parameters.service)
      ? CRYPTO_SESSION_MODE
      : 0;
    const revision1 = this.#revision1;
    const header = encodeData({ parameters, operation, session, flag, lengths, revision1 });
    const none = new Uint8Array(0);
    const key = session === undefined ? parameters.key : none;
    const verify = parameters.service === CryptoService.AKCIPHER &&
      operation === CryptoOperation.VERIFY;
    const queue = this.#data[this.#next++ % this.#data.length]!;
    const room = verify ? 0 : dst;
    const out = [header, key, iv ?? none, src, aad ?? none];
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
    const name = Object.entries(CryptoStatus).find(([, value]) => value === status)?.[0];
    throw this.error("BAD_STATUS", `Crypto device refuses to ${what}`, {
      seen: name ?? status,
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
    if (device.transport.legacy) {
      throw new VireoError("VERSION_1_REQUIRED", "Crypto devices have no legacy interface", {
        device: device.name,
      });
    }
    // The stateless modes need REVISION_1 (virtio 1.4 §5.9.3.1).
    if (features.has(CryptoFeature.REVISION_1)) return features;
    return features.without(...Object.values(CryptoFeature));
  },
  probe: (device) => new Crypto(device),
};
