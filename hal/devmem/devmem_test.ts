import { assert, assertEquals, assertThrows } from "@std/assert";
import { VireoError } from "@vireo/hal";
import { physicalRuns } from "./dma.ts";
import { errnoError } from "./errno.ts";
import { DevmemPlatform } from "./mod.ts";
import { compileShim } from "./_test_shim.ts";

/** Compiles the shim and makes a file that stands in for physical memory. */
function fixture(): { shim: string; memory: string } & Disposable {
  const dir = Deno.makeTempDirSync();
  const shim = compileShim(dir);
  const memory = `${dir}/memory`;
  Deno.writeFileSync(memory, new Uint8Array(0x4000));
  return { shim, memory, [Symbol.dispose]: () => Deno.removeSync(dir, { recursive: true }) };
}

const SLOT = { base: 0x1200, size: 0x200, irq: 5 };

Deno.test("DevmemPlatform accesses registers at each width, inside a page", async () => {
  using files = fixture();
  await using platform = DevmemPlatform.open({ ...files, slots: [SLOT] });
  const [node] = platform.slots;
  assertEquals([node?.name, node?.irq], ["virtio-mmio@1200", 5]);
  using lease = node!.open();
  const { mmio, interrupt } = lease;
  assertEquals(interrupt.polled, true);
  mmio.write32(0x10, 0xdeadbeef);
  mmio.write16(0x14, 0x1234);
  mmio.write8(0x16, 0xab);
  assertEquals(mmio.read32(0x10), 0xdeadbeef);
  assertEquals(mmio.read16(0x12), 0xdead);
  assertEquals(mmio.read8(0x16), 0xab);
  const bytes = Deno.readFileSync(files.memory);
  assertEquals([...bytes.subarray(0x1210, 0x1218)], [0xef, 0xbe, 0xad, 0xde, 0x34, 0x12, 0xab, 0]);
});

Deno.test("DevmemPlatform checks offsets and values, also when the calls are optimised", async () => {
  using files = fixture();
  await using platform = DevmemPlatform.open({ ...files, slots: [SLOT] });
  using lease = platform.slots[0]!.open();
  const { mmio } = lease;
  for (let i = 0; i < 20_000; i++) mmio.write32(0, mmio.read32(0) + 1);
  assertEquals(mmio.read32(0), 20_000);
  for (const offset of [-4, 2, 0x200, 0x1_0000_0000, 1.5, NaN]) {
    const error = assertThrows(() => mmio.read32(offset), VireoError, "virtio-mmio@1200");
    assertEquals(error.code, "BAD_ACCESS");
  }
  for (const value of [-1, 1.5, 0x1_0000_0000, NaN]) {
    assertThrows(() => mmio.write32(0, value), RangeError, `Cannot write ${value} to a register`);
  }
  assertThrows(() => mmio.write8(0, 0x100), RangeError, "Cannot write 256 to a register");
  assertEquals(mmio.read32(0), 20_000);
});

Deno.test("DevmemPlatform's windows are closed with their lease and with the platform", async () => {
  using files = fixture();
  const platform = DevmemPlatform.open({ ...files, slots: [SLOT] });
  const first = platform.slots[0]!.open();
  first[Symbol.dispose]();
  assertThrows(() => first.mmio.read32(0), VireoError, "closed");
  const second = platform.slots[0]!.open();
  using view = platform.openMemory(0x2000, 0x100);
  view.bytes[0] = 7;
  assertEquals(Deno.readFileSync(files.memory)[0x2000], 7);
  await platform[Symbol.asyncDispose]();
  assertThrows(() => second.mmio.write32(0, 1), VireoError, "closed");
  assertEquals(view.bytes.length, 0, "a view of memory that is unmapped must be empty");
  assertThrows(() => platform.openMemory(0, 1), VireoError, "closed");
});

Deno.test("DevmemPlatform says which file is missing and what to do", () => {
  using files = fixture();
  const open = (options: Record<string, string>) => () =>
    DevmemPlatform.open({ slots: [], ...options });
  const shim = assertThrows(open({ shim: "/nowhere.so" }), VireoError, "shim.c");
  assertEquals(shim.code, "HOST_ERROR");
  const memory = open({ shim: files.shim, memory: "/nowhere" });
  assertThrows(memory, VireoError, "ENOENT (the kernel has no /dev/mem");
});

Deno.test("errnoError names the error and the remedy", () => {
  const denied = errnoError("map", "Cannot map", 1, "virtio-mmio@a000000", "BAD_ACCESS");
  assertEquals(denied.code, "BAD_ACCESS");
  assert(denied.message.includes("EPERM (the kernel protects the range (STRICT_DEVMEM)"));
  const few = errnoError("hugepages", "Cannot map", 12, "hugepages", "OUT_OF_MEMORY");
  assert(few.message.includes("nr_hugepages"));
  assert(errnoError("open", "Cannot open", 99, "x").message.includes("errno 99"));
});

Deno.test("physicalRuns joins hugepages whose physical addresses follow one another", () => {
  const mib = 0x10_0000;
  assertEquals(physicalRuns([8 * mib, 10 * mib, 4 * mib, 6 * mib, 20 * mib]), [
    { physical: 8 * mib, offset: 0, size: 4 * mib },
    { physical: 4 * mib, offset: 4 * mib, size: 4 * mib },
    { physical: 20 * mib, offset: 8 * mib, size: 2 * mib },
  ]);
});
