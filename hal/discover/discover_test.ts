import { assertEquals, assertThrows } from "@std/assert";
import { VireoError } from "@vireo/hal";
import {
  discover,
  parseCommandLine,
  parseIomem,
  parseMmioOption,
  readAcpi,
  readDeviceTree,
} from "./mod.ts";

/** Writes files below a new directory: text, or big-endian 32-bit cells. */
function fixture(files: Record<string, string | number[]>): { path: string } & Disposable {
  const path = Deno.makeTempDirSync();
  for (const [name, content] of Object.entries(files)) {
    Deno.mkdirSync(`${path}/${name.split("/").slice(0, -1).join("/")}`, { recursive: true });
    if (typeof content === "string") Deno.writeTextFileSync(`${path}/${name}`, content);
    else {
      const view = new DataView(new ArrayBuffer(content.length * 4));
      content.forEach((cell, i) => view.setUint32(i * 4, cell, false));
      Deno.writeFileSync(`${path}/${name}`, new Uint8Array(view.buffer));
    }
  }
  return { path, [Symbol.dispose]: () => Deno.removeSync(path, { recursive: true }) };
}

const virt = (address: number, spi: number): Record<string, string | number[]> => ({
  [`virtio_mmio@${address.toString(16)}/compatible`]: "virtio,mmio\0",
  [`virtio_mmio@${address.toString(16)}/reg`]: [0, address, 0, 0x200],
  [`virtio_mmio@${address.toString(16)}/interrupts`]: [0, spi, 1],
});

Deno.test("readDeviceTree finds QEMU virt's slots by rising address, with the GIC's line", () => {
  using tree = fixture({
    "#address-cells": [2],
    "#size-cells": [2],
    "compatible": "linux,dummy-virt\0",
    ...virt(0xa000200, 17),
    ...virt(0xa000000, 16),
    "pl011@9000000/compatible": "arm,pl011\0arm,primecell\0",
    "pl011@9000000/reg": [0, 0x9000000, 0, 0x1000],
  });
  assertEquals(readDeviceTree(tree.path), [
    { base: 0xa000000, size: 0x200, irq: 48 },
    { base: 0xa000200, size: 0x200, irq: 49 },
  ]);
});

Deno.test("readDeviceTree looks below a bus with cells of its own and skips disabled nodes", () => {
  using tree = fixture({
    "#address-cells": [2],
    "#size-cells": [2],
    "soc/#address-cells": [1],
    "soc/#size-cells": [1],
    "soc/virtio@10001000/compatible": "virtio,mmio\0",
    "soc/virtio@10001000/reg": [0x10001000, 0x1000],
    "soc/virtio@10001000/interrupts": [1],
    "soc/virtio@10002000/compatible": "virtio,mmio\0",
    "soc/virtio@10002000/reg": [0x10002000, 0x1000],
    "soc/virtio@10002000/status": "disabled\0",
  });
  assertEquals(readDeviceTree(tree.path), [{ base: 0x10001000, size: 0x1000, irq: 1 }]);
  assertEquals(readDeviceTree(`${tree.path}/none`), []);
});

Deno.test("readDeviceTree takes a node that says that it is okay, or nothing", () => {
  const bases: number[] = [];
  for (
    const [i, status] of ["okay\0", "ok\0", "", "disabled\0", "fail\0", "reserved\0"].entries()
  ) {
    const address = 0xa000000 + 0x200 * i;
    using tree = fixture({
      "#address-cells": [2],
      "#size-cells": [2],
      ...virt(address, 16 + i),
      [`virtio_mmio@${address.toString(16)}/status`]: status,
    });
    bases.push(...readDeviceTree(tree.path).map(({ base }) => base));
  }
  assertEquals(bases, [0xa000000, 0xa000200, 0xa000400]);
});

Deno.test("readDeviceTree looks at four levels below the root", () => {
  const levels = ["a", "a/b", "a/b/c", "a/b/c/d"].map((path, i) => ({
    ...{ "#address-cells": [1], "#size-cells": [1] },
    [`${path}/compatible`]: "simple-bus\0",
    [`${path}/v/compatible`]: "virtio,mmio\0",
    [`${path}/v/reg`]: [0x1000 * (i + 2), 0x200],
    [`${path}/#address-cells`]: [1],
    [`${path}/#size-cells`]: [1],
  }));
  using tree = fixture(Object.assign({}, ...levels));
  // Nodes of the levels 2 to 5.
  assertEquals(readDeviceTree(tree.path).map(({ base }) => base), [0x2000, 0x3000, 0x4000]);
});

