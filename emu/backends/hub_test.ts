import { assertEquals, assertThrows } from "@std/assert";
import { NetGso } from "@vireo/hal";
import { Hub } from "./hub.ts";
import { Accept, type FrameSink, NO_OFFLOAD, Offload } from "./net_backend.ts";
import { Offloader, sumWords } from "./net_backend_offload.ts";
import { HostPeer } from "./wire.ts";

class Listener implements FrameSink {
  readonly accepts: number;
  readonly frames: Uint8Array[] = [];
  flushes = 0;

  constructor(accepts: number = Accept.NONE) {
    this.accepts = accepts;
  }

  receive(bytes: Uint8Array, offset: number, length: number): void {
    this.frames.push(bytes.slice(offset, offset + length));
  }

  flush(): void {
    this.flushes++;
  }
}

function bytes(text: string): Uint8Array {
  return Uint8Array.from(text.match(/[0-9a-f]{2}/gi) ?? [], (pair) => parseInt(pair, 16));
}

function frame(to: number, from: number): Uint8Array {
  return Uint8Array.of(2, 0, 0, 0, 0, to, 2, 0, 0, 0, 0, from, 0x88, 0xb5, 1, 2, 3);
}

Deno.test("hub: a frame goes out at every other port, once", () => {
  using hub = new Hub();
  const ports = [hub.port(), hub.port(), hub.port()];
  const ends = ports.map(() => new Listener());
  ports.forEach((port, i) => port.connect(ends[i]));
  ports[1]!.send(frame(9, 1), 0, 17, NO_OFFLOAD);
  ports[1]!.flush();
  assertEquals(ends.map((end) => end.frames.length), [1, 0, 1]);
  assertEquals(ends.map((end) => end.flushes), [1, 0, 1]);
  assertEquals(ends[2]!.frames[0], frame(9, 1));
  ports[2]![Symbol.dispose]();
  ports[1]!.send(frame(9, 1), 0, 17, NO_OFFLOAD);
  assertEquals(ends.map((end) => end.frames.length), [2, 0, 1]);
});

Deno.test("hub: a learning one sends where the address was seen, and forgets the oldest", () => {
  using hub = new Hub({ learning: true, maxAddresses: 2 });
  const ports = [hub.port(), hub.port(), hub.port()];
  const ends = ports.map(() => new Listener());
  ports.forEach((port, i) => port.connect(ends[i]));
  const send = (port: number, to: number, from: number): number[] => {
    const before = ends.map((end) => end.frames.length);
    ports[port]!.send(frame(to, from), 0, 17, NO_OFFLOAD);
    return ends.map((end, i) => end.frames.length - before[i]!);
  };
  assertEquals(send(0, 11, 10), [0, 1, 1], "not known yet");
  assertEquals(send(1, 10, 11), [1, 0, 0], "learnt");
  assertEquals(send(0, 10, 10), [0, 0, 0], "to itself");
  assertEquals(send(2, 11, 12), [0, 1, 0], "12 pushes 10 out");
  assertEquals(send(1, 10, 11), [1, 0, 1], "forgotten");
});

/** Ethernet, IPv4 (20), TCP (20) and a payload; the TCP checksum holds the pseudo-header sum. */
function tcp4(payload: number): Uint8Array {
  const frame = new Uint8Array(54 + payload);
  frame.set(
    bytes("020000000001 020000000002 0800 4500 0000 0010 4000 4006 0000 0a000001 0a000002"),
  );
  frame.set(bytes("1000 2000 00000100 00000000 5099 0000 0000 0000"), 34);
  new DataView(frame.buffer).setUint16(16, 40 + payload);
  for (let i = 0; i < payload; i++) frame[54 + i] = i * 13;
  const pseudo = sumWords(frame, 26, 34) + 6 + 20 + payload;
  new DataView(frame.buffer).setUint16(50, (pseudo & 0xffff) + (pseudo >>> 16));
  return frame;
}

function fold(sum: number): number {
  let folded = sum;
  while (folded > 0xffff) folded = (folded & 0xffff) + (folded >>> 16);
  return folded;
}

function offload(values: Partial<Offload>): Offload {
  return Object.assign(new Offload(), values);
}

function conform(input: Uint8Array, off: Offload, accepts: number): Uint8Array[] | undefined {
  const out: Uint8Array[] = [];
  const copy = input.slice();
  const done = new Offloader().conform(
    input,
    0,
    input.length,
    off,
    accepts,
    (from, at, length) => out.push(from.slice(at, at + length)),
  );
  assertEquals(input, copy, "the frame that was given stays as it is");
  return done ? out : undefined;
}

