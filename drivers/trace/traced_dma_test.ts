import { assertEquals } from "@std/assert";
import { TestDma } from "../testing/dma.ts";
import { CountedDma, TracedDma } from "./traced_dma.ts";

Deno.test("traced dma: memory is found by its address, as long as it is there and whole", () => {
  const dma = new TracedDma(new TestDma({ base: 0x1000 }));
  const [first, second, third] = [64, 16, 32].map((size) => dma.alloc(size));
  second!.bytes[3] = 7;
  const found = (address: number, length: number): number | undefined =>
    dma.find(address, length)?.length;
  assertEquals([found(0x1000, 64), found(0x103f, 1), found(0x1000, 0)], [64, 1, 0]);
  // A region does not go on in the next one.
  assertEquals([found(0x1000, 65), found(0x103f, 2), found(0xfff, 1)], [
    undefined,
    undefined,
    undefined,
  ]);
  assertEquals([...dma.find(0x1043, 2)!], [7, 0]);
  assertEquals([found(0x1050, 32), found(0x1050, 33), found(0x1070, 1)], [
    32,
    undefined,
    undefined,
  ]);
  // Each may go, the first one too, and go twice.
  first![Symbol.dispose]();
  first![Symbol.dispose]();
  assertEquals([found(0x1000, 1), found(0x1040, 16), found(0x1050, 32)], [undefined, 16, 32]);
  third![Symbol.dispose]();
  assertEquals([found(0x1040, 16), found(0x1050, 1)], [16, undefined]);
  // A window before all others, until it is closed.
  let closed = 0;
  const window = dma.window(0x800, { bytes: new Uint8Array(8), [Symbol.dispose]: () => closed++ });
  assertEquals([found(0x804, 4), found(0x804, 5), found(0x1040, 1)], [4, undefined, 1]);
  window[Symbol.dispose]();
  assertEquals([found(0x804, 4), closed], [undefined, 1]);
});

Deno.test("traced dma: copies of one device's memory are told, and the memory is that of all", () => {
  const dma = new TracedDma(new TestDma());
  const copies: number[] = [];
  const counted = new CountedDma(dma, (bytes) => copies.push(bytes));
  const region = counted.alloc(64);
  region.copied?.(5);
  // How devices take addresses is the machine's.
  const machine = { access: "translated" as const, alloc: () => region };
  assertEquals(new CountedDma(new TracedDma(machine), () => {}).access, "translated");
  assertEquals([copies, counted.memory === dma, dma.find(region.address, 64)?.length], [
    [5],
    true,
    64,
  ]);
});
