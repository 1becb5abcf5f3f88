import { assertEquals } from "@std/assert";
import { VSOCK_HDR as H, VsockOp, VsockRw, VsockType } from "@vireo/hal";
import type { StreamPort } from "../../backends/stream_port.ts";
import { EmulatedMachine } from "../../machine.ts";
import { MockDriver } from "../../testing/mock_driver.ts";
import { VsockDevice } from "./device.ts";

const CID = 3;
const PORT = 7;

/** A packet of the guest's. */
function packet(
  type: VsockType,
  op: VsockOp,
  data = new Uint8Array(0),
  flags: number = op === VsockOp.RW ? VsockRw.EOM : 0,
): Uint8Array {
  const bytes = new Uint8Array(H.SIZE + data.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(H.src_cid.offset, CID, true);
  view.setUint32(H.dst_cid.offset, 2, true);
  view.setUint32(H.src_port.offset, 1024, true);
  view.setUint32(H.dst_port.offset, PORT, true);
  view.setUint32(H.len.offset, data.length, true);
  view.setUint16(H.type.offset, type, true);
  view.setUint16(H.op.offset, op, true);
  view.setUint32(H.flags.offset, flags, true);
  view.setUint32(H.buf_alloc.offset, 1 << 20, true);
  bytes.set(data, H.SIZE);
  return bytes;
}

// Linux 6.1 has buffers of 3776 bytes: 4096 without what its kernel keeps of a socket's buffer.
for (
  const [name, type] of [["stream", VsockType.STREAM], ["message", VsockType.SEQPACKET]] as const
) {
  for (const room of [3776, H.SIZE + 1]) {
    Deno.test(`a ${name} reaches buffers of ${room} bytes in parts, and only the last one ends a message`, async () => {
      const host = { connect: (): StreamPort => new TransformStream<Uint8Array, Uint8Array>() };
      const model = new VsockDevice({ cid: CID, host });
      await using machine = EmulatedMachine.create({ devices: [model] });
      const driver = new MockDriver(machine);
      driver.init();
      const take = async (): Promise<Uint8Array> =>
        (await driver.request(0, [{ write: room }])).bytes[0]!;
      await driver.request(1, [{ read: packet(type, VsockOp.REQUEST) }]);
      assertEquals(
        new DataView((await take()).buffer).getUint16(H.op.offset, true),
        VsockOp.RESPONSE,
      );
      const sent = Uint8Array.from(
        { length: room === 3776 ? 9000 : 20 },
        (_, i) => i * 7 + (i >> 8),
      );
      await driver.request(1, [{ read: packet(type, VsockOp.RW, sent) }]);
      const got: number[] = [];
      const ends: boolean[] = [];
      while (got.length < sent.length) {
        const bytes = await take();
        const view = new DataView(bytes.buffer, bytes.byteOffset);
        assertEquals(view.getUint16(H.op.offset, true), VsockOp.RW);
        const length = view.getUint32(H.len.offset, true);
        got.push(...bytes.subarray(H.SIZE, H.SIZE + length));
        ends.push((view.getUint32(H.flags.offset, true) & VsockRw.EOM) !== 0);
      }
      assertEquals(Uint8Array.from(got), sent);
      const message = type === VsockType.SEQPACKET;
      assertEquals(ends, ends.map((_, i) => message && i === ends.length - 1));
      assertEquals(driver.needsReset, false);
    });
  }
}

Deno.test("EOR is on the last packet of a message that ends a record, and nowhere else", async () => {
  const host = { connect: (): StreamPort => new TransformStream<Uint8Array, Uint8Array>() };
  await using machine = EmulatedMachine.create({ devices: [new VsockDevice({ cid: CID, host })] });
  const driver = new MockDriver(machine);
  driver.init();
  const type = VsockType.SEQPACKET;
  await driver.request(1, [{ read: packet(type, VsockOp.REQUEST) }]);
  await driver.request(0, [{ write: 3776 }]);
  // Typed from virtio 1.4 §5.10.6: EOM is 1, EOR is 2.
  const flags = async (): Promise<number> => {
    const bytes = (await driver.request(0, [{ write: 3776 }])).bytes[0]!;
    return new DataView(bytes.buffer, bytes.byteOffset).getUint32(32, true);
  };
  await driver.request(1, [{ read: packet(type, VsockOp.RW, new Uint8Array(3000), 0) }]);
  await driver.request(1, [{ read: packet(type, VsockOp.RW, new Uint8Array(3000), 3) }]);
  // 6000 bytes go in two packets, for buffers with room for 3732.
  assertEquals([await flags(), await flags()], [0, 3]);
  await driver.request(1, [{ read: packet(type, VsockOp.RW, new Uint8Array(3), 1) }]);
  assertEquals(await flags(), 1);
});

Deno.test("a buffer without room for a packet is the driver's fault", async () => {
  const host = { connect: (): StreamPort => new TransformStream<Uint8Array, Uint8Array>() };
  await using machine = EmulatedMachine.create({ devices: [new VsockDevice({ cid: CID, host })] });
  const driver = new MockDriver(machine);
  driver.init();
  await driver.request(1, [{ read: packet(VsockType.STREAM, VsockOp.REQUEST) }]);
  void driver.queues[0]!.add([{ write: H.SIZE - 1 }]);
  driver.queues[0]!.kick();
  assertEquals(driver.needsReset, true);
});

Deno.test("data of the host fills each buffer of the guest, as far as its credit reaches", async () => {
  // 64 KiB at a time, and 256 KiB of credit: four packets.
  const credit = 256 * 1024;
  const host = {
    connect: (): StreamPort => ({
      readable: new ReadableStream<Uint8Array>({
        pull: (controller) => controller.enqueue(new Uint8Array(64 * 1024)),
      }),
      writable: new WritableStream<Uint8Array>(),
    }),
  };
  const model = new VsockDevice({ cid: CID, host });
  await using machine = EmulatedMachine.create({ devices: [model] });
  const driver = new MockDriver(machine);
  driver.init();
  const request = packet(VsockType.STREAM, VsockOp.REQUEST);
  new DataView(request.buffer).setUint32(H.buf_alloc.offset, credit, true);
  await driver.request(1, [{ read: request }]);
  await driver.request(0, [{ write: 3776 }]);
  const lengths: number[] = [];
  for (let given = 0; given < credit; given += lengths.at(-1)!) {
    const bytes = (await driver.request(0, [{ write: 3776 }])).bytes[0]!;
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    assertEquals(view.getUint16(H.op.offset, true), VsockOp.RW);
    lengths.push(view.getUint32(H.len.offset, true));
  }
  // Each packet of 64 KiB is 17 full buffers and one with 2092 bytes.
  assertEquals(lengths, Array.from({ length: 4 }, () => [...Array(17).fill(3732), 2092]).flat());
  const after = (await driver.request(0, [{ write: 3776 }])).bytes[0]!;
  assertEquals(
    new DataView(after.buffer, after.byteOffset).getUint16(H.op.offset, true),
    VsockOp.CREDIT_REQUEST,
  );
  assertEquals(model.usage().bytes <= model.bounds.bytes!, true);
});