const NEEDS = { needsCsum: true, csumStart: 34, csumOffset: 16 } as const;

Deno.test("offload: a checksum is completed for a port that does not accept a partial one", () => {
  const input = tcp4(31);
  assertEquals(conform(input, offload(NEEDS), Accept.CSUM), [input]);
  const [done] = conform(input, offload(NEEDS), Accept.NONE)!;
  const pseudo = sumWords(done!, 26, 34) + 6 + 20 + 31;
  assertEquals(fold(sumWords(done!, 34, done!.length, pseudo)), 0xffff);
  assertEquals(done!.subarray(54), input.subarray(54));
  assertEquals(conform(input, offload({ ...NEEDS, csumOffset: 60 }), Accept.NONE), undefined);
});

Deno.test("offload: a large TCP packet is cut, with every field that counts", () => {
  const input = tcp4(250);
  const off = offload({ ...NEEDS, gsoType: NetGso.TCPV4, gsoSize: 100 });
  assertEquals(conform(input, off, Accept.CSUM | Accept.TSO4), [input]);
  const pieces = conform(input, off, Accept.CSUM)!;
  assertEquals(pieces.map(({ length }) => length), [154, 154, 104]);
  const all: number[] = [];
  pieces.forEach((piece, i) => {
    const view = new DataView(piece.buffer);
    assertEquals(view.getUint16(16), piece.length - 14, "total length");
    assertEquals(view.getUint16(18), 0x10 + i, "identification");
    assertEquals(view.getUint16(20), 0x4000, "DF stays");
    assertEquals(fold(sumWords(piece, 14, 34)), 0xffff, "IPv4 checksum");
    assertEquals(view.getUint32(38), 0x100 + 100 * i, "sequence");
    // CWR only in the first, PSH and FIN only in the last.
    assertEquals(piece[47], [0x90, 0x10, 0x19][i]);
    const pseudo = sumWords(piece, 26, 34) + 6 + piece.length - 34;
    assertEquals(fold(sumWords(piece, 34, piece.length, pseudo)), 0xffff, "TCP checksum");
    all.push(...piece.subarray(54));
  });
  assertEquals(all, [...input.subarray(54)]);
});

Deno.test("offload: a large IPv6 TCP packet is cut", () => {
  const input = new Uint8Array(74 + 150).fill(7);
  input.set(bytes("020000000001 020000000002 86dd 60000000 00aa 06 40"));
  input.set(bytes("1000 2000 fffffff0 00000000 5018 0000 0000 0000"), 54);
  const off = offload({
    needsCsum: true,
    csumStart: 54,
    csumOffset: 16,
    gsoType: NetGso.TCPV6,
    gsoSize: 100,
  });
  const pieces = conform(input, off, Accept.NONE)!;
  assertEquals(pieces.map(({ length }) => length), [174, 124]);
  pieces.forEach((piece, i) => {
    const view = new DataView(piece.buffer);
    assertEquals(view.getUint16(18), piece.length - 54, "payload length");
    assertEquals(view.getUint32(58), (0xfffffff0 + 100 * i) >>> 0, "sequence wraps");
    const pseudo = sumWords(piece, 22, 54) + 6 + piece.length - 54;
    assertEquals(fold(sumWords(piece, 54, piece.length, pseudo)), 0xffff);
  });
});

Deno.test("offload: a large UDP packet becomes fragments under one checksum", () => {
  const input = tcp4(200);
  input[23] = 17;
  const off = offload({ needsCsum: true, csumStart: 34, csumOffset: 6, gsoType: 3, gsoSize: 100 });
  const pieces = conform(input, off, Accept.NONE)!;
  assertEquals(pieces.map(({ length }) => length), [34 + 96, 34 + 96, 34 + 28]);
  const datagram: number[] = [];
  pieces.forEach((piece, i) => {
    const view = new DataView(piece.buffer);
    assertEquals(view.getUint16(20), [0x2000, 0x2000 | 12, 24][i], "offset and more");
    assertEquals(view.getUint16(18), 0x10, "one identification");
    assertEquals(fold(sumWords(piece, 14, 34)), 0xffff);
    datagram.push(...piece.subarray(34));
  });
  const pseudo = sumWords(input, 26, 34) + 17 + 220;
  assertEquals(fold(sumWords(Uint8Array.from(datagram), 0, 220, pseudo)), 0xffff);
});