Deno.test("readDeviceTree takes the cells of the root without properties, and names a bad reg", () => {
  const cases: readonly [
    address: number,
    size: number,
    reg: number[] | undefined,
    seen: readonly [base: number, size: number] | string,
  ][] = [
    [2, 1, [0x12, 0xa000000, 1], [0x12_0a00_0000, 1]],
    [1, 1, [0x1000, 0xffff_ffff, 7], [0x1000, 0xffff_ffff]],
    [1, 2, [0x1000, 1, 0], [0x1000, 0x1_0000_0000]],
    [1, 2, [0x1000, 1], "0x1000 0x1"],
    [2, 2, [0, 0xa000000], "0x0 0xa000000"],
    [2, 1, [0, 0xa000000, 0], "0x0 0xa000000 0x0"],
    [2, 1, [0x20_0000, 0, 0x200], "0x200000 0x0 0x200"],
    [1, 1, [], "nothing"],
    [1, 1, undefined, "nothing"],
  ];
  for (const [address, size, reg, seen] of cases) {
    using tree = fixture({
      // These numbers are those of a root that says nothing.
      ...(address === 2 && size === 1
        ? { model: "x\0" }
        : { "#address-cells": [address], "#size-cells": [size] }),
      "virtio@1/compatible": "virtio,mmio\0",
      ...(reg === undefined ? {} : { "virtio@1/reg": reg }),
    });
    if (typeof seen !== "string") {
      assertEquals(readDeviceTree(tree.path), [{ base: seen[0], size: seen[1], irq: undefined }]);
      continue;
    }
    const error = assertThrows(() => readDeviceTree(tree.path), VireoError, "virtio@1");
    assertEquals(
      [error.code, error.seen, error.expected],
      ["CONFIG_INVALID", seen, `${address} cells of address and ${size} of size`],
    );
  }
});

Deno.test("readDeviceTree takes a shared interrupt of a GIC as its line, and others as they are", () => {
  for (
    const [interrupts, irq] of [
      [[0, 16, 4], 48],
      [[1, 9, 4], 1],
      [[7], 7],
      [[0], 0],
      [[0, 16], 0],
      [[], undefined],
    ] as const
  ) {
    using tree = fixture({
      "#address-cells": [1],
      "#size-cells": [1],
      "virtio@1/compatible": "virtio,mmio\0",
      "virtio@1/reg": [0x1000, 0x200],
      "virtio@1/interrupts": [...interrupts],
    });
    assertEquals(readDeviceTree(tree.path)[0]!.irq, irq);
  }
});

Deno.test("parseIomem finds LNRO0005 windows, once, and none when addresses are hidden", () => {
  const text = `00000000-00000fff : Reserved
feb00000-feb001ff : LNRO0005:00
feb00200-feb003ff : LNRO0005:01
  feb00200-feb003ff : virtio-mmio LNRO0005:01
fec00000-fec003ff : IOAPIC 0
`;
  assertEquals(parseIomem(text), [
    { base: 0xfeb00000, size: 0x200, irq: undefined },
    { base: 0xfeb00200, size: 0x200, irq: undefined },
  ]);
  assertEquals(parseIomem("00000000-00000000 : LNRO0005:00\n"), []);
});

Deno.test("readAcpi reads the resources of LNRO0005 devices", () => {
  using tree = fixture({
    "LNRO0005:01/physical_node/resources": "state = active\nmem 0xfeb00200-0xfeb003ff\nirq 17\n",
    "LNRO0005:00/physical_node/resources": "state = active\nmem 0xfeb00000-0xfeb001ff\n",
    "PNP0501:00/physical_node/resources": "mem 0x3f8-0x3ff\n",
    "LNRO0005:02/hid": "LNRO0005\n",
  });
  assertEquals(readAcpi(tree.path), [
    { base: 0xfeb00000, size: 0x200, irq: undefined },
    { base: 0xfeb00200, size: 0x200, irq: 17 },
  ]);
});

