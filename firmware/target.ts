import { type Board, BOARDS } from "./boards/mod.ts";
import { UsageError } from "./usage.ts";

/** Where devices are: in this process, or in a QEMU without a guest. */
export type Target =
  | { readonly kind: "emu"; readonly board?: undefined }
  | { readonly kind: "qtest"; readonly board: Board };

/**
 * Parses a target string: `emu` or `qtest:BOARD`.
 *
 * @throws {UsageError} If there is no such target or board.
 */
export function parseTarget(text: string): Target {
  if (text === "emu") return { kind: "emu" };
  const name = /^qtest:(.*)$/.exec(text)?.[1];
  if (name === undefined) {
    throw new UsageError(`--target: expected emu or qtest:BOARD, got '${text}'`);
  }
  const fitting = BOARDS.filter((board) => board.targets.includes("qtest"));
  const board = fitting.find((candidate) => candidate.name === name);
  if (board !== undefined) return { kind: "qtest", board };
  const names = fitting.map((candidate) => candidate.name).join(", ");
  throw new UsageError(`--target: no board '${name}', there is ${names}`);
}
