import { assert, assertEquals, assertThrows } from "@std/assert";
import { VireoError } from "@vireo/hal";
import fc from "fast-check";
import { barOf, endpoint, FakeConfig, isWide, sizeOf } from "./fake_pci_test_util.ts";
import { pciCapabilities, readBars } from "./mod.ts";

Deno.test("readBars reads kinds, addresses and sizes, and leaves all as it was", () => {
  fc.assert(
    fc.property(
      fc.array(barOf(fc.integer({ min: 0, max: 7 })), { maxLength: 6 }),
      fc.integer({ min: 0, max: 7 }),
      (wanted, command) => {
        const { config, bars } = endpoint(wanted);
        config.write16(4, command);
        const before = config.view.buffer.slice(0);
        const found = readBars(config);
        assertEquals(
          found.map(({ index, space, address, size, wide, prefetchable }) => {
            return { index, space, address, size, wide, prefetchable };
          }),
          bars.map((bar) => ({
            index: bar.index,
            space: bar.kind === "io" ? "io" : "memory",
            address: bar.unit * sizeOf(bar),
            size: sizeOf(bar),
            wide: isWide(bar),
            prefetchable: bar.kind === "prefetchable",
          })),
        );
        assertEquals(new Uint8Array(config.view.buffer), new Uint8Array(before));
      },
    ),
    { seed: 42, numRuns: 300 },
  );
});

Deno.test("readBars takes sizes over 4 GiB and refuses addresses over 2^53", () => {
  const { config } = endpoint([{ kind: "wide", bits: 34, unit: 3 }]);
  assertEquals(readBars(config)[0]?.size, 2 ** 34);
  assertEquals(readBars(config)[0]?.address, 3 * 2 ** 34);
  const far = endpoint([{ kind: "wide", bits: 34, unit: 2 ** 22 }]);
  const error = assertThrows(() => readBars(far.config), VireoError, "must end below 2^53");
  assertEquals(error.code, "CONFIG_INVALID");
});

Deno.test("pciCapabilities ends on any configuration space and stays inside", () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 256, maxLength: 256 }), (bytes) => {
      const config = new FakeConfig();
      bytes.forEach((byte, i) => config.view.setUint8(i, byte));
      config.view.setUint8(6, 0x10);
      const found = pciCapabilities(config);
      assert(found.length <= 48);
      for (const { id, offset } of found) {
        assert(offset >= 0x40 && offset < 0x100 && offset % 4 === 0);
        assertEquals(id, bytes[offset]);
      }
      assertEquals(config.writes, 0);
    }),
    { seed: 42, numRuns: 300 },
  );
});

Deno.test("pciCapabilities lists in order, filters by id, and needs the status bit", () => {
  const config = new FakeConfig();
  config.view.setUint8(0x34, 0x83); // the low two bits are reserved
  config.view.setUint16(0x80, 0x4009, true);
  config.view.setUint16(0x40, 0x9011, true);
  config.view.setUint16(0x90, 0x0009, true);
  assertEquals(pciCapabilities(config), []);
  config.view.setUint8(6, 0x10);
  assertEquals(pciCapabilities(config), [
    { id: 9, offset: 0x80 },
    { id: 0x11, offset: 0x40 },
    { id: 9, offset: 0x90 },
  ]);
  assertEquals(pciCapabilities(config, 0x11), [{ id: 0x11, offset: 0x40 }]);
  config.view.setUint8(0x91, 0x80); // a loop
  assertEquals(pciCapabilities(config, 9).length, 32);
});

/** A function of a header type, each of whose registers up to 0x3f decodes 4096 bytes. */
function ofType(header: number): FakeConfig {
  const config = new FakeConfig();
  config.view.setUint8(0x0e, header);
  for (let at = 0x10; at < 0x40; at += 4) config.mask.setUint32(at, 0xffff_f000, true);
  return config;
}

Deno.test("readBars looks at the registers that the type of the header has, and at no others", () => {
  for (
    const [header, count] of [[0, 6], [0x80, 6], [1, 2], [0x81, 2], [2, 0], [0x7f, 0]] as const
  ) {
    const config = ofType(header);
    const written = new Set<number>();
    config.write32 = (at, value) => {
      written.add(at);
      FakeConfig.prototype.write32.call(config, at, value);
    };
    const indices = Array.from({ length: count }, (_, index) => index);
    assertEquals(readBars(config).map(({ index }) => index), indices, `type ${header}`);
    assertEquals([...written], indices.map((index) => 0x10 + 4 * index), `type ${header}`);
  }
});

Deno.test("readBars takes the last register of a header as one of 32 bits, whatever its type says", () => {
  for (const [header, last] of [[0, 5], [1, 1]] as const) {
    const config = ofType(header);
    const at = 0x10 + 4 * last;
    config.view.setUint32(at, 0x7000_0004, true);
    config.view.setUint32(at + 4, 0x1234, true);
    const { index, wide, address, size } = readBars(config).at(-1)!;
    assertEquals([index, wide, address, size], [last, false, 0x7000_0000, 4096]);
    // One before it is followed by a register, which is its upper half.
    config.view.setUint32(at - 4, 0x7000_0004, true);
    config.view.setUint32(at, 2, true);
    const before = readBars(config).at(-1)!;
    assertEquals([before.index, before.wide, before.address], [last - 1, true, 0x2_7000_0000]);
  }
});

Deno.test("readBars leaves out what decodes nothing, and goes on behind both of its halves", () => {
  const { config } = endpoint([
    { kind: "wide", bits: 12, unit: 0 },
    { kind: "memory", bits: 12, unit: 3 },
  ]);
  // It says that it has 64 bits, and no bit of an address can be set.
  for (const at of [0x10, 0x14]) config.mask.setUint32(at, 0, true);
  assertEquals(readBars(config).map(({ index, address }) => [index, address]), [[2, 0x3000]]);
});

Deno.test("readBars takes a range that ends below 2^53, and none that ends there", () => {
  const size = 2 ** 34;
  const last = 2 ** 53 / size - 1;
  const below = endpoint([{ kind: "wide", bits: 34, unit: last - 1 }]);
  assertEquals(readBars(below.config)[0]!.address, 2 ** 53 - 2 * size);
  const at = endpoint([{ kind: "wide", bits: 34, unit: last }]);
  const { seen, message } = assertThrows(() => readBars(at.config), VireoError);
  assertEquals(seen, 2 ** 53 - size);
  assert(message.includes("BAR0"), message);
});

Deno.test("readBars switches decoding off before it writes to a register, and on behind the last", () => {
  const { config } = endpoint([
    { kind: "memory", bits: 12, unit: 1 },
    { kind: "io", bits: 5, unit: 1 },
  ]);
  config.write16(4, 7);
  const seen: number[] = [];
  config.write32 = (at, value) => {
    seen.push(config.read16(4));
    FakeConfig.prototype.write32.call(config, at, value);
  };
  readBars(config);
  // Twice for each of six registers; bus mastering stays.
  assertEquals(seen, Array(12).fill(4));
  assertEquals(config.read16(4), 7);
});
