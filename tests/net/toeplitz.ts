/**
 * The hash of receive-side scaling as its specification writes it down, bit by bit, and that specification's
 * values to verify it by (Microsoft, "Verifying the RSS Hash Calculation").
 *
 * @module
 */

/** The key of the values. */
export const RSS_KEY: Uint8Array = bytes(
  "6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa",
);

/** A flow and its hashes. */
interface RssVector {
  /** Source and destination, each an address and a port. */
  readonly source: readonly [address: string, port: number];
  readonly destination: readonly [address: string, port: number];
  /** Over the addresses. */
  readonly ip: number;
  /** Over the addresses and the ports. */
  readonly ports: number;
}

/** The published values. */
export const RSS_VECTORS: readonly RssVector[] = ([
  ["66.9.149.187", 2794, "161.142.100.80", 1766, 0x323e8fc2, 0x51ccc178],
  ["199.92.111.2", 14230, "65.69.140.83", 4739, 0xd718262a, 0xc626b0ea],
  ["24.19.198.95", 12898, "12.22.207.184", 38024, 0xd2d0a5de, 0x5c2b394a],
  ["38.27.205.30", 48228, "209.142.163.6", 2217, 0x82989176, 0xafc7327f],
  ["153.39.163.191", 44251, "202.188.127.2", 1303, 0x5d1809c5, 0x10e828a2],
  ["3ffe:2501:200:1fff::7", 2794, "3ffe:2501:200:3::1", 1766, 0x2cc18cd5, 0x40207d3d],
  ["3ffe:501:8::260:97ff:fe40:efab", 14230, "ff02::1", 4739, 0x0f0c461c, 0xdde51bbf],
  [
    "3ffe:1900:4545:3:200:f8ff:fe21:67cf",
    44251,
    "fe80::200:f8ff:fe21:67cf",
    38024,
    0x4b61e985,
    0x02d1feef,
  ],
] as const).map(([from, fromPort, to, toPort, ip, ports]) => ({
  source: [from, fromPort],
  destination: [to, toPort],
  ip,
  ports,
}));

/** The bytes of an IPv4 or IPv6 address. */
export function address(text: string): Uint8Array {
  if (!text.includes(":")) return Uint8Array.from(text.split("."), Number);
  const [head, tail = ""] = text.split("::");
  const words = (part: string): number[] =>
    part === "" ? [] : part.split(":").map((word) => parseInt(word, 16));
  const [before, after] = [words(head!), words(tail)];
  const gap = new Array<number>(8 - before.length - after.length).fill(0);
  return Uint8Array.from([...before, ...gap, ...after].flatMap((word) => [word >> 8, word & 0xff]));
}

/** For each set bit of the input, the 32 bits of the key that begin there. */
export function toeplitz(key: Uint8Array, input: readonly number[]): number {
  const bit = (from: readonly number[] | Uint8Array, at: number): number =>
    (from[at >> 3] ?? 0) >> (7 - (at & 7)) & 1;
  let hash = 0;
  for (let at = 0; at < 8 * input.length; at++) {
    if (bit(input, at) === 0) continue;
    let window = 0;
    for (let i = 0; i < 32; i++) window = window * 2 + bit(key, at + i);
    hash ^= window;
  }
  return hash >>> 0;
}

/** A packet of a flow; protocol 6 is TCP, 17 UDP. */
export function flowFrame(
  { source, destination }: Pick<RssVector, "source" | "destination">,
  to: Uint8Array,
  protocol: number,
  options: { readonly extensions?: Uint8Array; readonly next?: number } = {},
): Uint8Array {
  const [from, into] = [address(source[0]), address(destination[0])];
  const { extensions = new Uint8Array(0), next = protocol } = options;
  const transport = new Uint8Array(20);
  new DataView(transport.buffer).setUint16(0, source[1]);
  new DataView(transport.buffer).setUint16(2, destination[1]);
  transport[12] = 0x50;
  const head = from.length === 4
    ? Uint8Array.of(0x45, 0, 0, 40, 0, 1, 0, 0, 64, protocol, 0, 0)
    : Uint8Array.of(0x60, 0, 0, 0, 0, 20 + extensions.length, next, 64);
  return Uint8Array.from([
    ...to,
    ...[2, 0, 0, 0, 0, 9],
    ...(from.length === 4 ? [8, 0] : [0x86, 0xdd]),
    ...head,
    ...from,
    ...into,
    ...extensions,
    ...transport,
  ]);
}

function bytes(text: string): Uint8Array {
  return Uint8Array.from(text.match(/../g) ?? [], (pair) => parseInt(pair, 16));
}
