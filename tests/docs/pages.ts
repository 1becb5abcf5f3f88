/**
 * The pages for people who write drivers and devices: README, `docs/` and the others at the top.
 *
 * @module
 */
import { assert } from "@std/assert";

/** Folder of the checkout. */
export const ROOT: string = new URL("../../", import.meta.url).pathname;

/** A block of code in a page. */
interface Block {
  readonly language: string;
  readonly lines: readonly string[];
  /** The line of the page on which it begins, from 1. */
  readonly line: number;
}

/** The first line of a block of TypeScript: the name of its file. */
export const NAME: RegExp = /^\/\/ ([\w/]+\.ts)$/;

/** The blocks of a page's text. */
export function blocksOf(text: string): Block[] {
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

/** Runs a command line of the shell; standard output and error are one text. */
export async function shell(cwd: string, command: string): Promise<{ code: number; text: string }> {
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

/** The pages, by path from the checkout. */
export const PAGES: readonly string[] = [
  "README.md",
  "ARCHITECTURE.md",
  "CONTRIBUTING.md",
  "CHANGELOG.md",
]
  .concat([...Deno.readDirSync(`${ROOT}docs`)].map(({ name }) => `docs/${name}`))
  .filter((page) => page.endsWith(".md"));
