import { assert, assertEquals, assertMatch } from "@std/assert";
import { makeDemoDisk } from "@vireo/firmware";
import { blocksOf, NAME, PAGES, ROOT, shell } from "./pages.ts";
import { TempFolder } from "../temp_folder.ts";

/** Command lines that are not run here, and why. */
const NOT_RUN: readonly (readonly [pattern: RegExp, why: string])[] = [
  [/qemu:|^\.\/vireo boot\b/, "boots a guest, which tests/guest do for all boards"],
  [/--qemu \.cache/, "needs the QEMU that 'make qemu' fetches; tests/run/main.ts runs all on both"],
  [/^make |^out\/|^\.\/vireo image/, "builds an image or runs all tests; tests/cli/image_test.ts"],
  [/^scp |^ssh /, "needs another machine"],
  [/--target devmem/, "needs root, and what the machine must have"],
  [/tap:/, "needs rights, which tests/docs/tap_test.ts has"],
  [/^\.\/vireo deno check/, "checks types; tests/docs/types_test.ts does it for all pages at once"],
  [/^\.\/vireo net fetch/, "needs a server of the host; tests/qtest/ip_test.ts has one"],
];

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

/** `deno test` would check types, each time those of all of Vireo; tests/docs/types_test.ts does it once. */
function withoutTypes(command: string): string {
  return command.replace(/(?<=^\.\/vireo deno test)(?= )/, " --no-check");
}

async function runPage(page: string): Promise<void> {
  const blocks = blocksOf(await Deno.readTextFile(`${ROOT}${page}`));
  using folder = new TempFolder();
  const dir = folder.path;
  for (const name of ["vireo", "examples"]) {
    await Deno.symlink(`${ROOT}${name}`, `${dir}/${name}`);
  }
  // Half of the pages have no command that could read it.
  if (blocks.some(({ language }) => language === "sh" || language === "console")) {
    await makeDemoDisk(`${dir}/disk.img`);
  }
  for (const { language, lines, line } of blocks) {
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
          const { text } = await shell(dir, withoutTypes(command));
          assertMatch(text, pattern(expected), `${where}: ${command}\n${text}`);
        }
        break;
      // What is only shown: a drawing, or what a terminal shows.
      default:
        assertEquals([where, ["", "mermaid", "text"].includes(language)], [where, true]);
    }
  }
}

for (const page of PAGES) {
  // Some dozen command lines, each a process of its own.
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
