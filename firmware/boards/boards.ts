import { VireoError } from "@vireo/hal";
import { AARCH64_VIRT } from "./aarch64_virt.ts";
import type { Board } from "./board.ts";
import { RISCV64_VIRT } from "./riscv64_virt.ts";
import { X86_64_MICROVM } from "./x86_64_microvm.ts";

/** Every board, in the order in which they are listed. */
export const BOARDS: readonly Board[] = [X86_64_MICROVM, AARCH64_VIRT, RISCV64_VIRT];

/**
 * Finds a board by name.
 *
 * @throws {VireoError} `BAD_TARGET` If there is none of this name.
 */
export function findBoard(name: string): Board {
  const board = BOARDS.find((known) => known.name === name);
  if (board !== undefined) return board;
  throw new VireoError("BAD_TARGET", "Cannot find a board of this name", {
    seen: name,
    expected: BOARDS.map((known) => known.name).join(", "),
  });
}
