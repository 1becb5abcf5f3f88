import { assertEquals } from "@std/assert";
import { PcapngTrace } from "./pcapng.ts";

/** Types of blocks (draft-ietf-opsawg-pcapng §4). */
const INTERFACE = 1;
const PACKET = 6;

/** The blocks of an event. */
function blocksOf(bytes: Uint8Array): { readonly type: number; readonly body: DataView }[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const blocks = [];
  for (let at = 0; at < bytes.length;) {
    const length = view.getUint32(at + 4, true);
    assertEquals(view.getUint32(at + length - 4, true), length);
    const body = new DataView(bytes.buffer, bytes.byteOffset + at + 8, length - 12);
    blocks.push({ type: view.getUint32(at, true), body });
    at += length;
  }
  return blocks;
}

/** A packet of a socket (virtio 1.4 §5.10.6) with an operation and four bytes. */
function socketPacket(op: number): Uint8Array {
  const packet = new Uint8Array(48);
  const view = new DataView(packet.buffer);
  view.setBigUint64(0, 3n, true);
  view.setBigUint64(8, 2n, true);
  view.setUint32(16, 1024, true);
  view.setUint32(20, 7, true);
  view.setUint32(24, 4, true);
  view.setUint16(28, 1, true);
  view.setUint16(30, op, true);
  packet.set([1, 2, 3, 4], 44);
  return packet;
}

function eventOf(op: number): Parameters<PcapngTrace["event"]>[0] {
  return {
    ...{ kind: "used", time: 1, device: "vsock0", deviceId: 19, queue: 0, name: "rx" },
    ...{ token: 0, request: undefined, length: 48, inFlight: 0, after: 1 },
    frame: socketPacket(op),
  };
}

// virtio_vsock_op, and AF_VSOCK_OP_* of Linux's include/uapi/linux/vsockmon.h.
const OPERATIONS = [[1, 1], [2, 1], [3, 2], [4, 2], [5, 4], [6, 3], [7, 3], [0, 0], [
  8,
  0,
]] as const;

for (const [op, monitored] of OPERATIONS) {
  Deno.test(`PcapngTrace writes a socket's operation ${op} as Linux's vsockmon ${monitored}`, () => {
    const [link, packet] = blocksOf(new PcapngTrace(0, 2).event(eventOf(op)));
    // LINKTYPE_VSOCK.
    assertEquals([link!.type, link!.body.getUint16(0, true)], [INTERFACE, 271]);
    assertEquals(packet!.type, PACKET);
    const { body } = packet!;
    // The header of 32 bytes, that of virtio of 44, and of the four bytes the two that were asked for.
    assertEquals([body.getUint32(12, true), body.getUint32(16, true)], [78, 80]);
    assertEquals([body.getBigUint64(20, true), body.getBigUint64(28, true)], [3n, 2n]);
    assertEquals([body.getUint32(36, true), body.getUint32(40, true)], [1024, 7]);
    // op, t (AF_VSOCK_TRANSPORT_VIRTIO), len and reserved.
    const rest = [44, 46, 48, 50].map((at) => body.getUint16(at, true));
    assertEquals(rest, [monitored, 2, 44, 0]);
    assertEquals(body.getUint16(52 + 30, true), op);
    assertEquals([body.getUint8(52 + 44), body.getUint8(52 + 45)], [1, 2]);
  });
}

Deno.test("PcapngTrace names an interface once", () => {
  const trace = new PcapngTrace(0);
  const types = (): number[] => blocksOf(trace.event(eventOf(5))).map(({ type }) => type);
  assertEquals(types(), [INTERFACE, PACKET]);
  assertEquals(types(), [PACKET]);
});

const text = (view: DataView, at: number, length: number): string =>
  new TextDecoder().decode(new Uint8Array(view.buffer, view.byteOffset + at, length));

/** The options of a block from an offset on, up to its end. */
function optionsOf(body: DataView, from: number): [code: number, value: string][] {
  const options: [number, string][] = [];
  for (let at = from;;) {
    const [code, length] = [body.getUint16(at, true), body.getUint16(at + 2, true)];
    if (code === 0) {
      assertEquals([length, at + 4], [0, body.byteLength]);
      return options;
    }
    options.push([
      code,
      code === 2 && length === 4
        ? String(body.getUint32(at + 4, true))
        : text(body, at + 4, length),
    ]);
    at += 4 + Math.ceil(length / 4) * 4;
  }
}

Deno.test("PcapngTrace begins with a section that names the program", () => {
  const [section] = blocksOf(new PcapngTrace(0).start as Uint8Array);
  const { type, body } = section!;
  assertEquals([type, body.getUint32(0, true)], [0x0a0d0d0a, 0x1a2b3c4d]);
  // Version 1.0, and a length that is not said.
  assertEquals([body.getUint16(4, true), body.getUint16(6, true)], [1, 0]);
  assertEquals(body.getBigInt64(8, true), -1n);
  const [[code, value]] = optionsOf(body, 16) as [[number, string]];
  assertEquals([code, value.startsWith("Vireo, trace ")], [4, true]);
});

