import { assertEquals } from "@std/assert";
import type { Mmio, MmioNode, PciNode } from "@vireo/hal";
import { watchNode } from "./window.ts";

/** A window whose reads give the offset, and what was written to it. */
function windowOf(name: string, written: string[]): Mmio {
  const write = (offset: number, value: number): void => void written.push(`${offset} ${value}`);
  return {
    name,
    size: 0x4000,
    read8: (offset) => offset,
    read16: (offset) => offset,
    read32: (offset) => offset,
    write8: write,
    write16: write,
    write32: write,
  };
}

/** What a watcher sees of the accesses of a node. */
function watched(node: Partial<MmioNode | PciNode>) {
  const seen: string[] = [];
  let opened = 0;
  const made = watchNode(node as MmioNode | PciNode, {
    opened: () => opened++,
    read: ({ name, offset, width }, value) => {
      seen.push(`r${width} ${name}`);
      return value === offset ? -1 : 0;
    },
    write: ({ name, width }, value, forward) => {
      seen.push(`w${width} ${name}`);
      if (value !== 1) forward(value === 2 ? undefined : 99);
    },
  });
  return { made, seen, opened: () => opened };
}

Deno.test("watched window: each register of virtio-mmio has its name, and reads and writes may change", () => {
  const written: string[] = [];
  let closed = 0;
  const mmio = windowOf("slot", written);
  const lease = { mmio, interrupt: undefined as never, [Symbol.dispose]: () => closed++ };
  const { made, seen, opened } = watched({ kind: "mmio", open: () => lease });
  const open = (made as MmioNode).open();
  const { read8, read16, read32, write8, write16, write32, size, name } = open.mmio;
  assertEquals([name, size, opened()], ["slot", 0x4000, 1]);
  assertEquals([read32(0x70), read16(0xfc), read8(0x100), read8(0x104)], Array(4).fill(0xffffffff));
  write8(0x70, 1);
  write16(0x70, 2);
  write32(0x50, 3);
  assertEquals(seen, [
    "r4 Status",
    "r2 ConfigGeneration",
    "r1 config+0",
    "r1 config+4",
    "w1 Status",
    "w2 Status",
    "w4 QueueNotify",
  ]);
  assertEquals(written, ["112 2", "80 99"]);
  open[Symbol.dispose]();
  assertEquals(closed, 1);
});

Deno.test("watched window: the parts of the BARs have the names of what is there", () => {
  const cases = [
    [0, 18, "device_status"],
    [0, 19, "isr_status"],
    [0, 20, "config+0"],
    [0, 26, "config+6"],
    [1, 8, "bar1+8"],
    [4, 0, "device_feature_select"],
    [4, 0xffc, "+4092"],
    [4, 0x1000, "isr"],
    [4, 0x1fff, "isr"],
    [4, 0x2000, "config+0"],
    [4, 0x2ffc, "config+4092"],
    [4, 0x3000, "notify"],
  ] as const;
  const lease = {
    config: windowOf("config", []),
    bars: [],
    line: undefined,
    openBar: (index: number) => windowOf(`bar${index}`, []),
    messages: () => [],
    [Symbol.dispose]: () => {},
  };
  const { made, seen, opened } = watched({ kind: "pci", open: () => lease as never });
  const open = (made as PciNode).open();
  open.config.read16(6);
  for (const [bar, offset] of cases) open.openBar(bar).read8(offset);
  assertEquals(seen, ["r2 pci+6", ...cases.map(([, , name]) => `r1 ${name}`)]);
  assertEquals(opened(), 1);
});
