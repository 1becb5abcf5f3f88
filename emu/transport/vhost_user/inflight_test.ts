import { assertEquals } from "@std/assert";
import { Libc } from "@vireo/hal/vhost-user";
import { GuestMemory } from "../../memory.ts";
import { InflightMemory, inflightSize } from "./inflight.ts";

const SIZE = 8;

Deno.test("vhost-user: each queue notes in its own part of the memory, and there is none for more", () => {
  const libc = new Libc();
  const [offset, part] = [64, inflightSize(1, SIZE)];
  const fd = libc.memoryFile("inflight-test", offset + inflightSize(3, SIZE));
  const memory = new GuestMemory(4096, 0);
  const geometry = { size: SIZE, align: 4096, desc: 0, avail: 1024, used: 2048 };
  const start = { lastAvail: 0, usedIndex: 0, signalled: 0, held: [] };
  {
    using inflight = new InflightMemory(libc, fd, offset, 3, SIZE);
    assertEquals([0, 1, 2, 3].map((index) => inflight.room(index)), [SIZE, SIZE, SIZE, 0]);
    const log = inflight.split(1, geometry, memory);
    assertEquals(log.recover(start), start);
    log.taken(5);
  }
  const bytes = new Uint8Array(offset + 3 * part);
  libc.readAt(fd, bytes, 0);
  const written = (from: number, to: number): boolean =>
    bytes.slice(from, to).some((byte) => byte !== 0);
  assertEquals([
    written(0, offset + part),
    written(offset + part, offset + 2 * part),
    written(offset + 2 * part, bytes.length),
  ], [false, true, false]);
  {
    // The next back end finds what the queue had, and nothing of another one.
    using inflight = new InflightMemory(libc, fd, offset, 3, SIZE);
    const held = (index: number): readonly number[] =>
      inflight.split(index, geometry, memory).recover(start).held;
    assertEquals([0, 1, 2].map(held), [[], [5], []]);
  }
  libc.close(fd);
  libc.dispose();
});
