import { type Board, BOARDS } from "../boards/mod.ts";
import type { TransportOption } from "./option_values.ts";
import { UsageError } from "../terminal/usage.ts";
import { parseSockets, type SocketsOption } from "./sockets.ts";

/** Where devices are. */
type Target =
  /** In this process. */
  | { readonly kind: "emu"; readonly board?: undefined }
  /** In the machine that this process runs on. */
  | { readonly kind: "devmem"; readonly board?: undefined }
  /** In other processes, behind vhost-user sockets. */
  | { readonly kind: "vhost-user"; readonly board?: undefined } & SocketsOption
  /** In a recording. */
  | { readonly kind: "replay"; readonly file: string; readonly board?: undefined }
  /** In a QEMU without a guest. */
  | { readonly kind: "qtest"; readonly board: Board }
  /** In a QEMU, and the program in a Linux that it boots. */
  | { readonly kind: "qemu"; readonly board: Board };

/** The bus on which a target has its devices; undefined if it may be either, or is not known. */
export function targetBus({ board }: Target): TransportOption | undefined {
  if (board === undefined) return undefined;
  return board.pci === undefined ? "mmio" : "pci";
}

/**
 * Parses a target string: `emu`, `devmem`, `qtest:BOARD`, `qemu:BOARD`, `vhost-user:NAME=SOCKET,...` or
 * `replay:FILE`.
 *
 * @throws {UsageError} If there is no such target, board or device.
 */
export function parseTarget(text: string): Target {
  if (text === "emu" || text === "devmem") return { kind: text };
  if (text.startsWith("vhost-user:")) {
    return { kind: "vhost-user", ...parseSockets(text.slice("vhost-user:".length)) };
  }
  if (text.startsWith("replay:")) return { kind: "replay", file: text.slice("replay:".length) };
  const [, kind, name] = /^(qtest|qemu):(.*)$/.exec(text) ?? [];
  if (kind !== "qtest" && kind !== "qemu") {
    throw new UsageError(
      `--target: expected emu, devmem, qtest:BOARD, qemu:BOARD or vhost-user:NAME=SOCKET, ` +
        `got '${text}'`,
    );
  }
  const fitting = BOARDS.filter((board) => board.targets.includes(kind));
  const board = fitting.find((candidate) => candidate.name === name);
  if (board !== undefined) return { kind, board };
  const names = fitting.map((candidate) => candidate.name).join(", ");
  throw new UsageError(`--target: no board '${name}', there is ${names}`);
}
