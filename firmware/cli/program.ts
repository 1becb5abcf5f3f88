import {
  Command,
  CommanderError,
  type CommandUnknownOpts,
  Option,
} from "@commander-js/extra-typings";
import { command, type CommandGroup, type CommandRow } from "../commands/command.ts";
import { COMMANDS, COMMANDS_BY_NAME } from "../commands/table.ts";
import { BOARD_OPTIONS, type BoardOption } from "../target/options.ts";
import { itemText, wrapText, writeOut } from "../terminal/layout.ts";
import { UsageError } from "../terminal/usage.ts";

/** Parts of the command line. */
export interface Tables {
  /** The commands, in the order of the help. */
  readonly commands: readonly (CommandRow | CommandGroup)[];
  /** The options of a board. */
  readonly options: Readonly<Record<string, BoardOption>>;
}

const TABLES: Tables = { commands: COMMANDS, options: BOARD_OPTIONS };

/**
 * Runs one command line.
 *
 * @returns The exit code.
 */
export async function runCommandLine(args: string[]): Promise<number> {
  try {
    args = namedTrace(args);
    await buildProgram(args).parseAsync(args, { from: "user" });
    return 0;
  } catch (error) {
    // Help and the version are told by an error too: they need nothing of what reports one.
    if (error instanceof CommanderError && error.exitCode === 0) return 0;
    const { EXIT, report } = await import("../terminal/report.ts");
    return error instanceof CommanderError ? EXIT.USAGE : report(error);
  }
}

/** A bare `--trace` is all of it: the next argument is not its value. */
function namedTrace(args: readonly string[]): string[] {
  const end = args.indexOf("--");
  return args.map((arg, i) => arg === "--trace" && (end < 0 || i < end) ? "--trace=all" : arg);
}

/**
 * Builds the `vireo` command; what a subcommand needs is loaded when it runs.
 *
 * @param argv The command line, for commands that run it again.
 * @param tables The rows; a test may have others.
 * @returns The commander program, which throws instead of exiting; parse with `{ from: "user" }`.
 */
export function buildProgram(argv: readonly string[] = [], tables: Tables = TABLES): Command {
  const program = tableProgram(argv, tables);
  const root: CommandUnknownOpts = program;
  const more: readonly CommandRow[] = [
    command({
      name: "complete",
      summary: "print a script with which a shell completes vireo's command lines",
      arguments: [["[shell]", "zsh, bash, fish or powershell"]],
      example: "source <(vireo complete bash)\nvireo complete fish > vireo.fish",
      async run() {
        const { complete } = await import("./completion.ts");
        const { optionValues } = await import("./option_values.ts");
        const launcher = Deno.env.get("VIREO_LAUNCHER") ?? "vireo";
        const words = argv.slice(argv.indexOf("complete") + 1);
        const program = tableProgram(argv, tables);
        for (const row of more.slice(1)) addCommand(program, row.name, row, argv, tables);
        complete(program, words, optionValues(tables.options), launcher);
      },
    }),
    command({
      name: "record",
      summary: "run a command, and keep what the devices do for 'vireo replay'",
      arguments: [[
        "[command...]",
        "the command with its options, and -o FILE for the recording",
      ]],
      example: "vireo record run --target qtest:aarch64-virt script.ts -o bug.vireo",
      passThrough: true,
      async run({ args: [words] }) {
        const line = recordedLine(words, tables);
        await buildProgram(line, tables).parseAsync(line, { from: "user" });
      },
    }),
    command({
      name: "replay",
      summary: "run a recorded command again, with the recording in place of the devices",
      arguments: [["<recording>", "a file that 'vireo record' wrote"]],
      options: [
        { flag: "--script <file>", summary: "run this script, not the recorded one" },
        { flag: "--to-test <file>", summary: "write a test that scripts the devices instead" },
        { flag: "--trace [groups]", summary: BOARD_OPTIONS.trace.summary },
        { flag: "--trace-device <names>", summary: "trace only these devices, by commas" },
        { flag: "--trace-file <file>", summary: BOARD_OPTIONS.traceFile.summary },
        { flag: "--trace-data <n>", summary: BOARD_OPTIONS.traceData.summary },
        { flag: "--stats", summary: BOARD_OPTIONS.stats.summary },
        { flag: "--list", summary: "print the recording, a line a record, instead" },
      ],
      example: "vireo record run script.ts -o bug.vireo\n" +
        "vireo replay bug.vireo --trace\nvireo replay bug.vireo --to-test bug_test.ts",
      async run({ args: [recording], flags }) {
        const [{ replay }, { boardOptions }] = await Promise.all([
          import("../commands/replay.ts"),
          import("./board_flags.ts"),
        ]);
        const { traceDevice: device } = flags;
        const traceDevice = device === undefined ? undefined : device.split(",");
        const board = boardOptions({ ...flags, traceDevice, target: "emu" });
        await replay(board, recording, flags, (name) => COMMANDS_BY_NAME.get(name));
      },
    }),
    helpRow(root, "vireo help blk read"),
  ];
  for (const row of more) addCommand(root, row.name, row, argv, tables);
  // The words to complete may look like options.
  root.commands.find((child) => child.name() === "complete")!
    .allowUnknownOption().allowExcessArguments();
  return program;
}

