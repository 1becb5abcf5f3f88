// Names of registers by the windows that they lie in, offsets typed from virtio 1.4 §4.1.4.
import { assertEquals } from "@std/assert";
import type { DeviceNode, Mmio, MmioNode, PciNode, TraceDetail } from "@vireo/hal";
import { tracedNode } from "./_registers.ts";
import type { TraceTarget } from "./_target.ts";

/** A window of bytes that notes its writes. */
function window(name: string, bytes: Uint8Array, told: string[]): Mmio {
  const view = new DataView(bytes.buffer);
  const write = (width: number) => (offset: number, value: number): void =>
    void told.push(`wrote ${8 * width} ${offset} ${value}`);
  return {
    ...{ name, size: bytes.length },
    read8: (offset) => view.getUint8(offset),
    read16: (offset) => view.getUint16(offset, true),
    read32: (offset) => view.getUint32(offset, true),
    write8: write(1),
    write16: write(2),
    write32: write(4),
  };
}

/** A node as a tracer has it, and what it is told, in order. */
function traced<T extends DeviceNode>(node: T): { node: T; told: string[] } {
  const told: string[] = [];
  const emit = (slot: string, detail: TraceDetail): void => {
    if (detail.kind !== "register") return;
    const { op, register, window, offset, width, value } = detail;
    told.push(`${slot} ${op}${8 * width} ${register} ${window}+${offset} ${value}`);
  };
  return { node: tracedNode(node, { emit } as unknown as TraceTarget) as T, told };
}

/** Capabilities: next, type, BAR, offset and length of each from 0x40 on, 16 bytes apart; another vendor's id is 5. */
type Cap = readonly [
  next: number,
  type: number,
  bar: number,
  offset: number,
  length: number,
  id?: number,
];

/** Names of the registers at offsets of a BAR of a function with these capabilities. */
function names(caps: readonly Cap[], offsets: readonly number[], bar = 4, first = 0x40): string[] {
  const config = new Uint8Array(256);
  config[0x34] = caps.length === 0 ? 0 : first;
  const view = new DataView(config.buffer);
  caps.forEach(([next, type, bar, offset, length, id = 9], i) => {
    const at = 0x40 + 16 * i;
    config.set([id, next, 16, type, bar], at);
    view.setUint32(at + 8, offset, true);
    view.setUint32(at + 12, length, true);
  });
  const { node, told } = traced({
    ...{ kind: "pci", name: "fn" },
    open: () => ({
      config: window("config", config, []),
      openBar: (index: number) => window(`bar${index}`, new Uint8Array(4096), []),
    }),
  } as unknown as PciNode);
  const opened = node.open().openBar(bar);
  for (const offset of offsets) opened.read8(offset);
  return told.map((line) => line.split(" ")[2]!);
}

const [COMMON, NOTIFY, ISR, DEVICE, CFG] = [1, 2, 3, 4, 5];
const ALL: readonly Cap[] = [
  [0x50, COMMON!, 4, 0, 0x40],
  [0x60, NOTIFY!, 4, 0x100, 0x10],
  [0x73, ISR!, 4, 0x200, 1],
  [0x80, DEVICE!, 4, 0x300, 8],
  [0x40, CFG!, 4, 0x400, 4],
];

Deno.test("traced registers: those of a function are named by its capabilities", () => {
  assertEquals(names(ALL, [0, 4, 16, 20, 22, 32, 36, 52, 56, 58]), [
    ...["device_feature_select", "device_feature", "config_msix_vector", "device_status"],
    ...["queue_select", "queue_desc", "queue_desc+4", "queue_device+4"],
    ...["queue_notif_config_data", "queue_reset"],
  ]);
  assertEquals(names(ALL, [0x100, 0x10f, 0x200, 0x300, 0x307]), [
    ...["QueueNotify", "QueueNotify", "ISR", "Config+0", "Config+7"],
  ]);
  // Outside, between fields, and in one that has no registers of its own.
  assertEquals(
    names(ALL, [0x40, 0xff, 0x110, 0x201, 0x308, 1, 40 - 5, 60 + 3, 0x400]),
    new Array(9).fill("undefined"),
  );
});

Deno.test("traced registers: capabilities of another BAR, or of another kind, name nothing", () => {
  assertEquals(names([[0x50, ISR!, 2, 0, 4], [0, DEVICE!, 4, 8, 4]], [0, 8]), [
    "undefined",
    "Config+0",
  ]);
  assertEquals(names([[0x50, ISR!, 4, 0, 4, 5], [0, DEVICE!, 4, 8, 4]], [0, 8]), [
    "undefined",
    "Config+0",
  ]);
  // A list that leads to itself, or into the header, ends there.
  assertEquals(names([[0x40, ISR!, 4, 0, 4]], [0]), ["ISR"]);
  assertEquals(names([[0x3c, ISR!, 4, 0, 4]], [0]), ["ISR"]);
});

Deno.test("traced registers: a BAR without capabilities is the legacy header", () => {
  assertEquals(names([], [0, 4, 8, 12, 14, 16, 18, 19, 20, 25], 0), [
    ...["device_features", "driver_features", "queue_address", "queue_size", "queue_select"],
    ...["queue_notify", "device_status", "isr_status", "Config+0", "Config+5"],
  ]);
});

Deno.test("traced registers: accesses of a slot keep their order, width and value", () => {
  const wrote: string[] = [];
  let closed = 0;
  const bytes = new Uint8Array(0x110);
  bytes.set([1, 2, 3, 4], 0x100);
  const { node, told } = traced({
    ...{ kind: "mmio", name: "slot" },
    open: () => ({
      mmio: window("mmio", bytes, wrote),
      [Symbol.dispose]: () => closed++,
    }),
  } as unknown as MmioNode);
  const lease = node.open();
  const { mmio } = lease;
  assertEquals([mmio.name, mmio.size], ["mmio", 0x110]);
  assertEquals([mmio.read8(0x100), mmio.read16(0x100), mmio.read32(0x100)], [1, 0x201, 0x4030201]);
  mmio.write8(0x70, 1);
  mmio.write16(0x70, 2);
  mmio.write32(0x70, 3);
  assertEquals(told, [
    "slot read8 Config+0 mmio+256 1",
    "slot read16 Config+0 mmio+256 513",
    "slot read32 Config+0 mmio+256 67305985",
    ...["slot write8 Status mmio+112 1", "slot write16 Status mmio+112 2"],
    "slot write32 Status mmio+112 3",
  ]);
  assertEquals(wrote, ["wrote 8 112 1", "wrote 16 112 2", "wrote 32 112 3"]);
  lease[Symbol.dispose]();
  assertEquals(closed, 1);
  // A socket has no registers.
  const socket = { kind: "vhost-user", name: "x" } as DeviceNode;
  assertEquals(traced(socket).node === socket, true);
});
