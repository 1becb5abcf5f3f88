import { assertEquals, assertRejects } from "@std/assert";
import { VireoError } from "@vireo/hal";
import type { ScsiHost, ScsiResult, ScsiTask } from "./host.ts";
import { ScsiUnit } from "./unit.ts";

/** A unit of 512-byte blocks whose answers a test gives, and the commands that it was sent. */
function rig(
  answer: (cdb: Uint8Array, task: ScsiTask) => Uint8Array | undefined = () => undefined,
  maxBytes = 1 << 22,
) {
  const commands: string[] = [];
  const data = ({ cdb, read = 0 }: ScsiTask): Uint8Array => new Uint8Array(read).fill(cdb[0]!);
  const host = {
    name: "virtio0",
    maxBytes,
    data: (task: ScsiTask) => {
      const cdb = Uint8Array.from(task.cdb);
      const bytes = answer(cdb, task);
      if (bytes !== undefined) return Promise.resolve(bytes);
      // READ CAPACITY (10): the last block, and the size of one.
      if (cdb[0] === 0x25) return Promise.resolve(Uint8Array.of(0, 0, 0xff, 0xff, 0, 0, 2, 0));
      commands.push([...cdb].map((byte) => byte.toString(16).padStart(2, "0")).join(" "));
      return Promise.resolve(data(task));
    },
  };
  return { unit: new ScsiUnit(host as unknown as ScsiHost, 3, 300), commands };
}

Deno.test("scsi unit: transfers are named in the form that was asked for, or the shortest that fits", async () => {
  const over = 2 ** 32;
  const cases = [
    [{}, 1, 2, "28 00 00 00 00 01 00 00 02 00"],
    [{}, over - 2, 2, "28 00 ff ff ff fe 00 00 02 00"],
    [{}, over - 1, 2, "88 00 00 00 00 00 ff ff ff ff 00 00 00 02 00 00"],
    [{}, 2 ** 53 - 3, 2, "88 00 00 1f ff ff ff ff ff fd 00 00 00 02 00 00"],
    [{ form: 6 }, 0x12345, 255, "08 01 23 45 ff 00"],
    // Of the shortest form 0 is 256.
    [{ form: 6 }, 2 ** 21 - 256, 256, "08 1f ff 00 00 00"],
    [{ form: 10 }, 3, 0x123, "28 00 00 00 00 03 00 01 23 00"],
    [{ form: 12 }, 3, 0x123, "a8 00 00 00 00 03 00 00 01 23 00 00"],
    [{ form: 16 }, 3, 0x123, "88 00 00 00 00 00 00 00 00 03 00 00 01 23 00 00"],
    [{ form: 6 }, 2 ** 21 - 255, 256, undefined],
    [{ form: 6 }, 0, 257, undefined],
    [{ form: 10 }, over - 1, 2, undefined],
    [{ form: 12 }, over - 1, 2, undefined],
    [{}, -1, 1, undefined],
    [{}, 0, -1, undefined],
    [{}, 0.5, 1, undefined],
    [{}, 0, 1.5, undefined],
    [{}, 2 ** 53 - 1, 1, undefined],
  ] as const;
  for (const [options, block, count, cdb] of cases) {
    const { unit, commands } = rig();
    const read = () => unit.read(block, count, options);
    if (cdb === undefined) {
      await assertRejects(read, RangeError);
      assertEquals(commands, []);
      continue;
    }
    assertEquals([(await read()).length, commands], [count * 512, [cdb]]);
    await unit.write(block, new Uint8Array(count * 512), options);
    // Opcodes of writes are two above those of reads.
    assertEquals(commands[1], (parseInt(cdb, 16) + 2).toString(16).padStart(2, "0") + cdb.slice(2));
  }
});

