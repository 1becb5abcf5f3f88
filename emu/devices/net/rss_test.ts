// The commands that configure hashes, by their bytes; numbers are typed again from virtio 1.4 §5.1.6.5.6 and .7.
import { assertEquals } from "@std/assert";
import { ArrayChain } from "../../testing/fake_chain.ts";
import { Rss, RSS_MAX_TABLE } from "./rss.ts";

const NONE = new Uint8Array(0);
const PAIRS = 4;

function le16(...values: number[]): number[] {
  return values.flatMap((value) => [value & 0xff, value >> 8]);
}

const chain = (bytes: readonly number[]): ArrayChain =>
  new ArrayChain(Uint8Array.from(bytes), NONE);

interface Said {
  readonly types?: number;
  readonly mask?: number;
  readonly unclassified?: number;
  readonly table?: readonly number[];
  readonly transmit?: number;
  readonly key?: readonly number[];
  /** Length of the key that it says, if it is another. */
  readonly length?: number;
}

/** Data of RSS_CONFIG. */
function rss({ types = 1, table = [0, 1], transmit = 1, key = [9], ...more }: Said): ArrayChain {
  const { mask = table.length - 1, unclassified = 0, length = key.length } = more;
  return chain([
    ...[...le16(types, types >>> 16), ...le16(mask, unclassified, ...table, transmit)],
    ...[length, ...key],
  ]);
}

Deno.test("net rss: a table has a power of two of entries, queues of the device, and just its key", () => {
  const many = (count: number): number[] => Array<number>(count).fill(3);
  for (
    const [said, expected] of [
      [{}, 1],
      [{ transmit: PAIRS }, PAIRS],
      [{ transmit: 0 }, undefined],
      [{ transmit: PAIRS + 1 }, undefined],
      [{ table: [0] }, 1],
      [{ table: [0, 1, 2] }, undefined],
      [{ table: [3, 3, 3, 3] }, 1],
      [{ table: [3, 3, 3, PAIRS] }, undefined],
      [{ table: many(RSS_MAX_TABLE) }, 1],
      [{ table: many(2 * RSS_MAX_TABLE) }, undefined],
      // The highest bit is reserved, of the table and of the queue for others.
      [{ table: [0x8003, 0] }, 1],
      [{ unclassified: 0x8003 }, 1],
      [{ unclassified: 3 }, 1],
      [{ unclassified: PAIRS }, undefined],
      [{ types: 0x1ff }, 1],
      [{ types: 0x200 }, undefined],
      [{ types: 0, key: [] }, 1],
      [{ types: 1, key: [] }, undefined],
      [{ key: Array<number>(40).fill(1) }, 1],
      [{ key: Array<number>(41).fill(1) }, undefined],
      [{ key: [1, 2], length: 1 }, undefined],
      [{ key: [1, 2], length: 3 }, undefined],
      // A table that is cut short by its end, or by the word and the length behind it.
      [{ mask: 3 }, undefined],
    ] as const
  ) {
    const it = new Rss();
    assertEquals(it.configure(rss(said), PAIRS), expected, Deno.inspect(said));
    assertEquals(it.steers, expected !== undefined, "nothing changed");
  }
  const { readable } = rss({ types: 0, key: [] });
  for (let length = 0; length <= readable.length; length++) {
    const cut = chain([...readable.subarray(0, length)]);
    assertEquals(new Rss().configure(cut, PAIRS), length === readable.length ? 1 : undefined);
  }
});

Deno.test("net rss: hashes alone have eight reserved bytes, and steer nothing", () => {
  const config = (types: number, key: readonly number[], length = key.length): ArrayChain =>
    chain([...le16(types, 0), ...[1, 2, 3, 4, 5, 6, 7, 8], length, ...key]);
  for (
    const [types, key, fits] of [
      [0, [], true],
      [1, [], false],
      [1, [5], true],
      [0x200, [5], false],
    ] as const
  ) {
    const it = new Rss();
    it.configure(rss({}), PAIRS);
    assertEquals(it.configureHash(config(types, key)), fits);
    assertEquals(it.steers, !fits);
    if (fits) {
      assertEquals(it.snapshot(), { types, key: [...key], table: [], unclassified: 0 });
      const other = new Rss();
      other.restore(it.snapshot());
      assertEquals(other.snapshot(), it.snapshot());
    }
  }
  const { readable } = config(0, []);
  for (let length = 0; length <= readable.length; length++) {
    const cut = chain([...readable.subarray(0, length)]);
    assertEquals(new Rss().configureHash(cut), length === readable.length);
  }
});

Deno.test("net rss: the queues that may be chosen reach up to the highest that was named", () => {
  const it = new Rss();
  assertEquals([it.receivers(2), it.receivers(PAIRS)], [2, PAIRS]);
  for (
    const [said, receivers] of [
      [{ table: [0, 0] }, 1],
      [{ table: [2, 1] }, 3],
      [{ table: [0, 1], unclassified: 3 }, 4],
    ] as const
  ) {
    it.configure(rss(said), PAIRS);
    assertEquals(it.receivers(1), receivers);
  }
  // A frame without a hash has the queue that was named for it.
  it.hash.calculate(new Uint8Array(60), 0, 60);
  assertEquals(it.choose(), 3);
  it.reset();
  assertEquals([it.steers, it.receivers(2), it.choose()], [false, 2, 0]);
});
