import { assertEquals } from "@std/assert";
import type { Blk } from "@vireo/drivers/blk";
import { readBytes, wholeBytes, writeBytes } from "./byte_range.ts";

const SECTOR = 512;

/** A disk that transfers whole blocks only, and its requests as "write SECTOR+COUNT". */
function diskOf(bytes: Uint8Array, blockSize: number): { blk: Blk; requests: string[] } {
  const requests: string[] = [];
  const range = (what: string, sector: number, length: number): number => {
    const at = sector * SECTOR;
    assertEquals([at % blockSize, length % blockSize], [0, 0], "whole blocks");
    requests.push(`${what} ${sector}+${length / SECTOR}`);
    return at;
  };
  const blk = {
    capacity: bytes.length,
    blockSize,
    read(sector: number, length: number): Promise<Uint8Array> {
      const at = range("read", sector, length);
      return Promise.resolve(bytes.slice(at, at + length));
    },
    write(sector: number, data: Uint8Array): Promise<void> {
      bytes.set(data, range("write", sector, data.length));
      return Promise.resolve();
    },
  };
  return { blk: blk as unknown as Blk, requests };
}

function numbered(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => 1 + i % 251);
}

for (
  const { what, offset, length, requests } of [
    { what: "whole blocks", offset: 2048, length: 4096, requests: ["write 4+8"] },
    {
      what: "the middle of a block",
      offset: 2050,
      length: 7,
      requests: ["read 4+4", "read 4+4", "write 4+4"],
    },
    { what: "a block's end", offset: 2040, length: 8, requests: ["read 0+4", "write 0+4"] },
    { what: "a block's start", offset: 2048, length: 5, requests: ["read 4+4", "write 4+4"] },
    {
      what: "three blocks in part",
      offset: 2047,
      length: 2050,
      requests: ["read 0+4", "read 8+4", "write 0+12"],
    },
  ]
) {
  Deno.test(`writeBytes() to ${what} keeps what is around, and readBytes() reads it`, async () => {
    const bytes = numbered(8192);
    const disk = diskOf(bytes, 2048);
    const data = new Uint8Array(length).fill(0xff);
    const expected = bytes.slice();
    expected.set(data, offset);
    await writeBytes(disk.blk, offset, data);
    assertEquals(bytes, expected);
    assertEquals(disk.requests, requests);
    assertEquals(
      await readBytes(disk.blk, offset - 1, length + 2),
      expected.slice(offset - 1, offset + length + 1),
    );
  });
}

Deno.test("readBytes() leaves out what is past the last whole block", async () => {
  const bytes = numbered(8192 + 512);
  const { blk, requests } = diskOf(bytes, 2048);
  assertEquals(wholeBytes(blk), 8192);
  assertEquals(await readBytes(blk, 8000, 1000), bytes.slice(8000, 8192));
  assertEquals(requests.splice(0), ["read 12+4"]);
  assertEquals(await readBytes(blk, 8192, 10), new Uint8Array(0));
  assertEquals(await readBytes(blk, 100, 0), new Uint8Array(0));
  assertEquals(requests, [], "nothing to read");
});
