import { assertEquals, assertThrows } from "@std/assert";
import { joinBytes, VireoError } from "@vireo/hal";
import { RecordKind, RecordReader, RecordWriter } from "./format.ts";

const HEADER = { platform: "emu", nodes: [], program: 1 };

/** The bytes of a recording, in one. */
function recorded(write: (writer: RecordWriter) => void): Uint8Array<ArrayBuffer> {
  const parts: Uint8Array[] = [];
  const writer = new RecordWriter((bytes) => parts.push(bytes.slice()), HEADER);
  write(writer);
  writer.close();
  return joinBytes(...parts);
}

/** What a record says, as far as its kind has it. */
function fields(reader: RecordReader): unknown[] {
  const { kind, a, b, c, d, elements } = reader;
  switch (kind) {
    case RecordKind.ADD:
      return [kind, a, b, c, d, ...elements];
    case RecordKind.MEMORY:
      return [kind, a, b, ...reader.bytes];
    case RecordKind.HOST:
      return [kind, a, ...reader.bytes];
    case RecordKind.META:
    case RecordKind.DIAGNOSIS:
      return [kind, reader.json()];
    case RecordKind.INTERRUPT:
    case RecordKind.KICK:
    case RecordKind.POP:
    case RecordKind.LOOK:
      return [kind, a, b];
    default:
      return [kind, a, b, c];
  }
}

const TWO = [RecordKind.INTERRUPT, RecordKind.KICK, RecordKind.POP, RecordKind.LOOK] as const;
const THREE = [
  RecordKind.READ8,
  RecordKind.READ16,
  RecordKind.READ32,
  RecordKind.WRITE8,
  RecordKind.WRITE16,
  RecordKind.WRITE32,
  RecordKind.ALLOC,
  RecordKind.CALLBACKS,
] as const;
/** A record of each kind, as its fields. */
const RECORDS: readonly (readonly unknown[])[] = [
  ...TWO.map((kind) => [kind, 2, 300]),
  ...THREE.map((kind) => [kind, 1, 2 ** 33, 0xffff_ffff]),
  [RecordKind.MEMORY, 3, 2 ** 33, 1, 2, 3],
  [RecordKind.HOST, 4, 1, 2, 3],
  [RecordKind.ADD, 1, 2, 1, 0xfedc_ba98, 4096, 16, 2 ** 34, 512],
  [RecordKind.META, { op: "messages", node: "x", count: 1, given: null }],
  [RecordKind.DIAGNOSIS, { node: "x", message: null }],
];

function write(writer: RecordWriter, [kind, ...rest]: readonly unknown[]): void {
  if (kind === RecordKind.META || kind === RecordKind.DIAGNOSIS) {
    return writer.json(kind as number, rest[0]);
  }
  const numbers = rest as number[];
  writer.begin(kind as number);
  if (kind === RecordKind.MEMORY || kind === RecordKind.HOST) {
    const before = kind === RecordKind.MEMORY ? 2 : 1;
    for (const value of numbers.slice(0, before)) writer.number(value);
    writer.blob(Uint8Array.from(numbers.slice(before)));
  } else if (kind === RecordKind.ADD) {
    const [ring, token, readable, sum, ...elements] = numbers;
    for (const value of [ring!, token!, readable!, elements.length / 2, ...elements, sum!]) {
      writer.number(value);
    }
  } else for (const value of numbers) writer.number(value);
}

Deno.test("format: records of each kind are read as they were written", () => {
  const reader = new RecordReader(recorded((writer) => {
    for (const record of RECORDS) write(writer, record);
  }));
  assertEquals(reader.header, HEADER);
  const { kind, a, b, c, d, bytes, elements, cut, damaged } = reader;
  assertEquals([kind, a, b, c, d, bytes.length, elements], [0, 0, 0, 0, 0, 0, []]);
  assertEquals([cut, damaged], [false, false]);
  for (const record of RECORDS) assertEquals([reader.next(), ...fields(reader)], [true, ...record]);
  for (let i = 0; i < 2; i++) {
    assertEquals([reader.next(), reader.kind, reader.cut, reader.damaged], [
      false,
      0,
      false,
      false,
    ]);
  }
});

Deno.test("format: a record that is cut anywhere is none, and not damaged", () => {
  for (const record of RECORDS) {
    const whole = recorded((writer) => write(writer, record));
    const start = recorded(() => {}).length - 1;
    for (let length = start; length < whole.length - 1; length++) {
      const reader = new RecordReader(whole.subarray(0, length));
      const seen = [reader.next(), reader.kind, reader.cut, reader.damaged, reader.next()];
      assertEquals([record, length, ...seen], [record, length, false, 0, true, false, false]);
    }
  }
});

