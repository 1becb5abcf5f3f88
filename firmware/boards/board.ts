import type { QtestBoard } from "@vireo/hal/qtest";

/** Ways to use a board: drivers on the host, or Vireo inside a Linux that QEMU boots. */
export type BoardTarget = "qtest" | "qemu";

/** A machine that Vireo knows, described once. */
export interface Board extends QtestBoard {
  /** One line for lists. */
  readonly summary: string;
  /** The targets that it supports; `qemu` needs a Deno for the machine's processor. */
  readonly targets: readonly BoardTarget[];
}
