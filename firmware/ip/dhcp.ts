import { waitFor, type WaitOptions, within } from "@vireo/drivers/core";
import { formatIpv4, parseIpv4 } from "./ethernet.ts";
import type { IpConfig, UdpHost } from "./host.ts";

const CLIENT_PORT = 68;
const SERVER_PORT = 67;
const MAGIC = 0x63825363;
/** The fixed part with the magic number (RFC 2131 §2). */
const FIXED = 240;
const MESSAGE = { DISCOVER: 1, OFFER: 2, REQUEST: 3, ACK: 5, NAK: 6 } as const;
const OPTION = {
  MASK: 1,
  ROUTER: 3,
  DNS: 6,
  ADDRESS: 50,
  LEASE_TIME: 51,
  TYPE: 53,
  SERVER: 54,
  PARAMETERS: 55,
  END: 255,
} as const;
/** Milliseconds that the whole of it may take, unless told otherwise. */
const DEADLINE = 5000;
/** Milliseconds until a question is asked again at first; doubled each time. */
const FIRST_PAUSE = 500;

/** Lease of a server (RFC 2131). */
export interface DhcpLease extends IpConfig {
  /** The network's mask. */
  readonly mask: string;
  /** Name servers. */
  readonly dns: readonly string[];
  /** The server. */
  readonly server: string;
  /** Seconds until it must be asked again. */
  readonly seconds: number;
}

interface Reply {
  readonly type: number;
  readonly address: string;
  readonly options: ReadonlyMap<number, Uint8Array>;
}

/**
 * Asks the network for an address: DISCOVER, OFFER, REQUEST, ACK.
 *
 * @throws {VireoError} `TIMEOUT` If no server lends one within the deadline, 5 s by default; the signal's
 * reason.
 */
export async function dhcp(host: UdpHost, options: WaitOptions = {}): Promise<DhcpLease> {
  options.signal?.throwIfAborted();
  const { timers } = host;
  const call = within(options, DEADLINE, timers);
  const transaction = host.random();
  let wanted: ((reply: Reply) => void) | undefined;
  using _ = host.listenUdp(CLIENT_PORT, (_, data) => {
    const reply = parseReply(data, transaction);
    if (reply !== undefined) wanted?.(reply);
  });
  /** Sends a question again and again until one of these answers comes. */
  const ask = (question: Uint8Array, types: readonly number[]): Promise<Reply> =>
    waitFor<Reply>({ what: "a DHCP server to lend an address", timers }, call, (waiter) => {
      wanted = (reply) => types.includes(reply.type) && waiter.resolve(reply);
      let stop: () => void = () => {};
      const again = (pause: number): void => {
        const to = { address: "255.255.255.255", port: SERVER_PORT };
        host.sendUdp(CLIENT_PORT, to, question).catch((error) => waiter.reject(error));
        stop = timers.after(pause, () => again(pause * 2));
      };
      again(FIRST_PAUSE);
      return () => stop();
    });
  for (;;) {
    const offer = await ask(question(host, transaction, MESSAGE.DISCOVER), [MESSAGE.OFFER]);
    const server = offer.options.get(OPTION.SERVER);
    if (server?.length !== 4) continue;
    const request = question(host, transaction, MESSAGE.REQUEST, [
      [OPTION.ADDRESS, parseIpv4(offer.address)],
      [OPTION.SERVER, server],
    ]);
    const answer = await ask(request, [MESSAGE.ACK, MESSAGE.NAK]);
    // Refused: another host was faster. Ask again.
    if (answer.type === MESSAGE.ACK) return leaseOf(answer, formatIpv4(server));
  }
}

function question(
  host: UdpHost,
  transaction: number,
  type: number,
  more: readonly (readonly [number, Uint8Array])[] = [],
): Uint8Array {
  const parts: number[] = [OPTION.TYPE, 1, type];
  for (const [code, value] of more) parts.push(code, value.length, ...value);
  parts.push(OPTION.PARAMETERS, 3, OPTION.MASK, OPTION.ROUTER, OPTION.DNS, OPTION.END);
  const bytes = new Uint8Array(FIXED + parts.length);
  const view = new DataView(bytes.buffer);
  bytes.set([1, 1, 6, 0]);
  view.setUint32(4, transaction);
  // The answer may be a broadcast: there is no address yet that it could go to.
  view.setUint16(10, 0x8000);
  bytes.set(host.mac, 28);
  view.setUint32(236, MAGIC);
  bytes.set(parts, FIXED);
  return bytes;
}

function parseReply(bytes: Uint8Array, transaction: number): Reply | undefined {
  if (bytes.length < FIXED || bytes[0] !== 2) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint32(4) !== transaction || view.getUint32(236) !== MAGIC) return undefined;
  const options = new Map<number, Uint8Array>();
  for (let at = FIXED; at < bytes.length && bytes[at] !== OPTION.END;) {
    if (bytes[at] === 0) {
      at++;
      continue;
    }
    const length = bytes[at + 1] ?? 0;
    if (at + 2 + length > bytes.length) return undefined;
    options.set(bytes[at]!, bytes.subarray(at + 2, at + 2 + length));
    at += 2 + length;
  }
  const type = options.get(OPTION.TYPE)?.[0];
  if (type === undefined) return undefined;
  return { type, address: formatIpv4(bytes.subarray(16, 20)), options };
}

function leaseOf({ address, options }: Reply, server: string): DhcpLease {
  const word = options.get(OPTION.LEASE_TIME);
  const seconds = word?.length === 4
    ? new DataView(word.buffer, word.byteOffset, 4).getUint32(0)
    : 3600;
  const all = (code: number): string[] => {
    const bytes = options.get(code) ?? new Uint8Array(0);
    const found: string[] = [];
    for (let at = 0; at + 4 <= bytes.length; at += 4) {
      found.push(formatIpv4(bytes.subarray(at, at + 4)));
    }
    return found;
  };
  return {
    address,
    mask: all(OPTION.MASK)[0] ?? "255.255.255.0",
    router: all(OPTION.ROUTER)[0],
    dns: all(OPTION.DNS),
    server,
    seconds,
  };
}
