// Memory and arrays of many GiB, of which hardly a page is used: places in them have more than 32 bits.
import { assertEquals } from "@std/assert";
import { Libc } from "@vireo/hal/vhost-user";
import { GuestMemory } from "../memory.ts";
import { RawPackedRing } from "./_raw_packed_test_util.ts";
import { BASE, RawRing } from "./_raw_ring_test_util.ts";
import { Copier } from "./copier.ts";

const GIB = 2 ** 30;
const WRITE = 2;
/** Beyond what 32 bits count of bytes, of 16-bit and of 32-bit words. */
const FAR = [2 * GIB, 4 * GIB, 8 * GIB, 16 * GIB];
const BYTES = 17 * GIB;

/** A sparse file in memory. */
function sparse(): Disposable & { readonly buffer: ArrayBuffer } {
  const libc = new Libc();
  const file = libc.memoryFile("vireo-far", BYTES);
  const mapping = libc.map(file, BYTES);
  return {
    buffer: mapping.buffer,
    [Symbol.dispose]() {
      libc.unmap(mapping);
      libc.close(file);
      libc.dispose();
    },
  };
}

for (const far of FAR) {
  const where = `${far / GIB} GiB into memory`;
  const data = far + (1 << 19);

  Deno.test(`a split ring and its buffers work ${where}`, () => {
    using file = sparse();
    const memory = new GuestMemory(file.buffer, BASE);
    const ring = new RawRing({ memory, desc: far - 4096 });
    for (let i = 0; i < 3; i++) ring.put(i, BASE + data + 64 * i, 64, WRITE);
    for (let round = 0; round < 20; round++) {
      ring.offer(0, 1, 2);
      for (let i = 0; i < 3; i++) {
        const chain = ring.queue.pop()!;
        chain.write(new Uint8Array(64).fill(round + i));
        ring.queue.push(chain, 64);
      }
      ring.queue.signal();
      assertEquals(ring.usedEntry((3 * round + 2) % 16), [2, 64]);
      assertEquals([memory.bytes[data], memory.bytes[data + 64 * 2 + 63]], [round, round + 2]);
    }
    assertEquals([ring.usedIndex, ring.faults], [60, []]);
  });

  Deno.test(`a packed ring and its buffers work ${where}`, () => {
    using file = sparse();
    const memory = new GuestMemory(file.buffer, BASE);
    const ring = new RawPackedRing({ memory, desc: far - 4096 });
    for (let round = 0; round < 20; round++) {
      ring.offer(7, [BASE + data, 64, WRITE]);
      const chain = ring.queue.pop()!;
      chain.write(new Uint8Array(64).fill(round + 1));
      ring.queue.push(chain, 64);
      ring.queue.signal();
      assertEquals(ring.take(), [[7, 64]]);
      assertEquals(memory.bytes[data + 63], round + 1);
    }
    assertEquals(ring.faults, []);
  });
}

Deno.test("copies: places in memory and in an array beyond 2 GiB", () => {
  using file = sparse();
  using disk = sparse();
  const memory = new GuestMemory(file.buffer, BASE);
  const array = new Uint8Array(disk.buffer);
  const copier = new Copier(memory);
  const bytes = (from: Uint8Array, at: number): Uint8Array => from.slice(at, at + 100);
  for (const [at, offset] of [...FAR, 8192].flatMap((a) => [...FAR, 8192].map((b) => [a, b]))) {
    // An array that comes again has a view of its words.
    for (let round = 1; round <= 3; round++) {
      const text = Uint8Array.from({ length: 100 }, (_, i) => i + round);
      array.set(text, offset);
      copier.write(array, offset!, at!, 100);
      assertEquals(bytes(memory.bytes, at!), text, `${offset} to ${at}`);
      array.fill(0, offset, offset! + 100);
      copier.read(at!, array, offset!, 100);
      assertEquals(bytes(array, offset!), text, `${at} to ${offset}`);
    }
  }
});
