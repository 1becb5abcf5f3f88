/**
 * Pipes, `NO_COLOR` and terminals that can only print get plain text from every command.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { OnTerminal, vireo } from "../cli_helper.ts";
import { codeOf, SOURCES } from "../tree/sources.ts";
import { COMMANDS_BY_NAME } from "../../firmware/commands/table.ts";
import { TempFolder } from "../temp_folder.ts";

const ROOT = new URL("../../", import.meta.url).pathname;

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

/** Every command: a command line, its exit code, and whether it shows progress on a terminal. */
const COMMANDS: readonly (readonly [args: string, code: number, progress?: "progress"])[] = [
  ["probe", 0],
  ["inspect", 0],
  ["check --only rng", 0, "progress"],
  ["boards", 0],
  ["demo", 0, "progress"],
  ["run SCRIPT", 1],
  ["new driver DIR/there", 0],
  ["deno eval 1", 0],
  // A guest's and a shell's terminal is in the tests of each; these say what is wrong.
  ["shell --console virtio", 2],
  ["serve nothing --socket DIR/socket", 2],
  ["image --arch x", 2],
  ["boot --target emu", 2],
  ["blk info", 0],
  ["blk read --hash", 0, "progress"],
  ["blk write -i SCRIPT", 0],
  ["blk flush", 0],
  ["blk discard --count 8", 0],
  ["blk bench --requests 100", 0, "progress"],
  ["blk zones --blk-zoned host-managed", 0],
  ["net info", 0],
  ["net ping 10.0.2.2 -c 1 --trace", 0],
  ["net ping 10.0.2.9 -c 1 --deadline 50", 1],
  ["net dhcp --deadline 20", 1],
  ["net fetch http://10.0.2.2:1/ --deadline 50", 1],
  ["net send ffffffffffff52540012345688b56869", 0],
  ["net capture -c 1 --ping 10.0.2.2 -o /dev/null", 0],
  ["net bench --frames 100", 0, "progress"],
  ["balloon info", 0],
  ["balloon inflate 1M", 0],
  ["rpmsg send hello", 0],
  ["scsi list", 0],
  // Bytes are not for a terminal.
  ["scsi read", 2],
  ["9p ls", 0],
  ["9p cat hello.txt", 0],
  ["9p put x -i SCRIPT", 0],
  ["rproc-serial send hello", 0],
  ["caif send hello", 0],
  ["gpu info", 0],
  ["gpu card hello -o /dev/null", 0],
  ["input info", 0],
  ["input watch --type 30 -c 2", 0],
  ["vsock send 7 hello", 0],
  ["vsock listen 5000 --deadline 20", 1],
  ["crypto info", 0],
  ["crypto aes-cbc 00112233445566778899aabbccddeeff", 0],
  ["console --send hello", 0],
  ["rng 8", 0],
  ["complete bash", 0],
  ["record probe -o /dev/null", 0],
  ["replay SCRIPT", 1],
  ["help blk read", 0],
  ["blk --help", 0],
  ["blk raed", 2],
];

/** What a command line printed. */
interface Shown {
  readonly args: string;
  readonly code: number;
  readonly text: string;
}

/** Has one process run all command lines on a terminal with these variables, or in a pipe. */
async function all(env: Record<string, string>, where: "terminal" | "pipe"): Promise<Shown[]> {
  using folder = new TempFolder();
  const dir = folder.path;
  await Deno.writeTextFile(`${dir}/script.ts`, SCRIPT);
  const lines = COMMANDS.map(([args]) =>
    args.replace("SCRIPT", `${dir}/script.ts`).replace("DIR", dir)
  );
  await Deno.writeTextFile(`${dir}/lines`, lines.join("\n"));
  const run = `deno run -A --quiet --config ${ROOT}deno.json ${ROOT}tests/cli/plain_script.ts ` +
    `${dir}/lines`;
  let text: string;
  if (where === "pipe") {
    const { out, err } = await vireo(run, undefined, env);
    // What is wrong is said on the other pipe, which has no marks between the command lines.
    assertEquals(ESCAPE.test(err), false, err);
    text = out;
  } else {
    await using screen = new OnTerminal(run, env);
    await screen.end();
    text = screen.text;
  }
  return [...text.matchAll(/^begin (.*?)\r?\n(.*?)^end (\d+)\r?$/gms)].map((found) => ({
    args: COMMANDS[lines.indexOf(found[1]!)]![0],
    text: found[2]!,
    code: Number(found[3]),
  }));
}

const TERMINALS = {
  // An empty NO_COLOR counts as none.
  "a dumb terminal": [{ NO_COLOR: "", TERM: "dumb" }, "terminal"],
  "a terminal with NO_COLOR": [{ NO_COLOR: "1", TERM: "xterm" }, "terminal"],
  "a pipe": [{ NO_COLOR: "", TERM: "xterm" }, "pipe"],
} as const;

for (const [name, [env, where]] of Object.entries(TERMINALS)) {
  Deno.test(`plain text: every command on ${name}`, async (t) => {
    const shown = await all(env, where);
    assertEquals(shown.map(({ args }) => args), COMMANDS.map(([args]) => args));
    for (const [i, [args, code, progress]] of COMMANDS.entries()) {
      await t.step(args, () => {
        const { text, code: ended } = shown[i]!;
        // The bytes of a disk may go to a pipe.
        assertEquals(ended, args === "scsi read" && where === "pipe" ? 0 : code, text);
        assertEquals(COLOR.test(text), false, text);
        const moves = progress !== undefined && name === "a terminal with NO_COLOR";
        assertEquals(ESCAPE.test(text), moves, text);
        if (where === "terminal") assertEquals(text.trim() !== "", args !== "deno eval 1");
      });
    }
  });
}

Deno.test("plain text: a shell in a pipe, and no frame of ours in its errors", async () => {
  // Deno's REPL may end at the end of its input before it has looked for rejections: the last line gives it a turn.
  const lines = [
    "1 + 1",
    "null.x",
    "rng.read(-1)",
    "await new Promise((turn) => setTimeout(turn))",
  ];
  const { code, out, err } = await vireo("shell --blk none", `${lines.join("\n")}\n`, {
    NO_COLOR: "",
    TERM: "xterm",
  });
  assertEquals([code, ESCAPE.test(out + err)], [0, false], out + err);
  assertEquals(out.split("\n")[0], "2");
  const frames = [...(out + err).matchAll(/^ *(at .*):\d+$/gm)].map(([, frame]) => frame);
  // Of the second line's error; of the promise that the third one has, and of its error.
  assertEquals(frames, Array(3).fill("at <anonymous>:1"), out + err);
  assertEquals(err.includes("Uncaught RangeError: Cannot read -1 bytes"), true, err);
});

Deno.test("plain text: no command is left out", () => {
  const names = [...COMMANDS_BY_NAME.keys(), "complete", "record", "replay", "help"];
  const tried = COMMANDS.map(([args]) => args);
  assertEquals(
    names.filter((name) => !tried.some((args) => `${args} `.startsWith(`${name} `))),
    [],
  );
});

Deno.test("plain text: a terminal that has colours gets them", async () => {
  const script = await Deno.makeTempFile({ suffix: ".ts" });
  try {
    await Deno.writeTextFile(script, SCRIPT);
    await using screen = new OnTerminal(`run ${script}`, { NO_COLOR: "", TERM: "xterm" });
    await screen.end();
    assertEquals(COLOR.test(screen.text), true, screen.text);
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
