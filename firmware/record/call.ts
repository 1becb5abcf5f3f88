/** A command line that has been parsed, without its board. */
export interface RecordedCall {
  /** The command's whole name. */
  readonly name: string;
  /** Its flags. */
  readonly flags: Readonly<Record<string, unknown>>;
  /** Its arguments. */
  readonly args: readonly (string | readonly string[] | undefined)[];
}

let current: RecordedCall | undefined;

/** Keeps the command that is about to run, for the recording that it may make. */
export function keepCall(call: RecordedCall): void {
  current = call;
}

/** The command that runs. */
export function keptCall(): RecordedCall | undefined {
  return current;
}
