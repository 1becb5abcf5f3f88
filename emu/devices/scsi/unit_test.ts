// Commands of a unit by their bytes; numbers are typed again from SPC-4 and SBC-3.
import { assertEquals } from "@std/assert";
import type { DiskBackend } from "../../backends/disk.ts";
import { MemoryDisk } from "../../backends/memory_disk.ts";
import { missing, ScsiDisk, type ScsiOutcome, type ScsiUnitOptions } from "./unit.ts";

const BLOCKS = 64;
const [READ_6, READ_10, READ_12, READ_16] = [0x08, 0x28, 0xa8, 0x88] as const;
const [WRITE_6, WRITE_10, WRITE_12, WRITE_16] = [0x0a, 0x2a, 0xaa, 0x8a] as const;
const [SAME_10, SAME_16, UNMAP] = [0x41, 0x93, 0x42] as const;
/** Sense key, and code and qualifier behind it. */
const [BAD_CDB, BAD_LBA, BAD_LIST, BAD_PARAMETER, NO_COMMAND, PROTECTED] = [
  [5, 0x24, 0],
  [5, 0x21, 0],
  [5, 0x1a, 0],
  [5, 0x26, 0],
  [5, 0x20, 0],
  [7, 0x27, 0],
] as const;

/** A disk of which each block is filled with its number. */
const disk = (readOnly = false): MemoryDisk =>
  new MemoryDisk(Uint8Array.from({ length: BLOCKS * 512 }, (_, i) => i >> 9), { readOnly });

/** The same without its memory at hand, which is read and written by calls. */
function remote(): DiskBackend & { readonly calls: string[] } {
  const store = disk();
  const calls: string[] = [];
  return {
    calls,
    size: store.size,
    readOnly: false,
    read: (offset, into, start, length) => {
      calls.push(`read ${offset} ${length}`);
      store.read(offset, into, start, length);
    },
    write: (offset, from, start, length) => {
      calls.push(`write ${offset} ${length}`);
      store.write(offset, from, start, length);
    },
    zero: (offset, length) => void calls.push(`zero ${offset} ${length}`),
    flush: () => void calls.push("flush"),
    resize: () => {},
    [Symbol.dispose]: () => {},
  };
}

const unit = (options: Partial<ScsiUnitOptions> = {}): ScsiDisk =>
  new ScsiDisk({ target: 0, disk: disk(), ...options });

/** A command block of 16 bytes. */
const cdb = (...bytes: number[]): Uint8Array =>
  Uint8Array.from({ length: 16 }, (_, i) => bytes[i] ?? 0);

/** A READ, WRITE or WRITE SAME of blocks, with its flags. */
function transfer(op: number, block: number, count: number, flags = 0): Uint8Array {
  const bytes = cdb(op);
  const view = new DataView(bytes.buffer);
  if (op === READ_6 || op === WRITE_6) {
    view.setUint32(0, op << 24 | block);
    bytes[4] = count;
    return bytes;
  }
  bytes[1] = flags;
  if (op === READ_10 || op === WRITE_10 || op === SAME_10) {
    view.setUint32(2, block);
    view.setUint16(7, count);
  } else if (op === READ_12 || op === WRITE_12) {
    view.setUint32(2, block);
    view.setUint32(6, count);
  } else {
    view.setBigUint64(2, BigInt(block));
    view.setUint32(10, count);
  }
  return bytes;
}

const NONE = new Uint8Array(0);
const run = (
  it: ScsiDisk,
  command: Uint8Array,
  write: Uint8Array = NONE,
  room = 1 << 20,
): ScsiOutcome => it.run(command, write.subarray(0, it.takes(command)), room);

/** What a refusal says; undefined if there was none. */
function refusal({ status, sense }: ScsiOutcome): readonly number[] | undefined {
  assertEquals(status, sense.length === 0 ? 0 : 2);
  if (sense.length === 0) return undefined;
  assertEquals([sense.length, sense[0], sense[7]], [18, 0x70, 10]);
  return [sense[2]!, sense[12]!, sense[13]!];
}

