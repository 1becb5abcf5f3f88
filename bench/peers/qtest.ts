/**
 * The peer of a disk behind qtest: QEMU's disk is set up here, and `qtest_loop.c` reads from it with the messages that
 * our driver sends. Argument: that loop as a library.
 *
 * @module
 */
import { findBoard } from "@vireo/firmware/boards";
import { DeviceId, Feature, hex, MmioRegister, Status } from "@vireo/hal";
import { QtestPlatform } from "@vireo/hal/qtest";
import { Libc } from "../../hal/unix/libc.ts";
import { answerLines } from "./lines.ts";

const [LIBRARY] = Deno.args;
const BOARD = findBoard("riscv64-virt");
const DISK = 16 << 20;
const QUEUE = 8;
/** Where the parts are in the memory that both sides share. */
const AVAIL = 0x400;
const USED = 0x800;
const REQUEST = 0x1000;
/** Of a request: its head, its data, its status. */
const PARTS = [[16, 0], [4096, 2], [1, 2]] as const;
const NEXT = 1;

const text = (line: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(`${line}\0`);

/** The socket of the platform's messages, which it gives to nobody. */
let socket = -1;
const { send } = Libc.prototype;
Libc.prototype.send = function (fd, bytes, length) {
  socket = fd;
  return send.call(this, fd, bytes, length);
};

await using platform = await QtestPlatform.start({
  board: BOARD,
  extraArgs: [
    ...["-global", "virtio-mmio.force-legacy=off"],
    ...["-blockdev", `null-co,node-name=disk,size=${DISK},read-zeroes=on`],
  ],
  devices: ["virtio-blk-device,drive=disk"],
});
const slots = platform.slots.map((slot) => slot.open().mmio);
const index = slots.findIndex((mmio) => mmio.read32(MmioRegister.DeviceID) === DeviceId.BLOCK);
const mmio = slots[index]!;
const { base, size } = BOARD.slots!;
const region = platform.dma.alloc(2 * 4096, { align: 4096 });
const view = new DataView(region.bytes.buffer, region.bytes.byteOffset, region.bytes.length);
let at = REQUEST;
for (const [i, [length, flags]] of PARTS.entries()) {
  view.setBigUint64(16 * i, BigInt(region.address + at), true);
  view.setUint32(16 * i + 8, length, true);
  view.setUint16(16 * i + 12, flags | (i + 1 < PARTS.length ? NEXT : 0), true);
  view.setUint16(16 * i + 14, i + 1, true);
  at += length;
}
const registers: readonly (readonly [keyof typeof MmioRegister, number])[] = [
  ["Status", Status.ACKNOWLEDGE | Status.DRIVER],
  ["DriverFeaturesSel", 1],
  ["DriverFeatures", 2 ** (Feature.VERSION_1 - 32)],
  ["Status", Status.ACKNOWLEDGE | Status.DRIVER | Status.FEATURES_OK],
  ["QueueSel", 0],
  ["QueueSize", QUEUE],
  ["QueueDescLow", region.address],
  ["QueueDriverLow", region.address + AVAIL],
  ["QueueDeviceLow", region.address + USED],
  ["QueueReady", 1],
  ["Status", Status.ACKNOWLEDGE | Status.DRIVER | Status.FEATURES_OK | Status.DRIVER_OK],
];
for (const [name, value] of registers) mmio.write32(MmioRegister[name], value);

const library = Deno.dlopen(LIBRARY!, {
  qtest_loop: {
    parameters: [
      ...["i32", "buffer", "buffer", "u32", "buffer"] as const,
      ...["buffer", "buffer", "buffer", "u32"] as const,
    ],
    result: "u32",
  },
});
const register = (name: keyof typeof MmioRegister): string =>
  hex(base + index * size + MmioRegister[name], 8);
await answerLines({
  "qtest-blk-1": (count) => {
    const right = library.symbols.qtest_loop(
      socket,
      region.bytes.subarray(AVAIL + 2),
      region.bytes.subarray(USED + 2),
      QUEUE,
      region.bytes.subarray(REQUEST),
      text(`writel ${register("QueueNotify")} 0x00000000\n`),
      text(`readl ${register("InterruptStatus")}\n`),
      text(`writel ${register("InterruptACK")} 0x00000001\n`),
      count,
    );
    if (right !== count) throw new Error(`Of ${count} reads only ${right} were right`);
  },
});
