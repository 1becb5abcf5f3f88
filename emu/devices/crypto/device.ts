import {
  CRYPTO_CONFIG,
  CRYPTO_CTRL_BODY,
  CRYPTO_CTRL_HEADER,
  CRYPTO_DATA_BODY,
  CRYPTO_HW_READY,
  CRYPTO_OP_BODY,
  CRYPTO_OP_HEADER,
  CRYPTO_SESSION_BODY,
  CRYPTO_SESSION_INPUT,
  CRYPTO_SESSION_MODE,
  CRYPTO_SYM_CHAIN,
  CRYPTO_SYM_CIPHER,
  CRYPTO_SYM_OP_TYPE,
  CryptoAkcipher,
  CryptoControl,
  CryptoDirection,
  CryptoFeature,
  CryptoHashMode,
  CryptoOperation,
  CryptoService,
  CryptoStatus,
  DeviceId,
  type FeatureNames,
  FeatureSet,
} from "@vireo/hal";
import type {
  Chain,
  ConfigWidth,
  DeviceContext,
  DeviceModel,
  DeviceQueue,
  ModelUsage,
  QueueSpec,
} from "../../device.ts";
import { readSpace } from "../config_space.ts";
import {
  checkSession,
  compute,
  MAX_AUTH_KEY,
  OFFERED,
  type Operation,
  type Session,
} from "./_algorithms.ts";

/** Options of {@linkcode CryptoDevice}. */
export interface CryptoDeviceOptions {
  /** Data queues, 1 to 64; 1 by default. */
  readonly queues?: number;
  /** Most bytes of one request's content; 1 MiB by default. */
  readonly maxSize?: number;
  /** Most sessions at a time; 1024 by default. */
  readonly maxSessions?: number;
  /** Feature bits not to offer. */
  readonly withhold?: readonly number[];
  /** Whether it is ready at first; true by default. */
  readonly ready?: boolean;
  /** Answers the requests of one notification in the reverse order, for tests of drivers. */
  readonly reverse?: boolean;
  /** Drops the zeroes that an RSA result begins with, as QEMU 7.2 does; for tests of drivers. */
  readonly dropZeroes?: boolean;
}

/** A request that was served, and how many bytes it wrote. */
interface Served {
  readonly chain: Chain;
  readonly written: number;
}

const MAX_KEY = 4096;
/** `max_cipher_key_len` of the configuration, in bytes. */
const MAX_CIPHER_KEY = 32;
/** Steps that an operation with an asymmetric key counts for: it takes milliseconds, where others take microseconds. */
const KEY_STEPS = 1 << 14;
const SERVICES = Object.values(CryptoService);

/**
 * The crypto device (virtio 1.4 §5.9), which computes by `node:crypto`.
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
 * const device = new CryptoDevice();
 * await using machine = EmulatedMachine.create({ devices: [device] });
 * await using bus = new Bus();
 * await bus.registerDriver(cryptoDriver);
 * await bus.addPlatform(machine);
 * const hash = await bus.get(cryptoDriver)!.hash(CryptoHash.SHA_256);
 * assertEquals(device.sessions, 1);
 * await hash.close();
 * assertEquals(device.sessions, 0);
 * ```
 */
export class CryptoDevice implements DeviceModel {
  /** Name for reports. */
  readonly name = "crypto";
  /** Virtio device id 20. */
  readonly deviceId: number = DeviceId.CRYPTO;
  /** Features that the options offer. */
  readonly features: FeatureSet;
  /** Names of the bits. */
  readonly featureNames: FeatureNames = CryptoFeature;
  /** The data queues, and the control queue after them. */
  readonly queues: readonly QueueSpec[];
  /** Size of `struct virtio_crypto_config` in bytes. */
  readonly configSize: number = CRYPTO_CONFIG.SIZE;
  /** Sessions and their keys. */
  readonly bounds: ModelUsage;
  readonly #count: number;
  readonly #maxSize: number;
  readonly #maxSessions: number;
  readonly #reverse: boolean;
  readonly #dropZeroes: boolean;
  readonly #config = new DataView(new ArrayBuffer(CRYPTO_CONFIG.SIZE));
  readonly #sessions = new Map<number, Session>();
  #lastSession = 0;
  #attached: DeviceContext | undefined;
  #context: DeviceContext | undefined;