Deno.test("scsi unit: long transfers are several commands of what the host takes, at most 1024 blocks", async () => {
  for (
    const [maxBytes, count, parts] of [
      [1 << 22, 1024, [1024]],
      [1 << 22, 1025, [1024, 1]],
      [10 * 512 + 511, 25, [10, 10, 5]],
      [1 << 22, 0, []],
    ] as const
  ) {
    const { unit, commands } = rig((cdb) => {
      if (cdb[0] !== 0x28) return undefined;
      commands.push(`${cdb[0]} ${cdb[4]! << 8 | cdb[5]!} ${cdb[7]! << 8 | cdb[8]!}`);
      const blocks = cdb[7]! << 8 | cdb[8]!;
      return new Uint8Array(blocks * 512).fill(1 + (cdb[5]! >> 1));
    }, maxBytes);
    const bytes = await unit.read(0, count);
    let at = 0;
    assertEquals(commands, parts.map((part) => `40 ${(at += part) - part} ${part}`));
    // Each part is where it belongs.
    at = 0;
    for (const part of parts) {
      assertEquals(bytes[at * 512], 1 + ((at & 0xff) >> 1));
      assertEquals(bytes[(at += part) * 512 - 1], 1 + (((at - part) & 0xff) >> 1));
    }
    const sent: Uint8Array[] = [];
    const writer = rig((cdb, { write }) => {
      if (cdb[0] === 0x2a) sent.push(write!);
      return undefined;
    }, maxBytes);
    const data = new Uint8Array(count * 512).map((_, i) => i >> 9);
    await writer.unit.write(0, data);
    assertEquals(sent.map(({ length }) => length / 512), [...parts]);
    assertEquals(
      sent.map((part) => part[0]),
      parts.map((_, i) => parts.slice(0, i).reduce<number>((sum, part) => sum + part, 0) & 0xff),
    );
  }
});

Deno.test("scsi unit: a failed part is thrown when no other is under way", async () => {
  const ends: (() => void)[] = [];
  const { unit } = rig((cdb) => {
    if (cdb[0] !== 0x28) return undefined;
    const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>();
    ends.push(
      ends.length === 0 ? () => reject(new Error("bad")) : () => resolve(new Uint8Array(512)),
    );
    return promise as unknown as Uint8Array;
  }, 512);
  let settled = false;
  const failed = assertRejects(() => unit.read(0, 2), Error, "bad").then(() => settled = true);
  await new Promise((resolve) => setTimeout(resolve));
  ends[0]!();
  await new Promise((resolve) => setTimeout(resolve));
  assertEquals(settled, false);
  ends[1]!();
  await failed;
});

Deno.test("scsi unit: it is ready once it takes the question, which attentions delay twice at most", async () => {
  const GOOD = [0, undefined];
  const ATTENTION = [2, 6];
  const NOT_READY = [2, 2];
  const BUSY = [8, undefined];
  for (
    const [answers, expected, asked] of [
      [[GOOD], true, 1],
      [[NOT_READY, GOOD], false, 1],
      [[BUSY, GOOD], false, 1],
      [[ATTENTION, ATTENTION, GOOD], true, 3],
      [[ATTENTION, NOT_READY], false, 2],
      [[ATTENTION, ATTENTION, ATTENTION, GOOD], false, 3],
    ] as const
  ) {
    let count = 0;
    const command = ({ cdb }: ScsiTask): Promise<Pick<ScsiResult, "status" | "sense">> => {
      assertEquals([...cdb], [0, 0, 0, 0, 0, 0]);
      const [status, key] = answers[count++]!;
      const sense = key === undefined
        ? undefined
        : { key, name: "", asc: 0, ascq: 0, deferred: false };
      return Promise.resolve({ status: status!, sense });
    };
    const unit = new ScsiUnit({ command } as unknown as ScsiHost, 0, 0);
    assertEquals([await unit.ready(), count], [expected, asked]);
  }
});

