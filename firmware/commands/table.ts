import type { BoardOptions } from "../target/options.ts";
import { NeedsGuest, parseCount, parseSize } from "../terminal/usage.ts";

/** A command line that the host has parsed, for the guest to carry out. */
export interface GuestCall {
  /** The command's name, with its parent's before it: `blk read`. */
  readonly name: string;
  /** The board, as the flags describe it. */
  readonly board: BoardOptions;
  /** The flags, by their names in camel case. */
  readonly flags: Readonly<Record<string, unknown>>;
  /** The command's arguments; those of a variadic one are an array. */
  readonly args: readonly (string | readonly string[] | undefined)[];
}

// The flags were typed when the host parsed them; JSON between the two cannot carry that.
type Action = (call: {
  readonly board: BoardOptions;
  readonly flags: never;
  readonly args: readonly never[];
}) => Promise<void>;

const blk = (): Promise<typeof import("./blk.ts")> => import("./blk.ts");
const net = (): Promise<typeof import("./net.ts")> => import("./net.ts");
const openShell: Action = async ({ board, flags }) =>
  await (await import("./shell.ts")).shell(board, flags);

/**
 * What each command that has a `--target` does in a guest. The command line's parser stays on the host:
 * in a guest under TCG the parts of Node that it needs take one to two seconds to load.
 */
export const GUEST_ACTIONS: Readonly<Record<string, Action>> = {
  "probe": async ({ board, flags }) => await (await import("./probe.ts")).probe(board, flags),
  "demo": async ({ board, flags }) => {
    const { blk }: { blk?: unknown } = flags;
    await (await import("./demo.ts")).demo(board, { ...flags as object, given: !!blk });
  },
  "run": async ({ board, args: [script, args] }) =>
    await (await import("./run.ts")).run(board, script!, args!),
  "shell": openShell,
  "boot": openShell,
  "blk info": async ({ board, flags }) => await (await blk()).info(board, flags),
  "blk read": async ({ board, flags }) => await (await blk()).read(board, flags),
  "blk write": async ({ board, flags }) => await (await blk()).write(board, flags),
  "blk flush": async ({ board, flags }) => await (await blk()).flush(board, flags),
  "blk discard": async ({ board, flags }) => await (await blk()).discard(board, flags),
  "blk bench": async ({ board, flags }) => await (await blk()).bench(board, flags),
  "net info": async ({ board, flags }) => await (await net()).info(board, flags),
  "net ping": async ({ board, flags, args: [address] }) =>
    await (await net()).pingHost(board, address!, flags),
  "net dhcp": async ({ board, flags }) => await (await net()).lease(board, flags),
  "net fetch": async ({ board, flags, args: [url] }) =>
    await (await net()).fetchFile(board, url!, flags),
  "net send": async ({ board, flags, args: [frame] }) =>
    await (await net()).send(board, frame!, flags),
  "net capture": async ({ board, flags }) => await (await net()).capture(board, flags),
  "net bench": async ({ board, flags }) => await (await net()).bench(board, flags),
  "console": async ({ board, flags }) => {
    const given: { readonly port: string; readonly quiet: string } = flags;
    const quiet = parseCount(given.quiet, "--quiet");
    await (await import("./console.ts")).runConsole(board, { ...given, quiet });
  },
  "rng": async ({ board, flags, args: [bytes] }) => {
    const length = parseSize(bytes!, "bytes");
    await (await import("./rng.ts")).rng(board, length, flags);
  },
};

/** The actions that do more than to look at their flags before they open the board. */
const UNCHECKED: ReadonlySet<string> = new Set(["run", "shell", "boot", "demo"]);

/**
 * Finds what is wrong with a command line before a guest is booted for it: actions look at their flags,
 * then open the board, and on the host they come no further.
 *
 * @throws {UsageError} If a flag or an argument is wrong.
 */
export async function checkCall({ name, board, flags, args }: GuestCall): Promise<void> {
  const action = GUEST_ACTIONS[name];
  if (action === undefined || UNCHECKED.has(name)) return;
  try {
    await action({ board, flags: flags as never, args: args as never[] });
  } catch (error) {
    if (!(error instanceof NeedsGuest)) throw error;
  }
}
