/** Environment variable that is set in a guest. */
export const GUEST_VARIABLE = "VIREO_GUEST";

/** Environment variable with the command that the host has parsed, as JSON. */
export const CALL_VARIABLE = "VIREO_GUEST_CALL";

/** Environment variable that carries the board to the REPL's process, as JSON. */
export const SHELL_BOARD = "VIREO_SHELL_BOARD";

/** Name of the console port that a REPL may be on. */
export const SHELL_PORT = "shell";

/** Environment variable with the size of the terminal behind the port, as JSON; unset without one. */
export const SHELL_TERMINAL = "VIREO_SHELL_TERMINAL";

/** Environment variable that has errors printed with all their frames, those in Vireo and the runtime too. */
export const STACKS_VARIABLE = "VIREO_STACKS";

/** Environment variable with the URL of the folder from which a guest's program was bundled. */
export const SOURCES_VARIABLE = "VIREO_SOURCES";

/** Whether the terminal, if there is one, can do no more than print: no cursor moves and no colours. */
export function isDumb(): boolean {
  const term = Deno.env.get("TERM") ?? "";
  return term === "" || term === "dumb";
}

/** Whether this process is the program of a guest, started by the command line on the host. */
export function inGuest(): boolean {
  return Deno.env.get(GUEST_VARIABLE) !== undefined;
}

/**
 * The milliseconds that a program on this machine has to end by itself after the first Ctrl-C, in place of
 * {@linkcode INTERRUPT_GRACE}.
 */
export const GRACE_VARIABLE = "VIREO_GRACE";

/** Whether there is a file or a folder at this path, as far as this user can see. */
export function isThere(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}