/**
 * The command line of `record` without it: the recording is an option of the board.
 *
 * @throws {UsageError} If there is no file, or no command.
 */
function recordedLine(given: readonly string[], { commands }: Tables): string[] {
  const words = [...given];
  // The last one: a command may have one of its own.
  const at = words.findLastIndex((word) => word === "-o" || word === "--output");
  const [, output] = at < 0 ? [] : words.splice(at, 2);
  if (output === undefined) throw new UsageError("record: expected -o FILE, the recording");
  const first = commands.find(({ name }) => name === words[0]);
  if (first === undefined) {
    throw new UsageError(`record: expected a command, got '${words[0] ?? ""}'`);
  }
  if (!("commands" in first) && first.board === undefined) {
    throw new UsageError(`record: ${first.name} drives no devices`);
  }
  // Behind the command's name: what follows may be a script's.
  words.splice("commands" in first ? 2 : 1, 0, "--record", output);
  return words;
}

/** The program with the commands of the table. */
function tableProgram(argv: readonly string[], tables: Tables): Command {
  const program = new Command("vireo")
    .description("Virtio drivers in TypeScript, on an emulated board or a real one")
    .version("0.1.0")
    .exitOverride()
    .enablePositionalOptions()
    .helpCommand(false);
  const root: CommandUnknownOpts = program;
  sayMistakes(root, "vireo");
  addExample(root, "vireo probe\nvireo blk read --blk disk.img --sector 0 --count 1 | xxd | head");
  root.addHelpText("after", "\nErrors show frames of your own files; VIREO_STACKS=1 shows all.");
  for (const entry of tables.commands) {
    if ("commands" in entry) {
      const group = root.command(entry.name).description(entry.summary).helpCommand(false);
      sayMistakes(group, `vireo ${entry.name}`);
      addExample(group, entry.example);
      if (entry.note !== undefined) group.addHelpText("after", `\n${entry.note}`);
      for (const row of entry.commands) {
        addCommand(group, `${entry.name} ${row.name}`, row, argv, tables);
      }
      const help = helpRow(group, `vireo ${entry.name} help ${entry.commands[0]!.name}`);
      addCommand(group, `${entry.name} help`, help, argv, tables);
    } else addCommand(root, entry.name, entry, argv, tables);
  }
  return program;
}

/** Adds a command: its own options first, then those of a board. */
function addCommand(
  parent: CommandUnknownOpts,
  name: string,
  row: CommandRow,
  argv: readonly string[],
  { options }: Tables,
): void {
  const added: CommandUnknownOpts = parent.command(row.name).description(row.summary);
  for (const [syntax, summary, value] of row.arguments ?? []) {
    added.argument(syntax, summary, value);
  }
  for (const { flag, summary, value, choices, required } of row.options ?? []) {
    const option = new Option(flag, summary).default(value).makeOptionMandatory(required === true);
    added.addOption(choices === undefined ? option : option.choices(choices));
  }
  if (row.board !== undefined) {
    for (const [field, entry] of Object.entries(options)) {
      const value = field === "target" ? row.board.target ?? entry.value : entry.value;
      added.addOption(boardOption(entry).default(value));
    }
  }
  if (row.passThrough) {
    added.passThroughOptions();
    // One without options of its own passes on those of its first words too.
    if (row.options === undefined && row.board === undefined) added.allowUnknownOption();
  }
  sayMistakes(added, `vireo ${name}`);
  addExample(added, row.example);
  added.action(async () => {
    const { dispatch } = await import("./dispatch.ts");
    const given = added.processedArgs as (string | readonly string[] | undefined)[];
    const args = row.passThrough ? passedOn(added, argv, given) : given;
    await dispatch(name, row, { flags: { ...added.opts() }, args }, argv, options);
  });
}

