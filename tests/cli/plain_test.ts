/**
 * Pipes, `NO_COLOR` and terminals that can only print get plain text from every command.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { OnTerminal, vireo } from "../cli_helper.ts";
import { codeOf, SOURCES } from "../sources.ts";

// deno-lint-ignore no-control-regex
const ESCAPE = /\x1b/;
// deno-lint-ignore no-control-regex
const COLOR = /\x1b\[[0-9;]*m/;

/** Prints a value, a format with a colour, and dies of an error. */
const SCRIPT = `export default () => {
  console.log({ a: 1 });
  console.log("%cred", "color: red");
  throw new Error("no");
};
`;

/** A command line of each kind of output, whether it shows progress, and its exit code. */
const COMMANDS: readonly (readonly [args: string, progress: boolean, code: number])[] = [
  ["probe", false, 0],
  ["blk read --hash", true, 0],
  ["net ping 10.0.2.2 -c 1 --trace", false, 0],
  ["check --only rng", true, 0],
  ["console --send hello", false, 0],
  ["scsi list", false, 0],
  ["rng 8", false, 0],
  ["run SCRIPT", false, 1],
  ["blk raed", false, 2],
  ["net ping 10.0.2.9 -c 1 --deadline 50", false, 1],
];

/** What a command prints on a terminal with these variables. */
async function onTerminal(args: string, env: Record<string, string>): Promise<[string, number]> {
  await using screen = new OnTerminal(args, env);
  const code = await screen.end();
  return [screen.text, code];
}

Deno.test("plain text: no command moves a cursor or has colours where the terminal is dumb, or in a pipe", async (t) => {
  const script = await Deno.makeTempFile({ suffix: ".ts" });
  try {
    await Deno.writeTextFile(script, SCRIPT);
    for (const [args, progress, code] of COMMANDS) {
      await t.step(args, async () => {
        const line = args.replace("SCRIPT", script);
        // An empty NO_COLOR counts as none.
        const [text, ended] = await onTerminal(line, { NO_COLOR: "", TERM: "dumb" });
        assertEquals([ended, ESCAPE.test(text), text !== ""], [code, false, true], text);
        if (!progress && args !== "run SCRIPT") return;
        const [shown] = await onTerminal(line, { NO_COLOR: "1", TERM: "xterm" });
        assertEquals([ESCAPE.test(shown), COLOR.test(shown)], [progress, false], shown);
        const piped = await vireo(line, undefined, { NO_COLOR: "", TERM: "xterm" });
        assertEquals([piped.code, ESCAPE.test(piped.out + piped.err)], [code, false]);
      });
    }
  } finally {
    await Deno.remove(script);
  }
});

Deno.test("plain text: a terminal that has colours gets them", async () => {
  const script = await Deno.makeTempFile({ suffix: ".ts" });
  try {
    await Deno.writeTextFile(script, SCRIPT);
    const [text] = await onTerminal(`run ${script}`, { NO_COLOR: "", TERM: "xterm" });
    assertEquals(COLOR.test(text), true, text);
  } finally {
    await Deno.remove(script);
  }
});

Deno.test("plain text: these files alone write escape sequences or colours, and each looks at the terminal first", () => {
  const found = SOURCES.filter(({ room, path }) =>
    room === "firmware" && !path.endsWith("_test.ts")
  ).filter((source) => /\\x1b|\\u001b|\bcolors:/.test(codeOf(source))).map(({ path }) => path);
  assertEquals(found.sort(), [
    "firmware/in_guest/boot_progress.ts",
    "firmware/in_guest/command.ts",
    "firmware/repl/session.ts",
    "firmware/terminal/output.ts",
  ]);
});
