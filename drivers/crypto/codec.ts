import {
  CRYPTO_CTRL_BODY,
  CRYPTO_CTRL_HEADER,
  CRYPTO_DATA_BODY,
  CRYPTO_OP_BODY,
  CRYPTO_OP_HEADER,
  CRYPTO_SESSION_BODY,
  CRYPTO_SYM_CHAIN,
  CRYPTO_SYM_CIPHER,
  CRYPTO_SYM_OP_TYPE,
  CryptoService,
} from "@vireo/hal";

/** Parameters of a session's algorithm, as 32-bit words, and its key. */
export interface SessionParameters {
  /** The service. */
  readonly service: CryptoService;
  /** An algorithm of it. */
  readonly algo: number;
  /** The fixed part's words, from the algorithm on, in session mode. */
  readonly words: readonly number[];
  /** The same in stateless mode, where they stand before the lengths. */
  readonly stateless: readonly number[];
  /** The key; empty for hashes, and both keys of a chain. */
  readonly key: Uint8Array;
  /** Whether a cipher is chained with a hash or MAC. */
  readonly chained?: boolean;
}

/** A session's number on the device: 64 bits, in halves, as a number would lose some. */
export interface SessionNumber {
  /** The lower 32 bits. */
  readonly low: number;
  /** The upper 32 bits. */
  readonly high: number;
}

/** Lengths of a request's parts; what a service does not have is 0. */
export interface DataLengths {
  /** Initialization vector. */
  readonly iv: number;
  /** The input. */
  readonly src: number;
  /** Additional authenticated data. */
  readonly aad: number;
  /** The output. */
  readonly dst: number;
  /** The tag. */
  readonly tag: number;
  /** Of a chain: the parts of the input, and the digest. */
  readonly chain?: ChainLengths | undefined;
}

/** A part of the input of a chain, in bytes. */
export interface ChainPart {
  /** Where it begins. */
  readonly start: number;
  /** How long it is. */
  readonly length: number;
}

/** The parts of a chain's input, and the bytes of its digest. */
export interface ChainLengths {
  /** The part that is ciphered. */
  readonly ciphered: ChainPart;
  /** The part that is hashed. */
  readonly hashed: ChainPart;
  /** Bytes of the digest. */
  readonly digest: number;
}

/** A request to create a session, before the key. */
export function encodeCreate(
  { service, algo, words, chained }: SessionParameters,
  opcode: number,
  revision1: boolean,
): Uint8Array {
  const body = revision1 ? CRYPTO_SESSION_BODY[service] : CRYPTO_CTRL_BODY;
  const bytes = new Uint8Array(CRYPTO_CTRL_HEADER.SIZE + body);
  const view = new DataView(bytes.buffer);
  view.setUint32(CRYPTO_CTRL_HEADER.opcode.offset, opcode, true);
  view.setUint32(CRYPTO_CTRL_HEADER.algo.offset, algo, true);
  words.forEach((word, i) => view.setUint32(CRYPTO_CTRL_HEADER.SIZE + i * 4, word, true));
  if (service === CryptoService.CIPHER) {
    const at = CRYPTO_CTRL_HEADER.SIZE + CRYPTO_SYM_OP_TYPE.SESSION;
    view.setUint32(at, chained ? CRYPTO_SYM_CHAIN : CRYPTO_SYM_CIPHER, true);
  }
  return bytes;
}

/** A request to destroy a session. */
export function encodeDestroy(
  opcode: number,
  session: SessionNumber,
  revision1: boolean,
): Uint8Array {
  const bytes = new Uint8Array(CRYPTO_CTRL_HEADER.SIZE + (revision1 ? 8 : CRYPTO_CTRL_BODY));
  const view = new DataView(bytes.buffer);
  view.setUint32(CRYPTO_CTRL_HEADER.opcode.offset, opcode, true);
  view.setUint32(CRYPTO_CTRL_HEADER.SIZE, session.low, true);
  view.setUint32(CRYPTO_CTRL_HEADER.SIZE + 4, session.high, true);
  return bytes;
}

/** A data request, before its variable part. */
export function encodeData(request: {
  readonly parameters: SessionParameters;
  readonly operation: number;
  /** The session; undefined in stateless mode. */
  readonly session: SessionNumber | undefined;
  readonly flag: number;
  readonly lengths: DataLengths;
  readonly revision1: boolean;
}): Uint8Array {
  const { parameters, operation, session, flag, lengths, revision1 } = request;
  const { service, algo } = parameters;
  const [withSession, without] = CRYPTO_DATA_BODY[service];
  const body = !revision1 ? CRYPTO_OP_BODY : session === undefined ? without : withSession;
  const bytes = new Uint8Array(CRYPTO_OP_HEADER.SIZE + body);
  const view = new DataView(bytes.buffer);
  view.setUint32(CRYPTO_OP_HEADER.opcode.offset, service << 8 | operation, true);
  view.setUint32(CRYPTO_OP_HEADER.algo.offset, algo, true);
  view.setUint32(CRYPTO_OP_HEADER.session_id.offset, session?.low ?? 0, true);
  view.setUint32(CRYPTO_OP_HEADER.session_id.offset + 4, session?.high ?? 0, true);
  view.setUint32(CRYPTO_OP_HEADER.flag.offset, flag, true);
  const words = [
    ...session === undefined ? parameters.stateless : [],
    ...lengthWords(service, session === undefined, lengths),
  ];
  words.forEach((word, i) => view.setUint32(CRYPTO_OP_HEADER.SIZE + i * 4, word, true));
  if (service === CryptoService.CIPHER) {
    const at = session === undefined ? CRYPTO_SYM_OP_TYPE.STATELESS : CRYPTO_SYM_OP_TYPE.DATA;
    const type = parameters.chained ? CRYPTO_SYM_CHAIN : CRYPTO_SYM_CIPHER;
    view.setUint32(CRYPTO_OP_HEADER.SIZE + at, type, true);
  }
  return bytes;
}

function lengthWords(
  service: CryptoService,
  stateless: boolean,
  { iv, src, aad, dst, tag, chain }: DataLengths,
): number[] {
  if (chain !== undefined) {
    const { ciphered, hashed, digest } = chain;
    const parts = [ciphered.start, ciphered.length, hashed.start, hashed.length];
    return [iv, src, dst, ...parts, aad, digest, 0];
  }
  switch (service) {
    case CryptoService.CIPHER:
      return [iv, src, dst];
    case CryptoService.HASH:
    case CryptoService.MAC:
    case CryptoService.AKCIPHER:
      return [src, dst];
    case CryptoService.AEAD:
      return stateless ? [iv, tag, aad, src, dst] : [iv, aad, src, dst, tag];
  }
}