Deno.test("PcapngTrace writes a frame as Ethernet, its way by the event and its words as a comment", () => {
  const frame = Uint8Array.from({ length: 61 }, (_, i) => i);
  const base = { time: 2.5, device: "net10", deviceId: 1, queue: 1, name: "tx", token: 3 };
  const added = { ...base, kind: "add", elements: [], request: undefined, inFlight: 1, frame };
  const used = {
    ...base,
    kind: "used",
    request: undefined,
    length: 61,
    inFlight: 0,
    after: 1,
    frame,
  };
  const trace = new PcapngTrace(1_700_000_000_000);
  for (const [event, way, blocks] of [[added, 2, 2], [used, 1, 1]] as const) {
    const all = blocksOf(trace.event(event as unknown as Parameters<PcapngTrace["event"]>[0]));
    assertEquals(all.length, blocks);
    if (blocks === 2) {
      const { type, body } = all[0]!;
      // LINKTYPE_ETHERNET, no limit of bytes.
      assertEquals([type, body.getUint32(0, true), body.getUint32(4, true)], [INTERFACE, 1, 0]);
      assertEquals(optionsOf(body, 8), [[2, "net10"]]);
    }
    const { type, body } = all.at(-1)!;
    const micros = body.getUint32(4, true) * 2 ** 32 + body.getUint32(8, true);
    assertEquals([type, body.getUint32(0, true), micros], [PACKET, 0, 1_700_000_000_002_500]);
    assertEquals([body.getUint32(12, true), body.getUint32(16, true)], [61, 61]);
    assertEquals(
      new Uint8Array(body.buffer, body.byteOffset + 20, 64),
      new Uint8Array([...frame, 0, 0, 0]),
    );
    const [direction, comment] = optionsOf(body, 84);
    assertEquals([direction, comment![0]], [[2, String(way)], 1]);
    assertEquals(comment![1].startsWith("net10 "), true);
  }
});

Deno.test("PcapngTrace writes packets of sockets with their way and words", () => {
  const [, packet] = blocksOf(new PcapngTrace(0, 2).event(eventOf(5)));
  const [direction, comment] = optionsOf(packet!.body, 20 + 80);
  assertEquals([direction, comment![0], comment![1].startsWith("vsock0 ")], [[2, "1"], 1, true]);
});

Deno.test("PcapngTrace grows its buffer wherever an event ends in it", () => {
  for (let length = 3900; length < 4120; length++) {
    const frame = new Uint8Array(length).fill(7);
    const event = {
      ...{ kind: "add", time: 1, device: "net10", deviceId: 1, queue: 0, name: "tx", token: 0 },
      ...{ elements: [], request: undefined, inFlight: 1, frame },
    } as unknown as Parameters<PcapngTrace["event"]>[0];
    const [link, packet] = blocksOf(new PcapngTrace(0).event(event));
    assertEquals([link!.type, packet!.body.getUint32(16, true)], [INTERFACE, length]);
    const end = 20 + Math.ceil(length / 4) * 4;
    const bytes = new Uint8Array(packet!.body.buffer, packet!.body.byteOffset + 20, length);
    assertEquals([bytes.every((byte) => byte === 7), optionsOf(packet!.body, end).length], [
      true,
      2,
    ]);
  }
});

Deno.test("PcapngTrace writes what has no frame as text, of any length, and each interface once", () => {
  const trace = new PcapngTrace(0);
  const at = (message: string): DataView => {
    const event = { kind: "fault", time: 1, device: "blk0", deviceId: 2, message };
    return blocksOf(trace.event(event as Parameters<PcapngTrace["event"]>[0])).at(-1)!.body;
  };
  const words = (body: DataView): string => text(body, 20, body.getUint32(12, true));
  const short = words(at("x"));
  assertEquals([short.startsWith("blk0 "), short.includes("x")], [true, true]);
  for (const length of [5000, 70_000]) {
    const long = "é".repeat(length);
    const body = at(long);
    assertEquals(words(body), short.replace("x", long));
    assertEquals(body.getUint32(12, true), body.getUint32(16, true));
    // Padded to 4 bytes, and nothing behind.
    assertEquals(body.byteLength, 20 + Math.ceil(body.getUint32(12, true) / 4) * 4);
  }
  // A comment ends at 65535 bytes.
  const used = {
    ...{ kind: "used", time: 1, device: "net10", deviceId: 1, queue: 0, name: "rx", token: 0 },
    ...{ request: "r".repeat(70_000), length: 1, inFlight: 0, after: 1, frame: Uint8Array.of(1) },
  };
  const blocks = blocksOf(trace.event(used as unknown as Parameters<PcapngTrace["event"]>[0]));
  assertEquals(blocks.map(({ type, body }) => [type, body.getUint32(0, true)]), [
    ...[[INTERFACE, 1], [PACKET, 1]],
  ]);
  assertEquals(optionsOf(blocks[1]!.body, 24)[1]![1].length, 65535);
});
