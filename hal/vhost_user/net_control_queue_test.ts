import { assertEquals } from "@std/assert";
import type { Libc } from "../unix/libc.ts";
import { NetControlQueue } from "./net_control_queue.ts";

const GUEST = 0x1_0000_0000;
const [DESC, AVAIL, USED, DATA, TABLE] = [0, 0x1000, 0x2000, 0x3000, 0x4000];
const SIZE = 4;
/** Class MQ, VQ_PAIRS_SET, and the count. */
const pairs = (count: number): number[] => [4, 0, count & 0xff, count >> 8];

/** A control queue over plain memory; numbers of rings are typed again here. */
class Rig {
  readonly bytes = new Uint8Array(0x5000);
  readonly view = new DataView(this.bytes.buffer);
  readonly asked: number[] = [];
  readonly queue: NetControlQueue;

  constructor(packed: boolean) {
    const libc = {
      readAt: (_: number, into: Uint8Array, at: number) =>
        void into.set(this.bytes.subarray(at, at + into.length)),
      writeAt: (_: number, from: Uint8Array, at: number) => void this.bytes.set(from, at),
    } as unknown as Libc;
    const memory = { fd: 0, guest: GUEST, user: 0, size: this.bytes.length };
    const [desc, driver, device] = [DESC, AVAIL, USED].map((at) => GUEST + at);
    const ring = { size: SIZE, desc: desc!, driver: driver!, device: device!, packed };
    this.queue = new NetControlQueue(libc, memory, ring, (count) => {
      this.asked.push(count);
      return count <= 3;
    });
  }

  /** A descriptor; `third` and `fourth` are flags and next, or id and flags. */
  descriptor(at: number, data: number, length: number, third: number, fourth: number): void {
    this.view.setBigUint64(at, BigInt(GUEST + data), true);
    this.view.setUint32(at + 8, length, true);
    this.view.setUint16(at + 12, third, true);
    this.view.setUint16(at + 14, fourth, true);
  }

  /** Puts a command, and an ack that is neither. */
  command(bytes: readonly number[]): void {
    this.bytes.fill(0xee, DATA, DATA + 64);
    this.bytes.set(bytes, DATA);
  }

  get ack(): number {
    return this.bytes[DATA + 32]!;
  }
}

/** Commands, and what the ack must be. */
const COMMANDS: readonly (readonly [string, readonly number[], number])[] = [
  ["a number that there is", pairs(3), 0],
  ["too many pairs", pairs(4), 1],
  ["too many pairs in two bytes", pairs(0x103), 1],
  ["another command", [4, 1, 1, 0], 1],
  ["another class", [0, 0, 1, 0], 1],
  ["too few bytes", [4, 0, 1], 1],
  ["too many bytes", [4, 0, 1, 0, 0], 1],
];

Deno.test("commands of a control queue are acknowledged, on a split ring with and without tables", () => {
  for (const indirect of [false, true]) {
    const rig = new Rig(false);
    assertEquals(rig.queue.run(), false);
    for (const [i, [name, bytes, ack]] of COMMANDS.entries()) {
      rig.command(bytes);
      const at = indirect ? TABLE : DESC;
      rig.descriptor(at, DATA, 2, 1, 2);
      rig.descriptor(at + 32, DATA + 2, bytes.length - 2, 1, 1);
      rig.descriptor(at + 16, DATA + 32, 1, 2, 0);
      if (indirect) rig.descriptor(DESC, TABLE, 48, 4, 0);
      rig.view.setUint16(AVAIL + 4 + 2 * (i % SIZE), 0, true);
      rig.view.setUint16(AVAIL + 2, i + 1, true);
      assertEquals([rig.queue.run(), rig.ack, name], [true, ack, name]);
      const used = USED + 4 + 8 * (i % SIZE);
      assertEquals(
        [rig.view.getUint32(used, true), rig.view.getUint32(used + 4, true)],
        [0, 1],
      );
      const [index, event] = [USED + 2, USED + 4 + 8 * SIZE];
      assertEquals([rig.view.getUint16(index, true), rig.view.getUint16(event, true)], [
        i + 1,
        i + 1,
      ]);
    }
    assertEquals(rig.asked, [3, 4, 0x103]);
  }
});

Deno.test("commands of a control queue are acknowledged, on a packed ring that wraps", () => {
  const rig = new Rig(true);
  let place = 0;
  let wrap = true;
  for (const [i, [name, bytes, ack]] of COMMANDS.entries()) {
    rig.command(bytes);
    assertEquals(rig.queue.run(), false);
    const first = place;
    const mark = wrap ? 0x80 : 0x8000;
    const parts = [[DATA, 2, 1], [DATA + 2, bytes.length - 2, 1], [DATA + 32, 1, 2]] as const;
    const flags = parts.map(([data, length, flag]) => {
      // A chain that passes the end has the other wrap counter's marks there.
      const marked = flag | (place < first ? mark ^ 0x8080 : mark);
      rig.descriptor(DESC + 16 * place, data, length, 7 + i, marked);
      place = (place + 1) % SIZE;
      return marked;
    });
    assertEquals([flags.length, rig.queue.run(), rig.ack, name], [3, true, ack, name]);
    const used = DESC + 16 * first;
    assertEquals(
      [8, 12, 14].map((at) => rig.view.getUint16(used + at, true)),
      [1, 7 + i, wrap ? 0x8080 : 0],
    );
    if (place < first) wrap = !wrap;
  }
  assertEquals(rig.asked, [3, 4, 0x103]);
});

Deno.test("a chain of a control queue that never ends, or has no room for an ack, ends the command", () => {
  const rig = new Rig(false);
  rig.command(pairs(2));
  rig.descriptor(DESC, DATA, 4, 1, 0);
  rig.view.setUint16(AVAIL + 2, 1, true);
  assertEquals(rig.queue.run(), true);
  assertEquals([rig.view.getUint16(USED + 2, true), rig.view.getUint32(USED + 8, true)], [1, 0]);
  assertEquals(rig.asked, []);
});

Deno.test("only a descriptor that is alone and says so is a table", () => {
  // One that the device may write has no command, and takes the ack.
  const alone = new Rig(false);
  alone.command(pairs(2));
  alone.descriptor(DESC, DATA + 32, 1, 2, 0);
  alone.view.setUint16(AVAIL + 2, 1, true);
  assertEquals([alone.queue.run(), alone.ack], [true, 1]);
  assertEquals(alone.view.getUint32(USED + 8, true), 1);
  // The mark of a table at the head of a chain is no table.
  const chain = new Rig(false);
  chain.command(pairs(2));
  chain.descriptor(DESC, DATA, 4, 5, 1);
  chain.descriptor(DESC + 16, DATA + 32, 1, 2, 0);
  chain.view.setUint16(AVAIL + 2, 1, true);
  assertEquals([chain.queue.run(), chain.ack, chain.asked], [true, 0, [2]]);
});