  /**
   * Makes the device.
   *
   * @throws {RangeError} If the number of queues is not from 1 to 64.
   */
  constructor(options: CryptoDeviceOptions = {}) {
    this.#count = options.queues ?? 1;
    if (!Number.isInteger(this.#count) || this.#count < 1 || this.#count > 64) {
      throw new RangeError(
        `Cannot make a crypto device with ${this.#count} queues: expected 1 to 64`,
      );
    }
    this.#maxSize = options.maxSize ?? 1 << 20;
    this.#maxSessions = options.maxSessions ?? 1024;
    this.bounds = { items: this.#maxSessions, bytes: this.#maxSessions * MAX_KEY };
    this.#reverse = options.reverse ?? false;
    this.#dropZeroes = options.dropZeroes ?? false;
    const offered = FeatureSet.of(...Object.values(CryptoFeature))
      .without(...options.withhold ?? []);
    // dev.basic.features.1: the stateless modes need REVISION_1 (virtio 1.4 §5.9.3.1).
    this.features = offered.has(CryptoFeature.REVISION_1) ? offered : FeatureSet.NONE;
    this.queues = Array.from({ length: this.#count + 1 }, (_, i) => ({
      name: i < this.#count ? `dataq${i + 1}` : "controlq",
      maxSize: 256,
    }));
    const C = CRYPTO_CONFIG;
    const mask = (bits: readonly number[]): number =>
      bits.reduce((word, bit) => word | 1 << bit, 0);
    const set = ({ offset }: { offset: number }, value: number): void =>
      this.#config.setUint32(offset, value, true);
    set(C.status, options.ready === false ? 0 : CRYPTO_HW_READY);
    set(C.max_dataqueues, this.#count);
    set(C.crypto_services, mask(SERVICES));
    set(C.cipher_algo_l, mask(OFFERED[CryptoService.CIPHER]!));
    set(C.hash_algo, mask(OFFERED[CryptoService.HASH]!));
    set(C.mac_algo_l, mask(OFFERED[CryptoService.MAC]!));
    set(C.aead_algo, mask(OFFERED[CryptoService.AEAD]!));
    set(C.akcipher_algo, mask(OFFERED[CryptoService.AKCIPHER]!));
    set(C.max_cipher_key_len, MAX_CIPHER_KEY);
    set(C.max_auth_key_len, MAX_AUTH_KEY);
    set(C.max_size, this.#maxSize);
  }

  /** Sessions that drivers have. */
  get sessions(): number {
    return this.#sessions.size;
  }

  /** Says whether it takes requests. */
  setReady(ready: boolean): void {
    this.#config.setUint32(CRYPTO_CONFIG.status.offset, ready ? CRYPTO_HW_READY : 0, true);
    this.#attached?.configChanged();
  }

  /** Reads the configuration. */
  readConfig(offset: number, width: ConfigWidth): number {
    return readSpace(this.#config, offset, width);
  }

  /** The stateless modes need REVISION_1. */
  acceptFeatures(features: FeatureSet): boolean {
    const { REVISION_1, ...modes } = CryptoFeature;
    return features.has(REVISION_1) || !Object.values(modes).some((bit) => features.has(bit));
  }

  /** Keeps the way to report a change. */
  attach(context: DeviceContext): void {
    this.#attached = context;
  }

  /** Starts to serve the queues. */
  activate(context: DeviceContext): void {
    this.#context = context;
  }

  /** Serves what a queue holds. */
  notify(index: number): void {
    const queue = this.#context?.queue(index);
    if (queue === undefined) return;
    const done: Served[] = [];
    const { work } = this.#context!;
    for (let chain = work.take(queue); chain !== undefined; chain = work.take(queue)) {
      const written = index === this.#count ? this.#serveControl(chain) : this.#serveData(chain);
      if (written < 0) return;
      done.push({ chain, written });
    }
    this.#return(queue, this.#reverse ? done.reverse() : done);
  }

  /** Sessions, and bytes of their keys. */
  usage(): ModelUsage {
    let bytes = 0;
    for (const { key, authKey } of this.#sessions.values()) bytes += key.length + authKey.length;
    return { items: this.#sessions.size, bytes };
  }

  /** Sessions with their keys, as plain data: keep it as you would keep the keys. */
  snapshot(): unknown {
    const sessions = [...this.#sessions].map(([id, session]) => [
      id,
      { ...session, key: [...session.key], authKey: [...session.authKey] },
    ]);
    return { lastSession: this.#lastSession, sessions };
  }

  /** Takes the sessions back. */
  restore(state: unknown): void {
    const { lastSession, sessions } = state as {
      lastSession: number;
      sessions: [
        number,
        Omit<Session, "key" | "authKey"> & { key: number[]; authKey: number[] },
      ][];
    };
    this.#lastSession = lastSession;
    this.#sessions.clear();
    for (const [id, session] of sessions) {
      const [key, authKey] = [Uint8Array.from(session.key), Uint8Array.from(session.authKey)];
      this.#sessions.set(id, { ...session, key, authKey });
    }
  }

  /** Forgets all sessions. */
  reset(): void {
    this.#context = undefined;
    for (const { key, authKey } of this.#sessions.values()) {
      key.fill(0);
      authKey.fill(0);
    }
    this.#sessions.clear();
    this.#lastSession = 0;
  }

  /** Forgets all sessions. */
  [Symbol.dispose](): void {
    this.reset();
  }

  #return(queue: DeviceQueue, all: readonly Served[]): void {
    for (const { chain, written } of all) queue.push(chain, written);
    queue.signal();
  }

  #revision1(): boolean {
    return this.#context!.features.has(CryptoFeature.REVISION_1);
  }

  /** Serves a control request; how many bytes it wrote, or -1 after a fault. */
  #serveControl(chain: Chain): number {
    if (chain.readableLength < CRYPTO_CTRL_HEADER.SIZE) {
      return this.#fault(`control request of ${chain.readableLength} bytes`);
    }
    const opcode = chain.readU32();
    chain.skip(CRYPTO_CTRL_HEADER.SIZE - 4);
    const service = opcode >>> 8;
    const akcipher = service === CryptoService.AKCIPHER;
    const operation = opcode & 0xff;
    if (operation === (akcipher ? CryptoControl.AKCIPHER_CREATE : CryptoControl.CREATE)) {
      return this.#create(chain, service);
    }
    if (operation === (akcipher ? CryptoControl.AKCIPHER_DESTROY : CryptoControl.DESTROY)) {
      if (chain.readableLeft < 8) return this.#fault("a request to destroy without a session");
      const id = chain.readU64();
      if (chain.writableLength < 1) return this.#fault("a request without room for its status");
      chain.writeU8(this.#sessions.delete(id) ? CryptoStatus.OK : CryptoStatus.ERR);
      return chain.written;
    }
    if (chain.writableLength < 1) return this.#fault("a request without room for its status");
    chain.writeU8(CryptoStatus.NOTSUPP);
    return chain.written;
  }

  /** Makes a session; how many bytes it wrote, or -1 after a fault. */
  #create(chain: Chain, service: number): number {
    if (chain.writableLength < CRYPTO_SESSION_INPUT.SIZE) {
      return this.#fault(`room of ${chain.writableLength} bytes for a session, expected 16`);
    }
    const size = this.#revision1()
      ? CRYPTO_SESSION_BODY[service as CryptoService]
      : CRYPTO_CTRL_BODY;
    let status: number = CryptoStatus.NOTSUPP;
    let id = 0;
    if (size !== undefined) {
      if (chain.readableLeft < size) return this.#fault("a session request that is cut off");
      const body = readBytes(chain, size);
      const words = new DataView(body.buffer);
      const session = this.#readSession(service, words, chain);
      if (service === CryptoService.AKCIPHER) this.#context!.work.spend(KEY_STEPS);
      status = session === undefined ? CryptoStatus.ERR : checkSession(session);
      if (status === CryptoStatus.OK && this.#sessions.size >= this.#maxSessions) {
        status = this.#revision1() ? CryptoStatus.NOSPC : CryptoStatus.ERR;
      }
      if (status === CryptoStatus.OK) {
        id = ++this.#lastSession;
        this.#sessions.set(id, session!);
      }
    }
    chain.writeU32(id);
    chain.writeU32(0);
    chain.writeU32(status);
    chain.writeU32(0);
    return chain.written;
  }

  /** The parameters of a session in session mode; undefined if they make no sense. */
  #readSession(service: number, view: DataView, chain: Chain): Session | undefined {
    const word = (index: number): number => view.getUint32(index * 4, true);
    const base = { service, algo: word(0), ...BLANK };
    const read = (length: number): Uint8Array | undefined =>
      length > MAX_KEY || length > chain.readableLeft ? undefined : readBytes(chain, length);
    const chained = service === CryptoService.CIPHER &&
      view.getUint32(CRYPTO_SYM_OP_TYPE.SESSION, true) === CRYPTO_SYM_CHAIN;
    const keyLength = service === CryptoService.MAC || service === CryptoService.AKCIPHER
      ? word(2)
      : service === CryptoService.HASH
      ? 0
      : word(chained ? 3 : 1);
    const key = read(keyLength);
    if (key === undefined) return undefined;
    switch (service) {
      case CryptoService.CIPHER: {
        if (chained) {
          // A plain hash has no key: the words of one are algo and hash_result_len.
          const authKey = read(word(1) === CryptoHashMode.AUTH ? word(8) : 0);
          return authKey && { ...base, key, authKey, ...readChain([0, 1, 2, 4, 6, 7].map(word)) };
        }
        const type = view.getUint32(CRYPTO_SYM_OP_TYPE.SESSION, true);
        return type === CRYPTO_SYM_CIPHER ? { ...base, key, encrypt: word(2) === 1 } : undefined;
      }
      case CryptoService.HASH:
      case CryptoService.MAC:
        return { ...base, key, resultSize: word(1) };
      case CryptoService.AEAD:
        return { ...base, key, tagSize: word(2), encrypt: word(4) === 1 };
      case CryptoService.AKCIPHER:
        return { ...base, key, ...readKeyWords(word) };
      default:
        return undefined;
    }
  }

  /** Serves a data request; how many bytes it wrote, or -1 after a fault. */
  #serveData(chain: Chain): number {
    if (chain.writableLength < 1) return this.#fault("a data request without room for its status");
    if (chain.readableLength < CRYPTO_OP_HEADER.SIZE) {
      return this.#fault(`data request of ${chain.readableLength} bytes`);
    }
    // The status is the last byte, wherever the result ends; what is between is left alone.
    const room = chain.writableLength - 1;
    const { status, bytes } = this.#answer(chain);
    const fits = bytes.length <= room;
    const written = fits ? chain.write(bytes) : 0;
    chain.seekWrite(room);
    chain.writeU8(fits ? status : CryptoStatus.ERR);
    return written + 1;
  }

  #answer(chain: Chain): { status: number; bytes: Uint8Array } {
    const fails = (status: number) => ({ status, bytes: new Uint8Array(0) });
    const opcode = chain.readU32();
    chain.skip(4);
    const id = chain.readU64();
    const flag = chain.readU32();
    chain.skip(4);
    const service = (opcode >>> 8) as CryptoService;
    const sizes = CRYPTO_DATA_BODY[service];
    if (sizes === undefined) return fails(CryptoStatus.NOTSUPP);
    // Without REVISION_1 there is one form of requests, whatever a legacy driver accepted besides.
    const modes = this.#revision1() &&
      this.#context!.features.has(CryptoFeature.CIPHER_STATELESS_MODE + service);
    const stateless = modes && flag !== CRYPTO_SESSION_MODE;
    const size = !this.#revision1() ? CRYPTO_OP_BODY : sizes[stateless ? 1 : 0];
    if (chain.readableLeft < size) return fails(CryptoStatus.ERR);
    const view = new DataView(readBytes(chain, size).buffer);
    const typeAt = stateless ? CRYPTO_SYM_OP_TYPE.STATELESS : CRYPTO_SYM_OP_TYPE.DATA;
    const type = service === CryptoService.CIPHER ? view.getUint32(typeAt, true) : 0;
    const chained = type === CRYPTO_SYM_CHAIN;
    if (service === CryptoService.CIPHER && !chained && type !== CRYPTO_SYM_CIPHER) {
      return fails(CryptoStatus.NOTSUPP);
    }
    const known = stateless ? this.#readStateless(service, view, chained) : this.#sessions.get(id);
    const fits = known?.service === service && known.chained === chained;
    if (known === undefined || !fits) return fails(CryptoStatus.INVSESS);
    const lengths = chained
      ? readChainLengths(stateless, view)
      : { ...readLengths(service, stateless, view), authLength: 0, digestSize: 0 };
    const { iv, src, aad, dst, tag, keyLength, authLength, digestSize } = lengths;
    const total = iv + src + aad + dst + digestSize + 1;
    if (total > this.#maxSize || Math.max(keyLength, authLength) > MAX_KEY) {
      return fails(CryptoStatus.ERR);
    }
    const operation = opcode & 0xff;
    const verify = service === CryptoService.AKCIPHER && operation === CryptoOperation.VERIFY;
    const asked = keyLength + authLength + iv + src + aad + (verify ? dst : 0);
    if (asked > chain.readableLeft) return fails(CryptoStatus.ERR);
    const key = stateless ? readBytes(chain, keyLength) : known.key;
    const authKey = stateless ? readBytes(chain, authLength) : known.authKey;
    const session: Session = { ...known, key, authKey, ...stateless ? { tagSize: tag } : {} };
    if (stateless) {
      const status = checkSession(session);
      if (status !== CryptoStatus.OK) return fails(status);
    }
    const vector = readBytes(chain, iv);
    // A chain without a session has its additional data first (virtio 1.4 §5.9.7.5).
    const before = readBytes(chain, stateless && chained ? aad : 0);
    const source = readBytes(chain, src);
    const after = readBytes(chain, stateless && chained ? 0 : aad);
    const parts: Operation = {
      operation,
      iv: vector,
      src: source,
      aad: stateless && chained ? before : after,
      digest: readBytes(chain, verify ? dst : 0),
      ...chained ? { ...readParts(stateless, view), textSize: dst, digestSize } : {},
    };
    const wrongWay = (service === CryptoService.CIPHER || service === CryptoService.AEAD) &&
      session.encrypt !== (operation === CryptoOperation.ENCRYPT);
    if (wrongWay) return fails(CryptoStatus.ERR);
    // Bytes count that are computed over, and those that are copied.
    const cost = service === CryptoService.AKCIPHER ? KEY_STEPS : 0;
    this.#context!.work.spend(cost, chained ? 2 * (src + aad) + dst : src + aad);
    const result = compute(session, parts);
    // A decrypted text is what was encrypted; the other results are numbers.
    const number = service === CryptoService.AKCIPHER && known.algo === CryptoAkcipher.RSA &&
      operation !== CryptoOperation.DECRYPT;
    if (!number || !this.#dropZeroes) return result;
    const first = result.bytes.findIndex((byte) => byte !== 0);
    return { ...result, bytes: result.bytes.subarray(Math.max(0, first)) };
  }

  /** The parameters that stand in a stateless request; the key comes with the data. */
  #readStateless(service: CryptoService, view: DataView, chained: boolean): Session {
    const word = (index: number): number => view.getUint32(index * 4, true);
    const base = { service, algo: word(0), key: new Uint8Array(0), ...BLANK };
    if (service === CryptoService.AKCIPHER) return { ...base, ...readKeyWords(word) };
    // The bytes of the digest are those of the request.
    if (chained) return { ...base, ...readChain([...[0, 7, 2, 4, 5].map(word), 0]) };
    return { ...base, encrypt: word(2) === 1 };
  }

