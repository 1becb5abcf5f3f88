// Hashes of frames that are cut off anywhere; numbers are typed again from virtio 1.4 §5.1.9.4.3.
import { assertEquals } from "@std/assert";
import { ReceiveHash } from "./receive_hash.ts";

const [NONE, IPV4, TCPV4, UDPV4, IPV6, TCPV6, , IPV6_EX, TCPV6_EX] = [0, 1, 2, 3, 4, 5, 6, 7, 8];
const EVERY = 0x1ff;
const KEY = Uint8Array.from({ length: 40 }, (_, i) => 1 + i * 7);
const ETHERNET = [...new Array<number>(12).fill(2)];
const PORTS = [0x12, 0x34, 0, 80];
/** Where a frame lies in its buffer. */
const AT = 6;

const v4 = (
  options: { protocol?: number; words?: number; fragment?: number; version?: number } = {},
): number[] => {
  const { protocol = 6, words = 5, fragment = 0, version = 4 } = options;
  const bytes = [
    version << 4 | words,
    0,
    0,
    40,
    0,
    0,
    fragment >> 8,
    fragment & 255,
    64,
    protocol,
    0,
    0,
  ];
  const addresses = [10, 0, 0, 1, 192, 168, 7, 9];
  return [
    ...bytes,
    ...addresses,
    ...new Array<number>(4 * Math.max(0, words - 5)).fill(1),
    ...PORTS,
  ];
};

const v6 = (next: number, extensions: readonly number[] = [], version = 6): number[] => [
  ...[version << 4, 0, 0, 0, 0, 20, next, 64],
  ...Array.from({ length: 32 }, (_, i) => i * 5),
  ...extensions,
  ...PORTS,
];

const frame = (
  type: readonly number[],
  ip: readonly number[],
): number[] => [...ETHERNET, ...type, ...ip];
const VLAN = [0x81, 0, 0, 5];
const [TYPE_4, TYPE_6] = [[8, 0], [0x86, 0xdd]] as const;

/** The report and hash of a frame of which so many bytes are there; what is behind them is in the buffer. */
function hashOf(bytes: readonly number[], length: number, types = EVERY): [number, number] {
  const hash = new ReceiveHash();
  hash.configure(types, KEY);
  const buffer = Uint8Array.from([...new Array<number>(AT).fill(9), ...bytes]);
  hash.calculate(buffer, AT, length);
  return [hash.report, hash.value];
}

/** Frames, and the lengths from which on they have another report. */
const FRAMES: Readonly<
  Record<
    string,
    readonly [
      bytes: readonly number[],
      reports: readonly (readonly [from: number, report: number])[],
    ]
  >
> = {
  "TCP over IPv4": [frame(TYPE_4, v4()), [[34, IPV4], [38, TCPV4]]],
  "UDP over IPv4 with options": [frame(TYPE_4, v4({ protocol: 17, words: 7 })), [[42, IPV4], [
    46,
    UDPV4,
  ]]],
  "another protocol over IPv4": [frame(TYPE_4, v4({ protocol: 1 })), [[34, IPV4]]],
  "TCP over IPv4 in a VLAN": [frame([...VLAN, ...TYPE_4], v4()), [[38, IPV4], [42, TCPV4]]],
  "a first fragment": [frame(TYPE_4, v4({ fragment: 0x2000 })), [[34, IPV4]]],
  "a later fragment": [frame(TYPE_4, v4({ fragment: 1 })), [[34, IPV4]]],
  "a packet that must not be a fragment": [frame(TYPE_4, v4({ fragment: 0x4000 })), [[34, IPV4], [
    38,
    TCPV4,
  ]]],
  "IPv4 of another version": [frame(TYPE_4, v4({ version: 5 })), []],
  "IPv4 with a header of 16 bytes": [frame(TYPE_4, v4({ words: 4 })), []],
  "TCP over IPv6": [frame(TYPE_6, v6(6)), [[54, IPV6], [58, TCPV6]]],
  "IPv6 of another version": [frame(TYPE_6, v6(6, [], 5)), []],
  "TCP over IPv6 in a VLAN": [frame([...VLAN, ...TYPE_6], v6(6)), [[58, IPV6], [62, TCPV6]]],
  "TCP behind options of each hop": [
    frame(TYPE_6, v6(0, [6, 0, 1, 4, 0, 0, 0, 0])),
    [[54, IPV6], [62, IPV6_EX], [66, TCPV6_EX]],
  ],
  "TCP behind two headers, of which one has 16 bytes": [
    frame(TYPE_6, v6(0, [60, 1, ...new Array<number>(14).fill(0), 6, 0, 1, 4, 0, 0, 0, 0])),
    [[54, IPV6], [62, IPV6_EX], [82, TCPV6_EX]],
  ],
  "a fragment of IPv6": [frame(TYPE_6, v6(44, [6, 0, 0, 1, 0, 0, 0, 0])), [[54, IPV6], [
    62,
    IPV6_EX,
  ]]],
  "a whole packet with a fragment's header": [
    frame(TYPE_6, v6(44, [6, 9, 0, 0, 0, 0, 0, 0])),
    [[54, IPV6], [62, IPV6_EX], [66, TCPV6_EX]],
  ],
  "what is neither": [frame([0x88, 0xb5], v4()), []],
};

for (const [name, [bytes, reports]] of Object.entries(FRAMES)) {
  Deno.test(`receive hash: ${name}, cut off anywhere, is hashed by what is there`, () => {
    const full = new Map(reports.map(([from, report]) => [report, hashOf(bytes, from)[1]]));
    for (let length = 0; length <= bytes.length; length++) {
      const expected = reports.findLast(([from]) => length >= from)?.[1] ?? NONE;
      assertEquals(hashOf(bytes, length), [expected, full.get(expected) ?? 0], `${length} bytes`);
    }
    assertEquals(hashOf(bytes, bytes.length, 0), [NONE, 0]);
  });
}

Deno.test("receive hash: without types there is none, and of a key 40 bytes count", () => {
  const hash = new ReceiveHash();
  const bytes = Uint8Array.from(frame(TYPE_4, v4()));
  hash.configure(EVERY, KEY);
  hash.calculate(bytes, 0, bytes.length);
  const { value } = hash;
  assertEquals([hash.report, value !== 0], [TCPV4, true]);
  hash.configure(0, KEY);
  hash.calculate(bytes, 0, bytes.length);
  assertEquals([hash.report, hash.value], [NONE, 0]);
  // A key that is shorter is as one with zeroes behind it, and one that is longer is cut.
  const short = KEY.slice(0, 9);
  hash.configure(EVERY, short);
  hash.calculate(bytes, 0, bytes.length);
  const shorter = hash.value;
  hash.configure(EVERY, Uint8Array.from({ length: 50 }, (_, i) => short[i] ?? (i < 40 ? 0 : 255)));
  hash.calculate(bytes, 0, bytes.length);
  assertEquals([hash.value, hash.value === value], [shorter, false]);
});

Deno.test("receive hash: a frame without extension headers is none with them, whatever came before", () => {
  const hash = new ReceiveHash();
  hash.configure(EVERY, KEY);
  const extended = Uint8Array.from(FRAMES["TCP behind options of each hop"]![0]);
  const plain = Uint8Array.from(frame(TYPE_6, v6(6)));
  hash.calculate(extended, 0, extended.length);
  assertEquals(hash.report, TCPV6_EX);
  hash.calculate(plain, 0, plain.length);
  assertEquals(hash.report, TCPV6);
  assertEquals(new ReceiveHash().report, NONE);
});
