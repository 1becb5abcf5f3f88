// Rings as bytes: what the driver writes, typed from the specification, and what it makes of what a device writes.
import { assertEquals } from "@std/assert";
import { TestDma } from "@vireo/drivers/testing";
import { Arena } from "./arena.ts";
import { Log } from "./log.ts";
import { type RawDescriptor, RawPacked, RawSplit } from "./ring.ts";

/** An arena, and its bytes as the device sees them. */
function make(): { arena: Arena; bytes: Uint8Array; view: DataView } {
  const region = new TestDma({ size: 1 << 16, base: 0x10000 }).alloc(1 << 16, { align: 4096 });
  const { buffer, byteOffset } = region.bytes;
  return {
    arena: new Arena(region, new Log()),
    bytes: region.bytes,
    view: new DataView(buffer, byteOffset),
  };
}

const of = (address: number, length: number, flags?: number, next?: number): RawDescriptor => ({
  ...{ address, length, flags: flags ?? 0 },
  ...next === undefined ? {} : { next },
});

Deno.test("raw split ring: its parts, the used ring on a page of its own, are zeroes that the device may write", () => {
  const { arena, bytes } = make();
  const ring = new RawSplit(arena, 3, 4);
  assertEquals([ring.queue, ring.size, ring.arena === arena], [3, 4, true]);
  assertEquals(ring.parts, { desc: 4096, driver: 4096 + 64, device: 8192 });
  assertEquals(bytes.subarray(4096, 8192 + 38).every((byte) => byte === 0), true);
  assertEquals([bytes[4095], bytes[8192 + 38]], [0xee, 0xee]);
  // Flags, index, four entries and the event of the used ring, and no byte more.
  for (const at of [8192, 8192 + 37]) bytes[at] = 1;
  assertEquals(arena.damage(), undefined);
  for (const at of [8191, 8192 + 38]) {
    bytes[at]!++;
    assertEquals(arena.damage(), at);
    bytes[at]!--;
  }
  // The available ring with its event ends with a page, or behind it.
  for (const [size, pages] of [[454, 2], [455, 3]] as const) {
    const { arena } = make();
    const { desc, device } = new RawSplit(arena, 0, size).parts;
    assertEquals([size, device - desc], [size, pages * 4096]);
  }
});

Deno.test("raw split ring: a chain goes around the table, its head into the available ring", () => {
  const { arena, bytes, view } = make();
  const ring = new RawSplit(arena, 0, 4);
  const { desc, driver } = ring.parts;
  const table = (index: number): string =>
    bytes.subarray(desc + 16 * index, desc + 16 * index + 16).toHex();
  assertEquals(ring.add([of(0x11000, 16, 1), of(0x12000, 32, 3), of(0x13000, 1, 2)]), 0);
  assertEquals([0, 1, 2].map(table), [
    "00100100000000001000000001000100",
    "00200100000000002000000003000200",
    "00300100000000000100000002000000",
  ]);
  assertEquals(ring.add([of(0x14000, 4, 1), of(0x15000, 4)]), 3);
  assertEquals([table(3), table(0)], [
    "00400100000000000400000001000000",
    "00500100000000000400000000000000",
  ]);
  assertEquals(bytes.subarray(driver, driver + 12).toHex(), "000002000000030000000000");
  assertEquals(ring.add([of(0x16000, 4, 0, 9)]), 1);
  assertEquals(view.getUint16(desc + 16 + 14, true), 9);
  // A head that is put by hand, with a jump of the index; it wraps at 65536.
  ring.available(7, 0xfffd);
  assertEquals([view.getUint16(driver + 4 + 6, true), view.getUint16(driver + 2, true)], [7, 0]);
  ring.available(8);
  assertEquals([view.getUint16(driver + 4, true), view.getUint16(driver + 2, true)], [8, 1]);
  // A descriptor of another table.
  ring.descriptor(1, of(0x17000, 5, 2, 3), 512);
  assertEquals(bytes.subarray(512 + 16, 512 + 32).toHex(), "00700100000000000500000002000300");
});

