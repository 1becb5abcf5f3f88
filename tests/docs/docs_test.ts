import { assert, assertEquals, assertMatch } from "@std/assert";
import { makeDemoDisk } from "@vireo/firmware";

const ROOT = new URL("../../", import.meta.url).pathname;

/** A block of code in a page. */
interface Block {
  readonly language: string;
  readonly lines: readonly string[];
  /** The line of the page on which it begins, from 1. */
  readonly line: number;
}

/** Command lines that are not run here, and why. */
const NOT_RUN: readonly (readonly [pattern: RegExp, why: string])[] = [
  [/qemu:|^\.\/vireo boot\b/, "boots a guest, which tests/guest do for all boards"],
  [/--qemu \.cache/, "needs the QEMU that 'make qemu' fetches; tests/run.ts runs all on both"],
  [/^make |^out\/|^\.\/vireo image/, "builds an image or runs all tests; tests/cli/image_test.ts"],
  [/^scp |^ssh /, "needs another machine"],
  [/--target devmem|tap:/, "needs root, and what the machine must have"],
  [/^\.\/vireo net fetch/, "needs a server of the host; tests/qtest/ip_test.ts has one"],
];

/** The first line of a block of TypeScript: the name of its file. */
const NAME = /^\/\/ ([\w/]+\.ts)$/;

function blocksOf(text: string): Block[] {
  const blocks: Block[] = [];
  const lines = text.split("\n");
  for (let i = 0; i < lines.length; i++) {
    const language = /^```(\w*)$/.exec(lines[i]!)?.[1];
    if (language === undefined) continue;
    const end = lines.indexOf("```", i + 1);
    assert(end > 0, `A block that begins on line ${i + 1} does not end`);
    blocks.push({ language, lines: lines.slice(i + 1, end), line: i + 1 });
    i = end;
  }
  return blocks;
}

/** The commands of a transcript, each with what it prints. */
function transcript(lines: readonly string[]): { command: string; expected: string[] }[] {
  const steps: { command: string; expected: string[] }[] = [];
  for (const line of lines) {
    if (line.startsWith("$ ")) steps.push({ command: line.slice(2), expected: [] });
    else steps.at(-1)!.expected.push(line);
  }
  return steps;
}

/** `...` alone on a line is any lines, and in a line any text. */
function pattern(lines: readonly string[]): RegExp {
  const quoted = lines.map((line) =>
    line === "..."
      ? "(?:.*\n)*?"
      : `${
        line.split("...").map((part) => part.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&")).join(".*")
      }\n`
  );
  return new RegExp(`^${quoted.join("")}$`);
}

async function shell(cwd: string, command: string): Promise<{ code: number; text: string }> {
  const { code, stdout } = await new Deno.Command("/bin/bash", {
    args: ["-o", "pipefail", "-c", `{ ${command}\n} 2>&1`],
    cwd,
    stdin: "null",
    stdout: "piped",
    stderr: "inherit",
    env: { NO_COLOR: "1" },
  }).output();
  return { code, text: new TextDecoder().decode(stdout) };
}