Deno.test("parseCommandLine reads sizes, bases, interrupts and ids as Linux does", () => {
  const line = "quiet virtio_mmio.device=1K@0x100b0000:48:7 root=/dev/vda " +
    "virtio_mmio.device=512@4096:1 virtio-mmio.device=0x200@010000:2:-3 " +
    '"virtio_mmio.device=2m@0x1000:5" -- virtio_mmio.device=nonsense';
  assertEquals(parseCommandLine(line), [
    { size: 1024, base: 0x100b0000, irq: 48, id: 7 },
    { size: 512, base: 4096, irq: 1, id: 8 },
    { size: 0x200, base: 0o10000, irq: 2, id: -3 },
    { size: 0x200000, base: 0x1000, irq: 5, id: -2 },
  ]);
  assertEquals(parseCommandLine("quiet panic=-1"), []);
  assertEquals(parseCommandLine("virtio_mmio.device=512@0x1000:3")[0]?.id, 0);
  // The last interrupt, byte and id that there are.
  assertEquals(parseCommandLine("virtio_mmio.device=1@0x1ffffffffffffe:4294967295:2147483647"), [
    { size: 1, base: Number.MAX_SAFE_INTEGER - 1, irq: 0xffff_ffff, id: 0x7fff_ffff },
  ]);
});

Deno.test("parseCommandLine refuses what Linux refuses", () => {
  for (
    const value of [
      "",
      "512@0x1000",
      "512",
      "@0x1000:3",
      "512@:3",
      "512@0x1000:0",
      "512@0x1000:3:",
      "512@0x1000:3:4:5",
      "512@0x1000:3x",
      "512@0x1000:-3",
      "512Q@0x1000:3",
      "512@09:3",
      "0@0x1000:3",
      "512@0xffffffffffffffff:3",
      "512@0x1000:4294967296",
      "2@0x1ffffffffffffe:3",
      "512@0x1000:3:2147483648",
    ]
  ) {
    const error = assertThrows(
      () => parseCommandLine(`virtio_mmio.device=${value}`),
      VireoError,
      "virtio_mmio.device",
    );
    assertEquals(error.code, "CONFIG_INVALID", value);
  }
});

Deno.test("parseMmioOption makes slots side by side", () => {
  assertEquals(parseMmioOption("0x0a000000,0x200,2"), [
    { base: 0xa000000, size: 0x200, irq: undefined },
    { base: 0xa000200, size: 0x200, irq: undefined },
  ]);
  assertEquals(parseMmioOption("4096,0x1000").length, 1);
  assertEquals(parseMmioOption("0,0x100,4096").at(-1)!.base, 0xf_ff00);
  assertEquals(parseMmioOption("0x1ffffffffffe00,0x100,1").length, 1);
  for (
    const bad of [
      ...["", "1", "0x1000,0x10,1", "0x1000,0x200,0", "a,b,c", "1,2,3,4", "2,512,1"],
      ...["0,0xff,1", "0,0x100,4097", "0x1fffffffffff00,0x100,1"],
    ]
  ) {
    const error = assertThrows(() => parseMmioOption(bad), VireoError, "--mmio");
    assertEquals([error.code, error.seen], ["CONFIG_INVALID", bad]);
  }
});

Deno.test("discover joins the sources and names each window once", () => {
  using tree = fixture({
    "dt/#address-cells": [2],
    "dt/#size-cells": [2],
    ...Object.fromEntries(Object.entries(virt(0xa000000, 16)).map(([k, v]) => [`dt/${k}`, v])),
    "acpi/LNRO0005:00/physical_node/resources": "mem 0xfeb00000-0xfeb001ff\nirq 8\n",
    "iomem": "feb00000-feb001ff : LNRO0005:00\nfeb00200-feb003ff : LNRO0005:01\n",
    "cmdline": "virtio_mmio.device=512@0xd0000000:5\n",
  });
  const found = discover({
    deviceTree: `${tree.path}/dt`,
    acpi: `${tree.path}/acpi`,
    iomem: `${tree.path}/iomem`,
    commandLine: `${tree.path}/cmdline`,
  });
  assertEquals(found, [
    { base: 0xa000000, size: 0x200, irq: 48 },
    { base: 0xfeb00000, size: 0x200, irq: 8 },
    { base: 0xfeb00200, size: 0x200, irq: undefined },
    { base: 0xd0000000, size: 0x200, irq: 5 },
  ]);
});
