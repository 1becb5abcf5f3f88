// The modem against a driver made of register writes and bytes: virtio 1.4 §2.7 and §4.2.2, and Linux's
// caif_virtio.c and virtio_caif.h, all numbers typed again.
import { assert, assertEquals, assertThrows } from "@std/assert";
import { EmulatedMachine } from "../../machine.ts";
import { caifCable, CaifDevice, type CaifDeviceOptions } from "./device.ts";

const SIZE = 8;
/** Offsets of the parts of queue 0 and 1 in memory: descriptors, available ring, used ring. */
const RINGS = [
  { desc: 0x1000, avail: 0x1100, used: 0x1200 },
  { desc: 0x2000, avail: 0x2100, used: 0x2200 },
] as const;
const VERSION_1 = 32;

/** A driver that knows registers, rings and bytes. */
class RawDriver implements AsyncDisposable {
  readonly modem: CaifDevice;
  readonly machine: EmulatedMachine;
  readonly view: DataView;
  readonly base: number;
  #sent = 0;
  #returned = 0;

  constructor(modem: CaifDevice) {
    this.modem = modem;
    // All is offered, so that what is refused is refused by the modem.
    const ring = { packed: true, inOrder: true, notificationData: true };
    this.machine = EmulatedMachine.create({ devices: [modem], memorySize: 1 << 20, ring });
    this.view = new DataView(this.machine.memory.bytes.buffer);
    this.base = this.machine.memory.base;
  }

  read(register: number): number {
    return this.machine.slots[0]!.read32(register);
  }

  write(register: number, value: number): void {
    this.machine.slots[0]!.write32(register, value);
  }

  /** Resets and negotiates these bits; whether FEATURES_OK stayed. */
  negotiate(...bits: number[]): boolean {
    this.write(0x70, 0);
    this.write(0x70, 1 | 2);
    for (const word of [0, 1]) {
      this.write(0x24, word);
      const mine = [...bits, VERSION_1].filter((bit) => bit >> 5 === word);
      this.write(0x20, mine.reduce((value, bit) => value + 2 ** (bit & 31), 0));
    }
    this.write(0x70, 1 | 2 | 8);
    return (this.read(0x70) & 8) !== 0;
  }

  /** Brings the device up with these queues. */
  start(queues: readonly (0 | 1)[] = [0, 1]): this {
    assert(this.negotiate());
    this.machine.memory.bytes.fill(0);
    this.#sent = this.#returned = 0;
    for (const index of queues) {
      const { desc, avail, used } = RINGS[index];
      this.write(0x30, index);
      this.write(0x38, SIZE);
      for (const [low, part] of [[0x80, desc], [0x90, avail], [0xa0, used]] as const) {
        this.write(low, this.base + part);
        this.write(low + 4, 0);
      }
      this.write(0x44, 1);
    }
    this.write(0x70, 1 | 2 | 8 | 4);
    return this;
  }