  #fault(reason: string): -1 {
    this.#context?.fault(`crypto: ${reason}`);
    return -1;
  }
}

const BLANK = {
  ...{ encrypt: false, tagSize: 0, resultSize: 0, keyType: 0, padding: 0, hash: 0, curve: 0 },
  ...{ chained: false, order: 0, hashMode: 0, hashAlgo: 0, authKey: new Uint8Array(0) },
};

/** Key type and parameters of an asymmetric session: those of RSA, and the curve of ECDSA in their place. */
function readKeyWords(word: (index: number) => number) {
  return { keyType: word(1), padding: word(3), hash: word(4), curve: word(3) };
}

/** The parameters of a chain, from its order, hash mode, cipher, direction, hash and bytes of the digest. */
function readChain([order, mode, algo, direction, hashAlgo, resultSize]: readonly number[]) {
  return {
    chained: true,
    order: order!,
    hashMode: mode!,
    algo: algo!,
    encrypt: direction === CryptoDirection.ENCRYPT,
    hashAlgo: hashAlgo!,
    resultSize: resultSize!,
  };
}

/** Where the lengths of a chain's request begin, in words: behind its parameters if it has no session. */
const chainWords = (stateless: boolean): number => stateless ? 8 : 0;

/** Lengths of the parts of a chain's request. */
function readChainLengths(stateless: boolean, view: DataView) {
  const from = chainWords(stateless);
  const word = (index: number): number => view.getUint32((from + index) * 4, true);
  return {
    ...{ iv: word(0), src: word(1), dst: word(2), aad: word(7), digestSize: word(8), tag: 0 },
    keyLength: stateless ? view.getUint32(3 * 4, true) : 0,
    authLength: stateless ? view.getUint32(6 * 4, true) : 0,
  };
}