Deno.test("scsi unit: every form of READ and WRITE reaches the last block, and no further", () => {
  for (const op of [READ_6, READ_10, READ_12, READ_16]) {
    const it = unit();
    const { data } = run(it, transfer(op, 62, 2));
    assertEquals([data.length, data[0], data[512]], [1024, 62, 63]);
    assertEquals(refusal(run(it, transfer(op, 62, 3))), BAD_LBA);
    assertEquals(it.takes(transfer(op, 0, 1)), 0);
  }
  for (const op of [WRITE_6, WRITE_10, WRITE_12, WRITE_16]) {
    const store = disk();
    const it = unit({ disk: store });
    assertEquals(it.takes(transfer(op, 62, 2)), 1024);
    assertEquals(refusal(run(it, transfer(op, 62, 2), new Uint8Array(2000).fill(9))), undefined);
    assertEquals([61 * 512 + 511, 62 * 512, 64 * 512 - 1].map((at) => store.memory[at]), [
      61,
      9,
      9,
    ]);
    assertEquals(it.takes(transfer(op, 62, 3)), 0);
    assertEquals(refusal(run(it, transfer(op, 62, 3), new Uint8Array(1536))), BAD_LBA);
    assertEquals(refusal(it.run(transfer(op, 0, 2), new Uint8Array(1023), 0)), BAD_LIST);
    for (const refuses of [unit({ disk: disk(true) }), unit({ kind: "cdrom" })]) {
      assertEquals(refuses.takes(transfer(op, 0, 1)), 0);
      assertEquals(refusal(run(refuses, transfer(op, 0, 1))), PROTECTED);
    }
  }
});

Deno.test("scsi unit: 0 blocks of the shortest form are 256, and of a large number all bits count", () => {
  const it = unit({ disk: new MemoryDisk(300 * 512) });
  assertEquals(run(it, transfer(READ_6, 0, 0)).data.length, 256 * 512);
  assertEquals(run(it, transfer(READ_10, 0, 0)).data.length, 0);
  assertEquals(refusal(run(it, transfer(READ_16, 2 ** 32, 1))), BAD_LBA);
  // 16 MiB are the most.
  const large = unit({ disk: new MemoryDisk((16 << 20) + 512) });
  assertEquals(run(large, transfer(READ_12, 0, 32768)).data.length, 16 << 20);
  assertEquals(refusal(run(large, transfer(READ_12, 0, 32769))), BAD_CDB);
});

Deno.test("scsi unit: a CD has blocks of 2048 bytes", () => {
  const it = unit({ kind: "cdrom" });
  const { data } = run(it, transfer(READ_10, 15, 1));
  assertEquals([data.length, data[0], data[2047]], [2048, 60, 63]);
  assertEquals(refusal(run(it, transfer(READ_10, 16, 1))), BAD_LBA);
  assertEquals([...run(it, cdb(0x25)).data], [0, 0, 0, 15, 0, 0, 8, 0]);
});

Deno.test("scsi unit: storage is read in whole sectors, as far as the driver has room", () => {
  for (
    const [room, calls] of [
      [2000, ["read 1024 1024"]],
      [1024, ["read 1024 1024"]],
      [700, ["read 1024 512", "read 1536 512"]],
      [3, ["read 1024 0", "read 1024 512"]],
      [0, ["read 1024 0"]],
      [-1, ["read 1024 0"]],
    ] as const
  ) {
    const store = remote();
    const { data, total } = run(unit({ disk: store }), transfer(READ_10, 2, 2), NONE, room);
    const expected = Array.from(
      { length: Math.min(1024, Math.max(0, room)) },
      (_, i) => 2 + (i >> 9),
    );
    assertEquals([store.calls, [...data], total], [[...calls], expected, 1024]);
  }
  const store = remote();
  run(unit({ disk: store }), transfer(WRITE_10, 2, 2), new Uint8Array(1024));
  run(unit({ disk: store }), cdb(0x35));
  run(unit({ disk: store }), cdb(0x91));
  assertEquals(store.calls, ["write 1024 1024", "flush", "flush"]);
});