Deno.test("format: what is no record ends the recording as damaged", () => {
  const read = (...records: readonly (readonly unknown[])[]): boolean[] => {
    const reader = new RecordReader(recorded((writer) => {
      for (const record of records) write(writer, record);
      write(writer, [RecordKind.POP, 1, 1]);
    }));
    return [reader.next() || reader.next(), reader.cut, reader.damaged];
  };
  assertEquals(read([RecordKind.HOST, 5, 1]), [false, true, true]);
  assertEquals(read([99, 1, 1]), [false, true, true]);
  assertEquals(read([RecordKind.META, { op: "other" }]), [false, true, true]);
  assertEquals(read([RecordKind.DIAGNOSIS, { node: 1 }]), [false, true, true]);
  const text = (payload: string): boolean[] => {
    const reader = new RecordReader(recorded((writer) => {
      writer.begin(RecordKind.META);
      writer.blob(new TextEncoder().encode(payload));
    }));
    return [reader.next(), reader.damaged];
  };
  assertEquals(text("{"), [false, true]);
  // A buffer has 65536 elements at most: more are not read.
  const elements = (count: number): boolean => {
    const reader = new RecordReader(recorded((writer) => {
      writer.begin(RecordKind.ADD);
      for (const value of [0, 0, 0, count]) writer.number(value);
      for (let i = 0; i < 2 * count + 1; i++) writer.number(0);
    }));
    return reader.next();
  };
  assertEquals([65536, 65537].map(elements), [true, false]);
});

Deno.test("format: numbers of up to 53 bits keep their value, in as few bytes as they need", () => {
  const least = recorded((writer) => write(writer, [RecordKind.POP, 0, 0])).length;
  for (
    const [value, more] of [
      [127, 0],
      [128, 1],
      [2 ** 14 - 1, 1],
      [2 ** 14, 2],
      [2 ** 28 - 1, 3],
      [2 ** 28, 4],
      [0x7fff_ffff, 4],
      [0x8000_0000, 4],
      [0xffff_ffff, 4],
      [2 ** 35 - 1, 4],
      [2 ** 35, 5],
      [Number.MAX_SAFE_INTEGER, 7],
    ] as const
  ) {
    const bytes = recorded((writer) => write(writer, [RecordKind.POP, value, 5]));
    const reader = new RecordReader(bytes);
    reader.next();
    assertEquals([reader.a, reader.b, bytes.length - least], [value, 5, more]);
  }
});

Deno.test("format: a number ends with its ninth byte, whatever that says", () => {
  const read = (last: number): number[] => {
    const reader = new RecordReader(recorded((writer) => {
      writer.begin(RecordKind.POP);
      for (let i = 0; i < 8; i++) writer.begin(0x80);
      writer.begin(last);
      writer.number(5);
    }));
    reader.next();
    return [reader.a, reader.b];
  };
  assertEquals([read(0x80), read(1)], [[0, 5], [2 ** 56, 5]]);
});

Deno.test("format: records of any length are kept whole, also what is held back and dropped", () => {
  const large = new Uint8Array(300_000).fill(7);
  const reader = new RecordReader(recorded((writer) => {
    for (let i = 0; i < 3; i++) {
      writer.begin(RecordKind.MEMORY);
      writer.number(i);
      writer.number(0);
      writer.blob(large);
    }
    // Nothing is handed out while records are held back, be it that nothing was kept before.
    writer.flush();
    writer.hold();
    for (let i = 0; i < 40_000; i++) write(writer, [RecordKind.LOOK, 1, 0]);
    writer.flush();
    writer.drop();
    // A buffer of many elements.
    write(writer, [RecordKind.ADD, 1, 2, 0, 3, ...new Array(100_000).fill(2 ** 40)]);
    write(writer, [RecordKind.POP, 1, 2]);
  }));
  for (let i = 0; i < 3; i++) {
    assertEquals([reader.next(), reader.a, reader.bytes.length], [true, i, 300_000]);
  }
  assertEquals([reader.next(), reader.elements.length, reader.d], [true, 100_000, 3]);
  assertEquals([reader.next(), ...fields(reader)], [true, RecordKind.POP, 1, 2]);
  assertEquals([reader.next(), reader.cut], [false, false]);
});

Deno.test("format: what is kept is handed out at the end of the turn, and nothing after the end", async () => {
  const parts: number[] = [];
  const writer = new RecordWriter((bytes) => parts.push(bytes.length), HEADER);
  const before = parts.length;
  write(writer, [RecordKind.POP, 1, 2]);
  write(writer, [RecordKind.POP, 1, 2]);
  assertEquals(parts.length, before);
  await new Promise((resolve) => setTimeout(resolve, 5));
  assertEquals(parts.slice(before), [6]);
  write(writer, [RecordKind.POP, 1, 2]);
  writer.close();
  writer.close();
  writer.flush();
  assertEquals(parts.slice(before), [6, 4]);
});

Deno.test("format: what is no recording is refused, and a header that is not whole", () => {
  const whole = recorded(() => {});
  const at = (index: number, value: number): Uint8Array => whole.with(index, value);
  const no = "Cannot replay the file: it must be a recording";
  for (const bytes of [whole.subarray(0, 15), at(0, 0), at(7, 0)]) {
    const error = assertThrows(() => new RecordReader(bytes), VireoError, no);
    assertEquals(error.code, "BAD_MESSAGE");
  }
  assertThrows(() => new RecordReader(at(8, 2)), VireoError, "of this version: saw 2, expected 1");
  const broken = "Cannot read the header of the recording";
  // The header ends before END, a byte before its end.
  const end = whole.length - 1;
  assertEquals(new RecordReader(whole.subarray(0, end)).next(), false);
  for (
    const bytes of [whole.subarray(0, 16), whole.subarray(0, end - 1), at(16, 0x5b), at(12, 2)]
  ) {
    assertEquals(
      assertThrows(() => new RecordReader(bytes), VireoError, broken).code,
      "BAD_MESSAGE",
    );
  }
});
