import type { CommandUnknownOpts } from "@commander-js/extra-typings";
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { boardOptions } from "../cli/board_flags.ts";
import { buildProgram, type Tables } from "../cli/program.ts";
import { BOARD_DEVICES } from "../devices/table.ts";
import { BOARD_OPTIONS, DEFAULT_BOARD } from "../target/options.ts";
import { UsageError } from "../terminal/usage.ts";
import { command, type CommandCall } from "./command.ts";
import { COMMANDS, COMMANDS_BY_NAME } from "./table.ts";

interface Named {
  name(): string;
  readonly commands: readonly Named[];
  readonly options: readonly { readonly long?: string | undefined }[];
}

/** Names of the commands that take a target, with their parents' before them. */
function targeted(command: Named, parent = ""): string[] {
  return command.commands.flatMap((child) => {
    const own = child.options.some(({ long }) => long === "--target");
    return [...own ? [parent + child.name()] : [], ...targeted(child, `${child.name()} `)];
  });
}

/** What is written for a command line that asks for help. */
async function helpOf(argv: readonly string[], tables?: Tables): Promise<string> {
  let text = "";
  const program = buildProgram(argv, tables);
  const configure = (command: CommandUnknownOpts): void => {
    command.configureOutput({ writeOut: (part) => text += part, getOutHelpWidth: () => 100 });
  };
  configure(program as CommandUnknownOpts);
  for (const child of program.commands) {
    configure(child);
    for (const grandchild of child.commands) configure(grandchild);
  }
  await assertRejects(() => program.parseAsync([...argv], { from: "user" }));
  return text;
}

Deno.test("every command that takes a target can run in a guest, and no other", () => {
  const inGuests = [...COMMANDS_BY_NAME].filter(([, row]) => row.board !== undefined);
  assertEquals(inGuests.map(([name]) => name).sort(), targeted(buildProgram()).sort());
  assert(inGuests.length > 30);
});

Deno.test("every device of --with has a group of commands, each on a board that has it", () => {
  for (const { name } of BOARD_DEVICES) {
    const group = COMMANDS.find((entry) => entry.name === name);
    assert(group !== undefined && "commands" in group && group.commands.length > 0, name);
    for (const row of group.commands) assertEquals(row.board?.device, name);
  }
});

Deno.test("every command and group has a summary, and an example that starts with its name", () => {
  const groups = COMMANDS.filter((entry) => "commands" in entry);
  const all = [...COMMANDS_BY_NAME, ...groups.map((group) => [group.name, group] as const)];
  for (const [name, { summary, example }] of all) {
    assert(summary.length > 10, name);
    assert(example.split("\n").some((line) => line.includes(`vireo ${name}`)), name);
  }
  const options = [...COMMANDS_BY_NAME.values()].flatMap((row) => row.options ?? []);
  for (const { flag, summary } of options) assert(summary.length > 5, flag);
});

Deno.test("every command's help has an example; its own options come before the board's", async () => {
  const names = [
    ...COMMANDS_BY_NAME.keys(),
    ...COMMANDS.map(({ name }) => name),
    "complete",
    "help",
  ];
  for (const name of names) {
    const help = await helpOf([...name.split(" "), "--help"]);
    assertMatch(help, /\nExample:\n {2}\$ .*vireo /, name);
    if (COMMANDS_BY_NAME.get(name)?.board === undefined) continue;
    const headings = [...help.matchAll(/^([A-Z][^\n]*):$/gm)].map(([, heading]) => heading);
    assertEquals(headings.filter((heading) => heading !== "Arguments"), [
      "Options",
      "Board options",
      "Interfaces and rings",
      "QEMU",
      "Interrupts and this machine",
      "Tracing",
      "Example",
    ]);
  }
});

Deno.test("help finds a command in its group, and names unknown words", async () => {
  assertEquals(await helpOf(["help", "blk", "read"]), await helpOf(["blk", "read", "--help"]));
  assertEquals(await helpOf(["help", "blk"]), await helpOf(["blk", "--help"]));
  assertEquals(await helpOf(["help"]), await helpOf(["--help"]));
  let wrong = "";
  const program = buildProgram();
  for (const command of [program, ...program.commands]) {
    command.configureOutput({ writeErr: (text) => wrong += text });
  }
  await assertRejects(() => program.parseAsync(["help", "blk", "raed"], { from: "user" }));
  assertEquals(wrong, "vireo: unknown command 'raed'; see 'vireo blk --help'\n");
});

Deno.test("every field of a board has one option, and the default board comes from them", () => {
  assertEquals(Object.keys(DEFAULT_BOARD), Object.keys(BOARD_OPTIONS));
  assertEquals(boardOptions({ target: "emu" }), DEFAULT_BOARD);
  assertEquals(DEFAULT_BOARD.blk.length, 1);
  assertEquals([DEFAULT_BOARD.target, DEFAULT_BOARD.indirect, DEFAULT_BOARD.net], [
    "emu",
    true,
    undefined,
  ]);
});

Deno.test("one row makes an option of a board: in the help, in the board, refused elsewhere", async () => {
  const calls: CommandCall[] = [];
  const look = command({
    name: "look",
    summary: "look at the board",
    example: "vireo look --wobble 3",
    board: {},
    run: (call) => Promise.resolve(void calls.push(call)),
  });
  const wobble = {
    flag: "--wobble <n>",
    summary: "how far the board wobbles",
    group: "Wobbling:",
    targets: ["emu", "qtest"],
    parse: (text?: string): number => text === undefined ? 1 : Number(text),
    refuse: (_: string, { bus }: { readonly bus?: string | undefined }) =>
      bus === "pci" ? "boards with PCI stand still" : undefined,
  } as const;
  const tables: Tables = { commands: [look], options: { ...BOARD_OPTIONS, wobble } };
  assertMatch(
    await helpOf(["look", "--help"], tables),
    /\nWobbling:\n +--wobble <n> +how far the board wobbles\n/,
  );
  const run = async (...argv: string[]) =>
    await buildProgram(argv, tables).parseAsync(argv, { from: "user" });
  await run("look", "--wobble", "3");
  await run("look", "--target", "qtest:riscv64-virt");
  assertEquals(calls.map(({ board }) => Object.entries(board).at(-1)), [["wobble", 3], [
    "wobble",
    1,
  ]]);
  for (const target of ["devmem", "qemu:x86_64-microvm"]) {
    await assertRejects(
      () => run("look", "--wobble", "3", "--target", target),
      UsageError,
      `--wobble: for emu and qtest targets, not for ${target}`,
    );
  }
  await assertRejects(
    () => run("look", "--wobble", "3", "--transport", "pci"),
    UsageError,
    "--wobble: boards with PCI stand still",
  );
  assertEquals(calls.length, 2);
});