Deno.test("scsi unit: WRITE SAME repeats a block to its end, or to that of the disk", () => {
  const block = new Uint8Array(512).fill(7);
  const filled = ({ memory }: MemoryDisk, value: number): number[] =>
    Array.from({ length: BLOCKS }, (_, i) => i)
      .filter((i) => memory.subarray(i * 512, i * 512 + 512).every((byte) => byte === value));
  for (const op of [SAME_10, SAME_16]) {
    for (const [first, count, expected] of [[3, 2, [3, 4]], [62, 0, [62, 63]]] as const) {
      const store = disk();
      const { worked, ...outcome } = run(unit({ disk: store }), transfer(op, first, count), block);
      assertEquals([refusal(outcome), worked, filled(store, 7).filter((i) => i !== 7)], [
        ...[undefined, 1024],
        [...expected],
      ]);
    }
    const it = unit();
    assertEquals(it.takes(transfer(op, 0, 5)), 512);
    assertEquals(refusal(run(it, transfer(op, 63, 2), block)), BAD_LBA);
    assertEquals(refusal(run(it, transfer(op, 65, 0), block)), BAD_LBA);
    assertEquals(refusal(it.run(transfer(op, 0, 1), block.subarray(1), 0)), BAD_LIST);
    for (const flag of [2, 4, 0x10]) {
      assertEquals(refusal(run(it, transfer(op, 0, 1, flag), block)), BAD_CDB);
    }
    const refuses = unit({ kind: "cdrom" });
    assertEquals([
      refuses.takes(transfer(op, 0, 1)),
      refusal(run(refuses, transfer(op, 0, 1), block)),
    ], [
      0,
      PROTECTED,
    ]);
  }
  // Without a block, of the long form alone, there are zeroes; a block of zeroes is zeroed, too.
  const store = disk();
  const it = unit({ disk: store });
  assertEquals([it.takes(transfer(SAME_16, 5, 1, 1)), it.takes(transfer(SAME_10, 5, 1, 1))], [
    0,
    512,
  ]);
  assertEquals(run(it, transfer(SAME_16, 5, 2, 1)).worked, 1024);
  assertEquals(filled(store, 0), [0, 5, 6]);
  const far = remote();
  run(unit({ disk: far }), transfer(SAME_10, 2, 3), new Uint8Array(512));
  run(
    unit({ disk: far }),
    transfer(SAME_10, 2, 3),
    Uint8Array.from({ length: 512 }, (_, i) => i >> 8),
  );
  assertEquals(far.calls, ["zero 1024 1536", "write 1024 1536"]);
});

/** The list of an UNMAP: ranges of blocks. */
function list(ranges: readonly (readonly [block: number, count: number])[]): Uint8Array {
  const bytes = new Uint8Array(8 + 16 * ranges.length);
  const view = new DataView(bytes.buffer);
  view.setUint16(2, 16 * ranges.length);
  ranges.forEach(([block, count], i) => {
    view.setBigUint64(8 + 16 * i, BigInt(block));
    view.setUint32(16 + 16 * i, count);
  });
  return bytes;
}

Deno.test("scsi unit: UNMAP takes up to 255 ranges and 65536 blocks, or changes nothing", () => {
  const store = remote();
  const it = unit({ disk: Object.assign(store, { size: 2 ** 30 }) });
  const unmap = (bytes: Uint8Array, said = bytes.length): ScsiOutcome =>
    run(it, cdb(UNMAP, 0, 0, 0, 0, 0, 0, said >> 8, said & 255), bytes);
  const ranges = (count: number) => Array.from({ length: count }, () => [1, 1] as const);
  assertEquals(unmap(list([[3, 2], [2 ** 21 - 1, 1]])).worked, 1536);
  assertEquals(store.calls.splice(0), ["zero 1536 1024", `zero ${(2 ** 21 - 1) * 512} 512`]);
  assertEquals(refusal(unmap(list(ranges(255)))), undefined);
  assertEquals(refusal(unmap(list([[0, 65536]]))), undefined);
  assertEquals(store.calls.splice(0).length, 256);
  assertEquals(refusal(unmap(list(ranges(256)))), BAD_PARAMETER);
  assertEquals(refusal(unmap(list([[0, 65536], [0, 1]]))), BAD_PARAMETER);
  assertEquals(refusal(unmap(list([[0, 1], [2 ** 21 - 1, 2]]))), BAD_LBA);
  assertEquals(refusal(unmap(list([[2 ** 32, 1]]))), BAD_LBA);
  assertEquals(refusal(unmap(list([]).subarray(0, 7))), BAD_LIST);
  assertEquals(store.calls, []);
  // A list that is cut off, by its own length or the command's, has its whole ranges.
  const cut = list([[1, 1], [2, 1]]);
  cut[3] = 31;
  assertEquals([unmap(cut).worked, unmap(list([[1, 1], [2, 1]]), 8 + 16 + 15).worked], [512, 512]);
  assertEquals(unmap(list([])).worked, 0);
  assertEquals(
    refusal(run(unit({ kind: "cdrom" }), cdb(UNMAP, 0, 0, 0, 0, 0, 0, 0, 8), list([]))),
    PROTECTED,
  );
});

