import { assertEquals, assertThrows } from "@std/assert";
import { parseBlk, parseNet, parseQueueSize } from "./option_values.ts";
import { type BoardOptions, DEFAULT_BOARD } from "./options.ts";
import { boardOptions } from "../cli/board_flags.ts";
import { qemuArguments } from "./qemu_arguments.ts";
import { parseCount, parseHexBytes, parseSize, UsageError } from "../terminal/usage.ts";

Deno.test("parseBlk() takes a file and its options, commas doubled", () => {
  assertEquals(parseBlk("disk.img"), {
    path: "disk.img",
    readOnly: false,
    serial: undefined,
    blockSize: undefined,
  });
  assertEquals(parseBlk("a,,b.img,ro,serial=S 1,block-size=4096"), {
    path: "a,b.img",
    readOnly: true,
    serial: "S 1",
    blockSize: 4096,
  });
});

Deno.test("parseBlk() names the part it does not know", () => {
  assertThrows(() => parseBlk("d.img,rw"), UsageError, "got 'rw'");
  assertThrows(() => parseBlk(",ro"), UsageError, "expected FILE");
  assertThrows(() => parseBlk("d,serial=123456789012345678901"), UsageError, "20 bytes");
  assertThrows(() => parseBlk("d,block-size=1000"), UsageError, "power of two");
  assertThrows(() => parseBlk("d,block-size=256"), UsageError, "512 to 65536");
});

Deno.test("parseNet() takes hub, tap and none", () => {
  assertEquals(parseNet("hub"), { kind: "hub" });
  assertEquals(parseNet("tap:vireo0"), { kind: "tap", name: "vireo0" });
  assertEquals(parseNet("none"), { kind: "none" });
  assertThrows(() => parseNet("tap:"), UsageError, "got 'tap:'");
  assertEquals(parseNet("user"), { kind: "user" });
  assertThrows(() => parseNet("wifi"), UsageError, "got 'wifi'");
});

Deno.test("parseQueueSize() takes powers of two only", () => {
  assertEquals(parseQueueSize("256"), 256);
  assertEquals(parseQueueSize("32K"), 32768);
  assertThrows(() => parseQueueSize("100"), UsageError, "power of two");
  assertThrows(() => parseQueueSize("0"), UsageError, "1 to 32768");
  assertThrows(() => parseQueueSize("64K"), UsageError, "1 to 32768");
});

Deno.test("parseSize(), parseCount() and parseHexBytes() refuse what is not a number", () => {
  assertEquals(parseSize("0x10", "n"), 16);
  assertEquals(parseSize("3M", "n"), 3 * 1024 * 1024);
  assertThrows(() => parseSize("-1", "n"), UsageError, "got '-1'");
  assertThrows(() => parseSize("1e3", "n"), UsageError, "got '1e3'");
  assertThrows(() => parseCount("9", "n", 1, 8), UsageError, "expected 1 to 8");
  assertEquals(parseHexBytes("de:ad be ef", "x"), new Uint8Array([0xde, 0xad, 0xbe, 0xef]));
  assertThrows(() => parseHexBytes("abc", "x"), UsageError, "pairs of hex digits");
});

Deno.test("flags of interfaces and rings are refused where they cannot be", () => {
  const options = (target: string, flags: Record<string, unknown>) =>
    boardOptions({ target, indirect: true, eventIdx: true, ...flags });
  const refused: [string, Record<string, unknown>, string][] = [
    ["emu", { transitional: true }, "--transitional: for devices on PCI"],
    ["emu", { forceLegacy: true }, "--force-legacy: for devices on PCI"],
    ["qtest:riscv64-virt", { transitional: true }, "--transitional: for devices on PCI"],
    ["qtest:riscv64-virt", { transport: "pci" }, "has its devices on mmio, not on pci"],
    ["qtest:x86_64-q35", { transport: "mmio" }, "has its devices on pci, not on mmio"],
    ["qtest:x86_64-q35", { legacy: true, transitional: true }, "--transitional: not with --legacy"],
    ["qtest:x86_64-q35", { transitional: true, platformIommu: true }, "--platform-iommu"],
    ["qtest:x86_64-q35", { legacy: true, packed: true }, "--packed: legacy devices"],
    ["emu", { legacy: true, inOrder: true }, "--in-order: legacy devices"],
    ["emu", { legacy: true, notificationData: true }, "--notification-data: legacy devices"],
    ["emu", { legacy: true, platformIommu: true }, "--platform-iommu: legacy devices"],
    ["qemu:aarch64-virt-pci", { inOrder: true }, "--in-order: for emu targets"],
    ["qtest:riscv64-virt", { notificationData: true }, "--notification-data: for emu targets"],
    ["devmem", { packed: true }, "--packed: for emu and qtest and qemu targets"],
    ["devmem", { transport: "pci" }, "--transport: for emu"],
    ["emu", { unbind: true }, "--unbind: for devmem targets"],
    ["qtest:x86_64-q35", { poll: true }, "--poll: for devmem and qemu targets"],
    ["qtest:aarch64-q35", {}, "no board 'aarch64-q35'"],
    ["qemu:riscv64-virt-pci", {}, "no board 'riscv64-virt-pci'"],
  ];
  for (const [target, flags, message] of refused) {
    assertThrows(() => options(target, flags), UsageError, message);
  }
  const pci = options("emu", { transport: "pci", transitional: true, forceLegacy: true });
  assertEquals([pci.transport, pci.transitional, pci.forceLegacy], ["pci", true, true]);
  const rings = ({ packed, inOrder, notificationData, platformIommu }: BoardOptions) => [
    packed,
    inOrder,
    notificationData,
    platformIommu,
  ];
  const all = { packed: true, inOrder: true, notificationData: true, platformIommu: true };
  assertEquals(rings(options("emu", all)), [true, true, true, true]);
  const none = options("qtest:riscv64-virt", { transport: "mmio" });
  assertEquals(rings(none), [false, false, false, false]);
  assertEquals(options("devmem", { unbind: true, forceLegacy: true }).unbind, true);
});

Deno.test("QEMU's devices are on the board's bus, and offer what is asked for", () => {
  const args = (target: string, more: Partial<BoardOptions> = {}) =>
    qemuArguments({ ...DEFAULT_BOARD, target, ...more }, [
      { name: "host", socket: "/s", console: false },
    ]);
  const names = ({ devices }: { readonly devices: readonly string[] }) =>
    devices.map((device) => device.split(",")[0]);
  const input = { with: [{ name: "input", value: "mouse" }], devices: ["virtio-9p-device,id=x"] };
  assertEquals(names(args("qtest:riscv64-virt", input)), [
    "virtio-net-device",
    "virtio-blk-device",
    "virtio-serial-device",
    "virtserialport",
    "virtio-rng-device",
    "virtio-mouse-device",
    "virtio-9p-device",
  ]);
  assertEquals(names(args("qemu:x86_64-q35", input)), [
    "virtio-net-pci",
    "virtio-blk-pci",
    "virtio-serial-pci",
    "virtserialport",
    "virtio-rng-pci",
    "virtio-mouse-pci",
    "virtio-9p-device", // as it was given
  ]);
});