Deno.test("offload: what makes no sense, or would take for ever, is dropped", () => {
  const tso = { ...NEEDS, gsoType: NetGso.TCPV4, gsoSize: 100 } as const;
  const wrong = (change: (frame: Uint8Array) => Uint8Array | void): Uint8Array => {
    const input = tcp4(200);
    return change(input) ?? input;
  };
  const cases: readonly (readonly [Uint8Array, Partial<Offload>])[] = [
    [wrong((f) => f.subarray(0, 33)), tso],
    [wrong((f) => f.subarray(0, 50)), tso],
    [wrong((f) => void (f[12] = 9)), tso],
    [wrong((f) => void (f[14] = 0x44)), tso],
    [wrong((f) => void (f[23] = 17)), tso],
    [wrong((f) => void (f[46] = 0x40)), tso],
    [wrong((f) => void (f[46] = 0xf0)).subarray(0, 80), tso],
    [tcp4(200), { ...tso, gsoSize: 0 }],
    [tcp4(60000), { ...tso, gsoSize: 1 }],
    [tcp4(200), { ...tso, gsoType: NetGso.TCPV6 }],
    [tcp4(200), { ...tso, gsoType: 5 }],
    [tcp4(200), { ...tso, gsoType: NetGso.UDP }],
  ];
  cases.forEach(([input, off], i) => {
    assertEquals(conform(input, offload(off), Accept.NONE), undefined, `case ${i}`);
  });
});

Deno.test("hub: a large packet is cut only for the port that needs it", () => {
  using hub = new Hub();
  const [from, able, plain] = [hub.port(), hub.port(), hub.port()];
  const [a, b] = [new Listener(Accept.ALL), new Listener()];
  able.connect(a);
  plain.connect(b);
  const input = tcp4(250);
  const off = offload({ ...NEEDS, gsoType: NetGso.TCPV4, gsoSize: 100 });
  from.send(input, 0, input.length, off);
  assertEquals([a.frames.length, b.frames.length], [1, 3]);
  assertEquals(a.frames[0], input);
  from.send(input.subarray(0, 40), 0, 40, off);
  assertEquals(hub.malformed, 1);
});

const ARP = bytes(
  "ffffffffffff 525400123456 0806 0001 0800 06 04 0001 525400123456 0a00020f 000000000000 0a000202",
);
const ECHO = bytes(
  "52550a000202 525400123456 0800 4500 0024 0001 4000 40 01 22c8 0a00020f 0a000202 " +
    "0800 5435 1234 0001 6162636465666768",
);

Deno.test("host peer: answers ARP and echo, literally", () => {
  using hub = new Hub();
  using peer = new HostPeer(hub.port(), { mac: "52:55:0a:00:02:02", ip: "10.0.2.2" });
  const port = hub.port();
  const end = new Listener();
  port.connect(end);
  for (const frame of [ARP, ECHO]) port.send(frame, 0, frame.length, NO_OFFLOAD);
  port.flush();
  assertEquals(end.frames, [
    bytes(
      "525400123456 52550a000202 0806 0001 0800 06 04 0002 " +
        "52550a000202 0a000202 525400123456 0a00020f",
    ),
    bytes(
      "525400123456 52550a000202 0800 4500 0024 0001 4000 40 01 22c8 0a000202 0a00020f " +
        "0000 5c35 1234 0001 6162636465666768",
    ),
  ]);
  assertEquals(end.flushes, 1);
  assertEquals(peer.stats, { received: 2, arpReplies: 1, echoReplies: 1 });
});

Deno.test("host peer: does not answer what is not for it, broken or cut", () => {
  using hub = new Hub();
  using peer = new HostPeer(hub.port(), { mac: "52:55:0a:00:02:02", ip: "10.0.2.2" });
  const port = hub.port();
  const end = new Listener();
  port.connect(end);
  for (const good of [ARP, ECHO]) {
    for (let length = 0; length < good.length; length++) port.send(good, 0, length, NO_OFFLOAD);
  }
  for (let bit = 14 * 8; bit < ECHO.length * 8; bit++) {
    const bad = ECHO.slice();
    bad[bit >>> 3]! ^= 1 << (bit & 7);
    port.send(bad, 0, bad.length, NO_OFFLOAD);
  }
  const other = ARP.slice();
  other[41] = 3;
  port.send(other, 0, other.length, NO_OFFLOAD);
  assertEquals(end.frames.length, 0);
  assertEquals(peer.stats.arpReplies + peer.stats.echoReplies, 0);
});

Deno.test("host peer: addresses are read strictly", () => {
  const backend = new Hub().port();
  assertThrows(() => new HostPeer(backend, { ip: "10.0.2" }), TypeError, "4 parts");
  assertThrows(() => new HostPeer(backend, { ip: "10.0.2.256" }), TypeError, "4 parts");
  assertThrows(() => new HostPeer(backend, { mac: "52:55" }), TypeError, "6 parts");
});
