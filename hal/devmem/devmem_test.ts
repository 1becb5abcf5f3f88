import { assert, assertEquals, assertThrows } from "@std/assert";
import { VireoError } from "@vireo/hal";
import { HUGEPAGE, HugepageDma } from "./dma.ts";
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

/** DMA memory whose hugepages are a buffer's, at these physical addresses, of which as many can be locked. */
function hugepages(frames: readonly number[], lockable = frames.length) {
  const memory = new Uint8Array(frames.length * HUGEPAGE);
  const base = Deno.UnsafePointer.value(Deno.UnsafePointer.of(memory));
  const locked: number[] = [];
  const dma = new HugepageDma(frames.length, {
    vireo_map_huge: () => base,
    vireo_lock: (pointer, length) => {
      if (locked.length === lockable) return -12;
      assertEquals(length, BigInt(HUGEPAGE));
      locked.push(Number(Deno.UnsafePointer.value(pointer) - base) / HUGEPAGE);
      return 0;
    },
    vireo_unmap: () => 0,
  }, (address) => frames[Number(address - base) / HUGEPAGE]!);
  return { dma, locked, memory };
}

Deno.test("HugepageDma takes a hugepage when there is no room in those before, and joins neighbours", () => {
  const [first, second, third] = [4, 8, 10].map((mib) => mib << 20) as [number, number, number];
  const { dma, locked, memory } = hugepages([first, second, third]);
  assertEquals([locked, dma.available], [[0], 3 * HUGEPAGE]);
  const small = dma.alloc(4096, { align: 4096 });
  assertEquals([small.address, locked.length], [first, 1]);
  memory[2 * HUGEPAGE - 1] = memory[2 * HUGEPAGE] = 7;
  const large = dma.alloc(HUGEPAGE + 64);
  assertEquals([large.address, large.bytes.length, locked], [second, HUGEPAGE + 64, [0, 1, 2]]);
  large.bytes.fill(9);
  assertEquals([
    memory[HUGEPAGE],
    memory[2 * HUGEPAGE],
    memory[2 * HUGEPAGE + 63],
    memory[2 * HUGEPAGE + 64],
  ], [
    ...[9, 9, 9, 0],
  ]);
  assertEquals(dma.available, 2 * HUGEPAGE - 4096 - 64);
  const error = assertThrows(() => dma.alloc(HUGEPAGE), VireoError, "contiguous DMA memory");
  assertEquals(error.code, "OUT_OF_MEMORY");
  for (const region of [large, small]) region[Symbol.dispose]();
  assertEquals(dma.available, 3 * HUGEPAGE);
  assertEquals([dma.alloc(2 * HUGEPAGE).address, locked.length], [second, 3]);
  dma[Symbol.dispose]();
});

Deno.test("HugepageDma says so if a hugepage cannot be locked, and what it has goes on", () => {
  const { dma } = hugepages([4 << 20, 8 << 20], 1);
  dma.alloc(64);
  const error = assertThrows(() => dma.alloc(HUGEPAGE), VireoError, "Cannot lock a hugepage");
  assertEquals([error.code, error.message.includes("nr_hugepages")], ["OUT_OF_MEMORY", true]);
  assertEquals(dma.alloc(64).address, (4 << 20) + 64);
  dma[Symbol.dispose]();
});
