// Needs qemu-system-riscv64. One register access against the bare round trip of the protocol: the
// same bytes over the same socket, without looking at them.
import { MmioRegister } from "../virtio/mmio.ts";
import { Machine } from "./_machine.ts";
import type { QtestBoard } from "./board.ts";
import { QtestPlatform } from "./platform.ts";

const board: QtestBoard = {
  name: "riscv64-virt",
  qemu: "qemu-system-riscv64",
  machine: "virt",
  args: ["-bios", "none", "-device", "loader,addr=0x80000000,data=0xffdff06f10500073,data-len=8"],
  slots: { count: 8, base: 0x1000_1000, size: 0x1000, firstIrq: 1 },
  ram: { base: 0x8000_0000, defaultSize: 64 << 20, reservedLow: 1 << 20, reservedHigh: 16 << 20 },
  interrupts: { type: "riscv.sifive.plic", firstInput: 1 },
};
const ROUNDS = 1000;

const platform = await QtestPlatform.start({ board });
const { mmio } = platform.slots[0]!.open();
const machine = Machine.start({ board, qemu: board.qemu, memory: 64 << 20, args: [] });
const { libc, socket } = machine;
const command = new TextEncoder().encode("readl 0x10001000\n");
const answer = new Uint8Array(64);
globalThis.addEventListener("unload", () => {
  for (const pid of [platform.pid, machine.process.pid]) Deno.kill(pid, "SIGKILL");
});

Deno.bench(`${ROUNDS} bare round trips`, { group: "register access", baseline: true }, () => {
  for (let i = 0; i < ROUNDS; i++) {
    libc.send(socket, command, command.length);
    if (libc.receive(socket, answer, 64n, true) !== 22) throw new Error("no answer");
  }
});

Deno.bench(`${ROUNDS} register reads`, { group: "register access" }, () => {
  for (let i = 0; i < ROUNDS; i++) mmio.read32(MmioRegister.MagicValue);
});

Deno.bench(`${ROUNDS} register writes`, { group: "register access" }, () => {
  for (let i = 0; i < ROUNDS; i++) mmio.write32(MmioRegister.QueueSel, 0);
});

Deno.bench("start and end of a board", async () => {
  await (await QtestPlatform.start({ board }))[Symbol.asyncDispose]();
});