Deno.test("raw split ring: used entries are taken once, a ring's worth and one more at most", () => {
  const { arena, view } = make();
  const ring = new RawSplit(arena, 0, 4);
  const { device } = ring.parts;
  const use = (index: number, id: number, length: number): void => {
    view.setUint32(device + 4 + 8 * (index % 4), id, true);
    view.setUint32(device + 8 + 8 * (index % 4), length, true);
    view.setUint16(device + 2, index + 1 & 0xffff, true);
  };
  assertEquals(ring.used(), []);
  for (let i = 0; i < 3; i++) use(i, 10 + i, 100 + i);
  assertEquals([ring.usedCount(), ring.used(), ring.used()], [
    3,
    [{ id: 10, length: 100 }, { id: 11, length: 101 }, { id: 12, length: 102 }],
    [],
  ]);
  for (let i = 3; i < 6; i++) use(i, 10 + i, 100 + i);
  assertEquals(ring.used().map(({ id }) => id), [13, 14, 15]);
  // An index that jumps back.
  view.setUint16(device + 2, 5, true);
  assertEquals([ring.used().length, ring.used().length], [5, 5]);
});

Deno.test("raw split ring: flags and events are where the specification has them", () => {
  const { arena, view } = make();
  const ring = new RawSplit(arena, 0, 4);
  const { driver, device } = ring.parts;
  const seen = (): number[] => [view.getUint16(driver, true), view.getUint16(driver + 12, true)];
  ring.interrupts(false);
  assertEquals(seen(), [1, 0]);
  ring.interrupts(true);
  ring.event(3);
  assertEquals(seen(), [0, 3]);
  view.setUint16(device + 2, 0xfffe, true);
  ring.event(3);
  assertEquals(seen(), [0, 1]);
  ring.silence();
  assertEquals(seen(), [1, 0x3ffe]);
  ring.flags(0x8001);
  assertEquals(seen()[0], 0x8001);
  assertEquals([ring.usedFlags, ring.quiet], [0, false]);
  view.setUint16(device, 1, true);
  assertEquals([ring.usedFlags, ring.quiet], [1, true]);
});

Deno.test("raw packed ring: its parts are zeroes that the device may write, but for the driver's", () => {
  const { arena, bytes } = make();
  const ring = new RawPacked(arena, 2, 4);
  assertEquals([ring.queue, ring.size, ring.arena === arena], [2, 4, true]);
  const { desc, driver, device } = ring.parts;
  assertEquals([desc, driver, device], [4096, 4096 + 128, 4096 + 196]);
  for (const [at, length] of [[desc, 64], [driver, 4], [device, 4]] as const) {
    assertEquals(bytes.subarray(at, at + length).every((byte) => byte === 0), true);
    assertEquals([bytes[at - 1], bytes[at + length]], [0xee, 0xee]);
  }
  for (const at of [desc, desc + 63, device, device + 3]) bytes[at] = 1;
  assertEquals(arena.damage(), undefined);
  for (const at of [desc - 1, desc + 64, driver, driver + 3, device - 1, device + 4]) {
    bytes[at]!++;
    assertEquals(arena.damage(), at);
    bytes[at]!--;
  }
});

/** Flags of a packed descriptor (virtio 1.4 §2.8.1). */
const [AVAIL, USED] = [0x80, 0x8000];

Deno.test("raw packed ring: buffers go around the ring, whose wrap counter turns the flags", () => {
  const { arena, bytes, view } = make();
  const ring = new RawPacked(arena, 0, 3);
  const { desc } = ring.parts;
  const at = (index: number): unknown[] => {
    const place = desc + 16 * index;
    return [
      bytes.subarray(place, place + 12).toHex(),
      view.getUint16(place + 12, true),
      view.getUint16(place + 14, true),
    ];
  };
  assertEquals(ring.add([of(0x11000, 16, 1), of(0x12000, 32, 2)]), 0);
  assertEquals([at(0), at(1)], [
    ["001001000000000010000000", 0, AVAIL | 1],
    ["002001000000000020000000", 0, AVAIL | 2],
  ]);
  assertEquals(ring.add([of(0x13000, 1, 1), of(0x14000, 2)]), 1);
  assertEquals([at(2), at(0)], [
    ["003001000000000001000000", 1, AVAIL | 1],
    ["004001000000000002000000", 1, USED],
  ]);
  // One that is not made available, under an id of the caller's.
  ring.write([of(0x15000, 3)], 77, false);
  assertEquals(at(1), ["005001000000000003000000", 77, AVAIL]);
  assertEquals(ring.add([of(0x16000, 4)]), 2);
  assertEquals(at(2), ["006001000000000004000000", 2, USED]);
  assertEquals(ring.add([of(0x17000, 4)]), 3);
  assertEquals(at(0)[2], AVAIL);
});

