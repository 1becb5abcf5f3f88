import { emulateDevice } from "../devices/table.ts";
import { inGuest } from "../terminal/environment.ts";
import { NeedsGuest } from "../terminal/usage.ts";
import type { ReplayBoard } from "../record/replay_board.ts";
import type { EmulatedBoard } from "./emulated_board.ts";
import type { BoardOptions } from "./options.ts";
import type { OwnMachine } from "./own_machine.ts";
import type { QtestSession } from "./qtest_session.ts";
import type { SocketBoard } from "./socket_board.ts";
import { parseTarget } from "./target.ts";

/** The machine of a target, with its host side if it has one in this process. */
export type OpenBoard = EmulatedBoard | QtestSession | OwnMachine | SocketBoard | ReplayBoard;

/**
 * Makes the machine of a target; a guest need not read the others, which takes it long.
 *
 * @param access Milliseconds of QEMU's processor time until a register access fails because it loops, on a `qtest` target.
 * @throws {NeedsGuest} If it can be opened in a guest only.
 * @throws {VireoError} If it cannot be made.
 */
export async function openBoard(
  options: BoardOptions,
  access: { readonly busyDeadline?: number } = {},
): Promise<OpenBoard> {
  const target = parseTarget(options.target);
  switch (target.kind) {
    case "emu":
      return (await import("./emulated_board.ts")).EmulatedBoard.create(options, emulateDevice);
    case "qtest":
      return await (await import("./qtest_session.ts")).QtestSession.create(
        target.board,
        options,
        access,
      );
    case "devmem":
      return await openOwnMachine(options);
    case "vhost-user":
      return new (await import("./socket_board.ts")).SocketBoard(target);
    case "replay":
      return await (await import("../record/replay_board.ts")).ReplayBoard.open(target.file);
    case "qemu":
      // The command line moves whole programs into the guest; there the board is the machine itself.
      if (inGuest()) return await openOwnMachine(options);
      throw new NeedsGuest(
        `Cannot open ${options.target} from the host: run the script with 'vireo run --target'`,
      );
  }
}

async function openOwnMachine(options: BoardOptions): Promise<OwnMachine> {
  return await (await import("./own_machine.ts")).OwnMachine.open(options);
}