Deno.test("scsi unit: a size is asked for by the longer command where the shorter cannot say, and checked", async () => {
  const sized = (blocks: readonly number[], size: number) =>
    rig((cdb) => {
      const block = new Uint8Array(cdb[0] === 0x25 ? 8 : 32);
      const out = new DataView(block.buffer);
      if (cdb[0] === 0x25) out.setUint32(0, blocks.length > 1 ? 0xffffffff : blocks[0]!);
      else blocks.forEach((word, i) => out.setUint32(4 * i, word));
      out.setUint32(cdb[0] === 0x25 ? 4 : 8, size);
      return block;
    }, 8192).unit.capacity();
  assertEquals(await sized([0xfffffffe], 512), { blocks: 0xffffffff, blockSize: 512 });
  assertEquals(await sized([0, 0xffffffff], 512), { blocks: 2 ** 32, blockSize: 512 });
  assertEquals(await sized([1, 5], 512), { blocks: 2 ** 32 + 6, blockSize: 512 });
  for (const [size, fits] of [[255, false], [256, true], [8192, true], [8193, false]] as const) {
    if (fits) assertEquals(await sized([1], size), { blocks: 2, blockSize: size });
    else {
      const error = await assertRejects(() => sized([1], size), VireoError);
      assertEquals([error.seen, error.expected], [`${size} bytes`, "256 to 8192 bytes"]);
    }
  }
});

Deno.test("scsi unit: answers that are too short are refused, with what is least", async () => {
  const cut = (opcode: number, length: number) =>
    rig((cdb) => cdb[0] === opcode ? new Uint8Array(length).fill(2) : undefined).unit;
  for (
    const [opcode, least, call] of [
      [0x25, 8, (unit: ScsiUnit) => unit.capacity()],
      [0x28, 1024, (unit: ScsiUnit) => unit.read(0, 2)],
      [0x5a, 8, (unit: ScsiUnit) => unit.writeProtected()],
    ] as const
  ) {
    const error = await assertRejects(() => call(cut(opcode, least - 1)), VireoError);
    assertEquals([error.code, error.seen, error.expected], [
      "BAD_LENGTH",
      `${least - 1} bytes`,
      `at least ${least} bytes`,
    ]);
  }
  for (const [byte, expected] of [[0x80, true], [0x7f, false]] as const) {
    const { unit } = rig((cdb) =>
      cdb[0] === 0x5a ? Uint8Array.of(0, 0, 0, byte, 0, 0, 0, 0) : undefined
    );
    assertEquals(await unit.writeProtected(), expected);
  }
});

Deno.test("scsi unit: blocks are repeated 8192 at a time, and unmapped 255 ranges at a time", async () => {
  const { unit, commands } = rig();
  await unit.writeSame(7, 8193, new Uint8Array(512));
  // A command of 0 blocks would be one of all that are left.
  await unit.writeSame(0, 8192, new Uint8Array(512));
  await unit.writeSame(2 ** 32 - 1, 1, new Uint8Array(512));
  await unit.writeSame(2 ** 32, 1, new Uint8Array(512));
  assertEquals(commands, [
    "41 00 00 00 00 07 00 20 00 00",
    "41 00 00 00 20 07 00 00 01 00",
    "41 00 00 00 00 00 00 20 00 00",
    "41 00 ff ff ff ff 00 00 01 00",
    "93 00 00 00 00 01 00 00 00 00 00 00 00 01 00 00",
  ]);
  await assertRejects(() => unit.writeSame(0, 1, new Uint8Array(511)), RangeError);
  for (const count of [0, 1.5]) {
    await assertRejects(() => unit.writeSame(0, count, new Uint8Array(512)), RangeError);
  }
  const lists: number[][] = [];
  const other = rig((cdb, { write }) => {
    if (cdb[0] === 0x42) {
      lists.push([cdb[7]! << 8 | cdb[8]!, write!.length, ...write!.slice(0, 24)]);
    }
    return undefined;
  });
  await other.unit.unmap(Array.from({ length: 256 }, (_, i) => {
    return { block: 2 ** 32 + i, count: i === 0 ? 2 ** 32 - 1 : 1 };
  }));
  assertEquals(lists, [
    [4088, 4088, 0x0f, 0xf6, 0x0f, 0xf0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 255, 255, 255, 255]
      .concat([0, 0, 0, 0]),
    [24, 24, 0, 22, 0, 16, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 255, 0, 0, 0, 1, 0, 0, 0, 0],
  ]);
  await assertRejects(() => unit.unmap([{ block: 0, count: 2 ** 32 }]), RangeError);
  lists.length = 0;
  await other.unit.unmap([]);
  await other.unit.unmap(Array<{ block: number; count: number }>(255).fill({ block: 0, count: 1 }));
  assertEquals(lists.map(([length]) => length), [4088]);
});
