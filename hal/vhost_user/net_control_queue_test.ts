import { assert, assertEquals } from "@std/assert";
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
      readAt: (_: number, into: Uint8Array, at: number) => {
        assert(at >= 0 && into.length > 0 && at + into.length <= this.bytes.length);
        into.set(this.bytes.subarray(at, at + into.length));
      },
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

const [NEXT, WRITE, INDIRECT] = [1, 2, 4];
/** A descriptor of a chain: bytes behind DATA, and their number. */
type Part = readonly [data: number, length: number, flags: number, next?: number];

/** Carries out one chain of a ring that has done nothing before: what the ring says of it, and the ack. */
function carriedOut(
  parts: readonly Part[],
  { packed = false, head = 0, table = false }: {
    packed?: boolean;
    head?: number;
    table?: boolean | number;
  } = {},
): { used: readonly [id: number, length: number]; ack: number; asked: readonly number[] } {
  const rig = new Rig(packed);
  rig.command(pairs(2));
  const at = table === false ? DESC : TABLE;
  parts.forEach(([data, length, flags, next = 0], i) => {
    if (packed) rig.descriptor(at + 16 * i, DATA + data, length, 7, flags | (table ? 0 : 0x80));
    else rig.descriptor(at + 16 * (head + i), DATA + data, length, flags, next);
  });
  if (table !== false) {
    const size = 16 * (table === true ? parts.length : table);
    if (packed) rig.descriptor(DESC, TABLE, size, 7, INDIRECT | 0x80);
    else rig.descriptor(DESC + 16 * head, TABLE, size, INDIRECT, 0);
  }
  if (!packed) {
    rig.view.setUint16(AVAIL + 4, head, true);
    rig.view.setUint16(AVAIL + 2, 1, true);
  }
  assertEquals(rig.queue.run(), true);
  const [id, length] = packed
    ? [rig.view.getUint16(DESC + 12, true), rig.view.getUint32(DESC + 8, true)]
    : [rig.view.getUint32(USED + 4, true), rig.view.getUint32(USED + 8, true)];
  return { used: [id, length], ack: rig.ack, asked: rig.asked };
}

Deno.test("a command is what all descriptors that the device reads have, and its ack is the first that it may write", () => {
  const [done, refused, nothing] = [0, 1, 0xee];
  const command: Part = [0, 4, NEXT, 1];
  const ack: Part = [32, 1, WRITE];
  const cases: readonly (readonly [name: string, parts: Part[], ack: number])[] = [
    ["in one", [command, ack], done],
    ["in four", [[0, 1, NEXT, 1], [1, 2, NEXT, 2], [3, 1, NEXT, 3], ack], done],
    ["with nothing between", [[0, 4, NEXT, 1], [-0x5000, 0, NEXT, 2], ack], done],
    ["with a byte behind", [command, [4, 1, NEXT, 2], ack], refused],
    ["longer than it is", [[0, 5, NEXT, 1], ack], refused],
    ["with the ack before", [[32, 1, WRITE | NEXT, 1], [0, 4, 0]], done],
    ["with no room in the first that it may write", [
      ...[command, [40, 0, WRITE | NEXT, 2], ack] as const,
    ], done],
    ["without an ack", [[0, 4, 0]], nothing],
    ["with no room for an ack", [command, [32, 0, WRITE]], nothing],
  ];
  for (const [name, parts, ack] of cases) {
    for (const packed of [false, true]) {
      const seen = carriedOut(parts, { packed });
      assertEquals(seen, {
        used: [packed ? 7 : 0, ack === nothing ? 0 : 1],
        ack,
        asked: ack === done ? [2] : [],
      }, `${name}, ${packed ? "packed" : "split"}`);
      if (packed || parts.length > 2) continue;
      const behind = parts.map((
        [data, length, flags, next = 0],
      ): Part => [data, length, flags, next + 2]);
      assertEquals(carriedOut(behind, { head: 2 }).used, [2, seen.used[1]], name);
    }
  }
});

Deno.test("a table is as long as it says, and no longer than the ring", () => {
  const bytes = (count: number): Part[] =>
    Array.from({ length: count }, (_, i): Part => [i, 4 / count, NEXT, i + 1]);
  const ack: Part = [32, 1, WRITE];
  for (const packed of [false, true]) {
    const acked = (parts: readonly Part[], table: true | number = true): boolean =>
      carriedOut(parts, { packed, table }).ack === 0;
    assertEquals(acked([[0, 4, NEXT, 1], ack]), true);
    assertEquals(acked([[0, 2, NEXT, 1], [2, 2, NEXT, 2], ack]), true);
    // Of a table of a descriptor the second one is none, nor is the fifth one of a ring of four.
    assertEquals(acked([[0, 4, NEXT, 1], ack], 1), false);
    assertEquals(acked([...bytes(4), ack]), false);
    assertEquals(acked([...bytes(4), ack], 100), false);
  }
  // One that ends early, and ones that lead behind the end, or nowhere.
  assertEquals(carriedOut([[0, 4, 0, 1], ack], { table: true }).ack, 0xee);
  assertEquals(carriedOut([[0, 4, NEXT, 2], [8, 1, 0], ack], { table: 2 }).ack, 0xee);
  assertEquals(carriedOut([[0, 4, NEXT, 3], [8, 1, 0], [8, 1, 0], ack], { table: 2 }).ack, 0xee);
  assertEquals(carriedOut([[0, 4, NEXT, 0], ack], { table: true }).ack, 0xee);
  // Of a packed ring all of a table is the chain, whatever its descriptors say.
  assertEquals(carriedOut([[0, 4, 0], ack], { packed: true, table: true }).ack, 0);
});

Deno.test("a chain of a split ring that never ends is as long as the ring, or as its table", () => {
  const parts: Part[] = [[32, 1, WRITE | NEXT, 1], [0, 2, NEXT, 2], [2, 1, NEXT, 3], [
    3,
    1,
    NEXT,
    1,
  ]];
  assertEquals(carriedOut(parts), { used: [0, 1], ack: 0, asked: [2] });
  assertEquals(carriedOut(parts, { table: true }), { used: [0, 1], ack: 0, asked: [2] });
});

Deno.test("a chain of a packed ring that never ends is as long as the ring", () => {
  const rig = new Rig(true);
  rig.command(pairs(2));
  for (let i = 0; i < SIZE; i++) rig.descriptor(DESC + 16 * i, DATA, 1, 7, NEXT | 0x80);
  assertEquals([rig.queue.run(), rig.ack], [true, 0xee]);
  // The next one is at the start again, with the other wrap counter.
  rig.descriptor(DESC, DATA, 4, 8, NEXT | 0x8000);
  rig.descriptor(DESC + 16, DATA + 32, 1, 9, WRITE | 0x8000);
  assertEquals([rig.queue.run(), rig.ack, rig.asked], [true, 0, [2]]);
  assertEquals([rig.view.getUint16(DESC + 12, true), rig.view.getUint16(DESC + 14, true)], [9, 0]);
});