Deno.test("scsi unit: what it is, in as many bytes as the driver asked for", () => {
  const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
  const disks = unit({ serial: "S 1" });
  const cds = unit({ kind: "cdrom" });
  for (
    const [it, type, removable, product] of [[disks, 0, 0, "HARDDISK"], [
      cds,
      5,
      128,
      "CD-ROM",
    ]] as const
  ) {
    const { data } = run(it, cdb(0x12, 0, 0, 0, 255));
    assertEquals([...data.subarray(0, 8)], [type, removable, 5, 2, 31, 0, 0, 0]);
    assertEquals(text(data.subarray(8)), `VIREO   ${product.padEnd(16)}1.0 `);
    assertEquals(run(it, cdb(0x12, 0, 0, 0, 5)).data.length, 5);
    assertEquals(run(it, cdb(0x12, 0, 0, 1, 0)).data.length, 36);
  }
  const page = (
    it: ScsiDisk,
    number: number,
    room = 255,
  ): number[] => [...run(it, cdb(0x12, 1, number, 0, room)).data];
  assertEquals(page(disks, 0), [0, 0, 0, 4, 0, 0x80, 0xb0, 0xb2]);
  assertEquals(page(cds, 0, 3), [5, 0, 0]);
  assertEquals(page(disks, 0x80), [0, 0x80, 0, 3, ...new TextEncoder().encode("S 1")]);
  assertEquals(page(cds, 0x80), [5, 0x80, 0, 0]);
  const limits = new DataView(Uint8Array.from(page(disks, 0xb0)).buffer);
  assertEquals(
    [limits.byteLength, limits.getUint16(2), limits.getUint32(20), limits.getUint32(24)],
    [
      ...[64, 60],
      ...[65536, 255],
    ],
  );
  assertEquals(limits.getBigUint64(36), 32768n);
  assertEquals(page(disks, 0xb2), [0, 0xb2, 0, 4, 0, 0x84, 2, 0]);
  assertEquals(refusal(run(disks, cdb(0x12, 1, 0x81, 0, 255))), BAD_CDB);
  assertEquals(refusal(run(disks, cdb(0x12, 0, 1, 0, 255))), BAD_CDB);
});

Deno.test("scsi unit: its capacity, protection and sense, and what is no command", () => {
  const it = unit();
  assertEquals([...run(it, cdb(0x25)).data], [0, 0, 0, 63, 0, 0, 2, 0]);
  const long = run(it, cdb(0x9e, 0x10)).data;
  assertEquals([long.length, long[7], long[10], long[14]], [32, 63, 2, 0xc0]);
  assertEquals(refusal(run(it, cdb(0x9e, 0x11))), BAD_CDB);
  const huge = unit({ disk: Object.assign(remote(), { size: 2 ** 42 }) });
  assertEquals([...run(huge, cdb(0x25)).data], [255, 255, 255, 255, 0, 0, 2, 0]);
  for (
    const [one, bit] of [[it, 0], [unit({ disk: disk(true) }), 0x80], [
      unit({ kind: "cdrom" }),
      0x80,
    ]] as const
  ) {
    assertEquals([...run(one, cdb(0x1a, 0, 0, 0, 3)).data], [3, 0, bit]);
    assertEquals([...run(one, cdb(0x5a, 0, 0, 0, 0, 0, 0, 0, 255)).data], [
      0,
      6,
      0,
      bit,
      0,
      0,
      0,
      0,
    ]);
  }
  assertEquals(run(it, cdb(0x03, 0, 0, 0, 8)).data.length, 8);
  for (const op of [0x00, 0x1b]) assertEquals(refusal(run(it, cdb(op))), undefined);
  assertEquals(refusal(run(it, cdb(0xff))), NO_COMMAND);
  assertEquals(it.takes(cdb(0xff)), 0);
});

Deno.test("scsi unit: attention comes once, with the next command that reports it", () => {
  const it = unit();
  it.attend(0x29);
  for (const op of [0x12, 0xa0, 0x03]) run(it, cdb(op, 0, 0, 0, 255));
  assertEquals(refusal(run(it, transfer(READ_10, 0, 1))), [6, 0x29, 0]);
  assertEquals(refusal(run(it, transfer(READ_10, 0, 1))), undefined);
  assertEquals(it.attention, null);
  it.attend(0x2a, 9);
  const other = unit();
  other.attention = it.attention;
  assertEquals(refusal(run(other, cdb(0))), [6, 0x2a, 9]);
  it.attention = null;
  assertEquals(refusal(run(it, cdb(0))), undefined);
});

Deno.test("scsi unit: a target says what it lacks", () => {
  assertEquals(refusal(missing(cdb(0))), [5, 0x25, 0]);
  assertEquals(refusal(missing(cdb(0x12, 1, 0, 0, 36))), [5, 0x25, 0]);
  assertEquals([...missing(cdb(0x12, 0, 0, 0, 6)).data], [0x7f, 0, 5, 2, 31, 0]);
  assertEquals(missing(cdb(0x12, 0, 0, 1, 0)).data.length, 36);
  const { data } = missing(cdb(0x03, 0, 0, 0, 13));
  assertEquals([data.length, data[2], data[12]], [13, 5, 0x25]);
});
