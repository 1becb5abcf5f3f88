import { VireoError } from "@vireo/hal";
import { AARCH64_VIRT } from "./aarch64_virt.ts";
import { AARCH64_VIRT_PCI } from "./aarch64_virt_pci.ts";
import type { Board } from "./board.ts";
import { RISCV64_VIRT } from "./riscv64_virt.ts";
import { RISCV64_VIRT_PCI } from "./riscv64_virt_pci.ts";
import { X86_64_MICROVM } from "./x86_64_microvm.ts";
import { X86_64_Q35 } from "./x86_64_q35.ts";

/** The boards whose devices are in virtio-mmio slots. */
export const MMIO_BOARDS: readonly Board[] = [X86_64_MICROVM, AARCH64_VIRT, RISCV64_VIRT];
/** The boards whose devices are on PCI. */
export const PCI_BOARDS: readonly Board[] = [X86_64_Q35, AARCH64_VIRT_PCI, RISCV64_VIRT_PCI];

/** Every board, in the order in which they are listed. */
export const BOARDS: readonly Board[] = [...MMIO_BOARDS, ...PCI_BOARDS];

/**
 * Finds a board by name.
 *
 * @throws {VireoError} `BAD_TARGET` If there is none of this name.
 *
 * @example
 * ```ts
 * import { findBoard } from "@vireo/firmware/boards";
 * import { assertEquals, assertThrows } from "@std/assert";
 *
 * assertEquals(findBoard("x86_64-q35").qemu, "qemu-system-x86_64");
 * assertThrows(() => findBoard("toaster"), Error, "saw toaster");
 * ```
 */
export function findBoard(name: string): Board {
  const board = BOARDS.find((known) => known.name === name);
  if (board !== undefined) return board;
  throw new VireoError("BAD_TARGET", "Cannot find a board of this name", {
    seen: name,
    expected: BOARDS.map((known) => known.name).join(", "),
  });
}
