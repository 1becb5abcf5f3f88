import { assert, assertEquals } from "@std/assert";
import { Steering } from "./steering.ts";

const PAIRS = 64;

/** An IPv4 or IPv6 frame of a flow with TCP or UDP, at an offset in its buffer. */
function frame(
  { from, to, v6 = false, protocol = 6, ports = [1000, 80], fragment = 0 }: {
    readonly from: readonly number[];
    readonly to: readonly number[];
    readonly v6?: boolean;
    readonly protocol?: number;
    readonly ports?: readonly [number, number];
    readonly fragment?: number;
  },
  at = 0,
): Uint8Array {
  const ip = v6
    ? [0x60, 0, 0, 0, 0, 20, protocol, 64, ...from, ...to]
    : [0x45, 0, 0, 40, 0, 0, fragment >> 8, fragment & 255, 64, protocol, 0, 0, ...from, ...to];
  const [source, target] = ports;
  const type = v6 ? [0x86, 0xdd] : [0x08, 0];
  const both = [source >> 8, source & 255, target >> 8, target & 255];
  return Uint8Array.from([
    ...new Array<number>(at),
    ...new Array<number>(12).fill(2),
    ...type,
    ...ip,
    ...both,
  ]);
}

/** The queue that a fresh steering gives it. */
const queueOf = (bytes: Uint8Array, at = 0): number =>
  new Steering().choose(bytes, at, bytes.length - at, PAIRS);

const FLOWS = [
  { from: [10, 0, 0, 2], to: [192, 168, 1, 7] },
  { from: [172, 16, 200, 1], to: [8, 8, 4, 4], protocol: 17 },
  {
    v6: true,
    from: [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8],
    to: [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x99, 0x11],
  },
];

Deno.test("steering: both directions of a flow have one queue, wherever the frame lies", () => {
  for (const flow of FLOWS) {
    const { from, to } = flow;
    for (let port = 1; port < 2000; port += 37) {
      const there = queueOf(frame({ ...flow, ports: [port, 80] }));
      assertEquals(queueOf(frame({ ...flow, from: to, to: from, ports: [80, port] })), there);
      assertEquals(queueOf(frame({ ...flow, ports: [port, 80] }, 24), 24), there);
    }
  }
});

Deno.test("steering: addresses and ports spread flows, fragments have the queue of their addresses", () => {
  for (const flow of FLOWS) {
    const byPort = new Set<number>();
    const byAddress = new Set<number>();
    for (let i = 0; i < 256; i++) {
      byPort.add(queueOf(frame({ ...flow, ports: [i, 80] })));
      byAddress.add(queueOf(frame({ ...flow, from: [...flow.from.slice(0, -1), i] })));
    }
    assert(byPort.size > PAIRS / 2, `${byPort.size} queues by port`);
    assert(byAddress.size > PAIRS / 2, `${byAddress.size} queues by address`);
  }
  const queues = [0x2000, 0x0001, 0x1fff].flatMap((fragment) =>
    [1, 2, 77].map((port) => queueOf(frame({ ...FLOWS[0]!, fragment, ports: [port, 9] })))
  );
  assertEquals(new Set(queues).size, 1);
  const ping = { ...FLOWS[0]!, protocol: 1 };
  assertEquals(queueOf(frame(ping)), queueOf(frame({ ...ping, ports: [7, 7] })));
});

Deno.test("steering: a flow comes in where it last went out, until that pair is given up", () => {
  const steering = new Steering();
  const [bytes] = FLOWS.map((flow) => frame(flow)) as [Uint8Array];
  const { length } = bytes;
  const fresh = steering.choose(bytes, 0, length, 4);
  for (const queue of [3, 1, 0, 2]) {
    steering.sent(bytes, 0, length, queue);
    assertEquals(steering.choose(bytes, 0, length, 4), queue);
  }
  assertEquals(steering.choose(bytes, 0, length, 3), 2, "the last pair in use");
  assert(steering.choose(bytes, 0, length, 2) < 2);
  steering.reset();
  assertEquals(steering.choose(bytes, 0, length, 4), fresh);
});

Deno.test("steering: ports that are cut off do not count", () => {
  const queues = (length: number): number =>
    new Set([1, 2, 77].map((port) => {
      const bytes = frame({ ...FLOWS[0]!, ports: [port, 9] });
      return new Steering().choose(bytes, 0, length, PAIRS);
    })).size;
  assertEquals([37, 38].map(queues), [1, 3]);
});

Deno.test("steering: queues are those of the bytes that name a flow, each of which counts", () => {
  const bytes = (...parts: (readonly number[])[]): Uint8Array => Uint8Array.from(parts.flat());
  const zeroes = (length: number): number[] => new Array(length).fill(0);
  // Of other protocols, and of what is cut off, the last four bytes of both addresses.
  const macs = [1, 2, 0x30, 0x41, 0x52, 0x63, 7, 8, 0x11, 0x22, 0x33, 0x44];
  const between = 0x30415263 ^ 0x11223344;
  const folded = (hash: number): number => {
    const half = hash ^ hash >>> 16;
    return (half ^ half >>> 8) & 1023;
  };
  const v4 = [0x45, ...zeroes(8), 1, 0, 0, 10, 20, 30, 40, 50, 60, 70, 80];
  const v6 = [...zeroes(6), 1, 0, ...zeroes(12), 10, 20, 30, 40, ...zeroes(12), 50, 60, 70, 80];
  const addresses = 0x0a141e28 ^ 0x323c4650;
  const ports = [0x12, 0x34, 0x56, 0x78];
  const rows: readonly (readonly [Uint8Array, number])[] = [
    [bytes(macs, [8, 6], zeroes(60)), between],
    [bytes(macs, [8, 0], v4), addresses],
    [bytes(macs, [8, 0], v4.slice(0, 19)), between],
    [bytes(macs, [0x86, 0xdd], v6, ports), addresses],
    [bytes(macs, [0x86, 0xdd], v6, ports.slice(1)), between],
    // TCP and UDP have ports, and no other protocol has.
    [bytes(macs, [0x86, 0xdd], v6.with(6, 6), ports), addresses ^ 0x1234 ^ 0x5678],
    [bytes(macs, [0x86, 0xdd], v6.with(6, 17), ports), addresses ^ 0x1234 ^ 0x5678],
    [bytes(macs, [8, 0], v4.with(9, 6), ports), addresses ^ 0x1234 ^ 0x5678],
    [bytes(macs, [8, 0], v4.with(9, 17), ports), addresses ^ 0x1234 ^ 0x5678],
    [bytes(macs, [8, 0], v4.with(9, 1), ports), addresses],
  ];
  for (const [frame, hash] of rows) {
    assertEquals(new Steering().choose(frame, 0, frame.length, 1024), folded(hash));
  }
});