Deno.test("raw packed ring: used buffers are taken once, in the device's order, over the end of the ring", () => {
  const { arena, view } = make();
  const ring = new RawPacked(arena, 0, 3);
  const { desc } = ring.parts;
  const use = (index: number, id: number, length: number, wrap: boolean): void => {
    view.setUint32(desc + 16 * index + 8, length, true);
    view.setUint16(desc + 16 * index + 12, id, true);
    view.setUint16(desc + 16 * index + 14, wrap ? AVAIL | USED : 0, true);
  };
  const pair = [of(0x11000, 1, 1), of(0x12000, 1)];
  assertEquals([ring.add(pair), ring.add([of(0x13000, 1)])], [0, 1]);
  assertEquals([ring.used(), ring.usedCount()], [[], 0]);
  // The second one first.
  use(0, 1, 7, true);
  assertEquals([ring.usedCount(), ring.used(), ring.used(), ring.usedCount()], [
    ...[1, [{ id: 1, length: 7 }], [], 1],
  ]);
  use(1, 0, 8, true);
  assertEquals([ring.usedCount(), ring.used(), ring.usedCount()], [2, [{ id: 0, length: 8 }], 2]);
  // The ring begins again with the other counter: what was used before is not used now.
  assertEquals([ring.add([of(0x14000, 1)]), ring.add(pair)], [2, 3]);
  assertEquals(ring.used(), []);
  use(0, 2, 1, false);
  use(1, 3, 2, false);
  assertEquals([ring.usedCount(), ring.used(), ring.usedCount()], [
    ...[4, [{ id: 2, length: 1 }, { id: 3, length: 2 }], 4],
  ]);
  // One that ends with the ring, and the next one at its beginning, are taken together.
  ring.add(pair);
  use(0, 4, 1, true);
  assertEquals(ring.used().length, 1);
  assertEquals([ring.add([of(0x16000, 1)]), ring.add([of(0x17000, 1)])], [5, 6]);
  use(2, 5, 5, true);
  use(0, 6, 6, false);
  assertEquals(ring.used(), [{ id: 5, length: 5 }, { id: 6, length: 6 }]);
  // An id that was never given counts one descriptor; no more buffers than there are.
  ring.add(pair);
  ring.add([of(0x15000, 1)]);
  use(1, 99, 1, false);
  use(2, 98, 2, false);
  use(0, 97, 3, true);
  assertEquals(ring.used().map(({ id }) => id), [99, 98]);
});

Deno.test("raw packed ring: event suppression of either side", () => {
  const { arena, view } = make();
  const ring = new RawPacked(arena, 0, 3);
  const { desc, driver, device } = ring.parts;
  const seen = (): number[] => [view.getUint16(driver, true), view.getUint16(driver + 2, true)];
  ring.interrupts(false);
  assertEquals(seen(), [0, 1]);
  ring.interrupts(true);
  assertEquals(seen(), [0, 0]);
  ring.silence();
  assertEquals(seen(), [0, 1]);
  ring.event(2);
  assertEquals(seen(), [0x8002, 2]);
  ring.event(3);
  assertEquals(seen(), [0, 2]);
  for (let i = 0; i < 3; i++) {
    ring.add([of(0x11000, 1)]);
    view.setUint16(desc + 16 * i + 12, i, true);
    view.setUint16(desc + 16 * i + 14, AVAIL | USED, true);
  }
  assertEquals(ring.used().length, 3);
  ring.event(1);
  assertEquals(seen(), [1, 2]);
  ring.event(4);
  assertEquals(seen(), [0x8001, 2]);
  const quiet = [0, 1, 2, 3, 5].map((flags) => {
    view.setUint16(device + 2, flags, true);
    return ring.quiet;
  });
  assertEquals(quiet, [false, true, false, false, true]);
});