  /** Sends elements as one chain on queue 0: their lengths, and whether the device may write them. */
  chain(elements: readonly { length: number; bytes?: readonly number[]; flags?: number }[]): void {
    const { desc, avail } = RINGS[0];
    elements.forEach(({ length, bytes = [], flags = 0 }, i) => {
      const at = desc + 16 * i;
      const data = 0x1_0000 + 0x4000 * i;
      bytes.forEach((byte, k) => this.view.setUint8(data + k, byte));
      this.view.setBigUint64(at, BigInt(this.base + data), true);
      this.view.setUint32(at + 8, length, true);
      this.view.setUint16(at + 12, flags | (i + 1 < elements.length ? 1 : 0), true);
      this.view.setUint16(at + 14, i + 1, true);
    });
    this.view.setUint16(avail + 4 + 2 * (this.#sent++ % SIZE), 0, true);
    this.view.setUint16(avail + 2, this.#sent, true);
    this.write(0x50, 0);
  }

  /** Sends one frame as Linux lays it out with 32 bytes before and behind. */
  frame(...bytes: number[]): void {
    this.chain([{
      length: 64 + bytes.length,
      bytes: [...new Array(32).fill(0xee), ...bytes, ...new Array(32).fill(0xdd)],
    }]);
  }

  /** Frames that the device took: queue 0's used index. */
  get taken(): number {
    return this.view.getUint16(RINGS[0].used + 2, true);
  }

  /** Buffers that the device offered: queue 1's available index. */
  get offered(): number {
    return this.view.getUint16(RINGS[1].avail + 2, true);
  }

  /** The bytes of an offered buffer, found by its address in the shared memory; its head, too. */
  buffer(entry: number): { head: number; bytes: Uint8Array; address: number } {
    const { desc, avail } = RINGS[1];
    const head = this.view.getUint16(avail + 4 + 2 * (entry % SIZE), true);
    const at = desc + 16 * head;
    const address = Number(this.view.getBigUint64(at, true));
    const length = this.view.getUint32(at + 8, true);
    // To read, and alone.
    assertEquals(this.view.getUint16(at + 12, true), 0);
    using memory = this.machine.openMemory(address, length);
    return { head, address, bytes: memory.bytes.slice() };
  }

  /** Returns a buffer, with length 0 as Linux does. */
  giveBack(head: number, notify = true): void {
    const { used } = RINGS[1];
    this.view.setUint32(used + 4 + 8 * (this.#returned % SIZE), head, true);
    this.view.setUint32(used + 8 + 8 * (this.#returned++ % SIZE), 0, true);
    this.view.setUint16(used + 2, this.#returned, true);
    if (notify) this.write(0x50, 1);
  }

  get faults(): string[] {
    return this.machine.violations().map(({ reason }) => reason);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.machine[Symbol.asyncDispose]();
  }
}

function driverOf(options: Partial<CaifDeviceOptions> = {}): RawDriver {
  return new RawDriver(new CaifDevice({ onFrame: (bytes, self) => self.send(bytes), ...options }));
}

Deno.test("modem: id 12, two queues, and the configuration of both directions byte by byte", async () => {
  await using it = driverOf({ headroom: 0x0102, tailroom: 0x0304, mtu: 0x0005_0607 });
  assertEquals(it.read(8), 12);
  for (const [queue, max] of [[0, 64], [1, 64], [2, 0]] as const) {
    it.write(0x30, queue);
    assertEquals(it.read(0x34), max);
  }
  const direction = [0x02, 0x01, 0x04, 0x03, 0x07, 0x06, 0x05, 0x00, 0, 0, 0, 0];
  const config = Array.from({ length: 32 }, (_, i) => it.machine.slots[0]!.read8(0x100 + i));
  assertEquals(config, [...direction, ...direction, 0, 0, 0, 0, 0, 0, 0, 0]);
  assertThrows(() => driverOf({ headroom: 50, tailroom: 50, mtu: 100 }), RangeError);
});

Deno.test("modem: a frame is what is between headroom and tailroom, and goes back the same way", async () => {
  await using it = driverOf().start();
  it.write(0xac, 0);
  const [length, region] = [it.read(0xb0), it.read(0xb8)];
  assertEquals(length, 16 * 4096);
  it.frame(1, 2, 3);
  assertEquals([it.taken, it.offered], [1, 1]);
  const { address, bytes, head } = it.buffer(0);
  assert(address >= region && address + bytes.length <= region + length);
  assertEquals([bytes.length, [...bytes.subarray(32, 35)]], [67, [1, 2, 3]]);
  it.giveBack(head);
  // Elements of a chain are one frame, wherever they part.
  it.chain([{ length: 30 }, { length: 4, bytes: [0, 0, 7, 8] }, { length: 32 }]);
  assertEquals([...it.buffer(1).bytes.subarray(32, 34)], [7, 8]);
  assertEquals(it.faults, []);
});

Deno.test("modem: frames wait in the ring until the driver returns buffers", async () => {
  await using it = driverOf({ buffers: 2 }).start();
  for (let i = 1; i <= 5; i++) it.frame(i);
  assertEquals([it.taken, it.offered, it.modem.room], [2, 2, 0]);
  it.giveBack(it.buffer(0).head);
  assertEquals([it.taken, it.offered], [3, 3]);
  // Returned but not reported: seen at the next look.
  it.giveBack(it.buffer(1).head, false);
  assertEquals(it.taken, 3);
  it.frame(6);
  assertEquals([it.taken, it.offered], [4, 4]);
  // A snapshot has the buffers that are in the ring, and no others.
  const kept = (): number => (it.modem.snapshot() as unknown[]).length;
  assertEquals(kept(), 2);
  for (const entry of [2, 3]) it.giveBack(it.buffer(entry).head);
  it.giveBack(it.buffer(4).head);
  assertEquals([it.taken, it.offered, kept()], [6, 6, 1]);
  assertEquals(it.faults, []);
});

Deno.test("modem: no more is offered than the ring of the driver has places", async () => {
  await using it = driverOf({ buffers: 20, onFrame: () => {} }).start();
  let sent = 0;
  while (it.modem.send(Uint8Array.of(sent))) sent++;
  // Not of the 20: the ring has no more places.
  assertEquals([sent, it.offered, it.modem.room], [8, 8, 0]);
  for (let i = 0; i < 8; i++) assertEquals(it.buffer(i).bytes[32], i);
  it.giveBack(it.buffer(3).head);
  assertEquals(it.modem.room, 1);
  assert(it.modem.send(Uint8Array.of(9)));
  assert(!it.modem.send(Uint8Array.of(9)));
  assertThrows(() => it.modem.send(new Uint8Array(0)), RangeError);
  assertThrows(() => it.modem.send(new Uint8Array(4033)), RangeError, "1 to 4032");
});

Deno.test("modem: buffers without a frame are a fault, and the device waits for a reset", async () => {
  const lies: [string, Parameters<RawDriver["chain"]>[0]][] = [
    ["a buffer of 64 bytes, not of 65 to 4096", [{ length: 64 }]],
    ["a buffer of 4097 bytes, not of 65 to 4096", [{ length: 4097 }]],
    ["a buffer of 0 bytes, not of 65 to 4096", [{ length: 4000, flags: 2 }]],
    ["a buffer of 5000 bytes, not of 65 to 4096", [{ length: 2500 }, { length: 2500 }]],
  ];
  await using it = driverOf();
  const faults: string[] = [];
  for (const [reason, elements] of lies) {
    it.start().chain(elements);
    faults.push(reason);
    assertEquals(it.faults, faults);
    // NEEDS_RESET; nothing is taken or offered until then.
    assertEquals([it.read(0x70) & 64, it.taken, it.modem.send(Uint8Array.of(1))], [64, 0, false]);
  }
  it.start().frame(5);
  assertEquals([it.taken, it.buffer(0).bytes[32], it.read(0x70) & 64], [1, 5, 0]);
});

Deno.test("modem: chains over memory that is not there, and loops, are faults", async () => {
  for (const length of [0xffff_ffff, 1 << 20]) {
    await using it = driverOf().start();
    it.chain([{ length }]);
    assertEquals([it.faults.length, it.taken], [1, 0]);
  }
  await using it = driverOf().start();
  // Descriptor 0 goes on with itself.
  it.view.setUint16(RINGS[0].desc + 12, 1, true);
  it.view.setUint32(RINGS[0].desc + 8, 10, true);
  it.view.setBigUint64(RINGS[0].desc, BigInt(it.base + 0x1_0000), true);
  it.view.setUint16(RINGS[0].avail + 2, 1, true);
  it.write(0x50, 0);
  assertEquals([it.faults.length, it.taken], [1, 0]);
});

Deno.test("modem: buffers returned twice, or never had, are a fault, and a reset brings all back", async () => {
  await using it = driverOf({ onFrame: () => {}, buffers: 4 }).start();
  assert(it.modem.send(Uint8Array.of(1)));
  const { head } = it.buffer(0);
  it.giveBack(head);
  it.giveBack(head);
  assertEquals(it.faults, [`queue 1: the driver returned buffer ${head}, not its own`]);
  it.start();
  assertEquals(it.modem.room, 4);
  it.giveBack(0xffff_ffff);
  assertEquals(it.faults.at(-1), "queue 1: the driver returned buffer 4294967295, not its own");
  it.start();
  for (let i = 0; i < 4; i++) assert(it.modem.send(Uint8Array.of(i)));
});

Deno.test("modem: features that a reversed ring does not have are refused, one by one", async () => {
  await using it = driverOf();
  // INDIRECT_DESC, RING_PACKED, IN_ORDER, NOTIFICATION_DATA; EVENT_IDX is fine.
  for (
    const [bit, fine] of [[28, false], [34, false], [35, false], [38, false], [29, true]] as const
  ) {
    assertEquals([bit, it.negotiate(bit)], [bit, fine]);
  }
});

Deno.test("modem: without the driver's rings it sends nothing and takes nothing", async () => {
  await using it = driverOf();
  assertEquals([it.modem.room, it.modem.send(Uint8Array.of(1))], [0, false]);
  it.modem.resume();
  it.start([0]);
  it.frame(1);
  assertEquals([it.modem.room, it.taken], [0, 0]);
  it.start([1]);
  assert(it.modem.send(Uint8Array.of(2)));
  it.write(0x50, 0);
  it.write(0x50, 7);
  assertEquals(it.buffer(0).bytes[32], 2);
});

Deno.test("modem: room is reported once, after there was none", async () => {
  let told = 0;
  await using it = driverOf({ buffers: 2, onFrame: () => {}, onRoom: () => told++ });
  it.start();
  assertEquals(told, 1);
  for (const byte of [1, 2]) assert(it.modem.send(Uint8Array.of(byte)));
  it.giveBack(it.buffer(0).head);
  it.giveBack(it.buffer(1).head);
  assertEquals([told, it.modem.room], [2, 2]);
});

Deno.test("modem: a listener may look again at once; each frame is reported once", async () => {
  const told: number[] = [];
  await using it = driverOf({
    onFrame: (bytes, self) => {
      told.push(bytes[0]!);
      if (told.length < 10) self.resume();
    },
  });
  it.start();
  for (const byte of [1, 2, 3]) it.frame(byte);
  assertEquals([told, it.taken], [[1, 2, 3], 3]);
});

Deno.test("modem: a frame that was held when the device was reset is forgotten", async () => {
  const told: number[] = [];
  await using it = driverOf({ onFrame: (bytes) => told.push(bytes[0]!) > 1 });
  it.start().frame(1);
  assertEquals([told, it.taken], [[1], 0]);
  it.start().frame(2);
  assertEquals([told, it.taken], [[1, 2], 1]);
  // A reset in the listener takes nothing from the frames that come after it.
  await using again: RawDriver = driverOf({ onFrame: () => void again.start() });
  again.start().frame(3);
  assertEquals([again.taken, again.faults], [0, []]);
});

Deno.test("modem: a cable's end takes a frame only when the other has room", async () => {
  const [left, right] = caifCable({ buffers: 2 });
  await using a = new RawDriver(left).start();
  await using b = new RawDriver(right);
  a.frame(1);
  assertEquals(a.taken, 0);
  b.start();
  assertEquals([a.taken, b.buffer(0).bytes[32]], [1, 1]);
  a.frame(2);
  a.frame(3);
  assertEquals([a.taken, b.offered], [2, 2]);
  b.giveBack(b.buffer(0).head);
  assertEquals([a.taken, b.buffer(2).bytes[32]], [3, 3]);
  b.frame(4);
  assertEquals(a.buffer(0).bytes[32], 4);
});
