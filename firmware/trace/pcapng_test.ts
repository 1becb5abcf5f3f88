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
