import { GRACE_VARIABLE, inGuest } from "./environment.ts";
import { Finished, UsageError } from "./usage.ts";

/** Milliseconds that a program has to end by itself after the first Ctrl-C. */
export const INTERRUPT_GRACE = 1000;

/** Exit code of a command that was interrupted, as shells have it. */
export const INTERRUPTED = 130;

/** How many times Ctrl-C must be pressed in a row to end a shell that does not stop. */
export const PRESSES = 3;

/** Milliseconds after which a Ctrl-C no longer counts as pressed in a row. */
const IN_A_ROW = 2000;

/** Counts the presses of Ctrl-C that follow one another. */
export class Presses {
  #count = 0;
  #last = -Infinity;

  /**
   * Counts a press.
   *
   * @param now Milliseconds since any fixed point.
   * @returns Whether there were {@linkcode PRESSES} in a row.
   */
  press(now: number = performance.now()): boolean {
    this.#count = now - this.#last <= IN_A_ROW ? this.#count + 1 : 1;
    this.#last = now;
    return this.#count >= PRESSES;
  }

  /**
   * Counts the presses in bytes that a terminal in raw mode gave; any other key starts again.
   *
   * @returns Whether there were {@linkcode PRESSES} in a row.
   */
  keys(bytes: Uint8Array, now: number = performance.now()): boolean {
    for (const byte of bytes) {
      if (byte !== CTRL_C) this.#count = 0;
      else if (this.press(now)) return true;
    }
    return false;
  }
}

/** Byte of Ctrl-C from a terminal in raw mode. */
const CTRL_C = 0x03;

/**
 * Takes Ctrl-C for code that it must be able to end: the first one asks it to end and gives it
 * {@linkcode INTERRUPT_GRACE} or what {@linkcode GRACE_VARIABLE} says, the second one ends the process at once, each with exit code 130.
 *
 * A thread of its own keeps the time, because the code may never return to the event loop. A guest has none: the host
 * watches over it.
 */
export class CtrlC implements Disposable {
  readonly #watcher: Worker | undefined;
  /** Resolves when the thread listens, some 20 milliseconds after its start. */
  readonly #ready: Promise<void>;
  #pressed = false;
  #first: (() => void) | undefined;

  /**
   * Listens from now on.
   *
   * @throws {UsageError} If {@linkcode GRACE_VARIABLE} is wrong.
   */
  constructor() {
    const watcher = this.#watcher = inGuest() ? undefined : startWatcher();
    this.#ready = watcher === undefined ? Promise.resolve() : new Promise((resolve, reject) => {
      watcher.onmessage = () => resolve();
      watcher.onerror = ({ message }) => reject(new Error(message));
    });
    Deno.addSignalListener("SIGINT", this.#listener);
  }

  /**
   * Runs the code, once the thread listens.
   *
   * @param first Asks the code to end; called where the event loop still turns.
   * @throws {Finished} If it was interrupted, whatever the code threw; else what the code threw.
   */
  async during<T>(code: () => Promise<T>, first: () => void): Promise<T> {
    this.#first = first;
    try {
      await this.#ready;
      this.#check();
      const result = await code();
      this.#check();
      return result;
    } catch (error) {
      this.#check();
      throw error;
    }
  }

  /** Leaves Ctrl-C to others. */
  [Symbol.dispose](): void {
    Deno.removeSignalListener("SIGINT", this.#listener);
    this.#watcher?.terminate();
  }

  readonly #listener = (): void => {
    if (this.#pressed) return;
    this.#pressed = true;
    this.#first?.();
  };

  #check(): void {
    if (this.#pressed) throw new Finished(INTERRUPTED);
  }
}

/**
 * Milliseconds that a program has to end by itself.
 *
 * @param said What the environment says.
 * @throws {UsageError} If that is no number above 0 that a timer can keep.
 */
export function graceOf(said: string | undefined): number {
  if (said === undefined || said === "") return INTERRUPT_GRACE;
  const grace = Number(said);
  if (grace > 0 && grace < 2 ** 31) return grace;
  throw new UsageError(
    `${GRACE_VARIABLE}: expected milliseconds from 1 to 2147483647, got '${said}'`,
  );
}

function startWatcher(): Worker {
  // As text, so that it is there in a bundle too, and nothing is read or transpiled for it.
  const text = `(${watch})(${graceOf(Deno.env.get(GRACE_VARIABLE))}, ${INTERRUPTED})`;
  return new Worker(`data:text/javascript,${encodeURIComponent(text)}`, { type: "module" });
}

/** The program of the watching thread; it cannot use anything of this module. */
function watch(grace: number, exitCode: number): void {
  const { symbols: libc } = Deno.dlopen("libc.so.6", {
    // A worker's Deno.exit() ends the worker only.
    _exit: { parameters: ["i32"], result: "void" },
    tcgetattr: { parameters: ["i32", "buffer"], result: "i32" },
    tcsetattr: { parameters: ["i32", "i32", "buffer"], result: "i32" },
  });
  // A struct termios has 60 bytes; Deno puts a raw terminal back in order, but _exit does not ask it.
  const before = new Uint8Array(128);
  const terminal = libc.tcgetattr(0, before) === 0;
  const end = (): void => {
    const now = new Uint8Array(128);
    const same = libc.tcgetattr(0, now) === 0 && now.every((byte, i) => byte === before[i]);
    if (terminal && !same) libc.tcsetattr(0, 0, before);
    libc._exit(exitCode);
  };
  let pressed = false;
  Deno.addSignalListener("SIGINT", () => {
    if (pressed) return end();
    pressed = true;
    setTimeout(end, grace);
  });
  (globalThis as unknown as Worker).postMessage(null);
}
