import { SHELL_BOARD } from "../terminal/environment.ts";
import type { BoardOptions } from "../target/options.ts";
import type { Vireo } from "../vireo.ts";
import { openVireo } from "../session.ts";
import { hideInnerFrames } from "../terminal/frames.ts";
import { onUncaught } from "../terminal/uncaught.ts";
import { PRESSES } from "../terminal/interrupts.ts";

/** Opens the board of a REPL's process and puts it in scope. */
export async function initShell(): Promise<void> {
  const board = Deno.env.get(SHELL_BOARD);
  if (board === undefined) throw new TypeError(`Cannot start: ${SHELL_BOARD} is not set`);
  const vireo = await openVireo(JSON.parse(board) as BoardOptions);
  bringIntoScope(vireo);
  // Until the process ends.
  hideInnerFrames();
  // The REPL itself often says no more than "Uncaught undefined" of these.
  onUncaught((error) => console.error("Uncaught", error));
  if (!Deno.stdin.isTerminal()) return;
  for (const line of greeting(vireo)) console.log(line);
  // On these the REPL's line editor does not take Ctrl-C, which would end the process at once.
  if (PLAIN_TERMINALS.has(Deno.env.get("TERM") ?? "")) Deno.addSignalListener("SIGINT", () => {});
}

/** Terminals on which one cannot edit a line, as the REPL's line editor (rustyline) has them. */
const PLAIN_TERMINALS: ReadonlySet<string> = new Set(["dumb", "cons25", "emacs"]);

/** Makes a board's parts global names. */
export function bringIntoScope(vireo: Vireo): void {
  const { bus, platform } = vireo;
  // Getters, because a board may lack a device: the error then names it, on use.
  Object.defineProperties(globalThis, {
    vireo: { value: vireo },
    bus: { value: bus },
    platform: { value: platform },
    blk: { get: () => vireo.blk },
    net: { get: () => vireo.net },
    con: { get: () => vireo.console },
    rng: { get: () => vireo.rng },
  });
}

/** The lines that greet who opens a REPL on a terminal. */
export function greeting({ bus, target }: Vireo): string[] {
  const found = bus.devices.map((device) => `${device.name} ${device.driver?.name ?? "no driver"}`);
  return [
    `${target}: ${found.join(", ")}`,
    "In scope: vireo, bus, platform, blk, net, con (console), rng. Ctrl-D leaves.",
    `${PRESSES} times Ctrl-C in a row leaves too, whatever is running.`,
  ];
}
