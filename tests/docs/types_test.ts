/**
 * The types of what readers have in folders of their own: what the pages show, what `vireo new` writes, and a
 * program with a mistake. One process checks all of it, since each reads those of all of Vireo.
 *
 * @module
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { VIREO } from "../cli_helper.ts";
import { blocksOf, NAME, PAGES, ROOT, shell } from "./pages.ts";
import { TempFolder } from "../temp_folder.ts";

const KINDS = ["driver", "device", "script"] as const;

/** A program of one's own that uses Vireo as a library, and one that does it wrong on its second line. */
const PROGRAMS: Readonly<Record<string, string>> = {
  "own.ts": `import { openVireo } from "@vireo/firmware";
import { rngDriver } from "@vireo/drivers/rng";

await using vireo = await openVireo({ blk: [], queueSize: 8 });
console.log((await vireo.get(rngDriver).read(4)).length);
`,
  "wrong.ts": `import { openVireo } from "@vireo/firmware";
await openVireo({ blk: ["x.img"] });
`,
};

/** Makes a folder by `vireo new`. */
async function makeNew(dir: string, kind: string, name: string): Promise<void> {
  const { code, text } = await shell(dir, `${VIREO} new ${kind} ${name}`);
  assertEquals(code, 0, text);
}

/**
 * Writes what a page's folder has of TypeScript after each of its blocks, each time into a folder of its own
 * with all that the page makes with `vireo new`.
 *
 * @returns What to check of each, from `to`: the block's file, and at the end the folders that were made.
 */
async function writeSources(page: string, to: string): Promise<string[]> {
  const text = await Deno.readTextFile(`${ROOT}${page}`);
  const made = Array.from(text.matchAll(/^(?:\$ )?\.\/vireo new (\w+) (\w+)/gm));
  const files = new Map<string, string>();
  await Deno.mkdir(`${to}/${page}`, { recursive: true });
  for (const [, kind, name] of made) {
    await makeNew(`${to}/${page}`, kind!, name!);
    for (const { name: file } of Deno.readDirSync(`${to}/${page}/${name}`)) {
      files.set(`${name}/${file}`, await Deno.readTextFile(`${to}/${page}/${name}/${file}`));
    }
  }
  const written: string[] = [];
  let folder = page;
  for (const { language, lines, line } of blocksOf(text)) {
    const name = language === "ts" ? NAME.exec(lines[0]!)?.[1] : undefined;
    if (name === undefined) continue;
    files.set(name, `${lines.join("\n")}\n`);
    folder = `${page}/${line}`;
    for (const [file, source] of files) {
      const path = `${to}/${folder}/${file}`;
      await Deno.mkdir(path.replace(/\/[^/]*$/, ""), { recursive: true });
      await Deno.writeTextFile(path, source);
    }
    written.push(`${folder}/${name}`);
  }
  return [...written, ...made.map(([, , name]) => `${folder}/${name}`)];
}

Deno.test("the types of pages, of what 'vireo new' writes and of programs of one's own", {
  timeout: 600_000,
}, async () => {
  using folder = new TempFolder();
  const dir = folder.path;
  const names = KINDS.map((kind) => `acme_5_${kind}`);
  for (const [i, kind] of KINDS.entries()) await makeNew(dir, kind, names[i]!);
  // They have the same settings, so that one check with those of the first one is a check with each one's.
  const settings = names.map((name) => Deno.readTextFileSync(`${dir}/${name}/deno.json`));
  assertEquals(new Set(settings).size, 1);
  const own = `${dir}/${names[0]}`;
  for (const [file, source] of Object.entries(PROGRAMS)) {
    await Deno.writeTextFile(`${own}/${file}`, source);
  }
  const shown = (await Promise.all(PAGES.map((page) => writeSources(page, dir)))).flat();
  assert(shown.length >= 5, String(shown));
  // Inside of a folder, whose deno.json is found without a flag.
  const paths = [...names.slice(1), ...shown].map((path) => `../${path}`);
  const { code, text } = await shell(own, `${VIREO} deno check . ${paths.join(" ")}`);
  // A type error is one there too, and the only one.
  assertEquals(code, 1, text);
  assertEquals(text.match(/(?<=at file:.*)\w+\.ts:\d+/g), ["wrong.ts:2"], text);
  assertMatch(text, /Type 'string' has no properties in common with type 'Partial<BlkOption>'/);
  const checked = new Set(text.match(/(?<=^Check ).*/gm));
  for (const path of [...shown, ...names]) {
    const found = [...checked].some((line) => line.includes(path.replace(/^.*\//, "")));
    assert(found, `${path} was not checked: ${text}`);
  }
});
