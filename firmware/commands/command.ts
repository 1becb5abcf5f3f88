import type { RecordedScript } from "../record/call.ts";
import type { BoardOptions } from "../target/options.ts";

/** An argument: its syntax in commander's words (`<path>`, `[bytes]`), a line for the help, and a default. */
export type CommandArgument = readonly [syntax: string, summary: string, value?: string];

/** An option of one command; those of boards are in a table of their own. */
export interface CommandOption {
  /** In commander's syntax: `-o, --output <file>`. */
  readonly flag: string;
  /** A line for the help. */
  readonly summary: string;
  /** The default. */
  readonly value?: string;
  /** Values that it may have; any value if undefined. */
  readonly choices?: readonly string[];
  /** Whether it must be given. */
  readonly required?: true;
  /** Whether it names a file of the host that the command reads (instead of standard input) or writes. */
  readonly file?: "read" | "write";
  /** Whether the command reads no standard input where this is given. */
  readonly noStdin?: true;
}

/** The option of every command whose answer scripts can read. */
export const JSON_OPTION: {
  readonly flag: "--json";
  readonly summary: "print JSON, for scripts";
} = { flag: "--json", summary: "print JSON, for scripts" };

/** Value of {@linkcode JSON_OPTION} for an action. */
export interface JsonFlag {
  /** Whether to print JSON. */
  readonly json?: true | undefined;
}

/** A command line that has been parsed, and whose board options are right. */
export interface CommandCall<
  F = Readonly<Record<string, unknown>>,
  A = readonly (string | readonly string[] | undefined)[],
> {
  /** The board; the default one for a command without a board. */
  readonly board: BoardOptions;
  /** The flags, by their names in camel case; those of the board are among them. */
  readonly flags: F;
  /** The arguments; those of a variadic one are an array. In a guest a missing one is null. */
  readonly args: A;
}

/** A command line that the host has parsed, for the guest to carry out. */
export interface GuestCall extends CommandCall {
  /** The command's name, with its group's before it: `blk read`. */
  readonly name: string;
  /** The script of a command that is recorded: the guest has it in its bundle only. */
  readonly script?: RecordedScript | undefined;
}

/** Work of the host for a command that runs in a guest. */
export interface HostPart {
  /** The board, if the host has changed it. */
  readonly board?: BoardOptions;
  /** Flags that the host has worked out, over those that were given. */
  readonly flags?: Readonly<Record<string, unknown>>;
  /** Environment variables for the command. */
  readonly env?: Readonly<Record<string, string>>;
  /** The user's script, to be bundled. */
  readonly script?: string;
}

/** The part of a command that has no types of its own flags in it. */
interface CommandBase<O, A> {
  /** Its name, without its group's. */
  readonly name: string;
  /** A line for the help. */
  readonly summary: string;
  /** Its arguments, in order. */
  readonly arguments?: A;
  /** Its own options; a board's are added if it has one. */
  readonly options?: O;
  /** Command lines that work, one a line. */
  readonly example: string;
  /** Kind of standard input that it reads, if any: bytes, or keys where it is a terminal. */
  readonly stdin?: "bytes" | "keys";
  /** Whether options after its first argument are arguments. */
  readonly passThrough?: true;
}

/** Needs of a command from its board. */
interface BoardNeed {
  /** Its target if none is given; `emu` by default. */
  readonly target?: string;
  /** The device of `--with` that the board must have. */
  readonly device?: string;
}

/** A command, with flags and arguments typed by its rows. */
export interface TypedCommand<O, A> extends CommandBase<O, A> {
  /**
   * Its needs from a board. A command with a board takes a board's options, and runs in the guest of a
   * `qemu` target.
   */
  readonly board?: BoardNeed;
  /**
   * Does the host's part before a guest is booted; undefined keeps the command on the host. By default
   * the host runs the command as far as it looks at its flags: an action does that, then opens its board.
   */
  beforeGuest?(call: CommandCall<FlagsOf<O>, ArgumentsOf<A>>): Promise<HostPart | undefined>;
  /** Imports the action and carries it out: here, on the host or in a guest. */
  run(call: CommandCall<FlagsOf<O>, ArgumentsOf<A>>): Promise<void>;
}

/** A row of the table of commands. */
export interface CommandRow
  extends CommandBase<readonly CommandOption[], readonly CommandArgument[]> {
  /** See {@linkcode TypedCommand}. */
  readonly board?: BoardNeed;
  /** See {@linkcode TypedCommand}. */
  beforeGuest?(call: CommandCall): Promise<HostPart | undefined>;
  /** See {@linkcode TypedCommand}. */
  run(call: CommandCall): Promise<void>;
}

/** Commands with a name before theirs, as `blk` is before `read`. */
export interface CommandGroup {
  /** The name. */
  readonly name: string;
  /** A line for the help. */
  readonly summary: string;
  /** A command line that works. */
  readonly example: string;
  /** Facts that a user must know before, at the end of the group's help. */
  readonly note?: string;
  /** The commands. */
  readonly commands: readonly CommandRow[];
}

type Camel<S> = S extends `${infer A}-${infer B}` ? `${A}${Capitalize<Camel<B>>}` : S;
type Long<F> = F extends `${string}--${infer Rest}` ? Rest : never;
type NameOf<F> = Long<F> extends `${infer Name} ${string}` ? Camel<Name> : Camel<Long<F>>;
type ValueOf<O> = O extends { flag: `${string}<${string}` }
  ? O extends { choices: readonly (infer C)[] } ? C : string
  : true;
type Always = { readonly value: string } | { readonly required: true };
type Flat<T> = T extends readonly (infer O extends CommandOption)[] ? O : never;

/** The flags that an action gets for such options. */
export type FlagsOf<T> =
  & { readonly [O in Flat<T> as O extends Always ? NameOf<O["flag"]> : never]: ValueOf<O> }
  & { readonly [O in Flat<T> as O extends Always ? never : NameOf<O["flag"]>]?: ValueOf<O> };

type ArgumentOf<A> = A extends readonly [string, string, string] ? string
  : A extends readonly [`[${string}...]`, ...unknown[]] ? readonly string[]
  : A extends readonly [`<${string}`, ...unknown[]] ? string
  : string | undefined;

/** The arguments that an action gets for such rows. */
export type ArgumentsOf<A> = { readonly [I in keyof A]: ArgumentOf<A[I]> };

/** Checks a row: its action must take what its options and arguments give. */
export function command<
  const O extends readonly CommandOption[] = [],
  const A extends readonly CommandArgument[] = [],
>(row: TypedCommand<O, A>): CommandRow {
  // The types have done their work; the table has commands of all kinds.
  return row as unknown as CommandRow;
}
