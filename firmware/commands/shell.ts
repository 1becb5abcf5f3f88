import { inGuest, isThere, SHELL_BOARD } from "../terminal/environment.ts";
import type { BoardOptions } from "../target/options.ts";
import { parseTarget } from "../target/target.ts";
import { INTERRUPTED, Presses } from "../terminal/interrupts.ts";
import { Finished, UsageError } from "../terminal/usage.ts";

/** Ways for a REPL in a guest to talk to the host: the board's serial line, or a port of the virtio console. */
type ShellConsole = "uart" | "virtio";

/** Flags of `vireo shell`. */
interface ShellFlags {
  /** Way for the REPL to talk to the host. */
  readonly console?: ShellConsole | undefined;
}

/** `vireo shell`: a REPL with the board's bus and drivers in scope. */
export async function shell(board: BoardOptions, flags: ShellFlags = {}): Promise<void> {
  if (flags.console === "virtio") {
    if (inGuest()) return await (await import("./guest_shell.ts")).portShell(board);
    throw new UsageError(`--console: for qemu targets, not for ${board.target}`);
  }
  if (inGuest() && !Deno.stdin.isTerminal()) {
    return await (await import("./guest_shell.ts")).pipedShell(board);
  }
  const target = parseTarget(board.target);
  if (target.kind === "qtest") {
    await (await import("../target/qemu_program.ts")).requireQemu(target.board, board.qemu);
  }
  const child = new Deno.Command(Deno.execPath(), {
    args: ["repl", "--quiet", "-A", ...replArguments()],
    env: {
      [SHELL_BOARD]: JSON.stringify(board),
      // Deno's REPL has colours in a pipe too.
      ...Deno.stdout.isTerminal() ? {} : { NO_COLOR: "1" },
    },
    stdin: "inherit",
    stdout: "inherit",
    stderr: "inherit",
  }).spawn();
  // The REPL ignores interrupts while it evaluates, and while it reads there are none.
  const presses = new Presses();
  let ended = false;
  const listener = (): void => {
    if (ended || !presses.press()) return;
    ended = true;
    child.kill("SIGKILL");
  };
  Deno.addSignalListener("SIGINT", listener);
  const { code } = await child.status;
  Deno.removeSignalListener("SIGINT", listener);
  if (ended) throw new Finished(INTERRUPTED);
  if (code !== 0) Deno.exit(code);
}

/** Where the REPL's own module is: in a guest it is bundled with everything else. */
function replArguments(): string[] {
  const start = (url: string): string[] => ["--eval", `await (await import("${url}")).initShell()`];
  if (inGuest()) {
    const imports = isThere(GUEST_IMPORTS) ? [`--import-map=${GUEST_IMPORTS}`] : [];
    return ["--no-config", "--no-lock", "--no-remote", ...imports, ...start(GUEST_PROGRAM)];
  }
  const config = new URL("../../deno.json", import.meta.url).pathname;
  return ["--config", config, ...start(new URL("./shell_init.ts", import.meta.url).href)];
}

/** Where a guest has the import map of the modules that are bundled for the REPL. */
const GUEST_IMPORTS = "/vireo/imports.json";

/** Where PID 1 has the program from. */
const GUEST_PROGRAM = "file:///vireo/program.js";
