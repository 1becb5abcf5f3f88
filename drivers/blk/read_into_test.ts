// Reads into memory of the caller's, on a device whose memory bounces.
import { assertEquals, assertRejects } from "@std/assert";
import { BLK_CONFIG, VireoError } from "@vireo/hal";
import { FakeDevice } from "../testing/fake_blk.ts";
import { Blk } from "./driver.ts";

const turn = (): Promise<void> => Promise.resolve();

function make() {
  const fake = new FakeDevice();
  fake.config.setUint32(0, 1000, true);
  fake.config.setUint32(BLK_CONFIG.seg_max.offset, 8, true);
  const blk = new Blk(fake.device, { depth: 2, bytesPerRequest: 1024 });
  const region = fake.device.dma.alloc(8192);
  let returned = 0;
  return { fake, blk, region, onReturned: () => void returned++, returned: () => returned };
}

Deno.test("readInto: the device writes the caller's memory, which is its own again before the promise settles", async () => {
  const { fake, blk, region, onReturned, returned } = make();
  const read = blk.readInto(region, { sector: 3, length: 1024, at: 512, onReturned });
  await turn();
  const request = fake.pending[0]!;
  const { address, length, writable } = request.elements[1]!;
  assertEquals([request.sector, address, length, writable], [3, region.address + 512, 1024, true]);
  request.fill(new Uint8Array(1024).fill(7));
  request.complete(0);
  assertEquals(returned(), 0);
  fake.queues[0]!.interrupt();
  assertEquals(returned(), 1);
  const bytes = await read;
  assertEquals([bytes.buffer, bytes.byteOffset], [
    region.bytes.buffer,
    region.bytes.byteOffset + 512,
  ]);
  assertEquals(
    region.bytes.slice(0, 2048),
    Uint8Array.from({ length: 2048 }, (_, i) => i >= 512 && i < 1536 ? 7 : 0),
  );
  await blk.remove();
  assertEquals([returned(), fake.regions.size], [1, 1]);
});

Deno.test("readInto: a long read is several requests, with no buffers of the disk's own", async () => {
  const { fake, blk, region, onReturned, returned } = make();
  fake.script = (request) => {
    request.fill(new Uint8Array(request.writableLength - 1).fill(request.sector));
    request.complete(0);
  };
  await blk.readInto(region, { sector: 8, onReturned });
  const sectors = Array.from({ length: 16 }, (_, i) => region.bytes[i * 512]);
  assertEquals(sectors, [8, 8, 8, 8, 12, 12, 12, 12, 16, 16, 16, 16, 20, 20, 20, 20]);
  assertEquals(returned(), 1);
  await blk.remove();
});

Deno.test("readInto: memory of a read that was given up comes back when the device gives it back", async () => {
  const { fake, blk, region, onReturned, returned } = make();
  const stop = new AbortController();
  const read = blk.readInto(region, { sector: 0, length: 512, onReturned, signal: stop.signal });
  await turn();
  stop.abort(new Error("enough"));
  await assertRejects(() => read, Error, "enough");
  assertEquals(returned(), 0);
  fake.pending[0]!.complete(0);
  fake.queues[0]!.interrupt();
  assertEquals(returned(), 1);
  const held = blk.readInto(region, { sector: 0, length: 512, onReturned });
  await turn();
  const removed = blk.remove();
  await assertRejects(() => held, VireoError);
  await removed;
  assertEquals(returned(), 2);
});

Deno.test("readInto: what is refused gives the memory back once, and failures of the disk do", async () => {
  const { fake, blk, region, onReturned, returned } = make();
  let count = 0;
  for (
    const [target, message] of [
      [
        { sector: 0, at: 8000, length: 512 },
        "Cannot read 512 bytes to byte 8000: the region has 8192",
      ],
      [{ sector: 0, at: 9000 }, "Cannot read -808 bytes to byte 9000: the region has 8192"],
      [{ sector: 0, length: 100 }, "Cannot transfer 100 bytes: expected a multiple of 512"],
      [{ sector: 1000, length: 512 }, ""],
      [{ sector: 0, length: 512, deadline: -1 }, "Cannot wait for -1 ms"],
      [{ sector: 0, length: 512, signal: AbortSignal.abort(new Error("before")) }, "before"],
      [{ sector: 0, length: 512, queue: 9 }, ""],
    ] as const
  ) {
    await assertRejects(() => blk.readInto(region, { ...target, onReturned }), Error, message);
    assertEquals(returned(), ++count, message);
  }
  fake.script = (request) => request.complete(1);
  const error = await assertRejects(
    () => blk.readInto(region, { sector: 5, length: 512, onReturned }),
    VireoError,
  );
  assertEquals([error.code, returned()], ["IO_ERROR", ++count]);
  assertEquals((await blk.readInto(region, { sector: 0, length: 0, onReturned })).length, 0);
  assertEquals(returned(), ++count);
  await blk.remove();
});
