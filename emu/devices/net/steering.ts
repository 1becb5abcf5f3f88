import { EtherType, get16, IpProtocol } from "../../backends/net_backend_offload.ts";

const FLOWS = 1024;
const { IPV4, IPV6 } = EtherType;
const { TCP, UDP } = IpProtocol;

/**
 * Automatic receive steering (virtio 1.4 §5.1.6.5.5): a flow comes in on the queue whose twin it
 * last went out on, and on one chosen by its hash before that.
 */
export class Steering {
  /** Queue plus one for each hash; 0 is unknown. */
  readonly #flows = new Uint16Array(FLOWS);

  /** Forgets all flows. */
  reset(): void {
    this.#flows.fill(0);
  }

  /** Notes that a frame went out on a transmit queue. */
  sent(bytes: Uint8Array, offset: number, length: number, queue: number): void {
    this.#flows[flowHash(bytes, offset, length)] = queue + 1;
  }

  /** The receive queue, below `pairs`, for a frame that came in. */
  choose(bytes: Uint8Array, offset: number, length: number, pairs: number): number {
    const hash = flowHash(bytes, offset, length);
    const known = this.#flows[hash]!;
    return known > 0 && known <= pairs ? known - 1 : hash % pairs;
  }
}

/** A hash below 1024 that is the same for both directions of a flow. */
function flowHash(bytes: Uint8Array, offset: number, length: number): number {
  let hash = 0;
  const type = get16(bytes, offset + 12);
  if (type === IPV4 && length >= 34) {
    hash = word(bytes, offset + 26) ^ word(bytes, offset + 30);
    const transport = 14 + (bytes[offset + 14]! & 15) * 4;
    const protocol = bytes[offset + 23]!;
    const whole = (bytes[offset + 20]! & 0x3f) === 0 && bytes[offset + 21] === 0;
    if (whole && (protocol === TCP || protocol === UDP) && length >= transport + 4) {
      hash ^= ports(bytes, offset + transport);
    }
  } else if (type === IPV6 && length >= 58) {
    for (let at = 22; at < 54; at += 4) hash ^= word(bytes, offset + at);
    const protocol = bytes[offset + 20]!;
    if (protocol === TCP || protocol === UDP) hash ^= ports(bytes, offset + 54);
  } else {
    hash = word(bytes, offset + 2) ^ word(bytes, offset + 8);
  }
  hash ^= hash >>> 16;
  return (hash ^ (hash >>> 8)) & (FLOWS - 1);
}

function word(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!;
}

function ports(bytes: Uint8Array, at: number): number {
  return get16(bytes, at) ^ get16(bytes, at + 2);
}