/** The parts of the source that a chain ciphers and hashes. */
function readParts(stateless: boolean, view: DataView) {
  const from = chainWords(stateless);
  const word = (index: number): number => view.getUint32((from + index) * 4, true);
  return {
    ciphered: { start: word(3), length: word(4) },
    hashed: { start: word(5), length: word(6) },
  };
}

function readBytes(chain: Chain, length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  chain.read(bytes);
  return bytes;
}

function readLengths(service: CryptoService, stateless: boolean, view: DataView): {
  iv: number;
  src: number;
  aad: number;
  dst: number;
  tag: number;
  keyLength: number;
} {
  const word = (index: number): number => view.getUint32(index * 4, true);
  const none = { iv: 0, src: 0, aad: 0, dst: 0, tag: 0, keyLength: 0 };
  switch (service) {
    case CryptoService.CIPHER:
      if (!stateless) return { ...none, iv: word(0), src: word(1), dst: word(2) };
      return { ...none, keyLength: word(1), iv: word(3), src: word(4), dst: word(5) };
    case CryptoService.HASH:
      return { ...none, src: word(stateless ? 1 : 0), dst: word(stateless ? 2 : 1) };
    case CryptoService.MAC:
      if (!stateless) return { ...none, src: word(0), dst: word(1) };
      return { ...none, keyLength: word(1), src: word(2), dst: word(3) };
    case CryptoService.AEAD:
      if (!stateless) {
        return { ...none, iv: word(0), aad: word(1), src: word(2), dst: word(3), tag: word(4) };
      }
      return {
        keyLength: word(1),
        iv: word(3),
        tag: word(4),
        aad: word(5),
        src: word(6),
        dst: word(7),
      };
    case CryptoService.AKCIPHER:
      if (!stateless) return { ...none, src: word(0), dst: word(1) };
      return { ...none, keyLength: word(2), src: word(5), dst: word(6) };
  }
}