async function runPage(page: string): Promise<void> {
  const dir = await Deno.makeTempDir({ prefix: "vireo-docs-" });
  try {
    for (const name of ["vireo", "examples"]) {
      await Deno.symlink(`${ROOT}${name}`, `${dir}/${name}`);
    }
    await makeDemoDisk(`${dir}/disk.img`);
    for (const { language, lines, line } of blocksOf(await Deno.readTextFile(`${ROOT}${page}`))) {
      const where = `${page}:${line}`;
      switch (language) {
        case "ts": {
          const name = NAME.exec(lines[0]!)?.[1];
          assert(name !== undefined, `${where}: expected a first line such as '// name.ts'`);
          await Deno.writeTextFile(`${dir}/${name}`, `${lines.join("\n")}\n`);
          break;
        }
        case "sh":
          for (const entry of lines) {
            const command = entry.replace(/\s+#\s.*$/, "").trim();
            if (command === "" || NOT_RUN.some(([not]) => not.test(command))) continue;
            const { code, text } = await shell(dir, command);
            assertEquals([where, command, code], [where, command, 0], text);
          }
          break;
        case "console":
          for (const { command, expected } of transcript(lines)) {
            if (NOT_RUN.some(([not]) => not.test(command))) continue;
            const { text } = await shell(dir, command);
            assertMatch(text, pattern(expected), `${where}: ${command}\n${text}`);
          }
          break;
        // What is only shown: a drawing, or what a terminal shows.
        default:
          assertEquals([where, ["", "mermaid", "text"].includes(language)], [where, true]);
      }
    }
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

const PAGES = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"]
  .concat([...Deno.readDirSync(`${ROOT}docs`)].map(({ name }) => `docs/${name}`))
  .filter((page) => page.endsWith(".md"));

/**
 * Writes what a page's folder has of TypeScript after each of its blocks, each time into a folder of its own
 * with all that the page makes with `vireo new`.
 *
 * @returns The block's file in each, from `to`.
 */
async function writeSources(page: string, to: string): Promise<string[]> {
  const files = new Map<string, string>();
  const written: string[] = [];
  const text = await Deno.readTextFile(`${ROOT}${page}`);
  const made = text.match(/(?<=^(?:\$ )?)\.\/vireo new \w+ \w+/gm) ?? [];
  for (const { language, lines, line } of blocksOf(text)) {
    const name = language === "ts" ? NAME.exec(lines[0]!)?.[1] : undefined;
    if (name === undefined) continue;
    files.set(name, `${lines.join("\n")}\n`);
    const folder = `${to}/${page}/${line}`;
    await Deno.mkdir(folder, { recursive: true });
    for (const command of made) {
      const { code, text } = await shell(folder, command.replace("./", ROOT));
      assertEquals(code, 0, text);
    }
    for (const [file, source] of files) await Deno.writeTextFile(`${folder}/${file}`, source);
    written.push(`${page}/${line}/${name}`);
  }
  return written;
}

// One process checks the types of all: each would read those of all of Vireo.
Deno.test("the sources that pages show have the right types", { timeout: 600_000 }, async () => {
  const dir = await Deno.makeTempDir({ prefix: "vireo-docs-" });
  try {
    // The types are checked as in a folder of a reader's own.
    const vireo = `${ROOT}vireo`;
    assertEquals((await shell(dir, `${vireo} new script own`)).code, 0);
    const sources = (await Promise.all(PAGES.map((page) => writeSources(page, dir)))).flat();
    assert(sources.length >= 5, String(sources));
    const check = `${vireo} deno check -q --config own/deno.json ${sources.join(" ")}`;
    const { code, text } = await shell(dir, check);
    assertEquals(code, 0, text);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

for (const page of PAGES) {
  // Some dozen command lines and checks of types, each a process of its own.
  Deno.test(`what ${page} shows is what happens`, { timeout: 600_000 }, () => runPage(page));
}

Deno.test("every reason for which a command of the pages is not run is needed", async () => {
  const commands: string[] = [];
  for (const page of PAGES) {
    for (const { language, lines } of blocksOf(await Deno.readTextFile(`${ROOT}${page}`))) {
      if (language === "sh") commands.push(...lines);
      if (language === "console") commands.push(...transcript(lines).map((step) => step.command));
    }
  }
  for (const [not, why] of NOT_RUN) assert(commands.some((line) => not.test(line)), why);
});

Deno.test("a page's transcript must be what is printed", () => {
  const expected = pattern(["a ... c", "...", "end."]);
  assert(expected.test("a b c\nend.\n"));
  assert(expected.test("a b c\nmore\nmore\nend.\n"));
  assert(!expected.test("a b d\nend.\n") && !expected.test("a b c\nend,\n"));
  assert(!expected.test("a b c\nend.\nmore\n"));
});
