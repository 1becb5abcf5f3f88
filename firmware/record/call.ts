/** A command line that has been parsed, without its board. */
export interface RecordedCall {
  /** The command's whole name. */
  readonly name: string;
  /** Its flags. */
  readonly flags: Readonly<Record<string, unknown>>;
  /** Its arguments. */
  readonly args: readonly (string | readonly string[] | undefined)[];
}

/** A script, where it was and as it was. */
export interface RecordedScript {
  readonly path: string;
  readonly text: string;
}

let current: RecordedCall | undefined;
let currentScript: RecordedScript | undefined;

/**
 * Keeps the command that is about to run, for the recording that it may make.
 *
 * @param script The script of `run`, if it is no file here: a guest gets it from its host.
 */
export function keepCall(call: RecordedCall, script?: RecordedScript): void {
  current = call;
  currentScript = script;
}

/** Reads the script of a command that is about to run; undefined if it has none, or it is no file here. */
export function scriptOf({ name, args }: RecordedCall): RecordedScript | undefined {
  if (currentScript !== undefined || name !== "run") return currentScript;
  try {
    const path = String(args[0]);
    return { path: Deno.realPathSync(path), text: Deno.readTextFileSync(path) };
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

/** The command that runs. */
export function keptCall(): RecordedCall | undefined {
  return current;
}
