import { hex } from "@vireo/hal";
import { type Board, BOARDS } from "../boards/mod.ts";

/** Abilities of a board's devices and machine, in the words of the options. */
function supports({ pci, targets }: Board): Supports {
  return {
    interfaces: pci === undefined
      ? ["modern", "--legacy"]
      : ["modern", "--legacy", "--transitional", "--force-legacy"],
    // QEMU 7.2 has no device that offers IN_ORDER or NOTIFICATION_DATA.
    rings: ["--packed", "--platform-iommu", "--no-indirect", "--no-event-idx", "--queue-size"],
    interrupts: targets.map((target) => {
      if (target === "qtest") return `qtest: ${pci === undefined ? "lines" : "MSI-X and INTx"}`;
      return `qemu: ${pci === undefined ? "polling" : "INTx by uio_pci_generic, or --poll"}`;
    }),
  };
}

/** Report of `boards` about a board, besides where its parts are. */
interface Supports {
  /** The interfaces that its devices can have. */
  readonly interfaces: readonly string[];
  /** The options for rings. */
  readonly rings: readonly string[];
  /** How interrupts come, by target. */
  readonly interrupts: readonly string[];
}

/** `vireo boards`: lists the boards with what each target supports. */
export function listBoards(flags: { readonly json?: true | undefined }): void {
  const rows = BOARDS.map((board) => ({
    name: board.name,
    summary: board.summary,
    targets: board.targets.map((target) => `${target}:${board.name}`),
    slots: board.slots,
    pci: board.pci,
    ram: board.ram,
    ...supports(board),
  }));
  if (flags.json) return console.log(JSON.stringify({ boards: rows }, null, 2));
  console.log("emu\n  the bundled emulator: virtio-mmio version 1 and 2");
  for (const row of rows) {
    const { name, summary, targets, slots, pci, ram } = row;
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
    console.log(`  interfaces ${row.interfaces.join(" ")}`);
    console.log(`  rings ${row.rings.join(" ")}`);
    console.log(`  interrupts ${row.interrupts.join("; ")}`);
    console.log(`  targets ${targets.join(" ")}`);
  }
}