/**
 * Takes the `--` out of a command line whose last arguments are somebody else's, and looks at what stands
 * before it: an option of ours there has no effect, so it is a mistake.
 *
 * @throws {UsageError} If one of the command's own options stands after its first argument.
 */
function passedOn(
  command: CommandUnknownOpts,
  argv: readonly string[],
  given: readonly (string | readonly string[] | undefined)[],
): (string | readonly string[] | undefined)[] {
  const rest = (given.at(-1) ?? []) as readonly string[];
  const [first] = given;
  // `run -- script.ts --target x`: the parser has taken the mark out.
  if (argv[argv.length - rest.length - 2] === "--") return [...given];
  const mark = rest.indexOf("--");
  for (const arg of mark < 0 ? rest : rest.slice(0, mark)) {
    const name = arg.replace(/=.*/s, "");
    if (!command.options.some(({ long, short }) => name === long || name === short)) continue;
    throw new UsageError(
      `${command.name()}: ${name} must stand before ${first}, or after -- if it is for the script`,
    );
  }
  return [...given.slice(0, -1), mark < 0 ? rest : rest.toSpliced(mark, 1)];
}

function boardOption({ flag, summary, group, choices, repeated }: BoardOption): Option {
  const option = new Option(flag, typeof summary === "string" ? summary : summary())
    .helpGroup(group);
  if (choices !== undefined) option.choices(choices);
  if (repeated) {
    option.argParser((value: string, before?: readonly string[]) => [...before ?? [], value]);
  }
  return option;
}

/**
 * Has a command say what is wrong with a command line in one line, as all other mistakes are said, and write
 * its help as other commands write: a reader that is gone ends it in silence.
 */
function sayMistakes(command: CommandUnknownOpts, name: string): void {
  command.configureHelp({
    boxWrap: wrapText,
    formatItem: (term, width, summary, help) =>
      itemText(term, width, summary, help.helpWidth ?? 80),
    subcommandTerm,
  });
  command.configureOutput({
    writeOut,
    outputError(text, write) {
      const line = text.replace(/^error: /, "").trim().replace(/\.$/, "").replace(/\.?\n\(/, " (");
      write(`vireo: ${line}; see '${name} --help'\n`);
    },
  });
}

/** A line of a list of commands: its options are in its own help. */
function subcommandTerm(command: CommandUnknownOpts): string {
  const names = command.registeredArguments.map((argument) => {
    const text = argument.name() + (argument.variadic ? "..." : "");
    return argument.required ? `<${text}>` : `[${text}]`;
  });
  return [command.name(), ...names].join(" ");
}

function addExample(command: CommandUnknownOpts, text: string): void {
  command.addHelpText(
    "after",
    `\nExample:\n${text.split("\n").map((line) => `  $ ${line}`).join("\n")}`,
  );
}

/** The command `help` of the program or of a group. */
function helpRow(parent: CommandUnknownOpts, example: string): CommandRow {
  return command({
    name: "help",
    summary: "display help for command",
    arguments: [["[command...]", "a command, with its group before it"]],
    example,
    run: ({ args: [path] }) => Promise.resolve(showHelp(parent, path)),
  });
}

/** Shows the help of the command with this path, as its `--help` does. */
function showHelp(program: CommandUnknownOpts, path: readonly string[]): void {
  let command = program;
  for (const name of path) {
    const child = command.commands.find((child) => child.name() === name);
    if (child === undefined) command.error(`error: unknown command '${name}'`);
    else command = child;
  }
  command.help();
}
