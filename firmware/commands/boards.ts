import { hex } from "@vireo/hal";
import { BOARDS } from "../boards/mod.ts";

/** `vireo boards`: lists the boards with what each target supports. */
export function listBoards(flags: { readonly json?: true | undefined }): void {
  const rows = BOARDS.map((board) => ({
    name: board.name,
    summary: board.summary,
    targets: board.targets.map((target) => `${target}:${board.name}`),
    slots: board.slots,
    pci: board.pci,
    ram: board.ram,
  }));
  if (flags.json) return console.log(JSON.stringify({ boards: rows }, null, 2));
  console.log("emu\n  the bundled emulator: virtio-mmio version 1 and 2");
  for (const { name, summary, targets, slots, pci, ram } of rows) {
    console.log(`${name}\n  ${summary}`);
    if (slots !== undefined) {
      const { count, size, base, firstIrq } = slots;
      console.log(
        `  ${count} slots of ${hex(size)} at ${hex(base)}, interrupts from ${firstIrq} up`,
      );
    }
    if (pci !== undefined) {
      console.log(
        `  PCI Express, configuration at ${hex(pci.ecam.base)}, MSI-X by ${pci.messages.kind}`,
      );
    }
    console.log(`  RAM at ${hex(ram.base)}`);
    console.log(`  targets ${targets.join(" ")}`);
  }
}
