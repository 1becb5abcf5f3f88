import {
  CRYPTO_CTRL_HEADER,
  CRYPTO_OP_HEADER,
  CRYPTO_SESSION_INPUT,
  CRYPTO_SESSION_MODE,
  CryptoAead,
  CryptoAkcipher,
  CryptoCipher,
  CryptoControl,
  CryptoFeature,
  CryptoHash,
  CryptoMac,
  CryptoOperation,
  CryptoService,
  CryptoStatus,
} from "@vireo/hal";
import { bytesText, nameOf } from "./names.ts";
import type { DeviceWords, RequestBytes } from "./places.ts";

/** By service: its algorithms, and the feature that lets a request do without a session. */
const ALGORITHMS: readonly (readonly [Readonly<Record<string, number>>, number])[] = [
  [CryptoCipher, CryptoFeature.CIPHER_STATELESS_MODE],
  [CryptoHash, CryptoFeature.HASH_STATELESS_MODE],
  [CryptoMac, CryptoFeature.MAC_STATELESS_MODE],
  [CryptoAead, CryptoFeature.AEAD_STATELESS_MODE],
  [CryptoAkcipher, CryptoFeature.AKCIPHER_STATELESS_MODE],
];

/** Words of the crypto device (virtio 1.4 §5.9.7). */
export const CRYPTO_WORDS: DeviceWords = {
  request: (request, view) =>
    view.byteLength < CRYPTO_CTRL_HEADER.SIZE ? undefined : crypto(request, view),
  answer: ({ request, bytes, last }, view) => {
    if (request === undefined) return undefined;
    if (!CREATES.test(request) || bytes.length < CRYPTO_SESSION_INPUT.SIZE) {
      return `${request}: ${last === undefined ? "no status" : nameOf(CryptoStatus, last)}`;
    }
    const status = view.getUint32(CRYPTO_SESSION_INPUT.status.offset, true);
    const session = view.getBigUint64(CRYPTO_SESSION_INPUT.session_id.offset, true);
    const text = `${request}: ${nameOf(CryptoStatus, status)}`;
    return status === CryptoStatus.OK ? `${text}, session ${session}` : text;
  },
};

const CREATES = /^crypto \S+ CREATE /;

function crypto({ features, readable }: RequestBytes, view: DataView): string {
  const opcode = view.getUint32(CRYPTO_CTRL_HEADER.opcode.offset, true);
  const algorithm = view.getUint32(CRYPTO_CTRL_HEADER.algo.offset, true);
  const [service, code] = [opcode >>> 8, opcode & 0xff];
  const text = `crypto ${nameOf(CryptoService, service)}`;
  const [names = {}, stateless = -1] = ALGORITHMS[service] ?? [];
  const name = nameOf(names, algorithm);
  switch (service === CryptoService.AKCIPHER ? code : code + 2) {
    case CryptoControl.AKCIPHER_CREATE:
      return `${text} CREATE ${name}`;
    case CryptoControl.AKCIPHER_DESTROY:
      return view.byteLength < CRYPTO_CTRL_HEADER.SIZE + 8
        ? `${text} DESTROY`
        : `${text} DESTROY session ${view.getBigUint64(CRYPTO_CTRL_HEADER.SIZE, true)}`;
  }
  const keyless = service === CryptoService.HASH || service === CryptoService.MAC;
  const operation = keyless && code === 0 ? text : `${text} ${nameOf(CryptoOperation, code)}`;
  if (view.byteLength < CRYPTO_OP_HEADER.SIZE) return operation;
  const flag = view.getUint32(CRYPTO_OP_HEADER.flag.offset, true);
  const session = view.getBigUint64(CRYPTO_OP_HEADER.session_id.offset, true);
  const alone = features.has(stateless) && flag !== CRYPTO_SESSION_MODE;
  const by = alone ? `${name} without a session` : `session ${session}`;
  return `${operation} ${by}, ${bytesText(readable)}`;
}
