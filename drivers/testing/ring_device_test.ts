import { assertEquals, assertThrows } from "@std/assert";
import { RingDevice, type RingDeviceOptions } from "./ring_device.ts";
import { TestDma } from "./dma.ts";

const SIZE = 4;
const BASE = 0x4000_0000;
const DESC = BASE;
const AVAIL = BASE + 64;
const USED = BASE + 128;
const TABLE = BASE + 1024;

/** A ring written by hand: the driver's side is the test. */
function ring(options: RingDeviceOptions = {}) {
  const dma = new TestDma({ size: 4096, base: BASE });
  const view = new DataView(dma.memory.buffer);
  const device = new RingDevice(
    dma,
    { size: SIZE, desc: DESC, driver: AVAIL, device: USED },
    options,
  );
  const u16 = (address: number, value: number) => view.setUint16(address - BASE, value, true);
  return {
    device,
    view,
    u16,
    desc(at: number, address: number, length: number, flags: number, next: number) {
      view.setBigUint64(at - BASE, BigInt(address), true);
      view.setUint32(at + 8 - BASE, length, true);
      u16(at + 12, flags);
      u16(at + 14, next);
    },
    offer(position: number, head: number) {
      u16(AVAIL + 4 + 2 * (position % SIZE), head);
      u16(AVAIL + 2, position + 1);
    },
  };
}

Deno.test("chains are read as they lie in memory, direct and indirect", () => {
  const it = ring({ indirect: true });
  it.desc(DESC + 32, 0x1_0000_2000, 5, 1, 0);
  it.desc(DESC, 0x3000, 7, 2, 99);
  it.offer(0, 2);
  assertEquals(it.device.next(), {
    head: 2,
    first: { address: 0x1_0000_2000, length: 5, flags: 1, next: 0 },
    descriptors: [
      { address: 0x1_0000_2000, length: 5, flags: 1, next: 0 },
      { address: 0x3000, length: 7, flags: 2, next: 99 },
    ],
    writableLength: 7,
  });
  assertEquals(it.device.next(), undefined);
  it.desc(DESC + 16, TABLE, 32, 4, 0);
  it.desc(TABLE, 0x10, 1, 3, 1);
  it.desc(TABLE + 16, 0x20, 2, 2, 0);
  it.offer(1, 1);
  const [chain] = it.device.takeAll();
  assertEquals([chain!.head, chain!.writableLength], [1, 3]);
  assertEquals(chain!.descriptors.map(({ address }) => address), [0x10, 0x20]);
});

Deno.test("a driver that breaks a rule of the ring is told so", () => {
  type It = ReturnType<typeof ring>;
  const cases: [string, (it: It) => void][] = [
    ["avail.idx is 5 ahead", (it) => it.u16(AVAIL + 2, 5)],
    ["Head 4 is not in the table", (it) => it.offer(0, 4)],
    ["Descriptor 4 of 4", (it) => it.desc(DESC, 0, 1, 1, 4)],
    ["Chain longer than the ring", (it) => it.desc(DESC, 0, 1, 1, 0)],
    ["Flags 8", (it) => it.desc(DESC, 0, 1, 8, 0)],
    ["Readable after writable", (it) => {
      it.desc(DESC, 0, 1, 3, 1);
      it.desc(DESC + 16, 0, 1, 0, 0);
    }],
    ["INDIRECT together with NEXT", (it) => it.desc(DESC, TABLE, 16, 5, 0)],
    ["Bad table length", (it) => it.desc(DESC, TABLE, 17, 4, 0)],
    ["Bad table length", (it) => it.desc(DESC, TABLE, 0, 4, 0)],
    ["Flags 4", (it) => {
      it.desc(DESC, TABLE, 16, 4, 0);
      it.desc(TABLE, TABLE, 16, 4, 0);
    }],
    ["Descriptor 1 of 1", (it) => {
      it.desc(DESC, TABLE, 16, 4, 0);
      it.desc(TABLE, 0, 1, 1, 1);
    }],
  ];
  for (const [message, breakRule] of cases) {
    const it = ring({ indirect: true });
    it.offer(0, 0);
    breakRule(it);
    assertThrows(() => it.device.next(), Error, message);
  }
  const it = ring();
  it.desc(DESC, TABLE, 16, 4, 0);
  it.offer(0, 0);
  assertThrows(() => it.device.next(), Error, "INDIRECT was not negotiated");
});

Deno.test("an element of zero bytes that is writable still ends the readable part", () => {
  const it = ring();
  it.desc(DESC, 0x1000, 0, 3, 1);
  it.desc(DESC + 16, 0x2000, 1, 0, 0);
  it.offer(0, 0);
  assertThrows(() => it.device.next(), Error, "Readable after writable");
});

Deno.test("used entries, indices and events lie where the specification says", () => {
  const it = ring({ eventIdx: true });
  it.device.put(3, 0x1234_5678);
  const u16 = (address: number) => it.view.getUint16(address - BASE, true);
  assertEquals(it.view.getUint32(USED + 4 - BASE, true), 3);
  assertEquals(it.view.getUint32(USED + 8 - BASE, true), 0x1234_5678);
  assertEquals(u16(USED + 2), 0);
  it.device.publish();
  assertEquals(u16(USED + 2), 1);
  it.device.complete(0xffff_ffff, 1);
  assertEquals([it.view.getUint32(USED + 12 - BASE, true), u16(USED + 2)], [0xffff_ffff, 2]);
  it.device.availEvent = 7;
  it.device.usedFlags = 1;
  assertEquals([u16(USED + 4 + 8 * SIZE), u16(USED)], [7, 1]);
  it.u16(AVAIL, 1);
  it.u16(AVAIL + 4 + 2 * SIZE, 9);
  assertEquals([it.device.availFlags, it.device.usedEvent], [1, 9]);
});

Deno.test("interrupts are due as flags or used_event ask, over the wrap, and once", () => {
  const plain = ring();
  assertEquals(plain.device.interruptDue(), false);
  plain.device.complete(0, 0);
  assertEquals([plain.device.interruptDue(), plain.device.interruptDue()], [true, false]);
  plain.u16(AVAIL, 1);
  plain.device.complete(0, 0);
  assertEquals(plain.device.interruptDue(), false);
  const event = ring({ eventIdx: true });
  event.device.nextUsed = 0xfffe;
  event.device.publish();
  event.device.interruptDue();
  event.u16(AVAIL + 4 + 2 * SIZE, 0xffff);
  event.device.complete(0, 0);
  assertEquals(event.device.interruptDue(), false);
  event.device.complete(0, 0);
  assertEquals([event.device.usedIndex, event.device.interruptDue()], [0, true]);
});
